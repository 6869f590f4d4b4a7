//! Test video: a moving picture with a stamp that a receiver reads back, after any codec and scaling.
//!
//! Owns the picture and the stamp's layout; never touches a device.
//!
//! - [`stamp`]: number and time of the picture, over its top
//! - [`scene`]: what is to be seen below, drawn on a [`canvas`]
//! - out: [`draw`]n pictures, paced by absolute deadlines; back: [`read`]

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::canvas::Canvas;
use self::scene::draw_scene;
use self::stamp::{COUNTER_MASK, Grid, draw_stamp};
use super::ticks::Ticks;
use super::{Capture, CaptureError, StopFlag, VideoFormat};
use crate::frame::{Size, VideoFrame};
use crate::queue;
use network::system_error::in_words;

mod canvas;
mod scene;
mod stamp;

pub use self::stamp::{Stamp, now_ms, put_right, read};

/// Draws the picture number `stamp.counter` over all of `frame`.
///
/// Any size can be drawn; the stamp is readable from 64x48 on, where it covers the upper third (of wide pictures: an
/// eighth or less).
pub fn draw(frame: &mut VideoFrame, stamp: Stamp) {
    let Size { width, height } = frame.size();
    let (width, height) = (width as usize, height as usize);
    let Some(grid) = Grid::of_width(width).filter(|_| height >= 4) else { return };
    let (y, u, v) = frame.planes_mut();
    let mut canvas = Canvas { width, height, y, u, v };
    let top = grid.height().next_multiple_of(2).min(height);
    draw_scene(&mut canvas, top, stamp.counter & COUNTER_MASK);
    draw_stamp(&mut canvas, grid, top, stamp);
}

/// Starts the test pattern; sides are rounded down to even ones, `fps` is clamped to 1..=120.
///
/// # Errors
/// [`CaptureError::Device`] when the thread cannot be started.
pub(super) fn open(format: VideoFormat, out: queue::Sender<Arc<VideoFrame>>) -> Result<Capture, CaptureError> {
    Capture::spawn("test-pattern", "test pattern".to_owned(), move |stop| run(format, &out, &stop)).map_err(|error| {
        CaptureError::Device(format!("the test pattern cannot start ({}); close other programs", in_words(&error)))
    })
}

fn run(format: VideoFormat, out: &queue::Sender<Arc<VideoFrame>>, stop: &StopFlag) {
    let Size { width, height } = format.size;
    let size = Size { width: (width & !1).max(2), height: (height & !1).max(2) };
    let fps = format.fps.clamp(1, 120);
    let mut ticks = Ticks::new(Instant::now(), fps, Duration::from_secs(1) / fps);
    let mut counter = 0;
    while ticks.wait(stop) {
        let mut frame = VideoFrame::black(size, Instant::now());
        draw(&mut frame, Stamp { counter, sent_ms: now_ms() });
        if !out.send(Arc::new(frame)) {
            return;
        }
        // Pictures that were sent are counted, not moments that passed: a gap in the numbers means loss on the way.
        counter = (counter + 1) & COUNTER_MASK;
    }
}

#[cfg(test)]
mod tests {
    use super::canvas::{BLACK, WHITE};
    use super::*;

    fn drawn(width: u32, height: u32, stamp: Stamp) -> VideoFrame {
        let mut frame = VideoFrame::black(Size { width, height }, Instant::now());
        draw(&mut frame, stamp);
        frame
    }

    /// Scales luma by picking the nearest sample.
    fn scaled(frame: &VideoFrame, width: u32, height: u32) -> VideoFrame {
        let (from, to) = (frame.size(), Size { width, height });
        let mut scaled = VideoFrame::black(to, frame.at);
        let y = scaled.planes_mut().0;
        for (n, luma) in (0..).zip(y) {
            let (row, column) = (n / width * from.height / height, n % width * from.width / width);
            *luma = frame.y()[(row * from.width + column) as usize];
        }
        scaled
    }

    const STAMPS: [Stamp; 4] = [
        Stamp { counter: 0, sent_ms: 0 },
        Stamp { counter: COUNTER_MASK, sent_ms: u32::MAX },
        Stamp { counter: 0x12_3456, sent_ms: 0xDEAD_BEEF },
        Stamp { counter: 1, sent_ms: 0x8000_0001 },
    ];

    #[test]
    fn stamps_read_back_at_every_size() {
        let sizes = [(64, 48), (96, 64), (128, 96), (160, 120), (320, 240), (480, 640), (854, 480), (1920, 1080)];
        for (width, height) in sizes {
            for stamp in STAMPS {
                assert_eq!(read(&drawn(width, height, stamp)), Some(stamp), "{width}x{height}");
            }
        }
    }

    #[test]
    fn stamps_survive_scaling() {
        for stamp in STAMPS {
            let frame = drawn(640, 480, stamp);
            for (width, height) in [(320, 240), (480, 360), (200, 150), (854, 640), (1280, 960), (96, 72)] {
                assert_eq!(read(&scaled(&frame, width, height)), Some(stamp), "{width}x{height}");
            }
        }
    }

    #[test]
    fn pictures_without_a_stamp_are_rejected() {
        let size = Size { width: 640, height: 480 };
        let mut frame = VideoFrame::black(size, Instant::now());
        assert_eq!(read(&frame), None);
        frame.planes_mut().0.fill(255);
        assert_eq!(read(&frame), None);
        for (n, luma) in (0..).zip(frame.planes_mut().0) {
            *luma = (n / 640 / 2 + n % 640 / 4) as u8;
        }
        assert_eq!(read(&frame), None, "a gradient");
        let mut random = crate::codec::checks::noise(5);
        frame.planes_mut().0.fill_with(|| random().to_le_bytes()[0]);
        assert_eq!(read(&frame), None, "noise");
        let mut damaged = drawn(640, 480, STAMPS[2]);
        for row in damaged.planes_mut().0.chunks_exact_mut(640).take(20) {
            row[200..220].iter_mut().for_each(|luma| *luma = if *luma == WHITE { BLACK } else { WHITE });
        }
        assert_eq!(read(&damaged), None, "one flipped block");
    }

    #[test]
    fn any_size_can_be_drawn() {
        for (width, height) in [(2, 2), (16, 4), (18, 2), (62, 200), (640, 16), (1920, 48), (48, 1920), (33, 17)] {
            for counter in [0, 150, 299, 450, COUNTER_MASK] {
                drawn(width, height, Stamp { counter, sent_ms: 0 });
            }
        }
    }

    #[test]
    fn the_picture_moves_and_keeps_to_the_legal_range() {
        let [first, second] = [10, 11].map(|counter| drawn(640, 480, Stamp { counter, sent_ms: 7 }));
        let changed =
            first.y()[640 * 40..].iter().zip(&second.y()[640 * 40..]).filter(|(a, b)| a.abs_diff(**b) > 12).count();
        assert!((500..30_000).contains(&changed), "{changed} pixels changed");
        assert!(first.y().iter().all(|luma| (16..=235).contains(luma)));
        assert!(first.u().iter().chain(first.v()).all(|chroma| (16..=240).contains(chroma)));
    }

    #[test]
    fn a_capture_counts_up_from_zero_and_stops() {
        let (tx, rx) = queue::bounded(64);
        let format = VideoFormat { size: Size { width: 160, height: 120 }, fps: 60 };
        let capture = open(format, tx).unwrap();
        for counter in 0..5 {
            let frame = rx.recv_timeout(Duration::from_secs(20)).unwrap();
            assert_eq!(read(&frame).map(|stamp| stamp.counter), Some(counter));
        }
        capture.close();
        while rx.try_recv().is_some() {}
        assert_eq!(rx.recv_timeout(Duration::ZERO).unwrap_err(), queue::RecvError::Closed);
    }
}

//! Received pictures of the test pattern, compared with what was sent.
//!
//! On a thread of its own, since a comparison takes milliseconds and decoding must not wait for it; started with the
//! first picture that has a stamp, so a call without the pattern has none.
//!
//! - in: decoded pictures with their stamps; about one a second is taken, and while one is compared the next is left out
//! - the original is drawn anew from the stamp, in the size in which the picture came
//! - out: sums, which grow as long as the call lasts

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::warn;

use crate::call::{POLL, Worker};
use crate::capture::pattern::{self, Stamp};
use crate::frame::VideoFrame;
use crate::quality::PictureQuality;
use crate::queue::{self, Receiver, RecvError, Sender};

/// Time from one compared picture to the next.
const COMPARED_APART: Duration = Duration::from_secs(1);

type Stamped = (Arc<VideoFrame>, Stamp);

/// Compares pictures as they come.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    state: State,
    last: Option<Instant>,
}

#[derive(Debug, Default)]
enum State {
    /// No picture had a stamp yet.
    #[default]
    Idle,
    Running {
        pictures: Sender<Stamped>,
        quality: watch::Receiver<PictureQuality>,
        /// Ends with this.
        _worker: Worker<()>,
    },
    /// The thread could not be started; the figures stay unknown.
    Failed,
}

impl Comparison {
    /// A picture with this stamp was decoded.
    pub(super) fn add(&mut self, picture: &Arc<VideoFrame>, stamp: Stamp, now: Instant) {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < COMPARED_APART) {
            return;
        }
        self.last = Some(now);
        if let State::Idle = self.state {
            self.state = State::start();
        }
        if let State::Running { pictures, .. } = &self.state {
            pictures.send((Arc::clone(picture), stamp));
        }
    }

    /// What all comparisons so far came to.
    pub(super) fn quality(&self) -> PictureQuality {
        match &self.state {
            State::Idle | State::Failed => PictureQuality::default(),
            State::Running { quality, .. } => *quality.borrow(),
        }
    }
}

impl State {
    fn start() -> Self {
        let (pictures, received) = queue::bounded(1);
        let (out, quality) = watch::channel(PictureQuality::default());
        match Worker::spawn("video-quality", move |stop| compare(&received, &out, &stop)) {
            Ok(worker) => Self::Running { pictures, quality, _worker: worker },
            Err(error) => {
                warn!(%error, "pictures are not compared with the test pattern: no thread can be started");
                Self::Failed
            }
        }
    }
}

fn compare(pictures: &Receiver<Stamped>, out: &watch::Sender<PictureQuality>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match pictures.recv_timeout(POLL) {
            Ok((picture, stamp)) => {
                let mut original = VideoFrame::black(picture.size(), picture.at);
                pattern::draw(&mut original, stamp);
                out.send_modify(|quality| quality.add(&original, &picture));
            }
            Err(RecvError::Timeout) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Size;

    #[test]
    fn pictures_are_compared_with_their_originals() {
        let mut comparison = Comparison::default();
        assert_eq!(comparison.quality().psnr_db(), None);
        let start = Instant::now();
        for n in 0..30 {
            let stamp = Stamp { counter: n, sent_ms: 7 };
            let mut picture = VideoFrame::black(Size { width: 160, height: 120 }, start);
            pattern::draw(&mut picture, stamp);
            // One level off is an error of 1: 48.13 dB.
            picture.planes_mut().0.iter_mut().for_each(|luma| *luma += 1);
            comparison.add(&Arc::new(picture), stamp, start + Duration::from_millis(33) * n);
            let State::Running { quality, .. } = &mut comparison.state else { panic!("not running") };
            if n == 0 {
                let patience = Instant::now() + Duration::from_secs(20);
                while !quality.has_changed().unwrap() && Instant::now() < patience {
                    std::thread::yield_now();
                }
            }
        }
        let psnr_db = comparison.quality().psnr_db().unwrap();
        assert!((psnr_db - 48.13).abs() < 0.01, "{psnr_db}");
    }
}

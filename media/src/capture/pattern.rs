//! Test video: a moving picture with a stamp that a receiver reads back, after any codec and scaling.
//!
//! Owns the picture, the stamp's layout and the pacing of generated media; never touches a device.
//!
//! - the stamp covers the top: 64 blocks, 32 a row (16 a row below 128 pixels of width), each as high as wide;
//!   block `i` of a row reaches from `i * width / 32` to `(i + 1) * width / 32`, so scaling keeps it readable
//! - a black block is 0, a white one 1; from the left, top row first, highest bit first: 24 bits of frame number,
//!   32 bits of time, 8 bits of CRC over these seven bytes (polynomial 0x07, start 0xFF)
//! - below it: a sunset over water, whose sun wanders, and colour bars that scroll; faint grain gives encoders as much
//!   to do as a camera's noise: a low rate smooths it away, a high one is used up
//! - out: [`draw`]n pictures, paced by absolute deadlines; back: [`read`]

use std::f64::consts::TAU;
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Capture, CaptureError, StopFlag, VideoFormat};
use crate::frame::{Size, VideoFrame};
use crate::queue;

/// Blocks, and so bits, in a stamp.
const BLOCKS: usize = 64;
/// Blocks a row in a picture of at least [`WIDE_MIN`] pixels, and in a narrower one: a block has at least 4 pixels.
const COLUMNS_WIDE: usize = 32;
const COLUMNS_NARROW: usize = 16;
const WIDE_MIN: usize = 128;

/// Luma of the two kinds of block, and how far a codec may blur them. What lies between is no stamp.
const BLACK: u8 = 16;
const WHITE: u8 = 235;
const BLACK_READ_MAX: usize = 80;
const WHITE_READ_MIN: usize = 170;

/// The frame number has 24 bits.
const COUNTER_MASK: u32 = 0xFF_FFFF;

/// What a picture says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Frame number from 0, modulo 2^24 (155 hours at 30 fps).
    pub counter: u32,
    /// When the picture was drawn: Unix time in ms, modulo 2^32. Compare with `wrapping_sub`.
    pub sent_ms: u32,
}

impl Stamp {
    fn to_bits(self) -> u64 {
        let payload = u64::from(self.counter & COUNTER_MASK) << 32 | u64::from(self.sent_ms);
        payload << 8 | u64::from(crc8(payload))
    }

    fn from_bits(bits: u64) -> Option<Self> {
        let payload = bits >> 8;
        let stamp = Self { counter: (payload >> 32) as u32, sent_ms: payload as u32 };
        (crc8(payload) == bits as u8).then_some(stamp)
    }
}

/// CRC-8 of the lowest seven bytes. The start value keeps an all-black strip from being a valid stamp.
fn crc8(payload: u64) -> u8 {
    payload.to_be_bytes()[1..].iter().fold(0xFF, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x07 })
    })
}

/// The time for a [`Stamp`]: Unix time in ms, modulo 2^32.
#[must_use]
pub fn now_ms() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u32
}

/// The latency of a picture when the sender's clock is `ahead_ms` ahead: both clocks wrap at 2^32 ms, so the shorter way
/// round is taken.
#[must_use]
pub fn put_right(latency_ms: f64, ahead_ms: f64) -> f64 {
    const WRAP_MS: f64 = 4_294_967_296.0;
    (latency_ms + ahead_ms + WRAP_MS / 2.0).rem_euclid(WRAP_MS) - WRAP_MS / 2.0
}

/// Where the blocks of a stamp lie.
#[derive(Clone, Copy)]
struct Grid {
    width: usize,
    columns: usize,
}

impl Grid {
    const fn rows(self) -> usize {
        BLOCKS / self.columns
    }

    /// Rows or columns of pixels that the `n`th block of a column or row covers.
    const fn extent(self, n: usize) -> Range<usize> {
        n * self.width / self.columns..(n + 1) * self.width / self.columns
    }

    const fn height(self) -> usize {
        self.extent(self.rows() - 1).end
    }
}

/// Draws the picture number `stamp.counter` over all of `frame`.
///
/// Any size can be drawn; the stamp is readable from 64x48 on, where it covers the upper third (of wide pictures: an
/// eighth or less).
pub fn draw(frame: &mut VideoFrame, stamp: Stamp) {
    let Size { width, height } = frame.size();
    let (width, height) = (width as usize, height as usize);
    if width < COLUMNS_NARROW || height < 4 {
        return;
    }
    let columns = if width < WIDE_MIN { COLUMNS_NARROW } else { COLUMNS_WIDE };
    let grid = Grid { width, columns };
    let (y, u, v) = frame.planes_mut();
    let mut canvas = Canvas { width, height, y, u, v };
    let top = grid.height().next_multiple_of(2).min(height);
    draw_scene(&mut canvas, top, stamp.counter & COUNTER_MASK);
    draw_stamp(&mut canvas, grid, top, stamp);
}

/// Reads the stamp of a picture, perhaps coded, decoded and scaled since it was drawn.
///
/// `None` when there is none: a block is neither black nor white, or the CRC does not hold.
#[must_use]
pub fn read(frame: &VideoFrame) -> Option<Stamp> {
    let width = frame.size().width as usize;
    // A picture may have been scaled across the border between the two layouts.
    [COLUMNS_WIDE, COLUMNS_NARROW].into_iter().find_map(|columns| read_grid(frame, Grid { width, columns }))
}

fn read_grid(frame: &VideoFrame, grid: Grid) -> Option<Stamp> {
    if grid.width < grid.columns || grid.height() > frame.size().height as usize {
        return None;
    }
    let mut bits = 0;
    for block in 0..BLOCKS {
        let [rows, columns] = [block / grid.columns, block % grid.columns].map(|n| inner_half(grid.extent(n)));
        let count = rows.len() * columns.len();
        let row_sum = |row: usize| -> usize {
            frame.y()[row * grid.width..][columns.clone()].iter().map(|&luma| usize::from(luma)).sum()
        };
        let mean = rows.map(row_sum).sum::<usize>() / count;
        let bit = match mean {
            ..=BLACK_READ_MAX => 0,
            WHITE_READ_MIN.. => 1,
            _ => return None,
        };
        bits = bits << 1 | bit;
    }
    Stamp::from_bits(bits)
}

/// The middle of a block, away from the blur at its edges; never empty for a range that is not.
const fn inner_half(range: Range<usize>) -> Range<usize> {
    let margin = (range.end - range.start) / 4;
    range.start + margin..range.end - margin
}

/// A colour in BT.601 limited range.
#[derive(Clone, Copy)]
struct Colour {
    y: u8,
    u: u8,
    v: u8,
}

impl Colour {
    const fn new(y: u8, u: u8, v: u8) -> Self {
        Self { y, u, v }
    }

    /// The colour at `part` of `whole` on the way to `other`.
    fn towards(self, other: Self, part: usize, whole: usize) -> Self {
        let mix = |a: u8, b: u8| ((usize::from(a) * (whole - part) + usize::from(b) * part) / whole.max(1)) as u8;
        Self { y: mix(self.y, other.y), u: mix(self.u, other.u), v: mix(self.v, other.v) }
    }
}

const SKY_HIGH: Colour = Colour::new(40, 158, 118);
const SKY_LOW: Colour = Colour::new(150, 96, 168);
const WATER_FAR: Colour = Colour::new(96, 124, 146);
const WATER_NEAR: Colour = Colour::new(34, 148, 118);
const SUN: Colour = Colour::new(222, 62, 150);
const GLITTER: Colour = Colour::new(168, 80, 152);

/// White, yellow, cyan, green, magenta, red, blue, black at 75 %: a swapped or shifted plane shows at a glance.
const BARS: [Colour; 8] = [
    Colour::new(180, 128, 128),
    Colour::new(162, 44, 142),
    Colour::new(131, 156, 44),
    Colour::new(112, 72, 58),
    Colour::new(84, 184, 198),
    Colour::new(65, 100, 212),
    Colour::new(35, 212, 114),
    Colour::new(16, 128, 128),
];

/// Grain changes luma by up to this much.
const GRAIN_MAX: u32 = 3;
/// Bytes of grain a level of luma, and how much of them is copied at once, from a changing place.
const GRAIN_LEN: usize = 1024;
const GRAIN_SPAN: usize = 512;

/// Each level of luma with grain on it, one row of [`GRAIN_LEN`] bytes a level: drawing only copies.
static GRAIN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = 1;
    let mut grainy = |level: usize| {
        random = scramble(random);
        let grain = random >> 16;
        (level as u32 + grain % (2 * GRAIN_MAX + 1)).saturating_sub(GRAIN_MAX).clamp(BLACK.into(), WHITE.into()) as u8
    };
    (0..256 * GRAIN_LEN).map(|n| grainy(n / GRAIN_LEN)).collect()
});

/// One step of a linear congruential generator (Numerical Recipes); its upper bits look random.
const fn scramble(state: u32) -> u32 {
    state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)
}

/// The planes of a picture, filled in spans: whole slices at a time, because debug builds are slow byte by byte.
struct Canvas<'a> {
    width: usize,
    height: usize,
    y: &'a mut [u8],
    u: &'a mut [u8],
    v: &'a mut [u8],
}

impl Canvas<'_> {
    /// Fills a part of one row; what lies outside the picture is left out.
    fn span(&mut self, row: usize, from: usize, to: usize, colour: Colour) {
        let (from, to) = (from.min(self.width), to.min(self.width));
        if row >= self.height || from >= to {
            return;
        }
        self.y[row * self.width..][from..to].fill(colour.y);
        let (chroma_row, chroma_width) = (row / 2, self.width / 2);
        if row.is_multiple_of(2) && chroma_row < self.height / 2 {
            self.u[chroma_row * chroma_width..][from / 2..to / 2].fill(colour.u);
            self.v[chroma_row * chroma_width..][from / 2..to / 2].fill(colour.v);
        }
    }

    /// Fills a whole row with a colour and the grain of this `seed`.
    fn grainy_row(&mut self, row: usize, colour: Colour, seed: u32) {
        self.span(row, 0, self.width, colour);
        let mut random = scramble(seed ^ row as u32);
        let grain = &GRAIN[usize::from(colour.y) * GRAIN_LEN..][..GRAIN_LEN];
        for part in self.y[row * self.width..][..self.width].chunks_mut(GRAIN_SPAN) {
            random = scramble(random);
            part.copy_from_slice(&grain[random as usize >> 23..][..part.len()]);
        }
    }
}

/// Sky, sun, water and bars below row `top`. Everything that moves moves by a few pixels a picture, to encode well.
fn draw_scene(canvas: &mut Canvas<'_>, top: usize, counter: u32) {
    let (width, height) = (canvas.width, canvas.height);
    let bars_top = (height - height / 10).next_multiple_of(2).max(top).min(height);
    let horizon = (top + (bars_top - top) * 2 / 3).next_multiple_of(2).min(bars_top);
    let seed = counter.wrapping_mul(0x9E37_79B9);
    for row in top..horizon {
        canvas.grainy_row(row, SKY_HIGH.towards(SKY_LOW, row - top, horizon - top), seed);
    }
    for row in horizon..bars_top {
        canvas.grainy_row(row, WATER_FAR.towards(WATER_NEAR, row - horizon, bars_top - horizon), seed);
    }

    // The sun goes from side to side in 20 s at 30 fps, and up and down twice as fast.
    let radius = height.min(width) / 8;
    let angle = f64::from(counter % 600) / 600.0 * TAU;
    let wander = |middle: usize, reach: f64| (middle as f64 + reach).max(0.0).round() as usize;
    let centre_x = wander(width / 2, width as f64 * 0.3 * angle.sin());
    let centre_y = wander(horizon, radius as f64 * ((2.0 * angle).sin() - 0.7));
    let half_width = |distance: usize| (radius * radius).saturating_sub(distance * distance).isqrt();
    for row in top..horizon {
        let half = half_width(row.abs_diff(centre_y));
        canvas.span(row, even(centre_x.saturating_sub(half)), even(centre_x + half), SUN);
    }
    let band = (height / 60).next_multiple_of(2).max(2);
    for row in (horizon..bars_top).filter(|row| (row - horizon) / band % 2 == 1) {
        let phase = (row - horizon) / band * 3 + counter as usize / 4;
        let half = radius * (3 + phase % 5) / 8;
        canvas.span(row, even(centre_x.saturating_sub(half)), even(centre_x + half), GLITTER);
    }
    draw_bars(canvas, bars_top, counter as usize * 2 % width);
}

const fn even(n: usize) -> usize {
    n & !1
}

/// Colour bars from row `top` down, moved right by `shift` pixels: one row is drawn, the others are copies.
fn draw_bars(canvas: &mut Canvas<'_>, top: usize, shift: usize) {
    let (width, height) = (canvas.width, canvas.height);
    if top >= height {
        return;
    }
    for (n, colour) in BARS.into_iter().enumerate() {
        let [from, to] = [n, n + 1].map(|n| even(n * width / BARS.len()) + even(shift));
        canvas.span(top, from, to, colour);
        canvas.span(top, from.saturating_sub(width), to.saturating_sub(width), colour);
    }
    for row in top + 1..height {
        canvas.y.copy_within(top * width..(top + 1) * width, row * width);
    }
    let (chroma_top, chroma_width) = (top / 2, width / 2);
    for row in chroma_top + 1..height / 2 {
        for plane in [&mut *canvas.u, &mut *canvas.v] {
            plane.copy_within(chroma_top * chroma_width..(chroma_top + 1) * chroma_width, row * chroma_width);
        }
    }
}

fn draw_stamp(canvas: &mut Canvas<'_>, grid: Grid, top: usize, stamp: Stamp) {
    let bits = stamp.to_bits();
    // The last rows below a grid of odd height stay black.
    for row in 0..top {
        canvas.span(row, 0, canvas.width, Colour::new(BLACK, 128, 128));
    }
    for block in (0..BLOCKS).filter(|block| bits >> (BLOCKS - 1 - block) & 1 == 1) {
        let columns = grid.extent(block % grid.columns);
        for row in grid.extent(block / grid.columns) {
            canvas.span(row, columns.start, columns.end, Colour::new(WHITE, 128, 128));
        }
    }
}

/// Starts the test pattern; sides are rounded down to even ones, `fps` is clamped to 1..=120.
///
/// # Errors
/// [`CaptureError::Device`] when the thread cannot be started.
pub(super) fn open(format: VideoFormat, out: queue::Sender<Arc<VideoFrame>>) -> Result<Capture, CaptureError> {
    Capture::spawn("test-pattern", "test pattern".to_owned(), move |stop| run(format, &out, &stop))
        .map_err(|error| CaptureError::Device(format!("the test pattern cannot start ({error}); close other programs")))
}

fn run(format: VideoFormat, out: &queue::Sender<Arc<VideoFrame>>, stop: &StopFlag) {
    let Size { width, height } = format.size;
    let size = Size { width: (width & !1).max(2), height: (height & !1).max(2) };
    let fps = format.fps.clamp(1, 120);
    let mut pacer = Pacer::new(Instant::now(), fps, Duration::from_secs(1) / fps);
    let mut counter = 0;
    while pacer.wait(stop) {
        let mut frame = VideoFrame::black(size, Instant::now());
        draw(&mut frame, Stamp { counter, sent_ms: now_ms() });
        if !out.send(Arc::new(frame)) {
            return;
        }
        // Pictures that were sent are counted, not moments that passed: a gap in the numbers means loss on the way.
        counter = (counter + 1) & COUNTER_MASK;
    }
}

/// Paces generated media: tick `n` is due `n / rate` seconds after the start, however long the work takes.
#[derive(Debug)]
pub(super) struct Pacer {
    start: Instant,
    ticks_per_second: u32,
    next: u64,
    taken: u64,
    catch_up: Duration,
}

impl Pacer {
    /// Asked at least this often whether to stop.
    const STOP_POLL: Duration = Duration::from_millis(50);

    /// The first tick is due at `start`. Ticks that are late by more than `catch_up` are left out.
    pub(super) const fn new(start: Instant, ticks_per_second: u32, catch_up: Duration) -> Self {
        Self { start, ticks_per_second, next: 0, taken: 0, catch_up }
    }

    /// Waits for the next tick; false when the capture is to stop.
    pub(super) fn wait(&mut self, stop: &StopFlag) -> bool {
        loop {
            if stop.is_set() {
                return false;
            }
            let now = Instant::now();
            let left = self.due(self.next).saturating_duration_since(now);
            if left.is_zero() {
                self.advance(now);
                return true;
            }
            std::thread::sleep(left.min(Self::STOP_POLL));
        }
    }

    /// Number of the tick that was waited for last; a gap where ticks were left out.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    fn due(&self, tick: u64) -> Instant {
        let rate = u64::from(self.ticks_per_second);
        self.start + Duration::from_secs(tick / rate) + Duration::from_nanos(tick % rate * 1_000_000_000 / rate)
    }

    /// Takes the tick that is due and settles the one after it.
    fn advance(&mut self, now: Instant) {
        self.taken = self.next;
        self.next += 1;
        if now.saturating_duration_since(self.due(self.next)) > self.catch_up {
            let passed = now.saturating_duration_since(self.start);
            let rate = u64::from(self.ticks_per_second);
            self.next = passed.as_secs() * rate + u64::from(passed.subsec_nanos()) * rate / 1_000_000_000 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
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
        let mut random = crate::codec::h264::checks::noise(5);
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
    fn the_pacer_keeps_to_its_grid_and_leaves_out_what_is_too_late() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut pacer = Pacer::new(start, 30, ms(33));
        pacer.advance(start + ms(5));
        assert_eq!((pacer.next, pacer.due(3)), (1, start + ms(100)));
        pacer.advance(start + ms(60));
        assert_eq!(pacer.next, 2, "less than one picture late: caught up");
        pacer.advance(start + ms(1_010));
        assert_eq!((pacer.next, pacer.due(31) > start + ms(1_010)), (31, true));
        pacer.advance(start + ms(1_034));
        assert_eq!(pacer.taken(), 31, "after 2 comes 31");
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

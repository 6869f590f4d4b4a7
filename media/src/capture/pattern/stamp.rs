//! The stamp of a test picture: its layout, writing and reading it.
//!
//! - it covers the top: 64 blocks, 32 a row (16 a row below 128 pixels of width), each as high as wide;
//!   block `i` of a row reaches from `i * width / 32` to `(i + 1) * width / 32`, so scaling keeps it readable
//! - a black block is 0, a white one 1; from the left, top row first, highest bit first: 24 bits of frame number,
//!   32 bits of time, 8 bits of CRC over these seven bytes (polynomial 0x07, start 0xFF)

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use super::canvas::{BLACK, Canvas, Colour, WHITE};
use crate::frame::VideoFrame;

/// Blocks, and so bits, in a stamp.
const BLOCKS: usize = 64;
/// Blocks a row in a picture of at least [`WIDE_MIN`] pixels, and in a narrower one: a block has at least 4 pixels.
const COLUMNS_WIDE: usize = 32;
const COLUMNS_NARROW: usize = 16;
const WIDE_MIN: usize = 128;

/// How far a codec may blur black and white blocks. What lies between is no stamp.
const BLACK_READ_MAX: usize = 80;
const WHITE_READ_MIN: usize = 170;

/// The frame number has 24 bits.
pub(super) const COUNTER_MASK: u32 = 0xFF_FFFF;

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
pub(super) struct Grid {
    width: usize,
    columns: usize,
}

impl Grid {
    /// Where the stamp of a picture of so many pixels a row lies; `None` when it is too narrow for one.
    pub(super) fn of_width(width: usize) -> Option<Self> {
        let columns = if width < WIDE_MIN { COLUMNS_NARROW } else { COLUMNS_WIDE };
        (width >= COLUMNS_NARROW).then_some(Self { width, columns })
    }

    const fn rows(self) -> usize {
        BLOCKS / self.columns
    }

    /// Rows or columns of pixels that the `n`th block of a column or row covers.
    const fn extent(self, n: usize) -> Range<usize> {
        n * self.width / self.columns..(n + 1) * self.width / self.columns
    }

    pub(super) const fn height(self) -> usize {
        self.extent(self.rows() - 1).end
    }
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

pub(super) fn draw_stamp(canvas: &mut Canvas<'_>, grid: Grid, top: usize, stamp: Stamp) {
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

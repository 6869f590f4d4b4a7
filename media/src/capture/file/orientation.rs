//! How a file's pictures are turned before they are shown: telephones store them as the sensor lies, and write beside
//! them which way is up.
//!
//! - transformation matrix of an MP4, roll of a Matroska → [`Orientation`] → [`Turned`] → upright pictures

use std::time::Instant;

use super::{NextPicture, Pictures, ReadError};
use crate::frame::{Size, VideoFrame};

/// One of the eight ways to lay a picture onto a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation {
    /// Columns become rows; this comes before the mirroring.
    transposed: bool,
    /// Left and right change places.
    mirrored: bool,
    /// Top and bottom change places.
    upside_down: bool,
}

impl Orientation {
    /// As it is stored.
    pub(super) const UPRIGHT: Self = Self { transposed: false, mirrored: false, upside_down: false };

    /// Reads `[[a, b], [c, d]]` of the matrix that takes a stored point (x, y) to (a x + c y, b x + d y), with y down
    /// (ISO/IEC 14496-12 §6.2.2). A matrix that does anything but turn by quarters and mirror counts as upright.
    pub(super) const fn of_matrix([[a, b], [c, d]]: [[i64; 2]; 2]) -> Self {
        match (a, b, c, d) {
            (_, 0, 0, _) if a != 0 && d != 0 => Self { transposed: false, mirrored: a < 0, upside_down: d < 0 },
            (0, _, _, 0) if b != 0 && c != 0 => Self { transposed: true, mirrored: c < 0, upside_down: b < 0 },
            _ => Self::UPRIGHT,
        }
    }

    /// Turned clockwise by the nearest quarter.
    pub(super) fn of_clockwise_degrees(degrees: f64) -> Self {
        if !degrees.is_finite() {
            return Self::UPRIGHT;
        }
        // The remainder is below 4.
        match (degrees / 90.0).round().rem_euclid(4.0) as u8 {
            1 => Self::of_matrix([[0, 1], [-1, 0]]),
            2 => Self::of_matrix([[-1, 0], [0, -1]]),
            3 => Self::of_matrix([[0, -1], [1, 0]]),
            _ => Self::UPRIGHT,
        }
    }

    /// Turns a picture; its time stays.
    fn apply(self, frame: &VideoFrame) -> VideoFrame {
        let size = frame.size();
        let turned = if self.transposed { Size { width: size.height, height: size.width } } else { size };
        let mut out = VideoFrame::black(turned, Instant::now());
        out.at = frame.at;
        let (y, u, v) = out.planes_mut();
        self.turn(frame.y(), size, y);
        self.turn(frame.u(), size.chroma(), u);
        self.turn(frame.v(), size.chroma(), v);
        out
    }

    /// Turns one plane of `size` samples.
    fn turn(self, stored: &[u8], size: Size, out: &mut [u8]) {
        let (width, height) = (size.width as usize, size.height as usize);
        let (out_width, out_height) = if self.transposed { (height, width) } else { (width, height) };
        for (row, line) in out.chunks_exact_mut(out_width.max(1)).enumerate() {
            let y = if self.upside_down { out_height - 1 - row } else { row };
            for (column, sample) in line.iter_mut().enumerate() {
                let x = if self.mirrored { out_width - 1 - column } else { column };
                let at = if self.transposed { x * width + y } else { y * width + x };
                *sample = stored.get(at).copied().unwrap_or_default();
            }
        }
    }
}

/// Pictures of another reader, turned.
struct Turned {
    stored: Box<dyn Pictures>,
    orientation: Orientation,
}

/// Puts the pictures of `stored` upright.
pub(super) fn upright(stored: Box<dyn Pictures>, orientation: Orientation) -> Box<dyn Pictures> {
    if orientation == Orientation::UPRIGHT { stored } else { Box::new(Turned { stored, orientation }) }
}

impl Pictures for Turned {
    fn next(&mut self) -> Result<NextPicture, ReadError> {
        Ok(match self.stored.next()? {
            NextPicture::Picture { frame, due } => NextPicture::Picture { frame: self.orientation.apply(&frame), due },
            end @ NextPicture::End { .. } => end,
        })
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.stored.rewind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The luma of 4x2 samples, numbered by rows, once it was turned.
    fn turned(orientation: Orientation) -> (Size, Vec<u8>) {
        let mut frame = VideoFrame::black(Size { width: 4, height: 2 }, Instant::now());
        frame.planes_mut().0.copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        frame.planes_mut().1.copy_from_slice(&[10, 20]);
        let turned = orientation.apply(&frame);
        assert_eq!(turned.u().len(), 2);
        (turned.size(), turned.y().to_vec())
    }

    #[test]
    fn quarters_turn_clockwise() {
        let (wide, high) = (Size { width: 4, height: 2 }, Size { width: 2, height: 4 });
        for (degrees, size, luma) in [
            (0.0, wide, [1, 2, 3, 4, 5, 6, 7, 8]),
            (90.0, high, [5, 1, 6, 2, 7, 3, 8, 4]),
            (-180.0, wide, [8, 7, 6, 5, 4, 3, 2, 1]),
            (-90.0, high, [4, 8, 3, 7, 2, 6, 1, 5]),
            (450.0, high, [5, 1, 6, 2, 7, 3, 8, 4]),
            (f64::NAN, wide, [1, 2, 3, 4, 5, 6, 7, 8]),
        ] {
            assert_eq!(turned(Orientation::of_clockwise_degrees(degrees)), (size, luma.to_vec()), "{degrees}");
        }
    }

    #[test]
    fn mirrors_are_honoured_and_other_matrices_are_not() {
        let mirror = Orientation::of_matrix([[-0x1_0000, 0], [0, 0x1_0000]]);
        assert_eq!(turned(mirror).1, [4, 3, 2, 1, 8, 7, 6, 5]);
        for matrix in [[[0, 0], [0, 0]], [[1, 1], [1, 1]], [[0, 1], [0, 1]], [[2, 0], [0, 2]]] {
            assert_eq!(Orientation::of_matrix(matrix), Orientation::UPRIGHT, "{matrix:?}");
        }
    }
}

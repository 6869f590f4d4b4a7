//! Peak signal-to-noise ratio of luma, as ffmpeg's `psnr` filter has it (`psnr_y`): 10·log10(255² / mean squared error).

use crate::frame::VideoFrame;

/// Largest value of a sample of 8 bits.
const PEAK: f64 = 255.0;

/// What two equal pictures have, whose ratio is infinite: JSON has no word for that. A single sample of a 1080p picture
/// that is off by one has 111 dB and counts as equal too; the best of codecs stay below 60.
pub const PSNR_DB_MAX: f64 = 100.0;

/// Mean squared difference of the luma samples; `None` for pictures of different sizes, or without a sample.
#[must_use]
pub fn mean_squared_error(one: &VideoFrame, other: &VideoFrame) -> Option<f64> {
    if one.size() != other.size() || one.y().is_empty() {
        return None;
    }
    let squares = |(a, b): (&[u8], &[u8])| -> u64 {
        let sum: u32 = a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum();
        sum.into()
    };
    let sum: u64 = one.y().chunks(ROW_MAX).zip(other.y().chunks(ROW_MAX)).map(squares).sum();
    Some(sum as f64 / one.y().len() as f64)
}

/// Samples that are summed up in 32 bits: 65,536 · 255² < 2^32.
const ROW_MAX: usize = 65_536;

/// The ratio of a mean squared error, dB, at most [`PSNR_DB_MAX`].
#[must_use]
pub fn psnr_db(mean_squared_error: f64) -> f64 {
    // A division by 0 gives infinity, which is above the most.
    (10.0 * (PEAK * PEAK / mean_squared_error).log10()).min(PSNR_DB_MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::frame::Size;

    fn grey(width: u32, height: u32, luma: u8) -> VideoFrame {
        let mut frame = VideoFrame::black(Size { width, height }, Instant::now());
        frame.planes_mut().0.fill(luma);
        frame
    }

    #[test]
    fn the_ratio_is_that_of_its_definition() {
        assert_eq!(mean_squared_error(&grey(640, 480, 0), &grey(640, 480, 255)), Some(65_025.0));
        assert!(psnr_db(65_025.0).abs() < 1e-12);
        // 20·log10(255) for an error of 1.
        assert_eq!(mean_squared_error(&grey(16, 16, 7), &grey(16, 16, 8)), Some(1.0));
        assert!((psnr_db(1.0) - 48.130_8).abs() < 1e-4);
        assert!((psnr_db(0.0) - PSNR_DB_MAX).abs() < f64::EPSILON);
    }

    #[test]
    fn pictures_of_different_sizes_are_not_compared() {
        assert_eq!(mean_squared_error(&grey(16, 16, 7), &grey(16, 18, 7)), None);
        assert_eq!(mean_squared_error(&grey(0, 0, 7), &grey(0, 0, 7)), None);
    }
}

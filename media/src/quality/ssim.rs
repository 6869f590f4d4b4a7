//! Structural similarity of luma: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to
//! structural similarity", IEEE Transactions on Image Processing 13(4), 2004, equation 13.
//!
//! As ffmpeg's `ssim` filter has it (`Y`), and x264 before it: windows of 8x8 samples without weights, 4 samples apart
//! in both directions; what does not fill a block of 4 at the right and the bottom is left out; the result is the mean
//! over all windows. Sums of blocks of 4x4 are made once, and four of them are a window.

use crate::frame::VideoFrame;

/// Side of a block, and the distance of two windows.
const BLOCK: usize = 4;

/// Samples of a window.
const SAMPLES: f64 = 64.0;

/// (0.01 · 255)² and (0.03 · 255)²: keep the quotients of dark and of flat windows stable.
const C1: f64 = 6.5025;
const C2: f64 = 58.5225;

/// Sums over samples x and y of the two pictures.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    x: u32,
    y: u32,
    /// Of x² + y²: the formula has no use for one without the other.
    squares: u32,
    products: u32,
}

impl Sums {
    /// Of a row of a block in both pictures. Written out: it is the inmost loop, and a development build unrolls none.
    const fn of(x: [u32; BLOCK], y: [u32; BLOCK]) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (x, y);
        Self {
            x: a + b + c + d,
            y: e + f + g + h,
            squares: a * a + b * b + c * c + d * d + e * e + f * f + g * g + h * h,
            products: a * e + b * f + c * g + d * h,
        }
    }

    /// The similarity of a window. Variances are those of a sample, with 63 in the denominator.
    fn similarity(self) -> f64 {
        let [x, y, squares, products] = [self.x, self.y, self.squares, self.products].map(f64::from);
        let (mean_x, mean_y) = (x / SAMPLES, y / SAMPLES);
        let variances = (squares - SAMPLES * (mean_x * mean_x + mean_y * mean_y)) / (SAMPLES - 1.0);
        let covariance = (products - SAMPLES * mean_x * mean_y) / (SAMPLES - 1.0);
        (2.0 * mean_x * mean_y + C1) * (2.0 * covariance + C2)
            / ((mean_x * mean_x + mean_y * mean_y + C1) * (variances + C2))
    }
}

impl std::ops::Add for Sums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            x: self.x + other.x,
            y: self.y + other.y,
            squares: self.squares + other.squares,
            products: self.products + other.products,
        }
    }
}

/// The similarity of two pictures: 1 for equal ones, less the less alike they are, at least -1.
///
/// `None` for pictures of different sizes, or smaller than a window (8x8).
#[must_use]
pub fn ssim(one: &VideoFrame, other: &VideoFrame) -> Option<f64> {
    let width = one.size().width as usize;
    let (columns, rows) = (width / BLOCK, one.size().height as usize / BLOCK);
    if one.size() != other.size() || columns < 2 || rows < 2 {
        return None;
    }
    let strip = BLOCK * width;
    let mut strips = one.y().chunks_exact(strip).zip(other.y().chunks_exact(strip));
    let mut above = blocks(strips.next()?, width);
    let mut sum = 0.0;
    for strip in strips {
        let below = blocks(strip, width);
        let pairs = above.windows(2).zip(below.windows(2));
        sum += pairs.map(|(a, b)| (a[0] + a[1] + b[0] + b[1]).similarity()).sum::<f64>();
        above = below;
    }
    Some(sum / ((columns - 1) * (rows - 1)) as f64)
}

/// The sums of all whole blocks of a strip, 4 rows high.
fn blocks((one, other): (&[u8], &[u8]), width: usize) -> Vec<Sums> {
    let mut sums = vec![Sums::default(); width / BLOCK];
    for (one, other) in one.chunks_exact(width).zip(other.chunks_exact(width)) {
        let blocks = one.as_chunks::<BLOCK>().0.iter().zip(other.as_chunks().0);
        for (sum, (one, other)) in sums.iter_mut().zip(blocks) {
            *sum = *sum + Sums::of(one.map(u32::from), other.map(u32::from));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::frame::Size;

    fn drawn(width: u32, height: u32, luma: impl Fn(usize) -> u8) -> VideoFrame {
        let mut frame = VideoFrame::black(Size { width, height }, Instant::now());
        for (n, sample) in frame.planes_mut().0.iter_mut().enumerate() {
            *sample = luma(n);
        }
        frame
    }

    #[test]
    fn equal_pictures_are_alike_and_negatives_are_not() {
        let picture = |n: usize| (n * 37 % 256) as u8;
        let one = drawn(34, 22, picture);
        assert!((ssim(&one, &one).unwrap() - 1.0).abs() < 1e-12);
        let negative = drawn(34, 22, |n| 255 - picture(n));
        assert!(ssim(&one, &negative).unwrap() < -0.5);
    }

    #[test]
    fn flat_pictures_differ_by_their_means_alone() {
        // (2·100·120 + C1) / (100² + 120² + C1): without variance the second factor is 1.
        let similarity = ssim(&drawn(8, 8, |_| 100), &drawn(8, 8, |_| 120)).unwrap();
        assert!((similarity - 24_006.502_5 / 24_406.502_5).abs() < 1e-12, "{similarity}");
    }

    #[test]
    fn pictures_below_a_window_and_of_different_sizes_are_not_compared() {
        let of = |width, height| drawn(width, height, |_| 7);
        assert_eq!(ssim(&of(6, 40), &of(6, 40)), None);
        assert_eq!(ssim(&of(40, 7), &of(40, 7)), None);
        assert_eq!(ssim(&of(16, 16), &of(16, 18)), None);
        assert!(ssim(&of(9, 11), &of(9, 11)).is_some());
    }
}

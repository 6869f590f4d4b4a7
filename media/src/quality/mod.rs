//! How good what arrives is, in figures that others define: pictures, sound, the talk as a whole.
//!
//! Pure: reads no clock, starts no thread. Whoever looks once a second subtracts what it saw last.
//!
//! - [`psnr`], [`ssim`]: two pictures → how far apart; [`PictureQuality`] sums it up
//! - [`test_sound`]: decoded sound → tones and latencies if it is the test sweep, else nothing
//! - [`tone`]: decoded sound → which tone of the sweep it is
//! - [`sweep`]: decoded test sound and when it is played → latency of each step of the sweep
//! - [`concealment`]: what each 20 ms of sound was made of → loss as the E-model takes it
//! - [`mos`]: delay and loss → estimated mean opinion score
//! - [`Latency`]: times of two clocks → latencies, once it is known how far the clocks are apart
//! - [`Recent`]: the latest of any of these, for figures of the last second

pub mod concealment;
mod latency;
pub mod mos;
pub mod psnr;
mod recent;
pub mod ssim;
pub mod sweep;
pub mod test_sound;
pub mod tone;

pub use latency::Latency;
pub use recent::Recent;

use crate::frame::VideoFrame;

/// What comparing pictures with their originals came to; the difference of two of these is what lies between.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PictureQuality {
    /// Pictures compared.
    compared: u64,
    /// Sum of their mean squared errors.
    squared_error: f64,
    /// Sum of their SSIM.
    ssim: f64,
}

impl PictureQuality {
    /// A picture arrived, of which this is the original. Pictures of different sizes, or too small for a window of
    /// SSIM, are not comparable and do not count.
    pub fn add(&mut self, original: &VideoFrame, received: &VideoFrame) {
        let errors = psnr::mean_squared_error(original, received).zip(ssim::ssim(original, received));
        if let Some((squared_error, ssim)) = errors {
            self.compared += 1;
            self.squared_error += squared_error;
            self.ssim += ssim;
        }
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            compared: self.compared.saturating_sub(earlier.compared),
            squared_error: self.squared_error - earlier.squared_error,
            ssim: self.ssim - earlier.ssim,
        }
    }

    /// PSNR of the mean of the squared errors, dB, at most [`psnr::PSNR_DB_MAX`]; `None` when nothing was compared.
    #[must_use]
    pub fn psnr_db(self) -> Option<f64> {
        // What remains of a difference of sums may lie a rounding error below 0.
        self.mean(self.squared_error).map(|mean| psnr::psnr_db(mean.max(0.0)))
    }

    /// Mean SSIM, at most 1; `None` when nothing was compared.
    #[must_use]
    pub fn ssim(self) -> Option<f64> {
        self.mean(self.ssim).map(|mean| mean.min(1.0))
    }

    fn mean(self, sum: f64) -> Option<f64> {
        (self.compared > 0).then(|| sum / self.compared as f64)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::frame::Size;

    fn grey(luma: u8) -> VideoFrame {
        let mut frame = VideoFrame::black(Size { width: 16, height: 16 }, Instant::now());
        frame.planes_mut().0.fill(luma);
        frame
    }

    #[test]
    fn the_mean_is_one_of_errors_and_not_of_decibels() {
        let mut quality = PictureQuality::default();
        assert_eq!((quality.psnr_db(), quality.ssim()), (None, None));
        quality.add(&grey(100), &grey(100));
        assert_eq!((quality.psnr_db(), quality.ssim()), (Some(psnr::PSNR_DB_MAX), Some(1.0)));
        let first = quality;
        quality.add(&grey(100), &grey(102));
        // Squared errors 0 and 4: their mean is 2, 45.12 dB.
        assert!((quality.psnr_db().unwrap() - 45.120).abs() < 0.001, "{quality:?}");
        assert!((quality.since(first).psnr_db().unwrap() - 42.110).abs() < 0.001, "{quality:?}");
        assert_eq!(quality.since(quality), PictureQuality::default());
    }
}

//! The limits of the bandwidth estimate.

/// Bits a second that the estimate starts at and stays between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BitrateLimits {
    /// First estimate: even a narrow line carries it for the moment that it takes to see what more it carries.
    pub start_bps: u32,
    /// Never below: sound of some kind always gets through.
    pub min_bps: u32,
    /// Never above: more would not look better at this size.
    pub max_bps: u32,
}

impl BitrateLimits {
    /// Limits for video of `pixels_a_second`: 0.15 bits a pixel look good with either codec, 0.25 are plenty.
    #[must_use]
    pub fn for_video(pixels_a_second: u64) -> Self {
        let at = |bits_times_100: u64| u32::try_from(pixels_a_second * bits_times_100 / 100).unwrap_or(u32::MAX);
        let max_bps = at(25).clamp(500_000, 8_000_000);
        Self { start_bps: 400_000, min_bps: 20_000, max_bps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitrate_follows_the_picture_and_stays_in_bounds() {
        let vga = BitrateLimits::for_video(640 * 480 * 30);
        assert!(vga.min_bps < vga.start_bps && vga.start_bps < vga.max_bps && vga.max_bps < 3_000_000, "{vga:?}");
        let huge = BitrateLimits::for_video(u64::MAX / 200);
        assert_eq!(huge.max_bps, 8_000_000);
    }
}

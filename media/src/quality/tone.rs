//! Names the tone of the test sweep ([`crate::capture::tone`]) in sound that was received.
//!
//! Pure; reads no clock.

use std::f64::consts::TAU;

use crate::capture::tone::{STEPS, frequency_of};
use crate::frame::AUDIO_RATE_HZ;

/// Below this level (root mean square, about -56 dBFS) sound counts as silence.
pub(super) const SILENCE_RMS: f64 = 50.0;

/// Share of the whole energy that one tone must have: speech, music and noise stay far below.
const TONAL_SHARE: f64 = 0.5;

/// Detection works on blocks of 20 ms: resolves 50 Hz, so clocks may drift and the spacing still tells tones apart.
const BLOCK_SAMPLES: usize = 960;

/// The tone that dominates at least 40 ms of 48 kHz mono sound, as one of the sweep's frequencies in Hz.
///
/// `None` when there are fewer than 1920 samples, silence, or no tone of the sweep with most of the energy; also when
/// two tones share the sound evenly, so stay clear of the steps. Tones up to about 15 Hz off are still recognised.
#[must_use]
pub fn detect(samples: &[i16]) -> Option<f64> {
    if samples.len() < 2 * BLOCK_SAMPLES {
        return None;
    }
    let blocks = || samples.chunks_exact(BLOCK_SAMPLES);
    let count = (blocks().len() * BLOCK_SAMPLES) as f64;
    let energy: f64 = blocks().flatten().map(|&sample| f64::from(sample).powi(2)).sum();
    if (energy / count).sqrt() < SILENCE_RMS {
        return None;
    }
    // A pure tone of amplitude a has the power (a·n/2)² in a block of n samples, and the energy a²·n/2.
    let share = |hz: f64| blocks().map(|block| power(block, hz)).sum::<f64>() * 2.0 / (BLOCK_SAMPLES as f64 * energy);
    let (best, hz) = (0..STEPS).map(frequency_of).map(|hz| (share(hz), hz)).max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best > TONAL_SHARE).then_some(hz)
}

/// Squared magnitude of one frequency in a block (Goertzel's algorithm).
pub(super) fn power(block: &[i16], hz: f64) -> f64 {
    let coefficient = 2.0 * (TAU * hz / f64::from(AUDIO_RATE_HZ)).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for &sample in block {
        (last, before) = (f64::from(sample) + coefficient * last - before, last);
    }
    last * last + before * before - coefficient * last * before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::tone::{Sweep, frequency_at};

    fn cycle() -> Vec<i16> {
        let mut sweep = Sweep::new();
        (0..210).flat_map(|_| sweep.next_frame()).collect()
    }

    #[test]
    fn each_step_is_detected_even_in_noise_and_off_pitch() {
        let sound = cycle();
        for start in (0..sound.len() - 9_600).step_by(24_000) {
            let clean = &sound[start..start + 9_600];
            assert_eq!(detect(clean), Some(frequency_at(start as u64)));
            assert_eq!(detect(&clean[..1_920]), Some(frequency_at(start as u64)));
            let stretched: Vec<i16> = (0..9_400).map(|n| clean[n * 1_009 / 1_000]).collect();
            assert_eq!(detect(&stretched), Some(frequency_at(start as u64)));
        }
        assert_eq!((frequency_at(23_999), frequency_at(24_000), frequency_at(192_000)), (400.0, 600.0, 400.0));
    }

    #[test]
    fn silence_noise_and_scraps_are_no_tone() {
        let mut random = crate::codec::checks::noise(99);
        let noise: Vec<i16> = (0..9_600).map(|_| (random() % 16_384) as i16 - 8_192).collect();
        let other: Vec<i16> = (0..9_600).map(|n| ((f64::from(n) * 0.065).sin() * 8e3) as i16).collect();
        for sound in [&[0; 9_600][..], &noise, &other, &cycle()[..1_919]] {
            assert_eq!(detect(sound), None);
        }
    }
}

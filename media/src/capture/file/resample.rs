//! Any sample rate to 48 kHz: a windowed sinc, evaluated at exact rational positions, so that no drift builds up.
//!
//! Pure: samples in, samples out, no clock and no IO. It knows nothing of the file's end, so a repeated file stays smooth.

use std::f64::consts::PI;

use crate::frame::AUDIO_RATE_HZ;

/// Zero crossings of the sinc on each side: 16 keeps aliases below -60 dB with a Hann window.
const CROSSINGS: usize = 16;

/// Table entries between two zero crossings; between entries the kernel is interpolated.
const STEPS: usize = 256;

/// Input rates that are believed, Hz.
pub(super) const RATES: std::ops::RangeInclusive<u32> = 4_000..=768_000;

/// Turns one mono stream into [`AUDIO_RATE_HZ`].
pub(super) struct Resampler {
    rate: u32,
    /// Half of the kernel; the last entry is 0.
    kernel: Vec<f64>,
    /// Share of the input's band that survives: 1, or less when the input rate is the higher one.
    cutoff: f64,
    /// How many input samples on each side take part.
    reach: usize,
    input: Vec<f32>,
    /// Next output's position in `input`: whole samples, and a fraction in 48000ths.
    whole: usize,
    fraction: u32,
}

impl Resampler {
    /// `rate` is one of [`RATES`].
    pub(super) fn new(rate: u32) -> Self {
        let cutoff = (f64::from(AUDIO_RATE_HZ) / f64::from(rate)).min(1.0) * 0.96;
        let reach = (CROSSINGS as f64 / cutoff).ceil() as usize;
        let kernel = (0..=CROSSINGS * STEPS)
            .map(|n| {
                let x = n as f64 / STEPS as f64;
                let sinc = if n == 0 { 1.0 } else { (PI * x).sin() / (PI * x) };
                sinc * 0.5 * (1.0 + (PI * x / CROSSINGS as f64).cos())
            })
            .collect();
        Self { rate, kernel, cutoff, reach, input: vec![0.0; reach], whole: reach, fraction: 0 }
    }

    /// Takes samples of -1.0 to 1.0 and appends the 16-bit samples that are complete.
    pub(super) fn push(&mut self, samples: impl Iterator<Item = f32>, out: &mut Vec<i16>) {
        if self.rate == AUDIO_RATE_HZ {
            out.extend(samples.map(to_i16));
            return;
        }
        self.input.extend(samples);
        while self.whole + self.reach + 1 < self.input.len() {
            out.push(to_i16(self.at_position()));
            let fraction = u64::from(self.fraction) + u64::from(self.rate);
            self.whole += (fraction / u64::from(AUDIO_RATE_HZ)) as usize;
            self.fraction = (fraction % u64::from(AUDIO_RATE_HZ)) as u32;
        }
        // A long step may point behind what has come so far.
        let done = (self.whole - self.reach).min(self.input.len());
        self.input.drain(..done);
        self.whole -= done;
    }

    fn at_position(&self) -> f32 {
        let fraction = f64::from(self.fraction) / f64::from(AUDIO_RATE_HZ);
        let from = self.whole - self.reach;
        let (mut sum, mut weights) = (0.0, 0.0);
        for (n, sample) in self.input[from..=self.whole + self.reach + 1].iter().enumerate() {
            let distance = (n as f64 - self.reach as f64 - fraction).abs() * self.cutoff * STEPS as f64;
            let step = distance as usize;
            if let [left, right, ..] = self.kernel.get(step..).unwrap_or_default() {
                let weight = left + (right - left) * (distance - step as f64);
                sum += weight * f64::from(*sample);
                weights += weight;
            }
        }
        (sum / weights) as f32
    }
}

/// -1.0 to 1.0 as 16 bit; louder is clipped, not-a-number is silence.
pub(super) fn to_i16(sample: f32) -> i16 {
    // `as` saturates and maps NaN to 0.
    (sample * 32_768.0).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_keeps_its_pitch_and_level() {
        for rate in [8_000_u32, 44_100, 48_000, 96_000, 192_000] {
            let tone = |n: u32| (2.0 * PI * 1000.0 * f64::from(n) / f64::from(rate)).sin() * 0.5;
            let mut out = Vec::new();
            let mut resampler = Resampler::new(rate);
            let samples: Vec<f32> = (0..rate).map(|n| tone(n) as f32).collect();
            for chunk in samples.chunks(1000) {
                resampler.push(chunk.iter().copied(), &mut out);
            }
            let lost = 48_000 - out.len();
            assert!(lost < 150, "{rate}: {lost} samples are missing");
            // Away from the edges, where the kernel sees silence.
            for (n, sample) in out.iter().enumerate().skip(200).take(47_000) {
                let wanted = (2.0 * PI * n as f64 / 48.0).sin() * 16_384.0;
                assert!((f64::from(*sample) - wanted).abs() < 40.0, "{rate} Hz, sample {n}: {sample} {wanted}");
            }
        }
    }

    #[test]
    fn tones_above_the_new_band_vanish() {
        let mut out = Vec::new();
        let tone = (0..96_000).map(|n| (2.0 * PI * 30_000.0 * f64::from(n) / 96_000.0).sin() as f32);
        Resampler::new(96_000).push(tone, &mut out);
        assert!(out.iter().skip(200).all(|sample| sample.abs() < 66), "aliases above -54 dB");
    }

    #[test]
    fn broken_floats_are_silence_or_clipped() {
        assert_eq!([f32::NAN, f32::INFINITY, -3.0, 0.5].map(to_i16), [0, i16::MAX, i16::MIN, 16_384]);
    }
}

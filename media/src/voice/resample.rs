//! Sound from one sample rate to another: a windowed sinc, evaluated at exact rational positions, so that no drift builds
//! up.
//!
//! Pure: samples in, samples out, no clock and no IO. It knows nothing of a file's end, so a repeated file stays smooth.
//!
//! - devices that cannot do 48 kHz: 16 bit to 16 bit, in blocks of any size
//! - files: floats to 16 bit
//!
//! The kernel looks [`CROSSINGS`] input samples ahead, or output samples where that rate is the lower one: a third of a
//! millisecond at 44.1 or 48 kHz.

use std::f64::consts::PI;

/// Zero crossings of the sinc on each side: 16 keeps aliases below -60 dB with a Hann window.
const CROSSINGS: usize = 16;

/// Table entries between two zero crossings; between entries the kernel is interpolated.
const STEPS: usize = 256;

/// Share of the lower rate's band that survives.
const PASS_BAND: f64 = 0.96;

/// Converts one mono stream, block by block.
#[derive(Clone, Debug)]
pub(crate) struct Resampler {
    from_hz: u32,
    to_hz: u32,
    /// Half of the kernel; the last entry is 0.
    kernel: Vec<f64>,
    /// Share of the input's band that survives: [`PASS_BAND`], or less when the input rate is the higher one.
    cutoff: f64,
    /// How many input samples on each side take part.
    reach: usize,
    input: Vec<f32>,
    /// Next output's position in `input`: whole samples, and a fraction in units of 1/`to_hz`.
    whole: usize,
    fraction: u32,
}

impl Resampler {
    /// From `from_hz` to `to_hz` samples a second, both at least 1.
    pub(crate) fn new(from_hz: u32, to_hz: u32) -> Self {
        let (from_hz, to_hz) = (from_hz.max(1), to_hz.max(1));
        let cutoff = (f64::from(to_hz) / f64::from(from_hz)).min(1.0) * PASS_BAND;
        let reach = (CROSSINGS as f64 / cutoff).ceil() as usize;
        let kernel = (0..=CROSSINGS * STEPS)
            .map(|n| {
                let x = n as f64 / STEPS as f64;
                let sinc = if n == 0 { 1.0 } else { (PI * x).sin() / (PI * x) };
                sinc * 0.5 * (1.0 + (PI * x / CROSSINGS as f64).cos())
            })
            .collect();
        Self { from_hz, to_hz, kernel, cutoff, reach, input: vec![0.0; reach], whole: reach, fraction: 0 }
    }

    /// Appends what 16-bit samples become; at the same rate they stay as they are.
    pub(crate) fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        if self.from_hz == self.to_hz {
            out.extend_from_slice(samples);
            return;
        }
        self.input.extend(samples.iter().map(|sample| f32::from(*sample) / 32_768.0));
        self.convert(out);
    }

    /// Appends what samples of -1.0 to 1.0 become.
    pub(crate) fn push_floats(&mut self, samples: impl Iterator<Item = f32>, out: &mut Vec<i16>) {
        if self.from_hz == self.to_hz {
            out.extend(samples.map(to_i16));
            return;
        }
        self.input.extend(samples);
        self.convert(out);
    }

    /// Appends the samples that are complete and forgets the input behind them.
    fn convert(&mut self, out: &mut Vec<i16>) {
        while self.whole + self.reach + 1 < self.input.len() {
            out.push(to_i16(self.at_position()));
            let fraction = u64::from(self.fraction) + u64::from(self.from_hz);
            self.whole += (fraction / u64::from(self.to_hz)) as usize;
            self.fraction = (fraction % u64::from(self.to_hz)) as u32;
        }
        // A long step may point behind what has come so far.
        let done = (self.whole - self.reach).min(self.input.len());
        self.input.drain(..done);
        self.whole -= done;
    }

    fn at_position(&self) -> f32 {
        let fraction = f64::from(self.fraction) / f64::from(self.to_hz);
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
fn to_i16(sample: f32) -> i16 {
    // `as` saturates and maps NaN to 0.
    (sample * 32_768.0).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tone of so many hertz and half of full scale, a second long.
    fn tone(hz: f64, rate: u32) -> Vec<f32> {
        (0..rate).map(|n| ((2.0 * PI * hz * f64::from(n) / f64::from(rate)).sin() * 0.5) as f32).collect()
    }

    fn assert_is_tone(out: &[i16], hz: f64, rate: u32, what: &str) {
        // Away from the edges, where the kernel sees silence.
        let inner = rate as usize / 200..rate as usize / 50 * 49;
        let wanted = |n: usize| (2.0 * PI * hz * n as f64 / f64::from(rate)).sin() * 16_384.0;
        let off = inner.map(|n| (f64::from(out[n]) - wanted(n)).abs()).fold(0.0, f64::max);
        assert!(off < 40.0, "{what}: off by {off}");
    }

    #[test]
    fn a_tone_of_a_file_keeps_its_pitch_and_level() {
        for rate in [8_000, 44_100, 48_000, 96_000, 192_000] {
            let mut out = Vec::new();
            let mut resampler = Resampler::new(rate, 48_000);
            for chunk in tone(1_000.0, rate).chunks(1_000) {
                resampler.push_floats(chunk.iter().copied(), &mut out);
            }
            let lost = 48_000 - out.len();
            assert!(lost < 150, "{rate}: {lost} samples are missing");
            assert_is_tone(&out, 1_000.0, 48_000, &format!("{rate} Hz"));
        }
    }

    #[test]
    fn a_tone_of_a_device_keeps_its_pitch_and_level_whatever_the_block_size() {
        for (from, to) in [(44_100, 48_000), (32_000, 48_000), (16_000, 48_000), (48_000, 44_100), (48_000, 96_000)] {
            let samples: Vec<i16> = tone(440.0, from).into_iter().map(to_i16).collect();
            let mut whole = Vec::new();
            Resampler::new(from, to).push(&samples, &mut whole);
            let mut resampler = Resampler::new(from, to);
            let mut out = Vec::new();
            for block in samples.chunks(441) {
                resampler.push(block, &mut out);
            }
            assert!(out == whole, "{from} to {to}: blocks are heard");
            // What the kernel looks ahead is still to come.
            let ahead = (resampler.reach as f64 + 1.0) * f64::from(to) / f64::from(from);
            let missing = f64::from(to) - ahead - out.len() as f64;
            assert!(missing.abs() <= 2.0, "{from} to {to}: {} samples", out.len());
            assert_is_tone(&out, 440.0, to, &format!("{from} to {to}"));
        }
    }

    #[test]
    fn it_looks_ahead_for_less_than_a_millisecond() {
        for (from, to) in [(44_100, 48_000), (48_000, 44_100), (96_000, 48_000)] {
            let ahead_s = (Resampler::new(from, to).reach + 1) as f64 / f64::from(from);
            assert!(ahead_s < 0.000_5, "{from} to {to}: {ahead_s} s");
        }
    }

    #[test]
    fn the_same_rate_changes_nothing_and_full_scale_does_not_wrap() {
        let mut output = Vec::new();
        Resampler::new(48_000, 48_000).push(&[1, -2, 3], &mut output);
        assert_eq!(output, [1, -2, 3]);
        output.clear();
        let edge: Vec<i16> = [i16::MIN; 40].into_iter().chain([i16::MAX; 60]).collect();
        Resampler::new(44_100, 48_000).push(&edge, &mut output);
        assert!(output[60..].iter().all(|&sample| sample > 0), "{output:?}");
    }

    #[test]
    fn tones_above_the_new_band_vanish() {
        let mut out = Vec::new();
        let tone = (0..96_000).map(|n| (2.0 * PI * 30_000.0 * f64::from(n) / 96_000.0).sin() as f32);
        Resampler::new(96_000, 48_000).push_floats(tone, &mut out);
        assert!(out.iter().skip(200).all(|sample| sample.abs() < 66), "aliases above -54 dB");
    }

    #[test]
    fn broken_floats_are_silence_or_clipped() {
        assert_eq!([f32::NAN, f32::INFINITY, -3.0, 0.5].map(to_i16), [0, i16::MAX, i16::MIN, 16_384]);
    }
}

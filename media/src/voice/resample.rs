//! Sound from one sample rate to another, by the windowed sinc of the crate `rubato`.
//!
//! Pure: samples in, samples out, no clock and no IO. It knows nothing of a file's end, so a repeated file stays smooth.
//!
//! - devices that cannot do 48 kHz: 16 bit to 16 bit, in blocks of any size, by a short filter
//! - files: floats to 16 bit, by a long filter, because nobody waits for them
//! - blocks → [`CHUNK`]s, the pieces that rubato takes → samples; once made it allocates nothing of its own
//!
//! | at 44.1 to 48 kHz | device | file |
//! |---|---|---|
//! | taps, window, between the filter's points | 64, Hann squared, linear | 256, Blackman-Harris squared, cubic |
//! | SNR of a tone at 0.3, 0.8, 0.9 of the band | 124, 106, 91 dB | 135, 136, 137 dB |
//! | level at 0.8, 0.9, 0.95 of the band | 0, -3.3, -16.7 dB | 0, 0, -7.9 dB |
//! | alias of a tone 2 % above the new band, 96 to 48 kHz | -67 dB | -136 dB |
//! | most delay at 8, 16, 44.1, 96 kHz | 5.0, 2.6, 0.9, 0.8 ms | 17, 8.6, 3.1, 2.8 ms |
//!
//! SNR is before rounding to 16 bit. `cargo test --locked -p tring-media look_at_resampling -- --ignored --nocapture`
//! prints these figures, and what it takes; `figures` holds the filters to them.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, FixedAsync, Resampler as _, SincInterpolationParameters, SincInterpolationType, WindowFunction,
    calculate_cutoff,
};

/// Samples that are converted at once, as many times more as the rate falls. Up to 7 wait for more: 0.2 ms at 44.1 kHz.
const CHUNK: usize = 8;

/// The filter grows as the rate falls, or it would let aliases through; but no further than from 768 to 48 kHz, the
/// steepest that files have.
const STEEPEST: usize = 16;

/// Converts one mono stream, block by block.
#[derive(Debug)]
pub(crate) struct Resampler {
    /// None where both rates are the same.
    converter: Option<Converter>,
}

#[derive(Debug)]
struct Converter {
    sinc: Async<f32>,
    /// What came and is not converted yet, less than a chunk.
    input: Vec<f32>,
    /// How long a chunk is.
    chunk: usize,
    /// Room for what a chunk becomes.
    output: Vec<f32>,
    /// So many samples of output stand for the time before the first of input.
    early: usize,
}

impl Resampler {
    /// For a device, from `from_hz` to `to_hz` samples a second, both at least 1.
    pub(crate) fn for_device(from_hz: u32, to_hz: u32) -> Self {
        // Short, because a call waits for half of it.
        let filter = SincInterpolationParameters::new(64, WindowFunction::Hann2)
            .oversampling_factor(256)
            .interpolation(SincInterpolationType::Linear);
        Self::new(from_hz, to_hz, filter)
    }

    /// For a file, from `from_hz` to `to_hz` samples a second, both at least 1.
    pub(crate) fn for_file(from_hz: u32, to_hz: u32) -> Self {
        Self::new(from_hz, to_hz, SincInterpolationParameters::new(256, WindowFunction::BlackmanHarris2))
    }

    /// `filter` as it is where the rate rises; it is as much longer as the rate falls.
    fn new(from_hz: u32, to_hz: u32, filter: SincInterpolationParameters) -> Self {
        let (from_hz, to_hz) = (from_hz.max(1), to_hz.max(1));
        let converter = (from_hz != to_hz).then(|| Converter::new(from_hz, to_hz, filter));
        Self { converter }
    }

    /// Appends what 16-bit samples become; at the same rate they stay as they are.
    pub(crate) fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        match &mut self.converter {
            None => out.extend_from_slice(samples),
            Some(converter) => {
                let samples = samples.iter().map(|sample| f32::from(*sample) / 32_768.0);
                converter.push(samples, |sample| out.push(to_i16(sample)));
            }
        }
    }

    /// Appends what samples of -1.0 to 1.0 become.
    pub(crate) fn push_floats(&mut self, samples: impl Iterator<Item = f32>, out: &mut Vec<i16>) {
        match &mut self.converter {
            None => out.extend(samples.map(to_i16)),
            Some(converter) => converter.push(samples, |sample| out.push(to_i16(sample))),
        }
    }
}

impl Converter {
    fn new(from_hz: u32, to_hz: u32, filter: SincInterpolationParameters) -> Self {
        let times = (f64::from(from_hz) / f64::from(to_hz)).clamp(1.0, STEEPEST as f64);
        let chunk = CHUNK * times as usize;
        // The same share of the lower rate's band passes, however long the filter is.
        let filter = filter
            .f_cutoff(calculate_cutoff(filter.sinc_len, filter.window))
            .sinc_len((filter.sinc_len as f64 * times).ceil() as usize);
        let ratio = f64::from(to_hz) / f64::from(from_hz);
        let sinc = Async::new_sinc(ratio, 1.0, &filter, chunk, 1, FixedAsync::Input)
            .expect("the ratio is above 0 and finite, and a chunk is not empty");
        let output = vec![0.0; sinc.output_frames_max()];
        Self { early: sinc.output_delay(), sinc, input: Vec::with_capacity(chunk), chunk, output }
    }

    /// Calls `take` with each sample that is complete.
    fn push(&mut self, samples: impl Iterator<Item = f32>, mut take: impl FnMut(f32)) {
        for sample in samples {
            self.input.push(sample);
            if self.input.len() == self.chunk {
                let written = self.convert().expect("a chunk and its output have the sizes that rubato told");
                self.input.clear();
                let early = self.early.min(written);
                self.early -= early;
                self.output[early..written].iter().for_each(|sample| take(*sample));
            }
        }
    }

    /// Converts one chunk; how many samples of output it became.
    fn convert(&mut self) -> Option<usize> {
        let room = self.output.len();
        let input = InterleavedSlice::new(&self.input, 1, self.chunk).ok()?;
        let mut output = InterleavedSlice::new_mut(&mut self.output, 1, room).ok()?;
        let (_, written) = self.sinc.process_into_buffer(&input, &mut output, None).ok()?;
        Some(written)
    }
}

/// -1.0 to 1.0 as 16 bit; louder is clipped, not-a-number is silence.
fn to_i16(sample: f32) -> i16 {
    // `as` saturates and maps NaN to 0.
    (sample * 32_768.0).round() as i16
}

#[cfg(test)]
mod figures;

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::figures::{fit, tone};
    use super::*;

    /// Half of full scale, from less than a sample after the tone's begin.
    fn assert_is_tone(out: &[i16], hz: f64, rate: u32, what: &str) {
        // Away from the edges, where the filter sees silence.
        let inner = rate as usize / 50..rate as usize / 50 * 49;
        let samples: Vec<f64> = out[..inner.end].iter().map(|sample| f64::from(*sample)).collect();
        let (a, b) = fit(&samples[inner.clone()], hz, rate, inner.start);
        let phase = b.atan2(a);
        let shift = phase / (2.0 * PI * hz) * f64::from(rate);
        assert!((0.0..1.05).contains(&shift), "{what}: {shift} samples early");
        let wanted = |n: usize| (2.0 * PI * hz * n as f64 / f64::from(rate) + phase).sin() * 16_384.0;
        let off = inner.map(|n| (samples[n] - wanted(n)).abs()).fold(0.0, f64::max);
        assert!(off < 2.0, "{what}: off by {off}");
    }

    #[test]
    fn a_tone_of_a_file_keeps_its_pitch_and_level() {
        for rate in [8_000, 44_100, 48_000, 96_000, 192_000] {
            let mut out = Vec::new();
            let mut resampler = Resampler::for_file(rate, 48_000);
            let samples: Vec<f32> = tone(1_000.0, rate).collect();
            for chunk in samples.chunks(1_000) {
                resampler.push_floats(chunk.iter().copied(), &mut out);
            }
            // Half of the filter, and of a chunk all but one, at the lower rate.
            let most = (137 * 48_000_usize).div_ceil(rate.min(48_000) as usize);
            let lost = 48_000 - out.len();
            assert!(lost < most, "{rate}: {lost} samples are missing");
            assert_is_tone(&out, 1_000.0, 48_000, &format!("{rate} Hz"));
        }
    }

    #[test]
    fn a_tone_of_a_device_keeps_its_pitch_and_level_whatever_the_block_size() {
        for (from, to) in [(44_100, 48_000), (32_000, 48_000), (16_000, 48_000), (48_000, 44_100), (48_000, 96_000)] {
            let samples: Vec<i16> = tone(440.0, from).map(to_i16).collect();
            let mut whole = Vec::new();
            Resampler::for_device(from, to).push(&samples, &mut whole);
            for size in [1, 7, 441] {
                let mut resampler = Resampler::for_device(from, to);
                let mut out = Vec::new();
                for block in samples.chunks(size) {
                    resampler.push(block, &mut out);
                }
                assert!(out == whole, "{from} to {to}: blocks of {size} are heard");
            }
            // What the filter looks ahead is still to come, and what is no whole chunk.
            let ahead = 34.0 * (f64::from(from) / f64::from(to)).max(1.0) + f64::from(from % CHUNK as u32);
            let missing = f64::from(to) - ahead * f64::from(to) / f64::from(from) - whole.len() as f64;
            assert!(missing.abs() <= 2.0, "{from} to {to}: {} samples", whole.len());
            assert_is_tone(&whole, 440.0, to, &format!("{from} to {to}"));
        }
    }

    #[test]
    fn no_drift_builds_up() {
        // Ten minutes, by a filter that costs little.
        let filter = SincInterpolationParameters::new(8, WindowFunction::Hann2).oversampling_factor(8);
        let mut converter = Resampler::new(44_100, 48_000, filter).converter.unwrap();
        let mut out = 0_u32;
        for _ in 0..600 {
            converter.push([0.0; 44_100].into_iter(), |_| out += 1);
        }
        let missing = 600 * 48_000 - out;
        assert!((5..=14).contains(&missing), "{missing} samples are missing");
    }

    #[test]
    fn the_same_rate_changes_nothing_and_full_scale_does_not_wrap() {
        for make in [Resampler::for_device, Resampler::for_file] {
            let mut output = Vec::new();
            make(48_000, 48_000).push(&[1, -2, 3], &mut output);
            assert_eq!(output, [1, -2, 3]);
            output.clear();
            let edge: Vec<i16> = [i16::MIN; 400].into_iter().chain([i16::MAX; 600]).collect();
            make(44_100, 48_000).push(&edge, &mut output);
            // The edge is at 435.4.
            assert!(output[160..430].iter().all(|&sample| sample < 0), "{output:?}");
            assert!(output[440..].iter().all(|&sample| sample > 0) && output.len() > 900, "{output:?}");
        }
    }

    #[test]
    fn tones_above_the_new_band_vanish() {
        for make in [Resampler::for_device, Resampler::for_file] {
            let mut out = Vec::new();
            let tone = (0..96_000).map(|n| (2.0 * PI * 30_000.0 * f64::from(n) / 96_000.0).sin() as f32);
            make(96_000, 48_000).push_floats(tone, &mut out);
            assert!(out.iter().skip(200).all(|sample| sample.abs() < 4), "aliases above -80 dB");
        }
    }

    #[test]
    fn broken_floats_are_silence_or_clipped() {
        assert_eq!([f32::NAN, f32::INFINITY, -3.0, 0.5].map(to_i16), [0, i16::MAX, i16::MIN, 16_384]);
    }

    #[test]
    fn what_broken_floats_were_among_is_forgotten() {
        for make in [Resampler::for_device, Resampler::for_file] {
            for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -f32::MAX] {
                let mut out = Vec::new();
                let sound = std::iter::repeat_n(0.25, 2_000);
                make(44_100, 48_000).push_floats(sound.clone().chain([broken; 3]).chain(sound), &mut out);
                // All but a filter's length on each side.
                let heard = out[300..1_900].iter().chain(&out[2_500..]);
                assert!(heard.into_iter().all(|sample| (8_190..=8_194).contains(sample)), "{broken}: {out:?}");
            }
        }
    }

    #[test]
    fn rates_out_of_all_reason_need_little_memory() {
        for (from, to) in [(0, 48_000), (1, 48_000), (48_000, 0), (48_000, 1), (u32::MAX, 48_000), (48_000, 3_000_000)]
        {
            let mut out = Vec::new();
            let mut resampler = Resampler::for_device(from, to);
            resampler.push(&[1_000; 20], &mut out);
            assert!(resampler.converter.unwrap().output.len() < 500_000, "{from} to {to}");
        }
    }
}

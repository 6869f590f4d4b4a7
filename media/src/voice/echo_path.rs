//! How much later than its reference an echo comes, seen several times a second. Pure; no clock.
//!
//! - [`EchoPath::add`]: blocks of the reference and of the microphone → 8 kHz → the last second of the one, the last
//!   quarter of a second of the other
//! - ten times a second: generalised cross-correlation with phase transform (GCC-PHAT; Knapp and Carter, "The
//!   generalized correlation method for estimation of time delay", IEEE Trans. ASSP-24, 1976) → a peak, or none
//! - two peaks in a row at one place → [`Finding`]
//!
//! It says nothing rather than something wrong. A peak must stand out; a tone has many, and none of them does. A new
//! delay is believed where an echo with the old one would have been seen at its place, so neither the beginning of a
//! sentence, nor sound that repeats itself, nor one of two echoes moves it.

use std::ops::Range;

use sonora_fft::fft4g::Fft4g;

use super::BLOCK_SAMPLES;

/// One of so many samples is looked at: 8 kHz. Phases of speech say enough below 4 kHz.
const DECIMATION: usize = 6;

/// Samples of a block at that rate.
const BLOCK: usize = BLOCK_SAMPLES / DECIMATION;

/// Taps of the low-pass filter before it: a transition band of 1 kHz.
const TAPS: usize = 48;

/// Its cut-off, in cycles a sample: 3.6 kHz.
const CUTOFF: f32 = 3_600.0 / 48_000.0;

/// Samples of the reference that are looked at: a second, and a power of two.
const REFERENCE: usize = 8_192;

/// Samples of the microphone: 256 ms. Fewer are seldom enough, with more it takes longer until a new delay prevails.
const MICROPHONE: usize = 2_048;

/// Lags that are looked at: 512 ms, as many as the canceller takes.
const LAGS: usize = 4_096;

/// Samples in which a window opens and closes: 32 ms.
const RAMP: usize = 256;

/// Bins of the spectrum that count: 100 Hz to 3.6 kHz.
const BINS: Range<usize> = 100 * REFERENCE / 8_000..3_600 * REFERENCE / 8_000;

/// Bins that are so much weaker than their mean count little: what leaks out of tones says nothing.
const FLOOR: f32 = 0.03;

/// Blocks between two looks: 100 ms.
const LOOK_EVERY: u32 = 10;

/// A look that confirms one before it comes at most so many blocks later; one without a peak may be between them.
const CONFIRM_WITHIN: u32 = 2 * LOOK_EVERY;

/// From this level on the reference is looked at, RMS: -50 dBFS.
const REFERENCE_MIN: f32 = 104.0;

/// From this height on a peak counts. 1 is a microphone that hears nothing but one delayed copy; noise gives 0.11.
const HEIGHT_MIN: f32 = 0.12;

/// A peak is so much higher than any other.
const PROMINENCE_MIN: f32 = 1.5;

/// Lags on each side of a peak that belong to it: 3 ms. There the first reflections are.
const SKIRT: usize = 24;

/// Lags on each side of the old delay at which it may be seen: 1 ms.
const AROUND: usize = 8;

/// An echo whose peak is at most such a share of another one is gone.
const GONE_MAX: f32 = 0.5;

/// Two looks agree that differ by so many lags: 0.06 ms.
const AGREE: f32 = 0.5;

/// So many lags are a move: 4 ms. The canceller follows what is less, and the drift of clocks.
const MOVE_MIN: f32 = 32.0;

/// An echo with the old delay has to have at least this share of the power of that with the new one to be missed.
const MISSED_MIN: f32 = 0.25;

/// For a first delay: what is as far from it has to be seen at its own place. Not a multiple of the usual periods.
const ELSEWHERE: usize = 1_037;

/// What was found, in samples at 48 kHz.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Finding {
    /// There is an echo, with this delay.
    First(f64),
    /// The delay has changed.
    Moved {
        /// What it was.
        from: f64,
        /// What it is.
        to: f64,
    },
}

/// Watches the delay of the echo of one microphone.
pub(crate) struct EchoPath {
    fft: Fft4g,
    reference: History,
    microphone: History,
    /// Blocks so far.
    blocks: u32,
    /// The echo as it was last seen.
    known: Option<Peak>,
    /// Where else one was seen once, and at which block.
    candidate: Option<(f32, u32)>,
}

/// The highest peak of a correlation.
struct Peak {
    /// Where it is, in samples at 8 kHz: nearly.
    lag: f32,
    height: f32,
    /// How much higher than the next one it is.
    prominence: f32,
    correlation: Vec<f32>,
    /// What the correlation was made from: the bins that count.
    spectrum: Vec<[f32; 2]>,
}

impl Peak {
    /// How high the correlation is within a millisecond of a lag, as a share of the peak.
    fn share_at(&self, lag: f32) -> f32 {
        let lag = lag as usize;
        let around = lag.saturating_sub(AROUND)..(lag + AROUND + 1).min(LAGS);
        let most = |samples: &[f32]| samples.iter().copied().fold(0.0, f32::max);
        most(&self.correlation[around]) / most(&self.correlation).max(f32::MIN_POSITIVE)
    }

    /// Where it is, in samples at 48 kHz, to a fraction of one.
    fn delay(&self) -> f64 {
        let lag = f64::from(self.lag);
        let step = 0.25;
        let values = [-step, 0.0, step].map(|off| value(&self.spectrum, lag + off));
        (lag + step * top(values)) * DECIMATION as f64
    }

    fn is_certain(&self) -> bool {
        self.height >= HEIGHT_MIN && self.prominence >= PROMINENCE_MIN
    }
}

impl EchoPath {
    pub(crate) fn new() -> Self {
        Self {
            fft: Fft4g::new(REFERENCE),
            reference: History::new(REFERENCE),
            microphone: History::new(MICROPHONE),
            blocks: 0,
            known: None,
            candidate: None,
        }
    }

    /// Takes 10 ms of each; what was found, if a delay was just found.
    pub(crate) fn add(
        &mut self,
        reference: &[i16; BLOCK_SAMPLES],
        microphone: &[i16; BLOCK_SAMPLES],
    ) -> Option<Finding> {
        self.reference.add(reference);
        self.microphone.add(microphone);
        self.blocks = self.blocks.wrapping_add(1);
        if !self.blocks.is_multiple_of(LOOK_EVERY) || rms(&self.reference.samples) < REFERENCE_MIN {
            return None;
        }
        self.look()
    }

    /// Forgets a delay that was seen once: what was heard since is not to be trusted.
    pub(crate) fn doubt(&mut self) {
        self.candidate = None;
    }

    fn look(&mut self) -> Option<Finding> {
        let mut reference = windowed(&self.reference.samples);
        self.fft.rdft(&mut reference);
        let peak = self.peak(&reference, &self.microphone.samples)?;
        if !peak.is_certain() {
            return None;
        }
        if let Some(known) = &self.known {
            if (peak.lag - known.lag).abs() < MOVE_MIN {
                self.known = Some(peak);
                self.candidate = None;
                return None;
            }
            if peak.share_at(known.lag) > GONE_MAX {
                return None;
            }
        }
        if !self.would_see_another(&reference, peak.lag) {
            return None;
        }
        let agrees =
            |(lag, at): (f32, u32)| (peak.lag - lag).abs() <= AGREE && self.blocks.wrapping_sub(at) <= CONFIRM_WITHIN;
        if !self.candidate.is_some_and(agrees) {
            self.candidate = Some((peak.lag, self.blocks));
            return None;
        }
        self.candidate = None;
        let to = peak.delay();
        Some(match self.known.replace(peak) {
            None => Finding::First(to),
            Some(before) => Finding::Moved { from: before.delay(), to },
        })
    }

    /// Whether an echo with the delay that is known, or some other one, would have been seen, and not taken for this.
    fn would_see_another(&self, reference: &[f32], lag: f32) -> bool {
        let lag = lag as usize;
        let elsewhere = if lag < LAGS / 2 { lag + ELSEWHERE } else { lag - ELSEWHERE };
        let other = self.known.as_ref().map_or(elsewhere, |known| known.lag as usize);
        let delayed = |lag: usize| &self.reference.samples[REFERENCE - MICROPHONE - lag..REFERENCE - lag];
        let power = |samples: &[f32]| rms(samples).powi(2);
        power(delayed(other)) >= MISSED_MIN * power(delayed(lag))
            && self
                .peak(reference, delayed(other))
                .is_some_and(|seen| seen.is_certain() && (seen.lag - other as f32).abs() <= AGREE)
    }

    /// The highest peak of the correlation of what was heard with the reference, of which the spectrum is given.
    fn peak(&self, reference: &[f32], heard: &[f32]) -> Option<Peak> {
        let mut cross = vec![0.0; REFERENCE];
        cross[REFERENCE - MICROPHONE..].copy_from_slice(&windowed(heard));
        self.fft.rdft(&mut cross);
        // Heard times the conjugate of the reference. DC and the highest frequency are outside of the bins.
        let magnitude = |bin: &[f32; 2]| (bin[0] * bin[0] + bin[1] * bin[1]).sqrt();
        let bins = cross.as_chunks_mut::<2>().0;
        for (bin, of) in bins.iter_mut().zip(reference.as_chunks::<2>().0) {
            *bin = [bin[0] * of[0] + bin[1] * of[1], bin[1] * of[0] - bin[0] * of[1]];
        }
        let mean = bins[BINS].iter().map(magnitude).sum::<f32>() / BINS.len() as f32;
        if mean <= f32::MIN_POSITIVE {
            return None;
        }
        bins[..BINS.start].fill([0.0; 2]);
        bins[BINS.end..].fill([0.0; 2]);
        let mut total = 0.0;
        for bin in &mut bins[BINS] {
            let weight = 1.0 / (magnitude(bin) + FLOOR * mean);
            total += weight * magnitude(bin);
            *bin = bin.map(|part| part * weight);
        }
        let spectrum = bins[BINS].to_vec();
        self.fft.irdft(&mut cross);
        cross.truncate(LAGS);
        let (at, &highest) = cross.iter().enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other))?;
        let others = cross[..at.saturating_sub(SKIRT)].iter().chain(cross.iter().skip(at + SKIRT + 1));
        let second = others.copied().fold(f32::MIN_POSITIVE, f32::max);
        // Where one neighbour is missing, it is taken to be as high as the other.
        let after = cross.get(at + 1).or(cross.get(at.wrapping_sub(1))).copied().unwrap_or_default();
        let before = cross.get(at.wrapping_sub(1)).copied().unwrap_or(after);
        let off = top([before, highest, after].map(f64::from)) as f32;
        let lag = (at as f32 + off).clamp(0.0, (LAGS - 1) as f32);
        Some(Peak { lag, height: highest / total, prominence: highest / second, correlation: cross, spectrum })
    }
}

/// Where the top of the parabola is through three values, in steps from the middle one.
fn top([before, here, after]: [f64; 3]) -> f64 {
    let bent = before - 2.0 * here + after;
    if bent < 0.0 { ((before - after) / (2.0 * bent)).clamp(-1.0, 1.0) } else { 0.0 }
}

/// The correlation between two samples: the Fourier sum.
fn value(spectrum: &[[f32; 2]], lag: f64) -> f64 {
    let turn = std::f64::consts::TAU * lag / REFERENCE as f64;
    let (turn_sin, turn_cos) = turn.sin_cos();
    let (mut sin, mut cos) = (turn * BINS.start as f64).sin_cos();
    let mut sum = 0.0;
    for [real, imaginary] in spectrum {
        sum += f64::from(*real) * cos + f64::from(*imaginary) * sin;
        (cos, sin) = (cos * turn_cos - sin * turn_sin, cos * turn_sin + sin * turn_cos);
    }
    sum
}

fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
}

/// With its ends faded in and out.
fn windowed(samples: &[f32]) -> Vec<f32> {
    let gain = |from_end: usize| {
        let part = (from_end as f32 + 0.5) / RAMP as f32;
        if from_end < RAMP { 0.5 - 0.5 * (std::f32::consts::PI * part).cos() } else { 1.0 }
    };
    let last = samples.len() - 1;
    samples.iter().enumerate().map(|(n, sample)| sample * gain(n.min(last - n))).collect()
}

/// The sum of products, eight at once: compilers keep the order of a plain sum of floats.
fn product(input: &[f32], taps: &[f32; TAPS]) -> f32 {
    let mut sums = [0.0; 8];
    for (input, taps) in input.as_chunks::<8>().0.iter().zip(taps.as_chunks::<8>().0) {
        sums = std::array::from_fn(|n| sums[n] + input[n] * taps[n]);
    }
    sums.iter().sum()
}

/// The last samples of a signal, at 8 kHz.
struct History {
    taps: [f32; TAPS],
    /// At 48 kHz: what the filter still needs, and a block.
    input: [f32; TAPS - DECIMATION + BLOCK_SAMPLES],
    samples: Vec<f32>,
}

impl History {
    fn new(length: usize) -> Self {
        let taps: [f32; TAPS] = std::array::from_fn(|n| {
            let from_middle = n as f32 + 0.5 - TAPS as f32 / 2.0;
            let angle = std::f32::consts::TAU * CUTOFF * from_middle;
            let hann = 0.5 + 0.5 * (std::f32::consts::TAU * from_middle / TAPS as f32).cos();
            2.0 * CUTOFF * angle.sin() / angle * hann
        });
        Self { taps, input: [0.0; TAPS - DECIMATION + BLOCK_SAMPLES], samples: vec![0.0; length] }
    }

    fn add(&mut self, block: &[i16; BLOCK_SAMPLES]) {
        self.input.copy_within(BLOCK_SAMPLES.., 0);
        for (input, sample) in self.input[TAPS - DECIMATION..].iter_mut().zip(block) {
            *input = f32::from(*sample);
        }
        self.samples.copy_within(BLOCK.., 0);
        let first = self.samples.len() - BLOCK;
        for (sample, input) in self.samples[first..].iter_mut().zip(self.input.windows(TAPS).step_by(DECIMATION)) {
            *sample = product(input, &self.taps);
        }
    }
}

#[cfg(test)]
#[path = "echo_path/tests.rs"]
mod tests;

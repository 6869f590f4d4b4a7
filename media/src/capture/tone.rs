//! Test sound: stepped tones that a receiver can check.
//!
//! Owns the sequence of tones and its detector; never touches a device.
//!
//! - 400, 600, … 1800 Hz, 500 ms each, then from the start: a cycle of 4 s, -12 dBFS, without clicks between steps
//! - out: frames of 20 ms, paced by absolute deadlines
//! - back: [`detect`] names the tone in what a receiver heard

use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use super::pattern::Pacer;
use super::{Capture, CaptureError, StopFlag};
use crate::frame::{AUDIO_FRAME_SAMPLES, AUDIO_RATE_HZ, AudioFrame};
use crate::queue;

/// The lowest tone and the distance between tones, in Hz. All tones are multiples of [`SPACING_HZ`].
const LOWEST_HZ: u32 = 400;
const SPACING_HZ: u32 = 200;

/// Tones in one cycle.
const STEPS: u64 = 8;

/// Samples of one tone: 500 ms, a whole number of periods of each tone, so the phase goes on without a jump.
pub const STEP_SAMPLES: u64 = 24_000;

/// Samples of one period of [`SPACING_HZ`]: the table that all tones are read from.
const TABLE_SAMPLES: usize = (AUDIO_RATE_HZ / SPACING_HZ) as usize;

/// Peak level: a quarter of full scale, -12 dBFS. Loud enough to measure, with room for what codecs add.
const AMPLITUDE: f64 = 8192.0;

/// A thread that was held up sends up to this much sound at once; what is older is left out.
const CATCH_UP: Duration = Duration::from_millis(200);

/// Below this level (root mean square, about -56 dBFS) sound counts as silence.
const SILENCE_RMS: f64 = 50.0;

/// Share of the whole energy that one tone must have: speech, music and noise stay far below.
const TONAL_SHARE: f64 = 0.5;

/// Detection works on blocks of 20 ms: resolves 50 Hz, so clocks may drift and the spacing still tells tones apart.
const BLOCK_SAMPLES: usize = 960;

/// The frequency of the sample with this number, counted from the first one sent, in Hz.
#[must_use]
pub fn frequency_at(sample_index: u64) -> f64 {
    f64::from(SPACING_HZ) * multiple_at(sample_index) as f64
}

/// The tone as a multiple of [`SPACING_HZ`].
const fn multiple_at(sample_index: u64) -> u64 {
    (LOWEST_HZ / SPACING_HZ) as u64 + sample_index / STEP_SAMPLES % STEPS
}

/// The stepped tones, frame by frame.
#[derive(Debug)]
pub struct Sweep {
    table: [i16; TABLE_SAMPLES],
    next: u64,
}

impl Default for Sweep {
    fn default() -> Self {
        Self::new()
    }
}

impl Sweep {
    /// Starts at sample 0, the lowest tone.
    #[must_use]
    pub fn new() -> Self {
        let sample = |n: usize| (AMPLITUDE * (TAU * n as f64 / TABLE_SAMPLES as f64).sin()).round() as i16;
        Self { table: std::array::from_fn(sample), next: 0 }
    }

    /// The next [`AUDIO_FRAME_SAMPLES`] samples.
    pub fn next_frame(&mut self) -> Vec<i16> {
        let start = self.next;
        self.next += AUDIO_FRAME_SAMPLES as u64;
        let phase = |n: u64| (n % STEP_SAMPLES * multiple_at(n)) as usize % TABLE_SAMPLES;
        (start..self.next).map(|n| self.table[phase(n)]).collect()
    }
}

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
    let (best, hz) = (0..STEPS)
        .map(|step| frequency_at(step * STEP_SAMPLES))
        .map(|hz| (share(hz), hz))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best > TONAL_SHARE).then_some(hz)
}

/// Squared magnitude of one frequency in a block (Goertzel's algorithm).
fn power(block: &[i16], hz: f64) -> f64 {
    let coefficient = 2.0 * (TAU * hz / f64::from(AUDIO_RATE_HZ)).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for &sample in block {
        (last, before) = (f64::from(sample) + coefficient * last - before, last);
    }
    last * last + before * before - coefficient * last * before
}

/// Starts the tones.
///
/// # Errors
/// [`CaptureError::Device`] when the thread cannot be started.
pub(super) fn open(out: queue::Sender<AudioFrame>) -> Result<Capture, CaptureError> {
    Capture::spawn("test-tone", "test tone".to_owned(), move |stop| run(&out, &stop))
        .map_err(|error| CaptureError::Device(format!("the test tone cannot start ({error}); close other programs")))
}

fn run(out: &queue::Sender<AudioFrame>, stop: &StopFlag) {
    let mut sweep = Sweep::new();
    let mut pacer = Pacer::new(Instant::now(), AUDIO_RATE_HZ / AUDIO_FRAME_SAMPLES as u32, CATCH_UP);
    while pacer.wait(stop) {
        let samples = sweep.next_frame();
        if !out.send(AudioFrame { samples, at: Instant::now() }) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn steps_join_without_a_jump() {
        let sound = cycle();
        // The steepest tone moves by at most 2π·1800/48000 of its amplitude a sample.
        let steepest = sound.windows(2).map(|pair| i32::from(pair[0]).abs_diff(i32::from(pair[1]))).max();
        assert!(steepest < Some(1_935), "{steepest:?}");
        assert_eq!(sound.iter().max(), Some(&8_192));
    }

    #[test]
    fn silence_noise_and_scraps_are_no_tone() {
        let mut random = crate::codec::h264::checks::noise(99);
        let noise: Vec<i16> = (0..9_600).map(|_| (random() % 16_384) as i16 - 8_192).collect();
        let other: Vec<i16> = (0..9_600).map(|n| ((f64::from(n) * 0.065).sin() * 8e3) as i16).collect();
        for sound in [&[0; 9_600][..], &noise, &other, &cycle()[..1_919]] {
            assert_eq!(detect(sound), None);
        }
    }

    #[test]
    fn a_capture_sends_whole_frames_from_the_start() {
        let (tx, rx) = queue::bounded(16);
        let capture = open(tx).unwrap();
        let frames: Vec<AudioFrame> = (0..3).map(|_| rx.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
        drop(capture);
        let heard: Vec<i16> = frames.into_iter().flat_map(|frame| frame.samples).collect();
        assert_eq!(heard, cycle()[..3 * AUDIO_FRAME_SAMPLES]);
    }
}

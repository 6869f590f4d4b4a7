//! Test sound: stepped tones that a receiver can check.
//!
//! Owns the sequence of tones; never touches a device.
//!
//! - 400, 600, … 1800 Hz, 500 ms each, then from the start: a cycle of 4 s, -12 dBFS, without clicks between steps
//! - aligned to the wall clock: at Unix time t sounds step (t / 500 ms) mod 8, so a receiver knows modulo 4 s when a
//!   step was due
//! - out: frames of 20 ms, paced by absolute deadlines; like those of a microphone each leaves when its last sample is
//!   due
//! - back: [`crate::quality::tone`] names the tone in what a receiver heard, [`crate::quality::sweep`] measures how late
//!   it is

use std::f64::consts::TAU;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::ticks::Ticks;
use super::{Capture, CaptureError, StopFlag};
use crate::frame::{AUDIO_FRAME_SAMPLES, AUDIO_RATE_HZ, AudioFrame};
use crate::queue;
use network::system_error::in_words;

/// The lowest tone and the distance between tones, in Hz. All tones are multiples of [`SPACING_HZ`].
const LOWEST_HZ: u32 = 400;
const SPACING_HZ: u32 = 200;

/// Tones in one cycle.
pub const STEPS: u64 = 8;

/// How long each tone sounds.
pub const STEP: Duration = Duration::from_millis(500);

/// Samples of one tone: 500 ms, a whole number of periods of each tone, so the phase goes on without a jump.
pub const STEP_SAMPLES: u64 = 24_000;

/// Samples of one period of the distance between tones, 200 Hz: all tones have whole periods in it.
pub const PERIOD_SAMPLES: usize = (AUDIO_RATE_HZ / SPACING_HZ) as usize;

/// Frames in one cycle.
const CYCLE_FRAMES: u64 = STEPS * STEP_SAMPLES / AUDIO_FRAME_SAMPLES as u64;

/// Length of a frame.
const FRAME: Duration = Duration::from_millis(20);

/// A wall clock that went this far away from the clock that paces was set: the tones are aligned anew.
const CLOCK_SET: Duration = Duration::from_millis(2);

/// Peak level: a quarter of full scale, -12 dBFS. Loud enough to measure, with room for what codecs add.
const AMPLITUDE: f64 = 8192.0;

/// A thread that was held up sends up to this much sound at once; what is older is left out.
const CATCH_UP: Duration = Duration::from_millis(200);

/// The frequency of the sample with this number, counted from the first one sent, in Hz.
#[must_use]
pub fn frequency_at(sample_index: u64) -> f64 {
    f64::from(SPACING_HZ) * multiple_at(sample_index) as f64
}

/// The frequency of a step of the sweep, 0 to 7, in Hz.
#[must_use]
pub fn frequency_of(step: u64) -> f64 {
    frequency_at(step * STEP_SAMPLES)
}

/// The tone as a multiple of [`SPACING_HZ`].
const fn multiple_at(sample_index: u64) -> u64 {
    (LOWEST_HZ / SPACING_HZ) as u64 + sample_index / STEP_SAMPLES % STEPS
}

/// The stepped tones, frame by frame.
#[derive(Debug)]
pub struct Sweep {
    /// One period of [`SPACING_HZ`], from which all tones are read.
    table: [i16; PERIOD_SAMPLES],
    /// Number of the next frame in its cycle.
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
        let sample = |n: usize| (AMPLITUDE * (TAU * n as f64 / PERIOD_SAMPLES as f64).sin()).round() as i16;
        Self { table: std::array::from_fn(sample), next: 0 }
    }

    /// Starts with the frame that is due at this Unix time, rounded down to 20 ms.
    #[must_use]
    pub fn due_at(unix: Duration) -> Self {
        Self { next: frame_due_at(unix), ..Self::new() }
    }

    /// The next [`AUDIO_FRAME_SAMPLES`] samples.
    pub fn next_frame(&mut self) -> Vec<i16> {
        let start = self.next * AUDIO_FRAME_SAMPLES as u64;
        self.next = (self.next + 1) % CYCLE_FRAMES;
        let phase = |n: u64| (n % STEP_SAMPLES * multiple_at(n)) as usize % PERIOD_SAMPLES;
        (start..start + AUDIO_FRAME_SAMPLES as u64).map(|n| self.table[phase(n)]).collect()
    }
}

/// The number in its cycle of the frame that begins at this Unix time, or began last.
const fn frame_due_at(unix: Duration) -> u64 {
    (unix.as_millis() / FRAME.as_millis()) as u64 % CYCLE_FRAMES
}

/// Starts the tones.
///
/// # Errors
/// [`CaptureError::Device`] when the thread cannot be started.
pub(super) fn open(out: queue::Sender<AudioFrame>) -> Result<Capture, CaptureError> {
    Capture::spawn("test-tone", "test tone".to_owned(), move |stop| run(&out, &stop)).map_err(|error| {
        CaptureError::Device(format!("the test tone cannot start ({}); close other programs", in_words(&error)))
    })
}

fn run(out: &queue::Sender<AudioFrame>, stop: &StopFlag) {
    let mut sweep = Sweep::new();
    // Once, and again whenever somebody sets the clock.
    while !stop.is_set() {
        let clocks = Clocks::read();
        // Frames end at whole multiples of 20 ms. Each begins with phase 0, so tones left out make no jump of phase.
        let wait = FRAME - Duration::from_nanos((clocks.unix.as_nanos() % FRAME.as_nanos()) as u64);
        let mut ticks = Ticks::new(clocks.at + wait, AUDIO_RATE_HZ / AUDIO_FRAME_SAMPLES as u32, CATCH_UP);
        let first = frame_due_at((clocks.unix + wait).saturating_sub(FRAME) + FRAME / 2);
        while ticks.wait(stop) {
            if Clocks::read().differ(clocks) {
                break;
            }
            sweep.next = (first + ticks.taken()) % CYCLE_FRAMES;
            if !out.send(AudioFrame { samples: sweep.next_frame(), at: Instant::now() }) {
                return;
            }
        }
    }
}

/// The wall clock, and the clock that paces, at the same moment.
#[derive(Clone, Copy)]
struct Clocks {
    at: Instant,
    unix: Duration,
    /// How long reading both took, at most.
    read_in: Duration,
}

impl Clocks {
    fn read() -> Self {
        let at = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { at, unix, read_in: at.elapsed() }
    }

    /// One of the two was set since `earlier`. A thread that was held up between the readings proves nothing.
    fn differ(self, earlier: Self) -> bool {
        let paced = earlier.unix + self.at.saturating_duration_since(earlier.at);
        self.unix.abs_diff(paced) > CLOCK_SET + self.read_in + earlier.read_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::tone::detect;

    fn cycle() -> Vec<i16> {
        let mut sweep = Sweep::new();
        (0..210).flat_map(|_| sweep.next_frame()).collect()
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
    fn a_capture_follows_the_wall_clock() {
        let (tx, rx) = queue::bounded(16);
        let before = Clocks::read().unix;
        let capture = open(tx).unwrap();
        let frames: Vec<AudioFrame> = (0..3).map(|_| rx.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
        let after = Clocks::read().unix;
        capture.close();
        let heard: Vec<i16> = frames.into_iter().flat_map(|frame| frame.samples).collect();
        let expected_from = |unix: Duration| -> Vec<i16> {
            let mut sweep = Sweep::due_at(unix);
            (0..3).flat_map(|_| sweep.next_frame()).collect()
        };
        // The first frame was due when its capture began, or a little before: it has left when its end was due.
        let starts = (0..).map(|n| (before + n * FRAME).saturating_sub(FRAME)).take_while(|start| *start < after);
        assert!(starts.map(expected_from).any(|expected| expected == heard), "from {before:?} to {after:?}");
    }

    #[test]
    fn a_step_is_due_at_its_time() {
        // Unix time 0 begins a cycle.
        for (unix_ms, hz) in [(0, 400.0), (499, 400.0), (500, 600.0), (3_999, 1_800.0), (4_000, 400.0)] {
            let mut sweep = Sweep::due_at(Duration::from_millis(1_700_000_000_000 + unix_ms));
            let frames: Vec<i16> = (0..2).flat_map(|_| sweep.next_frame()).collect();
            assert_eq!(detect(&frames[..960].repeat(2)), Some(hz), "{unix_ms} ms");
        }
    }

    #[test]
    fn a_clock_that_was_set_is_noticed() {
        let start = Clocks { at: Instant::now(), unix: Duration::from_secs(1_000), read_in: Duration::ZERO };
        let ms = Duration::from_millis;
        let later = |unix| Clocks { at: start.at + ms(500), unix, read_in: Duration::ZERO };
        assert!(!later(ms(1_000_501)).differ(start));
        assert!(later(ms(1_000_520)).differ(start) && later(ms(900_000)).differ(start));
        assert!(!Clocks { read_in: ms(30), ..later(ms(1_000_520)) }.differ(start), "held up between the readings");
    }
}

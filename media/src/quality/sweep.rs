//! The latency of sound, from the steps of the test sweep ([`crate::capture::tone`]): a step begins every 500 ms
//! by the sender's clock, so where it is heard tells how late it is.
//!
//! - in: decoded sound, 10 or 20 ms at a time, each with the time when it is played and what it was made of
//! - windows of 5 ms hold whole periods of each tone, so the tones do not leak into one another; 100 ms of such
//!   windows of one tone and, at most 20 ms later, 20 ms of the next have a boundary between them
//! - there a window is moved by half a millisecond: the boundary is in its middle when both tones are equally strong
//! - out: when it was played less when it was due. Both are Unix time, and steps repeat after 4 s, so a latency is known
//!   modulo 4 s: it is taken to lie from −1 s to 3 s. Where sender and listener have clocks of their own, [`put_right`]
//!   takes their difference out
//!
//! A boundary near sound that was made up or stretched, or near a gap in the time stamps, is not used: what was concealed goes on
//! with the old tone.

use std::collections::VecDeque;
use std::time::Duration;

use super::concealment::Origin;
use super::tone;
use crate::capture::tone::{PERIOD_SAMPLES, STEP, STEPS, frequency_of};
use crate::frame::AUDIO_RATE_HZ;

/// Samples of a window: 5 ms, one period of the distance between tones.
const WINDOW: usize = PERIOD_SAMPLES;

/// Windows of one tone that make the beginning of a step: 20 ms.
const STEADY: u32 = 4;

/// Windows of the tone before it: 100 ms, so that a voice or a melody is not taken for the sweep.
const STEADY_BEFORE: u32 = 20;

/// Windows between two steps in which a codec blurs both.
const BLUR_MAX: u64 = 4;

/// Samples by which the window is moved to find the boundary: 0.5 ms.
const HOP: u64 = 24;

/// Samples kept, 160 ms: the boundary lies at most 40 ms and the sound around it 40 ms more back.
const SAMPLES_KEPT: u64 = 7_680;

/// Sound around a boundary that has to be as it was sent: 40 ms before it and 20 ms after it.
const WHOLE_BEFORE: u64 = 1_920;
const WHOLE_AFTER: u64 = 960;

/// Most of the energy of a window must be in its tone.
const TONAL_SHARE: f64 = 0.6;

/// Earliest latency that a boundary can have; before it, it counts as late by a cycle of 4 s less.
const EARLIEST: Duration = Duration::from_secs(1);

/// Finds the steps of the sweep in what is played.
#[derive(Debug, Default)]
pub struct SweepTiming {
    frames: VecDeque<Frame>,
    /// Number of the sample after the last.
    end: u64,
    /// Number of the first sample that is in no window yet.
    next_window: u64,
    run: Option<Run>,
    /// The last run that was long enough for a step.
    step: Option<Run>,
    /// Time stamp that follows on the last packet.
    expected: Option<u32>,
}

#[derive(Debug)]
struct Frame {
    start: u64,
    samples: Vec<i16>,
    /// When its first sample is played: Unix time.
    played: Duration,
    is_whole: bool,
}

impl Frame {
    /// Number of the sample after its last.
    const fn end(&self) -> u64 {
        self.start + self.samples.len() as u64
    }
}

/// Windows of the same tone in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    step: u64,
    windows: u32,
    /// The first sample of the first window, the one after the last.
    start: u64,
    end: u64,
}

impl SweepTiming {
    /// Takes what is played from `played` (Unix time) on; the latency in milliseconds when a step was found to begin.
    pub fn add(&mut self, samples: &[i16], played: Duration, origin: Origin) -> Option<f64> {
        if samples.is_empty() {
            return None;
        }
        let is_whole = match origin {
            Origin::Packet { timestamp } => {
                let expected = self.expected.replace(timestamp.wrapping_add(samples.len() as u32));
                expected.is_none_or(|expected| expected == timestamp)
            }
            // How much of what was sent this was is not told.
            Origin::Stretched => {
                self.expected = None;
                false
            }
            Origin::Concealment | Origin::Silence => {
                self.expected = self.expected.map(|expected| expected.wrapping_add(samples.len() as u32));
                false
            }
        };
        self.frames.push_back(Frame { start: self.end, samples: samples.to_vec(), played, is_whole });
        self.end += samples.len() as u64;
        while self.frames.front().is_some_and(|frame| frame.end() + SAMPLES_KEPT < self.end) {
            self.frames.pop_front();
        }
        let mut latency = None;
        while self.next_window + WINDOW as u64 <= self.end {
            let start = self.next_window;
            self.next_window += WINDOW as u64;
            latency = self.window(start).or(latency);
        }
        latency
    }

    /// Looks at the next window; a latency when it makes the second of two steps certain.
    fn window(&mut self, start: u64) -> Option<f64> {
        let end = start + WINDOW as u64;
        let Some(step) = self.samples(start).and_then(|window| dominant(&window)) else {
            self.run = None;
            return None;
        };
        let run = match self.run {
            Some(run) if run.step == step => Run { windows: run.windows + 1, end, ..run },
            Some(_) | None => Run { step, windows: 1, start, end },
        };
        self.run = Some(run);
        if run.windows < STEADY {
            return None;
        }
        let before = self.step.replace(run)?;
        let follows = run.step == (before.step + 1) % STEPS;
        if run.windows > STEADY
            || before.windows < STEADY_BEFORE
            || !follows
            || run.start - before.end > BLUR_MAX * WINDOW as u64
        {
            return None;
        }
        let boundary = self.boundary(before, run)?;
        let played = self.played(boundary)?;
        Some(latency_ms(played, run.step))
    }

    /// The sample, with a fraction, at which `after` begins.
    fn boundary(&self, before: Run, after: Run) -> Option<f64> {
        let difference = |start: u64| {
            let window = self.samples(start)?;
            Some(amplitude(&window, after.step) - amplitude(&window, before.step))
        };
        let first = before.end - WINDOW as u64;
        let mut last = difference(first)?;
        for start in (first..=after.start).step_by(HOP as usize).skip(1) {
            let now = difference(start)?;
            if last < 0.0 && now >= 0.0 {
                let part = last / (last - now);
                return Some((start - HOP) as f64 + part * HOP as f64 + WINDOW as f64 / 2.0);
            }
            last = now;
        }
        None
    }

    /// When this sample is played, if the sound around it is as it was sent.
    fn played(&self, sample: f64) -> Option<Duration> {
        let first = (sample as u64).checked_sub(WHOLE_BEFORE)?;
        let last = sample as u64 + WHOLE_AFTER;
        let mut around = self.frames.iter().filter(|frame| frame.start <= last && frame.end() > first);
        let is_whole = self.frames.front()?.start <= first && around.all(|frame| frame.is_whole);
        let frame = self.frames.iter().rfind(|frame| frame.start as f64 <= sample)?;
        let into = (sample - frame.start as f64) / f64::from(AUDIO_RATE_HZ);
        is_whole.then(|| frame.played + Duration::from_secs_f64(into.max(0.0)))
    }

    /// The window from this sample on; `None` when part of it is forgotten.
    fn samples(&self, start: u64) -> Option<Vec<i16>> {
        let first = self.frames.front()?;
        let skipped = start.checked_sub(first.start)? as usize;
        let window: Vec<i16> =
            self.frames.iter().flat_map(|frame| &frame.samples).skip(skipped).take(WINDOW).copied().collect();
        (window.len() == WINDOW).then_some(window)
    }
}

/// The tone that has most of the energy of a window, as the number of its step.
fn dominant(window: &[i16]) -> Option<u64> {
    let energy: f64 = window.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    if (energy / window.len() as f64).sqrt() < tone::SILENCE_RMS {
        return None;
    }
    // A tone of amplitude a has the energy a²·n/2 in n samples.
    let share = |step| amplitude(window, step).powi(2) * window.len() as f64 / (2.0 * energy);
    let shares = (0..STEPS).map(|step| (share(step), step));
    let (best, step) = shares.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best > TONAL_SHARE).then_some(step)
}

/// The amplitude of the tone of a step in a window.
fn amplitude(window: &[i16], step: u64) -> f64 {
    2.0 * tone::power(window, frequency_of(step)).max(0.0).sqrt() / window.len() as f64
}

/// How much later than due this step began to be played, in milliseconds, from −1000 to 3000.
fn latency_ms(played: Duration, step: u64) -> f64 {
    let cycle_s = STEP.as_secs_f64() * STEPS as f64;
    let due_s = STEP.as_secs_f64() * step as f64;
    let earliest_s = EARLIEST.as_secs_f64();
    // Whole cycles first, so that what is left has the precision of microseconds.
    let played_s = (played.as_nanos() % 4_000_000_000) as f64 * 1e-9;
    ((played_s - due_s + earliest_s).rem_euclid(cycle_s) - earliest_s) * 1000.0
}

/// The latency when the sender's clock is `ahead_ms` ahead of the listener's: from −1000 to 3000 ms again.
#[must_use]
pub fn put_right(latency_ms: f64, ahead_ms: f64) -> f64 {
    let cycle_ms = STEP.as_secs_f64() * STEPS as f64 * 1000.0;
    let earliest_ms = EARLIEST.as_secs_f64() * 1000.0;
    (latency_ms + ahead_ms + earliest_ms).rem_euclid(cycle_ms) - earliest_ms
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::capture::tone::Sweep;
    use crate::codec::opus::{OpusDecoder, OpusEncoder};
    use crate::frame::{AUDIO_FRAME_SAMPLES, AudioFrame};

    const FRAME: Duration = Duration::from_millis(20);

    /// 2026-01-01, at which a cycle begins, and a while.
    const SENT_FROM: Duration = Duration::from_millis(1_767_225_600_000 + 1_740);

    /// The sweep's frames as they are due from [`SENT_FROM`] on, with their times.
    fn frames(count: u32) -> impl Iterator<Item = (Vec<i16>, Duration, u32)> {
        let mut sweep = Sweep::due_at(SENT_FROM);
        (0..count).map(move |n| (sweep.next_frame(), SENT_FROM + n * FRAME, n * AUDIO_FRAME_SAMPLES as u32))
    }

    /// Through the codec.
    fn coded(count: u32) -> Vec<(bytes::Bytes, Duration, u32)> {
        let mut encoder = OpusEncoder::new(32_000).unwrap();
        encoder.set_expected_loss(5).unwrap();
        let mut code = |samples| encoder.encode(&AudioFrame { samples, at: Instant::now() }).unwrap().data;
        frames(count).map(|(samples, due, timestamp)| (code(samples), due, timestamp)).collect()
    }

    fn assert_all_near(latencies: &[f64], expected_ms: f64, tolerance_ms: f64) {
        let off = latencies.iter().map(|ms| (ms - expected_ms).abs()).fold(0.0, f64::max);
        assert!(!latencies.is_empty() && off <= tolerance_ms, "{expected_ms} ms: {latencies:?}");
    }

    #[test]
    fn each_boundary_is_found_where_it_is() {
        for delay_us in [0, 1_000, 37_300, 146_900, 999_100, 2_750_000] {
            let delay = Duration::from_micros(delay_us);
            let mut timing = SweepTiming::default();
            let latencies: Vec<f64> = frames(500)
                .filter_map(|(samples, due, timestamp)| timing.add(&samples, due + delay, Origin::Packet { timestamp }))
                .collect();
            // 10 s are 20 steps.
            assert!((19..=20).contains(&latencies.len()), "{latencies:?}");
            assert_all_near(&latencies, delay_us as f64 / 1000.0, 1.0);
        }
    }

    #[test]
    fn clocks_that_differ_are_put_right_modulo_a_cycle() {
        for ahead_ms in [0_i64, 2000, -2000, 950, -1050, 86_400_123, -7_200_000] {
            let mut timing = SweepTiming::default();
            let played = |due: Duration| Duration::from_millis((due.as_millis() as i64 + 50 - ahead_ms) as u64);
            let latencies: Vec<f64> = frames(200)
                .filter_map(|(samples, due, timestamp)| timing.add(&samples, played(due), Origin::Packet { timestamp }))
                .map(|ms| put_right(ms, ahead_ms as f64))
                .collect();
            assert_all_near(&latencies, 50.0, 1.0);
        }
    }

    #[test]
    fn windows_need_no_luck_with_the_boundary() {
        for shift in [1, 60, 119, 120, 200, 239, 500, 777] {
            let all: Vec<i16> = frames(200).flat_map(|(samples, ..)| samples).collect();
            let mut timing = SweepTiming::default();
            let mut latencies = Vec::new();
            for (n, samples) in (0..).zip(all[shift..].chunks_exact(AUDIO_FRAME_SAMPLES)) {
                let origin = Origin::Packet { timestamp: n * AUDIO_FRAME_SAMPLES as u32 };
                latencies.extend(timing.add(samples, SENT_FROM + n * FRAME, origin));
            }
            assert_all_near(&latencies, shift as f64 / -48.0, 1.0);
        }
    }

    #[test]
    fn the_codec_adds_its_look_ahead_and_no_more() {
        let (mut timing, mut decoder) = (SweepTiming::default(), OpusDecoder::new().unwrap());
        let latencies: Vec<f64> = coded(500)
            .into_iter()
            .filter_map(|(packet, due, timestamp)| {
                let samples = decoder.decode(&packet).unwrap();
                timing.add(&samples, due + Duration::from_millis(80), Origin::Packet { timestamp })
            })
            .collect();
        assert!(latencies.len() >= 18, "{latencies:?}");
        assert_all_near(&latencies, 86.5, 2.0);
    }

    #[test]
    fn sound_in_steps_of_10_ms_is_measured_and_near_a_stretch_it_is_not() {
        let mut timing = SweepTiming::default();
        let mut latencies = Vec::new();
        for (samples, due, timestamp) in frames(500) {
            for (half, samples) in (0..).zip(samples.chunks_exact(480)) {
                let played = due + Duration::from_millis(50) + half * FRAME / 2;
                // Around every other boundary.
                let origin = match (timestamp + half * 480) % 48_000 {
                    12_000..13_000 => Origin::Stretched,
                    _ => Origin::Packet { timestamp: timestamp + half * 480 },
                };
                latencies.extend(timing.add(samples, played, origin));
            }
        }
        assert!((9..=11).contains(&latencies.len()), "{latencies:?}");
        assert_all_near(&latencies, 50.0, 1.0);
    }

    #[test]
    fn concealed_sound_misleads_nobody() {
        let packets = coded(3_000);
        let (mut timing, mut decoder) = (SweepTiming::default(), OpusDecoder::new().unwrap());
        let mut random = crate::codec::checks::noise(11);
        let mut latencies = Vec::new();
        for (n, (packet, due, timestamp)) in packets.iter().enumerate() {
            let played = *due + Duration::from_millis(120);
            latencies.extend(if random().is_multiple_of(20) {
                let samples = match packets.get(n + 1).filter(|_| n % 2 == 0) {
                    Some((next, ..)) => decoder.recover(next, AUDIO_FRAME_SAMPLES).unwrap(),
                    None => decoder.conceal(AUDIO_FRAME_SAMPLES).unwrap(),
                };
                timing.add(&samples, played, Origin::Concealment)
            } else {
                timing.add(&decoder.decode(packet).unwrap(), played, Origin::Packet { timestamp: *timestamp })
            });
        }
        // Of 120 steps about four of five have whole frames around them.
        assert!(latencies.len() > 70, "{}", latencies.len());
        assert_all_near(&latencies, 126.5, 2.5);
    }

    #[test]
    fn a_jump_of_time_stamps_is_no_boundary() {
        let mut timing = SweepTiming::default();
        // The frames around the boundary at 2 s are left out.
        let heard: Vec<f64> = frames(40)
            .filter(|(_, due, _)| !(1_960..2_020).contains(&(due.as_millis() % 4_000)))
            .filter_map(|(samples, due, timestamp)| timing.add(&samples, due, Origin::Packet { timestamp }))
            .collect();
        assert_eq!(heard.len(), 1, "{heard:?}: the one at 2.5 s");
        assert_all_near(&heard, 0.0, 1.0);
    }

    #[test]
    fn noise_speechlike_sound_and_silence_have_no_steps() {
        let mut random = crate::codec::checks::noise(99);
        let mut timing = SweepTiming::default();
        for n in 0..500_u32 {
            let samples: Vec<i16> = (0..AUDIO_FRAME_SAMPLES)
                .map(|at| {
                    let hum = (at as f64 * 0.03 * (1.0 + f64::from(n % 7))).sin() * 6_000.0;
                    if n % 3 == 0 { (random() % 16_384) as i16 - 8_192 } else { hum as i16 }
                })
                .collect();
            let origin = if n % 50 == 0 { Origin::Silence } else { Origin::Packet { timestamp: n * 960 } };
            assert_eq!(timing.add(&samples, SENT_FROM + n * FRAME, origin), None, "frame {n}");
        }
        assert_eq!(timing.add(&[], SENT_FROM, Origin::Silence), None);
    }
}

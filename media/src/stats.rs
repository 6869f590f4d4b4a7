//! Measures of a call, pure: freezes, latency, jitter, order of counted pictures.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::capture::pattern::Stamp;

/// Width of a latency class: half a millisecond, well under what a person or a test can tell apart.
const LATENCY_CLASS_MS: f64 = 0.5;

/// Latencies at and above this share the last class, those at and below its negative the first.
const LATENCY_MS_MAX: f64 = 10_000.0;

/// From the negative of the most to the most.
const LATENCY_CLASSES: usize = 40_000;

/// A histogram of latencies; memory does not grow with the call.
#[derive(Clone, Debug)]
pub struct Latencies {
    classes: Vec<u32>,
    count: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { classes: vec![0; LATENCY_CLASSES], count: 0 }
    }
}

impl Latencies {
    /// Adds one latency, in milliseconds; it may be negative, by as much as the clocks of two machines are not known.
    pub fn add(&mut self, ms: f64) {
        // A conversion to an unsigned number takes what is below 0 for 0.
        let class = (((ms + LATENCY_MS_MAX) / LATENCY_CLASS_MS) as usize).min(LATENCY_CLASSES - 1);
        self.classes[class] += 1;
        self.count += 1;
    }

    /// The latency, in milliseconds, that `percent` of all do not exceed (nearest rank); `None` when there are none.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((percent / 100.0 * self.count as f64).ceil() as u64).clamp(1, self.count);
        let mut seen = 0;
        for (class, count) in self.classes.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return Some((class as f64 + 0.5) * LATENCY_CLASS_MS - LATENCY_MS_MAX);
            }
        }
        None
    }
}

/// Freezes of a picture stream by the W3C rule (webrtc-stats `freezeCount`): a gap between two shown pictures of at
/// least max(3·average, average + 150 ms), average over the last 30.
#[derive(Clone, Debug, Default)]
pub struct Freezes {
    last: Option<Instant>,
    gaps: VecDeque<Duration>,
    /// Freezes so far.
    pub count: u32,
    /// Their length together.
    pub total: Duration,
}

impl Freezes {
    /// Pictures were not to come for a while: the gap is none of the network's.
    pub fn paused(&mut self) {
        self.last = None;
    }

    /// A picture was shown.
    pub fn shown(&mut self, at: Instant) {
        if let Some(last) = self.last.replace(at) {
            let gap = at.saturating_duration_since(last);
            if let Ok(count) = u32::try_from(self.gaps.len())
                && count > 0
            {
                let average = self.gaps.iter().sum::<Duration>() / count;
                if gap >= (average * 3).max(average + Duration::from_millis(150)) {
                    self.count += 1;
                    self.total += gap;
                }
            }
            if self.gaps.len() == 30 {
                self.gaps.pop_front();
            }
            self.gaps.push_back(gap);
        }
    }
}

/// Interarrival jitter (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug)]
pub struct Jitter {
    clock_hz: f64,
    last: Option<(Instant, u32)>,
    seconds: f64,
}

impl Jitter {
    /// For a stream with this RTP clock.
    #[must_use]
    pub const fn new(clock_hz: u32) -> Self {
        Self { clock_hz: clock_hz as f64, last: None, seconds: 0.0 }
    }

    /// A packet came.
    pub fn add(&mut self, arrived: Instant, timestamp: u32) {
        if let Some((before, stamp)) = self.last
            && arrived >= before
        {
            let sent_apart = f64::from(timestamp.wrapping_sub(stamp) as i32) / self.clock_hz;
            let difference = ((arrived - before).as_secs_f64() - sent_apart).abs();
            // A jump of the clock itself is no jitter.
            if difference < 10.0 {
                self.seconds += (difference - self.seconds) / 16.0;
            }
        }
        self.last = Some((arrived, timestamp));
    }

    /// The estimate, milliseconds.
    #[must_use]
    pub fn ms(&self) -> f64 {
        self.seconds * 1000.0
    }
}

/// How the counted pictures of the test pattern came through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PatternCount {
    /// Pictures read.
    pub read: u64,
    /// Of these, the ones whose counter was above the one before.
    pub in_order: u64,
    /// Counters that were jumped over.
    pub missing: u64,
    /// The last counter.
    #[serde(skip)]
    last: Option<u32>,
}

impl PatternCount {
    /// A picture with this stamp was shown.
    pub fn add(&mut self, stamp: Stamp) {
        self.read += 1;
        match self.last {
            Some(last) if stamp.counter <= last => return,
            Some(last) => self.missing += u64::from(stamp.counter - last - 1),
            None => {}
        }
        self.in_order += 1;
        self.last = Some(stamp.counter);
    }
}

/// Rates of counters that only grow: difference a second between two looks.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    last: (Instant, u64),
}

impl Rate {
    /// Starts at this count.
    #[must_use]
    pub const fn new(at: Instant, count: u64) -> Self {
        Self { last: (at, count) }
    }

    /// The rate since the last look, a second.
    pub fn look(&mut self, at: Instant, count: u64) -> f64 {
        let (before, old) = std::mem::replace(&mut self.last, (at, count));
        let seconds = at.saturating_duration_since(before).as_secs_f64();
        if seconds > 0.0 { count.saturating_sub(old) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(50.0), None);
        for ms in 1..=100 {
            latencies.add(f64::from(ms));
        }
        let p = |percent| latencies.percentile(percent).unwrap();
        assert!((p(50.0) - 50.0).abs() <= 0.5 && (p(95.0) - 95.0).abs() <= 0.5 && (p(100.0) - 100.0).abs() <= 0.5);
        for ms in [-5.0, 1e12, -1e12] {
            latencies.add(ms);
        }
        let p = |percent| latencies.percentile(percent).unwrap();
        assert!(p(100.0) > 9_999.0 && p(0.0) < -9_999.0 && (p(1.5) + 5.0).abs() <= 0.5, "{}", p(1.5));
    }

    #[test]
    fn a_gap_of_700_ms_is_one_freeze_of_that_length() {
        let mut freezes = Freezes::default();
        let mut at = Instant::now();
        for n in 0..100 {
            at += Duration::from_millis(if n == 50 { 700 } else { 33 });
            freezes.shown(at);
        }
        assert_eq!((freezes.count, freezes.total), (1, Duration::from_millis(700)));
    }

    #[test]
    fn a_small_hiccup_is_no_freeze() {
        let mut freezes = Freezes::default();
        let mut at = Instant::now();
        for n in 0..100 {
            at += Duration::from_millis(if n % 10 == 0 { 120 } else { 33 });
            freezes.shown(at);
        }
        assert_eq!(freezes.count, 0);
    }

    #[test]
    fn jitter_is_zero_for_a_steady_stream_and_follows_an_unsteady_one() {
        let start = Instant::now();
        let mut steady = Jitter::new(48_000);
        let mut unsteady = Jitter::new(48_000);
        for n in 0..500u32 {
            let at = start + Duration::from_millis(20) * n;
            steady.add(at, n * 960);
            unsteady.add(at + Duration::from_millis(10) * (n % 2), n * 960);
        }
        assert!(steady.ms() < 0.01 && (unsteady.ms() - 10.0).abs() < 0.5, "{} {}", steady.ms(), unsteady.ms());
    }

    #[test]
    fn counted_pictures_tell_order_and_holes() {
        let mut count = PatternCount::default();
        for counter in [5, 6, 8, 7, 9] {
            count.add(Stamp { counter, sent_ms: 0 });
        }
        assert_eq!((count.read, count.in_order, count.missing), (5, 4, 1));
    }
}

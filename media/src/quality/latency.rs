//! Latencies between two clocks: held back until it is known how far these are apart, and put right by that.

use std::collections::VecDeque;
use std::time::Instant;

use super::Recent;
use crate::stats::Latencies;

/// Latencies held back: of ten seconds at 60 a second. The oldest are forgotten.
const HELD_MAX: usize = 600;

/// The latencies of a stream.
#[derive(Debug, Default)]
pub struct Latency {
    held: VecDeque<(Instant, f64)>,
    all: Latencies,
    /// The latest, put right.
    pub recent: Recent,
}

impl Latency {
    /// One was measured, in milliseconds: a time by our clock less one by theirs.
    pub fn add(&mut self, at: Instant, ms: f64) {
        if self.held.len() == HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back((at, ms));
    }

    /// Takes in what is held back, once it is known how far their clock is ahead; `put_right` adds that to a latency.
    pub fn settle(&mut self, ahead_ms: Option<f64>, put_right: impl Fn(f64, f64) -> f64) {
        let Some(ahead_ms) = ahead_ms else { return };
        for (at, ms) in self.held.drain(..) {
            let ms = put_right(ms, ahead_ms);
            self.all.add(ms);
            self.recent.add(at, ms);
        }
    }

    /// As [`Latencies::percentile`], of those that were taken in.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        self.all.percentile(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_not_known_before_the_clocks_are() {
        let (mut latency, now) = (Latency::default(), Instant::now());
        let sum = |ms: f64, ahead: f64| ms + ahead;
        for ms in [-1950.0, -1940.0, -1930.0] {
            latency.add(now, ms);
        }
        latency.settle(None, sum);
        assert_eq!((latency.percentile(50.0), latency.recent.count()), (None, 0));
        latency.settle(Some(2000.0), sum);
        assert!(latency.percentile(50.0).is_some_and(|ms| (ms - 60.0).abs() <= 0.5));
        assert_eq!(latency.recent.since(0), (vec![50.0, 60.0, 70.0], 0));
        latency.settle(Some(2000.0), sum);
        assert_eq!(latency.recent.count(), 3, "once");
    }

    #[test]
    fn what_is_held_back_does_not_grow_with_the_call() {
        let (mut latency, now) = (Latency::default(), Instant::now());
        for n in 0..2 * HELD_MAX {
            latency.add(now, n as f64);
        }
        assert_eq!(latency.held.len(), HELD_MAX);
    }
}

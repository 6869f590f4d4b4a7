//! [`Delivery`]: how fast packets arrive, by the receiver's clock.
//!
//! - the rate over a window: what is delivered now
//! - the rate of a busy path: of packets that waited in a queue. While a queue stands, the path delivers as fast as it
//!   can, however little is sent: this is its capacity, or our share of it.

use std::collections::VecDeque;
use std::time::Duration;

/// Arrivals that are remembered.
const REMEMBERED: Duration = Duration::from_secs(1);

/// Packets and time that a rate of a busy path is taken over at least: fewer tell little.
const BUSY_PACKETS_MIN: usize = 5;
const BUSY_MIN: Duration = Duration::from_millis(60);

/// And at most: what was a second ago is of the past when a path has become narrow.
const BUSY_MAX: Duration = Duration::from_millis(500);

/// Two arrivals further apart than this are no run of a busy path.
const BUSY_GAP: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Duration,
    bytes: usize,
    queued: Duration,
    unreported_before: usize,
    lost_before: usize,
}

/// See the module. Reads no clock; takes arrivals by the other side's.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    arrivals: VecDeque<Arrival>,
    /// Bytes lost since the latest arrival.
    lost: usize,
}

impl Delivery {
    /// A packet arrived at `at`, after it had waited for `queued` on its way. Of so many bytes just before it nothing is
    /// known.
    pub(crate) fn arrived(&mut self, at: Duration, bytes: usize, queued: Duration, unreported_before: usize) {
        let newest = self.arrivals.back().map_or(at, |last| last.at.max(at));
        self.arrivals.push_back(Arrival {
            at,
            bytes,
            queued,
            unreported_before,
            lost_before: std::mem::take(&mut self.lost),
        });
        while self.arrivals.front().is_some_and(|first| first.at + REMEMBERED < newest) {
            self.arrivals.pop_front();
        }
    }

    /// A packet of so many bytes is lost.
    pub(crate) fn lost(&mut self, bytes: usize) {
        self.lost += bytes;
    }

    /// Nothing is known any more.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bits a second that arrived over the latest `window`; `None` before so much time was seen.
    pub(crate) fn bps(&self, window: Duration) -> Option<f64> {
        // What nothing is known of will have arrived like the rest.
        self.sum(window, |arrival| arrival.bytes + arrival.unreported_before)
    }

    /// The same of what was sent, lost packets among it.
    pub(crate) fn sent_bps(&self, window: Duration) -> Option<f64> {
        self.sum(window, |arrival| arrival.bytes + arrival.unreported_before + arrival.lost_before)
    }

    fn sum(&self, window: Duration, bytes: impl Fn(&Arrival) -> usize) -> Option<f64> {
        let (first, last) = (self.arrivals.front()?, self.arrivals.back()?);
        if first.at + window > last.at {
            return None;
        }
        let bytes: usize = self.arrivals.iter().filter(|one| one.at + window > last.at).map(bytes).sum();
        Some(bytes as f64 * 8.0 / window.as_secs_f64())
    }

    /// Bits a second of the latest run of packets that waited for at least `queued` each; `None` when there is no run
    /// that is long enough.
    pub(crate) fn busy_bps(&self, queued: Duration) -> Option<f64> {
        let mut newer: Option<Arrival> = None;
        let (mut bytes, mut packets, mut last) = (0, 0, None);
        for arrival in self.arrivals.iter().rev() {
            let is_apart = newer.is_some_and(|newer| newer.at.saturating_sub(arrival.at) > BUSY_GAP);
            let is_long = last.is_some_and(|last: Duration| last.saturating_sub(arrival.at) > BUSY_MAX);
            if arrival.queued < queued || is_apart || is_long {
                break;
            }
            // What was on the wire before the run began is not counted: the first arrival only starts the clock.
            bytes += newer.map_or(0, |newer| newer.bytes);
            packets += 1;
            last = last.or(Some(arrival.at));
            newer = Some(*arrival);
            if arrival.unreported_before > 0 {
                break;
            }
        }
        let length = last?.saturating_sub(newer?.at);
        (packets >= BUSY_PACKETS_MIN && length >= BUSY_MIN).then(|| bytes as f64 * 8.0 / length.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_rate_is_of_the_window_and_known_once_it_was_seen() {
        let mut delivery = Delivery::default();
        for n in 0..20 {
            delivery.arrived(ms(10 * n), 125, Duration::ZERO, 0);
        }
        assert_eq!(delivery.bps(ms(200)), None, "190 ms were seen");
        assert_eq!(delivery.bps(ms(100)), Some(100_000.0));
    }

    #[test]
    fn a_busy_path_tells_its_capacity_however_little_is_sent_on_average() {
        let mut delivery = Delivery::default();
        for n in 0..5 {
            delivery.arrived(ms(100 * n), 125, Duration::ZERO, 0);
        }
        assert_eq!(delivery.busy_bps(ms(20)), None);
        for n in 0..11 {
            delivery.arrived(ms(500 + 10 * n), 1250, ms(50), 0);
        }
        assert_eq!(delivery.busy_bps(ms(20)), Some(1_000_000.0));
        assert!(delivery.bps(ms(500)).unwrap() < 300_000.0);
        delivery.arrived(ms(700), 125, Duration::ZERO, 0);
        assert_eq!(delivery.busy_bps(ms(20)), None, "the queue is empty");
    }
}

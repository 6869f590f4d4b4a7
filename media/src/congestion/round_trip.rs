//! [`RoundTrip`]: how long it takes to the other side and back, smoothed with its variation (RFC 6298 §2), and
//! [`SharedRoundTrip`], where the one of a call is published.
//!
//! - in: RTCP reports (RFC 3550 §6.4.1), the time from a NACK to its RTX, STUN checks as long as there is nothing else
//! - out: the timeout after which an unanswered NACK or keyframe request is taken for lost; how long repairs are of use

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The timeout as long as nothing was measured.
const FIRST_TIMEOUT: Duration = Duration::from_millis(100);

/// The least that is added to the smoothed round trip (RFC 6298 §2: the granularity of the clock): timers here and the
/// other side's threads are late by a few milliseconds.
const GRANULARITY: Duration = Duration::from_millis(5);

/// A measurement above it is a fault, and is left out.
const SAMPLE_MAX: Duration = Duration::from_secs(10);

/// How long the lowest round trip is remembered, at least; at most twice as long.
const LOWEST_HOLDS: Duration = Duration::from_secs(10);

/// A round trip that was measured within this time says how the path is now.
const FRESH: Duration = Duration::from_millis(250);

/// See the module. Reads no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RoundTrip(Option<Measured>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Measured {
    means: Means,
    smoothed: Duration,
    variation: Duration,
    /// When the latest was measured.
    at: Instant,
    /// The lowest of this span of time and of the one before, and when this one began.
    lowest: [Duration; 2],
    lowest_since: Instant,
}

/// What a round trip is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    /// What is less exact, or older.
    Guess,
    /// Packets of the media, or reports on them.
    Media,
}

impl RoundTrip {
    /// A round trip was measured.
    pub(crate) fn measured(&mut self, sample: Duration, now: Instant) {
        if self.0.is_some_and(|before| before.means == Means::Guess) {
            self.0 = None;
        }
        self.add(Means::Media, sample, now);
    }

    /// A round trip was measured by a means that is less exact: it counts only while there is nothing else.
    pub(crate) fn guessed(&mut self, sample: Duration, now: Instant) {
        if self.0.is_none_or(|before| before.means == Means::Guess) {
            self.add(Means::Guess, sample, now);
        }
    }

    fn add(&mut self, means: Means, sample: Duration, now: Instant) {
        if sample > SAMPLE_MAX {
            return;
        }
        let Some(before) = &mut self.0 else {
            self.0 = Some(Measured {
                means,
                smoothed: sample,
                variation: sample / 2,
                at: now,
                lowest: [sample; 2],
                lowest_since: now,
            });
            return;
        };
        // RFC 6298 §2.3: beta is 1/4, alpha 1/8.
        before.variation = (before.variation * 3 + before.smoothed.abs_diff(sample)) / 4;
        before.smoothed = (before.smoothed * 7 + sample) / 8;
        before.at = now;
        if now.saturating_duration_since(before.lowest_since) >= LOWEST_HOLDS {
            before.lowest = [sample, before.lowest[0]];
            before.lowest_since = now;
        }
        before.lowest[0] = before.lowest[0].min(sample);
    }

    /// The smoothed round trip; `None` before one was measured.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        self.0.map(|measured| measured.smoothed)
    }

    /// The lowest of the last 10 to 20 s, which has the least of queues in it; `None` before one was measured.
    #[must_use]
    pub fn lowest(&self) -> Option<Duration> {
        self.0.map(|measured| measured.lowest[0].min(measured.lowest[1]))
    }

    /// After this time what was asked for is taken for lost (RFC 6298 §2, without the lower limit of §2.4, which is made
    /// for TCP).
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.0.map_or(FIRST_TIMEOUT, |measured| measured.smoothed + (measured.variation * 4).max(GRANULARITY))
    }

    /// Whether the path was measured just now, so that a missing answer was lost and not delayed.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        self.0.is_some_and(|measured| now.saturating_duration_since(measured.at) < FRESH)
    }
}

/// Where the round trip of a call is published. Clones are one and the same; no lock is held for longer than a copy takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedRoundTrip(Arc<Mutex<RoundTrip>>);

impl SharedRoundTrip {
    /// What is known now.
    pub(crate) fn get(&self) -> RoundTrip {
        *self.lock()
    }

    /// A round trip was measured.
    pub(crate) fn measured(&self, sample: Duration, now: Instant) {
        self.lock().measured(sample, now);
    }

    /// The same by a means that is less exact: it counts only while there is nothing else.
    pub(crate) fn guessed(&self, sample: Duration, now: Instant) {
        self.lock().guessed(sample, now);
    }

    fn lock(&self) -> MutexGuard<'_, RoundTrip> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_is_smoothed_with_its_variation() {
        let (mut trip, now) = (RoundTrip::default(), Instant::now());
        assert_eq!((trip.smoothed(), trip.lowest(), trip.timeout()), (None, None, FIRST_TIMEOUT));
        trip.measured(ms(80), now);
        assert_eq!((trip.smoothed(), trip.timeout()), (Some(ms(80)), ms(240)), "RFC 6298 §2.2");
        trip.measured(ms(160), now);
        assert_eq!((trip.smoothed(), trip.timeout()), (Some(ms(90)), ms(90) + ms(50) * 4), "RFC 6298 §2.3");
        for _ in 0..100 {
            trip.measured(ms(40), now);
        }
        assert!(trip.timeout() <= ms(46), "a steady path is waited for by little more: {:?}", trip.timeout());
        trip.measured(Duration::from_secs(3600), now);
        assert!(trip.timeout() <= ms(46), "a fault");
    }

    #[test]
    fn the_lowest_is_forgotten_after_a_while() {
        let (mut trip, start) = (RoundTrip::default(), Instant::now());
        for second in 0..40 {
            trip.measured(if second < 5 { ms(10) } else { ms(300) }, start + Duration::from_secs(second));
            let lowest = trip.lowest().unwrap();
            assert_eq!(lowest, if second < 20 { ms(10) } else { ms(300) }, "second {second}");
        }
    }

    #[test]
    fn it_is_fresh_for_a_quarter_of_a_second() {
        let (mut trip, now) = (RoundTrip::default(), Instant::now());
        assert!(!trip.is_fresh(now));
        trip.measured(ms(10), now);
        assert!(trip.is_fresh(now + ms(249)) && !trip.is_fresh(now + ms(250)));
    }

    #[test]
    fn a_guess_counts_only_while_nothing_is_measured() {
        let (trip, now) = (SharedRoundTrip::default(), Instant::now());
        trip.guessed(ms(100), now);
        trip.guessed(ms(900), now);
        assert_eq!(trip.get().smoothed(), Some(ms(200)));
        trip.measured(ms(20), now);
        trip.guessed(ms(900), now);
        assert_eq!(trip.get().smoothed(), Some(ms(20)));
    }
}

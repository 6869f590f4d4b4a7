//! How far the clock of the other side is ahead of ours, pure.
//!
//! Figures that compare a time of theirs with one of ours, as the latency of a picture, are wrong by the difference of the
//! two clocks. It follows from what RTCP brings:
//!
//! - in: when a sender report arrived, less when it was sent by their clock (the way here, less the difference)
//! - in: round trips (the way there and the way back)
//! - out: [`Estimate`], or nothing where one of the two is missing; a figure that needs it is not known then
//!
//! The fastest report took at least nothing and at most a whole round trip. Clocks that agree within these limits count
//! as one, so that a path that is slow in one direction alone is not taken for a clock that is wrong. Otherwise half of
//! the fastest round trip is taken for the way here, as NTP does (RFC 5905 §8).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// For so long a measurement counts: clocks run apart, some milliseconds a minute at worst, and are set.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Measurements kept of a kind: reports of two streams a second.
const KEPT_MAX: usize = 128;

/// What two machines that are kept right by NTP may differ by, and what sending and reading take on busy ones.
const TOLERANCE_MS: f64 = 10.0;

/// The same for a single report, which may have waited: so much in addition, less the more there are.
const TOLERANCE_OF_ONE_MS: f64 = 60.0;

/// How the other side's clock stands to ours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// How far it is ahead, milliseconds; 0 where the two agree as far as can be seen.
    pub ahead_ms: f64,
    /// How much that may be wrong by.
    pub within_ms: f64,
}

/// What was measured lately.
#[derive(Clone, Debug, Default)]
pub struct ClockOffset {
    /// Arrival by our clock less departure by theirs.
    ways_ms: VecDeque<(Instant, f64)>,
    round_trips_ms: VecDeque<(Instant, f64)>,
}

impl ClockOffset {
    /// A report that left at `sent` by their clock came at `arrived` by ours, both Unix time.
    pub fn report(&mut self, at: Instant, sent: Duration, arrived: Duration) {
        add(&mut self.ways_ms, at, (arrived.as_secs_f64() - sent.as_secs_f64()) * 1000.0);
    }

    /// A round trip was measured.
    pub fn round_trip(&mut self, at: Instant, round_trip: Duration) {
        add(&mut self.round_trips_ms, at, round_trip.as_secs_f64() * 1000.0);
    }

    /// What is known now.
    #[must_use]
    pub fn estimate(&self, now: Instant) -> Option<Estimate> {
        let ways = sorted(&self.ways_ms, now);
        let round_trips = sorted(&self.round_trips_ms, now);
        let (way, fastest) = (*ways.first()?, *round_trips.first()?);
        let usual = round_trips[round_trips.len() / 2];
        let tolerance = TOLERANCE_MS + TOLERANCE_OF_ONE_MS / ways.len() as f64;
        if (-tolerance..=usual + tolerance).contains(&way) {
            return Some(Estimate { ahead_ms: 0.0, within_ms: way.abs().max((usual - way).abs()) });
        }
        Some(Estimate { ahead_ms: fastest / 2.0 - way, within_ms: fastest / 2.0 + tolerance })
    }
}

fn add(measured: &mut VecDeque<(Instant, f64)>, at: Instant, ms: f64) {
    if measured.len() == KEPT_MAX {
        measured.pop_front();
    }
    measured.push_back((at, ms));
}

/// What still counts, the smallest first.
fn sorted(measured: &VecDeque<(Instant, f64)>, now: Instant) -> Vec<f64> {
    let counts = measured.iter().filter(|(at, _)| now.saturating_duration_since(*at) < KEPT_FOR);
    let mut values: Vec<f64> = counts.map(|(_, ms)| *ms).collect();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two machines: their clocks differ, and each way takes its time.
    struct Machines {
        ahead_ms: i64,
        here_ms: u64,
        there_ms: u64,
    }

    impl Machines {
        fn estimate(&self, reports: u32) -> Option<Estimate> {
            let (mut offset, start) = (ClockOffset::default(), Instant::now());
            let epoch = Duration::from_secs(1_800_000_000);
            for n in 0..reports {
                let (since, noise) = (Duration::from_millis(500) * n, u64::from(n * 7 % 5));
                let sent = Duration::from_millis(((epoch + since).as_millis() as i64 + self.ahead_ms) as u64);
                let way = Duration::from_millis(self.here_ms + noise);
                offset.report(start + since, sent, epoch + since + way);
                offset.round_trip(start + since, way + Duration::from_millis(self.there_ms));
            }
            offset.estimate(start + Duration::from_millis(500) * reports)
        }
    }

    #[test]
    fn nothing_is_known_before_both_are_measured() {
        let (mut offset, now) = (ClockOffset::default(), Instant::now());
        assert_eq!(offset.estimate(now), None);
        offset.report(now, Duration::from_secs(100), Duration::from_secs(98));
        assert_eq!(offset.estimate(now), None, "a report alone does not tell a slow way from a wrong clock");
        offset.round_trip(now, Duration::from_millis(20));
        assert!(offset.estimate(now).is_some_and(|known| (known.ahead_ms - 2010.0).abs() < 1e-3));
        let mut other = ClockOffset::default();
        other.round_trip(now, Duration::from_millis(20));
        assert_eq!(other.estimate(now), None);
    }

    #[test]
    fn clocks_that_differ_are_found_within_half_a_round_trip() {
        for (ahead_ms, here_ms, there_ms) in
            [(2000, 5, 5), (-2000, 5, 5), (86_400_000, 80, 20), (-60, 1, 1), (300, 100, 100), (-3_600_000, 0, 0)]
        {
            let known = Machines { ahead_ms, here_ms, there_ms }.estimate(10).unwrap();
            let error = (known.ahead_ms - ahead_ms as f64).abs();
            assert!(known.ahead_ms != 0.0 && error <= known.within_ms, "{ahead_ms} ms: {known:?}");
            assert!(error <= (here_ms + there_ms) as f64 / 2.0 + 2.0, "{ahead_ms} ms: {known:?}");
        }
    }

    #[test]
    fn a_path_that_is_slow_one_way_is_no_wrong_clock() {
        for (here_ms, there_ms) in [(0, 0), (300, 0), (0, 300), (150, 150), (2000, 1)] {
            let known = Machines { ahead_ms: 0, here_ms, there_ms }.estimate(10).unwrap();
            assert_eq!(known.ahead_ms, 0.0, "{here_ms} and {there_ms} ms");
            assert!(known.within_ms <= (here_ms + there_ms + 5) as f64, "{known:?}");
        }
    }

    #[test]
    fn a_single_report_that_waited_is_not_held_against_the_clock() {
        let (mut offset, now) = (ClockOffset::default(), Instant::now());
        offset.round_trip(now, Duration::from_millis(1));
        offset.report(now, Duration::from_millis(1000), Duration::from_millis(1050));
        assert_eq!(offset.estimate(now).unwrap().ahead_ms, 0.0);
        for n in 0..9 {
            offset.report(now, Duration::from_millis(1000 * n), Duration::from_millis(1000 * n + 50));
        }
        assert!(offset.estimate(now).unwrap().ahead_ms < -45.0, "ten that all waited for the same time are its fault");
    }

    #[test]
    fn what_is_old_does_not_count() {
        let (mut offset, now) = (ClockOffset::default(), Instant::now());
        offset.round_trip(now, Duration::from_millis(10));
        offset.report(now, Duration::from_secs(10), Duration::from_secs(5));
        let later = now + KEPT_FOR;
        assert_eq!(offset.estimate(later), None);
        offset.round_trip(later, Duration::from_millis(10));
        offset.report(later, Duration::from_secs(75), Duration::from_secs(75));
        assert_eq!(offset.estimate(later).unwrap().ahead_ms, 0.0, "their clock was set right");
    }
}

//! [`ReportLimit`]: how much may be sent to a peer without transport-wide feedback: by its receiver reports
//! (RFC 3550 §6.4.1) and by what it says that it can take (REMB, draft-alvestrand-rmcat-remb-03).
//!
//! Reports come once in a second or so and tell of loss and of the round trip alone; a queue is seen in the latter. The
//! rules are those of draft-ietf-rmcat-gcc-02 §5.5.

use std::time::{Duration, Instant};

use super::growth::most;
use super::limits::BitrateLimits;

/// Shares of lost packets: above the first less is sent, below the second more.
const LOSS_HIGH: f64 = 0.10;
const LOSS_LOW: f64 = 0.02;

/// What each report without loss or queue adds.
const RISE: f64 = 1.08;

/// A round trip that is so much above the least one waits in a queue.
const QUEUE: Duration = Duration::from_millis(120);
const DECREASE: f64 = 0.85;

/// Reports on several streams that come together count once.
const APART: Duration = Duration::from_millis(400);

/// What the other side can take is believed for so long.
const REMB_HOLDS: Duration = Duration::from_secs(10);

/// What a report tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ReceiverReport {
    /// Share of packets lost since the one before, 0 to 1.
    pub(crate) loss: f64,
    /// What was sent meanwhile, bits a second.
    pub(crate) sent_bps: f64,
    /// The round trip, when it is known.
    pub(crate) round_trip: Option<Duration>,
}

/// See the module. Reads no clock.
#[derive(Debug)]
pub(crate) struct ReportLimit {
    limits: BitrateLimits,
    bps: f64,
    remb: Option<(f64, Instant)>,
    least_round_trip: Option<Duration>,
    last: Option<Instant>,
    /// Less was sent once.
    is_narrow: bool,
}

impl ReportLimit {
    pub(crate) fn new(limits: BitrateLimits) -> Self {
        let bps = limits.start_bps.into();
        Self { limits, bps, remb: None, least_round_trip: None, last: None, is_narrow: false }
    }

    /// What may be sent, bits a second.
    pub(crate) fn bps(&self) -> f64 {
        let most = self.remb.map_or(f64::INFINITY, |(bps, _)| bps);
        self.bps.min(most).max(self.limits.min_bps.into())
    }

    /// True once the path was found to be narrower than what was sent.
    pub(crate) const fn is_narrow(&self) -> bool {
        self.is_narrow
    }

    /// The other side can take so many bits a second.
    pub(crate) fn on_remb(&mut self, now: Instant, bps: f64) {
        self.remb = Some((bps, now));
    }

    /// A report came.
    pub(crate) fn on_report(&mut self, now: Instant, report: ReceiverReport) {
        self.remb = self.remb.filter(|(_, at)| now.saturating_duration_since(*at) < REMB_HOLDS);
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < APART) {
            return;
        }
        self.last = Some(now);
        let is_queued = report.round_trip.is_some_and(|round_trip| {
            let least = self.least_round_trip.map_or(round_trip, |least| least.min(round_trip));
            self.least_round_trip = Some(least);
            round_trip > least + QUEUE
        });
        let sent = report.sent_bps.min(self.bps);
        if report.loss > LOSS_HIGH {
            self.lower(sent * (1.0 - 0.5 * report.loss));
        } else if is_queued {
            self.lower(sent * DECREASE);
        } else if report.loss < LOSS_LOW {
            self.bps = (self.bps * RISE).min(most(self.bps, report.sent_bps));
        }
        self.bps = self.bps.clamp(self.limits.min_bps.into(), self.limits.max_bps.into());
    }

    fn lower(&mut self, bps: f64) {
        self.is_narrow = true;
        self.bps = bps;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BitrateLimits = BitrateLimits { start_bps: 400_000, min_bps: 30_000, max_bps: 2_000_000 };

    /// A report each second of a path that carries so much; the limits after each.
    fn seconds(limit: &mut ReportLimit, start: Instant, numbers: std::ops::Range<u64>, carries_bps: f64) -> Vec<f64> {
        let one = |n| {
            let sent_bps = limit.bps();
            let loss = (1.0 - carries_bps / sent_bps).max(0.0);
            let report = ReceiverReport { loss, sent_bps, round_trip: None };
            limit.on_report(start + Duration::from_secs(n), report);
            limit.bps()
        };
        numbers.map(one).collect()
    }

    #[test]
    fn loss_lowers_what_is_sent_until_it_fits_and_a_wider_path_is_found_again() {
        let (mut limit, start) = (ReportLimit::new(LIMITS), Instant::now());
        let narrow = seconds(&mut limit, start, 0..20, 150_000.0);
        assert!(narrow[6..].iter().all(|bps| *bps < 180_000.0), "{narrow:.0?}");
        assert!(limit.is_narrow());
        let wide = seconds(&mut limit, start, 20..60, 5_000_000.0);
        assert_eq!(wide.last(), Some(&2_000_000.0), "{wide:.0?}");
    }

    #[test]
    fn a_queue_shows_in_the_round_trip() {
        let (mut limit, start) = (ReportLimit::new(LIMITS), Instant::now());
        for (n, round_trip) in (0..).zip([40, 60, 250, 300]) {
            let round_trip = Some(Duration::from_millis(round_trip));
            let report = ReceiverReport { loss: 0.0, sent_bps: limit.bps(), round_trip };
            limit.on_report(start + Duration::from_secs(n), report);
        }
        assert!(limit.bps() < 350_000.0, "{}", limit.bps());
    }

    #[test]
    fn what_the_other_side_can_take_is_a_limit_while_it_says_so() {
        let (mut limit, start) = (ReportLimit::new(LIMITS), Instant::now());
        limit.on_remb(start, 120_000.0);
        assert_eq!(limit.bps(), 120_000.0);
        seconds(&mut limit, start, 11..12, 5_000_000.0);
        assert!(limit.bps() >= 400_000.0);
    }
}

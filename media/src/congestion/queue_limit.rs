//! [`QueueLimit`]: how long a queue may stand before it counts as congestion.
//!
//! On a path of our own little is enough: less than anybody hears. But a flow that fills the queue, as TCP does, leaves
//! nothing to one that backs off from each queue (RFC 8298 §4.1.2.1.1 raises its limit as well). When sending less and less
//! leaves the queue as it was, it is not ours, and only more than that counts.

use std::time::{Duration, Instant};

/// A queue that nobody hears.
const OWN: Duration = Duration::from_millis(30);

/// Bits of a packet: on a narrow path one alone keeps others waiting.
const PACKET_BITS: f64 = 9_600.0;

/// Queues are looked at for this time, or for so many packets.
const WINDOW: Duration = Duration::from_millis(100);
const WINDOW_PACKETS: f64 = 2.5;

/// What a packet takes is counted up to this: they are made smaller on narrow paths ([`super::payload_limit::bytes_for`]).
const PACKET_TIME_MAX: f64 = 0.05;

/// A queue that is still there after so long and two round trips, and after the target fell to this share, is not ours.
const TRY_FOR: Duration = Duration::from_secs(1);
const TRY_SHARE: f64 = 0.65;

/// It must have kept this share of its length.
const STILL_THERE: f64 = 0.7;

/// Beside competing flows, so much more counts as congestion; and never more than the longest.
const ABOVE: f64 = 1.4;
const LOW: f64 = 1.2;
const LONGEST: Duration = Duration::from_millis(400);

/// After so long it is tried again whose queue it is: perhaps the path only takes longer than it did.
const BELIEVED: Duration = Duration::from_secs(300);

/// Competing flows are gone once the queue was empty for so long.
const GONE_AFTER: Duration = Duration::from_millis(1500);

#[derive(Debug, Default)]
pub(crate) struct QueueLimit {
    /// Since when, from which target and with which queue less and less is sent.
    trial: Option<(Instant, f64, Duration)>,
    /// The queue that competing flows fill.
    competing: Option<CompetingQueue>,
    empty_since: Option<Instant>,
    /// Much less is sent for a moment: a queue of ours would empty.
    is_tested: bool,
}

#[derive(Clone, Copy, Debug)]
struct CompetingQueue {
    queue: Duration,
    since: Instant,
}

impl QueueLimit {
    /// A queue beyond this is congestion, at this target in bits a second.
    pub(crate) fn limit(&self, target_bps: f64) -> Duration {
        let own = own(target_bps);
        self.competing.map_or(own, |competing| competing.queue.mul_f64(ABOVE).clamp(own, LONGEST))
    }

    /// Up to this queue more may be sent.
    pub(crate) fn low(&self, target_bps: f64) -> Duration {
        self.competing
            .map_or(own(target_bps) / 2, |competing| competing.queue.mul_f64(LOW).clamp(own(target_bps), LONGEST))
    }

    /// Competing flows fill the queue.
    pub(crate) const fn has_competing(&self) -> bool {
        self.competing.is_some()
    }

    /// More than came through was sent meanwhile, so that no queue could become shorter: the trial begins anew.
    pub(crate) fn overfilled(&mut self, now: Instant, standing: Duration, target_bps: f64) {
        let from_bps = self.trial.map_or(target_bps, |(_, from_bps, _)| from_bps);
        self.trial = Some((now, from_bps, standing));
    }

    /// So much is lost that nobody else can be who fills the queue.
    pub(crate) const fn forget_competing(&mut self) {
        (self.competing, self.trial) = (None, None);
    }

    /// Whether much less is sent for a moment, to see whether the queue is ours after all: it is when it empties.
    pub(crate) const fn test(&mut self, is_tested: bool) {
        self.is_tested = is_tested;
    }

    /// For how long the least queue is looked for.
    pub(crate) fn window(&self, target_bps: f64) -> Duration {
        WINDOW.max(Duration::from_secs_f64((WINDOW_PACKETS * packet_time(target_bps)).min(0.3)))
    }

    /// What stands now.
    pub(crate) fn update(&mut self, now: Instant, standing: Duration, target_bps: f64) {
        self.competing = self.competing.filter(|competing| now.saturating_duration_since(competing.since) < BELIEVED);
        if standing > own(target_bps) {
            self.empty_since = None;
            // It swings: they fill it until it overflows, and give way.
            self.competing =
                self.competing.map(|competing| CompetingQueue { queue: competing.queue.max(standing), ..competing });
            return;
        }
        self.trial = None;
        if self.is_tested {
            self.competing = None;
        }
        let since = *self.empty_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= GONE_AFTER {
            self.competing = None;
        }
    }

    /// Less is sent than `target_bps`, because of a queue that stands. When that has not helped, the target that was left
    /// for nothing, bits a second.
    pub(crate) fn decreased(
        &mut self,
        now: Instant,
        standing: Duration,
        target_bps: f64,
        round_trip: Duration,
    ) -> Option<f64> {
        let (since, from_bps, before) = *self.trial.get_or_insert((now, target_bps, standing));
        let was_tried =
            now.saturating_duration_since(since) >= TRY_FOR + round_trip * 2 && target_bps < from_bps * TRY_SHARE;
        if was_tried && standing >= before.mul_f64(STILL_THERE) {
            self.competing = Some(CompetingQueue { queue: standing, since: now });
            self.trial = None;
            return Some(from_bps);
        }
        if standing > before {
            // It still grew from what was sent before.
            self.trial = Some((since, from_bps, standing));
        }
        None
    }
}

fn own(target_bps: f64) -> Duration {
    OWN + Duration::from_secs_f64(packet_time(target_bps))
}

fn packet_time(target_bps: f64) -> f64 {
    (PACKET_BITS / target_bps).min(PACKET_TIME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn on_a_narrow_path_a_packet_alone_is_no_congestion() {
        let limit = QueueLimit::default();
        assert_eq!(limit.limit(9_600_000.0), ms(31));
        assert_eq!(limit.limit(100_000.0), ms(80));
        assert_eq!((limit.window(2_000_000.0), limit.window(100_000.0)), (ms(100), ms(125)));
    }

    #[test]
    fn a_queue_that_stays_whatever_is_sent_is_that_of_others_until_it_is_gone() {
        let (mut limit, start) = (QueueLimit::default(), Instant::now());
        let mut target_bps = 2_000_000.0;
        for n in 0..10 {
            limit.decreased(start + ms(150 * n), ms(200), target_bps, ms(50));
            target_bps *= 0.85;
        }
        assert_eq!(limit.limit(target_bps), ms(280));
        for n in 0..20 {
            limit.update(start + ms(2000 + 100 * n), ms(5), target_bps);
        }
        assert!(limit.limit(target_bps) < ms(70), "{:?}", limit.limit(target_bps));
    }

    #[test]
    fn a_queue_that_is_overfilled_tells_nothing() {
        let (mut limit, start) = (QueueLimit::default(), Instant::now());
        let target_bps = |n: u64| 2_000_000.0 * 0.9_f64.powi(n as i32);
        let left =
            |limit: &mut QueueLimit, n: u64| limit.decreased(start + ms(150 * n), ms(300), target_bps(n), ms(50));
        for n in 0..30 {
            limit.overfilled(start + ms(150 * n), ms(300), target_bps(n));
        }
        let told: Vec<_> = (30..40).filter_map(|n| left(&mut limit, n)).collect();
        assert_eq!(told.len(), 1, "from then on it does");
    }

    #[test]
    fn a_queue_that_gets_shorter_is_ours() {
        let (mut limit, start) = (QueueLimit::default(), Instant::now());
        for n in 0..20 {
            limit.decreased(
                start + ms(150 * n),
                ms(300_u64.saturating_sub(30 * n)),
                2_000_000.0 * 0.9_f64.powi(n as i32),
                ms(50),
            );
        }
        assert!(limit.limit(1_000_000.0) < ms(50));
    }
}

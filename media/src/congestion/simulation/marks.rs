//! What is measured of a [`World`], and the marks of RFC 8867 §4.

use std::time::Duration;

use super::World;

/// Sound that comes later is of no use.
const LATE: Duration = Duration::from_millis(400);

impl World {
    /// Bits a second of all flows there, between two times in seconds.
    pub(super) fn bps(&self, from: f64, to: f64) -> f64 {
        self.flows.iter().map(|flow| flow.bps(self.start, from, to)).sum()
    }

    /// 95th percentile of the time in queues, milliseconds, of what arrived between two times in seconds.
    pub(super) fn queue_p95(&self, from: f64, to: f64) -> u128 {
        let base = self.flows.iter().flat_map(|flow| &flow.came).map(|came| came.took).min().unwrap_or_default();
        let all = self.flows.iter().flat_map(|flow| flow.between(self.start, from, to));
        let mut queued: Vec<_> = all.map(|came| (came.took - base).as_millis()).collect();
        queued.sort_unstable();
        queued[queued.len() * 95 / 100]
    }

    /// Between two times the line of `bps` is used well, and its queue is short.
    pub(super) fn is_steady(&self, from: f64, to: f64, bps: f64) {
        let (used, queue) = (self.bps(from, to) / bps, self.queue_p95(from, to));
        assert!(used >= 0.70, "from {from} to {to} s {used:.2} of the line are used");
        assert!(queue <= 100, "from {from} to {to} s the queue is {queue} ms");
    }

    /// Sound that was lost or came later than [`LATE`], as a share, of one flow between two times.
    pub(super) fn spoilt_sound(&self, flow: usize, from: f64, to: f64) -> f64 {
        let timely = self.flows[flow].between(self.start, from, to).filter(|came| came.took < LATE);
        1.0 - timely.map(|came| came.sound.as_secs_f64()).sum::<f64>() / (to - from)
    }

    /// Flows there have between them no more than a factor of two.
    pub(super) fn shares_within_two(&self, from: f64, to: f64) {
        let shares: Vec<f64> = self.flows.iter().map(|flow| flow.bps(self.start, from, to)).collect();
        let (least, most) = shares.iter().fold((f64::INFINITY, 0.0_f64), |(l, m), bps| (l.min(*bps), m.max(*bps)));
        assert!(most <= 2.0 * least, "from {from} to {to} s: {shares:.0?}");
    }
}

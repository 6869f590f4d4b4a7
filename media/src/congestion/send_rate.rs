//! The send-side bandwidth estimate that encoders and the pacer follow (draft-ietf-rmcat-gcc-02).
//!
//! - packet reports → [`split_reported`]: without packets that no feedback told of
//! - → [`DelayEstimate`], by the delay; [`LossLimit`], by the loss of a window; the lower of both is the estimate
//! - → [`SizeWatch`]: whether packets are too large for the path; such losses say nothing of the rate
//! - the estimate → [`SharedEstimate`] → encoders; → the engine's pacer

use std::sync::Arc;
use std::time::Instant;

use super::estimate::SharedEstimate;
use super::feedback::{PacketReport, split_reported};
use super::limits::BitrateLimits;
use super::loss_limit::LossLimit;
use super::loss_window::LossWindow;
use super::payload_limit::{PayloadLimit, SizeWatch};

/// What one feedback tells of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    /// Packets that no feedback told of.
    pub(crate) unreported: &'a [PacketReport],
    /// Packets that one did.
    pub(crate) reported: &'a [PacketReport],
}

/// An estimate by the delay that packets meet on their way.
pub(crate) trait DelayEstimate {
    /// Takes in a batch; `own_loss` is the share that the path loses by itself. It backs off from what arrives, and
    /// what was lost on the way would have fitted.
    fn update(&mut self, now: Instant, batch: Batch<'_>, own_loss: f64);

    /// The estimate, bits a second.
    fn target_bps(&self) -> f64;
}

/// The estimate, published for the encoder.
pub(crate) struct SendRate<D> {
    delay_based: D,
    window: LossWindow,
    loss_limit: LossLimit,
    limits: BitrateLimits,
    sizes: SizeWatch,
    payload: Arc<PayloadLimit>,
    estimate: SharedEstimate,
}

impl<D: DelayEstimate> SendRate<D> {
    /// Starts within `limits`; `estimate` is kept up to date, and `payload` at what arrives.
    pub(crate) fn new(
        limits: BitrateLimits,
        delay_based: D,
        estimate: SharedEstimate,
        payload: Arc<PayloadLimit>,
    ) -> Self {
        let (loss_limit, window, sizes) = (LossLimit::new(limits), LossWindow::default(), SizeWatch::default());
        Self { delay_based, window, loss_limit, limits, sizes, payload, estimate }
    }

    /// Takes in what a feedback tells, in the order in which the packets were sent.
    pub(crate) fn on_reports(&mut self, now: Instant, reports: &[PacketReport]) {
        if reports.is_empty() {
            return;
        }
        let (unreported, reported) = split_reported(reports);
        // The unreported too: large packets in a row, paced, look like a feedback that was lost.
        if self.sizes.add(now, reports, &self.payload) {
            (self.window, self.loss_limit) = (LossWindow::default(), LossLimit::new(self.limits));
        }
        self.delay_based.update(now, Batch { unreported, reported }, self.loss_limit.own_loss());
        if let Some(seen) = self.window.add(now, reported) {
            self.loss_limit.update(now, seen, self.target_bps());
        }
        // A float cast saturates, and the estimate is bounded anyway.
        let target_bps = self.target_bps() as u32;
        self.estimate.update(|estimate| estimate.target_bps = target_bps);
    }

    /// The estimate, bits a second.
    pub(crate) fn target_bps(&self) -> f64 {
        self.delay_based.target_bps().min(self.loss_limit.bps())
    }
}

#[cfg(test)]
mod tests {
    use super::super::feedback::tests::reports;
    use super::*;

    /// A delay that never says anything but this rate, and notes what it was told.
    struct Fixed {
        bps: f64,
        told: usize,
    }

    impl DelayEstimate for Fixed {
        fn update(&mut self, _now: Instant, batch: Batch<'_>, _own_loss: f64) {
            self.told += batch.reported.len() + batch.unreported.len();
        }

        fn target_bps(&self) -> f64 {
            self.bps
        }
    }

    #[test]
    fn the_lower_of_delay_and_loss_is_published() {
        let limits = BitrateLimits { start_bps: 300_000, min_bps: 100_000, max_bps: 2_000_000 };
        let (target, start) = (SharedEstimate::new(limits.start_bps), Instant::now());
        let delay = Fixed { bps: 1_000_000.0, told: 0 };
        let mut rate = SendRate::new(limits, delay, target.clone(), Arc::default());
        rate.on_reports(start, &[]);
        assert_eq!(target.get().target_bps, 300_000, "nothing was told");
        let batch = reports(start, 0, [true, false].repeat(10));
        rate.on_reports(start, &batch);
        assert_eq!((target.get().target_bps, rate.delay_based.told), (1_000_000, 20), "a window is not over");
        rate.on_reports(start + std::time::Duration::from_secs(1), &batch);
        assert!(target.get().target_bps < 500_000, "half of it is lost: {}", target.get().target_bps);
    }
}

//! Adapts [`SendRate`] to the engine's congestion control, and has the delay-based estimate, built of parts of the
//! engine's `Gcc`.
//!
//! `Gcc` as a whole is not used. Its loss-based half (draft-ietf-rmcat-gcc-02 §5.5) takes every loss of 10 % for
//! congestion, so it falls to its minimum on a radio link that loses as much at any rate. It also counts all packets of
//! a lost feedback message as lost.

use std::sync::Arc;
use std::time::Instant;

use rtc::interceptor::{
    BandwidthEstimator, EstimatorStats, OveruseDetector, PacketReport as EngineReport, RateCalculator, RateController,
    SlopeEstimator,
};
use rtc::rtcp::transport_feedbacks::cc_feedback_report::Ecn;

use crate::congestion::BitrateLimits;
use crate::congestion::estimate::SharedEstimate;
use crate::congestion::feedback::PacketReport;
use crate::congestion::payload_limit::PayloadLimit;
use crate::congestion::send_rate::{Batch, DelayEstimate, SendRate};

/// [`SendRate`] as the engine's congestion control asks for it.
pub(super) struct Bandwidth(SendRate<DelayBased>);

impl Bandwidth {
    /// Starts within `limits`; `estimate` is kept up to date, and `payload` at what arrives.
    pub(super) fn new(limits: BitrateLimits, estimate: SharedEstimate, payload: Arc<PayloadLimit>) -> Self {
        Self(SendRate::new(limits, DelayBased::new(limits), estimate, payload))
    }
}

impl BandwidthEstimator for Bandwidth {
    fn on_reports(&mut self, now: Instant, reports: &[EngineReport]) {
        let plain = |report: &EngineReport| PacketReport {
            size: report.size,
            departure: report.departure,
            arrived: report.arrived,
            arrival: report.arrival,
        };
        let reports: Vec<PacketReport> = reports.iter().map(plain).collect();
        self.0.on_reports(now, &reports);
    }

    fn target_bitrate(&self) -> f64 {
        self.0.target_bps()
    }

    fn stats(&self) -> EstimatorStats {
        EstimatorStats::default()
    }
}

/// The delay-based estimate (draft-ietf-rmcat-gcc-02 §5.3, §5.4).
struct DelayBased {
    slope: SlopeEstimator,
    detector: OveruseDetector,
    arriving: RateCalculator,
    control: RateController,
}

impl DelayBased {
    fn new(limits: BitrateLimits) -> Self {
        Self {
            slope: SlopeEstimator::new(),
            detector: OveruseDetector::new(),
            arriving: RateCalculator::default(),
            control: RateController::new(limits.start_bps.into(), limits.min_bps.into(), limits.max_bps.into()),
        }
    }
}

impl DelayEstimate for DelayBased {
    fn update(&mut self, now: Instant, batch: Batch<'_>, own_loss: f64) {
        let mut usage = self.detector.usage();
        for report in batch.unreported {
            self.arriving.add(now, report.size);
        }
        for report in batch.reported {
            if report.arrived {
                self.arriving.add(now, report.size);
            }
            if let Some(trend) = self.slope.accumulate(&for_engine(report)) {
                usage = self.detector.update(trend.at, trend.estimate_ms);
            }
        }
        let arriving_bps = self.arriving.rate_bits_per_second(now).map(|bps| bps / (1.0 - own_loss));
        self.control.update(now, usage, arriving_bps);
    }

    fn target_bps(&self) -> f64 {
        self.control.target()
    }
}

/// A report with what the slope is told by; it looks at neither names nor marks.
fn for_engine(report: &PacketReport) -> EngineReport {
    EngineReport {
        ssrc: 0,
        id: 0,
        rtp_sequence_number: 0,
        is_twcc: true,
        twcc_sequence_number: 0,
        size: report.size,
        arrived: report.arrived,
        departure: report.departure,
        arrival: report.arrival,
        ecn: Ecn::NotEct,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::congestion::feedback::tests::reports;

    #[test]
    fn a_tenth_lost_at_random_does_not_make_it_send_less_and_less() {
        let limits = BitrateLimits { start_bps: 1_000_000, min_bps: 100_000, max_bps: 2_000_000 };
        let target = SharedEstimate::new(0);
        let (mut rate, start) = (Bandwidth::new(limits, target.clone(), Arc::default()), Instant::now());
        let mut random = 7_u32;
        let mut is_lost = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16).is_multiple_of(10)
        };
        // A minute of 100 packets a second, told of every 100 ms; every tenth telling is lost itself.
        let (mut arrived, mut low) = (Vec::new(), 0);
        for n in 1..=600_u32 {
            arrived.extend(std::iter::repeat_with(|| !is_lost()).take(10));
            if n.is_multiple_of(10) {
                arrived.fill(false);
                continue;
            }
            let first = u64::from(n) * 10 - arrived.len() as u64;
            let batch = reports(start, first, arrived.drain(..));
            rate.0.on_reports(start + Duration::from_millis(100) * n, &batch);
            low += u32::from(target.get().target_bps < 500_000);
        }
        assert!(low < 50, "{low} of 540 times the rate was low, for a trial");
    }
}

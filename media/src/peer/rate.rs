//! What the path carries: the send-side estimate that encoders follow (draft-ietf-rmcat-gcc-02).
//!
//! Delay is judged by the parts of the engine's `Gcc` (§5.3, §5.4). That as a whole is not used: its loss-based half
//! (§5.5) takes every loss of 10 % for congestion and falls to its floor where a radio link loses as much whatever is
//! sent, and it takes all packets of a feedback that was lost itself for lost. Here:
//!
//! - reports of the other side → [`split_reported`]: without the packets that nothing is known of
//! - → delay-based estimate; [`LossLimit`], window by window
//! - → [`SizeWatch`], whether packets are too large for the path; losses of that kind say nothing of a rate
//! - the lower of both → the pacer, and [`super::send`], where the encoder reads it

mod loss;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rtc::interceptor::{
    BandwidthEstimator, EstimatorStats, OveruseDetector, PacketReport, RateCalculator, RateController, SlopeEstimator,
};

use self::loss::{LossLimit, Seen};
use super::config::BitrateLimits;
use super::payload_limit::{PayloadLimit, SizeWatch};

/// Loss is looked at in windows of this length: some 80 packets of a usual call.
const WINDOW: Duration = Duration::from_millis(500);

/// Fewer packets tell nothing of a share.
const WINDOW_PACKETS_MIN: u32 = 20;

/// A feedback comes every 100 ms. When one is lost, the next batch begins with its packets, as if they had not
/// arrived; so long a run of them is not what a path loses.
const UNREPORTED_MIN: Duration = Duration::from_millis(60);

/// Splits a batch: packets that no feedback told of, and those that one did.
fn split_reported(reports: &[PacketReport]) -> (&[PacketReport], &[PacketReport]) {
    let first_arrived = reports.iter().position(|report| report.arrived).unwrap_or(reports.len());
    let (head, rest) = reports.split_at(first_arrived);
    let is_run = |first: &PacketReport, last: &PacketReport| {
        last.departure.saturating_duration_since(first.departure) >= UNREPORTED_MIN
    };
    match head {
        [first, .., last] if is_run(first, last) => (head, rest),
        _ => (&[], reports),
    }
}

/// Adds reports up to windows.
#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    packets: u32,
    lost: u32,
    arrived_bytes: u64,
}

impl Window {
    /// Takes in reports; what was seen when a window is over.
    fn add(&mut self, now: Instant, reports: &[PacketReport]) -> Option<Seen> {
        let since = *self.since.get_or_insert(now);
        for report in reports {
            self.packets += 1;
            if report.arrived {
                self.arrived_bytes += report.size as u64;
            } else {
                self.lost += 1;
            }
        }
        let length = now.saturating_duration_since(since);
        if length < WINDOW || self.packets < WINDOW_PACKETS_MIN {
            return None;
        }
        let loss = f64::from(self.lost) / f64::from(self.packets);
        let arrived_bps = self.arrived_bytes as f64 * 8.0 / length.as_secs_f64();
        *self = Self { since: Some(now), ..Self::default() };
        Some(Seen { loss, arrived_bps })
    }
}

/// The delay-based estimate.
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

    /// Takes in a batch; `own_loss` is the share that the path loses by itself. It backs off from what arrives, and
    /// what was lost on the way would have fitted.
    fn update(&mut self, now: Instant, unreported: &[PacketReport], reported: &[PacketReport], own_loss: f64) {
        let mut usage = self.detector.usage();
        for report in unreported {
            self.arriving.add(now, report.size);
        }
        for report in reported {
            if report.arrived {
                self.arriving.add(now, report.size);
            }
            if let Some(trend) = self.slope.accumulate(report) {
                usage = self.detector.update(trend.at, trend.estimate_ms);
            }
        }
        let arriving_bps = self.arriving.rate_bits_per_second(now).map(|bps| bps / (1.0 - own_loss));
        self.control.update(now, usage, arriving_bps);
    }
}

/// The estimate, published for the encoder.
pub(super) struct SendRate {
    delay_based: DelayBased,
    window: Window,
    loss_limit: LossLimit,
    limits: BitrateLimits,
    sizes: SizeWatch,
    payload: Arc<PayloadLimit>,
    target: Arc<AtomicU32>,
}

impl SendRate {
    /// Starts within `limits`; `target` is kept at the estimate, in bits a second, and `payload` at what arrives.
    pub(super) fn new(limits: BitrateLimits, target: Arc<AtomicU32>, payload: Arc<PayloadLimit>) -> Self {
        let (delay_based, loss_limit) = (DelayBased::new(limits), LossLimit::new(limits));
        let (window, sizes) = (Window::default(), SizeWatch::default());
        Self { delay_based, window, loss_limit, limits, sizes, payload, target }
    }
}

impl BandwidthEstimator for SendRate {
    fn on_reports(&mut self, now: Instant, reports: &[PacketReport]) {
        if reports.is_empty() {
            return;
        }
        let (unreported, reported) = split_reported(reports);
        // The unreported too: large packets in a row, paced, look like a feedback that was lost.
        if self.sizes.add(now, reports, &self.payload) {
            (self.window, self.loss_limit) = (Window::default(), LossLimit::new(self.limits));
        }
        self.delay_based.update(now, unreported, reported, self.loss_limit.own_loss());
        if let Some(seen) = self.window.add(now, reported) {
            self.loss_limit.update(now, seen, self.target_bitrate());
        }
        // A float cast saturates, and the estimate is bounded anyway.
        self.target.store(self.target_bitrate() as u32, Ordering::Relaxed);
    }

    fn target_bitrate(&self) -> f64 {
        self.delay_based.control.target().min(self.loss_limit.bps())
    }

    fn stats(&self) -> EstimatorStats {
        EstimatorStats::default()
    }
}

#[cfg(test)]
mod tests {
    use rtc::rtcp::transport_feedbacks::cc_feedback_report::Ecn;

    use super::*;

    /// Reports of packets 10 ms apart, numbered from `first`; of each is known whether it arrived.
    fn reports(start: Instant, first: u64, arrived: impl IntoIterator<Item = bool>) -> Vec<PacketReport> {
        let report = |(id, arrived): (u64, bool)| PacketReport {
            ssrc: 1,
            id,
            rtp_sequence_number: 0,
            is_twcc: true,
            twcc_sequence_number: 0,
            size: 1000,
            arrived,
            departure: start + Duration::from_millis(10 * id),
            arrival: arrived.then(|| Duration::from_millis(10 * id + 20)),
            ecn: Ecn::NotEct,
        };
        (first..).zip(arrived).map(report).collect()
    }

    #[test]
    fn packets_of_a_lost_feedback_are_not_lost_packets() {
        let start = Instant::now();
        let lengths = |arrived: &[bool]| {
            let reports = reports(start, 0, arrived.iter().copied());
            let (unreported, reported) = split_reported(&reports);
            (unreported.len(), reported.len())
        };
        let (lost, came) = ([false; 10], [true; 10]);
        assert_eq!(lengths(&[&lost[..], &came].concat()), (10, 10));
        assert_eq!(lengths(&[&lost[..6], &came].concat()), (0, 16), "50 ms can be a loss");
        assert_eq!(lengths(&[&came[..1], &lost, &came].concat()), (0, 21), "this feedback tells of what came before");
        assert_eq!(lengths(&came), (0, 10));
        assert_eq!(lengths(&[]), (0, 0));
    }

    #[test]
    fn a_window_adds_batches_up() {
        let (mut window, start) = (Window::default(), Instant::now());
        let batch = reports(start, 0, [true, true, true, false]);
        let mut seen = Vec::new();
        for n in 0..13 {
            seen.extend(window.add(start + Duration::from_millis(100) * n, &batch).map(|seen| (n, seen.loss)));
        }
        assert_eq!(seen, [(5, 0.25), (10, 0.25)], "of 24 and of 20 packets");
    }

    #[test]
    fn a_tenth_lost_at_random_does_not_make_it_send_less_and_less() {
        let limits = BitrateLimits { start_bps: 1_000_000, min_bps: 100_000, max_bps: 2_000_000 };
        let target = Arc::new(AtomicU32::new(0));
        let (mut rate, start) = (SendRate::new(limits, Arc::clone(&target), Arc::default()), Instant::now());
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
            rate.on_reports(start + Duration::from_millis(100) * n, &batch);
            low += u32::from(target.load(Ordering::Relaxed) < 500_000);
        }
        assert!(low < 50, "{low} of 540 times the rate was low, for a trial");
    }
}

//! [`Controller`]: how much may be sent, from what feedback tells of delay and loss.
//!
//! - reports → [`QueueingDelay`]: the queue that stands on the path; → [`Delivery`]: what the path delivers
//! - a queue that stands → the target goes below what the path delivers, and lower still until the queue is gone
//! - no queue → the target rises: slowly near the capacity that was seen, ever faster beyond it, and never far above
//!   what is really sent, as more was not tried
//! - loss without a queue → [`LossLimit`], which tries whether sending less helps
//! - no feedback while packets are out → the target falls, and in the end nothing but sound is sent
//!
//! Sources: draft-ietf-rmcat-gcc-02 (rates by the receiver's clock, multiplicative decrease, response time), RFC 8298
//! (queueing delay against its least value, a higher limit beside flows that fill queues), RFC 8289 (standing queue).

use std::time::{Duration, Instant};

use super::delivery::Delivery;
use super::feedback::PacketReport;
use super::growth::Growth;
use super::limits::BitrateLimits;
use super::loss_limit::LossLimit;
use super::loss_window::LossWindow;
use super::pacer::Pace;
use super::queue_limit::QueueLimit;
use super::queueing_delay::QueueingDelay;
use super::report_limit::{ReceiverReport, ReportLimit};
use super::round_trip::RoundTrip;

/// What a decrease leaves of the rate that the path delivered (gcc-02 §5.5).
const DECREASE: f64 = 0.85;

/// Where the target goes once the queue is gone.
const AFTER_DRAIN: f64 = 0.95;

/// While a queue is drained, less is sent than the target: by the share that the standing queue is of this time, and by so
/// much at most. The longer the queue, the faster it is drained: behind a long one sound alone is sent.
const DRAIN_S: f64 = 0.7;
const DRAIN_MAX: f64 = 0.9;

/// Delivery is measured over this time: some pictures and sound packets.
const DELIVERY_WINDOW: Duration = Duration::from_millis(500);

/// Packets that wait less are not taken for waiting: it may be jitter.
const BUSY: Duration = Duration::from_millis(15);

/// Without feedback on what is out for so long beyond a round trip, nobody knows whether anything arrives. Where feedback
/// comes at odd times, as through a queue on the way back, longer: as long as that makes likely, but no longer than this.
const STALL_AFTER: Duration = Duration::from_millis(300);
const STALL_AFTER_MAX: Duration = Duration::from_millis(1000);

/// And again each time so long the target falls.
const STALL_STEP: Duration = Duration::from_millis(100);
const STALL_DECREASE: f64 = 0.4;

/// What is left, after a stall that was no congestion, of the rate before.
const AFTER_STALL: f64 = 0.5;

/// After so long a stall pictures wait too. Not before: often only the way back is closed, and they still arrive.
const HOLD_AFTER: Duration = Duration::from_millis(800);

/// After so long a stall the path may be another one.
const PATH_AWAY: Duration = Duration::from_secs(2);

/// Between two decreases there is a round trip and this, so that the first can show.
const RESPONSE: Duration = Duration::from_millis(50);

/// Beside competing flows, which fill the queue until it overflows, so much loss is congestion.
const COMPETING_LOSS: f64 = 0.02;

/// With so much lost, more is sent than the path takes, and a queue that stands full is no sign of others.
const OVERFILLED_LOSS: f64 = 0.1;

/// No flow that gives way to loss makes others lose so much: it was wrong that there are some.
const COMPETING_LOSS_MAX: f64 = 0.3;

/// An overflow is one event, however many windows see it: back-offs from one are so far apart.
const BACK_OFF_APART: Duration = Duration::from_millis(2500);

/// In a back-off only this share is sent for so long: a queue that empties from it was ours.
const BACK_OFF_SHARE: f64 = 0.5;
const BACK_OFF_FOR: Duration = Duration::from_secs(1);

/// A capacity that was not reached for so long, because less was sent, is forgotten.
const UNTRIED_FOR: Duration = Duration::from_secs(6);

/// A narrow path is one that was found to be so lately.
const NARROW_FOR: Duration = Duration::from_secs(30);

/// Paces: on a path that is known to be narrow little more than the target leaves at once.
const PACE_NARROW: (f64, Duration) = (1.3, Duration::from_millis(40));
const PACE_WIDE: (f64, Duration) = (2.5, Duration::from_millis(100));

/// See the module. Reads no clock.
#[derive(Debug)]
pub(crate) struct Controller {
    limits: BitrateLimits,
    /// What may be sent while no queue stands, bits a second.
    target_bps: f64,
    delay: QueueingDelay,
    delivery: Delivery,
    queue_limit: QueueLimit,
    growth: Growth,
    window: LossWindow,
    loss_limit: LossLimit,
    /// For a peer without transport-wide feedback.
    reports: ReportLimit,
    /// What the path delivered when it was busy, bits a second, and when that was.
    capacity: Option<(f64, Instant)>,
    queue: Queue,
    /// When feedback came last.
    last_feedback: Option<Instant>,
    /// From here to the other side and back, the wait for the next feedback included.
    round_trip: RoundTrip,
    /// From one feedback to the next, while something is sent.
    gaps: RoundTrip,
    stall: Option<Stall>,
    loss: f64,
    /// When the target was last lowered for a loss beside competing flows.
    backed_off: Option<Instant>,
    is_backing_off: bool,
}

/// Whether a queue stands on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    None,
    /// Less is sent until it is gone.
    Draining {
        decreased_at: Instant,
    },
}

/// No feedback comes.
#[derive(Clone, Copy, Debug)]
struct Stall {
    since: Instant,
    next: Instant,
    /// The target before.
    target_bps: f64,
}

impl Controller {
    /// A controller that starts within `limits`.
    pub(crate) fn new(limits: BitrateLimits) -> Self {
        Self {
            limits,
            target_bps: limits.start_bps.into(),
            delay: QueueingDelay::default(),
            delivery: Delivery::default(),
            queue_limit: QueueLimit::default(),
            growth: Growth::default(),
            window: LossWindow::default(),
            loss_limit: LossLimit::new(limits),
            reports: ReportLimit::new(limits),
            capacity: None,
            queue: Queue::None,
            last_feedback: None,
            round_trip: RoundTrip::default(),
            gaps: RoundTrip::default(),
            stall: None,
            loss: 0.0,
            backed_off: None,
            is_backing_off: false,
        }
    }

    /// What may be sent, bits a second.
    pub(crate) fn target_bps(&self) -> f64 {
        if self.last_feedback.is_none() {
            return self.reports.bps();
        }
        let standing = self.standing().as_secs_f64();
        let share = match self.queue {
            Queue::None if self.is_backing_off => BACK_OFF_SHARE,
            Queue::None => 1.0,
            Queue::Draining { .. } => 1.0 - (standing / DRAIN_S).min(DRAIN_MAX),
        };
        (self.target_bps.min(self.loss_limit.bps()) * share).max(self.limits.min_bps.into())
    }

    /// What may be sent for longer than a moment, bits a second: while a queue is drained, what comes after; without
    /// feedback, what was before.
    pub(crate) fn lasting_bps(&self) -> f64 {
        let bps = match self.stall {
            _ if self.last_feedback.is_none() => return self.reports.bps(),
            Some(stall) => stall.target_bps,
            None => self.target_bps,
        };
        bps.min(self.loss_limit.bps()).max(self.limits.min_bps.into())
    }

    /// How fast packets may leave.
    pub(crate) fn pace(&self, now: Instant) -> Pace {
        let is_narrow = self.capacity.is_some_and(|(_, at)| now.saturating_duration_since(at) < NARROW_FOR)
            || self.last_feedback.is_none() && self.reports.is_narrow();
        let (factor, burst) = if is_narrow { PACE_NARROW } else { PACE_WIDE };
        let is_held = self.stall.is_some_and(|stall| now.saturating_duration_since(stall.since) >= HOLD_AFTER);
        Pace { bps: self.target_bps() * factor, burst, is_held }
    }

    /// The queue that stands on the path.
    pub(crate) fn standing(&self) -> Duration {
        self.delay.standing().unwrap_or_default()
    }

    /// What arrived lately, bits a second; `None` before it is known.
    pub(crate) fn acknowledged_bps(&self) -> Option<f64> {
        self.delivery.bps(DELIVERY_WINDOW)
    }

    /// Share of packets lost, 0 to 1, of the latest window.
    pub(crate) const fn loss(&self) -> f64 {
        self.loss
    }

    /// Packets were too large for the path: their loss says nothing of the rate.
    pub(crate) fn forget_loss(&mut self) {
        (self.window, self.loss_limit) = (LossWindow::default(), LossLimit::new(self.limits));
    }

    /// Takes in what a feedback tells, in the order in which packets were sent.
    pub(crate) fn on_reports(&mut self, now: Instant, reports: &[PacketReport]) {
        if reports.is_empty() {
            return;
        }
        let passed = self.last_feedback.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.note_feedback(now, reports);
        let ended = self.stall.take();
        if ended.is_some_and(|stall| now.saturating_duration_since(stall.since) >= PATH_AWAY) {
            self.delay.begin_anew();
            self.delivery.clear();
        }
        let window = self.queue_limit.window(self.target_bps);
        for report in reports {
            if let Some(arrival) = report.arrival {
                let queued = self.delay.add(report.departure, arrival, window);
                self.delivery.arrived(arrival, report.size, queued, report.unreported_before);
            } else {
                self.delivery.lost(report.size);
            }
        }
        let Some(standing) = self.delay.standing() else { return };
        self.is_backing_off = self.queue_limit.has_competing()
            && self.backed_off.is_some_and(|at| now.saturating_duration_since(at) < BACK_OFF_FOR);
        self.queue_limit.test(self.is_backing_off);
        self.queue_limit.update(now, standing, self.target_bps);
        self.delay.keep_base(self.queue_limit.has_competing());
        if standing > self.queue_limit.limit(self.target_bps) {
            self.congested(now, standing);
        } else {
            self.not_congested(now, standing, passed, ended);
            self.on_loss(now, reports);
        }
        self.target_bps = self.target_bps.clamp(self.limits.min_bps.into(), self.limits.max_bps.into());
    }

    /// A receiver report came (RFC 3550 §6.4.1). With transport-wide feedback it tells nothing new.
    pub(crate) fn on_receiver_report(&mut self, now: Instant, report: ReceiverReport) {
        if self.last_feedback.is_none() {
            self.loss = report.loss;
            self.reports.on_report(now, report);
        }
    }

    /// The other side says how much it can take, bits a second (draft-alvestrand-rmcat-remb-03).
    pub(crate) fn on_remb(&mut self, now: Instant, bps: f64) {
        self.reports.on_remb(now, bps);
    }

    /// What is due by now: without feedback the target falls. `unreported` is when the oldest packet left that feedback
    /// may still tell of. True each time that one more packet is to be sent, whatever it is: it asks whether there is a
    /// path.
    pub(crate) fn handle_timeout(&mut self, now: Instant, unreported: Option<Instant>) -> bool {
        if unreported.is_none() && self.stall.take().is_some() {
            // All that was out is forgotten: what is sent next is the first on a path of which nothing is known.
            self.growth.restart();
        }
        let Some(due) = self.poll_timeout(unreported).filter(|due| *due <= now) else {
            return false;
        };
        let stall = self.stall.unwrap_or(Stall { since: due, next: due, target_bps: self.target_bps });
        self.stall = Some(Stall { next: now + STALL_STEP, ..stall });
        self.target_bps = (self.target_bps * STALL_DECREASE).max(self.limits.min_bps.into());
        self.growth.stop();
        true
    }

    /// When [`Controller::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self, unreported: Option<Instant>) -> Option<Instant> {
        self.last_feedback?;
        let left = unreported?;
        match self.stall {
            Some(stall) => Some(stall.next),
            None => Some(left + self.round_trip() + self.gaps.timeout().clamp(STALL_AFTER, STALL_AFTER_MAX)),
        }
    }

    fn note_feedback(&mut self, now: Instant, reports: &[PacketReport]) {
        let newest = reports.iter().filter(|report| report.arrived()).map(|report| report.departure).max();
        if let Some(left) = newest {
            self.round_trip.measured(now.saturating_duration_since(left), now);
        }
        // A longer gap is a pause of the call, or of the path.
        let gap = self.last_feedback.map(|last| now.saturating_duration_since(last));
        if let Some(gap) = gap.filter(|gap| *gap <= STALL_AFTER_MAX) {
            self.gaps.measured(gap, now);
        }
        self.last_feedback = Some(now);
    }

    fn round_trip(&self) -> Duration {
        self.round_trip.smoothed().unwrap_or_default()
    }

    /// A queue stands that is too long.
    fn congested(&mut self, now: Instant, standing: Duration) {
        self.growth.stop();
        self.window = LossWindow::default();
        // When the latest packets did not wait, the queue is gone already.
        let Some(delivered) = self.delivery.busy_bps(BUSY) else { return };
        // The latest is the best: an earlier run may have begun before the path became narrow.
        self.capacity = Some((delivered, now));
        let respond = self.round_trip() + RESPONSE;
        let is_due = match self.queue {
            Queue::None => true,
            Queue::Draining { decreased_at } => now.saturating_duration_since(decreased_at) >= respond,
        };
        let lower = delivered * DECREASE;
        // What is delivered has fallen by far: the path itself has become narrow, and that cannot wait.
        if !is_due && lower > self.target_bps * 0.7 {
            return;
        }
        if self.is_overfilled() {
            self.queue_limit.overfilled(now, standing, self.target_bps);
        } else if let Some(left_bps) = self.queue_limit.decreased(now, standing, self.target_bps, respond) {
            self.queue = Queue::None;
            self.target_bps = left_bps * DECREASE;
            self.loss_limit = LossLimit::new(self.limits);
            return;
        }
        self.queue = Queue::Draining { decreased_at: now };
        self.target_bps = self.target_bps.min(lower);
    }

    /// More is sent than comes through.
    fn is_overfilled(&self) -> bool {
        let rates = self.delivery.bps(DELIVERY_WINDOW).zip(self.delivery.sent_bps(DELIVERY_WINDOW));
        rates.is_some_and(|(came, sent)| came < sent * (1.0 - OVERFILLED_LOSS))
    }

    fn not_congested(&mut self, now: Instant, standing: Duration, passed: Duration, ended: Option<Stall>) {
        let low = self.queue_limit.low(self.target_bps);
        if let Some(stall) = ended {
            self.after_stall(now, stall);
        }
        if let Queue::Draining { .. } = self.queue {
            if standing > low {
                return;
            }
            self.queue = Queue::None;
            if let Some((capacity, _)) = self.capacity {
                self.target_bps = self.target_bps.max(capacity * AFTER_DRAIN);
            }
        }
        if standing > low {
            if self.growth.is_starting() {
                // The first queue: what was doubled last was too much. What comes out of the path is known.
                let came = self.delivery.bps(DELIVERY_WINDOW);
                self.target_bps = came.map_or(self.target_bps, |bps| self.target_bps.min(bps));
            }
            return self.growth.stop();
        }
        let Some(sent_bps) = self.delivery.sent_bps(DELIVERY_WINDOW) else { return };
        let round = self.round_trip();
        if self.queue_limit.has_competing() {
            self.target_bps = Growth::beside_competing(passed, self.target_bps, sent_bps, round);
            return;
        }
        let capacity = self.capacity.map(|(bps, _)| bps);
        let grown = self.growth.grow(now, passed, self.target_bps, sent_bps, round, capacity);
        self.target_bps = grown;
        let is_beyond = |(bps, at): (f64, Instant)| {
            let is_tried = sent_bps > bps || now.saturating_duration_since(at) >= UNTRIED_FOR;
            is_tried && grown > bps * Growth::BEYOND
        };
        if self.capacity.is_some_and(is_beyond) {
            // The path carries more than it did, or nobody knows any more.
            self.capacity = None;
        }
    }

    /// Feedback comes again, and no queue stands. A path that was away, or whose feedback was lost, is tried again from
    /// half of what it carried; where it was congestion, [`Controller::congested`] knows what it carries.
    fn after_stall(&mut self, now: Instant, stall: Stall) {
        if now.saturating_duration_since(stall.since) >= PATH_AWAY {
            self.growth.restart();
            (self.capacity, self.queue) = (None, Queue::None);
        } else {
            let known = self.capacity.map_or(stall.target_bps, |(bps, _)| bps.min(stall.target_bps));
            self.target_bps = self.target_bps.max(known * AFTER_STALL);
        }
    }

    /// Beside a queue, loss is its overflow, and the delay tells what to do: such windows are not looked at.
    fn on_loss(&mut self, now: Instant, reports: &[PacketReport]) {
        if let Some(seen) = self.window.add(now, reports) {
            self.loss = seen.loss;
            if !self.queue_limit.has_competing() {
                self.loss_limit.update(now, seen, self.target_bps());
            } else if seen.loss > COMPETING_LOSS_MAX {
                self.queue_limit.forget_competing();
                self.target_bps = self.target_bps.min(seen.arrived_bps * DECREASE);
            } else if seen.loss > COMPETING_LOSS
                && self.backed_off.is_none_or(|at| now.saturating_duration_since(at) >= BACK_OFF_APART)
            {
                // The queue is full, and all flows have to back off.
                self.target_bps *= DECREASE;
                self.backed_off = Some(now);
            }
        }
    }
}

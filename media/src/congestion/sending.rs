//! [`Sending`]: packets in, packets with transport-wide numbers out, feedback in; what is known of the path is published.
//!
//! - a packet → [`Pacer`] → [`SendHistory`], which numbers it → the wire
//! - receiver reports and REMB → [`Controller`], where there is no other feedback
//! - feedback → [`SendHistory`] → [`Controller`] → the pace, and [`SharedEstimate`] → encoders
//! - → [`SizeWatch`] → [`PayloadLimit`]: packets that are too large for the path

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::controller::Controller;
use super::estimate::SharedEstimate;
use super::feedback::Acknowledgement;
use super::history::SendHistory;
use super::limits::BitrateLimits;
use super::pacer::{Class, Pacer, Released};
use super::payload_limit::{PayloadLimit, SizeWatch};
use super::report_limit::ReceiverReport;

/// Bits that may leave at once when nothing was sent yet: a first keyframe of a usual size.
const START_BITS: f64 = 100_000.0;

/// Rates of what was sent are taken over this time.
const RATE_WINDOW: Duration = Duration::from_millis(500);

/// While no feedback comes, and nothing left for so long, one packet is sent to ask whether there is a path. Where sound is
/// sent, it asks.
const ASK_AFTER: Duration = Duration::from_millis(250);

/// Whether transport-wide feedback was negotiated for the stream of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransportCc {
    Negotiated,
    NotNegotiated,
}

/// A packet that leaves now.
#[derive(Debug)]
pub(crate) struct Departure<P> {
    pub(crate) content: P,
    /// Its transport-wide number; `None`: no feedback tells of its stream.
    pub(crate) number: Option<u16>,
}

/// See the module. Reads no clock.
#[derive(Debug)]
pub(crate) struct Sending<P> {
    pacer: Pacer<(P, TransportCc)>,
    history: SendHistory,
    controller: Controller,
    sizes: SizeWatch,
    payload: Arc<PayloadLimit>,
    estimate: SharedEstimate,
    sent: Meter,
    repaired: Meter,
    last_sent: Option<Instant>,
}

impl<P> Sending<P> {
    /// Starts within `limits`; `estimate` is kept up to date, and `payload` at what arrives.
    pub(crate) fn new(
        limits: BitrateLimits,
        estimate: SharedEstimate,
        payload: Arc<PayloadLimit>,
        now: Instant,
    ) -> Self {
        let controller = Controller::new(limits);
        let pacer = Pacer::new(controller.pace(now), START_BITS);
        let (history, sizes) = (SendHistory::default(), SizeWatch::default());
        Self {
            pacer,
            history,
            controller,
            sizes,
            payload,
            estimate,
            sent: Meter::default(),
            repaired: Meter::default(),
            last_sent: None,
        }
    }

    /// A packet of so many bytes is to leave.
    pub(crate) fn push(&mut self, class: Class, transport_cc: TransportCc, content: P, bytes: usize, now: Instant) {
        self.pacer.push(class, (content, transport_cc), bytes, now);
    }

    /// The next packet that leaves now; call until there is none.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Departure<P>> {
        let Some(Released { content: (content, transport_cc), bytes, class }) = self.pacer.poll(now) else {
            self.publish_target();
            return None;
        };
        self.sent.add(now, bytes);
        self.last_sent = Some(now);
        if class == Class::Repair {
            self.repaired.add(now, bytes);
        }
        let number = match transport_cc {
            TransportCc::Negotiated => Some(self.history.sent(bytes, now)),
            TransportCc::NotNegotiated => None,
        };
        Some(Departure { content, number })
    }

    /// Feedback came.
    pub(crate) fn feedback(&mut self, acknowledgements: &[Acknowledgement], now: Instant) {
        let reports = self.history.reports(acknowledgements);
        if self.sizes.add(now, &reports, &self.payload) {
            self.controller.forget_loss();
        }
        self.controller.on_reports(now, &reports);
        self.pacer.set_pace(self.controller.pace(now), now);
        self.publish(now);
    }

    /// A receiver report came on a stream of ours: the share of packets lost since the one before, 0 to 1.
    pub(crate) fn receiver_report(&mut self, loss: f64, now: Instant) {
        let (sent_bps, round_trip) = (self.sent.bps(now), self.estimate.get().round_trip);
        self.controller.on_receiver_report(now, ReceiverReport { loss, sent_bps, round_trip });
        self.pacer.set_pace(self.controller.pace(now), now);
        self.publish(now);
    }

    /// The other side says how much it can take, bits a second.
    pub(crate) fn remb(&mut self, bps: f64, now: Instant) {
        self.controller.on_remb(now, bps);
        self.pacer.set_pace(self.controller.pace(now), now);
        self.publish(now);
    }

    /// What is due by now.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let is_quiet = self.last_sent.is_none_or(|last| now.saturating_duration_since(last) >= ASK_AFTER);
        if self.controller.handle_timeout(now, self.history.oldest_unreported()) && is_quiet {
            self.pacer.permit_one();
        }
        self.pacer.set_pace(self.controller.pace(now), now);
        self.publish_target();
    }

    /// When [`Sending::handle_timeout`] and [`Sending::poll`] have something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let control = self.controller.poll_timeout(self.history.oldest_unreported());
        [self.pacer.poll_timeout(), control].into_iter().flatten().min()
    }

    /// A keyframe is next: what waits before it is of no use any more.
    pub(crate) fn keyframe_comes(&mut self) {
        self.pacer.forget_pictures();
    }

    /// Packets of pictures that waited for too long and never leave; a keyframe has to follow.
    pub(crate) fn take_dropped(&mut self) -> Vec<P> {
        self.pacer.take_dropped().into_iter().map(|(content, _)| content).collect()
    }

    /// What encoders have to know at once.
    fn publish_target(&self) {
        // A float cast saturates, and the target is bounded anyway.
        let (target_bps, lasting_bps) = (self.controller.target_bps() as u32, self.controller.lasting_bps() as u32);
        let pacer_queue = self.pacer.queue_delay();
        self.estimate.update(|estimate| {
            (estimate.target_bps, estimate.lasting_bps, estimate.pacer_queue) = (target_bps, lasting_bps, pacer_queue);
        });
    }

    fn publish(&mut self, now: Instant) {
        self.publish_target();
        let (sent, repaired) = (self.sent.bps(now), self.repaired.bps(now));
        let controller = &self.controller;
        self.estimate.update(|estimate| {
            estimate.sent_bps = sent as u32;
            estimate.acknowledged_bps = controller.acknowledged_bps().map(|bps| bps as u32);
            estimate.repair_bps = repaired as u32;
            estimate.queueing_delay = controller.standing();
            estimate.loss = controller.loss();
        });
    }
}

/// Adds bytes up to a rate, in windows.
#[derive(Debug, Default)]
struct Meter {
    since: Option<Instant>,
    bytes: usize,
    bps: f64,
}

impl Meter {
    fn add(&mut self, now: Instant, bytes: usize) {
        self.since.get_or_insert(now);
        self.bytes += bytes;
    }

    /// Bits a second of the latest whole window.
    fn bps(&mut self, now: Instant) -> f64 {
        if let Some(since) = self.since {
            let length = now.saturating_duration_since(since);
            if length >= RATE_WINDOW {
                self.bps = self.bytes as f64 * 8.0 / length.as_secs_f64();
                (self.since, self.bytes) = (Some(now), 0);
            }
        }
        self.bps
    }
}

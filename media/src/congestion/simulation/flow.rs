//! A flow of sound and pictures: encoders that follow the target, the sender under test, a receiver that tells what came.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Item, Way};
use crate::congestion::estimate::SharedEstimate;
use crate::congestion::feedback::{Acknowledgement, FEEDBACK_EVERY};
use crate::congestion::limits::BitrateLimits;
use crate::congestion::pacer::Class;
use crate::congestion::payload_limit::bytes_for;
use crate::congestion::sending::{Sending, TransportCc};
use crate::rtp::nearest;

/// Packets of sound: bytes, and how much of it is in one. Below these rates sound takes less, in longer packets.
const SOUND: (usize, Duration) = (105, Duration::from_millis(20));
const NARROW_SOUND: (usize, Duration) = (110, Duration::from_millis(60));
const NARROW_BPS: u32 = 60_000;
const NARROWEST_SOUND: (usize, Duration) = (120, Duration::from_millis(120));
const NARROWEST_BPS: u32 = 32_000;
const PICTURE_EVERY: Duration = Duration::from_micros(33_333);
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Below this no pictures are sent.
const PICTURES_BPS_MIN: f64 = 15_000.0;

/// Pictures are left out while one would wait for longer.
const WAIT_MAX: Duration = Duration::from_millis(100);

const fn sound(target_bps: u32) -> (usize, Duration) {
    match target_bps {
        ..NARROWEST_BPS => NARROWEST_SOUND,
        NARROWEST_BPS..NARROW_BPS => NARROW_SOUND,
        _ => SOUND,
    }
}

/// What the receiver tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells {
    /// Every packet, by transport-wide feedback.
    EachPacket,
    /// The share that was lost, each second.
    Reports,
}

/// A packet that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came {
    /// Since the start of the flow's world.
    pub(super) at: Instant,
    pub(super) took: Duration,
    pub(super) bytes: usize,
    /// How much sound is in it; none in a picture's.
    pub(super) sound: Duration,
}

/// See the module.
pub(crate) struct Flow {
    index: usize,
    pub(super) way: Way,
    pub(super) from: Instant,
    pub(super) tells: Tells,
    /// Packets sent, where they have no transport-wide number.
    counted: u16,
    /// Nothing is sent from the first to the second.
    pub(super) pause: Option<(Instant, Instant)>,
    /// Pictures take no more than this, however much may be sent.
    pub(super) video_bps_max: f64,
    /// Pictures take this share of what they may, 0 to 1: an encoder that stays below its rate.
    pub(super) video_share: f64,
    /// Until then pictures take no less than this: an encoder that cannot follow.
    pub(super) video_bps_min: Option<(f64, Instant)>,
    sending: Sending<(Duration, usize)>,
    pub(super) estimate: SharedEstimate,
    sound_due: Instant,
    picture_due: Instant,
    feedback_due: Instant,
    /// How often its receiver tells of it.
    pub(super) feedback_every: Duration,
    random: u64,
    pub(super) wants_keyframe: bool,
    pictures: u32,
    received: Vec<(i64, Instant)>,
    base: i64,
    pub(super) came: Vec<Came>,
    /// Target over time.
    pub(super) targets: Vec<(Instant, f64)>,
}

impl Flow {
    pub(super) fn new(index: usize, way: Way, from: Instant, seed: u64) -> Self {
        let limits = BitrateLimits::for_video(640 * 480 * 30);
        let estimate = SharedEstimate::new(limits.start_bps);
        let sending = Sending::new(limits, estimate.clone(), Arc::default(), from);
        // Flows do not beat in time.
        let phase = Duration::from_millis(seed * 3 % 17);
        Self {
            index,
            way,
            from,
            tells: Tells::EachPacket,
            counted: 0,
            pause: None,
            video_bps_max: f64::INFINITY,
            video_share: 1.0,
            video_bps_min: None,
            sending,
            estimate,
            sound_due: from + phase,
            picture_due: from + phase * 2,
            feedback_due: from + FEEDBACK_EVERY,
            feedback_every: FEEDBACK_EVERY,
            random: seed,
            wants_keyframe: true,
            pictures: 0,
            received: Vec::new(),
            base: 0,
            came: Vec::new(),
            targets: Vec::new(),
        }
    }

    pub(super) fn next_event(&self) -> Instant {
        let due = self.sound_due.min(self.picture_due).min(self.feedback_due);
        self.sending.poll_timeout().map_or(due, |at| at.min(due))
    }

    pub(super) fn run(&mut self, now: Instant, out: &mut Vec<(Way, Item, usize)>) {
        let is_paused = self.pause.is_some_and(|(from, to)| now >= from && now < to);
        while self.sound_due <= now {
            let (bytes, length) = sound(self.estimate.get().target_bps);
            self.sound_due += length;
            if !is_paused {
                self.sending.push(Class::Sound, self.transport_cc(), (length, bytes), bytes, now);
            }
        }
        while self.picture_due <= now {
            self.picture_due += PICTURE_EVERY;
            if !is_paused {
                self.picture(now);
            }
        }
        self.sending.handle_timeout(now);
        while let Some(departure) = self.sending.poll(now) {
            let (sound, bytes) = departure.content;
            self.counted = self.counted.wrapping_add(1);
            let item = Item::Media {
                flow: self.index,
                number: departure.number.unwrap_or(self.counted),
                sound,
                departed: now,
                bytes,
            };
            // SRTP adds its tag.
            out.push((self.way, item, bytes + 10));
        }
        self.wants_keyframe |= !self.sending.take_dropped().is_empty();
        if self.feedback_due <= now {
            match self.tells {
                Tells::EachPacket => {
                    self.feedback_due = now + self.feedback_every;
                    self.tell(out);
                }
                Tells::Reports => {
                    self.feedback_due = now + REPORT_EVERY;
                    self.report(now, out);
                }
            }
        }
        let target = f64::from(self.estimate.get().target_bps);
        if self.targets.last().is_none_or(|(_, last)| *last != target) {
            self.targets.push((now, target));
        }
    }

    /// An encoder that hits its bitrate on average, and a keyframe that is four times as large.
    fn picture(&mut self, now: Instant) {
        let estimate = self.estimate.get();
        let (bytes, length) = sound(estimate.target_bps);
        let sound_bps = bytes as f64 * 8.0 / length.as_secs_f64();
        let least = self.video_bps_min.filter(|(_, until)| now < *until).map_or(0.0, |(bps, _)| bps);
        let bps = (f64::from(estimate.target_bps) * 0.92 - sound_bps).min(self.video_bps_max).max(least);
        if estimate.pacer_queue > WAIT_MAX || bps < PICTURES_BPS_MIN {
            return;
        }
        let noise = 0.7 + 0.6 * self.unit();
        let size = if std::mem::take(&mut self.wants_keyframe) { 4.0 } else { noise };
        let mut bytes = (bps * self.video_share / 30.0 / 8.0 * size) as usize;
        self.pictures += 1;
        while bytes > 0 {
            let packet = bytes.min(bytes_for(estimate.target_bps));
            bytes -= packet;
            self.sending.push(
                Class::Picture(self.pictures),
                self.transport_cc(),
                (Duration::ZERO, packet + 30),
                packet + 30,
                now,
            );
        }
    }

    pub(super) fn received(&mut self, number: u16, sound: Duration, departed: Instant, bytes: usize, now: Instant) {
        let newest = self.received.last().map_or(self.base, |(number, _)| *number);
        self.received.push((nearest(number, newest), now));
        self.came.push(Came { at: now, took: now - departed, bytes, sound });
    }

    pub(super) fn feedback(&mut self, told: &[Acknowledgement], now: Instant) {
        self.sending.feedback(told, now);
    }

    /// Feedback on all since the last one.
    fn tell(&mut self, out: &mut Vec<(Way, Item, usize)>) {
        if self.received.is_empty() {
            return;
        }
        let mut came = std::mem::take(&mut self.received);
        came.sort_unstable_by_key(|(number, _)| *number);
        let last = came.last().map_or(self.base, |(number, _)| *number);
        let mut told = Vec::new();
        for number in self.base.min(came[0].0)..=last {
            let at =
                came.iter().find(|(one, _)| *one == number).map(|(_, at)| *at - self.from + Duration::from_secs(3));
            told.push(Acknowledgement { number: number as u16, arrival: at });
        }
        self.base = last + 1;
        let bytes = 45 + told.len() * 2;
        let back = if self.way == Way::There { Way::Back } else { Way::There };
        out.push((back, Item::Feedback { flow: self.index, told }, bytes));
    }

    /// The share that was lost since the last report.
    fn report(&mut self, now: Instant, out: &mut Vec<(Way, Item, usize)>) {
        let came = std::mem::take(&mut self.received);
        let (Some(last), Some(latest)) = (came.iter().map(|(number, _)| *number).max(), self.came.last()) else {
            return;
        };
        let loss = (1.0 - came.len() as f64 / (last - self.base) as f64).max(0.0);
        self.base = last;
        let back = if self.way == Way::There { Way::Back } else { Way::There };
        out.push((back, Item::Report { flow: self.index, loss, at: now, took: latest.took }, 100));
    }

    pub(super) fn reported(&mut self, loss: f64, round_trip: Duration, now: Instant) {
        self.estimate.update(|estimate| estimate.round_trip = Some(round_trip));
        self.sending.receiver_report(loss, now);
    }

    const fn transport_cc(&self) -> TransportCc {
        match self.tells {
            Tells::EachPacket => TransportCc::Negotiated,
            Tells::Reports => TransportCc::NotNegotiated,
        }
    }

    fn unit(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as f64 / (1_u64 << 31) as f64
    }

    /// Bits a second that came between two times, seconds after the start.
    pub(super) fn bps(&self, start: Instant, from: f64, to: f64) -> f64 {
        self.between(start, from, to).map(|came| came.bytes as f64 * 8.0).sum::<f64>() / (to - from)
    }

    pub(super) fn between(&self, start: Instant, from: f64, to: f64) -> impl Iterator<Item = &Came> {
        let (from, to) = (start + Duration::from_secs_f64(from), start + Duration::from_secs_f64(to));
        self.came.iter().filter(move |came| came.at >= from && came.at < to)
    }
}

//! [`AudioBuffer`]: the front of this folder. Packets are put in place here; [`making`] makes sound of them.

mod making;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::decision::{CUT_US, Pacing};
use super::decoder::Decoder;
use super::delays::ArrivalDelays;
use super::opus_packet::OpusPacket;
use super::samples::Samples;
use super::time_line::{Place, Placed, Stamps, TimeLine, us};
use crate::quality::concealment::{Origin, StepCounter, Steps};
use crate::rtp::RtpPacket;
use crate::rtp::payload::red::{Copy, Red};

/// Samples of one step: 10 ms.
pub const STEP_SAMPLES: usize = 480;

/// Length of one step.
pub const STEP: Duration = Duration::from_millis(10);

/// Packets held at most: 2.5 s of the shortest. More means a flood.
const PACKETS_MAX: usize = 1_000;

/// Where a packet is played that may be so much too early: steps are 10 ms apart.
const DUE_EARLY_US: i64 = 3_000;

/// Of so many lost packets a copy that comes too late is told from one that nobody needs: of the last second, should
/// half of the packets be lost.
const MISSED_MAX: usize = 25;

/// Sound after silence begins within 2.5 ms.
const FADE_IN: usize = 120;

/// 10 ms of sound.
#[derive(Clone, Debug)]
pub struct Step {
    /// What to play.
    pub samples: [i16; STEP_SAMPLES],
    /// What it was made of.
    pub origin: Origin,
    /// Packets that were decoded for it or for what follows, in playing order; most often none or one.
    pub decoded: Vec<Decoded>,
}

/// A packet that was decoded.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The Opus packet.
    pub payload: Bytes,
    /// RTP time, from 0 for the first packet on. It wraps at 2^32, and goes on when the sender counts anew.
    pub timestamp: u32,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that came for the first time, and in time.
    pub received: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Packets that came after their turn.
    pub late: u64,
    /// Packets that did not come in time.
    pub lost: u64,
    /// Of these, those whose sound came with a later packet: as a coarse copy, or as a whole one.
    pub recovered: u64,
    /// Packets thrown away to shorten the delay.
    pub skipped: u64,
    /// Packets that are no packets of the codec.
    pub unreadable: u64,
    /// Times that sound had to be made up because the next packet was late, and nothing was lost.
    pub holes: u64,
    /// Samples added by playing slower.
    pub stretched: u64,
    /// Samples left out by playing faster.
    pub shrunk: u64,
}

/// See the module of the folder.
#[derive(Debug, Default)]
pub struct AudioBuffer {
    /// Time is counted from the first arrival on.
    epoch: Option<Instant>,
    line: TimeLine,
    /// The last packet, if it fitted nowhere.
    unclear: Option<(RtpPacket, OpusPacket, Stamps)>,
    /// What waits, by its time on the line.
    packets: BTreeMap<i64, Stored>,
    /// The highest sequence number that came.
    newest: Option<i64>,
    delays: ArrivalDelays,
    /// Packets whose sound had to be made up, by their sequence number.
    missed: VecDeque<i64>,
    samples: Samples,
    /// `None` until the first packet is due.
    position: Option<Position>,
    pacing: Pacing,
    delay_us: i64,
    counters: Counters,
    steps: StepCounter,
}

#[derive(Debug)]
struct Stored {
    payload: Bytes,
    timestamp: u32,
    sequence: i64,
    opus: OpusPacket,
    is_redundant: bool,
}

/// How far the stream was turned into sound.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// The time on the line that follows on the last packet.
    end: i64,
    sequence: i64,
    /// Samples made up since, which stand for no packet yet.
    filled: i64,
    is_sender_silent: bool,
}

impl AudioBuffer {
    /// Takes in a packet, as it came at its time of arrival.
    pub fn insert(&mut self, packet: RtpPacket) {
        let Some(opus) = OpusPacket::read(&packet.payload) else {
            self.counters.unreadable += 1;
            return;
        };
        let stamps = self.stamps(&packet, opus);
        match self.line.place(&stamps) {
            Placed::Here(place) => {
                self.unclear = None;
                self.store(place, packet, opus);
            }
            Placed::Anew(place) => self.store_anew(place, packet, opus),
            Placed::Over => self.counters.late += 1,
            Placed::Unclear => match self.unclear.take() {
                Some(unclear) if stamps.follows(&unclear.2) => {
                    self.begin_with(unclear);
                    self.insert(packet);
                }
                Some(_) | None => self.unclear = Some((packet, opus, stamps)),
            },
        }
    }

    /// Takes in a packet as it came: of payload type `red` it carries copies of earlier ones beside its own sound
    /// (RFC 2198), of any other it is an Opus packet.
    pub fn insert_any(&mut self, packet: RtpPacket, red: Option<u8>) {
        if red != Some(packet.payload_type) {
            return self.insert(packet);
        }
        let Ok(unpacked) = Red::read(&packet.payload) else {
            self.counters.unreadable += 1;
            return;
        };
        let opus = unpacked.payload_type;
        let copies = earlier_packets(&packet, unpacked.copies, opus);
        self.insert(RtpPacket { payload_type: opus, payload: unpacked.data, ..packet });
        copies.into_iter().for_each(|copy| self.insert_redundant(copy));
    }

    /// Takes in a redundant copy of an earlier packet (RFC 2198) after the packet that carried it, with the sequence
    /// number and the time stamp of the earlier one. It is played if the earlier one does not come.
    pub fn insert_redundant(&mut self, packet: RtpPacket) {
        let Some(opus) = OpusPacket::read(&packet.payload) else { return };
        let stamps = self.stamps(&packet, opus);
        let Some(place) = self.line.find(&stamps) else { return };
        if self.is_over(place) {
            if let Some(at) = self.missed.iter().position(|missed| *missed == place.sequence) {
                self.missed.remove(at);
                // Had sound waited for it, nothing would have been made up.
                self.delays.add_copy(stamps.arrived_us, place.transit_us);
            }
            return;
        }
        if self.packets.contains_key(&place.timestamp) {
            return;
        }
        self.delays.add_copy(stamps.arrived_us, place.transit_us);
        self.packets.insert(place.timestamp, Stored::new(packet, place, opus, true));
        self.stay_bounded();
    }

    /// The next 10 ms, due to be played at `now`.
    pub fn next(&mut self, now: Instant, decoder: &mut impl Decoder) -> Step {
        let mut step = Step { samples: [0; STEP_SAMPLES], origin: Origin::Silence, decoded: Vec::new() };
        let now_us = self.us(now);
        let Some(position) = self.position.or_else(|| self.begin(now_us)) else {
            self.delay_us = self.delays.playout_us() - self.delays.fastest_us();
            return step;
        };
        self.position = Some(position);
        self.cut(now_us);
        while self.samples.waiting() < STEP_SAMPLES {
            self.make(now_us, decoder, &mut step.decoded);
        }
        self.change_pace(now_us, decoder, &mut step.decoded);
        self.delay_us = now_us - us(self.playhead()) - self.delays.fastest_us();
        step.origin = self.samples.take(&mut step.samples);
        step
    }

    /// When the first packet is to be played; `None` before one came, and once sound plays. A step at this moment plays it
    /// neither early nor late.
    #[must_use]
    pub fn begins_at(&self) -> Option<Instant> {
        let (&first, _) = self.packets.first_key_value().filter(|_| self.position.is_none())?;
        let at_us = us(first) + self.delays.playout_us();
        let since = Duration::from_micros(at_us.unsigned_abs());
        if at_us < 0 { self.epoch?.checked_sub(since) } else { self.epoch?.checked_add(since) }
    }

    /// Forgets what came: sound begins anew with the next packet. What happened so far still counts, and time goes on.
    pub fn begin_anew(&mut self) {
        let Self { epoch, line, counters, mut steps, .. } = std::mem::take(self);
        steps.begin_anew();
        *self = Self { epoch, line, counters, steps, ..Self::default() };
    }

    /// Holds sound back for so long at least, over the fastest packet: pictures need as long.
    pub fn hold_at_least(&mut self, least: Duration) {
        self.delays.hold_at_least(i64::try_from(least.as_micros()).unwrap_or(i64::MAX));
    }

    /// The sender's time stamp of the sample that is played next; `None` before the first is.
    #[must_use]
    pub fn next_timestamp(&self) -> Option<u32> {
        self.position.and_then(|_| self.line.stamp(self.playhead()))
    }

    /// How much later sound is played than it could be, had its packet been as fast as the fastest of the last seconds.
    #[must_use]
    pub fn delay(&self) -> Duration {
        Duration::from_micros(self.delay_us.max(0).cast_unsigned())
    }

    /// What [`Self::delay`] should be for the jitter of the last seconds.
    #[must_use]
    pub fn target(&self) -> Duration {
        Duration::from_micros((self.delays.playout_us() - self.delays.fastest_us()).max(0).cast_unsigned())
    }

    /// Packets that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.packets.len()
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// What each 20 ms were made of.
    #[must_use]
    pub const fn steps(&self) -> Steps {
        self.steps.steps()
    }

    fn us(&mut self, at: Instant) -> i64 {
        let epoch = *self.epoch.get_or_insert(at);
        let us = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4);
        at.checked_duration_since(epoch).map_or_else(|| -us(epoch - at), us)
    }

    fn stamps(&mut self, packet: &RtpPacket, opus: OpusPacket) -> Stamps {
        let arrived_us = self.us(packet.arrived);
        Stamps { sequence: packet.sequence, timestamp: packet.timestamp, samples: opus.samples, arrived_us }
    }

    /// The sender counts anew with this packet.
    fn begin_with(&mut self, (packet, opus, stamps): (RtpPacket, OpusPacket, Stamps)) {
        let place = self.line.begin_anew(&stamps);
        self.store_anew(place, packet, opus);
    }

    fn store_anew(&mut self, place: Place, packet: RtpPacket, opus: OpusPacket) {
        self.unclear = None;
        self.delays.clear();
        self.store(place, packet, opus);
    }

    fn store(&mut self, place: Place, packet: RtpPacket, opus: OpusPacket) {
        let arrived_us = place.transit_us + us(place.timestamp);
        if self.is_over(place) {
            self.counters.late += 1;
            self.delays.add(arrived_us, place.transit_us);
            return;
        }
        let is_after_lost = self.newest.is_some_and(|newest| place.sequence > newest + 1);
        self.newest = self.newest.max(Some(place.sequence));
        match self.packets.insert(place.timestamp, Stored::new(packet, place, opus, false)) {
            Some(before) if !before.is_redundant => {
                self.counters.duplicates += 1;
                return;
            }
            Some(_) | None => self.counters.received += 1,
        }
        self.delays.add(arrived_us, place.transit_us);
        if is_after_lost && opus.has_copy {
            // The lost packet came so late: together with this one.
            self.delays.add(arrived_us, place.transit_us + us(opus.frame_samples.into()));
        }
        self.stay_bounded();
    }

    fn stay_bounded(&mut self) {
        if self.packets.len() > PACKETS_MAX {
            self.skip();
        }
    }

    /// True when its turn is over.
    fn is_over(&self, place: Place) -> bool {
        self.position.is_some_and(|position| place.timestamp < position.end)
    }

    /// Begins to play once the first packet is due.
    fn begin(&self, now_us: i64) -> Option<Position> {
        let (&start, first) = self.packets.first_key_value()?;
        let position = Position { end: start, sequence: first.sequence - 1, filled: 0, is_sender_silent: false };
        self.is_due(start, now_us).then_some(position)
    }

    /// True when sound of this time, put after all that waits, is not played too early.
    fn is_due(&self, timestamp: i64, now_us: i64) -> bool {
        self.lateness_us(timestamp, now_us) >= -DUE_EARLY_US
    }

    fn lateness_us(&self, timestamp: i64, now_us: i64) -> i64 {
        now_us + us(self.samples.waiting() as i64) - us(timestamp) - self.delays.playout_us()
    }

    /// The time on the line of the next sample to be played.
    fn playhead(&self) -> i64 {
        let end = self.position.map_or(0, |position| position.end + position.filled);
        end - self.samples.waiting() as i64
    }

    /// Throws packets away when sound is far too late.
    fn cut(&mut self, now_us: i64) {
        let lateness_us = |buffer: &Self| {
            let (&first, _) = buffer.packets.first_key_value()?;
            // The last one is never thrown away.
            (buffer.packets.len() > 1).then(|| buffer.lateness_us(first, now_us))
        };
        if lateness_us(self).is_some_and(|us| us > CUT_US) {
            while lateness_us(self).is_some_and(|us| us > 0) {
                self.skip();
            }
        }
    }

    /// Throws the first packet away.
    fn skip(&mut self) {
        let Some((timestamp, packet)) = self.packets.pop_first() else { return };
        self.counters.skipped += 1;
        if let Some(position) = &mut self.position {
            self.counters.lost += (packet.sequence - position.sequence - 1).max(0).cast_unsigned();
            position.end = timestamp + i64::from(packet.opus.samples);
            position.sequence = packet.sequence;
        }
    }
}

impl Stored {
    fn new(packet: RtpPacket, place: Place, opus: OpusPacket, is_redundant: bool) -> Self {
        let RtpPacket { payload, timestamp, .. } = packet;
        Self { payload, timestamp, sequence: place.sequence, opus, is_redundant }
    }
}

/// Copies lie at most so many packets of their length apart; one that is farther away is told by its order alone.
const APART_MAX: u32 = 5;

/// The packets that these copies of `carrier` stand for, the latest first. Their sequence numbers are not told (RFC 2198):
/// they are counted back by time, or one by one where the sender was silent between two of them.
fn earlier_packets(carrier: &RtpPacket, copies: Vec<Copy>, opus: u8) -> Vec<RtpPacket> {
    let (mut sequence, mut later) = (carrier.sequence, 0);
    let mut earlier = Vec::with_capacity(copies.len());
    for copy in copies.into_iter().rev().filter(|copy| copy.payload_type == opus) {
        let Some(samples) = OpusPacket::read(&copy.data).map(|opus| opus.samples) else { continue };
        // Blocks need not be in order, and two may be of the same time.
        let Some(apart) = copy.age.checked_sub(later).filter(|apart| *apart > 0) else { continue };
        let packets = if apart % samples == 0 && apart / samples <= APART_MAX { apart / samples } else { 1 };
        (sequence, later) = (sequence.wrapping_sub(packets as u16), copy.age);
        let timestamp = carrier.timestamp.wrapping_sub(copy.age);
        earlier.push(RtpPacket { sequence, timestamp, payload_type: opus, payload: copy.data, ..carrier.clone() });
    }
    earlier
}

//! Decides which lost packets to ask for again, and when: generic NACK (RFC 4585 §6.2.1) for video, until the
//! retransmission comes or would be too late.
//!
//! The engine's own NACK generator does not see that RTX repaired a packet, and asks on without end, or for a fixed
//! number of times: with two, and 10 % lost each way, every thirtieth loss stayed. This one is shown RTX packets too.
//!
//! - a packet of a stream → [`MissingPackets`]: the numbers it jumped over are missing
//! - a packet of its RTX stream (RFC 4588) → the missing packet is there, and how long that took is a round trip
//! - missing packets that are due → one NACK for all of them, and the next NACK for the same ones a round later;
//!   [`Repair`] says how long a round is, and when a packet is given up
//!
//! What was missed in a silence is never NACKed: after seconds without a path a keyframe is worth more than what is too
//! old to be shown, and new pictures would wait behind it. [`crate::send::rtx_filter`] is the other half.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::network_loss::RecentLoss;
use super::repair::{REORDERED, REPEATED_AFTER, Repair};
use crate::congestion::round_trip::SharedRoundTrip;
use crate::rtp::nearest;

/// So long without a packet of a stream is no loss but a path, or a sender, that was away.
const SILENCE: Duration = Duration::from_millis(500);

/// NACKs that are due within this time go together.
const TOGETHER: Duration = Duration::from_millis(5);

/// Each further round for the same packet is longer by so much where nothing says that the path still is as it was
/// (RFC 6298 §5.5): when a queue fills up, answers take longer all at once.
const BACKOFF: f64 = 1.5;

/// No round is longer, whatever the backoff.
const ROUND_MAX: Duration = Duration::from_millis(500);

/// So long after a packet was repaired, another retransmission of it is an answer to another NACK.
const ANSWERS_FOR: Duration = Duration::from_secs(1);

/// A jump of more packets is a sender that counts anew, or so much that only a keyframe mends it.
const JUMP_MAX: i64 = 512;

/// What is missing of one stream. Reads no clock.
#[derive(Debug, Default)]
struct MissingPackets {
    /// Extended number of the newest packet, and when the latest came.
    highest: Option<(i64, Instant)>,
    /// By extended sequence number.
    packets: BTreeMap<i64, MissingPacket>,
    /// Packets that were repaired after several NACKs, by extended sequence number.
    repaired: BTreeMap<i64, RepairedPacket>,
    loss: RecentLoss,
}

#[derive(Clone, Copy, Debug)]
struct MissingPacket {
    since: Instant,
    /// How many rounds there were, when the latest began, and how many of its NACKs are still to come.
    rounds: u32,
    round_at: Instant,
    to_come: u32,
    /// How many NACKs named it, and when the last did.
    nacks: u32,
    nacked_at: Instant,
    due: Instant,
}

impl MissingPacket {
    const fn new(since: Instant, due: Instant) -> Self {
        Self { since, rounds: 0, round_at: since, to_come: 0, nacks: 0, nacked_at: since, due }
    }

    /// It is named by a NACK that leaves now.
    fn nacked(&mut self, repair: &Repair, now: Instant) {
        let backoff = if repair.round_trip().is_fresh(now) { 1.0 } else { BACKOFF.powi(self.rounds.cast_signed()) };
        match self.to_come.checked_sub(1) {
            Some(left) => self.to_come = left,
            None => {
                self.rounds += 1;
                self.round_at = now;
                self.to_come = repair.nacks_a_round().saturating_sub(1);
            }
        }
        self.nacks += 1;
        self.nacked_at = now;
        let round = repair.round().mul_f64(backoff).min(ROUND_MAX.max(repair.round()));
        self.due = if self.to_come > 0 { now + REPEATED_AFTER } else { self.round_at + round };
    }
}

/// A packet that was NACKed more than once: which NACK brought the repair is not known.
#[derive(Clone, Copy, Debug)]
struct RepairedPacket {
    at: Instant,
    /// How many NACKs named it, and when the last did.
    nacks: u32,
    nacked_at: Instant,
    answers: u32,
}

impl MissingPackets {
    /// A packet of the stream itself came.
    fn received(&mut self, sequence: u16, now: Instant) {
        let Some((highest, latest)) = self.highest else {
            self.highest = Some((i64::from(sequence), now));
            return;
        };
        let number = nearest(sequence, highest);
        let is_silence = now.saturating_duration_since(latest) >= SILENCE;
        if is_silence || (number - highest).abs() > JUMP_MAX {
            self.packets.clear();
            self.repaired.clear();
            self.highest = Some((number, now));
            return;
        }
        if let Ok(missed) = u32::try_from(number - highest - 1) {
            self.loss.add(missed);
        }
        let missing = MissingPacket::new(now, now + REORDERED);
        self.packets.extend((highest + 1..number).map(|missed| (missed, missing)));
        self.packets.remove(&number);
        // A packet so far behind is no longer NACKed; a retransmission of it may still arrive.
        while self.packets.first_key_value().is_some_and(|(oldest, _)| *oldest < number - JUMP_MAX) {
            self.packets.pop_first();
        }
        self.highest = Some((highest.max(number), now));
    }

    /// A packet of the stream came again by RTX; a round trip when it tells one.
    ///
    /// Which NACK was answered is known where there was one (Karn's rule, RFC 6298 §3), and where all were answered. An
    /// RTX packet that was not asked for is padding, a probe of the path, and tells nothing.
    fn retransmitted(&mut self, sequence: u16, now: Instant) -> Option<Duration> {
        let (highest, _) = self.highest?;
        let number = nearest(sequence, highest);
        if let Some(MissingPacket { rounds, round_at, nacks, nacked_at, .. }) = self.packets.remove(&number) {
            if nacks > 1 {
                self.repaired.insert(number, RepairedPacket { at: now, nacks, nacked_at, answers: 1 });
            }
            return (rounds == 1).then(|| now.saturating_duration_since(round_at));
        }
        let repaired = self.repaired.get_mut(&number)?;
        repaired.answers += 1;
        (repaired.answers == repaired.nacks).then(|| now.saturating_duration_since(repaired.nacked_at))
    }

    /// The sequence numbers to be NACKed now.
    fn take_due(&mut self, repair: &Repair, now: Instant) -> Vec<u16> {
        let wait = repair.wait();
        self.packets.retain(|_, missing| now.saturating_duration_since(missing.since) < wait);
        self.repaired.retain(|_, repaired| now.saturating_duration_since(repaired.at) < ANSWERS_FOR);
        let mut numbers = Vec::new();
        for (number, missing) in self.packets.iter_mut().filter(|(_, missing)| missing.due <= now + TOGETHER) {
            missing.nacked(repair, now);
            // The wire has the lower 16 bits.
            numbers.push(*number as u16);
        }
        numbers
    }

    fn next_due(&self) -> Option<Instant> {
        self.packets.values().map(|missing| missing.due).min()
    }
}

/// Which packets are to be NACKed, of all streams whose sender takes that. Reads no clock.
#[derive(Debug, Default)]
pub(crate) struct NackGenerator {
    /// By SSRC.
    streams: HashMap<u32, MissingPackets>,
    /// The SSRC of the stream that an RTX stream (RFC 4588) repairs.
    repaired: HashMap<u32, u32>,
    round_trip: SharedRoundTrip,
}

/// One NACK: packets of one stream that are asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nack {
    pub(crate) media_ssrc: u32,
    pub(crate) sequence_numbers: Vec<u16>,
}

/// A stream of the other side, as it was agreed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RemoteStream {
    pub(crate) ssrc: u32,
    /// The SSRC of the RTX stream that repairs it.
    pub(crate) rtx: Option<u32>,
    /// The other side takes generic NACKs for it.
    pub(crate) takes_nack: bool,
}

impl NackGenerator {
    /// One that follows this round trip, and adds to it what answers to NACKs tell.
    pub(crate) fn new(round_trip: SharedRoundTrip) -> Self {
        Self { round_trip, ..Self::default() }
    }

    /// A stream begins. An RTX stream is told of as well, like the one that it repairs; its own losses are asked for
    /// there.
    pub(crate) fn bind(&mut self, stream: RemoteStream) {
        if let Some(rtx) = stream.rtx {
            self.repaired.insert(rtx, stream.ssrc);
            self.streams.remove(&rtx);
        }
        if stream.takes_nack && !self.repaired.contains_key(&stream.ssrc) {
            self.streams.insert(stream.ssrc, MissingPackets::default());
        }
    }

    /// A stream ends.
    pub(crate) fn unbind(&mut self, ssrc: u32) {
        self.streams.remove(&ssrc);
        self.repaired.retain(|rtx, media| *rtx != ssrc && *media != ssrc);
    }

    /// A packet came, of a stream or of the RTX stream that repairs it.
    pub(crate) fn came(&mut self, ssrc: u32, sequence: u16, payload: &[u8], now: Instant) {
        if let Some(missing) = self.repaired.get(&ssrc).and_then(|media| self.streams.get_mut(media)) {
            // The number comes first (RFC 4588 §4); without one it is padding that probes the path.
            if let [high, low, ..] = payload[..]
                && let Some(took) = missing.retransmitted(u16::from_be_bytes([high, low]), now)
            {
                self.round_trip.measured(took, now);
            }
        } else if let Some(missing) = self.streams.get_mut(&ssrc) {
            missing.received(sequence, now);
        }
    }

    /// What is to be asked for now.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Nack> {
        let round_trip = self.round_trip.get();
        let due = self.streams.iter_mut().filter(|(_, missing)| missing.next_due().is_some_and(|due| due <= now));
        let numbers = |missing: &mut MissingPackets| {
            let repair = Repair::new(round_trip, missing.loss.share());
            missing.take_due(&repair, now)
        };
        due.map(|(&media_ssrc, missing)| Nack { media_ssrc, sequence_numbers: numbers(missing) })
            .filter(|nack| !nack.sequence_numbers.is_empty())
            .collect()
    }

    /// When [`NackGenerator::take_due`] will have something.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.streams.values().filter_map(MissingPackets::next_due).min()
    }
}

#[cfg(test)]
mod tests;

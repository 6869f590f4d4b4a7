//! Decides which lost packets to ask for again, and when: generic NACK (RFC 4585 §6.2.1) for video, until the
//! retransmission comes or would be too late.
//!
//! The engine's own NACK generator does not see that RTX repaired a packet, and asks on without end, or for a fixed
//! number of times: with two, and 10 % lost each way, every thirtieth loss stayed. This one is shown RTX packets too.
//!
//! - a packet of a stream → [`MissingPackets`]: the numbers it jumped over are missing
//! - a packet of its RTX stream (RFC 4588) → the missing packet is there, and how long that took spaces the next NACKs
//! - missing packets that are due → one NACK for all of them, and the next NACK for the same ones later, and later
//!
//! What was missed in a silence is never NACKed: after seconds without a path a keyframe is worth more than what is too
//! old to be shown, and new pictures would wait behind it. [`crate::send::rtx_filter`] is the other half.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::rtp::nearest;

/// So long without a packet of a stream is no loss but a path, or a sender, that was away.
const SILENCE: Duration = Duration::from_millis(500);

/// A packet that is overtaken by no more than this is reordered, not missing.
const REORDERED: Duration = Duration::from_millis(10);

/// NACKs that are due within this time go together.
const TOGETHER: Duration = Duration::from_millis(5);

/// A packet that is missing for longer is no longer NACKed: the jitter buffer waits 250 ms, but for a second gap only
/// once the first is filled.
const GIVE_UP_AFTER: Duration = Duration::from_millis(300);

/// How long a retransmission takes as long as none was seen.
const FIRST_ROUND: Duration = Duration::from_millis(70);

/// NACKs for one packet are at least so far apart: the other side may have to pace a keyframe out first.
const APART_MIN: Duration = Duration::from_millis(20);

/// And at most: no retransmission is waited for any longer.
const APART_MAX: Duration = Duration::from_millis(250);

/// Each NACK for the same packet waits by so much longer than the one before.
const BACKOFF: f64 = 1.5;

/// When a retransmission came twice, the NACKs were too close by so much.
const TOO_CLOSE: f64 = 1.25;

/// A jump of more packets is a sender that counts anew, or so much that only a keyframe mends it.
const JUMP_MAX: i64 = 512;

/// What is missing of one stream. Reads no clock.
#[derive(Debug, Default)]
struct MissingPackets {
    /// Extended number of the newest packet, and when the latest came.
    highest: Option<(i64, Instant)>,
    /// By extended sequence number.
    packets: BTreeMap<i64, MissingPacket>,
    /// From NACK to retransmission, smoothed.
    round: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct MissingPacket {
    since: Instant,
    /// How many NACKs named it, and when the last did.
    nacks: u32,
    nacked_at: Instant,
    due: Instant,
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
            self.highest = Some((number, now));
            return;
        }
        let missing = MissingPacket { since: now, nacks: 0, nacked_at: now, due: now + REORDERED };
        self.packets.extend((highest + 1..number).map(|missed| (missed, missing)));
        self.packets.remove(&number);
        // A packet so far behind is no longer NACKed; a retransmission of it may still arrive.
        while self.packets.first_key_value().is_some_and(|(oldest, _)| *oldest < number - JUMP_MAX) {
            self.packets.pop_first();
        }
        self.highest = Some((highest.max(number), now));
    }

    /// A packet of the stream came again by RTX.
    fn retransmitted(&mut self, sequence: u16, now: Instant) {
        let Some((highest, _)) = self.highest else { return };
        match self.packets.remove(&nearest(sequence, highest)) {
            // Which NACK was answered is known only where there was one (Karn's rule, RFC 6298 §3).
            Some(MissingPacket { nacks: 1, nacked_at, .. }) => {
                let took = now.saturating_duration_since(nacked_at);
                self.round = Some(self.round.map_or(took, |before| (before * 7 + took) / 8));
            }
            Some(_) => {}
            None => {
                let before = self.round.unwrap_or(FIRST_ROUND);
                self.round = Some(before.mul_f64(TOO_CLOSE).min(APART_MAX));
            }
        }
    }

    /// The sequence numbers to be NACKed now.
    fn take_due(&mut self, now: Instant) -> Vec<u16> {
        let apart = self.round.unwrap_or(FIRST_ROUND).mul_f64(BACKOFF);
        self.packets.retain(|_, missing| now.saturating_duration_since(missing.since) < GIVE_UP_AFTER);
        let mut numbers = Vec::new();
        for (number, missing) in self.packets.iter_mut().filter(|(_, missing)| missing.due <= now + TOGETHER) {
            let wait = apart.max(APART_MIN).mul_f64(BACKOFF.powi(missing.nacks.cast_signed())).min(APART_MAX);
            *missing = MissingPacket { nacks: missing.nacks + 1, nacked_at: now, due: now + wait, ..*missing };
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
            if let [high, low, ..] = payload[..] {
                missing.retransmitted(u16::from_be_bytes([high, low]), now);
            }
        } else if let Some(missing) = self.streams.get_mut(&ssrc) {
            missing.received(sequence, now);
        }
    }

    /// What is to be asked for now.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Nack> {
        let due = self.streams.iter_mut().filter(|(_, missing)| missing.next_due().is_some_and(|due| due <= now));
        due.map(|(&media_ssrc, missing)| Nack { media_ssrc, sequence_numbers: missing.take_due(now) })
            .filter(|nack| !nack.sequence_numbers.is_empty())
            .collect()
    }

    /// When [`NackGenerator::take_due`] will have something.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.streams.values().filter_map(MissingPackets::next_due).min()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Lets time pass to `end`, and says when which packets are asked for, in milliseconds.
    fn requests(missing: &mut MissingPackets, start: Instant, end: Duration) -> Vec<(u128, Vec<u16>)> {
        let mut asked = Vec::new();
        while let Some(due) = missing.next_due().filter(|due| *due <= start + end) {
            let numbers = missing.take_due(due);
            if !numbers.is_empty() {
                asked.push(((due - start).as_millis(), numbers));
            }
        }
        asked
    }

    #[test]
    fn a_hole_is_asked_for_ever_more_seldom_until_it_is_too_late() {
        let (mut missing, start) = (MissingPackets { round: Some(ms(2)), ..MissingPackets::default() }, Instant::now());
        for sequence in [65_534, 1, 2] {
            missing.received(sequence, start);
        }
        let asked = requests(&mut missing, start, ms(5000));
        let times: Vec<_> = asked.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [10, 30, 60, 105, 172, 273], "of the shortest distance, and half as much more each time");
        assert!(asked.iter().all(|(_, numbers)| numbers == &[65_535, 0]), "{asked:?}");
        assert_eq!(missing.next_due(), None, "nothing is kept");
    }

    #[test]
    fn a_repair_ends_the_asking_and_spaces_what_is_asked_next() {
        let (mut missing, start) = (MissingPackets::default(), Instant::now());
        for sequence in [10, 12] {
            missing.received(sequence, start);
        }
        assert_eq!(requests(&mut missing, start, ms(50)), [(10, vec![11])]);
        missing.retransmitted(11, start + ms(60));
        assert_eq!((missing.next_due(), missing.round), (None, Some(ms(50))));
        missing.received(14, start + ms(100));
        assert_eq!(requests(&mut missing, start, ms(200)), [(110, vec![13]), (185, vec![13])]);
        missing.retransmitted(13, start + ms(210));
        assert_eq!(missing.round, Some(ms(50)), "which request this answers is not known");
    }

    #[test]
    fn repairs_that_come_twice_make_it_ask_later() {
        let (mut missing, start) = (MissingPackets::default(), Instant::now());
        missing.received(10, start);
        for _ in 0..20 {
            missing.retransmitted(9, start);
        }
        assert_eq!(missing.round, Some(APART_MAX));
        missing.received(12, start);
        assert_eq!(requests(&mut missing, start, ms(5000)), [(10, vec![11]), (260, vec![11])]);
    }

    #[test]
    fn what_was_only_overtaken_is_not_asked_for() {
        let (mut missing, start) = (MissingPackets::default(), Instant::now());
        for (sequence, at) in [(10, 0), (13, 1), (11, 4), (12, 9), (14, 10)] {
            missing.received(sequence, start + ms(at));
        }
        assert_eq!(requests(&mut missing, start, ms(5000)), []);
    }

    #[test]
    fn a_silence_and_a_sender_that_counts_anew_leave_nothing_to_ask_for() {
        let (mut missing, start) = (MissingPackets::default(), Instant::now());
        missing.received(10, start);
        missing.received(12, start + ms(499));
        assert!(missing.next_due().is_some());
        missing.received(20, start + ms(999));
        assert_eq!(missing.next_due(), None, "after a silence");
        missing.received(40_000, start + ms(1000));
        assert_eq!(missing.next_due(), None, "counted anew");
        missing.received(40_002, start + ms(1001));
        assert_eq!(requests(&mut missing, start, ms(1020)), [(1011, vec![40_001])]);
    }

    /// The storm: repairs that nobody noticed were asked for again and again. Requests and repairs are lost here as
    /// often as packets are, and are under way for as long as is said.
    #[test]
    fn no_more_is_asked_for_than_is_needed() {
        for (loss, round_trip, per_loss_max) in [(5, 5, 1.2), (10, 5, 1.35), (10, 100, 1.35), (20, 200, 1.8)] {
            let (mut missing, start) = (MissingPackets::default(), Instant::now());
            let (mut random, mut lost, mut sent) = (7_u32, 0, 0);
            let mut is_lost = || {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 16) % 100 < loss
            };
            let mut under_way: VecDeque<(Instant, u16)> = VecDeque::new();
            for n in 0..30_000_u16 {
                let now = start + ms(8) * n.into();
                while let Some((_, number)) = under_way.pop_front_if(|(at, _)| *at <= now) {
                    missing.retransmitted(number, now);
                }
                match is_lost() {
                    true => lost += 1,
                    false => missing.received(n, now),
                }
                if missing.next_due().is_some_and(|due| due <= now) {
                    let asked = missing.take_due(now);
                    if is_lost() {
                        continue;
                    }
                    sent += asked.len();
                    let came = asked.into_iter().filter(|_| !is_lost());
                    under_way.extend(came.map(|number| (now + ms(round_trip), number)));
                }
            }
            let per_loss = sent as f64 / f64::from(lost);
            assert!(per_loss < per_loss_max, "{loss} %, {round_trip} ms: {sent} repairs for {lost} lost");
        }
    }

    #[test]
    fn rtx_is_seen_as_the_repair_of_its_stream() {
        let mut nacks = NackGenerator::default();
        nacks.bind(RemoteStream { ssrc: 1, rtx: Some(2), takes_nack: true });
        nacks.bind(RemoteStream { ssrc: 2, rtx: None, takes_nack: true });
        let start = Instant::now();
        for (ssrc, number, payload) in [(1, 10, &[7, 7, 7][..]), (1, 12, &[7; 3]), (2, 500, &[7]), (2, 502, &[])] {
            nacks.came(ssrc, number, payload, start);
        }
        assert_eq!(nacks.poll_timeout(), Some(start + REORDERED));
        let due = nacks.take_due(start + REORDERED);
        assert_eq!(due, [Nack { media_ssrc: 1, sequence_numbers: vec![11] }]);
        nacks.came(2, 503, &[0, 11, 7], start + REORDERED);
        assert_eq!((nacks.poll_timeout(), nacks.take_due(start + REORDERED)), (None, Vec::new()));
    }
}

//! The audio jitter buffer: packets in, one out for each 20 ms of the playout clock.
//!
//! It holds back as many packets as the network's jitter needs ([`AudioJitter::target`]): more after a packet came
//! too late or the buffer ran dry, fewer after a quiet while.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::rtp::{RtpPacket, SequenceUnwrapper};

/// Least packets held back: one that plays and one that waits.
const TARGET_MIN: usize = 2;

/// Most packets held back: 300 ms, beyond which a talk is no talk any more (ITU-T G.114 §4).
const TARGET_MAX: usize = 15;

/// Ticks without trouble (10 s) before the target is lowered.
const QUIET_TICKS: u32 = 500;

/// Ticks (1 s) the buffer may stand above its target before a packet is left out.
const EXCESS_TICKS: u32 = 50;

/// Packets above the target that count as an excess.
const EXCESS: usize = 2;

/// Empty ticks in a row (100 ms) after which the stream counts as paused, and fills up again before it plays.
const DRY_TICKS: u32 = 5;

/// Packets above the target (160 ms) that are cut off at once: better a cut than a talk that stays late.
const JUMP: usize = 8;

/// A gap of so many packets (1 s) is a sender that counts anew, or one that paused: it is not waited through.
const GAP_MAX: i64 = 50;

/// So many late packets in a row are a sender that counts anew.
const LATE_RUN_MAX: u32 = 50;

/// Packets held at most (2 s); more means a flood.
const PACKETS_MAX: usize = 100;

/// What to play for the next 20 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tick {
    /// This packet.
    Packet {
        /// The Opus packet.
        payload: Bytes,
        /// RTP time stamp.
        timestamp: u32,
    },
    /// A packet is missing: conceal it, or recover it from the one after, if that came (RFC 6716 §2.1.7).
    Missing {
        /// The packet after the missing one.
        next: Option<Bytes>,
    },
    /// Nothing to play: not started, or paused.
    Silence,
}

/// What happened to packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that came for the first time.
    pub received: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Packets that came after their turn.
    pub late: u64,
    /// Packets that did not come in time.
    pub missing: u64,
    /// Packets left out to shorten the delay.
    pub skipped: u64,
    /// Ticks for which the buffer was dry.
    pub dry: u64,
}

/// See the module.
#[derive(Debug)]
pub struct AudioJitter {
    sequences: SequenceUnwrapper,
    packets: BTreeMap<i64, RtpPacket>,
    state: State,
    target: usize,
    quiet: u32,
    excess: u32,
    /// Packets in a row that came after their turn.
    late_run: u32,
    counters: Counters,
}

#[derive(Debug)]
enum State {
    /// Collecting until the target is reached.
    Filling,
    /// `next` is to be played next; the last `dry` ticks had nothing.
    Playing { next: i64, dry: u32 },
}

impl Default for AudioJitter {
    fn default() -> Self {
        Self {
            sequences: SequenceUnwrapper::default(),
            packets: BTreeMap::new(),
            state: State::Filling,
            target: TARGET_MIN,
            quiet: 0,
            excess: 0,
            late_run: 0,
            counters: Counters::default(),
        }
    }
}

impl AudioJitter {
    /// Takes in a packet.
    pub fn insert(&mut self, packet: RtpPacket) {
        let number = self.sequences.unwrap(packet.sequence);
        if let State::Playing { next, .. } = self.state
            && number < next
        {
            self.counters.late += 1;
            self.late_run += 1;
            if self.late_run < LATE_RUN_MAX {
                self.raise();
                return;
            }
            self.begin_anew();
            return self.insert(packet);
        }
        self.late_run = 0;
        if self.packets.insert(number, packet).is_some() {
            self.counters.duplicates += 1;
            return;
        }
        self.counters.received += 1;
        if self.packets.len() > PACKETS_MAX {
            self.packets.pop_first();
            self.counters.skipped += 1;
        }
    }

    /// What to play for the next 20 ms.
    pub fn tick(&mut self) -> Tick {
        if let State::Filling = self.state {
            let Some((first, _)) = self.packets.first_key_value() else { return Tick::Silence };
            if self.packets.len() < self.target {
                return Tick::Silence;
            }
            self.state = State::Playing { next: *first, dry: 0 };
        }
        self.adapt();
        let State::Playing { next, dry } = &mut self.state else { return Tick::Silence };
        if let Some((first, _)) = self.packets.first_key_value()
            && *first - *next > GAP_MAX
        {
            *next = *first;
        }
        if let Some(packet) = self.packets.remove(next) {
            (*next, *dry) = (*next + 1, 0);
            return Tick::Packet { payload: packet.payload, timestamp: packet.timestamp };
        }
        if self.packets.is_empty() {
            *dry += 1;
            self.counters.dry += 1;
            if *dry >= DRY_TICKS {
                self.state = State::Filling;
                return Tick::Silence;
            }
            if *dry == 1 {
                self.raise();
            }
            return Tick::Missing { next: None };
        }
        *next += 1;
        self.counters.missing += 1;
        Tick::Missing { next: self.packets.get(next).map(|packet| packet.payload.clone()) }
    }

    /// Forgets what came: the stream begins anew with the next packet. What happened so far still counts.
    pub fn begin_anew(&mut self) {
        let (counters, target) = (self.counters, self.target);
        *self = Self { counters, target, ..Self::default() };
    }

    /// Packets held back, of 20 ms each.
    #[must_use]
    pub const fn target(&self) -> usize {
        self.target
    }

    /// What happened to packets so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn raise(&mut self) {
        self.target = (self.target + 1).min(TARGET_MAX);
        self.quiet = 0;
    }

    fn adapt(&mut self) {
        if let State::Playing { next, .. } = &mut self.state {
            while self.packets.len() > self.target + JUMP
                && let Some((first, _)) = self.packets.pop_first()
            {
                self.counters.skipped += 1;
                *next = first + 1;
            }
        }
        self.quiet += 1;
        if self.quiet >= QUIET_TICKS {
            self.quiet = 0;
            self.target = (self.target - 1).max(TARGET_MIN);
        }
        self.excess = if self.packets.len() > self.target + EXCESS { self.excess + 1 } else { 0 };
        if self.excess >= EXCESS_TICKS
            && let State::Playing { next, .. } = &mut self.state
        {
            self.excess = 0;
            if self.packets.remove(next).is_some() {
                self.counters.skipped += 1;
            }
            *next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn packet(sequence: u16) -> RtpPacket {
        RtpPacket {
            sequence,
            timestamp: u32::from(sequence) * 960,
            marker: false,
            payload_type: 111,
            payload: Bytes::copy_from_slice(&sequence.to_be_bytes()),
            arrived: Instant::now(),
        }
    }

    fn plays(tick: &Tick) -> Option<u16> {
        match tick {
            Tick::Packet { payload, .. } => Some(u16::from_be_bytes([payload[0], payload[1]])),
            Tick::Missing { .. } | Tick::Silence => None,
        }
    }

    #[test]
    fn a_steady_stream_plays_every_packet_once_in_order() {
        let mut jitter = AudioJitter::default();
        let mut played = Vec::new();
        for n in 0..200u16 {
            jitter.insert(packet(65_500u16.wrapping_add(n)));
            played.extend(plays(&jitter.tick()));
        }
        assert_eq!(played, (0..199).map(|n| 65_500u16.wrapping_add(n)).collect::<Vec<_>>());
        assert_eq!(jitter.target(), TARGET_MIN);
        assert_eq!(jitter.counters(), Counters { received: 200, ..Counters::default() });
    }

    #[test]
    fn a_missing_packet_offers_the_next_for_recovery() {
        let mut jitter = AudioJitter::default();
        for n in [0, 1, 3, 4] {
            jitter.insert(packet(n));
        }
        assert_eq!((plays(&jitter.tick()), plays(&jitter.tick())), (Some(0), Some(1)));
        assert_eq!(jitter.tick(), Tick::Missing { next: Some(packet(3).payload) });
        assert_eq!(plays(&jitter.tick()), Some(3));
        jitter.insert(packet(2));
        assert_eq!((jitter.counters().missing, jitter.counters().late, jitter.target()), (1, 1, TARGET_MIN + 1));
    }

    #[test]
    fn reordered_and_repeated_packets_do_no_harm() {
        let mut jitter = AudioJitter::default();
        for n in [1, 0, 2, 2, 3] {
            jitter.insert(packet(n));
        }
        let played: Vec<_> = (0..4).filter_map(|_| plays(&jitter.tick())).collect();
        assert_eq!((played, jitter.counters().duplicates), (vec![0, 1, 2, 3], 1));
    }

    #[test]
    fn a_pause_fills_up_again_and_the_delay_grows_and_shrinks() {
        let mut jitter = AudioJitter::default();
        assert_eq!(jitter.tick(), Tick::Silence);
        for n in 0..2 {
            jitter.insert(packet(n));
        }
        let ticks: Vec<_> = (0..8).map(|_| jitter.tick()).collect();
        assert_eq!(ticks[6..], [Tick::Silence, Tick::Silence]);
        assert_eq!(jitter.target(), TARGET_MIN + 1);
        for n in 2..2 + QUIET_TICKS as u16 + 10 {
            jitter.insert(packet(n));
            jitter.tick();
        }
        assert_eq!(jitter.target(), TARGET_MIN);
    }

    #[test]
    fn a_burst_is_worked_off() {
        let mut jitter = AudioJitter::default();
        for n in 0..20 {
            jitter.insert(packet(n));
        }
        for n in 20..2000 {
            jitter.insert(packet(n));
            jitter.tick();
        }
        assert!(jitter.packets.len() <= TARGET_MIN + EXCESS + 1, "{}", jitter.packets.len());
        assert!(jitter.counters().skipped >= 15);
    }

    #[test]
    fn a_burst_after_a_stall_does_not_stay_as_delay() {
        let mut jitter = AudioJitter::default();
        for n in 0..75 {
            jitter.insert(packet(n));
        }
        jitter.tick();
        assert!(jitter.packets.len() <= TARGET_MIN + JUMP, "{}", jitter.packets.len());
    }

    #[test]
    fn a_sender_that_counts_anew_is_followed() {
        for restart in [1_000, 40_000] {
            let mut jitter = AudioJitter::default();
            let mut played = Vec::new();
            for n in (20_000..20_100).chain(restart..restart + 200) {
                jitter.insert(packet(n));
                played.extend(plays(&jitter.tick()));
            }
            let after = played.iter().filter(|n| (restart..restart + 200).contains(n)).count();
            assert!(after >= 100, "{after} of 200 after the restart at {restart}");
        }
    }

    #[test]
    fn a_flood_stays_bounded() {
        let mut jitter = AudioJitter::default();
        for n in 0..10_000u16 {
            jitter.insert(packet(n));
            assert!(jitter.packets.len() <= PACKETS_MAX);
        }
    }
}

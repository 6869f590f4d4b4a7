//! Where a packet belongs: sequence numbers and RTP time stamps that do not wrap and do not jump.
//!
//! A sender that counts anew, in sequence numbers or in time, is joined to what came before: its first packet follows
//! on the last one, or on the pause between them. One packet alone that fits nowhere starts nothing (RFC 3550 appendix A.1).

use crate::frame::AUDIO_RATE_HZ;

/// A jump of sequence numbers that is no loss any more (`MAX_DROPOUT`, RFC 3550 appendix A.1).
const SEQUENCE_JUMP: i64 = 3_000;

/// A change of the time a packet takes (2 s) that is no delay any more.
const TRANSIT_JUMP_US: i64 = 2_000_000;

/// Packets that follow one another lie at most so many sequence numbers apart; some may be lost.
const FOLLOWS_MAX: u16 = 10;

/// A sender that counts anew after more than this (200 ms) made a pause. Less is what the network delayed.
const PAUSE: i64 = 9_600;

/// A packet that is overtaken comes within so long (1 s), and lies within so many packets.
const OVERTAKEN_FOR_US: i64 = 1_000_000;
const OVERTAKEN_MAX: u16 = 100;

/// What of a packet's header and its arrival is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    /// Length of its sound.
    pub(super) samples: u32,
    pub(super) arrived_us: i64,
}

impl Stamps {
    /// True when this packet could be one of the next after `before`, of the same stream.
    pub(super) const fn follows(&self, before: &Self) -> bool {
        let (packets, samples) =
            (self.sequence.wrapping_sub(before.sequence), self.timestamp.wrapping_sub(before.timestamp));
        1 <= packets && packets <= FOLLOWS_MAX && 1 <= samples && samples <= AUDIO_RATE_HZ
    }
}

/// The place of a packet on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence: i64,
    /// In samples.
    pub(super) timestamp: i64,
    /// Arrival less time stamp, in microseconds.
    pub(super) transit_us: i64,
}

/// What is known of a packet's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// This is it.
    Here(Place),
    /// The stream's time begins anew with this packet; its sequence goes on.
    Anew(Place),
    /// It belongs to what the sender sent before it began to count anew.
    Over,
    /// It fits nowhere. It may be the first packet of a sender that counts anew: see [`TimeLine::begin_anew`].
    Unclear,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct TimeLine {
    /// The packet with the highest sequence number.
    last: Option<Last>,
    /// The same, of what the sender sent before it began to count anew.
    /// For packets that come by this time, in microseconds.
    before: Option<(Last, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    place: Place,
    /// Its numbers as they came.
    sequence: u16,
    timestamp: u32,
    /// What follows on it.
    end: i64,
}

/// Microseconds of so many samples.
pub(super) const fn us(samples: i64) -> i64 {
    samples * 125 / 6
}

/// Samples of so many microseconds.
pub(super) const fn samples(us: i64) -> i64 {
    us * 6 / 125
}

impl TimeLine {
    /// Finds the place of the next packet that came.
    pub(super) fn place(&mut self, packet: &Stamps) -> Placed {
        let Some(last) = self.last else { return Placed::Here(self.settle(packet, 0, 0)) };
        let ahead = i64::from(packet.sequence.wrapping_sub(last.sequence).cast_signed());
        let sequence = last.place.sequence + ahead;
        if self.is_from_before(packet) {
            return Placed::Over;
        }
        if ahead.abs() >= SEQUENCE_JUMP {
            return Placed::Unclear;
        }
        let since = packet.timestamp.wrapping_sub(last.timestamp).cast_signed();
        let timestamp = last.place.timestamp + i64::from(since);
        if ahead > 0 && timestamp < last.end {
            // The sender's time went back; how many packets are missing as well, nobody knows.
            return Placed::Anew(self.begin_anew(packet));
        }
        let transit_us = packet.arrived_us - us(timestamp);
        let follows_on = ahead == 1 && timestamp == last.end;
        if !follows_on && (transit_us - last.place.transit_us).abs() > TRANSIT_JUMP_US {
            return Placed::Unclear;
        }
        if ahead > 0 {
            return Placed::Here(self.settle(packet, sequence, timestamp));
        }
        Placed::Here(Place { sequence, timestamp, transit_us })
    }

    /// The place of a packet from before the last one; `None` when there is none for it.
    pub(super) fn find(&self, packet: &Stamps) -> Option<Place> {
        let last = self.last?;
        let ahead = i64::from(packet.sequence.wrapping_sub(last.sequence).cast_signed());
        let since = packet.timestamp.wrapping_sub(last.timestamp).cast_signed();
        let timestamp = last.place.timestamp + i64::from(since);
        let transit_us = packet.arrived_us - us(timestamp);
        let is_before = ahead < 0 && ahead > -SEQUENCE_JUMP && timestamp < last.place.timestamp;
        let is_near = (transit_us - last.place.transit_us).abs() <= TRANSIT_JUMP_US;
        (is_before && is_near).then_some(Place { sequence: last.place.sequence + ahead, timestamp, transit_us })
    }

    /// The sender's own time stamp for a time on the line; `None` before the first packet.
    pub(super) fn stamp(&self, timestamp: i64) -> Option<u32> {
        self.last.map(|last| last.timestamp.wrapping_add((timestamp - last.place.timestamp) as u32))
    }

    /// The stream begins anew with this packet: it follows on the last one, or on a pause after it.
    pub(super) fn begin_anew(&mut self, packet: &Stamps) -> Place {
        self.before = self.last.map(|last| (last, packet.arrived_us + OVERTAKEN_FOR_US));
        let (sequence, timestamp) = self.last.map_or((0, 0), |last| {
            let by_arrival = samples(packet.arrived_us - last.place.transit_us);
            let is_pause = by_arrival - last.end > PAUSE;
            (last.place.sequence + 1, if is_pause { by_arrival } else { last.end })
        });
        self.settle(packet, sequence, timestamp)
    }

    /// True for a packet that was overtaken by the first one of a sender that counts anew.
    fn is_from_before(&self, packet: &Stamps) -> bool {
        self.before.is_some_and(|(before, until_us)| {
            let packets = packet.sequence.wrapping_sub(before.sequence).cast_signed();
            let samples = packet.timestamp.wrapping_sub(before.timestamp).cast_signed();
            packet.arrived_us < until_us
                && packets.unsigned_abs() <= OVERTAKEN_MAX
                && samples.unsigned_abs() <= AUDIO_RATE_HZ
                && packets.signum() == samples.signum() as i16
        })
    }

    fn settle(&mut self, packet: &Stamps, sequence: i64, timestamp: i64) -> Place {
        let place = Place { sequence, timestamp, transit_us: packet.arrived_us - us(timestamp) };
        let end = timestamp + i64::from(packet.samples);
        self.last = Some(Last { place, sequence: packet.sequence, timestamp: packet.timestamp, end });
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packet `n` of a sender of 20 ms packets, as it comes on a perfect line.
    fn packet(sequence: u16, timestamp: u32, ms: i64) -> Stamps {
        Stamps { sequence, timestamp, samples: 960, arrived_us: ms * 1000 }
    }

    fn here(line: &mut TimeLine, stamps: Stamps) -> (i64, i64) {
        match line.place(&stamps) {
            Placed::Here(place) => (place.sequence, place.timestamp),
            other => panic!("{stamps:?}: {other:?}"),
        }
    }

    #[test]
    fn numbers_wrap_and_packets_may_be_reordered_and_lost() {
        let mut line = TimeLine::default();
        let start = 0u32.wrapping_sub(960);
        assert_eq!(here(&mut line, packet(65_535, start, 0)), (0, 0));
        assert_eq!(here(&mut line, packet(1, 960, 40)), (2, 1920));
        assert_eq!(here(&mut line, packet(0, 0, 41)), (1, 960));
        assert_eq!(here(&mut line, packet(900, 960 + 899 * 960, 40 + 899 * 20)), (901, 901 * 960));
    }

    #[test]
    fn silence_of_the_sender_and_a_stall_of_the_network_are_places_in_time() {
        let mut line = TimeLine::default();
        here(&mut line, packet(7, 0, 0));
        assert_eq!(here(&mut line, packet(8, 480_000, 10_050)), (1, 480_000));
        assert_eq!(here(&mut line, packet(9, 480_960, 15_000)), (2, 480_960), "5 s late, but the next");
    }

    #[test]
    fn time_that_goes_back_follows_on() {
        let mut line = TimeLine::default();
        here(&mut line, packet(7, 96_000, 0));
        let back = line.place(&packet(8, 92_160, 20));
        assert_eq!(back, Placed::Anew(Place { sequence: 1, timestamp: 960, transit_us: 0 }));
        assert_eq!(here(&mut line, packet(9, 93_120, 40)), (2, 1920));
    }

    #[test]
    fn a_sender_that_counts_anew_needs_two_packets() {
        let mut line = TimeLine::default();
        here(&mut line, packet(7, 96_000, 0));
        assert_eq!(line.begin_anew(&packet(500, 7, 10_000)).timestamp, 480_000, "after ten seconds");
        for (sequence, timestamp) in [(30_000, 7), (1_000, 2_000_000_000), (8, 2_000_000_000)] {
            let mut line = TimeLine::default();
            here(&mut line, packet(7, 96_000, 0));
            let (first, second) = (packet(sequence, timestamp, 50), packet(sequence + 1, timestamp + 960, 70));
            assert_eq!(line.place(&first), Placed::Unclear);
            assert!(second.follows(&first) && !first.follows(&second));
            let place = line.begin_anew(&first);
            assert_eq!((place.sequence, place.timestamp), (1, 960));
            assert_eq!(here(&mut line, second), (2, 1920));
            assert_eq!(line.place(&packet(6, 95_040, 71)), Placed::Over, "overtaken");
        }
    }
}

//! Keeps received video packets in order of their extended sequence numbers, and tells which of them make up a whole
//! picture. Knows no time: the jitter buffer decides how long a gap is waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;

use crate::frame::VideoCodec;
use crate::rtp::RtpPacket;
use crate::rtp::payload::{assemble, begins_keyframe, begins_picture};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PacketStore {
    packets: BTreeMap<i64, (RtpPacket, VideoCodec)>,
    /// The numbers of those that came after a later one.
    filled: BTreeSet<i64>,
    /// The highest number that ever came.
    highest: Option<i64>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    New,
    Duplicate,
}

/// Where a picture's packets lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// From the first to the last, both included.
    Whole(i64),
    /// Something is missing: the first such number.
    Gap(i64),
    /// All that came fits, but its end did not come.
    Open,
}

/// What is known of a picture before it is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) timestamp: u32,
    /// When its last packet came.
    pub(crate) arrived: Instant,
    /// One of its packets came after a later one.
    pub(crate) was_filled: bool,
}

/// A picture that was taken out.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) data: Bytes,
    pub(crate) keyframe: bool,
    pub(crate) codec: VideoCodec,
    pub(crate) timestamp: u32,
    /// When its last packet came.
    pub(crate) arrived: Instant,
}

impl PacketStore {
    pub(crate) fn insert(&mut self, number: i64, packet: RtpPacket, codec: VideoCodec) -> Inserted {
        if self.packets.contains_key(&number) {
            return Inserted::Duplicate;
        }
        self.packets.insert(number, (packet, codec));
        if self.highest.is_some_and(|highest| number < highest) {
            self.filled.insert(number);
        }
        self.highest = self.highest.max(Some(number));
        Inserted::New
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// The lowest number.
    pub(crate) fn first(&self) -> Option<i64> {
        self.packets.first_key_value().map(|(number, _)| *number)
    }

    /// Removes a packet without payload; true when it was one.
    pub(crate) fn remove_empty(&mut self, number: i64) -> bool {
        let is_empty = self.packets.get(&number).is_some_and(|(packet, _)| packet.payload.is_empty());
        is_empty && self.packets.remove(&number).is_some()
    }

    /// The first packet that a picture can begin with.
    pub(crate) fn first_beginning(&self) -> Option<i64> {
        let mut packets = self.packets.iter();
        packets.find(|(_, (packet, codec))| begins_picture(*codec, &packet.payload)).map(|(number, _)| *number)
    }

    /// Where the first whole keyframe after this number begins.
    pub(crate) fn whole_keyframe_after(&self, number: i64) -> Option<i64> {
        let later = self.packets.range(number + 1..);
        let beginnings = later.filter(|(_, (packet, codec))| begins_keyframe(*codec, &packet.payload));
        let mut whole = beginnings.filter_map(|(first, _)| match self.span(*first) {
            Span::Whole(last) => Some((*first, last)),
            Span::Gap(_) | Span::Open => None,
        });
        whole.find(|(first, last)| self.is_keyframe(*first, *last)).map(|(first, _)| first)
    }

    /// Whether the picture that starts at `start` is whole.
    pub(crate) fn span(&self, start: i64) -> Span {
        let Some((first, _)) = self.packets.get(&start) else {
            return if self.packets.is_empty() { Span::Open } else { Span::Gap(start) };
        };
        let timestamp = first.timestamp;
        for (expected, (number, (packet, _))) in (start..).zip(self.packets.range(start..)) {
            if *number != expected {
                return Span::Gap(expected);
            }
            if packet.payload.is_empty() {
                continue;
            }
            if packet.timestamp != timestamp {
                return Span::Whole(number - 1);
            }
            if packet.marker {
                return Span::Whole(*number);
            }
        }
        Span::Open
    }

    /// What is known of the picture that lies there, the first and the last packet included.
    pub(crate) fn look(&self, first: i64, last: i64) -> Option<Look> {
        let mut packets = self.packets.range(first..=last).map(|(_, (packet, _))| packet);
        let head = packets.next()?;
        let arrived = packets.fold(head.arrived, |latest, packet| latest.max(packet.arrived));
        let was_filled = self.filled.range(first..=last).next().is_some();
        Some(Look { timestamp: head.timestamp, arrived, was_filled })
    }

    /// Whether a decoder can start with the picture that lies there, the first and the last packet included.
    pub(crate) fn is_keyframe(&self, first: i64, last: i64) -> bool {
        let packets = self.packets.range(first..=last).map(|(_, packet)| packet);
        let mut packets = packets.filter(|(packet, _)| !packet.payload.is_empty()).peekable();
        let Some(codec) = packets.peek().map(|(_, codec)| *codec) else { return false };
        let payloads: Vec<Bytes> = packets.map(|(packet, _)| packet.payload.clone()).collect();
        assemble(codec, &payloads).is_some_and(|picture| picture.keyframe)
    }

    /// When the first packet after this number came.
    pub(crate) fn first_arrival_after(&self, number: i64) -> Option<Instant> {
        self.packets.range(number + 1..).map(|(_, (packet, _))| packet.arrived).min()
    }

    /// Takes a picture's packets out, the first and the last included; `None` when they are broken.
    pub(crate) fn take(&mut self, first: i64, last: i64) -> Option<Taken> {
        self.filled = self.filled.split_off(&(last + 1));
        let mut taken = (first..=last).filter_map(|number| self.packets.remove(&number));
        let (head, codec) = taken.next()?;
        let (timestamp, mut arrived) = (head.timestamp, head.arrived);
        let mut payloads = vec![head.payload];
        for (packet, _) in taken.filter(|(packet, _)| !packet.payload.is_empty()) {
            arrived = arrived.max(packet.arrived);
            payloads.push(packet.payload);
        }
        let picture = assemble(codec, &payloads)?;
        Some(Taken { data: picture.data, keyframe: picture.keyframe, codec, timestamp, arrived })
    }

    /// Forgets all packets before this number.
    pub(crate) fn forget_before(&mut self, number: i64) {
        self.packets = self.packets.split_off(&number);
        self.filled = self.filled.split_off(&number);
    }

    /// Forgets all packets; the highest number among them.
    pub(crate) fn clear(&mut self) -> Option<i64> {
        let last = self.packets.last_key_value().map(|(number, _)| *number);
        self.packets.clear();
        self.filled.clear();
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload: &'static [u8], timestamp: u32, marker: bool) -> RtpPacket {
        let payload = Bytes::from_static(payload);
        RtpPacket { sequence: 0, timestamp, marker, payload_type: 96, payload, arrived: Instant::now() }
    }

    #[test]
    fn a_picture_ends_with_its_marker_or_before_another_time_stamp() {
        let mut store = PacketStore::default();
        let (first, rest) = (&[0x10, 0x10, 7, 7][..], &[0, 7, 7, 7][..]);
        for (number, packet) in [(1, packet(first, 5, false)), (2, packet(rest, 5, true)), (4, packet(first, 6, false))]
        {
            assert_eq!(store.insert(number, packet, VideoCodec::Vp8), Inserted::New);
        }
        assert_eq!(store.insert(4, packet(first, 6, false), VideoCodec::Vp8), Inserted::Duplicate);
        assert_eq!(
            (store.first_beginning(), store.span(1), store.span(3), store.span(4)),
            (Some(1), Span::Whole(2), Span::Gap(3), Span::Open)
        );
        store.insert(5, packet(rest, 9, false), VideoCodec::Vp8);
        assert_eq!(store.span(4), Span::Whole(4));
        let taken = store.take(1, 2).unwrap();
        assert_eq!((&taken.data[..], taken.keyframe, taken.timestamp), (&[0x10, 7, 7, 7, 7, 7][..], true, 5));
        assert_eq!((store.first(), store.len(), store.clear(), store.first()), (Some(4), 2, Some(5), None));
    }
}

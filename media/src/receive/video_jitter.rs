//! The video jitter buffer: packets in, whole pictures in decoding order out.
//!
//! A picture is handed out the moment it is whole, without added delay. A gap is waited for, as long as a
//! retransmission can take; then everything up to the next keyframe is left out, because a decoder that misses a
//! reference shows garbage. Reads no clock.
//!
//! - packets → [`PacketStore`], which knows whether a picture is whole
//! - [`VideoJitter`] decides what to wait for, and what to give up

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::packet_store::{Inserted, PacketStore, Span, Taken};
use crate::frame::VideoCodec;
use crate::rtp::{RtpPacket, SequenceUnwrapper};

/// How long a missing packet is waited for: two rounds of NACK and RTX on a path of 100 ms.
const GAP_WAIT: Duration = Duration::from_millis(250);

/// Packets held at most: two seconds at 8 Mbit/s. More means that the other side floods.
const PACKETS_MAX: usize = 2048;

/// So many late packets in a row are a sender that restarted, not a network that delays.
const LATE_RUN_MAX: u32 = 64;

/// What comes out.
#[derive(Debug)]
pub enum Output {
    /// A whole picture, next in decoding order.
    Picture {
        /// Shape as in [`crate::frame::EncodedVideo`].
        data: Bytes,
        /// True when a decoder can start here.
        keyframe: bool,
        /// Its codec.
        codec: VideoCodec,
        /// RTP time stamp.
        timestamp: u32,
        /// When its last packet came.
        arrived: Instant,
    },
    /// Nothing can be shown before a keyframe comes.
    KeyframeNeeded,
}

/// What happened to packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that came for the first time.
    pub received: u64,
    /// Packets that came again, by retransmission or by the network.
    pub duplicates: u64,
    /// Packets that came after they were given up.
    pub late: u64,
    /// Packets that were given up.
    pub lost: u64,
    /// Whole pictures left out because a keyframe was missing before them.
    pub undecodable: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct VideoJitter {
    sequences: SequenceUnwrapper,
    packets: PacketStore,
    progress: Progress,
    gap_since: Option<Instant>,
    /// Packets in a row that came after their turn.
    late_run: u32,
    counters: Counters,
}

#[derive(Debug, Default)]
enum Progress {
    /// Nothing was handed out yet: the first keyframe is awaited.
    #[default]
    Starting,
    /// A picture was given up: a keyframe is needed, and packets before this number come too late.
    Restarting { from: i64 },
    /// The next packet to hand out.
    Flowing { next: i64 },
}

impl VideoJitter {
    /// Takes in a packet of `codec`.
    pub fn insert(&mut self, packet: RtpPacket, codec: VideoCodec) {
        let number = self.sequences.unwrap(packet.sequence);
        let history = match self.progress {
            Progress::Starting => false,
            Progress::Restarting { from } => number < from,
            Progress::Flowing { next } => number < next,
        };
        if history {
            self.counters.late += 1;
            self.late_run += 1;
            if self.late_run < LATE_RUN_MAX {
                return;
            }
            // Not late: the sender began to count anew.
            self.begin_anew();
            return self.insert(packet, codec);
        }
        self.late_run = 0;
        match self.packets.insert(number, packet, codec) {
            Inserted::New => self.counters.received += 1,
            Inserted::Duplicate => self.counters.duplicates += 1,
        }
        if self.packets.len() > PACKETS_MAX {
            self.restart();
        }
    }

    /// The next thing to do, if any; call until it yields nothing.
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        match self.progress {
            Progress::Flowing { next } => self.poll_flowing(next, now),
            Progress::Starting | Progress::Restarting { .. } => self.poll_restarting(now),
        }
    }

    /// When [`VideoJitter::poll`] will act without a new packet.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.gap_since.map(|since| since + GAP_WAIT)
    }

    /// Forgets what came: the stream begins anew with the next keyframe. What happened so far still counts.
    pub fn begin_anew(&mut self) {
        let counters = self.counters;
        *self = Self { counters, ..Self::default() };
    }

    /// What happened to packets so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn poll_flowing(&mut self, mut next: i64, now: Instant) -> Option<Output> {
        // Packets without payload belong to no picture: senders probe the path with them.
        while self.packets.remove_empty(next) {
            next += 1;
            self.progress = Progress::Flowing { next };
        }
        match self.packets.span(next) {
            Span::Whole(last) => {
                self.gap_since = None;
                self.progress = Progress::Flowing { next: last + 1 };
                match self.take(next, last) {
                    Some(picture) => Some(picture),
                    // Whole but broken: the decoder's references are gone all the same.
                    None => {
                        self.restart();
                        Some(Output::KeyframeNeeded)
                    }
                }
            }
            Span::Gap if self.has_waited(now) => {
                self.restart();
                Some(Output::KeyframeNeeded)
            }
            Span::Gap => None,
            Span::Open => {
                self.gap_since = None;
                None
            }
        }
    }

    fn poll_restarting(&mut self, now: Instant) -> Option<Output> {
        loop {
            let Some(start) = self.packets.first_beginning() else {
                // Packets without a beginning are the rest of a picture that cannot be shown.
                let last = self.packets.clear()?;
                self.progress = Progress::Restarting { from: last + 1 };
                return Some(Output::KeyframeNeeded);
            };
            self.packets.forget_before(start);
            match self.packets.span(start) {
                Span::Whole(last) => {
                    self.gap_since = None;
                    match self.take(start, last) {
                        Some(picture @ Output::Picture { keyframe: true, .. }) => {
                            self.progress = Progress::Flowing { next: last + 1 };
                            return Some(picture);
                        }
                        Some(_) | None => {
                            self.counters.undecodable += 1;
                            self.progress = Progress::Restarting { from: last + 1 };
                            return Some(Output::KeyframeNeeded);
                        }
                    }
                }
                Span::Gap if self.has_waited(now) => {
                    self.gap_since = None;
                    self.counters.lost += 1;
                    self.packets.forget_before(start + 1);
                }
                Span::Gap => return None,
                Span::Open => {
                    self.gap_since = None;
                    return None;
                }
            }
        }
    }

    fn has_waited(&mut self, now: Instant) -> bool {
        let since = *self.gap_since.get_or_insert(now);
        now.saturating_duration_since(since) >= GAP_WAIT
    }

    fn take(&mut self, first: i64, last: i64) -> Option<Output> {
        let Taken { data, keyframe, codec, timestamp, arrived } = self.packets.take(first, last)?;
        Some(Output::Picture { data, keyframe, codec, timestamp, arrived })
    }

    /// Gives up what is missing; what came since is looked through for a keyframe.
    fn restart(&mut self) {
        let missing_from = match self.progress {
            Progress::Flowing { next } => Some(next),
            Progress::Starting | Progress::Restarting { .. } => None,
        };
        if let (Some(next), Some(first)) = (missing_from, self.packets.first()) {
            self.counters.lost += u64::try_from(first - next).unwrap_or(0).max(1);
        }
        if self.packets.len() > PACKETS_MAX {
            self.packets.clear();
        }
        self.gap_since = None;
        self.progress = match missing_from {
            Some(from) => Progress::Restarting { from },
            None => Progress::Starting,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::payload::Packetizer;

    struct Sender {
        packetizer: Packetizer,
        sequence: u16,
        timestamp: u32,
    }

    impl Sender {
        fn new() -> Self {
            Self { packetizer: Packetizer::new(VideoCodec::Vp8), sequence: 65_530, timestamp: u32::MAX - 9000 }
        }

        /// Packets of a picture of four packets.
        fn picture(&mut self, keyframe: bool, now: Instant) -> Vec<RtpPacket> {
            let tag = if keyframe { 0x10 } else { 0x11 };
            let picture: Bytes = std::iter::once(tag).chain(std::iter::repeat_n(7, 4000)).collect();
            let payloads = self.packetizer.payloads(&picture);
            self.timestamp = self.timestamp.wrapping_add(3000);
            let last = payloads.len() - 1;
            let packets = payloads.into_iter().enumerate().map(|(index, payload)| {
                self.sequence = self.sequence.wrapping_add(1);
                RtpPacket {
                    sequence: self.sequence,
                    timestamp: self.timestamp,
                    marker: index == last,
                    payload_type: 96,
                    payload,
                    arrived: now,
                }
            });
            packets.collect()
        }
    }

    fn insert_all(jitter: &mut VideoJitter, packets: impl IntoIterator<Item = RtpPacket>) {
        for packet in packets {
            jitter.insert(packet, VideoCodec::Vp8);
        }
    }

    fn drain(jitter: &mut VideoJitter, now: Instant) -> Vec<&'static str> {
        std::iter::from_fn(|| jitter.poll(now))
            .map(|output| match output {
                Output::Picture { keyframe: true, .. } => "key",
                Output::Picture { keyframe: false, .. } => "delta",
                Output::KeyframeNeeded => "need",
            })
            .collect()
    }

    #[test]
    fn whole_pictures_come_out_at_once_in_order_across_the_wraps() {
        let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
        for n in 0..10 {
            insert_all(&mut jitter, sender.picture(n == 0, now));
            assert_eq!(drain(&mut jitter, now), [if n == 0 { "key" } else { "delta" }]);
        }
        assert_eq!(jitter.counters(), Counters { received: 40, ..Counters::default() });
    }

    #[test]
    fn reordered_and_repeated_packets_do_no_harm() {
        let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
        let key = sender.picture(true, now);
        let delta = sender.picture(false, now);
        insert_all(&mut jitter, key.clone());
        assert_eq!(drain(&mut jitter, now), ["key"]);
        let next = sender.picture(false, now);
        insert_all(&mut jitter, next.into_iter().rev());
        assert_eq!(drain(&mut jitter, now), Vec::<&str>::new());
        insert_all(&mut jitter, delta.iter().cloned().chain(delta.iter().cloned()));
        assert_eq!(drain(&mut jitter, now), ["delta", "delta"]);
        insert_all(&mut jitter, delta);
        assert_eq!((jitter.counters().duplicates, jitter.counters().late), (4, 4));
    }

    #[test]
    fn a_gap_is_waited_for_and_mended_by_a_late_packet() {
        let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
        insert_all(&mut jitter, sender.picture(true, now));
        let mut broken = sender.picture(false, now);
        let missing = broken.remove(1);
        insert_all(&mut jitter, broken);
        insert_all(&mut jitter, sender.picture(false, now));
        assert_eq!(drain(&mut jitter, now), ["key"]);
        assert_eq!(jitter.poll_timeout(), Some(now + GAP_WAIT));
        insert_all(&mut jitter, [missing]);
        assert_eq!(drain(&mut jitter, now + GAP_WAIT / 2), ["delta", "delta"]);
        assert_eq!((jitter.counters().lost, jitter.poll_timeout()), (0, None));
    }

    #[test]
    fn a_lost_packet_leaves_out_everything_up_to_the_next_keyframe() {
        let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
        insert_all(&mut jitter, sender.picture(true, now));
        let mut broken = sender.picture(false, now);
        broken.remove(1);
        insert_all(&mut jitter, broken);
        assert_eq!(drain(&mut jitter, now), ["key"]);
        insert_all(&mut jitter, sender.picture(false, now));
        let later = now + GAP_WAIT;
        assert_eq!(drain(&mut jitter, later)[0], "need");
        assert!(jitter.counters().lost >= 1);
        let mut shown = Vec::new();
        for n in 0..4 {
            insert_all(&mut jitter, sender.picture(n == 2, later));
            shown.extend(drain(&mut jitter, later + GAP_WAIT * (n + 1)));
        }
        shown.retain(|what| *what != "need");
        assert_eq!(shown, ["key", "delta"]);
    }

    #[test]
    fn packets_that_probe_the_path_disturb_no_picture() {
        let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
        insert_all(&mut jitter, sender.picture(true, now));
        let mut shown = drain(&mut jitter, now);
        for n in 0..4 {
            let mut picture = sender.picture(false, now);
            // In the middle of a picture or after it, with its time stamp and no marker.
            sender.sequence = sender.sequence.wrapping_add(1);
            let at = if n % 2 == 0 { 2 } else { picture.len() };
            let probe = RtpPacket { payload: Bytes::new(), marker: false, ..picture[0].clone() };
            picture.insert(at, probe);
            let first = picture[0].sequence;
            for (index, packet) in picture.iter_mut().enumerate() {
                packet.sequence = first.wrapping_add(index as u16);
            }
            insert_all(&mut jitter, picture);
            shown.extend(drain(&mut jitter, now));
        }
        assert_eq!(shown, ["key", "delta", "delta", "delta", "delta"]);
    }

    #[test]
    fn a_sender_that_counts_anew_is_followed() {
        let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
        sender.sequence = 20_000;
        insert_all(&mut jitter, sender.picture(true, now));
        assert_eq!(drain(&mut jitter, now), ["key"]);
        sender.sequence = 1_000;
        let mut shown = Vec::new();
        for n in 0..40 {
            insert_all(&mut jitter, sender.picture(n % 10 == 0, now));
            shown.extend(drain(&mut jitter, now));
        }
        assert!(shown.iter().filter(|what| **what == "delta").count() >= 15, "{shown:?}");
    }

    #[test]
    fn nothing_is_shown_before_the_first_keyframe() {
        let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
        insert_all(&mut jitter, sender.picture(false, now));
        assert_eq!(drain(&mut jitter, now), ["need"]);
        insert_all(&mut jitter, sender.picture(true, now).into_iter().skip(1));
        assert_eq!(drain(&mut jitter, now), ["need"]);
        insert_all(&mut jitter, sender.picture(true, now));
        assert_eq!(drain(&mut jitter, now), ["key"]);
    }

    #[test]
    fn a_flood_stays_bounded() {
        let (mut jitter, now) = (VideoJitter::default(), Instant::now());
        for n in 0..50_000u32 {
            let payload = Bytes::from_static(&[0x10, 0x10, 0, 0]);
            let sequence = (n * 2) as u16;
            let packet = RtpPacket { sequence, timestamp: n, marker: false, payload_type: 96, payload, arrived: now };
            jitter.insert(packet, VideoCodec::Vp8);
            if n % 7 == 0 {
                drain(&mut jitter, now);
            }
            assert!(jitter.packets.len() <= PACKETS_MAX + 1);
        }
    }
}

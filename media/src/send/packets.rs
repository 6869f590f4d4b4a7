//! Packetises coded pictures and sound: payloads, sequence numbers, RTP time stamps. Draws no random numbers: starts
//! come from the caller.
//!
//! Sequence numbers go on where they were when a stream is sent again after a pause (RFC 3711 §9.1).

use std::time::Instant;

use bytes::Bytes;

use super::media_sender::{AudioStream, VideoStream};
use crate::frame::{AUDIO_FRAME_SAMPLES, AUDIO_RATE_HZ, EncodedAudio, EncodedVideo, VideoCodec};
use crate::rtp::VIDEO_CLOCK_HZ;
use crate::rtp::clock::RtpClock;
use crate::rtp::payload::Packetizer;

/// An RTP packet to be sent (RFC 3550 §5.1), before padding and extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutgoingPacket {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) payload: Bytes,
}

/// Where the numbers of a stream start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// When the stream starts.
    pub(crate) at: Instant,
    /// First RTP time stamp, random (RFC 3550 §5.1).
    pub(crate) timestamp: u32,
    /// First sequence number, random; see [`Start::new`].
    pub(crate) sequence: u16,
}

impl Start {
    /// A start with these random numbers. The sequence number is below half the range, as some SRTP receivers cannot
    /// follow an early wrap (RFC 3711 §3.3.1).
    pub(crate) const fn new(at: Instant, timestamp: u32, sequence: u32) -> Self {
        Self { at, timestamp, sequence: (sequence & 0x7fff) as u16 }
    }
}

/// The packets of a stream of pictures.
#[derive(Debug)]
pub(crate) struct VideoPackets {
    packetizer: Option<(VideoCodec, Packetizer)>,
    sequence: u16,
    clock: RtpClock,
}

impl VideoPackets {
    pub(crate) const fn new(start: Start) -> Self {
        let clock = RtpClock::new(VIDEO_CLOCK_HZ, start.at, start.timestamp);
        Self { packetizer: None, sequence: start.sequence, clock }
    }

    /// The packets of the next picture, with payloads of at most so many bytes.
    pub(crate) fn of(&mut self, picture: &EncodedVideo, stream: VideoStream, bytes_max: usize) -> Vec<OutgoingPacket> {
        let _of_another_codec = self.packetizer.take_if(|(codec, _)| *codec != stream.codec);
        let (_, packetizer) = self.packetizer.get_or_insert_with(|| (stream.codec, Packetizer::new(stream.codec)));
        let timestamp = self.clock.at(picture.captured_at);
        let payloads = packetizer.payloads_within(bytes_max, &picture.data);
        let last = payloads.len().saturating_sub(1);
        let packet = |(index, payload): (usize, Bytes)| {
            let sequence = self.sequence;
            self.sequence = sequence.wrapping_add(1);
            let (marker, payload_type, ssrc) = (index == last, stream.payload_type, stream.ssrc);
            OutgoingPacket { marker, payload_type, sequence, timestamp, ssrc, payload }
        };
        payloads.into_iter().enumerate().map(packet).collect()
    }
}

/// The packets of a stream of sound.
#[derive(Debug)]
pub(crate) struct AudioPackets {
    sequence: u16,
    clock: RtpClock,
    /// The time stamp that follows the last packet.
    next: Option<u32>,
}

impl AudioPackets {
    pub(crate) const fn new(start: Start) -> Self {
        let clock = RtpClock::new(AUDIO_RATE_HZ, start.at, start.timestamp);
        Self { sequence: start.sequence, clock, next: None }
    }

    /// The packet of the next sound. Sound is a continuous stream: its time stamps count samples, not arrival times
    /// (RFC 7587 §4.1).
    pub(crate) fn of(&mut self, sound: EncodedAudio, stream: AudioStream) -> OutgoingPacket {
        let measured = self.clock.at(sound.captured_at);
        let timestamp = match self.next {
            // A gap of more than 100 ms is a real one (muted, dropped); less is a late wake-up.
            Some(next) if (measured.wrapping_sub(next) as i32).unsigned_abs() < AUDIO_RATE_HZ / 10 => next,
            Some(_) | None => measured,
        };
        self.next = Some(timestamp.wrapping_add(AUDIO_FRAME_SAMPLES as u32));
        let (sequence, payload_type, ssrc) = (self.sequence, stream.payload_type, stream.ssrc);
        self.sequence = sequence.wrapping_add(1);
        OutgoingPacket { marker: false, payload_type, sequence, timestamp, ssrc, payload: sound.data }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_picture_ends_with_a_marker_and_numbers_go_on_through_the_wrap_and_another_codec() {
        let start = Start { sequence: 65_535, ..Start::new(Instant::now(), 7, 0) };
        let mut packets = VideoPackets::new(start);
        let picture = |first: u8| {
            let data = std::iter::once(first).chain(std::iter::repeat_n(7, 250)).collect();
            EncodedVideo { data, keyframe: true, captured_at: start.at }
        };
        let stream = |codec| VideoStream { codec, payload_type: 96, ssrc: 9 };
        let first = packets.of(&picture(0x10), stream(VideoCodec::Vp8), 103);
        let second = packets.of(&picture(0x65), stream(VideoCodec::H264), 1000);
        let all: Vec<_> = first.iter().chain(&second).map(|packet| (packet.sequence, packet.marker)).collect();
        assert_eq!(all, [(65_535, false), (0, false), (1, true), (2, true)]);
        assert!(first.iter().chain(&second).all(|packet| (packet.timestamp, packet.ssrc) == (7, 9)));
    }

    #[test]
    fn sound_counts_samples_unless_there_is_a_gap() {
        let start = Start::new(Instant::now(), 0, 0xffff_fff0);
        let mut packets = AudioPackets::new(start);
        let stream = AudioStream { payload_type: 111, ssrc: 9 };
        let mut stamps = Vec::new();
        for ms in [0, 25, 40, 500] {
            let sound =
                EncodedAudio { data: Bytes::from_static(&[7]), captured_at: start.at + Duration::from_millis(ms) };
            let packet = packets.of(sound, stream);
            stamps.push((packet.sequence, packet.timestamp));
        }
        assert_eq!(stamps, [(0x7ff0, 0), (0x7ff1, 960), (0x7ff2, 1920), (0x7ff3, 24_000)]);
    }
}

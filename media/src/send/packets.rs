//! Packetises coded pictures and sound: payloads, sequence numbers, RTP time stamps. Draws no random numbers: starts
//! come from the caller.
//!
//! Sequence numbers go on where they were when a stream is sent again after a pause (RFC 3711 §9.1).

use std::time::Instant;

use bytes::Bytes;

use super::media_sender::{AudioStream, VideoStream};
use crate::frame::{AUDIO_RATE_HZ, EncodedAudio, EncodedVideo, VideoCodec};
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
    last: Option<LastSound>,
}

/// The last packet of sound.
#[derive(Clone, Copy, Debug)]
struct LastSound {
    /// The time stamp that follows on it.
    next: u32,
    /// When its first sample was captured, by the RTP clock.
    captured: u32,
    samples: u32,
}

/// Sound that comes so much later than it should, by the RTP clock, was paused: muted, held or dropped. Less is a thread
/// that woke up late. 100 ms.
const PAUSE: i32 = AUDIO_RATE_HZ as i32 / 10;

/// A pause is one between two packets, beside the length of the first: a microphone whose clock is slow falls behind a
/// little with each. 30 ms.
const PAUSE_BETWEEN: i32 = AUDIO_RATE_HZ as i32 * 3 / 100;

impl AudioPackets {
    pub(crate) const fn new(start: Start) -> Self {
        let clock = RtpClock::new(AUDIO_RATE_HZ, start.at, start.timestamp);
        Self { sequence: start.sequence, clock, last: None }
    }

    /// The packet of the next sound. Its time stamp is that of its first sample (RFC 3550 §5.1). Sound is a continuous
    /// stream: time stamps count samples, not arrival times (RFC 7587 §4.1), and never go back.
    pub(crate) fn of(&mut self, sound: EncodedAudio, stream: AudioStream) -> OutgoingPacket {
        let captured = self.clock.at(sound.captured_at).wrapping_sub(sound.samples);
        let timestamp = match self.last {
            Some(last) if !last.is_paused_until(captured) => last.next,
            Some(_) | None => captured,
        };
        let (next, samples) = (timestamp.wrapping_add(sound.samples), sound.samples);
        self.last = Some(LastSound { next, captured, samples });
        let (sequence, payload_type, ssrc) = (self.sequence, stream.payload_type, stream.ssrc);
        self.sequence = sequence.wrapping_add(1);
        OutgoingPacket { marker: false, payload_type, sequence, timestamp, ssrc, payload: sound.data }
    }
}

impl LastSound {
    const fn is_paused_until(self, captured: u32) -> bool {
        captured.wrapping_sub(self.next).cast_signed() >= PAUSE
            && captured.wrapping_sub(self.captured).wrapping_sub(self.samples).cast_signed() >= PAUSE_BETWEEN
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

    /// The time stamps of packets of 20 ms whose last samples were captured at these times.
    fn stamps(first: u32, captured_us: impl IntoIterator<Item = u64>) -> Vec<u32> {
        stamps_of(960, first, captured_us)
    }

    fn stamps_of(samples: u32, first: u32, captured_us: impl IntoIterator<Item = u64>) -> Vec<u32> {
        let start = Start::new(Instant::now(), first, 0xffff_fff0);
        let mut packets = AudioPackets::new(start);
        let stream = AudioStream { payload_type: 111, ssrc: 9 };
        let packet = |us| {
            let captured_at = start.at + Duration::from_micros(us);
            packets.of(EncodedAudio { data: Bytes::from_static(&[7]), samples, captured_at }, stream)
        };
        let packets: Vec<OutgoingPacket> = captured_us.into_iter().map(packet).collect();
        assert!((0x7ff0..).zip(&packets).all(|(sequence, packet)| packet.sequence == sequence));
        packets.iter().map(|packet| packet.timestamp).collect()
    }

    #[test]
    fn sound_counts_samples_unless_there_is_a_gap() {
        assert_eq!(stamps(0, [20_000, 45_000, 60_000, 520_000]), [0, 960, 1920, 24_000]);
    }

    #[test]
    fn the_time_stamp_of_sound_is_that_of_its_first_sample() {
        assert_eq!(stamps(7, [20_000]), [7]);
        assert_eq!(stamps(7, [1_000_000]), [7 + 47_040]);
    }

    #[test]
    fn time_stamps_of_sound_never_go_back_or_jump_for_a_microphone_that_is_fast_or_slow() {
        for (ppm, frames) in [(1_000_i64, 1_i64), (-1_000, 1), (1_000, 3), (-1_000, 3)] {
            // 400 s, in which the microphone is 400 ms off.
            let times = (1..=20_000 / frames).map(|n| n * 20_000 * frames);
            let captured = times.map(|us| (us - us * ppm / 1_000_000).cast_unsigned());
            let samples = 960 * u32::try_from(frames).unwrap();
            let stamps = stamps_of(samples, 0, captured);
            assert!(stamps.windows(2).all(|two| two[1].wrapping_sub(two[0]) == samples), "{ppm} ppm, {frames} frames");
        }
    }

    #[test]
    fn a_thread_that_wakes_up_late_does_not_send_time_back() {
        // All at once after a wait, as test sound comes.
        let stamps = stamps(0, [20_000, 40_000, 200_000, 200_000, 200_000, 200_000, 220_000, 240_000]);
        assert!(stamps.windows(2).all(|two| two[1].wrapping_sub(two[0]).cast_signed() >= 960), "{stamps:?}");
    }
}

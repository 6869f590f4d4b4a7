//! Packetises coded pictures and sound: payloads, sequence numbers, RTP time stamps. Draws no random numbers: starts
//! come from the caller.
//!
//! Sequence numbers go on where they were when a stream is sent again after a pause (RFC 3711 §9.1).

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::media_sender::{OutgoingSound, Silence, VideoStream};
use super::redundancy::Copies;
use crate::frame::{AUDIO_RATE_HZ, EncodedAudio, EncodedVideo, VideoCodec};
use crate::rtp::VIDEO_CLOCK_HZ;
use crate::rtp::clock::RtpClock;
use crate::rtp::payload::Packetizer;
use crate::rtp::payload::red::{Copy, Red};

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
    /// The last packets that were sent, the latest first.
    sent: VecDeque<SentSound>,
    pause: Pause,
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

/// A packet that later ones may carry a copy of.
#[derive(Clone, Debug)]
struct SentSound {
    timestamp: u32,
    data: Bytes,
}

/// Sound that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// None.
    Over,
    /// So many samples since the last packet.
    Since(u32),
}

/// A packet of so few bytes holds nothing but silence, and need not be sent (`opus_encode` of libopus).
const SILENCE_BYTES_MAX: usize = 2;

/// Of silence a packet is sent this often (200 ms): a path is taken for dead after 800 ms without one, also when three
/// in a row are lost. libopus refreshes its comfort noise every 400 ms, in a longer packet, which is sent as well.
const PAUSE_MAX: u32 = AUDIO_RATE_HZ / 5;

/// Sound that comes so much later than it should, by the RTP clock, was paused: muted, held or dropped. Less is a thread
/// that woke up late. 100 ms.
const PAUSE: i32 = AUDIO_RATE_HZ as i32 / 10;

/// A pause is one between two packets, beside the length of the first: a microphone whose clock is slow falls behind a
/// little with each. 30 ms.
const PAUSE_BETWEEN: i32 = AUDIO_RATE_HZ as i32 * 3 / 100;

impl AudioPackets {
    pub(crate) fn new(start: Start) -> Self {
        let clock = RtpClock::new(AUDIO_RATE_HZ, start.at, start.timestamp);
        let sent = VecDeque::with_capacity(Copies::FARTHEST + 1);
        Self { sequence: start.sequence, clock, last: None, sent, pause: Pause::Over }
    }

    /// The packet of the next sound; none where it is left out. Its time stamp is that of its first sample (RFC 3550
    /// §5.1). Sound is a continuous stream: time stamps count samples, not arrival times (RFC 7587 §4.1), also those that
    /// are left out, and never go back.
    pub(crate) fn of(&mut self, OutgoingSound { sound, stream, copies }: OutgoingSound) -> Option<OutgoingPacket> {
        let captured = self.clock.at(sound.captured_at).wrapping_sub(sound.samples);
        let timestamp = match self.last {
            Some(last) if !last.is_paused_until(captured) => last.next,
            Some(_) | None => captured,
        };
        let (next, samples) = (timestamp.wrapping_add(sound.samples), sound.samples);
        self.last = Some(LastSound { next, captured, samples });
        let marker = self.is_after_pause(&sound, stream.silence)?;
        let (sequence, ssrc) = (self.sequence, stream.ssrc);
        self.sequence = sequence.wrapping_add(1);
        let copies = if stream.red.is_some() {
            self.copies(timestamp, samples, stream.payload_type, copies)
        } else {
            Vec::new()
        };
        self.remember(timestamp, &sound.data);
        let (payload_type, payload) = match stream.red {
            Some(red) if !copies.is_empty() => {
                (red, Red { copies, payload_type: stream.payload_type, data: sound.data }.write())
            }
            Some(_) | None => (stream.payload_type, sound.data),
        };
        Some(OutgoingPacket { marker, payload_type, sequence, timestamp, ssrc, payload })
    }

    /// Whether the sound is the first one after a pause, which the marker tells (RFC 3551 §4.1); `None` where it is left
    /// out. Of packets of silence the first is sent, so that the other side knows that nothing is lost.
    fn is_after_pause(&mut self, sound: &EncodedAudio, silence: Silence) -> Option<bool> {
        let is_silent = silence == Silence::LeftOut && sound.data.len() <= SILENCE_BYTES_MAX;
        if !is_silent {
            return Some(std::mem::replace(&mut self.pause, Pause::Over) != Pause::Over);
        }
        match self.pause {
            Pause::Since(samples) if samples + sound.samples < PAUSE_MAX => {
                self.pause = Pause::Since(samples + sound.samples);
                None
            }
            Pause::Since(_) | Pause::Over => {
                self.pause = Pause::Since(0);
                Some(false)
            }
        }
    }

    /// Copies of the packets that are so far back, the oldest first, as far as all between them were sent.
    fn copies(&self, timestamp: u32, samples: u32, payload_type: u8, copies: Copies) -> Vec<Copy> {
        let copy = |distance: &usize| {
            let sent = self.sent.get(distance - 1)?;
            let age = timestamp.wrapping_sub(sent.timestamp);
            let is_worth_it = age == *distance as u32 * samples && sent.data.len() > SILENCE_BYTES_MAX;
            is_worth_it.then(|| Copy { payload_type, age, data: sent.data.clone() })
        };
        copies.distances().iter().filter_map(copy).collect()
    }

    fn remember(&mut self, timestamp: u32, data: &Bytes) {
        self.sent.truncate(Copies::FARTHEST - 1);
        self.sent.push_front(SentSound { timestamp, data: data.clone() });
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
    use crate::send::media_sender::AudioStream;

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

    const STREAM: AudioStream = AudioStream { payload_type: 111, red: None, silence: Silence::Sent, ssrc: 9 };

    /// The packets of so many sounds of 20 ms with these data.
    fn packets_of(stream: AudioStream, copies: Copies, sounds: &[&'static [u8]]) -> Vec<Option<OutgoingPacket>> {
        let start = Start::new(Instant::now(), 0, 0);
        let mut packets = AudioPackets::new(start);
        let mut captured_at = start.at;
        let packet = |data: &&'static [u8]| {
            captured_at += Duration::from_millis(20);
            let sound = EncodedAudio { data: Bytes::from_static(data), samples: 960, captured_at };
            packets.of(OutgoingSound { sound, stream, copies })
        };
        sounds.iter().map(packet).collect()
    }

    #[test]
    fn copies_of_earlier_packets_are_sent_to_who_takes_them() {
        let sounds: [&[u8]; 6] = [b"aaa", b"bbb", b"ccc", b"ddd", b"eee", b"fff"];
        let plain = packets_of(STREAM, Copies::LastAndFourth, &sounds);
        assert!(plain.iter().flatten().all(|packet| packet.payload_type == 111 && packet.payload.len() == 3));
        let with = packets_of(AudioStream { red: Some(63), ..STREAM }, Copies::LastAndFourth, &sounds);
        let read = |packet: &OutgoingPacket| Red::read(&packet.payload).unwrap();
        let types: Vec<u8> = with.iter().flatten().map(|packet| packet.payload_type).collect();
        assert_eq!(types, [111, 63, 63, 63, 63, 63]);
        let last = read(with[5].as_ref().unwrap());
        let copies: Vec<_> = last.copies.iter().map(|copy| (copy.payload_type, copy.age, &copy.data[..])).collect();
        assert_eq!((copies, &last.data[..]), (vec![(111, 3840, &b"bbb"[..]), (111, 960, b"eee")], &b"fff"[..]));
        assert_eq!(read(with[1].as_ref().unwrap()).copies.len(), 1);
        let none = packets_of(AudioStream { red: Some(63), ..STREAM }, Copies::None, &sounds);
        assert!(none.iter().flatten().all(|packet| packet.payload_type == 111));
    }

    #[test]
    fn silence_is_left_out_but_for_a_packet_now_and_then_and_time_goes_on() {
        const VOICE: &[u8] = b"voice";
        let mut sounds = vec![VOICE; 2];
        sounds.extend([&b"s"[..]; 25]);
        sounds.extend([VOICE; 2]);
        let stream = AudioStream { silence: Silence::LeftOut, red: Some(63), ..STREAM };
        let packets = packets_of(stream, Copies::Last, &sounds);
        let sent: Vec<_> = packets.iter().flatten().map(|packet| (packet.timestamp / 960, packet.marker)).collect();
        assert_eq!(sent, [(0, false), (1, false), (2, false), (12, false), (22, false), (27, true), (28, false)]);
        let sequence: Vec<u16> = packets.iter().flatten().map(|packet| packet.sequence).collect();
        assert_eq!(sequence, [0, 1, 2, 3, 4, 5, 6]);
        // There is no copy of silence, nor of what was said before it.
        assert_eq!(packets[27].as_ref().unwrap().payload, VOICE);
        assert!(packets_of(STREAM, Copies::Last, &sounds).iter().all(Option::is_some), "who takes all gets all");
    }

    /// The time stamps of packets of 20 ms whose last samples were captured at these times.
    fn stamps(first: u32, captured_us: impl IntoIterator<Item = u64>) -> Vec<u32> {
        stamps_of(960, first, captured_us)
    }

    fn stamps_of(samples: u32, first: u32, captured_us: impl IntoIterator<Item = u64>) -> Vec<u32> {
        let start = Start::new(Instant::now(), first, 0xffff_fff0);
        let mut packets = AudioPackets::new(start);
        let packet = |us| {
            let captured_at = start.at + Duration::from_micros(us);
            let sound = EncodedAudio { data: Bytes::from_static(&[7]), samples, captured_at };
            packets.of(OutgoingSound { sound, stream: STREAM, copies: Copies::None }).unwrap()
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

//! Packets of the other side, once decrypted: into the jitter buffers, and what comes out of them. (Decoders have
//! fuzzers of their own.)

use std::time::{Duration, Instant};

use bytes::Bytes;
use media::frame::VideoCodec;
use media::quality::concealment::Origin;
use media::receive::audio_buffer::{AudioBuffer, NoDecoder, STEP};
use media::receive::video_jitter::{Output, VideoJitter};
use media::rtp::RtpPacket;
use media::rtp::payload::red::Red;
use media::rtp::payload::{Packetizer, assemble, begins_picture};

use super::reader::Reader;

/// Steps of the audio clock after which a stream that stopped is silent: 1000 packets of at most 120 ms are kept, and
/// 120 ms after the last one it counts as over.
const SILENT_AFTER: usize = 1_001 * 12 + 1;

pub(crate) fn run(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut world = World {
        video: VideoJitter::default(),
        audio: AudioBuffer::default(),
        now: Instant::now(),
        sequence: 65_000,
        timestamp: u32::MAX - 10_000,
        packets: 0,
        payload_bytes: 0,
    };
    let codec = if reader.flag() { VideoCodec::H264 } else { VideoCodec::Vp8 };
    while let Some(kind) = reader.next() {
        world.step(kind, codec, &mut reader);
    }
    world.let_time_pass();
    comes_back(data);
}

struct World {
    video: VideoJitter,
    audio: AudioBuffer,
    now: Instant,
    sequence: u16,
    timestamp: u32,
    packets: usize,
    payload_bytes: usize,
}

impl World {
    fn step(&mut self, kind: u8, codec: VideoCodec, reader: &mut Reader<'_>) {
        match kind % 8 {
            0 => {
                self.now += reader.time();
                self.drain();
            }
            1 => self.check_step(),
            2 => self.drain(),
            // The next packet, as it should be: of the same picture, or of the next.
            3 | 4 => {
                self.sequence = self.sequence.wrapping_add(1);
                if kind & 8 != 0 {
                    self.timestamp = self.timestamp.wrapping_add(3000);
                }
                self.arrive(kind, codec, reader);
            }
            // A packet from somewhere else, maybe of another codec.
            5 => {
                self.sequence = self.sequence.wrapping_add(u16::from_be_bytes([reader.byte(), reader.byte()]));
                self.arrive(kind, codec, reader);
            }
            6 => {
                let back = u16::from(reader.byte());
                self.sequence = self.sequence.wrapping_sub(back);
                self.arrive(kind, codec, reader);
                self.sequence = self.sequence.wrapping_add(back);
            }
            _ => {
                let other = match codec {
                    VideoCodec::H264 => VideoCodec::Vp8,
                    VideoCodec::Vp8 => VideoCodec::H264,
                };
                self.timestamp = u32::from_be_bytes([reader.byte(), reader.byte(), reader.byte(), reader.byte()]);
                self.sequence = self.sequence.wrapping_add(1);
                self.arrive(kind, other, reader);
            }
        }
    }

    fn arrive(&mut self, kind: u8, codec: VideoCodec, reader: &mut Reader<'_>) {
        let payload = Bytes::copy_from_slice(reader.bytes());
        self.packets += 1;
        self.payload_bytes += payload.len();
        let _either = begins_picture(codec, &payload);
        let packet = RtpPacket {
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: kind & 16 != 0,
            payload_type: 96,
            payload,
            arrived: self.now,
        };
        // With copies of earlier sound, or without.
        let red = (kind & 32 != 0).then_some(packet.payload_type);
        self.audio.insert_any(packet.clone(), red);
        self.video.insert(packet, codec);
        let counters = self.video.counters();
        assert!(
            counters.received + counters.duplicates + counters.late >= self.packets as u64,
            "a packet is not counted"
        );
    }

    /// Takes out all pictures there are: each costs a packet, so there is an end to it.
    fn drain(&mut self) {
        for _ in 0..=2 * self.packets {
            match self.video.poll(self.now) {
                Some(Output::Picture { data, arrived, .. }) => {
                    assert!(!data.is_empty() && arrived <= self.now);
                    // A start code of H.264 is at most four times as long as what it stands for.
                    assert!(data.len() <= 4 * self.payload_bytes, "{} bytes out of nothing", data.len());
                }
                Some(Output::KeyframeNeeded) => {}
                None => {
                    assert!(self.video.poll_timeout().is_none_or(|at| at > self.now), "a deadline is left behind");
                    return;
                }
            }
        }
        panic!("pictures without an end");
    }

    fn check_step(&mut self) {
        let step = self.audio.next(self.now, &mut NoDecoder);
        assert!(step.decoded.iter().all(|packet| packet.payload.len() <= self.payload_bytes));
        let target = self.audio.target();
        assert!(target <= Duration::from_millis(300), "{target:?}");
    }

    fn let_time_pass(&mut self) {
        self.now += Duration::from_secs(1);
        self.drain();
        let silent = (0..SILENT_AFTER).any(|_| {
            self.now += STEP;
            self.audio.next(self.now, &mut NoDecoder).origin == Origin::Silence
        });
        assert!(silent, "sound without an end");
    }
}

/// Whatever is cut into packets is put together again.
fn comes_back(data: &[u8]) {
    let picture = Bytes::copy_from_slice(data);
    let payloads = Packetizer::new(VideoCodec::Vp8).payloads(&picture);
    if let Some(first) = payloads.first() {
        assert!(begins_picture(VideoCodec::Vp8, first));
        assert_eq!(assemble(VideoCodec::Vp8, &payloads).map(|picture| picture.data), Some(picture.clone()));
    }
    if let Ok(red) = Red::read(&picture) {
        assert_eq!(Red::read(&red.write()), Ok(red));
    }
    let payloads = Packetizer::new(VideoCodec::H264).payloads(&picture);
    let _of_any_bytes = assemble(VideoCodec::H264, &payloads);
    for codec in [VideoCodec::H264, VideoCodec::Vp8] {
        let _of_any_bytes = assemble(codec, std::slice::from_ref(&picture));
    }
}

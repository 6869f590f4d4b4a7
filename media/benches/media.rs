//! What one picture or packet costs: codecs, the test pattern, the jitter buffers, the impaired link.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use media::capture::pattern::{self, Stamp};
use media::codec::opus::{OpusDecoder, OpusEncoder};
use media::codec::{EncoderConfig, Want, video_decoder, video_encoder};
use media::frame::{AUDIO_FRAME_SAMPLES, AudioFrame, Size, VideoCodec, VideoFrame};
use media::impair::{Impairment, Link};
use media::quality::PictureQuality;
use media::receive::audio_buffer::{AudioBuffer, NoDecoder, STEP};
use media::receive::video_jitter::VideoJitter;
use media::rtp::RtpPacket;
use media::rtp::payload::Packetizer;

const SIZE: Size = Size { width: 640, height: 480 };

fn pictures(count: u32) -> Vec<VideoFrame> {
    let picture = |counter| {
        let mut frame = VideoFrame::black(SIZE, Instant::now());
        pattern::draw(&mut frame, Stamp { counter, sent_ms: counter * 33 });
        frame
    };
    (0..count).map(picture).collect()
}

fn video(c: &mut Criterion) {
    let frames = pictures(30);
    for codec in [VideoCodec::H264, VideoCodec::Vp8] {
        let config = EncoderConfig { size: SIZE, fps: 30, bitrate_bps: 1_000_000 };
        let mut encoder = video_encoder(codec, config).unwrap();
        let mut next = frames.iter().cycle();
        c.bench_function(&format!("encode {codec} 640x480"), |b| {
            b.iter(|| encoder.encode(next.next().unwrap(), Want::Any).unwrap());
        });
        let mut encoder = video_encoder(codec, config).unwrap();
        let coded: Vec<_> = frames.iter().filter_map(|frame| encoder.encode(frame, Want::Any).unwrap()).collect();
        let mut decoder = video_decoder(codec).unwrap();
        let mut next = coded.iter().cycle();
        c.bench_function(&format!("decode {codec} 640x480"), |b| {
            b.iter(|| decoder.decode(&next.next().unwrap().data).unwrap());
        });
    }
    let mut frame = frames[0].clone();
    c.bench_function("draw the test pattern", |b| {
        b.iter(|| pattern::draw(&mut frame, Stamp { counter: 7, sent_ms: 7 }))
    });
    c.bench_function("read the test pattern", |b| b.iter(|| pattern::read(&frame).unwrap()));
}

/// What the judging of one picture costs, of which there are two a second: the original is drawn, then compared.
fn quality(c: &mut Criterion) {
    for size in [SIZE, Size { width: 1280, height: 720 }] {
        let stamp = Stamp { counter: 7, sent_ms: 7 };
        let mut received = VideoFrame::black(size, Instant::now());
        pattern::draw(&mut received, stamp);
        let mut quality = PictureQuality::default();
        c.bench_function(&format!("draw and compare a picture {size}"), |b| {
            b.iter(|| {
                let mut original = VideoFrame::black(size, Instant::now());
                pattern::draw(&mut original, stamp);
                quality.add(&original, &received);
            });
        });
    }
}

fn audio(c: &mut Criterion) {
    let samples = (0..AUDIO_FRAME_SAMPLES).map(|n| ((n as f64 * 0.05).sin() * 8000.0) as i16).collect();
    let frame = AudioFrame { samples, at: Instant::now() };
    let mut encoder = OpusEncoder::new(32_000).unwrap();
    c.bench_function("encode opus 20 ms", |b| b.iter(|| encoder.encode(&frame).unwrap()));
    let packet = encoder.encode(&frame).unwrap().data;
    let mut decoder = OpusDecoder::new().unwrap();
    c.bench_function("decode opus 20 ms", |b| b.iter(|| decoder.decode(&packet).unwrap()));
}

fn jitter(c: &mut Criterion) {
    let now = Instant::now();
    let mut packetizer = Packetizer::new(VideoCodec::Vp8);
    let picture: bytes::Bytes = std::iter::once(0x10).chain(std::iter::repeat_n(7, 4000)).collect();
    let (mut buffer, mut sequence, mut timestamp) = (VideoJitter::default(), 0u16, 0u32);
    c.bench_function("video jitter buffer, one picture of 4 packets", |b| {
        b.iter(|| {
            timestamp = timestamp.wrapping_add(3000);
            let payloads = packetizer.payloads(&picture);
            let last = payloads.len() - 1;
            for (index, payload) in payloads.into_iter().enumerate() {
                sequence = sequence.wrapping_add(1);
                let marker = index == last;
                let packet = RtpPacket { sequence, timestamp, marker, payload_type: 96, payload, arrived: now };
                buffer.insert(packet, VideoCodec::Vp8);
            }
            buffer.poll(now).unwrap()
        });
    });
    let (mut buffer, mut sequence, mut now) = (AudioBuffer::default(), 0u16, now);
    // CELT, one frame of 20 ms.
    let payload = bytes::Bytes::from_static(&[0xf8; 80]);
    c.bench_function("audio buffer, one packet of 20 ms", |b| {
        b.iter(|| {
            sequence = sequence.wrapping_add(1);
            let timestamp = u32::from(sequence).wrapping_mul(960);
            let packet = RtpPacket {
                sequence,
                timestamp,
                marker: false,
                payload_type: 111,
                payload: payload.clone(),
                arrived: now,
            };
            buffer.insert(packet);
            now += 2 * STEP;
            (buffer.next(now - STEP, &mut NoDecoder), buffer.next(now, &mut NoDecoder))
        });
    });
}

/// Packets a second that pass: one a millisecond goes in, and those of 50 ms are under way.
fn link(c: &mut Criterion) {
    let payload = bytes::Bytes::from_static(&[0; 1200]);
    let bad = "delay=50ms,jitter=5ms,loss=1%,burst=3,rate=100mbit,reorder=1%,duplicate=1%";
    let mut group = c.benchmark_group("link, one packet");
    group.throughput(Throughput::Elements(1));
    for (name, spec) in [("nothing wrong", "none"), ("everything wrong", bad)] {
        let mut link = Link::new(spec.parse::<Impairment>().unwrap());
        let mut now = Instant::now();
        group.bench_function(name, |b| {
            b.iter(|| {
                now += Duration::from_millis(1);
                link.push(payload.clone(), payload.len(), now);
                while link.poll(now).is_some() {}
            });
        });
    }
    group.finish();
}

criterion_group!(benches, video, quality, audio, jitter, link);
criterion_main!(benches);

//! The receiving side over a bad network, in virtual time: packets and repairs one way, NACKs and keyframe requests the
//! other. The pure parts are wired together as the engine and the decoder's thread do it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::keyframes::KeyframePacing;
use super::nack::{Nack, NackGenerator, RemoteStream};
use super::video_jitter::{Output, VideoJitter};
use crate::congestion::round_trip::SharedRoundTrip;
use crate::frame::VideoCodec;
use crate::impair::{Impairments, Link};
use crate::rtp::RtpPacket;
use crate::rtp::payload::Packetizer;
use crate::send::rtx_filter::RtxFilter;
use crate::stats::{Freezes, Latencies};

const MEDIA: u32 = 1;
const RTX: u32 = 2;

/// Between pictures.
const PICTURE_MS: u64 = 33;

/// Bytes of a picture: four packets, about a megabit a second; and of a keyframe, eighteen.
const PICTURE_BYTES: usize = 4_200;
const KEYFRAME_BYTES: usize = 20_000;

/// The sender answers keyframe requests at most so often.
const KEYFRAMES_APART_MS: u64 = 100;

/// Reports go out so often each way.
const REPORTS_APART_MS: u64 = 1000;

#[derive(Clone)]
enum ToReceiver {
    Media(RtpPacket),
    Rtx(RtpPacket),
    /// The answer to a report that left here then.
    Report(Instant),
}

#[derive(Clone)]
enum ToSender {
    Nack(Nack),
    Pli,
    Report(Instant),
}

/// What is to be sent.
struct Sender {
    packetizer: Packetizer,
    sequence: u16,
    sent: HashMap<u16, RtpPacket>,
    filter: RtxFilter,
    keyframe_wanted: bool,
    keyframe_at_ms: u64,
    keyframes: u32,
    repairs: u32,
    packets: u32,
}

impl Sender {
    fn picture(&mut self, at_ms: u64, now: Instant) -> Vec<RtpPacket> {
        let keyframe = self.keyframes == 0
            || std::mem::take(&mut self.keyframe_wanted) && at_ms >= self.keyframe_at_ms + KEYFRAMES_APART_MS;
        if keyframe {
            (self.keyframe_at_ms, self.keyframes) = (at_ms, self.keyframes + 1);
        }
        let (tag, bytes) = if keyframe { (0x10, KEYFRAME_BYTES) } else { (0x11, PICTURE_BYTES) };
        let picture: Bytes = std::iter::once(tag).chain(std::iter::repeat_n(7, bytes)).collect();
        let payloads = self.packetizer.payloads(&picture);
        let last = payloads.len() - 1;
        let packets = payloads.into_iter().enumerate().map(|(index, payload)| {
            self.sequence = self.sequence.wrapping_add(1);
            let (sequence, timestamp, marker) = (self.sequence, (at_ms * 90) as u32, index == last);
            let packet = RtpPacket { sequence, timestamp, marker, payload_type: 96, payload, arrived: now };
            self.sent.insert(sequence, packet.clone());
            self.filter.sent(MEDIA, timestamp);
            packet
        });
        let packets: Vec<_> = packets.collect();
        self.packets += packets.len() as u32;
        packets
    }

    /// Each NACK is answered, as by the engine.
    fn repairs(&mut self, nack: &Nack) -> Vec<RtpPacket> {
        let named = nack.sequence_numbers.iter().filter_map(|number| self.sent.get(number));
        let timely: Vec<_> = named.filter(|packet| self.filter.admits(RTX, packet.timestamp)).cloned().collect();
        self.repairs += timely.len() as u32;
        timely
    }
}

/// What came of a call.
#[derive(Debug)]
struct Seen {
    freezes: u32,
    pictures_a_second: f64,
    p50_ms: f64,
    p95_ms: f64,
    /// Keyframes beyond the first.
    keyframes: u32,
    /// Repairs sent for each packet of the media.
    repair_share: f64,
    /// The longest delay in the last two seconds, without the way.
    last_ms: u64,
}

/// A call over this line, each way the same; with `clean_from_ms` the losses end then.
fn call(line: &str, seconds: u64, seed: u64, clean_from_ms: Option<u64>) -> Seen {
    let spec = |direction: u64| format!("{line},seed={}", seed * 2 + direction).parse::<Impairments>().unwrap().up;
    let start = Instant::now();
    let delay = spec(0).delay;
    let (mut there, mut back) = (Link::<ToReceiver>::new(spec(0)), Link::<ToSender>::new(spec(1)));
    let (receiving, sending) = (SharedRoundTrip::default(), SharedRoundTrip::default());
    // STUN has measured it before media flows.
    receiving.guessed(delay * 2, start);
    sending.guessed(delay * 2, start);
    let mut filter = RtxFilter::new(sending);
    filter.bind(MEDIA, 90_000, Some(RTX));
    let mut sender = Sender {
        packetizer: Packetizer::new(VideoCodec::Vp8),
        sequence: 65_000,
        sent: HashMap::new(),
        filter,
        keyframe_wanted: true,
        keyframe_at_ms: 0,
        keyframes: 0,
        repairs: 0,
        packets: 0,
    };
    let mut nacks = NackGenerator::new(receiving.clone());
    nacks.bind(RemoteStream { ssrc: MEDIA, rtx: Some(RTX), takes_nack: true });
    let (mut jitter, mut pacing) = (VideoJitter::default(), KeyframePacing::default());
    let (mut freezes, mut latencies, mut pictures, mut last_ms) = (Freezes::default(), Latencies::default(), 0_u64, 0);
    for at_ms in 0..seconds * 1000 {
        let now = start + Duration::from_millis(at_ms);
        if clean_from_ms == Some(at_ms) {
            let clean = format!("delay={}ms", delay.as_millis()).parse::<Impairments>().unwrap().up;
            there.set(clean, now);
            back.set(clean, now);
        }
        if at_ms % PICTURE_MS == 0 {
            for packet in sender.picture(at_ms, now) {
                let bytes = packet.payload.len();
                there.push(ToReceiver::Media(packet), bytes, now);
            }
        }
        if at_ms % REPORTS_APART_MS == 700 {
            back.push(ToSender::Report(now), 60, now);
        }
        while let Some(packet) = back.poll(now) {
            match packet {
                ToSender::Pli => sender.keyframe_wanted = true,
                ToSender::Report(sent) => there.push(ToReceiver::Report(sent), 60, now),
                ToSender::Nack(nack) => {
                    for packet in sender.repairs(&nack) {
                        let bytes = packet.payload.len();
                        there.push(ToReceiver::Rtx(packet), bytes, now);
                    }
                }
            }
        }
        while let Some(packet) = there.poll(now) {
            match packet {
                ToReceiver::Report(sent) => receiving.measured(now - sent, now),
                ToReceiver::Media(packet) => {
                    nacks.came(MEDIA, packet.sequence, &packet.payload, now);
                    jitter.insert(RtpPacket { arrived: now, ..packet }, VideoCodec::Vp8);
                }
                ToReceiver::Rtx(packet) => {
                    nacks.came(RTX, 0, &packet.sequence.to_be_bytes(), now);
                    jitter.insert(RtpPacket { arrived: now, ..packet }, VideoCodec::Vp8);
                }
            }
        }
        for nack in nacks.take_due(now) {
            back.push(ToSender::Nack(nack), 60, now);
        }
        jitter.set_round_trip(receiving.get());
        while let Some(output) = jitter.poll(now) {
            match output {
                Output::KeyframeNeeded if pacing.ask(now, receiving.get()) => back.push(ToSender::Pli, 60, now),
                Output::KeyframeNeeded => {}
                Output::Picture { timestamp, keyframe, .. } => {
                    if keyframe {
                        pacing.came(now);
                    }
                    let latency_ms = at_ms - u64::from(timestamp) / 90;
                    freezes.shown(now);
                    latencies.add(latency_ms as f64);
                    pictures += 1;
                    if at_ms >= (seconds - 2) * 1000 {
                        last_ms = last_ms.max(latency_ms - delay.as_millis() as u64);
                    }
                }
            }
        }
    }
    Seen {
        freezes: freezes.count,
        pictures_a_second: pictures as f64 / seconds as f64,
        p50_ms: latencies.percentile(50.0).unwrap(),
        p95_ms: latencies.percentile(95.0).unwrap(),
        keyframes: sender.keyframes - 1,
        repair_share: f64::from(sender.repairs) / f64::from(sender.packets),
        last_ms,
    }
}

/// What is demanded of a kind of line, each over this many seeds.
struct Mark {
    line: &'static str,
    seconds: u64,
    /// Freezes in all the calls together, and in one.
    freezes_in_all: u32,
    freezes: u32,
    pictures_a_second: f64,
    p50_ms: f64,
    p95_ms: f64,
    repair_share: f64,
}

const SEEDS: u64 = 10;

#[test]
fn lines_that_lose_packets_show_pictures_evenly_and_soon() {
    let mark = |line, seconds, (freezes_in_all, freezes), pictures_a_second, (p50_ms, p95_ms), repair_share| Mark {
        line,
        seconds,
        freezes_in_all,
        freezes,
        pictures_a_second,
        p50_ms,
        p95_ms,
        repair_share,
    };
    let marks = [
        mark("delay=1ms", 18, (0, 0), 30.0, (1.5, 1.5), 0.0),
        mark("delay=1ms,jitter=20ms", 18, (0, 0), 30.0, (19.0, 22.0), 0.0),
        mark("delay=150ms", 30, (0, 0), 29.5, (151.0, 410.0), 0.0),
        mark("delay=1ms,loss=2%", 18, (0, 0), 29.5, (1.5, 20.0), 0.03),
        mark("delay=1ms,loss=10%", 18, (0, 0), 29.5, (10.0, 50.0), 0.13),
        mark("delay=1ms,loss=20%", 18, (2, 1), 29.5, (60.0, 100.0), 0.30),
        mark("delay=1ms,loss=30%", 18, (10, 3), 29.0, (120.0, 180.0), 0.55),
        // Bursts are counted in packets: one may take all of the few NACKs and requests that go back.
        mark("delay=1ms,loss=5%,burst=4", 18, (5, 1), 28.0, (40.0, 120.0), 0.10),
        mark("delay=20ms,jitter=10ms,loss=10%", 18, (25, 4), 29.0, (230.0, 270.0), 0.13),
        mark("delay=50ms,loss=2%", 60, (2, 1), 29.5, (150.0, 230.0), 0.07),
        mark("delay=150ms,loss=2%", 60, (3, 1), 29.5, (460.0, 640.0), 0.07),
        mark("delay=150ms,jitter=20ms,loss=2%", 60, (3, 1), 29.5, (480.0, 640.0), 0.07),
    ];
    for mark in &marks {
        let seen: Vec<Seen> = (0..SEEDS).map(|seed| call(mark.line, mark.seconds, seed, None)).collect();
        let told = seen.iter().enumerate().map(|(seed, seen)| format!("seed {seed}: {seen:?}\n")).collect::<String>();
        let each = |holds: &dyn Fn(&Seen) -> bool, what: &str| {
            assert!(seen.iter().all(holds), "{}: {what}\n{told}", mark.line);
        };
        each(&|seen| seen.freezes <= mark.freezes, "freezes");
        each(&|seen| seen.pictures_a_second >= mark.pictures_a_second, "pictures a second");
        each(&|seen| seen.p50_ms <= mark.p50_ms && seen.p95_ms <= mark.p95_ms, "latency");
        each(&|seen| seen.repair_share <= mark.repair_share, "repairs");
        let freezes: u32 = seen.iter().map(|seen| seen.freezes).sum();
        assert!(freezes <= mark.freezes_in_all, "{}: {freezes} freezes in all\n{told}", mark.line);
    }
}

#[test]
fn keyframes_are_asked_for_only_when_repair_cannot_help() {
    for line in ["delay=1ms,loss=10%", "delay=1ms,loss=20%", "delay=50ms,loss=2%", "delay=150ms,loss=2%"] {
        let keyframes: u32 = (0..SEEDS).map(|seed| call(line, 18, seed, None).keyframes).sum();
        assert!(keyframes <= 4, "{line}: {keyframes} in {SEEDS} calls");
    }
}

#[test]
fn a_delay_shrinks_within_seconds_once_the_line_is_clean() {
    for line in ["delay=1ms,loss=30%", "delay=50ms,loss=10%", "delay=150ms,loss=2%"] {
        for seed in 0..SEEDS {
            let seen = call(line, 22, seed, Some(10_000));
            assert_eq!(seen.last_ms, 0, "{line}, seed {seed}: {seen:?}");
        }
    }
}

//! The whole buffer with real sound in virtual time: the Opus codec, and a tone whose pitch can be measured.

use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opus::{Application, Bitrate, Channels, Encoder, Signal};

use super::opus_packet::OpusPacket;
use super::{AudioBuffer, Decoder, STEP};
use crate::codec::CodecError;
use crate::codec::checks::noise;
use crate::codec::opus::OpusDecoder;
use crate::quality::concealment::Origin;
use crate::rtp::RtpPacket;
use crate::rtp::payload::red::{Copy, Red};

const RATE: f64 = 48_000.0;

/// Sound through a network in which only what the test does goes wrong.
struct Line {
    buffer: AudioBuffer,
    epoch: Instant,
    steps: u32,
    heard: Vec<i16>,
    origins: Vec<Origin>,
}

impl Line {
    fn new() -> Self {
        let epoch = Instant::now();
        Self { buffer: AudioBuffer::default(), epoch, steps: 0, heard: Vec::new(), origins: Vec::new() }
    }

    /// Plays until `ms`.
    fn play(&mut self, ms: f64, decoder: &mut impl Decoder) {
        while STEP * self.steps <= Duration::from_secs_f64(ms / 1000.0) {
            let step = self.buffer.next(self.epoch + STEP * self.steps, decoder);
            self.heard.extend(step.samples);
            self.origins.push(step.origin);
            self.steps += 1;
        }
    }

    fn packet(&self, ms: f64, sequence: u16, timestamp: u32, payload: Bytes) -> RtpPacket {
        let arrived = self.epoch + Duration::from_secs_f64(ms / 1000.0);
        RtpPacket { sequence, timestamp, marker: false, payload_type: 111, payload, arrived }
    }
}

/// Much like a voice: harmonics of a pitch that glides, in syllables.
fn voice(from: usize, samples: usize) -> Vec<i16> {
    let sample = |n: usize| {
        let seconds = n as f64 / RATE;
        let phase = TAU * 150.0 * seconds + 15.0 * (TAU * 0.7 * seconds).sin();
        let loudness = 3_500.0 - 1_500.0 * (TAU * 4.0 * seconds).cos();
        let harmonic = |number: i32| (phase * f64::from(number)).sin() / f64::from(number);
        (loudness * (1..16).map(harmonic).sum::<f64>()) as i16
    };
    (from..from + samples).map(sample).collect()
}

fn encoder(expected_loss: i32) -> Encoder {
    let mut encoder = Encoder::new(48_000, Channels::Mono, Application::Voip).unwrap();
    encoder.set_bitrate(Bitrate::Bits(32_000)).unwrap();
    encoder.set_signal(Signal::Voice).unwrap();
    encoder.set_inband_fec(true).unwrap();
    encoder.set_packet_loss_perc(expected_loss).unwrap();
    encoder
}

fn level(sound: &[i16]) -> f64 {
    (sound.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / sound.len() as f64).sqrt()
}

#[test]
fn packets_of_every_length_are_played_and_nothing_is_made_up() {
    for frame in [120, 240, 480, 960, 1_920, 2_880, 5_760] {
        let (mut encoder, mut decoder, mut line) = (encoder(0), OpusDecoder::new().unwrap(), Line::new());
        let frame_ms = frame as f64 / 48.0;
        let count = (4_000.0 / frame_ms) as usize;
        for n in 0..count {
            let data = encoder.encode_vec(&voice(n * frame, frame), 4_000).unwrap();
            // Scheduling lets each be up to 3 ms late.
            let ms = (n + 1) as f64 * frame_ms + (n * 7 % 4) as f64;
            line.play(ms, &mut decoder);
            line.buffer.insert(line.packet(ms, n as u16, (n * frame) as u32, data.into()));
        }
        let (counters, steps) = (line.buffer.counters(), line.buffer.steps());
        assert_eq!((counters.received, counters.lost, counters.late), (count as u64, 0, 0), "{frame_ms} ms");
        assert_eq!((steps.concealed, counters.skipped, counters.holes), (0, 0, 0), "{frame_ms} ms");
        let delay = line.buffer.delay();
        assert!(delay <= Duration::from_millis(28), "{frame_ms} ms: {delay:?}");
        assert!(line.heard[48_000..].chunks(960).all(|part| level(part) > 500.0), "{frame_ms} ms: a hole");
    }
}

#[test]
fn lost_packets_are_recovered_from_the_next_and_the_delay_comes_back() {
    let (mut encoder, mut decoder, mut line) = (encoder(20), OpusDecoder::new().unwrap(), Line::new());
    let (mut lost, mut copied, mut was_lost) = (0, 0, false);
    for n in 0..600_usize {
        let data = encoder.encode_vec(&voice(n * 960, 960), 4_000).unwrap();
        let ms = (n + 1) as f64 * 20.0;
        line.play(ms, &mut decoder);
        // 1 in 17 until 7 s.
        if n % 17 == 9 && n < 350 {
            lost += 1;
            was_lost = true;
            continue;
        }
        copied += u64::from(std::mem::take(&mut was_lost) && OpusPacket::read(&data).unwrap().has_copy);
        line.buffer.insert(line.packet(ms, n as u16, (n * 960) as u32, data.into()));
        if n == 349 {
            let delay = line.buffer.delay();
            assert!((Duration::from_millis(28)..Duration::from_millis(48)).contains(&delay), "{delay:?}");
        }
    }
    let counters = line.buffer.counters();
    assert!(copied > 5 && counters.lost == lost && counters.recovered >= copied - 2, "{copied} {counters:?}");
    assert_eq!((line.buffer.steps().concealed, counters.holes, counters.skipped), (lost, 0, 0));
    assert!(line.buffer.delay() <= Duration::from_millis(28), "{:?}", line.buffer.delay());
    assert!(line.heard[48_000..].chunks(960).all(|part| level(part) > 500.0), "a hole");
}

#[test]
fn a_redundant_copy_is_played_where_the_packet_is_lost() {
    let (mut encoder, mut decoder, mut line) = (encoder(0), OpusDecoder::new().unwrap(), Line::new());
    let mut before = None;
    for n in 0..500_usize {
        let payload = Bytes::from(encoder.encode_vec(&voice(n * 960, 960), 4_000).unwrap());
        let ms = (n + 1) as f64 * 20.0;
        line.play(ms, &mut decoder);
        if n % 17 != 9 {
            line.buffer.insert(line.packet(ms, n as u16, (n * 960) as u32, payload.clone()));
            if let Some(payload) = before.take() {
                line.buffer.insert_redundant(line.packet(ms, n as u16 - 1, ((n - 1) * 960) as u32, payload));
            }
        }
        before = Some(payload);
    }
    let counters = line.buffer.counters();
    assert!(counters.lost == 29 && counters.recovered >= 27, "{counters:?}");
    // The first ones come before it is known that copies are worth waiting for.
    assert!(line.buffer.steps().concealed <= 4 && counters.duplicates == 0, "{:?} {counters:?}", line.buffer.steps());
}

/// Sends every packet with these copies; the network loses those that `is_lost` says.
fn with_copies(copies: &[usize], is_lost: impl Fn(usize) -> bool) -> Line {
    let (mut encoder, mut decoder, mut line) = (encoder(0), OpusDecoder::new().unwrap(), Line::new());
    let mut sent: Vec<Bytes> = Vec::new();
    for n in 0..1_500_usize {
        let data = Bytes::from(encoder.encode_vec(&voice(n * 960, 960), 4_000).unwrap());
        let copy = |distance: &usize| {
            let data = sent.get(n.checked_sub(*distance)?)?.clone();
            Some(Copy { payload_type: 111, age: 960 * *distance as u32, data })
        };
        let red = Red { copies: copies.iter().filter_map(copy).collect(), payload_type: 111, data: data.clone() };
        let ms = (n + 1) as f64 * 20.0;
        line.play(ms, &mut decoder);
        if !is_lost(n) {
            let packet = line.packet(ms, n as u16, (n * 960) as u32, red.write());
            line.buffer.insert_any(RtpPacket { payload_type: 63, ..packet }, Some(63));
        }
        sent.push(data);
    }
    line
}

#[test]
fn bursts_are_filled_by_copies_from_far_enough_back() {
    // Four in a row once a second, after a start without loss.
    let line = with_copies(&[4, 1], |n| n >= 100 && n % 50 < 4);
    let counters = line.buffer.counters();
    assert_eq!(counters.lost, 28 * 4);
    // All but those of the first two bursts: then it is known that copies are worth waiting for.
    assert!(counters.recovered >= 26 * 4 && counters.skipped == 0, "{counters:?}");
    assert!((80..110).contains(&line.buffer.delay().as_millis()), "{:?}", line.buffer.delay());
    assert!(line.heard[48_000 * 6..].chunks(960).all(|part| level(part) > 500.0), "a hole");
}

#[test]
fn copies_that_nobody_needs_cost_no_delay() {
    let line = with_copies(&[4, 1], |_| false);
    let counters = line.buffer.counters();
    assert_eq!((counters.lost, counters.duplicates, counters.recovered), (0, 0, 0));
    assert!(line.buffer.delay() <= Duration::from_millis(28), "{:?}", line.buffer.delay());
    // A burst now and then is not worth 80 ms.
    let line = with_copies(&[4, 1], |n| n % 700 == 600 || n % 700 == 601);
    assert!(line.buffer.delay() <= Duration::from_millis(48), "{:?}", line.buffer.delay());
}

#[test]
fn packets_of_copies_that_are_none_are_no_panic() {
    let (mut decoder, mut line) = (OpusDecoder::new().unwrap(), Line::new());
    let mut random = noise(0x00AB_CDEF);
    for n in 0..20_000_u32 {
        let ms = f64::from(n) * 5.0;
        let length = random() % 60;
        let payload: Bytes =
            (0..length).map(|_| random().to_le_bytes()[0] | (random().to_le_bytes()[1] & 0x80)).collect();
        let packet = line.packet(ms, n as u16, n * 240, payload);
        line.buffer.insert_any(RtpPacket { payload_type: 63, ..packet }, Some(63));
        line.play(ms, &mut decoder);
    }
    assert!(line.buffer.counters().unreadable > 1_000 && line.buffer.waiting() < 1_000);
}

#[test]
fn a_sender_that_sends_nothing_in_silence_is_no_loss() {
    let (mut encoder, mut decoder, mut line) = (encoder(0), OpusDecoder::new().unwrap(), Line::new());
    encoder.set_dtx(true).unwrap();
    let (mut sequence, mut is_silent, mut left_out) = (0, false, 0);
    for n in 0..1_000_usize {
        // Two seconds of voice, two of silence.
        let sound = if n / 100 % 2 == 0 { voice(n * 960, 960) } else { vec![0; 960] };
        let data = encoder.encode_vec(&sound, 4_000).unwrap();
        let ms = (n + 1) as f64 * 20.0;
        line.play(ms, &mut decoder);
        // As WebRTC does: of packets of silence the first one is sent.
        let was_silent = std::mem::replace(&mut is_silent, data.len() <= 2);
        if is_silent && was_silent {
            left_out += 1;
            continue;
        }
        line.buffer.insert(line.packet(ms, sequence, (n * 960) as u32, data.into()));
        sequence += 1;
    }
    let (counters, steps) = (line.buffer.counters(), line.buffer.steps());
    assert!(left_out > 200, "{left_out}");
    assert_eq!((steps.concealed, counters.lost, counters.skipped, counters.holes), (0, 0, 0, 0), "{counters:?}");
    assert!(!line.origins.contains(&Origin::Concealment));
    assert!(line.buffer.delay() <= Duration::from_millis(28), "{:?}", line.buffer.delay());
}

#[test]
fn a_sender_that_is_silent_without_a_word_is_no_loss_either() {
    let (mut encoder, mut decoder, mut line) = (encoder(0), OpusDecoder::new().unwrap(), Line::new());
    for (sequence, n) in (0..).zip((0..1_000_usize).filter(|n| n % 100 < 50)) {
        let data = encoder.encode_vec(&voice(n * 960, 960), 4_000).unwrap();
        let ms = (n + 1) as f64 * 20.0;
        line.play(ms, &mut decoder);
        line.buffer.insert(line.packet(ms, sequence, (n * 960) as u32, data.into()));
    }
    let (counters, steps) = (line.buffer.counters(), line.buffer.steps());
    assert_eq!((steps.concealed, counters.lost, counters.skipped, counters.holes), (0, 0, 0, 0), "{counters:?}");
}

/// Yields a tone that goes on from packet to packet; its RTP time is in the packet.
struct Tone {
    hz: f64,
    samples: usize,
}

impl Decoder for Tone {
    fn decode(&mut self, packet: &[u8], out: &mut Vec<i16>) -> Result<(), CodecError> {
        let start = u32::from_be_bytes(packet[2..6].try_into().unwrap());
        let sample = |n: u32| (8192.0 * (TAU * self.hz * f64::from(n) / RATE).sin()).round() as i16;
        out.extend((start..).take(self.samples).map(sample));
        Ok(())
    }

    fn recover(&mut self, _next_packet: &[u8], _samples: usize, _out: &mut Vec<i16>) -> Result<(), CodecError> {
        panic!("nothing is lost");
    }

    fn conceal(&mut self, _samples: usize, _out: &mut Vec<i16>) -> Result<(), CodecError> {
        panic!("nothing is missing");
    }
}

#[test]
fn a_clock_that_is_off_is_followed_without_a_hole_and_the_pitch_stays() {
    for (ppm, hz) in [(1_000.0, 440.0), (-1_000.0, 440.0), (1_000.0, 211.3), (-1_000.0, 1_234.5)] {
        let (mut line, mut decoder) = (Line::new(), Tone { hz, samples: 960 });
        // Three minutes.
        for n in 0..9_000_u32 {
            let ms = f64::from(n + 1) * 20.0 * (1.0 + ppm / 1e6) + f64::from(n * 7 % 4);
            line.play(ms, &mut decoder);
            let payload = [&[31 << 3 | 3, 1][..], &(n * 960).to_be_bytes()].concat();
            line.buffer.insert(line.packet(ms, n as u16, n * 960, payload.into()));
        }
        let counters = line.buffer.counters();
        assert_eq!((counters.lost, counters.late, counters.skipped, counters.holes), (0, 0, 0, 0), "{counters:?}");
        // 180 ms of 1000 ppm.
        let changed = counters.stretched.abs_diff(counters.shrunk) / 48;
        assert!((150..210).contains(&changed), "{ppm} ppm: {changed} ms {counters:?}");
        assert!(line.buffer.delay() <= Duration::from_millis(32), "{:?}", line.buffer.delay());
        let heard = &line.heard[4_800..];
        let slope = 8192.0 * TAU * hz / RATE * 1.5 + 3.0;
        let jump = heard.windows(2).map(|two| (f64::from(two[1]) - f64::from(two[0])).abs()).fold(0.0, f64::max);
        assert!(jump < slope, "{hz} Hz: a jump of {jump}");
        let rises = heard.windows(2).filter(|two| two[0] < 0 && two[1] >= 0).count();
        let pitch = rises as f64 * RATE / heard.len() as f64;
        assert!((pitch / hz - 1.0).abs() < 0.001, "{hz} Hz: {pitch}");
    }
}

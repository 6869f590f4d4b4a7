//! Speech over a lossy line in virtual time, through the encoder, the packets and the audio buffer of calls:
//! `./dev bench copies` starts it, and judges what was heard. See docs/TESTING.md.
//!
//! `sound IN OUT KBIT COPIES LOSS BURST SEED`: raw 48 kHz mono, 16 bits, twice; bitrate of Opus; how many packets back copies
//! lie, as `4,1`, or `-`; loss in percent, in bursts of so many packets; seed of the losses. The sound is sent three times:
//! what is written is the third, when the buffer knows the line. Prints kbit/s with headers, percent lost, and the buffer's
//! delay in milliseconds.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and may fail loudly")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use media::codec::opus::{OpusDecoder, OpusEncoder};
use media::frame::{AUDIO_FRAME_SAMPLES, AudioFrame};
use media::receive::audio_buffer::{AudioBuffer, STEP};
use media::rtp::RtpPacket;
use media::rtp::payload::red::{Copy, Red};

const OPUS: u8 = 111;
const RED: u8 = 63;

/// RTP header, extension and authentication tag.
const HEADER_BYTES: usize = 30;

const PACKET: Duration = Duration::from_millis(20);

/// Scheduling lets packets be up to so much late.
const JITTER_MS: f64 = 3.0;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, kbit, copies, loss, burst, seed] = &arguments[..] else {
        panic!("usage: sound IN OUT KBIT COPIES LOSS BURST SEED");
    };
    let once: Vec<i16> =
        std::fs::read(input).unwrap().chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
    let copies: Vec<usize> = copies.split(',').filter_map(|distance| distance.parse().ok()).collect();
    let (share, burst): (f64, u32) = (loss.parse::<f64>().unwrap() / 100.0, burst.parse().unwrap());
    let mut line = Line::new(share, burst, seed.parse().unwrap());

    let mut encoder = OpusEncoder::new(kbit.parse::<u32>().unwrap() * 1_000).unwrap();
    // As calls do: a whole copy of the last packet makes a coarse one needless.
    let expected = if copies.contains(&1) { 0.0 } else { share * 100.0 };
    encoder.set_expected_loss(expected as u8).unwrap();
    let (mut decoder, mut buffer, epoch) = (OpusDecoder::new().unwrap(), AudioBuffer::default(), Instant::now());
    let (mut sent, mut heard, mut bytes, mut delay) = (Vec::<Bytes>::new(), Vec::new(), 0, Duration::ZERO);
    let (mut steps, samples) = (0, once.len());
    for (n, sound) in once.repeat(3).chunks_exact(AUDIO_FRAME_SAMPLES).enumerate() {
        let frame = AudioFrame { samples: sound.to_vec(), at: epoch };
        let data = encoder.encode(&frame).unwrap().data;
        let payload = with_copies(&data, &sent, &copies);
        sent.push(data);
        bytes += payload.len() + HEADER_BYTES;
        let arrived = epoch + PACKET * (n as u32 + 1) + Duration::from_secs_f64(line.random() * JITTER_MS / 1000.0);
        while epoch + STEP * steps <= arrived {
            heard.extend(buffer.next(epoch + STEP * steps, &mut decoder).samples);
            delay += buffer.delay();
            steps += 1;
        }
        let (sequence, timestamp) = (n as u16, (n * AUDIO_FRAME_SAMPLES) as u32);
        let payload_type = if copies.is_empty() { OPUS } else { RED };
        let packet = RtpPacket { sequence, timestamp, marker: false, payload_type, payload, arrived };
        if !line.loses() {
            buffer.insert_any(packet, Some(RED));
        }
    }
    let third: Vec<u8> = heard.iter().skip(2 * samples).flat_map(|sample| sample.to_le_bytes()).collect();
    std::fs::write(output, third).unwrap();
    let kbit = bytes as f64 * 8.0 / (sent.len() as f64 * PACKET.as_secs_f64()) / 1000.0;
    let lost = f64::from(line.lost) * 100.0 / sent.len() as f64;
    println!("{kbit:.1} {lost:.1} {:.0}", delay.as_secs_f64() * 1000.0 / f64::from(steps));
}

/// The payload of a packet with this sound, and copies of packets sent before.
fn with_copies(data: &Bytes, sent: &[Bytes], copies: &[usize]) -> Bytes {
    if copies.is_empty() {
        return data.clone();
    }
    let copy = |&distance: &usize| {
        let age = (distance * AUDIO_FRAME_SAMPLES) as u32;
        let data = sent.get(sent.len().checked_sub(distance)?)?.clone();
        Some(Copy { payload_type: OPUS, age, data })
    };
    Red { copies: copies.iter().filter_map(copy).collect(), payload_type: OPUS, data: data.clone() }.write()
}

/// A line that loses packets, alone or in bursts.
struct Line {
    state: u32,
    /// How likely a burst begins with a packet.
    begins: f64,
    burst: u32,
    /// Packets that the burst under way still takes.
    left: u32,
    lost: u32,
}

impl Line {
    fn new(share: f64, burst: u32, seed: u32) -> Self {
        // Between two bursts there are so many packets on average that the share comes out.
        let begins = share / (f64::from(burst) * (1.0 - share) + share);
        Self { state: seed.wrapping_mul(2_654_435_761) | 1, begins, burst, left: 0, lost: 0 }
    }

    /// From 0 to 1 (xorshift).
    fn random(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        f64::from(self.state) / f64::from(u32::MAX)
    }

    fn loses(&mut self) -> bool {
        let begins = self.random() < self.begins;
        if self.left == 0 && begins {
            self.left = self.burst;
        }
        let is_lost = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.lost += u32::from(is_lost);
        is_lost
    }
}

//! Our payload formats beside the engine's: both cut and put together alike, whatever comes.

use bytes::Bytes;
use rtc::rtp::codec::h264::{H264Packet, H264Payloader};
use rtc::rtp::codec::vp8::{Vp8Packet, Vp8Payloader};
use rtc::rtp::packetizer::{Depacketizer, Payloader};

use crate::frame::VideoCodec;
use crate::rtp::payload::{Packetizer, assemble};

/// Bytes from a fixed start (Numerical Recipes' generator), small ones often: they are start codes and headers.
struct Random(u32);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % limit
    }

    fn bytes(&mut self, length: usize) -> Bytes {
        let byte = |random: &mut Self| match random.below(4) {
            0 => 0,
            1 => random.below(3) as u8,
            2 => [5, 7, 8, 9, 12, 24, 28, 0x65, 0x67, 0x68, 0x78, 0x7c, 0x80, 0x90][random.below(14)],
            _ => random.below(256) as u8,
        };
        (0..length).map(|_| byte(self)).collect()
    }
}

#[test]
fn pictures_are_cut_as_the_engine_cuts_them() {
    let mut random = Random(7);
    let mut vp8 = Vp8Payloader::default();
    vp8.enable_picture_id = true;
    let mut formats: [(VideoCodec, Box<dyn Payloader>); 2] =
        [(VideoCodec::Vp8, Box::new(vp8)), (VideoCodec::H264, Box::new(H264Payloader::default()))];
    for (codec, engine) in &mut formats {
        let mut ours = Packetizer::new(*codec);
        // More pictures than a picture ID has numbers.
        for _ in 0..33_000 {
            let length = random.below(90);
            let (picture, bytes_max) = (random.bytes(length), random.below(40));
            let expected = engine.payload(bytes_max, &picture).unwrap_or_default();
            assert_eq!(ours.payloads_within(bytes_max, &picture), expected, "{codec:?} {bytes_max} {picture:?}");
        }
    }
}

#[test]
fn payloads_are_put_together_as_the_engine_does() {
    let mut random = Random(11);
    for _ in 0..100_000 {
        let count = random.below(4);
        let payloads: Vec<Bytes> = (0..count)
            .map(|_| {
                let length = random.below(9);
                random.bytes(length)
            })
            .collect();
        let vp8: Option<Vec<u8>> = payloads.iter().try_fold(Vec::new(), |mut data, payload| {
            data.extend_from_slice(&Vp8Packet::default().depacketize(payload).ok()?);
            Some(data)
        });
        let ours = assemble(VideoCodec::Vp8, &payloads).map(|picture| picture.data.to_vec());
        assert_eq!(ours, vp8.filter(|data| !data.is_empty()), "{payloads:?}");

        // The engine reads beyond an aggregation packet that does not end with its last unit, and takes empty ones.
        if payloads.iter().any(|payload| payload.first().is_some_and(|first| first & 0x1f == 24)) {
            continue;
        }
        let mut engine = H264Packet::default();
        let h264: Option<Vec<u8>> = payloads.iter().try_fold(Vec::new(), |mut data, payload| {
            data.extend_from_slice(&engine.depacketize(payload).ok()?);
            Some(data)
        });
        let ours = assemble(VideoCodec::H264, &payloads).map(|picture| picture.data.to_vec());
        assert_eq!(ours, h264.filter(|data| !data.is_empty()), "{payloads:?}");
    }
}

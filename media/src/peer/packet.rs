//! Between coded pictures and RTP payloads: H.264 (RFC 6184), VP8 (RFC 7741).

use bytes::Bytes;
use rtc::rtp::codec::h264::{H264Packet, H264Payloader};
use rtc::rtp::codec::vp8::{Vp8Packet, Vp8Payloader};
use rtc::rtp::packetizer::{Depacketizer as _, Payloader};

use crate::frame::VideoCodec;

/// NAL unit types (ITU-T H.264 table 7-1, RFC 6184 §5.2).
mod nal {
    pub(super) const IDR: u8 = 5;
    pub(super) const SPS: u8 = 7;
    pub(super) const STAP_A: u8 = 24;
    pub(super) const FU_A: u8 = 28;
}

/// Payload bytes a packet: 1200 leave room for RTP, SRTP, TURN and IPv6 headers within the 1280 bytes that every
/// path of IPv6 carries (RFC 8200 §5).
pub(super) const PAYLOAD_BYTES_MAX: usize = 1160;

/// Cuts coded pictures into payloads.
#[derive(Debug)]
pub struct Packetizer(Box<dyn Payloader>);

impl Packetizer {
    /// A packetizer for one stream.
    #[must_use]
    pub fn new(codec: VideoCodec) -> Self {
        match codec {
            VideoCodec::H264 => Self(Box::new(H264Payloader::default())),
            VideoCodec::Vp8 => {
                let mut payloader = Vp8Payloader::default();
                payloader.enable_picture_id = true;
                Self(Box::new(payloader))
            }
        }
    }

    /// The payloads of one coded picture, in order, for the usual path. Empty when the picture cannot be cut, which no
    /// encoder of ours gives reason for.
    pub fn payloads(&mut self, picture: &Bytes) -> Vec<Bytes> {
        self.payloads_within(PAYLOAD_BYTES_MAX, picture)
    }

    /// The same, of at most `bytes_max` each.
    pub fn payloads_within(&mut self, bytes_max: usize, picture: &Bytes) -> Vec<Bytes> {
        self.0.payload(bytes_max, picture).unwrap_or_default()
    }
}

/// A received picture put together again.
#[derive(Debug, PartialEq, Eq)]
pub struct Picture {
    /// Shape as in [`crate::frame::EncodedVideo`].
    pub data: Bytes,
    /// True when a decoder can start here.
    pub keyframe: bool,
}

/// True when a picture can begin with this payload. For H.264 this knows keyframes' beginnings only: other pictures
/// begin where the one before ended.
#[must_use]
pub fn begins_picture(codec: VideoCodec, payload: &[u8]) -> bool {
    match codec {
        // S set, partition index 0 (RFC 7741 §4.2).
        VideoCodec::Vp8 => payload.first().is_some_and(|first| first & 0x17 == 0x10),
        VideoCodec::H264 => match payload.first().map(|first| first & 0x1f) {
            Some(nal::SPS) => true,
            Some(nal::STAP_A) => {
                stap_a_units(payload).is_some_and(|units| units.iter().any(|unit| unit[0] & 0x1f == nal::SPS))
            }
            Some(_) | None => false,
        },
    }
}

/// Puts the payloads of one picture together; `None` when they are broken.
#[must_use]
pub fn assemble(codec: VideoCodec, payloads: &[Bytes]) -> Option<Picture> {
    match codec {
        VideoCodec::Vp8 => assemble_vp8(payloads),
        VideoCodec::H264 => assemble_h264(payloads),
    }
}

fn assemble_vp8(payloads: &[Bytes]) -> Option<Picture> {
    let mut data = Vec::new();
    for payload in payloads {
        let part = Vp8Packet::default().depacketize(payload).ok()?;
        data.extend_from_slice(&part);
    }
    // The P bit of the frame tag is 0 for keyframes (RFC 6386 §9.1).
    let keyframe = data.first()? & 1 == 0;
    Some(Picture { data: data.into(), keyframe })
}

fn assemble_h264(payloads: &[Bytes]) -> Option<Picture> {
    let mut depacketizer = H264Packet::default();
    let mut data = Vec::new();
    let mut keyframe = false;
    for payload in payloads {
        keyframe |= holds_idr(payload);
        // The engine reads beyond an aggregation packet that does not end with its last unit.
        if payload.first().is_some_and(|first| first & 0x1f == nal::STAP_A) && stap_a_units(payload).is_none() {
            return None;
        }
        data.extend_from_slice(&depacketizer.depacketize(payload).ok()?);
    }
    (!data.is_empty()).then(|| Picture { data: data.into(), keyframe })
}

fn holds_idr(payload: &[u8]) -> bool {
    match payload.first().map(|first| first & 0x1f) {
        Some(nal::IDR) => true,
        Some(nal::FU_A) => payload.get(1).is_some_and(|header| header & 0x1f == nal::IDR),
        Some(nal::STAP_A) => {
            stap_a_units(payload).is_some_and(|units| units.iter().any(|unit| unit[0] & 0x1f == nal::IDR))
        }
        Some(_) | None => false,
    }
}

/// The units of a STAP-A payload (RFC 6184 §5.7.1), none of them empty; `None` when it is not made of whole units.
fn stap_a_units(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = payload.get(1..)?;
    let mut units = Vec::new();
    while let [high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || tail.len() < length {
            return None;
        }
        let (unit, after) = tail.split_at(length);
        units.push(unit);
        rest = after;
    }
    (rest.is_empty() && !units.is_empty()).then_some(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264_picture(slice_type: u8, bytes: usize) -> Bytes {
        let mut data = Vec::new();
        if slice_type == nal::IDR {
            data.extend([0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 0, 1, 0x68, 4, 5]);
        }
        data.extend([0, 0, 0, 1, 0x60 | slice_type]);
        data.extend(std::iter::repeat_n(0xab, bytes));
        data.into()
    }

    #[test]
    fn h264_pictures_survive_the_trip() {
        let mut packetizer = Packetizer::new(VideoCodec::H264);
        for (picture, keyframe) in [(h264_picture(nal::IDR, 5000), true), (h264_picture(1, 3000), false)] {
            let payloads = packetizer.payloads(&picture);
            assert!(payloads.len() > 2 && payloads.iter().all(|p| p.len() <= PAYLOAD_BYTES_MAX));
            assert_eq!(begins_picture(VideoCodec::H264, &payloads[0]), keyframe);
            let back = assemble(VideoCodec::H264, &payloads).unwrap();
            assert_eq!((&back.data, back.keyframe), (&picture, keyframe));
        }
    }

    #[test]
    fn vp8_pictures_survive_the_trip() {
        let mut packetizer = Packetizer::new(VideoCodec::Vp8);
        for (tag, keyframe) in [(0x10u8, true), (0x11, false)] {
            let picture: Bytes = std::iter::once(tag).chain(std::iter::repeat_n(7, 4000)).collect();
            let payloads = packetizer.payloads(&picture);
            assert!(begins_picture(VideoCodec::Vp8, &payloads[0]) && !begins_picture(VideoCodec::Vp8, &payloads[1]));
            assert_eq!(assemble(VideoCodec::Vp8, &payloads), Some(Picture { data: picture, keyframe }));
        }
    }

    #[test]
    fn aggregation_packets_end_with_their_last_unit() {
        let whole = [nal::STAP_A, 0, 1, 0x09, 0, 2, 0x67, 1];
        assert!(begins_picture(VideoCodec::H264, &whole), "parameter sets after a delimiter begin a picture too");
        for end in 1..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..end]);
            assert_eq!(assemble(VideoCodec::H264, &[cut]).is_some(), end == 4, "{end}");
        }
        for broken in [&[0x18, 0, 0, 7][..], &[0x18, 0, 1, 7, 0], &[0x18, 0xff, 0xff, 7]] {
            assert_eq!(assemble(VideoCodec::H264, &[Bytes::copy_from_slice(broken)]), None);
        }
    }

    #[test]
    fn broken_payloads_are_refused_and_never_panic() {
        for codec in [VideoCodec::H264, VideoCodec::Vp8] {
            assert_eq!(assemble(codec, &[]), None);
            for first in 0..=255u8 {
                for length in 0..6 {
                    let payload: Bytes = std::iter::once(first).chain(std::iter::repeat_n(0xff, length)).collect();
                    let _any = begins_picture(codec, &payload);
                    let _any = holds_idr(&payload);
                    let _broken = assemble(codec, &[payload]);
                }
            }
        }
    }
}

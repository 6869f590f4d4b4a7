//! Payload formats: between coded pictures and RTP payloads. H.264 (RFC 6184), VP8 (RFC 7741). An Opus packet is its own
//! payload (RFC 7587 §4.2), or is put into one with copies of earlier ones ([`red`]).

mod h264;
mod picture;
pub mod red;
mod vp8;

use bytes::Bytes;

use self::h264::H264Packetizer;
use self::vp8::Vp8Packetizer;
use crate::frame::VideoCodec;

pub use picture::Picture;

/// Payload bytes a packet: 1200 leave room for RTP, SRTP, TURN and IPv6 headers within the 1280 bytes that every
/// path of IPv6 carries (RFC 8200 §5).
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1160;

/// Cuts coded pictures into payloads.
#[derive(Debug)]
pub struct Packetizer(Format);

#[derive(Debug)]
enum Format {
    H264(H264Packetizer),
    Vp8(Vp8Packetizer),
}

impl Packetizer {
    /// A packetizer for one stream.
    #[must_use]
    pub fn new(codec: VideoCodec) -> Self {
        match codec {
            VideoCodec::H264 => Self(Format::H264(H264Packetizer::default())),
            VideoCodec::Vp8 => Self(Format::Vp8(Vp8Packetizer::default())),
        }
    }

    /// The payloads of one coded picture, in order, for the usual path. Empty when the picture cannot be cut, which no
    /// encoder of ours gives reason for.
    pub fn payloads(&mut self, picture: &Bytes) -> Vec<Bytes> {
        self.payloads_within(PAYLOAD_BYTES_MAX, picture)
    }

    /// The same, of at most `bytes_max` each.
    pub fn payloads_within(&mut self, bytes_max: usize, picture: &Bytes) -> Vec<Bytes> {
        match &mut self.0 {
            Format::H264(packetizer) => packetizer.payloads(bytes_max, picture),
            Format::Vp8(packetizer) => packetizer.payloads(bytes_max, picture),
        }
    }
}

/// True when a picture can begin with this payload. For H.264 this knows keyframes' beginnings only: other pictures
/// begin where the one before ended.
#[must_use]
pub fn begins_picture(codec: VideoCodec, payload: &[u8]) -> bool {
    match codec {
        VideoCodec::H264 => h264::begins_keyframe(payload),
        VideoCodec::Vp8 => vp8::begins_picture(payload),
    }
}

/// Whether a keyframe begins with this payload.
#[must_use]
pub fn begins_keyframe(codec: VideoCodec, payload: &[u8]) -> bool {
    match codec {
        VideoCodec::H264 => h264::begins_keyframe(payload),
        VideoCodec::Vp8 => vp8::begins_keyframe(payload),
    }
}

/// Puts the payloads of one picture together; `None` when they are broken.
#[must_use]
pub fn assemble(codec: VideoCodec, payloads: &[Bytes]) -> Option<Picture> {
    match codec {
        VideoCodec::H264 => h264::assemble(payloads),
        VideoCodec::Vp8 => vp8::assemble(payloads),
    }
}

#[cfg(test)]
mod tests {
    use super::h264::nal;
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
                    let _broken = assemble(codec, &[payload]);
                }
            }
        }
    }
}

//! VP8 (RFC 7741): a descriptor before each part of a picture.

use bytes::Bytes;

use super::picture::Picture;

/// First byte of a descriptor (§4.2): more of it follows; a partition starts.
const EXTENDED: u8 = 0x80;
const START: u8 = 0x10;

/// Second byte: which fields follow.
const HAS_PICTURE_ID: u8 = 0x80;
const HAS_TL0_PICTURE_INDEX: u8 = 0x40;
const HAS_LAYER_OR_KEY_INDEX: u8 = 0x30;

/// A picture ID of 15 bits instead of 7.
const LONG_PICTURE_ID: u8 = 0x80;
const PICTURE_ID_MAX: u16 = 0x7fff;

/// The least length of a payload that is taken.
const PAYLOAD_BYTES_MIN: usize = 4;

/// Cuts pictures into payloads with a picture ID, which tells loss within a picture.
#[derive(Debug, Default)]
pub(super) struct Vp8Packetizer {
    picture_id: u16,
}

impl Vp8Packetizer {
    /// The payloads of a picture, of at most so many bytes each.
    pub(super) fn payloads(&mut self, bytes_max: usize, picture: &Bytes) -> Vec<Bytes> {
        let [high, low] = self.picture_id.to_be_bytes();
        let descriptor = match high {
            0 if low < LONG_PICTURE_ID => vec![EXTENDED, HAS_PICTURE_ID, low],
            _ => vec![EXTENDED, HAS_PICTURE_ID, high | LONG_PICTURE_ID, low],
        };
        let part_max = bytes_max.saturating_sub(descriptor.len());
        if part_max == 0 || picture.is_empty() {
            return Vec::new();
        }
        self.picture_id = (self.picture_id + 1) & PICTURE_ID_MAX;
        let mut payloads: Vec<Vec<u8>> =
            picture.chunks(part_max).map(|part| [&descriptor[..], part].concat()).collect();
        payloads[0][0] |= START;
        payloads.into_iter().map(Bytes::from).collect()
    }
}

/// True when the first partition of a picture starts here: S set, partition index 0.
pub(super) fn begins_picture(payload: &[u8]) -> bool {
    payload.first().is_some_and(|first| first & 0x17 == START)
}

/// Whether a keyframe begins with this payload: the P bit of the frame tag is 0 (RFC 6386 §9.1).
pub(super) fn begins_keyframe(payload: &[u8]) -> bool {
    let tag = after_descriptor(payload).and_then(<[u8]>::first);
    begins_picture(payload) && tag.is_some_and(|tag| tag & 1 == 0)
}

/// Puts the payloads of one picture together; `None` when they are broken.
pub(super) fn assemble(payloads: &[Bytes]) -> Option<Picture> {
    let mut data = Vec::new();
    for payload in payloads {
        data.extend_from_slice(after_descriptor(payload)?);
    }
    // The P bit of the frame tag is 0 for keyframes (RFC 6386 §9.1).
    let keyframe = data.first()? & 1 == 0;
    Some(Picture { data: data.into(), keyframe })
}

/// What follows the descriptor; `None` when nothing does.
fn after_descriptor(payload: &[u8]) -> Option<&[u8]> {
    let first = payload.first().filter(|_| payload.len() >= PAYLOAD_BYTES_MIN)?;
    let mut length = 1;
    if first & EXTENDED != 0 {
        let fields = payload.get(1)?;
        length += 1;
        if fields & HAS_PICTURE_ID != 0 {
            length += if payload.get(length)? & LONG_PICTURE_ID != 0 { 2 } else { 1 };
        }
        length += usize::from(fields & HAS_TL0_PICTURE_INDEX != 0);
        length += usize::from(fields & HAS_LAYER_OR_KEY_INDEX != 0);
    }
    payload.get(length..).filter(|rest| !rest.is_empty())
}

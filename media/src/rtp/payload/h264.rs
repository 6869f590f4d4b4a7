//! H.264 (RFC 6184, packetization mode 1): NAL units alone, several in one payload (STAP-A), or one in several (FU-A).

use std::ops::Range;

use bytes::Bytes;

use super::picture::Picture;

/// NAL unit types (ITU-T H.264 table 7-1, RFC 6184 §5.2).
pub(super) mod nal {
    pub(in super::super) const IDR: u8 = 5;
    pub(super) const SPS: u8 = 7;
    pub(super) const PPS: u8 = 8;
    pub(super) const DELIMITER: u8 = 9;
    pub(super) const FILLER: u8 = 12;
    /// Types below it, and above 0, are units by themselves.
    pub(in super::super) const STAP_A: u8 = 24;
    pub(super) const FU_A: u8 = 28;
}

/// The type within the first byte of a unit, and its importance.
const TYPE: u8 = 0x1f;
const REFERENCE: u8 = 0x60;

/// First byte of a STAP-A payload with parameter sets: of the highest importance.
const STAP_A_HEADER: u8 = REFERENCE | nal::STAP_A;

/// Second byte of an FU-A payload (§5.8): the unit starts here; it ends here.
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// Bytes of an FU-A payload before the part of the unit.
const FU_HEADER: usize = 2;

/// What stands before each unit in a byte stream (ITU-T H.264 annex B).
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Cuts pictures, as byte streams, into payloads. Parameter sets are held until the next unit, and go together.
#[derive(Debug, Default)]
pub(super) struct H264Packetizer {
    sps: Option<Bytes>,
    pps: Option<Bytes>,
}

impl H264Packetizer {
    /// The payloads of a picture, of at most so many bytes each.
    pub(super) fn payloads(&mut self, bytes_max: usize, picture: &Bytes) -> Vec<Bytes> {
        let mut payloads = Vec::new();
        if bytes_max == 0 {
            return payloads;
        }
        for unit in units(picture) {
            match unit.first().map(|first| first & TYPE) {
                None | Some(nal::DELIMITER | nal::FILLER) => {}
                Some(nal::SPS) => self.sps = Some(unit),
                Some(nal::PPS) => self.pps = Some(unit),
                Some(_) => {
                    payloads.extend(self.take_parameter_sets().filter(|sets| sets.len() <= bytes_max));
                    cut(&unit, bytes_max, &mut payloads);
                }
            }
        }
        payloads
    }

    /// A STAP-A payload (§5.7.1) with the parameter sets, once both are there.
    fn take_parameter_sets(&mut self) -> Option<Bytes> {
        let sps = self.sps.take_if(|_| self.pps.is_some())?;
        let pps = self.pps.take()?;
        // The length of a unit that does not fit into 16 bits is of no use; such a payload is too large anyway.
        let length = |unit: &Bytes| (unit.len() as u16).to_be_bytes();
        Some([&[STAP_A_HEADER][..], &length(&sps), &sps[..], &length(&pps), &pps[..]].concat().into())
    }
}

/// The units of a byte stream; a stream without a start code is one unit.
fn units(stream: &Bytes) -> Vec<Bytes> {
    let codes = start_codes(stream);
    if codes.is_empty() {
        return vec![stream.clone()];
    }
    let ends = codes.iter().skip(1).map(|code| code.start).chain([stream.len()]);
    codes.iter().zip(ends).map(|(code, end)| stream.slice(code.end..end)).collect()
}

/// Where start codes are: two zeros or more, and a one.
fn start_codes(stream: &[u8]) -> Vec<Range<usize>> {
    let (mut codes, mut zeros) = (Vec::new(), 0);
    for (at, byte) in stream.iter().enumerate() {
        zeros = match byte {
            0 => zeros + 1,
            1 if zeros >= 2 => {
                codes.push(at - zeros..at + 1);
                0
            }
            _ => 0,
        };
    }
    codes
}

/// One unit, which is not empty: as it is, or in parts (FU-A, §5.8).
fn cut(unit: &Bytes, bytes_max: usize, payloads: &mut Vec<Bytes>) {
    if unit.len() <= bytes_max {
        payloads.push(unit.clone());
        return;
    }
    let part_max = bytes_max.saturating_sub(FU_HEADER);
    if part_max == 0 {
        return;
    }
    let parts = unit[1..].chunks(part_max);
    let last = parts.len() - 1;
    for (index, part) in parts.enumerate() {
        let edge = match index {
            0 => FU_START,
            _ if index == last => FU_END,
            _ => 0,
        };
        let header = [nal::FU_A | (unit[0] & REFERENCE), edge | (unit[0] & TYPE)];
        payloads.push([&header[..], part].concat().into());
    }
}

/// True when a keyframe can begin here, with its parameter sets.
pub(super) fn begins_keyframe(payload: &[u8]) -> bool {
    match payload.first().map(|first| first & TYPE) {
        Some(nal::SPS) => true,
        Some(nal::STAP_A) => holds(payload, nal::SPS),
        Some(_) | None => false,
    }
}

/// Puts the payloads of one picture together as a byte stream; `None` when they are broken.
pub(super) fn assemble(payloads: &[Bytes]) -> Option<Picture> {
    let (mut data, mut keyframe) = (Vec::new(), false);
    let mut parts: Vec<u8> = Vec::new();
    for payload in payloads {
        keyframe |= holds_idr(payload);
        let [first, second, rest @ ..] = &payload[..] else { return None };
        match first & TYPE {
            nal::DELIMITER => append(&mut data, payload),
            _ if rest.is_empty() => return None,
            nal::STAP_A => stap_a_units(payload)?.into_iter().for_each(|unit| append(&mut data, unit)),
            nal::FU_A => {
                parts.extend_from_slice(rest);
                if second & FU_END != 0 {
                    let unit = [&[(first & REFERENCE) | (second & TYPE)][..], &parts].concat();
                    append(&mut data, &unit);
                    parts.clear();
                }
            }
            1..nal::STAP_A => append(&mut data, payload),
            _ => return None,
        }
    }
    (!data.is_empty()).then(|| Picture { data: data.into(), keyframe })
}

fn append(stream: &mut Vec<u8>, unit: &[u8]) {
    stream.extend_from_slice(&START_CODE);
    stream.extend_from_slice(unit);
}

fn holds_idr(payload: &[u8]) -> bool {
    match payload.first().map(|first| first & TYPE) {
        Some(nal::IDR) => true,
        Some(nal::FU_A) => payload.get(1).is_some_and(|header| header & TYPE == nal::IDR),
        Some(nal::STAP_A) => holds(payload, nal::IDR),
        Some(_) | None => false,
    }
}

/// A STAP-A payload has a unit of this type.
fn holds(payload: &[u8], unit_type: u8) -> bool {
    stap_a_units(payload).is_some_and(|units| units.iter().any(|unit| unit[0] & TYPE == unit_type))
}

/// The units of a STAP-A payload (§5.7.1), none of them empty; `None` when it is not made of whole units.
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

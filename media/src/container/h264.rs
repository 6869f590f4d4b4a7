//! H.264 in files: a byte stream with start codes (ITU-T H.264 Annex B), or NAL units behind their lengths with parameter
//! sets of their own (ISO/IEC 14496-15 §5.3).

use super::isobmff::{BoxBytes, BoxWriter};
use super::{ContainerError, broken};

/// NAL unit types (ITU-T H.264 table 7-1).
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;

/// Parameter sets are longer than this nowhere: their length has 16 bits.
const SET_BYTES_MAX: usize = 0xfffe;

/// `avcC`: how to read the samples of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AvcConfig {
    /// `profile_idc`, constraint flags, `level_idc`.
    profile: [u8; 3],
    /// Bytes of the length before each NAL unit, 1 to 4.
    length_bytes: usize,
    sps: Vec<Vec<u8>>,
    pps: Vec<Vec<u8>>,
}

impl AvcConfig {
    /// Takes the parameter sets out of a keyframe that is a byte stream; `None` when it has not both. Lengths of units have
    /// 4 bytes.
    pub(crate) fn of_keyframe(stream: &[u8]) -> Option<Self> {
        let find = |kind| nal_units(stream).find(|unit| is(unit, kind) && unit.len() <= SET_BYTES_MAX);
        let (sps, pps) = (find(SPS)?, find(PPS)?);
        let &[_, profile, constraints, level, ..] = sps else { return None };
        let profile = [profile, constraints, level];
        Some(Self { profile, length_bytes: 4, sps: vec![sps.to_vec()], pps: vec![pps.to_vec()] })
    }

    /// Reads the payload of `avcC`.
    pub(crate) fn from_avcc(mut avcc: BoxBytes<'_>) -> Result<Self, ContainerError> {
        avcc.u8()?;
        let profile = [avcc.u8()?, avcc.u8()?, avcc.u8()?];
        let length_bytes = usize::from(avcc.u8()? & 3) + 1;
        let mut sets = |mask: u8| -> Result<Vec<Vec<u8>>, ContainerError> {
            let count = avcc.u8()? & mask;
            (0..count)
                .map(|_| {
                    let len = usize::from(avcc.u16()?);
                    Ok(avcc.take(len)?.to_vec())
                })
                .collect()
        };
        let (sps, pps) = (sets(0x1f)?, sets(0xff)?);
        Ok(Self { profile, length_bytes, sps, pps })
    }

    /// The payload of `avcC`. Pictures are 4:2:0 of 8 bits, without SPS extensions.
    pub(crate) fn to_avcc(&self) -> BoxWriter {
        // Reserved bits are ones.
        let lengths = 0xfc | (self.length_bytes as u8 - 1);
        let mut avcc = BoxWriter::default().bytes(&[1]).bytes(&self.profile).bytes(&[lengths]);
        for (sets, reserved) in [(&self.sps, 0xe0), (&self.pps, 0)] {
            avcc = avcc.bytes(&[reserved | sets.len() as u8]);
            for set in sets {
                avcc = avcc.u16(set.len() as u16).bytes(set);
            }
        }
        match self.profile_idc() {
            100 | 110 | 122 | 144 => avcc.bytes(&[0xfd, 0xf8, 0xf8, 0]),
            _ => avcc,
        }
    }

    /// `profile_idc`.
    pub(crate) const fn profile_idc(&self) -> u8 {
        self.profile[0]
    }

    /// A sample, NAL units behind their lengths, as a byte stream.
    ///
    /// An IDR picture without parameter sets of its own gets those of the file before it; its own ones are newer.
    pub(crate) fn to_byte_stream(&self, sample: &[u8]) -> Result<Vec<u8>, ContainerError> {
        let lying = || broken("a picture's NAL unit claims more bytes than there are");
        let mut units = Vec::new();
        let mut rest = sample;
        while !rest.is_empty() {
            let (length, after) = rest.split_at_checked(self.length_bytes).ok_or_else(lying)?;
            let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
            let (unit, after) = after.split_at_checked(length).ok_or_else(lying)?;
            units.push(unit);
            rest = after;
        }
        let has = |kind| units.iter().any(|unit| is(unit, kind));
        let sets: Vec<&[u8]> = if has(IDR) && !has(SPS) {
            self.sps.iter().chain(&self.pps).map(Vec::as_slice).collect()
        } else {
            Vec::new()
        };
        Ok(sets.into_iter().chain(units).flat_map(|unit| [&[0, 0, 0, 1], unit]).collect::<Vec<_>>().concat())
    }
}

fn is(unit: &[u8], kind: u8) -> bool {
    unit.first().is_some_and(|header| header & 0x1f == kind)
}

/// The NAL units of a byte stream, none of them empty.
fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        loop {
            let current = rest?;
            let next = after_start_code(current);
            let end = next.map_or(current.len(), |next| current.len() - next.len() - 3);
            rest = next;
            // Zeros behind a unit belong to the next start code, or are padding.
            let padding = current[..end].iter().rev().take_while(|byte| **byte == 0).count();
            if end > padding {
                return Some(&current[..end - padding]);
            }
        }
    })
}

fn after_start_code(stream: &[u8]) -> Option<&[u8]> {
    stream.windows(3).position(|window| window == [0, 0, 1]).map(|at| &stream[at + 3..])
}

/// A byte stream as a sample: NAL units behind their lengths of 4 bytes. Empty when it has none.
pub(crate) fn to_sample(stream: &[u8]) -> Vec<u8> {
    let mut sample = Vec::with_capacity(stream.len() + 16);
    for unit in nal_units(stream) {
        // A picture is far below 4 GiB.
        sample.extend_from_slice(&(unit.len() as u32).to_be_bytes());
        sample.extend_from_slice(unit);
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(length_bytes: usize) -> AvcConfig {
        AvcConfig { profile: [66, 0, 30], length_bytes, sps: vec![vec![0x67, 0]], pps: vec![vec![0x68]] }
    }

    #[test]
    fn parameter_sets_come_before_an_idr_only() {
        let delta = config(2).to_byte_stream(&[0, 2, 0x41, 9]).unwrap();
        assert_eq!(delta, [0, 0, 0, 1, 0x41, 9]);
        let key = config(2).to_byte_stream(&[0, 1, 0x06, 0, 2, 0x65, 7, 0, 1, 0x65]).unwrap();
        let sets = [0, 0, 0, 1, 0x67, 0, 0, 0, 0, 1, 0x68];
        let wanted = [&sets[..], &[0, 0, 0, 1, 6, 0, 0, 0, 1, 0x65, 7, 0, 0, 0, 1, 0x65]].concat();
        assert_eq!(key, wanted);
        let own = config(2).to_byte_stream(&[0, 2, 0x67, 1, 0, 2, 0x65, 7]).unwrap();
        assert_eq!(own, [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x65, 7]);
    }

    #[test]
    fn lying_lengths_are_refused() {
        for (sample, length_bytes) in
            [(&[0, 0, 0, 9, 1][..], 4), (&[0xff, 0xff, 0xff, 0xff], 4), (&[0], 2), (&[2, 1], 1)]
        {
            assert!(config(length_bytes).to_byte_stream(sample).is_err(), "{sample:?}");
        }
        assert!(config(4).to_byte_stream(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_configuration_is_read_as_it_is_written() {
        let stream = [0, 0, 0, 1, 0x67, 100, 0, 31, 5, 0, 0, 1, 0x68, 7, 0, 0, 0, 1, 0x65, 9];
        let config = AvcConfig::of_keyframe(&stream).unwrap();
        assert_eq!(config.profile_idc(), 100);
        let avcc = config.to_avcc().into_payload();
        let sets = [0xe1, 0, 5, 0x67, 100, 0, 31, 5, 1, 0, 2, 0x68, 7];
        assert_eq!(avcc, [&[1, 100, 0, 31, 0xff][..], &sets, &[0xfd, 0xf8, 0xf8, 0]].concat());
        assert_eq!(AvcConfig::from_avcc(BoxBytes(&avcc)).unwrap(), config);
        for cut in 0..avcc.len() - 4 {
            assert!(AvcConfig::from_avcc(BoxBytes(&avcc[..cut])).is_err(), "{cut}");
        }
        // The sample's own sets stay, and are not put before it again.
        let there_and_back = config.to_byte_stream(&to_sample(&stream)).unwrap();
        assert!(nal_units(&there_and_back).eq(nal_units(&stream)));
    }

    #[test]
    fn a_keyframe_needs_both_sets() {
        for stream in
            [&[0, 0, 1, 0x67, 66, 0, 30][..], &[0, 0, 1, 0x68, 7], &[0, 0, 1, 0x67, 66, 0, 0, 1, 0x68, 7], &[]]
        {
            assert_eq!(AvcConfig::of_keyframe(stream), None, "{stream:?}");
        }
        assert!(to_sample(&[1, 2, 3]).is_empty(), "no byte stream");
    }
}

//! What a container says of an Opus track: `dOps` of MP4 ("Encapsulation of Opus in ISOBMFF" §4.3.2) and `OpusHead` of
//! Matroska (RFC 7845 §5.1), which hold the same in different byte orders. One stream, channel mapping family 0.

use super::ContainerError;
use super::isobmff::{BoxBytes, BoxWriter};

const MAGIC: &[u8; 8] = b"OpusHead";

/// Where the pre-skip lies in `OpusHead`: behind magic, version and channels.
const PRE_SKIP_AT: usize = 10;

/// What is said of one track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpusConfig {
    /// Channels that it is played on.
    pub(crate) channels: u8,
    /// Samples at 48 kHz to drop at the beginning.
    pub(crate) pre_skip: u16,
    /// Rate before it was coded, for people.
    pub(crate) input_rate_hz: u32,
}

impl OpusConfig {
    /// The payload of `dOps`.
    pub(crate) fn to_dops(self) -> BoxWriter {
        let version_0 = BoxWriter::default().bytes(&[0, self.channels]).u16(self.pre_skip).u32(self.input_rate_hz);
        // Gain and mapping family.
        version_0.zeros(3)
    }

    /// Reads the payload of `dOps`.
    pub(crate) fn from_dops(mut dops: BoxBytes<'_>) -> Result<Self, ContainerError> {
        dops.u8()?;
        Ok(Self { channels: dops.u8()?, pre_skip: dops.u16()?, input_rate_hz: dops.u32()? })
    }

    /// `OpusHead`.
    pub(crate) fn to_head(self) -> Vec<u8> {
        let version_1 = [&MAGIC[..], &[1, self.channels], &self.pre_skip.to_le_bytes()].concat();
        // Gain and mapping family.
        [&version_1[..], &self.input_rate_hz.to_le_bytes(), &[0; 3]].concat()
    }

    /// The pre-skip that `OpusHead` names; `None` of one that is too short.
    pub(crate) fn pre_skip_of_head(head: &[u8]) -> Option<u16> {
        head.get(PRE_SKIP_AT..)?.first_chunk().copied().map(u16::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: OpusConfig = OpusConfig { channels: 2, pre_skip: 312, input_rate_hz: 48_000 };

    #[test]
    fn both_forms_are_read_as_they_are_written() {
        let dops = CONFIG.to_dops().into_payload();
        assert_eq!(dops, [0, 2, 1, 56, 0, 0, 0xbb, 0x80, 0, 0, 0]);
        assert_eq!(OpusConfig::from_dops(BoxBytes(&dops)).unwrap(), CONFIG);
        let head = CONFIG.to_head();
        assert_eq!(head, *b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0");
        assert_eq!(OpusConfig::pre_skip_of_head(&head), Some(312));
        for cut in 0..8 {
            assert!(OpusConfig::from_dops(BoxBytes(&dops[..cut])).is_err(), "{cut}");
        }
        assert_eq!(OpusConfig::pre_skip_of_head(&head[..11]), None);
    }
}

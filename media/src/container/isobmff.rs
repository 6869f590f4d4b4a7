//! Boxes of the ISO base media file format (ISO/IEC 14496-12): [`BoxHeader`] walks them in a file, [`BoxBytes`] in memory,
//! never beyond their end; [`BoxWriter`] puts them together.

use std::io::Read;

use super::{ContainerError, broken};

/// Flags of `tfhd` (ISO/IEC 14496-12 §8.8.7): which fields it has, and what offsets count from.
pub(crate) mod tfhd {
    pub(crate) const BASE_DATA_OFFSET: u32 = 0x1;
    pub(crate) const SAMPLE_DESCRIPTION: u32 = 0x2;
    pub(crate) const DEFAULT_DURATION: u32 = 0x8;
    pub(crate) const DEFAULT_SIZE: u32 = 0x10;
    /// Offsets count from the `moof`.
    pub(crate) const BASE_IS_MOOF: u32 = 0x02_0000;
}

/// Flags of `trun` (§8.8.8): which fields it has, for the run and for each sample.
pub(crate) mod trun {
    pub(crate) const DATA_OFFSET: u32 = 0x1;
    pub(crate) const FIRST_SAMPLE_FLAGS: u32 = 0x4;
    pub(crate) const DURATION: u32 = 0x100;
    pub(crate) const SIZE: u32 = 0x200;
    pub(crate) const FLAGS: u32 = 0x400;
    pub(crate) const COMPOSITION_OFFSET: u32 = 0x800;
}

/// Bytes of a box's header, where its size has 32 bits.
pub(crate) const HEADER_BYTES: usize = 8;

/// The header of a box in the file.
pub(crate) struct BoxHeader {
    pub(crate) kind: [u8; 4],
    payload_at: u64,
    /// `None`: up to the end of the file.
    pub(crate) end: Option<u64>,
}

impl BoxHeader {
    /// `None` at the end of the file.
    pub(crate) fn read(file: &mut impl Read, at: u64) -> Result<Option<Self>, ContainerError> {
        let mut head = Vec::new();
        file.by_ref().take(8).read_to_end(&mut head)?;
        let &[a, b, c, d, e, f, g, h] = head.as_slice() else { return Ok(None) };
        let (size, header_len) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (None, 8),
            1 => {
                let mut long = [0; 8];
                file.read_exact(&mut long)?;
                (Some(u64::from_be_bytes(long)), 16)
            }
            size => (Some(u64::from(size)), 8),
        };
        if size.is_some_and(|size| size < header_len) {
            return Err(broken("it has a box smaller than its own header"));
        }
        let end = size.map(|size| at.checked_add(size).ok_or_else(|| broken("it has an endless box"))).transpose()?;
        Ok(Some(Self { kind: [e, f, g, h], payload_at: at + header_len, end }))
    }

    pub(crate) fn payload(&self, file: &mut impl Read, max: u64) -> Result<Vec<u8>, ContainerError> {
        let wanted = self.end.map_or(max, |end| end - self.payload_at);
        if wanted > max {
            return Err(broken("its tables are too large"));
        }
        let mut payload = Vec::new();
        let read = file.by_ref().take(wanted).read_to_end(&mut payload)?;
        if self.end.is_some() && (read as u64) < wanted {
            return Err(broken("it ends within its tables"));
        }
        Ok(payload)
    }
}

/// Bytes that are taken from the front; each taker fails instead of reaching beyond the end.
#[derive(Clone, Copy)]
pub(crate) struct BoxBytes<'a>(pub(crate) &'a [u8]);

impl<'a> BoxBytes<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], ContainerError> {
        let (front, rest) = self.0.split_at_checked(len).ok_or_else(|| broken("one of its boxes is too short"))?;
        self.0 = rest;
        Ok(front)
    }

    pub(crate) fn number(&mut self, bytes: usize) -> Result<u64, ContainerError> {
        Ok(self.take(bytes)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ContainerError> {
        Ok(self.number(1)? as u8)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, ContainerError> {
        Ok(self.number(2)? as u16)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ContainerError> {
        Ok(self.number(4)? as u32)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ContainerError> {
        self.number(8)
    }

    /// Version and flags of a full box.
    pub(crate) fn version_flags(&mut self) -> Result<(u8, u32), ContainerError> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0x00ff_ffff))
    }

    /// A table of big-endian 32-bit words: a count, then `words` of them an entry.
    pub(crate) fn table(&mut self, words: usize) -> Result<Vec<u32>, ContainerError> {
        let bytes = (self.u32()? as usize).checked_mul(words * 4).ok_or_else(|| broken("one of its tables lies"))?;
        Ok(self.take(bytes)?.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word)).collect())
    }

    /// The boxes in here; a box that reaches beyond its parent ends the list.
    pub(crate) fn boxes(mut self) -> impl Iterator<Item = ([u8; 4], BoxBytes<'a>)> {
        std::iter::from_fn(move || {
            let whole = self;
            let size = self.u32().ok()?;
            let kind = self.take(4).ok()?.first_chunk::<4>().copied()?;
            let (size, header) = match size {
                0 => (whole.0.len(), 8),
                1 => (usize::try_from(self.u64().ok()?).ok()?, 16),
                size => (size as usize, 8),
            };
            let payload = whole.0.get(header..size)?;
            self.0 = &whole.0[size..];
            Some((kind, BoxBytes(payload)))
        })
    }

    pub(crate) fn find(self, kind: &[u8; 4]) -> Option<BoxBytes<'a>> {
        self.boxes().find(|(found, _)| found == kind).map(|(_, payload)| payload)
    }

    pub(crate) fn need(self, kind: &[u8; 4]) -> Result<BoxBytes<'a>, ContainerError> {
        self.find(kind).ok_or_else(|| broken(&format!("it lacks the box {}", String::from_utf8_lossy(kind))))
    }
}

/// The payload of a box under construction, big endian.
#[derive(Clone, Debug, Default)]
pub(crate) struct BoxWriter(Vec<u8>);

impl BoxWriter {
    /// A full box: version and flags come first.
    pub(crate) fn full(version: u8, flags: u32) -> Self {
        Self::default().u32(u32::from(version) << 24 | flags)
    }

    pub(crate) fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    /// The whole box.
    pub(crate) fn boxed(self, kind: &[u8; 4]) -> Vec<u8> {
        [&header(kind, self.0.len()), &self.0[..]].concat()
    }

    /// Without a header.
    #[cfg(test)]
    pub(crate) fn into_payload(self) -> Vec<u8> {
        self.0
    }
}

/// The header of a box with a payload of so many bytes.
pub(crate) fn header(kind: &[u8; 4], payload_bytes: usize) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = ((payload_bytes + HEADER_BYTES) as u32).to_be_bytes();
    let [e, f, g, h] = *kind;
    [a, b, c, d, e, f, g, h]
}

/// A box that holds other boxes.
pub(crate) fn parent(kind: &[u8; 4], children: &[Vec<u8>]) -> Vec<u8> {
    BoxWriter(children.concat()).boxed(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_read_as_they_are_written() {
        let inner = BoxWriter::full(1, 0x02_0003).u16(7).u32(8).u64(9).zeros(2).bytes(b"end").boxed(b"abcd");
        let file =
            [parent(b"list", &[BoxWriter::default().boxed(b"none"), inner]), header(b"mdat", 0).to_vec()].concat();

        let list = BoxHeader::read(&mut &file[..], 0).unwrap().unwrap();
        assert_eq!((list.kind, list.end), (*b"list", Some(file.len() as u64 - 8)));
        let payload = list.payload(&mut &file[8..], 1000).unwrap();
        assert_eq!(BoxBytes(&payload).boxes().map(|(kind, _)| kind).collect::<Vec<_>>(), [*b"none", *b"abcd"]);
        let mut found = BoxBytes(&payload).need(b"abcd").unwrap();
        assert_eq!(found.version_flags().unwrap(), (1, 0x02_0003));
        assert_eq!((found.u16().unwrap(), found.u32().unwrap(), found.u64().unwrap()), (7, 8, 9));
        assert_eq!(found.take(5).unwrap(), b"\0\0end");
        assert!(found.u8().is_err() && BoxBytes(&payload).need(b"nope").is_err());
    }

    #[test]
    fn a_box_that_lies_is_refused_or_ends_the_list() {
        assert!(BoxHeader::read(&mut &[0, 0, 0, 7, b'a', b'b', b'c', b'd'][..], 0).is_err(), "smaller than its header");
        assert!(BoxHeader::read(&mut &[0, 0, 0, 9][..], 0).unwrap().is_none(), "the file ends");
        let mut beyond = header(b"abcd", 4).to_vec();
        beyond.extend_from_slice(&[0; 3]);
        assert_eq!(BoxBytes(&beyond).boxes().count(), 0);
        let table = [&u32::MAX.to_be_bytes()[..], &[0; 64]].concat();
        assert!(BoxBytes(&table).table(2).is_err());
    }
}

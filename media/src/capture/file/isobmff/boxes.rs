//! Boxes of the ISO base media file format: walking them in a file and in memory, never beyond their end.

use std::io::Read;

use super::super::ReadError;
use super::broken;

/// The header of a box in the file.
pub(super) struct BoxHeader {
    pub(super) kind: [u8; 4],
    payload_at: u64,
    /// `None`: up to the end of the file.
    pub(super) end: Option<u64>,
}

impl BoxHeader {
    /// `None` at the end of the file.
    pub(super) fn read(file: &mut impl Read, at: u64) -> Result<Option<Self>, ReadError> {
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

    pub(super) fn payload(&self, file: &mut impl Read, max: u64) -> Result<Vec<u8>, ReadError> {
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
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], ReadError> {
        let (front, rest) = self.0.split_at_checked(len).ok_or_else(|| broken("one of its boxes is too short"))?;
        self.0 = rest;
        Ok(front)
    }

    pub(super) fn number(&mut self, bytes: usize) -> Result<u64, ReadError> {
        Ok(self.take(bytes)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    pub(super) fn u8(&mut self) -> Result<u8, ReadError> {
        Ok(self.number(1)? as u8)
    }

    pub(super) fn u16(&mut self) -> Result<u16, ReadError> {
        Ok(self.number(2)? as u16)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ReadError> {
        Ok(self.number(4)? as u32)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ReadError> {
        self.number(8)
    }

    /// Version and flags of a full box.
    pub(super) fn version_flags(&mut self) -> Result<(u8, u32), ReadError> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0x00ff_ffff))
    }

    /// A table of big-endian 32-bit words: a count, then `words` of them an entry.
    pub(super) fn table(&mut self, words: usize) -> Result<Vec<u32>, ReadError> {
        let bytes = (self.u32()? as usize).checked_mul(words * 4).ok_or_else(|| broken("one of its tables lies"))?;
        Ok(self.take(bytes)?.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word)).collect())
    }

    /// The boxes in here; a box that reaches beyond its parent ends the list.
    pub(super) fn boxes(mut self) -> impl Iterator<Item = ([u8; 4], Bytes<'a>)> {
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
            Some((kind, Bytes(payload)))
        })
    }

    pub(super) fn find(self, kind: &[u8; 4]) -> Option<Bytes<'a>> {
        self.boxes().find(|(found, _)| found == kind).map(|(_, payload)| payload)
    }

    pub(super) fn need(self, kind: &[u8; 4]) -> Result<Bytes<'a>, ReadError> {
        self.find(kind).ok_or_else(|| broken(&format!("it lacks the box {}", String::from_utf8_lossy(kind))))
    }
}

//! Redundant audio data (RED, RFC 2198): one payload that holds the sound of a packet and copies of earlier sound.
//!
//! - a header a block: for each copy its payload type, how much older it is than the packet (14 bits of the RTP clock)
//!   and its length (10 bits); for the packet's own sound, which is last, its payload type alone
//! - the data of the blocks, in the same order: the oldest first
//!
//! A payload comes from strangers: what cannot be read is a [`RedError`].

use bytes::{BufMut as _, Bytes, BytesMut};
use thiserror::Error;

/// A copy is at most so much older than its packet, in units of the RTP clock: 341 ms at 48 kHz.
pub const AGE_MAX: u32 = (1 << 14) - 1;

/// Longest copy, in bytes.
pub const COPY_BYTES_MAX: usize = (1 << 10) - 1;

/// Bytes of the header of a copy, and of that of the packet's own sound.
pub const COPY_HEADER_BYTES: usize = 4;
const LAST_HEADER_BYTES: usize = 1;

/// Most copies that are read of one payload. Senders that are known put in at most nine.
const COPIES_MAX: usize = 16;

/// Set in the first byte of a header that another one follows.
const FOLLOWED: u8 = 0x80;

/// Why a payload is none of this format.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RedError {
    /// It ends before its headers do, or before its copies do.
    #[error("it ends too early")]
    Short,
    /// It has more copies than any sender has use for.
    #[error("it has more than {COPIES_MAX} copies")]
    TooMany,
}

/// A payload that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Red {
    /// Copies of earlier sound, as they are written: the oldest first.
    pub copies: Vec<Copy>,
    /// Payload type of the packet's own sound.
    pub payload_type: u8,
    /// The packet's own sound; empty where it has none.
    pub data: Bytes,
}

/// A copy of an earlier payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Its payload type.
    pub payload_type: u8,
    /// How much older it is than the packet that carries it, in units of the RTP clock; at most [`AGE_MAX`].
    pub age: u32,
    /// The earlier payload; at most [`COPY_BYTES_MAX`].
    pub data: Bytes,
}

impl Red {
    /// Reads a payload; its data are shared, not copied.
    ///
    /// # Errors
    /// [`RedError`] when it is none of this format.
    pub fn read(payload: &Bytes) -> Result<Self, RedError> {
        let mut rest = payload.clone();
        let mut headers = Vec::new();
        let payload_type = loop {
            let first = *rest.first().ok_or(RedError::Short)?;
            if first & FOLLOWED == 0 {
                break first;
            }
            if headers.len() == COPIES_MAX {
                return Err(RedError::TooMany);
            }
            let header = rest.get(..COPY_HEADER_BYTES).ok_or(RedError::Short)?;
            let (age, length) = age_and_length([header[1], header[2], header[3]]);
            headers.push((first & !FOLLOWED, age, length));
            rest = rest.slice(COPY_HEADER_BYTES..);
        };
        rest = rest.slice(LAST_HEADER_BYTES..);
        let mut copies = Vec::with_capacity(headers.len());
        for (payload_type, age, length) in headers {
            if rest.len() < length {
                return Err(RedError::Short);
            }
            copies.push(Copy { payload_type, age, data: rest.split_to(length) });
        }
        Ok(Self { copies, payload_type, data: rest })
    }

    /// Writes the payload. A copy that is too old or too long for its header is left out.
    #[must_use]
    pub fn write(&self) -> Bytes {
        let fits = |copy: &&Copy| copy.age <= AGE_MAX && copy.data.len() <= COPY_BYTES_MAX;
        let copies: Vec<&Copy> = self.copies.iter().filter(fits).collect();
        let bytes: usize = copies.iter().map(|copy| COPY_HEADER_BYTES + copy.data.len()).sum();
        let mut payload = BytesMut::with_capacity(bytes + LAST_HEADER_BYTES + self.data.len());
        for copy in &copies {
            // Both fit: see above.
            let (age, length) = (copy.age, copy.data.len() as u32);
            payload.put_u32(u32::from(FOLLOWED | copy.payload_type) << 24 | age << 10 | length);
        }
        payload.put_u8(self.payload_type & !FOLLOWED);
        copies.iter().for_each(|copy| payload.put_slice(&copy.data));
        payload.put_slice(&self.data);
        payload.freeze()
    }
}

/// The 14 and the 10 bits after a copy's payload type.
fn age_and_length([high, middle, low]: [u8; 3]) -> (u32, usize) {
    let bits = u32::from_be_bytes([0, high, middle, low]);
    (bits >> 10, (bits & 0x3ff) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::checks::noise;

    fn copy(age: u32, data: &'static [u8]) -> Copy {
        Copy { payload_type: 111, age, data: Bytes::from_static(data) }
    }

    #[test]
    fn a_payload_is_laid_out_as_the_rfc_says() {
        let red = Red {
            copies: vec![copy(1920, &[1, 2]), copy(960, &[3])],
            payload_type: 111,
            data: Bytes::from_static(&[4, 5]),
        };
        let written = red.write();
        // 1920 << 10 | 2 and 960 << 10 | 1.
        assert_eq!(written[..], [0x80 | 111, 0x1e, 0, 2, 0x80 | 111, 0x0f, 0, 1, 111, 1, 2, 3, 4, 5]);
        assert_eq!(Red::read(&written), Ok(red));
        let alone = Red { copies: Vec::new(), payload_type: 96, data: Bytes::new() };
        assert_eq!((alone.write()[..].to_vec(), Red::read(&alone.write())), (vec![96], Ok(alone)));
    }

    #[test]
    fn what_does_not_fit_its_header_is_left_out() {
        let long = Copy { data: vec![7; COPY_BYTES_MAX + 1].into(), ..copy(1, &[]) };
        let longest = Copy { data: vec![7; COPY_BYTES_MAX].into(), ..copy(AGE_MAX, &[]) };
        let red =
            Red { copies: vec![long, copy(AGE_MAX + 1, &[]), longest.clone()], payload_type: 111, data: Bytes::new() };
        assert_eq!(Red::read(&red.write()).unwrap().copies, [longest]);
    }

    #[test]
    fn every_payload_that_is_written_is_read_as_it_was() {
        let mut random = noise(0x0051_ED27);
        for _ in 0..2_000 {
            let mut bytes = |below: u32| -> Bytes {
                let length = random() % below;
                (0..length).map(|_| random().to_le_bytes()[1]).collect()
            };
            let data = bytes(1_200);
            let copies: Vec<Bytes> = (0..data.len() % 5).map(|_| bytes(1_024)).collect();
            let copy = |data: Bytes| Copy { payload_type: (random() % 128) as u8, age: random() % (AGE_MAX + 1), data };
            let copies = copies.into_iter().map(copy).collect();
            let red = Red { copies, payload_type: (random() % 128) as u8, data };
            assert_eq!(Red::read(&red.write()), Ok(red));
        }
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let red = Red { copies: vec![copy(960, &[1, 2, 3])], payload_type: 111, data: Bytes::from_static(&[4]) };
        let whole = red.write();
        for end in 0..whole.len() {
            // The packet's own sound has no length: what is there is all of it.
            let is_whole = end >= whole.len() - 1;
            assert_eq!(Red::read(&whole.slice(..end)).is_ok(), is_whole, "{end}");
        }
        assert_eq!(Red::read(&vec![0xff; 4 * COPIES_MAX + 5].into()), Err(RedError::TooMany));
    }

    #[test]
    fn random_payloads_are_no_panic_and_yield_no_more_than_they_hold() {
        let mut random = noise(0x00C0_FFEE);
        for round in 0..20_000_u32 {
            let length = random() % 64;
            // Half of them begin with headers of copies.
            let byte =
                |n: u32| random().to_le_bytes()[0] | if n.is_multiple_of(4) && n < round % 17 { FOLLOWED } else { 0 };
            let payload: Bytes = (0..length).map(byte).collect();
            if let Ok(red) = Red::read(&payload) {
                let held: usize = red.copies.iter().map(|copy| copy.data.len() + COPY_HEADER_BYTES).sum();
                assert_eq!(held + LAST_HEADER_BYTES + red.data.len(), payload.len());
                assert!(red.copies.len() <= COPIES_MAX && red.copies.iter().all(|copy| copy.age <= AGE_MAX));
            }
        }
    }
}

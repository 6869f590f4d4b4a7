//! EBML (RFC 8794): element headers, numbers of variable length, and the elements within a piece of memory.

use std::io::{ErrorKind, Read};

use super::{ContainerError, broken};

/// Longest element ID and longest size, in bytes.
const ID_BYTES_MAX: u32 = 4;
const SIZE_BYTES_MAX: u32 = 8;

/// The head of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// With its length marker, as documents write it.
    pub(crate) id: u32,
    /// Bytes of its content; `None` when unknown.
    pub(crate) size: Option<u64>,
}

impl Header {
    /// `None` where the file ends, within the header as well.
    pub(crate) fn read(file: &mut impl Read) -> Result<Option<Self>, ContainerError> {
        let Some((id, id_bytes)) = read_vint(file)? else { return Ok(None) };
        if id_bytes > ID_BYTES_MAX {
            return Err(broken("one of its elements has no valid name"));
        }
        let Some((size, size_bytes)) = read_number(file)? else { return Ok(None) };
        // An ID has at most 4 bytes; a size of ones alone is unknown.
        Ok(Some(Self { id: id as u32, size: (size != max(size_bytes)).then_some(size) }))
    }
}

/// A number of variable length without its marker, and how many bytes it took; `None` where the file ends.
pub(crate) fn read_number(file: &mut impl Read) -> Result<Option<(u64, u32)>, ContainerError> {
    Ok(read_vint(file)?.map(|(value, bytes)| (value & max(bytes), bytes)))
}

/// The greatest number of so many bytes, 1 to 8.
pub(crate) const fn max(bytes: u32) -> u64 {
    (1 << (7 * bytes)) - 1
}

/// The same with its marker.
fn read_vint(file: &mut impl Read) -> Result<Option<(u64, u32)>, ContainerError> {
    let mut first = [0];
    let Some(()) = read(file, &mut first)? else { return Ok(None) };
    let bytes = first[0].leading_zeros() + 1;
    if bytes > SIZE_BYTES_MAX {
        return Err(broken("one of its elements has no valid size"));
    }
    let mut rest = [0; 7];
    let rest = &mut rest[..bytes as usize - 1];
    let Some(()) = read(file, rest)? else { return Ok(None) };
    Ok(Some((rest.iter().fold(u64::from(first[0]), |value, byte| value << 8 | u64::from(*byte)), bytes)))
}

fn read(file: &mut impl Read, bytes: &mut [u8]) -> Result<Option<()>, ContainerError> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The elements of a master element; one that reaches beyond the end is cut there, one that makes no sense ends the list.
pub(crate) fn elements(mut content: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let header = Header::read(&mut content).ok().flatten()?;
        let size = header.size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX).min(content.len());
        let (value, rest) = content.split_at(size);
        content = rest;
        Some((header.id, value))
    })
}

/// An unsigned integer of up to 8 bytes; of longer ones the last 8.
pub(crate) fn number(value: &[u8]) -> u64 {
    value.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A float of 4 or 8 bytes; anything else is 0.
pub(crate) fn float(value: &[u8]) -> f64 {
    match *value {
        [a, b, c, d] => f64::from(f32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => f64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_lengths() {
        for (bytes, id, size) in [
            (&[0xec, 0x81][..], 0xec, Some(1)),
            (&[0x42, 0x86, 0x40, 0x02], 0x4286, Some(2)),
            (&[0x1a, 0x45, 0xdf, 0xa3, 0x01, 0, 0, 0, 0, 0, 0, 5], 0x1a45_dfa3, Some(5)),
            (&[0xae, 0xff], 0xae, None),
            (&[0xae, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 0xae, None),
        ] {
            assert_eq!(Header::read(&mut &*bytes).unwrap(), Some(Header { id, size }));
            for cut in 0..bytes.len() {
                assert_eq!(Header::read(&mut &bytes[..cut]).unwrap(), None);
            }
        }
        for bytes in [&[0x08, 0, 0, 0, 0, 0x81][..], &[0], &[0xec, 0]] {
            assert!(Header::read(&mut &*bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn elements_in_memory_end_with_it() {
        let content = [0xd7, 0x81, 7, 0x86, 0x85, b'A', b'_'];
        let found: Vec<_> = elements(&content).collect();
        assert_eq!(found, [(0xd7, &[7][..]), (0x86, &b"A_"[..])]);
        assert_eq!((number(&[1, 0]), float(&1.5_f32.to_be_bytes()), float(&2.5_f64.to_be_bytes())), (256, 1.5, 2.5));
    }
}

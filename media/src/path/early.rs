//! Tells which datagrams come before the answer that they belong to, by their first bytes. The engine's sockets hold
//! them.

use std::collections::BTreeSet;

use super::receive_counter::is_check;

/// What an answer is to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Awaited {
    /// How to check the path.
    pub(crate) path: bool,
    /// Streams beside those that are known (RFC 5576); `None`: they cannot be told by number, or there is no call yet.
    pub(crate) streams_beside: Option<BTreeSet<u32>>,
}

/// What comes too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Check,
    Packet,
}

impl Awaited {
    /// What a datagram is, if it comes too early.
    pub(crate) fn kind(&self, datagram: &[u8]) -> Option<Kind> {
        if self.path && is_check(datagram) {
            return Some(Kind::Check);
        }
        let known = self.streams_beside.as_ref()?;
        let stream = stream_of(datagram)?;
        (!known.contains(&stream)).then_some(Kind::Packet)
    }
}

/// The stream that an RTP packet belongs to; RTCP belongs to none (RFC 5761 §4).
pub(crate) fn stream_of(datagram: &[u8]) -> Option<u32> {
    match datagram {
        [128..=191, second, _, _, _, _, _, _, a, b, c, d, ..] if !(192..=223).contains(second) => {
            Some(u32::from_be_bytes([*a, *b, *c, *d]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(stream: u32) -> Vec<u8> {
        [&[0x80, 96, 0, 1, 0, 0, 0, 0][..], &stream.to_be_bytes(), &[7; 4]].concat()
    }

    #[test]
    fn what_is_awaited_is_told_by_its_first_bytes() {
        let check = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
        let report = [&[0x80, 200, 0, 1][..], &[0; 8]].concat();
        let awaited = Awaited { path: true, streams_beside: Some([1].into()) };
        for (datagram, expected) in [
            (check.clone(), Some(Kind::Check)),
            (packet(2), Some(Kind::Packet)),
            (packet(1), None),
            (report, None),
            (vec![22, 254, 253], None),
            (vec![0x80, 96], None),
            (Vec::new(), None),
        ] {
            assert_eq!(awaited.kind(&datagram), expected, "{datagram:?}");
            assert_eq!(Awaited::default().kind(&datagram), None);
        }
        let path_alone = Awaited { path: true, streams_beside: None };
        assert_eq!((path_alone.kind(&check), path_alone.kind(&packet(2))), (Some(Kind::Check), None));
    }
}

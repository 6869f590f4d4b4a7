//! Counts the datagrams that come from the other side.
//!
//! They are counted at the sockets and not at the tracks, so that ICE checks and RTCP count too: a side whose camera
//! stalls is slow, not gone. What a STUN or TURN server says for itself does not count.

use std::sync::atomic::{AtomicU64, Ordering};

/// The magic cookie of STUN messages (RFC 8489 §5).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// STUN message types that come from the other side: checks, their answers (a STUN server gives the same, but only
/// while candidates are gathered), and what a TURN server passes on (RFC 8489 §5, RFC 8656 §18.5).
const FROM_PEER: [u16; 3] = [0x0001, 0x0101, 0x0017];

/// Counts datagrams of the other side, on all sockets of a peer connection.
#[derive(Debug, Default)]
pub(crate) struct ReceiveCounter {
    count: AtomicU64,
}

impl ReceiveCounter {
    /// Takes note of datagrams that came together.
    pub(crate) fn came<'a>(&self, datagrams: impl Iterator<Item = &'a [u8]>) {
        let mut is_from_other_side = false;
        for datagram in datagrams {
            is_from_other_side |= is_from_peer(datagram);
        }
        if is_from_other_side {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there were so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// True of an ICE check, a STUN binding request (RFC 8445 §7.2).
pub(crate) fn is_check(datagram: &[u8]) -> bool {
    matches!(datagram, [0, 1, _, _, cookie @ ..] if cookie.starts_with(&MAGIC_COOKIE))
}

/// Tells by the first bytes (RFC 7983 §7).
fn is_from_peer(datagram: &[u8]) -> bool {
    match datagram {
        [high @ 0..=3, low, _, _, cookie @ ..] if cookie.starts_with(&MAGIC_COOKIE) => {
            FROM_PEER.contains(&u16::from_be_bytes([*high, *low]))
        }
        // DTLS; a TURN channel; RTP and RTCP.
        [20..=63 | 64..=79 | 128..=191, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stun(message_type: u16) -> Vec<u8> {
        [&message_type.to_be_bytes()[..], &[0, 0], &MAGIC_COOKIE, &[7; 12]].concat()
    }

    #[test]
    fn only_the_other_side_is_heard() {
        for (datagram, expected, what) in [
            (stun(0x0001), true, "check"),
            (stun(0x0101), true, "answer to a check"),
            (stun(0x0017), true, "relayed"),
            (stun(0x0103), false, "allocation"),
            (stun(0x0104), false, "refresh"),
            (stun(0x0114), false, "refused refresh"),
            (stun(0x0109), false, "channel bound"),
            (vec![0, 1, 0, 0, 1, 2, 3, 4], false, "no cookie"),
            (vec![0x40, 0, 0, 4, 1, 2, 3, 4], true, "relayed by channel"),
            (vec![22, 254, 253], true, "DTLS"),
            (vec![0x80, 111], true, "RTP"),
            (vec![0xff; 20], false, "nothing known"),
            (vec![0, 1], false, "cut off"),
            (Vec::new(), false, "empty"),
        ] {
            assert_eq!(is_from_peer(&datagram), expected, "{what}");
            assert_eq!(is_check(&datagram), what == "check", "{what}");
        }
    }
}

//! Whether anything comes from the other side, seen where datagrams come in; and what is too large to leave.
//!
//! Counted there and not at the tracks, so that checks and reports count too: a side whose camera stalls is slow, not
//! gone. What a STUN or TURN server says for itself does not count.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::payload_limit::PayloadLimit;
use super::servers::Servers;

/// The magic cookie of STUN messages (RFC 8489 §5).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// STUN message types that come from the other side: checks, their answers (a STUN server gives the same, but only
/// while candidates are gathered), and what a TURN server passes on (RFC 8489 §5, RFC 8656 §18.5).
const FROM_PEER: [u16; 3] = [0x0001, 0x0101, 0x0017];

/// Counts datagrams of the other side, on all sockets of a peer connection.
#[derive(Debug, Default)]
pub(super) struct Heard {
    count: AtomicU64,
    /// Something of its DTLS handshake came.
    handshake: AtomicBool,
}

impl Heard {
    /// How many there were so far.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// True when something of the other side's DTLS handshake came.
    pub(super) fn handshake(&self) -> bool {
        self.handshake.load(Ordering::Relaxed)
    }
}

/// What the system says of a datagram that the interface does not carry.
#[cfg(unix)]
const TOO_LARGE: i32 = nix::errno::Errno::EMSGSIZE as i32;
#[cfg(not(unix))]
const TOO_LARGE: i32 = 10040;

/// What it says of several datagrams in one call when it does not take them so, for their size or for another reason.
#[cfg(unix)]
const NOT_JOINED: i32 = nix::errno::Errno::EINVAL as i32;
#[cfg(not(unix))]
const NOT_JOINED: i32 = 10022;

/// A socket that counts.
pub(super) struct HeardSocket {
    pub(super) inner: Arc<dyn AsyncUdpSocket>,
    pub(super) heard: Arc<Heard>,
    pub(super) payload: Arc<PayloadLimit>,
    pub(super) servers: Arc<Servers>,
}

impl fmt::Debug for HeardSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeardSocket").finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for HeardSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = match (self.inner.poll_send(cx, transmit), transmit.segment_size) {
            (Poll::Ready(Err(error)), segment) if error.raw_os_error() == Some(TOO_LARGE) => {
                self.payload.fit(segment.unwrap_or(transmit.contents.len()));
                // It is lost, as it would be further on.
                Poll::Ready(Ok(transmit.contents.len()))
            }
            // One by one each is sent, or refused for its size.
            (Poll::Ready(Err(error)), Some(segment)) if error.raw_os_error() == Some(NOT_JOINED) => {
                for contents in transmit.contents.chunks(segment.max(1)) {
                    let _sent_or_lost = self.poll_send(cx, &Transmit { contents, segment_size: None, ..*transmit });
                }
                Poll::Ready(Ok(transmit.contents.len()))
            }
            (sent, _) => sent,
        };
        if let Poll::Ready(Ok(_)) = sent {
            self.servers.sent(transmit.destination, transmit.contents, Instant::now());
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(messages)) = &received {
            // Datagrams that were joined into one message have one sender: the first stands for all.
            let mut is_heard = false;
            for (buffer, meta) in bufs.iter().zip(meta.iter()).take(*messages) {
                let datagram = &buffer[..meta.len.min(buffer.len())];
                self.servers.came(meta.addr, datagram);
                is_heard |= is_from_peer(datagram);
                if is_handshake(datagram) {
                    self.heard.handshake.store(true, Ordering::Relaxed);
                }
            }
            if is_heard {
                self.heard.count.fetch_add(1, Ordering::Relaxed);
            }
        }
        received
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

/// True of an ICE check, a STUN binding request (RFC 8445 §7.2).
pub(super) fn is_check(datagram: &[u8]) -> bool {
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

/// DTLS (RFC 7983 §7), also inside a TURN channel (RFC 8656 §12.4).
fn is_handshake(datagram: &[u8]) -> bool {
    matches!(datagram, [20..=63, ..] | [64..=79, _, _, _, 20..=63, ..])
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
            assert_eq!(is_handshake(&datagram), what == "DTLS", "{what}");
            assert_eq!(is_check(&datagram), what == "check", "{what}");
        }
    }
}

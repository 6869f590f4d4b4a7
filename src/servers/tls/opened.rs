//! What a client speaks inside TLS, told by its first bytes, or by ALPN (RFC 7301) before that.
//!
//! - in: a stream after its handshake → [`open`] → [`Protocol`], and the stream with all its bytes
//!
//! In all three protocols the client speaks first, and no two of them begin alike: MQTT with CONNECT (MQTT 3.1.1 section
//! 3.1), WebSocket with a GET (RFC 6455 section 4.1), TURN with a STUN header (RFC 8489 section 5).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::servers::turn::begins_stream;

/// As many as tell all protocols apart; none has a first message that is shorter.
const FIRST_BYTES: usize = 8;

/// Names of ALPN that we agree to, from the registry of RFC 7301.
pub(super) const ALPN: [(&[u8], Protocol); 3] =
    [(b"stun.turn", Protocol::Turn), (b"mqtt", Protocol::Mqtt), (b"http/1.1", Protocol::WebSocket)];

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Mqtt,
    WebSocket,
    Turn,
}

impl Protocol {
    /// By the first bytes of a client.
    fn of(first: &[u8; FIRST_BYTES]) -> Option<Self> {
        /// Type 1, flags 0.
        const CONNECT: u8 = 0x10;
        match first {
            [CONNECT, ..] => Some(Self::Mqtt),
            [b'G', b'E', b'T', b' ', ..] => Some(Self::WebSocket),
            first if begins_stream(first) => Some(Self::Turn),
            _ => None,
        }
    }

    /// By the name that both sides agreed on; `None` for one that is not ours.
    fn of_alpn(name: &[u8]) -> Option<Self> {
        ALPN.iter().find(|(known, _)| *known == name).map(|(_, protocol)| *protocol)
    }
}

/// Reads what tells the protocol. A client that speaks another one than it agreed on is turned away: it may be led here by
/// somebody who wants to make one server answer for another.
///
/// # Errors
/// None of the protocols, and what ends the stream.
pub(super) async fn open<S: AsyncRead + Unpin>(
    mut stream: S,
    agreed: Option<&[u8]>,
) -> io::Result<(Protocol, Opened<S>)> {
    let mut first = [0; FIRST_BYTES];
    stream.read_exact(&mut first).await?;
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "neither MQTT nor WebSocket nor TURN");
    let protocol = Protocol::of(&first).ok_or_else(unknown)?;
    if agreed.is_some_and(|name| Protocol::of_alpn(name) != Some(protocol)) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "another protocol than was agreed on"));
    }
    Ok((protocol, Opened { first, read: 0, stream }))
}

/// A stream whose first bytes were looked at, and are still to be read.
pub(super) struct Opened<S> {
    first: [u8; FIRST_BYTES],
    /// so many of them are read
    read: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Opened<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let opened = &mut *self;
        let left = &opened.first[opened.read..];
        if left.is_empty() {
            return Pin::new(&mut opened.stream).poll_read(cx, buf);
        }
        let taken = left.len().min(buf.remaining());
        buf.put_slice(&left[..taken]);
        opened.read += taken;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opened<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECT: &[u8] = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05alice";
    const GET: &[u8] = b"GET /mqtt HTTP/1.1\r\n\r\n";
    const ALLOCATE: &[u8] = &[0, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    #[tokio::test]
    async fn protocols_are_told_apart_and_no_byte_is_lost() {
        for (sent, expected) in [(CONNECT, Protocol::Mqtt), (GET, Protocol::WebSocket), (ALLOCATE, Protocol::Turn)] {
            let (protocol, mut opened) = open(sent, None).await.unwrap();
            let (mut one, mut rest) = ([0; 3], Vec::new());
            opened.read_exact(&mut one).await.unwrap();
            opened.read_to_end(&mut rest).await.unwrap();
            assert_eq!((protocol, [&one[..], &rest].concat()), (expected, sent.to_vec()));
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        for sent in [&b"SSH-2.0-OpenSSH"[..], b"POST / HTTP/1.1\r\n", &[0; 40], &[0x40, 0, 0, 4, 1, 2, 3, 4]] {
            assert_eq!(open(sent, None).await.err().unwrap().kind(), io::ErrorKind::InvalidData, "{sent:?}");
        }
        assert_eq!(open(&CONNECT[..5], None).await.err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_was_agreed_on_must_be_spoken() {
        assert!(open(ALLOCATE, Some(b"stun.turn")).await.is_ok());
        assert!(open(CONNECT, Some(b"mqtt")).await.is_ok());
        for (sent, agreed) in [(GET, &b"stun.turn"[..]), (ALLOCATE, b"http/1.1"), (CONNECT, b"other")] {
            assert!(open(sent, Some(agreed)).await.is_err(), "{agreed:?}");
        }
    }
}

//! Messages of STUN and ChannelData in a stream, RFC 8489 section 6.2.2 and RFC 8656 section 12.5.
//!
//! - in: a stream → [`begin`], [`finish`] → one whole message at a time, without the padding of ChannelData
//! - out: a message → [`padded`] → the stream
//!
//! A message tells its own length, so whoever sends anything else cannot be followed any more: [`Misframed`].

use std::io;

use thiserror::Error;
use tokio::io::{AsyncBufRead, AsyncReadExt as _};

/// Both kinds begin with these: a type or channel number, and a length.
const HEAD_BYTES: usize = 4;
/// What comes before the attributes of a STUN message.
const STUN_HEAD_BYTES: usize = 20;
/// In every STUN message, from the fifth byte on (RFC 8489 section 5).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Both kinds take a multiple of so many bytes in a stream.
const ALIGNMENT: usize = 4;

/// What is no message of STUN or TURN.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("it speaks neither STUN nor TURN")]
pub(super) struct Misframed;

/// What kind a message is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stun,
    ChannelData,
}

/// How a message begins, and so how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    bytes: [u8; HEAD_BYTES],
    /// in bytes, without padding
    length: usize,
    padding: usize,
}

impl Head {
    fn of(bytes: [u8; HEAD_BYTES]) -> Result<Self, Misframed> {
        let content = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        match bytes[0] >> 6 {
            0 if content.is_multiple_of(ALIGNMENT) => {
                Ok(Self { kind: Kind::Stun, bytes, length: STUN_HEAD_BYTES + content, padding: 0 })
            }
            // RFC 5766 section 11 has channels up to 0x7fff, and its clients bind them; RFC 8656 has those up to 0x4fff.
            1 => {
                let length = HEAD_BYTES + content;
                let padding = length.next_multiple_of(ALIGNMENT) - length;
                Ok(Self { kind: Kind::ChannelData, bytes, length, padding })
            }
            _ => Err(Misframed),
        }
    }
}

/// Whether a stream that begins with these bytes (eight or more) is one of STUN or TURN: a client's first message is STUN.
pub(in crate::servers) fn begins_stream(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first >> 6 == 0) && bytes.get(4..8) == Some(&MAGIC_COOKIE)
}

/// Reads how a message begins; [`finish`] has to follow. Not cancellation safe: what was read is lost, and with it the place
/// in the stream.
///
/// # Errors
/// [`Misframed`] inside an [`io::ErrorKind::InvalidData`], and those of the stream; its end is one.
pub(super) async fn begin(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Head> {
    let mut bytes = [0; HEAD_BYTES];
    stream.read_exact(&mut bytes).await?;
    Head::of(bytes).map_err(misframed)
}

/// Reads a whole message into `room`: its length without padding. `None`: it is longer than there is room for, and was
/// skipped. Not cancellation safe either.
///
/// # Errors
/// As [`begin`].
pub(super) async fn finish(
    stream: &mut (impl AsyncBufRead + Unpin),
    head: Head,
    room: &mut [u8],
) -> io::Result<Option<usize>> {
    let Head { kind, bytes, length, padding } = head;
    let fits = length <= room.len();
    if fits {
        room[..HEAD_BYTES].copy_from_slice(&bytes);
        stream.read_exact(&mut room[HEAD_BYTES..length]).await?;
        if kind == Kind::Stun && !begins_stream(&room[..length]) {
            return Err(misframed(Misframed));
        }
    }
    let skipped = (if fits { 0 } else { length - HEAD_BYTES } + padding) as u64;
    if skipped > 0 && tokio::io::copy_buf(&mut stream.take(skipped), &mut tokio::io::sink()).await? < skipped {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(fits.then_some(length))
}

fn misframed(error: Misframed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A message as it goes into a stream.
pub(super) fn padded(message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    bytes.resize(message.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}

/// Whether a message to a client carries a packet of a peer: ChannelData, or a Data indication (RFC 8656 section 11.4).
pub(super) fn carries_data(message: &[u8]) -> bool {
    /// Method Data, class indication.
    const DATA_INDICATION: [u8; 2] = [0x00, 0x17];
    message.first().is_some_and(|first| first >> 6 == 1) || message.starts_with(&DATA_INDICATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All messages of a stream, and how it ends.
    async fn all(mut stream: &[u8]) -> (Vec<(Kind, Vec<u8>)>, io::ErrorKind) {
        let (mut room, mut found) = ([0; 100], Vec::new());
        loop {
            let read = async {
                let head = begin(&mut stream).await?;
                Ok((head.kind, finish(&mut stream, head, &mut room).await?))
            };
            match read.await {
                Ok((kind, length)) => {
                    let content = length.map_or_else(|| b"skipped".to_vec(), |length: usize| room[..length].to_vec());
                    found.push((kind, content));
                }
                Err::<_, io::Error>(error) => return (found, error.kind()),
            }
        }
    }

    fn stun(attributes: &[u8]) -> Vec<u8> {
        let mut message = vec![0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
        message.extend(*b"transaction!");
        message.extend(attributes);
        message
    }

    #[tokio::test]
    async fn messages_are_told_apart_and_padding_is_taken_away() {
        let (binding, channel) = (stun(&[]), [0x40, 0, 0, 5, 1, 2, 3, 4, 5]);
        let stream = [&binding[..], &padded(&channel), &stun(&[0; 8]), &padded(&[0x7f, 0xff, 0, 0])].concat();
        let (found, end) = all(&stream).await;
        let expected = [
            (Kind::Stun, binding),
            (Kind::ChannelData, channel.to_vec()),
            (Kind::Stun, stun(&[0; 8])),
            (Kind::ChannelData, vec![0x7f, 0xff, 0, 0]),
        ];
        assert_eq!((found, end), (expected.to_vec(), io::ErrorKind::UnexpectedEof));
    }

    #[tokio::test]
    async fn what_is_too_long_is_skipped_and_the_next_message_is_found() {
        let mut long = vec![0x40, 1, 0, 201];
        long.resize(208, 7);
        let (found, _) = all(&[&long[..], &stun(&[])].concat()).await;
        assert_eq!(found, [(Kind::ChannelData, b"skipped".to_vec()), (Kind::Stun, stun(&[]))]);
    }

    #[tokio::test]
    async fn what_is_no_turn_is_told_and_half_a_message_is_an_end() {
        let mut no_cookie = stun(&[]);
        no_cookie[4] = 0;
        for garbage in [&b"\x16\x03\x01\x02\x00\x01"[..], &[0x80; 30], &[0xc0, 0, 0, 0], &[0, 1, 0, 3], &no_cookie] {
            assert_eq!(all(garbage).await, (vec![], io::ErrorKind::InvalidData), "{garbage:?}");
        }
        for half in [&[0x40][..], &[0x40, 0, 0, 5, 1, 2, 3, 4, 5], &stun(&[0; 8])[..27]] {
            assert_eq!(all(half).await, (vec![], io::ErrorKind::UnexpectedEof), "{half:?}");
        }
    }

    #[test]
    fn only_packets_of_peers_count_as_data() {
        assert!(carries_data(&[0x40, 0, 0, 0]) && carries_data(&[0, 0x17, 0, 0]));
        assert!(!carries_data(&[1, 3, 0, 0]) && !carries_data(&[1, 0x13, 0, 0]) && !carries_data(&[]));
    }

    #[test]
    fn a_stream_of_turn_is_known_by_its_first_bytes() {
        assert!(begins_stream(&stun(&[])[..8]));
        for other in [&b"GET /mqt"[..], b"\x10\x20\x00\x04MQTT", &[0x40, 0, 0, 4, 0x21, 0x12, 0xa4, 0x42], &[0, 1, 0]] {
            assert!(!begins_stream(other), "{other:?}");
        }
    }
}

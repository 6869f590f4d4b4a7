//! A DTLS handshake without the round trip for the cookie (RFC 6347 §4.2.1). Pure.
//!
//! The engine's server (`rtc-dtls` 0.21.1) asks every client for a cookie, and cannot be told not to. The cookie is against
//! clients with a forged address; ours has been proven by ICE before. So its server tells the cookie in its offer, and both
//! sides leave out the part of the handshake that carries it:
//!
//! - client: the engine's first ClientHello does not leave. The HelloVerifyRequest is made here ([`verify_request`]), and
//!   what the engine then sends, the ClientHello with the cookie, is the first that the server gets
//! - server: the first ClientHello is made of that one ([`first_hello`]); the engine's HelloVerifyRequest does not leave
//!   ([`is_verify_request`])
//!
//! Neither of the two messages is part of the hash that Finished signs (§4.2.1), so both engines agree on it. Relayed
//! datagrams are read and made as a TURN server wraps them.

use std::fmt;
use std::str::FromStr;

use super::dtls;
use super::stun;

/// The length of the engine's cookie.
pub(crate) const COOKIE_BYTES: usize = 20;

/// Lengths of headers: of a record, and of a handshake message (RFC 6347 §4.1, §4.2.2).
const RECORD: usize = 13;
const MESSAGE: usize = 12;

/// Where a ClientHello's session ID begins: after the version and the random bytes (§4.2.1).
const SESSION_ID_AT: usize = 34;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;

/// DTLS 1.2.
const VERSION: [u8; 2] = [254, 253];

/// What a client has to say to be answered. No secret: whoever reads it could only begin a handshake, and fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cookie(pub(crate) [u8; COOKIE_BYTES]);

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// It is not the hexadecimal form of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoCookie;

impl FromStr for Cookie {
    type Err = NoCookie;

    fn from_str(text: &str) -> Result<Self, NoCookie> {
        let mut bytes = [0; COOKIE_BYTES];
        if text.len() != 2 * COOKIE_BYTES || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NoCookie);
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or(NoCookie)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NoCookie)?;
        }
        Ok(Self(bytes))
    }
}

/// Client: what the server would ask, when the datagram of ours is the first ClientHello.
pub(crate) fn verify_request(datagram: &[u8], cookie: &Cookie) -> Option<Vec<u8>> {
    let hello = ClientHello::read(dtls::carried(datagram))?;
    if hello.number != 0 || !hello.cookie.is_empty() {
        return None;
    }
    let body = [&VERSION[..], &[COOKIE_BYTES as u8], &cookie.0].concat();
    Some(as_received(datagram, &record(HELLO_VERIFY_REQUEST, 0, [0; 6], &body)))
}

/// Server: the first ClientHello of a client that left it out, when the datagram is the second one, with this cookie.
pub(crate) fn first_hello(datagram: &[u8], cookie: &Cookie) -> Option<Vec<u8>> {
    let hello = ClientHello::read(dtls::carried(datagram))?;
    if !hello.is_second(cookie) {
        return None;
    }
    let body = [hello.before_cookie, &[0], hello.after_cookie].concat();
    // The client's engine numbered the record that did not leave so.
    Some(as_received(datagram, &record(CLIENT_HELLO, 0, before(hello.sequence), &body)))
}

/// Client: whether the datagram of ours is the ClientHello with the cookie.
pub(crate) fn is_second_hello(datagram: &[u8], cookie: &Cookie) -> bool {
    ClientHello::read(dtls::carried(datagram)).is_some_and(|hello| hello.is_second(cookie))
}

/// Server: whether the engine asks for the cookie.
pub(crate) fn is_verify_request(datagram: &[u8]) -> bool {
    handshake(dtls::carried(datagram)).is_some_and(|message| message.kind == HELLO_VERIFY_REQUEST)
}

/// A handshake message that is alone in its datagram, plain and in one piece.
struct HandshakeMessage<'a> {
    kind: u8,
    number: u16,
    sequence: [u8; 6],
    body: &'a [u8],
}

fn handshake(datagram: &[u8]) -> Option<HandshakeMessage<'_>> {
    let (header, rest) = datagram.split_at_checked(RECORD)?;
    let [HANDSHAKE, 254, 253 | 255, 0, 0, sequence @ .., high, low] = header else { return None };
    if usize::from(u16::from_be_bytes([*high, *low])) != rest.len() {
        return None;
    }
    let (message, body) = rest.split_at_checked(MESSAGE)?;
    let [kind, a, b, c, number_high, number_low, 0, 0, 0, x, y, z] = message else { return None };
    let length = u32::from_be_bytes([0, *a, *b, *c]);
    let is_whole = [a, b, c] == [x, y, z] && usize::try_from(length) == Ok(body.len());
    let number = u16::from_be_bytes([*number_high, *number_low]);
    is_whole.then_some(HandshakeMessage { kind: *kind, number, sequence: sequence.try_into().ok()?, body })
}

struct ClientHello<'a> {
    number: u16,
    sequence: [u8; 6],
    before_cookie: &'a [u8],
    cookie: &'a [u8],
    after_cookie: &'a [u8],
}

impl<'a> ClientHello<'a> {
    fn read(datagram: &'a [u8]) -> Option<Self> {
        let HandshakeMessage { kind: CLIENT_HELLO, number, sequence, body } = handshake(datagram)? else { return None };
        let session_id = usize::from(*body.get(SESSION_ID_AT)?);
        let (before_cookie, rest) = body.split_at_checked(SESSION_ID_AT + 1 + session_id)?;
        let (length, rest) = rest.split_first()?;
        let (cookie, after_cookie) = rest.split_at_checked(usize::from(*length))?;
        Some(Self { number, sequence, before_cookie, cookie, after_cookie })
    }

    /// True of the second one, with this cookie.
    fn is_second(&self, cookie: &Cookie) -> bool {
        self.number == 1 && self.cookie == cookie.0
    }
}

/// A record with one plain handshake message; both lengths fit, since the body is of one datagram.
fn record(kind: u8, number: u16, sequence: [u8; 6], body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(body.len()).unwrap_or_default().to_be_bytes();
    let record_length = u16::try_from(MESSAGE + body.len()).unwrap_or_default();
    [
        &[HANDSHAKE][..],
        &VERSION,
        &[0, 0],
        &sequence,
        &record_length.to_be_bytes(),
        &[kind],
        &length,
        &number.to_be_bytes(),
        &[0; 3],
        &length,
        body,
    ]
    .concat()
}

/// The number before this one.
fn before(sequence: [u8; 6]) -> [u8; 6] {
    let [a, b, c, d, e, f] = sequence;
    let number = u64::from_be_bytes([0, 0, a, b, c, d, e, f]).saturating_sub(1);
    let [_, _, earlier @ ..] = number.to_be_bytes();
    earlier
}

/// The payload as it would come by the way that `datagram` went or came: as it is, or from a TURN server, in the same
/// channel or about the same peer.
fn as_received(datagram: &[u8], payload: &[u8]) -> Vec<u8> {
    match datagram {
        [channel @ 64..=79, low, ..] => {
            let length = u16::try_from(payload.len()).unwrap_or_default().to_be_bytes();
            [&[*channel, *low][..], &length, payload].concat()
        }
        [0..=3, ..] => stun::about_same_peer(datagram, payload).unwrap_or_else(|| payload.to_vec()),
        _ => payload.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: Cookie = Cookie([7; COOKIE_BYTES]);

    /// A ClientHello with a session ID of two bytes.
    fn hello(number: u16, sequence: u8, cookie: &[u8]) -> Vec<u8> {
        let body =
            [&VERSION[..], &[1; 32], &[2, 8, 9], &[cookie.len() as u8], cookie, &[0, 2, 0xc0, 0x2b, 1, 0]].concat();
        record(CLIENT_HELLO, number, [0, 0, 0, 0, 0, sequence], &body)
    }

    #[test]
    fn a_client_is_asked_for_the_cookie_here() {
        let asked = verify_request(&hello(0, 0, &[]), &COOKIE).unwrap();
        assert!(is_verify_request(&asked));
        assert!(asked.ends_with(&[&[254, 253, 20][..], &[7; 20]].concat()));
        assert_eq!(handshake(&asked).unwrap().number, 0);
        for other in [hello(1, 1, &COOKIE.0), hello(0, 0, &COOKIE.0), hello(1, 1, &[]), vec![22; 40], Vec::new()] {
            assert_eq!(verify_request(&other, &COOKIE), None, "{other:?}");
        }
        let second = [hello(1, 1, &COOKIE.0), hello(0, 0, &[]), hello(1, 1, &[]), vec![22; 40]];
        assert_eq!(second.map(|datagram| is_second_hello(&datagram, &COOKIE)), [true, false, false, false]);
    }

    #[test]
    fn a_server_gets_the_hello_that_was_left_out() {
        assert_eq!(first_hello(&hello(1, 1, &COOKIE.0), &COOKIE), Some(hello(0, 0, &[])));
        let forged = [9; COOKIE_BYTES];
        for other in [hello(1, 1, &forged), hello(1, 1, &[]), hello(0, 0, &[]), vec![22; 40], Vec::new()] {
            assert_eq!(first_hello(&other, &COOKIE), None, "{other:?}");
        }
    }

    #[test]
    fn what_is_relayed_comes_as_a_server_passes_it_on() {
        let plain = hello(0, 0, &[]);
        let length = u8::try_from(plain.len()).unwrap();
        let channel = [&[0x40, 1, 0, length][..], &plain].concat();
        let asked = verify_request(&channel, &COOKIE).unwrap();
        assert_eq!(asked[..2], [0x40, 1]);
        assert!(is_verify_request(&asked));
        let peer = [0, 1, 1, 2, 3, 4, 5, 6];
        let sent = stun::write(0x0016, [7; 12], &[(0x0012, &peer), (0x0013, &plain)]);
        let asked = verify_request(&sent, &COOKIE).unwrap();
        assert!(is_verify_request(&asked));
        assert_eq!(asked[..2], [0, 0x17], "as a Data indication");
        assert!(asked.windows(8).any(|window| window == peer));
        let second = stun::write(0x0017, [7; 12], &[(0x0012, &peer), (0x0013, &hello(1, 1, &COOKIE.0))]);
        let first = first_hello(&second, &COOKIE).unwrap();
        assert_eq!(dtls::carried(&first), plain);
    }

    #[test]
    fn a_cookie_reads_as_it_is_written() {
        assert_eq!(COOKIE.to_string().parse(), Ok(COOKIE));
        for wrong in ["", "07", &"g7".repeat(20), &"07".repeat(21), &"é".repeat(20)] {
            assert_eq!(wrong.parse::<Cookie>(), Err(NoCookie), "{wrong}");
        }
    }

    #[test]
    fn nothing_that_is_cut_off_panics() {
        for whole in [hello(0, 0, &[]), hello(1, 1, &COOKIE.0)] {
            for length in 0..whole.len() {
                assert_eq!(verify_request(&whole[..length], &COOKIE), None);
                assert_eq!(first_hello(&whole[..length], &COOKIE), None);
                assert!(!is_verify_request(&whole[..length]));
            }
        }
    }
}

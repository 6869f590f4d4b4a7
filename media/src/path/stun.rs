//! Reads STUN (RFC 8489 §5) and TURN (RFC 8656 §18) messages, as far as [`super::server_log`] needs: of the datagrams of a
//! call, which the engine sends and reads itself. Input comes from strangers: nothing panics, nothing is copied.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What marks a message as STUN.
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Length of a header.
const HEADER: usize = 20;

const USERNAME: u16 = 0x0006;
const ERROR_CODE: u16 = 0x0009;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const DATA: u16 = 0x0013;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;

/// What a message asks for, or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Binding,
    Allocate,
    Refresh,
    Send,
    Data,
    CreatePermission,
    ChannelBind,
}

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// A message, not copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) method: Method,
    pub(crate) class: Class,
    pub(crate) transaction: [u8; 12],
    attributes: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message in a datagram; `None` for anything else, also for one of a method that does not matter here.
    pub(crate) fn read(datagram: &'a [u8]) -> Option<Self> {
        let (header, rest) = datagram.split_at_checked(HEADER)?;
        if header[0] > 0x3f || header[4..8] != MAGIC_COOKIE {
            return None;
        }
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let class = match kind & 0x0110 {
            0x0000 => Class::Request,
            0x0010 => Class::Indication,
            0x0100 => Class::Success,
            _ => Class::Error,
        };
        let method = match kind & !0x0110 {
            0x0001 => Method::Binding,
            0x0003 => Method::Allocate,
            0x0004 => Method::Refresh,
            0x0006 => Method::Send,
            0x0007 => Method::Data,
            0x0008 => Method::CreatePermission,
            0x0009 => Method::ChannelBind,
            _ => return None,
        };
        let transaction = header[8..].try_into().ok()?;
        Some(Self { method, class, transaction, attributes: rest.get(..length)? })
    }

    fn attribute(&self, wanted: u16) -> Option<&'a [u8]> {
        let mut rest = self.attributes;
        while let [high, low, length_high, length_low, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
            let value = after.get(..length)?;
            if u16::from_be_bytes([*high, *low]) == wanted {
                return Some(value);
            }
            rest = after.get(length.next_multiple_of(4)..)?;
        }
        None
    }

    /// True when it says who asks.
    pub(crate) fn has_login(&self) -> bool {
        self.attribute(USERNAME).is_some()
    }

    /// The code of a refusal, and the server's own words, which may be anything.
    pub(crate) fn error(&self) -> Option<(u16, &'a str)> {
        let [_, _, hundreds, rest, reason @ ..] = self.attribute(ERROR_CODE)? else { return None };
        Some((u16::from(hundreds & 7) * 100 + u16::from(*rest), std::str::from_utf8(reason).unwrap_or_default()))
    }

    /// What an indication passes on (RFC 8656 §18.4).
    pub(crate) fn data(&self) -> Option<&'a [u8]> {
        self.attribute(DATA)
    }

    /// The IPv4 address of the peer that it is about.
    pub(crate) fn peer_ip(&self) -> Option<IpAddr> {
        self.address(XOR_PEER_ADDRESS).map(|address| address.ip())
    }

    /// The IPv4 address that an allocation relays from.
    pub(crate) fn relayed(&self) -> Option<SocketAddr> {
        self.address(XOR_RELAYED_ADDRESS)
    }

    /// An IPv4 address, hidden by the cookie (RFC 8489 §14.2).
    fn address(&self, name: u16) -> Option<SocketAddr> {
        let [_, 1, high, low, a, b, c, d] = self.attribute(name)? else { return None };
        let [w, x, y, z] = MAGIC_COOKIE;
        let port = u16::from_be_bytes([high ^ w, low ^ x]);
        Some(SocketAddr::from((Ipv4Addr::new(a ^ w, b ^ x, c ^ y, d ^ z), port)))
    }
}

/// A message with these attributes, for tests.
#[cfg(test)]
pub(crate) fn write(kind: u16, transaction: [u8; 12], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in attributes {
        body.extend(name.to_be_bytes());
        body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&kind.to_be_bytes()[..], &length, &MAGIC_COOKIE, &transaction, &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        let bytes = write(0x0113, [7; 12], &[(0x8022, b"odd"), (ERROR_CODE, &[0, 0, 4, 86, b'Q'])]);
        let message = Message::read(&bytes).unwrap();
        assert_eq!((message.method, message.class), (Method::Allocate, Class::Error));
        assert_eq!((message.transaction, message.error()), ([7; 12], Some((486, "Q"))));
        assert!(!message.has_login());
    }

    #[test]
    fn what_is_cut_off_or_no_message_is_none() {
        let bytes = write(0x0113, [7; 12], &[(ERROR_CODE, &[0, 0, 4, 86])]);
        for length in 0..bytes.len() {
            assert!(Message::read(&bytes[..length]).is_none(), "{length}");
        }
        for wrong in [&[0x80; 40][..], &[0x40; 40], &[]] {
            assert!(Message::read(wrong).is_none());
        }
        // An attribute that says it is longer than the message.
        let mut lying = bytes.clone();
        lying[23] = 200;
        assert_eq!(Message::read(&lying).unwrap().error(), None);
    }
}

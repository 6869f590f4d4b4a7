//! Reads STUN (RFC 8489 §5) and TURN (RFC 8656 §18) messages, as far as [`super::server_log`] needs: of the datagrams of a
//! call, which the engine sends and reads itself. Input comes from strangers: nothing panics, nothing is copied.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ring::hmac;

/// What marks a message as STUN.
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Length of a header.
const HEADER: usize = 20;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const DATA: u16 = 0x0013;
const REALM: u16 = 0x0014;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
const USE_CANDIDATE: u16 = 0x0025;
const SOFTWARE: u16 = 0x8022;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLING: u16 = 0x802a;

/// What the check sum of a message is mixed with (RFC 8489 §14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// The type of a success response to a binding request.
const BINDING_SUCCESS: u16 = 0x0101;

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

    /// True of a check that is sent by the side that nominates (RFC 8445 §7.1.2).
    pub(crate) fn is_controlling(&self) -> bool {
        self.attribute(ICE_CONTROLLING).is_some()
    }

    /// True of a check that nominates its pair (RFC 8445 §7.1.1).
    pub(crate) fn nominates(&self) -> bool {
        self.attribute(USE_CANDIDATE).is_some()
    }

    /// True when it says who asks.
    pub(crate) fn has_login(&self) -> bool {
        self.attribute(USERNAME).is_some()
    }

    /// Who asks.
    pub(crate) fn username(&self) -> Option<&'a str> {
        std::str::from_utf8(self.attribute(USERNAME)?).ok()
    }

    /// For which realm the login is.
    pub(crate) fn realm(&self) -> Option<&'a str> {
        std::str::from_utf8(self.attribute(REALM)?).ok()
    }

    /// What the server says that it is.
    pub(crate) fn software(&self) -> Option<&'a [u8]> {
        self.attribute(SOFTWARE)
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

    /// The address of the peer that it is about.
    pub(crate) fn peer_ip(&self) -> Option<IpAddr> {
        self.address(XOR_PEER_ADDRESS).map(|address| address.ip())
    }

    /// The address that an allocation relays from.
    pub(crate) fn relayed(&self) -> Option<SocketAddr> {
        self.address(XOR_RELAYED_ADDRESS)
    }

    /// An address, hidden by the cookie, and of IPv6 by the transaction too (RFC 8489 §14.2).
    fn address(&self, name: u16) -> Option<SocketAddr> {
        let [_, family, high, low, hidden @ ..] = self.attribute(name)? else { return None };
        let [w, x, y, z] = MAGIC_COOKIE;
        let port = u16::from_be_bytes([high ^ w, low ^ x]);
        let ip = match (family, hidden) {
            (1, [a, b, c, d]) => IpAddr::V4(Ipv4Addr::new(a ^ w, b ^ x, c ^ y, d ^ z)),
            (2, hidden) => {
                let mut octets: [u8; 16] = hidden.try_into().ok()?;
                let mask = MAGIC_COOKIE.iter().chain(&self.transaction);
                octets.iter_mut().zip(mask).for_each(|(octet, mask)| *octet ^= mask);
                IpAddr::V6(Ipv6Addr::from(octets))
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }
}

/// A check with the nomination added.
pub(crate) fn nominating(check: &[u8], password: &str) -> Option<Vec<u8>> {
    with_one_more(check, &[USE_CANDIDATE.to_be_bytes(), [0; 2]].concat(), password.as_bytes())
}

/// A request for an allocation, for one of IPv6 (RFC 8656 §18.6), signed by this key.
pub(crate) fn asking_for_ipv6(request: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    /// Length and value.
    const IPV6: [u8; 6] = [0, 4, 2, 0, 0, 0];
    with_one_more(request, &[&REQUESTED_ADDRESS_FAMILY.to_be_bytes()[..], &IPV6].concat(), key)
}

/// A message with one more attribute, signed anew (RFC 8489 §14.5, §14.7): everything before the signature stays.
fn with_one_more(before: &[u8], attribute: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let message = Message::read(before)?;
    let (mut kept, mut rest) = (0, message.attributes);
    while let [high, low, length_high, length_low, after @ ..] = rest {
        let name = u16::from_be_bytes([*high, *low]);
        if name == MESSAGE_INTEGRITY || name == FINGERPRINT {
            break;
        }
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low])).next_multiple_of(4);
        rest = after.get(length..)?;
        kept += 4 + length;
    }
    let body = [message.attributes.get(..kept)?, attribute].concat();
    Some(signed([before[0], before[1]], message.transaction, &body, key))
}

/// The success response to a check, as the side would send it whose password this is. It names no address: nobody but the
/// engine reads it, which asks for none.
pub(crate) fn success(transaction: [u8; 12], password: &str) -> Vec<u8> {
    signed(BINDING_SUCCESS.to_be_bytes(), transaction, &[], password.as_bytes())
}

fn signed(kind: [u8; 2], transaction: [u8; 12], body: &[u8], key: &[u8]) -> Vec<u8> {
    /// With its header.
    const INTEGRITY: usize = 24;
    const SUM: usize = 8;
    let length = |of: usize| u16::try_from(of).unwrap_or(u16::MAX).to_be_bytes();
    let mut message = [&kind[..], &length(body.len() + INTEGRITY), &MAGIC_COOKIE, &transaction, body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let signature = hmac::sign(&key, &message);
    message.extend(MESSAGE_INTEGRITY.to_be_bytes());
    message.extend(length(signature.as_ref().len()));
    message.extend(signature.as_ref());
    let [_, _, high, low, ..] = message.as_mut_slice() else { return message };
    [*high, *low] = length(body.len() + INTEGRITY + SUM);
    let sum = check_sum(&message) ^ FINGERPRINT_XOR;
    message.extend(FINGERPRINT.to_be_bytes());
    message.extend(length(4));
    message.extend(sum.to_be_bytes());
    message
}

/// CRC-32 as ITU-T V.42 has it; messages are short, and few.
fn check_sum(bytes: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum)))
}

/// A Data indication (RFC 8656 §11.4) about the peer that an indication names, with other data.
pub(crate) fn about_same_peer(indication: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let message = Message::read(indication).filter(|message| message.class == Class::Indication)?;
    let peer = message.attribute(XOR_PEER_ADDRESS)?;
    Some(write(0x0017, message.transaction, &[(XOR_PEER_ADDRESS, peer), (DATA, data)]))
}

/// A message with these attributes.
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

    /// The request of RFC 5769 §2.1, and its password.
    const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
        \x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\
        \x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\x80\x28\x00\x04\xe5\x7a\x3b\xcf";
    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    #[test]
    fn messages_are_signed_as_the_standard_does() {
        let message = Message::read(REQUEST).unwrap();
        // All before the signature.
        let body = &message.attributes[..message.attributes.len() - 32];
        assert_eq!(signed([0, 1], message.transaction, body, PASSWORD.as_bytes()), REQUEST);
        assert_eq!(check_sum(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_check_becomes_one_that_nominates() {
        let made = nominating(REQUEST, PASSWORD).unwrap();
        let (before, after) = (Message::read(REQUEST).unwrap(), Message::read(&made).unwrap());
        assert!(!before.nominates() && after.nominates());
        assert_eq!((after.transaction, made.len()), (before.transaction, REQUEST.len() + 4));
        assert_eq!(after.attribute(USERNAME), before.attribute(USERNAME));
        let body = &after.attributes[..after.attributes.len() - 32];
        assert_eq!(signed([0, 1], after.transaction, body, PASSWORD.as_bytes()), made, "nothing follows the signature");
        for length in 0..REQUEST.len() {
            assert_eq!(nominating(&REQUEST[..length], PASSWORD), None);
        }
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        let transaction: [u8; 12] = REQUEST[8..20].try_into().unwrap();
        // RFC 5769 §2.2 and §2.3.
        let ipv4 = [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        let ipv6 = b"\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";
        for (value, expected) in
            [(&ipv4[..], "192.0.2.1:32853"), (ipv6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
        {
            let bytes = write(0x0103, transaction, &[(XOR_RELAYED_ADDRESS, value)]);
            assert_eq!(Message::read(&bytes).unwrap().relayed(), Some(expected.parse().unwrap()));
            let bytes = write(0x0103, transaction, &[(XOR_RELAYED_ADDRESS, &value[..7])]);
            assert_eq!(Message::read(&bytes).unwrap().relayed(), None);
        }
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

//! [`RelayFamily`]: asks a TURN server that relays no IPv4 for an IPv6 address (RFC 8656 §7.1). Pure.
//!
//! The engine's client names no family, which stands for IPv4. A server that has no IPv4 to relay from refuses that by 440.
//! Then the same request is sent with REQUESTED-ADDRESS-FAMILY, in the same transaction: the server has made nothing in it.
//! coTURN (4.6.1 was seen) has half an allocation from then on, and answers what follows with the address
//! 0.0.0.0; its refusal is handed on.
//!
//! - out: a request for an allocation → as it is, or with the family where the server has refused IPv4 before
//! - in: a refusal by 440 → the request with the family, to be sent in place of handing the refusal on

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::stun::{self, Class, Method};

/// Requests kept in mind: each address of ours asks each server once.
const REQUESTS_MAX: usize = 64;

/// The code of a server that relays no addresses of the family (RFC 8656 §19).
const FAMILY_NOT_SUPPORTED: u16 = 440;

/// How the SOFTWARE of coTURN begins.
const COTURN: &[u8] = b"Coturn";

/// Keys that requests are signed with (RFC 8489 §9.2.2).
pub(crate) trait LoginKeys {
    /// The key of this user in this realm; `None` for one whose login is not ours.
    fn key(&self, user: &str, realm: &str) -> Option<Vec<u8>>;
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RelayFamily {
    /// Requests for an allocation that named no family, by transaction.
    asked: BTreeMap<[u8; 12], (SocketAddr, Vec<u8>)>,
    /// Servers that relay no IPv4.
    without_ipv4: BTreeSet<SocketAddr>,
}

impl RelayFamily {
    /// True for what [`Self::sends`] or [`Self::receives`] has to look at: a request for an allocation, or a refusal of one.
    pub(crate) const fn concerns(datagram: &[u8]) -> bool {
        matches!(datagram, [0x00, 0x03, ..] | [0x01, 0x13, ..])
    }

    /// What is sent in place of a datagram to this server; `None`: the datagram itself.
    pub(crate) fn sends(&mut self, server: SocketAddr, datagram: &[u8], keys: &impl LoginKeys) -> Option<Vec<u8>> {
        let message = stun::Message::read(datagram)?;
        if (message.method, message.class) != (Method::Allocate, Class::Request) || !message.has_login() {
            return None;
        }
        if self.without_ipv4.contains(&server) {
            return for_ipv6(datagram, keys);
        }
        if self.asked.len() >= REQUESTS_MAX {
            self.asked.pop_first();
        }
        self.asked.insert(message.transaction, (server, datagram.to_vec()));
        None
    }

    /// What is to be sent to this server because of its refusal, which is not to be handed on then.
    pub(crate) fn receives(&mut self, server: SocketAddr, datagram: &[u8], keys: &impl LoginKeys) -> Option<Vec<u8>> {
        let message = stun::Message::read(datagram)?;
        if (message.method, message.class) != (Method::Allocate, Class::Error) {
            return None;
        }
        let (asked, request) = self.asked.remove(&message.transaction)?;
        let (code, _) = message.error()?;
        let is_coturn = message.software().is_some_and(|software| software.starts_with(COTURN));
        if code != FAMILY_NOT_SUPPORTED || asked != server || is_coturn {
            return None;
        }
        let request = for_ipv6(&request, keys)?;
        self.without_ipv4.insert(server);
        Some(request)
    }
}

fn for_ipv6(request: &[u8], keys: &impl LoginKeys) -> Option<Vec<u8>> {
    let message = stun::Message::read(request)?;
    let key = keys.key(message.username()?, message.realm()?)?;
    stun::asking_for_ipv6(request, &key)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Keys;

    impl LoginKeys for Keys {
        fn key(&self, user: &str, realm: &str) -> Option<Vec<u8>> {
            (user == "alice").then(|| realm.as_bytes().to_vec())
        }
    }

    const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 3478);

    fn request(user: &[u8], transaction: [u8; 12]) -> Vec<u8> {
        stun::write(
            0x0003,
            transaction,
            &[(0x0019, &[17, 0, 0, 0]), (0x0006, user), (0x0014, b"north"), (0x0008, &[0; 20])],
        )
    }

    fn refusal(code: u8, transaction: [u8; 12]) -> Vec<u8> {
        stun::write(0x0113, transaction, &[(0x0009, &[0, 0, 4, code])])
    }

    #[test]
    fn a_server_without_ipv4_is_asked_for_ipv6_once_and_from_then_on() {
        let (mut family, server) = (RelayFamily::default(), SocketAddr::from(SERVER));
        assert_eq!(family.sends(server, &request(b"alice", [1; 12]), &Keys), None);
        let again = family.receives(server, &refusal(40, [1; 12]), &Keys).unwrap();
        let message = stun::Message::read(&again).unwrap();
        assert_eq!((message.method, message.class, message.transaction), (Method::Allocate, Class::Request, [1; 12]));
        assert!(again.windows(8).any(|bytes| bytes == [0, 0x17, 0, 4, 2, 0, 0, 0]), "{again:?}");
        // The engine sends it again, or another socket asks.
        assert_eq!(family.sends(server, &request(b"alice", [1; 12]), &Keys), Some(again));
        assert!(family.sends(server, &request(b"alice", [2; 12]), &Keys).is_some());
        assert_eq!(family.receives(server, &refusal(40, [2; 12]), &Keys), None, "it relays no IPv6 either");
        let other = SocketAddr::from(([192, 0, 2, 2], 3478));
        assert_eq!(family.sends(other, &request(b"alice", [3; 12]), &Keys), None);
    }

    #[test]
    fn everything_else_is_handed_on() {
        let (mut family, server) = (RelayFamily::default(), SocketAddr::from(SERVER));
        let other = SocketAddr::from(([192, 0, 2, 2], 3478));
        for transaction in [[1; 12], [2; 12]] {
            family.sends(server, &request(b"alice", transaction), &Keys);
        }
        assert_eq!(family.receives(server, &refusal(86, [1; 12]), &Keys), None, "another reason");
        assert_eq!(family.receives(other, &refusal(40, [2; 12]), &Keys), None, "another server");
        assert_eq!(family.receives(server, &refusal(40, [9; 12]), &Keys), None, "not asked");
        family.sends(server, &request(b"alice", [4; 12]), &Keys);
        let of_coturn = stun::write(0x0113, [4; 12], &[(0x0009, &[0, 0, 4, 40]), (0x8022, b"Coturn-4.6.1 'Gorst'")]);
        assert_eq!(family.receives(server, &of_coturn, &Keys), None, "it has half an allocation");
        // A login that is not ours cannot be signed.
        family.sends(server, &request(b"bob", [3; 12]), &Keys);
        assert_eq!(family.receives(server, &refusal(40, [3; 12]), &Keys), None);
        for noise in [&[0x01, 0x13][..], &[0x00, 0x03, 0xff, 0xff], &[]] {
            assert_eq!(family.sends(server, noise, &Keys), None);
            assert_eq!(family.receives(server, noise, &Keys), None);
        }
        for n in 0..200 {
            family.sends(server, &request(b"alice", [n; 12]), &Keys);
        }
        assert_eq!(family.asked.len(), REQUESTS_MAX);
    }
}

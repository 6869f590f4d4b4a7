//! What the `turn` crate does not check: which peers a client may reach, how many allocations a user may have and of which
//! family, and that a wrong login is called that.
//!
//! - owns: the listening UDP socket, wrapped; the set of relayed ports now open
//! - must never: let a datagram through that [`Policy`] forbids, end the server because of one bad datagram
//! - flow: socket → [`Listener::recv_from`] → [`Policy::judge`] → passed on, answered with 401 or 403, or dropped
//!
//! [`Policy::judge`] is asked for messages of streams too, and [`Policy::may_exchange`] for what is relayed.
//!
//! The crate itself answers a wrong password with 400 (RFC 8489 section 9.2.4 wants 401) and permits every peer
//! (RFC 8656 section 21.1.6 warns of that).

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ::turn::auth::AuthHandler;
use ::turn::proto::peeraddr::PeerAddress;
use ::turn::proto::reqfamily::{REQUESTED_FAMILY_IPV4, RequestedAddressFamily};
use async_trait::async_trait;
use stun::attributes::{
    ATTR_MESSAGE_INTEGRITY, ATTR_NONCE, ATTR_REALM, ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS, Attributes,
};
use stun::error_code::{
    CODE_ADDR_FAMILY_NOT_SUPPORTED, CODE_ALLOC_QUOTA_REACHED, CODE_FORBIDDEN, CODE_UNAUTHORIZED, ErrorCodeAttribute,
};
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_REQUEST, Getter, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND,
    METHOD_CREATE_PERMISSION, Message, MessageType, Setter,
};
use stun::textattrs::TextAttribute;
use tokio::net::UdpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::datagrams::Datagrams;
use super::quota::{Quota, Requester};
use super::{Credentials, PeerPolicy, TurnConfig};

/// Why a login is refused, as the client is told (RFC 8489 section 14.8).
const UNAUTHORIZED: &str = "Unauthorized";
const EXPIRED: &str = "the login has expired";

impl PeerPolicy {
    /// Whether packets may go to and come from this address.
    fn allows(self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return false;
        }
        match self {
            Self::PrivateToo => true,
            Self::PublicOnly => match ip {
                IpAddr::V4(ip) => is_public_v4(ip),
                IpAddr::V6(ip) => is_public_v6(ip),
            },
        }
    }
}

/// Not in the registry of special-purpose addresses, RFC 6890, as far as packets could arrive anywhere.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let carrier_nat = a == 100 && (64..128).contains(&b);
    let protocol_assignments = (a, b, c) == (192, 0, 0);
    let benchmarking = a == 198 && (b == 18 || b == 19);
    !(a == 0
        || a >= 240
        || ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || carrier_nat
        || protocol_assignments
        || benchmarking)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // 64:ff9b::/96 is an IPv4 address behind a translator, RFC 6052.
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = ip.segments() {
        return is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    }
    !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local())
}

/// What to do with a datagram from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// A request for an allocation, by this user.
    Allocate {
        user: String,
    },
    Answer(Vec<u8>),
    Drop,
}

/// Who may relay to whom; shared by the listener and every relayed socket.
pub(super) struct Policy {
    pub(super) realm: String,
    credentials: Credentials,
    peers: PeerPolicy,
    pub(super) relay_ip: IpAddr,
    pub(super) quota: Arc<Quota>,
    relay_ports: Mutex<BTreeSet<u16>>,
}

impl Policy {
    pub(super) fn new(config: &TurnConfig) -> Self {
        Self {
            realm: config.realm.clone(),
            credentials: config.credentials.clone(),
            peers: config.peers,
            relay_ip: config.relay_ip,
            quota: Arc::new(Quota::new(config.quota)),
            relay_ports: Mutex::default(),
        }
    }

    /// Permissions are by address; the relay's own is always good, as two relayed peers meet there.
    fn may_permit(&self, ip: IpAddr) -> bool {
        ip.to_canonical() == self.relay_ip.to_canonical() || self.allows(ip)
    }

    /// What the policy allows, without this machine's own loopback unless the relay is there itself: services that
    /// listen on it trust whoever reaches them.
    fn allows(&self, ip: IpAddr) -> bool {
        let own_machine = ip.to_canonical().is_loopback() && !self.relay_ip.to_canonical().is_loopback();
        !own_machine && self.peers.allows(ip)
    }

    /// Data is by address and port: on the relay's own address only relayed ports, lest clients reach other services.
    pub(super) fn may_exchange(&self, peer: SocketAddr) -> bool {
        let own = peer.ip().to_canonical() == self.relay_ip.to_canonical();
        match (own, self.peers) {
            (true, PeerPolicy::PublicOnly) => self.with_ports(|ports| ports.contains(&peer.port())),
            (true, PeerPolicy::PrivateToo) | (false, _) => self.allows(peer.ip()),
        }
    }

    pub(super) fn with_ports<T>(&self, work: impl FnOnce(&mut BTreeSet<u16>) -> T) -> T {
        work(&mut self.relay_ports.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn judge(&self, datagram: &[u8], now: SystemTime) -> Verdict {
        match datagram.first() {
            // ChannelData, RFC 8656 section 12.4: its channel was bound by a request judged before.
            Some(first) if first & 0xc0 == 0x40 => return Verdict::Pass,
            Some(first) if first & 0xc0 == 0 => {}
            Some(_) | None => return Verdict::Drop,
        }
        let mut message = Message::new();
        message.raw = datagram.to_vec();
        if message.decode().is_err() {
            return Verdict::Drop;
        }
        let unsigned = !message.contains(ATTR_MESSAGE_INTEGRITY);
        if message.typ.class != CLASS_REQUEST || message.typ.method == METHOD_BINDING || unsigned {
            return Verdict::Pass;
        }
        let (username, signature) = match self.login(&mut message, now) {
            Ok(login) => login,
            Err(reason) => return self.unauthorized(&message, reason),
        };
        if message.typ.method == METHOD_ALLOCATE {
            return self.judge_allocation(&message, &username, signature);
        }
        let names_peers = [METHOD_CREATE_PERMISSION, METHOD_CHANNEL_BIND].contains(&message.typ.method);
        if names_peers && !peers(&message).all(|ip| self.may_permit(ip)) {
            return answer(&message, CODE_FORBIDDEN, vec![Box::new(signature)]);
        }
        Verdict::Pass
    }

    /// There is one family to relay from, and each user may have so many addresses.
    fn judge_allocation(&self, message: &Message, username: &str, signature: MessageIntegrity) -> Verdict {
        let mut wanted = RequestedAddressFamily::default();
        let wanted = match wanted.get_from(message) {
            Ok(()) => wanted,
            Err(stun::Error::ErrAttributeNotFound) => REQUESTED_FAMILY_IPV4,
            // The crate has an answer to it.
            Err(_) => return Verdict::Pass,
        };
        if (wanted == REQUESTED_FAMILY_IPV4) != self.relay_ip.to_canonical().is_ipv4() {
            return answer(message, CODE_ADDR_FAMILY_NOT_SUPPORTED, vec![Box::new(signature)]);
        }
        let user = self.credentials.user_of(username);
        if !self.quota.has_room(user) {
            debug!("an allocation is refused: its user has as many as one may have");
            return answer(message, CODE_ALLOC_QUOTA_REACHED, vec![Box::new(signature)]);
        }
        Verdict::Allocate { user: user.to_owned() }
    }

    /// Who has signed the message, and by which key; or what is wrong with user, realm or signature.
    fn login(&self, message: &mut Message, now: SystemTime) -> Result<(String, MessageIntegrity), &'static str> {
        let wrong = |_| UNAUTHORIZED;
        let username = TextAttribute::get_from_as(message, ATTR_USERNAME).map_err(wrong)?.text;
        let realm = TextAttribute::get_from_as(message, ATTR_REALM).map_err(wrong)?.text;
        let key = MessageIntegrity(self.credentials.key(&username, &realm).ok_or(UNAUTHORIZED)?);
        if realm != self.realm || key.check(message).is_err() {
            return Err(UNAUTHORIZED);
        }
        // Only whoever knows the password is told.
        if self.credentials.has_expired(&username, now) { Err(EXPIRED) } else { Ok((username, key)) }
    }

    /// The client's nonce is given back: with it the same login fails again, a right one goes on without a round trip.
    fn unauthorized(&self, message: &Message, reason: &str) -> Verdict {
        let mut attributes: Vec<Box<dyn Setter>> = vec![Box::new(TextAttribute::new(ATTR_REALM, self.realm.clone()))];
        if let Ok(nonce) = TextAttribute::get_from_as(message, ATTR_NONCE) {
            attributes.push(Box::new(nonce));
        }
        let code = ErrorCodeAttribute { code: CODE_UNAUTHORIZED, reason: reason.into() };
        answer(message, code, attributes)
    }
}

/// The peers a request names; those that cannot be read are left for the server to answer with 400.
fn peers(message: &Message) -> impl Iterator<Item = IpAddr> + '_ {
    message.attributes.0.iter().filter(|attribute| attribute.typ == ATTR_XOR_PEER_ADDRESS).filter_map(|attribute| {
        let mut single = Message { transaction_id: message.transaction_id, ..Message::default() };
        single.attributes = Attributes(vec![attribute.clone()]);
        let mut peer = PeerAddress::default();
        peer.get_from(&single).ok().map(|()| peer.ip)
    })
}

/// The `turn` crate asks for the key of a login.
impl AuthHandler for Policy {
    fn auth_handle(&self, username: &str, realm: &str, _from: SocketAddr) -> Result<Vec<u8>, ::turn::Error> {
        let is_good = !self.credentials.has_expired(username, SystemTime::now());
        self.credentials.key(username, realm).filter(|_| is_good).ok_or(::turn::Error::ErrNoSuchUser)
    }
}

fn answer(request: &Message, code: impl Setter + 'static, attributes: Vec<Box<dyn Setter>>) -> Verdict {
    let mut setters: Vec<Box<dyn Setter>> = vec![
        Box::new(request.transaction_id),
        Box::new(MessageType::new(request.typ.method, CLASS_ERROR_RESPONSE)),
        Box::new(code),
    ];
    setters.extend(attributes);
    let mut response = Message::new();
    match response.build(&setters) {
        Ok(()) => Verdict::Answer(response.raw),
        Err(error) => {
            debug!(%error, "no answer to a refused TURN request");
            Verdict::Drop
        }
    }
}

/// The socket clients speak to; tells `ended` when the last user of it is gone.
pub(super) struct Listener {
    socket: UdpSocket,
    policy: Arc<Policy>,
    requester: Requester,
    _ended: DropGuard,
}

impl Listener {
    pub(super) fn new(socket: UdpSocket, policy: Arc<Policy>, requester: Requester, ended: CancellationToken) -> Self {
        Self { socket, policy, requester, _ended: ended.drop_guard() }
    }
}

#[async_trait]
impl Datagrams for Listener {
    async fn recv_from(&self, buf: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        loop {
            let (len, from) = receive(&self.socket, buf).await?;
            match self.policy.judge(&buf[..len], SystemTime::now()) {
                Verdict::Pass => return Ok((len, from)),
                Verdict::Allocate { user } => {
                    self.requester.set(user);
                    return Ok((len, from));
                }
                Verdict::Answer(response) => {
                    if let Err(error) = self.socket.send_to(&response, from).await {
                        debug!(%error, "could not answer a refused TURN request");
                    }
                }
                Verdict::Drop => {}
            }
        }
    }

    async fn send_to(&self, buf: &[u8], target: SocketAddr) -> webrtc_util::Result<usize> {
        Ok(self.socket.send_to(buf, target).await?)
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }
}

/// Receives, past the errors that tell of an earlier datagram which found nobody at its target.
pub(super) async fn receive(socket: &UdpSocket, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(buf).await {
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused) => {
            }
            received => return received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Transports;
    use super::*;

    fn policy(peers: PeerPolicy) -> Policy {
        Policy::new(&TurnConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            transports: Transports::Udp,
            relay_ip: "192.168.7.1".parse().unwrap(),
            realm: "r".into(),
            credentials: Credentials::LongTerm { user: "u".into(), password: "p".into() },
            peers,
            quota: None,
        })
    }

    #[test]
    fn only_public_addresses_are_peers_unless_told_otherwise() {
        let private = [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.1.2.3",
            "198.19.0.1",
            "250.0.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
        ];
        for ip in private {
            assert!(!PeerPolicy::PublicOnly.allows(ip.parse().unwrap()), "{ip}");
            assert!(PeerPolicy::PrivateToo.allows(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1", "64:ff9b::808:808"] {
            assert!(PeerPolicy::PublicOnly.allows(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "::ffff:255.255.255.255"] {
            assert!(!PeerPolicy::PrivateToo.allows(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn on_the_relays_own_address_only_relayed_ports_are_reached() {
        let policy = policy(PeerPolicy::PublicOnly);
        assert!(policy.may_permit("192.168.7.1".parse().unwrap()));
        assert!(!policy.may_permit("192.168.7.2".parse().unwrap()));
        policy.with_ports(|ports| ports.insert(50_000));
        assert!(policy.may_exchange("192.168.7.1:50000".parse().unwrap()));
        assert!(!policy.may_exchange("192.168.7.1:53".parse().unwrap()));
    }

    #[test]
    fn noise_is_dropped_and_media_passes() {
        let policy = policy(PeerPolicy::PublicOnly);
        let now = SystemTime::now();
        assert_eq!(policy.judge(&[], now), Verdict::Drop);
        assert_eq!(policy.judge(b"GET / HTTP/1.1\r\n", now), Verdict::Pass, "reads as a channel, which nobody bound");
        assert_eq!(policy.judge(&[0x80, 0, 0, 0], now), Verdict::Drop);
        assert_eq!(policy.judge(&[0, 1, 0, 200, 0x21, 0x12, 0xa4, 0x42], now), Verdict::Drop);
        assert_eq!(policy.judge(&[0x40, 0, 0, 1, 7, 0, 0, 0], now), Verdict::Pass);
    }
}

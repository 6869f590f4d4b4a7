//! Addresses of our own that stand for TURN servers over TCP and TLS.
//!
//! The engine speaks to TURN servers over UDP alone. It is given `turn:STAND-IN?transport=udp` for a server over TCP or
//! TLS, and its datagrams to that address go into a stream (`engine/sockets/relay_streams`). The addresses are of
//! 240.0.0.0/4, which is reserved and never routed (RFC 1112 §4), and of 100::/64, where packets only end (RFC 6666): no
//! server and no peer has one. A server has one of each family, for sockets of each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::ice_server::{IceServer, IceServerKind, IceTransport, IceUrl};

/// Servers that can have a stand-in: far more than anybody names.
const STAND_INS_MAX: u8 = 250;

/// The port of each.
const PORT: u16 = 3478;

/// The TURN servers over TCP and TLS of a list, each with the address that stands for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct StandIns(Vec<(IceUrl, SocketAddr)>);

impl StandIns {
    /// Gives each server over TCP and TLS an address, by its place in the list; the same one for the same URL.
    pub(crate) fn of(servers: &[IceServer]) -> Self {
        let mut all: Vec<(IceUrl, SocketAddr)> = Vec::new();
        for IceServer { url, .. } in servers {
            let is_new = all.iter().all(|(known, _)| known != url);
            if let Some(number) = u8::try_from(all.len() + 1).ok().filter(|number| *number <= STAND_INS_MAX)
                && url.transport.is_stream()
                && is_new
            {
                all.push((url.clone(), SocketAddr::from((Ipv4Addr::new(240, 0, 0, number), PORT))));
            }
        }
        Self(all)
    }

    /// The address that stands for a server; `None` for one over UDP.
    pub(crate) fn of_server(&self, url: &IceUrl) -> Option<SocketAddr> {
        self.0.iter().find(|(known, _)| known == url).map(|(_, address)| *address)
    }

    /// The server that an address of either family stands for.
    pub(crate) fn server(&self, address: SocketAddr) -> Option<&IceUrl> {
        let address = of_ipv4(address);
        self.0.iter().find(|(_, known)| *known == address).map(|(url, _)| url)
    }

    /// The URL that the engine is given in place of `url`.
    pub(crate) fn for_engine(&self, url: &IceUrl) -> IceUrl {
        match self.of_server(url) {
            None => url.clone(),
            Some(address) => IceUrl {
                kind: IceServerKind::Turn,
                transport: IceTransport::Udp,
                host: address.ip().to_string(),
                port: address.port(),
            },
        }
    }
}

/// The stand-in of IPv4 for one of IPv6; any other address as it is.
pub(crate) fn of_ipv4(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) => match ip.segments() {
            [0x100, 0, 0, 0, 0, 0, 0, number @ 1..=0xff] => {
                SocketAddr::from((Ipv4Addr::new(240, 0, 0, number as u8), address.port()))
            }
            _ => address,
        },
        IpAddr::V4(_) => address,
    }
}

/// A stand-in of IPv4, and the one of IPv6 for the same server.
pub(crate) fn of_both_families(address: SocketAddr) -> Vec<SocketAddr> {
    match address.ip() {
        IpAddr::V4(ip) => {
            let [.., number] = ip.octets();
            let of_ipv6 = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, number.into());
            vec![address, SocketAddr::from((of_ipv6, address.port()))]
        }
        IpAddr::V6(_) => vec![address],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_over_a_stream_has_an_address_of_its_own() {
        let server =
            |url: &str| IceServer { url: url.parse().unwrap(), username: String::new(), password: String::new() };
        let urls = ["turn:a", "turns:a", "stun:a", "turn:a?transport=tcp", "turns:a:5349", "turns:a:443"];
        let servers = urls.map(server);
        let all = StandIns::of(&servers);
        let given = servers.iter().map(|server| all.for_engine(&server.url).to_string()).collect::<Vec<_>>();
        assert_eq!(
            given,
            [
                "turn:a:3478?transport=udp",
                "turn:240.0.0.1:3478?transport=udp",
                "stun:a:3478",
                "turn:240.0.0.2:3478?transport=udp",
                "turn:240.0.0.1:3478?transport=udp",
                "turn:240.0.0.3:3478?transport=udp",
            ]
        );
        assert_eq!(all.server("240.0.0.2:3478".parse().unwrap()), Some(&servers[3].url));
        assert_eq!(all.server("240.0.0.2:1".parse().unwrap()), None);
        assert_eq!(all.server("240.0.0.4:3478".parse().unwrap()), None);
        let both = of_both_families("240.0.0.2:3478".parse().unwrap());
        assert_eq!(both[1].to_string(), "[100::2]:3478");
        assert!(both.iter().all(|address| all.server(*address) == Some(&servers[3].url)));
        for other in ["[100::4]:3478", "[100::]:3478", "[2001:db8::2]:3478"] {
            assert_eq!(all.server(other.parse().unwrap()), None, "{other}");
        }
    }
}

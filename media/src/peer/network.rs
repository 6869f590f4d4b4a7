//! This machine's addresses: what sockets are bound to, and whether that is still what there is.
//!
//! - [`BindTo`] is asked by the engine each time it binds: at first, and again for each ICE restart
//! - [`Addresses::outdated_by`] decides, from one look to the next, whether a call should move

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;

use rtc::mdns::MulticastSocket;
use rtc::shared::ifaces::ifaces;
use tracing::debug;

use super::config::Loopback;

/// Addresses of this machine at one time. IPv4: the engine's sockets are.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    /// Those that another machine may reach.
    pub(super) usable: BTreeSet<Ipv4Addr>,
    /// The one that packets to the rest of the world leave from.
    pub(super) way_out: Option<Ipv4Addr>,
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Addresses({}, …)", self.usable.len())
    }
}

impl Addresses {
    /// True when a path that starts at `in_use` and was found with these addresses should be looked for anew now that
    /// there are others: ours is gone, or the way out is by an address that was not there. False while there is
    /// nothing to move to; an interface more, or less, that the call does not use changes nothing.
    pub(super) fn outdated_by(&self, now: &Self, in_use: Option<Ipv4Addr>) -> bool {
        let lost = match in_use {
            Some(address) => self.usable.contains(&address) && !now.usable.contains(&address),
            None => !self.usable.is_subset(&now.usable),
        };
        let moved = now.way_out.is_some_and(|way_out| !self.usable.contains(&way_out));
        // An address comes a moment before its route: whoever had a route waits for one.
        let ready = !now.usable.is_empty() && (now.way_out.is_some() || self.way_out.is_none());
        ready && (lost || moved)
    }
}

/// What a peer connection wants to know of the network; tests have one of their own.
pub(super) trait Network: Send + Sync {
    /// The addresses at the moment.
    fn addresses(&self) -> Addresses;

    /// Whether a multicast group can be joined, which the engine does at each binding to look up candidates that hide
    /// behind multicast DNS names. Where it fails the engine gives up.
    fn takes_multicast(&self) -> bool;
}

/// The network as it is.
#[derive(Debug)]
pub(super) struct ThisMachine;

impl Network for ThisMachine {
    fn addresses(&self) -> Addresses {
        let usable = ifaces().unwrap_or_else(|error| {
            debug!(%error, "addresses of this machine unknown");
            Vec::new()
        });
        let usable = usable.into_iter().filter_map(|interface| match interface.addr?.ip() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        });
        Addresses {
            usable: usable.filter(|ip| !ip.is_loopback() && !ip.is_unspecified() && !ip.is_link_local()).collect(),
            way_out: way_out(),
        }
    }

    fn takes_multicast(&self) -> bool {
        MulticastSocket::new().into_std().is_ok()
    }
}

/// The address that routes lead out from. Connecting a UDP socket sends nothing.
fn way_out() -> Option<Ipv4Addr> {
    let probe = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // 192.0.2.0/24 is for documentation (RFC 5737): never a real peer, but routed like any other address.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    match probe() {
        Ok(IpAddr::V4(ip)) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        Ok(_) | Err(_) => None,
    }
}

/// Where sockets are bound: one each of the addresses that there are at that moment.
#[derive(Clone)]
pub(super) struct BindTo {
    pub(super) network: Arc<dyn Network>,
    pub(super) loopback: Loopback,
}

impl ToSocketAddrs for BindTo {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let mut ips: Vec<Ipv4Addr> = self.network.addresses().usable.into_iter().collect();
        // Without a network both ends can only be here.
        if self.loopback == Loopback::Include || ips.is_empty() {
            ips.push(Ipv4Addr::LOCALHOST);
        }
        Ok(ips.into_iter().map(|ip| SocketAddr::from((ip, 0))).collect::<Vec<_>>().into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(usable: &[u8], way_out: Option<u8>) -> Addresses {
        let ip = |last: &u8| Ipv4Addr::new(192, 0, 2, *last);
        Addresses { usable: usable.iter().map(ip).collect(), way_out: way_out.as_ref().map(ip) }
    }

    #[test]
    fn a_call_moves_when_its_address_is_gone_and_there_is_another() {
        let ours = Some(Ipv4Addr::new(192, 0, 2, 1));
        let before = addresses(&[1, 9], Some(1));
        for (now, moves, why) in [
            (addresses(&[1, 9], Some(1)), false, "nothing changed"),
            (addresses(&[], None), false, "nothing to move to"),
            (addresses(&[9], None), false, "no route yet"),
            (addresses(&[9], Some(9)), true, "over to the other interface"),
            (addresses(&[2, 9], Some(2)), true, "another address"),
            (addresses(&[1], Some(1)), false, "an interface that is not used went"),
            (addresses(&[1, 3, 9], Some(1)), false, "one more that leads nowhere"),
            (addresses(&[1, 3, 9], Some(3)), true, "one more, and the way out is by it"),
            (addresses(&[1, 9], Some(9)), false, "what is in use is still there"),
        ] {
            assert_eq!(before.outdated_by(&now, ours), moves, "{why}");
        }
        assert!(before.outdated_by(&addresses(&[1], Some(1)), None), "unknown which is in use");
    }

    #[test]
    fn a_network_without_a_way_out_is_one_too() {
        let ours = Some(Ipv4Addr::new(192, 0, 2, 1));
        assert!(addresses(&[1], None).outdated_by(&addresses(&[2], None), ours));
        assert!(addresses(&[], None).outdated_by(&addresses(&[2], Some(2)), None), "back after there was none");
        assert!(!addresses(&[], None).outdated_by(&addresses(&[], None), None));
    }
}

//! This machine's addresses: what sockets are bound to, and whether that is still what there is.
//!
//! - [`BindTo`] is asked by the engine each time it binds: at first, and again for each ICE restart
//! - [`Addresses::outdated_by`] decides, from one look to the next, whether a call should move
//!
//! An address counts only while its interface is up and has a carrier: a bridge without a container, a cable that is
//! pulled out and a radio that is off lead nowhere, though they keep their addresses.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use super::ice_server::Loopback;

/// Addresses that sockets are bound to, and so are offered, at most. ICE checks each of ours against each of theirs:
/// with 8 a side, and as many of the other kinds, a round of checks takes milliseconds. A machine with more has them
/// for its containers.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// Of these at most so many are IPv6 of one interface, which may have a dozen: for privacy a new one each day.
pub(crate) const IPV6_A_LINK_MAX: usize = 2;

/// Addresses that stand for the rest of the world: they are for documentation (RFC 5737, RFC 3849), so they are never a
/// real peer, but routed like any other.
pub(crate) const ANYWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// True for an address at which another machine may reach this one. Link-local ones mean nothing without the name of a
/// link, which a candidate has no place for (RFC 8445 §5.1.1.1).
pub(crate) fn others_reach(ip: IpAddr) -> bool {
    !ip.is_loopback()
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && match ip {
            IpAddr::V4(ip) => !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local() && ip.to_ipv4_mapped().is_none(),
        }
}

/// Addresses of this machine at one time.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Those that another machine may reach, in order of use: the way out first.
    pub(crate) usable: Vec<IpAddr>,
    /// The one that packets to the rest of the world leave from: by IPv4 where that leads there.
    pub(crate) way_out: Option<IpAddr>,
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Addresses({}, …)", self.usable.len())
    }
}

/// The path in use, as the system's routes see it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// The address of this machine that the path starts at.
    pub(crate) from: IpAddr,
    /// Where its packets go: to the other side, or to a TURN server.
    pub(crate) to: IpAddr,
    /// The address that the system chooses for packets to there.
    pub(crate) chosen: Option<IpAddr>,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route(…)")
    }
}

impl Route {
    /// True when both are of one path.
    fn is_of(&self, other: &Self) -> bool {
        (self.from, self.to) == (other.from, other.to)
    }
}

impl Addresses {
    /// True when the path that is used, or looked for, should be looked for anew now that addresses or routes are
    /// others. `before` and `route` are of the path in use: how packets to the other side were routed at the look
    /// before, and how they are now. Without one the way to the rest of the world stands for it.
    ///
    /// False while there is nothing to move to; what the call does not use changes nothing.
    pub(crate) fn outdated_by(&self, now: &Self, before: Option<&Route>, route: Option<&Route>) -> bool {
        let Some(route) = route else {
            let lost = self.usable.iter().any(|address| !now.usable.contains(address));
            let moved = now.way_out.is_some_and(|way_out| !self.usable.contains(&way_out));
            // An address comes a moment before its route: whoever had a route waits for one.
            let ready = !now.usable.is_empty() && (now.way_out.is_some() || self.way_out.is_none());
            return ready && (lost || moved);
        };
        let before = before.filter(|before| before.is_of(route));
        let lost = self.usable.contains(&route.from) && !now.usable.contains(&route.from);
        // Packets keep the address that the path starts at, but leave by another interface: few routers take them.
        let moved = before.is_some_and(|before| route.chosen != before.chosen) && route.chosen != Some(route.from);
        let ready = match route.chosen {
            Some(chosen) => now.usable.contains(&chosen),
            None => before.is_some_and(|before| before.chosen.is_none()) && !now.usable.is_empty(),
        };
        ready && (lost || moved)
    }
}

/// An interface that is up. Names are asked for by IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) ip: Ipv4Addr,
}

/// What a peer connection wants to know of the network; tests have one of their own.
pub(crate) trait Network: Send + Sync {
    /// The addresses at the moment.
    fn addresses(&self) -> Addresses;

    /// The address that packets to this destination leave from at the moment.
    fn way_to(&self, destination: IpAddr) -> Option<IpAddr>;

    /// The interfaces on which others may be asked for their names, each with an address of ours.
    fn interfaces(&self) -> Vec<Interface> {
        Vec::new()
    }

    /// The interface that a socket of this address has to be tied to, because routes lead by another one that is dead.
    fn tie(&self, _address: IpAddr) -> Option<String> {
        None
    }

    /// How packets of the path between these two are routed at the moment.
    fn route(&self, from: IpAddr, to: Option<IpAddr>) -> Route {
        let [anywhere_v4, anywhere_v6] = ANYWHERE;
        let to = to.unwrap_or(if from.is_ipv4() { anywhere_v4 } else { anywhere_v6 });
        Route { from, to, chosen: self.way_to(to) }
    }
}

/// Where sockets are bound: one each of the first addresses that there are at that moment.
#[derive(Clone)]
pub(crate) struct BindTo {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) loopback: Loopback,
}

impl ToSocketAddrs for BindTo {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let mut ips = self.network.addresses().usable;
        ips.truncate(ADDRESSES_MAX);
        // Without a network both ends can only be here.
        if self.loopback == Loopback::Include || ips.is_empty() {
            ips.push(Ipv4Addr::LOCALHOST.into());
        }
        Ok(ips.into_iter().map(|ip| SocketAddr::from((ip, 0))).collect::<Vec<_>>().into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    fn addresses(usable: &[u8], way_out: Option<u8>) -> Addresses {
        Addresses { usable: usable.iter().copied().map(ip).collect(), way_out: way_out.map(ip) }
    }

    /// A path from address 1, whose packets the system would send from `chosen`.
    fn route(chosen: Option<u8>) -> Route {
        Route { from: ip(1), to: ip(200), chosen: chosen.map(ip) }
    }

    #[test]
    fn a_call_moves_when_its_address_is_gone_and_there_is_another() {
        let before = addresses(&[1, 9], Some(1));
        for (now, chosen, moves, why) in [
            (addresses(&[1, 9], Some(1)), Some(1), false, "nothing changed"),
            (addresses(&[], None), None, false, "nothing to move to"),
            (addresses(&[9], None), None, false, "no route yet"),
            (addresses(&[9], Some(1)), Some(1), false, "the route leads by an interface that is dead"),
            (addresses(&[9], Some(9)), Some(9), true, "over to the other interface"),
            (addresses(&[9], None), Some(9), true, "a route to the other side need not be a default route"),
            (addresses(&[2, 9], Some(2)), Some(2), true, "another address"),
            (addresses(&[1], Some(1)), Some(1), false, "an interface that is not used went"),
            (addresses(&[1, 3, 9], Some(1)), Some(1), false, "one more that leads nowhere"),
            (addresses(&[1, 3, 9], Some(3)), Some(3), true, "one more, and the way out is by it"),
            (addresses(&[1, 9], Some(9)), Some(9), true, "the address stays, but packets leave by the other"),
            (addresses(&[1, 9], Some(9)), Some(1), false, "the way out is another, but not to the other side"),
        ] {
            let moved = before.outdated_by(&now, Some(&route(Some(1))), Some(&route(chosen)));
            assert_eq!(moved, moves, "{why}");
        }
        assert!(before.outdated_by(&addresses(&[1], Some(1)), None, None), "unknown which is in use");
    }

    #[test]
    fn a_path_against_the_routes_is_left_alone_while_they_stay() {
        let same = addresses(&[1, 9], Some(9));
        let (here, there) = (route(Some(1)), route(Some(9)));
        assert!(!same.outdated_by(&same, Some(&there), Some(&there)), "found so, and works");
        assert!(!same.outdated_by(&same, None, Some(&there)), "seen for the first time");
        assert!(!same.outdated_by(&same, Some(&there), Some(&here)), "now by the address in use");
        let elsewhere = Route { to: ip(201), ..here };
        assert!(!same.outdated_by(&same, Some(&elsewhere), Some(&there)), "that was another path");
    }

    #[test]
    fn a_network_without_a_way_out_is_one_too() {
        assert!(addresses(&[1], None).outdated_by(&addresses(&[2], None), Some(&route(None)), Some(&route(None))));
        assert!(addresses(&[], None).outdated_by(&addresses(&[2], Some(2)), None, None), "back after there was none");
        assert!(!addresses(&[], None).outdated_by(&addresses(&[], None), None, None));
    }

    #[test]
    fn addresses_that_mean_something_to_others_are_told_from_the_rest() {
        for (text, reached) in [
            ("192.0.2.1", true),
            ("10.0.0.1", true),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("169.254.1.1", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("ff02::1", false),
            ("::ffff:192.0.2.1", false),
        ] {
            assert_eq!(others_reach(text.parse().unwrap()), reached, "{text}");
        }
    }

    #[test]
    fn no_more_sockets_are_bound_than_ice_can_check() {
        struct Many;
        impl Network for Many {
            fn addresses(&self) -> Addresses {
                Addresses { usable: (1..=100).map(ip).collect(), way_out: Some(ip(1)) }
            }
            fn way_to(&self, _: IpAddr) -> Option<IpAddr> {
                Some(ip(1))
            }
        }
        let bound = BindTo { network: Arc::new(Many), loopback: Loopback::Exclude };
        let bound: Vec<IpAddr> = bound.to_socket_addrs().unwrap().map(|address| address.ip()).collect();
        assert_eq!(bound, (1..=8).map(ip).collect::<Vec<_>>());
    }
}

//! Asks the system for this machine's addresses, interfaces and routes. What follows from them is decided in
//! [`crate::path::addresses`].
//!
//! An address counts only while its interface is up and has a carrier. A bridge without a container, a cable that is
//! pulled out and a radio that is off keep their addresses, but lead nowhere.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use tracing::debug;

use crate::path::addresses::{ADDRESSES_MAX, ANYWHERE, Addresses, IPV6_A_LINK_MAX, Interface, Network, others_reach};

/// The network as it is.
#[derive(Debug)]
pub(super) struct ThisMachine;

impl Network for ThisMachine {
    fn addresses(&self) -> Addresses {
        let mut live: Vec<_> = interfaces::live().into_iter().filter(|live| others_reach(live.ip)).collect();
        let ways_out = ANYWHERE.map(|anywhere| self.way_to(anywhere));
        if live.len() > ADDRESSES_MAX {
            live.sort_by_key(|live| interfaces::is_for_containers(&live.interface));
        }
        // The ways out first, each family in turn: neither is to crowd the other out.
        live.sort_by_key(|live| !ways_out.contains(&Some(live.ip)));
        let mut taken: Vec<interfaces::Live> = Vec::new();
        for one in live {
            let is_same_link = |other: &&interfaces::Live| other.ip.is_ipv6() && other.interface == one.interface;
            let is_one_too_many = one.ip.is_ipv6() && taken.iter().filter(is_same_link).count() >= IPV6_A_LINK_MAX;
            if !is_one_too_many && taken.iter().all(|other| other.ip != one.ip) {
                taken.push(one);
            }
        }
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = taken.into_iter().map(|live| live.ip).partition(IpAddr::is_ipv4);
        let usable = in_turn(v4, v6);
        Addresses { usable, way_out: ways_out.into_iter().flatten().next() }
    }

    fn way_to(&self, destination: IpAddr) -> Option<IpAddr> {
        let chosen = probe(destination, None)?;
        let live = interfaces::live();
        if live.iter().any(|live| live.ip == chosen) {
            return Some(chosen);
        }
        // A system may keep a route whose interface has lost its carrier: then another one has to be named.
        live.iter().find_map(|live| probe(destination, Some(&live.interface))).or(Some(chosen))
    }

    fn tie(&self, address: IpAddr) -> Option<String> {
        let anywhere = ANYWHERE.into_iter().find(|anywhere| anywhere.is_ipv4() == address.is_ipv4())?;
        let chosen = probe(anywhere, None)?;
        let live = interfaces::live();
        let is_dead = live.iter().all(|live| live.ip != chosen);
        live.into_iter().find(|live| is_dead && live.ip == address).map(|live| live.interface)
    }

    fn interfaces(&self) -> Vec<Interface> {
        let usable = self.addresses().usable;
        let live = interfaces::live().into_iter().filter(|live| usable.contains(&live.ip));
        let with_ipv4 = live.filter_map(|live| match live.ip {
            IpAddr::V4(ip) => Some(Interface { name: live.interface, ip }),
            IpAddr::V6(_) => None,
        });
        with_ipv4.take(ADDRESSES_MAX).collect()
    }
}

/// One of each in turn.
fn in_turn(v4: Vec<IpAddr>, v6: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut v4, mut v6) = (v4.into_iter(), v6.into_iter());
    let mut both = Vec::new();
    loop {
        let (a, b) = (v4.next(), v6.next());
        if a.is_none() && b.is_none() {
            return both;
        }
        both.extend([a, b].into_iter().flatten());
    }
}

/// The address that packets leave from, by this interface or by whichever the system chooses. Connecting a UDP socket
/// sends nothing.
fn probe(destination: IpAddr, interface: Option<&str>) -> Option<IpAddr> {
    let any = match destination {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let connect = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind((any, 0))?;
        if let Some(interface) = interface {
            interfaces::tie(&socket, interface)?;
        }
        socket.connect((destination, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    match connect() {
        Ok(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        Ok(_) | Err(_) => None,
    }
}

/// What the system tells of its interfaces.
pub(super) mod interfaces {
    use std::io;
    use std::net::{IpAddr, UdpSocket};

    use super::debug;

    /// An address of an interface that is up and has a carrier.
    pub(super) struct Live {
        pub(super) ip: IpAddr,
        pub(super) interface: String,
    }

    /// All of them, in the system's order.
    #[cfg(unix)]
    pub(super) fn live() -> Vec<Live> {
        use nix::net::if_::InterfaceFlags;

        // RUNNING is the carrier (RFC 2863 operational status).
        let alive = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
        let all = match nix::ifaddrs::getifaddrs() {
            Ok(all) => all,
            Err(error) => {
                debug!(%error, "addresses of this machine unknown");
                return Vec::new();
            }
        };
        all.filter(|interface| interface.flags.contains(alive))
            .filter_map(|interface| {
                let address = interface.address?;
                let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
                let ip = v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))?;
                Some(Live { ip, interface: interface.interface_name })
            })
            .collect()
    }

    /// All of them, in the system's order; whether they have a carrier is not known.
    #[cfg(not(unix))]
    pub(super) fn live() -> Vec<Live> {
        let all = rtc::shared::ifaces::ifaces().unwrap_or_else(|error| {
            debug!(%error, "addresses of this machine unknown");
            Vec::new()
        });
        all.into_iter()
            .filter_map(|interface| Some(Live { ip: interface.addr?.ip(), interface: interface.name }))
            .collect()
    }

    /// Makes packets of a socket leave by this interface, whatever routes say.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn tie(socket: &UdpSocket, interface: &str) -> io::Result<()> {
        use nix::sys::socket::{setsockopt, sockopt::BindToDevice};

        Ok(setsockopt(socket, BindToDevice, &interface.into())?)
    }

    /// Not known how.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn tie(_: &UdpSocket, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// True for a bridge, as container programs make them by the dozen. One that is the way out is used all the same.
    pub(super) fn is_for_containers(interface: &str) -> bool {
        std::path::Path::new("/sys/class/net").join(interface).join("bridge").exists()
    }
}

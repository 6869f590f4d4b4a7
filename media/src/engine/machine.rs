//! Asks the system for this machine's addresses, interfaces and routes. What follows from them is decided in
//! [`crate::path::addresses`].
//!
//! An address counts only while its interface is up and has a carrier. A bridge without a container, a cable that is
//! pulled out and a radio that is off keep their addresses, but lead nowhere.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use tracing::debug;

use crate::path::addresses::{ADDRESSES_MAX, ANYWHERE, Addresses, Interface, Network};

/// The network as it is.
#[derive(Debug)]
pub(super) struct ThisMachine;

impl Network for ThisMachine {
    fn addresses(&self) -> Addresses {
        let mut live = interfaces::live();
        let way_out = self.way_to(ANYWHERE);
        if live.len() > ADDRESSES_MAX {
            live.sort_by_key(|live| interfaces::is_for_containers(&live.interface));
        }
        let mut usable: Vec<Ipv4Addr> = Vec::new();
        for ip in live.into_iter().map(|live| live.ip) {
            let others_reach_it = !ip.is_loopback() && !ip.is_unspecified() && !ip.is_link_local();
            if others_reach_it && !usable.contains(&ip) {
                usable.push(ip);
            }
        }
        usable.sort_by_key(|ip| Some(*ip) != way_out);
        Addresses { usable, way_out }
    }

    fn way_to(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        let chosen = probe(destination, None)?;
        let live = interfaces::live();
        if live.iter().any(|live| live.ip == chosen) {
            return Some(chosen);
        }
        // A system may keep a route whose interface has lost its carrier: then another one has to be named.
        live.iter().find_map(|live| probe(destination, Some(&live.interface))).or(Some(chosen))
    }

    fn tie(&self, address: Ipv4Addr) -> Option<String> {
        let chosen = probe(ANYWHERE, None)?;
        let live = interfaces::live();
        let is_dead = live.iter().all(|live| live.ip != chosen);
        live.into_iter().find(|live| is_dead && live.ip == address).map(|live| live.interface)
    }

    fn interfaces(&self) -> Vec<Interface> {
        let usable = self.addresses().usable;
        let live = interfaces::live().into_iter().filter(|live| usable.contains(&live.ip));
        live.map(|live| Interface { name: live.interface, ip: live.ip }).take(ADDRESSES_MAX).collect()
    }
}

/// The address that packets leave from, by this interface or by whichever the system chooses. Connecting a UDP socket
/// sends nothing.
fn probe(destination: Ipv4Addr, interface: Option<&str>) -> Option<Ipv4Addr> {
    let connect = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        if let Some(interface) = interface {
            interfaces::tie(&socket, interface)?;
        }
        socket.connect((destination, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    match connect() {
        Ok(IpAddr::V4(ip)) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        Ok(_) | Err(_) => None,
    }
}

/// What the system tells of its interfaces.
pub(super) mod interfaces {
    use std::io;
    use std::net::{Ipv4Addr, UdpSocket};

    use super::debug;

    /// An address of an interface that is up and has a carrier.
    pub(super) struct Live {
        pub(super) ip: Ipv4Addr,
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
                let ip = interface.address?.as_sockaddr_in()?.ip();
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
            .filter_map(|interface| match interface.addr?.ip() {
                std::net::IpAddr::V4(ip) => Some(Live { ip, interface: interface.name }),
                std::net::IpAddr::V6(_) => None,
            })
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

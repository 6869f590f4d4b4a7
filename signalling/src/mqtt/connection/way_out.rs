//! The way to the broker: whether packets to it still leave from the address that the connection began at.
//!
//! A connection keeps its address. When that one is gone, or packets leave by another interface, nothing of it arrives
//! any more, and TCP finds out after many seconds. The same when its interface loses its carrier; a system may then go
//! on to choose it, so another interface has to be named ([`WayOut::interface`]). Asking the system which address it would choose sends nothing and
//! costs microseconds, so it is asked once a second for as long as there is a connection, in a call or not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::time::Instant;

/// How often the way is looked at: a peer that waits for calls is reached again within 2 s of a change.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Addresses of a broker that are looked at.
const BROKER_ADDRESSES_MAX: usize = 4;

/// 192.0.2.0/24 is for documentation (RFC 5737): never a real broker, but routed like any other address.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// How long a name may be looked up before a connection is tried without what it tells.
const LOOKUP_MAX: Duration = Duration::from_millis(500);

/// What became of the way to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WayChange {
    /// It begins at another address now: the connection is dead, and may not know it.
    Moved,
    /// It was gone for a while and is as it was: the connection may be alive.
    Back,
}

/// See the module.
#[derive(Debug)]
pub(super) struct WayOut {
    host: String,
    port: u16,
    /// The address that the connection leads to, once there is one.
    used: Option<SocketAddr>,
    ways: Option<Ways>,
    next_look: Instant,
}

impl WayOut {
    /// The way to this host and port, of the broker or of the proxy on the way, from now on.
    pub(super) fn to((host, port): (&str, u16)) -> Self {
        Self { host: host.to_owned(), port, used: None, ways: None, next_look: Instant::now() }
    }

    /// The connection leads to this address, which need not be the first of the name.
    pub(super) fn uses(&mut self, address: SocketAddr) {
        self.used = Some(address);
        let Some(Ways(ways)) = &mut self.ways else { return };
        if address.ip().is_loopback() {
            return ways.clear();
        }
        let known = ways.iter().position(|way| way.broker == address).map(|place| ways.remove(place));
        let own = || Way { broker: address, ours: own_address(address), is_away: false };
        ways.insert(0, known.unwrap_or_else(own));
    }

    /// Waits for a change. Cancellation safe.
    pub(super) async fn changed(&mut self) -> WayChange {
        loop {
            tokio::time::sleep_until(self.next_look).await;
            match &mut self.ways {
                Some(ways) if ways.0.is_empty() => return std::future::pending().await,
                Some(ways) => {
                    if let Some(change) = ways.look(own_address) {
                        return change;
                    }
                }
                None => self.ways = self.resolve().await,
            }
            self.next_look = Instant::now() + LOOK_EVERY;
        }
    }

    /// Waits until the way begins at another address. Cancellation safe.
    pub(super) async fn moved(&mut self) {
        while self.changed().await != WayChange::Moved {}
    }

    /// The interface that the connection has to be tied to, because routes lead by another one that is dead.
    pub(super) async fn interface(&mut self) -> Option<String> {
        let chosen = probe(ANYWHERE, None)?;
        if interfaces::live().iter().any(|live| live.ip == chosen) {
            return None;
        }
        let found = tokio::net::lookup_host((self.host.as_str(), self.port));
        let broker = tokio::time::timeout(LOOKUP_MAX, found).await.ok()?.ok()?.next()?;
        way(broker)?.interface
    }

    /// Nothing while the name has no address.
    async fn resolve(&self) -> Option<Ways> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await.ok()?;
        if self.used.is_some_and(|used| used.ip().is_loopback()) {
            return Some(Ways(Vec::new()));
        }
        let others = found.filter(|broker| Some(*broker) != self.used);
        let all = self.used.into_iter().chain(others);
        let brokers = all.filter(|broker| !broker.ip().is_loopback()).take(BROKER_ADDRESSES_MAX);
        Some(Ways(brokers.map(|broker| Way { broker, ours: own_address(broker), is_away: false }).collect()))
    }
}

/// Ways to the addresses of a broker, in the order in which they are tried.
#[derive(Debug)]
struct Ways(Vec<Way>);

#[derive(Debug)]
struct Way {
    broker: SocketAddr,
    ours: Option<IpAddr>,
    is_away: bool,
}

impl Ways {
    /// What changed since the last look; `own_address` is where packets to an address leave from now.
    fn look(&mut self, own_address: impl Fn(SocketAddr) -> Option<IpAddr>) -> Option<WayChange> {
        // The first address that there is a way to is the one in use.
        let Some(used) = self.0.iter().position(|way| way.ours.is_some()) else {
            for way in &mut self.0 {
                way.ours = own_address(way.broker);
            }
            return None;
        };
        let now = own_address(self.0[used].broker);
        let there_are_others = || self.0[used + 1..].iter().any(|way| own_address(way.broker).is_some());
        match (self.0[used].ours, now) {
            (Some(before), Some(now)) if !is_same(before, now) => {
                self.0[used].ours = Some(now);
                Some(WayChange::Moved)
            }
            (Some(_), Some(now)) => {
                let way = &mut self.0[used];
                way.ours = Some(now);
                std::mem::take(&mut way.is_away).then_some(WayChange::Back)
            }
            (_, None) if there_are_others() => {
                self.0[used].ours = None;
                Some(WayChange::Moved)
            }
            (_, None) => {
                self.0[used].is_away = true;
                None
            }
            (None, Some(_)) => None,
        }
    }
}

/// True for one address, and for two of one IPv6 network: addresses there change by the hour for privacy's sake
/// (RFC 8981), and old ones go on to work.
fn is_same(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V6(one), IpAddr::V6(other)) => one.octets()[..8] == other.octets()[..8],
        (one, other) => one == other,
    }
}

/// Where packets to a broker leave from.
struct Origin {
    ip: IpAddr,
    /// Set when the system has to be told.
    interface: Option<String>,
}

fn own_address(broker: SocketAddr) -> Option<IpAddr> {
    way(broker).map(|origin| origin.ip)
}

/// Where packets to `broker` leave from at the moment: by the interface that the system chooses, while it is alive.
fn way(broker: SocketAddr) -> Option<Origin> {
    let chosen = probe(broker, None)?;
    let live = interfaces::live();
    if live.iter().any(|live| live.ip == chosen) {
        return Some(Origin { ip: chosen, interface: None });
    }
    let by_another = live.into_iter().filter(|live| !live.ip.is_loopback()).find_map(|live| {
        let ip = probe(broker, Some(&live.interface))?;
        Some(Origin { ip, interface: Some(live.interface) })
    });
    by_another.or(Some(Origin { ip: chosen, interface: None }))
}

/// The address that packets leave from, by this interface or by whichever the system chooses. Connecting a UDP socket
/// sends nothing.
fn probe(broker: SocketAddr, interface: Option<&str>) -> Option<IpAddr> {
    let any = match broker {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    if let Some(interface) = interface {
        interfaces::tie(&socket, interface).ok()?;
    }
    socket.connect(broker).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

/// What the system tells of its interfaces.
mod interfaces {
    use std::io;
    use std::net::{IpAddr, UdpSocket};

    /// An address of an interface that is up and has a carrier.
    pub(super) struct Live {
        pub(super) ip: IpAddr,
        pub(super) interface: String,
    }

    /// All of them.
    #[cfg(unix)]
    pub(super) fn live() -> Vec<Live> {
        use nix::net::if_::InterfaceFlags;

        let alive = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
        let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
        all.filter(|interface| interface.flags.contains(alive))
            .filter_map(|interface| {
                let address = interface.address?;
                let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
                let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
                Some(Live { ip, interface: interface.interface_name })
            })
            .collect()
    }

    /// Not known how.
    #[cfg(not(unix))]
    pub(super) fn live() -> Vec<Live> {
        Vec::new()
    }

    /// Makes packets of a socket leave by this interface, whatever routes say.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn tie(socket: &UdpSocket, interface: &str) -> io::Result<()> {
        use nix::sys::socket::{setsockopt, sockopt::BindToDevice};

        Ok(setsockopt(socket, BindToDevice, &interface.into())?)
    }

    /// Not known how.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn tie(_: &UdpSocket, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ways(brokers: &[(&str, Option<&str>)]) -> Ways {
        let way = |(broker, ours): &(&str, Option<&str>)| Way {
            broker: SocketAddr::new(ip(broker), 1883),
            ours: ours.map(ip),
            is_away: false,
        };
        Ways(brokers.iter().map(way).collect())
    }

    #[test]
    fn the_address_in_use_comes_first() {
        let mut way = WayOut::to(("broker.example", 1883));
        let used = SocketAddr::new(ip("198.51.100.1"), 1883);
        way.uses(used);
        assert_eq!(way.used, Some(used), "before the name was looked up");
        way.ways = Some(ways(&[("2001:db8::1", Some("2001:db8:1::2")), ("198.51.100.1", Some("10.1.0.2"))]));
        way.uses(used);
        let order = |way: &WayOut| way.ways.as_ref().unwrap().0.iter().map(|way| way.broker.ip()).collect::<Vec<_>>();
        assert_eq!(order(&way), [ip("198.51.100.1"), ip("2001:db8::1")]);
        assert_eq!(way.ways.as_ref().unwrap().0[0].ours, Some(ip("10.1.0.2")), "from where it was connected");
        way.uses(SocketAddr::new(ip("127.0.0.1"), 1883));
        assert!(order(&way).is_empty(), "loopback does not move");
    }

    #[test]
    fn a_way_that_begins_elsewhere_is_told_once() {
        let mut ways = ways(&[("198.51.100.1", Some("10.1.0.2"))]);
        let mut look = |ours: Option<&str>| ways.look(|_| ours.map(ip));
        assert_eq!(look(Some("10.1.0.2")), None);
        assert_eq!(look(Some("10.3.0.2")), Some(WayChange::Moved));
        assert_eq!(look(Some("10.3.0.2")), None);
    }

    #[test]
    fn a_way_that_comes_back_as_it_was_is_worth_a_question() {
        let mut ways = ways(&[("198.51.100.1", Some("10.1.0.2"))]);
        let mut look = |ours: Option<&str>| ways.look(|_| ours.map(ip));
        assert_eq!([look(None), look(None)], [None, None], "nothing to move to");
        assert_eq!(look(Some("10.1.0.2")), Some(WayChange::Back));
        assert_eq!(look(None), None);
        assert_eq!(look(Some("10.3.0.2")), Some(WayChange::Moved));
    }

    #[test]
    fn the_first_address_that_there_is_a_way_to_counts() {
        let brokers = [("2001:db8::1", Some("2001:db8:1::2")), ("198.51.100.1", Some("10.1.0.2"))];
        let only = |family: fn(&SocketAddr) -> bool, ours: &'static str| {
            move |broker: SocketAddr| family(&broker).then(|| ip(ours))
        };
        let both = |v6: &'static str, v4: &'static str| {
            move |broker: SocketAddr| Some(ip(if broker.is_ipv6() { v6 } else { v4 }))
        };
        assert_eq!(ways(&brokers).look(both("2001:db8:1::3", "10.1.0.2")), None, "another of the same network");
        assert_eq!(ways(&brokers).look(both("2001:db8:1::2", "10.3.0.2")), None, "not in use");
        assert_eq!(ways(&brokers).look(both("2001:db8:2::2", "10.1.0.2")), Some(WayChange::Moved));
        let mut alone = ways(&brokers);
        assert_eq!(alone.look(only(SocketAddr::is_ipv4, "10.1.0.2")), Some(WayChange::Moved), "the other is left");
        assert_eq!(alone.look(only(SocketAddr::is_ipv4, "10.1.0.2")), None, "and used now");
        let mut none = ways(&[("198.51.100.1", None)]);
        assert_eq!(none.look(|_| Some(ip("10.1.0.2"))), None, "tries go on by themselves");
        assert_eq!(none.look(|_| Some(ip("10.3.0.2"))), Some(WayChange::Moved));
    }
}

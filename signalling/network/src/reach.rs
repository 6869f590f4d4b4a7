//! A TCP connection to a server by its name, through a proxy where one is on the way.
//!
//! [`reach`]: name → addresses → attempts side by side ([`crate::race`]) → the proxy's tunnel. One limit for all of it.
//! A name is looked up on a thread of its own; nothing here blocks a task.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::proxy::{Proxy, ProxyFault};
use crate::race::{ATTEMPT_DELAY, Attempt, first_to_answer, order};
use crate::tunnel;

/// Where to connect to, and how.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// Name or address, without brackets.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// The proxy on the way.
    pub proxy: Option<&'a Proxy>,
    /// The interface that packets leave by, where the system's choice is not to be followed. Linux and Android alone.
    pub interface: Option<&'a str>,
}

/// A connection.
#[derive(Debug)]
pub struct Reached {
    /// Up, with nothing said on it yet but to the proxy.
    pub stream: TcpStream,
    /// The address that answered: the server's, or the proxy's.
    pub address: SocketAddr,
    /// How long TCP took, without the look-up of the name.
    pub took: Duration,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Unreached {
    /// The name has no address.
    Unresolved(io::Error),
    /// Nobody said in this time whether the name has an address.
    NoNameServer(Duration),
    /// No address answered; at least one was tried.
    Unanswered(Vec<Attempt>),
    /// The proxy is not reached.
    NoProxy(Box<Self>),
    /// The proxy is reached and does not lead to the server.
    Proxy(ProxyFault),
    /// The proxy is reached and said nothing within this time.
    SilentProxy(Duration),
}

impl Route<'_> {
    /// Host and port of what is connected to first: the proxy, or the server itself.
    #[must_use]
    pub fn first_hop(&self) -> (&str, u16) {
        self.proxy.map_or((self.host, self.port), |proxy| (&proxy.host, proxy.port))
    }
}

/// Connects.
///
/// # Errors
/// [`Unreached`], within `limit`.
pub async fn reach(route: &Route<'_>, limit: Duration) -> Result<Reached, Unreached> {
    let end = Instant::now() + limit;
    let connected = connect(route, limit, end).await;
    let Some(proxy) = route.proxy else { return connected };
    let mut reached = connected.map_err(|unreached| Unreached::NoProxy(Box::new(unreached)))?;
    let tunnel = tunnel::open(&mut reached.stream, proxy, route.host, route.port);
    match timeout_at(end, tunnel).await {
        Ok(opened) => opened.map_err(Unreached::Proxy)?,
        Err(_) => return Err(Unreached::SilentProxy(limit)),
    }
    Ok(reached)
}

async fn connect(route: &Route<'_>, limit: Duration, end: Instant) -> Result<Reached, Unreached> {
    let found = timeout_at(end, lookup_host(route.first_hop())).await.map_err(|_| Unreached::NoNameServer(limit))?;
    let addresses = order(found.map_err(Unreached::Unresolved)?);
    if addresses.is_empty() {
        return Err(Unreached::Unresolved(io::Error::other("it has no address")));
    }
    let began = Instant::now();
    let interface = route.interface.map(str::to_owned);
    let attempt = |address| connect_one(address, interface.clone());
    let raced = first_to_answer(addresses, ATTEMPT_DELAY, end.saturating_duration_since(began), attempt).await;
    let (address, stream) = raced.map_err(Unreached::Unanswered)?;
    Ok(Reached { stream, address, took: began.elapsed() })
}

async fn connect_one(address: SocketAddr, interface: Option<String>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(interface) = &interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    drop(interface);
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::race::AttemptFailure;

    const LIMIT: Duration = Duration::from_secs(5);

    fn route<'a>(host: &'a str, port: u16, proxy: Option<&'a Proxy>) -> Route<'a> {
        Route { host, port, proxy, interface: None }
    }

    fn closed_port() -> u16 {
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn a_server_is_reached_or_says_why_not() {
        let server = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = server.local_addr().unwrap();
        let reached = reach(&route("localhost", address.port(), None), LIMIT).await.unwrap();
        assert_eq!(reached.address, address);
        let unreached = reach(&route("127.0.0.1", closed_port(), None), LIMIT).await.unwrap_err();
        let Unreached::Unanswered(attempts) = unreached else { panic!("{unreached:?}") };
        assert!(matches!(&attempts[..], [Attempt { failure: AttemptFailure::Said(_), .. }]), "{attempts:?}");
        let unreached = reach(&route("no.such.host.invalid", 1, None), LIMIT).await.unwrap_err();
        assert!(matches!(unreached, Unreached::Unresolved(_)), "{unreached:?}");
    }

    #[tokio::test]
    async fn a_fault_of_the_proxy_is_told_from_one_of_the_server() {
        let closed: Proxy = format!("http://127.0.0.1:{}", closed_port()).parse().unwrap();
        let unreached = reach(&route("server.example", 1, Some(&closed)), LIMIT).await.unwrap_err();
        assert!(matches!(&unreached, Unreached::NoProxy(inner) if matches!(**inner, Unreached::Unanswered(_))));
        let silent = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let named: Proxy = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
        let limit = Duration::from_millis(200);
        let unreached = reach(&route("server.example", 1, Some(&named)), limit).await.unwrap_err();
        assert!(matches!(unreached, Unreached::SilentProxy(_)), "{unreached:?}");
    }
}

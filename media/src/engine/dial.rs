//! Connections to TURN servers over TCP and TLS.
//!
//! [`Dialer::dial`]: the name → the addresses of the server or of the proxy → TCP to the first that answers
//! ([`race`]) → the proxy's [`tunnel`] → TLS. Each step has [`STEP`] and its own [`StreamFault`].

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use network::proxy::{Proxies, Proxy, bare};
use network::race::{self, Attempt, AttemptFailure};
use network::tunnel;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::unacknowledged::Unacknowledged;
use crate::path::ice_server::{IceTransport, IceUrl};
use crate::path::stream_fault::{STEP, StreamFault};
use network::system_error;

/// What the system may hold of a stream that the network has not taken yet, bytes: one packet or two. More would be latency
/// that nobody can take back; what waits in [`crate::path::stream_queue`] can still be dropped.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
const UNSENT_BYTES_MAX: u32 = 1500;

/// How connections to TURN servers over TCP and TLS are made. Cheap to clone.
#[derive(Clone, Default)]
pub struct Dialer {
    tls: Option<TlsClient>,
    proxies: Proxies,
}

/// Whom we trust over TLS.
#[derive(Clone)]
pub struct TlsClient {
    /// Authorities and versions.
    pub config: Arc<ClientConfig>,
    /// What an error with the server of this host means, in words.
    pub explain: Explain,
}

/// From an error of TLS and the name of the server to words.
pub type Explain = Arc<dyn Fn(&rustls::Error, &str) -> TlsWords + Send + Sync>;

/// What an error of TLS means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsWords {
    /// What was seen.
    pub cause: String,
    /// What to try.
    pub fix: String,
}

impl Dialer {
    /// One for `turn:` and `turns:`.
    #[must_use]
    pub const fn new(tls: TlsClient, proxies: Proxies) -> Self {
        Self { tls: Some(tls), proxies }
    }

    /// One for `turn:` alone: the authorities of a system are read from many files, and not needed without TLS.
    #[must_use]
    pub const fn without_tls(proxies: Proxies) -> Self {
        Self { tls: None, proxies }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

/// A stream that is up, in both directions.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream to a server.
pub(super) struct Connection {
    pub(super) stream: Box<dyn Stream>,
    /// Where the server is; `None` behind a proxy.
    pub(super) server: Option<SocketAddr>,
    /// What of it the network has not acknowledged; `None` where the system does not tell.
    pub(super) unacknowledged: Option<Unacknowledged>,
}

/// Where a connection starts.
#[derive(Clone, Debug, Default)]
pub(super) struct Start {
    /// The address of ours; any, where it does not matter.
    pub(super) address: Option<IpAddr>,
    /// The interface that packets leave by, whatever routes say.
    pub(super) interface: Option<String>,
}

impl Dialer {
    /// Connects to a TURN server. `look_up` finds the addresses of a `host:port`.
    pub(super) async fn dial<L>(
        &self,
        url: &IceUrl,
        from: &Start,
        look_up: impl FnOnce(String) -> L,
    ) -> Result<Connection, StreamFault>
    where
        L: Future<Output = io::Result<Vec<SocketAddr>>>,
    {
        let proxy = self.proxies.on_the_way_to(&url.host, url.port);
        let next = proxy.map_or_else(|| format!("{}:{}", url.host, url.port), Proxy::to_string);
        let found = within(STEP, "no answer from the name server", addresses_of(from.address, look_up(next))).await?;
        let attempt = |address| connect(address, from.clone());
        let connected = race::first_to_answer(race::order(found), race::ATTEMPT_DELAY, STEP, attempt).await;
        let connected = connected.map_err(|attempts| of_attempts(&attempts));
        let (address, mut tcp) = match (connected, proxy) {
            (Ok(connected), _) => connected,
            // It is the proxy's fault, not the server's.
            (Err(fault), Some(proxy)) if fault != StreamFault::OtherSide => {
                return Err(of_proxy(proxy, format!("is not reached: {fault}")));
            }
            (Err(fault), _) => return Err(fault),
        };
        if let Some(proxy) = proxy {
            let opening = tunnel::open(&mut tcp, proxy, &url.host, url.port);
            let asking = async { opening.await.map_err(|fault| of_proxy(proxy, fault.to_string())) };
            within(STEP, "no answer from the proxy", asking).await?;
        }
        let unacknowledged = Unacknowledged::of(&tcp, from.interface.as_deref());
        let stream: Box<dyn Stream> = match url.transport {
            IceTransport::Udp | IceTransport::Tcp => Box::new(tcp),
            IceTransport::Tls => within(STEP, "no answer to TLS", self.secure(tcp, url)).await?,
        };
        Ok(Connection { stream, server: proxy.is_none().then_some(address), unacknowledged })
    }

    async fn secure(&self, tcp: TcpStream, url: &IceUrl) -> Result<Box<dyn Stream>, StreamFault> {
        let Some(tls) = &self.tls else { return Err(StreamFault::Local("TLS is not set up".to_owned())) };
        let host = bare(&url.host);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| StreamFault::Unresolved(error.to_string()))?;
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        match connector.connect(name, tcp).await {
            Ok(secured) => Ok(Box::new(secured)),
            Err(error) => Err(of_tls(&error, tls, host)),
        }
    }
}

/// What becomes of `work`, or that it took too long.
async fn within<T>(
    limit: std::time::Duration,
    what: &'static str,
    work: impl Future<Output = Result<T, StreamFault>>,
) -> Result<T, StreamFault> {
    timeout(limit, work).await.unwrap_or(Err(StreamFault::Timeout(what)))
}

/// The addresses that are found, of the family of the address of ours that the connection starts at.
async fn addresses_of(
    ours: Option<IpAddr>,
    look_up: impl Future<Output = io::Result<Vec<SocketAddr>>>,
) -> Result<Vec<SocketAddr>, StreamFault> {
    let mut found = look_up.await.map_err(|error| StreamFault::Unresolved(system_error::in_words(&error)))?;
    if found.is_empty() {
        return Err(StreamFault::Unresolved("it has no address".to_owned()));
    }
    found.retain(|address| ours.is_none_or(|ours| ours.is_ipv4() == address.is_ipv4()));
    // It may have one for the other family's sockets.
    if found.is_empty() { Err(StreamFault::OtherSide) } else { Ok(found) }
}

async fn connect(to: SocketAddr, from: Start) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(address) = from.address {
        // The system would send from there into a void.
        if address.is_loopback() && !to.ip().is_loopback() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        socket.bind(SocketAddr::from((address, 0)))?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(interface) = &from.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    if let Err(error) = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
        tracing::debug!(%error, "the system holds as much of the stream as it likes");
    }
    Ok(stream)
}

fn of_proxy(proxy: &Proxy, cause: String) -> StreamFault {
    StreamFault::Proxy { proxy: proxy.to_string(), cause }
}

/// Why no address answers: what the only one said; of several each with what it said, where they do not agree.
fn of_attempts(attempts: &[Attempt]) -> StreamFault {
    /// How many addresses an error tells of.
    const TOLD_MAX: usize = 4;
    let faults = attempts.iter().map(|attempt| {
        let fault = match &attempt.failure {
            AttemptFailure::Said(error) => of_connecting(error),
            AttemptFailure::Silent(_) | AttemptFailure::NotTried => StreamFault::Timeout("no TCP connection"),
        };
        (attempt.address.ip(), fault)
    });
    let mut faults: Vec<(IpAddr, StreamFault)> = faults.collect();
    // An address that this end cannot reach at all says the least.
    if faults.iter().any(|(_, fault)| *fault != StreamFault::OtherSide) {
        faults.retain(|(_, fault)| *fault != StreamFault::OtherSide);
    }
    match faults.as_slice() {
        [] => StreamFault::Unresolved("it has no address".to_owned()),
        [(_, first), rest @ ..] if rest.iter().all(|(_, fault)| fault == first) => first.clone(),
        all => {
            let told = all.iter().take(TOLD_MAX).map(|(ip, fault)| format!("{ip}: {fault}"));
            StreamFault::Unreached { addresses: all.len(), told: told.collect::<Vec<_>>().join(", ") }
        }
    }
}

fn of_connecting(error: &io::Error) -> StreamFault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => StreamFault::Refused,
        io::ErrorKind::TimedOut => StreamFault::Timeout("no TCP connection"),
        io::ErrorKind::AddrNotAvailable => StreamFault::OtherSide,
        _ => StreamFault::Local(system_error::in_words(error)),
    }
}

fn of_tls(error: &io::Error, tls: &TlsClient, host: &str) -> StreamFault {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(_)) => StreamFault::NotTls,
        Some(error) => {
            let TlsWords { cause, fix } = (tls.explain)(error, host);
            StreamFault::Tls { cause, fix }
        }
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                StreamFault::ClosedInTls
            }
            _ => StreamFault::Local(system_error::in_words(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// Dials `turn:turn.test`, whose name has these addresses.
    async fn dial(addresses: Vec<SocketAddr>, from: Option<IpAddr>) -> Result<Option<SocketAddr>, StreamFault> {
        let url = "turn:turn.test?transport=tcp".parse().unwrap();
        let start = Start { address: from, interface: None };
        let dialer = Dialer::without_tls(Proxies::default());
        dialer.dial(&url, &start, |_| async move { Ok(addresses) }).await.map(|connection| connection.server)
    }

    #[tokio::test]
    async fn an_address_that_is_dead_leaves_the_connection_to_the_next() {
        let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let live = listening.local_addr().unwrap();
        let dead = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), live.port()));
        assert_eq!(dial(vec![dead, live], None).await, Ok(Some(live)));
        assert_eq!(dial(vec![live, dead], Some(Ipv4Addr::LOCALHOST.into())).await, Ok(Some(live)));
    }

    #[tokio::test]
    async fn of_several_addresses_each_says_why_it_is_of_no_use() {
        let dead = |last| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 1));
        assert_eq!(dial(vec![dead(2), dead(3)], None).await, Err(StreamFault::Refused), "they agree");
        let from_ipv6 = dial(vec![dead(2)], Some(std::net::Ipv6Addr::LOCALHOST.into())).await;
        assert_eq!(from_ipv6, Err(StreamFault::OtherSide));
        assert!(matches!(dial(Vec::new(), None).await, Err(StreamFault::Unresolved(_))));
        let said = |kind: io::ErrorKind| AttemptFailure::Said(kind.into());
        let silent = AttemptFailure::Silent(STEP);
        let attempts = [(2, said(io::ErrorKind::ConnectionRefused)), (3, silent)];
        let attempts = attempts.map(|(last, failure)| Attempt { address: dead(last), failure });
        let told = of_attempts(&attempts).to_string();
        assert!(told.contains("2 addresses") && told.contains("127.0.0.2: connection refused"), "{told}");
        assert!(told.contains("127.0.0.3: no TCP connection within 3 s"), "{told}");
        let attempts = [(2, said(io::ErrorKind::AddrNotAvailable)), (3, said(io::ErrorKind::ConnectionRefused))];
        let attempts = attempts.map(|(last, failure)| Attempt { address: dead(last), failure });
        assert_eq!(of_attempts(&attempts), StreamFault::Refused);
    }
}

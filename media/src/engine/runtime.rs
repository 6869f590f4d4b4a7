//! The runtime that the engine's driver runs on: tokio, with these changes.
//!
//! - a UDP socket is wrapped ([`super::sockets`]): it leaves the DTLS cookie out, nominates early, counts what is received, sends DTLS
//!   flights again, holds what comes too early, is behind the impaired network, asks for IPv6 where a TURN server has no IPv4, and has
//!   streams to TURN servers over TCP and TLS beside it
//! - a name that was resolved before is looked up for a moment only ([`Names`]): the driver waits for each name before it
//!   does anything else, also in an ICE restart. A stand-in for a server is its own address
//! - the driver goes round [`EXTRA_ROUNDS`] more times after every event before it sleeps ([`SettlingRuntime`])
//! - it is woken when there are candidates to check ([`SettlingRuntime::wake`]); the engine would wait for its next tick
//!
//! The extra rounds are for relayed packets. The driver (`webrtc` 0.21.1, `peer_connection/driver.rs`) gives what came
//! through a TURN server to its core after it has written what the core had to send, and gives what the core sends
//! through a TURN server to its TURN client after that was written. Both then wait for the next event, often a timer
//! 200 ms away: a relayed call took more than a second longer to set up, a direct one a check interval.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::debug;
use webrtc::runtime::{AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime};

use super::machine::interfaces;
use super::names::Names;
use super::sockets::counting::CountingSocket;
use super::sockets::dtls_cookie::{CookieExchange, CookieSocket};
use super::sockets::dtls_resending::{ResendingSocket, Resends};
use super::sockets::early::{Early, EarlySocket};
use super::sockets::impaired::ImpairHandle;
use super::sockets::nomination::{NominatingSocket, Selection};
use super::sockets::relay_family::{Families, FamilySocket};
use super::sockets::relay_streams::Streams;
use crate::congestion::payload_limit::PayloadLimit;
use crate::path::addresses::Network;
use crate::path::ice_server::IceServer;
use crate::path::receive_counter::ReceiveCounter;
use crate::path::server_log::ServerLog;
use crate::path::stand_in;

/// From a relayed packet read to its answer written: once through the core, once through the TURN client.
const EXTRA_ROUNDS: u8 = 2;

/// See the module. One for each peer connection: its sleeps are the driver's own.
pub(super) struct SettlingRuntime {
    inner: Arc<dyn Runtime>,
    rounds_left: AtomicU8,
    closing: AtomicBool,
    woken: Arc<Notify>,
    received: Arc<ReceiveCounter>,
    payload: Arc<PayloadLimit>,
    network: Arc<dyn Network>,
    servers: Arc<ServerLog>,
    early: Arc<Early>,
    resends: Arc<Resends>,
    cookie: Arc<CookieExchange>,
    selection: Arc<Selection>,
    impairments: ImpairHandle,
    names: Arc<Names>,
    streams: Arc<Streams>,
    families: Arc<Families>,
}

impl SettlingRuntime {
    /// A runtime over `inner`, whose sockets are in the network of `impairments`, count what they hear, lower the payload
    /// limit when they refuse a datagram as too large, show what STUN and TURN servers answer, hold what comes too early
    /// as `early` says, let `resends` send DTLS flights again, leave out what `cookie` says, select a path by
    /// `selection`, ask for relays as `families` says, and carry in `streams` what is for a server over TCP or TLS.
    /// Servers are looked up by `names`.
    pub(super) fn new(
        inner: Arc<dyn Runtime>,
        network: Arc<dyn Network>,
        (received, payload, servers): (Arc<ReceiveCounter>, Arc<PayloadLimit>, Arc<ServerLog>),
        (early, resends): (Arc<Early>, Arc<Resends>),
        (cookie, selection): (Arc<CookieExchange>, Arc<Selection>),
        impairments: ImpairHandle,
        (names, streams, families): (Arc<Names>, Arc<Streams>, Arc<Families>),
    ) -> Self {
        Self {
            inner,
            rounds_left: AtomicU8::new(EXTRA_ROUNDS),
            closing: AtomicBool::new(false),
            woken: Arc::default(),
            received,
            payload,
            network,
            servers,
            early,
            resends,
            cookie,
            selection,
            impairments,
            names,
            streams,
            families,
        }
    }

    /// The address, of this family, of a STUN or TURN server that was looked up.
    pub(super) fn server(&self, is_ipv4: bool) -> Option<IpAddr> {
        self.names.first(is_ipv4)
    }

    /// Ends the sleep of the driver, or its next one: there is something to do that it does not know of.
    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }

    /// From now on these servers are asked.
    pub(super) fn use_servers(&self, servers: &[IceServer]) {
        self.families.renew(servers);
    }

    /// From now on every sleep is a real one: closing waits by one for the TURN server to be told.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for SettlingRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettlingRuntime").finish_non_exhaustive()
    }
}

impl Runtime for SettlingRuntime {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let left = self.rounds_left.load(Ordering::Relaxed);
        if left > 0 && !self.closing.load(Ordering::Relaxed) {
            self.rounds_left.store(left - 1, Ordering::Relaxed);
            return Box::pin(std::future::ready(()));
        }
        self.rounds_left.store(EXTRA_ROUNDS, Ordering::Relaxed);
        let sleep = self.inner.sleep(duration);
        if self.closing.load(Ordering::Relaxed) {
            return sleep;
        }
        let woken = Arc::clone(&self.woken);
        Box::pin(async move {
            tokio::select! {
                () = sleep => {}
                () = woken.notified() => {}
            }
        })
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        self.inner.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let interface = socket.local_addr().ok().and_then(|address| self.network.tie(address.ip()));
        if let Some(interface) = &interface
            && let Err(error) = interfaces::tie(&socket, interface)
        {
            debug!(%error, interface, "socket not tied to its interface");
        }
        let inner = self.inner.wrap_udp_socket(socket)?;
        let inner = self.streams.beside(inner, interface);
        let inner: Arc<dyn AsyncUdpSocket> = Arc::new(FamilySocket { inner, families: Arc::clone(&self.families) });
        // What is still on its way to us was not heard yet.
        let inner = self.impairments.wrap(inner, &*self.inner);
        let inner = Arc::new(EarlySocket::new(inner, Arc::clone(&self.early)));
        let inner = Arc::new(ResendingSocket { inner, resends: Arc::clone(&self.resends) });
        let (received, payload, servers) = (&self.received, &self.payload, &self.servers);
        let (received, payload, servers) = (Arc::clone(received), Arc::clone(payload), Arc::clone(servers));
        let inner = Arc::new(CountingSocket { inner, received, payload, servers });
        let inner = Arc::new(NominatingSocket::new(inner, Arc::clone(&self.selection))?);
        Ok(Arc::new(CookieSocket::new(inner, Arc::clone(&self.cookie))))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.inner.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote_addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        self.inner.connect_tcp(remote_addr)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        Box::pin(async move {
            let addresses = match host.parse() {
                Ok(address) if self.streams.is_stand_in(address) => stand_in::of_both_families(address),
                Ok(_) | Err(_) => self.names.look_up(host).await?,
            };
            self.servers.resolved(host, &addresses);
            Ok(addresses)
        })
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.inner.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.inner.block_on(future);
    }

    fn name(&self) -> &'static str {
        "tokio, settling"
    }
}

//! The embedded STUN and TURN server: clients over UDP, TCP and TLS, packets to peers over UDP.
//!
//! - owns: the listening sockets, whom it lets relay, the relayed sockets and their number
//! - must never: relay to addresses that only this host or network should reach, unless told so; answer without a login
//!   anything but STUN binding requests
//! - flow: datagram → `guard::Listener` (login, peer addresses) → `turn` crate → `relays::Relay` (peer addresses) → peer
//! - flow of streams: TCP connection, here or behind TLS → [`StreamServer`] → the same guard, crate and relays
//!
//! Why the `turn` crate: it opens a real UDP port for each allocation. `turn-server` (turn-rs) hands out virtual ports
//! and forwards among its own clients only, so a relayed peer could never reach one that is not relayed.
//! `turn-server-proto` knows streams, but no sockets, no login that expires and no rules for peers: what is ours here
//! would all stay, and the sockets of the crate come on top.
//! Limits, so use coTURN where strangers have logins: nonces over UDP are kept until used (memory grows slowly under a flood
//! of unauthenticated requests), and an address to relay from is of one family.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::turn::auth::{AuthHandler, generate_auth_key};
use ::turn::server::Server;
use ::turn::server::config::{ConnConfig, ServerConfig};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::lobby::Lobby;
use super::{REALM, ServeError, Service};

mod datagrams;
mod frames;
mod guard;
mod quota;
mod relays;
mod streams;
mod tcp;

use datagrams::{Datagrams, Unconnected};
pub(super) use frames::begins_stream;
use guard::{Listener, Policy};
use relays::Relays;
pub(super) use streams::StreamServer;

/// How long [`Turn::stop`] waits for the socket to be let go; it takes a few polls of its tasks.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Lifetime of a channel binding, RFC 8656 section 12.
const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

/// Who may relay.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// One login for all, RFC 8489 section 9.2.
    LongTerm { user: String, password: String },
    /// Logins that expire, made from a secret shared with whoever hands them out: user `<unix expiry>:<id>`, password
    /// base64(HMAC-SHA1(secret, user)). The same as coTURN's `use-auth-secret`, draft-uberti-behave-turn-rest-00.
    SharedSecret(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LongTerm { .. } => "LongTerm(…)",
            Self::SharedSecret(_) => "SharedSecret(…)",
        })
    }
}

impl Credentials {
    fn check(&self) -> Result<(), ServeError> {
        let empty = match self {
            Self::LongTerm { user, password } => user.is_empty() || password.is_empty(),
            Self::SharedSecret(secret) => secret.is_empty(),
        };
        if empty { Err(ServeError::EmptyCredentials { service: Service::Turn }) } else { Ok(()) }
    }

    /// The key that a message of this user must be signed with, or nothing for an unknown user. A login that has expired
    /// has one too.
    fn key(&self, username: &str, realm: &str) -> Option<Vec<u8>> {
        match self {
            Self::LongTerm { user, password } => {
                (username == user).then(|| generate_auth_key(username, realm, password))
            }
            Self::SharedSecret(secret) => {
                expiry(username)?;
                Some(generate_auth_key(username, realm, &password_of(secret, username)))
            }
        }
    }

    /// Whether the time of this user's login is over.
    fn has_expired(&self, username: &str, now: SystemTime) -> bool {
        match self {
            Self::LongTerm { .. } => false,
            Self::SharedSecret(_) => {
                let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
                expiry(username).is_none_or(|expiry| expiry <= now.as_secs())
            }
        }
    }

    /// Whose login it is: one user has many that expire.
    fn user_of<'a>(&self, username: &'a str) -> &'a str {
        match self {
            Self::LongTerm { .. } => username,
            Self::SharedSecret(_) => username.split_once(':').map_or("", |(_, id)| id),
        }
    }
}

/// When a login expires, Unix time.
fn expiry(username: &str) -> Option<u64> {
    username.split(':').next()?.parse().ok()
}

fn password_of(secret: &str, username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    BASE64_STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

/// Which addresses a client may have its packets relayed to, apart from the relayed addresses of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerPolicy {
    /// Addresses of the internet only: not loopback, not private, not link-local, not carrier NAT.
    PublicOnly,
    /// Those too, for a LAN or for a demo on one machine; never multicast, broadcast or unspecified addresses.
    PrivateToo,
}

/// By what clients reach the port of the server. Behind TLS they reach it anyway, where something speaks TLS for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transports {
    Udp,
    UdpAndTcp,
}

/// Where the server listens, what it relays from and for whom.
#[derive(Debug, Clone)]
pub(crate) struct TurnConfig {
    /// STUN and TURN; port 0 takes a free one
    pub(crate) listen: SocketAddr,
    /// by what
    pub(crate) transports: Transports,
    /// the address peers see: one of this machine's, or the outer address of a NAT in front of it
    pub(crate) relay_ip: IpAddr,
    /// sent to clients, part of their key
    pub(crate) realm: String,
    /// who may relay
    pub(crate) credentials: Credentials,
    /// to whom they may relay
    pub(crate) peers: PeerPolicy,
    /// relayed addresses of one user at once; `None`: as many as there are
    pub(crate) quota: Option<usize>,
}

impl TurnConfig {
    /// On loopback alone, for the programs of one run, which know this login; port 0 is any free one.
    pub(crate) fn on_loopback(port: u16, user: &str, password: &str) -> Self {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            listen: SocketAddr::new(ip, port),
            transports: Transports::Udp,
            relay_ip: ip,
            realm: REALM.into(),
            credentials: Credentials::LongTerm { user: user.into(), password: password.into() },
            peers: PeerPolicy::PrivateToo,
            quota: None,
        }
    }
}

/// What all clients share, over whatever they come.
struct Core {
    policy: Arc<Policy>,
    relays: Relays,
}

impl Core {
    fn new(config: &TurnConfig) -> Self {
        let policy = Arc::new(Policy::new(config));
        Self { relays: Relays::new(Arc::clone(&policy), relay_bind_ip(config)), policy }
    }

    /// A server for what comes by `socket`, which runs until it is closed or dropped.
    async fn server(&self, socket: impl Datagrams, relays: Relays) -> Result<Server, ::turn::Error> {
        Server::new(ServerConfig {
            conn_configs: vec![ConnConfig {
                conn: Arc::new(Unconnected(socket)),
                relay_addr_generator: Box::new(relays),
            }],
            realm: self.policy.realm.clone(),
            auth_handler: Arc::clone(&self.policy) as Arc<dyn AuthHandler + Send + Sync>,
            channel_bind_timeout: CHANNEL_LIFETIME,
            alloc_close_notify: None,
        })
        .await
    }
}

/// A running TURN server; dropping it ends it without waiting.
pub(crate) struct Turn {
    addr: SocketAddr,
    server: Server,
    ended: CancellationToken,
    streams: StreamServer,
    lobby: Arc<Lobby>,
    stopping: CancellationToken,
    tcp: Option<AbortOnDropHandle<()>>,
}

/// Starts the server; it answers when this returns. Relayed sockets take ports of the system's ephemeral range. Clients
/// over streams wait in a [`Lobby`] until they have logged in.
///
/// # Errors
/// An address that cannot be listened on, empty credentials.
pub(crate) async fn start(config: TurnConfig) -> Result<Turn, ServeError> {
    config.credentials.check()?;
    let (udp, tcp) = bind(&config).await?;
    let addr = udp.local_addr().map_err(|error| ServeError::listen(Service::Turn, config.listen, error))?;

    let core = Arc::new(Core::new(&config));
    let (ended, stopping, lobby) = (CancellationToken::new(), CancellationToken::new(), Arc::new(Lobby::default()));
    let listener = Listener::new(udp, Arc::clone(&core.policy), core.relays.requester(), ended.clone());
    let server = core.server(listener, core.relays.clone()).await.map_err(ServeError::Turn)?;
    let streams = StreamServer::new(core, stopping.clone());
    let tcp = tcp.map(|listener| {
        let run = tcp::run(listener, streams.clone(), Arc::clone(&lobby), stopping.clone());
        AbortOnDropHandle::new(tokio::spawn(run))
    });
    Ok(Turn { addr, server, ended, streams, lobby, stopping, tcp })
}

/// Both sockets have one port. Where any will do, one that is free over UDP may be taken over TCP.
async fn bind(config: &TurnConfig) -> Result<(UdpSocket, Option<TcpListener>), ServeError> {
    /// So many ports in a row are not taken.
    const TRIES: usize = 20;
    let mut tries = 0;
    loop {
        tries += 1;
        let of_udp = |error| ServeError::listen(Service::Turn, config.listen, error);
        let udp = UdpSocket::bind(config.listen).await.map_err(of_udp)?;
        let addr = udp.local_addr().map_err(of_udp)?;
        match config.transports {
            Transports::Udp => return Ok((udp, None)),
            Transports::UdpAndTcp => match TcpListener::bind(addr).await {
                Ok(tcp) => return Ok((udp, Some(tcp))),
                Err(_) if config.listen.port() == 0 && tries < TRIES => {}
                Err(error) => return Err(ServeError::listen(Service::TurnTcp, addr, error)),
            },
        }
    }
}

/// Relayed sockets are bound to the address that peers see where this machine has it, so that packets leave from it.
fn relay_bind_ip(config: &TurnConfig) -> IpAddr {
    match std::net::UdpSocket::bind((config.relay_ip, 0)) {
        Ok(_) => config.relay_ip,
        Err(_) => config.listen.ip(),
    }
}

impl Turn {
    /// The address it really listens on.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves clients of streams that come by other ports, such as those behind TLS.
    pub(super) fn streams(&self) -> StreamServer {
        self.streams.clone()
    }

    /// Where clients of streams wait until they have logged in.
    pub(super) fn lobby(&self) -> Arc<Lobby> {
        Arc::clone(&self.lobby)
    }

    /// Returns only when the server has died. Cancellation safe.
    pub(crate) async fn ended(&self) -> ServeError {
        self.ended.cancelled().await;
        ServeError::TurnStopped
    }

    /// Ends all relaying and waits until the port is free.
    pub(crate) async fn stop(self) {
        self.stopping.cancel();
        let stop = async {
            if let Some(tcp) = self.tcp
                && let Err(error) = tcp.await
            {
                debug!(%error, "TURN over TCP had ended before");
            }
            if let Err(error) = self.server.close().await {
                debug!(%error, "TURN server was closed before");
            }
            drop(self.server);
            self.ended.cancelled().await;
        };
        if tokio::time::timeout(STOP_TIMEOUT, stop).await.is_err() {
            debug!("TURN server did not let go of its socket in time");
        }
    }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;

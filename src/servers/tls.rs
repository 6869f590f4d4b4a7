//! One TCP port for all that peers need, over TLS: MQTT, MQTT over WebSocket, and TURN.
//!
//! - owns: the listener, the handshakes, a task for each connection
//! - must never: let one connection hold up another; hand on a connection before its handshake is done
//! - flow: listener → [`serve_each`] → [`Lobby`] → handshake → [`opened::open`] → the broker's [`Front`], or the
//!   [`StreamServer`] of TURN
//!
//! So a firewall that lets nothing but HTTPS through lets a whole call through. Whom to let in and what to limit is up to
//! the two servers, as for those who come by the plain ports.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::broker::Front;
use super::lobby::{Guest, Lobby};
use super::turn::StreamServer;
use super::{ServeError, Service};
use crate::platform::acceptor::{send_at_once, serve_each};

pub(crate) mod certificate;
mod opened;
pub(crate) mod own;
mod watch;

use certificate::Identity;
use opened::{ALPN, Opened, Protocol};
use own::Files;
use watch::Shown;

/// How long a client may take for the handshake and the first bytes after it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connections are given to end when the server stops; then they are cut off.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Where to listen, and who to be.
#[derive(Debug)]
pub(crate) struct TlsConfig {
    /// everything over TLS; port 0 takes a free one
    pub(crate) listen: SocketAddr,
    /// certificate and key
    pub(crate) identity: Identity,
    /// where they were read; what changes there is taken up
    pub(crate) files: Files,
}

/// What stands behind TLS.
pub(super) struct Behind {
    pub(super) broker: Arc<Front>,
    pub(super) turn: StreamServer,
}

/// A running listener; dropping it ends it without waiting.
pub(crate) struct Tls {
    addr: SocketAddr,
    fingerprint: String,
    stopping: CancellationToken,
    run: AbortOnDropHandle<()>,
    _watch: AbortOnDropHandle<()>,
}

/// Starts it; it accepts connections when this returns.
///
/// # Errors
/// An address that cannot be listened on.
pub(super) async fn start(config: TlsConfig, behind: Behind, lobby: Arc<Lobby>) -> Result<Tls, ServeError> {
    let failed = |error| ServeError::listen(Service::Tls, config.listen, error);
    let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let fingerprint = config.identity.fingerprint();
    let stopping = CancellationToken::new();
    let shown = Shown::new(config.identity);
    let watch = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&shown).watch(config.files)));
    let acceptor = TlsAcceptor::from(Arc::new(server_config(shown)));
    let door = Arc::new(Door { acceptor, behind, stopping: stopping.clone() });
    let run = AbortOnDropHandle::new(tokio::spawn(run(listener, door, lobby, stopping.clone())));
    Ok(Tls { addr, fingerprint, stopping, run, _watch: watch })
}

fn server_config(shown: Arc<Shown>) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(certificate::provider())
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions")
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = ALPN.iter().map(|(name, _)| name.to_vec()).collect();
    config
}

impl Tls {
    /// The address it really listens on.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// SHA-256 of the certificate that it began with, as `openssl x509 -fingerprint -sha256` prints it.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Returns only when the listener has died. Cancellation safe; not to be called again after it returned.
    pub(crate) async fn ended(&mut self) -> ServeError {
        if let Err(error) = (&mut self.run).await {
            debug!(%error, "the task of the TLS listener ended");
        }
        ServeError::TlsStopped
    }

    /// Ends it, with all its connections, and waits until the port is free.
    pub(crate) async fn stop(self) {
        self.stopping.cancel();
        if let Err(error) = self.run.await {
            debug!(%error, "the task of the TLS listener ended before");
        }
    }
}

/// What every connection shares.
struct Door {
    acceptor: TlsAcceptor,
    behind: Behind,
    stopping: CancellationToken,
}

async fn run(listener: TcpListener, door: Arc<Door>, lobby: Arc<Lobby>, stopping: CancellationToken) {
    let mut connections = serve_each("TLS", listener, &stopping, |stream, from| {
        let Some(guest) = lobby.enter(from.ip()) else {
            debug!("a TLS connection is refused: too many clients have not logged in yet");
            return None;
        };
        Some(Arc::clone(&door).serve(stream, from, guest))
    })
    .await;
    // Both servers end their clients when they stop.
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        debug!("connections over TLS did not end in time and are cut off");
    }
}

impl Door {
    async fn serve(self: Arc<Self>, stream: TcpStream, from: SocketAddr, guest: Guest) {
        send_at_once(&stream);
        let Ok(local) = stream.local_addr() else { return };
        let opening = timeout(HANDSHAKE_TIMEOUT, self.open(stream));
        let opened = tokio::select! {
            opened = opening => opened,
            () = self.stopping.cancelled() => return,
        };
        let (protocol, stream) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return debug!(%error, "a TLS connection was not taken"),
            Err(_) => return debug!("a TLS handshake took too long"),
        };
        match protocol {
            Protocol::Turn => self.behind.turn.serve(stream, from, local, guest).await,
            // The broker has a deadline and a limit of its own for who has not logged in.
            Protocol::Mqtt => {
                drop(guest);
                self.behind.broker.serve_secured(stream, from).await;
            }
            Protocol::WebSocket => {
                drop(guest);
                self.behind.broker.serve_secured_websocket(stream, from).await;
            }
        }
    }

    async fn open(&self, stream: TcpStream) -> io::Result<(Protocol, Opened<TlsStream<TcpStream>>)> {
        let stream = self.acceptor.accept(stream).await?;
        let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        opened::open(stream, agreed.as_deref()).await
    }
}

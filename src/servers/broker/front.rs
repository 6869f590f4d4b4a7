//! Takes the connections of the broker's two listeners, and those that come secured, and hands each to the `mqtt5` library.
//!
//! - owns: the listeners, a task for each connection, the regular removal of sessions that have expired
//! - must never: let one connection hold up another; try again at once when the system hands out no connection
//! - flow: listener → [`serve_each`] → limit of clients → WebSocket handshake where there is one → the library's handler
//! - flow of what came by TLS: [`Front::serve_secured`], [`Front::serve_secured_websocket`] → the same
//!
//! The library could listen itself. It then spins on a core while no file can be opened, and waits for the WebSocket
//! handshake of one client before it takes the next.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mqtt5::MqttError;
use mqtt5::broker::client_handler::ClientHandler;
use mqtt5::broker::resource_monitor::{ResourceLimits, ResourceMonitor};
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::{QueueLimits, StorageBackend};
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::broker::transport::{BrokerTransport, WebSocketTransport};
use mqtt5::broker::websocket_server::{WebSocketServerConfig, accept_websocket_connection};
use mqtt5::broker::{AuthProvider, BrokerConfig, DynamicStorage, MemoryBackend};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::{QUEUED_BYTES_MAX, QUEUED_MESSAGES_MAX};
use crate::platform::acceptor::{send_at_once, serve_each};

/// How long a WebSocket handshake may take; the library gives a CONNECT as much.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connections are given to end when the broker stops; then they are cut off.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often expired sessions and counters of past seconds are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Connections a second, of one address or of all: far above a load test, and a bound on the library's list of them.
const CONNECTIONS_PER_S_MAX: u32 = 10_000;

/// What every connection shares.
pub(in crate::servers) struct Front {
    settings: Arc<BrokerConfig>,
    gate: Arc<dyn AuthProvider>,
    storage: Arc<DynamicStorage>,
    router: Arc<MessageRouter>,
    stats: Arc<BrokerStats>,
    monitor: Arc<ResourceMonitor>,
    /// ends the handlers of all connections
    ending: broadcast::Sender<()>,
}

impl Front {
    /// Lets in at most `clients_max` clients at once, each only if `gate` admits it.
    pub(super) fn new(settings: BrokerConfig, clients_max: usize, gate: Arc<dyn AuthProvider>) -> Self {
        let queue = QueueLimits { max_messages: QUEUED_MESSAGES_MAX, max_bytes: QUEUED_BYTES_MAX };
        let storage = Arc::new(DynamicStorage::Memory(MemoryBackend::with_queue_limits(queue)));
        let router = MessageRouter::with_storage(Arc::clone(&storage))
            .with_fallback_queue_limits(queue)
            .with_retained_limits(settings.max_retained_messages, settings.max_retained_message_size);
        let monitor = ResourceMonitor::new(ResourceLimits {
            max_connections: clients_max,
            max_connections_per_ip: clients_max,
            max_message_rate_per_client: settings.max_message_rate_per_client,
            max_bandwidth_per_client: settings.max_bandwidth_per_client,
            max_connection_rate: CONNECTIONS_PER_S_MAX,
            rate_limit_window: Duration::from_secs(1),
        });
        Self {
            settings: Arc::new(settings),
            gate,
            storage,
            router: Arc::new(router),
            stats: Arc::new(BrokerStats::new()),
            monitor: Arc::new(monitor),
            ending: broadcast::channel(1).0,
        }
    }

    /// Serves until `stopping` fires; nothing listens any more when this returns.
    pub(super) async fn run(self: Arc<Self>, mqtt: TcpListener, websocket: TcpListener, stopping: CancellationToken) {
        let front = self;
        let _sweeps = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&front).sweep()));
        let serve_tcp = |stream, from| Some(Arc::clone(&front).serve_tcp(stream, from));
        let serve_websocket = |stream, from| Some(Arc::clone(&front).serve_websocket(stream, from));
        let (mut over_tcp, mut over_websocket) = tokio::join!(
            serve_each("MQTT", mqtt, &stopping, serve_tcp),
            serve_each("WebSocket", websocket, &stopping, serve_websocket),
        );
        // An error means that there is no connection.
        let _unheard = front.ending.send(());
        let drained = async {
            while over_tcp.join_next().await.is_some() {}
            while over_websocket.join_next().await.is_some() {}
        };
        if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            debug!("connections did not end in time and are cut off");
        }
    }

    async fn serve_tcp(self: Arc<Self>, stream: TcpStream, from: SocketAddr) {
        send_at_once(&stream);
        if self.takes(from).await {
            self.handle(BrokerTransport::tcp(stream), from).await;
        }
    }

    async fn serve_websocket(self: Arc<Self>, stream: TcpStream, from: SocketAddr) {
        send_at_once(&stream);
        if self.takes(from).await {
            self.shake_hands(stream, from).await;
        }
    }

    /// Serves a client of MQTT over TLS, until either side ends it.
    pub(in crate::servers) async fn serve_secured<S: Stream>(&self, stream: S, from: SocketAddr) {
        if self.takes(from).await {
            // The library's own variant for TLS takes no stream from which something was read already.
            self.handle(BrokerTransport::WebSocket(Box::new(Secured { stream, from })), from).await;
        }
    }

    /// Serves a client of MQTT over WebSocket over TLS, until either side ends it.
    pub(in crate::servers) async fn serve_secured_websocket<S: Stream>(&self, stream: S, from: SocketAddr) {
        if self.takes(from).await {
            self.shake_hands(stream, from).await;
        }
    }

    /// WebSocket over this stream, and MQTT over that.
    async fn shake_hands<S: Stream>(&self, stream: S, from: SocketAddr) {
        let settings = WebSocketServerConfig::default();
        let handshake = accept_websocket_connection(stream, &settings, from);
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => self.handle(BrokerTransport::websocket(stream), from).await,
            Ok(Err(error)) => debug!(%error, "a WebSocket handshake failed"),
            Err(_) => debug!("a WebSocket handshake took too long"),
        }
    }

    /// Whether there is room for another client.
    async fn takes(&self, from: SocketAddr) -> bool {
        let takes = self.monitor.can_accept_connection(from.ip()).await;
        if !takes {
            debug!("a connection is refused: the limit of clients is reached");
        }
        takes
    }

    async fn handle(&self, transport: BrokerTransport, from: SocketAddr) {
        let handler = ClientHandler::new(
            transport,
            from,
            Arc::clone(&self.settings),
            Arc::clone(&self.router),
            Arc::clone(&self.gate),
            Some(Arc::clone(&self.storage)),
            Arc::clone(&self.stats),
            Arc::clone(&self.monitor),
            self.ending.subscribe(),
        );
        match handler.run().await {
            Ok(()) => {}
            Err(error) if error.is_normal_disconnect() => {}
            Err(error) => debug!(%error, "a client's connection ended"),
        }
    }

    /// Removes what has expired, for ever.
    async fn sweep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let expired: Result<(), MqttError> = self.storage.cleanup_expired().await;
            if let Err(error) = expired {
                warn!("expired sessions stay: {error}");
            }
            self.router.sweep_sessions().await;
            self.monitor.cleanup_expired_windows().await;
        }
    }
}

/// What MQTT can be spoken over.
pub(in crate::servers) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> Stream for S {}

/// A stream that came by TLS, as the library takes it.
struct Secured<S> {
    stream: S,
    from: SocketAddr,
}

impl<S: Stream> WebSocketTransport for Secured<S> {
    fn peer_addr(&self) -> mqtt5::Result<SocketAddr> {
        Ok(self.from)
    }
}

impl<S: Stream> AsyncRead for Secured<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: Stream> AsyncWrite for Secured<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

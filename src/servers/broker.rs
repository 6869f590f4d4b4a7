//! The embedded MQTT broker: MQTT 3.1.1 and 5 on one TCP port and over WebSocket (path `/mqtt`).
//!
//! - owns: the listeners and the broker's task, who may connect, and which topics a client may write and read
//! - must never: write to disk, accept an anonymous client from another machine, let a client speak for another
//! - flow: connection → [`Front`] → CONNECT → [`Gate`] (ClientId, login) → PUBLISH or SUBSCRIBE → [`may_publish`] or
//!   [`may_subscribe`] → routed
//!
//! The topic rules are those of `docs/PROTOCOL.md`: a peer writes below its own ClientId only, reads what is addressed
//! to it, and reads the presence of anyone. A ClientId alone is no proof, though: with [`Access::Anonymous`] and
//! [`Access::Password`] a client can connect under a ClientId which is not its own, and the broker then hands that
//! session over. [`Access::Users`] binds each login to one ClientId. Nobody reads along what others say, but observers
//! with [`Access::ReadAlong`].

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mqtt5::broker::auth::AuthRateLimiter;
use mqtt5::broker::{AuthProvider, AuthResult};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use signalling::mqtt::is_observer;
use signalling::topic::Template;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::{ServeError, Service};

mod front;

pub(super) use front::Front;

/// Largest MQTT packet, in bytes: an SDP of 20 kB sealed and encoded fits ten times over.
const PACKET_BYTES_MAX: usize = signalling::wire::ENVELOPE_BYTES_MAX + 1024;
/// Largest retained message, in bytes: presence is a few hundred.
const RETAINED_BYTES_MAX: usize = 16 * 1024;
/// Retained messages at once: one a peer, with room for bare topics.
const RETAINED_MAX: usize = 4096;
/// Connections at once: a LAN or a load test of 500 calls. Fewer where the system lets too few files open.
const CLIENTS_MAX: usize = 1000;
/// Open files beside the connections: listeners, logs, and sockets of the relay, which get a share of their own.
const OTHER_FILES: u64 = 64;
/// Subscriptions a client: own call topic and the presence of 200 contacts.
const SUBSCRIPTIONS_MAX: usize = 256;
/// Messages waiting in memory for one client; past that the broker drops, and signalling sends again.
const QUEUED_MESSAGES_MAX: usize = 256;
/// The same in bytes.
const QUEUED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages a second a client may send; the candidates of a call are below 50.
const MESSAGES_PER_S_MAX: u32 = 500;
/// Bytes a second a client may send.
const BYTES_PER_S_MAX: u64 = 4 * 1024 * 1024;
/// Messages of QoS 2 a client may leave half sent: each is held in memory.
const HALF_SENT_MAX: u16 = 64;
/// How long the session of a client that left is kept: longer than a reboot or a Wi-Fi outage.
const SESSION_KEPT: Duration = Duration::from_secs(3600);
/// Failed logins of one address before it has to wait, and how many seconds they count and cost.
const FAILED_LOGINS_MAX: u32 = 20;
const FAILED_LOGINS_WINDOW_S: u64 = 60;

/// Who may connect.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everyone, under any ClientId: for loopback addresses only.
    Anonymous,
    /// The same, and an observer's ClientId may read along what peers say to each other.
    ReadAlong,
    /// Everyone who knows this one login, under any ClientId.
    Password { user: String, password: String },
    /// A login a peer, as user → password; the ClientId must be the user name, so nobody can take another's place, or
    /// the user's as one who only looks on.
    Users(BTreeMap<String, String>),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::ReadAlong => "ReadAlong",
            Self::Password { .. } => "Password(…)",
            Self::Users(_) => "Users(…)",
        })
    }
}

impl Access {
    fn check(&self) -> Result<(), ServeError> {
        let empty = ServeError::EmptyCredentials { service: Service::Mqtt };
        match self {
            Self::Anonymous | Self::ReadAlong => Ok(()),
            Self::Password { user, password } if user.is_empty() || password.is_empty() => Err(empty),
            Self::Password { .. } => Ok(()),
            Self::Users(users) if users.values().any(String::is_empty) || users.is_empty() => Err(empty),
            Self::Users(users) => match users.keys().find(|user| !is_peer_id(user)) {
                Some(user) => Err(ServeError::UserIsNoPeer { user: user.clone() }),
                None => Ok(()),
            },
        }
    }

    /// True when nobody is asked for a login.
    pub(super) const fn is_open(&self) -> bool {
        match self {
            Self::Anonymous | Self::ReadAlong => true,
            Self::Password { .. } | Self::Users(_) => false,
        }
    }

    fn admits(&self, client: &str, login: Option<(&str, &[u8])>) -> bool {
        match (self, login) {
            (Self::Anonymous | Self::ReadAlong, _) => true,
            (_, None) => false,
            (Self::Password { user, password }, Some((name, given))) => {
                name == user && same_secret(password.as_bytes(), given)
            }
            (Self::Users(users), Some((name, given))) => {
                let own = name == client || (!users.contains_key(client) && is_observer_of(client, name));
                own && users.get(name).is_some_and(|password| same_secret(password.as_bytes(), given))
            }
        }
    }
}

/// Where the broker listens and whom it lets in. Port 0 takes a free port.
#[derive(Debug, Clone)]
pub(crate) struct BrokerConfig {
    /// MQTT over TCP
    pub(crate) mqtt: SocketAddr,
    /// MQTT over WebSocket, path `/mqtt`
    pub(crate) websocket: SocketAddr,
    /// who may connect
    pub(crate) access: Access,
}

impl BrokerConfig {
    /// On loopback alone, for the programs of one run; port 0 is any free one.
    pub(crate) fn on_loopback(port: u16, access: Access) -> Self {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { mqtt: at(port), websocket: at(0), access }
    }
}

/// A running broker; dropping it ends it without waiting.
pub(crate) struct Broker {
    mqtt: SocketAddr,
    websocket: SocketAddr,
    front: Arc<Front>,
    stopping: CancellationToken,
    run: AbortOnDropHandle<()>,
}

/// Raises the limit of open files as far as the system lets us; what it is then, `None` without one.
fn open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            debug!(%error, "the limit of open files stays");
            current
        }
    }
}

/// So many connections fit into this limit of open files: half of it, since the relay has sockets too.
fn clients_max(files: Option<u64>) -> usize {
    let Some(files) = files else { return CLIENTS_MAX };
    let room = usize::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(CLIENTS_MAX).max(1);
    if room < CLIENTS_MAX {
        warn!("this system lets {files} files open: {room} clients at most; raise it with \"ulimit -n\"");
    }
    room.min(CLIENTS_MAX)
}

/// Starts the broker; both listeners accept connections when this returns.
///
/// # Errors
/// An address that cannot be listened on, anonymous access beyond loopback, empty credentials.
pub(crate) async fn start(config: BrokerConfig) -> Result<Broker, ServeError> {
    config.access.check()?;
    let listeners = [(Service::Mqtt, config.mqtt), (Service::WebSocket, config.websocket)];
    for (service, addr) in listeners {
        if config.access.is_open() && !addr.ip().is_loopback() {
            return Err(ServeError::OpenToNetwork { service, addr });
        }
    }
    let mqtt = listen(Service::Mqtt, config.mqtt).await?;
    let websocket = listen(Service::WebSocket, config.websocket).await?;
    let address = |service, listener: &TcpListener, wanted| {
        listener.local_addr().map_err(|error| ServeError::listen(service, wanted, error))
    };
    let mqtt_addr = address(Service::Mqtt, &mqtt, config.mqtt)?;
    let websocket_addr = address(Service::WebSocket, &websocket, config.websocket)?;
    let gate = Gate {
        access: config.access,
        failures: AuthRateLimiter::new(FAILED_LOGINS_MAX, FAILED_LOGINS_WINDOW_S, FAILED_LOGINS_WINDOW_S),
    };
    let front = Arc::new(Front::new(settings(), clients_max(open_files()), Arc::new(gate)));
    let stopping = CancellationToken::new();
    let run = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&front).run(mqtt, websocket, stopping.clone())));
    Ok(Broker { mqtt: mqtt_addr, websocket: websocket_addr, front, stopping, run })
}

impl Broker {
    /// The address MQTT over TCP really listens on.
    pub(crate) fn mqtt_addr(&self) -> SocketAddr {
        self.mqtt
    }

    /// The address MQTT over WebSocket really listens on.
    pub(crate) fn websocket_addr(&self) -> SocketAddr {
        self.websocket
    }

    /// Serves clients that come by other ports, such as those behind TLS.
    pub(super) fn front(&self) -> Arc<Front> {
        Arc::clone(&self.front)
    }

    /// Returns only when the broker has died. Cancellation safe; not to be called again after it returned.
    pub(crate) async fn ended(&mut self) -> ServeError {
        if let Err(error) = (&mut self.run).await {
            debug!(%error, "the broker's task ended");
        }
        ServeError::BrokerStopped
    }

    /// Ends the broker and waits until its ports are free.
    pub(crate) async fn stop(self) {
        self.stopping.cancel();
        if let Err(error) = self.run.await {
            debug!(%error, "the broker's task ended before");
        }
    }
}

async fn listen(service: Service, addr: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(addr).await.map_err(|error| ServeError::listen(service, addr, error))
}

/// What the library is told; it opens no listener of its own.
fn settings() -> mqtt5::broker::BrokerConfig {
    let mut settings = mqtt5::broker::BrokerConfig::default()
        .with_session_expiry(SESSION_KEPT)
        .with_max_packet_size(PACKET_BYTES_MAX)
        .with_max_subscriptions_per_client(SUBSCRIPTIONS_MAX)
        .with_max_retained_messages(RETAINED_MAX)
        .with_max_retained_message_size(RETAINED_BYTES_MAX)
        .with_client_channel_capacity(QUEUED_MESSAGES_MAX);
    settings.max_message_rate_per_client = MESSAGES_PER_S_MAX;
    settings.max_bandwidth_per_client = BYTES_PER_S_MAX;
    settings.server_receive_maximum = Some(HALF_SENT_MAX);
    settings.shared_subscription_available = false;
    // Nobody may read $SYS here, so it is not worth publishing.
    settings.sys_topics_enabled = false;
    settings
}

/// Decides who connects and which topics each client may use.
struct Gate {
    access: Access,
    failures: AuthRateLimiter,
}

impl Gate {
    fn admit(&self, connect: &ConnectPacket, from: SocketAddr) -> AuthResult {
        if !is_peer_id(&connect.client_id) {
            return AuthResult::fail(ReasonCode::ClientIdentifierNotValid);
        }
        // By address, not by user name: who fails on purpose must not lock the others out. Loopback is one's own.
        let limited = !from.ip().is_loopback();
        if limited && !self.failures.check_rate_limit(from.ip()) {
            return AuthResult::fail(ReasonCode::ConnectionRateExceeded);
        }
        let login = connect.username.as_deref().zip(connect.password.as_deref());
        let admitted = self.access.admits(&connect.client_id, login);
        if limited {
            self.failures.cleanup_expired();
            self.failures.record_attempt(from.ip(), admitted);
        }
        match (admitted, &self.access, login) {
            (true, Access::Anonymous | Access::ReadAlong, _) | (true, _, None) => AuthResult::success(),
            (true, _, Some((user, _))) => AuthResult::success_with_user(user),
            (false, _, _) => AuthResult::fail(ReasonCode::BadUsernameOrPassword),
        }
    }
}

impl AuthProvider for Gate {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        client_addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = mqtt5::Result<AuthResult>> + Send + 'a>> {
        Box::pin(ready(Ok(self.admit(connect, client_addr))))
    }

    fn authorize_publish<'a>(
        &'a self,
        client_id: &str,
        _user_id: Option<&'a str>,
        topic: &'a str,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        let allowed = may_publish(client_id, topic);
        if !allowed {
            debug!(client_id, topic, "publish refused");
        }
        Box::pin(ready(allowed))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        client_id: &str,
        _user_id: Option<&'a str>,
        topic_filter: &'a str,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        let reads_along = self.access == Access::ReadAlong && is_observer(client_id) && is_everything(topic_filter);
        let allowed = reads_along || may_subscribe(client_id, topic_filter);
        if !allowed {
            debug!(client_id, topic_filter, "subscribe refused");
        }
        Box::pin(ready(allowed))
    }
}

/// Whether `client` may write `topic`: its calls to one peer, what it says to an agent or as one, its presence, and its
/// bare topic.
fn may_publish(client: &str, topic: &str) -> bool {
    match topic.split('/').collect::<Vec<_>>().as_slice() {
        ["tring", "call" | "agent", own, to] => *own == client && is_peer_id(to),
        ["tring", "presence", own] | [own] => *own == client,
        _ => false,
    }
}

/// Whether `client` may read `filter`: calls to itself, what agents and their runners say to it, the presence of anyone, and
/// bare topics by their full name.
fn may_subscribe(client: &str, filter: &str) -> bool {
    match filter.split('/').collect::<Vec<_>>().as_slice() {
        ["tring", "call" | "agent", from, own] => *own == client && (*from == "+" || is_peer_id(from)),
        ["tring", "presence", id] => *id == "+" || is_peer_id(id),
        [id] => is_peer_id(id),
        _ => false,
    }
}

/// A ClientId every broker takes and no topic syntax reads meaning into.
fn is_peer_id(id: &str) -> bool {
    id.parse::<signalling::id::PeerId>().is_ok()
}

/// Whether the filter is one of those by which a tracer reads what all peers say.
fn is_everything(filter: &str) -> bool {
    [Template::default(), Template::bare()].iter().any(|template| template.everything() == filter)
}

/// Whether this is the ClientId under which `user` may look on while their own is in use.
fn is_observer_of(client: &str, user: &str) -> bool {
    user.parse().is_ok_and(|user| signalling::mqtt::is_observer_of(client, &user))
}

/// Compares without telling by its duration where the two differ.
fn same_secret(own: &[u8], given: &[u8]) -> bool {
    own.len() == given.len() && own.iter().zip(given).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
#[path = "broker_tests.rs"]
mod tests;

//! One face over both versions of MQTT: requests out, [`Incoming`] in, an [`Ending`] when the connection is over.
//!
//! - [`Client::open`] begins to connect; [`Client::next`] tells what comes, first [`Incoming::Connected`]
//! - `v3.rs` and `v5.rs` turn the packets of either version into these, and hold all that differs
//! - [`Pump`] makes the connection, and polls the event loop of `rumqttc`; `bridge.rs` brings both together
//!
//! What only version 5 can say (a publish that is refused, an ID that was taken over) the other never tells; nobody
//! above this face asks which version it is.

mod bridge;
mod pump;
mod reason;
mod sizes;
mod v3;
mod v5;

use std::net::SocketAddr;

use bytes::Bytes;
use network::proxy::Proxies;
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};

use super::{BrokerUrl, MqttVersion, Scheme, Tls};
use crate::id::PeerId;
use crate::wire::ENVELOPE_BYTES_MAX;
use pump::{Poll, Pump, PumpEnd, Way, no_loopback};

/// How long one try may take: TLS and MQTT together, and TCP too where `rumqttc` connects to an address.
pub(super) const CONNECT_TRY_SECONDS: u64 = 5;

/// A silent broker is noticed after about one and a half of these.
const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(10);

/// Larger packets than ours are read and dropped rather than refused: refusing ends the connection, so any stranger
/// could cut it. Above this it is cut all the same, to bound memory.
pub(super) const INCOMING_PACKET_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// Fixed header, topic, properties and packet id around an envelope.
const PACKET_OVERHEAD_BYTES: usize = 1024;

/// How the reason begins when an HTTP server refuses a WebSocket.
pub(super) const HTTP_ANSWERS: &str = "an HTTP server answers";

/// Packets waiting inside the client; a full one means a dead network, and the packet is dropped for a resend.
const REQUESTS_MAX: usize = 256;

/// A connection that begins.
pub(super) struct Options<'a> {
    pub(super) version: MqttVersion,
    pub(super) client_id: &'a PeerId,
    pub(super) broker: &'a BrokerUrl,
    /// User and password.
    pub(super) login: Option<(&'a str, &'a str)>,
    pub(super) tls: &'a Tls,
    /// Proxies on the way.
    pub(super) proxies: &'a Proxies,
    /// The interface to go out by, where the system's choice is not to be followed.
    pub(super) interface: Option<&'a str>,
    /// What the broker publishes in our name when the connection breaks; always retained.
    pub(super) will: Option<Message>,
}

/// Something to publish, always at QoS 1.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) kind: Kind,
}

/// What a message is, which decides how the broker keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a call, for this peer: not retained, and where the version allows it dropped when it is old.
    Call { to: PeerId },
    /// Our presence: retained until the next.
    Presence,
}

/// What the broker tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// It let us in.
    Connected,
    /// The answer to a subscription: for each filter, in order, whether and why it was refused.
    Subscribed(Vec<Option<Refusal>>),
    /// It took something that we published.
    Acknowledged,
    /// It did not take something that we published.
    PublishRefused { topic: String, kind: Kind, why: Refusal },
    /// A message on one of our topics.
    Message { topic: String, payload: Bytes, retained: bool },
    /// Our goodbye is out.
    Left,
    /// Pings, and what we sent.
    Nothing,
}

/// Why the broker refuses a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its access rules say so.
    Forbidden,
    /// Something else, in its words.
    Because(String),
}

/// Why the connection is over.
#[derive(Debug, PartialEq)]
pub(super) enum Ending {
    /// It broke, or the broker is not ready; trying again helps.
    Broken(String),
    /// There is no TCP connection, for this reason.
    Unreached(String),
    /// It closed on our greeting, or answered something else: it does not know this version, or speaks no MQTT.
    Ungreeted(String),
    /// There was a connection, and no answer to our greeting in time.
    Unanswered,
    /// It was closed before TLS was up.
    ClosedInTls,
    /// An HTTP server answers, and gives no WebSocket for MQTT.
    NoWebSocket(String),
    /// The broker says that it does not know this version.
    Version(String),
    /// A message above [`INCOMING_PACKET_BYTES_MAX`] broke it.
    Oversized,
    /// The broker does not let us in.
    Login(String),
    /// The broker does not take our ClientId.
    ClientId,
    /// TLS does not work: certificates do not fit, say.
    Tls(rustls::Error),
    /// Another connection has our ClientId now.
    TakenOver,
    /// The broker ends it for a reason that does not pass by itself.
    Refused(String),
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotSent {
    /// Too much is waiting.
    Full,
    /// The broker said that it takes less.
    TooLarge { bytes: usize, bytes_max: usize },
}

/// One connection, from the first packet to the last.
pub(super) enum Client {
    V3(v3::Client),
    V5(v5::Client),
}

impl Client {
    pub(super) fn open(options: &Options<'_>) -> Self {
        match options.version {
            MqttVersion::V3 => Self::V3(v3::Client::open(options)),
            MqttVersion::V5 => Self::V5(v5::Client::open(options)),
        }
    }

    pub(super) fn publish(&mut self, message: Message) -> Result<(), NotSent> {
        match self {
            Self::V3(client) => client.publish(message),
            Self::V5(client) => client.publish(message),
        }
    }

    pub(super) fn subscribe(&mut self, filters: &[String]) -> Result<(), NotSent> {
        match self {
            Self::V3(client) => client.subscribe(filters),
            Self::V5(client) => client.subscribe(filters),
        }
    }

    /// Asks for the end of the connection, at which the broker does not publish our will.
    pub(super) fn disconnect(&mut self) -> Result<(), NotSent> {
        match self {
            Self::V3(client) => client.disconnect(),
            Self::V5(client) => client.disconnect(),
        }
    }

    /// The size of a message on which the broker may have closed the connection, where it says nothing of its limit.
    pub(super) fn suspect_bytes(&self) -> Option<usize> {
        match self {
            Self::V3(client) => client.sizes().suspect(),
            // It says what it takes, and why it closes.
            Self::V5(_) => None,
        }
    }

    /// Where the connection leads: to an address of the broker, or of the proxy on the way. Known once it has answered.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::V3(client) => client.address(),
            Self::V5(client) => client.address(),
        }
    }

    /// Ends the connection, and waits until the system has all that was sent.
    pub(super) async fn close(&mut self) {
        match self {
            Self::V3(client) => client.close().await,
            Self::V5(client) => client.close().await,
        }
    }

    /// What comes next. Cancellation safe.
    pub(super) async fn next(&mut self) -> Result<Incoming, Ending> {
        match self {
            Self::V3(client) => client.next().await,
            Self::V5(client) => client.next().await,
        }
    }
}

/// The largest packet that we send.
const fn outgoing_packet_bytes_max() -> usize {
    ENVELOPE_BYTES_MAX + PACKET_OVERHEAD_BYTES
}

/// The broker's address as `rumqttc` wants it: a host, or for WebSocket the whole URL.
fn address(broker: &BrokerUrl) -> String {
    match broker.scheme {
        Scheme::Ws | Scheme::Wss => broker.to_string(),
        Scheme::Mqtt if broker.host.contains(':') => format!("[{}]", broker.host),
        // Over TLS an IPv6 address is not connected to by `rumqttc`, but compared with the certificate.
        Scheme::Mqtt | Scheme::Mqtts => broker.host.clone(),
    }
}

fn transport(broker: &BrokerUrl, tls: &Tls) -> Transport {
    let tls = || TlsConfiguration::Rustls(tls.config.clone());
    match broker.scheme {
        Scheme::Mqtt => Transport::Tcp,
        Scheme::Mqtts => Transport::Tls(tls()),
        Scheme::Ws => Transport::Ws,
        Scheme::Wss => Transport::Wss(tls()),
    }
}

/// How a connection is made.
fn network_options(options: &Options<'_>, way: &Way) -> NetworkOptions {
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_TRY_SECONDS);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let (Some(interface), Way::Direct(_)) = (options.interface, way) {
        network.set_bind_device(interface);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _not_known_how = (options, way);
    network
}

/// Why WebSocket is not to be had.
fn no_websocket(error: &(dyn std::error::Error + 'static)) -> Ending {
    if reason::ended_in_tls(error) {
        return Ending::ClosedInTls;
    }
    match reason::http_status(error) {
        Some(status) if reason::may_pass(&status) => Ending::Broken(format!("{HTTP_ANSWERS} {status}")),
        Some(status) => Ending::NoWebSocket(format!("{HTTP_ANSWERS} {status}")),
        None if reason::is_io(error) => Ending::Broken(reason::plain(error)),
        None => Ending::Ungreeted(reason::UNREADABLE.to_owned()),
    }
}

fn client_ended() -> Ending {
    Ending::Broken("the client ended".to_owned())
}

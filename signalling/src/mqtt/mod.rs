//! The link to the broker: the only IO of this crate.
//!
//! Owns the MQTT connection: connecting, reconnecting with back-off and jitter, subscribing again, presence, and
//! telling a lost broker from a refusal and from an ID that someone else took over. Never looks into a message: a
//! payload is bytes from one peer to another.
//!
//! - [`Link::new`] → the actor and its [`LinkHandle`]; [`Link::run`] until the [`CancellationToken`] fires
//! - out: [`LinkHandle::publish`], [`LinkHandle::set_presence`], [`LinkHandle::watch`]
//! - in: [`LinkEvent`]s
//! - [`Link::observer`]: the same without presence and calls, to see who is there
//! - [`Link::tracer`]: the same, and it reads along what peers say: [`LinkEvent::Overheard`]
//!
//! A payload is sealed as the last thing before it is published, and opened as the first thing when it comes: by
//! [`crate::seal::Vault`], where [`LinkConfig::sealing`] says so.
//!
//! Inside: `connection/` decides, `client.rs` speaks MQTT 3.1.1 or 5, `error.rs` says what went
//! wrong and `cause.rs` why, `reach.rs` finds the way, `probe.rs` finds out what speaks at a port that is no broker's.

mod backoff;
mod cause;
mod client;
mod connection;
mod error;
mod observer;
mod probe;
mod reach;
mod tls;
mod url;
mod version;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::id::{MessageId, Nonce, PeerId};
use crate::seal::{Acquaintances, Distrust, Policy, SecretKeys, Standing};
use crate::topic::Template;
use crate::wire::{ENVELOPE_BYTES_MAX, PresenceState};
use connection::{Connection, Hints, Part};

pub use cause::Cause;
pub use error::{LinkError, PublishError};
pub use network::proxy::Proxies;
pub use observer::{is_observer, is_observer_of};
pub use probe::{OtherProtocol, other_protocol};
pub use reach::{REACH, explain_unreached, proxy_to, reach};
pub use tls::Tls;
pub use url::{BrokerUrl, InvalidBrokerUrl, Scheme};
pub use version::{InvalidMqttVersion, MqttVersion};

/// Commands waiting for the link: a call makes about ten. The session never waits for the link, which may be waiting for
/// the session: what does not fit is refused, and a message is sent again by [`crate::delivery`].
const COMMANDS_MAX: usize = 512;

/// Events waiting for the session: beyond it the link waits, and the broker is slowed down by TCP.
const EVENTS_MAX: usize = 256;

/// Who we are and where the broker is.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Our peer ID, which is the MQTT ClientId.
    pub me: PeerId,
    /// Names this run of the program; see [`crate::wire::Presence::run`].
    pub run: Nonce,
    /// Brokers to use, the first that works; at least one. All peers should have the same.
    pub brokers: Vec<BrokerUrl>,
    /// Which MQTT to speak to them.
    pub version: MqttVersion,
    /// User and password, if the broker wants them.
    pub login: Option<Login>,
    /// Certificates for `mqtts` and `wss`.
    pub tls: TlsFiles,
    /// Proxies on the way to brokers over TLS.
    pub proxies: Proxies,
    /// How call topics are built.
    pub template: Template,
    /// Whose calls we take in.
    pub audience: Audience,
    /// What seals our messages; without it they are plain bytes, as other dialects want.
    pub sealing: Option<Sealing>,
}

/// What seals messages: see [`crate::seal::Vault`].
#[derive(Clone, Debug)]
pub struct Sealing {
    /// Our identity.
    pub keys: Arc<SecretKeys>,
    /// What our user allows.
    pub policy: Policy,
    /// What is remembered of peers, now and from then on.
    pub acquaintances: watch::Receiver<Arc<Acquaintances>>,
}

/// Which call topics are subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever speaks to us.
    Anyone,
    /// These peers alone. Our own ID among them lets us hear ourselves, as a check of the broker's rules wants.
    Only(Vec<PeerId>),
}

/// Whose presence an observer watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Everybody's, where the broker lets us read it.
    Everyone,
    /// These peers'.
    Peers(Vec<PeerId>),
}

/// User and password at the broker.
#[derive(Clone)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({}, …)", self.user)
    }
}

/// Where certificates lie, all PEM.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Own certificate authority, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Client certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What the link tells.
#[derive(Debug)]
pub enum LinkEvent {
    /// Connected, subscribed and heard, for the first time or again.
    Up {
        /// The broker in use.
        broker: String,
        /// From publishing our presence to hearing it; for an observer from asking for presence to the answer.
        round_trip: Duration,
    },
    /// The broker is gone; the link tries to come back by itself.
    Down {
        /// Why, for people.
        reason: String,
    },
    /// Bytes from a peer.
    Message {
        /// Whose topic carried them.
        from: PeerId,
        /// The bytes, opened.
        payload: Bytes,
        /// Whether they came sealed, and of whom.
        standing: Standing,
    },
    /// A peer's keys are known now, or are others: what waited for them can be sent.
    Ready {
        /// Whose.
        peer: PeerId,
    },
    /// A peer is not spoken to.
    Distrusted {
        /// Why.
        why: Distrust,
        /// What showed it.
        shown: Shown,
    },
    /// What [`LinkHandle::probe`] said came back.
    Echo,
    /// The broker did not take a message of ours.
    Refused {
        /// Whom it was for.
        to: PeerId,
        /// Why.
        error: LinkError,
    },
    /// Something on one of our topics was not taken in.
    Dropped {
        /// Why, for people.
        reason: Cow<'static, str>,
    },
    /// A watched peer's presence.
    Presence {
        /// Whose.
        peer: PeerId,
        /// What it is now; `None` when the broker holds none.
        state: Option<PresenceState>,
    },
    /// A tracer's: something was said on a call topic or a presence topic, by whomever.
    Overheard {
        /// The topic.
        topic: String,
        /// The bytes; none when there are more than [`ENVELOPE_BYTES_MAX`].
        payload: Option<Bytes>,
        /// How many bytes there are.
        size: usize,
        /// True for what the broker held before we came.
        retained: bool,
    },
    /// The link cannot work and has ended.
    Failed(LinkError),
}

/// What showed that a peer is not to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// Its presence, and nothing genuine of it is known.
    ByPresence,
    /// A message, which may be of anybody.
    ByMessage,
}

#[derive(Debug)]
enum Command {
    Publish { to: PeerId, payload: Bytes },
    Watch(PeerId),
    Probe,
    Hear(PeerId),
}

/// What the holder of a [`LinkHandle`] wants, for whoever carries it in place of [`Link::run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Bytes for a peer.
    Publish {
        /// Whom they are for.
        to: PeerId,
        /// The bytes.
        payload: Bytes,
    },
    /// The presence of a peer.
    Watch(PeerId),
    /// Messages of a peer, though it is not in the [`Audience`].
    Hear(PeerId),
    /// Our presence is this from now on.
    Presence(PresenceState),
    /// The network of this machine changed.
    Reconnect,
    /// There is a reason to doubt the connection.
    Doubt,
    /// Whether the broker's rules let call messages through.
    Probe,
}

/// The way to talk to a running [`Link`]. Nothing here waits.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    commands: mpsc::Sender<Command>,
    presence: watch::Sender<PresenceState>,
    /// How often the network of this machine changed.
    network: watch::Sender<u64>,
    /// How often there was a reason to doubt the connection.
    doubts: watch::Sender<u64>,
}

impl LinkHandle {
    /// Publishes bytes for `to`. While the broker is away they are lost: [`crate::delivery`] sends again.
    ///
    /// # Errors
    /// [`PublishError`] when the payload is too large, too much is waiting, or the link has ended.
    pub fn publish(&self, to: PeerId, payload: Vec<u8>) -> Result<(), PublishError> {
        if payload.len() > ENVELOPE_BYTES_MAX {
            return Err(PublishError::TooLarge(payload.len()));
        }
        self.command(Command::Publish { to, payload: payload.into() })
    }

    /// Sets our retained presence, now and after every reconnect.
    pub fn set_presence(&self, state: PresenceState) {
        self.presence.send_replace(state);
    }

    /// Asks for [`LinkEvent::Presence`] of `peer`.
    ///
    /// # Errors
    /// [`PublishError`] when too much is waiting or the link has ended.
    pub fn watch(&self, peer: PeerId) -> Result<(), PublishError> {
        self.command(Command::Watch(peer))
    }

    /// Says something to ourselves on our own call topic, which tells [`LinkEvent::Echo`] where the broker's rules let us
    /// write and read call topics. Does nothing where topics name no listener: peers would hear it.
    ///
    /// # Errors
    /// [`PublishError`] when too much is waiting or the link has ended.
    pub fn probe(&self) -> Result<(), PublishError> {
        self.command(Command::Probe)
    }

    /// Takes in messages of `peer` too, where the [`Audience`] does not name it.
    ///
    /// # Errors
    /// [`PublishError`] when too much is waiting or the link has ended.
    pub fn hear(&self, peer: PeerId) -> Result<(), PublishError> {
        self.command(Command::Hear(peer))
    }

    /// Connects anew: the addresses of this machine changed, and the connection, or the try at one, may be dead without
    /// knowing it.
    pub fn reconnect(&self) {
        self.network.send_modify(|changes| *changes += 1);
    }

    /// Finds out within seconds whether the broker still answers, and connects anew when it does not: something else
    /// that goes over the network of this machine went silent.
    pub fn check(&self) {
        self.doubts.send_modify(|doubts| *doubts += 1);
    }

    fn command(&self, command: Command) -> Result<(), PublishError> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PublishError::Full,
            mpsc::error::TrySendError::Closed(_) => PublishError::Closed,
        })
    }
}

/// The actor that owns the connection.
#[derive(Debug)]
pub struct Link {
    connection: Connection,
}

impl Link {
    /// Makes the actor, its handle and its events.
    ///
    /// # Errors
    /// [`LinkError::TlsFile`] when a certificate or key cannot be read.
    pub fn new(config: LinkConfig) -> Result<(Self, LinkHandle, mpsc::Receiver<LinkEvent>), LinkError> {
        Self::make(config, Part::Peer)
    }

    /// The same for somebody who only looks: it has no presence and no will, hears no calls, and connects under a
    /// ClientId of its own, `ID-observer-XXXX`, so that a program that runs with this ID stays connected.
    ///
    /// A broker that gives every login one ClientId (Mosquitto's `use_username_as_clientid`) throws that program off
    /// all the same. This cannot be known beforehand; it shows as [`LinkError::OneConnectionALogin`] when that program
    /// comes back, and the observer does not fight it.
    ///
    /// # Errors
    /// [`LinkError::TlsFile`] when a certificate or key cannot be read.
    pub fn observer(
        config: LinkConfig,
        watched: Watched,
    ) -> Result<(Self, LinkHandle, mpsc::Receiver<LinkEvent>), LinkError> {
        Self::make(config, Part::Observer(watched))
    }

    /// An observer that reads along: all call topics of the template and everybody's presence, as
    /// [`LinkEvent::Overheard`]. The broker must let it; whether it does, it proves by a message of its own that must come
    /// back, since a broker may grant a subscription and stay silent (Mosquitto does). Only where a topic names no listener
    /// (the plain template) there is no such proof: the message would be heard by peers.
    ///
    /// # Errors
    /// [`LinkError::TlsFile`] when a certificate or key cannot be read.
    pub fn tracer(config: LinkConfig) -> Result<(Self, LinkHandle, mpsc::Receiver<LinkEvent>), LinkError> {
        Self::make(config, Part::Tracer)
    }

    fn make(config: LinkConfig, part: Part) -> Result<(Self, LinkHandle, mpsc::Receiver<LinkEvent>), LinkError> {
        let (commands, commands_rx) = mpsc::channel(COMMANDS_MAX);
        let (events_tx, events) = mpsc::channel(EVENTS_MAX);
        let tls = Tls::load(&config.tls)?;
        let (presence, presence_rx) = watch::channel(PresenceState::Available);
        let (network, network_rx) = watch::channel(0);
        let (doubts, doubts_rx) = watch::channel(0);
        let hints = Hints { network: network_rx, doubts: doubts_rx };
        let connection = Connection::new(config, part, tls, commands_rx, presence_rx, hints, events_tx);
        Ok((Self { connection }, LinkHandle { commands, presence, network, doubts }, events))
    }

    /// What the handle wants next, in place of [`Link::run`]: another program of this user has the connection. Loses
    /// nothing when it is dropped; `None` when the handle is gone.
    pub async fn wanted(&mut self) -> Option<Wanted> {
        self.connection.wanted().await
    }

    /// Tells the holder of the handle of something, in place of [`Link::run`].
    pub async fn tell(&self, event: LinkEvent) {
        self.connection.tell(event).await;
    }

    /// Asks for the presence of `peer` with the first subscription, so that it is known when the link is up: to be called
    /// before [`Link::run`]. From then on [`LinkHandle::watch`] asks.
    pub fn watch_from_the_start(&mut self, peer: PeerId) {
        self.connection.watch_from_the_start(peer);
    }

    /// Takes in what is sealed for the run of another program of ours too, whose connection this one takes over.
    pub fn succeed(&mut self, run: MessageId) {
        self.connection.succeed(run);
    }

    /// Runs until `stop` fires (says goodbye to the broker then) or the link fails for good.
    pub async fn run(self, stop: CancellationToken) {
        self.connection.run(stop).await;
    }
}

/// The wall clock, milliseconds since the Unix epoch.
fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Random bytes that nobody can guess.
fn random() -> [u8; 32] {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 32];
    let drawn = ring::rand::SystemRandom::new().fill(&mut bytes);
    drawn.expect("the system gives random bytes; without them there is no TLS either");
    bytes
}

/// The name of a run on the presence topic.
fn run_id(run: Nonce) -> MessageId {
    MessageId::numbered(run, 0)
}

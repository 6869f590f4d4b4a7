//! The link to the broker: the only IO of this crate.
//!
//! Owns the MQTT connection: connecting, reconnecting with back-off and jitter, subscribing again, presence, and
//! telling a lost broker from a refusal and from an ID that someone else took over. Never looks into a message: a
//! payload is bytes from one peer to another.
//!
//! - [`Link::new`] → the actor and its [`LinkHandle`]; [`Link::run`] until the [`CancellationToken`] fires
//! - out: [`LinkHandle::publish`], [`LinkHandle::set_presence`], [`LinkHandle::watch`]
//! - in: [`LinkEvent`]s

mod backoff;
mod connection;
mod tls;
mod url;

use std::path::PathBuf;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::id::{MessageId, Nonce, PeerId};
use crate::topic::Template;
use crate::wire::{ENVELOPE_BYTES_MAX, PresenceState};

pub use tls::Tls;
pub use url::{BrokerUrl, InvalidBrokerUrl, Scheme};

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
    /// Brokers to try, in this order; at least one.
    pub brokers: Vec<BrokerUrl>,
    /// User and password, if the broker wants them.
    pub login: Option<Login>,
    /// Certificates for `mqtts` and `wss`.
    pub tls: TlsFiles,
    /// How call topics are built.
    pub template: Template,
    /// Whose calls we take in.
    pub audience: Audience,
}

/// Which call topics are subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever speaks to us.
    Anyone,
    /// These peers alone.
    Only(Vec<PeerId>),
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
    /// Connected and subscribed, for the first time or again.
    Up {
        /// The broker in use.
        broker: String,
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
        /// The bytes.
        payload: Bytes,
    },
    /// Something on one of our topics was not taken in.
    Dropped {
        /// Why, for people.
        reason: &'static str,
    },
    /// A watched peer's presence.
    Presence {
        /// Whose.
        peer: PeerId,
        /// What it is now; `None` when the broker holds none.
        state: Option<PresenceState>,
    },
    /// The link cannot work and has ended.
    Failed(LinkError),
}

/// Why the link cannot work.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No broker answered in time.
    #[error("broker {broker} cannot be reached: {reason}; is it running, and is --broker right?")]
    Unreachable {
        /// Address as given.
        broker: String,
        /// What the network says.
        reason: String,
    },
    /// The broker's certificate is not trusted, or ours is not taken.
    #[error("TLS with broker {broker} failed: {reason}; is --ca-file the PEM file of its certificate authority?")]
    Tls {
        /// Address as given.
        broker: String,
        /// What TLS says.
        reason: String,
    },
    /// The broker refuses the login.
    #[error("broker {broker} refused the login{user}: {reason}; check --user, --password-file and the broker's rules")]
    LoginRefused {
        /// Address as given.
        broker: String,
        /// ` of user NAME`, or nothing.
        user: String,
        /// What the broker says.
        reason: String,
    },
    /// The broker refuses a subscription.
    #[error("broker {broker} refused the subscription to {filter:?}; its access rules must let {me} read it")]
    SubscriptionRefused {
        /// Address as given.
        broker: String,
        /// The topic filter.
        filter: String,
        /// Our ID.
        me: PeerId,
    },
    /// Someone else connects with our ID.
    #[error("the ID {me:?} was taken over by another program at {broker}; give each its own --id", me = me.as_str())]
    TakenOver {
        /// Address as given.
        broker: String,
        /// Our ID.
        me: PeerId,
    },
    /// A certificate or key file is unusable.
    #[error("{0}")]
    TlsFile(String),
}

/// Why a payload was not taken for publishing.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Above [`ENVELOPE_BYTES_MAX`].
    #[error("message of {0} bytes is above the limit of {ENVELOPE_BYTES_MAX}")]
    TooLarge(usize),
    /// More is waiting than a broker at work leaves waiting.
    #[error("the broker is too slow; the message will be sent again")]
    Full,
    /// The link has ended.
    #[error("the link to the broker has ended")]
    Closed,
}

#[derive(Debug)]
enum Command {
    Publish { to: PeerId, payload: Bytes },
    Watch(PeerId),
}

/// The way to talk to a running [`Link`]. Nothing here waits.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    commands: mpsc::Sender<Command>,
    presence: watch::Sender<PresenceState>,
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
    connection: connection::Connection,
}

impl Link {
    /// Makes the actor, its handle and its events.
    ///
    /// # Errors
    /// [`LinkError::TlsFile`] when a certificate or key cannot be read.
    pub fn new(config: LinkConfig) -> Result<(Self, LinkHandle, mpsc::Receiver<LinkEvent>), LinkError> {
        let (commands, commands_rx) = mpsc::channel(COMMANDS_MAX);
        let (events_tx, events) = mpsc::channel(EVENTS_MAX);
        let tls = Tls::load(&config.tls)?;
        let (presence, presence_rx) = watch::channel(PresenceState::Available);
        let connection = connection::Connection::new(config, tls, commands_rx, presence_rx, events_tx);
        Ok((Self { connection }, LinkHandle { commands, presence }, events))
    }

    /// Runs until `stop` fires (says goodbye to the broker then) or the link fails for good.
    pub async fn run(self, stop: CancellationToken) {
        self.connection.run(stop).await;
    }
}

/// The name of a run on the presence topic.
fn run_id(run: Nonce) -> MessageId {
    MessageId::numbered(run, 0)
}

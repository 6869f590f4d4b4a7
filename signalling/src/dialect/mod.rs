//! Which form messages have: tring's own, or that of other clients. Pure: reads no clock, draws no randomness, does no IO.
//!
//! - [`Dialect::Tring`]: [`ReliableDelivery`] around [`Envelope`]s
//! - [`Dialect::Apprtc`]: [`Apprtc`], the plain JSON of Android's WebRTC samples
//!
//! [`Delivery`] stands between the call machine and the link and has the same methods whatever is spoken. Out:
//! [`Message`] → [`Publication`]s to publish; in: bytes of a peer → [`Output::Received`].

mod apprtc;
#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::delivery::{self, ReliableDelivery};
use crate::id::{CallId, Nonce, PeerId};
use crate::topic::Template;
use crate::wire::{Envelope, Message, WireError};

pub use apprtc::{Apprtc, Spoken};

/// What the delivery wants done.
pub type Output = delivery::Output<Publication>;

/// How peers speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// tring's own: acknowledged, with call ids and reasons (docs/PROTOCOL.md, part 1).
    #[default]
    Tring,
    /// The plain JSON of AppRTC (docs/PROTOCOL.md, "Dialect apprtc").
    Apprtc,
}

impl Dialect {
    /// The topic template where none is given.
    #[must_use]
    pub fn topics(self) -> Template {
        match self {
            Self::Tring => Template::default(),
            Self::Apprtc => Template::bare(),
        }
    }
}

/// One message on its way to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publication {
    /// In tring's own form.
    Tring(Envelope),
    /// In AppRTC's.
    Apprtc {
        /// Whom it is for, which it does not say itself.
        to: PeerId,
        /// What it says.
        spoken: Spoken,
    },
}

impl Publication {
    /// Whom it is for.
    #[must_use]
    pub const fn to(&self) -> &PeerId {
        match self {
            Self::Tring(envelope) => &envelope.to,
            Self::Apprtc { to, .. } => to,
        }
    }

    /// What is published.
    ///
    /// # Errors
    /// [`WireError::TooLarge`] when it is above the limit of an envelope.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WireError> {
        match self {
            Self::Tring(envelope) => envelope.to_bytes(),
            Self::Apprtc { spoken, .. } => spoken.to_bytes(),
        }
    }
}

/// Why bytes of a peer were not taken in.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It names another sender than the owner of the topic.
    #[error("sender is not the owner of its topic")]
    Spoofed,
    /// No message, or one above a limit.
    #[error("not a message of this protocol")]
    Unreadable(#[from] WireError),
    /// [`Dialect::Apprtc`] alone: a second caller, where a busy for it would end the call under way.
    #[error("another call while one is under way, and on topics without {{to}} the caller cannot be told")]
    Engaged,
}

/// Carries messages in the dialect that was chosen.
#[derive(Debug)]
pub enum Delivery {
    /// tring's own.
    Tring(ReliableDelivery),
    /// AppRTC's.
    Apprtc(Apprtc),
}

impl Delivery {
    /// A delivery for `me`; `nonce` tells what is named in this run from what any other named.
    #[must_use]
    pub fn new(dialect: Dialect, me: PeerId, nonce: Nonce, template: &Template) -> Self {
        match dialect {
            Dialect::Tring => Self::Tring(ReliableDelivery::new(me, nonce)),
            Dialect::Apprtc => Self::Apprtc(Apprtc::new(me, nonce, template.hearers())),
        }
    }

    /// Sends `message`; `unix_ms` is the wall clock, milliseconds since the epoch.
    pub fn send(&mut self, to: PeerId, call: CallId, message: Message, now: Instant, unix_ms: u64) -> Vec<Output> {
        match self {
            Self::Tring(delivery) => sealed(delivery.send(to, call, message, now, unix_ms)),
            Self::Apprtc(apprtc) => apprtc.send(to, call, message),
        }
    }

    /// Takes in what `from` published.
    ///
    /// # Errors
    /// [`ReceiveError`] on anything that is to be dropped and counted. What is nothing to us yields nothing.
    pub fn receive(&mut self, from: PeerId, payload: &[u8], unix_ms: u64) -> Result<Vec<Output>, ReceiveError> {
        match self {
            Self::Tring(delivery) => {
                let envelope = Envelope::from_bytes(payload)?;
                if envelope.from != from {
                    return Err(ReceiveError::Spoofed);
                }
                Ok(sealed(delivery.receive(envelope, unix_ms)))
            }
            Self::Apprtc(apprtc) => apprtc.receive(from, payload),
        }
    }

    /// When [`Delivery::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Tring(delivery) => delivery.poll_timeout(),
            // Nothing is acknowledged, so nothing is sent again.
            Self::Apprtc(_) => None,
        }
    }

    /// Acts on time having passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Output> {
        match self {
            Self::Tring(delivery) => sealed(delivery.handle_timeout(now)),
            Self::Apprtc(_) => Vec::new(),
        }
    }

    /// The link to the broker is back.
    pub fn link_restored(&mut self, now: Instant) -> Vec<Output> {
        match self {
            Self::Tring(delivery) => sealed(delivery.link_restored(now)),
            // What got through is not known, and other clients would take an offer that comes twice for two calls.
            Self::Apprtc(_) => Vec::new(),
        }
    }

    /// The call is over: nothing more is to be sent of it but its bye.
    pub fn forget(&mut self, call: &CallId) {
        match self {
            Self::Tring(delivery) => delivery.forget(call),
            Self::Apprtc(apprtc) => apprtc.forget(call),
        }
    }

    /// True when nothing waits to be acknowledged.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match self {
            Self::Tring(delivery) => delivery.is_idle(),
            Self::Apprtc(_) => true,
        }
    }

    /// Messages that arrived more than once so far.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        match self {
            Self::Tring(delivery) => delivery.duplicates(),
            Self::Apprtc(apprtc) => apprtc.duplicates(),
        }
    }

    /// Whether the presence of a peer tells if it can be called. Clients of another make have none, and what an earlier
    /// run of tring by that ID left at the broker would be wrong.
    #[must_use]
    pub const fn heeds_presence(&self) -> bool {
        match self {
            Self::Tring(_) => true,
            Self::Apprtc(_) => false,
        }
    }
}

fn sealed(outputs: Vec<delivery::Output>) -> Vec<Output> {
    outputs.into_iter().map(|output| output.map(Publication::Tring)).collect()
}

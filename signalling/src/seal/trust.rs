//! Who is trusted, as types: what a user allows, what is remembered of a peer, why one is not spoken to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PublicKeys;
use crate::id::PeerId;

/// What a user allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether peers without a key are spoken to.
    pub plain: Plain,
    /// Whether peers that are not remembered are.
    pub strangers: Strangers,
}

/// Whether peers without a key are spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plain {
    /// No.
    #[default]
    Refused,
    /// Yes, if they never showed a key.
    Allowed,
}

/// Whether peers that are not remembered are spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strangers {
    /// Yes: their key is remembered from the first call on, and kept to until then.
    #[default]
    Welcome,
    /// Yes, whatever key they showed before: those of tests, which have another one in each run.
    Anew,
    /// No.
    Refused,
}

/// What is remembered of peers.
pub type Acquaintances = BTreeMap<PeerId, Acquaintance>;

/// What is remembered of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquaintance {
    /// The words of its fingerprint, see [`Fingerprint::words`](super::keys::Fingerprint::words); none of one that was
    /// blocked before it showed a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// What its user thinks of it.
    pub opinion: Opinion,
}

/// What a user thinks of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opinion {
    /// There was a call, and nobody has compared anything.
    Known,
    /// The user has compared its fingerprint.
    Verified,
    /// The user wants nothing to do with it.
    Blocked,
}

impl Opinion {
    /// As it is written in files, and told.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Verified => "verified",
            Self::Blocked => "blocked",
        }
    }
}

/// How a message of a peer came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Whoever runs the broker can have read, changed or made it up.
    Plain,
    /// It is of whoever has these keys.
    Sealed {
        /// The keys.
        keys: PublicKeys,
        /// What is remembered of them.
        trust: Trust,
    },
}

/// What is remembered of a key that may be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Nothing: first contact.
    First,
    /// It is the one of earlier calls.
    Known,
    /// The user has compared it.
    Verified,
}

/// Why a peer is not spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Distrust {
    /// It shows another key than the one that is remembered, or that it showed before.
    #[error(
        "the key of {peer} has changed. Before: \"{before}\". Now: \"{now}\". Either {peer} has a new machine or a new key, \
         or somebody sits between you. Ask {peer} for the words of `tring id`. If they are the new ones, run `tring \
         contacts trust {peer} WORDS` with them, and try again"
    )]
    Changed {
        /// Whose key.
        peer: PeerId,
        /// The words that are remembered.
        before: String,
        /// The words of the key that it shows.
        now: String,
    },
    /// It had a key, and shows none now.
    #[error(
        "{peer} shows no key, and had one before: an older tring or another program, which does not seal, runs there now, or \
         somebody has taken the key away to read along. Run a tring there that seals. If {peer} really has no key any \
         more, run `tring contacts forget {peer}`, and pass --plain here"
    )]
    KeyGone {
        /// Who.
        peer: PeerId,
    },
    /// It has no key, and plain is not allowed.
    #[error(
        "{peer} shows no key, so nothing can be sealed: an older tring or another program, which does not seal, runs there. \
         Run a tring there that seals, or pass --plain here: whoever runs the broker can listen in to such calls"
    )]
    PlainOnly {
        /// Who.
        peer: PeerId,
    },
    /// It is not remembered, and strangers are refused.
    #[error(
        "{peer} is not among the peers that you know, and --require-known is set; run `tring contacts trust {peer} WORDS` \
         with the words of `tring id` there. Its key now: \"{now}\""
    )]
    Stranger {
        /// Who.
        peer: PeerId,
        /// The words of the key that it shows.
        now: String,
    },
    /// The user blocked it.
    #[error("{peer} is blocked; run `tring contacts forget {peer}` to undo it")]
    Blocked {
        /// Who.
        peer: PeerId,
    },
}

impl Distrust {
    /// Whom it is about.
    #[must_use]
    pub const fn peer(&self) -> &PeerId {
        match self {
            Self::Changed { peer, .. }
            | Self::KeyGone { peer }
            | Self::PlainOnly { peer }
            | Self::Stranger { peer, .. }
            | Self::Blocked { peer } => peer,
        }
    }
}

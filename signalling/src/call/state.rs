//! Where a call can stand. Each state holds what is true in it and nothing else.

use std::time::Instant;

use crate::id::{CallId, PeerId};
use crate::wire::{Candidate, Description};

/// Where the line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No call.
    Idle,
    /// Caller: our offer is being made.
    Offering {
        /// The call.
        call: CallId,
        /// Whom we call.
        peer: PeerId,
        /// The callee's own call to us, which is to yield to ours (glare). It hears busy if it did not.
        yielding: Option<CallId>,
        /// When our side counts as unable to call.
        give_up_at: Instant,
    },
    /// Caller: the offer is out, no sign of life yet.
    Dialing {
        /// The call.
        call: CallId,
        /// Whom we call.
        peer: PeerId,
        /// Candidates that overtook the answer.
        candidates: Vec<Candidate>,
        /// What is known of the callee's program.
        callee: Callee,
        /// The callee's own call to us, which is to yield to ours (glare). It hears busy if it did not.
        yielding: Option<CallId>,
        /// When the callee counts as offline, or the call as not answered.
        give_up_at: Instant,
    },
    /// Caller: the callee's program has the offer and rings.
    Ringing {
        /// The call.
        call: CallId,
        /// Whom we call.
        peer: PeerId,
        /// Candidates that overtook the answer.
        candidates: Vec<Candidate>,
        /// When it counts as not answered.
        give_up_at: Instant,
    },
    /// Callee: it rings here.
    Incoming {
        /// The call.
        call: CallId,
        /// Who calls.
        peer: PeerId,
        /// What the caller offers, with all its candidates so far.
        offer: Description,
        /// When it counts as not answered.
        give_up_at: Instant,
    },
    /// Callee: accepted; our answer is being made.
    Answering {
        /// The call.
        call: CallId,
        /// Who calls.
        peer: PeerId,
        /// Candidates that came after the offer, for a peer connection that is not there yet.
        candidates: Vec<Candidate>,
        /// When connecting counts as failed.
        give_up_at: Instant,
    },
    /// Both: offer and answer are exchanged, the media path is being set up.
    Connecting {
        /// The call.
        call: CallId,
        /// The other.
        peer: PeerId,
        /// When connecting counts as failed.
        give_up_at: Instant,
    },
    /// Both: the call stands.
    Active {
        /// The call.
        call: CallId,
        /// The other.
        peer: PeerId,
        /// How the media path is.
        path: Connected,
    },
}

/// What a caller knows of the callee's program before it rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// No sign of life.
    Silent,
    /// It acknowledged the offer.
    Reached,
}

/// How the media path of a standing call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connected {
    /// Media flows.
    Flowing,
    /// Nothing comes at the moment.
    Interrupted {
        /// When the call counts as lost.
        give_up_at: Instant,
    },
}

impl State {
    /// The call under way and the other peer, if there is one.
    #[must_use]
    pub const fn call(&self) -> Option<(&CallId, &PeerId)> {
        match self {
            Self::Idle => None,
            Self::Offering { call, peer, .. }
            | Self::Dialing { call, peer, .. }
            | Self::Ringing { call, peer, .. }
            | Self::Incoming { call, peer, .. }
            | Self::Answering { call, peer, .. }
            | Self::Connecting { call, peer, .. }
            | Self::Active { call, peer, .. } => Some((call, peer)),
        }
    }

    /// True when the call under way is `call` with `peer`.
    #[must_use]
    pub fn is(&self, call: &CallId, peer: &PeerId) -> bool {
        self.call() == Some((call, peer))
    }

    /// When this state ends by time alone.
    #[must_use]
    pub const fn give_up_at(&self) -> Option<Instant> {
        match self {
            Self::Idle | Self::Active { path: Connected::Flowing, .. } => None,
            Self::Offering { give_up_at, .. }
            | Self::Dialing { give_up_at, .. }
            | Self::Ringing { give_up_at, .. }
            | Self::Incoming { give_up_at, .. }
            | Self::Answering { give_up_at, .. }
            | Self::Connecting { give_up_at, .. }
            | Self::Active { path: Connected::Interrupted { give_up_at }, .. } => Some(*give_up_at),
        }
    }

    /// The state's name, for logs and diagrams.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Offering { .. } => "offering",
            Self::Dialing { .. } => "dialing",
            Self::Ringing { .. } => "ringing",
            Self::Incoming { .. } => "incoming",
            Self::Answering { .. } => "answering",
            Self::Connecting { .. } => "connecting",
            Self::Active { .. } => "active",
        }
    }
}

//! Where a call can stand. Each state holds what is true in it and nothing else.

use std::time::Instant;

use super::event::{MediaChange, Renewal};
use super::line::SAID_AGAIN;
use crate::id::{CallId, PeerId};
use crate::wire::{Candidate, Description, MediaState, Message, Revised};

/// Where a line stands.
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
        /// What each side does with its media.
        media: MediaSides,
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
        /// What each side does with its media.
        media: MediaSides,
        /// Candidates that overtook the answer.
        candidates: Vec<Candidate>,
        /// What is known of the callee's program.
        callee: Callee,
        /// The path, where an early answer came.
        path: Option<EarlyPath>,
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
        /// What each side does with its media.
        media: MediaSides,
        /// Candidates that overtook the answer.
        candidates: Vec<Candidate>,
        /// The path, where an early answer came.
        path: Option<EarlyPath>,
        /// When it counts as not answered.
        give_up_at: Instant,
    },
    /// Callee: it rings here.
    Incoming {
        /// The call.
        call: CallId,
        /// Who calls.
        peer: PeerId,
        /// What each side does with its media.
        media: MediaSides,
        /// What the caller offers, with all its candidates so far that no peer connection has.
        offer: Description,
        /// Our answer, if it is made already.
        answer: Option<ReadyAnswer>,
        /// When it counts as not answered.
        give_up_at: Instant,
    },
    /// Callee: accepted; our answer is being made.
    Answering {
        /// The call.
        call: CallId,
        /// Who calls.
        peer: PeerId,
        /// What each side does with its media.
        media: MediaSides,
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
        /// What each side does with its media.
        media: MediaSides,
        /// Who began it.
        role: Role,
        /// When connecting counts as failed.
        give_up_at: Instant,
    },
    /// Both: the call stands.
    Active {
        /// The call.
        call: CallId,
        /// The other.
        peer: PeerId,
        /// What each side does with its media.
        media: MediaSides,
        /// How it goes.
        talk: Talk,
    },
}

/// Callee: our answer, made while it rings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyAnswer {
    /// The answer, with all candidates of ours that the caller was not told of.
    pub description: Description,
    /// The path; `None`: the caller is told of the answer when our user accepts, and there is none before.
    pub path: Option<EarlyPath>,
}

/// The path of a call that is not accepted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyPath {
    /// It is looked for.
    Checking,
    /// There is one, with keys.
    Up,
    /// There was one, and nothing comes any more.
    Lost,
}

impl EarlyPath {
    /// What becomes of it.
    pub(super) const fn change(&mut self, change: MediaChange) {
        *self = match (*self, change) {
            (_, MediaChange::Connected) => Self::Up,
            (Self::Up | Self::Lost, MediaChange::Interrupted | MediaChange::Failed) => Self::Lost,
            // It may still be found: both sides check until the call is given up.
            (Self::Checking, MediaChange::Interrupted | MediaChange::Failed) => Self::Checking,
            (same, MediaChange::Unavailable) => same,
        };
    }
}

/// What a caller knows of the callee's program before it rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// No sign of life.
    Silent,
    /// It acknowledged the offer.
    Reached,
}

/// Who began a call. The caller makes all offers, so that no two meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We did.
    Caller,
    /// The other did.
    Callee,
}

/// What both sides of a call do with their media: microphone, camera, hold. The only place that knows it; whoever shows
/// it, or switches devices, asks here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaSides {
    /// Ours. The other side is told of it from the moment the call stands.
    pub local: MediaState,
    /// The other's, as it told last.
    pub remote: MediaState,
}

impl MediaSides {
    /// True while either side has the call on hold: nothing is sent then.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.local.hold || self.remote.hold
    }

    /// Our side does this from now on; what the other is told.
    pub(super) fn change(&mut self, local: MediaState) -> Message {
        self.local = MediaState { revision: self.local.revision.saturating_add(1), ..local };
        Message::Media(self.local)
    }

    /// What the other side is told once more: it holds over anything that was said in our name.
    pub(super) fn repeat(&mut self) -> Message {
        self.local.revision = self.local.revision.saturating_add(SAID_AGAIN);
        Message::Media(self.local)
    }
}

/// A standing call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talk {
    /// Who began it.
    pub role: Role,
    /// How the media path is.
    pub path: Path,
    /// Caller: the last update that was begun. Callee: the last one that was taken.
    pub revision: u32,
    /// Which path it is, counted in ICE restarts that were carried out here: a name for candidates to belong to.
    pub generation: u32,
    /// The update under way.
    pub update: Update,
    /// Candidates for an ICE restart whose description has not come, each with its generation.
    pub ahead: Vec<(u32, Candidate)>,
}

/// How the media path of a standing call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Media flows.
    Flowing,
    /// Nothing comes at the moment.
    Interrupted {
        /// When the next new path is looked for.
        restart_at: Instant,
        /// When the call counts as lost.
        give_up_at: Instant,
    },
}

/// The update of a standing call that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// None.
    None,
    /// Caller: the offer is being made.
    Making {
        /// What for.
        renewal: Renewal,
        /// What another one is to follow for.
        again: Option<Renewal>,
        /// When it is given up.
        give_up_at: Instant,
    },
    /// Caller: the offer is out.
    Offered {
        /// What for.
        renewal: Renewal,
        /// What another one is to follow for.
        again: Option<Renewal>,
        /// When it is given up.
        give_up_at: Instant,
    },
    /// Callee: the caller was asked for one.
    Asked {
        /// What for.
        renewal: Renewal,
        /// When it is given up.
        give_up_at: Instant,
    },
    /// Callee: the answer is being made.
    Answering {
        /// Which update.
        revision: u32,
        /// The generation of its path.
        generation: u32,
        /// A later offer that came meanwhile.
        next: Option<Box<Revised>>,
        /// What another one is to be asked for afterwards.
        again: Option<Renewal>,
        /// When it is given up.
        give_up_at: Instant,
    },
}

impl Update {
    /// When it is given up.
    pub(super) const fn give_up_at(&self) -> Option<Instant> {
        match self {
            Self::None => None,
            Self::Making { give_up_at, .. }
            | Self::Offered { give_up_at, .. }
            | Self::Asked { give_up_at, .. }
            | Self::Answering { give_up_at, .. } => Some(*give_up_at),
        }
    }

    /// It is given up at this moment, if not before.
    pub(super) fn give_up_by(&mut self, latest: Instant) {
        match self {
            Self::None => {}
            Self::Making { give_up_at, .. }
            | Self::Offered { give_up_at, .. }
            | Self::Asked { give_up_at, .. }
            | Self::Answering { give_up_at, .. } => *give_up_at = latest.min(*give_up_at),
        }
    }

    /// True when a new path is being looked for already.
    pub(super) const fn restarts(&self) -> bool {
        match self {
            Self::Making { renewal, .. } | Self::Offered { renewal, .. } | Self::Asked { renewal, .. } => {
                matches!(renewal, Renewal::Restart)
            }
            // The caller began it, and may have its reasons.
            Self::Answering { .. } => true,
            Self::None => false,
        }
    }
}

impl Talk {
    pub(super) fn new(role: Role) -> Self {
        Self { role, path: Path::Flowing, revision: 0, generation: 0, update: Update::None, ahead: Vec::new() }
    }

    /// When time alone matters next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let path = match self.path {
            Path::Flowing => None,
            Path::Interrupted { restart_at, give_up_at } => Some(restart_at.min(give_up_at)),
        };
        [path, self.update.give_up_at()].into_iter().flatten().min()
    }
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

    /// True when the call under way is `call`.
    #[must_use]
    pub fn is_call(&self, call: &CallId) -> bool {
        self.call().is_some_and(|(current, _)| current == call)
    }

    /// What each side does with its media, if there is a call.
    #[must_use]
    pub const fn media(&self) -> Option<MediaSides> {
        match self {
            Self::Idle => None,
            Self::Offering { media, .. }
            | Self::Dialing { media, .. }
            | Self::Ringing { media, .. }
            | Self::Incoming { media, .. }
            | Self::Answering { media, .. }
            | Self::Connecting { media, .. }
            | Self::Active { media, .. } => Some(*media),
        }
    }

    /// True when our user put the call on hold.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self, Self::Active { media: MediaSides { local: MediaState { hold: true, .. }, .. }, .. })
    }

    /// When time alone matters in this state.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Idle => None,
            Self::Active { talk, .. } => talk.poll_timeout(),
            Self::Offering { give_up_at, .. }
            | Self::Dialing { give_up_at, .. }
            | Self::Ringing { give_up_at, .. }
            | Self::Incoming { give_up_at, .. }
            | Self::Answering { give_up_at, .. }
            | Self::Connecting { give_up_at, .. } => Some(*give_up_at),
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
            Self::Active { talk: Talk { path: Path::Interrupted { .. }, .. }, .. } => "interrupted",
            Self::Active { .. } if self.is_held() => "held",
            Self::Active { .. } => "active",
        }
    }
}

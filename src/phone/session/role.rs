//! What a session is for: one call to a peer, or waiting for calls.

use signalling::id::PeerId;
use signalling::mqtt::Audience;
use signalling::wire::PresenceState;

use crate::cli::Answer;
use crate::phone::sharing::Part;

/// What the program is here for.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// Ring this peer, once.
    Call { peer: PeerId, absent: Absent },
    /// Wait for calls; `presence` is what others see while there is none.
    Listen { answer: Answer, calls: Calls, presence: PresenceState },
}

impl Role {
    /// What others see of us while no call stands.
    pub(super) const fn at_rest(&self) -> PresenceState {
        match self {
            Self::Call { .. } => PresenceState::Available,
            Self::Listen { presence, .. } => *presence,
        }
    }

    /// What another program with our ID is to know of us.
    pub(super) fn part(&self) -> Part {
        match self {
            Self::Call { peer, .. } => Part::Calls(peer.clone()),
            Self::Listen { .. } => Part::Listens,
        }
    }

    /// True when a person is asked whether to answer.
    pub(super) const fn asks(&self) -> bool {
        matches!(self, Self::Listen { answer: Answer::Ask, .. })
    }

    /// True when calls of this peer are taken; the broker may deliver others on a bare ClientId topic.
    pub(super) fn welcomes(&self, from: &PeerId, audience: &Audience) -> bool {
        match (self, audience) {
            (Self::Call { .. }, _) | (Self::Listen { .. }, Audience::Anyone) => true,
            (Self::Listen { .. }, Audience::Only(peers)) => peers.contains(from),
        }
    }

    /// True for a caller who waits until the other can be called.
    pub(super) const fn waits(&self) -> bool {
        matches!(self, Self::Call { absent: Absent::Wait, .. })
    }
}

/// What a caller does when the other is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// End, and say so.
    End,
    /// Wait until presence says that the other is available.
    Wait,
}

/// How many calls are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    One,
    Many,
}

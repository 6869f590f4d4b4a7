//! What a phone wants done, and what its user is told.

use serde::{Serialize, Serializer};

use super::event::Renewal;
use crate::id::{CallId, PeerId};
use crate::seal::SasNonce;
use crate::wire::{ByeReason, Candidate, Description, Message};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a message.
    Send {
        /// To whom.
        to: PeerId,
        /// Of which call.
        call: CallId,
        /// The message.
        message: Message,
    },
    /// Open a peer connection and make an offer; answered by [`super::Event::DescriptionReady`].
    MakeOffer {
        /// The call.
        call: CallId,
    },
    /// Open a peer connection and make an answer; answered by [`super::Event::DescriptionReady`].
    MakeAnswer {
        /// The call.
        call: CallId,
        /// The caller's offer.
        offer: Description,
    },
    /// Give the callee's early answer to the peer connection: a path is set up, and nothing is shown, played or sent.
    ApplyEarlyAnswer {
        /// The call.
        call: CallId,
        /// The answer.
        answer: Description,
    },
    /// Give the callee's answer to the peer connection.
    ApplyAnswer {
        /// The call.
        call: CallId,
        /// The answer.
        answer: Description,
    },
    /// Make a new offer; answered by [`super::Event::UpdateReady`] or [`super::Event::UpdateFailed`].
    MakeUpdate {
        /// The call.
        call: CallId,
        /// Which update.
        revision: u32,
        /// What it is for.
        renewal: Renewal,
    },
    /// Answer a new offer of the caller; answered by [`super::Event::UpdateReady`] or [`super::Event::UpdateFailed`].
    AnswerUpdate {
        /// The call.
        call: CallId,
        /// Which update.
        revision: u32,
        /// The offer.
        offer: Description,
    },
    /// Give the answer to our update to the peer connection; answered by [`super::Event::UpdateApplied`] or
    /// [`super::Event::UpdateFailed`].
    ApplyUpdate {
        /// The call.
        call: CallId,
        /// Which update.
        revision: u32,
        /// The answer.
        answer: Description,
    },
    /// Give more remote candidates to the peer connection.
    AddCandidates {
        /// The call.
        call: CallId,
        /// The new ones.
        candidates: Vec<Candidate>,
    },
    /// Check the caller's nonce against its commitment; answered by [`super::Event::CommitmentBroken`] where it does not fit.
    CheckNonce {
        /// The call.
        call: CallId,
        /// The nonce.
        nonce: SasNonce,
    },
    /// Our user does not talk in this call for now: devices are released, nothing is sent or played.
    HoldMedia {
        /// The call.
        call: CallId,
    },
    /// Our user talks in this call again.
    ResumeMedia {
        /// The call.
        call: CallId,
    },
    /// Work for this call ends, and nothing of it is resent. Its media are closed at [`Notice::Ended`] and
    /// [`Notice::Superseded`].
    CloseMedia {
        /// The call.
        call: CallId,
    },
    /// Tell the user.
    Notify(Notice),
}

/// Which of the two sides of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Ours.
    Local,
    /// The other's.
    Remote,
}

/// What the user sees of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// We call.
    Dialing {
        /// The call.
        call: CallId,
        /// Whom.
        peer: PeerId,
    },
    /// The callee rings.
    Ringing {
        /// The call.
        call: CallId,
        /// Who.
        peer: PeerId,
    },
    /// Someone calls us.
    Incoming {
        /// The call.
        call: CallId,
        /// Who.
        peer: PeerId,
    },
    /// The call was answered, by us or by the other.
    Accepted {
        /// The call.
        call: CallId,
        /// The other.
        peer: PeerId,
    },
    /// The media path is up.
    Connected {
        /// The call.
        call: CallId,
        /// The other.
        peer: PeerId,
    },
    /// The media path is interrupted.
    Reconnecting {
        /// The call.
        call: CallId,
        /// The other.
        peer: PeerId,
    },
    /// The media path is back.
    Reconnected {
        /// The call.
        call: CallId,
        /// The other.
        peer: PeerId,
    },
    /// One side put the call on hold, or talks again.
    Held {
        /// The call.
        call: CallId,
        /// Which side.
        side: Side,
        /// On hold, or not any more.
        on: bool,
    },
    /// The other side switched its microphone or camera.
    Switched {
        /// The call.
        call: CallId,
        /// Its sound comes.
        audio: bool,
        /// Its pictures come.
        video: bool,
    },
    /// The other side's line is too narrow for pictures, and none come; or they come again.
    Paused {
        /// The call.
        call: CallId,
        /// None come.
        on: bool,
    },
    /// The other side cannot take our update; the call goes on as it was.
    UpdateRefused {
        /// The call.
        call: CallId,
        /// Why, as the other side says; not safe for a terminal as it is.
        text: Option<String>,
    },
    /// Both called each other at once, and the other's call goes on in place of ours.
    Superseded {
        /// Our call, which never was.
        call: CallId,
        /// The call that goes on.
        by: CallId,
        /// The other.
        peer: PeerId,
    },
    /// Someone called while we were in a call, and was told so.
    TurnedAway {
        /// Who.
        peer: PeerId,
    },
    /// The call is over.
    Ended {
        /// The call.
        call: CallId,
        /// The other.
        peer: PeerId,
        /// Why.
        reason: EndReason,
        /// What the other side added; not safe for a terminal as it is.
        text: Option<String>,
    },
}

/// Why a call is over, as its own side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// We hung up.
    LocalHangup,
    /// The other hung up.
    RemoteHangup,
    /// We gave up ringing the other.
    LocalCancel,
    /// The caller gave up before we answered.
    RemoteCancel,
    /// We declined.
    LocalDecline,
    /// The callee declined.
    RemoteDecline,
    /// The callee is in another call.
    Busy,
    /// It rang and nobody answered.
    NoAnswer,
    /// The callee's program gives no sign of life.
    Offline,
    /// No media path was found.
    NoPath,
    /// The media path was lost and did not come back.
    Lost,
    /// Our side cannot take part.
    LocalFailure,
    /// The callee does not take our key, or that we have none; or our nonce is not the one that we committed to.
    Identity,
    /// The caller's nonce is not the one that it committed to: somebody may sit in the middle.
    Commitment,
}

impl Serialize for EndReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl EndReason {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::LocalHangup,
        Self::RemoteHangup,
        Self::LocalCancel,
        Self::RemoteCancel,
        Self::LocalDecline,
        Self::RemoteDecline,
        Self::Busy,
        Self::NoAnswer,
        Self::Offline,
        Self::NoPath,
        Self::Lost,
        Self::LocalFailure,
        Self::Identity,
        Self::Commitment,
    ];

    /// The word for it in events and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LocalHangup => "hangup",
            Self::RemoteHangup => "remote-hangup",
            Self::LocalCancel => "cancel",
            Self::RemoteCancel => "remote-cancel",
            Self::LocalDecline => "decline",
            Self::RemoteDecline => "remote-decline",
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::Offline => "offline",
            Self::NoPath => "no-path",
            Self::Lost => "lost",
            Self::LocalFailure => "failed",
            Self::Identity => "identity",
            Self::Commitment => "commitment",
        }
    }

    /// The reason of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// What the other side has to be told, if anything.
    pub(super) const fn bye(self) -> Option<ByeReason> {
        match self {
            Self::LocalHangup => Some(ByeReason::Hangup),
            Self::LocalCancel | Self::Offline => Some(ByeReason::Cancel),
            Self::LocalDecline => Some(ByeReason::Decline),
            Self::NoAnswer => Some(ByeReason::NoAnswer),
            Self::NoPath | Self::Lost | Self::LocalFailure => Some(ByeReason::Failed),
            Self::Commitment => Some(ByeReason::Identity),
            Self::RemoteHangup | Self::RemoteCancel | Self::RemoteDecline | Self::Busy | Self::Identity => None,
        }
    }
}

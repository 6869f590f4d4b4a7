//! The call machine: one line of one peer, from the first ring to the end.
//!
//! Pure: [`Line::handle`] takes an event and the time and gives back actions; [`Line::poll_timeout`] says when time
//! alone will matter. It reads no clock, sleeps never, draws no randomness and does no IO. Data lives in the state in
//! which it is true ([`State`]); there are no flags beside it.
//!
//! - from the user: [`Event::Dial`], [`Event::Accept`], [`Event::Decline`], [`Event::HangUp`]
//! - from the other peer: [`Event::Received`], [`Event::Delivered`], [`Event::Expired`], [`Event::PeerOffline`]
//! - from the peer connection: [`Event::DescriptionReady`], [`Event::CandidatesGathered`], [`Event::Media`]
//!
//! `docs/PROTOCOL.md` draws the states.

mod early;
mod line;
mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::id::{CallId, PeerId};
use crate::wire::{ByeReason, Candidate, Description, Message};

pub use line::Line;
pub use state::{Callee, Connected, State};

/// How long each wait may last.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Caller: from the offer to any sign of life of the callee's program. Two tries over a slow broker.
    pub unreachable: Duration,
    /// Caller: from ringing to an answer, at most [`ANSWER_MAX`].
    pub answer: Duration,
    /// From the answer to a working media path: ICE gives up a hopeless pair list in about 10 s.
    pub connect: Duration,
    /// From a lost media path to giving the call up.
    pub lost: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            unreachable: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            connect: Duration::from_secs(15),
            lost: Duration::from_secs(10),
        }
    }
}

/// The callee rings at most so long: a little longer than a caller may wait ([`ANSWER_MAX`]), so that the caller decides,
/// and not for ever when the caller vanished.
const CALLEE_RINGS: Duration = Duration::from_secs(125);

/// Longest [`Timeouts::answer`] that makes sense: then every callee has stopped ringing.
pub const ANSWER_MAX: Duration = Duration::from_secs(120);

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The user calls `peer`.
    Dial {
        /// Whom.
        peer: PeerId,
        /// A new, unguessable id.
        call: CallId,
    },
    /// The user accepts the ringing call.
    Accept,
    /// The user declines the ringing call.
    Decline,
    /// The user ends whatever is under way.
    HangUp,
    /// A message of the other peer.
    Received {
        /// Who sent it, as the transport vouches.
        from: PeerId,
        /// The call it belongs to.
        call: CallId,
        /// The message.
        message: Message,
    },
    /// The other peer's program acknowledged a message of ours.
    Delivered {
        /// The call.
        call: CallId,
        /// [`Message::name`].
        message: &'static str,
    },
    /// A message of ours was never acknowledged.
    Expired {
        /// The call.
        call: CallId,
        /// [`Message::name`].
        message: &'static str,
    },
    /// The broker says that `peer` is not there.
    PeerOffline {
        /// Who.
        peer: PeerId,
    },
    /// The offer or answer asked for is made.
    DescriptionReady {
        /// The call.
        call: CallId,
        /// The description, with the candidates known so far.
        description: Description,
    },
    /// The peer connection gathered more candidates; empty says that no more will come.
    CandidatesGathered {
        /// The call.
        call: CallId,
        /// The new ones.
        candidates: Vec<Candidate>,
    },
    /// The media path changed.
    Media {
        /// The call.
        call: CallId,
        /// How.
        change: MediaChange,
    },
}

/// What the peer connection says of the media path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaChange {
    /// ICE and DTLS are up.
    Connected,
    /// Nothing comes any more; may heal.
    Interrupted,
    /// It will not heal, or could never be set up.
    Failed,
    /// Our side cannot take part: a device, a file, a codec.
    Unavailable,
}

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
    /// Open a peer connection and make an offer; answered by [`Event::DescriptionReady`].
    MakeOffer {
        /// The call.
        call: CallId,
    },
    /// Open a peer connection and make an answer; answered by [`Event::DescriptionReady`].
    MakeAnswer {
        /// The call.
        call: CallId,
        /// The caller's offer.
        offer: Description,
    },
    /// Give the callee's answer to the peer connection.
    ApplyAnswer {
        /// The call.
        call: CallId,
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
    /// Close the peer connection, if there is one.
    CloseMedia {
        /// The call.
        call: CallId,
    },
    /// Tell the user.
    Notify(Notice),
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
}

impl EndReason {
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
        }
    }

    /// What the other side has to be told, if anything.
    const fn bye(self) -> Option<ByeReason> {
        match self {
            Self::LocalHangup => Some(ByeReason::Hangup),
            Self::LocalCancel | Self::Offline => Some(ByeReason::Cancel),
            Self::LocalDecline => Some(ByeReason::Decline),
            Self::NoAnswer => Some(ByeReason::NoAnswer),
            Self::NoPath | Self::Lost | Self::LocalFailure => Some(ByeReason::Failed),
            Self::RemoteHangup | Self::RemoteCancel | Self::RemoteDecline | Self::Busy => None,
        }
    }
}

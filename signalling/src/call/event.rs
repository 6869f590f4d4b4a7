//! What happens to a phone: from its user, from the other peer, from the peer connection.

use crate::id::{CallId, PeerId};
use crate::wire::{Candidate, Description, Message, MessageKind};

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
    /// The user accepts the ringing call; one that stands is put on hold.
    Accept,
    /// The user declines the ringing call.
    Decline {
        /// What the caller is told beside it.
        text: Option<String>,
    },
    /// The user ends the call it talks in, or whatever is under way.
    HangUp,
    /// This call ends, whichever line it is on: its time is up, or the program ends.
    End {
        /// The call.
        call: CallId,
    },
    /// The user puts the call it talks in on hold.
    Hold,
    /// The user talks again in the call that it put on hold.
    Resume,
    /// The user talks in the other of two calls.
    Swap,
    /// The user switched microphone or camera.
    Switch {
        /// The call.
        call: CallId,
        /// Sound is sent.
        audio: bool,
        /// Pictures are sent.
        video: bool,
    },
    /// Our line is too narrow for pictures, and none are sent; or they are sent again.
    Pause {
        /// The call.
        call: CallId,
        /// None are sent.
        on: bool,
    },
    /// This side needs a new offer and answer: other media, or a path from other addresses.
    Renew {
        /// The call.
        call: CallId,
        /// Which.
        renewal: Renewal,
    },
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
        /// Which message.
        message: MessageKind,
    },
    /// A message of ours was never acknowledged.
    Expired {
        /// The call.
        call: CallId,
        /// Which message.
        message: MessageKind,
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
    /// Our answer to the call that rings is made before it is asked for. The peer connection has none of the caller's
    /// candidates.
    AnswerPrepared {
        /// The call.
        call: CallId,
        /// The answer, with the candidates known so far.
        description: Description,
        /// Whether the caller is told of it at once.
        confidence: Confidence,
    },
    /// What was prepared for the call that rings is of no use any more: this machine has other addresses.
    AnswerOutdated {
        /// The call.
        call: CallId,
    },
    /// The update or its answer asked for is made.
    UpdateReady {
        /// The call.
        call: CallId,
        /// Which update.
        revision: u32,
        /// The description, with the candidates known so far.
        description: Description,
        /// What it renews, as the peer connection found.
        renewed: Renewal,
    },
    /// The peer connection took the answer to our update.
    UpdateApplied {
        /// The call.
        call: CallId,
        /// Which update.
        revision: u32,
    },
    /// The update or its answer cannot be made or taken; the call goes on as it was.
    UpdateFailed {
        /// The call.
        call: CallId,
        /// Which update.
        revision: u32,
        /// Why, for people.
        why: String,
    },
    /// The caller's nonce is not the one that its offer committed to.
    CommitmentBroken {
        /// The call.
        call: CallId,
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
    /// ICE and DTLS are up, or something is heard again.
    Connected,
    /// Nothing comes any more; may heal.
    Interrupted,
    /// It will not heal by itself, or could never be set up.
    Failed,
    /// Our side cannot take part: a device, a file, a codec.
    Unavailable,
}

/// Whether a caller may know our addresses before our user has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// Yes: the path is set up while it rings.
    Known,
    /// No.
    Stranger,
}

/// What a new offer and answer are for. The greater includes the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Renewal {
    /// Other media; the path stays.
    Media,
    /// A new path as well: an ICE restart (RFC 8445 §9).
    Restart,
}

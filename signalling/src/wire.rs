//! The messages two peers exchange, and their JSON form (version 1; docs/PROTOCOL.md describes it for other clients).
//!
//! An [`Envelope`] is what the transport carries as opaque bytes. Reading one is parsing: whatever comes out has sane
//! sizes and counts, and everything else is a [`WireError`], never a panic. A mistake in a field that may be absent costs
//! that field alone ([`lenient`]).

mod lenient;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::id::{CallId, MessageId, PeerId};
use crate::seal::{Announcement, SasNonce, SasPart};

pub use lenient::Unknown;

/// Version of the message format that this program writes.
pub const VERSION: u32 = 1;

/// Largest envelope, in bytes, written or read. ActiveMQ and Mosquitto take this by default or by one line of settings.
pub const ENVELOPE_BYTES_MAX: usize = 256 * 1024;

/// Most candidates taken from one message; ICE gathers far fewer (RFC 8445 §5.1.1 asks for one a base and server).
pub const CANDIDATES_MAX: usize = 64;

/// Largest SDP, in bytes: ours is about 5 KiB, a browser's about 8.
pub(crate) const SDP_BYTES_MAX: usize = 128 * 1024;

/// Longest candidate line, and longest name of its section, in bytes (RFC 8839 §5.1 lines are about 120).
pub(crate) const CANDIDATE_BYTES_MAX: usize = 1024;

/// Longest text for people, in bytes: a sentence or two.
pub const TEXT_BYTES_MAX: usize = 256;

/// One message with everything that delivers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Format version, [`VERSION`].
    pub v: u32,
    /// Names the message; the same when it is sent again.
    pub id: MessageId,
    /// Who speaks; must be the peer whose topic carried it.
    pub from: PeerId,
    /// Whom it is for.
    pub to: PeerId,
    /// When it was first sent, milliseconds since the Unix epoch, by the sender's clock; 0 when it does not say.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub ts: u64,
    /// What is said.
    #[serde(flatten)]
    pub content: Content,
}

/// What an envelope holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// A message of a call; to be acknowledged.
    Call {
        /// The call it belongs to.
        call: CallId,
        /// The message.
        #[serde(flatten)]
        message: Message,
    },
    /// The acknowledgement of a message; itself never acknowledged.
    Ack(Ack),
    /// What a later version says; to be acknowledged, so that it is not sent again, and otherwise nothing to us.
    Unknown(Unknown),
}

/// Says that a message arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "ack")]
pub struct Ack {
    /// Id of the message that arrived.
    pub of: MessageId,
}

/// What peers say in a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Message {
    /// The caller's SDP offer (RFC 3264), with the candidates known by then. Rings the callee.
    Offer(Description),
    /// The callee rings.
    Ringing,
    /// The callee's SDP answer while it still rings, so that a path is there before it accepts: nothing is accepted by it.
    /// Only to a caller whose offer says that it takes one.
    EarlyAnswer(Description),
    /// The callee accepts, with its SDP answer; the same as the early one, if there was one.
    Answer(Description),
    /// More ICE candidates of the sender (trickle ICE, RFC 8838).
    Candidates {
        /// ICE restarts so far, in the description they belong to.
        #[serde(default, skip_serializing_if = "is_first")]
        generation: u32,
        /// The new ones; empty says that no more will come.
        #[serde(deserialize_with = "lenient::only_candidates")]
        candidates: Vec<Candidate>,
    },
    /// The call is over, for whichever reason; as Jingle's session-terminate (XEP-0166 §6.7).
    Bye {
        /// Why.
        #[serde(default = "other", deserialize_with = "lenient::reason")]
        reason: ByeReason,
        /// What a person adds, at most [`TEXT_BYTES_MAX`]; not safe for a terminal as it is.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
        text: Option<String>,
    },
    /// What the sender does with its media from now on.
    Media(MediaState),
    /// A new offer in a standing call, by its caller: an ICE restart (RFC 8445 §9), a medium more or less.
    Update(Revised),
    /// The callee's answer to an update.
    Updated(Revised),
    /// The callee cannot take an update; the call goes on as it was.
    Refused {
        /// Which update.
        revision: u32,
        /// Why, for people, at most [`TEXT_BYTES_MAX`]; not safe for a terminal as it is.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
        text: Option<String>,
    },
    /// The callee asks the caller for an update.
    Renew {
        /// The ICE generation whose path is broken; without one, media are to change.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::optional")]
        generation: Option<u32>,
    },
    /// The caller's nonce, which its offer committed to, once it has that of the callee. Only in sealed calls
    /// (docs/SECURITY.md).
    Nonce {
        /// The nonce.
        nonce: SasNonce,
    },
}

const fn other() -> ByeReason {
    ByeReason::Other
}

/// serde hands a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_first(generation: &u32) -> bool {
    *generation == 0
}

/// What one side does with its media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaState {
    /// Counts what was said: messages may overtake each other, and the highest is what holds.
    pub revision: u32,
    /// Sound of a microphone is sent, not silence.
    pub audio: bool,
    /// Pictures of a camera are sent, not black.
    pub video: bool,
    /// The call is on hold: nothing is sent, and nothing is wanted.
    pub hold: bool,
    /// No pictures are sent for now: the line is too narrow for more than sound.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "lenient::optional")]
    pub paused: bool,
}

impl Default for MediaState {
    /// What holds until something else is said.
    fn default() -> Self {
        Self { revision: 0, audio: true, video: true, hold: false, paused: false }
    }
}

/// A description in a standing call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revised {
    /// Counts the updates of the call from 1; an answer names the one it answers.
    pub revision: u32,
    /// Counts the ICE restarts of the call.
    pub generation: u32,
    /// The description.
    #[serde(flatten)]
    pub description: Description,
}

/// A session description with its candidates.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// SDP (RFC 8866).
    pub sdp: String,
    /// Candidates gathered so far that the SDP does not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::candidates")]
    pub candidates: Vec<Candidate>,
    /// What sealed calls need for the words that people compare; in first descriptions alone.
    #[serde(flatten)]
    pub sas: Option<SasPart>,
}

impl Description {
    /// A description without anything else.
    #[must_use]
    pub const fn new(sdp: String, candidates: Vec<Candidate>) -> Self {
        Self { sdp, candidates, sas: None }
    }
}

/// One ICE candidate, as `RTCIceCandidateInit` has it (W3C WebRTC §4.8.1.1). Its names `sdpMid` and `sdpMLineIndex` are
/// read too.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "lenient::CandidateForm")]
pub struct Candidate {
    /// `candidate:…` as RFC 8839 §5.1 writes it.
    pub candidate: String,
    /// Media section by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
    /// Media section by position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mline: Option<u16>,
}

/// Why a call ended, told by the one who ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByeReason {
    /// An answered call is over: someone hung up.
    Hangup,
    /// The caller gave up before an answer.
    Cancel,
    /// The callee declined.
    Decline,
    /// The callee is in another call.
    Busy,
    /// The callee rang and nobody answered.
    NoAnswer,
    /// No media path was found, or it was lost.
    Failed,
    /// The key of the caller is not the one that is known of it, or it has none where one is needed.
    Identity,
    /// A reason of a later version; treated as [`ByeReason::Hangup`].
    #[serde(other)]
    Other,
}

/// Addresses and keys stay out of logs: only sizes are shown.
impl std::fmt::Debug for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Description({} bytes of SDP, {} candidates)", self.sdp.len(), self.candidates.len())
    }
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.candidate.split_whitespace().skip_while(|word| *word != "typ").nth(1);
        // A stranger's word does not get into a log.
        let known = kind.filter(|kind| matches!(*kind, "host" | "srflx" | "prflx" | "relay"));
        write!(f, "Candidate({})", known.unwrap_or("?"))
    }
}

/// Bytes that are no message of ours.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Above [`ENVELOPE_BYTES_MAX`].
    #[error("message of {0} bytes is above the limit of {ENVELOPE_BYTES_MAX}")]
    TooLarge(usize),
    /// Not JSON, or JSON of another shape.
    #[error("not a message of this protocol: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A message of ours that lacks something, or has something of another kind in its place.
    #[error("not a message of this protocol: its parts do not make a {0}")]
    Unreadable(String),
    /// A later format.
    #[error("message format {0} is not supported (this program speaks {VERSION})")]
    Version(u32),
    /// A part is larger than any real one.
    #[error("{0} is above its limit")]
    Excessive(&'static str),
}

impl Envelope {
    /// Reads an envelope.
    ///
    /// # Errors
    /// [`WireError`] on anything that a well-behaved peer would not send.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(WireError::TooLarge(bytes.len()));
        }
        let envelope: Self = serde_json::from_slice(bytes)?;
        if envelope.v != VERSION {
            return Err(WireError::Version(envelope.v));
        }
        match &envelope.content {
            Content::Call { message, .. } => message.check_sizes()?,
            Content::Unknown(Unknown { kind })
                if kind.as_str() == "ack" || MessageKind::ALL.iter().any(|known| known.name() == kind.as_str()) =>
            {
                return Err(WireError::Unreadable(kind.to_string()));
            }
            Content::Ack(_) | Content::Unknown(_) => {}
        }
        Ok(envelope)
    }

    /// Writes the envelope.
    ///
    /// # Errors
    /// [`WireError::TooLarge`] when the result is above [`ENVELOPE_BYTES_MAX`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, WireError> {
        let bytes = serde_json::to_vec(self)?;
        if bytes.len() > ENVELOPE_BYTES_MAX { Err(WireError::TooLarge(bytes.len())) } else { Ok(bytes) }
    }
}

impl Message {
    /// A bye without a word.
    #[must_use]
    pub const fn bye(reason: ByeReason) -> Self {
        Self::Bye { reason, text: None }
    }

    /// A refusal of an update; what is too long of `why` is cut off.
    #[must_use]
    pub fn refused(revision: u32, why: String) -> Self {
        Self::Refused { revision, text: Some(lenient::cut(why)) }
    }

    /// A description cannot be cut; everything else was when it was read.
    const fn check_sizes(&self) -> Result<(), WireError> {
        match self {
            Self::Offer(description)
            | Self::EarlyAnswer(description)
            | Self::Answer(description)
            | Self::Update(Revised { description, .. })
            | Self::Updated(Revised { description, .. })
                if description.sdp.len() > SDP_BYTES_MAX =>
            {
                Err(WireError::Excessive("session description"))
            }
            Self::Offer(_)
            | Self::EarlyAnswer(_)
            | Self::Answer(_)
            | Self::Update(_)
            | Self::Updated(_)
            | Self::Candidates { .. }
            | Self::Refused { .. }
            | Self::Ringing
            | Self::Bye { .. }
            | Self::Media(_)
            | Self::Renew { .. }
            | Self::Nonce { .. } => Ok(()),
        }
    }

    /// Which of the messages it is.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Offer(_) => MessageKind::Offer,
            Self::Ringing => MessageKind::Ringing,
            Self::EarlyAnswer(_) => MessageKind::EarlyAnswer,
            Self::Answer(_) => MessageKind::Answer,
            Self::Candidates { .. } => MessageKind::Candidates,
            Self::Bye { .. } => MessageKind::Bye,
            Self::Media(_) => MessageKind::Media,
            Self::Update(_) => MessageKind::Update,
            Self::Updated(_) => MessageKind::Updated,
            Self::Refused { .. } => MessageKind::Refused,
            Self::Renew { .. } => MessageKind::Renew,
            Self::Nonce { .. } => MessageKind::Nonce,
        }
    }

    /// The message's name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.kind().name()
    }
}

/// Which of the messages of a call, without what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// [`Message::Offer`].
    Offer,
    /// [`Message::Ringing`].
    Ringing,
    /// [`Message::EarlyAnswer`].
    EarlyAnswer,
    /// [`Message::Answer`].
    Answer,
    /// [`Message::Candidates`].
    Candidates,
    /// [`Message::Bye`].
    Bye,
    /// [`Message::Media`].
    Media,
    /// [`Message::Update`].
    Update,
    /// [`Message::Updated`].
    Updated,
    /// [`Message::Refused`].
    Refused,
    /// [`Message::Renew`].
    Renew,
    /// [`Message::Nonce`].
    Nonce,
}

impl MessageKind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Offer,
        Self::Ringing,
        Self::EarlyAnswer,
        Self::Answer,
        Self::Candidates,
        Self::Bye,
        Self::Media,
        Self::Update,
        Self::Updated,
        Self::Refused,
        Self::Renew,
        Self::Nonce,
    ];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Ringing => "ringing",
            Self::EarlyAnswer => "early-answer",
            Self::Answer => "answer",
            Self::Candidates => "candidates",
            Self::Bye => "bye",
            Self::Media => "media",
            Self::Update => "update",
            Self::Updated => "updated",
            Self::Refused => "refused",
            Self::Renew => "renew",
            Self::Nonce => "nonce",
        }
    }
}

/// What a peer retains on its presence topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Format version, [`VERSION`].
    pub v: u32,
    /// Reachable or not.
    pub state: PresenceState,
    /// Names the run of the program that says so: an ID taken over shows as a foreign run on one's own topic.
    pub run: MessageId,
    /// The peer's keys, and what shows that all of this is its own word; a peer that speaks in plain has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Announcement>,
}

/// Whether a peer can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PresenceState {
    /// Can be called.
    Available,
    /// In a call.
    Busy,
    /// Can be called, though nobody may be there to answer.
    Away,
    /// Gone: said on leaving, or by the broker in the peer's name when its link breaks (the MQTT will).
    Offline,
}

impl PresenceState {
    /// The state's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Busy => "busy",
            Self::Away => "away",
            Self::Offline => "offline",
        }
    }
}

impl Presence {
    /// Reads what a presence topic holds.
    ///
    /// # Errors
    /// [`WireError`] on anything else than a presence of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > 1024 {
            return Err(WireError::TooLarge(bytes.len()));
        }
        let presence: Self = serde_json::from_slice(bytes)?;
        if presence.v == VERSION { Ok(presence) } else { Err(WireError::Version(presence.v)) }
    }

    /// Writes it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a presence has string keys only, so it always serialises")
    }
}

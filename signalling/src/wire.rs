//! The messages two peers exchange, and their JSON form (version 1; docs/PROTOCOL.md describes it for other clients).
//!
//! An [`Envelope`] is what the transport carries as opaque bytes. Reading one is parsing: whatever comes out has sane
//! sizes and counts, and everything else is a [`WireError`], never a panic.

use serde::{Deserialize, Serialize};

use crate::id::{CallId, MessageId, PeerId};

/// Version of the message format that this program writes.
pub const VERSION: u32 = 1;

/// Largest envelope, in bytes, written or read. ActiveMQ and Mosquitto take this by default or by one line of settings.
pub const ENVELOPE_BYTES_MAX: usize = 256 * 1024;

/// Most candidates taken from one message; ICE gathers far fewer (RFC 8445 §5.1.1 asks for one a base and server).
pub const CANDIDATES_MAX: usize = 64;

/// Largest SDP, in bytes: ours is about 5 KiB, a browser's about 8.
const SDP_BYTES_MAX: usize = 128 * 1024;

/// Longest candidate line, in bytes (RFC 8839 §5.1 lines are about 120).
const CANDIDATE_BYTES_MAX: usize = 1024;

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
    /// When it was first sent, milliseconds since the Unix epoch, by the sender's clock.
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
    /// The callee accepts, with its SDP answer.
    Answer(Description),
    /// More ICE candidates of the sender (trickle ICE, RFC 8838).
    Candidates {
        /// The new ones; empty says that no more will come.
        candidates: Vec<Candidate>,
    },
    /// The call is over, for whichever reason; as Jingle's session-terminate (XEP-0166 §6.7).
    Bye {
        /// Why.
        reason: ByeReason,
    },
}

/// A session description with its candidates.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// SDP (RFC 8866).
    pub sdp: String,
    /// Candidates gathered so far that the SDP does not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// One ICE candidate, as `RTCIceCandidateInit` has it (W3C WebRTC §4.8.1.1).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// `candidate:…` as RFC 8839 §5.1 writes it.
    pub candidate: String,
    /// Media section by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
    /// Media section by position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
        let kind = self.candidate.split_whitespace().skip_while(|word| *word != "typ").nth(1).unwrap_or("?");
        write!(f, "Candidate({kind})")
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
        if let Content::Call { message, .. } = &envelope.content {
            message.check_sizes()?;
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
    fn check_sizes(&self) -> Result<(), WireError> {
        let candidates = match self {
            Self::Offer(description) | Self::Answer(description) => {
                if description.sdp.len() > SDP_BYTES_MAX {
                    return Err(WireError::Excessive("session description"));
                }
                &description.candidates
            }
            Self::Candidates { candidates } => candidates,
            Self::Ringing | Self::Bye { .. } => return Ok(()),
        };
        if candidates.len() > CANDIDATES_MAX {
            return Err(WireError::Excessive("number of candidates"));
        }
        if candidates.iter().any(|c| c.candidate.len() > CANDIDATE_BYTES_MAX) {
            return Err(WireError::Excessive("candidate"));
        }
        Ok(())
    }

    /// The message's name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Offer(_) => "offer",
            Self::Ringing => "ringing",
            Self::Answer(_) => "answer",
            Self::Candidates { .. } => "candidates",
            Self::Bye { .. } => "bye",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Nonce;

    fn envelope(content: Content) -> Envelope {
        Envelope {
            v: VERSION,
            id: MessageId::numbered(Nonce(7), 1),
            from: "alice".parse().unwrap(),
            to: "bob".parse().unwrap(),
            ts: 1_700_000_000_000,
            content,
        }
    }

    fn call(message: Message) -> Content {
        Content::Call { call: CallId::from_random(1), message }
    }

    fn candidate(n: u16) -> Candidate {
        Candidate {
            candidate: format!("candidate:{n} 1 udp 1 192.0.2.1 9 typ host"),
            mid: Some("0".into()),
            mline: Some(0),
        }
    }

    #[test]
    fn every_message_has_its_snapshot() {
        let head = r#"{"v":1,"id":"0000000000000007-1","from":"alice","to":"bob","ts":1700000000000,"#;
        let in_call = r#""call":"00000000000000000000000000000001","#;
        let description = Description { sdp: "v=0\r\n".into(), candidates: vec![candidate(1)] };
        let json_candidate = r#"{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","mid":"0","mline":0}"#;
        for (message, expected) in [
            (
                Message::Offer(description.clone()),
                format!(r#""type":"offer","sdp":"v=0\r\n","candidates":[{json_candidate}]}}"#),
            ),
            (
                Message::Answer(description),
                format!(r#""type":"answer","sdp":"v=0\r\n","candidates":[{json_candidate}]}}"#),
            ),
            (Message::Ringing, r#""type":"ringing"}"#.to_owned()),
            (
                Message::Candidates { candidates: vec![candidate(1)] },
                format!(r#""type":"candidates","candidates":[{json_candidate}]}}"#),
            ),
            (Message::Bye { reason: ByeReason::NoAnswer }, r#""type":"bye","reason":"no-answer"}"#.to_owned()),
        ] {
            let envelope = envelope(call(message));
            let bytes = envelope.to_bytes().unwrap();
            assert_eq!(String::from_utf8(bytes.clone()).unwrap(), format!("{head}{in_call}{expected}"));
            assert_eq!(Envelope::from_bytes(&bytes).unwrap(), envelope);
        }
        let ack = envelope(Content::Ack(Ack { of: MessageId::numbered(Nonce(9), 2) }));
        let bytes = ack.to_bytes().unwrap();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            format!(r#"{head}"type":"ack","of":"0000000000000009-2"}}"#)
        );
        assert_eq!(Envelope::from_bytes(&bytes).unwrap(), ack);
    }

    #[test]
    fn hostile_bytes_are_errors() {
        let good = String::from_utf8(envelope(call(Message::Ringing)).to_bytes().unwrap()).unwrap();
        let many = Message::Candidates { candidates: (0..10_000).map(candidate).collect() };
        let long =
            Message::Candidates { candidates: vec![Candidate { candidate: "x".repeat(2000), mid: None, mline: None }] };
        let sdp = Message::Offer(Description { sdp: "x".repeat(SDP_BYTES_MAX + 1), candidates: vec![] });
        let mut hostile: Vec<Vec<u8>> = vec![
            vec![],
            vec![0xff; 100],
            vec![b'['; 100_000],
            vec![b' '; ENVELOPE_BYTES_MAX + 1],
            b"null".to_vec(),
            good.replace(r#""v":1"#, r#""v":2"#).into(),
            good.replace(r#""v":1"#, r#""v":-1"#).into(),
            good.replace("ringing", "nonsense").into(),
            good.replace("alice", "a/lice").into(),
            good.replace("0000000000000007-1", "").into(),
            good.replace("0000000000000007-1", &"9".repeat(65)).into(),
        ];
        hostile.extend([long, sdp].map(|m| serde_json::to_vec(&envelope(call(m))).unwrap()));
        hostile.push(serde_json::to_vec(&envelope(call(many))).unwrap());
        for bytes in hostile {
            assert!(
                Envelope::from_bytes(&bytes).is_err(),
                "{:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(80)])
            );
        }
    }

    #[test]
    fn what_is_too_large_is_not_written() {
        let sdp = Description { sdp: "x".repeat(ENVELOPE_BYTES_MAX), candidates: vec![] };
        assert!(matches!(envelope(call(Message::Offer(sdp))).to_bytes(), Err(WireError::TooLarge(_))));
    }

    #[test]
    fn later_reasons_are_understood_as_an_end() {
        let text =
            String::from_utf8(envelope(call(Message::Bye { reason: ByeReason::Busy })).to_bytes().unwrap()).unwrap();
        let later = Envelope::from_bytes(text.replace("busy", "moon-phase").as_bytes()).unwrap();
        assert_eq!(later.content, call(Message::Bye { reason: ByeReason::Other }));
    }

    #[test]
    fn debug_output_holds_no_address() {
        let description = Description { sdp: "c=IN IP4 192.0.2.1".into(), candidates: vec![candidate(1)] };
        let text = format!("{:?}", envelope(call(Message::Offer(description))));
        assert!(!text.contains("192.0.2.1") && text.contains("1 candidates"), "{text}");
    }

    #[test]
    fn presence_round_trip() {
        let presence = Presence { v: VERSION, state: PresenceState::Available, run: MessageId::numbered(Nonce(1), 0) };
        let bytes = presence.to_bytes();
        assert_eq!(String::from_utf8_lossy(&bytes), r#"{"v":1,"state":"available","run":"0000000000000001-0"}"#);
        assert_eq!(Presence::from_bytes(&bytes).unwrap(), presence);
        let away = br#"{"v":1,"state":"away","run":"0000000000000001-0"}"#;
        assert_eq!(Presence::from_bytes(away).unwrap(), Presence { state: PresenceState::Away, ..presence });
        for unreadable in
            ["", "null", r#"{"v":1,"state":"asleep","run":"1-0"}"#, r#"{"v":2,"state":"away","run":"1-0"}"#]
        {
            assert!(Presence::from_bytes(unreadable.as_bytes()).is_err(), "{unreadable}");
        }
    }
}

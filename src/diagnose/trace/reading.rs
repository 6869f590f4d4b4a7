//! From a payload on a topic to a [`Message`], in either dialect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use signalling::dialect::Dialect;
use signalling::id::{MessageId, PeerId};
use signalling::mqtt::is_observer;
use signalling::seal::{self, Endpoint, SecretKeys};
use signalling::topic::{self, Template};
use signalling::wire::{Ack, ENVELOPE_BYTES_MAX, Envelope, Presence, WireError};

use super::{Content, Message, words};

/// Peers whose runs are kept.
const RUNS_MAX: usize = 1024;

/// Reads what was overheard on the topics of one template.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    template: Template,
    dialect: Dialect,
    /// With these, what is sealed for whoever has them can be read.
    keys: Option<Arc<SecretKeys>>,
    /// The runs of peers, which messages are sealed for.
    runs: BTreeMap<PeerId, MessageId>,
}

impl Reader {
    /// Calls on these topics, in this form; what is sealed for whoever has `keys` is opened.
    pub(crate) const fn new(template: Template, dialect: Dialect, keys: Option<Arc<SecretKeys>>) -> Self {
        Self { template, dialect, keys, runs: BTreeMap::new() }
    }

    /// What this payload says; nothing, when its topic is none of a call or of presence, or observers speak there.
    /// `payload` is none for one above the limit of a message.
    pub(crate) fn read(
        &mut self,
        at: Duration,
        topic: &str,
        payload: Option<&[u8]>,
        bytes: usize,
        retained: bool,
    ) -> Option<Message> {
        if let Some(from) = topic::presence_owner(topic) {
            let presence = payload.and_then(|payload| Presence::from_bytes(payload).ok());
            if let Some(presence) = &presence
                && (self.runs.len() < RUNS_MAX || self.runs.contains_key(&from))
            {
                self.runs.insert(from.clone(), presence.run.clone());
            }
            let state = presence.map(|presence| presence.state);
            return Some(Message { at, from, to: None, bytes, content: Content::Presence { state, retained } });
        }
        let (from, to) = self.template.speakers(topic)?;
        if to.as_ref().is_some_and(|to| is_observer(to.as_str())) {
            return None;
        }
        let content = match (payload, self.dialect) {
            (None, _) => unreadable(&format!("above the limit of {ENVELOPE_BYTES_MAX} bytes")),
            (Some(_), _) if retained => unreadable("retained, which signalling never is"),
            (Some(payload), Dialect::Tring) if seal::is_sealed(payload) => {
                let sealed = || Content::Said { call: None, id: None, name: "sealed", words: String::new() };
                match self.open(&from, to.as_ref(), payload) {
                    Some(opened) => return Some(Message { bytes, ..tring(at, from, to, &opened) }),
                    None => sealed(),
                }
            }
            (Some(payload), Dialect::Tring) => return Some(tring(at, from, to, payload)),
            (Some(payload), Dialect::Apprtc) => apprtc(payload),
        };
        Some(Message { at, from, to, bytes, content })
    }
}

impl Reader {
    fn open(&self, from: &PeerId, to: Option<&PeerId>, payload: &[u8]) -> Option<Vec<u8>> {
        let (keys, id) = (self.keys.as_ref()?, to?);
        let to = Endpoint { id, run: self.runs.get(id)? };
        seal::open(keys, to, from, payload).ok().map(|opened| opened.json)
    }
}

fn unreadable(why: &str) -> Content {
    Content::Unreadable { why: why.to_owned() }
}

fn tring(at: Duration, from: PeerId, on: Option<PeerId>, payload: &[u8]) -> Message {
    let bytes = payload.len();
    let envelope = match Envelope::from_bytes(payload) {
        Ok(envelope) => envelope,
        Err(error) => return Message { at, from, to: on, bytes, content: unreadable(&complaint(&error)) },
    };
    if envelope.from != from {
        let why = format!("on the topic of {from}, in the name of {}", envelope.from);
        return Message { at, from, to: on, bytes, content: Content::Unreadable { why } };
    }
    if on.as_ref().is_some_and(|on| *on != envelope.to) {
        let content = Content::Unreadable {
            why: format!("for {} by its topic's word, for {} by its own", named(on.as_ref()), envelope.to),
        };
        return Message { at, from, to: on, bytes, content };
    }
    let content = match envelope.content {
        signalling::wire::Content::Ack(Ack { of }) => Content::Ack { of },
        signalling::wire::Content::Call { call, message } => {
            Content::Said { call: Some(call), id: Some(envelope.id), name: message.name(), words: words::of(&message) }
        }
        signalling::wire::Content::Unknown(_) => {
            Content::Unreadable { why: "of a type that this version does not know".to_owned() }
        }
    };
    Message { at, from, to: Some(envelope.to), bytes, content }
}

fn named(peer: Option<&PeerId>) -> &str {
    peer.map_or("anyone", PeerId::as_str)
}

/// A stranger's words do not get out, and an error of JSON repeats them.
fn complaint(error: &WireError) -> String {
    match error {
        WireError::Malformed(_) | WireError::Unreadable(_) => "no message of this protocol".to_owned(),
        WireError::TooLarge(_) | WireError::Version(_) | WireError::Excessive(_) => error.to_string(),
    }
}

/// What a client of the dialect says, as far as it is told here.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Spoken {
    Offer { sdp: String },
    Answer { sdp: String },
    Candidate { candidate: String },
    RemoveCandidates {},
    Bye {},
}

fn apprtc(payload: &[u8]) -> Content {
    let Ok(spoken) = serde_json::from_slice::<Spoken>(payload) else {
        return unreadable("no message of this dialect");
    };
    let (name, words) = match spoken {
        Spoken::Offer { sdp } => ("offer", words::of_description(&sdp, &[])),
        Spoken::Answer { sdp } => ("answer", words::of_description(&sdp, &[])),
        Spoken::Candidate { candidate } => ("candidate", words::of_candidate(&candidate)),
        Spoken::RemoveCandidates {} => ("remove-candidates", String::new()),
        Spoken::Bye {} => ("bye", String::new()),
    };
    Content::Said { call: None, id: None, name, words }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RINGING: &str = r#"{"v":1,"id":"7-1","from":"bob","to":"alice","ts":0,"call":"1","type":"ringing"}"#;

    fn read(dialect: Dialect, topic: &str, payload: &str) -> Option<Message> {
        let mut reader = Reader::new(dialect.topics(), dialect, None);
        reader.read(Duration::ZERO, topic, Some(payload.as_bytes()), payload.len(), false)
    }

    fn why(topic: &str, payload: &str) -> String {
        match read(Dialect::Tring, topic, payload).unwrap().content {
            Content::Unreadable { why } => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_acknowledgements_and_presence_are_told_apart() {
        let said = read(Dialect::Tring, "tring/call/bob/alice", RINGING).unwrap();
        assert!(matches!(said.content, Content::Said { name: "ringing", .. }));
        let ack = RINGING.replace(r#""call":"1","type":"ringing""#, r#""type":"ack","of":"9-2""#);
        assert!(matches!(read(Dialect::Tring, "tring/call/bob/alice", &ack).unwrap().content, Content::Ack { .. }));
        let presence = read(Dialect::Tring, "tring/presence/bob", r#"{"v":1,"state":"busy","run":"1"}"#).unwrap();
        let busy = Content::Presence { state: Some(signalling::wire::PresenceState::Busy), retained: false };
        assert_eq!(presence.content, busy);
        for topic in ["tring/call/bob/alice-observer-00af", "tring/agent/a/b", "elsewhere"] {
            assert_eq!(read(Dialect::Tring, topic, RINGING), None, "{topic}");
        }
    }

    #[test]
    fn what_is_no_message_says_why_and_repeats_nothing() {
        assert_eq!(why("tring/call/bob/alice", "{\"secret\":1}"), "no message of this protocol");
        assert_eq!(why("tring/call/mallory/alice", RINGING), "on the topic of mallory, in the name of bob");
        assert_eq!(why("tring/call/bob/carol", RINGING), "for carol by its topic's word, for alice by its own");
        let later = RINGING.replace("\"v\":1", "\"v\":2");
        assert!(why("tring/call/bob/alice", &later).contains("format 2"));
        let mut reader = Reader::new(Template::default(), Dialect::Tring, None);
        let large = reader.read(Duration::ZERO, "tring/call/bob/alice", None, 1 << 20, false).unwrap();
        assert!(matches!(large.content, Content::Unreadable { why } if why.contains("262144")));
        let kept = reader.read(Duration::ZERO, "tring/call/bob/alice", Some(RINGING.as_bytes()), 9, true).unwrap();
        assert!(matches!(kept.content, Content::Unreadable { .. }));
    }

    #[test]
    fn the_other_dialect_is_read_as_far_as_it_goes() {
        let message = read(
            Dialect::Apprtc,
            "alice",
            r#"{"type":"candidate","candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host"}"#,
        );
        let words = "1 more (host)".to_owned();
        assert_eq!(message.unwrap().content, Content::Said { call: None, id: None, name: "candidate", words });
        assert!(matches!(read(Dialect::Apprtc, "alice", "nonsense").unwrap().content, Content::Unreadable { .. }));
    }
}

//! Bytes from a call topic: whatever is read has sane sizes, writes back, reads the same, and logs without harm.

use signalling::wire::{CANDIDATES_MAX, Candidate, Content, ENVELOPE_BYTES_MAX, Envelope, Message, TEXT_BYTES_MAX};

pub(crate) fn run(data: &[u8]) {
    let envelope = match Envelope::from_bytes(data) {
        Ok(envelope) => envelope,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(data.len() <= ENVELOPE_BYTES_MAX);
    if let Content::Call { message, .. } = &envelope.content {
        check_sizes(message);
    }
    let log = format!("{envelope:?}");
    assert!(!log.contains(char::is_control), "a stranger writes to the log: {log:?}");
    assert!(log.len() < 4096 + 64 * CANDIDATES_MAX, "a stranger fills the log: {} bytes", log.len());
    // A candidate may be written shorter than we write it, as an array: only close to the limit does that matter.
    if data.len() < ENVELOPE_BYTES_MAX / 2 {
        let written = envelope.to_bytes().expect("what was read can be written");
        let again = Envelope::from_bytes(&written).expect("what was written can be read");
        assert_eq!(again, envelope);
        assert_eq!(again.to_bytes().expect("it could be written before"), written);
    }
}

/// Nothing in it is above its limit.
pub(crate) fn check_sizes(message: &Message) {
    let candidates: &[Candidate] = match message {
        Message::Offer(description) | Message::EarlyAnswer(description) | Message::Answer(description) => {
            assert!(description.sdp.len() <= 128 * 1024);
            &description.candidates
        }
        Message::Update(revised) | Message::Updated(revised) => {
            assert!(revised.description.sdp.len() <= 128 * 1024);
            &revised.description.candidates
        }
        Message::Candidates { candidates, .. } => candidates,
        Message::Bye { text, .. } | Message::Refused { text, .. } => {
            assert!(text.as_ref().is_none_or(|text| text.len() <= TEXT_BYTES_MAX));
            &[]
        }
        Message::Ringing | Message::Media(_) | Message::Renew { .. } | Message::Nonce { .. } => &[],
    };
    assert!(candidates.len() <= CANDIDATES_MAX);
    for Candidate { candidate, mid, .. } in candidates {
        assert!(candidate.len() <= 1024, "a candidate of {} bytes", candidate.len());
        assert!(
            mid.as_ref().is_none_or(|mid| mid.len() <= 1024),
            "a section name of {} bytes",
            mid.as_ref().map_or(0, String::len)
        );
    }
}

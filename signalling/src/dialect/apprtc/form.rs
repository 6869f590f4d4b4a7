//! The JSON of the dialect: what is said and what is heard, with the limits of [`crate::wire`].

use serde::{Deserialize, Serialize};

use crate::wire::{CANDIDATE_BYTES_MAX, Candidate, Description, ENVELOPE_BYTES_MAX, SDP_BYTES_MAX, WireError};

/// Longest name of a media section, in bytes; they are one digit, or "audio" and "video".
const MID_BYTES_MAX: usize = 256;

/// What is said. Its `Debug` shows no address and no key.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Spoken {
    /// SDP of the caller, with the candidates known by then.
    Offer {
        /// SDP (RFC 8866).
        sdp: String,
    },
    /// SDP of the callee, the same way.
    Answer {
        /// SDP (RFC 8866).
        sdp: String,
    },
    /// One more candidate.
    Candidate {
        /// Media section by position.
        label: u16,
        /// Media section by name.
        id: String,
        /// `candidate:…` (RFC 8839 §5.1).
        candidate: String,
    },
    /// The call is over, or never was.
    Bye,
}

impl std::fmt::Debug for Spoken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Offer { .. } => "Offer(…)",
            Self::Answer { .. } => "Answer(…)",
            Self::Candidate { .. } => "Candidate(…)",
            Self::Bye => "Bye",
        })
    }
}

impl Spoken {
    /// Writes it.
    ///
    /// # Errors
    /// [`WireError::TooLarge`] above the limit of an envelope.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WireError> {
        let bytes = serde_json::to_vec(self)?;
        if bytes.len() > ENVELOPE_BYTES_MAX { Err(WireError::TooLarge(bytes.len())) } else { Ok(bytes) }
    }
}

/// What is heard, as it stands on the wire.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Heard {
    Offer { sdp: String },
    Answer { sdp: String },
    Candidate(HeardCandidate),
    RemoveCandidates {},
    Bye {},
}

/// Both spellings of where a candidate belongs; some clients write both.
#[derive(Deserialize)]
struct HeardCandidate {
    label: Option<u16>,
    id: Option<String>,
    #[serde(rename = "sdpMLineIndex")]
    sdp_mline_index: Option<u16>,
    #[serde(rename = "sdpMid")]
    sdp_mid: Option<String>,
    candidate: String,
}

/// Names the peer connection that made a description: user name and session id of its `o=` line (RFC 8866 §5.2), which a
/// renegotiation keeps (RFC 8829 §5.2.2).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Origin(String);

/// What is heard, understood.
pub(super) enum Meaning {
    Offer(Description, Origin),
    Answer(Description, Origin),
    Candidate(Candidate),
    Bye,
    /// Understood, and of no use: the engine cannot take candidates back, and checks of dead ones fail by themselves.
    Nothing,
}

impl Meaning {
    /// Reads a message.
    ///
    /// # Errors
    /// [`WireError`] on anything that is no message, or above a limit.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(WireError::TooLarge(bytes.len()));
        }
        match serde_json::from_slice(bytes)? {
            Heard::Offer { sdp } => described(sdp).map(|(description, origin)| Self::Offer(description, origin)),
            Heard::Answer { sdp } => described(sdp).map(|(description, origin)| Self::Answer(description, origin)),
            Heard::Candidate(heard) => heard.candidate().map(Self::Candidate),
            Heard::RemoveCandidates {} => Ok(Self::Nothing),
            Heard::Bye {} => Ok(Self::Bye),
        }
    }
}

impl HeardCandidate {
    fn candidate(self) -> Result<Candidate, WireError> {
        let mid = self.id.or(self.sdp_mid);
        if mid.as_ref().is_some_and(|mid| mid.len() > MID_BYTES_MAX) {
            return Err(WireError::Excessive("name of a media section"));
        }
        if self.candidate.len() > CANDIDATE_BYTES_MAX {
            return Err(WireError::Excessive("candidate"));
        }
        Ok(Candidate { candidate: self.candidate, mid, mline: self.label.or(self.sdp_mline_index) })
    }
}

/// A description of sane size, and whose it is.
fn described(sdp: String) -> Result<(Description, Origin), WireError> {
    use serde::de::Error as _;
    if sdp.len() > SDP_BYTES_MAX {
        return Err(WireError::Excessive("session description"));
    }
    let origin = origin(&sdp).ok_or_else(|| serde_json::Error::custom("a session description without an o= line"))?;
    Ok((Description::new(sdp, Vec::new()), origin))
}

fn origin(sdp: &str) -> Option<Origin> {
    let mut words = sdp.lines().find_map(|line| line.strip_prefix("o="))?.split_whitespace();
    Some(Origin(format!("{} {}", words.next()?, words.next()?)))
}

/// The names of the media sections (RFC 9143 §7.1), in order.
pub(super) fn mids(sdp: &str) -> Vec<String> {
    let name =
        |section: &str| section.lines().find_map(|line| line.strip_prefix("a=mid:")).unwrap_or_default().to_owned();
    sdp.split("\r\nm=").skip(1).map(name).collect()
}

/// The SDP with the candidates known by then in their sections, where JSEP has them (RFC 8829 §5.2.2): some clients take
/// none but these.
pub(super) fn with_candidates(description: Description) -> String {
    let Description { sdp, candidates, sas: _ } = description;
    let mut sections = sdp.split("\r\nm=");
    let mut text = sections.next().unwrap_or_default().to_owned();
    for (number, section) in sections.enumerate() {
        text.push_str("\r\nm=");
        text.push_str(section.strip_suffix("\r\n").unwrap_or(section));
        // All our media is bundled, so the first section stands for all.
        let here = candidates.iter().filter(|candidate| usize::from(candidate.mline.unwrap_or(0)) == number);
        for candidate in here.filter(|candidate| !candidate.candidate.is_empty()) {
            text.push_str("\r\na=");
            text.push_str(&candidate.candidate);
        }
    }
    text.push_str("\r\n");
    text
}

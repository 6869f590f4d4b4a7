//! Reads what one field holds so that a mistake in it costs that field, not the whole message.
//!
//! A bye whose text is too long still ends the call; a candidate that cannot be read leaves the others. `null` and a
//! value of another kind count as a field that is absent.

use serde::de::{DeserializeOwned, Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ByeReason, CANDIDATE_BYTES_MAX, CANDIDATES_MAX, Candidate, TEXT_BYTES_MAX};

/// A field that may be absent.
pub(super) fn optional<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: DeserializeOwned + Default,
    D: Deserializer<'de>,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Text for people, cut to [`TEXT_BYTES_MAX`].
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = optional(deserializer)?;
    Ok(text.map(cut))
}

/// The beginning of `text`, whole characters, at most [`TEXT_BYTES_MAX`].
pub(super) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

/// A reason that is absent or unknown is an end all the same.
pub(super) fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByeReason, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or(ByeReason::Other))
}

/// Candidates beside a description.
pub(super) fn candidates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Candidate>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Array(list) => Ok(readable(list)),
        _ => Ok(Vec::new()),
    }
}

/// Candidates that are all a message says.
pub(super) fn only_candidates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Candidate>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Array(list) => Ok(readable(list)),
        _ => Err(D::Error::custom("candidates are no list")),
    }
}

/// The first [`CANDIDATES_MAX`] that can be read and are within their limit.
fn readable(list: Vec<Value>) -> Vec<Candidate> {
    let read = list.into_iter().filter_map(|value| serde_json::from_value::<Candidate>(value).ok());
    read.filter(|candidate| candidate.candidate.len() <= CANDIDATE_BYTES_MAX).take(CANDIDATES_MAX).collect()
}

/// A candidate as peers write it: with our short names, or with those of `RTCIceCandidateInit`.
#[derive(Deserialize)]
pub(super) struct CandidateForm {
    candidate: String,
    #[serde(default, deserialize_with = "optional")]
    mid: Option<String>,
    #[serde(default, deserialize_with = "optional")]
    mline: Option<u16>,
    #[serde(default, rename = "sdpMid", deserialize_with = "optional")]
    sdp_mid: Option<String>,
    #[serde(default, rename = "sdpMLineIndex", deserialize_with = "optional")]
    sdp_mline_index: Option<u16>,
}

impl From<CandidateForm> for Candidate {
    fn from(form: CandidateForm) -> Self {
        let named = form.mid.or(form.sdp_mid).filter(|mid| mid.len() <= CANDIDATE_BYTES_MAX);
        Self { candidate: form.candidate, mid: named, mline: form.mline.or(form.sdp_mline_index) }
    }
}

/// A message of a type that this program does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: crate::id::MessageType,
}

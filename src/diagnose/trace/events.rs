//! What `tring trace` tells.

use serde::Serialize;

use crate::output::events::Event;

/// One thing that was overheard.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum TraceEvent {
    /// A message that others sent each other.
    Message(Box<Overheard>),
    /// A peer came, went, or does something else now; null when the broker holds nothing readable of it.
    Presence { id: String, state: Option<&'static str> },
}

impl Event for TraceEvent {
    /// The ladder says more.
    fn words(&self, _peer: &str) -> Option<String> {
        None
    }
}

/// A message on a call topic, as whoever reads along sees it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Overheard {
    pub(crate) from: String,
    pub(crate) to: Option<String>,
    /// Its name on the wire; null when nobody can read it.
    #[serde(rename = "type")]
    pub(crate) kind: Option<&'static str>,
    pub(crate) id: Option<String>,
    /// In words.
    pub(crate) meaning: String,
    pub(crate) bytes: usize,
    /// Since the first message of its call.
    pub(crate) since_ms: f64,
    /// How often it was said by now.
    pub(crate) times: u32,
    /// `new`; `resent` without an acknowledgement so far; `duplicate`.
    pub(crate) standing: &'static str,
    /// Of an `ack`: the message that arrived, its name, and how long that took; null when it was not seen.
    pub(crate) of: Option<String>,
    pub(crate) of_type: Option<&'static str>,
    pub(crate) after_ms: Option<f64>,
}

impl Default for Overheard {
    fn default() -> Self {
        Self {
            from: String::new(),
            to: None,
            kind: None,
            id: None,
            meaning: String::new(),
            bytes: 0,
            since_ms: 0.0,
            times: 1,
            standing: "new",
            of: None,
            of_type: None,
            after_ms: None,
        }
    }
}

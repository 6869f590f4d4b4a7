//! What the program tells while it runs. Each room has events of its own; [`Printer`](super::printer::Printer) prints
//! whatever is an [`Event`]: as text for people, as one JSON line for programs (`--json`).
//!
//! Scripts rely on the names and the fields of events.

use serde::Serialize;

use super::streams::Worth;

/// Version of the event format.
pub(crate) const VERSION: u32 = 1;

/// One thing that happened. As JSON it is an object with its name in `event`.
pub(crate) trait Event: Serialize + std::fmt::Debug {
    /// For people, one line; `None` for what only programs want.
    ///
    /// `peer`: the other side of the call that it belongs to.
    fn words(&self, peer: &str) -> Option<String>;

    /// What becomes of it while whoever reads is slow.
    fn worth(&self) -> Worth {
        Worth::Kept
    }

    /// True for what is of interest when a full-screen view is over.
    fn is_lasting(&self) -> bool {
        false
    }

    /// What it means for the line that is rewritten in place.
    fn progress(&self, _peer: &str) -> Option<Progress> {
        None
    }
}

/// What becomes of the line at the bottom of a terminal that tells how far a call is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It begins, with this text, which says it all.
    Begin(String),
    /// It says this from now on, which says it all; nothing where there is no line.
    GoOn(String),
    /// It is taken away, and the event is printed.
    End,
}

/// How the program itself is doing.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum ProgramEvent {
    /// Connected to the broker.
    Online { id: String, broker: String },
    /// The broker is gone; a call under way goes on.
    Offline { reason: String },
    /// A peer came, went, or does something else now; null when the broker holds nothing readable of it.
    Presence { id: String, state: Option<&'static str> },
    /// Something is not as it should be; the program goes on.
    Warning { text: String },
    /// The program ends with an error.
    Error { status: u8, text: String },
}

impl Event for ProgramEvent {
    fn words(&self, _peer: &str) -> Option<String> {
        Some(match self {
            Self::Online { id, broker } => format!("online as {id} at {broker}"),
            Self::Offline { reason } => format!("broker lost ({reason}); reconnecting"),
            Self::Presence { id, state: Some(state) } => format!("{id} is {state}"),
            Self::Presence { id, state: None } => format!("nothing is known of {id}"),
            Self::Warning { text } => format!("warning: {text}"),
            // `main` writes it to standard error.
            Self::Error { .. } => return None,
        })
    }

    fn is_lasting(&self) -> bool {
        matches!(self, Self::Warning { .. })
    }

    fn progress(&self, _peer: &str) -> Option<Progress> {
        matches!(self, Self::Error { .. }).then_some(Progress::End)
    }
}

//! What `tring doctor` tells.

use serde::Serialize;

use crate::output::events::Event;

/// One thing that was found.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum DoctorEvent {
    /// One thing that was looked at.
    Check(Box<Check>),
    /// All that was found: `status` is how a call would end, 0 when it could work.
    Doctor { status: u8, failed: usize, warnings: usize },
}

impl Event for DoctorEvent {
    /// What is found is printed with colours.
    fn words(&self, _peer: &str) -> Option<String> {
        None
    }
}

/// One thing that was looked at, and how it looks.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    /// Which one, where there are several.
    pub(crate) target: Option<String>,
    /// `ok`, `warning`, `failed` or `skipped`.
    pub(crate) status: &'static str,
    pub(crate) detail: String,
    /// What to try; only with a warning and a failure.
    pub(crate) fix: Option<String>,
    pub(crate) millis: f64,
}

//! What `tring load` tells.

use serde::Serialize;

use super::record::LoadCall;
use super::tally::StepSummary;
use crate::output::events::Event;

/// One thing that happened under a load.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum LoadEvent {
    /// One call is over.
    LoadCall(Box<LoadCall>),
    /// One step is over.
    Load(Box<StepSummary>),
    /// Figures are served there.
    Metrics { address: String },
}

impl Event for LoadEvent {
    fn words(&self, _peer: &str) -> Option<String> {
        match self {
            // A table says more.
            Self::LoadCall(_) | Self::Load(_) => None,
            Self::Metrics { address } => Some(format!("figures at http://{address}/metrics")),
        }
    }
}

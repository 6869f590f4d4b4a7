//! When the steps of one call happened.

use std::time::{Duration, Instant};

/// When the steps of a call happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    pub(super) dialed: Option<Instant>,
    pub(super) accepted: Option<Instant>,
    pub(super) described: Option<Instant>,
    pub(super) ice: Option<Instant>,
    pub(super) connected: Option<Instant>,
    pub(super) first_frame: Option<Instant>,
    pub(super) first_audio: Option<Instant>,
    /// Processor time of this program when the call was connected.
    pub(super) processor_at_connected: Option<Duration>,
}

//! The state of offer and answer: what was agreed on last, and which offer of ours waits for its answer.

use crate::path::candidates::Taken;
use crate::sdp::continuity::Renewal;
use crate::sdp::interop::Setup;
use crate::sdp::negotiated::Direction;
use crate::sdp::rewrite;

/// See the module.
#[derive(Debug)]
pub(super) struct Exchange {
    /// What we want to send.
    pub(super) video: Direction,
    pub(super) audio: Direction,
    /// The last description of the other side that was agreed on.
    pub(super) theirs: Option<String>,
    /// An offer of ours that waits for its answer.
    pub(super) offered: Option<Offered>,
    /// Candidates of the other side that were taken for the path in use.
    pub(super) remote_candidates: Taken,
    /// Who begins DTLS, as our answers say it.
    pub(super) setup: Setup,
    /// The version of our last description.
    version: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) sdp: String,
    pub(super) renewal: Renewal,
}

impl Exchange {
    pub(super) fn new(video: Direction, audio: Direction) -> Self {
        Self {
            video,
            audio,
            theirs: None,
            offered: None,
            remote_candidates: Taken::default(),
            setup: Setup::Active,
            version: 0,
        }
    }

    /// A description of ours as it is sent: of each the version is one above that of the last (RFC 8829 §5.2.2).
    pub(super) fn numbered(&mut self, sdp: &str) -> String {
        self.version += 1;
        rewrite::with_version(sdp, self.version)
    }
}

//! The selected candidate pair.

use std::time::Duration;

use super::ice_server::IceTransport;

/// One end of the selected pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateInfo {
    /// `host`, `srflx`, `prflx` or `relay` (RFC 8445 §5.1.1).
    pub kind: String,
    /// `udp` or `tcp`.
    pub protocol: String,
}

/// The selected candidate pair.
#[derive(Clone, Debug, PartialEq)]
pub struct PathStats {
    /// Our end.
    pub local: CandidateInfo,
    /// The other end.
    pub remote: CandidateInfo,
    /// How packets travel to our TURN server, where our end is relayed.
    pub relay: Option<IceTransport>,
    /// Last measured round trip; `None` before the first measurement.
    pub round_trip: Option<Duration>,
}

//! What the engine knows of the selected candidate pair.

use std::time::{Duration, Instant};

use rtc::statistics::report::RTCStatsReportEntry;
use rtc::statistics::stats::ice_candidate::RTCIceCandidateStats;
use webrtc::peer_connection::{PeerConnection, StatsSelector};

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
    /// Last measured round trip; `None` before the first measurement.
    pub round_trip: Option<Duration>,
}

pub(super) async fn path(connection: &dyn PeerConnection) -> Option<PathStats> {
    let report = connection.get_stats(Instant::now(), StatsSelector::None).await;
    let selected = report.transport().map(|transport| transport.selected_candidate_pair_id.clone());
    let pair = report
        .candidate_pairs()
        .find(|pair| selected.as_ref().is_some_and(|id| !id.is_empty() && pair.stats.id == *id))
        .or_else(|| report.candidate_pairs().find(|pair| pair.nominated))?;
    let candidate = |id: &str| match report.get(id)? {
        RTCStatsReportEntry::LocalCandidate(stats) | RTCStatsReportEntry::RemoteCandidate(stats) => Some(info(stats)),
        _ => None,
    };
    let seconds = pair.current_round_trip_time;
    Some(PathStats {
        local: candidate(&pair.local_candidate_id)?,
        remote: candidate(&pair.remote_candidate_id)?,
        round_trip: (seconds.is_finite() && seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(3600.0))),
    })
}

fn info(stats: &RTCIceCandidateStats) -> CandidateInfo {
    CandidateInfo { kind: stats.candidate_type.to_string(), protocol: stats.protocol.to_lowercase() }
}

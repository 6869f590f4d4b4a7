//! Reads the selected candidate pair and its round trip out of the engine.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use webrtc::peer_connection::transport::DtlsTransport;
use webrtc::peer_connection::{PeerConnection, RTCIceCandidate, RTCIceCandidateType, StatsSelector};

use crate::path::candidates::LeadsTo;
use crate::path::pair::{CandidateInfo, PathStats};
use crate::path::server_log::ServerLog;

/// The selected pair. `told_of`: what the other side said of an address of its own.
pub(super) async fn path(
    connection: &dyn PeerConnection,
    servers: &ServerLog,
    told_of: impl Fn(SocketAddr) -> Option<LeadsTo> + Send,
) -> Option<PathStats> {
    // All media is bundled, so any transceiver leads to the one ICE transport. Its own view of the pair is used:
    // the report of `get_stats` knows no peer-reflexive candidates.
    let dtls = transport(connection).await?;
    let pair = dtls.ice_transport().get_selected_candidate_pair().await.ok()??;
    let report = connection.get_stats(Instant::now(), StatsSelector::None).await;
    let seconds = report.candidate_pairs().find(|pair| pair.nominated).map(|pair| pair.current_round_trip_time);
    let relay = address(pair.local()).filter(|_| pair.local().typ == RTCIceCandidateType::Relay);
    Some(PathStats {
        local: info(pair.local()),
        relay: relay.and_then(|relayed| servers.transport_of(relayed)),
        remote: remote(pair.remote(), told_of),
        round_trip: seconds
            .filter(|seconds| seconds.is_finite() && *seconds > 0.0)
            .map(|seconds| Duration::from_secs_f64(seconds.min(3600.0))),
    })
}

/// Where the selected pair starts and where its packets go.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    /// The address of this machine.
    pub(super) from: IpAddr,
    /// The other end, when it is an address.
    pub(super) to: Option<IpAddr>,
    /// Our end is at a TURN server.
    pub(super) is_relayed: bool,
}

/// The ends of the selected pair; `None` before there is one.
pub(super) async fn ends(connection: &dyn PeerConnection) -> Option<Ends> {
    let dtls = transport(connection).await?;
    let pair = dtls.ice_transport().get_selected_candidate_pair().await.ok()??;
    let local = pair.local();
    // What a server gave us is related to the address that it was asked from (RFC 8839 §5.1).
    let address = if local.related_address.is_empty() { &local.address } else { &local.related_address };
    let is_relayed = local.typ == RTCIceCandidateType::Relay;
    Some(Ends { from: address.parse().ok()?, to: pair.remote().address.parse().ok(), is_relayed })
}

/// The one DTLS transport, reached by whichever sender or receiver is in use.
pub(super) async fn transport(connection: &dyn PeerConnection) -> Option<Arc<dyn DtlsTransport>> {
    for transceiver in connection.get_transceivers().await {
        if let Ok(Some(receiver)) = transceiver.receiver().await
            && let Ok(Some(transport)) = receiver.transport().await
        {
            return Some(transport);
        }
        if let Ok(Some(sender)) = transceiver.sender().await
            && let Ok(Some(transport)) = sender.transport().await
        {
            return Some(transport);
        }
    }
    None
}

fn address(candidate: &RTCIceCandidate) -> Option<SocketAddr> {
    let ip: IpAddr = candidate.address.parse().ok()?;
    Some(SocketAddr::new(ip, candidate.port))
}

/// The other end: what it said of itself goes before what was learnt from a check that came earlier.
fn remote(candidate: &RTCIceCandidate, told_of: impl Fn(SocketAddr) -> Option<LeadsTo>) -> CandidateInfo {
    let learnt = candidate.typ == RTCIceCandidateType::Prflx;
    let told = address(candidate).filter(|_| learnt).and_then(told_of);
    let kind = told.map(|told| match told {
        LeadsTo::Host(_) => RTCIceCandidateType::Host,
        LeadsTo::Relay(_) => RTCIceCandidateType::Relay,
    });
    CandidateInfo { kind: kind.unwrap_or(candidate.typ).to_string(), ..info(candidate) }
}

fn info(candidate: &RTCIceCandidate) -> CandidateInfo {
    CandidateInfo { kind: candidate.typ.to_string(), protocol: candidate.protocol.to_string().to_lowercase() }
}

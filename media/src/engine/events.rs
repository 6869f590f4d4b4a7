//! What a peer connection tells and hands out.

use crate::path::candidates::IceCandidate;
use crate::path::dtls_flights::HandshakeSeen;
use crate::path::remote_addresses::RemoteAddresses;
use crate::path::server_log::RelaySeen;
use crate::path::turn_error::TurnError;
use crate::sdp::continuity::Renewal;

/// Events waiting for the session. Candidates and states: a few dozen a call.
pub(super) const EVENTS_MAX: usize = 256;

/// A description of ours with the candidates gathered by the time it was asked for.
#[derive(Clone)]
pub struct LocalDescription {
    /// SDP (RFC 8866), without candidates.
    pub sdp: String,
    /// Candidates so far; later ones come as [`PeerEvent::Candidates`].
    pub candidates: Vec<IceCandidate>,
    /// What it renews of a call that stands.
    pub renewed: Renewal,
}

impl std::fmt::Debug for LocalDescription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocalDescription({} candidates, …)", self.candidates.len())
    }
}

/// What a peer connection tells.
#[derive(Debug)]
pub enum PeerEvent {
    /// More candidates of ours; empty: no more will come.
    Candidates(Vec<IceCandidate>),
    /// ICE found a pair.
    IceConnected,
    /// ICE and DTLS are up; media can flow.
    Connected,
    /// Nothing comes any more; may heal.
    Disconnected,
    /// It will not heal: nothing came for ten seconds, and no ICE restart helped.
    Failed,
    /// Media is expected, and for most of a second nothing came at all: ICE should be restarted. Told once a silence.
    Silent,
    /// That silence is over, without a new path.
    Heard,
    /// An ICE restart found no path in three seconds: another may.
    Stalled,
    /// The address that the path starts at is gone and there is another, or packets to the other side leave by another
    /// one now: ICE should be restarted.
    NetworkChanged,
    /// A TURN server does not keep the allocation that the path goes through any longer: an ICE restart should bring
    /// another, with a new login, before it ends.
    RelayExpires,
    /// Large packets do not arrive on this path: payloads have at most so many bytes from now on.
    PacketsShrunk {
        /// The new limit.
        bytes: usize,
    },
    /// A TURN server is of no use, by what it answers to this call, or because it does not. Told once, and again when it
    /// was of use in between.
    Relay(TurnError),
}

/// Which addresses this machine had, that others may reach, when sockets were bound to its addresses last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families {
    /// IPv4 addresses.
    pub ipv4: bool,
    /// IPv6 addresses.
    pub ipv6: bool,
}

impl Families {
    /// True when there was any.
    #[must_use]
    pub const fn any(self) -> bool {
        self.ipv4 || self.ipv6
    }
}

/// What was seen of the path, for the case that there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathSeen {
    /// What was seen of each TURN server.
    pub relays: Vec<RelaySeen>,
    /// Something of the other side came.
    pub heard: bool,
    /// What was seen of the DTLS handshake.
    pub handshake: HandshakeSeen,
    /// What this machine's own addresses were of.
    pub families: Families,
    /// What addresses the other side gave.
    pub theirs: RemoteAddresses,
}

/// The engine refused something.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed: {reason}")]
pub struct PeerError {
    operation: &'static str,
    reason: String,
}

impl PeerError {
    pub(super) fn new(operation: &'static str, reason: impl std::fmt::Display) -> Self {
        Self { operation, reason: reason.to_string() }
    }
}

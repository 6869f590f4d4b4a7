//! The peer connection as the rest of the program sees it: one public name for each item, whichever room it lives in.

pub use crate::congestion::estimate::PathEstimate;
pub use crate::congestion::round_trip::RoundTrip;
pub use crate::engine::Peer;
pub use crate::engine::events::{Families, LocalDescription, PathSeen, PeerError, PeerEvent};
pub use crate::engine::peer::has_network;
pub use crate::path::candidates::IceCandidate;
pub use crate::path::dtls_flights::{HandshakeSeen, Refused};
pub use crate::path::pair::{CandidateInfo, PathStats};
pub use crate::path::remote_addresses::RemoteAddresses;
pub use crate::path::server_log::RelaySeen;
pub use crate::path::watch::Expectation;
pub use crate::receive::inbox::Inbox;
pub use crate::receive::keyframes::KeyframeRequester;
pub use crate::receive::peer_clock::PeerClock;
pub use crate::sdp::continuity::Renewal;
pub use crate::send::media_sender::MediaSender;
#[cfg(test)]
pub(crate) use crate::send::media_sender::SentToTest;
pub use crate::send::stream_stats::RemoteReport;

/// What a peer connection is set up with; ICE servers and their credentials.
pub mod config {
    pub use crate::congestion::BitrateLimits;
    pub use crate::engine::config::PeerConfig;
    pub use crate::engine::dial::{Dialer, Explain, TlsClient, TlsWords};
    pub use crate::path::ice_server::{
        IcePolicy, IceServer, IceServerKind, IceTransport, IceUrl, InvalidIceUrl, Loopback, time_limited_credentials,
    };
    pub use crate::sdp::negotiated::Direction;
}

/// A network that is bad on purpose.
pub mod impaired {
    pub use crate::engine::sockets::impaired::ImpairHandle;
}

/// What descriptions say.
pub mod sdp {
    pub use crate::sdp::early_answer::takes_early_answer;
    pub use crate::sdp::negotiated::{Negotiated, PayloadTypes, Promised, promised, taken};
    pub use crate::sdp::rewrite::{announce_trickle, as_sent, split_candidates, without_pauses};
}

/// STUN and TURN servers, asked outside any call.
pub mod probe {
    pub use crate::engine::probe::allocation::{Allocation, Trouble};
    pub use crate::engine::probe::binding::{Seen, mapped_address, mapped_addresses};
    pub use crate::engine::probe::transaction::Unanswered;
    pub use crate::engine::probe::turn_check::check;
    pub use crate::path::stream_fault::StreamFault;
    pub use crate::path::turn_error::TurnError;
}

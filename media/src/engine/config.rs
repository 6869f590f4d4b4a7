//! What a peer connection is set up with.

use super::dial::Dialer;
use super::sockets::impaired::ImpairHandle;
use crate::congestion::BitrateLimits;
use crate::frame::VideoCodec;
use crate::path::ice_server::{IcePolicy, IceServer, Loopback};
use crate::sdp::negotiated::Direction;

/// Everything that shapes one peer connection.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// How those over TCP and TLS are connected to.
    pub dialer: Dialer,
    /// Which candidates may be used.
    pub ice_policy: IcePolicy,
    /// Whether addresses of this machine itself are offered.
    pub loopback: Loopback,
    /// Video codecs to offer or accept, best first; at least one.
    pub video_codecs: Vec<VideoCodec>,
    /// Whether we have pictures to send.
    pub video: Direction,
    /// Whether we have sound to send.
    pub audio: Direction,
    /// Limits of the send-side bandwidth estimate.
    pub bitrate: BitrateLimits,
    /// The network between its sockets and the real one; peer connections with clones of one handle share it.
    pub impairments: ImpairHandle,
}

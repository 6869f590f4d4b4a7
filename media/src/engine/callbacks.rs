//! The engine's callbacks. They never wait: see [`Shared`].

use std::sync::Arc;
use std::time::Instant;

use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnectionEventHandler, RTCIceConnectionState, RTCIceGatheringState, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState,
};

use super::events::PeerEvent;
use super::shared::Shared;
use crate::path::candidates::IceCandidate;

/// The engine's events.
pub(super) struct Handler(pub(super) Arc<Shared>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let Ok(init) = event.candidate.to_json() else { return };
        // The engine gives an empty mid; all media is bundled, so the first section stands for all (RFC 9143 §7.1).
        let candidate = IceCandidate { candidate: init.candidate, mid: None, mline: Some(0) };
        self.0.gathered(candidate);
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.0.complete();
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        match state {
            RTCIceConnectionState::Checking => self.0.watch().checking(Instant::now()),
            RTCIceConnectionState::Connected => {
                self.0.selection.end();
                self.0.tell(PeerEvent::IceConnected);
            }
            // The others are told as states of the whole connection.
            _ => {}
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => self.0.connected(),
            RTCPeerConnectionState::Disconnected => {
                self.0.watch().interrupted(Instant::now());
                self.0.tell(PeerEvent::Disconnected);
            }
            RTCPeerConnectionState::Failed => {
                self.0.watch().lost();
                self.0.tell(PeerEvent::Failed);
            }
            // New, connecting and closed tell nothing that the session did not do itself.
            _ => {}
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        self.0.opened(track);
    }
}

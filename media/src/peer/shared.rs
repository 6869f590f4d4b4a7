//! What the engine's callbacks touch, and the callbacks. They never wait: everything here is a `try_send`, an atomic, or
//! a lock that is held for a few instructions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, mpsc};
use tracing::warn;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnectionEventHandler, RTCIceConnectionState, RTCIceGatheringState, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState,
};

use super::network::Addresses;
use super::receive::KeyframeRequester;
use super::send::SendState;
use super::servers::Servers;
use super::watch::Watch;
use super::{IceCandidate, Inbox, PeerEvent, candidates};

/// See the module.
pub(super) struct Shared {
    pub(super) events: mpsc::Sender<PeerEvent>,
    pub(super) inbox: Inbox,
    pub(super) gathered: Notify,
    pub(super) keyframes: KeyframeRequester,
    pub(super) sending: Arc<SendState>,
    tracks: mpsc::Sender<Arc<dyn TrackRemote>>,
    gathering: Mutex<Gathering>,
    complete: AtomicBool,
    watch: Mutex<Watch>,
    /// What STUN and TURN servers answer.
    pub(super) servers: Arc<Servers>,
}

/// Candidates go into the description until it is out, and are events from then on.
enum Gathering {
    Collecting(Vec<IceCandidate>),
    Trickling,
}

impl Shared {
    pub(super) fn new(
        events: mpsc::Sender<PeerEvent>,
        tracks: mpsc::Sender<Arc<dyn TrackRemote>>,
        inbox: Inbox,
        sending: Arc<SendState>,
        servers: Arc<Servers>,
        bound: Addresses,
    ) -> Self {
        Self {
            events,
            inbox,
            gathered: Notify::new(),
            keyframes: KeyframeRequester::default(),
            sending,
            tracks,
            gathering: Mutex::new(Gathering::Collecting(Vec::new())),
            complete: AtomicBool::new(false),
            watch: Mutex::new(Watch::new(bound)),
            servers,
        }
    }

    pub(super) fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, event: PeerEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            warn!(?event, "session too slow: event of the peer connection dropped");
        }
    }

    /// ICE begins anew, on sockets bound to `bound`: so do candidates, and nothing is sent until there is a path.
    pub(super) fn renew(&self, bound: Addresses) {
        self.complete.store(false, Ordering::Release);
        *self.gathering() = Gathering::Collecting(Vec::new());
        self.sending.close_path();
        self.servers.renew();
        self.watch().renewed(Instant::now(), bound);
    }

    /// True when all candidates of this generation are known.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// True when there is a candidate to hand out.
    pub(super) fn has_candidate(&self) -> bool {
        matches!(&*self.gathering(), Gathering::Collecting(candidates) if !candidates.is_empty())
    }

    /// Hands out the candidates so far, in order of use; later ones are events.
    pub(super) fn take_candidates(&self) -> Vec<IceCandidate> {
        let collected = std::mem::replace(&mut *self.gathering(), Gathering::Trickling);
        match collected {
            Gathering::Collecting(mut candidates) => {
                candidates::sort(&mut candidates, self.watch().bound());
                candidates
            }
            Gathering::Trickling => Vec::new(),
        }
    }

    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_trickling(&self) -> bool {
        matches!(&*self.gathering(), Gathering::Trickling)
    }
}

/// The engine's events.
pub(super) struct Handler(pub(super) Arc<Shared>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let Ok(init) = event.candidate.to_json() else { return };
        // The engine gives an empty mid; all media is bundled, so the first section stands for all (RFC 9143 §7.1).
        let candidate = IceCandidate { candidate: init.candidate, mid: None, mline: Some(0) };
        let trickled = match &mut *self.0.gathering() {
            Gathering::Collecting(collected) => {
                collected.push(candidate);
                None
            }
            Gathering::Trickling => Some(candidate),
        };
        match trickled {
            Some(candidate) => self.0.tell(PeerEvent::Candidates(vec![candidate])),
            None => self.0.gathered.notify_one(),
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            // An update that keeps the path gathers what is known already, and completes again.
            let was_complete = self.0.complete.swap(true, Ordering::AcqRel);
            if !was_complete && self.0.is_trickling() {
                self.0.tell(PeerEvent::Candidates(Vec::new()));
            }
            self.0.gathered.notify_one();
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        match state {
            RTCIceConnectionState::Checking => self.0.watch().checking(Instant::now()),
            RTCIceConnectionState::Connected => self.0.tell(PeerEvent::IceConnected),
            // The others are told as states of the whole connection.
            _ => {}
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => {
                self.0.watch().up();
                self.0.sending.open_path();
                self.0.tell(PeerEvent::Connected);
            }
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
        self.0.watch().began();
        if self.0.tracks.try_send(track).is_err() {
            warn!("the other side opened more tracks than a call has; left out");
        }
    }
}

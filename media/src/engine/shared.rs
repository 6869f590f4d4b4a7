//! What the engine's callbacks, the path task and [`Peer`](super::peer::Peer) share. Nobody may wait here: each method
//! is a `try_send`, an atomic, or a lock that is held for a few instructions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, mpsc};
use tracing::warn;
use webrtc::media_stream::track_remote::TrackRemote;

use super::events::PeerEvent;
use super::sockets::nomination::Selection;
use crate::path::addresses::Addresses;
use crate::path::candidates::{self, Gathered, IceCandidate, LeadsTo};
use crate::path::server_log::ServerLog;
use crate::path::watch::Watch;
use crate::receive::inbox::Inbox;
use crate::receive::keyframes::KeyframeRequester;
use crate::send::keyframe_demand::KeyframeDemand;
use crate::send::path_gate::PathGate;

/// See the module.
pub(super) struct Shared {
    pub(super) events: mpsc::Sender<PeerEvent>,
    pub(super) inbox: Inbox,
    pub(super) gathered: Notify,
    pub(super) keyframes: KeyframeRequester,
    gate: Arc<PathGate>,
    demand: Arc<KeyframeDemand>,
    tracks: mpsc::Sender<Arc<dyn TrackRemote>>,
    gathering: Mutex<Gathering>,
    /// What was gathered for the path in use.
    candidates: Mutex<Gathered>,
    complete: AtomicBool,
    watch: Mutex<Watch>,
    /// How a path is selected.
    pub(super) selection: Arc<Selection>,
    /// What the other side said of its addresses.
    told: Mutex<BTreeMap<SocketAddr, LeadsTo>>,
    /// What STUN and TURN servers answer.
    pub(super) servers: Arc<ServerLog>,
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
        (gate, demand): (Arc<PathGate>, Arc<KeyframeDemand>),
        servers: Arc<ServerLog>,
        bound: Addresses,
    ) -> Self {
        Self {
            events,
            inbox,
            gathered: Notify::new(),
            keyframes: KeyframeRequester::default(),
            gate,
            demand,
            tracks,
            gathering: Mutex::new(Gathering::Collecting(Vec::new())),
            candidates: Mutex::default(),
            complete: AtomicBool::new(false),
            watch: Mutex::new(Watch::new(bound)),
            selection: Arc::default(),
            told: Mutex::default(),
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
        *self.candidates() = Gathered::default();
        self.gate.close();
        self.servers.renew();
        self.selection.end();
        self.watch().renewed(Instant::now(), bound);
    }

    /// There is a path, and the other side has missed something.
    pub(super) fn connected(&self) {
        self.watch().up();
        self.demand.want();
        self.gate.open();
        self.tell(PeerEvent::Connected);
    }

    /// Payloads have become smaller: what was sent before did not arrive.
    pub(super) fn shrunk(&self, bytes: usize) {
        self.demand.want();
        self.tell(PeerEvent::PacketsShrunk { bytes });
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

    /// A candidate of ours: to be told, unless it goes into the description, or another stands for it.
    pub(super) fn gathered(&self, candidate: IceCandidate) {
        if !self.candidates().is_news(&candidate.candidate) {
            return;
        }
        let trickled = match &mut *self.gathering() {
            Gathering::Collecting(collected) => {
                collected.push(candidate);
                None
            }
            Gathering::Trickling => Some(candidate),
        };
        match trickled {
            Some(candidate) => self.tell(PeerEvent::Candidates(vec![candidate])),
            None => self.gathered.notify_one(),
        }
    }

    /// Takes note of a candidate of the other side, before the engine checks it.
    pub(super) fn note_remote(&self, candidate: &IceCandidate) {
        let Some(to) = candidates::leads_to(&candidate.candidate) else { return };
        let (LeadsTo::Host(address) | LeadsTo::Relay(address)) = to;
        self.told().insert(address, to);
        let _nobody_looks = self.selection.look(|nominations| match to {
            LeadsTo::Host(address) => nominations.host(address),
            LeadsTo::Relay(address) => nominations.relay(address),
        });
    }

    /// What the other side said of an address. The engine calls it peer-reflexive for good where a check from it came
    /// before the candidate.
    pub(super) fn told_of(&self, address: SocketAddr) -> Option<LeadsTo> {
        self.told().get(&address).copied()
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, LeadsTo>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No more candidates of this generation will come.
    pub(super) fn complete(&self) {
        // An update that keeps the path gathers what is known already, and completes again.
        let was_complete = self.complete.swap(true, Ordering::AcqRel);
        if !was_complete && self.is_trickling() {
            self.tell(PeerEvent::Candidates(Vec::new()));
        }
        self.gathered.notify_one();
    }

    /// The other side opened a track.
    pub(super) fn opened(&self, track: Arc<dyn TrackRemote>) {
        self.watch().began();
        if self.tracks.try_send(track).is_err() {
            warn!("the other side opened more tracks than a call has; left out");
        }
    }

    fn candidates(&self) -> MutexGuard<'_, Gathered> {
        self.candidates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_trickling(&self) -> bool {
        matches!(&*self.gathering(), Gathering::Trickling)
    }
}

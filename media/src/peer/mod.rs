//! The peer connection: ICE, DTLS, SRTP, RTP. The only place that imports `webrtc` and `rtc`.
//!
//! - signalling in and out: [`Peer::offer`], [`Peer::answer`], [`Peer::apply_answer`], [`Peer::add_candidates`],
//!   [`PeerEvent::Candidates`]
//! - the same again in mid-call, for other media or another path: [`Peer::update_offer`], [`Peer::answer_update`],
//!   [`Peer::apply_update`]; when that is wanted: [`PeerEvent::Silent`], [`PeerEvent::Stalled`],
//!   [`PeerEvent::NetworkChanged`]
//! - media out: [`MediaSender`], from encoder threads
//! - media in: RTP packets into the two queues of [`Inbox`]
//!
//! An ICE restart binds new sockets on the addresses that there are at that moment, and asks TURN servers for new
//! allocations over them. DTLS, and with it the keys and the streams, goes on as it was.
//!
//! Never blocks in a callback of the engine: everything there is a `try_send`.

mod build;
mod candidates;
mod cause;
mod clock;
pub mod config;
mod continuity;
mod early;
mod engine;
mod foreign;
mod heard;
pub mod impaired;
mod negotiate;
mod network;
pub mod packet;
mod payload_limit;
mod rate;
mod receive;
mod remote;
mod repair;
mod requests;
mod runtime;
pub mod sdp;
mod send;
mod servers;
mod shared;
mod stats;
mod stun;
#[cfg(test)]
mod tests;
pub mod turn_check;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;
use webrtc::peer_connection::PeerConnection;
use webrtc::runtime::default_runtime;

use crate::queue;
use crate::rtp::RtpPacket;
use build::Medium;
use config::{Direction, IceServer, Loopback, PeerConfig};
use early::Early;
use heard::Heard;
use negotiate::Exchange;
use network::{Network, ThisMachine};
use runtime::SettlingRuntime;
use sdp::Negotiated;
use shared::Shared;
use turn_check::TurnError;

pub use clock::PeerClock;
pub use receive::KeyframeRequester;
pub use remote::RemoteAddresses;
#[cfg(test)]
pub(crate) use send::SentToTest;
pub use send::{MediaSender, RemoteReport};
pub use servers::RelaySeen;
pub use stats::{CandidateInfo, PathStats};

/// Events waiting for the session. Candidates and states: a few dozen a call.
const EVENTS_MAX: usize = 256;

/// An ICE candidate as the engine writes and reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCandidate {
    /// `candidate:…` (RFC 8839 §5.1).
    pub candidate: String,
    /// Media section by name.
    pub mid: Option<String>,
    /// Media section by position.
    pub mline: Option<u16>,
}

impl From<(String, u16)> for IceCandidate {
    fn from((candidate, mline): (String, u16)) -> Self {
        Self { candidate, mid: None, mline: Some(mline) }
    }
}

impl std::fmt::Debug for IceCandidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IceCandidate(…)")
    }
}

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
    /// Large packets do not arrive on this path: payloads have at most so many bytes from now on.
    PacketsShrunk {
        /// The new limit.
        bytes: usize,
    },
    /// A TURN server is of no use, by what it answers to this call, or because it does not. Told once, and again when it
    /// was of use in between.
    Relay(TurnError),
}

/// What was seen of the path, for the case that there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathSeen {
    /// What was seen of each TURN server.
    pub relays: Vec<RelaySeen>,
    /// Something of the other side came.
    pub heard: bool,
    /// Something of the other side's DTLS handshake came.
    pub handshake: bool,
    /// What addresses the other side gave.
    pub theirs: RemoteAddresses,
}

/// What an update of a standing call is to renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Media alone; the path stays.
    Media,
    /// The path as well: an ICE restart (RFC 8445 §9).
    Restart,
}

/// What should come from the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expectation {
    /// What it said that it sends: a silence is told.
    #[default]
    Media,
    /// Nothing: one of the two holds the call.
    Nothing,
}

/// Where received packets go.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// Video packets.
    pub video: queue::Sender<RtpPacket>,
    /// Audio packets.
    pub audio: queue::Sender<RtpPacket>,
}

/// The engine refused something.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed: {reason}")]
pub struct PeerError {
    operation: &'static str,
    reason: String,
}

impl PeerError {
    fn new(operation: &'static str, reason: impl std::fmt::Display) -> Self {
        Self { operation, reason: reason.to_string() }
    }
}

/// One peer connection. Call [`Peer::close`] when done; dropping it ends its tasks but tells no TURN server.
pub struct Peer {
    connection: Arc<dyn PeerConnection>,
    shared: Arc<Shared>,
    heard: Arc<Heard>,
    early: Arc<Early>,
    network: Arc<dyn Network>,
    takes_multicast: bool,
    video: Option<Medium>,
    audio: Medium,
    exchange: Mutex<Exchange>,
    /// What the next ICE restart asks, where that is not what was asked before.
    renewed_servers: Mutex<Option<Vec<IceServer>>>,
    outlets: Mutex<send::Outlets>,
    remote_addresses: Mutex<RemoteAddresses>,
    tasks: Mutex<JoinSet<()>>,
    clock: PeerClock,
    settling: Arc<SettlingRuntime>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").finish_non_exhaustive()
    }
}

impl Peer {
    /// Sets a peer connection up; nothing is sent yet.
    ///
    /// # Errors
    /// [`PeerError`] when sockets cannot be opened or the engine refuses the configuration.
    pub async fn new(config: &PeerConfig, inbox: Inbox) -> Result<(Self, mpsc::Receiver<PeerEvent>), PeerError> {
        let runtime = default_runtime().expect("the engine is built with its tokio runtime");
        Self::on(runtime, Arc::new(ThisMachine), config, inbox).await
    }

    /// Says which media are to be sent from the next update on. A medium that is not sent is received all the same.
    pub fn set_sending(&self, video: Direction, audio: Direction) {
        let mut exchange = self.exchange();
        (exchange.video, exchange.audio) = (video, audio);
    }

    /// The servers that the next ICE restart asks: those of the configuration with logins made now, since the ones of the
    /// beginning may have expired. Allocations that stand keep theirs (RFC 8656 §5).
    pub fn set_ice_servers(&self, servers: Vec<IceServer>) {
        *self.renewed_servers.lock().unwrap_or_else(PoisonError::into_inner) = Some(servers);
    }

    /// Says what should come from the other side; at first all that it promised.
    pub fn expect_media(&self, expectation: Expectation) {
        self.shared.watch().expect(expectation);
    }

    /// A sender for what was negotiated; encoders speak to it. To be called again after each update: senders of before
    /// go on to work for what they were made for.
    #[must_use]
    pub fn start_sending(&self, negotiated: &Negotiated) -> MediaSender {
        let video = match (negotiated.video, &self.video) {
            (Some((codec, payload_type)), Some(medium)) if negotiated.granted.video => {
                Some((&medium.track, send::VideoStream { codec, payload_type, ssrc: medium.ssrc }))
            }
            (Some(_) | None, Some(_) | None) => None,
        };
        let audio = negotiated
            .audio
            .filter(|_| negotiated.granted.audio)
            .map(|payload_type| (&self.audio.track, send::AudioStream { payload_type, ssrc: self.audio.ssrc }));
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner).sender(&mut self.tasks(), video, audio)
    }

    /// Asks the other side for keyframes.
    #[must_use]
    pub fn keyframes(&self) -> KeyframeRequester {
        self.shared.keyframes.clone()
    }

    /// The selected pair and its round trip; `None` before there is one.
    pub async fn path(&self) -> Option<PathStats> {
        let path = stats::path(&*self.connection).await;
        if let Some(round_trip) = path.as_ref().and_then(|path| path.round_trip) {
            self.clock.round_trip(round_trip);
        }
        path
    }

    /// How the clock of the other side stands to ours.
    #[must_use]
    pub fn clock(&self) -> PeerClock {
        self.clock.clone()
    }

    /// What was seen of the path so far.
    #[must_use]
    pub fn seen(&self) -> PathSeen {
        PathSeen {
            relays: self.shared.servers.relays(Instant::now()),
            heard: self.heard.count() > 0,
            handshake: self.heard.handshake(),
            theirs: *self.remote_addresses(),
        }
    }

    /// Ends the connection: releases TURN allocations, stops all tasks.
    pub async fn close(&self) {
        self.settling.close();
        if let Err(error) = self.connection.close().await {
            debug!(%error, "peer connection did not close cleanly");
        }
        let mut tasks = std::mem::take(&mut *self.tasks());
        tasks.shutdown().await;
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remote_addresses(&self) -> MutexGuard<'_, RemoteAddresses> {
        self.remote_addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True when this machine has an IPv4 address at which the other side may reach it: also in a network without a way out,
/// and its own where both are meant to be on it.
#[must_use]
pub fn has_network(loopback: Loopback) -> bool {
    loopback == Loopback::Include || !ThisMachine.addresses().usable.is_empty()
}

/// SSRCs, first sequence numbers and first time stamps, which are to be random (RFC 3550 §5.1, §8).
fn random_u32() -> u32 {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 4];
    let drawn = ring::rand::SystemRandom::new().fill(&mut bytes);
    drawn.expect("the system gives random bytes; without them there is no DTLS either");
    u32::from_ne_bytes(bytes)
}

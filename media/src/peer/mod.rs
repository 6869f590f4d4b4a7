//! The peer connection: ICE, DTLS, SRTP, RTP. The only place that imports `webrtc` and `rtc`.
//!
//! - signalling in and out: [`Peer::offer`], [`Peer::answer`], [`Peer::apply_answer`], [`Peer::add_candidates`],
//!   [`PeerEvent::Candidates`]
//! - media out: [`MediaSender`], from encoder threads
//! - media in: RTP packets into the two queues of [`Inbox`]
//!
//! Never blocks in a callback of the engine: everything there is a `try_send`.

pub mod config;
mod engine;
pub mod packet;
mod receive;
mod repair;
mod runtime;
pub mod sdp;
mod send;
mod stats;
#[cfg(test)]
mod tests;
pub mod turn_check;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpRtxParameters,
    RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tracing::{debug, warn};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateInit, RTCIceGatheringState,
    RTCIceServer, RTCIceTransportPolicy, RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription,
};

use crate::queue;
use crate::rtp::RtpPacket;
use config::{Direction, IcePolicy, Loopback, PeerConfig};
use runtime::SettlingRuntime;
use sdp::Negotiated;

pub use receive::KeyframeRequester;
pub use send::{MediaSender, RemoteReport};
pub use stats::{CandidateInfo, PathStats};

/// How long an offer waits for candidates before it goes out with those there are: a person answers much later.
const OFFER_GATHER_MAX: Duration = Duration::from_millis(150);

/// The same for an answer: someone looks at a black screen meanwhile.
const ANSWER_GATHER_MAX: Duration = Duration::from_millis(20);

/// Without a first candidate a description is of little use; this is the limit for that one.
const FIRST_CANDIDATE_MAX: Duration = Duration::from_millis(500);

/// Candidates taken from the other side in one call; more are left out and counted. Each costs checks to an address of
/// the other side's choice, so this also bounds what we can be made to send to a third party.
const REMOTE_CANDIDATES_MAX: usize = 64;

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
    /// It will not heal.
    Failed,
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
    video: Option<Arc<TrackLocalStaticRTP>>,
    audio: Option<Arc<TrackLocalStaticRTP>>,
    video_ssrc: u32,
    audio_ssrc: u32,
    target_bps: Arc<AtomicU32>,
    remote_candidates: AtomicUsize,
    tasks: Mutex<JoinSet<()>>,
    settling: Arc<SettlingRuntime>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").finish_non_exhaustive()
    }
}

/// What the engine's callbacks touch.
struct Shared {
    events: mpsc::Sender<PeerEvent>,
    inbox: Inbox,
    gathering: Mutex<Gathering>,
    gathered: Notify,
    complete: AtomicBool,
    keyframes: KeyframeRequester,
    tracks: mpsc::Sender<Arc<dyn TrackRemote>>,
}

/// Candidates go into the description until it is out, and are events from then on.
enum Gathering {
    Collecting(Vec<IceCandidate>),
    Trickling,
}

impl Shared {
    fn gathering(&self) -> std::sync::MutexGuard<'_, Gathering> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: PeerEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            warn!(?event, "session too slow: event of the peer connection dropped");
        }
    }
}

struct Handler(Arc<Shared>);

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
            self.0.complete.store(true, Ordering::Release);
            let trickling = matches!(&*self.0.gathering(), Gathering::Trickling);
            if trickling {
                self.0.tell(PeerEvent::Candidates(Vec::new()));
            }
            self.0.gathered.notify_one();
        }
    }

    async fn on_ice_connection_state_change(&self, state: webrtc::peer_connection::RTCIceConnectionState) {
        if state == webrtc::peer_connection::RTCIceConnectionState::Connected {
            self.0.tell(PeerEvent::IceConnected);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => self.0.tell(PeerEvent::Connected),
            RTCPeerConnectionState::Disconnected => self.0.tell(PeerEvent::Disconnected),
            RTCPeerConnectionState::Failed => self.0.tell(PeerEvent::Failed),
            // New, connecting and closed tell nothing that the session did not do itself.
            _ => {}
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        if self.0.tracks.try_send(track).is_err() {
            warn!("the other side opened more tracks than a call has; left out");
        }
    }
}

impl Peer {
    /// Sets a peer connection up; nothing is sent yet.
    ///
    /// # Errors
    /// [`PeerError`] when sockets cannot be opened or the engine refuses the configuration.
    pub async fn new(config: &PeerConfig, inbox: Inbox) -> Result<(Self, mpsc::Receiver<PeerEvent>), PeerError> {
        let (events_tx, events) = mpsc::channel(EVENTS_MAX);
        // One video and one audio track, and a spare for a stranger's mistake.
        let (tracks_tx, tracks) = mpsc::channel(4);
        let shared = Arc::new(Shared {
            events: events_tx,
            inbox,
            gathering: Mutex::new(Gathering::Collecting(Vec::new())),
            gathered: Notify::new(),
            complete: AtomicBool::new(false),
            keyframes: KeyframeRequester::default(),
            tracks: tracks_tx,
        });
        let target_bps = Arc::new(AtomicU32::new(config.bitrate.start_bps));
        let settling = Arc::new(SettlingRuntime::new());
        let connection = build(config, &shared, &target_bps, Arc::clone(&settling))
            .await
            .map_err(|error| PeerError::new("WebRTC set-up", error))?;
        let (video_ssrc, rtx_ssrc, audio_ssrc) = (random_u32(), random_u32(), random_u32());
        let video_codecs = engine::video_codecs(config);
        let mut peer = Self {
            connection,
            shared,
            video: None,
            audio: None,
            video_ssrc,
            audio_ssrc,
            target_bps,
            remote_candidates: AtomicUsize::new(0),
            tasks: Mutex::new(JoinSet::new()),
            settling,
        };
        let tracks_task = receive::route_tracks(tracks, peer.shared.inbox.clone(), peer.shared.keyframes.clone());
        peer.tasks().spawn(tracks_task);
        let audio = local_track(RtpCodecKind::Audio, engine::audio_codec(), audio_ssrc, None);
        peer.audio = peer.add_media(RtpCodecKind::Audio, config.audio, audio).await?;
        if let Some(first) = video_codecs.first() {
            let video = local_track(RtpCodecKind::Video, first.rtp_codec.clone(), video_ssrc, Some(rtx_ssrc));
            peer.video = peer.add_media(RtpCodecKind::Video, config.video, video).await?;
            peer.prefer_video(video_codecs).await?;
        }
        Ok((peer, events))
    }

    async fn add_media(
        &self,
        kind: RtpCodecKind,
        direction: Direction,
        track: TrackLocalStaticRTP,
    ) -> Result<Option<Arc<TrackLocalStaticRTP>>, PeerError> {
        let failed = |error| PeerError::new("adding a track", error);
        match direction {
            Direction::SendReceive => {
                let track = Arc::new(track);
                let sender = Arc::clone(&track) as Arc<dyn TrackLocal>;
                self.connection.add_track(sender).await.map_err(failed)?;
                Ok(Some(track))
            }
            Direction::ReceiveOnly => {
                let init = RTCRtpTransceiverInit {
                    direction: RTCRtpTransceiverDirection::Recvonly,
                    streams: Vec::new(),
                    send_encodings: Vec::new(),
                };
                self.connection.add_transceiver_from_kind(kind, Some(init)).await.map_err(failed)?;
                Ok(None)
            }
        }
    }

    /// Offers all of `codecs`: a track alone would offer the one it was made for.
    async fn prefer_video(&self, codecs: Vec<RTCRtpCodecParameters>) -> Result<(), PeerError> {
        let failed = |error| PeerError::new("choosing codecs", error);
        for transceiver in self.connection.get_transceivers().await {
            let is_video = match transceiver.sender().await.map_err(failed)? {
                Some(sender) => sender.track().kind().await == RtpCodecKind::Video,
                None => match transceiver.receiver().await.map_err(failed)? {
                    Some(receiver) => receiver.track().kind().await == RtpCodecKind::Video,
                    None => false,
                },
            };
            if is_video {
                transceiver.set_codec_preferences(codecs.clone()).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Makes an offer and starts gathering.
    ///
    /// # Errors
    /// [`PeerError`] when the engine refuses.
    pub async fn offer(&self) -> Result<LocalDescription, PeerError> {
        let failed = |error| PeerError::new("making an offer", error);
        let offer = self.connection.create_offer(None).await.map_err(failed)?;
        let sdp = sdp::announce_trickle(&offer.sdp);
        self.connection.set_local_description(offer).await.map_err(failed)?;
        Ok(LocalDescription { sdp, candidates: self.gather(OFFER_GATHER_MAX).await })
    }

    /// Takes an offer, makes the answer and starts gathering.
    ///
    /// # Errors
    /// [`PeerError`] when the offer is broken or has nothing in common with us.
    pub async fn answer(&self, offer: &str) -> Result<(LocalDescription, Negotiated), PeerError> {
        let broken = |error| PeerError::new("reading the offer", error);
        let failed = |error| PeerError::new("making an answer", error);
        let promised = sdp::promised(offer);
        let (offer, candidates) = sdp::split_candidates(offer);
        let offer = RTCSessionDescription::offer(offer).map_err(broken)?;
        self.connection.set_remote_description(offer).await.map_err(broken)?;
        self.add_candidates(candidates.into_iter().map(IceCandidate::from).collect()).await;
        let answer = self.connection.create_answer(None).await.map_err(failed)?;
        let sdp = sdp::announce_trickle(&answer.sdp);
        let mut negotiated = Negotiated::from_answer(&sdp);
        negotiated.promised = promised;
        if negotiated.video.is_none() && negotiated.audio.is_none() {
            return Err(PeerError::new("making an answer", "the offer has no codec that we speak"));
        }
        self.connection.set_local_description(answer).await.map_err(failed)?;
        Ok((LocalDescription { sdp, candidates: self.gather(ANSWER_GATHER_MAX).await }, negotiated))
    }

    /// Takes the answer to our offer.
    ///
    /// # Errors
    /// [`PeerError`] when the answer is broken or does not fit the offer.
    pub async fn apply_answer(&self, answer: &str) -> Result<Negotiated, PeerError> {
        let broken = |error| PeerError::new("reading the answer", error);
        let mut negotiated = Negotiated::from_answer(answer);
        negotiated.promised = sdp::promised(answer);
        if negotiated.video.is_none() && negotiated.audio.is_none() {
            return Err(PeerError::new("reading the answer", "it has no codec that we offered"));
        }
        let (answer, candidates) = sdp::split_candidates(answer);
        let answer = RTCSessionDescription::answer(answer).map_err(broken)?;
        self.connection.set_remote_description(answer).await.map_err(broken)?;
        self.add_candidates(candidates.into_iter().map(IceCandidate::from).collect()).await;
        Ok(negotiated)
    }

    /// Takes candidates of the other side; broken ones and those above the limit are left out and counted.
    pub async fn add_candidates(&self, candidates: Vec<IceCandidate>) -> usize {
        let mut left_out = 0;
        for candidate in candidates {
            // An empty line ends the list (W3C WebRTC §4.8.1.1); the engine needs no such mark.
            if candidate.candidate.is_empty() {
                continue;
            }
            if self.remote_candidates.fetch_add(1, Ordering::Relaxed) >= REMOTE_CANDIDATES_MAX {
                left_out += 1;
                continue;
            }
            let init = RTCIceCandidateInit {
                candidate: candidate.candidate,
                sdp_mid: candidate.mid,
                sdp_mline_index: candidate.mline,
                ..Default::default()
            };
            if let Err(error) = self.connection.add_ice_candidate(init).await {
                debug!(%error, "candidate of the other side left out");
                left_out += 1;
            }
        }
        left_out
    }

    /// Starts what carries our media; encoders speak to the result. Needs what was negotiated.
    #[must_use]
    pub fn start_sending(&self, negotiated: &Negotiated) -> MediaSender {
        let video = match (negotiated.video, &self.video) {
            (Some((codec, payload_type)), Some(track)) => {
                Some((Arc::clone(track), send::VideoStream { codec, payload_type, ssrc: self.video_ssrc }))
            }
            _ => None,
        };
        let audio = match (negotiated.audio, &self.audio) {
            (Some(payload_type), Some(track)) => {
                Some((Arc::clone(track), send::AudioStream { payload_type, ssrc: self.audio_ssrc }))
            }
            _ => None,
        };
        send::start(&mut self.tasks(), video, audio, Arc::clone(&self.target_bps))
    }

    /// Asks the other side for keyframes.
    #[must_use]
    pub fn keyframes(&self) -> KeyframeRequester {
        self.shared.keyframes.clone()
    }

    /// The selected pair and its round trip; `None` before there is one.
    pub async fn path(&self) -> Option<PathStats> {
        stats::path(&*self.connection).await
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

    fn tasks(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the first candidate, then up to `max` for the rest; hands out what there is.
    async fn gather(&self, max: Duration) -> Vec<IceCandidate> {
        let complete = || self.shared.complete.load(Ordering::Acquire);
        let has_one = || matches!(&*self.shared.gathering(), Gathering::Collecting(c) if !c.is_empty());
        let first = async {
            while !complete() && !has_one() {
                self.shared.gathered.notified().await;
            }
        };
        if tokio::time::timeout(FIRST_CANDIDATE_MAX, first).await.is_err() {
            debug!("no candidate yet; they follow");
        }
        let rest = async {
            while !complete() {
                self.shared.gathered.notified().await;
            }
        };
        // Running into the limit is the normal case with a slow STUN or TURN server: the rest is trickled.
        let _rest_is_trickled = tokio::time::timeout(max, rest).await;
        let before = std::mem::replace(&mut *self.shared.gathering(), Gathering::Trickling);
        match before {
            Gathering::Collecting(candidates) => candidates,
            Gathering::Trickling => Vec::new(),
        }
    }
}

async fn build(
    config: &PeerConfig,
    shared: &Arc<Shared>,
    target_bps: &Arc<AtomicU32>,
    settling: Arc<SettlingRuntime>,
) -> rtc::shared::error::Result<Arc<dyn PeerConnection>> {
    let mut media = engine::media_engine(config)?;
    let interceptors = engine::interceptors(&mut media, config.bitrate, Arc::clone(target_bps))?;
    let servers = config.ice_servers.iter().map(|server| RTCIceServer {
        urls: vec![server.url.to_string()],
        username: server.username.clone(),
        credential: server.password.clone(),
    });
    let policy = match config.ice_policy {
        IcePolicy::All => RTCIceTransportPolicy::All,
        IcePolicy::RelayOnly => RTCIceTransportPolicy::Relay,
    };
    let configuration = RTCConfigurationBuilder::default()
        .with_ice_servers(servers.collect())
        .with_ice_transport_policy(policy)
        .build();
    let connection = PeerConnectionBuilder::new()
        .with_runtime(settling)
        .with_configuration(configuration)
        .with_media_engine(media)
        .with_interceptor_registry(interceptors)
        .with_setting_engine(engine::settings(has_way_out()))
        .with_handler(Arc::new(Handler(Arc::clone(shared))))
        .with_udp_addrs(udp_addresses(config.loopback))
        .build()
        .await?;
    Ok(Arc::new(connection))
}

/// Where sockets are bound. The engine turns the wildcard into one socket an interface, without loopback.
fn udp_addresses(loopback: Loopback) -> Vec<String> {
    let wildcard = "0.0.0.0:0".to_owned();
    let local = format!("{}:0", IpAddr::V4(Ipv4Addr::LOCALHOST));
    match (has_network(), loopback) {
        (true, Loopback::Exclude) => vec![wildcard],
        (true, Loopback::Include) => vec![local, wildcard],
        (false, Loopback::Include | Loopback::Exclude) => vec![local],
    }
}

/// True when this machine has an IPv4 address that others reach: also in a network without a way out.
#[must_use]
pub fn has_network() -> bool {
    let reachable = |ip: IpAddr| match ip {
        // The engine offers no link-local address either.
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_link_local(),
        IpAddr::V6(_) => false,
    };
    let interfaces = rtc::shared::ifaces::ifaces().unwrap_or_default();
    interfaces.into_iter().filter_map(|interface| interface.addr).any(|addr| reachable(addr.ip()))
}

/// True when some route leads out of this machine. Connecting a UDP socket sends nothing.
fn has_way_out() -> bool {
    let probe = || -> std::io::Result<IpAddr> {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // 192.0.2.0/24 is for documentation (RFC 5737): never a real peer, but routed like any other address.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    probe().is_ok_and(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

fn local_track(kind: RtpCodecKind, codec: RTCRtpCodec, ssrc: u32, rtx_ssrc: Option<u32>) -> TrackLocalStaticRTP {
    let name = if kind == RtpCodecKind::Video { "video" } else { "audio" };
    let coding = RTCRtpCodingParameters {
        ssrc: Some(ssrc),
        rtx: rtx_ssrc.map(|ssrc| RTCRtpRtxParameters { ssrc }),
        ..Default::default()
    };
    let encoding = RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec, ..Default::default() };
    // The engine routes RTCP by track id and would mix up two sides that use the same one.
    let id = format!("{name}-{ssrc:08x}");
    // One stream for both, so that the other side plays them in sync (RFC 8830 §2).
    TrackLocalStaticRTP::new(MediaStreamTrack::new("tring".into(), id, name.into(), kind, vec![encoding]))
}

fn random_u32() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    // SSRCs must only differ from each other (RFC 3550 §8); the hasher's keys are random.
    RandomState::new().hash_one(0) as u32
}

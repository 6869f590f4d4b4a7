//! A short call between two peer connections of this process, with test media both ways.
//!
//! - offer and answer are handed over in memory; candidates follow as they come
//! - test pattern and test tone → encoders → two peer connections → decoders, as in a call
//! - it is over when both sides see and hear the other, or at the deadline

use std::time::Duration;

use media::call::StreamEvent;
use media::call::incoming::{Incoming, Sinks};
use media::call::outgoing::{Captured, Outgoing, OutgoingCounters, Switches};
use media::capture::{self, AudioSource, Capture, VideoFormat, VideoSource};
use media::frame::{Size, VideoCodec};
use media::peer::config::PeerConfig;
use media::peer::sdp::Negotiated;
use media::peer::{Inbox, PathStats, Peer, PeerError, PeerEvent, RelaySeen};
use media::queue;
use media::rtp::RtpPacket;
use media::send::picture_plan::Content;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

/// Small pictures: what is tried is whether they come, not how many fit.
const FORMAT: VideoFormat = VideoFormat { size: Size { width: 320, height: 240 }, fps: 15 };

/// Queues as in a call, shorter.
const PACKETS_MAX: usize = 512;
const FRAMES_MAX: usize = 2;
const SOUNDS_MAX: usize = 10;
const EVENTS_MAX: usize = 64;

/// The engine measures the round trip a little after it has connected.
const ROUND_TRIP_LOOKS: usize = 20;
const ROUND_TRIP_LOOK: Duration = Duration::from_millis(50);

/// How it went.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Talk {
    /// From the offer until both are connected.
    pub(super) connected: Duration,
    /// From there until both see and hear the other.
    pub(super) seen: Duration,
    /// The codec of the pictures.
    pub(super) codec: Option<VideoCodec>,
    /// The path of the caller.
    pub(super) path: Option<PathStats>,
}

/// Why it did not go.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoTalk {
    /// The engine refuses.
    #[error("{0}")]
    Engine(#[from] PeerError),
    /// No path until the deadline, or it failed.
    #[error("the two did not connect")]
    NoPath,
    /// The same, and this is what was seen of the TURN server.
    #[error("the two did not connect: {0}")]
    NoRelay(String),
    /// A path, but nothing, or not everything, came over it.
    #[error("the two connected, but {0} did not come")]
    Nothing(&'static str),
    /// An encoder or a decoder fails.
    #[error("{0}")]
    Codec(String),
    /// A thread or a source cannot be started.
    #[error("test media cannot be started: {0}")]
    Start(String),
}

/// Lets two talk until they see and hear each other, up to `deadline`; puts both away afterwards.
pub(super) async fn talk(config: &PeerConfig, deadline: Instant) -> Result<Talk, NoTalk> {
    let (mut alice, mut bob) = (Side::new(config).await?, Side::new(config).await?);
    let result = converse(&mut alice, &mut bob, deadline).await;
    tokio::join!(alice.close(), bob.close());
    result
}

async fn converse(alice: &mut Side, bob: &mut Side, deadline: Instant) -> Result<Talk, NoTalk> {
    let began = Instant::now();
    let offer = alice.peer.offer().await?;
    let (answer, at_bob) = bob.peer.answer(&offer.sdp).await?;
    let at_alice = alice.peer.apply_answer(&answer.sdp).await?;
    bob.peer.add_candidates(offer.candidates).await;
    alice.peer.add_candidates(answer.candidates).await;
    let codec = at_alice.video.map(|(codec, _)| codec);
    alice.receive(at_alice)?;
    bob.receive(at_bob)?;
    let mut connected = None;
    while !(alice.is_done() && bob.is_done()) {
        let happened = tokio::select! {
            happened = alice.next() => happened.map(|happened| (Who::Alice, happened)),
            happened = bob.next() => happened.map(|happened| (Who::Bob, happened)),
            () = tokio::time::sleep_until(deadline) => None,
        };
        let Some((who, happened)) = happened else { return Err(missing(alice, bob)) };
        let (one, other) = match who {
            Who::Alice => (&mut *alice, &mut *bob),
            Who::Bob => (&mut *bob, &mut *alice),
        };
        one.took(happened, other).await?;
        if connected.is_none() && alice.outgoing.is_some() && bob.outgoing.is_some() {
            connected = Some(Instant::now());
        }
    }
    let connected = connected.unwrap_or_else(Instant::now);
    Ok(Talk {
        connected: connected - began,
        seen: connected.elapsed(),
        codec,
        path: timeout_at(deadline, path(&alice.peer)).await.ok().flatten(),
    })
}

#[derive(Clone, Copy, Debug)]
enum Who {
    Alice,
    Bob,
}

/// What was still waited for at the deadline.
fn missing(alice: &Side, bob: &Side) -> NoTalk {
    let sides = [alice, bob];
    if sides.iter().any(|side| side.outgoing.is_none()) {
        let relays = sides.iter().flat_map(|side| side.peer.seen().relays);
        match relays.into_iter().find_map(trouble) {
            Some(trouble) => NoTalk::NoRelay(trouble),
            None => NoTalk::NoPath,
        }
    } else if sides.iter().all(|side| side.has_seen) {
        NoTalk::Nothing("sound")
    } else if sides.iter().all(|side| side.has_heard) {
        NoTalk::Nothing("pictures")
    } else {
        NoTalk::Nothing("media")
    }
}

/// What is wrong with a TURN server; it is named elsewhere in the line.
fn trouble(relay: RelaySeen) -> Option<String> {
    let told = match (relay.trouble, relay.forbids) {
        (Some(trouble), _) => trouble.to_string(),
        (None, Some(ip)) => format!("{}: it forbids packets to its own relay address {ip} (403)", relay.url),
        (None, None) => return None,
    };
    Some(told.strip_prefix(&relay.url).map_or(told.as_str(), |rest| rest.trim_start_matches(": ")).to_owned())
}

/// The selected pair, waited for until its round trip is known.
async fn path(peer: &Peer) -> Option<PathStats> {
    let mut path = None;
    for _ in 0..ROUND_TRIP_LOOKS {
        path = peer.path().await;
        if path.as_ref().is_some_and(|path| path.round_trip.is_some()) {
            break;
        }
        tokio::time::sleep(ROUND_TRIP_LOOK).await;
    }
    path
}

/// One of the two.
struct Side {
    peer: Peer,
    peer_events: mpsc::Receiver<PeerEvent>,
    stream_events: mpsc::Receiver<StreamEvent>,
    stream_tx: mpsc::Sender<StreamEvent>,
    packets: Option<(queue::Receiver<RtpPacket>, queue::Receiver<RtpPacket>)>,
    negotiated: Negotiated,
    incoming: Option<Incoming>,
    outgoing: Option<Outgoing>,
    sources: Vec<Capture>,
    has_seen: bool,
    has_heard: bool,
}

/// What happens on a side.
enum Happening {
    Peer(PeerEvent),
    Stream(StreamEvent),
}

impl Side {
    async fn new(config: &PeerConfig) -> Result<Self, NoTalk> {
        let (video_tx, video) = queue::bounded(PACKETS_MAX);
        let (audio_tx, audio) = queue::bounded(PACKETS_MAX);
        let (peer, peer_events) = Peer::new(config, Inbox { video: video_tx, audio: audio_tx }).await?;
        let (stream_tx, stream_events) = mpsc::channel(EVENTS_MAX);
        Ok(Self {
            peer,
            peer_events,
            stream_events,
            stream_tx,
            packets: Some((video, audio)),
            negotiated: Negotiated::default(),
            incoming: None,
            outgoing: None,
            sources: Vec::new(),
            has_seen: false,
            has_heard: false,
        })
    }

    fn is_done(&self) -> bool {
        self.has_seen && self.has_heard
    }

    /// What happens next; `None` when nothing can any more.
    async fn next(&mut self) -> Option<Happening> {
        tokio::select! {
            event = self.peer_events.recv() => event.map(Happening::Peer),
            event = self.stream_events.recv() => event.map(Happening::Stream),
        }
    }

    async fn took(&mut self, happening: Happening, other: &Self) -> Result<(), NoTalk> {
        match happening {
            Happening::Peer(PeerEvent::Candidates(candidates)) => {
                other.peer.add_candidates(candidates).await;
            }
            Happening::Peer(PeerEvent::Connected) => self.send()?,
            Happening::Peer(PeerEvent::Failed) => return Err(missing(self, other)),
            // A path that comes and goes shows in what is seen and heard.
            Happening::Peer(
                PeerEvent::IceConnected
                | PeerEvent::Disconnected
                | PeerEvent::Silent
                | PeerEvent::Heard
                | PeerEvent::Stalled
                | PeerEvent::NetworkChanged
                | PeerEvent::RelayExpires
                | PeerEvent::PacketsShrunk { .. }
                | PeerEvent::Relay(_),
            ) => {}
            Happening::Stream(StreamEvent::FirstFrame(_)) => self.has_seen = true,
            Happening::Stream(StreamEvent::FirstAudio(_)) => self.has_heard = true,
            Happening::Stream(StreamEvent::CodecFailed(text)) => return Err(NoTalk::Codec(text)),
            Happening::Stream(StreamEvent::SourceEnded(what)) => {
                return Err(NoTalk::Start(format!("{what} ended by itself")));
            }
            // Nothing is recorded, and there is no microphone.
            Happening::Stream(
                StreamEvent::RecordingFailed(_) | StreamEvent::PlanChanged(_) | StreamEvent::SpokeWhileMuted,
            ) => {}
        }
        Ok(())
    }

    fn receive(&mut self, negotiated: Negotiated) -> Result<(), NoTalk> {
        let Some(packets) = self.packets.take() else { return Ok(()) };
        let (latest, _unseen) = watch::channel(None);
        let sinks = Sinks { display: None, latest, speaker: None, recorder: None };
        let types = negotiated.payload_types();
        let incoming =
            Incoming::start(packets, types, self.peer.keyframes(), &self.peer.clock(), sinks, &self.stream_tx);
        self.incoming = Some(incoming.map_err(|error| NoTalk::Start(error.to_string()))?);
        self.negotiated = negotiated;
        Ok(())
    }

    fn send(&mut self) -> Result<(), NoTalk> {
        let (frames_tx, frames) = queue::bounded(FRAMES_MAX);
        let (sounds_tx, sounds) = queue::bounded(SOUNDS_MAX);
        let failed = |error: capture::CaptureError| NoTalk::Start(error.to_string());
        self.sources.extend(capture::open_video(&VideoSource::Test, FORMAT, frames_tx).map_err(failed)?);
        self.sources.extend(capture::open_audio(&AudioSource::Tone, sounds_tx).map_err(failed)?);
        let mut captured = Captured {
            video: Some((frames, FORMAT)),
            content: Content::Motion,
            audio: Some(sounds),
            microphone: None,
            self_view: None,
        };
        let sender = self.peer.start_sending(&self.negotiated);
        let mut outgoing = Outgoing::idle(OutgoingCounters::default());
        let started = outgoing.add(&mut captured, &sender, &Switches::default(), &self.stream_tx);
        started.map_err(|error| NoTalk::Start(error.to_string()))?;
        self.outgoing = Some(outgoing);
        Ok(())
    }

    /// Ends everything, in the order in which media flows; threads are joined where that may block.
    async fn close(self) {
        let Self { peer, sources, outgoing, incoming, .. } = self;
        peer.close().await;
        let ending = tokio::task::spawn_blocking(move || {
            drop((sources, outgoing));
            incoming.map(Incoming::finish);
        });
        if let Err(error) = ending.await {
            tracing::debug!(%error, "test media did not end cleanly");
        }
    }
}

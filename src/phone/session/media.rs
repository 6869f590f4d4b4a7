//! The media of one call: peer connection and streams; set up, changed, measured, closed. Devices are [`super::open`]'s.
//!
//! [`Stage`] is how far it has come. What is open lives in the stage in which it is in use:
//!
//! - [`Stage::Ahead`], while it rings → devices are open → [`Stage::Prepared`]
//! - [`Stage::Prepared`] → both descriptions are known → [`Stage::Receiving`] → the path is up → [`Stage::Talking`]
//! - [`Stage::Talking`] → our user holds, or sends something else → [`Stage::Held`] → devices are open again → back

use std::sync::Arc;
use std::time::Duration;

use media::call::StreamEvent;
use media::call::incoming::{AudioFigures, Incoming, Sinks, VideoFigures};
use media::call::light::LightIncoming;
use media::call::outgoing::{Captured, OutgoingCounters, Switches};
use media::frame::VideoFrame;
use media::peer::config::PeerConfig;
use media::peer::sdp::Negotiated;
use media::peer::{Expectation, Inbox, MediaSender, PathStats, Peer, PeerError, PeerEvent};
use media::playout::speaker::Speaker;
use media::queue;
use media::record::{Summary, Tracks};
use media::rtp::RtpPacket;
use media::voice::{FarEnd, Processing};
use signalling::wire::{Candidate, Description, MediaState};
use tokio::sync::{mpsc, watch};

use super::descriptions::{to_description, to_media};
use super::open::{Aside, Captures, Feed, OpenMedia, Sources, close_devices};
use super::streams::{Receiving, Sending};
use crate::output::exit::{ExitStatus, Failure};

/// Received packets waiting for their thread: two seconds of video at 8 Mbit/s; the oldest are dropped, and counted.
const PACKETS_MAX: usize = 2048;

/// How long a connection may take to close.
const CLOSING: Duration = Duration::from_secs(3);

/// Events of streams; a handful a call.
const EVENTS_MAX: usize = 64;

/// A peer connection with its description made, ready to be sent.
pub(super) struct Prepared {
    pub(super) media: CallMedia,
    pub(super) description: Description,
    /// What an answer agreed on; with an offer nothing is yet.
    pub(super) agreed: Option<Negotiated>,
}

/// The media of one call. What is open may be moved to another thread, but not shared: what waits in here takes it
/// `&mut`, so that a session can be a task.
pub(super) struct CallMedia {
    peer: Arc<Peer>,
    /// What the peer connection tells.
    pub(super) peer_events: mpsc::Receiver<PeerEvent>,
    /// What streams tell.
    pub(super) stream_events: mpsc::Receiver<StreamEvent>,
    stream_tx: mpsc::Sender<StreamEvent>,
    switches: Switches,
    /// What was sent, before and after each hold.
    counters: OutgoingCounters,
    /// What the speaker plays, whose echo is taken out of the microphone; `None` without one.
    far_end: Option<FarEnd>,
    stage: Stage,
}

/// How far the media of a call have come.
#[expect(clippy::large_enum_variant, reason = "there is one for each call, and it stays where it is")]
enum Stage {
    /// Our answer is made, and nobody has accepted, or devices are not open yet: nothing of ours is.
    Ahead { packets: Packets },
    /// Our description is made, the other side's is not known. What is open waits; the speaker may be lent.
    Prepared { open: OpenMedia, packets: Packets },
    /// Both descriptions are known: what comes is decoded. What is captured waits for the path.
    Receiving { agreed: Negotiated, incoming: Receiving, sources: Sources },
    /// What is captured is sent, as far as both agreed to it.
    Talking { agreed: Negotiated, incoming: Receiving, live: Live, sender: MediaSender },
    /// Camera and microphone are given back, or not open again yet.
    Held { agreed: Negotiated, incoming: Receiving, sender: MediaSender },
    /// Everything is given back.
    Closed,
}

/// Received packets, of pictures and of sound.
type Packets = (queue::Receiver<RtpPacket>, queue::Receiver<RtpPacket>);

/// What is captured and sent; dropped in the order in which data flows.
pub(super) struct Live {
    outgoing: Sending,
    feed: Feed,
    _captures: Captures,
}

/// Makes an offer, with devices that are open.
pub(super) async fn prepare_offer(config: PeerConfig, open: Aside<OpenMedia>) -> Result<Prepared, Failure> {
    prepare(config, Some(open), None).await
}

/// Makes an answer, with devices that are open or will be.
pub(super) async fn prepare_answer(
    config: PeerConfig,
    open: Option<Aside<OpenMedia>>,
    offer: Description,
) -> Result<Prepared, Failure> {
    prepare(config, open, Some(offer)).await
}

async fn prepare(
    config: PeerConfig,
    open: Option<Aside<OpenMedia>>,
    offer: Option<Description>,
) -> Result<Prepared, Failure> {
    let (video_tx, video) = queue::bounded(PACKETS_MAX);
    let (audio_tx, audio) = queue::bounded(PACKETS_MAX);
    let inbox = Inbox { video: video_tx, audio: audio_tx };
    let no_path = |error: PeerError| Failure::new(ExitStatus::NoPath, error);
    let (peer, peer_events) = Peer::new(&config, inbox).await.map_err(no_path)?;
    let (local, agreed) = match &offer {
        None => (peer.offer().await.map_err(no_path)?, None),
        Some(offer) => {
            let (local, agreed) = peer.answer(&offer.sdp).await.map_err(no_path)?;
            peer.add_candidates(to_media(offer.candidates.clone())).await;
            (local, Some(agreed))
        }
    };
    let (stream_tx, stream_events) = mpsc::channel(EVENTS_MAX);
    let mut media = CallMedia {
        peer: Arc::new(peer),
        peer_events,
        stream_events,
        stream_tx,
        switches: Switches::default(),
        counters: OutgoingCounters::default(),
        far_end: None,
        stage: Stage::Ahead { packets: (video, audio) },
    };
    if let Some(open) = open {
        media.give(open);
    }
    Ok(Prepared { media, description: to_description(local), agreed })
}

impl CallMedia {
    /// Takes devices that are open.
    pub(super) fn give(&mut self, open: Aside<OpenMedia>) {
        match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Ahead { packets } => {
                let open = open.into_inner();
                self.switches.set_processing(open.voice);
                self.far_end = open.speaker.as_ref().map(Speaker::far_end);
                self.stage = Stage::Prepared { open, packets };
            }
            // It has some.
            stage @ (Stage::Prepared { .. }
            | Stage::Receiving { .. }
            | Stage::Talking { .. }
            | Stage::Held { .. }
            | Stage::Closed) => {
                self.stage = stage;
            }
        }
    }

    /// Nothing is to come before the call is accepted: silence is no sign of a bad path.
    pub(super) fn expect_nothing(&self) {
        self.peer.expect_media(Expectation::Nothing);
    }

    /// The call is accepted.
    pub(super) fn expect_media(&self) {
        self.peer.expect_media(Expectation::Media);
    }

    /// Takes the answer to our offer; what was agreed on.
    pub(super) async fn apply_answer(&mut self, answer: Description) -> Result<Negotiated, PeerError> {
        let agreed = self.peer.apply_answer(&answer.sdp).await?;
        self.peer.add_candidates(to_media(answer.candidates)).await;
        Ok(agreed)
    }

    /// Takes the answer to our update.
    pub(super) async fn apply_update(&mut self, answer: Description) -> Result<(), PeerError> {
        let agreed = self.peer.apply_update(&answer.sdp).await?;
        self.peer.add_candidates(to_media(answer.candidates)).await;
        self.renegotiated(agreed);
        Ok(())
    }

    /// Takes more candidates; how many were left out.
    pub(super) async fn add_candidates(&mut self, candidates: Vec<Candidate>) -> usize {
        self.peer.add_candidates(to_media(candidates)).await
    }

    /// Both descriptions are known: everything that receives is started, so that not even the first packet waits.
    pub(super) fn start_receiving(
        &mut self,
        agreed: Negotiated,
        display: Option<queue::Sender<Arc<VideoFrame>>>,
    ) -> Result<(), Failure> {
        match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Prepared { open, packets } => {
                let OpenMedia { speaker, mut recorder, sources, voice: _, complaint: _ } = open;
                let types = agreed.payload_types();
                let (keyframes, clock) = (self.peer.keyframes(), self.peer.clock());
                let incoming = match sources.feed {
                    Feed::Looped(_) => {
                        let incoming = LightIncoming::start(packets, types, keyframes, &clock, &self.stream_tx);
                        Ok(Receiving::Counted(incoming))
                    }
                    Feed::Captured(_) => {
                        if let Some(recorder) = &mut recorder
                            && !agreed.promised.video
                        {
                            recorder.set_tracks(Tracks::Audio);
                        }
                        let (latest_tx, latest) = watch::channel(None);
                        let sinks = Sinks { display, latest: latest_tx, speaker, recorder };
                        Incoming::start(packets, types, keyframes, &clock, sinks, &self.stream_tx)
                            .map(|incoming| Receiving::Decoded { incoming, latest })
                            .map_err(Failure::internal)
                    }
                };
                let (incoming, started) = match incoming {
                    Ok(incoming) => (incoming, Ok(())),
                    Err(failure) => (Receiving::Nothing, Err(failure)),
                };
                self.stage = Stage::Receiving { agreed, incoming, sources };
                started
            }
            // Descriptions are exchanged once; what follows are updates.
            // Without devices they wait.
            stage @ (Stage::Ahead { .. }
            | Stage::Receiving { .. }
            | Stage::Talking { .. }
            | Stage::Held { .. }
            | Stage::Closed) => {
                self.stage = stage;
                Ok(())
            }
        }
    }

    /// The path is up, or other media were agreed on: everything that may be sent is started.
    pub(super) fn start_sending(&mut self) -> Result<(), Failure> {
        let (agreed, incoming, live) = match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Receiving { agreed, incoming, sources } => (agreed, incoming, self.go_live(sources)),
            Stage::Talking { agreed, incoming, live, .. } => (agreed, incoming, live),
            // There is nothing to send.
            stage @ (Stage::Ahead { .. } | Stage::Prepared { .. } | Stage::Held { .. } | Stage::Closed) => {
                self.stage = stage;
                return Ok(());
            }
        };
        self.talk(agreed, incoming, live)
    }

    /// Takes sources that were opened in the middle of the call.
    pub(super) fn take_sources(&mut self, sources: Sources) -> Result<(), Failure> {
        match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Held { agreed, incoming, .. } => {
                let live = self.go_live(sources);
                self.talk(agreed, incoming, live)
            }
            // Nobody waits for them.
            stage @ (Stage::Ahead { .. }
            | Stage::Prepared { .. }
            | Stage::Receiving { .. }
            | Stage::Talking { .. }
            | Stage::Closed) => {
                self.stage = stage;
                drop(Aside::new(sources));
                Ok(())
            }
        }
    }

    fn go_live(&self, sources: Sources) -> Live {
        let Sources { captures, mut feed } = sources;
        if let Feed::Captured(Captured { microphone: Some(microphone), .. }) = &mut feed {
            microphone.far_end.clone_from(&self.far_end);
        }
        Live { outgoing: Sending::idle(&feed, self.counters.clone()), feed, _captures: captures }
    }

    fn talk(&mut self, agreed: Negotiated, incoming: Receiving, mut live: Live) -> Result<(), Failure> {
        let sender = self.peer.start_sending(&agreed);
        let added = live.outgoing.add(&mut live.feed, &sender, &self.switches, &self.stream_tx);
        self.stage = Stage::Talking { agreed, incoming, live, sender };
        added.map_err(Failure::internal)
    }

    /// Stops sending; a camera's light goes out. What is given back is to be closed aside.
    pub(super) fn release(&mut self) -> Option<Live> {
        match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Talking { agreed, incoming, live, sender } => {
                self.stage = Stage::Held { agreed, incoming, sender };
                Some(live)
            }
            // Nothing is sent: the call does not stand yet, or is held already.
            stage @ (Stage::Ahead { .. }
            | Stage::Prepared { .. }
            | Stage::Receiving { .. }
            | Stage::Held { .. }
            | Stage::Closed) => {
                self.stage = stage;
                None
            }
        }
    }

    /// Nothing is sent or shown while either side holds.
    pub(super) fn set_held(&self, held: bool) {
        self.switches.set_held(held);
        self.peer.expect_media(if held { Expectation::Nothing } else { Expectation::Media });
        if let Some(incoming) = self.incoming() {
            incoming.set_held(held);
        }
    }

    /// Sends sound and pictures, or silence and black.
    pub(super) fn switch(&self, local: MediaState) {
        self.switches.set_muted(!local.audio);
        self.switches.set_camera_off(!local.video);
    }

    /// What is done to the sound of the microphone from now on.
    pub(super) fn set_processing(&self, processing: Processing) {
        self.switches.set_processing(processing);
    }

    /// What is done to the sound of a microphone.
    pub(super) fn processing(&self) -> Processing {
        self.switches.processing()
    }

    /// True where a microphone is sent as it is.
    pub(super) fn is_microphone_raw(&self) -> bool {
        self.processing() == Processing::Raw && self.counters.voice().is_some()
    }

    /// An update agreed on other media.
    pub(super) fn renegotiated(&mut self, now: Negotiated) {
        match &mut self.stage {
            Stage::Receiving { agreed, incoming, .. }
            | Stage::Talking { agreed, incoming, .. }
            | Stage::Held { agreed, incoming, .. } => {
                incoming.set_types(now.payload_types());
                *agreed = now;
            }
            // Before the call stands there is nothing to update, and nothing after it.
            Stage::Ahead { .. } | Stage::Prepared { .. } | Stage::Closed => {}
        }
    }

    /// What could not be opened, though the call goes on.
    pub(super) fn complaint(&self) -> Option<String> {
        match &self.stage {
            Stage::Prepared { open, .. } => open.complaint.clone(),
            Stage::Ahead { .. }
            | Stage::Receiving { .. }
            | Stage::Talking { .. }
            | Stage::Held { .. }
            | Stage::Closed => None,
        }
    }

    /// Takes the speaker out, as long as the call has no use for it.
    pub(super) fn lend_speaker(&mut self) -> Option<Speaker> {
        match &mut self.stage {
            Stage::Prepared { open, .. } => open.speaker.take(),
            Stage::Ahead { .. }
            | Stage::Receiving { .. }
            | Stage::Talking { .. }
            | Stage::Held { .. }
            | Stage::Closed => None,
        }
    }

    /// Takes back what was lent; where the call has no use for it any more it is closed.
    pub(super) fn take_speaker_back(&mut self, speaker: Speaker) {
        match &mut self.stage {
            Stage::Prepared { open, .. } => open.speaker = Some(speaker),
            Stage::Ahead { .. }
            | Stage::Receiving { .. }
            | Stage::Talking { .. }
            | Stage::Held { .. }
            | Stage::Closed => {
                drop(Aside::new(speaker));
            }
        }
    }

    /// The latest picture of the other side.
    pub(super) fn latest_picture(&self) -> Option<Arc<VideoFrame>> {
        self.incoming()?.latest_picture()
    }

    /// The selected pair, waited for a moment: the engine tells that it is connected before it names the pair.
    pub(super) async fn selected_pair(&mut self) -> Option<PathStats> {
        for _ in 0..10 {
            if let Some(path) = self.peer.path().await {
                return Some(path);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        None
    }

    pub(super) const fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// What both sides agreed on, once both descriptions are known.
    pub(super) const fn agreed(&self) -> Option<&Negotiated> {
        match &self.stage {
            Stage::Receiving { agreed, .. } | Stage::Talking { agreed, .. } | Stage::Held { agreed, .. } => {
                Some(agreed)
            }
            Stage::Ahead { .. } | Stage::Prepared { .. } | Stage::Closed => None,
        }
    }

    /// What sends, once the path was up.
    pub(super) const fn sender(&self) -> Option<&MediaSender> {
        match &self.stage {
            Stage::Talking { sender, .. } | Stage::Held { sender, .. } => Some(sender),
            Stage::Ahead { .. } | Stage::Prepared { .. } | Stage::Receiving { .. } | Stage::Closed => None,
        }
    }

    const fn incoming(&self) -> Option<&Receiving> {
        match &self.stage {
            Stage::Receiving { incoming, .. } | Stage::Talking { incoming, .. } | Stage::Held { incoming, .. } => {
                Some(incoming)
            }
            Stage::Ahead { .. } | Stage::Prepared { .. } | Stage::Closed => None,
        }
    }

    pub(super) const fn outgoing_counters(&self) -> &OutgoingCounters {
        &self.counters
    }

    /// The latest figures of what arrives.
    pub(super) fn figures(&self) -> (VideoFigures, AudioFigures) {
        self.incoming().map(Receiving::figures).unwrap_or_default()
    }

    /// Ends everything, in the order in which data flows. What hangs is left behind after a few seconds.
    pub(super) async fn close(mut self) -> Closed {
        let peer = Arc::clone(&self.peer);
        let peer_closed = tokio::spawn(async move { peer.close().await });
        if tokio::time::timeout(CLOSING, peer_closed).await.is_err() {
            tracing::warn!("the peer connection does not close; left behind");
        }
        let incoming = match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Ahead { .. } => Receiving::Nothing,
            Stage::Prepared { open, packets } => {
                close_devices((open, packets)).await;
                Receiving::Nothing
            }
            Stage::Receiving { incoming, sources, .. } => {
                close_devices(sources).await;
                incoming
            }
            Stage::Talking { incoming, live, .. } => {
                close_devices(live).await;
                incoming
            }
            Stage::Held { incoming, .. } => incoming,
            Stage::Closed => Receiving::Nothing,
        };
        let (video, audio, recorded) = incoming.finish().await;
        let late = std::iter::from_fn(|| self.stream_events.try_recv().ok()).collect();
        Closed { video, audio, recorded, late }
    }
}

/// What is left of the media of a call.
pub(super) struct Closed {
    pub(super) video: VideoFigures,
    pub(super) audio: AudioFigures,
    pub(super) recorded: Option<Summary>,
    /// What was told while it was being closed: a disk that filled up, say.
    pub(super) late: Vec<StreamEvent>,
}

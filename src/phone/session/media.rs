//! The media of one call: peer connection and streams; set up, changed, measured, closed. Devices are [`super::open`]'s.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::call::StreamEvent;
use media::call::incoming::{AudioFigures, Incoming, Sinks, VideoFigures};
use media::call::light::LightIncoming;
use media::call::outgoing::{OutgoingCounters, Switches};
use media::existing::Existing;
use media::frame::VideoFrame;
use media::peer::config::PeerConfig;
use media::peer::sdp::Negotiated;
use media::peer::{
    Expectation, IceCandidate, Inbox, LocalDescription, MediaSender, PathStats, Peer, PeerError, PeerEvent, Renewal,
};
use media::playout::speaker::Speaker;
use media::queue;
use media::record::{Summary, Tracks};
use media::rtp::RtpPacket;
use signalling::wire::{Candidate, Description, MediaState};
use tokio::sync::{mpsc, watch};

use super::open::{Captures, Feed, OpenMedia, Sources};
use super::streams::{Receiving, Sending};
use crate::output::exit::{ExitStatus, Failure};

/// Received packets waiting for their thread: two seconds of video at 8 Mbit/s; the oldest are dropped, and counted.
const PACKETS_MAX: usize = 2048;

/// How long a device or a connection may take to close.
const CLOSING: Duration = Duration::from_secs(3);

/// Events of streams; a handful a call.
const EVENTS_MAX: usize = 64;

/// A peer connection with its description made, ready to be sent.
pub(super) struct Prepared {
    pub(super) media: CallMedia,
    pub(super) description: Description,
}

/// The media of one call. What is open may be moved to another thread, but not shared: what waits in here takes it
/// `&mut`, so that a session can be a task.
pub(super) struct CallMedia {
    peer: Arc<Peer>,
    /// What the peer connection tells.
    pub(super) peer_events: mpsc::Receiver<PeerEvent>,
    /// What streams tell.
    pub(super) stream_events: mpsc::Receiver<StreamEvent>,
    /// What was agreed; known once both descriptions are.
    pub(super) negotiated: Option<Negotiated>,
    switches: Switches,
    stream_tx: mpsc::Sender<StreamEvent>,
    open: Option<OpenMedia>,
    packets: Option<(queue::Receiver<RtpPacket>, queue::Receiver<RtpPacket>)>,
    captures: Option<Captures>,
    /// What is captured and not sent yet: the path is not up, or the other side has not agreed to it.
    feed: Option<Feed>,
    sender: Option<MediaSender>,
    outgoing: Option<Sending>,
    /// What was sent before a hold.
    counters: OutgoingCounters,
    incoming: Option<Receiving>,
    latest: Option<watch::Receiver<Option<Arc<VideoFrame>>>>,
}

/// Makes an offer, or an answer to `offer`, with devices that are open.
pub(super) async fn prepare(
    config: PeerConfig,
    open: OpenMedia,
    offer: Option<Description>,
) -> Result<Prepared, Failure> {
    let (video_tx, video) = queue::bounded(PACKETS_MAX);
    let (audio_tx, audio) = queue::bounded(PACKETS_MAX);
    let inbox = Inbox { video: video_tx, audio: audio_tx };
    let no_path = |error: PeerError| Failure::new(ExitStatus::NoPath, error);
    let (peer, peer_events) = Peer::new(&config, inbox).await.map_err(no_path)?;
    let (local, negotiated) = match &offer {
        None => (peer.offer().await.map_err(no_path)?, None),
        Some(offer) => {
            let (local, negotiated) = peer.answer(&offer.sdp).await.map_err(no_path)?;
            peer.add_candidates(to_media(offer.candidates.clone())).await;
            (local, Some(negotiated))
        }
    };
    let (stream_tx, stream_events) = mpsc::channel(EVENTS_MAX);
    let media = CallMedia {
        peer: Arc::new(peer),
        peer_events,
        stream_events,
        negotiated,
        switches: Switches::default(),
        stream_tx,
        open: Some(open),
        packets: Some((video, audio)),
        captures: None,
        feed: None,
        sender: None,
        outgoing: None,
        counters: OutgoingCounters::default(),
        incoming: None,
        latest: None,
    };
    Ok(Prepared { media, description: description(local) })
}

impl CallMedia {
    /// Takes the answer to our offer.
    pub(super) async fn apply_answer(&mut self, answer: Description) -> Result<(), PeerError> {
        self.negotiated = Some(self.peer.apply_answer(&answer.sdp).await?);
        self.peer.add_candidates(to_media(answer.candidates)).await;
        Ok(())
    }

    /// Takes the answer to our update.
    pub(super) async fn apply_update(&mut self, answer: Description) -> Result<(), PeerError> {
        let negotiated = self.peer.apply_update(&answer.sdp).await?;
        self.peer.add_candidates(to_media(answer.candidates)).await;
        self.renegotiated(negotiated);
        Ok(())
    }

    /// Takes more candidates; how many were left out.
    pub(super) async fn add_candidates(&mut self, candidates: Vec<Candidate>) -> usize {
        self.peer.add_candidates(to_media(candidates)).await
    }

    /// Both descriptions are known: everything that receives is started, so that not even the first packet waits.
    pub(super) fn start_receiving(&mut self, display: Option<queue::Sender<Arc<VideoFrame>>>) -> Result<(), Failure> {
        let (Some(negotiated), Some(mut open), Some(packets)) =
            (&self.negotiated, self.open.take(), self.packets.take())
        else {
            return Ok(());
        };
        let types = negotiated.video_types.clone();
        if let Feed::Looped(_) = open.sources.feed {
            let incoming = LightIncoming::start(packets, types, self.peer.keyframes(), &self.stream_tx);
            self.incoming = Some(Receiving::Counted(incoming));
            self.captures = Some(open.sources.captures);
            self.feed = Some(open.sources.feed);
            return Ok(());
        }
        let (latest_tx, latest) = watch::channel(None);
        if let Some(recorder) = &mut open.recorder
            && !negotiated.promised.video
        {
            recorder.set_tracks(Tracks::Audio);
        }
        let sinks = Sinks { display, latest: latest_tx, speaker: open.speaker.take(), recorder: open.recorder.take() };
        let incoming =
            Incoming::start(packets, types, self.peer.keyframes(), &self.peer.clock(), sinks, &self.stream_tx);
        self.incoming = Some(Receiving::Decoded(incoming.map_err(Failure::internal)?));
        self.latest = Some(latest);
        self.captures = Some(open.sources.captures);
        self.feed = Some(open.sources.feed);
        Ok(())
    }

    /// The path is up, or other media were agreed on: everything that may be sent is started.
    pub(super) fn start_sending(&mut self) -> Result<(), Failure> {
        let (Some(negotiated), Some(feed)) = (&self.negotiated, &mut self.feed) else { return Ok(()) };
        let sender = self.peer.start_sending(negotiated);
        let outgoing = self.outgoing.get_or_insert_with(|| Sending::idle(feed, self.counters.clone()));
        outgoing.add(feed, &sender, &self.switches, &self.stream_tx).map_err(Failure::internal)?;
        self.sender = Some(sender);
        Ok(())
    }

    /// Gives devices back; a camera's light goes out. What is to be awaited until they are free.
    pub(super) fn release(&mut self) -> impl Future<Output = ()> + use<> {
        let (outgoing, captures, feed) = (self.outgoing.take(), self.captures.take(), self.feed.take());
        close_devices((outgoing, feed, captures))
    }

    /// Takes sources that were opened in the middle of the call.
    pub(super) fn take_sources(&mut self, sources: Sources) -> Result<(), Failure> {
        self.captures = Some(sources.captures);
        self.feed = Some(sources.feed);
        self.start_sending()
    }

    /// Nothing is sent or shown while either side holds.
    pub(super) fn set_held(&self, held: bool) {
        self.switches.set_held(held);
        self.peer.expect_media(if held { Expectation::Nothing } else { Expectation::Media });
        if let Some(incoming) = &self.incoming {
            incoming.set_held(held);
        }
    }

    /// An update agreed on other media.
    pub(super) fn renegotiated(&mut self, negotiated: Negotiated) {
        if let Some(incoming) = &self.incoming {
            incoming.set_video_types(negotiated.video_types.clone());
        }
        self.negotiated = Some(negotiated);
    }

    /// What could not be opened, though the call goes on.
    pub(super) fn complaint(&self) -> Option<String> {
        self.open.as_ref()?.complaint.clone()
    }

    /// The speaker, as long as the call has no use for it.
    pub(super) fn lend_speaker(&mut self) -> Option<Speaker> {
        self.open.as_mut()?.speaker.take()
    }

    /// Takes back what was lent; in a call that is over it is closed.
    pub(super) fn take_speaker_back(&mut self, speaker: Speaker) {
        if let Some(open) = &mut self.open {
            open.speaker = Some(speaker);
        }
    }

    /// Sends sound and pictures, or silence and black.
    pub(super) fn switch(&self, local: MediaState) {
        self.switches.set_muted(!local.audio);
        self.switches.set_camera_off(!local.video);
    }

    /// The latest picture of the other side.
    pub(super) fn latest_picture(&self) -> Option<Arc<VideoFrame>> {
        self.latest.as_ref()?.borrow().clone()
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

    pub(super) const fn sender(&self) -> Option<&MediaSender> {
        self.sender.as_ref()
    }

    pub(super) const fn outgoing_counters(&self) -> &OutgoingCounters {
        &self.counters
    }

    /// The latest figures of what arrives.
    pub(super) fn figures(&self) -> (VideoFigures, AudioFigures) {
        match &self.incoming {
            Some(incoming) => incoming.figures(),
            None => Default::default(),
        }
    }

    /// Ends everything, in the order in which data flows. What hangs is left behind after a few seconds.
    pub(super) async fn close(mut self) -> Closed {
        let released = self.release();
        let (incoming, open) = (self.incoming.take(), self.open.take());
        let peer = Arc::clone(&self.peer);
        let peer_closed = tokio::spawn(async move { peer.close().await });
        if tokio::time::timeout(CLOSING, peer_closed).await.is_err() {
            tracing::warn!("the peer connection does not close; left behind");
        }
        released.await;
        let closing = close_devices(open);
        let (video, audio, recorded) = match incoming {
            Some(incoming) => incoming.finish().await,
            None => Default::default(),
        };
        closing.await;
        let late = std::iter::from_fn(|| self.stream_events.try_recv().ok()).collect();
        Closed { video, audio, recorded, late }
    }
}

/// Closes devices on a thread that may block: threads are joined, and devices may take their time. One that hangs is
/// left behind.
pub(super) async fn close_devices<T: Send + 'static>(devices: T) {
    let closing = tokio::task::spawn_blocking(move || drop(devices));
    match tokio::time::timeout(CLOSING, closing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "a device did not close cleanly"),
        Err(_) => tracing::warn!("a device does not close; left behind"),
    }
}

/// A description made in a standing call.
pub(super) struct Revision {
    pub(super) description: Description,
    pub(super) renewed: Renewal,
    /// What was agreed on; with an offer nothing is yet.
    pub(super) negotiated: Option<Negotiated>,
}

/// Makes a new offer in a standing call.
pub(super) async fn make_update(peer: Arc<Peer>, renewal: Renewal) -> Result<Revision, PeerError> {
    let local = peer.update_offer(renewal).await?;
    Ok(Revision { renewed: local.renewed, description: description(local), negotiated: None })
}

/// Answers a new offer in a standing call.
pub(super) async fn answer_update(peer: Arc<Peer>, offer: Description) -> Result<Revision, PeerError> {
    let (local, negotiated) = peer.answer_update(&offer.sdp).await?;
    peer.add_candidates(to_media(offer.candidates)).await;
    Ok(Revision { renewed: local.renewed, description: description(local), negotiated: Some(negotiated) })
}

/// What is left of the media of a call.
pub(super) struct Closed {
    pub(super) video: VideoFigures,
    pub(super) audio: AudioFigures,
    pub(super) recorded: Option<Summary>,
    /// What was told while it was being closed: a disk that filled up, say.
    pub(super) late: Vec<StreamEvent>,
}

/// A picture that was to be saved.
pub(super) struct Saved {
    pub(super) file: PathBuf,
    pub(super) outcome: Result<(), String>,
}

/// Saves a picture as PNG, on a thread that may block. A file that cannot be written within seconds is given up.
pub(super) async fn save_picture(file: PathBuf, frame: Arc<VideoFrame>, existing: Existing) -> Saved {
    let path = file.clone();
    let saving = tokio::task::spawn_blocking(move || media::snapshot::write_png(&path, &frame, existing));
    let outcome = match tokio::time::timeout(media::patience::of_file(&file), saving).await {
        Ok(Ok(saved)) => saved.map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("cannot write the picture {}: nobody takes it", file.display())),
    };
    Saved { file, outcome }
}

fn description(local: LocalDescription) -> Description {
    Description { sdp: local.sdp, candidates: to_wire(local.candidates) }
}

pub(super) fn to_wire(candidates: Vec<IceCandidate>) -> Vec<Candidate> {
    let convert = |c: IceCandidate| Candidate { candidate: c.candidate, mid: c.mid, mline: c.mline };
    candidates.into_iter().map(convert).collect()
}

fn to_media(candidates: Vec<Candidate>) -> Vec<IceCandidate> {
    let convert = |c: Candidate| IceCandidate { candidate: c.candidate, mid: c.mid, mline: c.mline };
    candidates.into_iter().map(convert).collect()
}

/// When the steps of a call happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    pub(super) dialed: Option<Instant>,
    pub(super) accepted: Option<Instant>,
    pub(super) described: Option<Instant>,
    pub(super) ice: Option<Instant>,
    pub(super) connected: Option<Instant>,
    pub(super) first_frame: Option<Instant>,
    pub(super) first_audio: Option<Instant>,
    /// Processor time of this program when the call was connected.
    pub(super) processor_at_connected: Option<Duration>,
}

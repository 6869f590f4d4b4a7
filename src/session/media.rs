//! The media of one call: devices, peer connection, streams, display; opened, connected, measured, closed.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use media::capture::{self, AudioSource, Capture, VideoSource};
use media::display::terminal::Terminal;
use media::display::window::{Window, WindowClient};
use media::display::{DisplayEvent, Pictures, Show};
use media::frame::VideoFrame;
use media::peer::config::PeerConfig;
use media::peer::sdp::Negotiated;
use media::peer::{IceCandidate, Inbox, LocalDescription, MediaSender, PathStats, Peer, PeerError, PeerEvent};
use media::playout::AudioSink;
use media::playout::speaker::Speaker;
use media::queue;
use media::record::{Recorder, Summary, Tracks};
use media::rtp::RtpPacket;
use media::stream::StreamEvent;
use media::stream::incoming::{AudioFigures, Incoming, Sinks, VideoFigures};
use media::stream::outgoing::{Captured, Outgoing, OutgoingCounters, Switches};
use signalling::wire::{Candidate, Description};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::events::Event;
use crate::exit::{ExitStatus, Failure};
use crate::logging;
use crate::printer::Printer;
use crate::settings::MediaSettings;

/// Received packets waiting for their thread: two seconds of video at 8 Mbit/s; the oldest are dropped, and counted.
const PACKETS_MAX: usize = 2048;

/// Captured pictures waiting for the encoder: the newest counts.
const FRAMES_MAX: usize = 2;

/// Captured sound waiting for the encoder: 200 ms.
const SOUNDS_MAX: usize = 10;

/// Events of streams and displays; a handful a call.
const EVENTS_MAX: usize = 64;

/// Most devices let one program in, once: whoever opens them waits until the call before has closed them.
static DEVICES: OnceLock<Arc<Semaphore>> = OnceLock::new();

/// The right to open devices, as soon as nobody else has it.
pub(super) async fn devices_turn() -> Result<OwnedSemaphorePermit, Failure> {
    let devices = Arc::clone(DEVICES.get_or_init(|| Arc::new(Semaphore::new(1))));
    devices.acquire_owned().await.map_err(Failure::internal)
}

/// Running sources, and the right to the devices.
struct Captures {
    _video: Option<Capture>,
    _audio: Option<Capture>,
    _turn: OwnedSemaphorePermit,
}

/// Devices and files of one call, open.
pub(super) struct OpenMedia {
    captures: Captures,
    captured: Captured,
    own: Option<queue::Receiver<Arc<VideoFrame>>>,
    speaker: Option<Speaker>,
    recorder: Option<Recorder>,
}

impl OpenMedia {
    /// Opens what the settings name, on a thread that may block: devices take their time.
    pub(super) async fn open_aside(settings: Arc<MediaSettings>) -> Result<Self, Failure> {
        let turn = devices_turn().await?;
        tokio::task::spawn_blocking(move || Self::open(&settings, turn)).await.map_err(Failure::internal)?
    }

    /// Opens devices and sources and closes them again, so that what is missing shows before the first call does.
    pub(super) async fn probe(settings: &MediaSettings) -> Result<(), Failure> {
        // A recording begins with the call, and must not replace an older one before.
        let probed = MediaSettings { record: None, ..settings.clone() };
        Self::open_aside(Arc::new(probed)).await.map(drop)
    }

    fn open(settings: &MediaSettings, turn: OwnedSemaphorePermit) -> Result<Self, Failure> {
        let (frames_tx, frames) = queue::bounded(FRAMES_MAX);
        let (sounds_tx, sounds) = queue::bounded(SOUNDS_MAX);
        let video = capture::open_video(&settings.video, settings.format, frames_tx).map_err(source_failure)?;
        let audio = capture::open_audio(&settings.audio, sounds_tx).map_err(source_failure)?;
        let speaker = match &settings.play {
            AudioSink::Speaker(name) => Some(Speaker::open(name.as_deref()).map_err(Failure::device)?),
            AudioSink::None => None,
        };
        let recorder = match &settings.record {
            Some(path) => Some(Recorder::create(path, Tracks::AudioAndVideo).map_err(Failure::usage)?),
            None => None,
        };
        let (self_view, own) = match settings.show {
            Show::None => (None, None),
            Show::Window | Show::Terminal => {
                let (tx, rx) = queue::bounded(FRAMES_MAX);
                (Some(tx), Some(rx))
            }
        };
        let captured = Captured {
            video: (settings.video != VideoSource::None).then_some((frames, settings.format)),
            audio: (settings.audio != AudioSource::None).then_some(sounds),
            self_view,
        };
        let captures = Captures { _video: video, _audio: audio, _turn: turn };
        Ok(Self { captures, captured, own, speaker, recorder })
    }
}

fn source_failure(error: capture::CaptureError) -> Failure {
    match error {
        capture::CaptureError::Device(text) => Failure::device(text),
        capture::CaptureError::File(text) => Failure::usage(text),
    }
}

/// A peer connection with its description made, ready to be sent.
pub(super) struct Prepared {
    pub(super) media: CallMedia,
    pub(super) description: Description,
}

/// The media of one call.
pub(super) struct CallMedia {
    peer: Peer,
    /// What the peer connection tells.
    pub(super) peer_events: mpsc::Receiver<PeerEvent>,
    /// What streams tell.
    pub(super) stream_events: mpsc::Receiver<StreamEvent>,
    /// What the viewer does.
    pub(super) display_events: mpsc::Receiver<DisplayEvent>,
    /// What was agreed; known once both descriptions are.
    pub(super) negotiated: Option<Negotiated>,
    switches: Switches,
    stream_tx: mpsc::Sender<StreamEvent>,
    display_tx: mpsc::Sender<DisplayEvent>,
    open: Option<OpenMedia>,
    packets: Option<(queue::Receiver<RtpPacket>, queue::Receiver<RtpPacket>)>,
    captures: Option<Captures>,
    captured: Option<Captured>,
    sender: Option<MediaSender>,
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
    latest: Option<watch::Receiver<Option<Arc<VideoFrame>>>>,
    display: DisplaySlot,
}

/// The display takes its time to open, and the call does not wait for it.
enum DisplaySlot {
    None,
    Opening(JoinHandle<Option<Display>>),
    Open(Display),
}

enum Display {
    Window { _window: Window },
    Terminal { view: Terminal, _logs: Option<logging::FileGuard>, printer: Arc<Printer> },
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Self::Terminal { printer, .. } = self {
            printer.set_screen_taken(false);
        }
    }
}

/// Makes an offer, or an answer to `offer`; opens devices, where they are not open yet.
pub(super) async fn prepare(
    settings: Arc<MediaSettings>,
    config: PeerConfig,
    open: Option<OpenMedia>,
    offer: Option<Description>,
) -> Result<Prepared, Failure> {
    let open = match open {
        Some(open) => open,
        None => OpenMedia::open_aside(settings).await?,
    };
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
    let (display_tx, display_events) = mpsc::channel(EVENTS_MAX);
    let media = CallMedia {
        peer,
        peer_events,
        stream_events,
        display_events,
        negotiated,
        switches: Switches::default(),
        stream_tx,
        display_tx,
        open: Some(open),
        packets: Some((video, audio)),
        captures: None,
        captured: None,
        sender: None,
        outgoing: None,
        incoming: None,
        latest: None,
        display: DisplaySlot::None,
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

    /// Takes more candidates; how many were left out.
    pub(super) async fn add_candidates(&self, candidates: Vec<Candidate>) -> usize {
        self.peer.add_candidates(to_media(candidates)).await
    }

    /// Both descriptions are known: everything that receives is started, so that not even the first packet waits.
    pub(super) fn start_receiving(
        &mut self,
        settings: &MediaSettings,
        title: &str,
        windows: &WindowClient,
        printer: &Arc<Printer>,
    ) -> Result<(), Failure> {
        let (Some(negotiated), Some(mut open), Some(packets)) =
            (&self.negotiated, self.open.take(), self.packets.take())
        else {
            return Ok(());
        };
        let (latest_tx, latest) = watch::channel(None);
        let (display_tx, pictures) = queue::bounded(FRAMES_MAX);
        let mut pictures = Pictures::new(pictures);
        if let Some(own) = open.own.take() {
            pictures = pictures.with_own(own);
        }
        let display = (settings.show != Show::None).then_some(display_tx);
        self.display = open_display(settings.show, title, pictures, self.display_tx.clone(), windows, printer);
        if let Some(recorder) = &mut open.recorder
            && !negotiated.promised.video
        {
            recorder.set_tracks(Tracks::Audio);
        }
        let sinks = Sinks { display, latest: latest_tx, speaker: open.speaker.take(), recorder: open.recorder.take() };
        let types = negotiated.video_types.clone();
        let incoming = Incoming::start(packets, types, self.peer.keyframes(), sinks, &self.stream_tx);
        self.incoming = Some(incoming.map_err(Failure::internal)?);
        self.latest = Some(latest);
        self.captures = Some(open.captures);
        self.captured = Some(open.captured);
        Ok(())
    }

    /// The path is up: everything that sends is started.
    pub(super) fn start_sending(&mut self) -> Result<(), Failure> {
        let (Some(negotiated), Some(captured)) = (&self.negotiated, self.captured.take()) else { return Ok(()) };
        let sender = self.peer.start_sending(negotiated);
        let outgoing = Outgoing::start(captured, &sender, &self.switches, &self.stream_tx);
        self.outgoing = Some(outgoing.map_err(Failure::internal)?);
        self.sender = Some(sender);
        Ok(())
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

    pub(super) const fn switches(&self) -> &Switches {
        &self.switches
    }

    /// Shows a line of text in the terminal view, if that is open.
    pub(super) async fn set_status(&mut self, text: &str) {
        if let DisplaySlot::Opening(opening) = &mut self.display
            && opening.is_finished()
        {
            let opened = opening.await.ok().flatten();
            self.display = opened.map_or(DisplaySlot::None, DisplaySlot::Open);
        }
        if let DisplaySlot::Open(Display::Terminal { view, .. }) = &self.display {
            view.set_status(text);
        }
    }

    /// The latest picture of the other side.
    pub(super) fn latest_picture(&self) -> Option<Arc<VideoFrame>> {
        self.latest.as_ref()?.borrow().clone()
    }

    /// The selected pair, waited for a moment: the engine tells that it is connected before it names the pair.
    pub(super) async fn selected_pair(&self) -> Option<PathStats> {
        for _ in 0..10 {
            if let Some(path) = self.peer.path().await {
                return Some(path);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        None
    }

    pub(super) const fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(super) const fn sender(&self) -> Option<&MediaSender> {
        self.sender.as_ref()
    }

    pub(super) fn outgoing_counters(&self) -> OutgoingCounters {
        self.outgoing.as_ref().map(|outgoing| outgoing.counters.clone()).unwrap_or_default()
    }

    /// The latest figures of what arrives.
    pub(super) fn figures(&self) -> (VideoFigures, AudioFigures) {
        match &self.incoming {
            Some(incoming) => (incoming.video_figures.borrow().clone(), incoming.audio_figures.borrow().clone()),
            None => Default::default(),
        }
    }

    /// Ends everything, in the order in which data flows.
    pub(super) async fn close(mut self) -> Closed {
        let (outgoing, captures) = (self.outgoing.take(), self.captures.take());
        let (incoming, open) = (self.incoming.take(), self.open.take());
        let display = match std::mem::replace(&mut self.display, DisplaySlot::None) {
            DisplaySlot::None => None,
            DisplaySlot::Opening(opening) => opening.await.ok().flatten(),
            DisplaySlot::Open(display) => Some(display),
        };
        self.peer.close().await;
        let ending = tokio::task::spawn_blocking(move || {
            drop((outgoing, captures, open));
            let finished = incoming.map(Incoming::finish).unwrap_or_default();
            drop(display);
            finished
        });
        let (video, audio, recorded) = ending.await.unwrap_or_default();
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

/// Opens what the settings name, aside: windows and terminals may take long.
fn open_display(
    show: Show,
    title: &str,
    pictures: Pictures,
    events: mpsc::Sender<DisplayEvent>,
    windows: &WindowClient,
    printer: &Arc<Printer>,
) -> DisplaySlot {
    let (title, windows, printer) = (title.to_owned(), windows.clone(), Arc::clone(printer));
    let complaints = Arc::clone(&printer);
    let open = move || match show {
        Show::None => Ok(None),
        Show::Window => windows.open(&title, pictures, events).map(|window| Some(Display::Window { _window: window })),
        Show::Terminal => {
            // What is on the screen is taken off it before the view draws.
            printer.set_screen_taken(true);
            let opened = Terminal::open(pictures, events).inspect_err(|_| printer.set_screen_taken(false));
            opened.map(|view| {
                view.set_status(&title);
                let logs = logging::to_file().map_err(|error| warn!(%error, "logs stay on stderr")).ok();
                Some(Display::Terminal { view, _logs: logs, printer: Arc::clone(&printer) })
            })
        }
    };
    match show {
        Show::None => DisplaySlot::None,
        Show::Window | Show::Terminal => DisplaySlot::Opening(tokio::task::spawn_blocking(move || {
            // The call goes on unseen: whoever talks would rather hear than lose it.
            open().unwrap_or_else(|error| {
                complaints.tell(&Event::Warning { text: error.to_string() });
                None
            })
        })),
    }
}

/// Saves a picture as PNG; blocks.
pub(super) fn save_picture(path: &Path, frame: &VideoFrame) -> Result<(), String> {
    media::snapshot::write_png(path, frame).map_err(|error| error.to_string())
}

pub(super) fn description(local: LocalDescription) -> Description {
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

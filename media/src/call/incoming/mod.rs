//! What arrives: jitter buffers, decoders, and where pictures and sound go from there.

mod audio;
mod compare;
mod video;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};

use self::audio::AudioDecodeThread;
use self::video::{VideoDecodeThread, Views};
use super::recording::{Entry, Recording};
use super::{StreamEvent, Worker};
use crate::frame::VideoFrame;
use crate::peer::sdp::PayloadTypes;
use crate::peer::{KeyframeRequester, PeerClock};
use crate::playout::speaker::Speaker;
use crate::queue::{Receiver, Sender};
use crate::receive::lip_sync::SharedLipSync;
use crate::record::{Recorder, Summary};
use crate::rtp::{RtpPacket, TimestampUnwrapper};

pub use self::audio::AudioFigures;
pub use self::video::VideoFigures;

/// How often figures go out.
const FIGURES_EVERY: Duration = Duration::from_millis(200);

/// Where what arrives goes to.
#[derive(Debug)]
pub struct Sinks {
    /// Decoded pictures; a display takes the latest.
    pub display: Option<Sender<Arc<VideoFrame>>>,
    /// The latest decoded picture, for snapshots.
    pub latest: watch::Sender<Option<Arc<VideoFrame>>>,
    /// Decoded sound.
    pub speaker: Option<Speaker>,
    /// Coded pictures and sound.
    pub recorder: Option<Recorder>,
}

/// Media that arrives; [`Incoming::finish`] ends it.
#[derive(Debug)]
pub struct Incoming {
    video: Worker<()>,
    audio: Worker<()>,
    recording: Option<Recording>,
    controls: Arc<Controls>,
    /// The latest figures.
    pub video_figures: watch::Receiver<VideoFigures>,
    /// The latest figures.
    pub audio_figures: watch::Receiver<AudioFigures>,
}

/// What the session changes while it runs.
#[derive(Debug)]
pub(super) struct Controls {
    held: AtomicBool,
    types: Mutex<PayloadTypes>,
}

impl Controls {
    pub(super) fn new(types: PayloadTypes) -> Self {
        Self { held: AtomicBool::new(false), types: Mutex::new(types) }
    }

    pub(super) fn set_held(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn types(&self) -> MutexGuard<'_, PayloadTypes> {
        self.types.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Incoming {
    /// Starts decoding what the queues bring; `types` says which payload type is what. Latencies are as good
    /// as `clock` is known.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        packets: (Receiver<RtpPacket>, Receiver<RtpPacket>),
        types: PayloadTypes,
        keyframes: KeyframeRequester,
        clock: &PeerClock,
        sinks: Sinks,
        events: &mpsc::Sender<StreamEvent>,
    ) -> std::io::Result<Self> {
        let (video_packets, audio_packets) = packets;
        let controls = Arc::new(Controls::new(types));
        let (started, lips) = (Instant::now(), SharedLipSync::default());
        let recording = sinks.recorder.map(|recorder| Recording::start(recorder, events.clone())).transpose()?;
        let entries = recording.as_ref().map(Recording::entries);
        let (video_out, video_figures) = watch::channel(VideoFigures::default());
        let (audio_out, audio_figures) = watch::channel(AudioFigures::default());
        let common = |entries| Common {
            controls: Arc::clone(&controls),
            clock: clock.clone(),
            entries,
            events: events.clone(),
            started,
            lips: lips.clone(),
        };
        let receiving = VideoDecodeThread::new(
            video_packets,
            common(entries.clone()),
            keyframes,
            Views { display: sinks.display, latest: sinks.latest },
            video_out,
        );
        let video = Worker::spawn("video-decode", move |stop| receiving.run(&stop))?;
        let hearing = AudioDecodeThread::new(audio_packets, common(entries), sinks.speaker, audio_out);
        let audio = Worker::spawn("audio-decode", move |stop| hearing.run(&stop))?;
        Ok(Self { video, audio, recording, controls, video_figures, audio_figures })
    }

    /// Plays and shows nothing of what comes, or goes on with the next keyframe. Displays keep the last picture.
    pub fn set_held(&self, held: bool) {
        self.controls.set_held(held);
    }

    /// Takes what an update agreed on.
    pub fn set_types(&self, types: PayloadTypes) {
        *self.controls.types() = types;
    }

    /// Ends the threads, completes the recording; the last figures and what was recorded.
    #[must_use]
    pub fn finish(self) -> (VideoFigures, AudioFigures, Option<Summary>) {
        self.video.finish();
        self.audio.finish();
        let recorded = self.recording.and_then(Recording::finish);
        (self.video_figures.borrow().clone(), self.audio_figures.borrow().clone(), recorded)
    }
}

/// What both threads have a share in.
struct Common {
    controls: Arc<Controls>,
    clock: PeerClock,
    entries: Option<Sender<Entry>>,
    events: mpsc::Sender<StreamEvent>,
    started: Instant,
    lips: SharedLipSync,
}

/// Our clock, as Unix time.
fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Maps RTP time stamps of a stream to time since the start, common to all streams of a call.
struct RtpTimeLine {
    started: Instant,
    clock_hz: f64,
    stamps: TimestampUnwrapper,
    first: Option<(i64, Duration)>,
}

impl RtpTimeLine {
    fn new(started: Instant, clock_hz: u32) -> Self {
        Self { started, clock_hz: clock_hz.into(), stamps: TimestampUnwrapper::default(), first: None }
    }

    fn pts(&mut self, timestamp: u32, arrived: Instant) -> Duration {
        let stamp = self.stamps.unwrap(timestamp);
        let (first, offset) = *self.first.get_or_insert((stamp, arrived.saturating_duration_since(self.started)));
        let since = (stamp - first) as f64 / self.clock_hz;
        // A clock that jumped back, or years ahead, is not followed.
        if (0.0..1e8).contains(&since) { offset + Duration::from_secs_f64(since) } else { offset }
    }
}

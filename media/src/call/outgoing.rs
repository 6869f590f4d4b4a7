//! What leaves: encoders between the capture queues and the peer connection.
//!
//! - [`Outgoing`]: the running encoders, a thread each: [`video`], [`audio`]
//! - [`Switches`]: what the user switched off
//! - [`OutgoingCounters`]: what was sent, and how, for the statistics

mod audio;
mod video;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tracing::warn;

use audio::AudioEncodeThread;
use video::VideoEncodeThread;

use super::microphone::MicrophoneSound;
use super::{StreamEvent, Worker};
use crate::capture::VideoFormat;
use crate::frame::{AudioFrame, EncodedVideo, VideoFrame};
use crate::peer::MediaSender;
use crate::queue::{Receiver, Sender};
use crate::send::adaptation::Path;
use crate::send::picture_plan::{Content, PicturePlan, Reason};
use crate::send::redundancy::Copies;
use crate::send::sound_rate::SoundCoding;
use crate::voice::{Processing, VoiceFigures};

pub use super::microphone::Microphone;

/// What is captured; a medium that is not sent has none.
#[derive(Debug)]
pub struct Captured {
    /// Pictures, and the rate they were asked for.
    pub video: Option<(Receiver<Arc<VideoFrame>>, VideoFormat)>,
    /// What the pictures show.
    pub content: Content,
    /// Sound.
    pub audio: Option<Receiver<AudioFrame>>,
    /// That the sound is a microphone's; `None`: nothing is done to it.
    pub microphone: Option<Microphone>,
    /// Where pictures go as well, to be seen by the one who sends them.
    pub self_view: Option<Sender<Arc<VideoFrame>>>,
}

/// What the user switched off.
#[derive(Clone, Debug, Default)]
pub struct Switches {
    muted: Arc<AtomicBool>,
    camera_off: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
    raw: Arc<AtomicBool>,
}

impl Switches {
    /// Silences the microphone, or lets it through.
    pub fn set_muted(&self, muted: bool) {
        self.muted.store(muted, Ordering::Relaxed);
    }

    /// Blackens the camera, or lets it through.
    pub fn set_camera_off(&self, off: bool) {
        self.camera_off.store(off, Ordering::Relaxed);
    }

    /// Processes the sound of a microphone, or leaves it as it is.
    pub fn set_processing(&self, processing: Processing) {
        self.raw.store(processing == Processing::Raw, Ordering::Relaxed);
    }

    /// What is done to the sound of a microphone.
    #[must_use]
    pub fn processing(&self) -> Processing {
        if self.raw.load(Ordering::Relaxed) { Processing::Raw } else { Processing::Full }
    }

    /// Sends nothing at all, or goes on, with a keyframe first. What is captured meanwhile is dropped unseen.
    pub fn set_held(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// True while no picture of a camera leaves.
    pub(super) fn are_pictures_off(&self) -> bool {
        self.held.load(Ordering::Relaxed) || self.camera_off.load(Ordering::Relaxed)
    }

    /// True while no sound of a microphone leaves.
    pub(super) fn is_sound_off(&self) -> bool {
        self.held.load(Ordering::Relaxed) || self.muted.load(Ordering::Relaxed)
    }
}

/// How media are sent at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendingPlan {
    /// Size and rate of pictures, or that none are sent, and why; `None` where none are captured.
    pub pictures: Option<(PicturePlan, Reason)>,
    /// Bitrate and packets of sound; `None` where none is captured.
    pub sound: Option<SoundCoding>,
}

/// Pictures sent so far, and how, for the statistics.
#[derive(Clone, Debug, Default)]
pub struct OutgoingCounters {
    pictures: Arc<AtomicU64>,
    keyframes: Arc<AtomicU64>,
    left_out: Arc<AtomicU64>,
    plan: Arc<Mutex<SendingPlan>>,
    voice: Arc<Mutex<Option<VoiceFigures>>>,
}

impl OutgoingCounters {
    /// Pictures sent so far.
    #[must_use]
    pub fn pictures(&self) -> u64 {
        self.pictures.load(Ordering::Relaxed)
    }

    /// Keyframes among them.
    #[must_use]
    pub fn keyframes(&self) -> u64 {
        self.keyframes.load(Ordering::Relaxed)
    }

    /// Pictures of a loop that the path, or this machine, was too slow for. Encoders leave such pictures out unseen.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// How media are sent at present.
    #[must_use]
    pub fn plan(&self) -> SendingPlan {
        *self.plan_lock()
    }

    /// What is known of the sound of the microphone; `None` without one.
    #[must_use]
    pub fn voice(&self) -> Option<VoiceFigures> {
        *self.voice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_voice(&self, figures: Option<VoiceFigures>) {
        *self.voice.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }

    /// Takes note of a change of the plan.
    fn change_plan(&self, change: impl FnOnce(&mut SendingPlan)) -> SendingPlan {
        let mut plan = self.plan_lock();
        change(&mut plan);
        *plan
    }

    fn plan_lock(&self) -> MutexGuard<'_, SendingPlan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, picture: &EncodedVideo) {
        self.pictures.fetch_add(1, Ordering::Relaxed);
        self.keyframes.fetch_add(u64::from(picture.keyframe), Ordering::Relaxed);
    }

    pub(super) fn leave_out(&self, pictures: u64) {
        self.left_out.fetch_add(pictures, Ordering::Relaxed);
    }
}

/// The running encoders; dropping ends them.
#[derive(Debug)]
pub struct Outgoing {
    video: Option<Worker<()>>,
    audio: Option<Worker<()>>,
    /// What was encoded so far.
    pub counters: OutgoingCounters,
}

impl Outgoing {
    /// Nothing is sent yet; what will be is counted on from `counters`.
    #[must_use]
    pub const fn idle(counters: OutgoingCounters) -> Self {
        Self { video: None, audio: None, counters }
    }

    /// Starts what is captured, was negotiated and does not run yet, with the sender that the descriptions gave. What
    /// runs is left alone, and what was not negotiated stays in `captured`: an update may agree to it.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn add(
        &mut self,
        captured: &mut Captured,
        sender: &MediaSender,
        switches: &Switches,
        events: &mpsc::Sender<StreamEvent>,
    ) -> std::io::Result<()> {
        if sender.video_codec().is_some()
            && self.video.is_none()
            && let Some((frames, format)) = captured.video.take()
        {
            let sending = VideoEncodeThread {
                frames,
                format,
                content: captured.content,
                self_view: captured.self_view.clone(),
                sender: sender.clone(),
                switches: switches.clone(),
                counters: self.counters.clone(),
                events: events.clone(),
            };
            self.video = Some(Worker::spawn("video-encode", move |stop| sending.run(&stop))?);
        }
        if sender.has_audio()
            && self.audio.is_none()
            && let Some(frames) = captured.audio.take()
        {
            let microphone = captured.microphone.take();
            let sending = AudioEncodeThread {
                frames,
                microphone: microphone.map(MicrophoneSound::new),
                sender: sender.clone(),
                switches: switches.clone(),
                counters: self.counters.clone(),
                events: events.clone(),
            };
            self.audio = Some(Worker::spawn("audio-encode", move |stop| sending.run(&stop))?);
        }
        Ok(())
    }

    /// Ends the encoding of pictures; waits for the one in hand.
    pub fn stop_video(&mut self) {
        self.video = None;
    }

    /// Ends the encoding of sound; waits for the packet in hand.
    pub fn stop_audio(&mut self) {
        self.audio = None;
    }
}

/// The path as it is now, where sound is sent with these copies.
pub(super) fn path(sender: &MediaSender, copies: Copies) -> Path {
    let estimate = sender.path_estimate();
    Path {
        target_bps: estimate.target_bps,
        lasting_bps: estimate.lasting_bps,
        pacer_queue: estimate.pacer_queue,
        answer: estimate.round_trip.unwrap_or_default() + estimate.queueing_delay,
        sound: sender.has_audio().then_some(copies),
    }
}

/// Tells the session, which may be busy: these events are rare, so a full queue means that it is gone.
pub(super) fn send_event(events: &mpsc::Sender<StreamEvent>, event: StreamEvent) {
    if let Err(mpsc::error::TrySendError::Full(event)) = events.try_send(event) {
        warn!(?event, "session too slow: event dropped");
    }
}

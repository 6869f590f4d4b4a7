//! What leaves: encoders between the capture queues and the peer connection.
//!
//! The thread of pictures carries out what [`VideoAdaptation`] decides.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::warn;

use super::microphone::MicrophoneSound;
use super::{POLL, StreamEvent, Worker};
use crate::capture::VideoFormat;
use crate::codec::opus::OpusEncoder;
use crate::codec::{CodecError, EncoderConfig, VideoEncoder, Want, video_encoder};
use crate::frame::{AUDIO_FRAME_SAMPLES, AUDIO_RATE_HZ, AudioFrame, EncodedVideo, VideoCodec, VideoFrame};
use crate::peer::MediaSender;
use crate::queue::{Receiver, RecvError, Sender};
use crate::scale::Scaler;
use crate::send::adaptation::{Action, Coding, Event, Path, VideoAdaptation};
use crate::send::picture_plan::{Content, PicturePlan, Reason};
use crate::send::redundancy::{Copies, Redundancy};
use crate::send::sound_rate::{SoundCoding, SoundRate};
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

struct VideoEncodeThread {
    frames: Receiver<Arc<VideoFrame>>,
    format: VideoFormat,
    content: Content,
    self_view: Option<Sender<Arc<VideoFrame>>>,
    sender: MediaSender,
    switches: Switches,
    counters: OutgoingCounters,
    events: mpsc::Sender<StreamEvent>,
}

impl VideoEncodeThread {
    fn run(self, stop: &AtomicBool) {
        let Some(codec) = self.sender.video_codec() else { return };
        let mut encoding = Encoding::new(codec, self.format.fps);
        let mut adaptation = VideoAdaptation::of_encoder(self.content, self.format.fps, Instant::now());
        // What was captured before the call stood is old.
        let mut next = self.frames.latest();
        while !stop.load(Ordering::Relaxed) {
            let frame = match next.take().map_or_else(|| self.frames.recv_timeout(POLL), Ok) {
                Ok(frame) => frame,
                Err(RecvError::Timeout) => continue,
                Err(RecvError::Closed) => return send_event(&self.events, StreamEvent::SourceEnded("video")),
            };
            let Some(frame) = self.seen(frame) else {
                adaptation.handle(Event::Paused, Instant::now());
                continue;
            };
            if let Some(cause) = self.sender.take_keyframe_demand() {
                adaptation.handle(Event::KeyframeWanted(cause), Instant::now());
            }
            for action in
                adaptation.handle(Event::PictureReady(frame.size(), path(&self.sender, self.copies())), Instant::now())
            {
                let happened = match action {
                    Action::Encode(coding) => match encoding.set(coding) {
                        Ok(()) => None,
                        Err(error) => return send_event(&self.events, StreamEvent::CodecFailed(error.to_string())),
                    },
                    Action::SendNext => self.send(&mut encoding, &frame, Want::Any),
                    Action::SendKeyframe => self.send(&mut encoding, &frame, Want::Keyframe),
                    // Unseen: nothing was encoded.
                    Action::LeaveOut(_) => None,
                };
                if let Some(happened) = happened {
                    adaptation.handle(happened, Instant::now());
                }
            }
            self.publish(adaptation.plan());
        }
    }

    /// The copies that sound is sent with at present.
    fn copies(&self) -> Copies {
        self.counters.plan().sound.map_or(Copies::None, |sound| sound.copies)
    }

    /// Tells of a plan that has changed. That all is sent as it is captured is told of only when it was not.
    fn publish(&self, plan: Option<(PicturePlan, Reason)>) {
        let before = self.counters.plan().pictures;
        if before == plan {
            return;
        }
        let plan = self.counters.change_plan(|sending| sending.pictures = plan);
        if before.is_some() || !matches!(plan.pictures, Some((_, Reason::Whole))) {
            send_event(&self.events, StreamEvent::PlanChanged(plan));
        }
    }

    /// Encodes and sends a picture; what happened, when anything did.
    fn send(&self, encoding: &mut Encoding, frame: &VideoFrame, want: Want) -> Option<Event> {
        let begun = Instant::now();
        match encoding.encode(frame, want) {
            Ok(picture) => {
                let picture = picture?;
                self.counters.count(&picture);
                let took = begun.elapsed();
                let sent = Event::PictureSent { bytes: picture.data.len(), is_keyframe: picture.keyframe, took };
                self.sender.video(picture);
                Some(sent)
            }
            Err(error) => {
                warn!(%error, "picture left out");
                Some(Event::EncoderFailed)
            }
        }
    }

    /// The picture as it leaves, shown to the one who sends it; `None` while none is to leave.
    fn seen(&self, frame: Arc<VideoFrame>) -> Option<Arc<VideoFrame>> {
        if self.switches.held.load(Ordering::Relaxed) {
            return None;
        }
        let frame = if self.switches.camera_off.load(Ordering::Relaxed) {
            Arc::new(VideoFrame::black(frame.size(), frame.at))
        } else {
            frame
        };
        if let Some(self_view) = &self.self_view {
            self_view.send(Arc::clone(&frame));
        }
        (!self.sender.is_path_closed()).then_some(frame)
    }
}

/// The encoder of one stream, while there is one.
struct Encoding {
    codec: VideoCodec,
    fps: u32,
    encoder: Option<(Box<dyn VideoEncoder>, Coding)>,
    scaler: Scaler,
}

impl Encoding {
    fn new(codec: VideoCodec, fps: u32) -> Self {
        Self { codec, fps, encoder: None, scaler: Scaler::smooth() }
    }

    /// Opens an encoder where there is none. One that keeps its old bitrate is told of in the log.
    fn set(&mut self, coding: Coding) -> Result<(), CodecError> {
        match &mut self.encoder {
            Some((encoder, told)) => {
                if let Err(error) = encoder.set_bitrate(coding.bitrate_bps) {
                    warn!(%error, "encoder keeps its old bitrate");
                }
                *told = coding;
            }
            None => {
                let config = EncoderConfig { size: coding.size, fps: self.fps, bitrate_bps: coding.bitrate_bps };
                self.encoder = Some((video_encoder(self.codec, config)?, coding));
            }
        }
        Ok(())
    }

    /// An encoder that refuses a picture is given up.
    fn encode(&mut self, frame: &VideoFrame, want: Want) -> Result<Option<EncodedVideo>, CodecError> {
        let Some((encoder, coding)) = &mut self.encoder else { return Ok(None) };
        let encoded = if frame.size() == coding.size {
            encoder.encode(frame, want)
        } else {
            encoder.encode(&self.scaler.picture(frame, coding.size), want)
        };
        if encoded.is_err() {
            self.encoder = None;
        }
        encoded
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

/// Length of one captured frame: 20 ms.
const FRAME: Duration = Duration::from_millis(AUDIO_FRAME_SAMPLES as u64 * 1000 / AUDIO_RATE_HZ as u64);

struct AudioEncodeThread {
    frames: Receiver<AudioFrame>,
    microphone: Option<MicrophoneSound>,
    sender: MediaSender,
    switches: Switches,
    counters: OutgoingCounters,
    events: mpsc::Sender<StreamEvent>,
}

impl AudioEncodeThread {
    fn run(self, stop: &AtomicBool) {
        let counters = self.counters.clone();
        self.encode(stop);
        counters.set_voice(None);
    }

    fn encode(mut self, stop: &AtomicBool) {
        let mut rate = SoundRate::default();
        let mut coding = SoundCoding::BEST;
        let mut encoder = match OpusEncoder::new(coding.bps) {
            Ok(encoder) => encoder,
            Err(error) => return send_event(&self.events, StreamEvent::CodecFailed(error.to_string())),
        };
        if self.sender.leaves_silence_out()
            && let Err(error) = encoder.leave_silence_out()
        {
            warn!(%error, "silence is sent");
        }
        self.counters.change_plan(|plan| plan.sound = Some(coding));
        let (mut redundancy, mut expected_loss) = (Redundancy::default(), 0);
        let mut gathered = Gathered::default();
        // What was captured before the call stood is old.
        let mut next = self.frames.latest();
        while !stop.load(Ordering::Relaxed) {
            let mut frame = match next.take().map_or_else(|| self.frames.recv_timeout(POLL), Ok) {
                Ok(frame) => frame,
                Err(RecvError::Timeout) => continue,
                Err(RecvError::Closed) => return send_event(&self.events, StreamEvent::SourceEnded("audio")),
            };
            // Also while nothing leaves: what the canceller knows stays true.
            let held = self.switches.held.load(Ordering::Relaxed);
            self.process(&mut frame, held);
            if held || self.sender.is_path_closed() {
                gathered.clear();
                continue;
            }
            if self.switches.muted.load(Ordering::Relaxed) {
                frame.samples.fill(0);
            }
            redundancy.follow(self.sender.remote_reports().1.map_or(0.0, |report| report.fraction_lost), FRAME);
            let wanted = if self.sender.has_redundancy() { redundancy.wanted() } else { Copies::None };
            if let Some(changed) = rate.follow(self.sender.path_estimate().target_bps, wanted) {
                coding = changed;
                self.set_coding(&mut encoder, coding);
            }
            let loss = if coding.copies.has_inband_fec() { redundancy.loss_percent() } else { 0 };
            if loss != expected_loss && encoder.set_expected_loss(loss).is_ok() {
                expected_loss = loss;
            }
            let Some(packet) = gathered.add(frame, coding.frames) else { continue };
            match encoder.encode(&packet) {
                Ok(sound) => self.sender.audio(sound, coding.copies),
                Err(error) => warn!(%error, "sound left out"),
            }
        }
    }

    /// What is done to the sound of a microphone.
    fn process(&mut self, frame: &mut AudioFrame, held: bool) {
        let Some(microphone) = &mut self.microphone else { return };
        if let Some(figures) = microphone.process(&mut frame.samples, self.switches.processing()) {
            self.counters.set_voice(Some(figures));
        }
        let muted = self.switches.muted.load(Ordering::Relaxed);
        // Nobody who holds expects to be heard.
        if !held && microphone.is_spoken_into_while_muted(&frame.samples, muted) {
            send_event(&self.events, StreamEvent::SpokeWhileMuted);
        }
    }

    /// Copies that come and go with the loss are told by statistics alone.
    fn set_coding(&self, encoder: &mut OpusEncoder, coding: SoundCoding) {
        if let Err(error) = encoder.set_bitrate(coding.bps) {
            return warn!(%error, "encoder keeps its old bitrate");
        }
        let told = |sound: SoundCoding| (sound.bps, sound.frames);
        let before = self.counters.plan().sound.map(told);
        let plan = self.counters.change_plan(|plan| plan.sound = Some(coding));
        if before != Some(told(coding)) {
            send_event(&self.events, StreamEvent::PlanChanged(plan));
        }
    }
}

/// Frames of sound that share a packet.
#[derive(Default)]
struct Gathered {
    frames: u32,
    samples: Vec<i16>,
}

impl Gathered {
    /// Adds a frame; all of them together when there are enough.
    fn add(&mut self, frame: AudioFrame, enough: u32) -> Option<AudioFrame> {
        self.frames += 1;
        self.samples.extend_from_slice(&frame.samples);
        if self.frames < enough {
            return None;
        }
        self.frames = 0;
        Some(AudioFrame { samples: std::mem::take(&mut self.samples), at: frame.at })
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Tells the session, which may be busy: these events are rare, so a full queue means that it is gone.
pub(super) fn send_event(events: &mpsc::Sender<StreamEvent>, event: StreamEvent) {
    if let Err(mpsc::error::TrySendError::Full(event)) = events.try_send(event) {
        warn!(?event, "session too slow: event dropped");
    }
}

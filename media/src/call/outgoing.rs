//! What leaves: encoders between the capture queues and the peer connection.
//!
//! The thread of pictures carries out what [`VideoAdaptation`] decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::warn;

use super::{POLL, StreamEvent, Worker};
use crate::capture::VideoFormat;
use crate::codec::opus::OpusEncoder;
use crate::codec::{CodecError, EncoderConfig, VideoEncoder, Want, video_encoder};
use crate::frame::{AudioFrame, EncodedVideo, Size, VideoCodec, VideoFrame};
use crate::peer::MediaSender;
use crate::queue::{Receiver, RecvError, Sender};
use crate::send::adaptation::{Action, Event, VideoAdaptation};

/// Opus at 32 kbit/s is full-band speech without audible loss (RFC 7587 §3.1.1 suggests 28 to 40).
pub(super) const AUDIO_BPS: u32 = 32_000;

/// What is captured; a medium that is not sent has none.
#[derive(Debug)]
pub struct Captured {
    /// Pictures, and the rate they were asked for.
    pub video: Option<(Receiver<Arc<VideoFrame>>, VideoFormat)>,
    /// Sound.
    pub audio: Option<Receiver<AudioFrame>>,
    /// Where pictures go as well, to be seen by the one who sends them.
    pub self_view: Option<Sender<Arc<VideoFrame>>>,
}

/// What the user switched off.
#[derive(Clone, Debug, Default)]
pub struct Switches {
    muted: Arc<AtomicBool>,
    camera_off: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
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

/// Pictures sent so far, for the statistics.
#[derive(Clone, Debug, Default)]
pub struct OutgoingCounters {
    pictures: Arc<AtomicU64>,
    keyframes: Arc<AtomicU64>,
    left_out: Arc<AtomicU64>,
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
            let (sender, switches, events) = (sender.clone(), switches.clone(), events.clone());
            let body = move |stop: Arc<AtomicBool>| send_audio(&frames, &sender, &switches, &events, &stop);
            self.audio = Some(Worker::spawn("audio-encode", body)?);
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
    self_view: Option<Sender<Arc<VideoFrame>>>,
    sender: MediaSender,
    switches: Switches,
    counters: OutgoingCounters,
    events: mpsc::Sender<StreamEvent>,
}

impl VideoEncodeThread {
    fn run(self, stop: &AtomicBool) {
        let Some(codec) = self.sender.video_codec() else { return };
        let mut encoding = Encoding { codec, fps: self.format.fps, encoder: None };
        let mut adaptation = VideoAdaptation::of_encoder(Instant::now());
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
            if self.sender.take_keyframe_request() {
                adaptation.handle(Event::KeyframeRequested, Instant::now());
            }
            for action in adaptation.handle(picture_ready(&self.sender), Instant::now()) {
                let happened = match action {
                    Action::SetBitrate(bitrate_bps) => match encoding.set_bitrate(bitrate_bps, frame.size()) {
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
        }
    }

    /// Encodes and sends a picture; what happened, when anything did.
    fn send(&self, encoding: &mut Encoding, frame: &VideoFrame, want: Want) -> Option<Event> {
        match encoding.encode(frame, want) {
            Ok(picture) => {
                let picture = picture?;
                self.counters.count(&picture);
                let sent = Event::PictureSent { bytes: picture.data.len(), is_keyframe: picture.keyframe };
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
    encoder: Option<Box<dyn VideoEncoder>>,
}

impl Encoding {
    /// Opens an encoder for pictures of this size where there is none. One that keeps its old bitrate is told of in the
    /// log.
    fn set_bitrate(&mut self, bitrate_bps: u32, size: Size) -> Result<(), CodecError> {
        match &mut self.encoder {
            Some(encoder) => {
                if let Err(error) = encoder.set_bitrate(bitrate_bps) {
                    warn!(%error, "encoder keeps its old bitrate");
                }
            }
            None => {
                let config = EncoderConfig { size, fps: self.fps, bitrate_bps };
                self.encoder = Some(video_encoder(self.codec, config)?);
            }
        }
        Ok(())
    }

    /// An encoder that refuses a picture is given up.
    fn encode(&mut self, frame: &VideoFrame, want: Want) -> Result<Option<EncodedVideo>, CodecError> {
        let Some(encoder) = &mut self.encoder else { return Ok(None) };
        let encoded = encoder.encode(frame, want);
        if encoded.is_err() {
            self.encoder = None;
        }
        encoded
    }
}

/// A picture may be sent now, over the path as it is.
pub(super) fn picture_ready(sender: &MediaSender) -> Event {
    Event::PictureReady { target_bps: sender.target_bps(), has_audio: sender.has_audio() }
}

fn send_audio(
    frames: &Receiver<AudioFrame>,
    sender: &MediaSender,
    switches: &Switches,
    events: &mpsc::Sender<StreamEvent>,
    stop: &AtomicBool,
) {
    let mut encoder = match OpusEncoder::new(AUDIO_BPS) {
        Ok(encoder) => encoder,
        Err(error) => return send_event(events, StreamEvent::CodecFailed(error.to_string())),
    };
    let mut expected_loss = 0;
    // What was captured before the call stood is old.
    let mut next = frames.latest();
    while !stop.load(Ordering::Relaxed) {
        let mut frame = match next.take().map_or_else(|| frames.recv_timeout(POLL), Ok) {
            Ok(frame) => frame,
            Err(RecvError::Timeout) => continue,
            Err(RecvError::Closed) => {
                send_event(events, StreamEvent::SourceEnded("audio"));
                return;
            }
        };
        if switches.held.load(Ordering::Relaxed) || sender.is_path_closed() {
            continue;
        }
        if switches.muted.load(Ordering::Relaxed) {
            frame.samples.fill(0);
        }
        let loss = sender.remote_reports().1.map_or(0, |report| (report.fraction_lost * 100.0).ceil() as u8);
        if loss != expected_loss && encoder.set_expected_loss(loss.min(100)).is_ok() {
            expected_loss = loss;
        }
        match encoder.encode(&frame) {
            Ok(sound) => sender.audio(sound),
            Err(error) => warn!(%error, "sound left out"),
        }
    }
}

/// Tells the session, which may be busy: these events are rare, so a full queue means that it is gone.
pub(super) fn send_event(events: &mpsc::Sender<StreamEvent>, event: StreamEvent) {
    if let Err(mpsc::error::TrySendError::Full(event)) = events.try_send(event) {
        warn!(?event, "session too slow: event dropped");
    }
}

//! What leaves: encoders between the capture queues and the peer connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::warn;

use super::{POLL, StreamEvent, Worker};
use crate::capture::VideoFormat;
use crate::codec::opus::OpusEncoder;
use crate::codec::{EncoderConfig, VideoEncoder, Want, video_encoder};
use crate::frame::{AudioFrame, EncodedVideo, VideoFrame};
use crate::peer::MediaSender;
use crate::queue::{Receiver, RecvError, Sender};

/// Opus at 32 kbit/s is full-band speech without audible loss (RFC 7587 §3.1.1 suggests 28 to 40).
pub(super) const AUDIO_BPS: u32 = 32_000;

/// What audio takes of the path: the above and, 50 times a second, about 30 bytes of RTP, extension and SRTP.
const AUDIO_WIRE_BPS: u32 = 45_000;

/// Headers of one video packet, bytes, and the payload it carries at most.
const VIDEO_HEADER_BYTES: usize = 30;
const VIDEO_PAYLOAD_BYTES: usize = 1160;

/// Left of the estimate for headers and retransmissions.
const VIDEO_SHARE: f64 = 0.85;

/// Keyframes are at least this far apart: each costs as much as ten other pictures.
const KEYFRAME_APART: Duration = Duration::from_millis(100);

/// The same at the very beginning, where the other side still sees nothing.
const FIRST_KEYFRAMES_APART: Duration = Duration::from_millis(25);

/// How long the beginning lasts.
const BEGINNING: Duration = Duration::from_secs(1);

/// The encoder is told of a new target only when it moved by so much, as each change unsettles its rate control.
const TARGET_STEP: f64 = 0.05;

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
            let sending = VideoSending {
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

/// Below this no picture can be told from another.
const VIDEO_BPS_MIN: u32 = 40_000;

/// How far what was sent may run ahead of the target before pictures are left out. Beyond it they would only wait in
/// the pacer, and everyone would see a picture of long ago.
const BACKLOG_MAX: Duration = Duration::from_millis(300);

/// A leaky bucket: what was sent and has, at the target, not left yet.
pub(super) struct Backlog {
    bits: f64,
    at: Instant,
}

impl Backlog {
    pub(super) const fn new(now: Instant) -> Self {
        Self { bits: 0.0, at: now }
    }

    /// True when the next picture would wait too long.
    pub(super) fn is_full(&mut self, now: Instant, target_bps: u32) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.bits = (self.bits - passed * f64::from(target_bps)).max(0.0);
        self.bits > f64::from(target_bps) * BACKLOG_MAX.as_secs_f64()
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bits += bytes as f64 * 8.0;
    }
}

struct VideoSending {
    frames: Receiver<Arc<VideoFrame>>,
    format: VideoFormat,
    self_view: Option<Sender<Arc<VideoFrame>>>,
    sender: MediaSender,
    switches: Switches,
    counters: OutgoingCounters,
    events: mpsc::Sender<StreamEvent>,
}

impl VideoSending {
    fn run(self, stop: &AtomicBool) {
        let Some(codec) = self.sender.video_codec() else { return };
        let mut encoder: Option<Box<dyn VideoEncoder>> = None;
        let mut target_bps = 0;
        let mut last_keyframe: Option<Instant> = None;
        let mut keyframe_pending = true;
        let started = Instant::now();
        let mut backlog = Backlog::new(started);
        // What was captured before the call stood is old.
        let mut next = self.frames.latest();
        while !stop.load(Ordering::Relaxed) {
            let frame = match next.take().map_or_else(|| self.frames.recv_timeout(POLL), Ok) {
                Ok(frame) => frame,
                Err(RecvError::Timeout) => continue,
                Err(RecvError::Closed) => {
                    tell(&self.events, StreamEvent::SourceEnded("video"));
                    return;
                }
            };
            let Some(frame) = self.seen(frame) else {
                (keyframe_pending, last_keyframe) = (true, None);
                continue;
            };
            let wanted_bps = self.video_bps();
            let opened = match &mut encoder {
                Some(opened) => opened,
                None => {
                    target_bps = wanted_bps;
                    let config = EncoderConfig { size: frame.size(), fps: self.format.fps, bitrate_bps: target_bps };
                    match video_encoder(codec, config) {
                        Ok(opened) => encoder.insert(opened),
                        Err(error) => return tell(&self.events, StreamEvent::CodecFailed(error.to_string())),
                    }
                }
            };
            if (f64::from(wanted_bps) / f64::from(target_bps) - 1.0).abs() > TARGET_STEP {
                target_bps = wanted_bps;
                if let Err(error) = opened.set_bitrate(target_bps) {
                    warn!(%error, "encoder keeps its old bitrate");
                }
            }
            keyframe_pending |= self.sender.take_keyframe_request();
            if backlog.is_full(Instant::now(), path_bps(&self.sender)) {
                continue;
            }
            let apart = if started.elapsed() < BEGINNING { FIRST_KEYFRAMES_APART } else { KEYFRAME_APART };
            let may = last_keyframe.is_none_or(|at| at.elapsed() >= apart);
            let want = if keyframe_pending && may { Want::Keyframe } else { Want::Any };
            match opened.encode(&frame, want) {
                Ok(Some(picture)) => {
                    self.counters.count(&picture);
                    if picture.keyframe {
                        last_keyframe = Some(Instant::now());
                        keyframe_pending = false;
                    }
                    backlog.add(wire_bytes(picture.data.len()));
                    self.sender.video(picture);
                }
                Ok(None) => {}
                Err(error) => {
                    warn!(%error, "picture left out");
                    encoder = None;
                    keyframe_pending = true;
                }
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

    fn video_bps(&self) -> u32 {
        ((f64::from(path_bps(&self.sender)) * VIDEO_SHARE) as u32).max(VIDEO_BPS_MIN)
    }
}

/// What the path carries beside audio, in bits a second.
pub(super) fn path_bps(sender: &MediaSender) -> u32 {
    let audio = if sender.has_audio() { AUDIO_WIRE_BPS } else { 0 };
    sender.target_bps().saturating_sub(audio).max(VIDEO_BPS_MIN)
}

/// What a picture of so many bytes takes on the wire.
pub(super) const fn wire_bytes(picture: usize) -> usize {
    picture + (picture / VIDEO_PAYLOAD_BYTES + 1) * VIDEO_HEADER_BYTES
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
        Err(error) => return tell(events, StreamEvent::CodecFailed(error.to_string())),
    };
    let mut expected_loss = 0;
    // What was captured before the call stood is old.
    let mut next = frames.latest();
    while !stop.load(Ordering::Relaxed) {
        let mut frame = match next.take().map_or_else(|| frames.recv_timeout(POLL), Ok) {
            Ok(frame) => frame,
            Err(RecvError::Timeout) => continue,
            Err(RecvError::Closed) => {
                tell(events, StreamEvent::SourceEnded("audio"));
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
pub(super) fn tell(events: &mpsc::Sender<StreamEvent>, event: StreamEvent) {
    if let Err(mpsc::error::TrySendError::Full(event)) = events.try_send(event) {
        warn!(?event, "session too slow: event dropped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backlog_fills_above_the_target_and_drains_with_time() {
        let start = Instant::now();
        let mut backlog = Backlog::new(start);
        assert!(!backlog.is_full(start, 100_000));
        // 40,000 bits at 100 kbit/s take 400 ms to leave.
        backlog.add(5_000);
        assert!(backlog.is_full(start, 100_000));
        assert!(backlog.is_full(start + Duration::from_millis(90), 100_000));
        assert!(!backlog.is_full(start + Duration::from_millis(110), 100_000));
        assert!(!backlog.is_full(start + Duration::from_secs(60), 100_000));
    }

    #[test]
    fn a_steady_stream_at_the_target_never_fills_it() {
        let start = Instant::now();
        let mut backlog = Backlog::new(start);
        for n in 0..300 {
            assert!(!backlog.is_full(start + Duration::from_millis(33) * n, 1_000_000));
            backlog.add(4_100);
        }
    }
}

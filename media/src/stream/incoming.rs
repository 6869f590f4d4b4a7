//! What arrives: jitter buffers, decoders, and where pictures and sound go from there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::outgoing::tell;
use super::recording::{Entry, Recording};
use super::{POLL, StreamEvent, Worker};
use crate::capture::{pattern, tone};
use crate::codec::opus::OpusDecoder;
use crate::codec::{VideoDecoder, video_decoder};
use crate::frame::{AUDIO_FRAME_SAMPLES, AUDIO_RATE_HZ, VideoCodec, VideoFrame};
use crate::jitter::audio::{AudioJitter, Tick};
use crate::jitter::missing::{Missing, NetworkLoss};
use crate::jitter::video::{Output, VideoJitter};
use crate::jitter::{audio, video};
use crate::peer::KeyframeRequester;
use crate::playout::speaker::Speaker;
use crate::queue::{Receiver, RecvError, Sender};
use crate::record::{PictureKind, Recorder, Summary};
use crate::rtp::{RtpPacket, TimestampUnwrapper, VIDEO_CLOCK_HZ};
use crate::stats::{Freezes, Jitter, Latencies, PatternCount};

/// Length of one tick of the playout clock.
const TICK: Duration = Duration::from_millis(20);

/// Sound that waits in the speaker's ring: less stutters on a busy machine, more is delay.
const SPEAKER_QUEUED: Duration = Duration::from_millis(40);

/// Requests for a keyframe are at least this far apart: one round trip and the making of a keyframe.
pub(super) const REQUESTS_APART: Duration = Duration::from_millis(150);

/// How often figures go out.
const FIGURES_EVERY: Duration = Duration::from_millis(200);

/// Samples looked at for a tone: 100 ms.
const TONE_SAMPLES: usize = 4800;

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

/// Figures of the video that arrives.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VideoFigures {
    /// Codec; `None` before the first picture.
    pub codec: Option<String>,
    /// Width of the latest picture.
    pub width: u32,
    /// Height of the latest picture.
    pub height: u32,
    /// Pictures decoded.
    pub frames: u64,
    /// Payload bytes.
    #[serde(skip)]
    pub bytes: u64,
    /// Packets that came.
    pub packets: u64,
    /// Packets given up.
    pub lost: u64,
    /// What the network lost, before any repair.
    #[serde(flatten)]
    pub network: NetworkLoss,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: f64,
    /// Freezes by the W3C rule.
    pub freezes: u32,
    /// Their length, milliseconds.
    pub frozen_ms: f64,
    /// Keyframes asked for.
    pub keyframe_requests: u64,
    /// Packets dropped here because decoding is too slow.
    pub dropped: u64,
    /// End-to-end latency of the test pattern, milliseconds: median; `None` without the pattern.
    pub latency_p50_ms: Option<f64>,
    /// 95th percentile of the same.
    pub latency_p95_ms: Option<f64>,
    /// How the counted pictures of the test pattern came through.
    pub pattern: PatternCount,
}

/// Figures of the sound that arrives.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AudioFigures {
    /// Packets decoded.
    pub frames: u64,
    /// Payload bytes.
    #[serde(skip)]
    pub bytes: u64,
    /// Packets that came.
    pub packets: u64,
    /// Packets that did not come in time.
    pub lost: u64,
    /// What the network lost.
    #[serde(flatten)]
    pub network: NetworkLoss,
    /// Ticks concealed for lack of a packet.
    pub concealed: u64,
    /// Packets left out to shorten the delay.
    pub skipped: u64,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: f64,
    /// What the jitter buffer holds back, milliseconds.
    pub buffer_ms: f64,
    /// Dominant tone of the last 100 ms, hertz; `None` when there is none.
    pub tone_hz: Option<f64>,
    /// Steps of the test sweep heard so far, hertz, in order.
    pub tones_heard: Vec<u32>,
    /// Times the speaker ran dry.
    pub underruns: u64,
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
    video_types: Mutex<BTreeMap<u8, VideoCodec>>,
}

impl Controls {
    pub(super) fn new(video_types: BTreeMap<u8, VideoCodec>) -> Self {
        Self { held: AtomicBool::new(false), video_types: Mutex::new(video_types) }
    }

    pub(super) fn set_held(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    pub(super) fn are_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn video_types(&self) -> MutexGuard<'_, BTreeMap<u8, VideoCodec>> {
        self.video_types.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Incoming {
    /// Starts decoding what the queues bring; `video_types` says which payload type is which codec.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        packets: (Receiver<RtpPacket>, Receiver<RtpPacket>),
        video_types: BTreeMap<u8, VideoCodec>,
        keyframes: KeyframeRequester,
        sinks: Sinks,
        events: &mpsc::Sender<StreamEvent>,
    ) -> std::io::Result<Self> {
        let (video_packets, audio_packets) = packets;
        let controls = Arc::new(Controls::new(video_types));
        let started = Instant::now();
        let recording = sinks.recorder.map(|recorder| Recording::start(recorder, events.clone())).transpose()?;
        let entries = recording.as_ref().map(Recording::entries);
        let (video_out, video_figures) = watch::channel(VideoFigures::default());
        let (audio_out, audio_figures) = watch::channel(AudioFigures::default());
        let receiving = VideoReceiving {
            packets: video_packets,
            controls: Arc::clone(&controls),
            held: false,
            keyframes,
            display: sinks.display,
            latest: sinks.latest,
            entries: entries.clone(),
            events: events.clone(),
            jitter: VideoJitter::default(),
            decoder: None,
            line: TimeLine::new(started, VIDEO_CLOCK_HZ),
            asked: None,
            missing: Missing::default(),
            network_jitter: Jitter::new(VIDEO_CLOCK_HZ),
            freezes: Freezes::default(),
            latencies: Latencies::default(),
            figures: VideoFigures::default(),
            out: video_out,
        };
        let video = Worker::spawn("video-decode", move |stop| receiving.run(&stop))?;
        let hearing = AudioReceiving {
            packets: audio_packets,
            controls: Arc::clone(&controls),
            speaker: sinks.speaker,
            entries,
            events: events.clone(),
            jitter: AudioJitter::default(),
            line: TimeLine::new(started, AUDIO_RATE_HZ),
            missing: Missing::default(),
            network_jitter: Jitter::new(AUDIO_RATE_HZ),
            recent: Vec::with_capacity(TONE_SAMPLES),
            figures: AudioFigures::default(),
            out: audio_out,
        };
        let audio = Worker::spawn("audio-decode", move |stop| hearing.run(&stop))?;
        Ok(Self { video, audio, recording, controls, video_figures, audio_figures })
    }

    /// Plays and shows nothing of what comes, or goes on with the next keyframe. Displays keep the last picture.
    pub fn set_held(&self, held: bool) {
        self.controls.set_held(held);
    }

    /// Takes what an update agreed on.
    pub fn set_video_types(&self, video_types: BTreeMap<u8, VideoCodec>) {
        *self.controls.video_types() = video_types;
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

/// Maps RTP time stamps of a stream to time since the start, common to all streams of a call.
struct TimeLine {
    started: Instant,
    clock_hz: f64,
    stamps: TimestampUnwrapper,
    first: Option<(i64, Duration)>,
}

impl TimeLine {
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

struct VideoReceiving {
    packets: Receiver<RtpPacket>,
    controls: Arc<Controls>,
    held: bool,
    keyframes: KeyframeRequester,
    display: Option<Sender<Arc<VideoFrame>>>,
    latest: watch::Sender<Option<Arc<VideoFrame>>>,
    entries: Option<Sender<Entry>>,
    events: mpsc::Sender<StreamEvent>,
    jitter: VideoJitter,
    decoder: Option<(VideoCodec, Box<dyn VideoDecoder>)>,
    line: TimeLine,
    asked: Option<Instant>,
    missing: Missing,
    network_jitter: Jitter,
    freezes: Freezes,
    latencies: Latencies,
    figures: VideoFigures,
    out: watch::Sender<VideoFigures>,
}

impl VideoReceiving {
    fn run(mut self, stop: &AtomicBool) {
        let mut figures_due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            if self.controls.are_held() != self.held {
                self.held = !self.held;
                self.pause();
            }
            let wait = self.jitter.poll_timeout().map_or(POLL, |at| at.saturating_duration_since(Instant::now()));
            match self.packets.recv_timeout(wait.min(POLL)) {
                Ok(packet) => self.take(packet),
                Err(RecvError::Timeout) => {}
                // The peer connection is gone; the owner ends this thread soon.
                Err(RecvError::Closed) => std::thread::sleep(POLL),
            }
            while let Some(packet) = self.packets.try_recv() {
                self.take(packet);
            }
            while let Some(output) = self.jitter.poll(Instant::now()) {
                match output {
                    Output::KeyframeNeeded => self.ask_for_keyframe(),
                    Output::Picture { data, keyframe, codec, timestamp, arrived } => {
                        let kind = if keyframe { PictureKind::Key } else { PictureKind::Delta };
                        if let Some(size) = self.decode(codec, &data) {
                            let pts = self.line.pts(timestamp, arrived);
                            if let Some(entries) = &self.entries {
                                entries.send(Entry::Video { data, kind, size, pts });
                            }
                        }
                    }
                }
            }
            if Instant::now() >= figures_due {
                figures_due = Instant::now() + FIGURES_EVERY;
                self.publish();
            }
        }
        self.publish();
    }

    /// The call was held, or goes on: what came before does not fit what comes after.
    fn pause(&mut self) {
        self.jitter.begin_anew();
        self.freezes.paused();
        if !self.held {
            self.ask_for_keyframe();
        }
    }

    fn take(&mut self, packet: RtpPacket) {
        self.missing.came(packet.sequence);
        if self.held {
            return;
        }
        let codec = self.controls.video_types().get(&packet.payload_type).copied();
        let Some(codec) = codec else {
            debug!(payload_type = packet.payload_type, "packet of a type that was not agreed on left out");
            return;
        };
        // Padding to keep a path open, as browsers send it to probe.
        if packet.payload.is_empty() {
            self.jitter.insert(packet, codec);
            return;
        }
        self.figures.bytes += packet.payload.len() as u64;
        self.network_jitter.add(packet.arrived, packet.timestamp);
        self.jitter.insert(packet, codec);
    }

    /// Decodes and shows a picture; its size when that worked.
    fn decode(&mut self, codec: VideoCodec, data: &[u8]) -> Option<crate::frame::Size> {
        if self.decoder.as_ref().is_none_or(|(current, _)| *current != codec) {
            match video_decoder(codec) {
                Ok(decoder) => self.decoder = Some((codec, decoder)),
                Err(error) => {
                    tell(&self.events, StreamEvent::CodecFailed(error.to_string()));
                    return None;
                }
            }
            self.figures.codec = Some(codec.to_string());
        }
        let (_, decoder) = self.decoder.as_mut()?;
        match decoder.decode(data) {
            Ok(Some(frame)) => {
                let size = frame.size();
                self.show(frame);
                Some(size)
            }
            Ok(None) => None,
            Err(error) => {
                debug!(%error, "picture not decodable");
                self.ask_for_keyframe();
                None
            }
        }
    }

    fn show(&mut self, frame: VideoFrame) {
        if let Some(stamp) = pattern::read(&frame) {
            self.figures.pattern.add(stamp);
            // Both clocks wrap at 2^32 ms; the difference as a signed number is the shorter way round.
            self.latencies.add(f64::from(pattern::now_ms().wrapping_sub(stamp.sent_ms) as i32));
        }
        let now = Instant::now();
        self.freezes.shown(now);
        self.figures.frames += 1;
        (self.figures.width, self.figures.height) = (frame.size().width, frame.size().height);
        let frame = Arc::new(frame);
        self.latest.send_replace(Some(Arc::clone(&frame)));
        if let Some(display) = &self.display {
            display.send(frame);
        }
        if self.figures.frames == 1 {
            tell(&self.events, StreamEvent::FirstFrame(now));
        }
    }

    fn ask_for_keyframe(&mut self) {
        if self.asked.is_none_or(|at| at.elapsed() >= REQUESTS_APART) {
            self.asked = Some(Instant::now());
            self.figures.keyframe_requests += 1;
            self.keyframes.request();
        }
    }

    fn publish(&mut self) {
        let video::Counters { received, duplicates, lost, .. } = self.jitter.counters();
        (self.figures.packets, self.figures.duplicates, self.figures.lost) = (received, duplicates, lost);
        self.figures.network = self.missing.loss();
        self.figures.jitter_ms = self.network_jitter.ms();
        self.figures.freezes = self.freezes.count;
        self.figures.frozen_ms = self.freezes.total.as_secs_f64() * 1000.0;
        self.figures.dropped = self.packets.dropped();
        self.figures.latency_p50_ms = self.latencies.percentile(50.0);
        self.figures.latency_p95_ms = self.latencies.percentile(95.0);
        self.out.send_replace(self.figures.clone());
    }
}

struct AudioReceiving {
    packets: Receiver<RtpPacket>,
    controls: Arc<Controls>,
    speaker: Option<Speaker>,
    entries: Option<Sender<Entry>>,
    events: mpsc::Sender<StreamEvent>,
    jitter: AudioJitter,
    line: TimeLine,
    missing: Missing,
    network_jitter: Jitter,
    recent: Vec<i16>,
    figures: AudioFigures,
    out: watch::Sender<AudioFigures>,
}

impl AudioReceiving {
    fn run(mut self, stop: &AtomicBool) {
        let mut decoder = match OpusDecoder::new() {
            Ok(decoder) => decoder,
            Err(error) => return tell(&self.events, StreamEvent::CodecFailed(error.to_string())),
        };
        let mut next_tick = Instant::now() + TICK;
        let mut figures_due = Instant::now();
        let mut held = false;
        while !stop.load(Ordering::Relaxed) {
            if self.controls.are_held() != held {
                held = !held;
                self.jitter.begin_anew();
            }
            let wait = next_tick.saturating_duration_since(Instant::now());
            match self.packets.recv_timeout(wait.min(POLL)) {
                // Whoever holds the call hears nothing of it.
                Ok(packet) if held => self.missing.came(packet.sequence),
                Ok(packet) => {
                    self.missing.came(packet.sequence);
                    self.figures.bytes += packet.payload.len() as u64;
                    self.network_jitter.add(packet.arrived, packet.timestamp);
                    self.jitter.insert(packet);
                }
                Err(RecvError::Timeout) => {}
                Err(RecvError::Closed) => std::thread::sleep(wait.min(POLL)),
            }
            if Instant::now() >= next_tick {
                next_tick = self.next_tick(next_tick);
                self.tick(&mut decoder);
            }
            if Instant::now() >= figures_due {
                figures_due = Instant::now() + FIGURES_EVERY;
                self.publish();
            }
        }
        self.publish();
    }

    /// The wall clock paces the ticks, and the speaker's own clock corrects it: its ring is to stay at its mark.
    fn next_tick(&self, last: Instant) -> Instant {
        let next = match self.speaker.as_ref().filter(|speaker| !speaker.has_failed()) {
            Some(speaker) if speaker.queued() < SPEAKER_QUEUED => last + TICK - Duration::from_millis(2),
            Some(speaker) if speaker.queued() > SPEAKER_QUEUED + TICK => last + TICK + Duration::from_millis(2),
            Some(_) | None => last + TICK,
        };
        // After a long sleep the past is not played after.
        let now = Instant::now();
        if next + 5 * TICK < now { now } else { next }
    }

    fn tick(&mut self, decoder: &mut OpusDecoder) {
        let decoded = match self.jitter.tick() {
            Tick::Packet { payload, timestamp } => {
                let decoded = decoder.decode(&payload);
                if decoded.is_ok() {
                    self.figures.frames += 1;
                    if self.figures.frames == 1 {
                        tell(&self.events, StreamEvent::FirstAudio(Instant::now()));
                    }
                }
                if let Some(entries) = &self.entries {
                    let pts = self.line.pts(timestamp, Instant::now());
                    entries.send(Entry::Audio { data: payload, pts });
                }
                decoded
            }
            Tick::Missing { next } => {
                self.figures.concealed += 1;
                match next {
                    Some(next) => decoder.recover(&next, AUDIO_FRAME_SAMPLES),
                    None => decoder.conceal(AUDIO_FRAME_SAMPLES),
                }
            }
            Tick::Silence => Ok(vec![0; AUDIO_FRAME_SAMPLES]),
        };
        match decoded {
            Ok(samples) => self.play(&samples),
            Err(error) => warn!(%error, "sound left out"),
        }
    }

    fn play(&mut self, samples: &[i16]) {
        if let Some(speaker) = &mut self.speaker {
            speaker.push(samples);
        }
        self.recent.extend_from_slice(samples);
        if self.recent.len() >= TONE_SAMPLES {
            self.figures.tone_hz = tone::detect(&self.recent);
            if let Some(hz) = self.figures.tone_hz.map(|hz| hz.round() as u32)
                && self.figures.tones_heard.last() != Some(&hz)
                && self.figures.tones_heard.len() < 1000
            {
                self.figures.tones_heard.push(hz);
            }
            self.recent.clear();
        }
    }

    fn publish(&mut self) {
        let audio::Counters { received, missing, skipped, .. } = self.jitter.counters();
        (self.figures.packets, self.figures.lost, self.figures.skipped) = (received, missing, skipped);
        self.figures.network = self.missing.loss();
        self.figures.jitter_ms = self.network_jitter.ms();
        self.figures.buffer_ms = self.jitter.target() as f64 * 20.0;
        self.figures.underruns = self.speaker.as_ref().map_or(0, Speaker::underruns);
        self.out.send_replace(self.figures.clone());
    }
}

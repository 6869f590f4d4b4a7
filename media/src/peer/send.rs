//! From coded pictures and sound to RTP on the local tracks; what the other side reports back.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::trace;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};

use super::packet::Packetizer;
use super::payload_limit::PayloadLimit;
use crate::frame::{AUDIO_RATE_HZ, EncodedAudio, EncodedVideo, VideoCodec};
use crate::rtp::VIDEO_CLOCK_HZ;

/// Pictures waiting to be packetised: more than one means that the engine stalls, and old ones are worth nothing.
const PICTURES_MAX: usize = 4;

/// Sound packets waiting: 200 ms.
const SOUNDS_MAX: usize = 10;

/// What one stream of pictures is sent as.
#[derive(Clone, Copy, Debug)]
pub(super) struct VideoStream {
    pub(super) codec: VideoCodec,
    pub(super) payload_type: u8,
    pub(super) ssrc: u32,
}

/// What one stream of sound is sent as.
#[derive(Clone, Copy, Debug)]
pub(super) struct AudioStream {
    pub(super) payload_type: u8,
    pub(super) ssrc: u32,
}

/// What the other side says of the video it gets from us (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RemoteReport {
    /// Share of packets lost since its last report, 0 to 1.
    pub fraction_lost: f32,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: f32,
}

/// The way for encoders to send. Cheap to clone, callable from any thread, never blocks.
#[derive(Clone, Debug)]
pub struct MediaSender {
    video: Option<(VideoStream, mpsc::Sender<(EncodedVideo, VideoStream)>)>,
    audio: Option<(AudioStream, mpsc::Sender<(EncodedAudio, AudioStream)>)>,
    shared: Arc<SendState>,
}

/// What all senders of one peer connection share, whenever they were made.
#[derive(Debug)]
pub(super) struct SendState {
    target_bps: Arc<AtomicU32>,
    payload: Arc<PayloadLimit>,
    path_closed: AtomicBool,
    keyframe_wanted: AtomicBool,
    keyframe_requests: AtomicU64,
    video_bytes: AtomicU64,
    audio_bytes: AtomicU64,
    dropped: AtomicU64,
    video_report: Mutex<Option<RemoteReport>>,
    audio_report: Mutex<Option<RemoteReport>>,
}

impl SendState {
    pub(super) fn new(target_bps: Arc<AtomicU32>, payload: Arc<PayloadLimit>) -> Self {
        Self {
            target_bps,
            payload,
            path_closed: AtomicBool::new(false),
            keyframe_wanted: AtomicBool::new(true),
            keyframe_requests: AtomicU64::new(0),
            video_bytes: AtomicU64::new(0),
            audio_bytes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            video_report: Mutex::new(None),
            audio_report: Mutex::new(None),
        }
    }

    /// There is no path: what is sent would only count as lost.
    pub(super) fn close_path(&self) {
        self.path_closed.store(true, Ordering::Relaxed);
    }

    /// The new limit when packets have become smaller: what was sent before did not arrive.
    pub(super) fn shrunk(&self) -> Option<usize> {
        let news = self.payload.news();
        if news.is_some() {
            self.keyframe_wanted.store(true, Ordering::Relaxed);
        }
        news
    }

    /// There is a path, and the other side has missed something.
    pub(super) fn open_path(&self) {
        self.keyframe_wanted.store(true, Ordering::Relaxed);
        self.path_closed.store(false, Ordering::Relaxed);
    }
}

impl MediaSender {
    /// The negotiated video codec; `None` when no video is to be sent.
    #[must_use]
    pub fn video_codec(&self) -> Option<VideoCodec> {
        self.video.as_ref().map(|(stream, _)| stream.codec)
    }

    /// True when audio is to be sent.
    #[must_use]
    pub const fn has_audio(&self) -> bool {
        self.audio.is_some()
    }

    /// True while ICE is restarted: nothing leaves, and nothing need be encoded. Once it is over a keyframe is asked
    /// for.
    #[must_use]
    pub fn is_path_closed(&self) -> bool {
        self.shared.path_closed.load(Ordering::Relaxed)
    }

    /// Sends a picture; a full queue drops it, counts it and asks for a keyframe, as later ones refer to it.
    pub fn video(&self, picture: EncodedVideo) {
        let Some((stream, queue)) = self.video.as_ref().filter(|_| !self.is_path_closed()) else { return };
        if queue.try_send((picture, *stream)).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            self.shared.keyframe_wanted.store(true, Ordering::Relaxed);
        }
    }

    /// Sends a sound packet; a full queue drops it and counts it.
    pub fn audio(&self, sound: EncodedAudio) {
        let Some((stream, queue)) = self.audio.as_ref().filter(|_| !self.is_path_closed()) else { return };
        if queue.try_send((sound, *stream)).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// True once after the other side asked for a keyframe.
    #[must_use]
    pub fn take_keyframe_request(&self) -> bool {
        self.shared.keyframe_wanted.swap(false, Ordering::Relaxed)
    }

    /// What the path is estimated to carry, in bits a second, for all media together.
    #[must_use]
    pub fn target_bps(&self) -> u32 {
        self.shared.target_bps.load(Ordering::Relaxed)
    }

    /// Payload bytes sent so far: video, audio.
    #[must_use]
    pub fn bytes_sent(&self) -> (u64, u64) {
        (self.shared.video_bytes.load(Ordering::Relaxed), self.shared.audio_bytes.load(Ordering::Relaxed))
    }

    /// Pictures and sound packets dropped here because the engine was too slow.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Keyframes the other side asked for.
    #[must_use]
    pub fn keyframe_requests(&self) -> u64 {
        self.shared.keyframe_requests.load(Ordering::Relaxed)
    }

    /// The latest reports of the other side: on our video, on our audio.
    #[must_use]
    pub fn remote_reports(&self) -> (Option<RemoteReport>, Option<RemoteReport>) {
        let read = |report: &Mutex<Option<RemoteReport>>| *report.lock().unwrap_or_else(PoisonError::into_inner);
        (read(&self.shared.video_report), read(&self.shared.audio_report))
    }
}

#[cfg(test)]
impl MediaSender {
    /// A sender that leads to nobody but the test, and what it shares with its peer connection.
    pub(crate) fn to_test(codec: VideoCodec) -> (Self, SentToTest) {
        let shared = Arc::new(SendState::new(Arc::new(AtomicU32::new(1_000_000)), Arc::default()));
        let ((pictures_tx, pictures), (sounds_tx, sounds)) = (mpsc::channel(64), mpsc::channel(64));
        let sender = Self {
            video: Some((VideoStream { codec, payload_type: 96, ssrc: 1 }, pictures_tx)),
            audio: Some((AudioStream { payload_type: 111, ssrc: 2 }, sounds_tx)),
            shared: Arc::clone(&shared),
        };
        (sender, SentToTest { pictures, sounds, shared })
    }
}

/// The other end of [`MediaSender::to_test`].
#[cfg(test)]
pub(crate) struct SentToTest {
    pictures: mpsc::Receiver<(EncodedVideo, VideoStream)>,
    sounds: mpsc::Receiver<(EncodedAudio, AudioStream)>,
    shared: Arc<SendState>,
}

#[cfg(test)]
impl SentToTest {
    /// Whether each picture that came is a keyframe, and how many sound packets came.
    pub(crate) fn take(&mut self) -> (Vec<bool>, usize) {
        let pictures = std::iter::from_fn(|| self.pictures.try_recv().ok()).map(|(picture, _)| picture.keyframe);
        let pictures = pictures.collect();
        (pictures, std::iter::from_fn(|| self.sounds.try_recv().ok()).count())
    }

    pub(crate) fn close_path(&self) {
        self.shared.close_path();
    }

    pub(crate) fn open_path(&self) {
        self.shared.open_path();
    }

    /// The estimate of the path from now on.
    pub(crate) fn carries(&self, bits_a_second: u32) {
        self.shared.target_bps.store(bits_a_second, Ordering::Relaxed);
    }
}

/// The tasks that packetise, one a medium, started when it is first sent. They stay: a stream's numbers go on where they
/// were when it is sent again after a while (RFC 3711 §9.1).
#[derive(Debug)]
pub(super) struct Outlets {
    shared: Arc<SendState>,
    video: Option<mpsc::Sender<(EncodedVideo, VideoStream)>>,
    audio: Option<mpsc::Sender<(EncodedAudio, AudioStream)>>,
}

impl Outlets {
    pub(super) const fn new(shared: Arc<SendState>) -> Self {
        Self { shared, video: None, audio: None }
    }

    /// A sender for the streams named; starts what does not run yet.
    pub(super) fn sender(
        &mut self,
        tasks: &mut JoinSet<()>,
        video: Option<(&Arc<TrackLocalStaticRTP>, VideoStream)>,
        audio: Option<(&Arc<TrackLocalStaticRTP>, AudioStream)>,
    ) -> MediaSender {
        let shared = &self.shared;
        let video = video.map(|(track, stream)| {
            let start = || {
                let (pictures_tx, pictures) = mpsc::channel(PICTURES_MAX);
                tasks.spawn(send_video(Arc::clone(track), pictures, Arc::clone(shared)));
                tasks.spawn(read_feedback(Arc::clone(track), stream.ssrc, Arc::clone(shared)));
                pictures_tx
            };
            (stream, self.video.get_or_insert_with(start).clone())
        });
        let audio = audio.map(|(track, stream)| {
            let start = || {
                let (sounds_tx, sounds) = mpsc::channel(SOUNDS_MAX);
                tasks.spawn(send_audio(Arc::clone(track), sounds, Arc::clone(shared)));
                tasks.spawn(read_feedback(Arc::clone(track), stream.ssrc, Arc::clone(shared)));
                sounds_tx
            };
            (stream, self.audio.get_or_insert_with(start).clone())
        });
        MediaSender { video, audio, shared: Arc::clone(shared) }
    }
}

async fn send_video(
    track: Arc<TrackLocalStaticRTP>,
    mut pictures: mpsc::Receiver<(EncodedVideo, VideoStream)>,
    shared: Arc<SendState>,
) {
    let mut packetizer: Option<(VideoCodec, Packetizer)> = None;
    let mut sequence = initial_sequence();
    let clock = RtpClock::new(VIDEO_CLOCK_HZ);
    while let Some((picture, stream)) = pictures.recv().await {
        let _of_another_codec = packetizer.take_if(|(codec, _)| *codec != stream.codec);
        let (_, packetizer) = packetizer.get_or_insert_with(|| (stream.codec, Packetizer::new(stream.codec)));
        let timestamp = clock.at(picture.captured_at);
        let payloads = packetizer.payloads_within(shared.payload.bytes(), &picture.data);
        let last = payloads.len().saturating_sub(1);
        for (index, payload) in payloads.into_iter().enumerate() {
            shared.video_bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
            let header = rtp::Header {
                version: 2,
                marker: index == last,
                payload_type: stream.payload_type,
                sequence_number: sequence,
                timestamp,
                ssrc: stream.ssrc,
                ..Default::default()
            };
            sequence = sequence.wrapping_add(1);
            if track.write_rtp(rtp::Packet { header, payload }).await.is_err() {
                return;
            }
        }
    }
}

async fn send_audio(
    track: Arc<TrackLocalStaticRTP>,
    mut sounds: mpsc::Receiver<(EncodedAudio, AudioStream)>,
    shared: Arc<SendState>,
) {
    let mut sequence = initial_sequence();
    // Sound is a continuous stream: its time stamps count samples, not arrival times (RFC 7587 §4.1).
    let clock = RtpClock::new(AUDIO_RATE_HZ);
    let mut next: Option<u32> = None;
    while let Some((sound, stream)) = sounds.recv().await {
        let measured = clock.at(sound.captured_at);
        let timestamp = match next {
            // A gap of more than 100 ms is a real one (muted, dropped); less is a late wake-up.
            Some(next) if (measured.wrapping_sub(next) as i32).unsigned_abs() < AUDIO_RATE_HZ / 10 => next,
            Some(_) | None => measured,
        };
        next = Some(timestamp.wrapping_add(crate::frame::AUDIO_FRAME_SAMPLES as u32));
        shared.audio_bytes.fetch_add(sound.data.len() as u64, Ordering::Relaxed);
        let header = rtp::Header {
            version: 2,
            payload_type: stream.payload_type,
            sequence_number: sequence,
            timestamp,
            ssrc: stream.ssrc,
            ..Default::default()
        };
        sequence = sequence.wrapping_add(1);
        if track.write_rtp(rtp::Packet { header, payload: sound.data }).await.is_err() {
            return;
        }
    }
}

/// Drains what comes back on a track; undrained it would overflow inside the engine.
async fn read_feedback(track: Arc<TrackLocalStaticRTP>, ssrc: u32, shared: Arc<SendState>) {
    while let Some(event) = track.poll().await {
        let TrackLocalEvent::OnRtcpPacket(packets) = event else { continue };
        for packet in packets {
            let packet = packet.as_any();
            if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
                shared.keyframe_requests.fetch_add(1, Ordering::Relaxed);
                shared.keyframe_wanted.store(true, Ordering::Relaxed);
            } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
                note_reports(&report.reports, ssrc, &track, &shared).await;
            } else if let Some(report) = packet.downcast_ref::<SenderReport>() {
                note_reports(&report.reports, ssrc, &track, &shared).await;
            }
        }
    }
    trace!("track ended");
}

async fn note_reports(reports: &[ReceptionReport], ssrc: u32, track: &TrackLocalStaticRTP, shared: &SendState) {
    use webrtc::media_stream::Track as _;
    let is_video = track.kind().await == rtc::rtp_transceiver::rtp_sender::RtpCodecKind::Video;
    for report in reports.iter().filter(|report| report.ssrc == ssrc) {
        let (clock_hz, slot) =
            if is_video { (VIDEO_CLOCK_HZ, &shared.video_report) } else { (AUDIO_RATE_HZ, &shared.audio_report) };
        let noted = RemoteReport {
            fraction_lost: f32::from(report.fraction_lost) / 256.0,
            jitter_ms: report.jitter as f32 * 1000.0 / clock_hz as f32,
        };
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(noted);
    }
}

/// Turns capture times into RTP time stamps with a random start (RFC 3550 §5.1).
struct RtpClock {
    epoch: Instant,
    offset: u32,
    rate_hz: u32,
}

impl RtpClock {
    fn new(rate_hz: u32) -> Self {
        Self { epoch: Instant::now(), offset: super::random_u32(), rate_hz }
    }

    fn at(&self, time: Instant) -> u32 {
        let ticks =
            |elapsed: std::time::Duration| (elapsed.as_nanos() * u128::from(self.rate_hz) / 1_000_000_000) as u32;
        match time.checked_duration_since(self.epoch) {
            Some(since) => self.offset.wrapping_add(ticks(since)),
            None => self.offset.wrapping_sub(ticks(self.epoch.duration_since(time))),
        }
    }
}

/// A random start below half the range, as some SRTP receivers cannot follow an early wrap (RFC 3711 §3.3.1).
fn initial_sequence() -> u16 {
    (super::random_u32() & 0x7fff) as u16
}

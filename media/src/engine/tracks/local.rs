//! The tasks that send on the local tracks, and that read what the other side reports back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::trace;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};

use crate::congestion::payload_limit::{PayloadLimit, bytes_for};
use crate::engine::random::random_u32;
use crate::engine::reports::reception_reports;
use crate::frame::{AUDIO_RATE_HZ, EncodedVideo};
use crate::rtp::VIDEO_CLOCK_HZ;
use crate::send::captures::Capture;
use crate::send::keyframe_demand::KeyframeDemand;
use crate::send::media_sender::{AudioStream, MediaSender, OutgoingSound, VideoStream, Watched};
use crate::send::packets::{AudioPackets, OutgoingPacket, Start, VideoPackets};
use crate::send::stream_stats::{RemoteReport, StreamStats};

/// Pictures waiting to be packetised: more than one means that the engine stalls, and old ones are worth nothing.
const PICTURES_MAX: usize = 4;

/// Sound packets waiting: 200 ms.
const SOUNDS_MAX: usize = 10;

/// The tasks that packetise, one a medium, started when it is first sent. They stay: a stream's numbers go on where they
/// were when it is sent again after a while (RFC 3711 §9.1).
#[derive(Debug)]
pub(in crate::engine) struct Outlets {
    watched: Watched,
    payload: Arc<PayloadLimit>,
    video: Option<mpsc::Sender<(EncodedVideo, VideoStream)>>,
    audio: Option<mpsc::Sender<OutgoingSound>>,
}

impl Outlets {
    pub(in crate::engine) const fn new(watched: Watched, payload: Arc<PayloadLimit>) -> Self {
        Self { watched, payload, video: None, audio: None }
    }

    /// A sender for the streams named; starts what does not run yet.
    pub(in crate::engine) fn sender(
        &mut self,
        tasks: &mut JoinSet<()>,
        video: Option<(&Arc<TrackLocalStaticRTP>, VideoStream)>,
        audio: Option<(&Arc<TrackLocalStaticRTP>, AudioStream)>,
    ) -> MediaSender {
        let watched = &self.watched;
        let video = video.map(|(track, stream)| {
            let start = || {
                let (pictures_tx, pictures) = mpsc::channel(PICTURES_MAX);
                let payload = Arc::clone(&self.payload);
                tasks.spawn(send_video(Arc::clone(track), pictures, payload, watched.clone()));
                let feedback = Feedback::of(stream.ssrc, VIDEO_CLOCK_HZ, &watched.keyframes, &watched.video);
                tasks.spawn(read_feedback(Arc::clone(track), feedback));
                pictures_tx
            };
            (stream, self.video.get_or_insert_with(start).clone())
        });
        let audio = audio.map(|(track, stream)| {
            let start = || {
                let (sounds_tx, sounds) = mpsc::channel(SOUNDS_MAX);
                tasks.spawn(send_audio(Arc::clone(track), sounds, watched.clone()));
                let feedback = Feedback::of(stream.ssrc, AUDIO_RATE_HZ, &watched.keyframes, &watched.audio);
                tasks.spawn(read_feedback(Arc::clone(track), feedback));
                sounds_tx
            };
            (stream, self.audio.get_or_insert_with(start).clone())
        });
        MediaSender { video, audio, watched: watched.clone() }
    }
}

async fn send_video(
    track: Arc<TrackLocalStaticRTP>,
    mut pictures: mpsc::Receiver<(EncodedVideo, VideoStream)>,
    payload: Arc<PayloadLimit>,
    watched: Watched,
) {
    let mut packets = VideoPackets::new(random_start());
    while let Some((picture, stream)) = pictures.recv().await {
        let bytes_max = payload.bytes().min(bytes_for(watched.estimate.get().target_bps));
        let packets = packets.of(&picture, stream, bytes_max);
        if let Some(timestamp) = packets.first().map(|first| first.timestamp) {
            let (ssrc, clock_hz, at) = (stream.ssrc, VIDEO_CLOCK_HZ, picture.captured_at);
            watched.captures.note(Capture { ssrc, clock_hz, timestamp, at });
            if picture.keyframe {
                watched.keyframes.sent(timestamp);
            }
        }
        for packet in packets {
            watched.video.sent(packet.payload.len());
            if track.write_rtp(for_engine(packet)).await.is_err() {
                return;
            }
        }
    }
}

async fn send_audio(track: Arc<TrackLocalStaticRTP>, mut sounds: mpsc::Receiver<OutgoingSound>, watched: Watched) {
    let mut packets = AudioPackets::new(random_start());
    while let Some(sound) = sounds.recv().await {
        let (captured_at, samples) = (sound.sound.captured_at, sound.sound.samples);
        let Some(packet) = packets.of(sound) else { continue };
        // Sound is captured when its last sample is there, and its time stamp is that of the first.
        let length = Duration::from_secs_f64(f64::from(samples) / f64::from(AUDIO_RATE_HZ));
        if let Some(at) = captured_at.checked_sub(length) {
            let (ssrc, clock_hz, timestamp) = (packet.ssrc, AUDIO_RATE_HZ, packet.timestamp);
            watched.captures.note(Capture { ssrc, clock_hz, timestamp, at });
        }
        watched.audio.sent(packet.payload.len());
        if track.write_rtp(for_engine(packet)).await.is_err() {
            return;
        }
    }
}

fn random_start() -> Start {
    Start::new(Instant::now(), random_u32(), random_u32())
}

fn for_engine(packet: OutgoingPacket) -> rtp::Packet {
    let header = rtp::Header {
        version: 2,
        marker: packet.marker,
        payload_type: packet.payload_type,
        sequence_number: packet.sequence,
        timestamp: packet.timestamp,
        ssrc: packet.ssrc,
        ..Default::default()
    };
    rtp::Packet { header, payload: packet.payload }
}

/// Where the feedback on one stream of ours goes.
struct Feedback {
    ssrc: u32,
    clock_hz: u32,
    keyframes: Arc<KeyframeDemand>,
    stats: Arc<StreamStats>,
}

impl Feedback {
    fn of(ssrc: u32, clock_hz: u32, keyframes: &Arc<KeyframeDemand>, stats: &Arc<StreamStats>) -> Self {
        Self { ssrc, clock_hz, keyframes: Arc::clone(keyframes), stats: Arc::clone(stats) }
    }

    fn read(&self, packet: &dyn rtc::rtcp::Packet) {
        let any = packet.as_any();
        if any.is::<PictureLossIndication>() || any.is::<FullIntraRequest>() {
            self.keyframes.requested();
        }
        for report in reception_reports(packet).iter().filter(|report| report.ssrc == self.ssrc) {
            self.stats.reported(RemoteReport {
                fraction_lost: f32::from(report.fraction_lost) / 256.0,
                jitter_ms: report.jitter as f32 * 1000.0 / self.clock_hz as f32,
            });
        }
    }
}

/// Drains what comes back on a track; undrained it would overflow inside the engine.
async fn read_feedback(track: Arc<TrackLocalStaticRTP>, feedback: Feedback) {
    while let Some(event) = track.poll().await {
        let TrackLocalEvent::OnRtcpPacket(packets) = event else { continue };
        packets.iter().for_each(|packet| feedback.read(&**packet));
    }
    trace!("track ended");
}

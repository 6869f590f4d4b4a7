//! The tasks that send on the local tracks, and that read what the other side reports back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
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

use crate::engine::random::random_u32;
use crate::frame::{AUDIO_RATE_HZ, EncodedAudio, EncodedVideo};
use crate::rtp::VIDEO_CLOCK_HZ;
use crate::send::media_sender::{AudioStream, MediaSender, VideoStream};
use crate::send::packets::{AudioPackets, OutgoingPacket, Start, VideoPackets};
use crate::send::state::{RemoteReport, SendState};

/// Pictures waiting to be packetised: more than one means that the engine stalls, and old ones are worth nothing.
const PICTURES_MAX: usize = 4;

/// Sound packets waiting: 200 ms.
const SOUNDS_MAX: usize = 10;

/// The tasks that packetise, one a medium, started when it is first sent. They stay: a stream's numbers go on where they
/// were when it is sent again after a while (RFC 3711 §9.1).
#[derive(Debug)]
pub(in crate::engine) struct Outlets {
    shared: Arc<SendState>,
    video: Option<mpsc::Sender<(EncodedVideo, VideoStream)>>,
    audio: Option<mpsc::Sender<(EncodedAudio, AudioStream)>>,
}

impl Outlets {
    pub(in crate::engine) const fn new(shared: Arc<SendState>) -> Self {
        Self { shared, video: None, audio: None }
    }

    /// A sender for the streams named; starts what does not run yet.
    pub(in crate::engine) fn sender(
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
    let mut packets = VideoPackets::new(random_start());
    while let Some((picture, stream)) = pictures.recv().await {
        for packet in packets.of(&picture, stream, shared.payload.bytes()) {
            shared.video_bytes.fetch_add(packet.payload.len() as u64, Ordering::Relaxed);
            if track.write_rtp(for_engine(packet)).await.is_err() {
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
    let mut packets = AudioPackets::new(random_start());
    while let Some((sound, stream)) = sounds.recv().await {
        let packet = packets.of(sound, stream);
        shared.audio_bytes.fetch_add(packet.payload.len() as u64, Ordering::Relaxed);
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

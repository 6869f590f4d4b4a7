//! From remote tracks to the packet queues, and keyframe requests back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

use crate::queue;
use crate::receive::inbox::Inbox;
use crate::receive::keyframes::KeyframeRequester;
use crate::rtp::RtpPacket;

/// A track whose packets are not lost brings the rest of its first picture within this time.
const FIRST_PICTURE: Duration = Duration::from_millis(15);

/// Runs one task a remote track until the peer connection goes away.
pub(in crate::engine) async fn route_tracks(
    mut tracks: mpsc::Receiver<Arc<dyn TrackRemote>>,
    inbox: Inbox,
    keyframes: KeyframeRequester,
) {
    let mut tasks = JoinSet::new();
    while let Some(track) = tracks.recv().await {
        match track.kind().await {
            RtpCodecKind::Video => {
                tasks.spawn(route_video(track, inbox.video.clone(), keyframes.clone()));
            }
            RtpCodecKind::Audio => {
                let out = inbox.audio.clone();
                tasks.spawn(async move { route_packets(track, out, &AtomicBool::new(false)).await });
            }
            // Neither sound nor pictures: nothing that a call has a use for.
            _ => debug!("track of unknown kind left out"),
        }
    }
}

async fn route_video(track: Arc<dyn TrackRemote>, out: queue::Sender<RtpPacket>, keyframes: KeyframeRequester) {
    let came = AtomicBool::new(false);
    let requests = keyframes.of_track();
    let requests = async {
        let Some(media_ssrc) = track.ssrcs().await.first().copied() else { return };
        // Packets that come before the engine has told of the track are lost inside it, mostly on relayed paths:
        // the first keyframe then. Where nothing follows at once, that is what happened.
        tokio::time::sleep(FIRST_PICTURE).await;
        if !came.load(Ordering::Relaxed) {
            keyframes.request();
        }
        loop {
            requests.next().await;
            let pli = PictureLossIndication { sender_ssrc: 0, media_ssrc };
            if track.write_rtcp(vec![Box::new(pli)]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = route_packets(Arc::clone(&track), out, &came) => {}
        () = requests => {}
    }
}

/// Moves packets until the track ends; `came` tells that there was one.
async fn route_packets(track: Arc<dyn TrackRemote>, out: queue::Sender<RtpPacket>, came: &AtomicBool) {
    while let Some(event) = track.poll().await {
        let TrackRemoteEvent::OnRtpPacket(packet) = event else { continue };
        came.store(true, Ordering::Relaxed);
        let received = RtpPacket {
            sequence: packet.header.sequence_number,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload_type: packet.header.payload_type,
            payload: packet.payload,
            arrived: Instant::now(),
        };
        if !out.send(received) {
            return;
        }
    }
}

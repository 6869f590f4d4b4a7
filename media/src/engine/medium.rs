//! Sound or pictures of a call, as the engine has them: a transceiver and the track in it.

use std::sync::Arc;

use rtc::media_stream::MediaStreamTrack;
use rtc::rtp_transceiver::RTCRtpTransceiverDirection;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpRtxParameters, RtpCodecKind,
};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::PeerConnection;
use webrtc::rtp_transceiver::RtpTransceiver;

use super::events::PeerError;
use crate::sdp::negotiated::Direction;

/// Sound or pictures of a call: one transceiver for the whole of it, whichever way it flows at the moment.
pub(super) struct Medium {
    pub(super) kind: &'static str,
    pub(super) transceiver: Arc<dyn RtpTransceiver>,
    pub(super) track: Arc<TrackLocalStaticRTP>,
    pub(super) ssrc: u32,
    rtx_ssrc: Option<u32>,
}

impl Medium {
    /// Tells the engine which codec was agreed on, before it begins to send: by it the engine finds the payload types of
    /// the stream and of its retransmissions. By another one it repairs with a wrong one, or, where that was not agreed
    /// on, neither repairs nor reports.
    pub(super) async fn name_codec(&self, codec: RTCRtpCodec) -> rtc::shared::error::Result<()> {
        let Some(sender) = self.transceiver.sender().await? else { return Ok(()) };
        // Packets go through the first track as before; the engine takes no more from another than what it says of itself.
        sender.replace_track(Arc::new(local_track(self.kind, codec, self.ssrc, self.rtx_ssrc))).await
    }
}

/// Adds a track, and finds the transceiver that it came with.
pub(super) async fn medium(
    connection: &dyn PeerConnection,
    kind: &'static str,
    codec: RTCRtpCodec,
    ssrc: u32,
    rtx_ssrc: Option<u32>,
) -> Result<Medium, PeerError> {
    let track = Arc::new(local_track(kind, codec, ssrc, rtx_ssrc));
    let sender = Arc::clone(&track) as Arc<dyn TrackLocal>;
    let added = connection.add_transceiver_from_track(sender, None).await;
    let transceiver = added.map_err(|error| PeerError::new("adding a track", error))?;
    Ok(Medium { kind, transceiver, track, ssrc, rtx_ssrc })
}

/// A track to send by.
fn local_track(name: &str, codec: RTCRtpCodec, ssrc: u32, rtx_ssrc: Option<u32>) -> TrackLocalStaticRTP {
    let kind = if name == "video" { RtpCodecKind::Video } else { RtpCodecKind::Audio };
    let coding = RTCRtpCodingParameters {
        ssrc: Some(ssrc),
        rtx: rtx_ssrc.map(|ssrc| RTCRtpRtxParameters { ssrc }),
        ..Default::default()
    };
    let encoding = RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec, ..Default::default() };
    // The engine routes RTCP by track id and would mix up two sides that use the same one.
    let id = format!("{name}-{ssrc:08x}");
    // One stream for both, so that the other side plays them in sync (RFC 8830 §2).
    TrackLocalStaticRTP::new(MediaStreamTrack::new("tring".into(), id, name.into(), kind, vec![encoding]))
}

/// Whether a medium is to be received.
#[derive(Clone, Copy)]
pub(super) enum Reception {
    Receive,
    Ignore,
}

/// The direction of a transceiver.
pub(super) fn direction(wanted: Direction, reception: Reception) -> RTCRtpTransceiverDirection {
    match (wanted, reception) {
        (Direction::SendReceive, Reception::Receive) => RTCRtpTransceiverDirection::Sendrecv,
        (Direction::SendReceive, Reception::Ignore) => RTCRtpTransceiverDirection::Sendonly,
        (Direction::ReceiveOnly, Reception::Receive) => RTCRtpTransceiverDirection::Recvonly,
        (Direction::ReceiveOnly, Reception::Ignore) => RTCRtpTransceiverDirection::Inactive,
    }
}

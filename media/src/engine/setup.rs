//! How the WebRTC engine is set up: codecs, RTCP feedback, timers.

use std::sync::Arc;
use std::time::Duration;

use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_OPUS, MIME_TYPE_VP8, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::{SettingEngine, SettingEngineBuilder};
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use rtc::shared::error::Result;

use super::config::PeerConfig;
use super::cookie_random::CookieProvider;
use crate::frame::VideoCodec;
use crate::path::ice_server::IcePolicy;
use crate::path::watch::DISCONNECTED_AFTER;
use crate::rtp::VIDEO_CLOCK_HZ;

/// Payload types that we offer; numbers that browsers use for the same codecs.
const OPUS_TYPE: u8 = 111;
const RED_TYPE: u8 = 63;
const H264_TYPE: u8 = 102;
const VP8_TYPE: u8 = 96;

/// Packets of 10 ms and more, coarse copies of the packet before, no packets of silence (RFC 7587 §6.1).
const OPUS_FMTP: &str = "minptime=10;useinbandfec=1;usedtx=1";

/// Constrained baseline, level 3.1, several packets a NAL unit (RFC 6184 §8.1).
const H264_FMTP: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";

/// Connectivity checks are this far apart until a pair works. The engine's 200 ms alone would cost more than a call's
/// whole set-up; RFC 8445 §14 allows 5 ms and more.
const CHECK_INTERVAL: Duration = Duration::from_millis(30);

/// Checks a pair: 12 s' worth, so that a slow or late-starting other side still connects.
const CHECKS_MAX: u16 = 400;

/// A relay is taken after this time, when no direct pair has worked by then. The first round of checks may only open the
/// NATs, the second gets through: without a wait the relay wins the race whenever its checks are a millisecond faster,
/// and keeps the call. Short of three rounds, so that the third takes it.
const RELAY_WAIT: Duration = Duration::from_millis(80);

/// The engine's timer for lost paths: never, as [`crate::path::watch`] has a better one.
const FAILED_AFTER: Duration = Duration::ZERO;

/// Keepalives while no media flows: several within [`DISCONNECTED_AFTER`].
const KEEPALIVE: Duration = Duration::from_millis(600);

/// The codecs we speak, in the wanted order, each video codec with its retransmission format (RFC 4588).
pub(super) fn media_engine(config: &PeerConfig) -> Result<MediaEngine> {
    let mut engine = MediaEngine::default();
    for parameters in audio_codecs() {
        engine.register_codec(parameters, RtpCodecKind::Audio)?;
    }
    for parameters in video_codecs(config) {
        engine.register_codec(parameters, RtpCodecKind::Video)?;
    }
    Ok(engine)
}

/// The video codecs of the configuration, best first, each followed by its retransmission format.
pub(super) fn video_codecs(config: &PeerConfig) -> Vec<RTCRtpCodecParameters> {
    let mut codecs = Vec::new();
    for video in &config.video_codecs {
        let parameters = video_codec(*video);
        let payload_type = parameters.payload_type;
        codecs.push(parameters);
        codecs.push(codec("video/rtx", VIDEO_CLOCK_HZ, 0, &format!("apt={payload_type}"), payload_type + 1));
    }
    codecs
}

/// A video codec as we offer it.
pub(super) fn video_codec(video: VideoCodec) -> RTCRtpCodecParameters {
    let (mime, fmtp, payload_type) = match video {
        VideoCodec::H264 => (MIME_TYPE_H264, H264_FMTP, H264_TYPE),
        VideoCodec::Vp8 => (MIME_TYPE_VP8, "", VP8_TYPE),
    };
    let mut parameters = codec(mime, VIDEO_CLOCK_HZ, 0, fmtp, payload_type);
    parameters.rtp_codec.rtcp_feedback =
        [("ccm", "fir"), ("nack", ""), ("nack", "pli")].map(|(typ, p)| feedback(typ, p)).into();
    parameters
}

fn codec(mime: &str, clock_rate: u32, channels: u16, fmtp: &str, payload_type: u8) -> RTCRtpCodecParameters {
    let rtp_codec = RTCRtpCodec {
        mime_type: mime.to_owned(),
        clock_rate,
        channels,
        sdp_fmtp_line: fmtp.to_owned(),
        rtcp_feedback: Vec::new(),
    };
    RTCRtpCodecParameters { rtp_codec, payload_type }
}

fn feedback(typ: &str, parameter: &str) -> RTCPFeedback {
    RTCPFeedback { typ: typ.to_owned(), parameter: parameter.to_owned() }
}

/// Opus, then Opus with copies of earlier packets (RED, RFC 2198).
pub(super) fn audio_codecs() -> Vec<RTCRtpCodecParameters> {
    let red = format!("{OPUS_TYPE}/{OPUS_TYPE}");
    vec![codec(MIME_TYPE_OPUS, 48_000, 2, OPUS_FMTP, OPUS_TYPE), codec("audio/red", 48_000, 2, &red, RED_TYPE)]
}

/// Opus as a track declares it.
pub(super) fn audio_codec() -> RTCRtpCodec {
    codec(MIME_TYPE_OPUS, 48_000, 2, OPUS_FMTP, OPUS_TYPE).rtp_codec
}

/// Timers and roles. Names of multicast DNS are not the engine's to look up: see [`super::local_names`].
pub(super) fn settings(policy: IcePolicy, provider: Arc<CookieProvider>) -> SettingEngine {
    let relay_wait = if policy == IcePolicy::RelayOnly { Duration::ZERO } else { RELAY_WAIT };
    SettingEngineBuilder::new()
        .with_crypto_provider(provider)
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_ice_timeouts(Some(DISCONNECTED_AFTER), Some(FAILED_AFTER), Some(KEEPALIVE))
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS_MAX))
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_relay_acceptance_min_wait(Some(relay_wait))
        .with_include_loopback_candidate(true)
        // An ICE restart binds new sockets, on the addresses that there are then, and asks TURN servers anew.
        .with_discard_local_candidates_during_ice_restart(true)
        // The answerer starts DTLS: it does so the moment ICE works, half a round trip before the offerer could.
        .with_answering_dtls_role(RTCDtlsRole::Client)
        .build()
}

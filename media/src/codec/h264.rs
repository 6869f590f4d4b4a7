//! H.264 constrained baseline, encoded and decoded by Cisco's openh264.
//!
//! Owns the library's settings for calls; never reorders, buffers or splits pictures (the RTP packetizer splits).
//!
//! - [`Encoder`]: I420 picture in, Annex B access unit out: one slice a picture, parameter sets before each keyframe
//! - [`Decoder`]: Annex B access unit in, I420 picture out at once; a lost reference is an error until a keyframe
#![expect(unsafe_code, reason = "openh264 changes its bitrate only through the raw option call")]

use std::time::Instant;

use bytes::Bytes;
use openh264::OpenH264API;
use openh264::decoder;
use openh264::encoder::{
    self, BitRate, Complexity, FrameRate, FrameType, IntraFramePeriod, Profile, QpRange, RateControlMode,
    SpsPpsStrategy, UsageType,
};
use openh264::formats::{YUVSlices, YUVSource};
use openh264_sys2::{
    ENCODER_OPTION, ENCODER_OPTION_BITRATE, ENCODER_OPTION_FRAME_RATE, ENCODER_OPTION_MAX_BITRATE,
    ENCODER_OPTION_TRACE_LEVEL, LAYER_NUM, SBitrateInfo, SPATIAL_LAYER_0, SPATIAL_LAYER_ALL, WELS_LOG_QUIET,
    dsBitstreamError, dsNoParamSets, dsRefLost,
};

use super::pace::Pace;
use super::{CodecError, EncoderConfig, VideoDecoder, VideoEncoder, Want};
use crate::frame::{EncodedVideo, Size, VideoFrame};

/// Longest side of a decoded picture. The library itself stops at 36864 macroblocks (level 5.2), so the area needs no
/// cap of ours.
const SIDE_MAX: usize = 4096;

/// Lowest target: below about one bit a picture the library refuses, below this no picture is worth sending.
const BITRATE_MIN_BPS: u32 = 10_000;

/// Quantizer range. The crate's default of 0 makes the library silently use 12..=42, which overshoots low targets.
const QUANTIZER: (u8, u8) = (12, 51);

/// The library is told of another number of pictures a second when it moved by so much.
const FPS_STEP: f32 = 0.1;

/// A real-time encoder; see [`VideoEncoder`].
pub struct Encoder {
    library: encoder::Encoder,
    config: EncoderConfig,
    pace: Pace,
    /// Pictures a second that the library was told of.
    told_fps: f32,
    /// The library sets itself up on its first picture and takes no options before.
    running: bool,
}

impl Encoder {
    /// Prepares an encoder; the library itself starts with the first picture, which is a keyframe.
    ///
    /// # Errors
    /// [`CodecError`] when the size is odd, empty or above 3840x2160 (either way round).
    pub fn new(config: EncoderConfig) -> Result<Self, CodecError> {
        let Size { width, height } = config.size;
        let fits = width.max(height) <= 3840 && width.min(height) <= 2160;
        if !fits || width.min(height) < 16 || width % 2 != 0 || height % 2 != 0 {
            let reason = format!("size {}; use even sides from 16x16 to 3840x2160", config.size);
            return Err(CodecError { codec: "h264", operation: "set-up", reason });
        }
        let config = EncoderConfig {
            bitrate_bps: clamp_bitrate(config.bitrate_bps),
            fps: config.fps.clamp(1, 120),
            size: config.size,
        };
        let (library, pace) = (open(&config)?, Pace::new(config.fps));
        Ok(Self { library, config, pace, told_fps: config.fps as f32, running: false })
    }

    /// Tells how many pictures come a second, when that has changed by so much that it matters.
    fn follow_pace(&mut self, at: Instant) -> Result<(), CodecError> {
        let mut fps = self.pace.captured(at).as_secs_f32().recip();
        if !self.running || (fps / self.told_fps - 1.0).abs() < FPS_STEP {
            return Ok(());
        }
        // SAFETY: the option reads one float, which outlives the call; the rate is no state the crate relies on.
        let code = unsafe { self.library.raw_api().set_option(ENCODER_OPTION_FRAME_RATE, (&raw mut fps).cast()) };
        if code == 0 {
            self.told_fps = fps;
            return Ok(());
        }
        let reason = format!("openh264 code {code} for {fps} pictures a second");
        Err(CodecError { codec: "h264", operation: "rate change", reason })
    }

    /// Sets one of the library's two rate options.
    fn set_rate(&mut self, option: ENCODER_OPTION, layer: LAYER_NUM, bits_per_second: u32) -> Result<(), CodecError> {
        let mut info = SBitrateInfo { iLayer: layer, iBitrate: bits_per_second.cast_signed() };
        // SAFETY: both options read one SBitrateInfo, which outlives the call; rates are no state the crate relies on.
        let code = unsafe { self.library.raw_api().set_option(option, (&raw mut info).cast()) };
        if code == 0 {
            return Ok(());
        }
        let reason = format!("openh264 code {code} for {bits_per_second} bit/s");
        Err(CodecError { codec: "h264", operation: "bitrate change", reason })
    }
}

impl VideoEncoder for Encoder {
    fn encode(&mut self, frame: &VideoFrame, want: Want) -> Result<Option<EncodedVideo>, CodecError> {
        let size = frame.size();
        if size != self.config.size {
            *self = Self { pace: self.pace, ..Self::new(EncoderConfig { size, ..self.config })? };
        }
        self.follow_pace(frame.at)?;
        if want == Want::Keyframe && self.running {
            self.library.force_intra_frame();
        }
        let (width, height) = (size.width as usize, size.height as usize);
        let planes = YUVSlices::new((frame.y(), frame.u(), frame.v()), (width, height), (width, width / 2, width / 2));
        let coded = self.library.encode(&planes).map_err(|error| failed("encode", &error))?;
        self.running = true;
        let data = coded.to_vec();
        if data.is_empty() {
            return Ok(None);
        }
        let keyframe = coded.frame_type() == FrameType::IDR;
        Ok(Some(EncodedVideo { data: Bytes::from(data), keyframe, captured_at: frame.at }))
    }

    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), CodecError> {
        let (old, new) = (self.config.bitrate_bps, clamp_bitrate(bits_per_second));
        let config = EncoderConfig { bitrate_bps: new, ..self.config };
        if !self.running {
            self.library = open(&config)?;
        } else if new > old {
            // The library refuses a target above its maximum, so the maximum goes up first and down last.
            self.set_rate(ENCODER_OPTION_MAX_BITRATE, SPATIAL_LAYER_0, new)?;
            self.set_rate(ENCODER_OPTION_BITRATE, SPATIAL_LAYER_ALL, new)?;
        } else {
            self.set_rate(ENCODER_OPTION_BITRATE, SPATIAL_LAYER_ALL, new)?;
            self.set_rate(ENCODER_OPTION_MAX_BITRATE, SPATIAL_LAYER_0, new)?;
        }
        self.config = config;
        Ok(())
    }
}

fn clamp_bitrate(bits_per_second: u32) -> u32 {
    bits_per_second.clamp(BITRATE_MIN_BPS, 100_000_000)
}

fn open(config: &EncoderConfig) -> Result<encoder::Encoder, CodecError> {
    let fps = config.fps as f32;
    let settings = encoder::EncoderConfig::new()
        .usage_type(UsageType::CameraVideoRealTime)
        .complexity(Complexity::Low)
        .profile(Profile::Baseline)
        .rate_control_mode(RateControlMode::Bitrate)
        .bitrate(BitRate::from_bps(config.bitrate_bps))
        .max_frame_rate(FrameRate::from_hz(fps))
        .qp(QpRange::new(QUANTIZER.0, QUANTIZER.1))
        // A skipped picture looks like a freeze; the wide quantizer range keeps the rate instead.
        .skip_frames(false)
        // Keyframes come on request only: neither by the clock nor at every cut.
        .intra_frame_period(IntraFramePeriod::auto())
        .scene_change_detect(false)
        .sps_pps_strategy(SpsPpsStrategy::ConstantId)
        .num_threads(1);
    let mut library = encoder::Encoder::with_api_config(OpenH264API::from_source(), settings)
        .map_err(|error| failed("set-up", &error))?;
    let mut level = WELS_LOG_QUIET;
    // SAFETY: the option reads one int, which outlives the call. The crate sets it too, but only after set-up, during
    // which the library would write warnings over the terminal.
    unsafe { library.raw_api().set_option(ENCODER_OPTION_TRACE_LEVEL, (&raw mut level).cast()) };
    Ok(library)
}

/// A decoder; see [`VideoDecoder`].
pub struct Decoder {
    library: decoder::Decoder,
}

impl Decoder {
    /// Opens a decoder that waits for its first keyframe.
    ///
    /// # Errors
    /// [`CodecError`] when the library cannot be set up.
    pub fn new() -> Result<Self, CodecError> {
        // Error concealment stays off (the crate's default): a smeared picture is worse than a keyframe request.
        Ok(Self { library: decoder::Decoder::new().map_err(|error| failed("set-up", &error))? })
    }
}

impl VideoDecoder for Decoder {
    fn decode(&mut self, data: &[u8]) -> Result<Option<VideoFrame>, CodecError> {
        if data.is_empty() {
            // The library takes an empty buffer for the end of the stream.
            return Err(refused("the picture is empty".to_owned()));
        }
        let Some(picture) = self.library.decode(data).map_err(|error| failed("decode", &error))? else {
            return Ok(None);
        };
        let (width, height) = picture.dimensions();
        if !(2..=SIDE_MAX).contains(&width) || !(2..=SIDE_MAX).contains(&height) {
            return Err(refused(format!("picture of {width}x{height}; at most {SIDE_MAX}x{SIDE_MAX} is taken")));
        }
        let size = Size { width: (width & !1) as u32, height: (height & !1) as u32 };
        let strides = picture.strides();
        let mut i420 = Vec::with_capacity(size.i420_len());
        append_plane(&mut i420, picture.y(), strides.0, size);
        append_plane(&mut i420, picture.u(), strides.1, size.chroma());
        append_plane(&mut i420, picture.v(), strides.2, size.chroma());
        Ok(VideoFrame::from_i420(size, i420, Instant::now()))
    }
}

/// Appends the visible part of a padded plane.
fn append_plane(out: &mut Vec<u8>, plane: &[u8], stride: usize, size: Size) {
    for row in plane.chunks(stride).take(size.height as usize) {
        out.extend_from_slice(&row[..size.width as usize]);
    }
}

fn refused(reason: String) -> CodecError {
    CodecError { codec: "h264", operation: "decode", reason }
}

fn failed(operation: &'static str, error: &openh264::Error) -> CodecError {
    let code = error.native_code();
    let has = |state: i32| operation == "decode" && code & i64::from(state) != 0;
    let reason = if code == 0 {
        error.to_string()
    } else if has(dsNoParamSets) {
        "no parameter sets yet; ask for a keyframe".to_owned()
    } else if has(dsRefLost) {
        "a reference picture is missing; ask for a keyframe".to_owned()
    } else if has(dsBitstreamError) {
        "the data is broken; ask for a keyframe".to_owned()
    } else {
        format!("openh264 code {code}")
    };
    CodecError { codec: "h264", operation, reason }
}

#[cfg(test)]
mod tests {
    use crate::codec::{Want, checks};
    use crate::frame::VideoCodec::H264;

    #[test]
    fn h264_stamps_survive_300_kbit() {
        checks::round_trip(H264, 300_000, 36.0);
    }

    #[test]
    fn h264_stamps_survive_1_mbit() {
        checks::round_trip(H264, 1_000_000, 38.0);
    }

    #[test]
    fn h264_keyframe_comes_on_request_only() {
        checks::keyframe_on_request(H264);
    }

    #[test]
    fn h264_bitrate_follows_its_target() {
        checks::bitrate_follows(H264);
    }

    #[test]
    fn h264_bitrate_holds_at_every_rate_of_pictures() {
        checks::bitrate_holds_at_every_rate(H264);
    }

    #[test]
    fn h264_follows_a_new_picture_size() {
        checks::size_changes(H264);
    }

    #[test]
    fn h264_broken_data_is_no_panic() {
        checks::survives_broken_data(H264, &[0, 0, 0, 1, 0x65]);
    }

    #[test]
    fn h264_keyframes_open_with_constrained_baseline_parameter_sets() {
        let rate = |n: u32| (n == 0).then_some(500_000);
        for unit in checks::encode(H264, checks::VGA, 3, |_| Want::Keyframe, rate) {
            assert!(unit.keyframe);
            // Start code, SPS (RFC 6184 §1.3), profile 66 with constraint_set1: constrained baseline.
            assert_eq!(unit.data[..6], [0, 0, 0, 1, 0x67, 66]);
            assert_eq!(unit.data[6] & 0x40, 0x40);
            let kinds: Vec<u8> = unit.data.windows(5).filter(|w| w[..4] == [0, 0, 0, 1]).map(|w| w[4] & 31).collect();
            assert_eq!(kinds, [7, 8, 5], "SPS, PPS, one slice");
        }
    }
}

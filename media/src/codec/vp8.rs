//! VP8, encoded and decoded by the system's libvpx.
//!
//! Owns every call into libvpx and its settings for calls; never buffers pictures (no lag, no alternate reference).
//!
//! - [`Encoder`]: I420 picture in, one VP8 frame out
//! - [`Decoder`]: one VP8 frame in, I420 picture out at once; a lost or broken reference is an error until a keyframe
#![expect(unsafe_code, reason = "libvpx is a C library; all calls to it live in this module")]

use std::ffi::{CStr, c_int, c_uint, c_ulong};
use std::mem::MaybeUninit;
use std::time::Instant;

use bytes::Bytes;
use vpx_sys as vpx;
use vpx_sys::vpx_codec_err_t::VPX_CODEC_OK;

use super::pace::Pace;
use super::{CodecError, EncoderConfig, VideoDecoder, VideoEncoder, Want};
use crate::frame::{EncodedVideo, Size, VideoFrame};

/// Longest side of a picture, both ways. The format itself goes to 16383, which would let a peer claim gigabytes.
const SIDE_MAX: u32 = 4096;

/// Encoder speed: negative fixes it (positive adapts to the clock and so is not repeatable); -8 is fast enough for
/// 720p30 on half a core and loses 0.1 dB against -4.
const CPU_USED: c_int = -8;

/// A keyframe may take this share of one second's average picture, in percent: 4.5 pictures' worth.
const INTRA_MAX_PCT: c_uint = 450;

/// Ticks a second of the library's clock, that of RTP (RFC 7741 §4.1).
const CLOCK_HZ: c_int = 90_000;

/// A libvpx context that was set up; destroyed on drop. Boxed, so that its address never changes.
struct Context(Box<vpx::vpx_codec_ctx_t>);

// SAFETY: a libvpx context is not bound to a thread; it is only touched through `&mut self`.
unsafe impl Send for Context {}

impl Context {
    /// An empty context for one of the library's two set-up calls.
    fn empty() -> Box<vpx::vpx_codec_ctx_t> {
        // SAFETY: zero bytes are valid in each field: null pointers, zero flags, and VPX_CODEC_OK, which is 0.
        Box::new(unsafe { MaybeUninit::zeroed().assume_init() })
    }

    /// Turns the library's answer into a result with the library's words.
    fn check(&mut self, code: vpx::vpx_codec_err_t, operation: &'static str) -> Result<(), CodecError> {
        if code == VPX_CODEC_OK {
            return Ok(());
        }
        // SAFETY: the context is set up; the detail is null or a text that lives as long as the context.
        let detail = unsafe {
            let text = vpx::vpx_codec_error_detail(&mut *self.0);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        let mut error = failed(operation, code);
        if let Some(detail) = detail {
            error.reason = format!("{} ({detail})", error.reason);
        }
        Err(error)
    }

    /// Sets an encoder control that takes one integer.
    fn control(&mut self, id: vpx::vp8e_enc_control_id, value: c_int) -> Result<(), CodecError> {
        // SAFETY: the context is an encoder; each control used here reads one int-sized argument.
        let code = unsafe { vpx::vpx_codec_control_(&mut *self.0, id as c_int, value) };
        self.check(code, "set-up")
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context was set up and is destroyed once. A failure leaves nothing to do.
        unsafe { vpx::vpx_codec_destroy(&mut *self.0) };
    }
}

/// A real-time encoder; see [`VideoEncoder`].
pub struct Encoder {
    context: Context,
    config: EncoderConfig,
    pace: Pace,
    /// When the next picture is shown, ticks of [`CLOCK_HZ`].
    next: i64,
}

impl Encoder {
    /// Opens an encoder; its first picture is a keyframe.
    ///
    /// # Errors
    /// [`CodecError`] when the size is odd, empty or above 4096x4096, or the library refuses.
    pub fn new(config: EncoderConfig) -> Result<Self, CodecError> {
        let Size { width, height } = config.size;
        let sides = 2..=SIDE_MAX;
        if !sides.contains(&width) || !sides.contains(&height) || width % 2 != 0 || height % 2 != 0 {
            let reason = format!("size {}; use even sides from 2x2 to {SIDE_MAX}x{SIDE_MAX}", config.size);
            return Err(CodecError { codec: "vp8", operation: "set-up", reason });
        }
        let settings = settings(&config)?;
        let mut context = Context::empty();
        // SAFETY: all pointers are valid for the call; the library copies the settings. On failure it cleans up itself.
        let code = unsafe {
            let version = vpx::VPX_ENCODER_ABI_VERSION.cast_signed();
            vpx::vpx_codec_enc_init_ver(&mut *context, vpx::vpx_codec_vp8_cx(), &settings, 0, version)
        };
        if code != VPX_CODEC_OK {
            return Err(failed("set-up", code));
        }
        let mut context = Context(context);
        context.control(vpx::vp8e_enc_control_id::VP8E_SET_CPUUSED, CPU_USED)?;
        context.control(vpx::vp8e_enc_control_id::VP8E_SET_NOISE_SENSITIVITY, 0)?;
        // 1 skips blocks that did not change at all, and nothing else.
        context.control(vpx::vp8e_enc_control_id::VP8E_SET_STATIC_THRESHOLD, 1)?;
        let intra_max = INTRA_MAX_PCT.cast_signed();
        context.control(vpx::vp8e_enc_control_id::VP8E_SET_MAX_INTRA_BITRATE_PCT, intra_max)?;
        Ok(Self { context, config, pace: Pace::new(config.fps), next: 0 })
    }

    /// Collects what the library coded since the last picture went in.
    fn collect(&mut self) -> (Vec<u8>, bool) {
        let (mut data, mut keyframe) = (Vec::new(), false);
        let mut iter: vpx::vpx_codec_iter_t = std::ptr::null();
        loop {
            // SAFETY: the context is an encoder; a packet lives until the next call that codes a picture.
            let Some(packet) = (unsafe { vpx::vpx_codec_get_cx_data(&mut *self.context.0, &mut iter).as_ref() }) else {
                return (data, keyframe);
            };
            if packet.kind != vpx::vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT {
                continue;
            }
            // SAFETY: the kind says that the union holds a frame, whose `buf` holds `sz` bytes.
            let (bytes, flags) = unsafe {
                let frame = packet.data.frame;
                (std::slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz), frame.flags)
            };
            data.extend_from_slice(bytes);
            keyframe |= flags & vpx::VPX_FRAME_IS_KEY != 0;
        }
    }
}

impl VideoEncoder for Encoder {
    fn encode(&mut self, frame: &VideoFrame, want: Want) -> Result<Option<EncodedVideo>, CodecError> {
        let size = frame.size();
        if size != self.config.size {
            *self = Self { pace: self.pace, ..Self::new(EncoderConfig { size, ..self.config })? };
        }
        let flags = match want {
            Want::Any => 0,
            Want::Keyframe => vpx::vpx_enc_frame_flags_t::from(vpx::VPX_EFLAG_FORCE_KF.cast_signed()),
        };
        // Even steps: the library takes every other distance for a new rate at once.
        let ticks = (self.pace.captured(frame.at).as_secs_f64() * f64::from(CLOCK_HZ)).round();
        let (pts, duration) = (self.next, ticks.max(1.0) as i64);
        self.next += duration;
        // SAFETY: zero bytes are valid in each field of an image; `vpx_img_wrap` then points it at the frame's planes,
        // which are tightly packed with even sides, as alignment 1 says. The library only reads them, during the call.
        let code = unsafe {
            let mut image: vpx::vpx_image_t = MaybeUninit::zeroed().assume_init();
            let planes = frame.i420().as_ptr().cast_mut();
            let format = vpx::vpx_img_fmt::VPX_IMG_FMT_I420;
            if vpx::vpx_img_wrap(&mut image, format, size.width, size.height, 1, planes).is_null() {
                vpx::vpx_codec_err_t::VPX_CODEC_INVALID_PARAM
            } else {
                let deadline = c_ulong::from(vpx::VPX_DL_REALTIME);
                vpx::vpx_codec_encode(&mut *self.context.0, &image, pts, duration as c_ulong, flags, deadline)
            }
        };
        self.context.check(code, "encode")?;
        let (data, keyframe) = self.collect();
        if data.is_empty() {
            return Ok(None);
        }
        Ok(Some(EncodedVideo { data: Bytes::from(data), keyframe, captured_at: frame.at }))
    }

    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), CodecError> {
        let config = EncoderConfig { bitrate_bps: bits_per_second, ..self.config };
        let settings = settings(&config)?;
        // SAFETY: the context is an encoder; the library copies the settings.
        let code = unsafe { vpx::vpx_codec_enc_config_set(&mut *self.context.0, &settings) };
        self.context.check(code, "bitrate change")?;
        self.config = config;
        Ok(())
    }
}

/// The library's defaults, changed to those of a call: one pass, constant rate, keyframes on request only.
fn settings(config: &EncoderConfig) -> Result<vpx::vpx_codec_enc_cfg_t, CodecError> {
    let mut settings = MaybeUninit::<vpx::vpx_codec_enc_cfg_t>::zeroed();
    // SAFETY: the library writes the whole structure. It is read only after the library said that it did:
    // zero bytes alone are no valid settings (the bit depth has no variant 0).
    let mut settings = unsafe {
        match vpx::vpx_codec_enc_config_default(vpx::vpx_codec_vp8_cx(), settings.as_mut_ptr(), 0) {
            VPX_CODEC_OK => settings.assume_init(),
            code => return Err(failed("set-up", code)),
        }
    };
    settings.g_w = config.size.width;
    settings.g_h = config.size.height;
    settings.g_threads = 1;
    settings.g_timebase = vpx::vpx_rational { num: 1, den: CLOCK_HZ };
    settings.g_error_resilient = 0;
    settings.g_lag_in_frames = 0;
    settings.kf_mode = vpx::vpx_kf_mode::VPX_KF_DISABLED;
    settings.rc_end_usage = vpx::vpx_rc_mode::VPX_CBR;
    settings.rc_target_bitrate = (config.bitrate_bps / 1000).max(10);
    // Rather a coarse picture than a late one: the whole upper range, and no dropped pictures.
    settings.rc_min_quantizer = 2;
    settings.rc_max_quantizer = 63;
    settings.rc_dropframe_thresh = 0;
    settings.rc_resize_allowed = 0;
    settings.rc_undershoot_pct = 100;
    settings.rc_overshoot_pct = 15;
    // Milliseconds of the target rate: short, because what the buffer allows queues in front of the network.
    settings.rc_buf_sz = 600;
    settings.rc_buf_initial_sz = 400;
    settings.rc_buf_optimal_sz = 500;
    Ok(settings)
}

/// A decoder; see [`VideoDecoder`].
pub struct Decoder {
    context: Context,
}

impl Decoder {
    /// Opens a decoder that waits for its first keyframe.
    ///
    /// # Errors
    /// [`CodecError`] when the library cannot be set up.
    pub fn new() -> Result<Self, CodecError> {
        let settings = vpx::vpx_codec_dec_cfg_t { threads: 1, w: 0, h: 0 };
        let mut context = Context::empty();
        // SAFETY: all pointers are valid for the call; the library copies the settings. On failure it cleans up itself.
        let code = unsafe {
            let version = vpx::VPX_DECODER_ABI_VERSION.cast_signed();
            vpx::vpx_codec_dec_init_ver(&mut *context, vpx::vpx_codec_vp8_dx(), &settings, 0, version)
        };
        if code != VPX_CODEC_OK {
            return Err(failed("set-up", code));
        }
        Ok(Self { context: Context(context) })
    }

    /// True when the last picture, or one it refers to, was damaged.
    fn is_damaged(&mut self) -> bool {
        let mut damaged: c_int = 0;
        let id = vpx::vp8_dec_control_id::VP8D_GET_FRAME_CORRUPTED as c_int;
        // SAFETY: the context is a decoder; the control writes one int through its argument.
        let code = unsafe { vpx::vpx_codec_control_(&mut *self.context.0, id, &raw mut damaged) };
        code == VPX_CODEC_OK && damaged != 0
    }

    /// The picture that the last call decoded; `None` when it is not to be shown.
    fn picture(&mut self) -> Option<VideoFrame> {
        let mut iter: vpx::vpx_codec_iter_t = std::ptr::null();
        // SAFETY: the context is a decoder; the image lives until the next call that decodes.
        let image = unsafe { vpx::vpx_codec_get_frame(&mut *self.context.0, &mut iter).as_ref() }?;
        let size = Size { width: image.d_w & !1, height: image.d_h & !1 };
        let mut i420 = Vec::with_capacity(size.i420_len());
        for (plane, size) in [(0, size), (1, size.chroma()), (2, size.chroma())] {
            for row in 0..size.height as usize {
                // SAFETY: VP8 pictures are I420; each plane has `d_h` (chroma: half) rows of at least `d_w`
                // (chroma: half) bytes, `stride` bytes apart; `size` is never above these.
                let row = unsafe {
                    let start = image.planes[plane].offset(row.cast_signed() * image.stride[plane] as isize);
                    std::slice::from_raw_parts(start, size.width as usize)
                };
                i420.extend_from_slice(row);
            }
        }
        VideoFrame::from_i420(size, i420, Instant::now())
    }
}

impl VideoDecoder for Decoder {
    fn decode(&mut self, data: &[u8]) -> Result<Option<VideoFrame>, CodecError> {
        let length = c_uint::try_from(data.len()).map_err(|_| refused("the frame is too long".to_owned()))?;
        if data.is_empty() {
            // The library takes an empty buffer for a lost frame and shows the last picture again.
            return Err(refused("the frame is empty".to_owned()));
        }
        if let Some((width, height)) = keyframe_size(data)
            && !((2..=SIDE_MAX).contains(&width) && (2..=SIDE_MAX).contains(&height))
        {
            return Err(refused(format!("picture of {width}x{height}; at most {SIDE_MAX}x{SIDE_MAX} is taken")));
        }
        // SAFETY: the context is a decoder; `data` holds `length` bytes and is only read during the call.
        let code =
            unsafe { vpx::vpx_codec_decode(&mut *self.context.0, data.as_ptr(), length, std::ptr::null_mut(), 0) };
        self.context.check(code, "decode")?;
        let picture = self.picture();
        if self.is_damaged() {
            return Err(refused("the picture or its reference is damaged; ask for a keyframe".to_owned()));
        }
        Ok(picture)
    }
}

/// Width and height in a keyframe's header (RFC 6386 §9.1); `None` for other frames and broken headers.
fn keyframe_size(data: &[u8]) -> Option<(u32, u32)> {
    let [tag, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..] = *data else { return None };
    // The two upper bits of each side ask the display to scale, which nobody does.
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
    (tag & 1 == 0).then(|| (side(w0, w1), side(h0, h1)))
}

fn refused(reason: String) -> CodecError {
    CodecError { codec: "vp8", operation: "decode", reason }
}

fn failed(operation: &'static str, code: vpx::vpx_codec_err_t) -> CodecError {
    // SAFETY: the library returns a static text for every code.
    let text = unsafe { CStr::from_ptr(vpx::vpx_codec_err_to_string(code)) };
    CodecError { codec: "vp8", operation, reason: text.to_string_lossy().into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::checks;
    use crate::frame::VideoCodec::Vp8;

    #[test]
    fn vp8_stamps_survive_300_kbit() {
        checks::round_trip(Vp8, 300_000, 33.0);
    }

    #[test]
    fn vp8_stamps_survive_1_mbit() {
        checks::round_trip(Vp8, 1_000_000, 37.0);
    }

    #[test]
    fn vp8_keyframe_comes_on_request_only() {
        checks::keyframe_on_request(Vp8);
    }

    #[test]
    fn vp8_bitrate_follows_its_target() {
        checks::bitrate_follows(Vp8);
    }

    #[test]
    fn vp8_bitrate_holds_at_every_rate_of_pictures() {
        checks::bitrate_holds_at_every_rate(Vp8);
    }

    #[test]
    fn vp8_follows_a_new_picture_size() {
        checks::size_changes(Vp8);
    }

    #[test]
    fn vp8_broken_data_is_no_panic() {
        // A keyframe header of 64x48 pixels with a first partition of 32 bytes.
        checks::survives_broken_data(Vp8, &[0x10, 4, 0, 0x9D, 0x01, 0x2A, 64, 0, 48, 0]);
    }

    #[test]
    fn vp8_giant_pictures_are_refused_before_the_library_sees_them() {
        let mut header = [0x10, 4, 0, 0x9D, 0x01, 0x2A, 0x01, 0x10, 48, 0];
        assert_eq!(keyframe_size(&header), Some((4097, 48)));
        let error = Decoder::new().unwrap().decode(&header).unwrap_err();
        assert_eq!(error.to_string(), "vp8 decode failed: picture of 4097x48; at most 4096x4096 is taken");
        header[0] |= 1;
        assert_eq!(keyframe_size(&header), None);
    }
}

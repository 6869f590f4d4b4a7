//! Encoders and decoders behind one face each; which library does the work is decided here and nowhere else.
//!
//! - H.264: Cisco's openh264, built from source ([`h264`])
//! - VP8: the system's libvpx ([`vp8`])
//! - Opus: libopus, built from source ([`opus`])

use crate::frame::{EncodedVideo, Size, VideoCodec, VideoFrame};

#[cfg(test)]
pub(crate) mod checks;
pub mod h264;
pub mod opus;
mod pace;
pub mod vp8;

/// What a video encoder is set up for.
#[derive(Clone, Copy, Debug)]
pub struct EncoderConfig {
    /// Size of every picture that will come.
    pub size: Size,
    /// Pictures a second, as far as it is known before the first ones. Later their capture times say it.
    pub fps: u32,
    /// First target, bits a second.
    pub bitrate_bps: u32,
}

/// What kind of picture the caller needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Whatever the encoder finds best.
    Any,
    /// A keyframe: a receiver joined or lost its reference.
    Keyframe,
}

/// Turns raw pictures into coded ones, one call a picture, in capture order.
pub trait VideoEncoder: Send {
    /// Encodes one picture; `None` when rate control left it out. The result carries `frame.at` as its capture time.
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses; the encoder may be used again, asking for a keyframe.
    fn encode(&mut self, frame: &VideoFrame, want: Want) -> Result<Option<EncodedVideo>, CodecError>;

    /// Sets the target, in bits a second, from the next picture on.
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses; the old target stays.
    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), CodecError>;
}

/// Turns coded pictures back into raw ones, one call a coded picture, in decoding order.
pub trait VideoDecoder: Send {
    /// Decodes one picture (see [`EncodedVideo`] for its shape); `None` when the library needs more first.
    ///
    /// # Errors
    /// [`CodecError`] on broken or hostile data, or a picture above 4096x4096; the decoder may be used again from the next keyframe.
    fn decode(&mut self, data: &[u8]) -> Result<Option<VideoFrame>, CodecError>;
}

/// A codec library refused.
#[derive(Debug, thiserror::Error)]
#[error("{codec} {operation} failed: {reason}")]
pub struct CodecError {
    /// Name of the codec, lower case.
    pub codec: &'static str,
    /// What was asked of it: `set-up`, `encode`, `decode`, `bitrate change`, `rate change`.
    pub operation: &'static str,
    /// What the library says.
    pub reason: String,
}

/// Opens a real-time encoder.
///
/// # Errors
/// [`CodecError`] when the library refuses the configuration.
pub fn video_encoder(codec: VideoCodec, config: EncoderConfig) -> Result<Box<dyn VideoEncoder>, CodecError> {
    Ok(match codec {
        VideoCodec::H264 => Box::new(h264::Encoder::new(config)?),
        VideoCodec::Vp8 => Box::new(vp8::Encoder::new(config)?),
    })
}

/// Opens a decoder.
///
/// # Errors
/// [`CodecError`] when the library cannot be set up.
pub fn video_decoder(codec: VideoCodec) -> Result<Box<dyn VideoDecoder>, CodecError> {
    Ok(match codec {
        VideoCodec::H264 => Box::new(h264::Decoder::new()?),
        VideoCodec::Vp8 => Box::new(vp8::Decoder::new()?),
    })
}

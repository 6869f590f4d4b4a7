//! The units that travel between the rooms of this crate: raw and encoded pictures and sound.

use std::time::Instant;

use bytes::Bytes;

/// Samples a second of all raw audio in this crate. Opus over RTP always uses this clock (RFC 7587 §4.1).
pub const AUDIO_RATE_HZ: u32 = 48_000;

/// Length of one audio frame: 20 ms, the packet time that RFC 7874 §3 recommends for Opus.
pub const AUDIO_FRAME_SAMPLES: usize = 960;

/// Picture size in luma samples. Both sides are even and at least 2, so that I420 chroma planes are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Luma samples a row.
    pub width: u32,
    /// Rows of luma samples.
    pub height: u32,
}

impl Size {
    /// Number of luma samples: `width * height`.
    #[must_use]
    pub const fn area(self) -> usize {
        self.width as usize * self.height as usize
    }

    /// Bytes of one tightly packed I420 picture of this size: `area * 3 / 2`.
    #[must_use]
    pub const fn i420_len(self) -> usize {
        self.area() + 2 * self.chroma().area()
    }

    /// Size of each chroma plane: half the width, half the height.
    #[must_use]
    pub const fn chroma(self) -> Self {
        Self { width: self.width / 2, height: self.height / 2 }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// One raw picture: 8-bit I420 (planar Y, U, V; BT.601 limited range), tightly packed, stride equal to width.
#[derive(Clone, Debug)]
pub struct VideoFrame {
    size: Size,
    data: Vec<u8>,
    /// When the picture was captured (sender) or handed out by the decoder (receiver).
    pub at: Instant,
}

impl VideoFrame {
    /// A black picture (Y 16, U and V 128).
    #[must_use]
    pub fn black(size: Size, at: Instant) -> Self {
        let mut data = vec![128; size.i420_len()];
        data[..size.area()].fill(16);
        Self { size, data, at }
    }

    /// Wraps tightly packed I420 bytes; `None` when `data` is not [`Size::i420_len`] long.
    #[must_use]
    pub fn from_i420(size: Size, data: Vec<u8>, at: Instant) -> Option<Self> {
        (data.len() == size.i420_len()).then_some(Self { size, data, at })
    }

    /// Width and height of the luma plane.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// All three planes, one after the other.
    #[must_use]
    pub fn i420(&self) -> &[u8] {
        &self.data
    }

    /// The luma plane, `width * height` bytes.
    #[must_use]
    pub fn y(&self) -> &[u8] {
        &self.data[..self.size.area()]
    }

    /// The U (Cb) plane, `width / 2 * height / 2` bytes.
    #[must_use]
    pub fn u(&self) -> &[u8] {
        let start = self.size.area();
        &self.data[start..start + self.size.chroma().area()]
    }

    /// The V (Cr) plane, `width / 2 * height / 2` bytes.
    #[must_use]
    pub fn v(&self) -> &[u8] {
        &self.data[self.size.area() + self.size.chroma().area()..]
    }

    /// The three planes, writable: Y, U, V.
    pub fn planes_mut(&mut self) -> (&mut [u8], &mut [u8], &mut [u8]) {
        let (y, chroma) = self.data.split_at_mut(self.size.area());
        let (u, v) = chroma.split_at_mut(self.size.chroma().area());
        (y, u, v)
    }
}

/// Mono samples at [`AUDIO_RATE_HZ`], 16 bit.
#[derive(Clone, Debug)]
pub struct AudioFrame {
    /// [`AUDIO_FRAME_SAMPLES`] of them as captured; two or three times as many where frames share a packet.
    pub samples: Vec<i16>,
    /// When the last sample was captured.
    pub at: Instant,
}

/// Video codecs this program speaks. Both are mandatory to implement for WebRTC (RFC 7742 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VideoCodec {
    /// H.264 constrained baseline, packetization-mode 1 (RFC 6184).
    H264,
    /// VP8 (RFC 7741).
    Vp8,
}

impl std::fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::H264 => "h264",
            Self::Vp8 => "vp8",
        })
    }
}

/// One encoded picture. H.264 is an Annex B byte stream with start codes, parameter sets before each keyframe; VP8 is one raw frame.
#[derive(Clone, Debug)]
pub struct EncodedVideo {
    /// The codec's bytes.
    pub data: Bytes,
    /// True when a decoder can start here.
    pub keyframe: bool,
    /// When the source picture was captured.
    pub captured_at: Instant,
}

/// A packet of coded sound.
#[derive(Clone, Debug)]
pub struct EncodedAudio {
    /// The Opus packet.
    pub data: Bytes,
    /// Samples in it, at [`AUDIO_RATE_HZ`]: one or more frames of [`AUDIO_FRAME_SAMPLES`].
    pub samples: u32,
    /// When the last sample was captured.
    pub captured_at: Instant,
}

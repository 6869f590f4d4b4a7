//! Recording what arrives, without coding it again: VP8 and Opus into WebM, H.264 and Opus into MP4.
//!
//! Owns the file and its time line. Never decodes, never waits for the network, and keeps at most a second of media in
//! memory: a file whose program was killed, or whose disk filled up, plays up to about a second before the end and says
//! how long it is, in both containers.
//!
//! - peer → [`Recorder::write_video`], [`Recorder::write_audio`] → one time line from 0 → [`webm`] or [`mp4`] → file

use std::path::Path;
use std::time::Duration;

use self::error::MuxError;
use crate::container::opus::OpusConfig;
use crate::frame::{AUDIO_RATE_HZ, Size, VideoCodec};

mod error;
mod mp4;
mod recorder;
mod time_line;
mod webm;

pub use self::error::RecordError;
pub use self::recorder::Recorder;

/// Tracks are in stereo whatever comes: an Opus packet says itself whether it is mono, and decoders then play it on both.
/// The recording begins in the middle of a stream, where nothing is to be cut.
const OPUS: OpusConfig = OpusConfig { channels: 2, pre_skip: 0, input_rate_hz: AUDIO_RATE_HZ };

/// File formats for recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// VP8 and Opus.
    WebM,
    /// H.264 and Opus, in fragments.
    Mp4,
}

impl Container {
    /// Decides by the file's extension: `.webm` or `.mp4`, in any case.
    ///
    /// # Errors
    /// [`RecordError::UnknownContainer`] for every other extension.
    pub fn from_path(path: &Path) -> Result<Self, RecordError> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("webm") => Ok(Self::WebM),
            Some("mp4") => Ok(Self::Mp4),
            _ => Err(RecordError::UnknownContainer { path: path.to_owned() }),
        }
    }

    /// The one video codec that is recorded into this container; a call that is recorded has to agree on it.
    #[must_use]
    pub const fn video_codec(self) -> VideoCodec {
        match self {
            Self::WebM => VideoCodec::Vp8,
            Self::Mp4 => VideoCodec::H264,
        }
    }
}

/// Which tracks a recording has. They cannot change once the first packet was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracks {
    /// Sound and pictures; the file begins with the first keyframe, sound before it is dropped.
    AudioAndVideo,
    /// Sound alone; pictures are ignored.
    Audio,
}

/// Whether a decoder can start at a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    /// It needs no other picture.
    Key,
    /// It needs pictures before it.
    Delta,
}

/// One coded picture that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// VP8: one frame. H.264: Annex B; keyframes carry SPS and PPS.
    pub data: &'a [u8],
    /// Whether a decoder can start here.
    pub kind: PictureKind,
    /// Its size, luma samples.
    pub size: Size,
    /// When it is shown, on the time line that it shares with the sound.
    pub pts: Duration,
}

/// What was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Pictures in the file; 0 pictures and 0 packets leave an empty file.
    pub video_frames: u64,
    /// Opus packets in the file.
    pub audio_frames: u64,
    /// From the first to the last packet.
    pub duration: Duration,
}

/// Puts packets into one container. Times start at 0 and rise within each track.
trait Muxer: Send {
    fn video(&mut self, data: &[u8], kind: PictureKind, pts: Duration) -> Result<(), MuxError>;
    fn audio(&mut self, packet: &[u8], pts: Duration) -> Result<(), MuxError>;
    /// Completes the file; called once, last.
    fn finish(&mut self) -> Result<(), MuxError>;
    /// After an error: leaves a file that plays as far as it was written. Called once, last.
    fn abandon(&mut self);
}

#[cfg(test)]
mod tests;

//! Recording what arrives, without coding it again: VP8 and Opus into WebM, H.264 and Opus into MP4.
//!
//! Owns the file and its time line. Never decodes, never waits for the network, and keeps at most a second of media in
//! memory: a file whose program was killed, or whose disk filled up, plays up to about a second before the end and says
//! how long it is, in both containers.
//!
//! - peer → [`Recorder::write_video`], [`Recorder::write_audio`] → one time line from 0 → [`webm`] or [`mp4`] → file

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::container::opus::OpusConfig;
use crate::existing::Existing;
use crate::frame::{AUDIO_RATE_HZ, Size, VideoCodec};
use crate::patience::is_special;
use crate::private_file;

mod mp4;
mod webm;

/// Least distance of two packets of one track in the file: WebM counts milliseconds, and players want rising times.
const STEP_MIN: Duration = Duration::from_millis(1);

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

/// Recording failed; the text says what to try.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The extension names no container.
    #[error("cannot record to {path}: name it .webm (VP8 and Opus) or .mp4 (H.264 and Opus)")]
    UnknownContainer {
        /// The file.
        path: PathBuf,
    },
    /// There is another file of that name.
    #[error("{path} is there already; name another file, or pass --overwrite")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be created.
    #[error("cannot record to {path}: {source}; choose a folder that exists and that you may write to")]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Writing failed; what was written before it plays.
    #[error("cannot write the recording {path}: {source}{}", advice(.source))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The container does not take this packet.
    #[error("cannot put a packet into the recording {path}: {reason}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

fn advice(cause: &std::io::Error) -> &'static str {
    match cause.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "; make room on the disk; what was recorded until then plays"
        }
        _ => "",
    }
}

/// Why a muxer stopped.
#[derive(Debug)]
enum MuxError {
    Io(std::io::Error),
    Refused(String),
}

impl From<std::io::Error> for MuxError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
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

/// Writes one file. Dropping it without [`Recorder::finish`] completes the file as well, but tells nobody of errors.
pub struct Recorder {
    path: PathBuf,
    /// The file was not there before; it is removed again when nothing comes.
    is_new: bool,
    container: Container,
    tracks: Tracks,
    state: State,
    summary: Summary,
    line: TimeLine,
    /// Size of the first picture, later of the last one that was reported.
    size: Option<Size>,
}

enum State {
    /// Nothing that a file can begin with has come.
    Waiting(File),
    /// The same of a pipe or a device, which is opened with the first packet: that may wait for a reader.
    Unopened,
    Running(Box<dyn Muxer>),
    /// Finished, or given up after an error.
    Closed,
}

/// Brings the times of both tracks onto one line that starts at 0 and rises in each track.
#[derive(Debug, Default)]
struct TimeLine {
    start: Option<Duration>,
    last_video: Option<Duration>,
    last_audio: Option<Duration>,
}

impl TimeLine {
    fn video(&mut self, pts: Duration) -> Duration {
        let start = *self.start.get_or_insert(pts);
        Self::rise(&mut self.last_video, pts.saturating_sub(start))
    }

    fn audio(&mut self, pts: Duration) -> Duration {
        let start = *self.start.get_or_insert(pts);
        Self::rise(&mut self.last_audio, pts.saturating_sub(start))
    }

    fn rise(last: &mut Option<Duration>, pts: Duration) -> Duration {
        let pts = last.map_or(pts, |last| pts.max(last.saturating_add(STEP_MIN)));
        *last = Some(pts);
        pts
    }
}

impl Recorder {
    /// Opens the file at once, so that a path which cannot be written is known before the call; a pipe only with the first
    /// packet, since that may wait for a reader. An old file is replaced, where it may be, when the first packet is
    /// written, and not before.
    ///
    /// # Errors
    /// [`RecordError::UnknownContainer`], [`RecordError::Exists`], [`RecordError::Create`].
    pub fn create(path: &Path, tracks: Tracks, existing: Existing) -> Result<Self, RecordError> {
        let container = Container::from_path(path)?;
        let (state, is_new) = if is_special(path) {
            (State::Unopened, false)
        } else {
            let (file, is_new) = open(path, existing)?;
            (State::Waiting(file), is_new)
        };
        Ok(Self {
            path: path.to_owned(),
            is_new,
            container,
            tracks,
            state,
            summary: Summary::default(),
            line: TimeLine::default(),
            size: None,
        })
    }

    /// Chooses the tracks anew, once it is known what will arrive; nothing may have been written yet.
    pub fn set_tracks(&mut self, tracks: Tracks) {
        if self.is_waiting() {
            self.tracks = tracks;
        }
    }

    /// Which container the file's name chose.
    #[must_use]
    pub const fn container(&self) -> Container {
        self.container
    }

    /// Adds a picture. Pictures before the first keyframe are dropped; so is everything after an error.
    ///
    /// A picture of another size goes into the same track: WebM and most MP4 players follow the size inside the picture;
    /// some MP4 players keep the first size.
    ///
    /// # Errors
    /// [`RecordError::Write`], [`RecordError::Refused`]; the recording ends there.
    pub fn write_video(&mut self, picture: Picture<'_>) -> Result<(), RecordError> {
        if self.tracks == Tracks::Audio || picture.data.is_empty() {
            return Ok(());
        }
        if self.is_waiting() {
            if picture.kind != PictureKind::Key {
                return Ok(());
            }
            self.start(Some(picture))?;
        }
        self.notice_size(picture.size);
        let State::Running(muxer) = &mut self.state else { return Ok(()) };
        let pts = self.line.video(picture.pts);
        let written = muxer.video(picture.data, picture.kind, pts);
        self.count(written, pts, |summary| summary.video_frames += 1)
    }

    /// Adds an Opus packet. Before the first keyframe it is dropped, unless there is no video.
    ///
    /// # Errors
    /// [`RecordError::Write`], [`RecordError::Refused`]; the recording ends there.
    pub fn write_audio(&mut self, opus_packet: &[u8], pts: Duration) -> Result<(), RecordError> {
        if opus_packet.is_empty() || self.line.start.is_some_and(|start| pts < start) {
            return Ok(());
        }
        if self.tracks == Tracks::Audio && self.is_waiting() {
            self.start(None)?;
        }
        let State::Running(muxer) = &mut self.state else { return Ok(()) };
        let pts = self.line.audio(pts);
        let written = muxer.audio(opus_packet, pts);
        self.count(written, pts, |summary| summary.audio_frames += 1)
    }

    /// Completes the file; one in which nothing would be is removed, if it was not there before.
    ///
    /// # Errors
    /// [`RecordError::Write`], [`RecordError::Refused`]; the file then is as if the program had been killed.
    pub fn finish(mut self) -> Result<Summary, RecordError> {
        self.close()?;
        Ok(self.summary)
    }

    /// Sets the muxer up; stays waiting when the first picture lacks what the container's header needs.
    fn start(&mut self, first: Option<Picture<'_>>) -> Result<(), RecordError> {
        let write_failed = |source| RecordError::Write { path: self.path.clone(), source };
        let file = match &self.state {
            State::Waiting(file) => {
                let file = file.try_clone().map_err(write_failed)?;
                file.set_len(0).map_err(write_failed)?;
                file
            }
            State::Unopened => File::options().write(true).open(&self.path).map_err(write_failed)?,
            State::Running(_) | State::Closed => return Ok(()),
        };
        let muxer = match self.container {
            Container::WebM => webm::Muxer::start(file, first.map(|picture| picture.size)).map(boxed),
            Container::Mp4 => match first.map(|picture| mp4::VideoHeader::read(picture.data, picture.size)).transpose()
            {
                Ok(header) => mp4::Muxer::start(file, header).map(boxed),
                Err(error) => {
                    tracing::debug!(?error, "a keyframe cannot begin the recording; waiting for the next one");
                    return Ok(());
                }
            },
        };
        self.size = first.map(|picture| picture.size);
        self.state = State::Running(muxer.map_err(|error| self.fail(error))?);
        Ok(())
    }

    fn count(
        &mut self,
        written: Result<(), MuxError>,
        pts: Duration,
        counted: impl FnOnce(&mut Summary),
    ) -> Result<(), RecordError> {
        written.map_err(|error| self.fail(error))?;
        counted(&mut self.summary);
        self.summary.duration = self.summary.duration.max(pts);
        Ok(())
    }

    fn remove_if_empty(&self) {
        let is_empty = || std::fs::metadata(&self.path).is_ok_and(|file| file.is_file() && file.len() == 0);
        if self.is_new && is_empty() {
            // It is in nobody's way when it cannot be removed.
            let _left = std::fs::remove_file(&self.path);
        }
    }

    fn notice_size(&mut self, size: Size) {
        if let Some(old) = self.size.replace(size)
            && old != size
        {
            tracing::info!(%old, new = %size, "the picture size changed; the recording goes on in the same track");
        }
    }

    fn close(&mut self) -> Result<(), RecordError> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Running(mut muxer) => muxer.finish().map_err(|error| {
                self.state = State::Running(muxer);
                self.fail(error)
            }),
            State::Waiting(_) => {
                self.remove_if_empty();
                Ok(())
            }
            State::Unopened | State::Closed => Ok(()),
        }
    }

    /// True until the first packet is written.
    const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_) | State::Unopened)
    }

    /// Where it goes.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the muxer up. What it wrote so far plays.
    fn fail(&mut self, error: MuxError) -> RecordError {
        if let State::Running(mut muxer) = std::mem::replace(&mut self.state, State::Closed) {
            muxer.abandon();
        }
        self.remove_if_empty();
        let path = self.path.clone();
        match error {
            MuxError::Io(source) => RecordError::Write { path, source },
            MuxError::Refused(reason) => RecordError::Refused { path, reason },
        }
    }
}

/// Opens the file for writing; whether it is a new one.
fn open(path: &Path, existing: Existing) -> Result<(File, bool), RecordError> {
    let mut options = private_file::options();
    options.write(true);
    let opened = match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            if existing.forbids(path) {
                return Err(RecordError::Exists { path: path.to_owned() });
            }
            // A link may lead to a file that is not there yet.
            options.create(true).truncate(false).open(path).map(|file| (file, false))
        }
        opened => opened.map(|file| (file, true)),
    };
    opened.map_err(|source| RecordError::Create { path: path.to_owned(), source })
}

fn boxed(muxer: impl Muxer + 'static) -> Box<dyn Muxer> {
    Box::new(muxer)
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the recording was not completed");
        }
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("path", &self.path).field("summary", &self.summary).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

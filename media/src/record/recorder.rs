//! Writes one file: waits for something that it can begin with, counts, and gives up at the first error.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{MuxError, RecordError};
use super::time_line::TimeLine;
use super::{Container, Muxer, Picture, PictureKind, Summary, Tracks, mp4, webm};
use crate::existing::Existing;
use crate::frame::Size;
use crate::patience::is_special;
use crate::private_file;

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

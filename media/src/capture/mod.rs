//! Where pictures and sound come from: devices, files and generated test media.
//!
//! Each source runs on a thread of its own, paces itself, and pushes into a [`queue`] until it is dropped.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::frame::{AudioFrame, Size, VideoFrame};
use crate::queue;
use crate::threads::end_aside;

pub mod camera;
pub mod file;
pub mod microphone;
pub mod pattern;
mod ticks;
pub mod tone;

/// Where video comes from: `camera[:NAME]`, `test`, `file:PATH`, `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoSource {
    /// A camera, the first one when unnamed. NAME is an index or a part of the device's name.
    Camera(Option<String>),
    /// The moving pattern of [`pattern`].
    Test,
    /// A Y4M, WebM or MP4 file, repeated at its end.
    File(PathBuf),
    /// No video is sent.
    None,
}

/// Where audio comes from: `mic[:NAME]`, `tone`, `file:PATH`, `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudioSource {
    /// A microphone, the system's default when unnamed. NAME is a part of the device's name.
    Microphone(Option<String>),
    /// The sweep of [`tone`].
    Tone,
    /// A WAV, WebM or MP4 file, repeated at its end.
    File(PathBuf),
    /// No audio is sent.
    None,
}

/// A source text on the command line that means nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown source {text:?}; use one of {expected}")]
pub struct UnknownSource {
    text: String,
    expected: &'static str,
}

impl FromStr for VideoSource {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "camera" => Ok(Self::Camera(None)),
            None if text == "test" => Ok(Self::Test),
            None if text == "none" => Ok(Self::None),
            Some(("camera", name)) if !name.is_empty() => Ok(Self::Camera(Some(name.to_owned()))),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err(UnknownSource { text: text.to_owned(), expected: "camera, camera:NAME, test, file:PATH, none" }),
        }
    }
}

impl FromStr for AudioSource {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "mic" => Ok(Self::Microphone(None)),
            None if text == "tone" => Ok(Self::Tone),
            None if text == "none" => Ok(Self::None),
            Some(("mic", name)) if !name.is_empty() => Ok(Self::Microphone(Some(name.to_owned()))),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err(UnknownSource { text: text.to_owned(), expected: "mic, mic:NAME, tone, file:PATH, none" }),
        }
    }
}

/// What a video source is asked for; a device or file may give another size, which its frames then carry.
#[derive(Clone, Copy, Debug)]
pub struct VideoFormat {
    /// Wanted picture size.
    pub size: Size,
    /// Wanted pictures a second, 1 to 120.
    pub fps: u32,
}

/// A source could not be opened. The text says what to try.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// There is no such device, or it cannot be opened.
    #[error("{0}")]
    Device(String),
    /// The file is missing, broken or of a kind this program does not decode.
    #[error("{0}")]
    File(String),
}

/// A running source; dropping it tells its thread to end and close the device, and never waits. A device that is opened
/// again meanwhile waits for that.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// What is captured, for people: a device's name, a file's path, `test pattern`.
    pub description: String,
    /// Sound of a device that was lost here.
    pub overruns: Overruns,
}

impl Capture {
    /// Runs `body` on a thread named `name` until it returns or [`StopFlag::is_set`] says that the capture was dropped.
    pub(crate) fn spawn(
        name: &str,
        description: String,
        body: impl FnOnce(StopFlag) + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = StopFlag(Arc::clone(&stop));
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || body(flag))?;
        Ok(Self { stop, thread: Some(thread), description, overruns: Overruns::default() })
    }

    /// Ends the source and waits until its device is closed. Blocks, a camera's for up to two seconds.
    pub fn close(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(source = %self.description, "capture thread panicked");
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            end_aside(thread);
        }
    }
}

/// How often a device had sound for which there was no room, because this program was too late to take what came before.
/// Clones count the same.
#[derive(Clone, Debug, Default)]
pub struct Overruns(Arc<AtomicU64>);

impl Overruns {
    /// So far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}

/// Tells a capture thread that it should end; asked at least every 100 ms.
#[derive(Clone, Debug)]
pub(crate) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// True once the capture was dropped.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Opens a video source; `None` for [`VideoSource::None`].
///
/// # Errors
/// [`CaptureError`] when the device or file cannot be opened; nothing keeps running then.
pub fn open_video(
    source: &VideoSource,
    format: VideoFormat,
    out: queue::Sender<Arc<VideoFrame>>,
) -> Result<Option<Capture>, CaptureError> {
    match source {
        VideoSource::Camera(name) => camera::open(name.as_deref(), format, out).map(Some),
        VideoSource::Test => pattern::open(format, out).map(Some),
        VideoSource::File(path) => file::open_video(path, format, out).map(Some),
        VideoSource::None => Ok(None),
    }
}

/// Opens an audio source; `None` for [`AudioSource::None`].
///
/// # Errors
/// [`CaptureError`] when the device or file cannot be opened; nothing keeps running then.
pub fn open_audio(source: &AudioSource, out: queue::Sender<AudioFrame>) -> Result<Option<Capture>, CaptureError> {
    match source {
        AudioSource::Microphone(name) => microphone::open(name.as_deref(), out).map(Some),
        AudioSource::Tone => tone::open(out).map(Some),
        AudioSource::File(path) => file::open_audio(path, out).map(Some),
        AudioSource::None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn whoever_drops_a_source_is_not_held_up_by_its_device() {
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let (ended_tx, ended) = std::sync::mpsc::channel();
        let capture = Capture::spawn("stuck-source", "a device that hangs".to_owned(), move |stop| {
            assert!(blocked.recv().is_err());
            ended_tx.send(stop.is_set()).unwrap();
        })
        .unwrap();
        let begun = Instant::now();
        drop(capture);
        assert!(begun.elapsed() < Duration::from_secs(10), "it waited");
        drop(release);
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(true));
    }
}

//! Devices and files of one call, open; one call at a time has them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use media::call::light::Looped;
use media::call::outgoing::{Captured, Microphone};
use media::capture::{self, AudioSource, Capture, VideoSource};
use media::codec::CodecError;
use media::frame::{VideoCodec, VideoFrame};
use media::playout::AudioSink;
use media::playout::speaker::Speaker;
use media::queue;
use media::record::{Recorder, Tracks};
use media::voice::Processing;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::output::exit::Failure;
use crate::phone::settings::{MediaSettings, Weight};

/// Captured pictures waiting for the encoder: the newest counts.
const FRAMES_MAX: usize = 2;

/// Captured sound waiting for the encoder: 200 ms.
const SOUNDS_MAX: usize = 10;

/// Most devices let one program in, once: whoever opens them waits until the call before has given them back.
static DEVICES: OnceLock<Arc<Semaphore>> = OnceLock::new();

/// How long a device may take to close.
const CLOSING: Duration = Duration::from_secs(3);

/// Closes devices on a thread that may block: threads are joined, and devices may take their time. One that hangs is
/// left behind.
pub(super) async fn close_devices<T: Send + 'static>(devices: T) {
    let closing = tokio::task::spawn_blocking(move || drop(devices));
    match tokio::time::timeout(CLOSING, closing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "a device did not close cleanly"),
        Err(_) => tracing::warn!("a device does not close; left behind"),
    }
}

/// Something that takes its time to close. Wherever it is dropped, even with a task that is aborted, it is closed on a
/// thread that may block, and whoever drops it goes on.
pub(super) struct Aside<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Aside<T> {
    pub(super) const fn new(open: T) -> Self {
        Self(Some(open))
    }

    pub(super) fn into_inner(mut self) -> T {
        self.0.take().expect("only here and where it is dropped it is taken out")
    }
}

impl<T: Send + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(open))),
            Err(_) => drop(open),
        }
    }
}

/// Where own pictures go as well.
pub(super) type SelfView = Option<queue::Sender<Arc<VideoFrame>>>;

/// Running sources, and the right to the devices.
pub(super) struct Captures {
    _video: Option<Capture>,
    _audio: Option<Capture>,
    /// `None`: nothing here is a device.
    _turn: Option<OwnedSemaphorePermit>,
}

/// Running sources and what they give.
pub(super) struct Sources {
    pub(super) captures: Captures,
    pub(super) feed: Feed,
}

/// What is to be sent.
pub(super) enum Feed {
    /// Pictures and sound as they are captured, to be encoded.
    Captured(Captured),
    /// What was encoded before.
    Looped(Looped),
}

/// Everything that a call opens. The right to the devices is in the sources, so those are dropped last.
pub(super) struct OpenMedia {
    pub(super) speaker: Option<Speaker>,
    pub(super) recorder: Option<Recorder>,
    pub(super) sources: Sources,
    /// What is done to the sound of a microphone, at first.
    pub(super) voice: Processing,
    /// Why there is no speaker, though one was asked for.
    pub(super) complaint: Option<String>,
}

/// Whether a call without a speaker is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaking {
    /// No: nobody would hear anything.
    Needed,
    /// Yes: a call on hold has it, and some devices let one stream in.
    IfFree,
}

impl OpenMedia {
    /// Opens what the settings name, on a thread that may block: devices take their time.
    pub(super) async fn open_aside(
        settings: Arc<MediaSettings>,
        self_view: SelfView,
        speaking: Speaking,
    ) -> Result<Aside<Self>, Failure> {
        let turn = turn_for(&settings).await?;
        let open = move || {
            let sources = open_sources(&settings, self_view, turn);
            let mut complaint = None;
            let speaker = match &settings.play {
                AudioSink::None => Ok(None),
                AudioSink::Speaker(name) => match Speaker::open(name.as_deref()) {
                    Ok(speaker) => Ok(Some(speaker)),
                    Err(error) if speaking == Speaking::IfFree => {
                        complaint = Some(format!("this call is not heard: {error}"));
                        Ok(None)
                    }
                    Err(error) => Err(Failure::device(error)),
                },
            };
            let (sources, speaker) = both(sources, speaker)?;
            let recorder = match &settings.record {
                Some(path) => {
                    Some(Recorder::create(path, Tracks::AudioAndVideo, settings.existing).map_err(Failure::usage)?)
                }
                None => None,
            };
            Ok(Aside::new(Self { speaker, recorder, sources, voice: settings.voice, complaint }))
        };
        tokio::task::spawn_blocking(open).await.map_err(Failure::internal)?
    }

    /// Opens devices and sources and closes them again, so that what is missing shows before the first call does.
    pub(super) async fn probe(settings: &MediaSettings) -> Result<(), Failure> {
        // A recording begins with the call, and must not replace an older one before.
        let probed = MediaSettings { record: None, ..settings.clone() };
        let open = Self::open_aside(Arc::new(probed), None, Speaking::Needed).await?;
        close_devices(open.into_inner()).await;
        Ok(())
    }
}

impl Sources {
    /// Opens camera and microphone again in the middle of a call, on a thread that may block.
    pub(super) async fn open_aside(settings: Arc<MediaSettings>, self_view: SelfView) -> Result<Self, Failure> {
        let turn = turn_for(&settings).await?;
        let open = move || open_sources(&settings, self_view, turn);
        tokio::task::spawn_blocking(open).await.map_err(Failure::internal)?
    }
}

/// The right to open devices, as soon as nobody else has it.
pub(super) async fn turn_at_devices() -> Result<OwnedSemaphorePermit, Failure> {
    let devices = Arc::clone(DEVICES.get_or_init(|| Arc::new(Semaphore::new(1))));
    devices.acquire_owned().await.map_err(Failure::internal)
}

/// The same, where any of these is a device: calls with test media alone do not wait for each other.
async fn turn_for(settings: &MediaSettings) -> Result<Option<OwnedSemaphorePermit>, Failure> {
    let test_media = matches!(settings.video, VideoSource::Test | VideoSource::File(_) | VideoSource::None)
        && matches!(settings.audio, AudioSource::Tone | AudioSource::File(_) | AudioSource::None);
    if test_media && settings.play == AudioSink::None { Ok(None) } else { turn_at_devices().await.map(Some) }
}

fn open_sources(
    settings: &MediaSettings,
    self_view: SelfView,
    turn: Option<OwnedSemaphorePermit>,
) -> Result<Sources, Failure> {
    if let Weight::Light { codecs } = &settings.weight {
        return Ok(Sources {
            captures: Captures { _video: None, _audio: None, _turn: turn },
            feed: Feed::Looped(loops(settings, codecs).map_err(Failure::internal)?),
        });
    }
    let (frames_tx, frames) = queue::bounded(FRAMES_MAX);
    let (sounds_tx, sounds) = queue::bounded(SOUNDS_MAX);
    let video = capture::open_video(&settings.video, settings.format, frames_tx).map_err(source_failure);
    let audio = capture::open_audio(&settings.audio, sounds_tx).map_err(source_failure);
    let (video, audio) = both(video, audio)?;
    let overruns = audio.as_ref().map(|capture| capture.overruns.clone()).unwrap_or_default();
    let captured = Captured {
        video: (settings.video != VideoSource::None).then_some((frames, settings.format)),
        content: settings.content,
        audio: (settings.audio != AudioSource::None).then_some(sounds),
        microphone: matches!(settings.audio, AudioSource::Microphone(_))
            .then_some(Microphone { far_end: None, overruns }),
        self_view,
    };
    Ok(Sources { captures: Captures { _video: video, _audio: audio, _turn: turn }, feed: Feed::Captured(captured) })
}

/// Both of them, or all that is wrong: whoever lacks a camera and a microphone reads of both at once.
fn both<A, B>(one: Result<A, Failure>, other: Result<B, Failure>) -> Result<(A, B), Failure> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(failure), Ok(_)) | (Ok(_), Err(failure)) => Err(failure),
        (Err(one), Err(other)) => Err(Failure::new(one.status, format!("{}; {}", one.text, other.text))),
    }
}

fn loops(settings: &MediaSettings, codecs: &[VideoCodec]) -> Result<Looped, CodecError> {
    let mut looped = Looped::default();
    if settings.video != VideoSource::None {
        looped = looped.with_pictures(settings.format, codecs)?;
    }
    if settings.audio != AudioSource::None {
        looped = looped.with_sound()?;
    }
    Ok(looped)
}

fn source_failure(error: capture::CaptureError) -> Failure {
    match error {
        capture::CaptureError::Device(text) => Failure::device(text),
        capture::CaptureError::File(text) => Failure::usage(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says on which thread it was dropped.
    struct Device(std::sync::mpsc::Sender<std::thread::ThreadId>);

    impl Drop for Device {
        fn drop(&mut self) {
            self.0.send(std::thread::current().id()).unwrap();
        }
    }

    #[tokio::test]
    async fn a_task_that_is_aborted_closes_no_device_itself() {
        let (dropped_tx, dropped) = std::sync::mpsc::channel();
        let open = Aside::new(Device(dropped_tx));
        let task = tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(open);
        });
        tokio::task::yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        let thread = tokio::task::spawn_blocking(move || dropped.recv().unwrap()).await.unwrap();
        assert_ne!(thread, std::thread::current().id());
    }

    #[test]
    fn all_that_is_missing_is_told_at_once() {
        let missing = |text: &str| Err::<(), Failure>(Failure::device(text));
        let told = both(both(missing("no camera"), missing("no microphone")), missing("no speaker")).unwrap_err();
        assert_eq!(told.text, "no camera; no microphone; no speaker");
        assert!(both(Ok(1), Ok(2)).is_ok_and(|both| both == (1, 2)));
    }
}

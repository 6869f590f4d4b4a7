//! What encoders send by: hands coded pictures and sound to the tasks that packetise them. Never blocks.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::state::{RemoteReport, SendState};
use crate::frame::{EncodedAudio, EncodedVideo, VideoCodec};

/// What one stream of pictures is sent as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VideoStream {
    pub(crate) codec: VideoCodec,
    pub(crate) payload_type: u8,
    pub(crate) ssrc: u32,
}

/// What one stream of sound is sent as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AudioStream {
    pub(crate) payload_type: u8,
    pub(crate) ssrc: u32,
}

/// The way for encoders to send. Cheap to clone, callable from any thread, never blocks.
#[derive(Clone, Debug)]
pub struct MediaSender {
    pub(crate) video: Option<(VideoStream, mpsc::Sender<(EncodedVideo, VideoStream)>)>,
    pub(crate) audio: Option<(AudioStream, mpsc::Sender<(EncodedAudio, AudioStream)>)>,
    pub(crate) shared: Arc<SendState>,
}

impl MediaSender {
    /// The negotiated video codec; `None` when no video is to be sent.
    #[must_use]
    pub fn video_codec(&self) -> Option<VideoCodec> {
        self.video.as_ref().map(|(stream, _)| stream.codec)
    }

    /// True when audio is to be sent.
    #[must_use]
    pub const fn has_audio(&self) -> bool {
        self.audio.is_some()
    }

    /// True while ICE is restarted: nothing leaves, and nothing need be encoded. Once it is over a keyframe is asked
    /// for.
    #[must_use]
    pub fn is_path_closed(&self) -> bool {
        self.shared.path_closed.load(Ordering::Relaxed)
    }

    /// Sends a picture; a full queue drops it, counts it and asks for a keyframe, as later ones refer to it.
    pub fn video(&self, picture: EncodedVideo) {
        let Some((stream, queue)) = self.video.as_ref().filter(|_| !self.is_path_closed()) else { return };
        if queue.try_send((picture, *stream)).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            self.shared.keyframe_wanted.store(true, Ordering::Relaxed);
        }
    }

    /// Sends a sound packet; a full queue drops it and counts it.
    pub fn audio(&self, sound: EncodedAudio) {
        let Some((stream, queue)) = self.audio.as_ref().filter(|_| !self.is_path_closed()) else { return };
        if queue.try_send((sound, *stream)).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// True once after the other side asked for a keyframe.
    #[must_use]
    pub fn take_keyframe_request(&self) -> bool {
        self.shared.keyframe_wanted.swap(false, Ordering::Relaxed)
    }

    /// What the path is estimated to carry, in bits a second, for all media together.
    #[must_use]
    pub fn target_bps(&self) -> u32 {
        self.shared.target_bps.load(Ordering::Relaxed)
    }

    /// Payload bytes sent so far: video, audio.
    #[must_use]
    pub fn bytes_sent(&self) -> (u64, u64) {
        (self.shared.video_bytes.load(Ordering::Relaxed), self.shared.audio_bytes.load(Ordering::Relaxed))
    }

    /// Pictures and sound packets dropped here because the engine was too slow.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Keyframes the other side asked for.
    #[must_use]
    pub fn keyframe_requests(&self) -> u64 {
        self.shared.keyframe_requests.load(Ordering::Relaxed)
    }

    /// The latest reports of the other side: on our video, on our audio.
    #[must_use]
    pub fn remote_reports(&self) -> (Option<RemoteReport>, Option<RemoteReport>) {
        let read = |report: &Mutex<Option<RemoteReport>>| *report.lock().unwrap_or_else(PoisonError::into_inner);
        (read(&self.shared.video_report), read(&self.shared.audio_report))
    }
}

#[cfg(test)]
impl MediaSender {
    /// A sender that leads to nobody but the test, and what it shares with its peer connection.
    pub(crate) fn to_test(codec: VideoCodec) -> (Self, SentToTest) {
        let shared = Arc::new(SendState::new(Arc::new(std::sync::atomic::AtomicU32::new(1_000_000)), Arc::default()));
        let ((pictures_tx, pictures), (sounds_tx, sounds)) = (mpsc::channel(64), mpsc::channel(64));
        let sender = Self {
            video: Some((VideoStream { codec, payload_type: 96, ssrc: 1 }, pictures_tx)),
            audio: Some((AudioStream { payload_type: 111, ssrc: 2 }, sounds_tx)),
            shared: Arc::clone(&shared),
        };
        (sender, SentToTest { pictures, sounds, shared })
    }
}

/// The other end of [`MediaSender::to_test`].
#[cfg(test)]
pub(crate) struct SentToTest {
    pictures: mpsc::Receiver<(EncodedVideo, VideoStream)>,
    sounds: mpsc::Receiver<(EncodedAudio, AudioStream)>,
    shared: Arc<SendState>,
}

#[cfg(test)]
impl SentToTest {
    /// Whether each picture that came is a keyframe, and how many sound packets came.
    pub(crate) fn take(&mut self) -> (Vec<bool>, usize) {
        let pictures = std::iter::from_fn(|| self.pictures.try_recv().ok()).map(|(picture, _)| picture.keyframe);
        let pictures = pictures.collect();
        (pictures, std::iter::from_fn(|| self.sounds.try_recv().ok()).count())
    }

    pub(crate) fn close_path(&self) {
        self.shared.close_path();
    }

    pub(crate) fn open_path(&self) {
        self.shared.open_path();
    }

    /// The estimate of the path from now on.
    pub(crate) fn carries(&self, bits_a_second: u32) {
        self.shared.target_bps.store(bits_a_second, Ordering::Relaxed);
    }
}

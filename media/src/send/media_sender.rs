//! [`MediaSender`]: takes coded pictures and sound from encoder threads, and queues them for the tasks that packetise.
//! Never blocks.

use std::sync::Arc;
#[cfg(test)]
use std::time::Duration;

use tokio::sync::mpsc;

use super::captures::Captures;
use super::keyframe_demand::{KeyframeCause, KeyframeDemand};
use super::path_gate::PathGate;
use super::redundancy::Copies;
use super::stream_stats::{RemoteReport, StreamStats};
use crate::congestion::estimate::{PathEstimate, SharedEstimate};
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
    /// Payload type of packets with copies of earlier ones (RFC 2198); `None` where the other side takes none.
    pub(crate) red: Option<u8>,
    pub(crate) silence: Silence,
    pub(crate) ssrc: u32,
}

/// What becomes of packets that hold nothing but silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// They are sent.
    Sent,
    /// Most are left out (DTX), as the other side prefers it (`usedtx`, RFC 7587 §6.1).
    LeftOut,
}

/// A packet of sound to be sent, and how.
#[derive(Debug)]
pub(crate) struct OutgoingSound {
    pub(crate) sound: EncodedAudio,
    pub(crate) stream: AudioStream,
    pub(crate) copies: Copies,
}

/// The way for encoders to send. Cheap to clone, callable from any thread, never blocks.
#[derive(Clone, Debug)]
pub struct MediaSender {
    pub(crate) video: Option<(VideoStream, mpsc::Sender<(EncodedVideo, VideoStream)>)>,
    pub(crate) audio: Option<(AudioStream, mpsc::Sender<OutgoingSound>)>,
    pub(crate) watched: Watched,
}

/// What encoders look at while they send, and what statistics are read from; the same for all senders of one peer
/// connection.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) estimate: SharedEstimate,
    pub(crate) gate: Arc<PathGate>,
    pub(crate) keyframes: Arc<KeyframeDemand>,
    pub(crate) captures: Arc<Captures>,
    pub(crate) video: Arc<StreamStats>,
    pub(crate) audio: Arc<StreamStats>,
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
        self.watched.gate.is_closed()
    }

    /// Sends a picture; a full queue drops it, counts it and asks for a keyframe, as later ones refer to it.
    pub fn video(&self, picture: EncodedVideo) {
        let Some((stream, queue)) = self.video.as_ref().filter(|_| !self.is_path_closed()) else { return };
        if queue.try_send((picture, *stream)).is_err() {
            self.watched.video.drop_one();
            self.watched.keyframes.want();
        }
    }

    /// Sends a sound packet, with copies of earlier ones where the other side takes them; a full queue drops it and counts
    /// it.
    pub fn audio(&self, sound: EncodedAudio, copies: Copies) {
        let Some((stream, queue)) = self.audio.as_ref().filter(|_| !self.is_path_closed()) else { return };
        if queue.try_send(OutgoingSound { sound, stream: *stream, copies }).is_err() {
            self.watched.audio.drop_one();
        }
    }

    /// True when the other side takes packets with copies of earlier ones (RED, RFC 2198).
    #[must_use]
    pub fn has_redundancy(&self) -> bool {
        self.audio.as_ref().is_some_and(|(stream, _)| stream.red.is_some())
    }

    /// True when packets of silence are left out (DTX): the encoder need not make them.
    #[must_use]
    pub fn leaves_silence_out(&self) -> bool {
        self.audio.as_ref().is_some_and(|(stream, _)| stream.silence == Silence::LeftOut)
    }

    /// Why a keyframe is wanted, once.
    #[must_use]
    pub fn take_keyframe_demand(&self) -> Option<KeyframeCause> {
        self.watched.keyframes.take()
    }

    /// What is known of the path.
    #[must_use]
    pub fn path_estimate(&self) -> PathEstimate {
        self.watched.estimate.get()
    }

    /// Payload bytes sent so far: video, audio.
    #[must_use]
    pub fn bytes_sent(&self) -> (u64, u64) {
        (self.watched.video.bytes(), self.watched.audio.bytes())
    }

    /// Pictures and sound packets dropped here because the engine was too slow.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.watched.video.dropped() + self.watched.audio.dropped()
    }

    /// Keyframes the other side asked for.
    #[must_use]
    pub fn keyframe_requests(&self) -> u64 {
        self.watched.keyframes.requests()
    }

    /// The latest reports of the other side: on our video, on our audio.
    #[must_use]
    pub fn remote_reports(&self) -> (Option<RemoteReport>, Option<RemoteReport>) {
        (self.watched.video.report(), self.watched.audio.report())
    }
}

#[cfg(test)]
impl MediaSender {
    /// A sender that leads to nobody but the test, and the other end of it.
    pub(crate) fn to_test(codec: VideoCodec) -> (Self, SentToTest) {
        let watched = Watched {
            estimate: SharedEstimate::new(1_000_000),
            gate: Arc::default(),
            keyframes: Arc::default(),
            captures: Arc::default(),
            video: Arc::default(),
            audio: Arc::default(),
        };
        let ((pictures_tx, pictures), (sounds_tx, sounds)) = (mpsc::channel(64), mpsc::channel(64));
        let sender = Self {
            video: Some((VideoStream { codec, payload_type: 96, ssrc: 1 }, pictures_tx)),
            audio: Some((AudioStream { payload_type: 111, red: None, silence: Silence::Sent, ssrc: 2 }, sounds_tx)),
            watched: watched.clone(),
        };
        (sender, SentToTest { pictures, sounds, watched })
    }
}

/// The other end of [`MediaSender::to_test`].
#[cfg(test)]
pub(crate) struct SentToTest {
    pictures: mpsc::Receiver<(EncodedVideo, VideoStream)>,
    sounds: mpsc::Receiver<OutgoingSound>,
    watched: Watched,
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
        self.watched.gate.close();
    }

    pub(crate) fn open_path(&self) {
        self.watched.keyframes.want();
        self.watched.gate.open();
    }

    /// What is sent from now on waits so long in the pacer.
    pub(crate) fn waits(&self, pacer_queue: Duration) {
        self.watched.estimate.update(|estimate| estimate.pacer_queue = pacer_queue);
    }
}

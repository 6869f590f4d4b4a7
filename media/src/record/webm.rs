//! WebM: VP8 and Opus through libwebm.
//!
//! libwebm wants all packets of both tracks in the order of their times, but sound and pictures arrive out of step.
//! So packets wait here, sorted, until the newest one is [`SKEW_MAX`] ahead. A killed program loses those, and nothing else:
//! clusters are written as they come, their sizes are only hints, and the total duration is kept up to date.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use webm::mux::{AudioCodecId, AudioTrack, Segment, SegmentBuilder, VideoCodecId, VideoTrack, Writer};

use super::{MuxError, OPUS, PictureKind};
use crate::frame::{AUDIO_RATE_HZ, Size};

/// How far the arrival of sound and pictures of one moment may differ. Later packets are moved to the last written time.
const SKEW_MAX: Duration = Duration::from_millis(600);

/// No more than this waits, whatever the times say: a second of both tracks has fewer than 200 packets.
const WAITING_MAX: usize = 1000;

/// How often the total duration is written anew.
const DURATION_EVERY: Duration = Duration::from_secs(1);

/// Room for one packet and its header is enough; more would be lost when the program is killed.
const BUFFER_BYTES: usize = 4096;

pub(super) struct Muxer {
    /// `None` once finished.
    segment: Option<Segment<Sink>>,
    video: Option<VideoTrack>,
    audio: AudioTrack,
    failure: Failure,
    /// `None` where it cannot be written anew, as in a pipe.
    duration: Option<DurationField>,
    /// Sorted by time; the number keeps equal times apart in the order of their arrival.
    waiting: BTreeMap<(Duration, u64), Packet>,
    arrived: u64,
    newest: Duration,
    last_written: Duration,
}

struct Packet {
    track: Track,
    data: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Track {
    Video(PictureKind),
    Audio,
}

impl Muxer {
    /// Writes the header. `size` is that of the first picture, or nothing for sound alone.
    pub(super) fn start(file: File, size: Option<Size>) -> Result<Self, MuxError> {
        let failure = Failure::default();
        let head = Head::default();
        let duration = file.metadata()?.is_file().then(|| file.try_clone()).transpose()?;
        let duration = duration.map(|file| DurationField::new(file, head.clone()));
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let sink = Sink { file, failure: failure.clone(), head };
        let refused = |what: &'static str| {
            let failure = failure.clone();
            move |error| failure.or_refused(what, error)
        };
        let mut builder = SegmentBuilder::new(Writer::new(sink)).map_err(refused("the file's beginning"))?;
        builder = builder.set_writing_app("tring").map_err(refused("the name of this program"))?;
        let mut video = None;
        if let Some(Size { width, height }) = size {
            let (with_video, track) = builder
                .add_video_track(width, height, VideoCodecId::VP8, None)
                .map_err(refused("a track of pictures"))?;
            (builder, video) = (with_video, Some(track));
        }
        let (builder, audio) = builder
            .add_audio_track(AUDIO_RATE_HZ, u32::from(OPUS.channels), AudioCodecId::Opus, None)
            .map_err(refused("a track of sound"))?;
        let private =
            builder.set_codec_private(audio, &OPUS.to_head()).map_err(refused("what the track of sound is"))?;
        let segment = private.build();
        Ok(Self {
            segment: Some(segment),
            video,
            audio,
            failure,
            duration,
            waiting: BTreeMap::new(),
            arrived: 0,
            newest: Duration::ZERO,
            last_written: Duration::ZERO,
        })
    }

    fn queue(&mut self, packet: Packet, pts: Duration) -> Result<(), MuxError> {
        self.arrived += 1;
        self.waiting.insert((pts, self.arrived), packet);
        self.newest = self.newest.max(pts);
        while let Some(((oldest, _), _)) = self.waiting.first_key_value()
            && (oldest.saturating_add(SKEW_MAX) <= self.newest || self.waiting.len() > WAITING_MAX)
        {
            self.write_first()?;
        }
        Ok(())
    }

    fn write_first(&mut self) -> Result<(), MuxError> {
        let (Some(((pts, _), packet)), Some(segment)) = (self.waiting.pop_first(), &mut self.segment) else {
            return Ok(());
        };
        let pts = pts.max(self.last_written);
        let pts_ns = u64::try_from(pts.as_nanos()).map_err(|_| MuxError::Refused("its time is too late".to_owned()))?;
        let added = match (packet.track, self.video) {
            (Track::Video(kind), Some(video)) => {
                segment.add_frame(video, &packet.data, pts_ns, kind == PictureKind::Key)
            }
            (Track::Audio, _) => segment.add_frame(self.audio, &packet.data, pts_ns, true),
            (Track::Video(_), None) => Ok(()),
        };
        let what = match packet.track {
            Track::Video(_) => "a picture",
            Track::Audio => "a packet of sound",
        };
        added.map_err(|error| self.failure.or_refused(what, error))?;
        self.last_written = pts;
        if let Some(duration) = &mut self.duration
            && pts.saturating_sub(duration.written) >= DURATION_EVERY
        {
            duration.write(pts)?;
        }
        Ok(())
    }
}

impl super::Muxer for Muxer {
    fn video(&mut self, data: &[u8], kind: PictureKind, pts: Duration) -> Result<(), MuxError> {
        self.queue(Packet { track: Track::Video(kind), data: data.to_vec() }, pts)
    }

    fn audio(&mut self, packet: &[u8], pts: Duration) -> Result<(), MuxError> {
        self.queue(Packet { track: Track::Audio, data: packet.to_vec() }, pts)
    }

    fn finish(&mut self) -> Result<(), MuxError> {
        while !self.waiting.is_empty() {
            self.write_first()?;
        }
        let Some(segment) = self.segment.take() else { return Ok(()) };
        let duration_ms = u64::try_from(self.newest.as_millis()).unwrap_or(u64::MAX).max(1);
        match segment.finalize(Some(duration_ms)) {
            Ok(writer) => Ok(writer.into_inner().flush()?),
            Err(_) => Err(self.failure.or_else(|| "the library that writes WebM cannot complete the file".to_owned())),
        }
    }

    fn abandon(&mut self) {
        // What is still buffered goes to the file, or where the disk is full, nowhere.
        drop(self.segment.take());
        if let Some(duration) = &mut self.duration
            && let Err(error) = duration.write(self.last_written)
        {
            tracing::debug!(%error, "the recording does not say how long it is");
        }
    }
}

/// The first bytes that were written: the headers.
#[derive(Clone, Default)]
struct Head(Arc<Mutex<Vec<u8>>>);

/// The headers have about 300 bytes.
const HEAD_BYTES_MAX: usize = 1024;

impl Head {
    fn note(&self, data: &[u8]) {
        let mut head = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = HEAD_BYTES_MAX - head.len().min(HEAD_BYTES_MAX);
        head.extend_from_slice(&data[..data.len().min(room)]);
    }

    /// Where the total duration lies in the file: libwebm writes 1.0 there, as a float of 4 bytes.
    fn duration_at(&self) -> Option<u64> {
        const ELEMENT: [u8; 7] = [0x44, 0x89, 0x84, 0x3f, 0x80, 0, 0];
        let head = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        head.windows(ELEMENT.len()).position(|bytes| bytes == ELEMENT).map(|at| at as u64 + 3)
    }
}

/// The total duration in the file, which libwebm writes at the end alone.
struct DurationField {
    file: File,
    head: Head,
    written: Duration,
}

impl DurationField {
    const fn new(file: File, head: Head) -> Self {
        Self { file, head, written: Duration::ZERO }
    }

    fn write(&mut self, duration: Duration) -> std::io::Result<()> {
        let Some(at) = self.head.duration_at() else { return Ok(()) };
        // Headers that are still buffered would be written over this.
        if self.file.metadata()?.len() < at + 4 {
            return Ok(());
        }
        let duration_ms = (duration.as_secs_f64() * 1000.0) as f32;
        self.file.write_all_at(&duration_ms.to_be_bytes(), at)?;
        self.written = duration;
        Ok(())
    }
}

/// The system's reason for a failed write, which libwebm does not hand on.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<std::io::Error>>>);

impl Failure {
    fn note<T>(&self, result: std::io::Result<T>) -> std::io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            kind.into()
        })
    }

    /// Why `what` is not in the file.
    fn or_refused(&self, what: &str, error: webm::mux::Error) -> MuxError {
        self.or_else(|| format!("the library that writes WebM does not take {what}: {}", reason(&error)))
    }

    fn or_else(&self, reason: impl FnOnce() -> String) -> MuxError {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => MuxError::Io(error),
            None => MuxError::Refused(reason()),
        }
    }
}

/// The library's error in words.
const fn reason(error: &webm::mux::Error) -> &'static str {
    match error {
        webm::mux::Error::BadParam => "a value is outside of what it allows",
        // Unknown, and whatever may be added.
        _ => "it gives no reason",
    }
}

/// The file, seen by libwebm.
struct Sink {
    file: BufWriter<File>,
    failure: Failure,
    head: Head,
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let written = self.failure.note(self.file.write(data))?;
        self.head.note(&data[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Sink {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = self.file.seek(to);
        self.failure.note(at)
    }

    // libwebm asks often; the default would empty the buffer each time.
    fn stream_position(&mut self) -> std::io::Result<u64> {
        let at = self.file.stream_position();
        self.failure.note(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_was_refused_and_why_unless_the_system_does() {
        let failure = Failure::default();
        let refused = |failure: &Failure| failure.or_refused("a picture", webm::mux::Error::BadParam);
        let MuxError::Refused(text) = refused(&failure) else { panic!("no failure of the system") };
        assert_eq!(text, "the library that writes WebM does not take a picture: a value is outside of what it allows");
        failure.note::<()>(Err(std::io::ErrorKind::StorageFull.into())).unwrap_err();
        let MuxError::Io(error) = refused(&failure) else { panic!("the system's reason is lost") };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}

//! WebM and Matroska: VP8 pictures and Opus sound.
//!
//! Streams one block at a time. The demuxer sees the file through a [`Window`], so that no lie about a size makes it
//! allocate more than [`PACKET_BYTES_MAX`].

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use matroska_demuxer::{DemuxError, Frame, MatroskaFile, TrackType};

use super::opus::OpusTrack;
use super::{NextPicture, PACKET_BYTES_MAX, Pictures, Progress, ReadError, Sounds};
use crate::codec::{VideoDecoder, video_decoder};
use crate::frame::VideoCodec;

/// The blocks of one track.
struct Blocks {
    file: File,
    demuxer: MatroskaFile<Window>,
    track: u64,
    /// Nanoseconds of one unit of a block's time.
    scale_ns: u64,
    frame: Frame,
}

/// What is known of the chosen track.
struct Found {
    blocks: Blocks,
    codec_private: Vec<u8>,
}

impl Blocks {
    fn open(file: File, wanted: TrackType, codec: &str) -> Result<Found, ReadError> {
        let demuxer = open_demuxer(&file)?;
        let track = demuxer
            .tracks()
            .iter()
            .find(|track| track.track_type() == wanted)
            .ok_or(ReadError::Nothing(if wanted == TrackType::Video { "video" } else { "sound" }))?;
        if track.codec_id() != codec {
            let name: String = track.codec_id().chars().filter(char::is_ascii_graphic).take(32).collect();
            return Err(ReadError::Unsupported(format!("a Matroska ({})", name.get(2..).unwrap_or_default())));
        }
        if track.content_encodings().is_some_and(|encodings| !encodings.is_empty()) {
            return Err(ReadError::Unsupported("a compressed or encrypted Matroska".to_owned()));
        }
        let codec_private = track.codec_private().unwrap_or_default().to_vec();
        let track = track.track_number().get();
        let scale_ns = demuxer.info().timestamp_scale().get();
        Ok(Found { blocks: Self { file, demuxer, track, scale_ns, frame: Frame::default() }, codec_private })
    }

    /// Brings the track's next block into `self.frame` and returns its time; `None` at the end.
    fn read(&mut self) -> Result<Option<Duration>, ReadError> {
        while guarded(|| self.demuxer.next_frame(&mut self.frame))? {
            if self.frame.track == self.track {
                return Ok(Some(Duration::from_nanos(self.frame.timestamp.saturating_mul(self.scale_ns))));
            }
        }
        Ok(None)
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.demuxer = open_demuxer(&self.file)?;
        self.frame = Frame::default();
        Ok(())
    }
}

fn open_demuxer(file: &File) -> Result<MatroskaFile<Window>, ReadError> {
    let window = Window::new(file.try_clone()?)?;
    guarded(|| MatroskaFile::open(window))
}

/// Runs the demuxer; its sums are not checked, so that a hostile size may overflow into a panic when checks are compiled in.
fn guarded<T>(work: impl FnOnce() -> Result<T, DemuxError>) -> Result<T, ReadError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(DemuxError::IoError(error))) => Err(error.into()),
        Ok(Err(error)) => Err(ReadError::Broken(error.to_string())),
        Err(_) => Err(ReadError::Broken("one of its sizes is out of range".to_owned())),
    }
}

/// Reads the VP8 track of one file.
pub(super) struct VideoReader {
    blocks: Blocks,
    decoder: Box<dyn VideoDecoder>,
    /// Time of the file's first picture, which becomes 0.
    start: Option<Duration>,
    /// The last picture's time and its distance from the one before it.
    last: (Duration, Duration),
}

impl VideoReader {
    /// Reads the headers.
    pub(super) fn open(file: File) -> Result<Self, ReadError> {
        let Found { blocks, .. } = Blocks::open(file, TrackType::Video, "V_VP8")?;
        let decoder = video_decoder(VideoCodec::Vp8)?;
        Ok(Self { blocks, decoder, start: None, last: (Duration::ZERO, Duration::ZERO) })
    }
}

impl Pictures for VideoReader {
    fn next(&mut self) -> Result<NextPicture, ReadError> {
        while let Some(at) = self.blocks.read()? {
            let due = at.saturating_sub(*self.start.get_or_insert(at));
            // VP8 shows pictures in the order of their coding; one that is only a reference gives nothing.
            if let Some(frame) = self.decoder.decode(&self.blocks.frame.data)? {
                self.last = (due, due.saturating_sub(self.last.0));
                return Ok(NextPicture::Picture { frame, due });
            }
        }
        // The last picture is shown as long as the one before it.
        Ok(NextPicture::End { length: self.last.0.saturating_add(self.last.1) })
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.blocks.rewind()?;
        self.decoder = video_decoder(VideoCodec::Vp8)?;
        self.last = (Duration::ZERO, Duration::ZERO);
        Ok(())
    }
}

/// Reads the Opus track of one file.
pub(super) struct AudioReader {
    blocks: Blocks,
    opus: OpusTrack,
    pre_skip: u16,
}

impl AudioReader {
    /// Reads the headers.
    pub(super) fn open(file: File) -> Result<Self, ReadError> {
        let Found { blocks, codec_private } = Blocks::open(file, TrackType::Audio, "A_OPUS")?;
        // OpusHead (RFC 7845 §5.1): the pre-skip lies behind magic, version and channel count.
        let pre_skip = match codec_private.get(10..12) {
            Some(&[low, high]) => u16::from_le_bytes([low, high]),
            _ => 0,
        };
        Ok(Self { blocks, opus: OpusTrack::new(pre_skip)?, pre_skip })
    }
}

impl Sounds for AudioReader {
    fn read(&mut self, out: &mut Vec<i16>) -> Result<Progress, ReadError> {
        let Some(at) = self.blocks.read()? else { return Ok(Progress::End) };
        self.opus.packet(at, &self.blocks.frame.data, out)?;
        Ok(Progress::More)
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.blocks.rewind()?;
        self.opus = OpusTrack::new(self.pre_skip)?;
        Ok(())
    }
}

/// A file whose end seems never to be further away than [`PACKET_BYTES_MAX`].
///
/// The demuxer allocates what a block claims once the file is long enough for it, and asks for the end before each block.
/// Both questions are answered here without a seek.
struct Window {
    file: BufReader<File>,
    len: u64,
    /// Where the demuxer believes to be.
    at: u64,
    /// Where `file` is.
    file_at: u64,
}

impl Window {
    fn new(mut file: File) -> std::io::Result<Self> {
        let len = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        Ok(Self { file: BufReader::new(file), len, at: 0, file_at: 0 })
    }
}

impl Read for Window {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.at >= self.len {
            return Ok(0);
        }
        if self.at != self.file_at {
            // Both lie within the file, whose length fits into i64.
            self.file.seek_relative(self.at.cast_signed() - self.file_at.cast_signed())?;
            self.file_at = self.at;
        }
        let read = self.file.read(buf)?;
        self.at += read as u64;
        self.file_at = self.at;
        Ok(read)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let (from, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (self.at, by),
            SeekFrom::End(by) => (self.len.min(self.at.saturating_add(PACKET_BYTES_MAX)), by),
        };
        self.at = from.checked_add_signed(by).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

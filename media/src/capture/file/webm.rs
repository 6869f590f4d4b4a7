//! WebM and Matroska: VP8 pictures and Opus sound, one block at a time through [`matroska`](super::matroska).

use std::fs::File;
use std::time::Duration;

use super::matroska::{AUDIO, Demuxer, Track, VIDEO};
use super::opus::OpusTrack;
use super::orientation::Orientation;
use super::{NextPicture, Pictures, Progress, ReadError, Sounds};
use crate::codec::{VideoDecoder, video_decoder};
use crate::container::opus::OpusConfig;
use crate::frame::VideoCodec;

/// The frames of one track.
struct Frames {
    demuxer: Demuxer,
    track: Track,
    data: Vec<u8>,
}

impl Frames {
    /// Takes the first track of `kind` with this codec.
    fn open(file: File, kind: u64, codec: &str) -> Result<Self, ReadError> {
        let demuxer = Demuxer::open(file)?;
        let tracks = || demuxer.tracks().iter().filter(|track| track.kind == kind);
        let track = tracks()
            .find(|track| track.codec == codec)
            .or_else(|| tracks().next())
            .ok_or(ReadError::Nothing(if kind == VIDEO { "video" } else { "sound" }))?;
        if track.codec != codec {
            let name: String = track.codec.chars().filter(char::is_ascii_graphic).take(32).collect();
            return Err(ReadError::Unsupported(format!("a Matroska ({})", name.get(2..).unwrap_or_default())));
        }
        if track.is_encoded {
            return Err(ReadError::Unsupported("a compressed or encrypted Matroska".to_owned()));
        }
        let track = track.clone();
        Ok(Self { demuxer, track, data: Vec::new() })
    }

    /// Brings the track's next frame into `self.data` and returns its time; `None` at the end.
    fn read(&mut self) -> Result<Option<Duration>, ReadError> {
        self.demuxer.next_frame(self.track.number, &mut self.data)
    }
}

/// Reads the VP8 track of one file.
pub(super) struct VideoReader {
    frames: Frames,
    decoder: Box<dyn VideoDecoder>,
    /// Time of the file's first picture, which becomes 0.
    start: Option<Duration>,
    /// The last picture's time and its distance from the one before it.
    last: (Duration, Duration),
}

impl VideoReader {
    /// Reads the headers.
    pub(super) fn open(file: File) -> Result<Self, ReadError> {
        let frames = Frames::open(file, VIDEO, "V_VP8")?;
        let decoder = video_decoder(VideoCodec::Vp8)?;
        Ok(Self { frames, decoder, start: None, last: (Duration::ZERO, Duration::ZERO) })
    }

    /// How the pictures are turned before they are shown.
    pub(super) fn orientation(&self) -> Orientation {
        Orientation::of_clockwise_degrees(-self.frames.track.roll)
    }
}

impl Pictures for VideoReader {
    fn next(&mut self) -> Result<NextPicture, ReadError> {
        while let Some(at) = self.frames.read()? {
            let due = at.saturating_sub(*self.start.get_or_insert(at));
            // VP8 shows pictures in the order of their coding; one that is only a reference gives nothing.
            if let Some(frame) = self.decoder.decode(&self.frames.data)? {
                self.last = (due, due.saturating_sub(self.last.0));
                return Ok(NextPicture::Picture { frame, due });
            }
        }
        // The last picture is shown as long as the one before it.
        Ok(NextPicture::End { length: self.last.0.saturating_add(self.last.1) })
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.frames.demuxer.rewind()?;
        self.decoder = video_decoder(VideoCodec::Vp8)?;
        self.last = (Duration::ZERO, Duration::ZERO);
        Ok(())
    }
}

/// Reads the Opus track of one file.
pub(super) struct AudioReader {
    frames: Frames,
    opus: OpusTrack,
    pre_skip: u16,
}

impl AudioReader {
    /// Reads the headers.
    pub(super) fn open(file: File) -> Result<Self, ReadError> {
        let frames = Frames::open(file, AUDIO, "A_OPUS")?;
        let pre_skip = OpusConfig::pre_skip_of_head(&frames.track.codec_private).unwrap_or(0);
        Ok(Self { frames, opus: OpusTrack::new(usize::from(pre_skip))?, pre_skip })
    }
}

impl Sounds for AudioReader {
    fn read(&mut self, out: &mut Vec<i16>) -> Result<Progress, ReadError> {
        let Some(at) = self.frames.read()? else { return Ok(Progress::End) };
        self.opus.packet(at, &self.frames.data, out)?;
        Ok(Progress::More)
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.frames.demuxer.rewind()?;
        self.opus = OpusTrack::new(usize::from(self.pre_skip))?;
        Ok(())
    }
}

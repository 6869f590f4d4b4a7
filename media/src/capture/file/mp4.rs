//! MP4: H.264 pictures and Opus sound, found through the sample table of [`sample_table`](super::sample_table).
//!
//! Streams one sample at a time. Pictures leave in the order in which they are shown, also with B pictures.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::time::Duration;

use super::h264::ReorderingDecoder;
use super::opus::OpusTrack;
use super::orientation::Orientation;
use super::sample_table::{Codec, Media, Sample, Track, read_track};
use super::{NextPicture, PACKET_BYTES_MAX, Pictures, Progress, ReadError, Sounds, ticks};
use crate::container::opus::OpusConfig;
use crate::frame::{AUDIO_RATE_HZ, VideoFrame};

/// H.264 reorders within at most this many pictures (ITU-T H.264 A.3.1, `max_dec_frame_buffering`).
const REORDERED_MAX: usize = 16;

/// One track of an MP4 file, sample by sample.
struct Samples {
    file: BufReader<File>,
    track: Track,
    next: usize,
}

impl Samples {
    fn open(file: File, media: Media) -> Result<Self, ReadError> {
        let mut file = BufReader::new(file);
        let nothing = ReadError::Nothing(match media {
            Media::Video => "video",
            Media::Audio => "sound",
        });
        let track = read_track(&mut file, media)?.ok_or(nothing)?;
        Ok(Self { file, track, next: 0 })
    }

    /// The next sample's time and bytes; `None` after the last one.
    fn read(&mut self, data: &mut Vec<u8>) -> Result<Option<Duration>, ReadError> {
        let Some(&Sample { offset, size, at }) = self.track.samples.get(self.next) else { return Ok(None) };
        if u64::from(size) > PACKET_BYTES_MAX {
            return Err(ReadError::Broken(format!("one of its samples claims {size} bytes")));
        }
        self.next += 1;
        self.file.seek(SeekFrom::Start(offset))?;
        data.clear();
        if self.file.by_ref().take(u64::from(size)).read_to_end(data)? < size as usize {
            return Err(ReadError::Broken("it ends before its last sample".to_owned()));
        }
        Ok(Some(ticks(at, self.track.timescale)))
    }

    fn shown_from(&self) -> Duration {
        ticks(self.track.shown_from, self.track.timescale)
    }

    /// Of what is shown.
    fn length(&self) -> Duration {
        ticks(self.track.length, self.track.timescale).saturating_sub(self.shown_from())
    }
}

/// Reads the H.264 track of one file.
pub(super) struct VideoReader {
    samples: Samples,
    decoder: ReorderingDecoder,
    /// Times of pictures that went into the decoder and did not come out yet; they come out in the order of their times.
    due: BinaryHeap<Reverse<Duration>>,
    data: Vec<u8>,
}

impl VideoReader {
    /// Reads the sample table.
    pub(super) fn open(file: File) -> Result<Self, ReadError> {
        let samples = Samples::open(file, Media::Video)?;
        match &samples.track.codec {
            // High 10, High 4:2:2, High 4:4:4 and CAVLC 4:4:4 (ITU-T H.264 A.2).
            Codec::H264(avc) if matches!(avc.profile_idc(), 110 | 122 | 244 | 44) => {
                let profile = avc.profile_idc();
                return Err(ReadError::Unsupported(format!("an MP4 (H.264 of profile {profile}: not 8-bit 4:2:0)")));
            }
            Codec::H264(_) => {}
            codec => return Err(unsupported(codec)),
        }
        let decoder = ReorderingDecoder::new()?;
        Ok(Self { samples, decoder, due: BinaryHeap::new(), data: Vec::new() })
    }

    /// How the pictures are turned before they are shown.
    pub(super) const fn orientation(&self) -> Orientation {
        self.samples.track.orientation
    }

    /// The next picture in the order in which they are shown, with those before the edit list's beginning.
    fn decode_next(&mut self) -> Result<Option<(VideoFrame, Duration)>, ReadError> {
        while let Some(due) = self.samples.read(&mut self.data)? {
            let Codec::H264(avc) = &self.samples.track.codec else { continue };
            let picture = avc.to_byte_stream(&self.data)?;
            self.due.push(Reverse(due));
            if let Some(frame) = self.decoder.decode(&picture)? {
                return Ok(Some((frame, self.due.pop().map_or(due, |Reverse(due)| due))));
            }
            if self.due.len() > REORDERED_MAX {
                self.due.pop();
            }
        }
        let end = ticks(self.samples.track.length, self.samples.track.timescale);
        let rest = self.decoder.rest()?;
        Ok(rest.map(|frame| (frame, self.due.pop().map_or(end, |Reverse(due)| due))))
    }
}

impl Pictures for VideoReader {
    fn next(&mut self) -> Result<NextPicture, ReadError> {
        let shown_from = self.samples.shown_from();
        while let Some((frame, due)) = self.decode_next()? {
            if let Some(due) = due.checked_sub(shown_from) {
                return Ok(NextPicture::Picture { frame, due });
            }
        }
        Ok(NextPicture::End { length: self.samples.length() })
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.samples.next = 0;
        self.due.clear();
        self.decoder = ReorderingDecoder::new()?;
        Ok(())
    }
}

/// Reads the Opus track of one file.
pub(super) struct AudioReader {
    samples: Samples,
    opus: OpusTrack,
    /// Samples that are not heard, at the beginning.
    skip: usize,
    data: Vec<u8>,
}

impl AudioReader {
    /// Reads the sample table.
    pub(super) fn open(file: File) -> Result<Self, ReadError> {
        let samples = Samples::open(file, Media::Audio)?;
        let Codec::Opus(OpusConfig { pre_skip, .. }) = samples.track.codec else {
            return Err(unsupported(&samples.track.codec));
        };
        // An edit list that begins behind the pre-skip names the pre-skip as well.
        let hidden = samples.shown_from().as_micros().saturating_mul(u128::from(AUDIO_RATE_HZ)) / 1_000_000;
        let skip = usize::try_from(hidden).unwrap_or(0).max(usize::from(pre_skip));
        Ok(Self { samples, opus: OpusTrack::new(skip)?, skip, data: Vec::new() })
    }
}

impl Sounds for AudioReader {
    fn read(&mut self, out: &mut Vec<i16>) -> Result<Progress, ReadError> {
        let Some(at) = self.samples.read(&mut self.data)? else { return Ok(Progress::End) };
        self.opus.packet(at, &self.data, out)?;
        Ok(Progress::More)
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.samples.next = 0;
        self.opus = OpusTrack::new(self.skip)?;
        Ok(())
    }
}

fn unsupported(codec: &Codec) -> ReadError {
    let name = match codec {
        Codec::H264(_) => "H.264",
        Codec::Opus(_) => "Opus",
        Codec::Other(kind) => match kind.as_str() {
            "av01" => "AV1",
            "vp08" => "VP8",
            "vp09" => "VP9",
            "hvc1" | "hev1" => "HEVC",
            "mp4v" => "MPEG-4 part 2",
            "mp4a" => "AAC or MP3",
            ".mp3" => "MP3",
            "ac-3" => "AC-3",
            "fLaC" => "FLAC",
            "encv" | "enca" => "encrypted",
            kind => kind,
        },
    };
    ReadError::Unsupported(format!("an MP4 ({name})"))
}

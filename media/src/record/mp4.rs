//! MP4 in fragments: H.264 at 90 kHz and Opus at 48 kHz (ISO/IEC 14496-12 and -15, "Encapsulation of Opus in ISOBMFF").
//!
//! The header is written at the first keyframe, then a fragment each second or before a keyframe, each complete in itself.
//! A fragment is written as free space and becomes a fragment with its last write, of 8 bytes: whenever the program is
//! killed or the disk is full, players find whole fragments and something to skip. The total duration is kept up to date;
//! at the end comes an index.
//! Each sample's duration is the distance to the next one, so one sample a track waits for its successor.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use super::{MuxError, PictureKind};
use crate::container::h264::{self, AvcConfig};
use crate::container::isobmff;
use crate::frame::Size;

mod boxes;

/// Ticks a second of both tracks: RTP's clocks.
const VIDEO_RATE_HZ: u32 = 90_000;
const AUDIO_RATE_HZ: u32 = crate::frame::AUDIO_RATE_HZ;

/// Longest time in one fragment: what a killed program loses.
const FRAGMENT_MAX: Duration = Duration::from_secs(1);

/// Largest fragment; a second of 8 Mbit/s has 1 MB.
const FRAGMENT_BYTES_MAX: usize = 8 << 20;

/// What the file's header needs to know of the video: taken from the first keyframe.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct VideoHeader {
    width: u16,
    height: u16,
    avc: AvcConfig,
}

impl VideoHeader {
    /// Reads SPS and PPS out of an Annex B keyframe.
    pub(super) fn read(keyframe: &[u8], size: Size) -> Result<Self, MuxError> {
        let side = |side: u32| u16::try_from(side).map_err(|_| MuxError::Refused(format!("its size is {size}")));
        let avc = AvcConfig::of_keyframe(keyframe)
            .ok_or_else(|| MuxError::Refused("the keyframe has no parameter sets".to_owned()))?;
        Ok(Self { width: side(size.width)?, height: side(size.height)?, avc })
    }
}

/// One sample with its time in ticks.
struct Sample {
    at: u64,
    data: Vec<u8>,
    kind: PictureKind,
}

/// Samples of one track that were not written yet.
struct TrackBuffer {
    id: u32,
    rate_hz: u32,
    /// Duration of the very last sample, when there is nothing to take it from.
    usual_duration: u32,
    /// The newest sample, whose duration is not known yet.
    held: Option<Sample>,
    /// Samples with their durations, in order without a gap.
    ready: Vec<(Sample, u32)>,
}

impl TrackBuffer {
    const fn new(id: u32, rate_hz: u32, usual_duration: u32) -> Self {
        Self { id, rate_hz, usual_duration, held: None, ready: Vec::new() }
    }

    fn push(&mut self, pts: Duration, data: Vec<u8>, kind: PictureKind) -> Result<(), MuxError> {
        let at = pts.as_nanos() * u128::from(self.rate_hz) / 1_000_000_000;
        let at = u64::try_from(at).map_err(|_| MuxError::Refused("its time is too late".to_owned()))?;
        if let Some(held) = self.held.replace(Sample { at, data, kind }) {
            let duration = u32::try_from(at.saturating_sub(held.at))
                .map_err(|_| MuxError::Refused("it comes hours after the one before it".to_owned()))?;
            self.ready.push((held, duration));
        }
        Ok(())
    }

    /// Gives the last sample the duration of the one before it.
    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            let duration = self.ready.last().map_or(self.usual_duration, |(_, duration)| *duration);
            self.ready.push((held, duration));
        }
    }

    fn end(&self) -> Option<Duration> {
        let (sample, duration) = self.ready.last()?;
        Some(to_duration(sample.at + u64::from(*duration), self.rate_hz))
    }

    fn bytes(&self) -> usize {
        self.ready.iter().map(|(sample, _)| sample.data.len()).sum()
    }

    fn span(&self) -> Duration {
        let first = self.ready.first().map_or(0, |(sample, _)| sample.at);
        self.end().unwrap_or_default().saturating_sub(to_duration(first, self.rate_hz))
    }
}

fn to_duration(ticks: u64, rate_hz: u32) -> Duration {
    let rate = u64::from(rate_hz);
    // The remainder's nanoseconds are below 10^9.
    Duration::new(ticks / rate, ((ticks % rate) * 1_000_000_000 / rate) as u32)
}

/// A fragment that begins with a keyframe: a place to jump to.
struct IndexEntry {
    time: u64,
    moof_at: u64,
}

pub(super) struct Muxer {
    file: File,
    /// False for a pipe: what was written there is gone.
    can_go_back: bool,
    /// Bytes up to the end of the last whole fragment.
    written: u64,
    /// Where the total duration is.
    duration_at: u64,
    sequence: u32,
    video: Option<TrackBuffer>,
    audio: TrackBuffer,
    index: Vec<IndexEntry>,
    end: Duration,
}

impl Muxer {
    /// Writes the header. Without a video header the file has sound alone.
    pub(super) fn start(mut file: File, video: Option<VideoHeader>) -> Result<Self, MuxError> {
        let header = boxes::header(video.as_ref());
        let can_go_back = file.metadata()?.is_file();
        file.write_all(&header.bytes)?;
        Ok(Self {
            file,
            can_go_back,
            written: header.bytes.len() as u64,
            duration_at: header.duration_at,
            sequence: 0,
            video: video.map(|_| TrackBuffer::new(boxes::VIDEO_ID, VIDEO_RATE_HZ, VIDEO_RATE_HZ / 30)),
            audio: TrackBuffer::new(boxes::AUDIO_ID, AUDIO_RATE_HZ, AUDIO_RATE_HZ / 50),
            index: Vec::new(),
            end: Duration::ZERO,
        })
    }

    fn tracks(&self) -> impl Iterator<Item = &TrackBuffer> {
        self.video.iter().chain(std::iter::once(&self.audio))
    }

    fn write_full_fragment(&mut self) -> Result<(), MuxError> {
        let full = self.tracks().any(|track| track.span() >= FRAGMENT_MAX)
            || self.tracks().map(TrackBuffer::bytes).sum::<usize>() >= FRAGMENT_BYTES_MAX;
        if full { self.write_fragment() } else { Ok(()) }
    }

    fn write_fragment(&mut self) -> Result<(), MuxError> {
        self.end = self.tracks().filter_map(TrackBuffer::end).fold(self.end, Duration::max);
        let tracks: Vec<_> = self.tracks().filter(|track| !track.ready.is_empty()).collect();
        if tracks.is_empty() {
            return Ok(());
        }
        let fragment = boxes::fragment(self.sequence + 1, &tracks);
        if let Some((first, _)) = self.video.as_ref().and_then(|video| video.ready.first())
            && first.kind == PictureKind::Key
        {
            self.index.push(IndexEntry { time: first.at, moof_at: self.written });
        }
        self.write_whole(fragment)?;
        self.sequence += 1;
        self.video.iter_mut().for_each(|video| video.ready.clear());
        self.audio.ready.clear();
        Ok(())
    }

    /// Writes a fragment so that it is there whole, or not at all.
    fn write_whole(&mut self, mut fragment: Vec<u8>) -> Result<(), MuxError> {
        let len = fragment.len() as u64;
        if !self.can_go_back {
            self.file.write_all(&fragment)?;
            self.written += len;
            return Ok(());
        }
        let hidden = isobmff::header(b"free", fragment.len() - isobmff::HEADER_BYTES);
        let Some(head) = fragment.first_chunk_mut() else { return Ok(()) };
        let shown = std::mem::replace(head, hidden);
        self.file.write_all(&fragment)?;
        self.file.write_all_at(&shown, self.written)?;
        self.written += len;
        self.write_duration()
    }

    fn write_duration(&self) -> Result<(), MuxError> {
        let duration_ms = u64::try_from(self.end.as_millis()).unwrap_or(u64::MAX);
        Ok(self.file.write_all_at(&duration_ms.to_be_bytes(), self.duration_at)?)
    }
}

impl super::Muxer for Muxer {
    fn video(&mut self, data: &[u8], kind: PictureKind, pts: Duration) -> Result<(), MuxError> {
        let Some(video) = &mut self.video else { return Ok(()) };
        // Parameter sets stay in the samples too: players that follow them survive a change of size.
        let sample = h264::to_sample(data);
        if sample.is_empty() {
            return Err(MuxError::Refused("a picture is not an H.264 byte stream".to_owned()));
        }
        video.push(pts, sample, kind)?;
        match kind {
            PictureKind::Key => self.write_fragment(),
            PictureKind::Delta => self.write_full_fragment(),
        }
    }

    fn audio(&mut self, packet: &[u8], pts: Duration) -> Result<(), MuxError> {
        self.audio.push(pts, packet.to_vec(), PictureKind::Key)?;
        self.write_full_fragment()
    }

    fn finish(&mut self) -> Result<(), MuxError> {
        self.video.iter_mut().for_each(TrackBuffer::release);
        self.audio.release();
        self.write_fragment()?;
        Ok(self.file.write_all(&boxes::index(&self.index))?)
    }

    fn abandon(&mut self) {
        if self.can_go_back {
            // Without a fragment there is nothing to play.
            let whole = if self.sequence == 0 { 0 } else { self.written };
            if let Err(error) = self.file.set_len(whole) {
                tracing::debug!(%error, "the recording keeps an incomplete fragment");
            }
        }
    }
}

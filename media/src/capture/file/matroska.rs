//! Matroska and WebM (RFC 8794, RFC 9559): the tracks of a file, and the frames of one of them, one after the other.
//!
//! Reads from front to back and needs neither index nor sizes: clusters and segment may be of unknown size, and a file
//! that was cut off plays up to there. Never allocates what the file claims, only what is there.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::time::Duration;

use super::{PACKET_BYTES_MAX, ReadError};
use crate::container::ebml::{self, Header, elements, float, number};

mod lacing;

/// Largest description of the tracks. Those of real files have kilobytes.
const TRACKS_BYTES_MAX: u64 = 1 << 20;

/// Nanoseconds of one unit of time where the file does not say.
const SCALE_NS: u64 = 1_000_000;

/// Element IDs (RFC 9559 §5.1).
mod id {
    pub(super) const EBML: u32 = 0x1a45_dfa3;
    pub(super) const SEGMENT: u32 = 0x1853_8067;
    pub(super) const INFO: u32 = 0x1549_a966;
    pub(super) const TIMESTAMP_SCALE: u32 = 0x002a_d7b1;
    pub(super) const TRACKS: u32 = 0x1654_ae6b;
    pub(super) const TRACK_ENTRY: u32 = 0xae;
    pub(super) const TRACK_NUMBER: u32 = 0xd7;
    pub(super) const TRACK_TYPE: u32 = 0x83;
    pub(super) const CODEC_ID: u32 = 0x86;
    pub(super) const CODEC_PRIVATE: u32 = 0x63a2;
    pub(super) const CONTENT_ENCODINGS: u32 = 0x6d80;
    pub(super) const VIDEO: u32 = 0xe0;
    pub(super) const PROJECTION: u32 = 0x7670;
    pub(super) const POSE_YAW: u32 = 0x7673;
    pub(super) const POSE_PITCH: u32 = 0x7674;
    pub(super) const POSE_ROLL: u32 = 0x7675;
    pub(super) const CLUSTER: u32 = 0x1f43_b675;
    pub(super) const TIMESTAMP: u32 = 0xe7;
    pub(super) const SIMPLE_BLOCK: u32 = 0xa3;
    pub(super) const BLOCK_GROUP: u32 = 0xa0;
    pub(super) const BLOCK: u32 = 0xa1;
}

/// `TrackType` of pictures and of sound.
pub(super) const VIDEO: u64 = 1;
pub(super) const AUDIO: u64 = 2;

/// What the file says of one track.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Track {
    pub(super) number: u64,
    /// [`VIDEO`], [`AUDIO`] or another.
    pub(super) kind: u64,
    pub(super) codec: String,
    pub(super) codec_private: Vec<u8>,
    /// Frames are compressed or encrypted on top of the codec.
    pub(super) is_encoded: bool,
    /// Degrees by which its pictures are turned counter-clockwise before they are shown.
    pub(super) roll: f64,
}

/// Reads one file.
pub(super) struct Demuxer {
    file: BufReader<File>,
    scale_ns: u64,
    tracks: Vec<Track>,
    clusters_at: u64,
    cluster_time: u64,
    /// Frames of the last block that were not handed out yet.
    laced: VecDeque<Vec<u8>>,
    laced_at: Duration,
}

impl Demuxer {
    /// Reads everything before the first cluster.
    pub(super) fn open(file: File) -> Result<Self, ReadError> {
        let mut file = BufReader::new(file);
        file.rewind()?;
        let ebml = Header::read(&mut file)?.filter(|header| header.id == id::EBML);
        skip(&mut file, ebml.and_then(|header| header.size).ok_or_else(|| broken("it has no EBML header"))?)?;
        if Header::read(&mut file)?.is_none_or(|header| header.id != id::SEGMENT) {
            return Err(broken("it holds no Matroska segment"));
        }
        let mut demuxer = Self {
            file,
            scale_ns: SCALE_NS,
            tracks: Vec::new(),
            clusters_at: 0,
            cluster_time: 0,
            laced: VecDeque::new(),
            laced_at: Duration::ZERO,
        };
        demuxer.read_head()?;
        Ok(demuxer)
    }

    pub(super) fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Goes back to the first cluster.
    pub(super) fn rewind(&mut self) -> Result<(), ReadError> {
        self.file.seek(SeekFrom::Start(self.clusters_at))?;
        self.cluster_time = 0;
        self.laced.clear();
        Ok(())
    }

    /// Brings the next frame of `track` into `data` and returns its time; `None` where the file ends, or was cut off.
    pub(super) fn next_frame(&mut self, track: u64, data: &mut Vec<u8>) -> Result<Option<Duration>, ReadError> {
        loop {
            if let Some(frame) = self.laced.pop_front() {
                *data = frame;
                return Ok(Some(self.laced_at));
            }
            let Some(header) = Header::read(&mut self.file)? else { return Ok(None) };
            match (header.id, header.size) {
                // What is inside follows; where they end does not matter.
                (id::CLUSTER | id::BLOCK_GROUP, _) => {}
                (id::TIMESTAMP, Some(size @ ..=8)) => {
                    let mut bytes = [0; 8];
                    if !self.read_all(&mut bytes[..size as usize])? {
                        return Ok(None);
                    }
                    self.cluster_time = number(&bytes[..size as usize]);
                }
                (id::SIMPLE_BLOCK | id::BLOCK, Some(size)) => {
                    if !self.read_block(size, track)? {
                        return Ok(None);
                    }
                }
                // Another file may have been put behind this one.
                (id::EBML | id::SEGMENT, _) | (_, None) => return Ok(None),
                (_, Some(size)) => skip(&mut self.file, size)?,
            }
        }
    }

    /// Finds scale, tracks and the first cluster, in whatever order they come.
    fn read_head(&mut self) -> Result<(), ReadError> {
        while self.tracks.is_empty() || self.clusters_at == 0 {
            let at = self.file.stream_position()?;
            let Some(Header { id, size }) = Header::read(&mut self.file)? else { break };
            match (id, size) {
                (id::TRACKS, Some(size)) => self.tracks = read_tracks(&self.payload(size)?),
                (id::INFO, Some(size)) => {
                    let info = self.payload(size)?;
                    let scale =
                        elements(&info).find(|(id, _)| *id == id::TIMESTAMP_SCALE).map(|(_, scale)| number(scale));
                    self.scale_ns = scale.filter(|scale| *scale > 0).unwrap_or(SCALE_NS);
                }
                (id::CLUSTER, _) if !self.tracks.is_empty() => self.clusters_at = at,
                (id::CLUSTER, Some(size)) => {
                    self.clusters_at = if self.clusters_at == 0 { at } else { self.clusters_at };
                    skip(&mut self.file, size)?;
                }
                (_, Some(size)) => skip(&mut self.file, size)?,
                (_, None) => return Err(broken("one of its headers has no end")),
            }
        }
        if self.tracks.is_empty() {
            return Err(broken("it ends before it names a track"));
        }
        if self.clusters_at == 0 {
            self.clusters_at = self.file.stream_position()?;
        }
        self.rewind()
    }

    /// A header in memory; where the file ends within it, what is there.
    fn payload(&mut self, size: u64) -> Result<Vec<u8>, ReadError> {
        if size > TRACKS_BYTES_MAX {
            return Err(broken("its headers are too large"));
        }
        let mut payload = Vec::new();
        self.file.by_ref().take(size).read_to_end(&mut payload)?;
        Ok(payload)
    }

    /// Takes the frames of a block, if it is one of `track`; `false` where the file ends within it.
    fn read_block(&mut self, size: u64, track: u64) -> Result<bool, ReadError> {
        let from = self.file.stream_position()?;
        let Some((number, _)) = ebml::read_number(&mut self.file)? else { return Ok(false) };
        let mut rest = [0; 3];
        if !self.read_all(&mut rest)? {
            return Ok(false);
        }
        let head = self.file.stream_position()? - from;
        let len = size.checked_sub(head).ok_or_else(|| broken("one of its blocks is too short"))?;
        if number != track {
            skip(&mut self.file, len)?;
            return Ok(true);
        }
        if len > PACKET_BYTES_MAX {
            return Err(broken(&format!("one of its blocks claims {len} bytes")));
        }
        let mut payload = Vec::new();
        if (self.file.by_ref().take(len).read_to_end(&mut payload)? as u64) < len {
            return Ok(false);
        }
        let [high, low, flags] = rest;
        let time = self.cluster_time.saturating_add_signed(i64::from(i16::from_be_bytes([high, low])));
        self.laced_at = Duration::from_nanos(time.saturating_mul(self.scale_ns));
        self.laced = lacing::frames(flags, payload).ok_or_else(|| broken("one of its blocks lies about its frames"))?;
        Ok(true)
    }

    /// `false` where the file ends.
    fn read_all(&mut self, bytes: &mut [u8]) -> Result<bool, ReadError> {
        match self.file.read_exact(bytes) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Beyond the end of the file nothing is read, and nothing is wrong.
fn skip(file: &mut BufReader<File>, size: u64) -> Result<(), ReadError> {
    let size = i64::try_from(size).map_err(|_| broken("one of its sizes is out of range"))?;
    file.seek_relative(size).map_err(|_| broken("one of its sizes is out of range"))
}

fn read_tracks(tracks: &[u8]) -> Vec<Track> {
    elements(tracks).filter(|(id, _)| *id == id::TRACK_ENTRY).map(|(_, entry)| read_track(entry)).collect()
}

fn read_track(entry: &[u8]) -> Track {
    let mut track = Track::default();
    for (id, value) in elements(entry) {
        match id {
            id::TRACK_NUMBER => track.number = number(value),
            id::TRACK_TYPE => track.kind = number(value),
            // Text may be filled up with zeros.
            id::CODEC_ID => track.codec = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
            id::CODEC_PRIVATE => value.clone_into(&mut track.codec_private),
            id::CONTENT_ENCODINGS => track.is_encoded |= !value.is_empty(),
            id::VIDEO => track.roll = read_roll(value),
            _ => {}
        }
    }
    track
}

/// How far pictures are turned within their plane; 0 for those that are turned in space.
fn read_roll(video: &[u8]) -> f64 {
    let Some((_, projection)) = elements(video).find(|(id, _)| *id == id::PROJECTION) else { return 0.0 };
    let angle = |wanted| elements(projection).find(|(id, _)| *id == wanted).map_or(0.0, |(_, angle)| float(angle));
    if angle(id::POSE_YAW) == 0.0 && angle(id::POSE_PITCH) == 0.0 { angle(id::POSE_ROLL) } else { 0.0 }
}

fn broken(reason: &str) -> ReadError {
    ReadError::Broken(reason.to_owned())
}

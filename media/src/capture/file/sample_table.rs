//! The sample table of an MP4 file (ISO/IEC 14496-12, -15; Opus in ISOBMFF): where each coded picture or packet lies.
//!
//! Reads plain and fragmented files. Keeps only the table, at most [`SAMPLES_MAX`] entries, and never indexes by what the
//! file says without looking: a file that lies gives an error. Of a file that was cut off it lists what is whole.

use std::io::{Read, Seek, SeekFrom};

use super::ReadError;
use super::orientation::Orientation;
use crate::container::h264::AvcConfig;
use crate::container::isobmff::{BoxBytes, BoxHeader, tfhd, trun};
use crate::container::opus::OpusConfig;

mod track_header;

use track_header::Edit;

/// 19 hours at 60 pictures a second; 24 bytes each.
const SAMPLES_MAX: usize = 4 << 20;

/// Largest `moov` that is read: tables of [`SAMPLES_MAX`] samples.
const MOOV_BYTES_MAX: u64 = 128 << 20;

/// Largest `moof` that is read. Fragments last seconds, their tables have kilobytes.
const MOOF_BYTES_MAX: u64 = 16 << 20;

/// Which kind of track is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Video,
    Audio,
}

/// What the samples of a track are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Codec {
    H264(AvcConfig),
    Opus(OpusConfig),
    /// The four letters of the sample entry.
    Other(String),
}

impl Codec {
    const fn is_played_as(&self, media: Media) -> bool {
        match self {
            Self::H264(_) => matches!(media, Media::Video),
            Self::Opus(_) => matches!(media, Media::Audio),
            Self::Other(_) => false,
        }
    }
}

/// One coded picture or packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// Its bytes.
    pub(super) size: u32,
    /// When it is shown, in ticks, the earliest at 0.
    pub(super) at: u64,
}

/// One track in decoding order.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) codec: Codec,
    /// How its pictures are turned before they are shown.
    pub(super) orientation: Orientation,
    /// Ticks a second, never 0.
    pub(super) timescale: u32,
    pub(super) samples: Vec<Sample>,
    /// What is earlier is decoded and not shown, in ticks.
    pub(super) shown_from: u64,
    /// Ticks from the first sample to the end of the last one.
    pub(super) length: u64,
}

/// Reads the first track of the wanted kind that can be played, else the first of that kind; `None` when there is none.
pub(super) fn read_track(file: &mut (impl Read + Seek), wanted: Media) -> Result<Option<Track>, ReadError> {
    let file_len = file.seek(SeekFrom::End(0))?;
    let mut builder: Option<Builder> = None;
    let mut at = file.seek(SeekFrom::Start(0))?;
    loop {
        let header = match BoxHeader::read(file, at) {
            Ok(Some(header)) => header,
            Ok(None) => break,
            // A file that was cut off, or written over behind its header, plays up to there.
            Err(_) if builder.is_some() => break,
            Err(error) => return Err(error.into()),
        };
        match (&header.kind, &mut builder) {
            (b"moov", None) => {
                let moov = header.payload(file, MOOV_BYTES_MAX)?;
                builder = Builder::from_moov(BoxBytes(&moov), wanted, file_len)?;
                if builder.is_none() {
                    return Ok(None);
                }
            }
            (b"moof", Some(builder)) => {
                let Ok(moof) = header.payload(file, MOOF_BYTES_MAX) else { break };
                if builder.add_fragment(BoxBytes(&moof), at).is_err() {
                    break;
                }
            }
            _ => {}
        }
        match header.end {
            Some(end) => at = file.seek(SeekFrom::Start(end))?,
            None => break,
        }
    }
    match builder {
        Some(builder) => Ok(Some(builder.finish())),
        None => Err(broken("it has no moov box; was its recording interrupted?")),
    }
}

fn broken(reason: &str) -> ReadError {
    ReadError::Broken(reason.to_owned())
}

/// Gathers the samples of one track, in decoding order with unshifted times.
struct Builder {
    track_id: u32,
    codec: Codec,
    orientation: Orientation,
    edit: Option<Edit>,
    timescale: u32,
    /// `trex`: duration and size of samples in fragments that name none.
    defaults: (u32, u32),
    /// Bytes of the file; samples that reach further are left out, with all behind them.
    file_len: u64,
    cut_off: bool,
    samples: Vec<(Sample, i64)>,
    /// Samples that were named, empty ones as well.
    named: usize,
    /// Decoding time of the next sample.
    decode_time: i64,
    /// Where the sample that is shown last ends.
    end: i64,
}

impl Builder {
    fn from_moov(moov: BoxBytes<'_>, wanted: Media, file_len: u64) -> Result<Option<Self>, ReadError> {
        let is_fragmented = moov.find(b"mvex").is_some();
        let mut first = None;
        for (_, trak) in moov.boxes().filter(|(kind, _)| kind == b"trak") {
            let track = match Self::from_trak(moov, trak, wanted, file_len) {
                Ok(Some(track)) => Ok(track),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            let has_samples = |track: &Self| is_fragmented || !track.samples.is_empty();
            if track.as_ref().is_ok_and(|track| track.codec.is_played_as(wanted) && has_samples(track)) {
                return track.map(Some);
            }
            first.get_or_insert(track);
        }
        first.transpose()
    }

    /// `None` for a track of another kind.
    fn from_trak(
        moov: BoxBytes<'_>,
        trak: BoxBytes<'_>,
        wanted: Media,
        file_len: u64,
    ) -> Result<Option<Self>, ReadError> {
        let handler: &[u8] = match wanted {
            Media::Video => b"vide",
            Media::Audio => b"soun",
        };
        let mdia = trak.need(b"mdia")?;
        let mut hdlr = mdia.need(b"hdlr")?;
        hdlr.take(8)?;
        if hdlr.take(4)? != handler {
            return Ok(None);
        }
        let mut tkhd = trak.need(b"tkhd")?;
        let (version, _) = tkhd.version_flags()?;
        tkhd.take(if version == 1 { 16 } else { 8 })?;
        let track_id = tkhd.u32()?;
        let mut mdhd = mdia.need(b"mdhd")?;
        let (version, _) = mdhd.version_flags()?;
        mdhd.take(if version == 1 { 16 } else { 8 })?;
        let timescale = mdhd.u32()?;
        if timescale == 0 {
            return Err(broken("its track has no time scale"));
        }
        let stbl = mdia.need(b"minf")?.need(b"stbl")?;
        let mut builder = Self {
            track_id,
            codec: track_header::codec(stbl.need(b"stsd")?)?,
            orientation: track_header::orientation(moov, trak),
            edit: track_header::edit(moov, trak, timescale),
            timescale,
            defaults: track_header::trex(moov, track_id)?,
            file_len,
            cut_off: false,
            samples: Vec::new(),
            named: 0,
            decode_time: 0,
            end: 0,
        };
        builder.add_table(stbl)?;
        Ok(Some(builder))
    }

    fn push(&mut self, offset: u64, size: u32, duration: u32, shift: i32) -> Result<(), ReadError> {
        self.named += 1;
        if self.named > SAMPLES_MAX {
            return Err(broken("it has too many samples"));
        }
        self.cut_off |= offset.saturating_add(u64::from(size)) > self.file_len;
        if self.cut_off {
            return Ok(());
        }
        if size > 0 {
            let at = self.decode_time.saturating_add(i64::from(shift));
            self.end = self.end.max(at.saturating_add(i64::from(duration)));
            self.samples.push((Sample { offset, size, at: 0 }, at));
        }
        self.decode_time = self.decode_time.saturating_add(i64::from(duration));
        Ok(())
    }

    /// The tables of a plain file; empty ones in a fragmented file.
    fn add_table(&mut self, stbl: BoxBytes<'_>) -> Result<(), ReadError> {
        let full = |kind| -> Result<BoxBytes<'_>, ReadError> {
            let mut payload = stbl.need(kind)?;
            payload.version_flags()?;
            Ok(payload)
        };
        let mut stsz = full(b"stsz")?;
        let (same_size, mut sizes_left) = (stsz.u32()?, stsz.u32()?);
        if same_size == 0 && stsz.0.len() / 4 < sizes_left as usize {
            return Err(broken("its table of sizes is too short"));
        }
        let mut durations = runs(full(b"stts")?.table(2)?);
        let mut shifts = runs(match stbl.find(b"ctts") {
            Some(_) => full(b"ctts")?.table(2)?,
            None => Vec::new(),
        });
        let chunks: Vec<u64> = match stbl.find(b"co64") {
            Some(_) => full(b"co64")?
                .table(2)?
                .as_chunks::<2>()
                .0
                .iter()
                .map(|[h, l]| u64::from(*h) << 32 | u64::from(*l))
                .collect(),
            None => full(b"stco")?.table(1)?.into_iter().map(u64::from).collect(),
        };
        let stsc = full(b"stsc")?.table(3)?;
        let mut chunk_runs = stsc.as_chunks::<3>().0.iter().peekable();
        let mut samples_a_chunk = 0;
        for (number, chunk) in (1_u32..).zip(chunks) {
            while let Some([_, samples, _]) = chunk_runs.next_if(|[first, ..]| *first <= number) {
                samples_a_chunk = *samples;
            }
            let mut offset = chunk;
            for _ in 0..samples_a_chunk.min(sizes_left) {
                let size = if same_size == 0 { stsz.u32()? } else { same_size };
                // ctts of version 0 is unsigned on paper, but negative values are written in both.
                let shift = shifts.next().unwrap_or(0).cast_signed();
                self.push(offset, size, durations.next().unwrap_or(0), shift)?;
                offset = offset.saturating_add(u64::from(size));
                sizes_left -= 1;
            }
        }
        Ok(())
    }

    fn add_fragment(&mut self, moof: BoxBytes<'_>, moof_at: u64) -> Result<(), ReadError> {
        for (_, traf) in moof.boxes().filter(|(kind, _)| kind == b"traf") {
            let mut head = traf.need(b"tfhd")?;
            let (_, flags) = head.version_flags()?;
            if head.u32()? != self.track_id {
                continue;
            }
            let base = if flags & tfhd::BASE_DATA_OFFSET != 0 { head.u64()? } else { moof_at };
            head.take(if flags & tfhd::SAMPLE_DESCRIPTION != 0 { 4 } else { 0 })?;
            let duration = if flags & tfhd::DEFAULT_DURATION != 0 { head.u32()? } else { self.defaults.0 };
            let size = if flags & tfhd::DEFAULT_SIZE != 0 { head.u32()? } else { self.defaults.1 };
            if let Some(mut tfdt) = traf.find(b"tfdt") {
                let (version, _) = tfdt.version_flags()?;
                let time = if version == 1 { tfdt.u64()? } else { u64::from(tfdt.u32()?) };
                self.decode_time = i64::try_from(time).map_err(|_| broken("a fragment's time is out of range"))?;
            }
            let mut offset = base;
            for (_, run) in traf.boxes().filter(|(kind, _)| kind == b"trun") {
                offset = self.add_run(run, base, offset, (duration, size))?;
            }
        }
        Ok(())
    }

    /// Returns where the data of a following run begins.
    fn add_run(
        &mut self,
        mut run: BoxBytes<'_>,
        base: u64,
        follow: u64,
        defaults: (u32, u32),
    ) -> Result<u64, ReadError> {
        let (_, flags) = run.version_flags()?;
        let count = run.u32()?;
        let mut offset = follow;
        if flags & trun::DATA_OFFSET != 0 {
            offset = base.saturating_add_signed(i64::from(run.u32()?.cast_signed()));
        }
        run.take(if flags & trun::FIRST_SAMPLE_FLAGS != 0 { 4 } else { 0 })?;
        for _ in 0..count {
            let duration = if flags & trun::DURATION != 0 { run.u32()? } else { defaults.0 };
            let size = if flags & trun::SIZE != 0 { run.u32()? } else { defaults.1 };
            run.take(if flags & trun::FLAGS != 0 { 4 } else { 0 })?;
            let shift = if flags & trun::COMPOSITION_OFFSET != 0 { run.u32()?.cast_signed() } else { 0 };
            self.push(offset, size, duration, shift)?;
            offset = offset.saturating_add(u64::from(size));
        }
        Ok(offset)
    }

    fn finish(mut self) -> Track {
        let is_shown = |edit: Edit, at: i64| at >= edit.start && edit.end.is_none_or(|end| at < end);
        // An edit list that shows nothing is not believed.
        let edit = self.edit.filter(|edit| self.samples.iter().any(|(_, at)| is_shown(*edit, *at)));
        let end = edit.and_then(|edit| edit.end).unwrap_or(i64::MAX);
        self.samples.retain(|(_, at)| *at < end);
        let first = self.samples.iter().map(|(_, at)| *at).min().unwrap_or(0);
        let since = |first: i64, at: i64| u64::try_from(at.saturating_sub(first)).unwrap_or(0);
        let samples: Vec<_> =
            self.samples.into_iter().map(|(sample, at)| Sample { at: since(first, at), ..sample }).collect();
        let length = since(first, self.end.min(end));
        Track {
            codec: self.codec,
            orientation: self.orientation,
            timescale: self.timescale,
            samples,
            shown_from: edit.map_or(0, |edit| since(first, edit.start)),
            length,
        }
    }
}

/// Run-length pairs (count, value), one value at a time.
fn runs(table: Vec<u32>) -> impl Iterator<Item = u32> {
    let pairs: Vec<[u32; 2]> = table.as_chunks::<2>().0.to_vec();
    pairs.into_iter().flat_map(|[count, value]| std::iter::repeat_n(value, count as usize))
}

//! The boxes of a fragmented MP4, as bytes. Pure: no file, no state.

use super::super::{OPUS, PictureKind};
use super::{AUDIO_RATE_HZ, IndexEntry, TrackBuffer, VIDEO_RATE_HZ, VideoHeader};
use crate::container::isobmff::{self, BoxWriter, HEADER_BYTES, parent, tfhd, trun};

/// Track numbers in the file.
pub(super) const VIDEO_ID: u32 = 1;
pub(super) const AUDIO_ID: u32 = 2;

/// Ticks a second of the total duration.
const MOVIE_RATE_HZ: u32 = 1000;

/// The unity matrix of `mvhd` and `tkhd`.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// Sample flags (ISO/IEC 14496-12 §8.8.3.1): depends on nothing; or depends on others and is no sync sample.
const SYNC: u32 = 0x0200_0000;
const NOT_SYNC: u32 = 0x0101_0000;

/// `ftyp` and `moov`.
pub(super) struct Header {
    pub(super) bytes: Vec<u8>,
    /// Where the 64-bit total duration lies, in [`MOVIE_RATE_HZ`].
    pub(super) duration_at: u64,
}

/// A full box under construction.
fn full(version: u8, flags: u32) -> BoxWriter {
    BoxWriter::full(version, flags)
}

fn matrix(written: BoxWriter) -> BoxWriter {
    MATRIX.into_iter().fold(written, BoxWriter::u32)
}

pub(super) fn header(video: Option<&VideoHeader>) -> Header {
    let ftyp = BoxWriter::default().bytes(b"iso5").u32(512).bytes(b"iso5iso6mp41").boxed(b"ftyp");
    let mvhd = full(0, 0).zeros(8).u32(MOVIE_RATE_HZ).u32(0).u32(0x1_0000).u16(0x0100).zeros(10);
    let mvhd = matrix(mvhd).zeros(24);
    let mut children = vec![mvhd.u32(AUDIO_ID + 1).boxed(b"mvhd")];
    children.extend(video.map(video_track));
    children.push(audio_track());
    let trex = |id| full(0, 0).u32(id).u32(1).zeros(12).boxed(b"trex");
    // Last in `moov`, and in it first: the total duration, unknown until the end.
    let mut mvex = vec![full(1, 0).u64(0).boxed(b"mehd")];
    mvex.extend(video.map(|_| trex(VIDEO_ID)));
    mvex.push(trex(AUDIO_ID));
    let mvex = parent(b"mvex", &mvex);
    let mvex_len = mvex.len();
    children.push(mvex);
    let bytes = [ftyp, parent(b"moov", &children)].concat();
    let duration_at = (bytes.len() - mvex_len + HEADER_BYTES + 12) as u64;
    Header { bytes, duration_at }
}

fn video_track(video: &VideoHeader) -> Vec<u8> {
    let VideoHeader { width, height, avc } = video;
    let entry = BoxWriter::default().zeros(6).u16(1).zeros(16).u16(*width).u16(*height);
    let entry = entry.u32(0x0048_0000).u32(0x0048_0000).u32(0).u16(1).zeros(32).u16(0x18).u16(0xffff);
    let entry = entry.bytes(&avc.to_avcc().boxed(b"avcC")).boxed(b"avc1");
    let media_header = full(0, 1).zeros(8).boxed(b"vmhd");
    let size = [u32::from(*width) << 16, u32::from(*height) << 16];
    track(VIDEO_ID, VIDEO_RATE_HZ, (b"vide", b"VideoHandler\0"), size, &[media_header, tables(&entry)])
}

fn audio_track() -> Vec<u8> {
    let dops = OPUS.to_dops().boxed(b"dOps");
    let entry = BoxWriter::default().zeros(6).u16(1).zeros(8).u16(OPUS.channels.into()).u16(16).zeros(4);
    let entry = entry.u32(AUDIO_RATE_HZ << 16).bytes(&dops).boxed(b"Opus");
    let media_header = full(0, 0).zeros(4).boxed(b"smhd");
    track(AUDIO_ID, AUDIO_RATE_HZ, (b"soun", b"SoundHandler\0"), [0, 0], &[media_header, tables(&entry)])
}

fn track(id: u32, rate_hz: u32, handler: (&[u8; 4], &[u8]), size: [u32; 2], media: &[Vec<u8>; 2]) -> Vec<u8> {
    let volume = if size[0] == 0 { 0x0100 } else { 0 };
    // Flags: enabled and in the movie.
    let tkhd = full(0, 3).zeros(8).u32(id).zeros(8).zeros(8).u32(0).u16(volume).u16(0);
    let tkhd = matrix(tkhd).u32(size[0]).u32(size[1]).boxed(b"tkhd");
    // 0x55c4: language undetermined.
    let mdhd = full(0, 0).zeros(8).u32(rate_hz).u32(0).u16(0x55c4).u16(0).boxed(b"mdhd");
    let hdlr = full(0, 0).u32(0).bytes(handler.0).zeros(12).bytes(handler.1).boxed(b"hdlr");
    let [media_header, stbl] = media.clone();
    let in_this_file = full(0, 1).boxed(b"url ");
    let dinf = parent(b"dinf", &[full(0, 0).u32(1).bytes(&in_this_file).boxed(b"dref")]);
    let minf = parent(b"minf", &[media_header, dinf, stbl]);
    parent(b"trak", &[tkhd, parent(b"mdia", &[mdhd, hdlr, minf])])
}

/// `stbl` with one sample entry and no samples: they are in the fragments.
fn tables(entry: &[u8]) -> Vec<u8> {
    let stsd = full(0, 0).u32(1).bytes(entry).boxed(b"stsd");
    let empty = |kind| full(0, 0).u32(0).boxed(kind);
    let stsz = full(0, 0).zeros(8).boxed(b"stsz");
    parent(b"stbl", &[stsd, empty(b"stts"), empty(b"stsc"), stsz, empty(b"stco")])
}

/// `moof` and `mdat` with everything that is ready; each track has at least one sample.
pub(super) fn fragment(sequence: u32, tracks: &[&TrackBuffer]) -> Vec<u8> {
    // The offsets of the data depend on the length of the table that holds them, but not the other way round.
    let moof_len = moof(sequence, tracks, 0).len();
    let mut fragment = moof(sequence, tracks, (moof_len + HEADER_BYTES) as u32);
    let samples = || tracks.iter().flat_map(|track| &track.ready);
    let data_len: usize = samples().map(|(sample, _)| sample.data.len()).sum();
    fragment.extend_from_slice(&isobmff::header(b"mdat", data_len));
    samples().for_each(|(sample, _)| fragment.extend_from_slice(&sample.data));
    fragment
}

fn moof(sequence: u32, tracks: &[&TrackBuffer], data_at: u32) -> Vec<u8> {
    let mut children = vec![full(0, 0).u32(sequence).boxed(b"mfhd")];
    let mut offset = data_at;
    for track in tracks {
        let head = full(0, tfhd::BASE_IS_MOOF).u32(track.id).boxed(b"tfhd");
        let start = track.ready.first().map_or(0, |(sample, _)| sample.at);
        let tfdt = full(1, 0).u64(start).boxed(b"tfdt");
        let fields = trun::DATA_OFFSET | trun::DURATION | trun::SIZE | trun::FLAGS;
        let mut run = full(0, fields).u32(track.ready.len() as u32).u32(offset);
        for (sample, duration) in &track.ready {
            let flags = if sample.kind == PictureKind::Key { SYNC } else { NOT_SYNC };
            run = run.u32(*duration).u32(sample.data.len() as u32).u32(flags);
            offset += sample.data.len() as u32;
        }
        children.push(parent(b"traf", &[head, tfdt, run.boxed(b"trun")]));
    }
    parent(b"moof", &children)
}

/// `mfra`: where the keyframes are, for players that jump. Empty without keyframes.
pub(super) fn index(entries: &[IndexEntry]) -> Vec<u8> {
    if entries.is_empty() {
        return Vec::new();
    }
    // Lengths of the three numbers behind each entry: one byte each.
    let mut tfra = full(1, 0).u32(VIDEO_ID).u32(0).u32(entries.len() as u32);
    for entry in entries {
        // The first sample of the first run of the first track.
        tfra = tfra.u64(entry.time).u64(entry.moof_at).bytes(&[1, 1, 1]);
    }
    let tfra = tfra.boxed(b"tfra");
    let mfro = full(0, 0).u32(tfra.len() as u32 + 8 + 16).boxed(b"mfro");
    parent(b"mfra", &[tfra, mfro])
}

//! What `moov` says of a track besides its samples: codec, orientation, edit list, defaults of fragments.

use super::super::ReadError;
use super::super::orientation::Orientation;
use super::{Codec, broken};
use crate::container::h264::AvcConfig;
use crate::container::isobmff::BoxBytes;
use crate::container::opus::OpusConfig;

/// The part of a track that is shown, in ticks of the media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edit {
    /// Earlier samples are decoded and not shown.
    pub(super) start: i64,
    /// Samples from here on are left out.
    pub(super) end: Option<i64>,
}

/// How the track's pictures lie in the film: its own matrix, then that of the film.
pub(super) fn orientation(moov: BoxBytes<'_>, trak: BoxBytes<'_>) -> Orientation {
    const UNITY: [[i64; 2]; 2] = [[1, 0], [0, 1]];
    // Behind version and flags: times, track number, duration, layer and volume; in versions 0 and 1.
    let track = trak.find(b"tkhd").and_then(|tkhd| matrix(tkhd, [36, 48])).unwrap_or(UNITY);
    let film = moov.find(b"mvhd").and_then(|mvhd| matrix(mvhd, [32, 44])).unwrap_or(UNITY);
    // Signs alone matter, and cannot overflow.
    let [[a, b], [c, d]] = track.map(|row| row.map(i64::signum));
    let [[e, f], [g, h]] = film.map(|row| row.map(i64::signum));
    Orientation::of_matrix([[a * e + b * g, a * f + b * h], [c * e + d * g, c * f + d * h]])
}

/// Turning and mirroring out of the nine numbers of a transformation matrix.
fn matrix(mut full_box: BoxBytes<'_>, skip: [usize; 2]) -> Option<[[i64; 2]; 2]> {
    let (version, _) = full_box.version_flags().ok()?;
    full_box.take(skip[usize::from(version == 1)]).ok()?;
    let mut number = || full_box.u32().ok().map(|number| i64::from(number.cast_signed()));
    let [a, b, _, c, d] = [number()?, number()?, number()?, number()?, number()?];
    Some([[a, b], [c, d]])
}

/// The edit list: where the first part that is shown begins, and where it ends when it is the only one.
pub(super) fn edit(moov: BoxBytes<'_>, trak: BoxBytes<'_>, timescale: u32) -> Option<Edit> {
    let mut elst = trak.find(b"edts")?.find(b"elst")?;
    let (version, _) = elst.version_flags().ok()?;
    let mut parts = Vec::new();
    for _ in 0..elst.u32().ok()? {
        let (length, start) = if version == 1 {
            (elst.u64().ok()?, elst.u64().ok()?.cast_signed())
        } else {
            (u64::from(elst.u32().ok()?), i64::from(elst.u32().ok()?.cast_signed()))
        };
        elst.take(4).ok()?;
        // A start below 0 is an empty part: a pause before the beginning.
        if start >= 0 {
            parts.push((length, start));
        }
    }
    let &(length, start) = parts.first()?;
    let mut mvhd = moov.find(b"mvhd")?;
    let (version, _) = mvhd.version_flags().ok()?;
    mvhd.take(if version == 1 { 16 } else { 8 }).ok()?;
    let film_rate = u128::from(mvhd.u32().ok()?);
    // A length of 0 is unknown, as in a file of fragments.
    let ticks = (u128::from(length) * u128::from(timescale)).checked_div(film_rate).filter(|ticks| *ticks > 0);
    let end = ticks.filter(|_| parts.len() == 1).and_then(|ticks| start.checked_add(i64::try_from(ticks).ok()?));
    Some(Edit { start, end })
}

/// Default duration and size of samples in fragments.
pub(super) fn trex(moov: BoxBytes<'_>, track_id: u32) -> Result<(u32, u32), ReadError> {
    let Some(mvex) = moov.find(b"mvex") else { return Ok((0, 0)) };
    for (_, mut trex) in mvex.boxes().filter(|(kind, _)| kind == b"trex") {
        trex.version_flags()?;
        if trex.u32()? == track_id {
            trex.u32()?;
            return Ok((trex.u32()?, trex.u32()?));
        }
    }
    Ok((0, 0))
}

pub(super) fn codec(mut stsd: BoxBytes<'_>) -> Result<Codec, ReadError> {
    stsd.version_flags()?;
    stsd.u32()?;
    let (kind, mut entry) = stsd.boxes().next().ok_or_else(|| broken("it does not name its codec"))?;
    match &kind {
        b"avc1" | b"avc3" => {
            // VisualSampleEntry: 78 bytes before its boxes.
            entry.take(78)?;
            Ok(Codec::H264(AvcConfig::from_avcc(entry.need(b"avcC")?)?))
        }
        b"Opus" => {
            // AudioSampleEntry: 28 bytes before its boxes.
            entry.take(28)?;
            Ok(Codec::Opus(OpusConfig::from_dops(entry.need(b"dOps")?)?))
        }
        _ => Ok(Codec::Other(kind.iter().map(|byte| char::from(*byte)).filter(char::is_ascii_graphic).collect())),
    }
}

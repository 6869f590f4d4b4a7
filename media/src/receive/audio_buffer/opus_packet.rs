//! What an Opus packet says of itself, without being decoded (RFC 6716 §3).

/// Longest sound in one packet: 120 ms (RFC 6716 §3.4, requirement 5).
const SAMPLES_MAX: u32 = 5760;

/// A packet of at most two bytes is what an encoder in silence sends: it holds no coded sound (RFC 6716 §2.1.9).
const SILENCE_BYTES_MAX: usize = 2;

/// What the first bytes of an Opus packet tell. All lengths are samples at 48 kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpusPacket {
    /// Length of the sound.
    pub(super) samples: u32,
    /// Length of each of its frames.
    pub(super) frame_samples: u32,
    /// It holds a coarse copy of the frame before it (in-band FEC, RFC 6716 §2.1.7).
    pub(super) has_copy: bool,
    /// The sender is silent and may send nothing for a while (DTX, RFC 6716 §2.1.9).
    pub(super) is_silence: bool,
}

impl OpusPacket {
    /// Reads the table-of-contents byte and what follows it; `None` when this is no Opus packet.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let toc = *packet.first()?;
        let frame_samples = frame_samples(toc);
        let frames = match toc & 3 {
            0 => 1,
            1 | 2 => 2,
            _ => u32::from(packet.get(1)? & 0x3f),
        };
        let samples = frames * frame_samples;
        let is_silence = packet.len() <= SILENCE_BYTES_MAX;
        let has_copy = !is_silence && has_copy(packet, frame_samples).unwrap_or(false);
        (1..=SAMPLES_MAX).contains(&samples).then_some(Self { samples, frame_samples, has_copy, is_silence })
    }
}

/// Samples of a frame (RFC 6716 §3.1, table 2).
const fn frame_samples(toc: u8) -> u32 {
    let config = toc >> 3;
    match config {
        // SILK: 10, 20, 40, 60 ms.
        0..=11 => [480, 960, 1920, 2880][(config & 3) as usize],
        // Hybrid: 10, 20 ms.
        12..=15 => [480, 960][(config & 1) as usize],
        // CELT: 2.5, 5, 10, 20 ms.
        _ => [120, 240, 480, 960][(config & 3) as usize],
    }
}

/// True when the first frame begins with a set LBRR flag, of either channel (RFC 6716 §4.2.3).
fn has_copy(packet: &[u8], frame_samples: u32) -> Option<bool> {
    /// Configurations from here on are CELT alone, which has no copies.
    const CELT: u8 = 16;
    if packet[0] >> 3 >= CELT {
        return Some(false);
    }
    let first = *packet.get(first_frame_at(packet)?)?;
    // A channel has one flag of voice activity for each 20 ms, then the flag of the copy.
    let activity = frame_samples.div_ceil(960);
    let middle = first >> (7 - activity) & 1;
    let is_stereo = packet[0] & 4 != 0;
    let side = if is_stereo { first >> (6 - 2 * activity) & 1 } else { 0 };
    Some(middle | side == 1)
}

/// Where the first frame begins (RFC 6716 §3.2).
fn first_frame_at(packet: &[u8]) -> Option<usize> {
    // A length of 252 or more takes two bytes (§3.2.1).
    let length_bytes = |at: usize| packet.get(at).map(|&byte| if byte < 252 { 1 } else { 2 });
    match packet[0] & 3 {
        0 | 1 => Some(1),
        2 => Some(1 + length_bytes(1)?),
        _ => {
            let count = *packet.get(1)?;
            let mut at = 2;
            if count & 0x40 != 0 {
                // Lengths of padding: 255 means that another byte follows (§3.2.5).
                while *packet.get(at)? == 255 {
                    at += 1;
                }
                at += 1;
            }
            if count & 0x80 != 0 {
                for _ in 1..count & 0x3f {
                    at += length_bytes(at)?;
                }
            }
            Some(at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(packet: &[u8]) -> Option<u32> {
        OpusPacket::read(packet).map(|packet| packet.samples)
    }

    #[test]
    fn the_length_is_that_of_the_table() {
        let of_config = |config: u8| samples(&[config << 3, 0, 0]).unwrap() / 120;
        let quarters: Vec<u32> = (0..32).map(of_config).collect();
        let (silk, hybrid, celt) = ([4, 8, 16, 24], [4, 8], [1, 2, 4, 8]);
        let table: Vec<u32> = [silk.repeat(3), hybrid.repeat(2), celt.repeat(4)].concat();
        assert_eq!(quarters, table);
    }

    #[test]
    fn several_frames_add_up_to_120_ms_at_most() {
        let toc = 31 << 3;
        assert_eq!((samples(&[toc | 1, 0, 0]), samples(&[toc | 2, 0, 0])), (Some(1920), Some(1920)));
        assert_eq!((samples(&[toc | 3, 6, 0]), samples(&[toc | 3, 7, 0])), (Some(5760), None));
        assert_eq!((samples(&[]), samples(&[toc | 3]), samples(&[toc | 3, 0])), (None, None, None));
    }

    #[test]
    fn two_bytes_are_silence() {
        let is_silence = |packet: &[u8]| OpusPacket::read(packet).unwrap().is_silence;
        assert!(is_silence(&[8]) && is_silence(&[8, 0]) && !is_silence(&[8, 0, 0]));
    }

    #[test]
    fn a_copy_is_seen_in_every_way_to_pack_frames() {
        let has_copy = |packet: &[u8]| OpusPacket::read(packet).unwrap().has_copy;
        // SILK, 20 ms: activity, copy; 60 ms: three of activity, copy; stereo: the same again.
        assert!(has_copy(&[1 << 3, 0x40, 0]) && !has_copy(&[1 << 3, 0xbf, 0]));
        assert!(has_copy(&[3 << 3, 0x10, 0]) && !has_copy(&[3 << 3, 0xef, 0]));
        assert!(has_copy(&[1 << 3 | 4, 0x10, 0]));
        assert!(has_copy(&[1 << 3 | 2, 1, 0x40, 0]) && has_copy(&[1 << 3 | 2, 252, 0, 0x40, 0]));
        assert!(has_copy(&[1 << 3 | 3, 0xc3, 255, 3, 1, 252, 0, 0x40]));
        assert!(!has_copy(&[16 << 3, 0xff, 0xff]), "CELT has none");
        assert!(!has_copy(&[1 << 3 | 3, 0xc3, 255]), "cut off");
    }
}

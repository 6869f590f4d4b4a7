//! The Opus packets of a container as one unbroken stream of samples: gaps in the times become silence.

use std::time::Duration;

use super::ReadError;
use crate::codec::opus::OpusDecoder;
use crate::frame::AUDIO_RATE_HZ;

/// Smaller gaps are rounding (WebM counts milliseconds) and not filled.
const GAP_MIN_SAMPLES: u64 = AUDIO_RATE_HZ as u64 * 40 / 1000;

/// Longer gaps are cut: a damaged time must not become hours of silence in memory.
const GAP_MAX_SAMPLES: u64 = AUDIO_RATE_HZ as u64 * 10;

/// Decodes one track from its beginning.
pub(super) struct OpusTrack {
    decoder: OpusDecoder,
    skip: usize,
    /// Where the next sample belongs, counted from the time of the first packet.
    position: u64,
    /// Time of the first packet, in samples.
    start: Option<u64>,
}

impl OpusTrack {
    /// `skip` samples are dropped at the beginning (RFC 7845 §4.2).
    pub(super) fn new(skip: usize) -> Result<Self, ReadError> {
        Ok(Self { decoder: OpusDecoder::new()?, skip, position: 0, start: None })
    }

    /// Decodes the packet whose time in the file is `at`, and appends its samples.
    pub(super) fn packet(&mut self, at: Duration, data: &[u8], out: &mut Vec<i16>) -> Result<(), ReadError> {
        let at =
            u64::try_from(at.as_micros()).unwrap_or(u64::MAX).saturating_mul(u64::from(AUDIO_RATE_HZ) / 1000) / 1000;
        let start = *self.start.get_or_insert(at);
        let gap = at.saturating_sub(start).saturating_sub(self.position);
        let samples = self.decoder.decode(data)?;
        if gap >= GAP_MIN_SAMPLES {
            self.position += gap;
            out.extend(std::iter::repeat_n(0, gap.min(GAP_MAX_SAMPLES) as usize));
        }
        self.position += samples.len() as u64;
        let skipped = self.skip.min(samples.len());
        self.skip -= skipped;
        out.extend_from_slice(&samples[skipped..]);
        Ok(())
    }
}

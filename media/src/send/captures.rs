//! [`Captures`]: when what the streams of ours carry was captured. The tasks that packetise write it; sender reports are
//! made right by it (RFC 3550 §6.4.1).
//!
//! A report that takes the moment at which a packet left for its time of capture tells of sound that is a packet too late,
//! and of pictures that are late by their encoding: the other side would bring lips and voice apart by that.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Streams of one call, and a spare one.
const STREAMS_MAX: usize = 3;

/// When the first sample, or the picture, of a packet was captured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capture {
    pub(crate) ssrc: u32,
    pub(crate) clock_hz: u32,
    /// Its RTP time stamp.
    pub(crate) timestamp: u32,
    pub(crate) at: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Captures(Mutex<Vec<Capture>>);

impl Captures {
    /// This is the latest of its stream.
    pub(crate) fn note(&self, capture: Capture) {
        let mut latest = self.latest();
        if let Some(before) = latest.iter_mut().find(|latest| latest.ssrc == capture.ssrc) {
            *before = capture;
        } else if latest.len() < STREAMS_MAX {
            latest.push(capture);
        }
    }

    /// The RTP time of a stream at this moment; `None` before anything of it was captured.
    pub(crate) fn rtp_time(&self, ssrc: u32, now: Instant) -> Option<u32> {
        let capture = self.latest().iter().find(|latest| latest.ssrc == ssrc).copied()?;
        let ticks =
            |time: std::time::Duration| (time.as_secs_f64() * f64::from(capture.clock_hz)).round() as u64 as u32;
        let since = now.checked_duration_since(capture.at).map(ticks);
        Some(match since {
            Some(since) => capture.timestamp.wrapping_add(since),
            None => capture.timestamp.wrapping_sub(ticks(capture.at.saturating_duration_since(now))),
        })
    }

    fn latest(&self) -> MutexGuard<'_, Vec<Capture>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_time_of_a_stream_runs_on_from_its_latest_capture() {
        let (captures, now) = (Captures::default(), Instant::now());
        assert_eq!(captures.rtp_time(1, now), None);
        let of = |ssrc, clock_hz, timestamp| Capture { ssrc, clock_hz, timestamp, at: now };
        captures.note(of(1, 48_000, 7));
        captures.note(of(2, 90_000, u32::MAX - 8_999));
        captures.note(of(1, 48_000, 960));
        let later = now + Duration::from_millis(200);
        assert_eq!((captures.rtp_time(1, later), captures.rtp_time(2, later)), (Some(960 + 9_600), Some(9_000)));
        captures.note(Capture { at: later, ..of(1, 48_000, 9_600) });
        assert_eq!(captures.rtp_time(1, now), Some(0), "a packet may be captured after the report was due");
    }
}

//! What transport-wide feedback (TWCC, draft-holmer-rmcat-transport-wide-cc-extensions-01) says of the packets that we
//! sent.

use std::time::{Duration, Instant};

/// How often feedback leaves where the path is not narrow: often enough that losing some leaves nobody blind.
pub(crate) const FEEDBACK_EVERY: Duration = Duration::from_millis(50);

/// What one feedback takes: UDP, IP, SRTCP, and the state of some packets.
const FEEDBACK_BITS: f64 = 800.0;

/// No more than this share of the path is given to it.
const FEEDBACK_SHARE: f64 = 0.05;

/// But the other side is never left blind for longer.
const FEEDBACK_LATEST: Duration = Duration::from_millis(200);

/// From one feedback to the next, where it leaves over a path that carries `target_bps`.
pub(crate) fn feedback_every(target_bps: u32) -> Duration {
    let seconds = FEEDBACK_BITS / (f64::from(target_bps.max(1)) * FEEDBACK_SHARE);
    Duration::from_secs_f64(seconds).clamp(FEEDBACK_EVERY, FEEDBACK_LATEST)
}

/// What one feedback says of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    /// Its transport-wide number.
    pub(crate) number: u16,
    /// When it arrived, by the other side's clock; `None`: it did not.
    pub(crate) arrival: Option<Duration>,
}

/// What became of one packet that we sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketReport {
    /// Size, bytes: RTP header, extensions and payload.
    pub(crate) size: usize,
    /// When it left here.
    pub(crate) departure: Instant,
    /// When it arrived, by the other side's clock; `None`: it is lost.
    pub(crate) arrival: Option<Duration>,
    /// It was told lost before: others had only overtaken it.
    pub(crate) was_lost: bool,
    /// Bytes of packets just before it that no feedback tells of: one was lost itself.
    pub(crate) unreported_before: usize,
}

impl PacketReport {
    /// True when the other side has it.
    pub(crate) const fn arrived(&self) -> bool {
        self.arrival.is_some()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn feedback_takes_a_twentieth_of_a_narrow_path_and_never_waits_long() {
        for (target_bps, ms) in [(0, 200), (50_000, 200), (100_000, 160), (320_000, 50), (5_000_000, 50)] {
            assert_eq!(feedback_every(target_bps), Duration::from_millis(ms), "{target_bps}");
        }
    }

    /// Reports of packets 10 ms apart, numbered from `first`; of each is known whether it arrived.
    pub(crate) fn reports(start: Instant, first: u64, arrived: impl IntoIterator<Item = bool>) -> Vec<PacketReport> {
        let report = |(id, arrived): (u64, bool)| PacketReport {
            size: 1000,
            departure: start + Duration::from_millis(10 * id),
            arrival: arrived.then(|| Duration::from_millis(10 * id + 20)),
            was_lost: false,
            unreported_before: 0,
        };
        (first..).zip(arrived).map(report).collect()
    }
}

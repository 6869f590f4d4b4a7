//! From capture times to RTP time stamps.

use std::time::{Duration, Instant};

/// Turns capture times into RTP time stamps with a random start (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct RtpClock {
    epoch: Instant,
    offset: u32,
    rate_hz: u32,
}

impl RtpClock {
    /// A clock of this rate that shows `offset`, a random number, at `epoch`.
    pub(crate) const fn new(rate_hz: u32, epoch: Instant, offset: u32) -> Self {
        Self { epoch, offset, rate_hz }
    }

    /// What it shows at this time.
    pub(crate) fn at(&self, time: Instant) -> u32 {
        let ticks = |elapsed: Duration| (elapsed.as_nanos() * u128::from(self.rate_hz) / 1_000_000_000) as u32;
        match time.checked_duration_since(self.epoch) {
            Some(since) => self.offset.wrapping_add(ticks(since)),
            None => self.offset.wrapping_sub(ticks(self.epoch.duration_since(time))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_both_ways_from_its_epoch_and_wraps() {
        let epoch = Instant::now() + Duration::from_secs(10);
        let clock = RtpClock::new(90_000, epoch, u32::MAX - 44_999);
        assert_eq!(clock.at(epoch), u32::MAX - 44_999);
        assert_eq!(clock.at(epoch + Duration::from_secs(1)), 45_000);
        assert_eq!(clock.at(epoch - Duration::from_secs(1)), u32::MAX - 134_999);
    }
}

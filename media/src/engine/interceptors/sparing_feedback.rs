//! [`SparingFeedback`]: lets transport-wide feedback leave less often on a narrow path, where it would take from what is
//! sent.

use std::time::{Duration, Instant};

use rtc::interceptor::{Interceptor, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::{Error, Result};

use crate::congestion::estimate::SharedEstimate;

/// What one feedback takes: UDP, IP, SRTCP, and the state of some packets.
const FEEDBACK_BITS: f64 = 800.0;

/// No more than this share of the path is given to it.
const SHARE: f64 = 0.05;

/// But the other side is never left blind for longer.
const LONGEST: Duration = Duration::from_millis(200);

/// The interceptor that makes feedback, held back.
pub(super) struct SparingFeedback<I> {
    inner: I,
    /// Of the path that feedback leaves by.
    estimate: SharedEstimate,
    /// No feedback before.
    due: Option<Instant>,
}

/// How often feedback leaves where the path is not narrow: often enough that losing some leaves nobody blind.
pub(super) const FEEDBACK_EVERY: Duration = Duration::from_millis(50);

impl<I> SparingFeedback<I> {
    pub(super) const fn new(inner: I, estimate: SharedEstimate) -> Self {
        Self { inner, estimate, due: None }
    }
}

/// From one feedback to the next, on a path that carries `target_bps`.
fn every(target_bps: u32) -> Duration {
    let seconds = FEEDBACK_BITS / (f64::from(target_bps.max(1)) * SHARE);
    Duration::from_secs_f64(seconds).clamp(FEEDBACK_EVERY, LONGEST)
}

impl<I: Interceptor> Protocol<TaggedPacket, TaggedPacket, ()> for SparingFeedback<I> {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<()> {
        self.inner.handle_read(packet)
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inner.poll_read()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<()> {
        self.inner.handle_write(packet)
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.inner.poll_write()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<()> {
        if self.due.is_some_and(|due| now < due) {
            return Ok(());
        }
        if self.inner.poll_timeout().is_some_and(|due| now >= due) {
            self.due = Some(now + every(self.estimate.get().target_bps));
        }
        self.inner.handle_timeout(now)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let inner = self.inner.poll_timeout()?;
        Some(self.due.map_or(inner, |due| due.max(inner)))
    }
}

impl<I: Interceptor> Interceptor for SparingFeedback<I> {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.inner.bind_local_stream(info);
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.inner.unbind_local_stream(info);
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.inner.bind_remote_stream(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.inner.unbind_remote_stream(info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feedback_takes_a_twentieth_of_a_narrow_path_and_never_waits_long() {
        for (target_bps, ms) in [(0, 200), (50_000, 200), (100_000, 160), (320_000, 50), (5_000_000, 50)] {
            assert_eq!(every(target_bps), Duration::from_millis(ms), "{target_bps}");
        }
    }
}

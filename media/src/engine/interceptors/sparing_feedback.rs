//! [`SparingFeedback`]: lets transport-wide feedback leave less often on a narrow path, where it would take from what is
//! sent.

use std::time::Instant;

use rtc::interceptor::{Interceptor, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::{Error, Result};

use crate::congestion::estimate::SharedEstimate;
use crate::congestion::feedback::feedback_every;

/// The interceptor that makes feedback, held back.
pub(super) struct SparingFeedback<I> {
    inner: I,
    /// Of the path that feedback leaves by.
    estimate: SharedEstimate,
    /// No feedback before.
    due: Option<Instant>,
}

impl<I> SparingFeedback<I> {
    pub(super) const fn new(inner: I, estimate: SharedEstimate) -> Self {
        Self { inner, estimate, due: None }
    }
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
            self.due = Some(now + feedback_every(self.estimate.get().target_bps));
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

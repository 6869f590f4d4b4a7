//! [`PassThrough`]: an interceptor that lets every packet through, with hooks for what it does besides.

use std::collections::VecDeque;
use std::time::Instant;

use rtc::interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::{Error, Result};

/// What an interceptor does besides letting packets through. A hook that is not needed does nothing.
pub(super) trait Hooks: Send + Sync {
    /// A packet comes, on its way to the tracks.
    fn came(&mut self, _packet: &mut TaggedPacket) {}

    /// A packet leaves, on its way to the wire.
    fn leaves(&mut self, _packet: &mut TaggedPacket) -> Fate {
        Fate::Pass
    }

    /// A stream of ours begins.
    fn bind_local(&mut self, _stream: &StreamInfo) {}

    /// A stream of ours ends.
    fn unbind_local(&mut self, _stream: &StreamInfo) {}

    /// A stream of the other side begins.
    fn bind_remote(&mut self, _stream: &StreamInfo) {}

    /// A stream of the other side ends.
    fn unbind_remote(&mut self, _stream: &StreamInfo) {}

    /// RTCP of its own that is to be sent now, a message each.
    fn take_due(&mut self, _now: Instant) -> Vec<Box<dyn rtc::rtcp::Packet>> {
        Vec::new()
    }

    /// When [`Hooks::take_due`] will have something.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// What becomes of a packet that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    Drop,
}

/// See the module.
pub(super) struct PassThrough<H> {
    hooks: H,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl<H: Hooks> PassThrough<H> {
    pub(super) const fn new(hooks: H) -> Self {
        Self { hooks, reads: VecDeque::new(), writes: VecDeque::new() }
    }
}

impl<H: Hooks> Protocol<TaggedPacket, TaggedPacket, ()> for PassThrough<H> {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<()> {
        self.hooks.came(&mut packet);
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, mut packet: TaggedPacket) -> Result<()> {
        match self.hooks.leaves(&mut packet) {
            Fate::Pass => self.writes.push_back(packet),
            Fate::Drop => {}
        }
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<()> {
        for rtcp in self.hooks.take_due(now) {
            let message = AttributedPacket::new(Packet::Rtcp(vec![rtcp]));
            self.writes.push_back(TaggedPacket { now, transport: TransportContext::default(), message });
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.hooks.poll_timeout()
    }
}

impl<H: Hooks> Interceptor for PassThrough<H> {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.hooks.bind_local(info);
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.hooks.unbind_local(info);
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.hooks.bind_remote(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.hooks.unbind_remote(info);
    }
}

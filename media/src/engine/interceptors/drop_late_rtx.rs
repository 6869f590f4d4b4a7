//! Between the interceptor chain and [`RtxFilter`]: drops the retransmissions that it turns down.

use std::collections::VecDeque;
use std::time::Instant;

use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::{Error, Result};

use crate::send::rtx_filter::RtxFilter;

/// Its place in the chain is between the responder and the pacer.
#[derive(Default)]
pub(super) struct DropLateRtx {
    filter: RtxFilter,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl DropLateRtx {
    fn admits(&mut self, packet: &TaggedPacket) -> bool {
        let Packet::Rtp(rtp) = &packet.message.packet else { return true };
        if packet.message.get(&Attribute::Retransmission).is_some() {
            return self.filter.admits(rtp.header.ssrc, rtp.header.timestamp);
        }
        self.filter.sent(rtp.header.ssrc, rtp.header.timestamp);
        true
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for DropLateRtx {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<()> {
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<()> {
        if self.admits(&packet) {
            self.writes.push_back(packet);
        }
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for DropLateRtx {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.filter.bind(info.ssrc, info.clock_rate, info.ssrc_rtx);
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.filter.unbind(info.ssrc);
    }

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

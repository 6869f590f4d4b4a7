//! Adapts [`RtxFilter`] to the interceptor chain: drops the retransmissions that it turns down.

use rtc::interceptor::{Attribute, Packet, StreamInfo, TaggedPacket};

use super::pass_through::{Fate, Hooks};
use crate::send::rtx_filter::RtxFilter;

/// See the module.
pub(super) struct DropLateRtx(pub(super) RtxFilter);

impl Hooks for DropLateRtx {
    fn leaves(&mut self, packet: &TaggedPacket) -> Fate {
        let Packet::Rtp(rtp) = &packet.message.packet else { return Fate::Pass };
        let (ssrc, timestamp) = (rtp.header.ssrc, rtp.header.timestamp);
        if packet.message.get(&Attribute::Retransmission).is_none() {
            self.0.sent(ssrc, timestamp);
            return Fate::Pass;
        }
        if self.0.admits(ssrc, timestamp) { Fate::Pass } else { Fate::Drop }
    }

    fn bind_local(&mut self, stream: &StreamInfo) {
        self.0.bind(stream.ssrc, stream.clock_rate, stream.ssrc_rtx);
    }

    fn unbind_local(&mut self, stream: &StreamInfo) {
        self.0.unbind(stream.ssrc);
    }
}

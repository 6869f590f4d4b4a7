//! Adapts [`RtxFilter`] to the interceptor chain: drops the retransmissions that it turns down.

use std::sync::Arc;

use rtc::interceptor::{Attribute, Packet, StreamInfo, TaggedPacket};

use super::pass_through::{Fate, Hooks};
use crate::send::keyframe_demand::KeyframeDemand;
use crate::send::rtx_filter::RtxFilter;

/// See the module.
pub(super) struct DropLateRtx {
    pub(super) filter: RtxFilter,
    /// Which keyframe is the latest.
    pub(super) keyframes: Arc<KeyframeDemand>,
}

impl Hooks for DropLateRtx {
    fn leaves(&mut self, packet: &mut TaggedPacket) -> Fate {
        let Packet::Rtp(rtp) = &packet.message.packet else { return Fate::Pass };
        let (ssrc, timestamp) = (rtp.header.ssrc, rtp.header.timestamp);
        if packet.message.get(&Attribute::Retransmission).is_none() {
            self.filter.sent(ssrc, timestamp);
            return Fate::Pass;
        }
        self.filter.keyframe(self.keyframes.latest());
        if self.filter.admits(ssrc, timestamp) { Fate::Pass } else { Fate::Drop }
    }

    fn bind_local(&mut self, stream: &StreamInfo) {
        self.filter.bind(stream.ssrc, stream.clock_rate, stream.ssrc_rtx);
    }

    fn unbind_local(&mut self, stream: &StreamInfo) {
        self.filter.unbind(stream.ssrc);
    }
}

//! Lets incoming RTCP through to the tracks: keyframe requests and receiver reports arrive there.

use rtc::interceptor::{Attribute, Packet, TaggedPacket};

use super::pass_through::Hooks;

/// See the module.
pub(super) struct DeliverRtcp;

impl Hooks for DeliverRtcp {
    fn came(&mut self, packet: &mut TaggedPacket) {
        if matches!(packet.message.packet, Packet::Rtcp(_)) {
            packet.message.add(Attribute::DeliverToApplication);
        }
    }
}

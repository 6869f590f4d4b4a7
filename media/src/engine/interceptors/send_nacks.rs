//! Adapts [`NackGenerator`] to the interceptor chain: shows it received packets, and sends the NACKs that are due.

use std::time::Instant;

use rtc::interceptor::{Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};

use super::pass_through::Hooks;
use crate::receive::nack::{Nack, NackGenerator, RemoteStream};

/// See the module.
pub(super) struct SendNacks(pub(super) NackGenerator);

impl Hooks for SendNacks {
    fn came(&mut self, packet: &mut TaggedPacket) {
        if let Packet::Rtp(rtp) = &packet.message.packet {
            self.0.came(rtp.header.ssrc, rtp.header.sequence_number, &rtp.payload, packet.now);
        }
    }

    fn bind_remote(&mut self, stream: &StreamInfo) {
        let takes_nack = stream.rtcp_feedback.iter().any(|fb| fb.typ == "nack" && fb.parameter.is_empty());
        self.0.bind(RemoteStream { ssrc: stream.ssrc, rtx: stream.ssrc_rtx, takes_nack });
    }

    fn unbind_remote(&mut self, stream: &StreamInfo) {
        self.0.unbind(stream.ssrc);
    }

    fn take_due(&mut self, now: Instant) -> Vec<Box<dyn rtc::rtcp::Packet>> {
        let rtcp = |Nack { media_ssrc, sequence_numbers }| -> Box<dyn rtc::rtcp::Packet> {
            let nacks = nack_pairs_from_sequence_numbers(&sequence_numbers);
            Box::new(TransportLayerNack { sender_ssrc: 0, media_ssrc, nacks })
        };
        self.0.take_due(now).into_iter().map(rtcp).collect()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rtc::interceptor::{AttributedPacket, Interceptor as _};
    use rtc::rtp;
    use rtc::sansio::Protocol as _;
    use rtc::shared::TransportContext;

    use super::super::pass_through::PassThrough;
    use super::*;

    #[test]
    fn rtx_is_seen_as_the_repair_of_its_stream() {
        let nack = rtc::interceptor::RTCPFeedback { typ: "nack".to_owned(), parameter: String::new() };
        let of =
            |ssrc, ssrc_rtx| StreamInfo { ssrc, ssrc_rtx, rtcp_feedback: vec![nack.clone()], ..Default::default() };
        let start = Instant::now();
        let packet = |ssrc, sequence_number, payload: &'static [u8]| {
            let header = rtp::Header { ssrc, sequence_number, ..Default::default() };
            let message = AttributedPacket::new(Packet::Rtp(rtp::Packet { header, payload: payload.into() }));
            TaggedPacket { now: start, transport: TransportContext::default(), message }
        };
        let mut nacks = PassThrough::new(SendNacks(NackGenerator::default()));
        nacks.bind_remote_stream(&of(1, Some(2)));
        nacks.bind_remote_stream(&of(2, None));
        for (ssrc, number, payload) in [(1, 10, &[7, 7, 7][..]), (1, 12, &[7; 3]), (2, 500, &[7]), (2, 502, &[])] {
            nacks.handle_read(packet(ssrc, number, payload)).unwrap();
            assert!(nacks.poll_read().is_some(), "it goes on");
        }
        let due = nacks.poll_timeout().unwrap();
        assert_eq!(due, start + Duration::from_millis(10));
        nacks.handle_timeout(due).unwrap();
        let sent = nacks.poll_write().unwrap();
        let Packet::Rtcp(sent) = &sent.message.packet else { panic!("no request") };
        let sent = sent[0].as_any().downcast_ref::<TransportLayerNack>().unwrap();
        assert_eq!((sent.media_ssrc, sent.nacks[0].packet_list()), (1, vec![11]));
        nacks.handle_read(packet(2, 503, &[0, 11, 7])).unwrap();
        assert_eq!((nacks.poll_timeout(), nacks.poll_write().is_none()), (None, true));
    }
}

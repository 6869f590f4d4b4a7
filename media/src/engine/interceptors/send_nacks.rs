//! Between the interceptor chain and [`NackGenerator`]: shows it what comes, and sends the NACKs that are due.

use std::collections::VecDeque;
use std::time::Instant;

use rtc::interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::{Error, Result};

use crate::receive::nack::{Nack, NackGenerator, RemoteStream};

/// Sends what [`NackGenerator`] asks for; its place in the chain is that of the engine's own.
#[derive(Default)]
pub(super) struct SendNacks {
    nacks: NackGenerator,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for SendNacks {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<()> {
        if let Packet::Rtp(rtp) = &packet.message.packet {
            self.nacks.came(rtp.header.ssrc, rtp.header.sequence_number, &rtp.payload, packet.now);
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<()> {
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<()> {
        for Nack { media_ssrc, sequence_numbers } in self.nacks.take_due(now) {
            let nacks = nack_pairs_from_sequence_numbers(&sequence_numbers);
            let nack = TransportLayerNack { sender_ssrc: 0, media_ssrc, nacks };
            let message = AttributedPacket::new(Packet::Rtcp(vec![Box::new(nack)]));
            self.writes.push_back(TaggedPacket { now, transport: TransportContext::default(), message });
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.nacks.poll_timeout()
    }
}

impl Interceptor for SendNacks {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        let takes_nack = info.rtcp_feedback.iter().any(|fb| fb.typ == "nack" && fb.parameter.is_empty());
        self.nacks.bind(RemoteStream { ssrc: info.ssrc, rtx: info.ssrc_rtx, takes_nack });
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.nacks.unbind(info.ssrc);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rtc::rtp;

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
        let mut nacks = SendNacks::default();
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

//! Adapts [`Sending`] to the interceptor chain: every RTP packet that leaves goes through it, and gets its
//! transport-wide number; feedback that comes is handed to it.
//!
//! The engine's own parts for this are not used: its pacer is one queue for all, its estimator never forgets what it
//! backed off from, and neither its numbers nor its history know of retransmissions.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use rtc::interceptor::{Attribute, AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket, convert_twcc};
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtp::extension::transport_cc_extension::TransportCcExtension;
use rtc::rtp::header::Header;
use rtc::sansio::Protocol;
use rtc::shared::error::{Error, Result};
use rtc::shared::marshal::{Marshal, MarshalSize};

use crate::congestion::feedback::Acknowledgement;
use crate::congestion::pacer::Class;
use crate::congestion::sending::{Sending, TransportCc};
use crate::engine::reports::reception_reports;
use crate::send::keyframe_demand::KeyframeDemand;

/// What the extension is called (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2).
const EXTENSION: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Bytes that the extension adds to a header: that of one byte (RFC 8285 §4.2), its profile and padding.
const EXTENSION_BYTES: usize = 8;

/// See the module.
pub(super) struct SendMedia {
    sending: Sending<TaggedPacket>,
    demand: Arc<KeyframeDemand>,
    /// RTP time stamp of the latest keyframe that came by here.
    keyframe: Option<u32>,
    /// By SSRC, those of retransmissions among them.
    streams: HashMap<u32, Stream>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    kind: Kind,
    /// The identifier of the extension, where it was agreed on.
    extension: Option<u8>,
    /// The next sequence number, for a stream that is numbered here.
    next: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sound,
    Pictures,
    /// Retransmissions (RFC 4588). They are numbered here, as some never leave, and a gap would be taken for loss.
    Rtx,
}

impl SendMedia {
    pub(super) fn new(sending: Sending<TaggedPacket>, demand: Arc<KeyframeDemand>) -> Self {
        Self {
            sending,
            demand,
            keyframe: None,
            streams: HashMap::new(),
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }

    fn feedback(&mut self, rtcp: &dyn rtc::rtcp::Packet, now: Instant) {
        let any = rtcp.as_any();
        if let Some(feedback) = any.downcast_ref::<TransportLayerCc>() {
            self.transport_feedback(feedback, now);
        } else if let Some(remb) = any.downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
            self.sending.remb(f64::from(remb.bitrate), now);
        }
        let ours = reception_reports(rtcp).iter().filter(|report| self.streams.contains_key(&report.ssrc));
        // The worst of our streams counts.
        let worst = ours.map(|report| f64::from(report.fraction_lost) / 256.0).reduce(f64::max);
        if let Some(loss) = worst {
            self.sending.receiver_report(loss, now);
        }
    }

    fn transport_feedback(&mut self, feedback: &TransportLayerCc, now: Instant) {
        let told = convert_twcc(feedback).into_iter().map(|told| Acknowledgement {
            number: told.sequence_number,
            arrival: told.arrival.filter(|_| told.arrived),
        });
        self.sending.feedback(&told.collect::<Vec<_>>(), now);
    }

    /// Lets go what may leave by now.
    fn release(&mut self, now: Instant) {
        while let Some(departure) = self.sending.poll(now) {
            let mut packet = departure.content;
            packet.now = now;
            if let Packet::Rtp(rtp) = &mut packet.message.packet
                && let Some(stream) = self.streams.get_mut(&rtp.header.ssrc)
            {
                stream.finish(&mut rtp.header, departure.number);
            }
            self.writes.push_back(packet);
        }
        if !self.sending.take_dropped().is_empty() {
            self.demand.want();
        }
    }
}

impl Stream {
    /// Numbers a packet that leaves now.
    fn finish(&mut self, header: &mut Header, number: Option<u16>) {
        if self.kind == Kind::Rtx {
            header.sequence_number = self.next;
            self.next = self.next.wrapping_add(1);
        }
        let extension = self.extension.zip(number);
        if let Some((id, transport_sequence)) = extension
            && let Ok(extension) = (TransportCcExtension { transport_sequence }).marshal()
        {
            // Refused only with an identifier that cannot be; then no feedback will tell of the packet.
            let _refused = header.set_extension(id, extension.freeze());
        }
    }

    fn class(&self, message: &AttributedPacket, timestamp: u32) -> Class {
        match self.kind {
            Kind::Rtx => Class::Repair,
            Kind::Sound => Class::Sound,
            Kind::Pictures if message.get(&Attribute::Retransmission).is_some() => Class::Repair,
            Kind::Pictures => Class::Picture(timestamp),
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for SendMedia {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<()> {
        if let Packet::Rtcp(all) = &packet.message.packet {
            all.iter().for_each(|rtcp| self.feedback(&**rtcp, packet.now));
            self.release(packet.now);
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<()> {
        let Packet::Rtp(rtp) = &packet.message.packet else {
            self.writes.push_back(packet);
            return Ok(());
        };
        let Some(stream) = self.streams.get(&rtp.header.ssrc) else {
            self.writes.push_back(packet);
            return Ok(());
        };
        let class = stream.class(&packet.message, rtp.header.timestamp);
        let keyframe = self.demand.latest();
        if class == Class::Picture(rtp.header.timestamp)
            && keyframe == Some(rtp.header.timestamp)
            && std::mem::replace(&mut self.keyframe, keyframe) != keyframe
        {
            self.sending.keyframe_comes();
        }
        let transport_cc =
            if stream.extension.is_some() { TransportCc::Negotiated } else { TransportCc::NotNegotiated };
        let (bytes, now) = (rtp.marshal_size() + EXTENSION_BYTES, packet.now);
        self.sending.push(class, transport_cc, packet, bytes, now);
        self.release(now);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<()> {
        self.sending.handle_timeout(now);
        self.release(now);
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.sending.poll_timeout()
    }
}

impl Interceptor for SendMedia {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        let uri = info.rtp_header_extensions.iter().find(|extension| extension.uri == EXTENSION);
        let extension = uri.and_then(|extension| u8::try_from(extension.id).ok());
        let kind = if info.mime_type.starts_with("audio/") { Kind::Sound } else { Kind::Pictures };
        self.streams.insert(info.ssrc, Stream { kind, extension, next: 0 });
        if let Some(rtx) = info.ssrc_rtx {
            // A stream that is bound again goes on: no number may be used twice with one key (RFC 3711 §9.1).
            self.streams.entry(rtx).or_insert(Stream { kind: Kind::Rtx, extension, next: 0 }).extension = extension;
        }
    }

    /// The stream of retransmissions is kept, for its numbers.
    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.streams.remove(&info.ssrc);
    }

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

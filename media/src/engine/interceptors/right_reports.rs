//! Makes sender reports right: the engine takes the moment at which a packet passes for the time of its capture.

use std::sync::Arc;

use rtc::interceptor::{Packet, TaggedPacket};
use rtc::rtcp::sender_report::SenderReport;

use super::pass_through::{Fate, Hooks};
use crate::send::captures::Captures;

/// See the module.
pub(super) struct RightReports(pub(super) Arc<Captures>);

impl Hooks for RightReports {
    fn leaves(&mut self, packet: &mut TaggedPacket) -> Fate {
        let now = packet.now;
        if let Packet::Rtcp(packets) = &mut packet.message.packet {
            for packet in packets {
                let right = packet.as_any().downcast_ref::<SenderReport>().and_then(|report| {
                    let rtp_time = self.0.rtp_time(report.ssrc, now)?;
                    Some(SenderReport { rtp_time, ..report.clone() })
                });
                if let Some(right) = right {
                    *packet = Box::new(right);
                }
            }
        }
        Fate::Pass
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rtc::interceptor::AttributedPacket;
    use rtc::shared::TransportContext;

    use super::*;
    use crate::send::captures::Capture;

    #[test]
    fn a_report_has_the_rtp_time_of_its_capture() {
        let (captures, now) = (Arc::new(Captures::default()), Instant::now());
        captures.note(Capture { ssrc: 5, clock_hz: 48_000, timestamp: 1_000, at: now });
        let report = |ssrc| -> Box<dyn rtc::rtcp::Packet> {
            Box::new(SenderReport { ssrc, ntp_time: 77, rtp_time: 3, packet_count: 4, ..Default::default() })
        };
        let message = AttributedPacket::new(Packet::Rtcp(vec![report(5), report(6)]));
        let at = now + Duration::from_millis(10);
        let mut packet = TaggedPacket { now: at, transport: TransportContext::default(), message };
        assert_eq!(RightReports(captures).leaves(&mut packet), Fate::Pass);
        let Packet::Rtcp(packets) = &packet.message.packet else { panic!("RTCP") };
        let of = |n: usize| packets[n].as_any().downcast_ref::<SenderReport>().unwrap();
        assert_eq!((of(0).rtp_time, of(0).ntp_time, of(0).packet_count), (1_480, 77, 4));
        assert_eq!(of(1).rtp_time, 3, "nothing is known of it");
    }
}

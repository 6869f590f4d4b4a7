//! Reads the RTCP reports of the other side as they pass, for [`PeerClock`], and publishes the round trip that follows
//! from them and from repairs for the sending side.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rtc::interceptor::{Packet, TaggedPacket};
use rtc::rtcp::sender_report::SenderReport;

use super::pass_through::Hooks;
use crate::congestion::estimate::SharedEstimate;
use crate::engine::reports::reception_reports;
use crate::receive::peer_clock::{PeerClock, ReceptionTimes};

/// See the module.
pub(super) struct ReadClock {
    pub(super) clock: PeerClock,
    pub(super) estimate: SharedEstimate,
}

impl Hooks for ReadClock {
    fn came(&mut self, packet: &mut TaggedPacket) {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            read(&self.clock, packets, packet.now);
            let round_trip = self.clock.round_trip().smoothed();
            self.estimate.update(|estimate| estimate.round_trip = round_trip);
        }
    }
}

/// Takes reports that came at `arrived`.
fn read(clock: &PeerClock, packets: &[Box<dyn rtc::rtcp::Packet>], arrived: Instant) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // It may have waited since.
    let ours = now.saturating_sub(arrived.elapsed());
    for packet in packets {
        if let Some(report) = packet.as_any().downcast_ref::<SenderReport>() {
            clock.sender_report(report.ntp_time, arrived, ours);
        }
        for report in reception_reports(&**packet) {
            let times = ReceptionTimes { last_sender_report: report.last_sender_report, delay: report.delay };
            clock.reception_report(times, ours);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rtc::interceptor::AttributedPacket;
    use rtc::rtcp::receiver_report::ReceiverReport;
    use rtc::rtcp::reception_report::ReceptionReport;
    use rtc::shared::TransportContext;

    use super::*;

    /// Seconds from the epoch of NTP (1900) to that of Unix (1970).
    const NTP_TO_UNIX: u64 = 2_208_988_800;

    #[test]
    fn reports_of_a_clock_that_is_ahead_tell_it() {
        let ntp = |unix: Duration| {
            ((unix.as_secs() + NTP_TO_UNIX) << 32) | ((u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000)
        };
        let clock = PeerClock::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let answer = ReceptionReport { last_sender_report: (ntp(now) >> 16) as u32, ..Default::default() };
        let report =
            |reports| SenderReport { ntp_time: ntp(now + Duration::from_secs(2)), reports, ..Default::default() };
        read(&clock, &[Box::new(report(Vec::new()))], Instant::now());
        assert_eq!(clock.estimate(), None);
        read(&clock, &[Box::new(report(vec![answer]))], Instant::now());
        assert!(clock.estimate().is_some_and(|known| (known.ahead_ms - 2000.0).abs() < 50.0), "{clock:?}");
    }

    #[test]
    fn a_reported_round_trip_is_published() {
        let (clock, estimate) = (PeerClock::default(), SharedEstimate::new(1));
        let mut reads = ReadClock { clock, estimate: estimate.clone() };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let sent = now - Duration::from_millis(1000);
        let ntp = ((sent.as_secs() + NTP_TO_UNIX) << 16) + (u64::from(sent.subsec_nanos()) << 16) / 1_000_000_000;
        // Of the second since our report 0.9 s were spent at theirs.
        let report = ReceptionReport { last_sender_report: ntp as u32, delay: 65_536 * 9 / 10, ..Default::default() };
        let report = ReceiverReport { reports: vec![report], ..Default::default() };
        let message = AttributedPacket::new(Packet::Rtcp(vec![Box::new(report)]));
        reads.came(&mut TaggedPacket { now: Instant::now(), transport: TransportContext::default(), message });
        let published = estimate.get().round_trip.unwrap();
        assert!(published.abs_diff(Duration::from_millis(100)) < Duration::from_millis(50), "{published:?}");
    }
}

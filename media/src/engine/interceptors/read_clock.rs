//! Reads the RTCP reports of the other side as they pass, for [`PeerClock`].

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rtc::interceptor::{Packet, TaggedPacket};
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;

use super::pass_through::Hooks;
use crate::receive::peer_clock::{PeerClock, ReceptionTimes};

/// See the module.
pub(super) struct ReadClock(pub(super) PeerClock);

impl Hooks for ReadClock {
    fn came(&mut self, packet: &mut TaggedPacket) {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            read(&self.0, packets, packet.now);
        }
    }
}

/// Takes reports that came at `arrived`.
fn read(clock: &PeerClock, packets: &[Box<dyn rtc::rtcp::Packet>], arrived: Instant) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // It may have waited since.
    let ours = now.saturating_sub(arrived.elapsed());
    let read_reception = |reports: &[ReceptionReport]| {
        for report in reports {
            let times = ReceptionTimes { last_sender_report: report.last_sender_report, delay: report.delay };
            clock.reception_report(times, ours);
        }
    };
    for packet in packets.iter().map(|packet| packet.as_any()) {
        if let Some(report) = packet.downcast_ref::<SenderReport>() {
            clock.sender_report(report.ntp_time, arrived, ours);
            read_reception(&report.reports);
        } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            read_reception(&report.reports);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}

//! Reads the reports of the other side as they pass, for the [`PeerClock`].

use std::collections::VecDeque;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::sansio::Protocol;
use rtc::shared::error::{Error, Result};

use crate::receive::peer_clock::{PeerClock, ReceptionTimes};

/// Lets everything through, and reads the reports.
#[derive(Default)]
pub(super) struct ReadClock {
    clock: PeerClock,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl ReadClock {
    pub(super) fn new(clock: PeerClock) -> Self {
        Self { clock, ..Self::default() }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for ReadClock {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<()> {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            read(&self.clock, packets, packet.now);
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
}

impl Interceptor for ReadClock {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
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

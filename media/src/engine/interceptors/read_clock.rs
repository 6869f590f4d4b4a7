//! Reads the RTCP reports of the other side as they pass, for [`PeerClock`], and publishes the round trip that follows
//! from them and from repairs for the sending side.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rtc::interceptor::{Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::sender_report::SenderReport;

use super::pass_through::Hooks;
use crate::congestion::estimate::SharedEstimate;
use crate::engine::reports::reception_reports;
use crate::receive::capture_times::TimeReport;
use crate::receive::lip_sync::Medium;
use crate::receive::peer_clock::{PeerClock, ReceptionTimes, unix};

/// See the module.
pub(super) struct ReadClock {
    clock: PeerClock,
    estimate: SharedEstimate,
    /// Streams of the other side: SSRC, what it is, clock rate.
    streams: Vec<(u32, Medium, u32)>,
}

impl ReadClock {
    pub(super) const fn new(clock: PeerClock, estimate: SharedEstimate) -> Self {
        Self { clock, estimate, streams: Vec::new() }
    }

    /// Takes reports that came at `arrived`.
    fn read(&self, packets: &[Box<dyn rtc::rtcp::Packet>], arrived: Instant) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // It may have waited since.
        let ours = now.saturating_sub(arrived.elapsed());
        for packet in packets {
            if let Some(report) = packet.as_any().downcast_ref::<SenderReport>() {
                self.clock.sender_report(report.ntp_time, arrived, ours);
                self.read_times(report);
            }
            for report in reception_reports(&**packet) {
                let times = ReceptionTimes { last_sender_report: report.last_sender_report, delay: report.delay };
                self.clock.reception_report(times, ours);
            }
        }
    }

    fn read_times(&self, report: &SenderReport) {
        let stream = self.streams.iter().find(|(ssrc, ..)| *ssrc == report.ssrc);
        let Some(&(ssrc, medium, clock_hz)) = stream else { return };
        let Some(sent) = unix(report.ntp_time) else { return };
        self.clock.time_report(medium, TimeReport { ssrc, clock_hz, rtp_time: report.rtp_time, sent });
    }
}

impl Hooks for ReadClock {
    fn came(&mut self, packet: &mut TaggedPacket) {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            self.read(packets, packet.now);
            let round_trip = self.clock.round_trip().smoothed();
            self.estimate.update(|estimate| estimate.round_trip = round_trip);
        }
    }

    fn bind_remote(&mut self, stream: &StreamInfo) {
        let medium =
            if stream.mime_type.to_ascii_lowercase().starts_with("audio/") { Medium::Sound } else { Medium::Pictures };
        self.unbind_remote(stream);
        self.streams.push((stream.ssrc, medium, stream.clock_rate));
    }

    fn unbind_remote(&mut self, stream: &StreamInfo) {
        self.streams.retain(|(ssrc, ..)| *ssrc != stream.ssrc);
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
        let reads = ReadClock::new(clock.clone(), SharedEstimate::new(1));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let answer = ReceptionReport { last_sender_report: (ntp(now) >> 16) as u32, ..Default::default() };
        let report =
            |reports| SenderReport { ntp_time: ntp(now + Duration::from_secs(2)), reports, ..Default::default() };
        reads.read(&[Box::new(report(Vec::new()))], Instant::now());
        assert_eq!(clock.estimate(), None);
        reads.read(&[Box::new(report(vec![answer]))], Instant::now());
        assert!(clock.estimate().is_some_and(|known| (known.ahead_ms - 2000.0).abs() < 50.0), "{clock:?}");
    }

    #[test]
    fn a_reported_round_trip_is_published() {
        let (clock, estimate) = (PeerClock::default(), SharedEstimate::new(1));
        let mut reads = ReadClock::new(clock, estimate.clone());
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

    #[test]
    fn a_report_tells_when_its_stream_was_captured() {
        let clock = PeerClock::default();
        let mut reads = ReadClock::new(clock.clone(), SharedEstimate::new(1));
        let of = |ssrc, mime: &str, clock_rate| StreamInfo {
            ssrc,
            mime_type: mime.to_owned(),
            clock_rate,
            ..Default::default()
        };
        reads.bind_remote(&of(1, "audio/opus", 48_000));
        reads.bind_remote(&of(2, "video/VP8", 90_000));
        let report = |ssrc, rtp_time| -> Box<dyn rtc::rtcp::Packet> {
            Box::new(SenderReport { ssrc, ntp_time: (NTP_TO_UNIX + 100) << 32, rtp_time, ..Default::default() })
        };
        reads.read(&[report(1, 0), report(2, 0), report(3, 5)], Instant::now());
        assert_eq!(clock.captured_s(Medium::Sound, 48_000), Some(101.0));
        assert_eq!(clock.captured_s(Medium::Pictures, 48_000), Some(100.0 + 48.0 / 90.0));
        reads.unbind_remote(&of(2, "video/VP8", 90_000));
        reads.read(&[report(2, 90_000)], Instant::now());
        assert_eq!(clock.captured_s(Medium::Pictures, 90_000), Some(101.0));
    }
}

//! What RTCP says of the other side's clock: read as it passes, and handed to [`ClockOffset`].
//!
//! - a sender report has the time at which it left, by their clock (RFC 3550 §6.4.1)
//! - a report on what we send tells the round trip: when it came, less our time in it, less the delay at theirs

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::sansio::Protocol;
use rtc::shared::error::{Error, Result};

use crate::clock::{ClockOffset, Estimate};

/// Seconds from the epoch of NTP (1900) to that of Unix (1970).
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// A round trip above it is a fault of the report.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(60);

/// How the clocks of the two sides of a call differ; cheap to clone, callable from any thread.
#[derive(Clone, Debug, Default)]
pub struct PeerClock(Arc<Mutex<ClockOffset>>);

impl PeerClock {
    /// What is known now; `None` until the other side has sent a report and a round trip was measured.
    #[must_use]
    pub fn estimate(&self) -> Option<Estimate> {
        self.with(|offset| offset.estimate(Instant::now()))
    }

    /// A clock that is known to be this machine's own, as in tests of one process.
    #[cfg(test)]
    pub(crate) fn ours() -> Self {
        let clock = Self::default();
        clock.round_trip(Duration::ZERO);
        clock.with(|offset| offset.report(Instant::now(), Duration::ZERO, Duration::ZERO));
        clock
    }

    /// A round trip was measured by other means.
    pub(super) fn round_trip(&self, round_trip: Duration) {
        self.with(|offset| offset.round_trip(Instant::now(), round_trip));
    }

    fn with<T>(&self, does: impl FnOnce(&mut ClockOffset) -> T) -> T {
        does(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a report that came at `arrived`.
    fn read(&self, packets: &[Box<dyn rtc::rtcp::Packet>], arrived: Instant) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // It may have waited since.
        let ours = now.saturating_sub(arrived.elapsed());
        for packet in packets.iter().map(|packet| packet.as_any()) {
            if let Some(report) = packet.downcast_ref::<SenderReport>() {
                if let Some(sent) = unix(report.ntp_time) {
                    self.with(|offset| offset.report(arrived, sent, ours));
                }
                self.read_round_trips(&report.reports, ours);
            } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
                self.read_round_trips(&report.reports, ours);
            }
        }
    }

    fn read_round_trips(&self, reports: &[ReceptionReport], ours: Duration) {
        for report in reports {
            if let Some(round_trip) = round_trip(report, ours) {
                self.round_trip(round_trip);
            }
        }
    }
}

/// The Unix time of a time stamp of NTP; `None` for 0, which stands for no clock (RFC 3550 §6.4.1).
fn unix(ntp: u64) -> Option<Duration> {
    let seconds = (ntp >> 32).checked_sub(NTP_TO_UNIX)?;
    let nanoseconds = ((ntp & 0xffff_ffff) * 1_000_000_000) >> 32;
    Some(Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds))
}

/// The middle 32 bits of a time stamp of NTP: 65,536ths of a second.
fn middle(unix: Duration) -> u32 {
    let fraction = (u64::from(unix.subsec_nanos()) << 16) / 1_000_000_000;
    (((unix.as_secs() + NTP_TO_UNIX) << 16) + fraction) as u32
}

/// How long it took from our sender report to this answer, without what it waited at theirs; `None` before they had one.
fn round_trip(report: &ReceptionReport, ours: Duration) -> Option<Duration> {
    if report.last_sender_report == 0 {
        return None;
    }
    let passed = middle(ours).wrapping_sub(report.last_sender_report).wrapping_sub(report.delay);
    let round_trip = Duration::from_secs_f64(f64::from(passed) / 65_536.0);
    (round_trip <= ROUND_TRIP_MAX).then_some(round_trip)
}

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
            self.clock.read(packets, packet.now);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ntp(unix: Duration) -> u64 {
        ((unix.as_secs() + NTP_TO_UNIX) << 32) | ((u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000)
    }

    #[test]
    fn time_stamps_are_read_as_they_are_written() {
        let time = Duration::new(1_800_000_000, 123_456_789);
        assert!(unix(ntp(time)).unwrap().abs_diff(time) < Duration::from_nanos(2));
        assert_eq!(u64::from(middle(time)), (ntp(time) >> 16) & 0xffff_ffff);
        assert_eq!((unix(0), unix(1)), (None, None));
    }

    #[test]
    fn a_round_trip_is_what_passed_less_the_delay_at_theirs() {
        let sent = Duration::new(1_800_000_000, 900_000_000);
        let report = ReceptionReport { last_sender_report: middle(sent), delay: 65_536 / 2, ..Default::default() };
        let measured = round_trip(&report, sent + Duration::from_millis(540)).unwrap();
        assert!(measured.abs_diff(Duration::from_millis(40)) < Duration::from_millis(1), "{measured:?}");
        assert_eq!(round_trip(&report, sent), None, "it took longer than it can have");
        assert_eq!(round_trip(&ReceptionReport::default(), sent), None);
    }

    #[test]
    fn reports_of_a_clock_that_is_ahead_tell_it() {
        let clock = PeerClock::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let answer = ReceptionReport { last_sender_report: middle(now), ..Default::default() };
        let report =
            |reports| SenderReport { ntp_time: ntp(now + Duration::from_secs(2)), reports, ..Default::default() };
        clock.read(&[Box::new(report(Vec::new()))], Instant::now());
        assert_eq!(clock.estimate(), None);
        clock.read(&[Box::new(report(vec![answer]))], Instant::now());
        assert!(clock.estimate().is_some_and(|known| (known.ahead_ms - 2000.0).abs() < 50.0), "{clock:?}");
    }
}

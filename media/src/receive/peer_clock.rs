//! [`PeerClock`]: what RTCP says of the other side's clock, and of the way there and back.
//!
//! - a sender report has the time at which it left, by their clock (RFC 3550 §6.4.1)
//! - a reception report tells the round trip: when it came, less our time in it, less the delay at theirs
//! - and which RTP time it was then → [`CaptureTimes`]
//! - both → [`ClockOffset`]; the round trip → [`SharedRoundTrip`], which repair follows

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::capture_times::{CaptureTimes, TimeReport};
use super::lip_sync::Medium;
use crate::clock::{ClockOffset, Estimate};
use crate::congestion::round_trip::{RoundTrip, SharedRoundTrip};

/// Seconds from the epoch of NTP (1900) to that of Unix (1970).
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// A round trip above it is a fault of the report.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(60);

/// How the clocks of the two sides of a call differ; cheap to clone, callable from any thread.
#[derive(Clone, Debug, Default)]
pub struct PeerClock {
    offset: Arc<Mutex<ClockOffset>>,
    captures: Arc<Mutex<[CaptureTimes; 2]>>,
    round_trip: SharedRoundTrip,
}

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
        clock.with(|offset| offset.round_trip(Instant::now(), Duration::ZERO));
        clock.with(|offset| offset.report(Instant::now(), Duration::ZERO, Duration::ZERO));
        clock
    }

    /// The round trip of the call, as repair uses it.
    #[must_use]
    pub fn round_trip(&self) -> RoundTrip {
        self.round_trip.get()
    }

    /// Where the round trip of the call is published.
    pub(crate) fn shared_round_trip(&self) -> SharedRoundTrip {
        self.round_trip.clone()
    }

    /// A round trip was measured by STUN (RFC 8445 §6.1.2), which repeats what was lost.
    pub(crate) fn stun_round_trip(&self, round_trip: Duration) {
        let now = Instant::now();
        self.round_trip.guessed(round_trip, now);
        self.with(|offset| offset.round_trip(now, round_trip));
    }

    fn with<T>(&self, does: impl FnOnce(&mut ClockOffset) -> T) -> T {
        does(&mut self.offset.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// When what has this time stamp was captured: seconds of Unix time, by the clock of the other side; `None` where that
    /// is not known.
    pub(crate) fn captured_s(&self, medium: Medium, timestamp: u32) -> Option<f64> {
        self.captures.lock().unwrap_or_else(PoisonError::into_inner)[medium as usize].captured_s(timestamp)
    }

    /// Takes in what a sender report on a stream says of time.
    pub(crate) fn time_report(&self, medium: Medium, report: TimeReport) {
        self.captures.lock().unwrap_or_else(PoisonError::into_inner)[medium as usize].add(report);
    }

    /// Takes in a sender report that came at `arrived`, when our clock said `ours`.
    pub(crate) fn sender_report(&self, ntp_time: u64, arrived: Instant, ours: Duration) {
        if let Some(sent) = unix(ntp_time) {
            self.with(|offset| offset.report(arrived, sent, ours));
        }
    }

    /// Takes in a report on what we send, which came when our clock said `ours`.
    pub(crate) fn reception_report(&self, report: ReceptionTimes, ours: Duration) {
        if let Some(round_trip) = report.round_trip(ours) {
            let now = Instant::now();
            self.round_trip.measured(round_trip, now);
            self.with(|offset| offset.round_trip(now, round_trip));
        }
    }
}

/// The two fields of a report block that tell a round trip (RFC 3550 §6.4.1), in 65,536ths of a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReceptionTimes {
    /// The middle 32 bits of the NTP time in our last sender report; 0 before they had one.
    pub(crate) last_sender_report: u32,
    /// How long that report had waited at theirs.
    pub(crate) delay: u32,
}

/// The Unix time of a time stamp of NTP; `None` for 0, which stands for no clock (RFC 3550 §6.4.1).
pub(crate) fn unix(ntp: u64) -> Option<Duration> {
    let seconds = (ntp >> 32).checked_sub(NTP_TO_UNIX)?;
    let nanoseconds = ((ntp & 0xffff_ffff) * 1_000_000_000) >> 32;
    Some(Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds))
}

/// The middle 32 bits of a time stamp of NTP: 65,536ths of a second.
fn middle(unix: Duration) -> u32 {
    let fraction = (u64::from(unix.subsec_nanos()) << 16) / 1_000_000_000;
    (((unix.as_secs() + NTP_TO_UNIX) << 16) + fraction) as u32
}

impl ReceptionTimes {
    /// How long it took from our sender report to this answer, without what it waited at theirs; `None` before they had
    /// one.
    fn round_trip(self, ours: Duration) -> Option<Duration> {
        if self.last_sender_report == 0 {
            return None;
        }
        let passed = middle(ours).wrapping_sub(self.last_sender_report).wrapping_sub(self.delay);
        let round_trip = Duration::from_secs_f64(f64::from(passed) / 65_536.0);
        (round_trip <= ROUND_TRIP_MAX).then_some(round_trip)
    }
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
        let report = ReceptionTimes { last_sender_report: middle(sent), delay: 65_536 / 2 };
        let measured = report.round_trip(sent + Duration::from_millis(540)).unwrap();
        assert!(measured.abs_diff(Duration::from_millis(40)) < Duration::from_millis(1), "{measured:?}");
        assert_eq!(report.round_trip(sent), None, "it took longer than it can have");
        assert_eq!(ReceptionTimes::default().round_trip(sent), None);
    }

    #[test]
    fn reports_of_a_clock_that_is_ahead_tell_it() {
        let (clock, arrived, ours) = (PeerClock::default(), Instant::now(), Duration::from_secs(1_800_000_000));
        let theirs = ntp(ours + Duration::from_secs(2));
        clock.sender_report(theirs, arrived, ours);
        assert_eq!(clock.estimate(), None);
        clock.sender_report(theirs, arrived, ours);
        clock.reception_report(ReceptionTimes { last_sender_report: middle(ours), delay: 0 }, ours);
        assert!(clock.estimate().is_some_and(|known| (known.ahead_ms - 2000.0).abs() < 50.0), "{clock:?}");
    }
}

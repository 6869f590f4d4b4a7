//! [`CaptureTimes`]: when what a stream of the other side carries was captured, by the clock of the other side.
//!
//! A sender report says which RTP time it is at which moment (RFC 3550 §6.4.1). Reports of a microphone are as uneven as
//! its thread wakes up, so that the median of the latest ones is taken. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// Reports that count: 8 s of them, where clocks that run 200 ppm apart move by 2 ms.
const REPORTS_MAX: usize = 8;

/// A report that is so far off the others is one of a stream that began anew.
const ANEW_S: f64 = 1.0;

/// A time stamp that is further from the latest report belongs to another stream.
const FAR_S: f64 = 60.0;

/// What a sender report says of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeReport {
    pub(crate) ssrc: u32,
    pub(crate) clock_hz: u32,
    /// RTP time at the moment of the report.
    pub(crate) rtp_time: u32,
    /// The moment: Unix time of the clock of the other side.
    pub(crate) sent: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct CaptureTimes {
    latest: Option<TimeReport>,
    /// Of each report: when RTP time was that of the latest, less the moment of the latest, seconds.
    offsets_s: VecDeque<f64>,
}

impl CaptureTimes {
    /// Takes in a report.
    pub(crate) fn add(&mut self, report: TimeReport) {
        if report.clock_hz == 0 {
            return;
        }
        let same = self.latest.filter(|latest| latest.ssrc == report.ssrc && latest.clock_hz == report.clock_hz);
        let moved_s = same.map(|latest| {
            let by_rtp = since_s(latest.rtp_time, report.rtp_time, report.clock_hz);
            report.sent.as_secs_f64() - latest.sent.as_secs_f64() - by_rtp
        });
        match moved_s.filter(|moved_s| moved_s.abs() < ANEW_S) {
            // Offsets are told by the latest report.
            Some(moved_s) => self.offsets_s.iter_mut().for_each(|offset_s| *offset_s -= moved_s),
            None => self.offsets_s.clear(),
        }
        if self.offsets_s.len() == REPORTS_MAX {
            self.offsets_s.pop_front();
        }
        self.offsets_s.push_back(0.0);
        self.latest = Some(report);
    }

    /// When what has this time stamp was captured: seconds of Unix time, by the clock of the other side. `None` before a
    /// report came, and for a time stamp that has nothing to do with it.
    pub(crate) fn captured_s(&self, timestamp: u32) -> Option<f64> {
        let latest = self.latest?;
        let since_s = since_s(latest.rtp_time, timestamp, latest.clock_hz);
        let mut offsets_s: Vec<f64> = self.offsets_s.iter().copied().collect();
        offsets_s.sort_by(f64::total_cmp);
        let offset_s = offsets_s.get(offsets_s.len() / 2)?;
        (since_s.abs() < FAR_S).then(|| latest.sent.as_secs_f64() + offset_s + since_s)
    }
}

/// From one RTP time to another, seconds.
fn since_s(from: u32, to: u32, clock_hz: u32) -> f64 {
    f64::from(to.wrapping_sub(from).cast_signed()) / f64::from(clock_hz)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rtp_time: u32, sent_ms: u64) -> TimeReport {
        TimeReport { ssrc: 1, clock_hz: 48_000, rtp_time, sent: Duration::from_millis(sent_ms) }
    }

    fn captured_ms(times: &CaptureTimes, timestamp: u32) -> Option<i64> {
        times.captured_s(timestamp).map(|s| (s * 1000.0).round() as i64)
    }

    #[test]
    fn a_time_stamp_is_told_by_the_report_before_or_after_it_also_where_it_wraps() {
        let mut times = CaptureTimes::default();
        assert_eq!(captured_ms(&times, 0), None);
        times.add(report(u32::MAX - 479, 50_000));
        assert_eq!(captured_ms(&times, 480), Some(50_020));
        assert_eq!(captured_ms(&times, u32::MAX - 959), Some(49_990));
        assert_eq!(captured_ms(&times, 48_000 * 100), None);
    }

    #[test]
    fn uneven_reports_are_evened_out_and_a_slow_clock_is_followed() {
        let mut times = CaptureTimes::default();
        for n in 0..200_u32 {
            // 500 ppm slow: 24 samples a second are missing. Every third report is 12 ms late.
            times.add(report(n * (48_000 - 24), u64::from(n) * 1000 + u64::from(n % 3 == 0) * 12));
        }
        let latest = captured_ms(&times, 199 * (48_000 - 24)).unwrap();
        assert!((latest - 199_000).abs() <= 3, "{latest}");
    }

    #[test]
    fn a_stream_that_begins_anew_forgets() {
        let mut times = CaptureTimes::default();
        (0..8).for_each(|n| times.add(report(n * 48_000, u64::from(n) * 1000)));
        times.add(report(5_000_000, 8_000));
        assert_eq!(captured_ms(&times, 5_000_000), Some(8_000));
        times.add(TimeReport { ssrc: 2, ..report(5_004_800, 9_000) });
        assert_eq!(captured_ms(&times, 5_004_800), Some(9_000));
        times.add(TimeReport { clock_hz: 0, ..report(0, 1) });
        assert_eq!(captured_ms(&times, 5_004_800), Some(9_000));
    }
}

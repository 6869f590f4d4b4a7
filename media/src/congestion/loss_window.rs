//! Adds packet reports up to windows that are long enough for a share of lost packets.

use std::time::{Duration, Instant};

use super::feedback::PacketReport;
use super::loss_limit::Seen;

/// Loss is looked at in windows of this length: some 80 packets of a usual call.
const WINDOW: Duration = Duration::from_millis(500);

/// Fewer packets tell nothing of a share: of 50 with 20 % lost, one time in three it is more than 6 % off.
const WINDOW_PACKETS_MIN: u32 = 50;

/// Adds reports up to windows.
#[derive(Debug, Default)]
pub(crate) struct LossWindow {
    since: Option<Instant>,
    packets: u32,
    lost: u32,
    arrived_bytes: u64,
}

impl LossWindow {
    /// Takes in reports; what was seen when a window is over.
    pub(crate) fn add(&mut self, now: Instant, reports: &[PacketReport]) -> Option<Seen> {
        let since = *self.since.get_or_insert(now);
        for report in reports {
            if report.was_lost {
                self.lost = self.lost.saturating_sub(1);
            } else {
                self.packets += 1;
            }
            if report.arrived() {
                self.arrived_bytes += report.size as u64;
            } else {
                self.lost += 1;
            }
        }
        let length = now.saturating_duration_since(since);
        if length < WINDOW || self.packets < WINDOW_PACKETS_MIN {
            return None;
        }
        let loss = f64::from(self.lost) / f64::from(self.packets);
        let arrived_bps = self.arrived_bytes as f64 * 8.0 / length.as_secs_f64();
        *self = Self { since: Some(now), ..Self::default() };
        Some(Seen { loss, arrived_bps })
    }
}

#[cfg(test)]
mod tests {
    use super::super::feedback::tests::reports;
    use super::*;

    #[test]
    fn a_window_adds_batches_up_until_they_are_long_and_many_enough() {
        let (mut window, start) = (LossWindow::default(), Instant::now());
        let batch = reports(start, 0, [true, true, true, false]);
        let mut seen = Vec::new();
        for n in 0..26 {
            seen.extend(window.add(start + Duration::from_millis(100) * n, &batch).map(|seen| (n, seen.loss)));
        }
        assert_eq!(seen, [(12, 0.25), (25, 0.25)], "of 52 packets each");
    }

    #[test]
    fn a_packet_that_was_only_overtaken_is_not_lost() {
        let (mut window, start) = (LossWindow::default(), Instant::now());
        let mut all = reports(start, 0, [true; 59].into_iter().chain([false]));
        assert_eq!(window.add(start, &all), None);
        let mut late = all.remove(59);
        (late.arrival, late.was_lost) = (Some(Duration::ZERO), true);
        let seen = window.add(start + WINDOW, &[late]).unwrap();
        assert_eq!(seen.loss, 0.0);
    }
}

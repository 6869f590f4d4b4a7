//! Paces generated media by absolute deadlines, so that the time the work takes adds nothing up.

use std::time::{Duration, Instant};

use super::StopFlag;

/// Paces generated media: tick `n` is due `n / rate` seconds after the start, however long the work takes.
#[derive(Debug)]
pub(super) struct Ticks {
    start: Instant,
    ticks_per_second: u32,
    next: u64,
    taken: u64,
    catch_up: Duration,
}

impl Ticks {
    /// Asked at least this often whether to stop.
    const STOP_POLL: Duration = Duration::from_millis(50);

    /// The first tick is due at `start`. Ticks that are late by more than `catch_up` are left out.
    pub(super) const fn new(start: Instant, ticks_per_second: u32, catch_up: Duration) -> Self {
        Self { start, ticks_per_second, next: 0, taken: 0, catch_up }
    }

    /// Waits for the next tick; false when the capture is to stop.
    pub(super) fn wait(&mut self, stop: &StopFlag) -> bool {
        loop {
            if stop.is_set() {
                return false;
            }
            let now = Instant::now();
            let left = self.due(self.next).saturating_duration_since(now);
            if left.is_zero() {
                self.advance(now);
                return true;
            }
            std::thread::sleep(left.min(Self::STOP_POLL));
        }
    }

    /// Number of the tick that was waited for last; a gap where ticks were left out.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    fn due(&self, tick: u64) -> Instant {
        let rate = u64::from(self.ticks_per_second);
        self.start + Duration::from_secs(tick / rate) + Duration::from_nanos(tick % rate * 1_000_000_000 / rate)
    }

    /// Takes the tick that is due and settles the one after it.
    fn advance(&mut self, now: Instant) {
        self.taken = self.next;
        self.next += 1;
        if now.saturating_duration_since(self.due(self.next)) > self.catch_up {
            let passed = now.saturating_duration_since(self.start);
            let rate = u64::from(self.ticks_per_second);
            self.next = passed.as_secs() * rate + u64::from(passed.subsec_nanos()) * rate / 1_000_000_000 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticks_keep_to_its_grid_and_leaves_out_what_is_too_late() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut ticks = Ticks::new(start, 30, ms(33));
        ticks.advance(start + ms(5));
        assert_eq!((ticks.next, ticks.due(3)), (1, start + ms(100)));
        ticks.advance(start + ms(60));
        assert_eq!(ticks.next, 2, "less than one picture late: caught up");
        ticks.advance(start + ms(1_010));
        assert_eq!((ticks.next, ticks.due(31) > start + ms(1_010)), (31, true));
        ticks.advance(start + ms(1_034));
        assert_eq!(ticks.taken(), 31, "after 2 comes 31");
    }
}

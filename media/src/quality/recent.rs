//! The latest values of a series, for figures of the last second.

use std::collections::VecDeque;
use std::time::Instant;

/// Values kept: two seconds at 120 a second, the most that the test pattern has.
const KEPT_MAX: usize = 240;

/// The latest values of a series and how many there were; the oldest are forgotten.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    values: VecDeque<(Instant, f64)>,
    count: u64,
}

impl Recent {
    /// Adds a value of the series.
    pub fn add(&mut self, at: Instant, value: f64) {
        if self.values.len() == KEPT_MAX {
            self.values.pop_front();
        }
        self.values.push_back((at, value));
        self.count += 1;
    }

    /// Values so far, forgotten ones too.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The values after the first `seen` ones, oldest first, and how many of them are forgotten.
    #[must_use]
    pub fn since(&self, seen: u64) -> (Vec<f64>, u64) {
        let new = self.count.saturating_sub(seen);
        let kept = new.min(self.values.len() as u64);
        let skipped = self.values.len() - kept as usize;
        (self.values.iter().skip(skipped).map(|(_, value)| *value).collect(), new - kept)
    }

    /// The median of what came at `since` or later (of an even number: the mean of the middle two); `None` when
    /// nothing did.
    #[must_use]
    pub fn median(&self, since: Instant) -> Option<f64> {
        let mut values: Vec<f64> = self.values.iter().filter(|(at, _)| *at >= since).map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        Some(if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], upper) } else { upper })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_new_and_what_was_forgotten_add_up() {
        let mut recent = Recent::default();
        assert_eq!(recent.since(0), (vec![], 0));
        let at = Instant::now();
        for n in 0..3_u8 {
            recent.add(at, n.into());
        }
        assert_eq!(recent.since(1), (vec![1.0, 2.0], 0));
        assert_eq!(recent.since(3), (vec![], 0));
        for _ in 0..KEPT_MAX {
            recent.add(at, 9.0);
        }
        assert_eq!(recent.since(2), (vec![9.0; KEPT_MAX], 1));
    }

    #[test]
    fn the_median_is_of_its_window() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        let at = |n| start + Duration::from_secs(n);
        for (n, value) in [(0, 100.0), (1, 3.0), (2, -1.0), (3, 2.0)] {
            recent.add(at(n), value);
        }
        assert_eq!(recent.median(at(1)), Some(2.0));
        assert_eq!(recent.median(at(0)), Some(2.5));
        assert_eq!(recent.median(at(4)), None);
    }
}

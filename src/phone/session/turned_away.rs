//! How many callers who were turned away are told of one by one: a stranger can send as many offers as they like. Pure.

use std::time::{Duration, Instant};

/// So many at once.
const BURST: u32 = 20;

/// And another one each time this has passed.
const EVERY: Duration = Duration::from_secs(3);

/// What is left of the burst, and how many were left out.
#[derive(Debug)]
pub(super) struct TurnedAway {
    left: u32,
    since: Instant,
    left_out: u64,
}

impl TurnedAway {
    pub(super) const fn new(now: Instant) -> Self {
        Self { left: BURST, since: now, left_out: 0 }
    }

    /// One more was turned away: true when it is to be told of.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.since).as_millis() / EVERY.as_millis();
        let earned = u32::try_from(earned).unwrap_or(BURST).min(BURST);
        if earned > 0 {
            self.left = (self.left + earned).min(BURST);
            self.since = now;
        }
        if self.left == 0 {
            self.left_out += 1;
            return false;
        }
        self.left -= 1;
        true
    }

    /// How many were left out since this was asked last, if any.
    pub(super) fn left_out(&mut self) -> Option<u64> {
        let left_out = std::mem::take(&mut self.left_out);
        (left_out > 0).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_a_few_are_told() {
        let start = Instant::now();
        let mut turned_away = TurnedAway::new(start);
        let told = (0..10_000).filter(|n| turned_away.take(start + Duration::from_millis(*n))).count();
        assert_eq!(told, 20 + 3);
        assert_eq!((turned_away.left_out(), turned_away.left_out()), (Some(10_000 - 23), None));
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..30).filter(|_| turned_away.take(later)).count(), 20, "an hour earns no more than the burst");
    }
}

//! How long to hold sound back for copies of lost packets, which come with later packets (RFC 2198).
//!
//! - in: the transit of each copy that stood, or could have stood, for a lost packet
//! - out: the transit that all but a few of them had, and for how long it counts
//!
//! A few copies that come too late cost less than the delay that would be needed for them, and less than a delay that goes
//! to and fro: so the wait begins with the fourth in ten seconds, and lasts for a while.
//!
//! Pure: reads no clock.

use std::collections::VecDeque;

/// Copies are forgotten after so long (10 s).
const REMEMBERED_US: i64 = 10_000_000;

/// So many may come too late meanwhile: 0.6 % of packets of 20 ms.
const LATE_MAX: usize = 3;

/// Sound is held back for so long (20 s) after it was last found worth it.
const HELD_US: i64 = 20_000_000;

/// So many copies are remembered at most: half of all packets of 20 ms.
const COPIES_MAX: usize = 256;

/// See the module. Times are microseconds.
#[derive(Debug, Default)]
pub(super) struct CopyWait {
    /// When they came, and their transit.
    copies: VecDeque<(i64, i64)>,
    /// The longest transit that was worth it, and until when it counts.
    held: Option<(i64, i64)>,
}

impl CopyWait {
    /// A copy was needed that came at `arrived_us`, with this transit.
    pub(super) fn add(&mut self, arrived_us: i64, transit_us: i64) {
        self.copies.push_back((arrived_us, transit_us));
        while let Some(&(came, _)) = self.copies.front()
            && (self.copies.len() > COPIES_MAX || came < arrived_us - REMEMBERED_US)
        {
            self.copies.pop_front();
        }
        let mut slowest: Vec<i64> = self.copies.iter().map(|&(_, transit_us)| transit_us).collect();
        slowest.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(&worth_us) = slowest.get(LATE_MAX)
            && self.held.is_none_or(|(held_us, until)| worth_us >= held_us || arrived_us >= until)
        {
            self.held = Some((worth_us, arrived_us + HELD_US));
        }
    }

    /// The transit to wait for at this time; `None` while copies are not worth it.
    pub(super) fn transit_us(&self, now_us: i64) -> Option<i64> {
        self.held.filter(|&(_, until)| now_us < until).map(|(transit_us, _)| transit_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn copies_are_waited_for_when_more_than_a_few_are_needed() {
        let mut wait = CopyWait::default();
        for n in 0..4 {
            assert_eq!(wait.transit_us(n * SECOND), None);
            wait.add(n * SECOND, 80_000);
        }
        assert_eq!(wait.transit_us(4 * SECOND), Some(80_000));
        assert_eq!(wait.transit_us(22 * SECOND), Some(80_000));
        assert_eq!(wait.transit_us(23 * SECOND), None, "they are needed no more");
        let mut rare = CopyWait::default();
        (0..100).for_each(|n| rare.add(n * 4 * SECOND, 80_000));
        assert_eq!(rare.transit_us(400 * SECOND), None);
    }

    #[test]
    fn the_few_that_come_much_later_than_the_others_are_not_waited_for() {
        let mut wait = CopyWait::default();
        (0..100).for_each(|n| wait.add(n * SECOND / 10, if n % 40 == 39 { 80_000 } else { 20_000 }));
        assert_eq!(wait.transit_us(10 * SECOND), Some(20_000));
        (100..120).for_each(|n| wait.add(n * SECOND / 10, 80_000));
        assert_eq!(wait.transit_us(12 * SECOND), Some(80_000));
        // For a while, so that the delay does not go to and fro.
        (120..310).for_each(|n| wait.add(n * SECOND / 10, 20_000));
        assert_eq!(wait.transit_us(31 * SECOND), Some(80_000));
        (310..430).for_each(|n| wait.add(n * SECOND / 10, 20_000));
        assert_eq!(wait.transit_us(43 * SECOND), Some(20_000));
    }

    #[test]
    fn little_is_remembered() {
        let mut wait = CopyWait::default();
        (0..10_000).for_each(|n| wait.add(n, n % 7));
        assert_eq!(wait.copies.len(), COPIES_MAX);
    }
}

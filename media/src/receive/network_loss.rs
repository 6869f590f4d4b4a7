//! Counts the packets that the network lost, before any repair: of the whole call, and lately ([`RecentLoss`]).
//!
//! Told by sequence numbers alone: a number that a later packet jumps over is missing. A retransmission that comes
//! afterwards takes nothing back.

use serde::Serialize;

use crate::rtp::SequenceUnwrapper;

/// A jump of so many numbers is a sender that counts anew (RFC 3550 appendix A.1, `MAX_DROPOUT`).
const DROPOUT_MAX: i64 = 3000;

/// How much was missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct NetworkLoss {
    /// Sequence numbers from the first to the highest that came.
    pub expected: u64,
    /// Of these, the ones that were not there when a later one came: lost, or overtaken.
    pub missing: u64,
    /// Share of the missing, 0 to 1; `None` before the first packet.
    pub network_loss: Option<f64>,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Missing {
    numbers: SequenceUnwrapper,
    highest: Option<i64>,
    expected: u64,
    missing: u64,
}

impl Missing {
    /// A packet came.
    pub fn came(&mut self, sequence: u16) {
        let number = self.numbers.unwrap(sequence);
        let jump = self.highest.map_or(1, |highest| number - highest);
        if jump.abs() >= DROPOUT_MAX {
            self.numbers = SequenceUnwrapper::default();
            self.highest = Some(self.numbers.unwrap(sequence));
            self.expected += 1;
        } else if let Ok(jump @ 1..) = u64::try_from(jump) {
            self.highest = Some(number);
            self.expected += jump;
            self.missing += jump - 1;
        }
    }

    /// How much was missing so far.
    #[must_use]
    pub fn loss(&self) -> NetworkLoss {
        let network_loss = (self.expected > 0).then(|| self.missing as f64 / self.expected as f64);
        NetworkLoss { expected: self.expected, missing: self.missing, network_loss }
    }
}

/// The share of packets that were lost lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RecentLoss {
    share: f64,
    packets: u32,
}

impl RecentLoss {
    /// So many packets are looked back on: about a second of a usual call.
    const PACKETS: u32 = 128;

    /// A packet came, and `missed` numbers before it did not.
    pub(crate) fn add(&mut self, missed: u32) {
        // A longer gap is a path, or a sender, that was away.
        if missed <= Self::PACKETS {
            (0..missed).for_each(|_| self.count(1.0));
        }
        self.count(0.0);
    }

    /// 0 to 1.
    pub(crate) const fn share(&self) -> f64 {
        self.share
    }

    fn count(&mut self, lost: f64) {
        self.packets = (self.packets + 1).min(Self::PACKETS);
        // From 0 on, and not the mean of the first few: a loss at the very beginning is none of half the packets.
        self.share += (lost - self.share) / f64::from(self.packets.max(Self::PACKETS / 4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(sequences: impl IntoIterator<Item = u16>) -> (u64, u64) {
        let mut missing = Missing::default();
        sequences.into_iter().for_each(|sequence| missing.came(sequence));
        let NetworkLoss { expected, missing, .. } = missing.loss();
        (expected, missing)
    }

    #[test]
    fn holes_count_once_whatever_fills_them() {
        assert_eq!(loss([]), (0, 0));
        assert_eq!(loss([7, 8, 9]), (3, 0));
        assert_eq!(loss([7, 9, 10]), (4, 1));
        assert_eq!(loss([7, 9, 8, 10, 8]), (4, 1), "repaired, and then doubled");
        assert_eq!(loss([65_534, 1, 65_535, 2]), (5, 2), "past the wrap");
    }

    #[test]
    fn a_sender_that_counts_anew_loses_nothing() {
        assert_eq!(loss([10, 11, 30_000, 30_001, 30_003]), (6, 1));
        assert_eq!(loss([30_000, 10, 11]), (3, 0));
    }

    #[test]
    fn the_share_is_of_what_was_sent() {
        let mut missing = Missing::default();
        assert_eq!(missing.loss().network_loss, None);
        (0..1000u16).filter(|n| n % 20 != 10).for_each(|n| missing.came(n));
        assert_eq!(missing.loss().network_loss, Some(0.05));
    }

    #[test]
    fn the_recent_loss_follows_within_seconds() {
        let mut recent = RecentLoss::default();
        recent.add(1);
        assert!(recent.share() < 0.05, "one loss at the beginning: {recent:?}");
        (0..400).for_each(|_| recent.add(1));
        assert!((recent.share() - 0.5).abs() < 0.05, "{recent:?}");
        (0..600).for_each(|_| recent.add(0));
        assert!(recent.share() < 0.01, "{recent:?}");
        recent.add(u32::MAX);
        assert!(recent.share() < 0.01, "a path that was away: {recent:?}");
    }
}

//! [`Redundancy`]: of which earlier packets of sound a packet carries copies (RFC 2198), by the loss that the other side
//! reports.
//!
//! Reports tell how much is lost, and not in how long bursts. A copy of the last packet stands in for single losses, and
//! costs the other side 20 ms of delay; one of the fourth packet back also for bursts of four, and costs it 80 ms. What
//! each is worth: `./dev bench copies`, and its table in docs/TESTING.md.
//!
//! Pure: time passes with the sound that is sent.

use std::time::Duration;

/// Which earlier packets a packet carries copies of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Copies {
    /// None. In-band FEC of Opus, where something is lost.
    #[default]
    None,
    /// The last one.
    Last,
    /// The fourth one back, beside in-band FEC, which stands in for the last one.
    Fourth,
    /// The last one, and the fourth one back.
    LastAndFourth,
}

impl Copies {
    /// How many packets back each of them is, the oldest first.
    #[must_use]
    pub const fn distances(self) -> &'static [usize] {
        match self {
            Self::None => &[],
            Self::Last => &[1],
            Self::Fourth => &[4],
            Self::LastAndFourth => &[4, 1],
        }
    }

    /// The farthest of all distances.
    pub const FARTHEST: usize = 4;

    /// How many they are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.distances().len() as u32
    }

    /// True where each packet has a coarse copy of the last one, by in-band FEC: there is no whole one.
    #[must_use]
    pub const fn has_inband_fec(self) -> bool {
        matches!(self, Self::None | Self::Fourth)
    }
}

/// The reported loss is followed so fast: a rise within about a second, a fall within eight. A second has 50 packets, so
/// that its loss says little of the next one's.
const RISE: Duration = Duration::from_secs(1);
const FALL: Duration = Duration::from_secs(8);

/// From so much loss on there are copies of the last packet; below the second figure there are none again.
const LAST_FROM: f32 = 0.01;
const NONE_BELOW: f32 = 0.004;

/// From so much loss on there are copies of the fourth packet back; below the second figure there are none again.
const FOURTH_FROM: f32 = 0.035;
const LAST_BELOW: f32 = 0.02;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Redundancy {
    loss: f32,
    wanted: Copies,
}

impl Redundancy {
    /// So much sound has passed, and the last report said that this share of packets is lost (0 to 1).
    pub fn follow(&mut self, fraction_lost: f32, passed: Duration) {
        let settling = if fraction_lost > self.loss { RISE } else { FALL };
        let share = 1.0 - (-passed.as_secs_f32() / settling.as_secs_f32()).exp();
        self.loss += (fraction_lost.clamp(0.0, 1.0) - self.loss) * share;
        self.wanted = match self.wanted {
            _ if self.loss >= FOURTH_FROM => Copies::LastAndFourth,
            Copies::LastAndFourth | Copies::Fourth if self.loss >= LAST_BELOW => Copies::LastAndFourth,
            _ if self.loss >= LAST_FROM => Copies::Last,
            Copies::None => Copies::None,
            Copies::Last | Copies::Fourth | Copies::LastAndFourth if self.loss >= NONE_BELOW => Copies::Last,
            Copies::Last | Copies::Fourth | Copies::LastAndFourth => Copies::None,
        };
    }

    /// The copies that would be best, whatever the path carries.
    #[must_use]
    pub const fn wanted(&self) -> Copies {
        self.wanted
    }

    /// The loss, smoothed, in percent and rounded up.
    #[must_use]
    pub fn loss_percent(&self) -> u8 {
        // What is left of one lost packet a minute ago is none.
        if self.loss < NONE_BELOW { 0 } else { (self.loss * 100.0).ceil() as u8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many seconds with a report each; what was wanted at each report's end.
    fn wanted(redundancy: &mut Redundancy, reports: impl IntoIterator<Item = f32>) -> Vec<Copies> {
        let second = |lost| {
            (0..50).for_each(|_| redundancy.follow(lost, Duration::from_millis(20)));
            redundancy.wanted()
        };
        reports.into_iter().map(second).collect()
    }

    #[test]
    fn more_loss_wants_more_copies_and_a_clean_line_none() {
        let mut redundancy = Redundancy::default();
        assert_eq!(wanted(&mut redundancy, [0.0; 10]), [Copies::None; 10]);
        assert_eq!(redundancy.loss_percent(), 0);
        assert_eq!(wanted(&mut redundancy, [0.02; 3]), [Copies::Last; 3]);
        assert_eq!(wanted(&mut redundancy, [0.1; 3]), [Copies::LastAndFourth; 3]);
        assert_eq!(redundancy.loss_percent(), 10);
        let over = wanted(&mut redundancy, [0.0; 40]);
        let first = |copies| over.iter().position(|wanted| *wanted == copies);
        assert_eq!((first(Copies::Last), first(Copies::None)), (Some(12), Some(25)));
        assert_eq!(redundancy.loss_percent(), 0);
    }

    #[test]
    fn a_loss_that_goes_to_and_fro_does_not_take_the_copies_along() {
        let mut redundancy = Redundancy::default();
        // 5 % in all, as few packets show it.
        let reports = (0..60).map(|n| [0.0, 0.12, 0.04, 0.02, 0.08, 0.04][n % 6]);
        let seen = wanted(&mut redundancy, reports);
        assert_eq!(seen[2..], [Copies::LastAndFourth; 58]);
        // Half a percent: one packet in four seconds.
        let mut redundancy = Redundancy::default();
        let seen = wanted(&mut redundancy, (0..60).map(|n| if n % 4 == 0 { 0.02 } else { 0.0 }));
        assert_eq!(seen.windows(2).filter(|two| two[0] != two[1]).count(), 0, "{seen:?}");
    }

    #[test]
    fn nonsense_is_no_loss_above_all() {
        let mut redundancy = Redundancy::default();
        assert_eq!(wanted(&mut redundancy, [7.0; 9]), [Copies::LastAndFourth; 9]);
        assert_eq!(redundancy.loss_percent(), 100);
        assert_eq!(wanted(&mut redundancy, [-7.0; 90]).last(), Some(&Copies::None));
    }

    #[test]
    fn the_oldest_copy_comes_first() {
        for copies in [Copies::None, Copies::Last, Copies::Fourth, Copies::LastAndFourth] {
            let distances = copies.distances();
            assert!(distances.windows(2).all(|two| two[0] > two[1]));
            assert!(distances.iter().all(|distance| (1..=Copies::FARTHEST).contains(distance)));
            assert_eq!(copies.has_inband_fec(), !distances.contains(&1));
        }
    }
}

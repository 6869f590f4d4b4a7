//! What to do next: what to make sound of, and whether to play it faster or slower.
//!
//! Pure: looks at nothing but its arguments. Times are microseconds, lengths samples at 48 kHz.

use super::stretch::{LAG_MIN, Likeness};
use super::time_line::samples;

/// A hole of so much sound (120 ms) is filled; after it, what was heard before says nothing of what comes.
pub(super) const FILLED_MAX: i64 = 5_760;

/// Longest piece that is made up at once: 10 ms.
const PIECE: i64 = 480;

/// Longest sound that a codec recovers at once: 120 ms.
const RECOVERED_MAX: i64 = 5_760;

/// What is known where the sound goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// Sound made up since the last packet.
    pub(super) filled: i64,
    /// The sender was silent in its last packet.
    pub(super) is_sender_silent: bool,
    /// The next packet, if any came.
    pub(super) next: Option<Next>,
}

/// The next packet that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// Sound between the last packet and this one.
    pub(super) gap: i64,
    /// Packets between them.
    pub(super) missing: i64,
    /// The last part of the gap that it has a coarse copy of.
    pub(super) copied: i64,
    /// It would be played as late as it should be, if it were played now.
    pub(super) is_due: bool,
}

/// What to make sound of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The next packet.
    Packet,
    /// The coarse copy in the next packet, of so much sound before it.
    Copy(i64),
    /// What was heard before.
    Concealment(i64),
    /// The same, where the sender is silent: nothing is missing.
    ComfortNoise(i64),
    /// Nothing.
    Silence(i64),
}

impl Hole {
    /// What to make sound of.
    pub(super) const fn source(self) -> Source {
        let Some(next) = self.next else {
            return if self.is_sender_silent {
                Source::ComfortNoise(PIECE)
            } else if self.filled >= FILLED_MAX {
                Source::Silence(PIECE)
            } else {
                Source::Concealment(PIECE)
            };
        };
        let is_too_long = self.filled >= FILLED_MAX;
        if next.gap <= 0 && (self.is_sender_silent || !is_too_long) {
            return Source::Packet;
        }
        if next.missing == 0 || is_too_long {
            // A pause is as long as the sound after it needs to be in time.
            return if next.is_due {
                Source::Packet
            } else if is_too_long && !self.is_sender_silent {
                Source::Silence(PIECE)
            } else {
                Source::ComfortNoise(PIECE)
            };
        }
        let left = next.gap - self.filled;
        if left <= 0 || (self.filled > 0 && next.is_due) {
            Source::Packet
        } else if next.copied > 0 && next.copied <= left && left <= RECOVERED_MAX {
            Source::Copy(left)
        } else if left < PIECE {
            Source::Concealment(left)
        } else {
            Source::Concealment(PIECE)
        }
    }
}

/// Sound may be so much later, or earlier, than it should be.
const LATE_US: i64 = 7_000;
const EARLY_US: i64 = 3_000;

/// A stretch is as long as a period of the voice, so it may go so much too far.
const OVERSHOOT_US: i64 = 5_000;

/// Sound that is later than this is a burden on the talk.
const VERY_LATE_US: i64 = 40_000;

/// Sound that is later than this is cut: better that than half a second of talk that overlaps.
pub(super) const CUT_US: i64 = 500_000;

/// Between two changes; less when it is urgent, so at most about a tenth of the sound is left out or repeated.
const REST_US: i64 = 80_000;
const REST_URGENT_US: i64 = 20_000;

/// The same where sound has no time to wait: as long as two stretches, so that none is repeated twice.
const REST_EARLY_US: i64 = 30_000;

/// A search that found nothing is not repeated for so long.
const REST_IN_VAIN_US: i64 = 30_000;

/// After so long (and again so long) without success less likeness is asked for.
const PATIENCE_US: i64 = 500_000;

/// A voice is as much like itself a period later; noise is not.
const ALIKE: Likeness = Likeness(0.9);
const LESS_ALIKE: Likeness = Likeness(0.6);
const ANY: Likeness = Likeness(-1.0);

/// What to do with sound on its way to the speaker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// Play it as it is.
    AsIs,
    /// Leave out at most so many samples.
    Faster(usize, Likeness),
    /// Repeat at most so many samples.
    Slower(usize, Likeness),
}

/// Decides on the pace of sound.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pacing {
    rest_until_us: i64,
    /// Since when a change is wanted.
    wanted_since_us: Option<i64>,
}

impl Pacing {
    /// What to do when sound is `late_us` later than it should be.
    pub(super) fn pace(&mut self, late_us: i64, now_us: i64) -> Pace {
        if (-EARLY_US..=LATE_US).contains(&late_us) {
            self.wanted_since_us = None;
            return Pace::AsIs;
        }
        let since = *self.wanted_since_us.get_or_insert(now_us);
        if now_us < self.rest_until_us {
            return Pace::AsIs;
        }
        let likeness = match (late_us.abs(), now_us - since) {
            (off, waited) if off > 3 * VERY_LATE_US || waited > 2 * PATIENCE_US => ANY,
            (off, waited) if off > VERY_LATE_US || waited > PATIENCE_US => LESS_ALIKE,
            _ => ALIKE,
        };
        let most = (samples(late_us.abs() + OVERSHOOT_US) as usize).max(LAG_MIN);
        if late_us > 0 { Pace::Faster(most, likeness) } else { Pace::Slower(most, likeness) }
    }

    /// The pace was changed by so many samples.
    pub(super) fn changed(&mut self, by: usize, late_us: i64, now_us: i64) {
        if by == 0 {
            self.rest_until_us = now_us + REST_IN_VAIN_US;
            return;
        }
        self.wanted_since_us = None;
        let rest_us = match late_us {
            _ if late_us < 0 => REST_EARLY_US,
            _ if late_us > 3 * VERY_LATE_US => 0,
            _ if late_us > VERY_LATE_US => REST_URGENT_US,
            _ => REST_US,
        };
        self.rest_until_us = now_us + rest_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: Next = Next { gap: 0, missing: 0, copied: 0, is_due: false };

    fn source(filled: i64, next: Option<Next>) -> Source {
        Hole { filled, is_sender_silent: false, next }.source()
    }

    #[test]
    fn the_next_packet_is_played_where_it_follows_on() {
        assert_eq!(source(0, Some(NEXT)), Source::Packet);
        assert_eq!(source(480, Some(NEXT)), Source::Packet, "it was late");
    }

    #[test]
    fn a_lost_packet_is_recovered_or_made_up() {
        let lost = Next { gap: 960, missing: 1, ..NEXT };
        assert_eq!(source(0, Some(Next { copied: 960, ..lost })), Source::Copy(960));
        assert_eq!(source(480, Some(Next { copied: 960, ..lost })), Source::Concealment(480));
        assert_eq!(source(0, Some(lost)), Source::Concealment(480));
        assert_eq!(source(960, Some(lost)), Source::Packet);
        assert_eq!(
            source(480, Some(Next { is_due: true, ..lost })),
            Source::Packet,
            "what is late need not be made up"
        );
        assert_eq!(source(0, Some(Next { gap: 2880, missing: 3, copied: 960, ..lost })), Source::Copy(2880));
    }

    #[test]
    fn a_silent_sender_is_no_loss() {
        let silent = Next { gap: 96_000, ..NEXT };
        assert_eq!(source(0, Some(silent)), Source::ComfortNoise(480));
        assert_eq!(source(0, Some(Next { is_due: true, ..silent })), Source::Packet);
        assert_eq!(Hole { filled: 0, is_sender_silent: true, next: None }.source(), Source::ComfortNoise(480));
        assert_eq!(Hole { filled: 96_000, is_sender_silent: true, next: Some(NEXT) }.source(), Source::Packet);
    }

    #[test]
    fn a_dry_buffer_is_made_up_for_and_then_silent() {
        assert_eq!(source(0, None), Source::Concealment(480));
        assert_eq!(source(FILLED_MAX, None), Source::Silence(480));
        let lost = Next { gap: 96_000, missing: 90, copied: 960, is_due: false };
        assert_eq!(source(FILLED_MAX, Some(lost)), Source::Silence(480));
        assert_eq!(source(FILLED_MAX, Some(Next { is_due: true, ..lost })), Source::Packet);
    }

    #[test]
    fn the_pace_changes_by_what_is_too_much_and_rests() {
        let mut pacing = Pacing::default();
        assert_eq!(pacing.pace(7_000, 0), Pace::AsIs);
        assert_eq!(pacing.pace(-3_000, 0), Pace::AsIs);
        assert_eq!(pacing.pace(10_000, 0), Pace::Faster(720, ALIKE));
        assert_eq!(pacing.pace(-5_000, 0), Pace::Slower(480, ALIKE));
        pacing.changed(480, 10_000, 0);
        assert_eq!(pacing.pace(10_000, 70_000), Pace::AsIs);
        assert!(matches!(pacing.pace(10_000, 80_000), Pace::Faster(..)));
    }

    #[test]
    fn what_is_urgent_needs_less_likeness() {
        let mut pacing = Pacing::default();
        let likeness = |pace| match pace {
            Pace::Faster(_, likeness) | Pace::Slower(_, likeness) => likeness,
            Pace::AsIs => panic!("as is"),
        };
        assert_eq!(likeness(pacing.pace(50_000, 0)), LESS_ALIKE);
        assert_eq!(likeness(pacing.pace(130_000, 0)), ANY);
        assert_eq!(likeness(pacing.pace(10_000, 400_000)), ALIKE);
        assert_eq!(likeness(pacing.pace(10_000, 600_000)), LESS_ALIKE);
        assert_eq!(likeness(pacing.pace(10_000, 1_100_000)), ANY);
    }
}

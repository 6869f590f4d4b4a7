//! Limits the rate by packet loss: sends less when the loss is congestion, and not when the path loses packets at any
//! rate.
//!
//! A queue that overflows loses less when less is sent; a radio link loses as much as before. So when more is lost than
//! the path is known to lose by itself, less is sent for a trial:
//!
//! - loss falls → it was congestion: the limit stays, and rises while no more is lost
//! - loss stays → it is the path's own: there is no limit, and so much loss is accepted for a while

use std::time::{Duration, Instant};

use super::limits::BitrateLimits;

/// Loss beyond what the path is known to lose by itself that makes us send less (draft-ietf-rmcat-gcc-02 §5.5: 10 %).
const EXCESS_MAX: f64 = 0.10;

/// Beyond it the limit does not rise.
const EXCESS_RISING_MAX: f64 = 0.08;

/// Of what came through, so much is sent when sending less is tried: a queue that stands full drains.
const TRIED_SHARE: f64 = 0.85;

/// Sending less has helped when at most this share of the excess is left. Windows are small: by chance alone half of it
/// is often gone.
const HELPED_SHARE: f64 = 0.3;

/// So little is sound alone with its copies: it sends no less for a trial, as that would cost more than is lost.
const SOUND_BPS: f64 = 120_000.0;

/// More loss is never taken as the path's own: of two packets one would not be enough for a repair.
const OWN_LOSS_MAX: f64 = 0.4;

/// How long loss counts as the path's own until that is tried again: networks change.
const OWN_LOSS_HOLDS: Duration = Duration::from_secs(60);

/// What the limit rises by in a window without loss of ours.
const RISE: f64 = 1.12;

/// The same near a rate that has lately been too much: each try costs pictures.
const RISE_NEAR_CEILING: f64 = 1.01;

/// Above this share of what came through then, a rate is near it.
const NEAR_CEILING: f64 = 0.9;

/// How long a rate that was too much is remembered.
const CEILING_HOLDS: Duration = Duration::from_secs(10);

/// What one window saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Share of packets lost, 0 to 1.
    pub(crate) loss: f64,
    /// What came through, bits a second.
    pub(crate) arrived_bps: f64,
}

impl Seen {
    /// What was sent, bits a second.
    fn sent_bps(&self) -> f64 {
        self.arrived_bps / (1.0 - self.loss).max(0.01)
    }
}

/// What loss lets us send. Reads no clock.
#[derive(Debug)]
pub(crate) struct LossLimit {
    min_bps: f64,
    max_bps: f64,
    limit_bps: f64,
    /// What the path loses by itself, and when that was found out.
    own: Option<(f64, Instant)>,
    /// What came through when loss was ours, bits a second, and when that was.
    ceiling: Option<(f64, Instant)>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Steady,
    /// One window has lost too much. It may be chance.
    Suspecting,
    /// Less is sent, and what was sent before may still be on its way.
    Settling(Trial),
    /// Less is sent; two windows tell whether it helps, of which the first has lost this share.
    Judging(Trial, Option<f64>),
}

/// What was before less was sent.
#[derive(Clone, Copy, Debug)]
struct Trial {
    seen: Seen,
}

impl LossLimit {
    pub(crate) fn new(limits: BitrateLimits) -> Self {
        let (min_bps, max_bps) = (limits.min_bps.into(), limits.max_bps.into());
        Self { min_bps, max_bps, limit_bps: max_bps, own: None, ceiling: None, phase: Phase::Steady }
    }

    /// Bits a second.
    pub(crate) const fn bps(&self) -> f64 {
        self.limit_bps
    }

    /// The share of packets that the path is known to lose by itself, 0 to 1.
    pub(crate) fn own_loss(&self) -> f64 {
        self.own.map_or(0.0, |(loss, _)| loss)
    }

    /// Takes in what a window saw while `target_bps` was aimed at.
    pub(crate) fn update(&mut self, now: Instant, seen: Seen, target_bps: f64) {
        self.own = self.own.filter(|(_, since)| now.saturating_duration_since(*since) < OWN_LOSS_HOLDS);
        let excess = seen.loss - self.own_loss();
        match self.phase {
            Phase::Steady if excess > EXCESS_MAX => self.phase = Phase::Suspecting,
            Phase::Suspecting if excess > EXCESS_MAX && seen.sent_bps() <= SOUND_BPS => {
                self.phase = Phase::Steady;
                self.own = Some((seen.loss.min(OWN_LOSS_MAX), now));
            }
            Phase::Suspecting if excess > EXCESS_MAX => {
                self.phase = Phase::Settling(Trial { seen });
                self.limit_bps = seen.arrived_bps.min(target_bps) * TRIED_SHARE;
            }
            Phase::Steady if excess < EXCESS_RISING_MAX => self.rise(now),
            Phase::Steady => {}
            Phase::Suspecting => self.phase = Phase::Steady,
            Phase::Settling(trial) => self.phase = Phase::Judging(trial, None),
            Phase::Judging(trial, None) => self.phase = Phase::Judging(trial, Some(seen.loss)),
            Phase::Judging(trial, Some(first)) => {
                self.phase = Phase::Steady;
                let loss = (first + seen.loss) / 2.0;
                let excess = loss - self.own_loss();
                if excess > (trial.seen.loss - self.own_loss()) * HELPED_SHARE {
                    self.own = Some((loss.max(trial.seen.loss).min(OWN_LOSS_MAX), now));
                    self.limit_bps = self.max_bps;
                } else {
                    self.ceiling = Some((trial.seen.arrived_bps, now));
                }
            }
        }
        self.limit_bps = self.limit_bps.clamp(self.min_bps, self.max_bps);
    }

    fn rise(&mut self, now: Instant) {
        self.ceiling = self.ceiling.filter(|(_, since)| now.saturating_duration_since(*since) < CEILING_HOLDS);
        let is_near = self.ceiling.is_some_and(|(bps, _)| self.limit_bps > bps * NEAR_CEILING);
        self.limit_bps *= if is_near { RISE_NEAR_CEILING } else { RISE };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BitrateLimits = BitrateLimits { start_bps: 1_000_000, min_bps: 100_000, max_bps: 2_000_000 };

    /// The limits that come of windows on a path, which tells what it loses of a rate in bits a second.
    fn windows(
        limit: &mut LossLimit,
        start: Instant,
        numbers: std::ops::Range<u32>,
        path: impl Fn(f64) -> f64,
    ) -> Vec<f64> {
        let one = |n| {
            let sent_bps = limit.bps();
            let loss = path(sent_bps);
            let seen = Seen { loss, arrived_bps: sent_bps * (1.0 - loss) };
            limit.update(start + Duration::from_millis(500) * n, seen, sent_bps);
            limit.bps()
        };
        numbers.map(one).collect()
    }

    #[test]
    fn loss_that_stays_whatever_is_sent_is_the_paths_own() {
        for share in [0.12, 0.2, 0.3] {
            let (mut limit, start) = (LossLimit::new(LIMITS), Instant::now());
            let limits = windows(&mut limit, start, 0..40, |_| share);
            assert!(limits[1] < 1_700_000.0, "less is tried: {limits:?}");
            assert!(limits[4..40].iter().all(|bps| *bps == 2_000_000.0), "and taken back: {limits:?}");
            assert_eq!(limit.own_loss(), share);
            let later = windows(&mut limit, start, 40..140, |_| share);
            assert_eq!(later.iter().filter(|bps| **bps < 2_000_000.0).count(), 3, "tried again after 60 s: {later:?}");
        }
    }

    #[test]
    fn loss_of_a_narrow_path_is_ours() {
        let (mut limit, start) = (LossLimit::new(LIMITS), Instant::now());
        let path = |bps: f64| (1.0 - 400_000.0 / bps).max(0.0);
        let limits = windows(&mut limit, start, 0..20, path);
        assert!(limits[1..].iter().all(|bps| *bps < 440_000.0), "soon, for ten seconds, and within 8 %: {limits:?}");
        assert_eq!(limit.own_loss(), 0.0);
        let limits = windows(&mut limit, start, 20..100, |_| 0.0);
        assert_eq!(limits.last(), Some(&2_000_000.0), "it rises again with the path");
    }

    #[test]
    fn sound_alone_is_not_made_worse_for_a_trial() {
        let (mut limit, start) = (LossLimit::new(LIMITS), Instant::now());
        for n in 0..20 {
            limit.update(start + Duration::from_secs(n), Seen { loss: 0.2, arrived_bps: 80_000.0 }, 400_000.0);
            assert_eq!(limit.bps(), 2_000_000.0);
        }
        assert_eq!(limit.own_loss(), 0.2);
    }

    #[test]
    fn more_than_the_paths_own_loss_is_ours_again() {
        let (mut limit, start) = (LossLimit::new(LIMITS), Instant::now());
        windows(&mut limit, start, 0..10, |_| 0.12);
        let path = |bps: f64| 0.12 + (0.88 - 400_000.0 / bps).max(0.0);
        let limits = windows(&mut limit, start, 10..20, path);
        assert!(limits[4..].iter().all(|bps| *bps < 500_000.0), "{limits:?}");
    }

    #[test]
    fn it_keeps_within_its_limits() {
        let (mut limit, start) = (LossLimit::new(LIMITS), Instant::now());
        let limits = windows(&mut limit, start, 0..50, |bps| if bps > 100_000.0 { 0.9 } else { 0.0 });
        assert!(limits.iter().all(|bps| (100_000.0..=2_000_000.0).contains(bps)), "{limits:?}");
    }
}

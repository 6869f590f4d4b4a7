//! [`Growth`]: how fast the target rises while no queue stands.
//!
//! - at the start it doubles each round trip, as long as what is sent arrives and fills it
//! - below the capacity that was seen it rises by a share a second
//! - beyond it nobody knows: ever faster, the longer nothing happens
//!
//! It never rises far above what is sent: more was not tried.

use std::time::{Duration, Instant};

/// A doubling takes a round trip, and this for pictures to follow the target.
const DOUBLING: Duration = Duration::from_millis(150);

/// At the start a target that is filled to this share is doubled.
const FILLED: f64 = 0.6;

/// The first doubling leads no further than so many times what is sent: pictures follow the target slowly at first, and what
/// they did not try may not be there.
const FIRST_ABOVE_SENT: f64 = 2.2;

/// Growth near the capacity that was seen, where each try costs a queue: a packet each round trip and this, so that flows
/// which share a path come to share it equally; and no more than this share a second.
const NEAR_BITS: f64 = 9_600.0;
const NEAR_RESPONSE: f64 = 0.1;
const NEAR_MAX: f64 = 0.08;

/// From this share of the capacity on it is near.
const NEAR_FROM: f64 = 0.85;

/// Growth a second far below it.
const BELOW: f64 = 0.5;

/// Growth a second where nothing is known: it begins so, and rises by so much each second.
const UNKNOWN: f64 = 0.1;
const UNKNOWN_RISE: f64 = 0.15;
const UNKNOWN_MAX: f64 = 0.6;

/// How far above what is sent the target may rise: by this share, and these bits a second.
const ABOVE_SENT: f64 = 1.35;
const ABOVE_SENT_BPS: f64 = 20_000.0;

/// No single step is longer: feedback that comes late is no reason to grow much at once.
const STEP_MAX: Duration = Duration::from_millis(300);

/// See the module. Reads no clock.
#[derive(Debug)]
pub(crate) enum Growth {
    /// Nothing is known of the path yet.
    Starting {
        /// When the target was doubled last.
        doubled: Option<Instant>,
        /// Nothing was doubled yet, and no path was known before.
        is_first: bool,
    },
    /// Something is.
    Steady {
        /// Since when the target rises without knowing the path.
        unknown_since: Option<Instant>,
    },
}

impl Default for Growth {
    fn default() -> Self {
        Self::Starting { doubled: None, is_first: true }
    }
}

impl Growth {
    /// A target above the capacity by this factor that causes no queue: the path carries more than it did.
    pub(crate) const BEYOND: f64 = 1.15;

    /// Nothing is known of the path yet.
    pub(crate) const fn is_starting(&self) -> bool {
        matches!(self, Self::Starting { .. })
    }

    /// There is a queue: the start is over, and what comes is tried slowly again.
    pub(crate) fn stop(&mut self) {
        *self = Self::Steady { unknown_since: None };
    }

    /// The path is another one.
    pub(crate) fn restart(&mut self) {
        *self = Self::Starting { doubled: None, is_first: false };
    }

    /// The target beside competing flows that fill the queue: a packet more each round trip, as they do.
    pub(crate) fn beside_competing(passed: Duration, target_bps: f64, sent_bps: f64, round_trip: Duration) -> f64 {
        (target_bps + near_bps(round_trip) * passed.min(STEP_MAX).as_secs_f64()).min(most(target_bps, sent_bps))
    }

    /// The target that follows `target_bps` after `passed` without a queue, where `sent_bps` were sent.
    pub(crate) fn grow(
        &mut self,
        now: Instant,
        passed: Duration,
        target_bps: f64,
        sent_bps: f64,
        round_trip: Duration,
        capacity_bps: Option<f64>,
    ) -> f64 {
        match self {
            Self::Starting { doubled, is_first } => {
                let is_filled = sent_bps >= target_bps * FILLED;
                let is_due = doubled.is_none_or(|at| now.saturating_duration_since(at) >= round_trip + DOUBLING);
                if !is_filled {
                    // Sound alone is sent, say: it rises to what pictures begin with.
                    return risen(UNKNOWN_MAX, passed, target_bps, sent_bps);
                }
                if !is_due {
                    return target_bps;
                }
                *doubled = Some(now);
                let most = if std::mem::take(is_first) { FIRST_ABOVE_SENT * sent_bps } else { f64::INFINITY };
                target_bps.max(most.min(2.0 * target_bps))
            }
            Self::Steady { unknown_since } => {
                let share = match capacity_bps {
                    Some(capacity) => {
                        *unknown_since = None;
                        if target_bps < capacity * NEAR_FROM {
                            BELOW
                        } else {
                            (near_bps(round_trip) / target_bps).min(NEAR_MAX)
                        }
                    }
                    None => {
                        let since = *unknown_since.get_or_insert(now);
                        let length = now.saturating_duration_since(since).as_secs_f64();
                        (UNKNOWN + UNKNOWN_RISE * length).min(UNKNOWN_MAX)
                    }
                };
                risen(share, passed, target_bps, sent_bps)
            }
        }
    }
}

/// A target that rises by this share a second, after `passed`.
fn risen(share: f64, passed: Duration, target_bps: f64, sent_bps: f64) -> f64 {
    (target_bps * (1.0 + share * passed.min(STEP_MAX).as_secs_f64())).min(most(target_bps, sent_bps))
}

fn near_bps(round_trip: Duration) -> f64 {
    NEAR_BITS / (round_trip.as_secs_f64() + NEAR_RESPONSE)
}

/// The most that a target may rise to while so much is sent, bits a second.
pub(super) fn most(target_bps: f64, sent_bps: f64) -> f64 {
    (sent_bps * ABOVE_SENT + ABOVE_SENT_BPS).max(target_bps)
}

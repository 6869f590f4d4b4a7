//! A partner calls anew while its call with us seems to stand: its program crashed and started again, or its goodbye is
//! still under way. Pure.
//!
//! The new offer waits until it is known what became of the old call:
//!
//! - the old call ends, or its path is interrupted: the new one takes its place
//! - the partner is its caller, and it does not stand yet: the same after [`SETTLES`]
//! - its media still flow after [`LIVES`]: the old call is alive, and the new one hears busy. An offer that was
//!   overtaken by its own cancellation ends here too

use std::time::{Duration, Instant};

use super::{Path, Role, State, Talk};
use crate::id::{CallId, PeerId};
use crate::wire::Description;

/// A call that does not stand yet shows nothing; a cancellation of the new offer that was overtaken comes by then.
const SETTLES: Duration = Duration::from_secs(1);

/// Silence of media shows within a second, that of a held path within 2.5 s.
const LIVES: Duration = Duration::from_secs(3);

/// The new offer.
#[derive(Debug)]
pub(super) struct Redial {
    pub(super) from: PeerId,
    pub(super) call: CallId,
    pub(super) offer: Description,
    since: Instant,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing yet.
    Waits,
    /// The old call is dead.
    Replaces,
    /// The old call is over already.
    Rings,
    /// The old call is alive.
    Busy,
}

impl Redial {
    pub(super) const fn new(from: PeerId, call: CallId, offer: Description, now: Instant) -> Self {
        Self { from, call, offer, since: now }
    }

    /// Where the old call stands decides.
    pub(super) fn verdict(&self, old: Option<&State>, now: Instant) -> Verdict {
        let Some(old) = old else { return Verdict::Rings };
        let is_due = self.due(Some(old)).is_some_and(|due| due <= now);
        match old {
            State::Active { talk: Talk { path: Path::Interrupted { .. }, .. }, .. } => Verdict::Replaces,
            State::Active { .. } if is_due => Verdict::Busy,
            State::Incoming { .. } | State::Answering { .. } | State::Connecting { .. } if is_due => Verdict::Replaces,
            State::Active { .. } | State::Incoming { .. } | State::Answering { .. } | State::Connecting { .. } => {
                Verdict::Waits
            }
            // We call it ourselves by now: both call each other.
            State::Idle | State::Offering { .. } | State::Dialing { .. } | State::Ringing { .. } => Verdict::Rings,
        }
    }

    /// When it is to be decided: at once where the old call is over or its path interrupted, else when time alone decides.
    pub(super) fn due(&self, old: Option<&State>) -> Option<Instant> {
        let Some(old) = old else { return Some(self.since) };
        match old {
            State::Incoming { .. } | State::Answering { .. } | State::Connecting { role: Role::Callee, .. } => {
                Some(self.since + SETTLES)
            }
            State::Active { talk: Talk { path: Path::Interrupted { .. }, .. }, .. } => Some(self.since),
            State::Active { .. } => Some(self.since + LIVES),
            // Its offer may be one that yielded to ours, and its cancellation late: the path shows who is right.
            State::Connecting { role: Role::Caller, .. } => None,
            State::Idle | State::Offering { .. } | State::Dialing { .. } | State::Ringing { .. } => Some(self.since),
        }
    }
}

//! The call machine: one phone of one peer, from the first ring to the end.
//!
//! Pure: [`Phone::handle`] takes an event and the time and gives back actions; [`Phone::poll_timeout`] says when time
//! alone will matter. It reads no clock, sleeps never, draws no randomness and does no IO. Data lives in the state in
//! which it is true ([`State`]); there are no flags beside it.
//!
//! - from the user: [`Event::Dial`], [`Event::Accept`], [`Event::Hold`], [`Event::HangUp`] and others
//! - from the other peer: [`Event::Received`], [`Event::Delivered`], [`Event::Expired`], [`Event::PeerOffline`]
//! - from the peer connection: [`Event::DescriptionReady`], [`Event::CandidatesGathered`], [`Event::Media`]
//!
//! [`Phone`] has two lines: one that its user talks on, and one for a second call, held or waiting. Each line is a
//! [`State`], and `line` has its transitions: `line/setup.rs` up to the answer, `line/talk.rs` and
//! `line/update.rs` from there on.
//!
//! `docs/PROTOCOL.md` draws the states; a test holds the drawing to what the machine does.

mod action;
#[cfg(test)]
mod diagram;
mod early;
mod event;
mod line;
mod phone;
mod redial;
mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use action::{Action, EndReason, Notice, Side};
pub use event::{Confidence, Event, MediaChange, Renewal};
pub use phone::{Phone, PhoneConfig, Updates, Waiting};
pub use state::{Callee, EarlyPath, MediaSides, Path, ReadyAnswer, Role, State, Talk, Update};

/// How long each wait may last.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Caller: from the offer to any sign of life of the callee's program. Two tries over a slow broker.
    pub unreachable: Duration,
    /// Caller: from ringing to an answer, at most [`ANSWER_MAX`].
    pub answer: Duration,
    /// From the answer to a working media path: ICE gives up a hopeless pair list in about 10 s.
    pub connect: Duration,
    /// From a lost media path to giving the call up. With the 2.5 s in which a path on hold is noticed to be lost, a
    /// call with a dead partner ends within 10 s.
    pub lost: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            unreachable: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            connect: Duration::from_secs(15),
            lost: Duration::from_secs(7),
        }
    }
}

/// The callee rings at most so long: a little longer than a caller may wait ([`ANSWER_MAX`]), so that the caller decides,
/// and not for ever when the caller vanished.
const CALLEE_RINGS: Duration = Duration::from_secs(125);

/// Longest [`Timeouts::answer`] that makes sense: then every callee has stopped ringing.
pub const ANSWER_MAX: Duration = Duration::from_secs(120);

/// While nothing comes, a new path is looked for this often: a relay that restarts or a network that comes up is found
/// soon, and each try has time for two tries of a TURN allocation, signalling and checks.
const RESTART_EVERY: Duration = Duration::from_secs(3);

/// An update that was not answered by then is given up; the next one may do better.
const UPDATE_MAX: Duration = Duration::from_secs(10);

/// After an answer that cannot be used another is waited for so long: a round trip by a slow broker.
const ANOTHER_ANSWER: Duration = Duration::from_secs(1);

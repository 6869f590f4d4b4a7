//! Gets items across a broker that may lose, repeat or reorder frames: in order, each once. Pure: reads no clock.
//!
//! - [`Exchange::push`] → the item goes out with the next [`Exchange::frames`], and again until it is acknowledged
//! - [`Exchange::handle`] → items that are new and next; a gap is left to be sent again
//! - [`Exchange::is_gone`]: nothing came for too long, signs of life included

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire::{Body, Bounded, FRAME_BYTES_MAX, Frame, ITEM_BYTES_MAX, Run, VERSION};

/// First wait for an acknowledgement, doubled up to the second.
const RESEND_FIRST: Duration = Duration::from_secs(1);
const RESEND_MAX: Duration = Duration::from_secs(4);

/// Whoever has nothing to say gives a sign of life so often: five before it counts as gone.
const BEAT: Duration = Duration::from_secs(2);

/// Silence of the other side after which it is gone.
pub(crate) const GONE_AFTER: Duration = Duration::from_secs(10);

/// While our own broker is away nobody can be heard: then it takes so long. Calls survive a broker's restart.
pub(crate) const AWAY_MAX: Duration = Duration::from_secs(60);

/// Items that are not acknowledged yet: a second's events of fifty busy parts.
pub(crate) const UNACKNOWLEDGED_MAX: usize = 1024;

/// Frames sent at once: the rest follows its acknowledgements.
const FRAMES_AT_ONCE: usize = 4;

/// Room in a frame for all but its items.
const FRAME_OVERHEAD_BYTES: usize = 512;

/// An item that cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPushed {
    /// [`UNACKNOWLEDGED_MAX`] are on their way.
    #[error("too much is on its way")]
    Full,
    /// Above [`ITEM_BYTES_MAX`].
    #[error("{0} bytes are above the limit of {ITEM_BYTES_MAX}")]
    TooLarge(usize),
}

/// One side of a run: sends `Out`, takes in `In`.
#[derive(Debug)]
pub(crate) struct Exchange<Out> {
    run: Run,
    outbox: VecDeque<Pending<Out>>,
    /// Number of the first item in the outbox.
    first: u64,
    /// Items in the outbox that were sent once.
    sent: usize,
    wait: Duration,
    resend_at: Option<Instant>,
    /// Number of the last item that came.
    arrived: u64,
    owes_ack: bool,
    said_at: Option<Instant>,
    heard_at: Instant,
    /// Since when our own broker is away.
    away_since: Option<Instant>,
}

#[derive(Debug)]
struct Pending<Out> {
    item: Out,
    bytes: usize,
}

impl<Out: Clone + Serialize + DeserializeOwned + Bounded> Exchange<Out> {
    /// An exchange that begins now.
    pub(crate) const fn new(run: Run, now: Instant) -> Self {
        Self {
            run,
            outbox: VecDeque::new(),
            first: 1,
            sent: 0,
            wait: RESEND_FIRST,
            resend_at: None,
            arrived: 0,
            owes_ack: false,
            said_at: None,
            heard_at: now,
            away_since: None,
        }
    }

    /// Gives an item to be sent.
    ///
    /// # Errors
    /// [`NotPushed`] when it does not fit.
    pub(crate) fn push(&mut self, item: Out) -> Result<(), NotPushed> {
        if self.outbox.len() >= UNACKNOWLEDGED_MAX {
            return Err(NotPushed::Full);
        }
        let bytes = serde_json::to_vec(&item).map_or(usize::MAX, |bytes| bytes.len());
        if bytes > ITEM_BYTES_MAX {
            return Err(NotPushed::TooLarge(bytes));
        }
        self.outbox.push_back(Pending { item, bytes });
        Ok(())
    }

    /// What is to be published now.
    pub(crate) fn frames(&mut self, now: Instant) -> Vec<Frame<Out>> {
        if self.resend_at.is_some_and(|at| at <= now) {
            self.sent = 0;
            self.wait = (self.wait * 2).min(RESEND_MAX);
            self.resend_at = None;
        }
        let mut frames = Vec::new();
        while self.sent < self.outbox.len() && frames.len() < FRAMES_AT_ONCE {
            frames.push(self.batch());
        }
        if !frames.is_empty() {
            self.resend_at.get_or_insert(now + self.wait);
        }
        let is_silent = self.said_at.is_none_or(|at| now.saturating_duration_since(at) >= BEAT);
        if frames.is_empty() && (self.owes_ack || is_silent) {
            frames.push(self.frame(self.first + self.sent as u64, Vec::new()));
        }
        if !frames.is_empty() {
            (self.owes_ack, self.said_at) = (false, Some(now));
        }
        frames
    }

    /// As many items as fit into a frame, from the first that was not sent.
    fn batch(&mut self) -> Frame<Out> {
        let first = self.first + self.sent as u64;
        let (mut items, mut bytes) = (Vec::new(), FRAME_OVERHEAD_BYTES);
        for pending in self.outbox.iter().skip(self.sent) {
            bytes += pending.bytes + 1;
            if bytes > FRAME_BYTES_MAX {
                break;
            }
            items.push(pending.item.clone());
        }
        self.sent += items.len();
        self.frame(first, items)
    }

    fn frame(&self, first: u64, items: Vec<Out>) -> Frame<Out> {
        Frame { v: VERSION, run: self.run.clone(), body: Body::Items { ack: self.arrived, first, items } }
    }

    /// Takes in a frame of items: how many of ours arrived, and what is new, in order.
    pub(crate) fn handle<In>(&mut self, ack: u64, first: u64, items: Vec<In>, now: Instant) -> (usize, Vec<In>) {
        self.heard_at = now;
        let acknowledged = self.acknowledged(ack, now);
        if items.is_empty() {
            return (acknowledged, Vec::new());
        }
        self.owes_ack = true;
        // Numbers begin with 1. Behind a gap nothing is taken: it comes again with what is missing.
        let Some(known) = (self.arrived + 1).checked_sub(first.max(1)) else { return (acknowledged, Vec::new()) };
        let new: Vec<In> = items.into_iter().skip(usize::try_from(known).unwrap_or(usize::MAX)).collect();
        self.arrived += new.len() as u64;
        (acknowledged, new)
    }

    fn acknowledged(&mut self, ack: u64, now: Instant) -> usize {
        // Not more than we have sent: numbers of a stranger are not believed.
        let count =
            usize::try_from(ack.saturating_add(1).saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.sent);
        if count > 0 {
            self.outbox.drain(..count);
            self.first += count as u64;
            self.sent -= count;
            self.wait = RESEND_FIRST;
            self.resend_at = (self.sent > 0).then(|| now + RESEND_FIRST);
        }
        count
    }

    /// The broker is there again: what is not acknowledged goes out at once, and silence counts from now.
    pub(crate) fn link_restored(&mut self, now: Instant) {
        (self.sent, self.wait, self.resend_at) = (0, RESEND_FIRST, None);
        (self.said_at, self.away_since, self.heard_at) = (None, None, now);
    }

    /// The broker is away.
    pub(crate) fn link_lost(&mut self, now: Instant) {
        self.away_since.get_or_insert(now);
    }

    /// True when the other side has been silent for too long.
    pub(crate) fn is_gone(&self, now: Instant) -> bool {
        match self.away_since {
            Some(since) => now.saturating_duration_since(since) >= AWAY_MAX,
            None => now.saturating_duration_since(self.heard_at) >= GONE_AFTER,
        }
    }

    /// True when all that was said has arrived.
    pub(crate) fn is_idle(&self) -> bool {
        self.outbox.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Tell;
    use super::*;

    type Side = Exchange<Tell>;

    fn pair() -> (Side, Side, Instant) {
        let now = Instant::now();
        let run = || Run::try_from("7".to_owned()).unwrap();
        (Exchange::new(run(), now), Exchange::new(run(), now), now)
    }

    fn item(number: usize) -> Tell {
        Tell::Refused { part: number.to_string(), reason: String::new() }
    }

    fn numbers(items: &[Tell]) -> Vec<usize> {
        let number = |tell: &Tell| match tell {
            Tell::Refused { part, .. } | Tell::Told { part, .. } => part.parse().unwrap(),
        };
        items.iter().map(number).collect()
    }

    fn give(to: &mut Side, frame: &Frame<Tell>, now: Instant) -> Vec<usize> {
        let Body::Items { ack, first, items } = frame.body.clone() else { panic!("{frame:?}") };
        numbers(&to.handle(ack, first, items, now).1)
    }

    fn only(mut frames: Vec<Frame<Tell>>) -> Frame<Tell> {
        assert_eq!(frames.len(), 1, "{frames:?}");
        frames.remove(0)
    }

    #[test]
    fn items_arrive_in_order_and_once_and_are_acknowledged() {
        let (mut agent, mut runner, now) = pair();
        (1..=3).for_each(|n| agent.push(item(n)).unwrap());
        let frame = only(agent.frames(now));
        assert_eq!(give(&mut runner, &frame, now), [1, 2, 3]);
        assert_eq!(give(&mut runner, &frame, now), [0; 0], "a duplicate");
        assert!(agent.frames(now).is_empty() && !agent.is_idle());
        give(&mut agent, &only(runner.frames(now)), now);
        assert!(agent.is_idle());
        agent.push(item(4)).unwrap();
        assert_eq!(give(&mut runner, &only(agent.frames(now)), now), [4]);
    }

    #[test]
    fn behind_a_gap_nothing_is_taken_until_it_is_filled() {
        let (mut agent, mut runner, now) = pair();
        agent.push(item(1)).unwrap();
        let _lost = only(agent.frames(now));
        agent.push(item(2)).unwrap();
        assert_eq!(give(&mut runner, &only(agent.frames(now)), now), [0; 0]);
        assert!(agent.frames(now + RESEND_FIRST - Duration::from_millis(1)).is_empty());
        assert_eq!(give(&mut runner, &only(agent.frames(now + RESEND_FIRST)), now), [1, 2]);
    }

    #[test]
    fn it_is_said_again_less_and_less_often_and_at_once_when_the_broker_is_back() {
        let (mut agent, mut runner, start) = pair();
        agent.push(item(1)).unwrap();
        let mut said = Vec::new();
        for tenth in 0..150 {
            let now = start + Duration::from_millis(100) * tenth;
            for frame in agent.frames(now) {
                if matches!(&frame.body, Body::Items { items, .. } if !items.is_empty()) {
                    said.push(tenth / 10);
                }
            }
        }
        assert_eq!(said, [0, 1, 3, 7, 11]);
        let now = start + Duration::from_millis(14_950);
        agent.link_lost(now);
        agent.link_restored(now);
        assert_eq!(give(&mut runner, &only(agent.frames(now)), now), [1]);
    }

    #[test]
    fn silence_is_broken_by_signs_of_life_and_ends_the_run() {
        let (mut agent, mut runner, start) = pair();
        for second in 0..30 {
            let now = start + Duration::from_secs(second);
            for frame in runner.frames(now) {
                give(&mut agent, &frame, now);
            }
            assert!(!agent.is_gone(now), "{second}");
            assert_eq!(runner.is_gone(now), second >= GONE_AFTER.as_secs(), "{second}: the agent never said a word");
        }
        let now = start + Duration::from_secs(30);
        agent.link_lost(now);
        assert!(!agent.is_gone(now + AWAY_MAX - Duration::from_secs(1)) && agent.is_gone(now + AWAY_MAX));
        agent.link_restored(now + AWAY_MAX);
        assert!(!agent.is_gone(now + AWAY_MAX));
    }

    #[test]
    fn queues_frames_and_numbers_are_bounded() {
        let (mut agent, mut runner, now) = pair();
        let large = |n: usize| Tell::Refused { part: n.to_string(), reason: "x".repeat(ITEM_BYTES_MAX - 100) };
        assert!(matches!(
            agent.push(Tell::Refused { part: "1".into(), reason: "x".repeat(ITEM_BYTES_MAX) }),
            Err(NotPushed::TooLarge(_))
        ));
        (1..=UNACKNOWLEDGED_MAX).for_each(|n| agent.push(large(n)).unwrap());
        assert_eq!(agent.push(item(0)), Err(NotPushed::Full));
        let mut arrived = Vec::new();
        while !agent.is_idle() {
            let frames = agent.frames(now);
            assert!(!frames.is_empty() && frames.len() <= FRAMES_AT_ONCE);
            for frame in frames {
                assert!(frame.to_bytes().len() <= FRAME_BYTES_MAX);
                arrived.extend(give(&mut runner, &frame, now));
            }
            for frame in runner.frames(now) {
                give(&mut agent, &frame, now);
            }
        }
        assert_eq!(arrived, (1..=UNACKNOWLEDGED_MAX).collect::<Vec<_>>());
        agent.push(item(1)).unwrap();
        // Acknowledgements of what was never sent, and numbers at the end of all numbers.
        assert!(agent.handle::<Tell>(u64::MAX, u64::MAX, vec![item(1)], now).1.is_empty());
        assert!(!agent.is_idle());
    }
}

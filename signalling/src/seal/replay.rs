//! Which sealed messages came before. No clock of ours is asked, so clocks may differ by years.
//!
//! A box is bound to one run of the receiver's program, so what an earlier run heard cannot be played to the next. Within
//! a run each sender has a window of time, by its own clock: a message whose id is known came before; one that is older
//! than the window is refused, since its id may be forgotten. Delivery gives a message up after 60 s, so nothing that an
//! honest sender still sends is that old.
//!
//! Bounded in every direction. Where room runs out, a sender's ids are replaced by one moment: what is not newer is
//! refused. So forgetting refuses too much, and never takes in what came before, up to [`SENDERS_MAX`] senders.

use std::collections::BTreeMap;

use super::Fingerprint;
use crate::id::MessageId;

/// How far back from the newest message of a sender others are taken in, in milliseconds of its clock: longer than
/// delivery sends a message again ([`crate::delivery`], 60 s).
const WINDOW_MS: u64 = 64_000;

/// Ids remembered of one sender: more than [`crate::flood`] lets through within the window.
const IDS_MAX: usize = 2048;

/// Ids remembered of all senders together.
const ALL_IDS_MAX: usize = 8 * IDS_MAX;

/// Senders remembered: each run of each program that said something genuine to us.
const SENDERS_MAX: usize = 4096;

/// What is known of the messages of others.
#[derive(Debug, Default)]
pub struct ReplayWindow {
    senders: BTreeMap<(Fingerprint, MessageId), Sender>,
    ids: usize,
    count: u64,
}

#[derive(Debug, Default)]
struct Sender {
    newest: u64,
    /// What is not newer and not known is refused.
    floor: u64,
    ids: BTreeMap<MessageId, u64>,
    /// When it last spoke, as a count.
    spoke: u64,
}

/// Whether a message came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is new.
    New,
    /// It came before: it is to be acknowledged again, and not acted on.
    Again,
}

/// A message that may have come before, so long ago that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is too old: it was kept back, or is played back")]
pub struct Stale;

impl ReplayWindow {
    /// Takes in the message `id` of the sender with this fingerprint, in this run of its program, dated `ts` in
    /// milliseconds by its clock. It must have been opened: what is not genuine takes no room here.
    ///
    /// # Errors
    /// [`Stale`] when it is too old to know.
    pub fn admit(&mut self, sender: Fingerprint, run: &MessageId, id: &MessageId, ts: u64) -> Result<Seen, Stale> {
        self.count += 1;
        let spoke = self.count;
        let key = (sender, run.clone());
        if !self.senders.contains_key(&key) {
            self.forget_a_sender();
        }
        let sender = self.senders.entry(key).or_default();
        sender.spoke = spoke;
        let before = sender.ids.len();
        let seen = sender.admit(id, ts);
        self.ids = self.ids + sender.ids.len() - before;
        if self.ids > ALL_IDS_MAX {
            self.forget_ids();
        }
        seen
    }

    /// Makes room for one more sender, where there is none.
    fn forget_a_sender(&mut self) {
        if self.senders.len() < SENDERS_MAX {
            return;
        }
        let silent = self.senders.iter().min_by_key(|(_, sender)| sender.spoke).map(|(key, _)| key.clone());
        if let Some(sender) = silent.and_then(|key| self.senders.remove(&key)) {
            self.ids -= sender.ids.len();
        }
    }

    /// Forgets the ids of whoever was silent longest.
    fn forget_ids(&mut self) {
        let with_ids = self.senders.values_mut().filter(|sender| !sender.ids.is_empty());
        if let Some(silent) = with_ids.min_by_key(|sender| sender.spoke) {
            self.ids -= silent.ids.len();
            silent.ids.clear();
            silent.floor = silent.newest;
        }
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.senders.len(), self.senders.values().map(|sender| sender.ids.len()).sum())
    }
}

impl Sender {
    fn admit(&mut self, id: &MessageId, ts: u64) -> Result<Seen, Stale> {
        if self.ids.contains_key(id) {
            return Ok(Seen::Again);
        }
        if ts <= self.floor {
            return Err(Stale);
        }
        self.ids.insert(id.clone(), ts);
        self.newest = self.newest.max(ts);
        let oldest = self.newest.saturating_sub(WINDOW_MS);
        if oldest > self.floor {
            self.floor = oldest;
            self.ids.retain(|_, ts| *ts > oldest);
        }
        if self.ids.len() > IDS_MAX
            && let Some((id, ts)) = self.ids.iter().min_by_key(|(_, ts)| **ts).map(|(id, ts)| (id.clone(), *ts))
        {
            self.ids.remove(&id);
            self.floor = self.floor.max(ts);
        }
        Ok(Seen::New)
    }
}

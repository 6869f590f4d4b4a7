//! Messages that overtook the one they follow: candidates, a bye or `media` before their offer, words of a standing call
//! before it stands.
//!
//! A broker may lose the offer and deliver what came after; the offer is then sent again, but what was acknowledged
//! is not. So all are remembered for a while, bounded.

use std::collections::VecDeque;

use crate::id::{CallId, PeerId};
use crate::wire::{CANDIDATES_MAX, Candidate, MediaState, Message};

/// Calls remembered: few are ever under way at once, and strangers may not grow this.
const CALLS_MAX: usize = 32;

/// Most candidates kept for one call: several messages' worth.
pub(super) const CANDIDATES_A_CALL_MAX: usize = 4 * CANDIDATES_MAX;

/// Messages kept for calls that do not stand yet, of all of them together: a side that stands says a word or two
/// meanwhile.
const MESSAGES_MAX: usize = 16;

/// What is known of calls that are not under way, or do not stand yet.
#[derive(Debug, Default)]
pub(super) struct Early {
    candidates: VecDeque<(PeerId, CallId, Vec<Candidate>)>,
    messages: VecDeque<(PeerId, CallId, Message)>,
    /// What callers do with their media, the last of each: apart from `messages`, since strangers may say it too.
    media: VecDeque<(PeerId, CallId, MediaState)>,
    ended: VecDeque<(PeerId, CallId)>,
}

impl Early {
    /// Remembers candidates of a call whose offer has not come.
    pub(super) fn keep_candidates(&mut self, peer: PeerId, call: CallId, candidates: Vec<Candidate>) {
        if let Some((_, _, kept)) = self.candidates.iter_mut().find(|(p, c, _)| *p == peer && *c == call) {
            append(kept, candidates);
            return;
        }
        if self.candidates.len() == CALLS_MAX {
            self.candidates.pop_front();
        }
        self.candidates.push_back((peer, call, candidates));
    }

    /// Hands out what was kept for a call whose offer came.
    pub(super) fn take_candidates(&mut self, peer: &PeerId, call: &CallId) -> Vec<Candidate> {
        let found = self.candidates.iter().position(|(p, c, _)| p == peer && c == call);
        found.and_then(|index| self.candidates.remove(index)).map(|(_, _, kept)| kept).unwrap_or_default()
    }

    /// Remembers a message of a call that does not stand yet; the oldest of too many is forgotten.
    pub(super) fn keep_message(&mut self, peer: PeerId, call: CallId, message: Message) {
        if self.messages.len() == MESSAGES_MAX {
            self.messages.pop_front();
        }
        self.messages.push_back((peer, call, message));
    }

    /// Hands out what was kept for a call that stands now, in the order in which it came.
    pub(super) fn take_messages(&mut self, peer: &PeerId, call: &CallId) -> Vec<Message> {
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.messages).into_iter().partition(|(p, c, _)| p == peer && c == call);
        self.messages = later.into();
        now.into_iter().map(|(_, _, message)| message).collect()
    }

    /// Remembers what a caller does with its media, of a call that does not stand here or has not come yet.
    pub(super) fn keep_media(&mut self, peer: PeerId, call: CallId, media: MediaState) {
        if self.has_ended(&peer, &call) {
            return;
        }
        if let Some((_, _, kept)) = self.media.iter_mut().find(|(p, c, _)| *p == peer && *c == call) {
            if media.revision > kept.revision {
                *kept = media;
            }
            return;
        }
        if self.media.len() == CALLS_MAX {
            self.media.pop_front();
        }
        self.media.push_back((peer, call, media));
    }

    /// Hands out what the caller of a call that stands now said of its media before.
    pub(super) fn take_media(&mut self, peer: &PeerId, call: &CallId) -> Option<MediaState> {
        let found = self.media.iter().position(|(p, c, _)| p == peer && c == call);
        found.and_then(|index| self.media.remove(index)).map(|(_, _, kept)| kept)
    }

    /// Remembers that a call is over: an offer that comes late must not ring.
    pub(super) fn end(&mut self, peer: PeerId, call: CallId) {
        self.messages.retain(|(p, c, _)| (p, c) != (&peer, &call));
        self.media.retain(|(p, c, _)| (p, c) != (&peer, &call));
        if self.has_ended(&peer, &call) {
            return;
        }
        if self.ended.len() == CALLS_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back((peer, call));
    }

    /// True when the call is known to be over.
    pub(super) fn has_ended(&self, peer: &PeerId, call: &CallId) -> bool {
        self.ended.iter().any(|(p, c)| p == peer && c == call)
    }
}

/// Adds candidates up to the limit of one call; more are left out.
pub(super) fn append(kept: &mut Vec<Candidate>, more: Vec<Candidate>) {
    let room = CANDIDATES_A_CALL_MAX.saturating_sub(kept.len());
    kept.extend(more.into_iter().take(room));
}

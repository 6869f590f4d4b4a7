//! What is known of earlier messages: since when a call goes on, what was said again, which message arrived. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use signalling::id::{CallId, MessageId, PeerId};

use super::{Content, Message};

/// Messages remembered for their acknowledgements, and calls for their beginning: minutes of a hundred calls.
const REMEMBERED_MAX: usize = 4096;

/// What a message is beside what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Since the first message of its call; without a call since that of the call that spoke last, or of all.
    pub(crate) since: Duration,
    /// The call it belongs to, where that is known.
    pub(crate) call: Option<CallId>,
    pub(crate) kind: Kind,
}

/// How a message stands to earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first message of its call.
    Opens,
    /// Said for the first time.
    New,
    /// Said again, not acknowledged so far: `times` in all.
    Resent { times: u32 },
    /// Came again though it was acknowledged: `times` in all.
    Duplicate { times: u32 },
    /// The acknowledgement of a message that was seen.
    Acknowledges(Acknowledged),
    /// The acknowledgement of one that was not.
    AcknowledgesUnknown,
}

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Acknowledged {
    /// Its name on the wire.
    pub(crate) name: &'static str,
    /// Which time of saying it this is of, from 1.
    pub(crate) time: u32,
    /// From then to the acknowledgement.
    pub(crate) after: Duration,
}

/// What earlier messages tell of the next.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// When the call that spoke last began, or the first message of all came.
    latest: Option<Duration>,
    calls: BTreeMap<CallId, Duration>,
    calls_order: VecDeque<CallId>,
    said: BTreeMap<(PeerId, MessageId), Said>,
    said_order: VecDeque<(PeerId, MessageId)>,
}

#[derive(Debug)]
struct Said {
    name: &'static str,
    call: Option<CallId>,
    /// When it was said, each time.
    at: Vec<Duration>,
    acknowledged: usize,
}

/// Times of saying one message that are kept: in the 60 s of its life there are some 16.
const TIMES_MAX: usize = 64;

impl Book {
    /// Notes a message down.
    pub(crate) fn note(&mut self, message: &Message) -> Entry {
        let latest = *self.latest.get_or_insert(message.at);
        match &message.content {
            Content::Said { call, id, name, .. } => {
                if call.is_none() && *name == "offer" {
                    // A dialect without names for calls.
                    self.latest = Some(message.at);
                }
                let opens = call.as_ref().is_some_and(|call| !self.calls.contains_key(call));
                let since = self.since(call.as_ref(), message.at);
                let again = id.as_ref().and_then(|id| self.said(&message.from, id, name, call.as_ref(), message.at));
                Entry { since, call: call.clone(), kind: again.unwrap_or(if opens { Kind::Opens } else { Kind::New }) }
            }
            Content::Ack { of } => self.acknowledged(message, of),
            Content::Presence { .. } | Content::Unreadable { .. } => {
                Entry { since: message.at.saturating_sub(latest), call: None, kind: Kind::New }
            }
        }
    }

    /// Since the call's first message.
    fn since(&mut self, call: Option<&CallId>, at: Duration) -> Duration {
        let latest = self.latest.unwrap_or(at);
        let Some(call) = call else { return at.saturating_sub(latest) };
        if let Some(began) = self.calls.get(call).copied() {
            // What belongs to no call stands below this line, and counts as it does.
            self.latest = Some(began);
            return at.saturating_sub(began);
        }
        self.latest = Some(at);
        self.calls.insert(call.clone(), at);
        self.calls_order.push_back(call.clone());
        if self.calls_order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.calls_order.pop_front()
        {
            self.calls.remove(&oldest);
        }
        Duration::ZERO
    }

    /// Remembers that this was said; what it is when it was said before.
    fn said(
        &mut self,
        from: &PeerId,
        id: &MessageId,
        name: &'static str,
        call: Option<&CallId>,
        at: Duration,
    ) -> Option<Kind> {
        let key = (from.clone(), id.clone());
        if let Some(said) = self.said.get_mut(&key) {
            if said.at.len() < TIMES_MAX {
                said.at.push(at);
            }
            let times = u32::try_from(said.at.len()).unwrap_or(u32::MAX);
            return Some(if said.acknowledged == 0 { Kind::Resent { times } } else { Kind::Duplicate { times } });
        }
        self.said.insert(key.clone(), Said { name, call: call.cloned(), at: vec![at], acknowledged: 0 });
        self.said_order.push_back(key);
        if self.said_order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.said_order.pop_front()
        {
            self.said.remove(&oldest);
        }
        None
    }

    /// Each time that a message arrives it is acknowledged, in order.
    fn acknowledged(&mut self, message: &Message, of: &MessageId) -> Entry {
        let said = message.to.as_ref().and_then(|to| self.said.get_mut(&(to.clone(), of.clone())));
        let Some(said) = said else {
            let since = self.since(None, message.at);
            return Entry { since, call: None, kind: Kind::AcknowledgesUnknown };
        };
        let index = said.acknowledged.min(said.at.len() - 1);
        said.acknowledged += 1;
        let kind = Kind::Acknowledges(Acknowledged {
            name: said.name,
            time: u32::try_from(index + 1).unwrap_or(u32::MAX),
            after: message.at.saturating_sub(said.at[index]),
        });
        let call = said.call.clone();
        Entry { since: self.since(call.as_ref(), message.at), call, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ladder::tests::{ack, ms, said};
    use super::*;

    #[test]
    fn a_call_begins_with_its_first_message() {
        let mut book = Book::default();
        let opened = book.note(&said(100, "alice", "bob", "1", "1-1", "offer", ""));
        assert_eq!((opened.since, opened.kind), (ms(0), Kind::Opens));
        let rings = book.note(&said(130, "bob", "alice", "1", "2-1", "ringing", ""));
        assert_eq!((rings.since, rings.kind), (ms(30), Kind::New));
        assert_eq!(book.note(&said(500, "carol", "bob", "2", "3-1", "offer", "")).since, ms(0));
    }

    #[test]
    fn what_is_said_again_is_resent_until_it_was_acknowledged_and_a_duplicate_from_then() {
        let mut book = Book::default();
        let offer = |at| said(at, "alice", "bob", "1", "1-1", "offer", "");
        book.note(&offer(0));
        assert_eq!(book.note(&offer(1000)).kind, Kind::Resent { times: 2 });
        let acknowledges = |time, after| Kind::Acknowledges(Acknowledged { name: "offer", time, after: ms(after) });
        assert_eq!(book.note(&ack(1010, "bob", "alice", "1-1")).kind, acknowledges(1, 1010));
        assert_eq!(book.note(&ack(1012, "bob", "alice", "1-1")).kind, acknowledges(2, 12));
        assert_eq!(book.note(&offer(1020)).kind, Kind::Duplicate { times: 3 });
        assert_eq!(book.note(&ack(1021, "bob", "carol", "1-1")).kind, Kind::AcknowledgesUnknown, "not carol's");
    }

    #[test]
    fn it_forgets_what_is_long_past() {
        let mut book = Book::default();
        for n in 0..REMEMBERED_MAX + 10 {
            book.note(&said(0, "alice", "bob", &n.to_string(), &n.to_string(), "offer", ""));
        }
        assert_eq!((book.calls.len(), book.said.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
        for _ in 0..TIMES_MAX + 10 {
            book.note(&said(0, "alice", "bob", "x", "x", "offer", ""));
        }
        assert!(book.said.values().all(|said| said.at.len() <= TIMES_MAX));
    }
}

//! Which messages are a guest's: those of the calls it makes. Pure.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;
use signalling::id::{CallId, MessageId, PeerId};
use signalling::seal::Standing;
use signalling::wire::PresenceState;
use tokio::sync::mpsc;
use tracing::debug;

use super::{Card, Part, ToGuest, guest};

/// Calls of one guest that are remembered; it has one or two.
const CALLS_MAX: usize = 8;

/// One guest.
#[derive(Debug)]
pub(crate) struct Guest {
    lines: mpsc::Sender<ToGuest>,
    /// Begins the ids of its messages.
    run: String,
    callee: Option<PeerId>,
    calls: VecDeque<CallId>,
    work: Work,
}

/// Whether our user is on the phone there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// It waits until somebody can be called.
    Waits,
    /// It rings somebody.
    Rings,
    Talks,
}

/// What of a message counts here, in any dialect that has it.
#[derive(Deserialize)]
struct Outline {
    #[serde(rename = "type")]
    kind: Option<String>,
    call: Option<CallId>,
    of: Option<MessageId>,
}

fn outline(payload: &[u8]) -> Outline {
    serde_json::from_slice(payload).unwrap_or(Outline { kind: None, call: None, of: None })
}

impl Guest {
    pub(super) fn new(card: &Card, lines: mpsc::Sender<ToGuest>) -> Self {
        let run = card.run.as_str();
        let callee = match &card.part {
            Part::Calls(peer) => Some(peer.clone()),
            Part::Listens => None,
        };
        Self {
            lines,
            run: run.strip_suffix("-0").unwrap_or(run).to_owned(),
            callee,
            calls: VecDeque::new(),
            work: Work::Waits,
        }
    }

    fn said(&mut self, payload: &[u8]) {
        let Outline { kind, call, .. } = outline(payload);
        match kind.as_deref() {
            Some("offer") if self.work == Work::Waits => self.work = Work::Rings,
            Some("bye") => self.work = Work::Waits,
            Some(_) | None => {}
        }
        if let Some(call) = call
            && !self.calls.contains(&call)
        {
            if self.calls.len() == CALLS_MAX {
                self.calls.pop_front();
            }
            self.calls.push_back(call);
        }
    }

    fn tell(&self, line: ToGuest) {
        if self.lines.try_send(line).is_err() {
            debug!("a guest does not keep up");
        }
    }
}

/// All guests.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    guests: BTreeMap<u64, Guest>,
}

impl Desk {
    /// Takes a guest in, and tells it this.
    pub(crate) fn join(&mut self, number: u64, guest: Guest, first: Option<ToGuest>) {
        if let Some(line) = first {
            guest.tell(line);
        }
        self.guests.insert(number, guest);
    }

    /// A guest is gone.
    pub(crate) fn leave(&mut self, number: u64) {
        self.guests.remove(&number);
    }

    /// Takes note of what a guest publishes.
    pub(crate) fn said(&mut self, number: u64, payload: &[u8]) {
        if let Some(guest) = self.guests.get_mut(&number) {
            guest.said(payload);
        }
    }

    /// A guest is in a call, or not.
    pub(crate) fn shows(&mut self, number: u64, state: PresenceState) {
        if let Some(guest) = self.guests.get_mut(&number) {
            guest.work = match (guest.work, guest::is_busy(state)) {
                (_, true) => Work::Talks,
                (Work::Talks, false) => Work::Waits,
                (work, false) => work,
            };
        }
    }

    /// True while our user talks elsewhere, which others see.
    pub(crate) fn is_busy(&self) -> bool {
        self.guests.values().any(|guest| guest.work == Work::Talks)
    }

    /// True while our user is on the phone elsewhere: nobody else is to be let through.
    pub(crate) fn is_occupied(&self) -> bool {
        self.guests.values().any(|guest| guest.work != Work::Waits)
    }

    /// Tells every guest.
    pub(crate) fn tell_all(&self, line: &ToGuest) {
        self.guests.values().for_each(|guest| guest.tell(line.clone()));
    }

    /// Hands a message to the guest that it is for; false when it is the host's own. `is_ours` knows the host's calls.
    pub(crate) fn hand_on(
        &self,
        from: &PeerId,
        (payload, standing): (&bytes::Bytes, &Standing),
        is_ours: impl Fn(&CallId) -> bool,
    ) -> bool {
        if self.guests.is_empty() {
            return false;
        }
        let Some(guest) = self.addressed(from, &outline(payload), is_ours) else { return false };
        let payload = super::Payload(payload.clone());
        guest.tell(ToGuest::Message { from: from.clone(), payload, standing: standing.clone() });
        true
    }

    fn addressed(&self, from: &PeerId, message: &Outline, is_ours: impl Fn(&CallId) -> bool) -> Option<&Guest> {
        let mut guests = self.guests.values();
        if let Some(of) = &message.of {
            return guests.find(|guest| of.as_str().strip_prefix(&guest.run).is_some_and(|rest| rest.starts_with('-')));
        }
        if let Some(call) = &message.call {
            if let Some(guest) = self.guests.values().find(|guest| guest.calls.contains(call)) {
                return Some(guest);
            }
            if is_ours(call) {
                return None;
            }
        }
        // Whoever is being called may call at the same moment, or anew.
        guests.find(|guest| guest.callee.as_ref() == Some(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signalling::id::Nonce;

    fn guest(callee: &str, run: u64) -> (Guest, mpsc::Receiver<ToGuest>) {
        let (lines, told) = mpsc::channel(8);
        let run = MessageId::numbered(Nonce(run), 0);
        let run = run.as_str().strip_suffix("-0").unwrap().to_owned();
        let callee = Some(callee.parse().unwrap());
        (Guest { lines, run, callee, calls: VecDeque::new(), work: Work::Waits }, told)
    }

    #[test]
    fn a_guest_gets_what_its_calls_are_told_and_nothing_else() {
        let mut desk = Desk::default();
        let (alices, mut told) = guest("alice", 7);
        desk.join(3, alices, None);
        desk.said(3, br#"{"type":"offer","call":"ours","sdp":"x"}"#);
        let handed = |desk: &Desk, from: &str, payload: String| {
            desk.hand_on(&from.parse().unwrap(), (&payload.into(), &Standing::Plain), |call| call.as_str() == "hosts")
        };
        let message = |call: &str| format!(r#"{{"type":"answer","call":"{call}"}}"#);
        assert!(handed(&desk, "alice", message("ours")));
        assert!(handed(&desk, "alice", message("new")), "she calls while she is called");
        assert!(!handed(&desk, "alice", message("hosts")));
        assert!(!handed(&desk, "carol", message("other")));
        assert!(handed(&desk, "carol", message("ours")), "whoever knows the call");
        assert!(handed(&desk, "alice", format!(r#"{{"type":"ack","of":"{:016x}-2"}}"#, 7)));
        assert!(!handed(&desk, "alice", format!(r#"{{"type":"ack","of":"{:016x}-2"}}"#, 8)));
        assert!(!handed(&desk, "carol", "no JSON".into()));
        assert_eq!(std::iter::from_fn(|| told.try_recv().ok()).count(), 4);
        desk.leave(3);
        assert!(!handed(&desk, "alice", message("ours")));
    }

    #[test]
    fn nobody_is_let_through_while_a_guest_is_on_the_phone() {
        let mut desk = Desk::default();
        desk.join(1, guest("alice", 7).0, None);
        assert!(!desk.is_occupied(), "it may wait for alice for days");
        desk.said(1, br#"{"type":"offer","call":"a"}"#);
        assert!(desk.is_occupied() && !desk.is_busy());
        desk.shows(1, PresenceState::Busy);
        assert!(desk.is_occupied() && desk.is_busy());
        desk.shows(1, PresenceState::Available);
        assert!(!desk.is_occupied());
        desk.said(1, br#"{"type":"offer","call":"b"}"#);
        desk.said(1, br#"{"type":"bye","call":"b","reason":"cancel"}"#);
        assert!(!desk.is_occupied());
    }
}

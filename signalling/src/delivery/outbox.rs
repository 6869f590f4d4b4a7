//! Messages that are not acknowledged: sent again with back-off, given up in the end, bounded. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Output;
use crate::id::{CallId, MessageId, PeerId};
use crate::wire::{ByeReason, Envelope, Message, MessageKind};

/// First wait for an ack. A broker on the other side of the world takes about 600 ms for both ways.
const RESEND_FIRST: Duration = Duration::from_secs(1);

/// Waits double up to this: short enough that a call set up across a broker's restart still feels alive.
const RESEND_MAX: Duration = Duration::from_secs(4);

/// After this long an unacknowledged message is given up. Longer than any answer time-out would help nobody.
pub(crate) const EXPIRY: Duration = Duration::from_secs(60);

/// Unacknowledged messages we keep; a call has about ten. Beyond it one is given up: see [`Weight`].
pub(super) const OUTBOX_MAX: usize = 256;

/// What is given up first when too much is unacknowledged. Whoever calls a peer that talks hears busy: strangers can make
/// us say as much of it as they like, and it must not displace what our own call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// A bye `busy`.
    Busy,
    /// Another bye.
    Bye,
    /// Anything else.
    Call,
}

impl Weight {
    pub(super) const fn of(message: &Message) -> Self {
        match message {
            Message::Bye { reason: ByeReason::Busy, .. } => Self::Busy,
            Message::Bye { .. } => Self::Bye,
            Message::Offer(_)
            | Message::Ringing
            | Message::EarlyAnswer(_)
            | Message::Answer(_)
            | Message::Candidates { .. }
            | Message::Media(_)
            | Message::Update(_)
            | Message::Updated(_)
            | Message::Refused { .. }
            | Message::Renew { .. }
            | Message::Nonce { .. } => Self::Call,
        }
    }
}

/// One message that is not acknowledged.
#[derive(Debug)]
struct Pending {
    weight: Weight,
    envelope: Envelope,
    call: CallId,
    message: MessageKind,
    wait: Duration,
    resend_at: Instant,
    expires_at: Instant,
}

impl Pending {
    fn expired(&self) -> Output {
        Output::Expired { to: self.envelope.to.clone(), call: self.call.clone(), message: self.message }
    }
}

/// All of them, by the number of the message: the oldest first.
#[derive(Debug, Default)]
pub(super) struct Outbox(BTreeMap<u64, Pending>);

impl Outbox {
    /// Keeps a message that is being sent for the first time.
    pub(super) fn add(
        &mut self,
        number: u64,
        envelope: Envelope,
        call: CallId,
        message: MessageKind,
        weight: Weight,
        now: Instant,
    ) {
        let (wait, resend_at, expires_at) = (RESEND_FIRST, now + RESEND_FIRST, now + EXPIRY);
        self.0.insert(number, Pending { weight, envelope, call, message, wait, resend_at, expires_at });
    }

    /// Makes room for one more, where it is full: the oldest of what matters least is given up.
    pub(super) fn make_room(&mut self) -> Option<Output> {
        if self.0.len() < OUTBOX_MAX {
            return None;
        }
        let number = self.0.iter().min_by_key(|(age, pending)| (pending.weight, **age)).map(|(age, _)| *age)?;
        self.0.remove(&number).map(|pending| pending.expired())
    }

    /// `from` has the message `of`. Nobody else can say so.
    pub(super) fn acknowledge(&mut self, from: &PeerId, of: &MessageId) -> Option<Output> {
        let is_it = |pending: &Pending| pending.envelope.id == *of && pending.envelope.to == *from;
        let number = self.0.iter().find(|(_, pending)| is_it(pending)).map(|(number, _)| *number)?;
        let Pending { envelope, call, message, .. } = self.0.remove(&number)?;
        Some(Output::Delivered { to: envelope.to, call, message })
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().map(|pending| pending.resend_at.min(pending.expires_at)).min()
    }

    /// Sends again what is due, gives up what expired.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.0.retain(|_, pending| {
            if pending.expires_at <= now {
                outputs.push(pending.expired());
                return false;
            }
            if pending.resend_at <= now {
                pending.wait = (pending.wait * 2).min(RESEND_MAX);
                pending.resend_at = now + pending.wait;
                outputs.push(Output::Transmit(pending.envelope.clone()));
            }
            true
        });
        outputs
    }

    /// Sends everything again at once.
    pub(super) fn send_all_again(&mut self, now: Instant) -> Vec<Output> {
        let again = |pending: &mut Pending| {
            pending.wait = RESEND_FIRST;
            pending.resend_at = now + RESEND_FIRST;
            Output::Transmit(pending.envelope.clone())
        };
        self.0.values_mut().map(again).collect()
    }

    /// Gives up what belongs to `call`, except its bye.
    pub(super) fn forget(&mut self, call: &CallId) {
        self.0.retain(|_, pending| pending.call != *call || pending.message == MessageKind::Bye);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The calls and kinds of what is held.
    #[cfg(test)]
    pub(super) fn messages(&self) -> impl Iterator<Item = (&CallId, MessageKind)> {
        self.0.values().map(|pending| (&pending.call, pending.message))
    }
}

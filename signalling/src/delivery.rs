//! Gets messages across a broker that may lose, repeat or reorder them: acknowledgement, resending with back-off,
//! expiry, duplicate removal. Pure: reads no clock, draws no randomness, does no IO.
//!
//! MQTT's own QoS 1 ends at the broker, and a broker that forgets the session forgets what was under way
//! (ActiveMQ does on every reconnect), so peers acknowledge each other end to end.
//!
//! - [`ReliableDelivery::send`] → [`Output::Transmit`] now, and again until the ack comes or the message expires
//! - [`ReliableDelivery::receive`] → an ack, and the message once
//!
//! [`outbox`] holds what is not acknowledged, [`seen`] knows what came before.

mod outbox;
mod seen;
#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::id::{CallId, MessageId, MessageType, Nonce, PeerId};
use crate::wire::{Ack, Content, Envelope, Message, MessageKind, Unknown, VERSION};
pub(crate) use outbox::EXPIRY;
use outbox::{Outbox, Weight};
use seen::Seen;

/// What the delivery wants done. What is published is an envelope here, and one of several forms in
/// [`crate::dialect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<Published = Envelope> {
    /// Publish this for its `to`.
    Transmit(Published),
    /// The peer acknowledged one of our messages.
    Delivered {
        /// The peer.
        to: PeerId,
        /// Its call.
        call: CallId,
        /// Which message.
        message: MessageKind,
    },
    /// A message was never acknowledged and is given up.
    Expired {
        /// The peer.
        to: PeerId,
        /// Its call.
        call: CallId,
        /// Which message.
        message: MessageKind,
    },
    /// A message of a type that is not known here; it was acknowledged. Told of once.
    Unknown {
        /// Who sent it.
        from: PeerId,
        /// Its type.
        kind: MessageType,
    },
    /// A message for us, seen for the first time.
    Received {
        /// Who sent it.
        from: PeerId,
        /// Its call.
        call: CallId,
        /// The message.
        message: Message,
    },
}

impl<Published> Output<Published> {
    /// The same, with what is published in another form.
    pub fn map<Other>(self, form: impl FnOnce(Published) -> Other) -> Output<Other> {
        match self {
            Self::Transmit(published) => Output::Transmit(form(published)),
            Self::Delivered { to, call, message } => Output::Delivered { to, call, message },
            Self::Expired { to, call, message } => Output::Expired { to, call, message },
            Self::Unknown { from, kind } => Output::Unknown { from, kind },
            Self::Received { from, call, message } => Output::Received { from, call, message },
        }
    }
}

/// State of all messages under way.
#[derive(Debug)]
pub struct ReliableDelivery {
    me: PeerId,
    nonce: Nonce,
    count: u64,
    outbox: Outbox,
    seen: Seen,
    duplicates: u64,
}

impl ReliableDelivery {
    /// A delivery for `me`; `nonce` tells the messages of this run from those of any other.
    #[must_use]
    pub fn new(me: PeerId, nonce: Nonce) -> Self {
        Self { me, nonce, count: 0, outbox: Outbox::default(), seen: Seen::default(), duplicates: 0 }
    }

    /// Sends `message`; `unix_ms` is the wall clock, milliseconds since the epoch.
    pub fn send(&mut self, to: PeerId, call: CallId, message: Message, now: Instant, unix_ms: u64) -> Vec<Output> {
        self.count += 1;
        let kind = message.kind();
        let weight = Weight::of(&message);
        if weight == Weight::Call {
            self.seen.speaks_with(&to);
        }
        let envelope = self.envelope(to, unix_ms, Content::Call { call: call.clone(), message });
        let mut outputs: Vec<Output> = self.outbox.make_room().into_iter().collect();
        outputs.push(Output::Transmit(envelope.clone()));
        self.outbox.add(self.count, envelope, call, kind, weight, now);
        outputs
    }

    /// Takes in an envelope that arrived. One that is not for us yields nothing.
    pub fn receive(&mut self, envelope: Envelope, unix_ms: u64) -> Vec<Output> {
        let Envelope { id, from, to, content, .. } = envelope;
        if to != self.me {
            return Vec::new();
        }
        match content {
            Content::Ack(Ack { of }) => self.outbox.acknowledge(&from, &of).into_iter().collect(),
            Content::Call { call, message } => {
                self.take(from.clone(), id, unix_ms, Output::Received { from, call, message })
            }
            Content::Unknown(Unknown { kind }) => self.take(from.clone(), id, unix_ms, Output::Unknown { from, kind }),
        }
    }

    /// Acknowledges a message, and hands it up when it is new.
    fn take(&mut self, from: PeerId, id: MessageId, unix_ms: u64, handed_up: Output) -> Vec<Output> {
        self.count += 1;
        let ack = self.envelope(from.clone(), unix_ms, Content::Ack(Ack { of: id.clone() }));
        let mut outputs = vec![Output::Transmit(ack)];
        if self.seen.is_new(from, id) {
            outputs.push(handed_up);
        } else {
            self.duplicates += 1;
        }
        outputs
    }

    /// When [`ReliableDelivery::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.outbox.poll_timeout()
    }

    /// Sends again what is due, gives up what expired.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Output> {
        self.outbox.handle_timeout(now)
    }

    /// The link to the broker is back: everything unacknowledged goes out again at once.
    pub fn link_restored(&mut self, now: Instant) -> Vec<Output> {
        self.outbox.send_all_again(now)
    }

    /// Stops sending what belongs to `call`, except its bye.
    pub fn forget(&mut self, call: &CallId) {
        self.outbox.forget(call);
    }

    /// True when every message was acknowledged or given up.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Messages that arrived more than once so far.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    fn envelope(&self, to: PeerId, unix_ms: u64, content: Content) -> Envelope {
        let id = MessageId::numbered(self.nonce, self.count);
        Envelope { v: VERSION, id, from: self.me.clone(), to, ts: unix_ms, content }
    }
}

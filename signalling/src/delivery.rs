//! Gets messages across a broker that may lose, repeat or reorder them: acknowledgement, resending with back-off,
//! expiry, duplicate removal. Pure: reads no clock, draws no randomness, does no IO.
//!
//! MQTT's own QoS 1 ends at the broker, and a broker that forgets the session forgets what was under way
//! (ActiveMQ does on every reconnect), so peers acknowledge each other end to end.
//!
//! - [`Delivery::send`] → [`Output::Transmit`] now, and again until the ack comes or the message expires
//! - [`Delivery::receive`] → an ack, and the message once

mod seen;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::id::{CallId, MessageId, MessageType, Nonce, PeerId};
use crate::wire::{Ack, ByeReason, Content, Envelope, Message, MessageKind, Unknown, VERSION};
use seen::Seen;

/// First wait for an ack. A broker on the other side of the world takes about 600 ms for both ways.
const RESEND_FIRST: Duration = Duration::from_secs(1);

/// Waits double up to this: short enough that a call set up across a broker's restart still feels alive.
const RESEND_MAX: Duration = Duration::from_secs(4);

/// After this long an unacknowledged message is given up. Longer than any answer time-out would help nobody.
pub(crate) const EXPIRY: Duration = Duration::from_secs(60);

/// Unacknowledged messages we keep; a call has about ten. Beyond it one is given up: see [`Weight`].
const OUTBOX_MAX: usize = 256;

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
pub struct Delivery {
    me: PeerId,
    nonce: Nonce,
    count: u64,
    outbox: BTreeMap<u64, Pending>,
    seen: Seen,
    duplicates: u64,
}

/// What is given up first when too much is unacknowledged. Whoever calls a peer that talks hears busy: strangers can make
/// us say as much of it as they like, and it must not displace what our own call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// A bye `busy`.
    Busy,
    /// Another bye.
    Bye,
    /// Anything else.
    Call,
}

impl Weight {
    const fn of(message: &Message) -> Self {
        match message {
            Message::Bye { reason: ByeReason::Busy, .. } => Self::Busy,
            Message::Bye { .. } => Self::Bye,
            Message::Offer(_)
            | Message::Ringing
            | Message::Answer(_)
            | Message::Candidates { .. }
            | Message::Media(_)
            | Message::Update(_)
            | Message::Updated(_)
            | Message::Refused { .. }
            | Message::Renew { .. } => Self::Call,
        }
    }
}

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

impl Delivery {
    /// A delivery for `me`; `nonce` tells the messages of this run from those of any other.
    #[must_use]
    pub fn new(me: PeerId, nonce: Nonce) -> Self {
        Self { me, nonce, count: 0, outbox: BTreeMap::new(), seen: Seen::default(), duplicates: 0 }
    }

    /// Sends `message`; `unix_ms` is the wall clock, milliseconds since the epoch.
    pub fn send(&mut self, to: PeerId, call: CallId, message: Message, now: Instant, unix_ms: u64) -> Vec<Output> {
        self.count += 1;
        let (kind, weight) = (message.kind(), Weight::of(&message));
        if weight == Weight::Call {
            self.seen.speaks_with(&to);
        }
        let envelope = self.envelope(to, unix_ms, Content::Call { call: call.clone(), message });
        let mut outputs = Vec::new();
        if self.outbox.len() == OUTBOX_MAX {
            outputs.extend(self.make_room());
        }
        outputs.push(Output::Transmit(envelope.clone()));
        self.outbox.insert(
            self.count,
            Pending {
                weight,
                envelope,
                call,
                message: kind,
                wait: RESEND_FIRST,
                resend_at: now + RESEND_FIRST,
                expires_at: now + EXPIRY,
            },
        );
        outputs
    }

    /// Takes in an envelope that arrived. One that is not for us yields nothing.
    pub fn receive(&mut self, envelope: Envelope, unix_ms: u64) -> Vec<Output> {
        let Envelope { id, from, to, content, .. } = envelope;
        if to != self.me {
            return Vec::new();
        }
        match content {
            Content::Ack(Ack { of }) => self.acknowledged(&from, &of),
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

    /// Gives up the oldest of what matters least.
    fn make_room(&mut self) -> Option<Output> {
        let key = self.outbox.iter().min_by_key(|(age, pending)| (pending.weight, **age)).map(|(age, _)| *age)?;
        self.outbox.remove(&key).map(|pending| pending.expired())
    }

    /// When [`Delivery::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.outbox.values().map(|pending| pending.resend_at.min(pending.expires_at)).min()
    }

    /// Sends again what is due, gives up what expired.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.outbox.retain(|_, pending| {
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

    /// The link to the broker is back: everything unacknowledged goes out again at once.
    pub fn link_restored(&mut self, now: Instant) -> Vec<Output> {
        self.outbox
            .values_mut()
            .map(|pending| {
                pending.wait = RESEND_FIRST;
                pending.resend_at = now + RESEND_FIRST;
                Output::Transmit(pending.envelope.clone())
            })
            .collect()
    }

    /// Stops sending what belongs to `call`, except its bye.
    pub fn forget(&mut self, call: &CallId) {
        self.outbox.retain(|_, pending| pending.call != *call || pending.message == MessageKind::Bye);
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

    fn acknowledged(&mut self, from: &PeerId, of: &MessageId) -> Vec<Output> {
        let key = self.outbox.iter().find(|(_, p)| p.envelope.id == *of && p.envelope.to == *from).map(|(key, _)| *key);
        let Some(pending) = key.and_then(|key| self.outbox.remove(&key)) else { return Vec::new() };
        vec![Output::Delivered { to: pending.envelope.to, call: pending.call, message: pending.message }]
    }
}

impl Pending {
    fn expired(&self) -> Output {
        Output::Expired { to: self.envelope.to.clone(), call: self.call.clone(), message: self.message }
    }
}

#[cfg(test)]
mod tests {
    use super::seen::{OF_A_PARTNER_MAX, OF_STRANGERS_MAX};
    use super::*;

    fn id(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    fn pair() -> (Delivery, Delivery, CallId, Instant) {
        let (alice, bob) = (Delivery::new(id("alice"), Nonce(1)), Delivery::new(id("bob"), Nonce(2)));
        (alice, bob, CallId::from_random(5), Instant::now())
    }

    fn transmitted(outputs: &[Output]) -> Vec<Envelope> {
        outputs.iter().filter_map(|o| if let Output::Transmit(e) = o { Some(e.clone()) } else { None }).collect()
    }

    #[test]
    fn acknowledged_once_and_delivered_once_though_sent_twice() {
        let (mut alice, mut bob, call, now) = pair();
        let sent = transmitted(&alice.send(id("bob"), call.clone(), Message::Ringing, now, 0)).remove(0);
        let first = bob.receive(sent.clone(), 0);
        let again = bob.receive(sent, 0);
        assert!(matches!(&first[..], [Output::Transmit(_), Output::Received { message: Message::Ringing, .. }]));
        assert!(matches!(&again[..], [Output::Transmit(_)]), "a duplicate is acknowledged but not delivered");
        assert_eq!(bob.duplicates(), 1);
        let delivered = alice.receive(transmitted(&first).remove(0), 0);
        assert_eq!(delivered, [Output::Delivered { to: id("bob"), call, message: MessageKind::Ringing }]);
        assert!(alice.is_idle() && alice.receive(transmitted(&again).remove(0), 0).is_empty());
    }

    #[test]
    fn resent_with_back_off_until_it_expires() {
        let (mut alice, _, call, start) = pair();
        alice.send(id("bob"), call, Message::Ringing, start, 0);
        let mut waits = Vec::new();
        let mut last = start;
        loop {
            let now = alice.poll_timeout().unwrap();
            match &alice.handle_timeout(now)[..] {
                [Output::Transmit(_)] => waits.push((now - last).as_secs()),
                [Output::Expired { message: MessageKind::Ringing, .. }] => break assert_eq!(now - start, EXPIRY),
                other => panic!("{other:?}"),
            }
            last = now;
        }
        assert_eq!(waits[..4], [1, 2, 4, 4]);
        assert!(alice.is_idle() && alice.poll_timeout().is_none());
    }

    #[test]
    fn a_restored_link_sends_at_once_what_was_lost() {
        let (mut alice, mut bob, call, now) = pair();
        alice.send(id("bob"), call, Message::Ringing, now, 0);
        let again = transmitted(&alice.link_restored(now)).remove(0);
        assert_eq!(bob.receive(again, 0).len(), 2);
    }

    #[test]
    fn nobody_else_can_acknowledge() {
        let (mut alice, _, call, now) = pair();
        let sent = transmitted(&alice.send(id("bob"), call, Message::Ringing, now, 0)).remove(0);
        let mut mallory = Delivery::new(id("mallory"), Nonce(3));
        let mut forged = sent.clone();
        forged.to = id("mallory");
        let mut ack = transmitted(&mallory.receive(forged, 0)).remove(0);
        ack.to = id("alice");
        assert!(alice.receive(ack, 0).is_empty() && !alice.is_idle());
    }

    #[test]
    fn a_message_for_someone_else_is_nothing_to_us() {
        let (mut alice, mut bob, call, now) = pair();
        let sent = transmitted(&alice.send(id("carol"), call, Message::Ringing, now, 0)).remove(0);
        assert!(bob.receive(sent, 0).is_empty());
    }

    #[test]
    fn tables_stay_bounded() {
        let (mut alice, mut bob, call, now) = pair();
        for _ in 0..OF_STRANGERS_MAX + 10 {
            for envelope in transmitted(&alice.send(id("bob"), call.clone(), Message::Ringing, now, 0)) {
                bob.receive(envelope, 0);
            }
        }
        assert_eq!((alice.outbox.len(), bob.seen.len()), (OUTBOX_MAX, OF_STRANGERS_MAX));
        bob.send(id("alice"), call.clone(), Message::Ringing, now, 0);
        assert_eq!(bob.seen.len(), OF_A_PARTNER_MAX, "alice has a memory of her own now");
        for n in 0..100 {
            bob.send(id(&format!("peer-{n}")), call.clone(), Message::Ringing, now, 0);
        }
        assert_eq!(bob.seen.len(), 0, "and is forgotten for others that bob speaks with");
    }

    #[test]
    fn strangers_that_hear_busy_displace_nothing_of_a_call() {
        let (_, mut bob, call, now) = pair();
        bob.send(id("alice"), call.clone(), Message::Ringing, now, 0);
        bob.send(id("alice"), call.clone(), Message::bye(ByeReason::Hangup), now, 0);
        for n in 0..1000u128 {
            bob.send(id(&format!("mallory-{n}")), CallId::from_random(n), Message::bye(ByeReason::Busy), now, 0);
        }
        let kept: Vec<_> = bob.outbox.values().map(|pending| pending.message).collect();
        assert_eq!(
            (kept.len(), &kept[..3]),
            (OUTBOX_MAX, &[MessageKind::Ringing, MessageKind::Bye, MessageKind::Bye][..])
        );
        assert_eq!(bob.outbox.values().filter(|pending| pending.call == call).count(), 2);
    }

    #[test]
    fn what_a_partner_said_is_known_after_any_number_of_words_of_strangers() {
        let (mut alice, mut bob, call, now) = pair();
        let sent = transmitted(&alice.send(id("bob"), call.clone(), Message::Ringing, now, 0)).remove(0);
        assert_eq!(bob.receive(sent.clone(), 0).len(), 2);
        bob.send(id("alice"), call.clone(), Message::Ringing, now, 0);
        for n in 0..42 {
            let mut mallory = Delivery::new(id(&format!("mallory-{n}")), Nonce(9));
            for _ in 0..200 {
                let word = Message::bye(ByeReason::Busy);
                bob.receive(transmitted(&mallory.send(id("bob"), call.clone(), word, now, 0)).remove(0), 0);
            }
        }
        assert_eq!(bob.receive(sent, 0).len(), 1, "acknowledged, and not handed up again");
    }

    #[test]
    fn a_later_type_is_acknowledged_each_time_and_told_of_once() {
        let (mut alice, mut bob, call, now) = pair();
        let mut sent = transmitted(&alice.send(id("bob"), call, Message::Ringing, now, 0)).remove(0);
        let kind: MessageType = "transfer".to_owned().try_into().unwrap();
        sent.content = Content::Unknown(Unknown { kind: kind.clone() });
        let first = bob.receive(sent.clone(), 0);
        assert_eq!(first[1..], [Output::Unknown { from: id("alice"), kind }]);
        let again = bob.receive(sent, 0);
        assert!(matches!(&again[..], [Output::Transmit(_)]));
        assert_eq!(alice.receive(transmitted(&again).remove(0), 0).len(), 1, "alice sends it no more");
    }

    #[test]
    fn forgetting_a_call_keeps_its_bye() {
        let (mut alice, _, call, now) = pair();
        alice.send(id("bob"), call.clone(), Message::Ringing, now, 0);
        alice.send(id("bob"), call.clone(), Message::bye(ByeReason::Hangup), now, 0);
        alice.forget(&call);
        assert_eq!(transmitted(&alice.link_restored(now)).len(), 1);
    }
}

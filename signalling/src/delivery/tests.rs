//! Two deliveries and whoever speaks between them.

use super::outbox::OUTBOX_MAX;
use super::seen::{OF_A_PARTNER_MAX, OF_STRANGERS_MAX};
use super::*;
use crate::wire::ByeReason;

fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

fn pair() -> (ReliableDelivery, ReliableDelivery, CallId, Instant) {
    let (alice, bob) = (ReliableDelivery::new(id("alice"), Nonce(1)), ReliableDelivery::new(id("bob"), Nonce(2)));
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
    let mut mallory = ReliableDelivery::new(id("mallory"), Nonce(3));
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
    let kept: Vec<_> = bob.outbox.messages().map(|(_, message)| message).collect();
    assert_eq!((kept.len(), &kept[..3]), (OUTBOX_MAX, &[MessageKind::Ringing, MessageKind::Bye, MessageKind::Bye][..]));
    assert_eq!(bob.outbox.messages().filter(|(of, _)| **of == call).count(), 2);
}

#[test]
fn what_a_partner_said_is_known_after_any_number_of_words_of_strangers() {
    let (mut alice, mut bob, call, now) = pair();
    let sent = transmitted(&alice.send(id("bob"), call.clone(), Message::Ringing, now, 0)).remove(0);
    assert_eq!(bob.receive(sent.clone(), 0).len(), 2);
    bob.send(id("alice"), call.clone(), Message::Ringing, now, 0);
    for n in 0..42 {
        let mut mallory = ReliableDelivery::new(id(&format!("mallory-{n}")), Nonce(9));
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

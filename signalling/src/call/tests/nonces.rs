//! The caller's nonce in a sealed call: who may tell it when, and what comes of one that does not fit.

use super::*;

fn nonce() -> Message {
    Message::Nonce { nonce: SasNonce::from_random([1; 16]) }
}

fn from(peer: &str) -> Event {
    Event::Received { from: id(peer), call: call(), message: nonce() }
}

fn check() -> Action {
    Action::CheckNonce { call: call(), nonce: SasNonce::from_random([1; 16]) }
}

fn broken() -> Event {
    Event::CommitmentBroken { call: call() }
}

#[test]
fn a_nonce_is_looked_at_once_our_answer_is_out() {
    let mut pair = Pair::new();
    pair.dial();
    assert_eq!(pair.bob.handle(from("alice"), pair.now), [], "nobody has our answer");
    assert_eq!(pair.alice.handle(from("bob"), pair.now), [], "a callee has none to tell");
    let mut pair = Pair::new();
    pair.connect();
    assert_eq!(pair.bob.handle(from("alice"), pair.now), [check()]);
    assert_eq!(pair.bob.handle(from("mallory"), pair.now), []);
    assert_eq!(pair.alice.handle(from("bob"), pair.now), []);
    pair.step(At::Bob, Event::Hold);
    assert_eq!(pair.bob.handle(from("alice"), pair.now), [check()]);
}

#[test]
fn an_early_answer_is_enough() {
    let mut pair = Pair::new();
    pair.dial();
    let prepared = |confidence| Event::AnswerPrepared { call: call(), description: sdp("answer"), confidence };
    pair.step(At::Bob, prepared(Confidence::Known));
    assert_eq!(pair.bob.handle(from("alice"), pair.now), [check()]);
    let mut pair = Pair::new();
    pair.dial();
    pair.step(At::Bob, prepared(Confidence::Stranger));
    assert_eq!(pair.bob.handle(from("alice"), pair.now), [], "she was told of no answer");
}

#[test]
fn a_nonce_that_does_not_fit_ends_the_call_on_both_sides() {
    let mut pair = Pair::new();
    pair.connect();
    pair.step(At::Bob, broken());
    assert_eq!((pair.alice.front(), pair.bob.front()), (&State::Idle, &State::Idle));
    let end = |seen: &[Notice]| match seen.last() {
        Some(Notice::Ended { reason, text, .. }) => (*reason, text.is_some()),
        other => panic!("{other:?}"),
    };
    assert_eq!(end(&pair.seen_by_bob), (EndReason::Commitment, false));
    assert_eq!(end(&pair.seen_by_alice), (EndReason::Identity, true));
}

#[test]
fn a_nonce_that_does_not_fit_ends_one_of_two_calls() {
    let config = PhoneConfig { waiting: Waiting::Rings, ..PhoneConfig::default() };
    let mut pair = Pair { bob: Phone::new(id("bob"), config), ..Pair::new() };
    pair.connect();
    let of_carol = CallId::from_random(2);
    let offer = Event::Received { from: id("carol"), call: of_carol.clone(), message: Message::Offer(sdp("offer")) };
    pair.bob.handle(offer, pair.now);
    pair.bob.handle(Event::Accept, pair.now);
    let ready = Event::DescriptionReady { call: of_carol.clone(), description: sdp("answer") };
    pair.bob.handle(ready, pair.now);
    assert!(pair.bob.back().is_call(&call()) && pair.bob.front().is_call(&of_carol));
    pair.bob.handle(broken(), pair.now);
    assert!(pair.bob.back() == &State::Idle && pair.bob.front().is_call(&of_carol), "{:?}", pair.bob);
}

#[test]
fn a_caller_checks_no_commitment() {
    let mut pair = Pair::new();
    pair.dial();
    assert_eq!(pair.alice.handle(broken(), pair.now), []);
    assert_eq!(pair.bob.handle(broken(), pair.now), [], "nothing was told yet");
    assert_eq!((pair.alice.front().name(), pair.bob.front().name()), ("ringing", "incoming"));
}

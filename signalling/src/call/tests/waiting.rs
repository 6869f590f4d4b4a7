//! A second call: it waits, is answered while the first is held, and both end in their turn.

use super::*;

fn second() -> CallId {
    CallId::from_random(2)
}

fn from_carol(message: Message) -> Event {
    Event::Received { from: id("carol"), call: second(), message }
}

/// Bob talks to alice, and carol's call waits.
fn waiting() -> Pair {
    let mut pair = Pair::new();
    pair.bob = Phone::new(id("bob"), PhoneConfig { waiting: Waiting::Rings, ..PhoneConfig::default() });
    pair.connect();
    let actions = pair.bob.handle(from_carol(Message::Offer(sdp("offer"))), pair.now);
    assert_eq!(
        actions,
        [
            Action::Send { to: id("carol"), call: second(), message: Message::Ringing },
            Action::Notify(Notice::Incoming { call: second(), peer: id("carol") })
        ]
    );
    pair
}

/// Bob talks to carol, and alice is on hold.
fn answered() -> Pair {
    let mut pair = waiting();
    pair.step(At::Bob, Event::Accept);
    pair.bob.handle(Event::Media { call: second(), change: MediaChange::Connected }, pair.now);
    assert_eq!((pair.bob.front().name(), pair.bob.back().name()), ("active", "held"));
    pair
}

fn names(phone: &Phone) -> (&'static str, &'static str) {
    (phone.front().name(), phone.back().name())
}

#[test]
fn a_second_caller_rings_and_is_answered_while_the_first_is_held() {
    let mut pair = waiting();
    let actions = pair.bob.handle(Event::Accept, pair.now);
    let position = |wanted: &Action| actions.iter().position(|action| action == wanted).expect("wanted");
    let held = position(&Action::HoldMedia { call: call() });
    let made = actions.iter().position(|a| matches!(a, Action::MakeAnswer { call, .. } if *call == second()));
    assert!(held < made.unwrap(), "devices are free before the second call wants them");
    assert!(pair.alice.front().name() == "active");
}

#[test]
fn when_the_second_call_ends_the_first_goes_on() {
    let mut pair = answered();
    let actions = pair.bob.handle(Event::HangUp, pair.now);
    assert!(actions.contains(&Action::ResumeMedia { call: call() }), "{actions:?}");
    assert_eq!(names(&pair.bob), ("active", "idle"));
}

#[test]
fn when_the_held_one_hangs_up_the_talk_is_not_disturbed() {
    let mut pair = answered();
    pair.step(At::Alice, Event::HangUp);
    assert_eq!(names(&pair.bob), ("active", "idle"));
    assert_eq!(pair.bob.front().call(), Some((&second(), &id("carol"))));
}

#[test]
fn one_goes_back_and_forth_between_two_calls() {
    let mut pair = answered();
    for (talking, resting) in [(call(), second()), (second(), call())] {
        let actions = pair.bob.handle(Event::Swap, pair.now);
        let media = |action: &&Action| matches!(action, Action::HoldMedia { .. } | Action::ResumeMedia { .. });
        let switched: Vec<_> = actions.iter().filter(media).cloned().collect();
        assert_eq!(switched, [Action::HoldMedia { call: resting }, Action::ResumeMedia { call: talking.clone() }]);
        assert!(pair.bob.front().is_call(&talking));
    }
}

#[test]
fn either_of_two_calls_ends_by_itself_and_the_other_is_not_disturbed() {
    let mut pair = answered();
    let actions = pair.bob.handle(Event::End { call: call() }, pair.now);
    let media = |action: &Action| matches!(action, Action::HoldMedia { .. } | Action::ResumeMedia { .. });
    assert!(!actions.iter().any(media), "{actions:?}");
    assert_eq!(pair.bob.front().call(), Some((&second(), &id("carol"))));
    assert_eq!(names(&pair.bob), ("active", "idle"));

    let mut pair = waiting();
    pair.step(At::Bob, Event::Accept);
    pair.bob.handle(Event::End { call: call() }, pair.now);
    assert_eq!(names(&pair.bob), ("connecting", "idle"), "the second is not up yet");
}

#[test]
fn a_third_caller_hears_busy() {
    for mut pair in [waiting(), answered()] {
        let third = CallId::from_random(3);
        let offer = Message::Offer(sdp("offer"));
        let actions =
            pair.bob.handle(Event::Received { from: id("dave"), call: third.clone(), message: offer }, pair.now);
        let message = Message::bye(ByeReason::Busy);
        assert_eq!(actions[0], Action::Send { to: id("dave"), call: third, message });
    }
}

#[test]
fn a_waiting_call_is_declined_without_touching_the_first() {
    let mut pair = waiting();
    let actions = pair.bob.handle(Event::Decline { text: None }, pair.now);
    let message = Message::bye(ByeReason::Decline);
    assert_eq!(actions[0], Action::Send { to: id("carol"), call: second(), message });
    assert_eq!(names(&pair.bob), ("active", "idle"));
}

#[test]
fn when_the_first_call_ends_the_waiting_one_rings_on() {
    let mut pair = waiting();
    pair.step(At::Alice, Event::HangUp);
    assert_eq!(names(&pair.bob), ("incoming", "idle"));
    pair.step(At::Bob, Event::Accept);
    assert_eq!(names(&pair.bob), ("connecting", "idle"));
}

#[test]
fn candidates_before_the_waiting_offer_reach_it() {
    let mut pair = Pair::new();
    pair.bob = Phone::new(id("bob"), PhoneConfig { waiting: Waiting::Rings, ..PhoneConfig::default() });
    pair.connect();
    let early = Message::Candidates { generation: 0, candidates: vec![candidate("early")] };
    assert!(pair.bob.handle(from_carol(early), pair.now).is_empty());
    pair.bob.handle(from_carol(Message::Offer(sdp("offer"))), pair.now);
    let State::Incoming { offer, .. } = pair.bob.back() else { panic!() };
    assert_eq!(offer.candidates, [candidate("early")]);
}

//! A partner that calls anew: after a crash, before its goodbye has come, and by an offer that came late.

use super::*;

fn anew() -> CallId {
    CallId::from_random(9)
}

fn offered_anew(phone: &mut Phone, from: &str, now: Instant) -> Vec<Action> {
    let message = Message::Offer(sdp("anew"));
    phone.handle(Event::Received { from: id(from), call: anew(), message }, now)
}

fn rings(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Notify(Notice::Incoming { call, .. }) if *call == anew()))
}

fn ends(actions: &[Action], wanted: EndReason) -> bool {
    actions.iter().any(|action| matches!(action, Action::Notify(Notice::Ended { reason, .. }) if *reason == wanted))
}

/// Alice called bob, and they talk.
fn talking() -> Pair {
    let mut pair = Pair::new();
    pair.connect();
    pair
}

#[test]
fn whoever_crashed_in_a_call_rings_as_soon_as_the_silence_shows() {
    let mut pair = talking();
    let now = pair.now;
    assert_eq!(offered_anew(&mut pair.bob, "alice", now), []);
    let interrupted = Event::Media { call: call(), change: MediaChange::Interrupted };
    let silent = now + Duration::from_millis(800);
    pair.bob.handle(interrupted, silent);
    assert!(pair.bob.poll_timeout().unwrap() <= silent);
    let actions = pair.bob.handle_timeout(silent);
    assert!(ends(&actions, EndReason::Lost) && rings(&actions), "{actions:?}");
    // Where it shows before, at once.
    let mut pair = talking();
    pair.bob.handle(Event::Media { call: call(), change: MediaChange::Interrupted }, now);
    assert_eq!(offered_anew(&mut pair.bob, "alice", now), []);
    assert_eq!(pair.bob.poll_timeout(), Some(now));
    let actions = pair.bob.handle_timeout(now);
    assert!(ends(&actions, EndReason::Lost) && rings(&actions), "{actions:?}");
}

#[test]
fn a_goodbye_that_comes_after_the_next_call_ends_the_old_one_alone() {
    let mut pair = talking();
    let now = pair.now;
    assert_eq!(offered_anew(&mut pair.bob, "alice", now), []);
    let message = Message::bye(ByeReason::Hangup);
    let actions = pair.bob.handle(Event::Received { from: id("alice"), call: call(), message }, now);
    assert!(ends(&actions, EndReason::RemoteHangup), "{actions:?}");
    assert_eq!(pair.bob.poll_timeout(), Some(now));
    let actions = pair.bob.handle_timeout(now);
    assert!(rings(&actions), "{actions:?}");
}

#[test]
fn a_program_that_ends_rings_no_more() {
    let mut pair = talking();
    let now = pair.now;
    assert_eq!(offered_anew(&mut pair.bob, "alice", now), []);
    pair.bob.handle(Event::HangUp, now);
    let busy = Action::Send { to: id("alice"), call: anew(), message: Message::bye(ByeReason::Busy) };
    assert_eq!((pair.bob.refuse_redial(), pair.bob.handle_timeout(now)), (vec![busy], Vec::new()));
}

#[test]
fn a_call_that_is_alive_is_left_alone() {
    let mut pair = talking();
    let now = pair.now;
    assert_eq!(offered_anew(&mut pair.bob, "alice", now), []);
    let due = pair.bob.poll_timeout().unwrap();
    assert_eq!(due, now + Duration::from_secs(3));
    let busy = Action::Send { to: id("alice"), call: anew(), message: Message::bye(ByeReason::Busy) };
    assert_eq!(pair.bob.handle_timeout(due), [busy]);
    assert_eq!((pair.bob.front().name(), pair.bob.poll_timeout()), ("active", None));
    // One that its caller gave up is forgotten without a word.
    let (call, message) = (CallId::from_random(10), Message::Offer(sdp("anew")));
    assert_eq!(pair.bob.handle(Event::Received { from: id("alice"), call: call.clone(), message }, due), []);
    let message = Message::bye(ByeReason::Cancel);
    assert_eq!(pair.bob.handle(Event::Received { from: id("alice"), call, message }, due), []);
    assert_eq!(pair.bob.poll_timeout(), None);
}

#[test]
fn whoever_crashed_while_it_rang_rings_anew() {
    let now = Instant::now();
    let mut bob = Phone::new(id("bob"), PhoneConfig::default());
    bob.handle(Event::Received { from: id("alice"), call: call(), message: Message::Offer(sdp("offer")) }, now);
    assert_eq!(offered_anew(&mut bob, "alice", now), []);
    let due = bob.poll_timeout().unwrap();
    assert_eq!(due, now + Duration::from_secs(1));
    let actions = bob.handle_timeout(due);
    assert!(ends(&actions, EndReason::NoAnswer) && rings(&actions), "{actions:?}");
    assert_eq!(bob.front().name(), "incoming");
}

#[test]
fn whoever_crashed_on_hold_rings_beside_the_other_call() {
    let phone_config = PhoneConfig { waiting: Waiting::Rings, ..PhoneConfig::default() };
    let mut pair = Pair::new();
    pair.bob = Phone::new(id("bob"), phone_config);
    pair.connect();
    let now = pair.now;
    let carols = CallId::from_random(2);
    let offer = Message::Offer(sdp("carol"));
    pair.bob.handle(Event::Received { from: id("carol"), call: carols.clone(), message: offer }, now);
    pair.bob.handle(Event::Accept, now);
    pair.bob.handle(Event::DescriptionReady { call: carols.clone(), description: sdp("answer") }, now);
    pair.bob.handle(Event::Media { call: carols, change: MediaChange::Connected }, now);
    assert_eq!(pair.bob.back().name(), "held");
    assert_eq!(offered_anew(&mut pair.bob, "alice", now), []);
    pair.bob.handle(Event::Media { call: call(), change: MediaChange::Interrupted }, now);
    let actions = pair.bob.handle_timeout(now);
    assert!(ends(&actions, EndReason::Lost) && rings(&actions), "{actions:?}");
    assert_eq!((pair.bob.front().name(), pair.bob.back().name()), ("active", "incoming"));
}

//! An answer that is made while it rings: told of at once, or kept until somebody accepts.

use super::*;

fn prepared(confidence: Confidence) -> Event {
    Event::AnswerPrepared { call: call(), description: sdp("answer"), confidence }
}

fn media(change: MediaChange) -> Event {
    Event::Media { call: call(), change }
}

fn sends(actions: &[Action], wanted: &str) -> usize {
    let is_it = |action: &&Action| matches!(action, Action::Send { message, .. } if message.name() == wanted);
    actions.iter().filter(is_it).count()
}

/// It rings, the answer is made, and alice knows of it; the path is up at both.
fn up_while_it_rings() -> Pair {
    let mut pair = Pair::new();
    pair.dial();
    pair.step(At::Bob, prepared(Confidence::Known));
    for side in [At::Alice, At::Bob] {
        pair.step(side, media(MediaChange::Connected));
    }
    assert_eq!((pair.alice.front().name(), pair.bob.front().name()), ("ringing", "incoming"));
    pair
}

#[test]
fn a_path_that_is_up_while_it_rings_is_no_call_before_somebody_accepts() {
    let mut pair = up_while_it_rings();
    let accepted = |seen: &[Notice]| seen.iter().any(|notice| matches!(notice, Notice::Accepted { .. }));
    assert!(!accepted(&pair.seen_by_alice) && !accepted(&pair.seen_by_bob));
    pair.step(At::Bob, Event::Accept);
    assert_eq!((pair.alice.front().name(), pair.bob.front().name()), ("active", "active"));
    for seen in [&pair.seen_by_alice, &pair.seen_by_bob] {
        let [.., Notice::Accepted { .. }, Notice::Connected { .. }] = &seen[..] else { panic!("{seen:?}") };
    }
}

#[test]
fn the_answer_of_someone_who_accepts_is_not_applied_twice() {
    let mut pair = up_while_it_rings();
    let from_bob = Event::Received { from: id("bob"), call: call(), message: Message::Answer(sdp("answer")) };
    let actions = pair.alice.handle(from_bob, pair.now);
    assert!(actions.iter().all(|action| !matches!(action, Action::ApplyAnswer { .. })), "{actions:?}");
}

#[test]
fn candidates_go_to_the_path_while_it_rings() {
    let mut pair = Pair::new();
    pair.dial();
    let more = |from: &str| Event::Received {
        from: id(from),
        call: call(),
        message: Message::Candidates { generation: 0, candidates: vec![candidate(from)] },
    };
    assert_eq!(pair.bob.handle(more("alice"), pair.now), []);
    let actions = pair.bob.handle(prepared(Confidence::Known), pair.now);
    let add = |of: &str| Action::AddCandidates { call: call(), candidates: vec![candidate(of)] };
    assert_eq!((sends(&actions, "early-answer"), actions.contains(&add("alice"))), (1, true), "{actions:?}");
    assert_eq!(pair.bob.handle(more("alice"), pair.now), [add("alice")]);
    let gathered = Event::CandidatesGathered { call: call(), candidates: vec![candidate("own")] };
    assert_eq!(sends(&pair.bob.handle(gathered, pair.now), "candidates"), 1);
    // They may overtake the early answer.
    assert_eq!(pair.alice.handle(more("bob"), pair.now), []);
    let early = Event::Received { from: id("bob"), call: call(), message: Message::EarlyAnswer(sdp("answer")) };
    let actions = pair.alice.handle(early, pair.now);
    assert_eq!(actions, [Action::ApplyEarlyAnswer { call: call(), answer: sdp("answer") }, add("bob")]);
}

#[test]
fn a_stranger_is_told_nothing_before_somebody_accepts() {
    let mut pair = Pair::new();
    pair.dial();
    let from_alice = Message::Candidates { generation: 0, candidates: vec![candidate("alice")] };
    assert_eq!(pair.bob.handle(prepared(Confidence::Stranger), pair.now), []);
    let gathered = Event::CandidatesGathered { call: call(), candidates: vec![candidate("own")] };
    assert_eq!(pair.bob.handle(gathered, pair.now), []);
    let more = Event::Received { from: id("alice"), call: call(), message: from_alice };
    assert_eq!(pair.bob.handle(more, pair.now), [], "and no check is sent to them");
    assert_eq!(pair.bob.handle(media(MediaChange::Failed), pair.now), [], "nothing was to come");
    let actions = pair.bob.handle(Event::Accept, pair.now);
    let answer = Description { candidates: vec![candidate("own")], ..sdp("answer") };
    assert_eq!(
        actions,
        [
            Action::Notify(Notice::Accepted { call: call(), peer: id("alice") }),
            Action::Send { to: id("alice"), call: call(), message: Message::Answer(answer) },
            Action::AddCandidates { call: call(), candidates: vec![candidate("alice")] },
        ]
    );
    assert_eq!(pair.bob.front().name(), "connecting");
}

#[test]
fn a_call_that_is_declined_or_given_up_closes_its_path() {
    let close = Action::CloseMedia { call: call() };
    let mut pair = up_while_it_rings();
    let actions = pair.bob.handle(Event::Decline { text: None }, pair.now);
    assert!(actions.contains(&close), "{actions:?}");
    let declined = Event::Received { from: id("bob"), call: call(), message: Message::bye(ByeReason::Decline) };
    assert!(pair.alice.handle(declined, pair.now).contains(&close));
    let mut pair = up_while_it_rings();
    let late = pair.now + Timeouts::default().answer;
    assert!(pair.alice.handle_timeout(late).contains(&close), "nobody answers");
}

#[test]
fn a_path_that_is_lost_while_it_rings_is_renewed_when_somebody_accepts() {
    let mut pair = up_while_it_rings();
    for side in [At::Alice, At::Bob] {
        pair.step(side, media(MediaChange::Interrupted));
    }
    assert_eq!((pair.alice.front().name(), pair.bob.front().name()), ("ringing", "incoming"));
    let from_bob = Event::Received { from: id("bob"), call: call(), message: Message::Answer(sdp("answer")) };
    let actions = pair.alice.handle(from_bob, pair.now);
    let restarts = |a: &Action| matches!(a, Action::MakeUpdate { renewal: Renewal::Restart, .. });
    assert!(actions.iter().any(restarts), "{actions:?}");
}

#[test]
fn a_path_that_is_not_found_while_it_rings_ends_nothing() {
    let mut pair = Pair::new();
    pair.dial();
    pair.step(At::Bob, prepared(Confidence::Known));
    for side in [At::Alice, At::Bob] {
        pair.step(side, media(MediaChange::Failed));
    }
    pair.step(At::Bob, Event::Accept);
    assert_eq!((pair.alice.front().name(), pair.bob.front().name()), ("connecting", "connecting"));
}

#[test]
fn an_answer_that_was_not_told_of_is_made_anew_for_other_addresses() {
    let mut pair = Pair::new();
    pair.dial();
    pair.bob.handle(prepared(Confidence::Stranger), pair.now);
    assert_eq!(pair.bob.handle(Event::AnswerOutdated { call: call() }, pair.now), []);
    let actions = pair.bob.handle(Event::Accept, pair.now);
    assert!(actions.iter().any(|action| matches!(action, Action::MakeAnswer { .. })), "{actions:?}");
}

#[test]
fn an_answer_that_is_asked_for_before_it_is_made_goes_out_when_it_is() {
    let mut pair = Pair::new();
    pair.dial();
    pair.bob.handle(Event::Accept, pair.now);
    let actions = pair.bob.handle(prepared(Confidence::Known), pair.now);
    assert_eq!((sends(&actions, "answer"), sends(&actions, "early-answer")), (1, 0), "{actions:?}");
}

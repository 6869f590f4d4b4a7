//! A call that stands: hold, switches, updates, a path that breaks.

use super::*;

/// Everything `phone` says of `message` coming from bob in the call.
fn from_bob(message: Message) -> Event {
    Event::Received { from: id("bob"), call: call(), message }
}

fn from_alice(message: Message) -> Event {
    Event::Received { from: id("alice"), call: call(), message }
}

fn failed(revision: u32) -> Event {
    Event::UpdateFailed { call: call(), revision, why: "it is broken".to_owned() }
}

fn media(revision: u32) -> MediaState {
    MediaState { revision, ..MediaState::default() }
}

fn sides(phone: &Phone) -> MediaSides {
    phone.front().media().expect("there is a call")
}

fn talk(phone: &Phone) -> &Talk {
    match phone.front() {
        State::Active { talk, .. } => talk,
        other => panic!("{other:?}"),
    }
}

#[test]
fn hold_and_resume_are_told_once_each_on_both_sides() {
    let mut pair = Pair::new();
    pair.connect();
    let held = |side, on| Notice::Held { call: call(), side, on };
    for _ in 0..2 {
        pair.step(At::Alice, Event::Hold);
    }
    assert_eq!(pair.seen_by_alice[4..], [held(Side::Local, true)]);
    assert_eq!(pair.seen_by_bob[3..], [held(Side::Remote, true)]);
    assert_eq!(pair.alice.front().name(), "held");
    for _ in 0..2 {
        pair.step(At::Alice, Event::Resume);
    }
    assert_eq!(pair.seen_by_alice[5..], [held(Side::Local, false)]);
    assert_eq!(pair.seen_by_bob[4..], [held(Side::Remote, false)]);
    pair.step(At::Bob, Event::HangUp);
    assert_eq!(pair.ended(), (Some(EndReason::RemoteHangup), Some(EndReason::LocalHangup)));
}

#[test]
fn both_may_hold_at_once() {
    let mut pair = Pair::new();
    pair.connect();
    pair.step(At::Alice, Event::Hold);
    pair.step(At::Bob, Event::Hold);
    pair.step(At::Alice, Event::Resume);
    assert!(sides(&pair.alice).remote.hold && !sides(&pair.alice).local.hold, "bob still holds");
}

#[test]
fn holding_releases_the_devices_and_resuming_takes_them_again() {
    let mut pair = Pair::new();
    pair.connect();
    let actions = pair.alice.handle(Event::Hold, pair.now);
    assert!(actions.contains(&Action::HoldMedia { call: call() }));
    assert!(pair.alice.handle(Event::Hold, pair.now).is_empty());
    let actions = pair.alice.handle(Event::Resume, pair.now);
    assert!(actions.contains(&Action::ResumeMedia { call: call() }));
}

#[test]
fn the_other_side_hears_of_a_switched_microphone_once() {
    let mut pair = Pair::new();
    pair.connect();
    for _ in 0..2 {
        pair.step(At::Bob, Event::Switch { call: call(), audio: false, video: true });
    }
    assert_eq!(pair.seen_by_alice[4..], [Notice::Switched { call: call(), audio: false, video: true }]);
}

#[test]
fn the_other_side_hears_once_that_no_pictures_come_and_that_they_do_again() {
    let mut pair = Pair::new();
    pair.step(At::Bob, Event::Pause { call: call(), on: true });
    pair.connect();
    assert_eq!(pair.seen_by_alice.len(), 4, "without a call nobody is told");
    for on in [true, true, false] {
        pair.step(At::Bob, Event::Pause { call: call(), on });
    }
    let paused = |on| Notice::Paused { call: call(), on };
    assert_eq!(pair.seen_by_alice[4..], [paused(true), paused(false)]);
}

#[test]
fn what_is_switched_off_before_the_call_stands_is_told_when_it_does() {
    for when in 0..3 {
        let mut pair = Pair::new();
        let off = Event::Switch { call: call(), audio: true, video: false };
        pair.dial();
        for (step, event) in
            [Event::Accept, Event::Media { call: call(), change: MediaChange::Connected }].into_iter().enumerate()
        {
            if step == when {
                pair.step(At::Bob, off.clone());
                assert!(!sides(&pair.bob).local.video, "bob's phone knows at once");
            }
            pair.step(At::Bob, event);
        }
        if when == 2 {
            pair.step(At::Bob, off);
        }
        pair.step(At::Alice, Event::Media { call: call(), change: MediaChange::Connected });
        assert_eq!(sides(&pair.alice).remote, sides(&pair.bob).local);
        assert_eq!(pair.seen_by_alice.last(), Some(&Notice::Switched { call: call(), audio: true, video: false }));
    }
}

#[test]
fn what_is_switched_off_while_both_call_each_other_stays_off() {
    let mut pair = Pair::new();
    let mut bob = Phone::new(id("bob"), PhoneConfig::default());
    bob.handle(Event::Dial { peer: id("alice"), call: CallId::from_random(2) }, pair.now);
    bob.handle(Event::Switch { call: CallId::from_random(2), audio: false, video: true }, pair.now);
    pair.bob = bob;
    pair.dial();
    assert_eq!(pair.bob.front().call().unwrap().0, &call(), "alice's call goes on");
    assert!(!sides(&pair.bob).local.audio);
}

#[test]
fn of_two_words_that_overtake_each_other_the_later_holds() {
    let mut pair = Pair::new();
    pair.connect();
    let muted = MediaState { audio: false, ..media(2) };
    pair.step(At::Alice, from_bob(Message::Media(muted)));
    pair.step(At::Alice, from_bob(Message::Media(media(1))));
    assert_eq!(sides(&pair.alice).remote, muted);
}

#[test]
fn words_of_a_call_that_does_not_stand_yet_wait_for_it() {
    let mut pair = Pair::new();
    pair.dial();
    pair.step(At::Bob, Event::Accept);
    let muted = MediaState { audio: false, ..media(1) };
    assert!(pair.alice.handle(from_bob(Message::Media(muted)), pair.now).is_empty());
    pair.step(At::Alice, Event::Media { call: call(), change: MediaChange::Connected });
    assert_eq!(pair.seen_by_alice[3..].len(), 2, "connected, and switched");
    assert_eq!(sides(&pair.alice).remote, muted);
}

#[test]
fn an_interrupted_path_is_looked_for_anew_at_once_and_again() {
    let mut pair = Pair::new();
    pair.connect();
    let actions = pair.alice.handle(Event::Media { call: call(), change: MediaChange::Interrupted }, pair.now);
    assert_eq!(
        actions,
        [
            Action::Notify(Notice::Reconnecting { call: call(), peer: id("bob") }),
            Action::MakeUpdate { call: call(), revision: 1, renewal: Renewal::Restart }
        ]
    );
    // The offer gets lost with the path; the next one is due when it was answered or given up.
    let ready = made(call(), 1, "update", Renewal::Restart);
    let [Action::Send { message: Message::Update(offer), .. }] = &pair.alice.handle(ready, pair.now)[..] else {
        panic!("no offer")
    };
    assert_eq!((offer.revision, offer.generation), (1, 1));
    let answer = Revised { description: sdp("updated"), ..offer.clone() };
    let actions = pair.alice.handle(from_bob(Message::Updated(answer)), pair.now);
    assert_eq!(actions, [Action::ApplyUpdate { call: call(), revision: 1, answer: sdp("updated") }]);
    assert!(pair.alice.handle(Event::UpdateApplied { call: call(), revision: 1 }, pair.now).is_empty());
    let at = pair.alice.poll_timeout().unwrap();
    assert_eq!(at - pair.now, RESTART_EVERY);
    let actions = pair.alice.handle_timeout(at);
    assert_eq!(actions, [Action::MakeUpdate { call: call(), revision: 2, renewal: Renewal::Restart }]);
}

#[test]
fn a_callee_asks_for_a_new_path_and_the_caller_makes_it_once() {
    let mut pair = Pair::new();
    pair.connect();
    let interrupted = Event::Media { call: call(), change: MediaChange::Interrupted };
    pair.step(At::Bob, interrupted.clone());
    assert_eq!((talk(&pair.alice).generation, talk(&pair.bob).generation), (1, 1));
    assert_eq!((&talk(&pair.alice).update, &talk(&pair.bob).update), (&Update::None, &Update::None));
    // What bob asked for before the new path came is no reason for yet another.
    assert!(pair.alice.handle(from_bob(Message::Renew { generation: Some(0) }), pair.now).is_empty());
}

#[test]
fn failing_for_good_is_up_to_the_clock_unless_the_other_side_knows_no_updates() {
    let failed = Event::Media { call: call(), change: MediaChange::Failed };
    let mut pair = Pair::new();
    pair.connect();
    pair.step(At::Alice, failed.clone());
    assert_eq!(pair.alice.front().name(), "interrupted");
    let mut pair = Pair::new();
    pair.alice = Phone::new(id("alice"), PhoneConfig { updates: Updates::Unknown, ..PhoneConfig::default() });
    pair.connect();
    pair.step(At::Alice, failed);
    assert_eq!(pair.ended(), (Some(EndReason::Lost), Some(EndReason::Lost)));
}

#[test]
fn other_media_are_agreed_on_from_either_side() {
    for side in [At::Alice, At::Bob] {
        let mut pair = Pair::new();
        pair.connect();
        pair.step(side, Event::Renew { call: call(), renewal: Renewal::Media });
        assert_eq!((talk(&pair.alice).revision, talk(&pair.bob).revision), (1, 1));
        assert_eq!((talk(&pair.alice).generation, talk(&pair.bob).generation), (0, 0));
    }
}

#[test]
fn a_change_during_an_update_is_made_after_it() {
    let mut pair = Pair::new();
    pair.connect();
    let renew = |renewal| Event::Renew { call: call(), renewal };
    assert_eq!(pair.alice.handle(renew(Renewal::Media), pair.now).len(), 1);
    assert!(pair.alice.handle(renew(Renewal::Restart), pair.now).is_empty());
    pair.step(At::Alice, made(call(), 1, "update", Renewal::Media));
    assert_eq!((talk(&pair.alice).revision, talk(&pair.bob).generation), (2, 1));
}

#[test]
fn what_the_callee_changes_while_it_answers_is_asked_for_after_it() {
    let mut pair = Pair::new();
    pair.connect();
    let renew = Event::Renew { call: call(), renewal: Renewal::Media };
    let offer = Revised { revision: 1, generation: 0, description: sdp("update") };
    assert_eq!(pair.bob.handle(from_alice(Message::Update(offer)), pair.now).len(), 1);
    assert!(pair.bob.handle(renew, pair.now).is_empty(), "the answer may not say it any more");
    let ready = made(call(), 1, "updated", Renewal::Media);
    let names: Vec<_> = pair.bob.handle(ready, pair.now).iter().map(sent).collect();
    assert_eq!(names, ["updated", "renew"]);
}

fn sent(action: &Action) -> &'static str {
    match action {
        Action::Send { message, .. } => message.name(),
        _ => "nothing sent",
    }
}

#[test]
fn a_path_that_still_carries_is_not_given_up_before_there_is_an_offer_of_another() {
    let renew = Event::Renew { call: call(), renewal: Renewal::Restart };
    let mut pair = Pair::new();
    pair.connect();
    // The callee has another address; nobody hears of it.
    assert_eq!(pair.bob.handle(renew.clone(), pair.now).iter().map(sent).collect::<Vec<_>>(), ["renew"]);
    assert_eq!(pair.bob.front().name(), "active");
    let late = pair.bob.poll_timeout().unwrap();
    pair.bob.handle_timeout(late);
    assert_eq!((pair.bob.front().name(), pair.bob.poll_timeout()), ("active", None));
    // The caller's offer cannot be made.
    pair.alice.handle(renew, pair.now);
    pair.alice.handle(failed(1), pair.now);
    assert_eq!((pair.alice.front().name(), pair.alice.poll_timeout()), ("active", None));
}

#[test]
fn both_sides_hear_that_a_new_path_is_looked_for() {
    for side in [At::Alice, At::Bob] {
        let mut pair = Pair::new();
        pair.connect();
        pair.step(side, Event::Renew { call: call(), renewal: Renewal::Restart });
        for (phone, seen) in [(&pair.alice, &pair.seen_by_alice), (&pair.bob, &pair.seen_by_bob)] {
            assert_eq!(phone.front().name(), "interrupted");
            let told = seen.iter().filter(|notice| matches!(notice, Notice::Reconnecting { .. })).count();
            assert_eq!(told, 1);
        }
        for side in [At::Alice, At::Bob] {
            pair.step(side, Event::Media { call: call(), change: MediaChange::Connected });
        }
        assert!(matches!(pair.seen_by_bob.last(), Some(Notice::Reconnected { .. })));
    }
}

#[test]
fn an_update_that_cannot_be_made_or_is_not_answered_leaves_the_call_as_it_was() {
    let mut pair = Pair::new();
    pair.connect();
    pair.alice.handle(Event::Renew { call: call(), renewal: Renewal::Media }, pair.now);
    pair.alice.handle(failed(1), pair.now);
    assert_eq!(talk(&pair.alice).update, Update::None);
    pair.alice.handle(Event::Renew { call: call(), renewal: Renewal::Media }, pair.now);
    let ready = made(call(), 2, "update", Renewal::Media);
    assert_eq!(pair.alice.handle(ready, pair.now).len(), 1);
    let at = pair.alice.poll_timeout().unwrap();
    assert_eq!(at - pair.now, UPDATE_MAX);
    assert!(pair.alice.handle_timeout(at).is_empty());
    assert_eq!(pair.alice.front().name(), "active");
    assert_eq!(talk(&pair.alice).update, Update::None);
    // The answer comes after all, to nobody's use.
    let late = Revised { revision: 2, generation: 0, description: sdp("updated") };
    assert!(pair.alice.handle(from_bob(Message::Updated(late)), at).is_empty());
}

#[test]
fn only_the_caller_makes_offers_and_old_ones_are_passed_over() {
    let mut pair = Pair::new();
    pair.connect();
    let offer = Revised { revision: 5, generation: 2, description: sdp("update") };
    assert!(pair.alice.handle(from_bob(Message::Update(offer.clone())), pair.now).is_empty(), "from the callee");
    pair.step(At::Bob, from_alice(Message::Update(offer.clone())));
    assert_eq!((talk(&pair.bob).revision, talk(&pair.bob).generation), (5, 2));
    for (revision, generation) in [(5, 2), (4, 2), (5, 3), (1, 7)] {
        let old = Revised { revision, generation, ..offer.clone() };
        assert!(pair.bob.handle(from_alice(Message::Update(old)), pair.now).is_empty(), "{revision} {generation}");
    }
    assert!(pair.bob.handle(from_alice(Message::Renew { generation: None }), pair.now).is_empty(), "to the callee");
}

#[test]
fn candidates_wait_for_the_path_they_belong_to() {
    let mut pair = Pair::new();
    pair.connect();
    let candidates = |generation, name: &str| Message::Candidates { generation, candidates: vec![candidate(name)] };
    assert!(pair.bob.handle(from_alice(candidates(1, "new")), pair.now).is_empty());
    let added = pair.bob.handle(from_alice(candidates(0, "old")), pair.now);
    assert_eq!(added, [Action::AddCandidates { call: call(), candidates: vec![candidate("old")] }]);
    let offer = Revised { revision: 1, generation: 1, description: sdp("update, restart") };
    let actions = pair.bob.handle(from_alice(Message::Update(offer)), pair.now);
    let [Action::AnswerUpdate { offer, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(offer.candidates, [candidate("new")]);
    assert!(pair.bob.handle(from_alice(candidates(1, "newer")), pair.now).is_empty(), "the answer is being made");
    let actions = pair.bob.handle(made(call(), 1, "updated", Renewal::Restart), pair.now);
    let reconnecting = Action::Notify(Notice::Reconnecting { call: call(), peer: id("alice") });
    let added = Action::AddCandidates { call: call(), candidates: vec![candidate("newer")] };
    assert_eq!(actions[1..], [reconnecting, added]);
    assert!(pair.bob.handle(from_alice(candidates(0, "old")), pair.now).is_empty(), "of a path that is history");
    let gathered = Event::CandidatesGathered { call: call(), candidates: vec![candidate("mine")] };
    let message = candidates(1, "mine");
    assert_eq!(pair.bob.handle(gathered, pair.now), [Action::Send { to: id("alice"), call: call(), message }]);
}

#[test]
fn candidates_ahead_of_a_path_that_never_comes_are_capped() {
    let mut pair = Pair::new();
    pair.connect();
    for _ in 0..100 {
        let message = Message::Candidates { generation: 9, candidates: vec![candidate("x"); 64] };
        pair.bob.handle(from_alice(message), pair.now);
    }
    assert_eq!(talk(&pair.bob).ahead.len(), early::CANDIDATES_A_CALL_MAX);
    // Those of the next path find room all the same.
    let message = Message::Candidates { generation: 1, candidates: vec![candidate("new")] };
    pair.bob.handle(from_alice(message), pair.now);
    assert_eq!(talk(&pair.bob).ahead[0], (1, candidate("new")));
}

fn update(revision: u32, generation: u32, text: &str) -> Event {
    from_alice(Message::Update(Revised { revision, generation, description: sdp(text) }))
}

#[test]
fn an_update_that_cannot_be_taken_is_refused_and_changes_nothing() {
    for generation in [0, 1, 9] {
        let mut pair = Pair::new();
        pair.connect();
        let before = talk(&pair.bob).clone();
        let [Action::AnswerUpdate { call, revision, offer }] =
            &pair.bob.handle(update(1, generation, "v=0"), pair.now)[..]
        else {
            panic!("not tried")
        };
        let actions = pair.bob.handle(answered(call.clone(), *revision, offer), pair.now);
        let message = Message::refused(1, "it is broken".to_owned());
        assert_eq!(actions, [Action::Send { to: id("alice"), call: call.clone(), message }]);
        assert_eq!((talk(&pair.bob), pair.bob.poll_timeout()), (&before, None), "the call goes on as it was");
        // The next update of the true caller has the same revision.
        pair.step(At::Alice, Event::Renew { call: call.clone(), renewal: Renewal::Restart });
        assert_eq!((talk(&pair.bob).revision, talk(&pair.bob).generation), (1, 1));
    }
}

#[test]
fn a_caller_whose_update_is_refused_hears_of_it_and_makes_the_next() {
    let mut pair = Pair::new();
    pair.connect();
    pair.alice.handle(Event::Renew { call: call(), renewal: Renewal::Restart }, pair.now);
    pair.alice.handle(made(call(), 1, "update", Renewal::Restart), pair.now);
    let refused = |revision| from_bob(Message::Refused { revision, text: None });
    assert!(pair.alice.handle(refused(2), pair.now).is_empty(), "of another update");
    let told = Action::Notify(Notice::UpdateRefused { call: call(), text: None });
    assert_eq!(pair.alice.handle(refused(1), pair.now), [told]);
    assert!(pair.alice.handle(refused(1), pair.now).is_empty());
    let at = pair.alice.poll_timeout().unwrap();
    let next = Action::MakeUpdate { call: call(), revision: 2, renewal: Renewal::Restart };
    assert_eq!(pair.alice.handle_timeout(at), [next], "it offered a new path, so the old one is gone");
}

#[test]
fn an_answer_that_cannot_be_taken_leaves_room_for_the_true_one() {
    let mut pair = Pair::new();
    pair.connect();
    pair.alice.handle(Event::Renew { call: call(), renewal: Renewal::Media }, pair.now);
    pair.alice.handle(made(call(), 1, "update", Renewal::Media), pair.now);
    let answer = |text| from_bob(Message::Updated(Revised { revision: 1, generation: 0, description: sdp(text) }));
    for text in ["v=0", "updated"] {
        let apply = Action::ApplyUpdate { call: call(), revision: 1, answer: sdp(text) };
        assert_eq!(pair.alice.handle(answer(text), pair.now), [apply]);
        pair.alice.handle(failed(1), pair.now);
    }
    pair.alice.handle(Event::UpdateApplied { call: call(), revision: 1 }, pair.now);
    assert_eq!((talk(&pair.alice).update.clone(), pair.alice.poll_timeout()), (Update::None, None));
    pair.alice.handle(Event::Renew { call: call(), renewal: Renewal::Media }, pair.now);
    pair.alice.handle(made(call(), 2, "update", Renewal::Media), pair.now);
    pair.alice.handle(failed(2), pair.now);
    assert_eq!(pair.alice.poll_timeout().unwrap() - pair.now, ANOTHER_ANSWER, "and not for long");
}

#[test]
fn a_generation_without_a_new_path_interrupts_nothing() {
    let mut pair = Pair::new();
    pair.connect();
    pair.step(At::Bob, update(1, 7, "update"));
    assert_eq!((pair.bob.front().name(), talk(&pair.bob).generation), ("active", 7));
    // The true caller counts from where it is.
    pair.step(At::Bob, update(2, 1, "update, restart"));
    assert_eq!((pair.bob.front().name(), talk(&pair.bob).generation), ("interrupted", 1));
}

#[test]
fn an_offer_that_comes_while_another_is_answered_has_its_turn() {
    let mut pair = Pair::new();
    pair.connect();
    assert_eq!(pair.bob.handle(update(3, 1, "v=0"), pair.now).len(), 1);
    assert!(pair.bob.handle(update(1, 0, "update"), pair.now).is_empty());
    let actions = pair.bob.handle(failed(3), pair.now);
    let next = Action::AnswerUpdate { call: call(), revision: 1, offer: sdp("update") };
    assert_eq!(actions[1..], [next], "what was refused does not count");
    pair.bob.handle(update(2, 0, "update"), pair.now);
    let actions = pair.bob.handle(made(call(), 1, "updated", Renewal::Media), pair.now);
    let next = Action::AnswerUpdate { call: call(), revision: 2, offer: sdp("update") };
    assert_eq!(actions[1..], [next]);
}

#[test]
fn no_count_locks_the_true_partner_out() {
    let mut pair = Pair::new();
    pair.connect();
    pair.step(At::Bob, from_alice(Message::Media(MediaState { hold: true, ..media(u32::MAX) })));
    assert!(sides(&pair.bob).remote.hold);
    pair.step(At::Alice, Event::Switch { call: call(), audio: false, video: true });
    assert_eq!(sides(&pair.bob).remote, MediaState { audio: false, ..media(1) });
    pair.step(At::Bob, update(u32::MAX, u32::MAX, "update, restart"));
    pair.step(At::Alice, Event::Renew { call: call(), renewal: Renewal::Restart });
    assert_eq!((talk(&pair.bob).revision, talk(&pair.bob).generation), (1, 1));
}

#[test]
fn when_a_path_is_back_both_sides_say_what_they_do() {
    let mut pair = Pair::new();
    pair.connect();
    // A stranger spoke in alice's name, with a count that is above hers.
    pair.step(At::Bob, from_alice(Message::Media(MediaState { hold: true, ..media(20) })));
    for _ in 0..3 {
        pair.step(At::Alice, Event::Media { call: call(), change: MediaChange::Interrupted });
        pair.step(At::Alice, Event::Media { call: call(), change: MediaChange::Connected });
    }
    assert!(!sides(&pair.bob).remote.hold, "{:?}", sides(&pair.bob).remote);
}

#[test]
fn what_a_caller_says_of_its_media_may_come_before_its_offer_or_while_it_rings() {
    let muted = MediaState { audio: false, ..media(2) };
    for early in [true, false] {
        let mut pair = Pair::new();
        if early {
            assert!(pair.bob.handle(from_alice(Message::Media(muted)), pair.now).is_empty());
        }
        pair.dial();
        if !early {
            assert!(pair.bob.handle(from_alice(Message::Media(muted)), pair.now).is_empty());
        }
        assert!(pair.bob.handle(from_alice(Message::Media(media(1))), pair.now).is_empty(), "an earlier one");
        pair.step(At::Bob, Event::Accept);
        pair.step(At::Bob, Event::Media { call: call(), change: MediaChange::Connected });
        assert_eq!(sides(&pair.bob).remote, muted, "early: {early}");
    }
}

#[test]
fn what_a_person_says_when_declining_reaches_the_caller() {
    let mut pair = Pair::new();
    pair.dial();
    pair.step(At::Bob, Event::Decline { text: Some("in a meeting".into()) });
    let reason = EndReason::RemoteDecline;
    let text = Some("in a meeting".into());
    assert_eq!(pair.seen_by_alice.last(), Some(&Notice::Ended { call: call(), peer: id("bob"), reason, text }));
}

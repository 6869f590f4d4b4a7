//! Two lines wired together without a broker: every way a call can go.

use std::time::{Duration, Instant};

use super::*;
use crate::id::{CallId, PeerId};
use crate::seal::SasNonce;
use crate::wire::{ByeReason, Candidate, Description, MediaState, Message, MessageKind, Revised};

mod ahead;
mod nonces;
mod redialing;
mod standing;
mod waiting;

struct Pair {
    alice: Phone,
    bob: Phone,
    now: Instant,
    seen_by_alice: Vec<Notice>,
    seen_by_bob: Vec<Notice>,
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    Alice,
    Bob,
}

fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

fn call() -> CallId {
    CallId::from_random(1)
}

fn sdp(text: &str) -> Description {
    Description::new(text.into(), Vec::new())
}

fn candidate(text: &str) -> Candidate {
    Candidate { candidate: text.into(), mid: None, mline: None }
}

/// The peer connection made a description of an update; its text says what it renews.
fn made(call: CallId, revision: u32, text: &str, renewed: Renewal) -> Event {
    let text = if renewed == Renewal::Restart { format!("{text}, restart") } else { text.to_owned() };
    Event::UpdateReady { call, revision, description: sdp(&text), renewed }
}

/// The peer connection answers an offer, or cannot.
fn answered(call: CallId, revision: u32, offer: &Description) -> Event {
    match offer.sdp.as_str() {
        "update" => made(call, revision, "updated", Renewal::Media),
        "update, restart" => made(call, revision, "updated", Renewal::Restart),
        _ => Event::UpdateFailed { call, revision, why: "it is broken".to_owned() },
    }
}

impl Pair {
    fn new() -> Self {
        Self {
            alice: Phone::new(id("alice"), PhoneConfig::default()),
            bob: Phone::new(id("bob"), PhoneConfig::default()),
            now: Instant::now(),
            seen_by_alice: Vec::new(),
            seen_by_bob: Vec::new(),
        }
    }

    /// Gives one side an event and carries every message and description until nothing moves.
    fn step(&mut self, side: At, event: Event) {
        let mut queue = vec![(side, event)];
        while let Some((side, event)) = queue.pop() {
            let (line, me, other) = match side {
                At::Alice => (&mut self.alice, id("alice"), At::Bob),
                At::Bob => (&mut self.bob, id("bob"), At::Alice),
            };
            let actions = line.handle(event, self.now);
            let notices = actions.iter().filter_map(|action| match action {
                Action::Notify(notice) => Some(notice.clone()),
                _ => None,
            });
            match side {
                At::Alice => self.seen_by_alice.extend(notices),
                At::Bob => self.seen_by_bob.extend(notices),
            }
            // The queue is a stack: what is to happen first goes on it last.
            for action in actions.into_iter().rev() {
                match action {
                    Action::Send { call, message, .. } => {
                        queue.push((other, Event::Received { from: me.clone(), call, message }));
                    }
                    Action::MakeOffer { call } => {
                        queue.push((side, Event::DescriptionReady { call, description: sdp("offer") }));
                    }
                    Action::MakeAnswer { call, offer } => {
                        assert_eq!(offer.sdp, "offer");
                        queue.push((side, Event::DescriptionReady { call, description: sdp("answer") }));
                    }
                    Action::ApplyAnswer { answer, .. } | Action::ApplyEarlyAnswer { answer, .. } => {
                        assert_eq!(answer.sdp, "answer");
                    }
                    Action::MakeUpdate { call, revision, renewal } => {
                        queue.push((side, made(call, revision, "update", renewal)));
                    }
                    Action::AnswerUpdate { call, revision, offer } => {
                        queue.push((side, answered(call, revision, &offer)))
                    }
                    Action::ApplyUpdate { call, revision, .. } => {
                        queue.push((side, Event::UpdateApplied { call, revision }));
                    }
                    Action::AddCandidates { .. }
                    | Action::CheckNonce { .. }
                    | Action::HoldMedia { .. }
                    | Action::ResumeMedia { .. }
                    | Action::CloseMedia { .. }
                    | Action::Notify(_) => {}
                }
            }
        }
    }

    fn dial(&mut self) {
        self.step(At::Alice, Event::Dial { peer: id("bob"), call: call() });
    }

    fn connect(&mut self) {
        self.dial();
        self.step(At::Bob, Event::Accept);
        for side in [At::Alice, At::Bob] {
            self.step(side, Event::Media { call: call(), change: MediaChange::Connected });
        }
    }

    fn ended(&self) -> (Option<EndReason>, Option<EndReason>) {
        let reason = |seen: &[Notice]| match seen.last() {
            Some(Notice::Ended { reason, .. }) => Some(*reason),
            _ => None,
        };
        (reason(&self.seen_by_alice), reason(&self.seen_by_bob))
    }

    fn time_out(&mut self, side: At) {
        let line = if side == At::Alice { &mut self.alice } else { &mut self.bob };
        self.now = line.poll_timeout().expect("a deadline is set");
        let actions = line.handle_timeout(self.now);
        let (from, other) = if side == At::Alice { ("alice", At::Bob) } else { ("bob", At::Alice) };
        for action in actions {
            match action {
                Action::Send { call, message, .. } => {
                    self.step(other, Event::Received { from: id(from), call, message });
                }
                Action::MakeUpdate { call, revision, renewal } => {
                    self.step(side, made(call, revision, "update", renewal));
                }
                Action::Notify(notice) if side == At::Alice => self.seen_by_alice.push(notice),
                Action::Notify(notice) => self.seen_by_bob.push(notice),
                _ => {}
            }
        }
    }
}

#[test]
fn ring_answer_talk_hang_up() {
    let mut pair = Pair::new();
    pair.connect();
    let (call, alice, bob) = (call(), id("alice"), id("bob"));
    assert_eq!(
        pair.seen_by_alice,
        [
            Notice::Dialing { call: call.clone(), peer: bob.clone() },
            Notice::Ringing { call: call.clone(), peer: bob.clone() },
            Notice::Accepted { call: call.clone(), peer: bob.clone() },
            Notice::Connected { call: call.clone(), peer: bob },
        ]
    );
    assert_eq!(
        pair.seen_by_bob,
        [
            Notice::Incoming { call: call.clone(), peer: alice.clone() },
            Notice::Accepted { call: call.clone(), peer: alice.clone() },
            Notice::Connected { call, peer: alice },
        ]
    );
    pair.step(At::Bob, Event::HangUp);
    assert_eq!(pair.ended(), (Some(EndReason::RemoteHangup), Some(EndReason::LocalHangup)));
    assert_eq!((pair.alice.front(), pair.bob.front()), (&State::Idle, &State::Idle));
}

#[test]
fn decline_cancel_and_no_answer_are_told_apart_on_both_sides() {
    for (act, expected) in [
        ((At::Bob, Event::Decline { text: None }), (EndReason::RemoteDecline, EndReason::LocalDecline)),
        ((At::Bob, Event::HangUp), (EndReason::RemoteDecline, EndReason::LocalDecline)),
        ((At::Alice, Event::HangUp), (EndReason::LocalCancel, EndReason::RemoteCancel)),
    ] {
        let mut pair = Pair::new();
        pair.dial();
        pair.step(act.0, act.1);
        assert_eq!(pair.ended(), (Some(expected.0), Some(expected.1)));
    }
    for side in [At::Alice, At::Bob] {
        let mut pair = Pair::new();
        pair.dial();
        pair.time_out(side);
        assert_eq!(pair.ended(), (Some(EndReason::NoAnswer), Some(EndReason::NoAnswer)));
    }
}

#[test]
fn a_second_caller_hears_busy_and_the_call_goes_on() {
    let mut pair = Pair::new();
    pair.connect();
    let offer = Message::Offer(sdp("offer"));
    let other = CallId::from_random(2);
    let actions = pair.bob.handle(Event::Received { from: id("carol"), call: other.clone(), message: offer }, pair.now);
    let busy = Message::bye(ByeReason::Busy);
    assert_eq!(
        actions,
        [
            Action::Send { to: id("carol"), call: other, message: busy },
            Action::Notify(Notice::TurnedAway { peer: id("carol") })
        ]
    );
    assert_eq!(pair.bob.front().name(), "active");

    let mut carol = Phone::new(id("carol"), PhoneConfig::default());
    carol.handle(Event::Dial { peer: id("bob"), call: call() }, pair.now);
    carol.handle(Event::DescriptionReady { call: call(), description: sdp("offer") }, pair.now);
    let bye = Message::bye(ByeReason::Busy);
    let actions = carol.handle(Event::Received { from: id("bob"), call: call(), message: bye }, pair.now);
    assert!(actions.contains(&Action::Notify(Notice::Ended {
        call: call(),
        peer: id("bob"),
        reason: EndReason::Busy,
        text: None
    })));
}

#[test]
fn two_who_call_each_other_end_up_in_one_call() {
    // Whoever's offer arrives first, and whether or not the other's own offer is out by then.
    for offers_out in [(true, true), (true, false), (false, true)] {
        let mut pair = Pair::new();
        let (hers, his) = (CallId::from_random(1), CallId::from_random(2));
        pair.alice.handle(Event::Dial { peer: id("bob"), call: hers.clone() }, pair.now);
        pair.bob.handle(Event::Dial { peer: id("alice"), call: his.clone() }, pair.now);
        let ready = |call: &CallId| Event::DescriptionReady { call: call.clone(), description: sdp("offer") };
        let offer = |call: &CallId, from: &str| Event::Received {
            from: id(from),
            call: call.clone(),
            message: Message::Offer(sdp("offer")),
        };
        if offers_out.0 {
            pair.alice.handle(ready(&hers), pair.now);
        }
        if offers_out.1 {
            pair.bob.handle(ready(&his), pair.now);
            assert!(pair.alice.handle(offer(&his, "bob"), pair.now).is_empty(), "the lower ID's call goes on");
        }
        if !offers_out.0 {
            pair.alice.handle(ready(&hers), pair.now);
        }
        pair.step(At::Bob, offer(&hers, "alice"));
        for line in [&pair.alice, &pair.bob] {
            assert_eq!(line.front().name(), "connecting");
            assert_eq!(line.front().call().map(|(call, _)| call), Some(&hers), "{offers_out:?}");
        }
        assert!(matches!(&pair.seen_by_bob[..], [Notice::Superseded { .. }, Notice::Accepted { .. }]));
        if !offers_out.1 {
            // His own description comes late and is nobody's any more.
            assert!(pair.bob.handle(ready(&his), pair.now).is_empty());
        }
    }
}

#[test]
fn a_call_that_was_to_yield_hears_busy_unless_it_did() {
    let (now, hers, his) = (Instant::now(), CallId::from_random(1), CallId::from_random(2));
    let from_bob = |call: &CallId, message| Event::Received { from: id("bob"), call: call.clone(), message };
    let bye = |reason| Message::bye(reason);
    let busy = Action::Send { to: id("bob"), call: his.clone(), message: bye(ByeReason::Busy) };
    for next in [
        Event::HangUp,
        from_bob(&hers, bye(ByeReason::Hangup)),
        from_bob(&hers, Message::Ringing),
        from_bob(&hers, Message::Answer(sdp("answer"))),
    ] {
        for yielded in [false, true] {
            let mut alice = Phone::new(id("alice"), PhoneConfig::default());
            alice.handle(Event::Dial { peer: id("bob"), call: hers.clone() }, now);
            assert!(alice.handle(from_bob(&his, Message::Offer(sdp("offer"))), now).is_empty());
            alice.handle(Event::DescriptionReady { call: hers.clone(), description: sdp("offer") }, now);
            if yielded {
                assert!(alice.handle(from_bob(&his, bye(ByeReason::Cancel)), now).is_empty());
            }
            assert_eq!(alice.handle(next.clone(), now).contains(&busy), !yielded, "{next:?}");
        }
    }
}

#[test]
fn of_two_calls_that_were_to_yield_neither_is_forgotten() {
    let (now, first, second) = (Instant::now(), CallId::from_random(2), CallId::from_random(3));
    let mut alice = Phone::new(id("alice"), PhoneConfig::default());
    alice.handle(Event::Dial { peer: id("bob"), call: call() }, now);
    let mut offered = |call: &CallId| {
        let message = Message::Offer(sdp("offer"));
        alice.handle(Event::Received { from: id("bob"), call: call.clone(), message }, now)
    };
    let busy = |call| Action::Send { to: id("bob"), call, message: Message::bye(ByeReason::Busy) };
    assert!(offered(&first).is_empty());
    assert_eq!(offered(&second), [busy(first)]);
    assert!(alice.handle(Event::HangUp, now).contains(&busy(second)));
}

#[test]
fn a_superseded_call_is_cancelled_so_that_it_cannot_ring_later() {
    let mut bob = Phone::new(id("bob"), PhoneConfig::default());
    let (now, hers, his) = (Instant::now(), CallId::from_random(1), CallId::from_random(2));
    bob.handle(Event::Dial { peer: id("alice"), call: his.clone() }, now);
    bob.handle(Event::DescriptionReady { call: his.clone(), description: sdp("offer") }, now);
    let offer = Event::Received { from: id("alice"), call: hers, message: Message::Offer(sdp("offer")) };
    let actions = bob.handle(offer, now);
    let message = Message::bye(ByeReason::Cancel);
    assert_eq!(actions.first(), Some(&Action::Send { to: id("alice"), call: his, message }));
}

#[test]
fn a_bye_is_not_answered_by_a_bye() {
    for reason in [ByeReason::Hangup, ByeReason::Cancel, ByeReason::NoAnswer, ByeReason::Failed, ByeReason::Other] {
        let mut pair = Pair::new();
        pair.dial();
        let bye = Event::Received { from: id("alice"), call: call(), message: Message::bye(reason) };
        let actions = pair.bob.handle(bye, pair.now);
        assert!(
            matches!(&actions[..], [Action::CloseMedia { .. }, Action::Notify(Notice::Ended { .. })]),
            "{reason:?}"
        );
    }
}

#[test]
fn nobody_there_is_offline_and_an_acknowledged_offer_is_not() {
    let mut line = Phone::new(id("alice"), PhoneConfig::default());
    let now = Instant::now();
    let dial = |line: &mut Phone| {
        line.handle(Event::Dial { peer: id("bob"), call: call() }, now);
        line.handle(Event::DescriptionReady { call: call(), description: sdp("offer") }, now);
    };
    dial(&mut line);
    let at = line.poll_timeout().unwrap();
    assert_eq!(at - now, Duration::from_secs(5));
    let actions = line.handle_timeout(at);
    assert!(matches!(actions.last(), Some(Action::Notify(Notice::Ended { reason: EndReason::Offline, .. }))));

    let mut line = Phone::new(id("alice"), PhoneConfig::default());
    dial(&mut line);
    line.handle(Event::Delivered { call: call(), message: MessageKind::Offer }, now);
    assert!(line.handle_timeout(at).is_empty());
    assert!(!line.handle(Event::PeerOffline { peer: id("bob") }, now).is_empty());
}

#[test]
fn an_acknowledged_offer_that_never_rings_is_not_answered_rather_than_offline() {
    let mut line = Phone::new(id("alice"), PhoneConfig::default());
    let now = Instant::now();
    line.handle(Event::Dial { peer: id("bob"), call: call() }, now);
    line.handle(Event::DescriptionReady { call: call(), description: sdp("offer") }, now);
    line.handle(Event::Delivered { call: call(), message: MessageKind::Offer }, now);
    let at = line.poll_timeout().unwrap();
    assert_eq!(at - now, Duration::from_secs(30));
    let actions = line.handle_timeout(at);
    assert!(matches!(actions.last(), Some(Action::Notify(Notice::Ended { reason: EndReason::NoAnswer, .. }))));
}

#[test]
fn an_interrupted_path_heals_or_is_lost() {
    let mut pair = Pair::new();
    pair.connect();
    pair.step(At::Alice, Event::Media { call: call(), change: MediaChange::Interrupted });
    assert_eq!(pair.seen_by_alice.last(), Some(&Notice::Reconnecting { call: call(), peer: id("bob") }));
    pair.step(At::Alice, Event::Media { call: call(), change: MediaChange::Connected });
    assert_eq!(pair.seen_by_alice.last(), Some(&Notice::Reconnected { call: call(), peer: id("bob") }));
    pair.step(At::Alice, Event::Media { call: call(), change: MediaChange::Interrupted });
    let since = pair.now;
    while pair.alice.front() != &State::Idle {
        pair.time_out(At::Alice);
    }
    assert_eq!(pair.now - since, Timeouts::default().lost);
    assert_eq!(pair.ended(), (Some(EndReason::Lost), Some(EndReason::Lost)));
}

#[test]
fn no_media_path_ends_both() {
    let mut pair = Pair::new();
    pair.dial();
    pair.step(At::Bob, Event::Accept);
    pair.time_out(At::Bob);
    assert_eq!(pair.ended(), (Some(EndReason::NoPath), Some(EndReason::NoPath)));
}

#[test]
fn what_overtakes_the_offer_is_kept() {
    let mut bob = Phone::new(id("bob"), PhoneConfig::default());
    let now = Instant::now();
    let from_alice = |message| Event::Received { from: id("alice"), call: call(), message };
    let early = Message::Candidates { generation: 0, candidates: vec![candidate("early")] };
    assert!(bob.handle(from_alice(early), now).is_empty());
    bob.handle(from_alice(Message::Offer(sdp("offer"))), now);
    let actions = bob.handle(Event::Accept, now);
    let Some(Action::MakeAnswer { offer, .. }) = actions.last() else { panic!("{actions:?}") };
    assert_eq!(offer.candidates, [candidate("early")]);

    let mut bob = Phone::new(id("bob"), PhoneConfig::default());
    bob.handle(from_alice(Message::bye(ByeReason::Cancel)), now);
    assert!(bob.handle(from_alice(Message::Offer(sdp("offer"))), now).is_empty(), "a cancelled call must not ring");
}

#[test]
fn candidates_before_the_answer_wait_for_it() {
    let mut alice = Phone::new(id("alice"), PhoneConfig::default());
    let now = Instant::now();
    alice.handle(Event::Dial { peer: id("bob"), call: call() }, now);
    alice.handle(Event::DescriptionReady { call: call(), description: sdp("offer") }, now);
    let from_bob = |message| Event::Received { from: id("bob"), call: call(), message };
    let early = Message::Candidates { generation: 0, candidates: vec![candidate("early")] };
    assert!(alice.handle(from_bob(early), now).is_empty());
    let actions = alice.handle(from_bob(Message::Answer(sdp("answer"))), now);
    assert_eq!(actions.last(), Some(&Action::AddCandidates { call: call(), candidates: vec![candidate("early")] }));
    assert!(alice.handle(from_bob(Message::Answer(sdp("second"))), now).is_empty());
}

#[test]
fn candidates_that_come_while_the_answer_is_made_wait_for_it() {
    let mut bob = Phone::new(id("bob"), PhoneConfig::default());
    let now = Instant::now();
    let from_alice = |message| Event::Received { from: id("alice"), call: call(), message };
    bob.handle(from_alice(Message::Offer(sdp("offer"))), now);
    bob.handle(Event::Accept, now);
    let candidates = vec![candidate("late")];
    let message = Message::Candidates { generation: 0, candidates: candidates.clone() };
    assert!(bob.handle(from_alice(message), now).is_empty(), "there is no peer connection to give them to");
    let actions = bob.handle(Event::DescriptionReady { call: call(), description: sdp("answer") }, now);
    assert_eq!(actions.last(), Some(&Action::AddCandidates { call: call(), candidates }));
}

#[test]
fn a_stranger_cannot_touch_the_call() {
    let mut pair = Pair::new();
    pair.connect();
    for message in [
        Message::bye(ByeReason::Hangup),
        Message::Answer(sdp("evil")),
        Message::Ringing,
        Message::Offer(sdp("evil")),
        Message::Candidates { generation: 0, candidates: vec![candidate("evil")] },
        Message::Nonce { nonce: SasNonce::from_random([6; 16]) },
    ] {
        for call in [call(), CallId::from_random(9)] {
            let event = Event::Received { from: id("mallory"), call, message: message.clone() };
            let actions = pair.bob.handle(event, pair.now);
            assert!(
                actions.iter().all(|a| matches!(a, Action::Send { to, .. } | Action::Notify(Notice::TurnedAway { peer: to }) if *to == id("mallory"))),
                "{actions:?}"
            );
            assert_eq!(pair.bob.front().name(), "active");
        }
    }
}

#[test]
fn candidates_of_a_flood_are_capped() {
    let mut pair = Pair::new();
    pair.dial();
    for _ in 0..100 {
        let message = Message::Candidates { generation: 0, candidates: vec![candidate("x"); 64] };
        pair.bob.handle(Event::Received { from: id("alice"), call: call(), message }, pair.now);
    }
    let State::Incoming { offer, .. } = pair.bob.front() else { panic!() };
    assert_eq!(offer.candidates.len(), early::CANDIDATES_A_CALL_MAX);
}

//! Holds the drawing in `docs/PROTOCOL.md` to what the machine does: every event is given to every state, and the
//! transitions seen must be the ones drawn, no more and no less.

use std::collections::BTreeSet;
use std::time::Instant;

use super::*;
use crate::id::{CallId, PeerId};
use crate::seal::SasNonce;
use crate::wire::{ByeReason, Description, MediaState, Message, MessageKind, Revised};

const PROTOCOL: &str = include_str!("../../../docs/PROTOCOL.md");

type Edges = BTreeSet<(String, String)>;

fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

fn call() -> CallId {
    CallId::from_random(1)
}

fn description() -> Description {
    Description::new("v=0".into(), Vec::new())
}

fn received(message: Message) -> Event {
    Event::Received { from: id("bob"), call: call(), message }
}

fn media(change: MediaChange) -> Event {
    Event::Media { call: call(), change }
}

fn prepared(confidence: Confidence) -> Event {
    Event::AnswerPrepared { call: call(), description: description(), confidence }
}

/// Every kind of event, as it may come from bob or concern the call with him.
fn events() -> Vec<Event> {
    let revised = |revision| Revised { revision, generation: 1, description: description() };
    let another = CallId::from_random(2);
    let byes = [
        ByeReason::Hangup,
        ByeReason::Cancel,
        ByeReason::Decline,
        ByeReason::Busy,
        ByeReason::NoAnswer,
        ByeReason::Failed,
        ByeReason::Identity,
        ByeReason::Other,
    ];
    let mut events = vec![
        Event::Dial { peer: id("bob"), call: call() },
        Event::Accept,
        Event::Decline { text: None },
        Event::HangUp,
        Event::End { call: call() },
        Event::Hold,
        Event::Resume,
        Event::Swap,
        Event::Switch { call: call(), audio: false, video: false },
        Event::Pause { call: call(), on: true },
        Event::Renew { call: call(), renewal: Renewal::Media },
        Event::Renew { call: call(), renewal: Renewal::Restart },
        received(Message::Offer(description())),
        Event::Received { from: id("bob"), call: another.clone(), message: Message::Offer(description()) },
        Event::Received { from: id("mallory"), call: another, message: Message::Offer(description()) },
        received(Message::Ringing),
        received(Message::EarlyAnswer(description())),
        received(Message::Answer(description())),
        received(Message::Candidates { generation: 0, candidates: Vec::new() }),
        received(Message::Media(MediaState { revision: 1, hold: true, ..MediaState::default() })),
        received(Message::Update(revised(1))),
        received(Message::Updated(revised(1))),
        received(Message::Refused { revision: 1, text: None }),
        received(Message::Renew { generation: Some(0) }),
        received(Message::Nonce { nonce: SasNonce::from_random([1; 16]) }),
        Event::CommitmentBroken { call: call() },
        Event::Delivered { call: call(), message: MessageKind::Offer },
        Event::Expired { call: call(), message: MessageKind::Offer },
        Event::PeerOffline { peer: id("bob") },
        Event::DescriptionReady { call: call(), description: description() },
        prepared(Confidence::Known),
        prepared(Confidence::Stranger),
        Event::AnswerOutdated { call: call() },
        Event::UpdateReady { call: call(), revision: 1, description: description(), renewed: Renewal::Restart },
        Event::UpdateApplied { call: call(), revision: 1 },
        Event::UpdateFailed { call: call(), revision: 1, why: String::new() },
        Event::CandidatesGathered { call: call(), candidates: Vec::new() },
        media(MediaChange::Connected),
        media(MediaChange::Interrupted),
        media(MediaChange::Failed),
        media(MediaChange::Unavailable),
    ];
    events.extend(byes.map(|reason| received(Message::bye(reason))));
    events
}

/// Events that lead to each state, as caller or callee.
fn ways() -> Vec<Vec<Event>> {
    let ready = || Event::DescriptionReady { call: call(), description: description() };
    let caller = vec![
        Event::Dial { peer: id("bob"), call: call() },
        ready(),
        received(Message::Ringing),
        received(Message::Answer(description())),
        media(MediaChange::Connected),
    ];
    let callee = vec![received(Message::Offer(description())), Event::Accept, ready(), media(MediaChange::Connected)];
    let mut ways = Vec::new();
    // A path before the call is accepted.
    let offered = || received(Message::Offer(description()));
    let answered = || received(Message::EarlyAnswer(description()));
    let lost = || media(MediaChange::Interrupted);
    let up = || media(MediaChange::Connected);
    for whole in [
        vec![caller[0].clone(), ready(), answered(), up(), lost()],
        vec![caller[0].clone(), ready(), received(Message::Ringing), answered(), up(), lost()],
        vec![offered(), prepared(Confidence::Known), up(), lost()],
        vec![offered(), prepared(Confidence::Stranger)],
    ] {
        ways.extend((0..=whole.len()).map(|length| whole[..length].to_vec()));
    }
    for whole in [caller, callee] {
        for length in 0..=whole.len() {
            ways.push(whole[..length].to_vec());
        }
        for more in [
            vec![Event::Hold],
            vec![media(MediaChange::Interrupted)],
            vec![Event::Hold, media(MediaChange::Interrupted)],
        ] {
            ways.push([whole.clone(), more].concat());
        }
    }
    ways
}

fn seen() -> Edges {
    let now = Instant::now();
    let mut edges = Edges::new();
    // One whose own call goes on when two call each other, and one who yields.
    for me in ["alice", "zoe"] {
        for way in ways() {
            let reached = || {
                let mut phone = Phone::new(id(me), PhoneConfig::default());
                for event in way.iter().cloned() {
                    phone.handle(event, now);
                }
                phone
            };
            let from = reached().front().name();
            for event in events() {
                let mut phone = reached();
                phone.handle(event, now);
                edges.insert((from.to_owned(), phone.front().name().to_owned()));
            }
            let mut phone = reached();
            while let Some(at) = phone.poll_timeout().filter(|_| phone.front().name() == from) {
                phone.handle_timeout(at);
            }
            edges.insert((from.to_owned(), phone.front().name().to_owned()));
        }
    }
    edges.retain(|(from, to)| from != to);
    edges
}

fn drawn() -> Edges {
    let drawing = PROTOCOL.split("stateDiagram-v2").nth(1).and_then(|rest| rest.split("```").next());
    let lines = drawing.expect("docs/PROTOCOL.md draws the states").lines();
    let edge = |line: &str| {
        let (from, rest) = line.split_once("-->")?;
        let to = rest.split(':').next()?;
        Some((from.trim().to_owned(), to.trim().to_owned()))
    };
    lines.filter_map(edge).filter(|(from, _)| from != "[*]").collect()
}

#[test]
fn the_drawing_shows_what_the_machine_does() {
    let (seen, drawn) = (seen(), drawn());
    let missing: Vec<_> = seen.difference(&drawn).collect();
    let invented: Vec<_> = drawn.difference(&seen).collect();
    assert!(missing.is_empty() && invented.is_empty(), "not drawn: {missing:?}\ndrawn, but never: {invented:?}");
}

#[test]
fn every_state_is_reached() {
    let states: BTreeSet<String> = seen().into_iter().map(|(from, _)| from).collect();
    let all = [
        "idle",
        "offering",
        "dialing",
        "ringing",
        "incoming",
        "answering",
        "connecting",
        "active",
        "held",
        "interrupted",
    ];
    assert_eq!(states, all.map(str::to_owned).into());
}

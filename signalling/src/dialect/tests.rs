//! The dialect of AppRTC, message by message, and as whole calls between two call machines.

use std::collections::VecDeque;

use super::*;
use crate::call::{Action, EndReason, Event, Notice, Phone, PhoneConfig};
use crate::topic::Hearers;
use crate::wire::{ByeReason, Candidate, Description, MessageKind};

const CANDIDATE: &str = "candidate:1 1 udp 1 192.0.2.1 9 typ host";

fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

fn call(n: u128) -> CallId {
    CallId::from_random(n)
}

fn apprtc(me: &str, hearers: Hearers) -> Apprtc {
    Apprtc::new(id(me), Nonce(7), hearers)
}

/// A description of the peer connection with this session id.
fn sdp(session: u32) -> String {
    format!(
        "v=0\r\no=- {session} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:sound\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:picture\r\n"
    )
}

fn description(session: u32) -> Description {
    Description::new(sdp(session), Vec::new())
}

fn candidate(mid: Option<&str>, mline: Option<u16>) -> Candidate {
    Candidate { candidate: CANDIDATE.into(), mid: mid.map(str::to_owned), mline }
}

fn offer_text(session: u32) -> String {
    serde_json::json!({"type": "offer", "sdp": sdp(session)}).to_string()
}

fn answer_text(session: u32) -> String {
    serde_json::json!({"type": "answer", "sdp": sdp(session)}).to_string()
}

/// What is published, as text.
fn published(outputs: &[Output]) -> Vec<String> {
    let text = |output: &Output| match output {
        Output::Transmit(publication) => Some(String::from_utf8(publication.to_bytes().unwrap()).unwrap()),
        Output::Delivered { .. } | Output::Expired { .. } | Output::Unknown { .. } | Output::Received { .. } => None,
    };
    outputs.iter().filter_map(text).collect()
}

/// What is handed up, with its call.
fn received(outputs: Vec<Output>) -> Vec<(CallId, Message)> {
    let message = |output| match output {
        Output::Received { call, message, .. } => Some((call, message)),
        Output::Transmit(_) | Output::Delivered { .. } | Output::Expired { .. } | Output::Unknown { .. } => None,
    };
    outputs.into_iter().filter_map(message).collect()
}

fn hear(apprtc: &mut Apprtc, from: &str, text: &str) -> Vec<(CallId, Message)> {
    received(apprtc.receive(id(from), text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error:?}")))
}

fn bye(reason: ByeReason) -> Message {
    Message::bye(reason)
}

const BYE: &str = r#"{"type":"bye"}"#;

#[test]
fn every_message_has_its_snapshot() {
    let mut alice = apprtc("alice", Hearers::All);
    let bare = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\nm=audio 9 X 111\r\na=mid:0\r\n".to_owned();
    let offer = Message::Offer(Description::new(bare.clone(), vec![candidate(None, Some(0))]));
    let candidates =
        Message::Candidates { generation: 0, candidates: vec![candidate(None, Some(0)), candidate(None, None)] };
    let text = r#"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\nm=audio 9 X 111\r\na=mid:0\r\n"#;
    let said = format!(r#"{{"type":"candidate","label":0,"id":"0","candidate":"{CANDIDATE}"}}"#);
    for (message, expected) in [
        (offer, vec![format!(r#"{{"type":"offer","sdp":"{text}a={CANDIDATE}\r\n"}}"#)]),
        (candidates, vec![said.clone(), said]),
        (Message::Candidates { generation: 0, candidates: Vec::new() }, vec![]),
        (Message::Ringing, vec![]),
        (bye(ByeReason::NoAnswer), vec![BYE.to_owned()]),
    ] {
        assert_eq!(published(&alice.send(id("bob"), call(1), message.clone())), expected, "{message:?}");
    }
    let (theirs, _) = hear(&mut alice, "bob", &offer_text(1)).remove(0);
    let answer = Message::Answer(Description::new(bare, Vec::new()));
    let expected = format!(r#"{{"type":"answer","sdp":"{text}"}}"#);
    assert_eq!(published(&alice.send(id("bob"), theirs, answer)), [expected]);
}

#[test]
fn candidates_stand_in_their_section_and_name_it() {
    let mut alice = apprtc("alice", Hearers::All);
    let candidates = vec![candidate(None, Some(1)), candidate(None, None)];
    let offer = Message::Offer(Description::new(sdp(1), candidates));
    let said = published(&alice.send(id("bob"), call(1), offer)).remove(0);
    let line = format!("a={CANDIDATE}\r\n");
    let expected = sdp(1).replace("a=mid:sound\r\n", &format!("a=mid:sound\r\n{line}")) + &line;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&said).unwrap()["sdp"], expected);
    for (candidate, label, name) in [
        (candidate(None, Some(1)), 1, "picture"),
        (candidate(None, None), 0, "sound"),
        (candidate(Some("picture"), None), 1, "picture"),
        (candidate(None, Some(5)), 5, "5"),
    ] {
        let said = alice.send(id("bob"), call(1), Message::Candidates { generation: 0, candidates: vec![candidate] });
        let start = format!(r#"{{"type":"candidate","label":{label},"id":"{name}","#);
        assert!(published(&said)[0].starts_with(&start), "{said:?} is not {start}");
    }
}

#[test]
fn both_spellings_of_a_candidate_are_understood() {
    let mut bob = apprtc("bob", Hearers::All);
    let (call, message) = hear(&mut bob, "alice", &offer_text(1)).remove(0);
    assert_eq!(message, Message::Offer(description(1)));
    for (place, mid, mline) in [
        (r#""label":1,"id":"picture""#, Some("picture"), Some(1)),
        (r#""sdpMLineIndex":1,"sdpMid":"picture""#, Some("picture"), Some(1)),
        (r#""label":1,"id":"picture","sdpMLineIndex":0,"sdpMid":"sound""#, Some("picture"), Some(1)),
        (r#""sdpMid":null,"label":0,"usernameFragment":"x""#, None, Some(0)),
        (r#""more":[{}]"#, None, None),
    ] {
        let text = format!(r#"{{{place},"candidate":"{CANDIDATE}","type":"candidate"}}"#);
        let expected = Message::Candidates { generation: 0, candidates: vec![candidate(mid, mline)] };
        assert_eq!(hear(&mut bob, "alice", &text), [(call.clone(), expected)], "{text}");
    }
    let removed = r#"{"type":"remove-candidates","candidates":[{"label":0,"id":"0","candidate":"x"}]}"#;
    assert_eq!(hear(&mut bob, "alice", removed), []);
}

#[test]
fn hostile_bytes_are_errors() {
    let long = "x".repeat(crate::wire::SDP_BYTES_MAX);
    let hostile: Vec<Vec<u8>> = vec![
        vec![],
        vec![0xff; 100],
        vec![b'['; 100_000],
        vec![b' '; crate::wire::ENVELOPE_BYTES_MAX + 1],
        b"null".to_vec(),
        b"{}".to_vec(),
        br#"{"type":"offer"}"#.to_vec(),
        br#"{"type":"offer","sdp":7}"#.to_vec(),
        br#"{"type":"offer","sdp":"no description"}"#.to_vec(),
        br#"{"type":"answer","sdp":"o=-"}"#.to_vec(),
        br#"{"type":"ringing"}"#.to_vec(),
        br#"{"type":"candidate","label":0,"id":"0"}"#.to_vec(),
        br#"{"type":"candidate","label":-1,"id":"0","candidate":"x"}"#.to_vec(),
        br#"{"type":"candidate","label":70000,"id":"0","candidate":"x"}"#.to_vec(),
        br#"{"type":"candidate","label":"0","id":"0","candidate":"x"}"#.to_vec(),
        format!(r#"{{"type":"candidate","candidate":"{}"}}"#, "x".repeat(2000)).into(),
        format!(r#"{{"type":"candidate","id":"{}","candidate":"x"}}"#, "x".repeat(2000)).into(),
        serde_json::json!({"type": "offer", "sdp": format!("o=- 1\r\n{long}")}).to_string().into(),
    ];
    let mut bob = apprtc("bob", Hearers::All);
    for bytes in hostile {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        let taken = bob.receive(id("alice"), &bytes);
        assert!(matches!(taken, Err(ReceiveError::Unreadable(_))), "{shown}: {taken:?}");
    }
}

#[test]
fn what_is_too_large_is_not_written() {
    let mut alice = apprtc("alice", Hearers::All);
    let sdp = "x".repeat(crate::wire::ENVELOPE_BYTES_MAX);
    let outputs = alice.send(id("bob"), call(1), Message::Offer(Description::new(sdp, Vec::new())));
    let Output::Transmit(publication) = &outputs[0] else { panic!("{outputs:?}") };
    assert!(matches!(publication.to_bytes(), Err(WireError::TooLarge(_))));
}

#[test]
fn debug_output_holds_no_address() {
    let mut alice = apprtc("alice", Hearers::All);
    let mut outputs = alice.send(id("bob"), call(1), Message::Offer(description(1)));
    outputs.extend(alice.send(
        id("bob"),
        call(1),
        Message::Candidates { generation: 0, candidates: vec![candidate(None, None)] },
    ));
    let text = format!("{outputs:?}");
    assert!(!text.contains("127.0.0.1") && !text.contains("192.0.2.1") && text.contains("Offer"), "{text}");
}

#[test]
fn an_offer_counts_as_delivered_and_a_bye_means_what_it_must() {
    for (heard, reason) in [(vec![], ByeReason::Decline), (vec![answer_text(2)], ByeReason::Hangup)] {
        let mut alice = apprtc("alice", Hearers::All);
        let outputs = alice.send(id("bob"), call(1), Message::Offer(description(1)));
        let delivered = Output::Delivered { to: id("bob"), call: call(1), message: MessageKind::Offer };
        assert_eq!(outputs[1..], [delivered]);
        for text in heard {
            assert_eq!(hear(&mut alice, "bob", &text), [(call(1), Message::Answer(description(2)))]);
        }
        assert_eq!(hear(&mut alice, "bob", BYE), [(call(1), bye(reason))]);
        assert_eq!(hear(&mut alice, "bob", BYE), [], "the call is over");
    }
    for (answers, reason) in [(false, ByeReason::Cancel), (true, ByeReason::Hangup)] {
        let mut bob = apprtc("bob", Hearers::All);
        let (theirs, _) = hear(&mut bob, "alice", &offer_text(1)).remove(0);
        bob.send(id("alice"), theirs.clone(), Message::Ringing);
        if answers {
            bob.send(id("alice"), theirs.clone(), Message::Answer(description(2)));
        }
        assert_eq!(hear(&mut bob, "alice", BYE), [(theirs, bye(reason))]);
    }
}

#[test]
fn what_belongs_to_no_call_is_nothing_to_us() {
    let mut bob = apprtc("bob", Hearers::All);
    let late = format!(r#"{{"type":"candidate","label":0,"id":"0","candidate":"{CANDIDATE}"}}"#);
    for text in [&answer_text(1), &late, BYE] {
        assert_eq!(hear(&mut bob, "alice", text), [], "{text}");
    }
    assert_eq!(hear(&mut bob, "bob", &offer_text(1)), [], "an echo of our own");
    bob.send(id("alice"), call(1), Message::Offer(description(1)));
    for text in [&answer_text(3), &late, BYE] {
        assert_eq!(hear(&mut bob, "carol", text), [], "{text}");
    }
    assert_eq!(hear(&mut bob, "alice", &answer_text(2)).len(), 1);
    assert_eq!(hear(&mut bob, "alice", &answer_text(2)), [], "a second answer");
    bob.forget(&call(1));
    assert_eq!(hear(&mut bob, "alice", &late), []);
    let candidates = Message::Candidates { generation: 0, candidates: vec![candidate(None, None)] };
    for message in [candidates, Message::Answer(description(1))] {
        assert_eq!(bob.send(id("alice"), call(1), message), [], "the call is over");
    }
}

#[test]
fn an_offer_that_comes_again_does_not_ring_twice_and_that_of_a_new_connection_does() {
    let mut bob = apprtc("bob", Hearers::All);
    let (first, _) = hear(&mut bob, "alice", &offer_text(1)).remove(0);
    bob.send(id("alice"), first.clone(), Message::Ringing);
    assert_eq!(hear(&mut bob, "alice", &offer_text(1)), []);
    let again = hear(&mut bob, "alice", &offer_text(2));
    let [(ended, cancel), (second, Message::Offer(_))] = &again[..] else { panic!("{again:?}") };
    assert_eq!((ended, cancel), (&first, &bye(ByeReason::Cancel)));
    assert_ne!(&first, second);
    bob.send(id("alice"), second.clone(), Message::Answer(description(9)));
    // A renegotiation keeps its session id, whatever its version.
    let renegotiated = offer_text(2).replace("- 2 2 IN", "- 2 3 IN");
    assert_eq!(hear(&mut bob, "alice", &renegotiated), []);
    assert_eq!(bob.duplicates(), 2);
    let third = hear(&mut bob, "alice", &offer_text(3));
    assert_eq!(third[0], (second.clone(), bye(ByeReason::Hangup)));
    // The call before is forgotten now, and its bye would end the one that rings.
    assert_eq!(bob.send(id("alice"), second.clone(), bye(ByeReason::Failed)), []);
}

#[test]
fn on_one_topic_for_all_nobody_hears_what_is_not_for_them() {
    let mut bob = apprtc("bob", Hearers::All);
    let (of_alice, _) = hear(&mut bob, "alice", &offer_text(1)).remove(0);
    // Nobody took it: whoever --from does not name may not keep others out.
    hear(&mut bob, "carol", &offer_text(2));
    bob.send(id("alice"), of_alice.clone(), Message::Ringing);
    let taken = bob.receive(id("dave"), offer_text(3).as_bytes());
    assert!(matches!(taken, Err(ReceiveError::Engaged)), "{taken:?}");
    assert_eq!(bob.send(id("carol"), call(9), bye(ByeReason::Busy)), []);
    assert_eq!(published(&bob.send(id("alice"), of_alice, bye(ByeReason::Decline))), [BYE]);
    assert_eq!(hear(&mut bob, "dave", &offer_text(3)).len(), 1);
}

#[test]
fn on_topics_of_two_a_second_caller_hears_busy() {
    let mut bob = apprtc("bob", Hearers::One);
    let (of_alice, _) = hear(&mut bob, "alice", &offer_text(1)).remove(0);
    bob.send(id("alice"), of_alice, Message::Ringing);
    let (of_carol, _) = hear(&mut bob, "carol", &offer_text(2)).remove(0);
    let outputs = bob.send(id("carol"), of_carol, bye(ByeReason::Busy));
    assert_eq!(outputs, [Output::Transmit(Publication::Apprtc { to: id("carol"), spoken: Spoken::Bye })]);
    assert_eq!(hear(&mut bob, "alice", BYE).len(), 1, "alice's call went on");
}

#[test]
fn tables_stay_bounded() {
    let mut bob = apprtc("bob", Hearers::All);
    let (of_alice, _) = hear(&mut bob, "alice", &offer_text(1)).remove(0);
    for n in 0..100 {
        hear(&mut bob, &format!("stranger-{n}"), &offer_text(n));
    }
    assert!(format!("{bob:?}").matches("stranger").count() <= 32);
    assert_ne!(of_alice, hear(&mut bob, "alice", &offer_text(1)).remove(0).0, "forgotten, so it rings anew");
}

/// One side of a call: its machine, its delivery, and what it told its user.
struct Side {
    me: PeerId,
    line: Phone,
    delivery: Delivery,
    session: u32,
    notices: Vec<Notice>,
    topic: VecDeque<Vec<u8>>,
}

impl Side {
    fn new(me: &str) -> Self {
        let delivery = Delivery::new(Dialect::Apprtc, id(me), Nonce(1), &Dialect::Apprtc.topics());
        let line = Phone::new(id(me), PhoneConfig::default());
        Self { me: id(me), line, delivery, session: 0, notices: Vec::new(), topic: VecDeque::new() }
    }

    /// Does what the session does; descriptions are made at once.
    fn event(&mut self, event: Event, now: Instant) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.line.handle(event, now) {
                match action {
                    Action::Send { to, call, message } => {
                        if let Message::Bye { .. } = message {
                            self.delivery.forget(&call);
                        }
                        for output in self.delivery.send(to, call, message, now, 0) {
                            match output {
                                Output::Transmit(publication) => self.topic.push_back(publication.to_bytes().unwrap()),
                                Output::Delivered { call, message, .. } => {
                                    events.push_back(Event::Delivered { call, message });
                                }
                                Output::Expired { .. } | Output::Unknown { .. } | Output::Received { .. } => {
                                    panic!("{output:?}")
                                }
                            }
                        }
                    }
                    Action::MakeOffer { call } | Action::MakeAnswer { call, .. } => {
                        self.session += 1;
                        let description = description(self.session);
                        events.push_back(Event::DescriptionReady { call, description });
                    }
                    Action::CloseMedia { call } => self.delivery.forget(&call),
                    Action::ApplyAnswer { .. }
                    | Action::ApplyEarlyAnswer { .. }
                    | Action::AddCandidates { .. }
                    | Action::CheckNonce { .. }
                    | Action::MakeUpdate { .. }
                    | Action::AnswerUpdate { .. }
                    | Action::ApplyUpdate { .. }
                    | Action::HoldMedia { .. }
                    | Action::ResumeMedia { .. } => {}
                    Action::Notify(notice) => self.notices.push(notice),
                }
            }
        }
    }

    fn hear(&mut self, from: &PeerId, payload: &[u8], now: Instant) {
        for output in self.delivery.receive(from.clone(), payload, 0).unwrap() {
            match output {
                Output::Received { from, call, message } => self.event(Event::Received { from, call, message }, now),
                Output::Transmit(_) | Output::Delivered { .. } | Output::Expired { .. } | Output::Unknown { .. } => {
                    panic!("{output:?}")
                }
            }
        }
    }

    fn ended(&self) -> Vec<EndReason> {
        let reason = |notice: &Notice| match notice {
            Notice::Ended { reason, .. } => Some(*reason),
            _ => None,
        };
        self.notices.iter().filter_map(reason).collect()
    }

    fn stands(&self) -> &'static str {
        self.line.front().name()
    }
}

/// Carries everything that was said, to and fro, until nobody has anything left to say.
fn carry(alice: &mut Side, bob: &mut Side, now: Instant) {
    loop {
        if let Some(payload) = alice.topic.pop_front() {
            bob.hear(&alice.me.clone(), &payload, now);
        } else if let Some(payload) = bob.topic.pop_front() {
            alice.hear(&bob.me.clone(), &payload, now);
        } else {
            return;
        }
    }
}

fn dial(peer: &str, n: u128) -> Event {
    Event::Dial { peer: id(peer), call: call(n) }
}

#[test]
fn a_call_from_ringing_to_hanging_up() {
    let (mut alice, mut bob, now) = (Side::new("alice"), Side::new("bob"), Instant::now());
    alice.event(dial("bob", 1), now);
    carry(&mut alice, &mut bob, now);
    assert_eq!((alice.stands(), bob.stands()), ("dialing", "incoming"));
    // The caller waits as long as it may ring, though nobody says that it does.
    let wait = PhoneConfig::default().timeouts.answer;
    assert_eq!(alice.line.poll_timeout(), Some(now + wait));
    bob.event(Event::Accept, now);
    carry(&mut alice, &mut bob, now);
    assert_eq!((alice.stands(), bob.stands()), ("connecting", "connecting"));
    alice.event(Event::HangUp, now);
    carry(&mut alice, &mut bob, now);
    assert_eq!((alice.ended(), bob.ended()), (vec![EndReason::LocalHangup], vec![EndReason::RemoteHangup]));
}

#[test]
fn a_call_that_is_not_answered() {
    for (of_alice, of_bob, ours, theirs) in [
        (Some(Event::HangUp), None, EndReason::LocalCancel, EndReason::RemoteCancel),
        (None, Some(Event::Decline { text: None }), EndReason::RemoteDecline, EndReason::LocalDecline),
        (None, None, EndReason::NoAnswer, EndReason::RemoteCancel),
    ] {
        let (mut alice, mut bob, now) = (Side::new("alice"), Side::new("bob"), Instant::now());
        alice.event(dial("bob", 1), now);
        carry(&mut alice, &mut bob, now);
        match (of_alice, of_bob) {
            (Some(event), _) => alice.event(event, now),
            (None, Some(event)) => bob.event(event, now),
            (None, None) => {
                let late = alice.line.poll_timeout().unwrap();
                for action in alice.line.handle_timeout(late) {
                    if let Action::Send { to, call, message } = action {
                        let outputs = alice.delivery.send(to, call, message, late, 0);
                        alice.topic.extend(published(&outputs).into_iter().map(String::into_bytes));
                    } else if let Action::Notify(notice) = action {
                        alice.notices.push(notice);
                    }
                }
            }
        }
        carry(&mut alice, &mut bob, now);
        assert_eq!((alice.ended(), bob.ended()), (vec![ours], vec![theirs]));
    }
}

#[test]
fn two_who_call_each_other_end_up_in_one_call() {
    let (mut alice, mut bob, now) = (Side::new("alice"), Side::new("bob"), Instant::now());
    alice.event(dial("bob", 1), now);
    bob.event(dial("alice", 2), now);
    carry(&mut alice, &mut bob, now);
    assert_eq!((alice.stands(), bob.stands()), ("connecting", "connecting"));
    assert_eq!((alice.ended(), bob.ended()), (vec![], vec![]));
    bob.event(Event::HangUp, now);
    carry(&mut alice, &mut bob, now);
    assert_eq!((alice.ended(), bob.ended()), (vec![EndReason::RemoteHangup], vec![EndReason::LocalHangup]));
}

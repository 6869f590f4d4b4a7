//! Calls in the dialect apprtc among strangers: each line is what a peer says, or choices of what we say.
//!
//! The dialect has no call ids, so they are made up; what must hold is that a word reaches the call it can belong to,
//! and that our own words are read by another of us.

use std::collections::BTreeMap;
use std::time::Instant;

use signalling::dialect::{Delivery, Dialect, Output, Publication, ReceiveError};
use signalling::id::{CallId, Nonce, PeerId};
use signalling::topic::Template;
use signalling::wire::{ByeReason, Candidate, Description, MediaState, Message, MessageKind};

use super::reader::Reader;

const ME: &str = "me";
const PEERS: [&str; 4] = ["alice", "bob", "zoe", ME];

pub(crate) fn run(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let template = match lines.next() {
        Some([b'a', ..]) => Template::bare(),
        _ => Template::default(),
    };
    let me = peer(ME);
    let mut world = World {
        delivery: Delivery::new(Dialect::Apprtc, me.clone(), Nonce(7), &template),
        template,
        me,
        dialed: 0,
        calls: BTreeMap::new(),
    };
    for line in lines {
        match line.split_first() {
            Some((b'>', choices)) => world.say(&mut Reader::new(choices)),
            Some((who, payload)) => world.hear(peer(PEERS[usize::from(*who) % PEERS.len()]), payload),
            None => {}
        }
        assert!(world.delivery.is_idle() && world.delivery.poll_timeout().is_none(), "nothing is acknowledged");
    }
}

struct World {
    delivery: Delivery,
    template: Template,
    me: PeerId,
    /// Calls of ours so far.
    dialed: u128,
    /// Calls that began and did not end, each with its peer.
    calls: BTreeMap<CallId, PeerId>,
}

impl World {
    fn hear(&mut self, from: PeerId, payload: &[u8]) {
        let outputs = match self.delivery.receive(from.clone(), payload, 0) {
            Ok(outputs) => outputs,
            Err(error) => return assert!(!error.to_string().is_empty()),
        };
        for output in outputs {
            let Output::Received { from: speaker, call, message } = output else { panic!("{output:?} in reply") };
            assert_eq!(speaker, from);
            assert_ne!(speaker, self.me, "we hear ourselves");
            check_sizes(&message);
            match message {
                Message::Offer(_) => {
                    assert_eq!(self.calls.insert(call, from.clone()), None, "two calls of one id");
                }
                Message::Bye { .. } => {
                    assert_eq!(self.calls.remove(&call), Some(from.clone()), "the end of no call");
                }
                _ => assert_eq!(self.calls.get(&call), Some(&from), "a word of no call"),
            }
        }
    }

    fn say(&mut self, reader: &mut Reader<'_>) {
        let choice = usize::from(reader.byte());
        let known = self.calls.iter().nth(choice % 8).map(|(call, peer)| (call.clone(), peer.clone()));
        let to = peer(reader.of(&PEERS[..3]));
        let (call, to) = known.unwrap_or_else(|| (CallId::from_random(1), to));
        let message = match reader.byte() % 8 {
            0 => return self.dial(peer(reader.of(&PEERS[..3])), description(reader)),
            1 => Message::Answer(description(reader)),
            2 => Message::Ringing,
            3 => Message::Candidates { generation: 0, candidates: vec![candidate(reader); 2] },
            4 | 5 => Message::bye(ByeReason::Hangup),
            6 => Message::Media(MediaState::default()),
            _ => {
                self.delivery.forget(&call);
                self.calls.remove(&call);
                return;
            }
        };
        if matches!(message, Message::Bye { .. }) {
            self.calls.remove(&call);
        }
        let outputs = self.delivery.send(to.clone(), call, message, Instant::now(), 0);
        self.check_said(&to, &outputs);
    }

    fn dial(&mut self, to: PeerId, offer: Description) {
        self.dialed += 1;
        // The delivery's own ids begin with its nonce.
        let call = CallId::from_random(self.dialed);
        self.calls.insert(call.clone(), to.clone());
        let outputs = self.delivery.send(to.clone(), call.clone(), Message::Offer(offer), Instant::now(), 0);
        let delivered = Output::Delivered { to: to.clone(), call, message: MessageKind::Offer };
        assert_eq!(outputs.last(), Some(&delivered), "an offer counts as delivered");
        self.check_said(&to, &outputs[..outputs.len() - 1]);
    }

    /// What we say is for whom it should be, and another of us reads it.
    fn check_said(&self, to: &PeerId, outputs: &[Output]) {
        for output in outputs {
            let Output::Transmit(publication) = output else { panic!("{output:?} on saying something") };
            assert_eq!(publication.to(), to);
            assert!(matches!(publication, Publication::Apprtc { .. }));
            assert!(!format!("{publication:?}").contains(char::is_control));
            let bytes = publication.to_bytes().expect("what we say is small");
            let mut other = Delivery::new(Dialect::Apprtc, to.clone(), Nonce(8), &self.template);
            let heard = other.receive(self.me.clone(), &bytes, 0);
            assert!(!matches!(heard, Err(ReceiveError::Unreadable(_))), "unreadable to another of us: {heard:?}");
        }
    }
}

fn check_sizes(message: &Message) {
    match message {
        Message::Offer(description) | Message::Answer(description) => assert!(description.sdp.len() <= 128 * 1024),
        Message::Candidates { candidates, .. } => {
            assert!(candidates.iter().all(|candidate| candidate.candidate.len() <= 1024));
        }
        Message::Bye { .. } => {}
        Message::Ringing
        | Message::EarlyAnswer(_)
        | Message::Media(_)
        | Message::Update(_)
        | Message::Updated(_)
        | Message::Refused { .. }
        | Message::Renew { .. }
        | Message::Nonce { .. } => {
            panic!("{message:?}, for which there is no word")
        }
    }
}

fn peer(name: &str) -> PeerId {
    name.parse().expect("a name here is plain")
}

fn description(reader: &mut Reader<'_>) -> Description {
    let head = format!("v=0\r\no=- {} 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", reader.byte());
    let sections = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n";
    Description::new(head + sections, vec![candidate(reader)])
}

fn candidate(reader: &mut Reader<'_>) -> Candidate {
    let text = reader.of(&["candidate:1 1 udp 1 192.0.2.1 9 typ host", ""]);
    let mid = reader.of(&[None, Some("0"), Some("1"), Some("2")]);
    let mline = reader.of(&[None, Some(0), Some(1), Some(u16::MAX)]);
    Candidate { candidate: text.to_owned(), mid: mid.map(str::to_owned), mline }
}

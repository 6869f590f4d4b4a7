//! Lines from the bare topics of clients of the dialect apprtc, one message each, from three peers in turn, to someone
//! who answers, declines or calls back: what is handed on has sane sizes, and what is answered reads as a message again.

use std::time::Instant;

use signalling::dialect::{Delivery, Dialect, Output};
use signalling::id::{CallId, Nonce, PeerId};
use signalling::wire::{ByeReason, Candidate, Description, Message};

use super::envelope::check_sizes;

const PEERS: [&str; 3] = ["alice", "bob", "me"];

/// Most lines of one input: several calls' worth.
const LINES_MAX: usize = 64;

pub(crate) fn run(data: &[u8]) {
    let (me, now) = (peer("me"), Instant::now());
    let mut delivery = Delivery::new(Dialect::Apprtc, me, Nonce(1), &Dialect::Apprtc.topics());
    for (nth, line) in data.split(|byte| *byte == b'\n').take(LINES_MAX).enumerate() {
        let from = peer(PEERS[nth % PEERS.len()]);
        let Ok(outputs) = delivery.receive(from, line, 0) else { continue };
        assert!(outputs.len() <= 2, "{} outputs of one message", outputs.len());
        for output in outputs {
            let Output::Received { from, call, message } = output else { panic!("{output:?} of a message") };
            check_sizes(&message);
            assert!(!format!("{message:?}").contains(char::is_control), "a stranger writes to the log");
            for answer in answers(nth, &message) {
                check(&mut delivery, from.clone(), call.clone(), answer, now);
            }
        }
    }
    assert!(delivery.is_idle() && delivery.poll_timeout().is_none(), "nothing is ever sent again");
}

/// What somebody may say to it, by turns.
fn answers(nth: usize, message: &Message) -> Vec<Message> {
    match (message, nth % 3) {
        (Message::Offer(_), 0) => vec![Message::Ringing, Message::Answer(description()), candidates()],
        (Message::Offer(_), 1) => vec![Message::bye(ByeReason::Decline)],
        (Message::Offer(_), _) => vec![Message::Offer(description())],
        _ => Vec::new(),
    }
}

fn check(delivery: &mut Delivery, to: PeerId, call: CallId, message: Message, now: Instant) {
    for output in delivery.send(to.clone(), call, message, now, 0) {
        if let Output::Transmit(publication) = output {
            assert_eq!(*publication.to(), to);
            let bytes = publication.to_bytes().expect("what we say is small");
            let mut listener = Delivery::new(Dialect::Apprtc, to.clone(), Nonce(2), &Dialect::Apprtc.topics());
            assert!(listener.receive(peer("me"), &bytes, 0).is_ok(), "we say what nobody can read");
        }
    }
}

fn description() -> Description {
    let sdp = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\nm=audio 9 X 111\r\na=mid:0\r\n";
    Description::new(sdp.into(), vec![candidate()])
}

fn candidates() -> Message {
    Message::Candidates { generation: 0, candidates: vec![candidate()] }
}

fn candidate() -> Candidate {
    Candidate { candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host".into(), mid: None, mline: Some(0) }
}

fn peer(name: &str) -> PeerId {
    name.parse().expect("a plain name")
}

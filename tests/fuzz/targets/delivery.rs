//! Delivery among strangers: words out, words in, acknowledgements right and wrong, time, a link that comes back.
//!
//! A model beside it knows what is under way. What must hold: each message of ours is acknowledged, expired, or under
//! way, and told of once; each message of another is handed up once and acknowledged each time; tables are bounded.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use signalling::delivery::{Output, ReliableDelivery};
use signalling::flood::Flood;
use signalling::id::{CallId, MessageId, Nonce, PeerId};
use signalling::wire::{Ack, ByeReason, Candidate, Content, Envelope, Message, MessageKind, VERSION};

use super::reader::Reader;

const ME: &str = "me";
const PEERS: [&str; 4] = ["alice", "bob", "zoe", ME];

/// Messages of ours under way at most.
const OUTBOX_MAX: usize = 256;

/// After this long a message is given up.
const EXPIRY: Duration = Duration::from_secs(60);

/// Messages that one peer may send at once.
const BURST: u32 = 100;

/// Enough to fill the table of messages under way; fewer than the ids that are remembered, so that nothing may come twice.
const STEPS_MAX: usize = 1024;

pub(crate) fn run(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut world = World {
        delivery: ReliableDelivery::new(peer(ME), Nonce(7)),
        flood: Flood::default(),
        now: Instant::now(),
        admitted: 0,
        pending: Vec::new(),
        old: Vec::new(),
        ids: BTreeSet::new(),
        taken: BTreeSet::new(),
    };
    for _ in 0..STEPS_MAX {
        let Some(kind) = reader.next() else { break };
        world.step(kind, &mut reader);
    }
    world.let_time_pass();
}

struct Sent {
    id: MessageId,
    to: PeerId,
    call: CallId,
    kind: MessageKind,
}

struct World {
    delivery: ReliableDelivery,
    flood: Flood,
    now: Instant,
    /// Messages let in at this moment.
    admitted: u32,
    /// Ours, under way, oldest first.
    pending: Vec<Sent>,
    /// Ours, not under way any more.
    old: Vec<Sent>,
    /// Of all of ours.
    ids: BTreeSet<MessageId>,
    /// Of others, handed up.
    taken: BTreeSet<(PeerId, MessageId)>,
}

impl World {
    fn step(&mut self, kind: u8, reader: &mut Reader<'_>) {
        match kind % 8 {
            0 => {
                self.now += reader.time();
                self.admitted = 0;
                self.time_out();
            }
            1 | 2 => self.send(reader),
            3 => self.receive(reader),
            4 | 5 => self.acknowledge(reader),
            6 => {
                let outputs = self.delivery.link_restored(self.now);
                assert_eq!(outputs.len(), self.pending.len(), "all that is under way goes out again");
                self.check_transmits(&outputs);
            }
            _ => {
                let call = call(reader);
                self.delivery.forget(&call);
                let forgotten = |sent: &Sent| sent.call == call && sent.kind != MessageKind::Bye;
                let (forgotten, pending) = std::mem::take(&mut self.pending).into_iter().partition(forgotten);
                self.pending = pending;
                self.old.extend::<Vec<Sent>>(forgotten);
            }
        }
        assert!(self.pending.len() <= OUTBOX_MAX);
        assert_eq!(self.delivery.is_idle(), self.pending.is_empty());
        assert_eq!(
            self.delivery.poll_timeout().is_some(),
            !self.pending.is_empty(),
            "what is under way has a deadline"
        );
    }

    fn send(&mut self, reader: &mut Reader<'_>) {
        let (to, call, message) = (peer(reader.of(&PEERS)), call(reader), message(reader));
        let kind = message.kind();
        let mut outputs = self.delivery.send(to.clone(), call.clone(), message, self.now, 0);
        let Some(Output::Transmit(envelope)) = outputs.pop() else { panic!("sent, and nothing goes out") };
        assert_eq!((&envelope.to, envelope.from.as_str()), (&to, ME));
        assert!(self.ids.insert(envelope.id.clone()), "two messages of one id");
        if self.pending.len() == OUTBOX_MAX {
            // A bye makes room before anything that a call needs.
            let place = self.pending.iter().position(|sent| sent.kind == MessageKind::Bye).unwrap_or(0);
            let oldest = self.pending.remove(place);
            let expired = Output::Expired { to: oldest.to.clone(), call: oldest.call.clone(), message: oldest.kind };
            assert_eq!(outputs, [expired], "the oldest makes room");
            self.old.push(oldest);
        } else {
            assert_eq!(outputs, []);
        }
        self.pending.push(Sent { id: envelope.id, to, call, kind });
    }

    fn receive(&mut self, reader: &mut Reader<'_>) {
        let from = peer(reader.of(&PEERS));
        if self.flood.admits(&from, self.now) {
            self.admitted += 1;
        }
        assert!(self.admitted <= BURST * PEERS.len() as u32, "a flood comes through");
        let id = MessageId::numbered(Nonce(9), u64::from(reader.byte()));
        let to = if reader.byte() == 255 { peer("bob") } else { peer(ME) };
        let content = Content::Call { call: call(reader), message: message(reader) };
        let outputs = self.delivery.receive(envelope(&id, &from, &to, content), 0);
        if to.as_str() != ME {
            assert_eq!(outputs, [], "words for another are nothing to us");
            return;
        }
        let (ack, rest) = outputs.split_first().expect("each message is acknowledged");
        let Output::Transmit(ack) = ack else { panic!("{ack:?} before the acknowledgement") };
        assert_eq!((&ack.content, &ack.to), (&Content::Ack(Ack { of: id.clone() }), &from));
        let is_new = self.taken.insert((from, id));
        assert!(rest.iter().all(|output| matches!(output, Output::Received { .. })));
        assert_eq!(rest.len(), usize::from(is_new), "handed up once");
    }

    /// An acknowledgement of something under way, of something old, or of nothing; from its receiver or another.
    fn acknowledge(&mut self, reader: &mut Reader<'_>) {
        let choice = usize::from(reader.byte());
        let sent = self.pending.get(choice).or_else(|| self.old.get(choice % 16));
        let of = sent.map_or_else(|| MessageId::numbered(Nonce(7), choice as u64), |sent| sent.id.clone());
        let from = match (sent, reader.byte()) {
            (Some(sent), 0..200) => sent.to.clone(),
            (_, other) => peer(PEERS[usize::from(other) % PEERS.len()]),
        };
        let ack = Content::Ack(Ack { of: of.clone() });
        let outputs = self.delivery.receive(envelope(&of, &from, &peer(ME), ack), 0);
        match self.pending.iter().position(|sent| sent.id == of && sent.to == from) {
            Some(index) => {
                let sent = self.pending.remove(index);
                let delivered = Output::Delivered { to: from, call: sent.call.clone(), message: sent.kind };
                assert_eq!(outputs, [delivered]);
                self.old.push(sent);
            }
            None => assert_eq!(outputs, [], "acknowledged by whom it is not for, or twice"),
        }
    }

    fn time_out(&mut self) {
        let outputs = self.delivery.handle_timeout(self.now);
        assert!(outputs.len() <= OUTBOX_MAX);
        for output in &outputs {
            let Output::Expired { to, call, message } = output else { continue };
            let found = self.pending.iter().position(|s| s.to == *to && s.call == *call && s.kind == *message);
            let sent = self.pending.remove(found.expect("only what is under way expires"));
            self.old.push(sent);
        }
        self.check_transmits(&outputs);
        assert!(self.delivery.poll_timeout().is_none_or(|at| at > self.now), "a deadline is left behind");
    }

    fn check_transmits(&self, outputs: &[Output]) {
        let under_way: BTreeSet<&MessageId> = self.pending.iter().map(|sent| &sent.id).collect();
        for output in outputs {
            match output {
                Output::Transmit(envelope) => {
                    assert!(under_way.contains(&envelope.id), "sent again, and not under way");
                }
                Output::Expired { .. } => {}
                Output::Delivered { .. } | Output::Unknown { .. } | Output::Received { .. } => {
                    panic!("{output:?} out of nothing")
                }
            }
        }
    }

    /// Nothing stays under way for ever: it is sent a few times more, and then expires.
    fn let_time_pass(&mut self) {
        for _ in 0..8 {
            let Some(at) = self.delivery.poll_timeout() else { break };
            self.now = self.now.max(at);
            self.time_out();
        }
        self.now += EXPIRY;
        self.time_out();
        assert!(
            self.pending.is_empty() && self.delivery.is_idle(),
            "{} messages under way for ever",
            self.pending.len()
        );
    }
}

fn peer(name: &str) -> PeerId {
    name.parse().expect("a name here is plain")
}

fn call(reader: &mut Reader<'_>) -> CallId {
    CallId::from_random(u128::from(reader.byte() % 4))
}

fn message(reader: &mut Reader<'_>) -> Message {
    let candidate = Candidate { candidate: "candidate:1".to_owned(), mid: None, mline: Some(0) };
    match reader.byte() % 4 {
        0 => Message::Ringing,
        1 => Message::bye(ByeReason::Hangup),
        2 => Message::Candidates { generation: 0, candidates: vec![candidate] },
        _ => Message::Renew { generation: None },
    }
}

fn envelope(id: &MessageId, from: &PeerId, to: &PeerId, content: Content) -> Envelope {
    Envelope { v: VERSION, id: id.clone(), from: from.clone(), to: to.clone(), ts: 0, content }
}

//! The words of sealed calls: two sides, and somebody between them who passes on, changes and makes up what they say, in
//! any order.
//!
//! - two sides have the same words when both saw the same, and only then
//! - a callee has words when its caller kept to its commitment, and only then
//! - words that are there stay

use signalling::id::{CallId, PeerId};
use signalling::seal::{
    Commitment, Handshake, InvalidSas, Parties, PublicKeys, SAS_WORDS, SasNonce, SasPart, fingerprints,
};
use signalling::wire::{Description, Message};

use super::reader::Reader;

pub(crate) fn run(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut world = World {
        alice: Handshake::caller(parties("alice", ALICE, "bob"), nonce(ALICE)),
        offer: None,
        bob: None,
        answers: Vec::new(),
        told: None,
        seen_by_alice: None,
        seen_by_bob: None,
        words: [None, None],
    };
    while let Some(kind) = reader.next() {
        world.step(kind, &mut reader);
        world.check();
    }
}

/// Whose keys and nonces these are; others are those of whoever sits in the middle.
const ALICE: u8 = 1;
const BOB: u8 = 2;

fn id(name: &str) -> PeerId {
    name.parse().expect("a plain name")
}

fn call() -> CallId {
    CallId::from_random(1)
}

fn keys(n: u8) -> PublicKeys {
    PublicKeys::from_bytes([n; 64])
}

fn nonce(n: u8) -> SasNonce {
    SasNonce::from_random([n; 16])
}

fn parties(me: &str, key: u8, peer: &str) -> Parties {
    Parties { call: call(), me: (id(me), keys(key)), peer: id(peer) }
}

/// What one side makes its words of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    keys: [PublicKeys; 2],
    dtls: [Vec<String>; 2],
    nonces: [SasNonce; 2],
}

/// Bob, once he is called.
struct Called {
    handshake: Handshake,
    caller: PublicKeys,
    promised: Commitment,
    caller_dtls: Vec<String>,
    /// Of his first answer.
    own_dtls: Option<Vec<String>>,
}

struct World {
    alice: Handshake,
    /// Alice's, as it left her.
    offer: Option<Description>,
    bob: Option<Called>,
    /// Bob's, as they left him.
    answers: Vec<Description>,
    /// Alice's nonce, once she tells it.
    told: Option<SasNonce>,
    seen_by_alice: Option<Seen>,
    seen_by_bob: Option<Seen>,
    /// Of both, as they were last.
    words: [Option<String>; 2],
}

impl World {
    fn step(&mut self, kind: u8, reader: &mut Reader<'_>) {
        match kind % 5 {
            0 => self.alice_offers(reader),
            1 => self.bob_is_called(reader),
            2 => self.bob_answers(reader),
            3 => self.alice_hears(reader),
            _ => self.bob_hears(reader),
        }
    }

    fn alice_offers(&mut self, reader: &mut Reader<'_>) {
        let mut message = Message::Offer(description(reader));
        self.alice.complete(&mut message);
        let Message::Offer(offer) = message else { panic!("another message") };
        assert_eq!(offer.sas.is_some(), self.offer.is_none(), "one commitment a call");
        self.offer.get_or_insert(offer);
    }

    fn bob_is_called(&mut self, reader: &mut Reader<'_>) {
        let (Some(mut offer), None) = (self.offer.clone(), &self.bob) else { return };
        change(&mut offer, reader);
        let caller = keys_of(ALICE, reader);
        let handshake = Handshake::callee(parties("bob", BOB, "alice"), nonce(BOB), caller, &offer);
        let Some(SasPart::Commitment(promised)) = offer.sas else { return assert!(handshake.is_none()) };
        let handshake = handshake.expect("there is a commitment");
        self.bob = Some(Called { handshake, caller, promised, caller_dtls: fingerprints(&offer.sdp), own_dtls: None });
    }

    fn bob_answers(&mut self, reader: &mut Reader<'_>) {
        let Some(bob) = &mut self.bob else { return };
        let is_early = reader.flag();
        let answer = description(reader);
        let mut message = if is_early { Message::EarlyAnswer(answer) } else { Message::Answer(answer) };
        bob.handshake.complete(&mut message);
        let (Message::EarlyAnswer(answer) | Message::Answer(answer)) = message else { panic!("another message") };
        if answer.sas.is_some() {
            bob.own_dtls.get_or_insert_with(|| fingerprints(&answer.sdp));
        }
        self.answers.push(answer);
    }

    fn alice_hears(&mut self, reader: &mut Reader<'_>) {
        let known = self.answers.get(usize::from(reader.byte()) % 4).cloned();
        let mut answer = known.unwrap_or_else(|| description(reader));
        change(&mut answer, reader);
        let callee = keys_of(BOB, reader);
        let Some(told) = self.alice.answered(&callee, &answer) else { return };
        let (Some(offer), Some(SasPart::Nonce(theirs)), None) = (&self.offer, answer.sas, &self.seen_by_alice) else {
            panic!("words of nothing, or twice")
        };
        self.told = Some(told);
        self.seen_by_alice = Some(Seen {
            keys: [keys(ALICE), callee],
            dtls: [fingerprints(&offer.sdp), fingerprints(&answer.sdp)],
            nonces: [told, theirs],
        });
    }

    fn bob_hears(&mut self, reader: &mut Reader<'_>) {
        let Some(bob) = &mut self.bob else { return };
        let made_up = nonce(reader.byte());
        let told = self.told.filter(|_| reader.flag()).unwrap_or(made_up);
        let caller = keys_of(ALICE, reader);
        let fits = caller == bob.caller && told.commitment(&call(), &caller) == bob.promised;
        match (bob.handshake.revealed(&caller, &told), &bob.own_dtls) {
            (Ok(true), Some(dtls)) => {
                assert!(fits && self.seen_by_bob.is_none(), "words without a commitment, or twice");
                self.seen_by_bob = Some(Seen {
                    keys: [caller, keys(BOB)],
                    dtls: [bob.caller_dtls.clone(), dtls.clone()],
                    nonces: [told, nonce(BOB)],
                });
            }
            (Ok(true), None) => panic!("words before our answer"),
            (Ok(false), dtls) => assert!(dtls.is_none() || self.seen_by_bob.is_some(), "a nonce is not looked at"),
            (Err(error), _) => assert!(!fits && error == InvalidSas::Broken),
        }
    }

    fn check(&mut self) {
        let of_bob = self.bob.as_ref().and_then(|bob| bob.handshake.words());
        let now = [self.alice.words(), of_bob].map(|words| words.map(str::to_owned));
        let seen = [&self.seen_by_alice, &self.seen_by_bob];
        for ((now, before), seen) in now.iter().zip(&self.words).zip(seen) {
            assert_eq!(now.is_some(), seen.is_some(), "words come with what they are made of");
            assert!(before.is_none() || before == now, "words that are there stay");
            assert!(now.as_ref().is_none_or(|words| words.split(' ').count() == SAS_WORDS));
        }
        if let ([Some(alice), Some(bob)], [Some(seen_by_alice), Some(seen_by_bob)]) = (&now, seen) {
            assert_eq!(alice == bob, seen_by_alice == seen_by_bob, "{seen_by_alice:?} and {seen_by_bob:?}");
        }
        self.words = now;
    }
}

/// Mostly those of this peer.
fn keys_of(peer: u8, reader: &mut Reader<'_>) -> PublicKeys {
    match reader.byte() {
        0..200 => keys(peer),
        other => keys(other),
    }
}

/// A description with a few fingerprints, or anything.
fn description(reader: &mut Reader<'_>) -> Description {
    let sdp = match reader.byte() % 4 {
        0 => String::from_utf8_lossy(reader.bytes()).into_owned(),
        count => {
            let lines = (0..count).map(|_| format!("a=fingerprint:sha-256 {:02X}\r\n", reader.byte()));
            format!("v=0\r\n{}", lines.collect::<String>())
        }
    };
    Description::new(sdp, Vec::new())
}

/// What somebody in the middle does to a description, if anything.
fn change(description: &mut Description, reader: &mut Reader<'_>) {
    match reader.byte() % 8 {
        1 => description.sdp.push_str("a=fingerprint:sha-256 cc\r\n"),
        2 => description.sdp = description.sdp.to_ascii_lowercase(),
        3 => description.sas = None,
        4 => description.sas = Some(SasPart::Nonce(nonce(reader.byte()))),
        5 => {
            let commitment = nonce(reader.byte()).commitment(&call(), &keys_of(ALICE, reader));
            description.sas = Some(SasPart::Commitment(commitment));
        }
        _ => {}
    }
}

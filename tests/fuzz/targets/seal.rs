//! Sealed messages: what bob is sent is opened only when alice sealed it, what is inside is read without harm, and nothing
//! is new twice. The first byte says which of these.

use std::collections::BTreeSet;

use signalling::id::{CallId, MessageId, Nonce, PeerId};
use signalling::seal::{self, Endpoint, ReplayWindow, SecretKeys, Seen};
use signalling::wire::{Content, Envelope, Message, Presence, VERSION};

use super::reader::Reader;

pub(crate) fn run(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    match choice % 5 {
        0 => anything(data),
        1 => changed(data),
        2 => whole(data),
        3 => inside(data),
        _ => repeated(data),
    }
}

fn keys(n: u8) -> SecretKeys {
    SecretKeys::from_bytes([n; 64]).expect("any bytes make keys")
}

fn id(text: &str) -> PeerId {
    text.parse().expect("an ID")
}

fn run_id(n: u64) -> MessageId {
    MessageId::numbered(Nonce(n), 0)
}

fn open(bytes: &[u8]) -> Result<seal::Opened, seal::OpenError> {
    seal::open(&keys(2), Endpoint { id: &id("bob"), run: &run_id(2) }, &id("alice"), bytes)
}

fn sealed(envelope: &Envelope) -> Result<Vec<u8>, seal::SealError> {
    let (from, to) = (Endpoint { id: &envelope.from, run: &run_id(1) }, Endpoint { id: &envelope.to, run: &run_id(2) });
    seal::seal(&keys(1), from, (to, keys(2).public()), &envelope.to_bytes()?, [9; 32])
}

fn ringing() -> Envelope {
    let content = Content::Call { call: CallId::from_random(1), message: Message::Ringing };
    let id_ = MessageId::numbered(Nonce(1), 1);
    Envelope { v: VERSION, id: id_, from: id("alice"), to: id("bob"), ts: 1, content }
}

/// Nobody but whoever has alice's keys makes a box.
fn anything(data: &[u8]) {
    let error = open(data).expect_err("made without keys");
    assert!(!error.to_string().is_empty());
    // With the tag of bob, it gets as far as HPKE.
    let mut tagged = data.to_vec();
    if tagged.len() > 81 {
        tagged[0] = 1;
        tagged[65..81].copy_from_slice(&seal::tag(keys(2).public(), &run_id(2)));
        assert!(open(&tagged).is_err(), "made without keys");
    }
    if let Ok(presence) = Presence::from_bytes(data) {
        // The corpus has genuine ones, of alice.
        let verified = presence.verify(&id("carol"));
        assert!(presence.seal.is_none() || verified.is_err(), "signed without keys");
    }
}

/// A genuine box of which something is changed: pairs of a place and what is done to it.
fn changed(data: &[u8]) {
    let genuine = sealed(&ringing()).expect("it can be sealed");
    let mut bytes = genuine.clone();
    for change in data.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % bytes.len();
        bytes[at] ^= change[2];
    }
    assert_eq!(open(&bytes).is_ok(), bytes == genuine);
}

/// What can be sealed is what is opened.
fn whole(data: &[u8]) {
    let Ok(envelope) = Envelope::from_bytes(data) else { return };
    let envelope = Envelope { from: id("alice"), to: id("bob"), ts: envelope.ts.max(1), ..envelope };
    if let Ok(bytes) = sealed(&envelope) {
        assert!(bytes.len() <= seal::SEALED_BYTES_MAX && seal::is_sealed(&bytes));
        let opened = open(&bytes).expect("what was sealed is opened");
        assert_eq!((opened.envelope, opened.run), (envelope, run_id(1)));
    }
}

/// What somebody with keys puts inside.
fn inside(data: &[u8]) {
    if let Some((run, json, inner)) = seal::parts(data) {
        assert!(inner.len() <= data.len() && inner.ends_with(json) && inner[1..].starts_with(run.as_str().as_bytes()));
        assert!(data[inner.len()..].iter().all(|byte| *byte == 0));
    }
}

/// Messages of some senders, in any order: none is new twice.
fn repeated(data: &[u8]) {
    let (mut window, mut reader, mut new) = (ReplayWindow::default(), Reader::new(data), BTreeSet::new());
    let fingerprints = [1, 2, 3].map(|n| keys(n).public().fingerprint());
    while let Some(n) = reader.next() {
        let (fingerprint, run) = (fingerprints[usize::from(n) % 3], run_id(u64::from(n / 3 % 2)));
        let count = u64::from(reader.byte());
        let message = MessageId::numbered(Nonce(5), count);
        // Most are sent again with their date; an attacker with keys of her own may date hers as she likes.
        let ts = if reader.flag() { count * 1000 } else { u64::from(reader.byte()) << (reader.byte() % 57) };
        if window.admit(fingerprint, &run, &message, ts) == Ok(Seen::New) {
            let first = new.insert((fingerprint, run, message, ts));
            assert!(first, "the same message was new twice");
        }
    }
}

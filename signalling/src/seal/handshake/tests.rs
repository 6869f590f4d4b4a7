//! Two sides, and somebody in the middle.

use super::*;
use crate::seal::SAS_WORDS;

fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

fn keys(n: u8) -> PublicKeys {
    PublicKeys::from_bytes([n; 64])
}

fn nonce(n: u8) -> SasNonce {
    SasNonce::from_random([n; 16])
}

fn parties(me: &str, key: u8, peer: &str) -> Parties {
    Parties { call: CallId::from_random(1), me: (id(me), keys(key)), peer: id(peer) }
}

fn sdp(fingerprint: &str) -> Description {
    Description::new(format!("v=0\r\na=fingerprint:sha-256 {fingerprint}\r\n"), Vec::new())
}

fn sent(side: &mut Handshake, mut message: Message) -> Description {
    side.complete(&mut message);
    match message {
        Message::Offer(description) | Message::EarlyAnswer(description) | Message::Answer(description) => description,
        other => panic!("{other:?}"),
    }
}

/// Alice calls, and her offer is out.
fn calling() -> (Handshake, Description) {
    let mut alice = Handshake::caller(parties("alice", 1, "bob"), nonce(1));
    let offer = sent(&mut alice, Message::Offer(sdp("aa")));
    (alice, offer)
}

/// Bob is called, by whoever has this key.
fn called(key: u8, offer: &Description) -> Handshake {
    Handshake::callee(parties("bob", 2, "alice"), nonce(2), keys(key), offer).unwrap()
}

#[test]
fn both_sides_come_to_the_same_words() {
    let (mut alice, offer) = calling();
    let mut bob = called(1, &offer);
    let answer = sent(&mut bob, Message::Answer(sdp("bb")));
    let told = alice.answered(&keys(2), &answer).unwrap();
    assert_eq!((told, bob.words()), (nonce(1), None));
    assert_eq!(bob.revealed(&keys(1), &told), Ok(true));
    assert_eq!(alice.words(), bob.words());
    assert_eq!(alice.words().unwrap().split(' ').count(), SAS_WORDS);
    // Once: what comes later changes nothing.
    assert_eq!(bob.revealed(&keys(1), &nonce(9)), Ok(false));
    assert_eq!(alice.answered(&keys(2), &answer), None);
    assert_eq!(alice.words(), bob.words());
}

#[test]
fn an_early_answer_and_the_answer_after_it_have_the_same_nonce_and_the_words_are_those_of_the_first() {
    let (mut alice, offer) = calling();
    let mut bob = called(1, &offer);
    let early = sent(&mut bob, Message::EarlyAnswer(sdp("bb")));
    let told = alice.answered(&keys(2), &early).unwrap();
    let answer = sent(&mut bob, Message::Answer(sdp("bb")));
    assert_eq!(early.sas, answer.sas);
    assert_eq!(bob.revealed(&keys(1), &told), Ok(true));
    let (words, description) = (bob.words().unwrap().to_owned(), sent(&mut bob, Message::Answer(sdp("bb"))));
    assert_eq!((alice.words(), bob.words(), description.sas), (Some(&*words), Some(&*words), None));
}

#[test]
fn whoever_sits_in_the_middle_gives_both_sides_other_words() {
    // Mallory answers alice, and calls bob, with the descriptions and nonces that she likes, and the key that she has.
    let (mut alice, offer) = calling();
    let mut to_alice = Handshake::callee(parties("bob", 3, "alice"), nonce(2), keys(1), &offer).unwrap();
    let answer = sent(&mut to_alice, Message::Answer(sdp("cc")));
    let told = alice.answered(&keys(3), &answer).unwrap();
    assert_eq!(to_alice.revealed(&keys(1), &told), Ok(true));
    let mut to_bob = Handshake::caller(parties("alice", 3, "bob"), nonce(1));
    let mut bob = called(3, &sent(&mut to_bob, Message::Offer(sdp("cc"))));
    let told = to_bob.answered(&keys(2), &sent(&mut bob, Message::Answer(sdp("bb")))).unwrap();
    assert_eq!(bob.revealed(&keys(3), &told), Ok(true));
    assert!(alice.words().is_some() && alice.words() != bob.words());
}

#[test]
fn a_caller_that_chooses_its_nonce_later_is_found_out() {
    let (_alice, offer) = calling();
    let mut bob = called(1, &offer);
    sent(&mut bob, Message::Answer(sdp("bb")));
    assert_eq!(bob.revealed(&keys(1), &nonce(3)), Err(InvalidSas::Broken));
    // With the keys of somebody else neither.
    assert_eq!(bob.revealed(&keys(3), &nonce(1)), Err(InvalidSas::Broken));
    assert_eq!((bob.revealed(&keys(1), &nonce(1)), bob.words().is_some()), (Ok(true), true));
    // Nobody has it before our answer.
    let mut bob = called(1, &offer);
    assert_eq!((bob.revealed(&keys(1), &nonce(1)), bob.words()), (Ok(false), None));
}

#[test]
fn with_earlier_programs_there_are_no_words() {
    let (mut alice, _offer) = calling();
    assert_eq!((alice.answered(&keys(2), &sdp("bb")), alice.words()), (None, None));
    assert!(Handshake::callee(parties("bob", 2, "alice"), nonce(2), keys(1), &sdp("aa")).is_none());
    // A nonce in an offer is no commitment.
    let odd = Description { sas: Some(SasPart::Nonce(nonce(1))), ..sdp("aa") };
    assert!(Handshake::callee(parties("bob", 2, "alice"), nonce(2), keys(1), &odd).is_none());
}

#[test]
fn what_is_told_of_a_side_hides_its_nonce() {
    let (alice, offer) = calling();
    let (told, nonce) = (format!("{alice:?} {offer:?}"), nonce(1).to_string());
    assert!(!told.contains(&nonce) && !told.contains("1, 1, 1"), "{told}");
}

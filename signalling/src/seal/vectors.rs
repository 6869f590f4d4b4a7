//! The test vectors of docs/SECURITY.md: what is in `tests/vectors/seal.json` is what this code makes, byte by byte.
//!
//! `tests/vectors/attacks.json` holds what only an attacker makes. The client in Python wrote it, from that page alone.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;
use crate::id::{CallId, MessageId, PeerId};
use crate::wire::{Description, Envelope, Message, Presence};

const KEPT: &str = include_str!("../../../tests/vectors/seal.json");
const ATTACKS: &str = include_str!("../../../tests/vectors/attacks.json");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    unhex(text(value)).try_into().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn id(value: &Value) -> PeerId {
    text(value).parse().unwrap()
}

fn message_id(value: &Value) -> MessageId {
    text(value).to_owned().try_into().unwrap()
}

/// Secrets that count up, from `first`.
fn secret(first: u8) -> String {
    hex(&std::array::from_fn::<u8, 64, _>(|n| first.wrapping_add(u8::try_from(n).unwrap())))
}

fn identity(id: &str, secret: &str) -> Value {
    let keys = SecretKeys::from_bytes(array(&secret.into())).unwrap();
    let fingerprint = keys.public().fingerprint();
    json!({
        "id": id,
        "secret": secret,
        "keys": keys.public().to_string(),
        "fingerprint": fingerprint.to_string(),
        "words": fingerprint.words(),
    })
}

fn secrets(vectors: &Value, id: &str) -> SecretKeys {
    let list = vectors["identities"].as_array().unwrap();
    let found = list.iter().find(|identity| identity["id"] == id).unwrap();
    SecretKeys::from_bytes(array(&found["secret"])).unwrap()
}

const RUN_A: &str = "00000000000000aa-0";
const RUN_B: &str = "00000000000000bb-0";

/// One message, with all that makes its box.
fn message(vectors: &Value, (from, from_run): (&str, &str), (to, to_run): (&str, &str), content: &str) -> Value {
    let text =
        format!(r#"{{"v":1,"id":"{}1","from":"{from}","to":"{to}","ts":1700000000000,{content}}}"#, &from_run[..17]);
    let envelope = Envelope::from_bytes(text.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(envelope.to_bytes().unwrap()).unwrap(), text, "as this program writes it");
    let random = "5e".repeat(32);
    let receiver = *secrets(vectors, to).public();
    let runs = [from_run, to_run].map(|run| MessageId::try_from(run.to_owned()).unwrap());
    let me = secrets(vectors, from);
    let sides = (Endpoint { id: &envelope.from, run: &runs[0] }, Endpoint { id: &envelope.to, run: &runs[1] });
    let random_bytes = array(&random.as_str().into());
    let sealed = seal(&me, sides.0, (sides.1, &receiver), text.as_bytes(), random_bytes).unwrap();
    json!({
        "from": from,
        "from_run": from_run,
        "to": to,
        "to_run": to_run,
        "envelope": text,
        "random": random,
        "sealed": hex(&sealed),
    })
}

fn presence(vectors: &Value, id: &str, state: &str, since: u64, ts: u64) -> Value {
    let plain = format!(r#"{{"v":1,"state":"{state}","run":"{RUN_A}"}}"#);
    let presence = Presence::from_bytes(plain.as_bytes()).unwrap();
    let signed = presence.sign(&secrets(vectors, id), &id.parse().unwrap(), since, ts);
    json!({ "id": id, "presence": String::from_utf8(signed.to_bytes()).unwrap() })
}

const CALL: &str = "0123456789abcdef0123456789abcdef";

/// A certificate in the session, and two hashes of one.
const SDP: [&str; 2] =
    ["v=0\r\na=fingerprint:sha-256 AB:CD\r\n", "v=0\r\na=fingerprint:sha-256 12:34\r\na=fingerprint:sha-1 56\r\n"];

/// The same certificate in each section, written in two ways; and three hashes in an order of their own.
const SDP_OF_SECTIONS: [&str; 2] = [
    "v=0\r\nm=audio 9 X 0\r\na=fingerprint:sha-256 ab:cd\r\nm=video 9 X 0\r\na=fingerprint:SHA-256 AB:CD \r\n",
    "v=0\na=fingerprint:sha-512 9a\na=fingerprint: sha-384 bc\nm=audio 9 X 0\na=fingerprint:sha-256 12:34\n",
];

fn words(vectors: &Value, sdp: [&str; 2]) -> Value {
    let (call, nonces) = (CALL, ["0a".repeat(16), "0b".repeat(16)]);
    let call_id = CallId::try_from(call.to_owned()).unwrap();
    let (alice, bob): (PeerId, PeerId) = ("alice".parse().unwrap(), "bob".parse().unwrap());
    let (key_a, key_b) = (secrets(vectors, "alice"), secrets(vectors, "bob"));
    let dtls = sdp.map(fingerprints);
    let agreed = Agreed {
        call: &call_id,
        caller: (&alice, key_a.public()),
        callee: (&bob, key_b.public()),
        caller_dtls: &dtls[0],
        callee_dtls: &dtls[1],
    };
    let [a, b] = [0, 1].map(|side| SasNonce::from_random(array(&nonces[side].as_str().into())));
    json!({
        "call": call,
        "caller": "alice",
        "callee": "bob",
        "caller_sdp": sdp[0],
        "callee_sdp": sdp[1],
        "caller_nonce": nonces[0],
        "callee_nonce": nonces[1],
        "commitment": a.commitment(&call_id, key_a.public()).to_string(),
        "words": agreed.words(&a, &b),
    })
}

/// What both sides say for the words, in order, and what comes of it.
fn handshake(vectors: &Value, answers: &[fn(Description) -> Message]) -> Value {
    let (alice, bob): (PeerId, PeerId) = ("alice".parse().unwrap(), "bob".parse().unwrap());
    let (key_a, key_b) = (*secrets(vectors, "alice").public(), *secrets(vectors, "bob").public());
    let call = CallId::try_from(CALL.to_owned()).unwrap();
    let [of_alice, of_bob] = [0x0a, 0x0b].map(|n| SasNonce::from_random([n; 16]));
    let parties = |me, keys, peer| Parties { call: call.clone(), me: (me, keys), peer };
    let mut caller = Handshake::caller(parties(alice.clone(), key_a, bob.clone()), of_alice);
    let description = |side: usize| Description::new(SDP[side].to_owned(), Vec::new());
    let mut offer = Message::Offer(description(0));
    caller.complete(&mut offer);
    let Message::Offer(offered) = &offer else { panic!("{offer:?}") };
    let mut callee = Handshake::callee(parties(bob, key_b, alice), of_bob, key_a, offered).unwrap();
    let mut said = vec![json!({ "from": "alice", "message": offer })];
    let mut nonce = None;
    for answer in answers {
        let mut message = answer(description(1));
        callee.complete(&mut message);
        said.push(json!({ "from": "bob", "message": message }));
        let (Message::EarlyAnswer(answer) | Message::Answer(answer)) = &message else { panic!("{message:?}") };
        if let Some(told) = caller.answered(&key_b, answer) {
            said.push(json!({ "from": "alice", "message": Message::Nonce { nonce: told } }));
            nonce = Some(told);
        }
    }
    assert_eq!(callee.revealed(&key_a, &nonce.unwrap()), Ok(true));
    assert_eq!(callee.words(), caller.words());
    json!({ "call": CALL, "caller": "alice", "callee": "bob", "said": said, "words": caller.words() })
}

fn made() -> Value {
    let mut vectors = json!({
        "identities": [identity("alice", &secret(0)), identity("bob", &secret(64)), identity("mallory", &secret(128))],
    });
    let call = r#""call":"0123456789abcdef0123456789abcdef""#;
    let (alice, bob) = (("alice", RUN_A), ("bob", RUN_B));
    let candidate = "candidate:1 1 udp 1 192.0.2.1 9 typ host";
    let long = format!(r#"{call},"type":"offer","sdp":"v=0\r\n{}"}}"#, r"a=x\r\n".repeat(300));
    vectors["messages"] = json!([
        message(
            &vectors,
            alice,
            bob,
            &format!(r#"{call},"type":"offer","sdp":"v=0\r\n","candidates":[{{"candidate":"{candidate}","mline":0}}]"#)
        ),
        message(&vectors, bob, alice, &format!(r#"{call},"type":"ringing""#)),
        message(&vectors, bob, alice, r#""type":"ack","of":"00000000000000aa-1""#),
        message(&vectors, alice, bob, long.trim_end_matches('}')),
    ]);
    vectors["presences"] = json!([
        presence(&vectors, "alice", "available", 1_700_000_000_000, 1_700_000_000_500),
        presence(&vectors, "alice", "offline", 1_700_000_000_000, 1_700_000_000_000),
    ]);
    vectors["short_authentication_strings"] = json!([words(&vectors, SDP), words(&vectors, SDP_OF_SECTIONS)]);
    vectors["handshakes"] =
        json!(
            [handshake(&vectors, &[Message::Answer]), handshake(&vectors, &[Message::EarlyAnswer, Message::Answer]),]
        );
    vectors
}

/// Where `WRITE_VECTORS` names the file, it is written anew: its change is then a change of the protocol.
#[test]
fn the_vectors_are_what_is_made_here() {
    let made = made();
    if let Some(file) = std::env::var_os("WRITE_VECTORS") {
        std::fs::write(file, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
        return;
    }
    let kept: Value = serde_json::from_str(KEPT).unwrap();
    assert_eq!(made, kept);
}

#[test]
fn the_vectors_are_opened_and_read() {
    let kept: Value = serde_json::from_str(KEPT).unwrap();
    for message in kept["messages"].as_array().unwrap() {
        let (me, run, to) = (secrets(&kept, text(&message["to"])), message_id(&message["to_run"]), id(&message["to"]));
        let bytes = unhex(text(&message["sealed"]));
        let opened = open(&me, Endpoint { id: &to, run: &run }, &id(&message["from"]), &bytes).unwrap();
        assert_eq!(opened.run, message_id(&message["from_run"]));
        assert_eq!(opened.keys, *secrets(&kept, text(&message["from"])).public());
        assert_eq!(opened.envelope.to_bytes().unwrap(), text(&message["envelope"]).as_bytes());
    }
    for presence in kept["presences"].as_array().unwrap() {
        let read = Presence::from_bytes(text(&presence["presence"]).as_bytes()).unwrap();
        assert!(read.verify(&id(&presence["id"])).unwrap().is_some());
    }
}

/// Among them one that HPKE's authenticated mode takes for genuine: it was made with the stolen secrets of the receiver.
#[test]
fn what_attackers_make_is_refused_for_the_reason_that_is_documented() {
    let kept: Value = serde_json::from_str(KEPT).unwrap();
    let attacks: Value = serde_json::from_str(ATTACKS).unwrap();
    let attacks = attacks.as_array().unwrap();
    assert!(attacks.len() >= 8, "{} attacks", attacks.len());
    for attack in attacks {
        let (me, run, to) = (secrets(&kept, text(&attack["to"])), message_id(&attack["to_run"]), id(&attack["to"]));
        let bytes = unhex(text(&attack["sealed"]));
        let error = open(&me, Endpoint { id: &to, run: &run }, &id(&attack["from"]), &bytes).unwrap_err();
        let name = format!("{error:?}");
        let name = name.split('(').next().unwrap();
        assert_eq!(name, text(&attack["error"]), "{}", attack["name"]);
    }
}

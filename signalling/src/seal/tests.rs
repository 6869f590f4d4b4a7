//! Every attack on sealed messages and signed presence that can be tried without a network.

use std::time::Instant;

use super::*;
use crate::id::{CallId, MessageId, Nonce, PeerId};
use crate::wire::{
    Ack, Candidate, Content, Description, Envelope, MediaState, Message, Presence, PresenceState, VERSION,
};

const NOW: u64 = 1_700_000_000_000;

fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

fn run(n: u64) -> MessageId {
    MessageId::numbered(Nonce(n), 0)
}

fn keys(n: u8) -> SecretKeys {
    let mut bytes = [n; 64];
    bytes[32..].fill(n.wrapping_add(100));
    SecretKeys::from_bytes(bytes).unwrap()
}

fn random(n: u8) -> [u8; 32] {
    [n; 32]
}

fn envelope(from: &str, to: &str, message: Message) -> Envelope {
    let content = Content::Call { call: CallId::from_random(1), message };
    Envelope { v: VERSION, id: MessageId::numbered(Nonce(7), 1), from: id(from), to: id(to), ts: NOW, content }
}

fn offer() -> Message {
    let sdp = "v=0\r\na=fingerprint:sha-256 AB:CD\r\n".to_owned();
    let line = "candidate:1 1 udp 1 192.0.2.1 9 typ host".to_owned();
    Message::Offer(Description::new(sdp, vec![Candidate { candidate: line, mid: None, mline: Some(0) }]))
}

/// Alice's offer for bob: her keys are 1, her run 1; his are 2.
fn sealed() -> Vec<u8> {
    seal_as(&keys(1), &keys(2), &envelope("alice", "bob", offer()))
}

fn seal_as(from: &SecretKeys, to: &SecretKeys, envelope: &Envelope) -> Vec<u8> {
    try_seal(from, (to.public(), &run(2)), envelope, 9).unwrap()
}

fn try_seal(
    from: &SecretKeys,
    (to, to_run): (&PublicKeys, &MessageId),
    envelope: &Envelope,
    n: u8,
) -> Result<Vec<u8>, SealError> {
    let json = envelope.to_bytes().unwrap();
    let sides = (Endpoint { id: &envelope.from, run: &run(1) }, Endpoint { id: &envelope.to, run: to_run });
    seal(from, sides.0, (sides.1, to), &json, random(n))
}

/// Bob opens what is on alice's topic for him.
fn open_as_bob(bytes: &[u8]) -> Result<Opened, OpenError> {
    open(&keys(2), Endpoint { id: &id("bob"), run: &run(2) }, &id("alice"), bytes)
}

#[test]
fn what_is_sealed_is_opened_and_nothing_of_it_shows() {
    let bytes = sealed();
    let opened = open_as_bob(&bytes).unwrap();
    assert_eq!(opened.envelope, envelope("alice", "bob", offer()));
    assert_eq!((opened.keys, opened.run), (*keys(1).public(), run(1)));
    for part in ["alice", "bob", "offer", "fingerprint", "AB:CD", "192.0.2.1", "typ", "v=0", "1700000000000"] {
        assert!(!bytes.windows(part.len()).any(|window| window == part.as_bytes()), "{part} shows");
    }
}

#[test]
fn messages_of_all_kinds_have_the_same_length() {
    let bye = Message::Bye { reason: crate::wire::ByeReason::Decline, text: Some("x".repeat(256)) };
    let media = Message::Media(MediaState::default());
    let told = Message::Nonce { nonce: nonce(1) };
    let mut lengths: Vec<usize> = [Message::Ringing, bye, media, told, Message::Renew { generation: Some(7) }]
        .into_iter()
        .map(|message| seal_as(&keys(1), &keys(2), &envelope("alice", "bob", message)).len())
        .collect();
    let ack = Content::Ack(Ack { of: MessageId::numbered(Nonce(9), 77) });
    lengths.push(seal_as(&keys(1), &keys(2), &Envelope { content: ack, ..envelope("a", "b", Message::Ringing) }).len());
    lengths.dedup();
    assert_eq!(lengths, [113 + 1024 + 16]);
}

#[test]
fn the_largest_message_is_sealed_and_a_larger_one_is_refused() {
    let long = |bytes: usize| envelope("alice", "bob", Message::Offer(Description::new("x".repeat(bytes), vec![])));
    let bytes = seal_as(&keys(1), &keys(2), &long(128 * 1024));
    assert!(bytes.len() <= SEALED_BYTES_MAX);
    assert!(open_as_bob(&bytes).is_ok());
    let refused = try_seal(&keys(1), (keys(2).public(), &run(2)), &long(240 * 1024), 9);
    assert!(matches!(refused, Err(SealError::TooLarge(_))), "{refused:?}");
}

#[test]
fn a_changed_bit_is_noticed_wherever_it_is() {
    let bytes = sealed();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(open_as_bob(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn a_message_that_is_cut_or_longer_is_refused() {
    let bytes = sealed();
    for length in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        assert!(open_as_bob(&bytes[..length]).is_err(), "{length} bytes");
    }
    for more in [1, 16, 1024, 4096] {
        let mut longer = bytes.clone();
        longer.resize(bytes.len() + more, 0);
        assert!(open_as_bob(&longer).is_err(), "{more} more");
    }
}

#[test]
fn a_plain_message_is_no_sealed_one() {
    let plain = envelope("alice", "bob", offer()).to_bytes().unwrap();
    assert!(!is_sealed(&plain));
    assert!(matches!(open_as_bob(&plain), Err(OpenError::Form)));
}

#[test]
fn a_message_sent_back_to_its_sender_is_refused() {
    let me = Endpoint { id: &id("alice"), run: &run(1) };
    let sent_back = open(&keys(1), me, &id("bob"), &sealed());
    assert!(matches!(sent_back, Err(OpenError::Reflected)), "{sent_back:?}");
    // Also where both have the same keys, and the same run.
    let twins = try_seal(&keys(1), (keys(1).public(), &run(1)), &envelope("alice", "bob", offer()), 9);
    let sent_back = open(&keys(1), me, &id("bob"), &twins.unwrap());
    assert!(matches!(sent_back, Err(OpenError::Forged)), "{sent_back:?}");
}

#[test]
fn a_message_under_another_id_is_refused() {
    let bytes = sealed();
    let bob = Endpoint { id: &id("bob"), run: &run(2) };
    let carol = Endpoint { id: &id("carol"), run: &run(2) };
    let of_mallory = open(&keys(2), bob, &id("mallory"), &bytes);
    assert!(matches!(of_mallory, Err(OpenError::Forged)), "{of_mallory:?}");
    let for_carol = open(&keys(2), carol, &id("alice"), &bytes);
    assert!(matches!(for_carol, Err(OpenError::Forged)), "{for_carol:?}");
    let to_carol = open(&keys(3), carol, &id("alice"), &bytes);
    assert!(matches!(to_carol, Err(OpenError::NotForUs)), "{to_carol:?}");
}

#[test]
fn a_message_for_an_earlier_run_is_refused() {
    let later = open(&keys(2), Endpoint { id: &id("bob"), run: &run(3) }, &id("alice"), &sealed());
    assert!(matches!(later, Err(OpenError::NotForUs)), "{later:?}");
    // Whoever writes the tag of the later run over it does not get further.
    let mut bytes = sealed();
    bytes[65..81].copy_from_slice(&tag(keys(2).public(), &run(3)));
    let later = open(&keys(2), Endpoint { id: &id("bob"), run: &run(3) }, &id("alice"), &bytes);
    assert!(matches!(later, Err(OpenError::Forged)), "{later:?}");
}

#[test]
fn who_names_the_keys_of_another_is_refused() {
    // Mallory has the ID and all but the secrets of alice.
    let mut bytes = seal_as(&keys(4), &keys(2), &envelope("alice", "bob", offer()));
    assert_eq!(open_as_bob(&bytes).unwrap().keys, *keys(4).public(), "another key, which shows");
    bytes[1..65].copy_from_slice(keys(1).public().as_bytes());
    assert!(matches!(open_as_bob(&bytes), Err(OpenError::Forged)));
    // One of her two keys is alice's.
    for half in [1..33, 33..65] {
        let mut bytes = seal_as(&keys(4), &keys(2), &envelope("alice", "bob", offer()));
        bytes[half.clone()].copy_from_slice(&keys(1).public().as_bytes()[half.start - 1..half.end - 1]);
        assert!(open_as_bob(&bytes).is_err());
    }
}

#[test]
fn a_key_without_a_secret_is_refused() {
    // Points of small order give the same secret with everybody.
    let mut one = [0_u8; 32];
    one[0] = 1;
    for point in [[0; 32], one] {
        let mut public = *keys(2).public().as_bytes();
        public[32..].copy_from_slice(&point);
        let weak = PublicKeys::from_bytes(public);
        let message = envelope("alice", "bob", offer());
        assert!(matches!(try_seal(&keys(1), (&weak, &run(2)), &message, 9), Err(SealError::Keys)));
        let mut bytes = sealed();
        bytes[81..113].copy_from_slice(&point);
        assert!(matches!(open_as_bob(&bytes), Err(OpenError::Forged)));
    }
}

#[test]
fn an_undated_message_is_refused() {
    let undated = Envelope { ts: 0, ..envelope("alice", "bob", offer()) };
    assert!(matches!(open_as_bob(&seal_as(&keys(1), &keys(2), &undated)), Err(OpenError::Undated)));
}

#[test]
fn each_box_of_one_message_is_another() {
    let message = envelope("alice", "bob", Message::Ringing);
    let boxes: Vec<Vec<u8>> =
        [1, 2].map(|n| try_seal(&keys(1), (keys(2).public(), &run(2)), &message, n).unwrap()).to_vec();
    assert_ne!(boxes[0][81..], boxes[1][81..]);
    assert_eq!(open_as_bob(&boxes[0]).unwrap(), open_as_bob(&boxes[1]).unwrap());
}

// ---- what came before ----

fn message_id(n: u64) -> MessageId {
    MessageId::numbered(Nonce(7), n)
}

#[test]
fn what_came_before_is_known_and_what_is_old_is_refused() {
    let mut window = ReplayWindow::default();
    let alice = keys(1).public().fingerprint();
    let mut admit = |n: u64, ts: u64| window.admit(alice, &run(1), &message_id(n), ts);
    assert_eq!(admit(1, NOW), Ok(Seen::New));
    assert_eq!(admit(1, NOW), Ok(Seen::Again));
    // Overtaken, or sent again for a minute.
    assert_eq!(admit(2, NOW - 60_000), Ok(Seen::New));
    assert_eq!(admit(3, NOW - 64_001), Err(Stale));
    assert_eq!(admit(4, NOW + 60_000), Ok(Seen::New));
    assert_eq!(admit(1, NOW), Ok(Seen::Again));
    assert_eq!(admit(2, NOW - 60_000), Err(Stale), "forgotten, and so refused");
}

#[test]
fn clocks_of_two_senders_have_nothing_to_do_with_each_other() {
    let mut window = ReplayWindow::default();
    let years = 10 * 365 * 86_400_000;
    for (n, ts) in [(1, NOW), (2, NOW - years), (3, NOW + years)] {
        assert_eq!(window.admit(keys(n).public().fingerprint(), &run(1), &message_id(1), ts), Ok(Seen::New));
    }
    // The same sender's next run, after its clock was set back.
    assert_eq!(window.admit(keys(3).public().fingerprint(), &run(2), &message_id(1), NOW), Ok(Seen::New));
}

#[test]
fn a_flood_of_genuine_strangers_takes_bounded_room_and_lets_nothing_in_twice() {
    let mut window = ReplayWindow::default();
    let alice = keys(1).public().fingerprint();
    for n in 0..100 {
        assert_eq!(window.admit(alice, &run(1), &message_id(n), NOW + n), Ok(Seen::New));
    }
    for stranger in 0..4000 {
        for n in 0..6 {
            let mallory = keys(3).public().fingerprint();
            assert_eq!(window.admit(mallory, &run(stranger), &message_id(n), NOW + n), Ok(Seen::New));
        }
    }
    let (senders, ids) = window.sizes();
    assert!(senders <= 4096 && ids <= 8 * 2048, "{senders} senders, {ids} ids");
    for n in 0..100 {
        assert_eq!(window.admit(alice, &run(1), &message_id(n), NOW + n), Err(Stale));
    }
    assert_eq!(window.admit(alice, &run(1), &message_id(100), NOW + 100), Ok(Seen::New));
    for n in 0..3_000 {
        assert_eq!(window.admit(alice, &run(1), &message_id(1000 + n), NOW + 1000 + n), Ok(Seen::New));
    }
    let (senders, ids) = window.sizes();
    assert!(senders <= 4096 && ids <= 8 * 2048, "{senders} senders, {ids} ids");
}

// ---- presence ----

fn presence(state: PresenceState) -> Presence {
    Presence { v: VERSION, state, run: run(1), seal: None }
}

#[test]
fn a_presence_is_its_peers_own_word() {
    let signed = presence(PresenceState::Away).sign(&keys(1), &id("alice"), NOW, NOW + 5);
    let read = Presence::from_bytes(&signed.to_bytes()).unwrap();
    assert_eq!(read, signed);
    assert_eq!(read.verify(&id("alice")).unwrap().unwrap().0, *keys(1).public());
    assert_eq!(presence(PresenceState::Away).verify(&id("alice")), Ok(None));
    assert!(signed.to_bytes().len() < 512, "{} bytes", signed.to_bytes().len());
    let whose = |changed: Presence, id_: &str| changed.verify(&id(id_)).is_ok();
    assert!(!whose(signed.clone(), "bob"), "under another ID");
    assert!(!whose(Presence { state: PresenceState::Offline, ..signed.clone() }, "alice"));
    assert!(!whose(Presence { run: run(2), ..signed.clone() }, "alice"));
    let announced = signed.seal.clone().unwrap();
    for other in [
        Announcement { since: NOW + 1, ..announced.clone() },
        Announcement { ts: NOW, ..announced.clone() },
        Announcement { keys: *keys(2).public(), ..announced },
    ] {
        assert!(!whose(Presence { seal: Some(other), ..signed.clone() }, "alice"));
    }
}

#[test]
fn a_presence_that_was_said_before_is_the_earlier_one() {
    let order = |state, since, ts| {
        presence(state).sign(&keys(1), &id("alice"), since, ts).verify(&id("alice")).unwrap().unwrap().1
    };
    use PresenceState::{Available, Busy, Offline};
    let story = [
        order(Available, 10, 11),
        order(Busy, 10, 20),
        order(Available, 10, 30),
        // The will of that connection, as old as the connection.
        order(Offline, 10, 10),
        // The next one, and a goodbye.
        order(Available, 40, 41),
        order(Offline, 40, 50),
    ];
    assert!(story.is_sorted() && story.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn keys_that_cannot_be_read_make_a_presence_unreadable() {
    // Else whoever breaks them would make a peer with keys one without.
    let signed = presence(PresenceState::Away).sign(&keys(1), &id("alice"), NOW, NOW);
    let text = String::from_utf8(signed.to_bytes()).unwrap();
    for broken in [
        text.replace("\"sig\":\"", "\"sig\":\"A"),
        text.replace("since", "sinse"),
        text.replace("\"keys\":\"", "\"keys\":\"="),
    ] {
        assert_ne!(broken, text);
        assert!(Presence::from_bytes(broken.as_bytes()).is_err(), "{broken}");
    }
}

// ---- the short authentication string ----

fn nonce(n: u8) -> SasNonce {
    SasNonce::from_random([n; 16])
}

#[test]
fn both_sides_have_the_same_words_and_somebody_in_the_middle_other_ones() {
    let (call, alice, bob) = (CallId::from_random(1), id("alice"), id("bob"));
    let (key_a, key_b, key_m) = (keys(1), keys(2), keys(4));
    let (dtls_a, dtls_b) = (vec!["sha-256 aa".to_owned()], vec!["sha-256 bb".to_owned()]);
    let agreed = Agreed {
        call: &call,
        caller: (&alice, key_a.public()),
        callee: (&bob, key_b.public()),
        caller_dtls: &dtls_a,
        callee_dtls: &dtls_b,
    };
    let words = agreed.words(&nonce(1), &nonce(2));
    assert_eq!(words.split(' ').count(), SAS_WORDS);
    for other in [
        Agreed { call: &CallId::from_random(2), ..agreed },
        Agreed { caller: (&id("carol"), key_a.public()), ..agreed },
        Agreed { caller: (&alice, key_m.public()), ..agreed },
        Agreed { callee: (&bob, key_m.public()), ..agreed },
        Agreed { caller_dtls: &dtls_b, ..agreed },
        Agreed { callee_dtls: &dtls_a, ..agreed },
    ] {
        assert_ne!(other.words(&nonce(1), &nonce(2)), words);
    }
    assert_ne!(agreed.words(&nonce(3), &nonce(2)), words);
    assert_ne!(agreed.words(&nonce(2), &nonce(1)), words);
}

#[test]
fn a_caller_is_kept_to_its_commitment() {
    let (call, alice, bob) = (CallId::from_random(1), id("alice"), id("bob"));
    let (key_a, key_b) = (keys(1), keys(2));
    let promised = nonce(1).commitment(&call, key_a.public());
    let agreed = Agreed {
        call: &call,
        caller: (&alice, key_a.public()),
        callee: (&bob, key_b.public()),
        caller_dtls: &[],
        callee_dtls: &[],
    };
    assert_eq!(agreed.check(&promised, &nonce(1)), Ok(()));
    assert_eq!(agreed.check(&promised, &nonce(2)), Err(InvalidSas::Broken));
    let other_call = Agreed { call: &CallId::from_random(2), ..agreed };
    assert_eq!(other_call.check(&promised, &nonce(1)), Err(InvalidSas::Broken));
    assert_eq!(promised.to_string().parse(), Ok(promised));
    assert_eq!("AAAA".parse::<SasNonce>(), Err(InvalidSas::Form));
}

#[test]
fn fingerprints_are_taken_from_descriptions_as_all_write_them() {
    let sdp =
        "v=0\r\na=fingerprint:sha-256 AB:CD\r\nm=audio\r\na=fingerprint:SHA-256 ab:cd \na=fingerprint:sha-1 00\r\n";
    assert_eq!(fingerprints(sdp), ["sha-1 00", "sha-256 ab:cd"]);
}

// ---- keys ----

#[test]
fn keys_are_written_and_read_and_secrets_stay_out_of_logs() {
    let public = *keys(1).public();
    assert_eq!(public.to_string().parse(), Ok(public));
    assert_eq!(public.to_string().len(), 86);
    for bad in ["", "AAAA", &"A".repeat(85), &"A".repeat(87), &"=".repeat(86), &"ä".repeat(43)] {
        assert_eq!(bad.parse::<PublicKeys>(), Err(InvalidKeys), "{bad}");
    }
    let again = SecretKeys::from_bytes(*keys(1).to_bytes()).unwrap();
    assert_eq!(*again.public(), public);
    assert_eq!(format!("{:?}", keys(1)), format!("SecretKeys({})", public.fingerprint()));
    assert!(public.fingerprint().has_words(&public.fingerprint().words().to_uppercase()));
    assert_eq!(public.fingerprint().words().split(' ').count(), FINGERPRINT_WORDS);
}

/// Prints what sealing costs; no bound, since machines differ.
#[test]
#[ignore = "a measurement: run it by --ignored --nocapture, in release"]
#[expect(clippy::print_stderr, reason = "a measurement prints its result")]
fn what_it_costs() {
    let (alice, bob) = (keys(1), keys(2));
    for (name, bytes) in [("ringing", 0), ("offer with 5 KiB of SDP", 5 * 1024)] {
        let message =
            if bytes == 0 { Message::Ringing } else { Message::Offer(Description::new("x".repeat(bytes), vec![])) };
        let message = envelope("alice", "bob", message);
        let plain = message.to_bytes().unwrap().len();
        const TIMES: u32 = 2000;
        let begun = Instant::now();
        for _ in 0..TIMES {
            std::hint::black_box(seal_as(&alice, &bob, &message));
        }
        let sealing = begun.elapsed() / TIMES;
        let sealed = seal_as(&alice, &bob, &message);
        let begun = Instant::now();
        for _ in 0..TIMES {
            let to = Endpoint { id: &message.to, run: &run(2) };
            std::hint::black_box(open(&bob, to, &message.from, &sealed).unwrap());
        }
        let opening = begun.elapsed() / TIMES;
        eprintln!("{name}: {plain} bytes in plain, {} sealed, seal {sealing:?}, open {opening:?}", sealed.len());
    }
}

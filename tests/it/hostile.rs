//! A stranger at a broker without access rules says whatever she likes: a call that stands stays as it is, and a
//! listener stays a listener.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::PATIENCE;
use crate::support::call::{self, Args, Ended, talking};
use crate::support::mallory::{Mallory, Noise};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;

/// Where mallory reaches bob: in her own name, and in alice's.
const TOPICS: [&str; 2] = ["tring/call/mallory/bob", "tring/call/alice/bob"];

/// Names of mallory's two faces, as in [`TOPICS`].
const FACES: [&str; 2] = ["mallory", "alice"];

/// Most that the broker keeps for bob while he is busy; it drops the rest, and such a drop proves nothing.
const BURST: usize = 500;

/// What bob has to say of an attack.
enum Drops {
    /// So many messages, told of once.
    Exactly(u64),
    /// Some messages, told of once.
    Some,
    /// Those in alice's name, told of once: they are not sealed. The others are well-formed, and mean nothing to him.
    Alices,
    /// Nothing: the messages are well-formed, and mean nothing to him.
    None,
}

fn peer(id: &str, broker: &str) -> Args {
    Args::new(["--id", id, "--broker", broker, "--control", "-"])
}

/// Bob, who takes plain calls too: so what mallory says gets as far as it can.
fn listen(broker: &str) -> Tring {
    call::listen_plain(peer("bob", broker).and(["--answer", "auto", "--once"]))
}

/// Alice and bob talk while mallory does this; they never notice, but for the drops that bob counts.
fn under_attack(drops: Drops, attack: impl FnOnce(&mut Mallory, &mut Tring)) {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut mallory = Mallory::at(mosquitto.port());
    let mut bob = listen(&mosquitto.url());
    let mut alice = call::call_bob(peer("alice", &mosquitto.url()));
    talking([&mut alice, &mut bob]);
    attack(&mut mallory, &mut bob);
    mallory.delivered();
    for _ in 0..2 {
        for side in [&mut alice, &mut bob] {
            side.wait_event("stats", PATIENCE);
        }
    }
    let heard = Instant::now();
    alice.send_control(&json!({"command": "hangup"}));
    let (mut alice, mut bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert!(heard.elapsed() < Duration::from_secs(20), "the end of the call took {:?}", heard.elapsed());
    for side in [&alice, &bob] {
        side.assert_media();
    }
    let dropped = bob.summary()["signalling"]["dropped"].as_u64().unwrap();
    let warnings = bob.warnings().iter().filter(|text| text.starts_with("dropped a message")).count();
    match drops {
        Drops::Exactly(count) => assert_eq!((dropped, warnings), (count, 1)),
        Drops::Some => assert!(dropped > 0 && warnings == 1, "{dropped} drops, {warnings} warnings"),
        Drops::Alices => assert_eq!((dropped, warnings), (mallory.published(TOPICS[1]), 1)),
        Drops::None => assert_eq!((dropped, warnings), (0, 0)),
    }
    for side in [&mut alice, &mut bob] {
        side.events.retain(|event| event["event"] != "turned_away" && event["event"] != "warning");
    }
    alice.assert_called();
    bob.assert_answered();
}

#[test]
fn noise() {
    under_attack(Drops::Exactly(2 * 200), |mallory, _| {
        let mut noise = Noise(0x7472_696e);
        for n in 0..200 {
            for topic in TOPICS {
                mallory.publish(topic, noise.bytes(n * 20));
            }
        }
    });
}

#[test]
fn messages_above_the_limit() {
    under_attack(Drops::Exactly(2 * 3), |mallory, _| {
        for topic in TOPICS {
            mallory.publish(topic, vec![b'x'; 1024 * 1024]);
            mallory.publish(topic, vec![b'['; 256 * 1024]);
            mallory.publish(topic, vec![0; 256 * 1024 + 1]);
        }
    });
}

#[test]
fn messages_far_above_the_limit() {
    // Bob's client does not even read these: it leaves the broker and comes back. That must not count as the take-over
    // of his ID, which two clients that kick each other look like.
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut mallory = Mallory::at(mosquitto.port());
    let mut bob = listen(&mosquitto.url());
    let mut alice = call::call_bob(peer("alice", &mosquitto.url()));
    talking([&mut alice, &mut bob]);
    for _ in 0..6 {
        mallory.publish(TOPICS[0], vec![b'x'; 5 * 1024 * 1024]);
        mallory.delivered();
        bob.wait_event("offline", PATIENCE);
        bob.wait_event("online", PATIENCE);
    }
    // Long enough for the steps of the sweep to be told apart.
    for _ in 0..2 {
        bob.wait_event("stats", PATIENCE);
    }
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, bob.status, bob.reason()), (0, 0, "remote-hangup"));
    alice.assert_media();
    bob.assert_media();
}

#[test]
fn json_of_other_shapes() {
    let texts: Vec<String> = [
        "",
        " ",
        "null",
        "[]",
        "{}",
        "\"offer\"",
        "1e999",
        "{\"v\":1}",
        "{\"v\":1,\"v\":1}",
        "{\"type\":\"offer\"}",
        r#"{"v":2,"id":"1","from":"@","to":"bob","ts":0,"call":"c","type":"ringing"}"#,
        r#"{"v":1,"id":"1","from":"@","to":"bob","ts":0,"call":"c","type":"a dance"}"#,
        r#"{"v":1,"id":"1","from":"@","to":"bob","ts":0,"call":7,"type":"bye"}"#,
        r#"{"v":1,"id":"1","from":"@","to":"bob","ts":0,"call":"c","type":"offer","sdp":7}"#,
        r#"{"v":1,"id":"1","from":"@","to":"bob","ts":0,"call":"","type":"ringing"}"#,
        r#"{"v":1,"id":"","from":"@","to":"bob","ts":0,"call":"c","type":"ringing"}"#,
        r#"{"v":1,"id":"1","from":"@/#","to":"bob","ts":0,"call":"c","type":"ringing"}"#,
        r#"{"v":-1,"id":"1","from":"@","to":"bob","ts":0,"call":"c","type":"ringing"}"#,
        r#"{"v":1,"id":"1","from":"@","to":"bob","ts":0,"type":"ack"}"#,
        r#"{"v":1,"id":"1","from":"@","to":"bob","ts":0,"call":"c","type":"candidates","candidates":{}}"#,
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(["[".repeat(100_000), "{\"v\":".repeat(20_000), format!("{{\"v\":{}}}", "9".repeat(100_000))])
    .collect();
    under_attack(Drops::Exactly(2 * texts.len() as u64), |mallory, _| {
        for (topic, face) in TOPICS.into_iter().zip(FACES) {
            for text in &texts {
                mallory.publish(topic, text.replace('@', face));
            }
        }
    });
}

#[test]
fn messages_in_another_name() {
    under_attack(Drops::Exactly(2 * 20), |mallory, _| {
        for _ in 0..20 {
            // Mallory's topic carries alice's words, and alice's topic mallory's.
            for (topic, from) in [(TOPICS[0], "alice"), (TOPICS[1], "mallory")] {
                let bye = mallory.message(from, "bob", "1", json!({"type": "bye", "reason": "hangup"}));
                mallory.publish(topic, bye.to_string());
            }
        }
    });
}

#[test]
fn messages_to_someone_else() {
    under_attack(Drops::Alices, |mallory, _| {
        for to in ["carol", "alice", "mallory"] {
            for (topic, face) in TOPICS.into_iter().zip(FACES) {
                let offer = mallory.message(face, to, "1", json!({"type": "offer", "sdp": "v=0"}));
                mallory.publish(topic, offer.to_string());
            }
        }
    });
}

#[test]
fn offers_and_answers_of_all_kinds() {
    under_attack(Drops::Alices, |mallory, bob| {
        let mut noise = Noise(11);
        for kind in ["offer", "answer"] {
            for sdp in nonsense_sdp() {
                for (topic, face) in TOPICS.into_iter().zip(FACES) {
                    let message = json!({"type": kind, "sdp": sdp});
                    let message = mallory.message(face, "bob", &noise.call(), message);
                    mallory.publish(topic, message.to_string());
                }
            }
        }
        mallory.delivered();
        // His own partner is no caller that was turned away, whoever speaks in her name.
        bob.wait_event_where("turned_away", PATIENCE, |event| event["caller"] == "mallory");
    });
}

#[test]
fn ten_thousand_candidates() {
    under_attack(Drops::Some, |mallory, _| {
        let mut noise = Noise(12);
        for (topic, face) in TOPICS.into_iter().zip(FACES) {
            // All in one message, which is not taken in.
            let candidates = vec![json!({"candidate": ""}); 10_000];
            let all = json!({"type": "candidates", "candidates": candidates});
            let all = mallory.message(face, "bob", "1", all).to_string();
            assert!(all.len() < 256 * 1024, "above the limit for another reason");
            mallory.publish(topic, all);
            // And piece by piece, for a call that is none and for many.
            let call = noise.call();
            for n in 0..200 {
                let line = format!("candidate:1 1 udp 1 192.0.2.1 {} typ host", 1000 + n);
                let some = json!({"type": "candidates", "candidates": vec![json!({"candidate": line}); 50]});
                let call = if n % 2 == 0 { call.clone() } else { noise.call() };
                let some = mallory.message(face, "bob", &call, some);
                mallory.publish(topic, some.to_string());
            }
        }
    });
}

#[test]
fn byes_of_other_calls() {
    under_attack(Drops::Alices, |mallory, _| {
        let mut noise = Noise(13);
        for reason in ["hangup", "cancel", "decline", "busy", "no-answer", "failed", "whatever"] {
            for (topic, face) in TOPICS.into_iter().zip(FACES) {
                let bye = json!({"type": "bye", "reason": reason});
                let bye = mallory.message(face, "bob", &noise.call(), bye);
                mallory.publish(topic, bye.to_string());
            }
        }
    });
}

#[test]
fn thousands_of_small_messages() {
    under_attack(Drops::Some, |mallory, _| {
        let mut noise = Noise(14);
        for n in 0..5_000 {
            let (topic, face) = (TOPICS[n % 2], FACES[n % 2]);
            if n % 3 == 0 {
                mallory.publish(topic, noise.bytes(10));
            } else {
                let ringing = mallory.message(face, "bob", &noise.call(), json!({"type": "ringing"}));
                mallory.publish(topic, ringing.to_string());
            }
            if n % BURST == 0 {
                mallory.delivered();
            }
        }
    });
}

#[test]
fn a_thousand_offers() {
    // So many of one peer at once are no calls: most are not even read.
    under_attack(Drops::Some, |mallory, _| {
        let mut noise = Noise(15);
        for n in 0..1_000 {
            let (topic, face) = (TOPICS[n % 2], FACES[n % 2]);
            let offer = json!({"type": "offer", "sdp": "v=0"});
            let offer = mallory.message(face, "bob", &noise.call(), offer);
            mallory.publish(topic, offer.to_string());
            if n % BURST == 0 {
                mallory.delivered();
            }
        }
    });
}

#[test]
fn presence_of_all_kinds() {
    under_attack(Drops::None, |mallory, _| {
        let texts = [
            "",
            "offline",
            "{}",
            r#"{"v":1,"state":"offline","run":"6d-0"}"#,
            r#"{"v":9,"state":"available","run":"1"}"#,
            r#"{"v":1,"state":"busy","run":"6d-0"}"#,
        ];
        for id in ["alice", "bob", "mallory", "a/b"] {
            for text in texts {
                mallory.publish(&format!("tring/presence/{id}"), text);
            }
        }
    });
}

#[test]
fn retained_messages_do_not_ring() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut mallory = Mallory::at(mosquitto.port());
    for (topic, face) in TOPICS.into_iter().zip(FACES) {
        let offer = mallory.message(face, "bob", "1", json!({"type": "offer", "sdp": "v=0"}));
        mallory.retain(topic, offer.to_string());
    }
    mallory.retain("tring/call/a b/bob", "the owner of this topic has no valid ID");
    mallory.delivered();
    let mut bob = listen(&mosquitto.url());
    bob.wait_event("warning", PATIENCE);
    let mut alice = call::call_bob(peer("alice", &mosquitto.url()).option("--duration", "4s"));
    let (alice, mut bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    for topic in TOPICS.into_iter().chain(["tring/call/a b/bob"]) {
        mallory.retain(topic, "");
    }
    mallory.delivered();
    assert_eq!(bob.summary()["signalling"]["dropped"], 3);
    assert_eq!(bob.warnings().len(), 1);
    bob.events.retain(|event| event["event"] != "warning");
    alice.assert_called();
    bob.assert_answered();
    bob.assert_media();
}

/// Descriptions that no peer connection can be made of.
fn nonsense_sdp() -> Vec<String> {
    let media = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\na=mid:0\r\n";
    let session = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
    let mut noise = Noise(16);
    vec![
        String::new(),
        "v=0".to_owned(),
        "\u{0}\u{1b}[2J\r\n".repeat(100),
        String::from_utf8_lossy(&noise.bytes(5_000)).into_owned(),
        session.to_owned(),
        // Neither ICE nor DTLS.
        format!("{session}{media}"),
        // An answer where an offer belongs.
        format!(
            "{session}{media}a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:active\r\na=sendonly\r\n"
        ),
        // A fingerprint that is none.
        format!("{session}{media}a=fingerprint:sha-256 00\r\na=setup:actpass\r\n"),
        format!("{session}{}", media.repeat(200)),
        format!("{session}{media}a=x:{}\r\n", "y".repeat(100_000)),
    ]
}

#[test]
fn garbage_offers_do_not_wear_out_a_listener() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut mallory = Mallory::at(mosquitto.port());
    let mut noise = Noise(17);
    let mut bob = call::listen_plain(peer("bob", &mosquitto.url()).and(["--answer", "auto"]));
    for sdp in nonsense_sdp() {
        let call = noise.call();
        let offer = mallory.message("mallory", "bob", &call, json!({"type": "offer", "sdp": sdp}));
        mallory.publish(TOPICS[0], offer.to_string());
        mallory.delivered();
        let ended = bob.wait_event_where("ended", PATIENCE, |event| event["call_id"] == *call);
        assert_eq!(ended["reason"], "no-path", "{ended}");
    }
    let alice = Ended::wait(&mut call::call_bob(peer("alice", &mosquitto.url()).option("--duration", "4s")));
    alice.assert_called();
    alice.assert_media();
    bob.send_control(&json!({"command": "quit"}));
    assert_eq!(bob.wait_exit(PATIENCE), 0);
}

#[test]
fn offers_that_lead_nowhere_do_not_keep_a_listener() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut mallory = Mallory::at(mosquitto.port());
    let mut bob = call::listen_plain(peer("bob", &mosquitto.url()).and(["--answer", "auto"]));
    let fingerprint = vec!["AB"; 32].join(":");
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=mid:0\r\na=sendrecv\r\n\
         a=rtpmap:111 opus/48000/2\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\n"
    );
    let offer = mallory.message("mallory", "bob", "1", json!({"type": "offer", "sdp": sdp}));
    mallory.publish(TOPICS[0], offer.to_string());
    bob.wait_event("accepted", PATIENCE);
    assert_eq!(bob.wait_event("ended", PATIENCE)["reason"], "no-path");
    let alice = Ended::wait(&mut call::call_bob(peer("alice", &mosquitto.url()).option("--duration", "1s")));
    assert_eq!(alice.status, 0);
}

#[test]
fn garbage_answers_end_the_call() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut mallory = Mallory::at(mosquitto.port());
    mallory.subscribe("tring/call/alice/mallory");
    for sdp in nonsense_sdp() {
        let args = Args::new(["call", "mallory"]).and(call::TEST_MEDIA).and(peer("alice", &mosquitto.url()));
        let mut alice = Tring::command(args).plain().spawn();
        let call = mallory.hears("offer")["call"].as_str().expect("an offer names its call").to_owned();
        for content in [json!({"type": "ringing"}), json!({"type": "answer", "sdp": sdp})] {
            let message = mallory.message("mallory", "alice", &call, content);
            mallory.publish("tring/call/mallory/alice", message.to_string());
        }
        mallory.delivered();
        let alice = Ended::wait(&mut alice);
        assert_eq!((alice.status, alice.reason()), (22, "no-path"), "{sdp}");
        let detail = alice.event("ended")["detail"].as_str().unwrap_or_default();
        assert!(!detail.is_empty() && !detail.contains('\u{1b}'), "{detail:?}");
    }
}

// ---- in the caller's name ----

/// Who knows the id of the call and says things in the caller's name changes nothing: they are not sealed with her key.
#[test]
fn a_call_is_not_changed_in_the_callers_name() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut mallory = Mallory::at(mosquitto.port());
    let mut bob = listen(&mosquitto.url());
    let mut alice = call::call_bob(peer("alice", &mosquitto.url()));
    talking([&mut alice, &mut bob]);
    let call = bob.wait_event("connected", PATIENCE)["call_id"].as_str().unwrap().to_owned();
    let update = |revision: u32| json!({"type": "update", "revision": revision, "generation": 1, "sdp": "v=0\r\n"});
    let hold = json!({"type": "media", "revision": u32::MAX, "audio": true, "video": true, "hold": true});
    let bye = json!({"type": "bye", "reason": "hangup"});
    for content in [update(1), update(u32::MAX), hold, bye] {
        let message = mallory.message("alice", "bob", &call, content);
        mallory.publish(TOPICS[1], message.to_string());
    }
    mallory.delivered();
    bob.wait_event("warning", PATIENCE);
    alice.send_control(&json!({"command": "reconnect"}));
    for side in [&mut alice, &mut bob] {
        side.wait_event("reconnected", PATIENCE);
        side.catch_up();
        side.wait_event_where("stats", PATIENCE, |stats| stats["received"]["fps"].as_f64() > Some(10.0));
    }
    assert_eq!(bob.events_named("held"), Vec::<serde_json::Value>::new());
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    assert_eq!((bob.status, bob.reason()), (0, "remote-hangup"));
    assert_eq!(bob.summary()["signalling"]["dropped"], 4, "{:?}", bob.warnings());
}

/// A newer program's message is acknowledged, so that it is not sent again, and the user is not troubled.
#[test]
fn messages_of_a_type_that_is_not_known() {
    under_attack(Drops::None, |mallory, bob| {
        mallory.subscribe("tring/call/bob/mallory");
        let message = mallory.message("mallory", "bob", "c", json!({"type": "transfer", "whom": {"id": "carol"}}));
        mallory.publish(TOPICS[0], message.to_string());
        assert_eq!(mallory.hears("ack")["of"], message["id"]);
        bob.catch_up();
        assert_eq!(bob.events_named("warning"), Vec::<serde_json::Value>::new());
    });
}

//! A broker that need not be trusted: what it sees of a call, and what it can do to one. A relay between two brokers stands
//! for a broker with full control: it drops, delays, repeats, reorders and changes what peers say.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttc::{Client, Event, Packet, QoS};
use serde_json::{Value, json};

use crate::support::call::{Args, Ended, TEST_MEDIA, talking};
use crate::support::mallory::{Mallory, options};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

/// Something that was published: topic, bytes.
type Said = (String, Vec<u8>);

fn alice(home: &Path, broker: &str, args: &[&str]) -> Tring {
    plain_alice(home, broker, &[&["--seal"], args].concat())
}

/// As if there were no sealing.
fn plain_alice(home: &Path, broker: &str, args: &[&str]) -> Tring {
    let call = Args::new(["call", "bob", "--id", "alice", "--control", "-", "--broker", broker]).and(TEST_MEDIA);
    Tring::command(call.and(args.iter().copied())).home(home).spawn()
}

fn bob(home: &Path, broker: &str, args: &[&str]) -> Tring {
    plain_bob(home, broker, &[&["--seal"], args].concat())
}

fn plain_bob(home: &Path, broker: &str, args: &[&str]) -> Tring {
    let listen = Args::new(["listen", "--id", "bob", "--answer", "auto", "--control", "-", "--broker", broker]);
    let mut bob = Tring::command(listen.and(TEST_MEDIA).and(args.iter().copied())).home(home).spawn();
    bob.wait_event("online", PATIENCE);
    bob
}

fn hang_up(side: &mut Tring) {
    side.send_control(&json!({"command": "hangup"}));
}

/// A whole call between the homes of two users.
fn whole_call(homes: [&Path; 2], broker: &str) -> [Ended; 2] {
    let mut bob = bob(homes[1], broker, &["--once"]);
    let mut alice = alice(homes[0], broker, &["--duration", "1s"]);
    [Ended::wait(&mut alice), Ended::wait(&mut bob)]
}

// ---- what the broker sees ----

#[test]
fn nothing_of_a_call_is_seen_by_the_broker() {
    let _turn = Turn::call();
    let (mosquitto, homes) = (Mosquitto::anonymous(), [TempDir::new("a"), TempDir::new("b")]);
    let mut mallory = Mallory::at(mosquitto.port());
    mallory.subscribe("#");
    let mut bob = bob(homes[1].path(), &mosquitto.url(), &["--once"]);
    let mut alice = alice(homes[0].path(), &mosquitto.url(), &[]);
    talking([&mut alice, &mut bob]);
    for command in [json!({"command": "hold"}), json!({"command": "resume"}), json!({"command": "reconnect"})] {
        alice.send_control(&command);
    }
    alice.wait_event("reconnected", PATIENCE);
    hang_up(&mut alice);
    let ended = [Ended::wait(&mut alice), Ended::wait(&mut bob)];
    for side in &ended {
        let connected = side.event("connected");
        assert_eq!((&connected["sealed"], &connected["verified"]), (&json!(true), &json!(false)), "{connected}");
        assert_eq!(connected["key"].as_str().unwrap().split(' ').count(), 12);
    }
    mallory.publish("end", "end");
    let heard = mallory.heard_before("end");
    let calls: Vec<_> = heard.iter().filter(|publish| publish.topic.starts_with("tring/call/")).collect();
    assert!(calls.len() > 15, "{} messages", calls.len());
    for publish in calls {
        // What a listener says to itself, to learn of the broker's rules.
        if publish.payload == "{}" {
            continue;
        }
        assert_eq!(publish.payload[0], 1, "not sealed: {publish:?}");
        for word in ["fingerprint", "candidate", "sdp", "offer", "bye", "hangup", "hold", "127.0.0.1", "ice-"] {
            let shows = publish.payload.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!shows, "{word} in {publish:?}");
        }
    }
}

// ---- who is known ----

#[test]
fn a_key_is_remembered_and_another_one_is_refused_on_both_sides() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let (alices, bobs, others) = (TempDir::new("a"), TempDir::new("b"), TempDir::new("c"));
    for _ in 0..2 {
        let ended = whole_call([alices.path(), bobs.path()], &mosquitto.url());
        assert_eq!([ended[0].status, ended[1].status], [0, 0]);
    }
    // Somebody else by bob's ID.
    let mut other = bob(others.path(), &mosquitto.url(), &[]);
    let refused = Ended::wait(&mut alice(alices.path(), &mosquitto.url(), &[]));
    assert_eq!(refused.status, 24, "{}", refused.failure());
    assert!(refused.failure().contains("has changed") && refused.failure().contains("tring contacts trust bob"));
    assert!(other.events_named("incoming").is_empty());
    other.send_control(&json!({"command": "quit"}));
    assert_eq!(other.wait_exit(PATIENCE), 0);
    // Somebody else by alice's ID.
    let mut bob = bob(bobs.path(), &mosquitto.url(), &[]);
    let mallory = TempDir::new("m");
    let refused = Ended::wait(&mut alice(mallory.path(), &mosquitto.url(), &[]));
    assert_eq!((refused.status, refused.reason()), (24, "identity"));
    let warning = bob.wait_event("warning", PATIENCE);
    assert!(warning["text"].as_str().unwrap().contains("the key of alice has changed"), "{warning}");
    assert!(bob.events_named("incoming").is_empty());
    // The true one gets through.
    let ended = Ended::wait(&mut alice(alices.path(), &mosquitto.url(), &["--duration", "1s"]));
    assert_eq!(ended.status, 0, "{}", ended.failure());
}

#[test]
fn who_had_a_key_is_not_called_without_one() {
    let _turn = Turn::call();
    let (mosquitto, homes) = (Mosquitto::anonymous(), [TempDir::new("a"), TempDir::new("b")]);
    assert_eq!(whole_call([homes[0].path(), homes[1].path()], &mosquitto.url())[0].status, 0);
    let _bob = plain_bob(homes[1].path(), &mosquitto.url(), &[]);
    for args in [&[][..], &["--plain"]] {
        let refused = Ended::wait(&mut alice(homes[0].path(), &mosquitto.url(), args));
        assert_eq!(refused.status, 24, "{}", refused.failure());
        assert!(refused.failure().contains("shows no key, and had one before"), "{}", refused.failure());
    }
}

fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn logged(home: &Path) -> Value {
    let log = Tring::command(["log", "--json"]).home(home).output(home);
    serde_json::from_slice(log.stdout.split(|b| *b == b'\n').next().unwrap()).unwrap()
}

#[test]
fn plain_is_spoken_where_both_sides_say_so_and_is_marked() {
    let _turn = Turn::call();
    let (mosquitto, homes) = (Mosquitto::anonymous(), [TempDir::new("a"), TempDir::new("b")]);
    let mut bob = plain_bob(homes[1].path(), &mosquitto.url(), &["--once"]);
    let refused = Ended::wait(&mut alice(homes[0].path(), &mosquitto.url(), &[]));
    assert_eq!(refused.status, 24);
    assert!(refused.failure().contains("--plain"), "{}", refused.failure());
    let ended = Ended::wait(&mut alice(homes[0].path(), &mosquitto.url(), &["--plain", "--duration", "1s"]));
    assert_eq!(ended.status, 0, "{}", ended.failure());
    let connected = ended.event("connected");
    assert_eq!((&connected["sealed"], &connected["key"]), (&json!(false), &Value::Null));
    assert_eq!(Ended::wait(&mut bob).status, 0);
    let log = logged(homes[0].path());
    assert_eq!((&log["sealed"], &log["verified"]), (&json!(false), &json!(false)), "{log}");
}

#[test]
fn without_the_option_nothing_is_sealed_and_no_key_is_made() {
    let _turn = Turn::call();
    let (mosquitto, homes) = (Mosquitto::anonymous(), [TempDir::new("a"), TempDir::new("b")]);
    let mut mallory = Mallory::at(mosquitto.port());
    mallory.subscribe("tring/presence/+");
    let mut bob = plain_bob(homes[1].path(), &mosquitto.url(), &["--once"]);
    let ended = Ended::wait(&mut plain_alice(homes[0].path(), &mosquitto.url(), &["--duration", "1s"]));
    assert_eq!((ended.status, Ended::wait(&mut bob).status), (0, 0), "{}", ended.failure());
    let connected = ended.event("connected");
    assert!(connected["pair"].is_object() && connected.get("sealed").is_none(), "{connected}");
    assert!(logged(homes[0].path()).get("sealed").is_none());
    for home in &homes {
        let state = files(&home.path().join("state/tring"));
        assert!(state.contains(&"calls.ndjson".to_owned()), "{state:?}");
        assert!(!state.iter().any(|file| file.starts_with("keys") || file.starts_with("known-peers")), "{state:?}");
    }
    mallory.publish("tring/presence/end", "end");
    let said = mallory.heard_before("end");
    assert!(said.iter().any(|presence| presence.topic == "tring/presence/bob"), "{said:?}");
    for presence in said {
        assert!(!presence.payload.windows(4).any(|word| word == b"seal"), "{presence:?}");
    }
}

#[test]
fn who_does_not_seal_is_told_to_by_who_does() {
    let _turn = Turn::call();
    let (mosquitto, homes) = (Mosquitto::anonymous(), [TempDir::new("a"), TempDir::new("b")]);
    let mut bob = bob(homes[1].path(), &mosquitto.url(), &[]);
    let refused = Ended::wait(&mut plain_alice(homes[0].path(), &mosquitto.url(), &[]));
    assert_eq!((refused.status, refused.reason()), (24, "identity"), "{}", refused.failure());
    assert!(bob.events_named("incoming").is_empty());
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let home = TempDir::new("a");
    for (args, word) in [
        (&["--plain"][..], "pass --seal too"),
        (&["--seal", "--dialect", "apprtc"], "cannot seal"),
        (&["--require-known", "--plain"], "pass one of them"),
    ] {
        let call = Tring::command(Args::new(["call", "bob"]).and(args.iter().copied()));
        let output = call.home(home.path()).output(home.path());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(word), "{said}");
    }
    assert!(files(&home.path().join("state/tring")).is_empty());
}

fn contacts(home: &Path, args: &[&str]) -> (i32, String) {
    let output = Tring::command(Args::new(["contacts"]).and(args.iter().copied())).home(home).output(home);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[test]
fn keys_are_shown_trusted_verified_forgotten_and_blocked() {
    let _turn = Turn::call();
    let (mosquitto, alices, bobs) = (Mosquitto::anonymous(), TempDir::new("a"), TempDir::new("b"));
    let shown = Tring::command(["id", "--id", "bob", "--json"]).home(bobs.path()).output(bobs.path());
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let words: Vec<&str> = shown["words"].as_str().unwrap().split(' ').collect();
    let picture = Tring::command(["id", "--id", "bob"]).home(bobs.path()).output(bobs.path());
    let picture = String::from_utf8(picture.stdout).unwrap();
    assert!(picture.contains(&words.join(" ")) && picture.contains('▀'), "{picture}");

    let known_only = ["--require-known", "--duration", "1s"];
    let mut bob = bob(bobs.path(), &mosquitto.url(), &[]);
    let refused = Ended::wait(&mut alice(alices.path(), &mosquitto.url(), &known_only));
    assert_eq!(refused.status, 24, "{}", refused.failure());
    assert_eq!(contacts(alices.path(), &["trust", "bob", "zoo"]).0, 2);
    assert_eq!(contacts(alices.path(), &["verify", "bob"]).0, 2, "there is no key yet");
    assert_eq!(contacts(alices.path(), &[&["trust", "bob"], &words[..]].concat()).0, 0);
    let ended = Ended::wait(&mut alice(alices.path(), &mosquitto.url(), &known_only));
    assert_eq!(ended.status, 0, "{}", ended.failure());
    assert_eq!(ended.event("connected")["verified"], true);
    // Bob remembers alice, and compares her key.
    bob.wait_event("summary", PATIENCE);
    let (status, known) = contacts(bobs.path(), &["known"]);
    assert!(status == 0 && known.starts_with("alice  known  "), "{known}");
    let hers: Vec<&str> = known.trim().split(' ').filter(|word| !word.is_empty()).skip(2).collect();
    assert_eq!(contacts(bobs.path(), &[&["verify", "alice"], &words[..]].concat()).0, 24, "his own words");
    assert_eq!(contacts(bobs.path(), &[&["verify", "alice"], &hers[..]].concat()).0, 0);
    assert_eq!(contacts(bobs.path(), &["block", "alice"]).0, 0);
    // He takes it up while he listens.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(Ended::wait(&mut alice(alices.path(), &mosquitto.url(), &["--duration", "1s"])).status, 13);
    assert_eq!(contacts(bobs.path(), &["forget", "alice"]).0, 0);
    assert_eq!(contacts(bobs.path(), &["known"]).1.trim(), "no keys are remembered");
}

// ---- a broker with full control ----

/// Passes on what alice says at one broker and bob at another, changed by `how`, which is given what was said before too.
fn relay(ports: [u16; 2], how: impl FnMut(&[Said], Said) -> Vec<Said> + Send + 'static) {
    let how = Arc::new(Mutex::new((Vec::new(), how)));
    let ends = ports.map(|port| Client::new(options("relay", port), 1000));
    let [(one, one_events), (other, other_events)] = ends;
    for (who, from, to, mut events) in
        [("alice", one.clone(), other.clone(), one_events), ("bob", other, one, other_events)]
    {
        let how = Arc::clone(&how);
        for topic in [format!("tring/call/{who}/+"), format!("tring/presence/{who}")] {
            from.subscribe(topic, QoS::AtLeastOnce).unwrap();
        }
        // Ends with the broker.
        std::thread::spawn(move || {
            for event in events.iter().map_while(Result::ok) {
                let Event::Incoming(Packet::Publish(publish)) = event else { continue };
                let said = (publish.topic.clone(), publish.payload.to_vec());
                let (before, how) = &mut *how.lock().unwrap();
                for (topic, payload) in how(before, said.clone()) {
                    let is_presence = topic.starts_with("tring/presence/");
                    if to.publish(topic, QoS::AtLeastOnce, is_presence, payload).is_err() {
                        return;
                    }
                }
                before.push(said);
            }
        });
    }
}

/// Alice calls bob over the relay; alice's end, and what bob told.
fn call_over(how: impl FnMut(&[Said], Said) -> Vec<Said> + Send + 'static) -> [Ended; 2] {
    let (brokers, homes) = ([Mosquitto::anonymous(), Mosquitto::anonymous()], [TempDir::new("a"), TempDir::new("b")]);
    relay(brokers.each_ref().map(Mosquitto::port), how);
    let mut bob = bob(homes[1].path(), &brokers[1].url(), &[]);
    let mut alice = alice(homes[0].path(), &brokers[0].url(), &["--duration", "3s"]);
    let alice = Ended::wait(&mut alice);
    bob.send_control(&json!({"command": "quit"}));
    [alice, Ended::wait(&mut bob)]
}

fn is_call(said: &Said) -> bool {
    said.0.starts_with("tring/call/")
}

#[test]
fn a_broker_that_passes_on_as_it_should() {
    let _turn = Turn::call();
    let [alice, _bob] = call_over(|_, said| vec![said]);
    assert_eq!(alice.status, 0, "{}", alice.failure());
    alice.assert_media();
}

#[test]
fn a_broker_that_delays_repeats_and_reorders_holds_nothing_up() {
    let _turn = Turn::call();
    let [alice, bob] = call_over(|before, said| {
        std::thread::sleep(Duration::from_millis(30));
        // All that was said on this topic before, the last first, around what is said now.
        let earlier = before.iter().rev().filter(|earlier| is_call(earlier) && earlier.0 == said.0);
        let again: Vec<Said> = earlier.take(5).cloned().collect();
        [again.clone(), vec![said.clone(), said], again].concat()
    });
    assert_eq!((alice.status, alice.reason()), (0, "hangup"), "{}", alice.failure());
    alice.assert_media();
    assert_eq!(bob.reason(), "remote-hangup");
    assert_eq!(alice.event("words")["words"], bob.event("words")["words"]);
}

#[test]
fn a_broker_that_changes_messages_gets_no_call() {
    let _turn = Turn::call();
    let [alice, bob] = call_over(|_, mut said| {
        if is_call(&said) {
            let middle = said.1.len() / 2;
            said.1[middle] ^= 1;
        }
        vec![said]
    });
    assert_eq!(alice.status, 13, "{}", alice.failure());
    assert!(bob.events.iter().all(|event| event["event"] != "incoming"));
    assert!(bob.warnings().iter().any(|text| text.contains("changed on the way")), "{:?}", bob.warnings());
}

#[test]
fn a_broker_that_sends_messages_back_and_to_others_gets_no_call() {
    let _turn = Turn::call();
    let [alice, bob] = call_over(|_, said| match said.0.as_str() {
        "tring/call/alice/bob" => vec![("tring/call/carol/bob".to_owned(), said.1)],
        _ => vec![said],
    });
    assert_eq!(alice.status, 13, "{}", alice.failure());
    assert!(bob.events.iter().all(|event| event["event"] != "incoming"));
}

#[test]
fn a_broker_that_takes_the_key_away_gets_no_plain_call() {
    let _turn = Turn::call();
    let [alice, bob] = call_over(|_, mut said| {
        if let Ok(mut presence) = serde_json::from_slice::<Value>(&said.1) {
            presence.as_object_mut().unwrap().remove("seal");
            said.1 = presence.to_string().into_bytes();
        }
        vec![said]
    });
    assert_eq!(alice.status, 24, "{}", alice.failure());
    assert!(bob.events.iter().all(|event| event["event"] != "incoming"));
}

#[test]
fn a_broker_that_makes_up_presence_ends_no_ringing() {
    let _turn = Turn::call();
    let [alice, _bob] = call_over(|_, said| {
        let offline = br#"{"v":1,"state":"offline","run":"6d-0"}"#.to_vec();
        let made_up = ("tring/presence/bob".to_owned(), offline);
        // Once alice has seen his own.
        if said.0 == "tring/call/bob/alice" { vec![made_up, said] } else { vec![said] }
    });
    assert_eq!(alice.status, 0, "{}", alice.failure());
}

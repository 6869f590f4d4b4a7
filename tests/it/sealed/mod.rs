//! A broker that need not be trusted: what it sees of a call, and what it can do to one.
//!
//! - [`keys`]: whose key is remembered, refused, kept
//! - [`plain`]: peers that cannot seal, and calls that are not sealed
//! - [`relays`]: a relay between two brokers stands for a broker with full control: it drops, delays, repeats, reorders and
//!   changes what peers say
//! - [`floods`]: strangers who send thousands of offers

use std::path::Path;

use serde_json::{Value, json};

use crate::support::call::{Args, Ended, TEST_MEDIA, talking};
use crate::support::mallory::{Mallory, options};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::{Tring, TringCommand};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

mod floods;
mod keys;
mod plain;
mod relays;

fn alice_command(broker: &str, args: &[&str]) -> TringCommand {
    let call = Args::new(["call", "bob", "--id", "alice", "--control", "-", "--broker", broker]).and(TEST_MEDIA);
    Tring::command(call.and(args.iter().copied()))
}

fn alice(home: &Path, broker: &str, args: &[&str]) -> Tring {
    alice_command(broker, args).home(home).spawn()
}

fn bob_command(broker: &str, args: &[&str]) -> TringCommand {
    let listen = Args::new(["listen", "--id", "bob", "--answer", "auto", "--control", "-", "--broker", broker]);
    Tring::command(listen.and(TEST_MEDIA).and(args.iter().copied()))
}

fn bob(home: &Path, broker: &str, args: &[&str]) -> Tring {
    let mut bob = bob_command(broker, args).home(home).spawn();
    bob.wait_event("online", PATIENCE);
    bob
}

/// A program by this ID that cannot seal: one of another make, or an older tring. It is online, and says no more.
fn cannot_seal(id: &str, port: u16) -> Mallory {
    let mut client = Mallory::connect(options(id, port));
    client.retain(&format!("tring/presence/{id}"), r#"{"v":1,"state":"available","run":"6d-0"}"#);
    client.delivered();
    client
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

fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn logged(home: &Path) -> Value {
    let log = Tring::command(["log", "--json"]).home(home).output(home);
    serde_json::from_slice(log.stdout.split(|b| *b == b'\n').next().unwrap()).unwrap()
}

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

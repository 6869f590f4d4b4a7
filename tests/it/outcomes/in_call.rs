//! In a call: what commands do, and how it ends.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::{alice, answering, bob, controlled, in_a_call, peer};
use crate::support::call::{self, Ended, talking};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

#[test]
fn commands_rule_a_call() {
    let _turn = Turn::call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("snapshot"));
    let mut bob = controlled(bob(&mosquitto.url()));
    let mut alice = call::call_bob(alice(&mosquitto.url()).and(["--control", "-"]).option("--size", "320x240"));
    bob.wait_event("incoming", PATIENCE);
    bob.send_control(&json!({"command": "answer"}));
    talking([&mut alice, &mut bob]);
    let hears = |wanted: bool| move |stats: &Value| stats["received"]["audio"]["tone_hz"].is_number() == wanted;
    bob.wait_event_where("stats", PATIENCE, hears(true));

    alice.send_control(&json!({"command": "mute"}));
    let muted = alice.wait_event("muted", PATIENCE);
    assert_eq!((&muted["side"], &muted["audio"], &muted["video"]), (&json!("local"), &json!(true), &json!(false)));
    // The other side is told.
    assert_eq!(bob.wait_event("muted", PATIENCE)["side"], "remote");
    bob.wait_event_where("stats", PATIENCE, hears(false));
    alice.send_control(&json!({"command": "mute", "on": false}));
    assert_eq!(alice.wait_event("muted", PATIENCE)["audio"], false);
    bob.wait_event_where("stats", PATIENCE, hears(true));

    // Without a camera the test pattern is gone, whatever is sent in its place.
    let pattern = |stats: &Value| stats["received"]["video"]["pattern"]["read"].as_u64();
    alice.send_control(&json!({"command": "camera", "on": false}));
    assert_eq!(alice.wait_event("muted", PATIENCE)["video"], true);
    let mut last = None;
    let mut is_still = |stats: &Value| std::mem::replace(&mut last, pattern(stats)) == pattern(stats);
    wait_stats(&mut bob, &mut is_still);
    alice.send_control(&json!({"command": "camera", "on": true}));
    assert_eq!(alice.wait_event("muted", PATIENCE)["video"], false);
    let still = last;
    wait_stats(&mut bob, &mut |stats| pattern(stats) > still);

    let file = dir.file("seen.png");
    bob.send_control(&json!({"command": "snapshot", "file": file}));
    assert_eq!(bob.wait_event("snapshot", PATIENCE)["file"].as_str(), file.to_str());
    assert_eq!(png_size(&file), (320, 240));

    let count = bob.events_named("stats").len();
    for _ in 0..3 {
        bob.send_control(&json!({"command": "stats"}));
    }
    bob.send_control(&json!({"command": "dance"}));
    let warning = bob.wait_event("warning", PATIENCE);
    assert!(warning["text"].as_str().is_some_and(|text| text.contains("hangup")), "{warning}");
    assert!(bob.events_named("stats").len() >= count + 3, "figures that were asked for did not come");

    bob.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (0, "remote-hangup"));
    assert_eq!((bob.status, bob.reason()), (0, "hangup"));
}

fn wait_stats(side: &mut Tring, wanted: &mut dyn FnMut(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !wanted(&side.wait_event("stats", PATIENCE)) {
        assert!(Instant::now() < deadline, "the figures did not change");
    }
}

/// Width and height of a PNG file, from its header.
fn png_size(path: &Path) -> (u32, u32) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n", "{} is no PNG", path.display());
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn interrupted_caller() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let (mut alice, mut bob) = in_a_call(&mosquitto.url());
    alice.interrupt();
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (130, "hangup"));
    bob.assert_answered();
}

#[test]
fn interrupted_callee() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let (mut alice, mut bob) = in_a_call(&mosquitto.url());
    bob.interrupt();
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((bob.status, bob.reason()), (130, "hangup"));
    assert_eq!((alice.status, alice.reason()), (0, "remote-hangup"));
}

#[test]
fn terminated() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let (mut alice, mut bob) = in_a_call(&mosquitto.url());
    alice.signal("TERM");
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    bob.assert_answered();
}

#[test]
fn the_set_duration_and_a_snapshot() {
    let _turn = Turn::call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("snapshot"));
    let file = dir.file("seen.png");
    let mut bob = answering(bob(&mosquitto.url()).option("--size", "480x360"));
    let mut alice = call::call_bob(alice(&mosquitto.url()).option("--duration", "2500ms").option("--snapshot", &file));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert!((2.4..4.5).contains(&alice.duration()), "the call lasted {} s", alice.duration());
    assert_eq!(alice.event("snapshot")["file"].as_str(), file.to_str());
    alice.assert_called();
    bob.assert_answered();
    assert_eq!(png_size(&file), (480, 360));
}

#[test]
fn a_listener_takes_one_call_after_the_other() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut bob = call::listen(bob(&mosquitto.url()).and(["--answer", "auto"]));
    for id in ["alice", "carol"] {
        let caller = Ended::wait(&mut call::call_bob(peer(id, &mosquitto.url()).option("--duration", "1s")));
        assert_eq!(caller.status, 0);
        assert_eq!(bob.wait_event("summary", PATIENCE)["peer"], id);
    }
    bob.signal("TERM");
    assert_eq!(bob.wait_exit(PATIENCE), 0);
}

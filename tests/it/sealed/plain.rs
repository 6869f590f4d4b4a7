//! Peers that cannot seal, such as those of other makes and older programs, and calls that are not sealed.

use serde_json::json;

use super::{alice, alice_command, bob, cannot_seal, files, hang_up, logged};
use crate::support::call::{Args, Ended};
use crate::support::mallory::Mallory;
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

#[test]
fn who_cannot_seal_is_called_where_plain_is_allowed_and_nowhere_else() {
    let (mosquitto, home) = (Mosquitto::anonymous(), TempDir::new("a"));
    let mut bob = cannot_seal("bob", mosquitto.port());
    bob.subscribe("tring/call/alice/bob");
    let refused = Ended::wait(&mut alice(home.path(), &mosquitto.url(), &[]));
    assert_eq!(refused.status, 24, "{}", refused.failure());
    for word in ["bob shows no key", "an older tring or another program", "--plain"] {
        assert!(refused.failure().contains(word), "{word}: {}", refused.failure());
    }
    // He is told nothing that is not sealed.
    bob.publish("tring/call/alice/bob", "end");
    assert!(bob.heard_before("end").is_empty());
    let mut alice = alice(home.path(), &mosquitto.url(), &["--plain", "--answer-timeout", "1s"]);
    assert_eq!(bob.hears("offer")["from"], "alice");
    hang_up(&mut alice);
    assert_eq!(alice.wait_exit(PATIENCE), 0);
}

#[test]
fn who_cannot_seal_and_calls_is_told_why_it_is_refused() {
    let (mosquitto, home) = (Mosquitto::anonymous(), TempDir::new("b"));
    let mut bob = bob(home.path(), &mosquitto.url(), &[]);
    let mut client = cannot_seal("alice", mosquitto.port());
    client.subscribe("tring/call/bob/alice");
    let offer = client.message("alice", "bob", "1", json!({"type": "offer", "sdp": "v=0"}));
    client.publish("tring/call/alice/bob", offer.to_string());
    assert_eq!(client.hears("ack")["of"], offer["id"]);
    let bye = client.hears("bye");
    assert_eq!(bye["reason"], "identity");
    assert!(bye["text"].as_str().unwrap().contains("--plain"), "{bye}");
    let warning = bob.wait_event("warning", PATIENCE);
    assert!(warning["text"].as_str().unwrap().contains("--plain"), "{warning}");
    assert!(bob.events_named("incoming").is_empty());
}

#[test]
fn who_shows_nothing_may_be_a_program_that_cannot_seal() {
    let (mosquitto, home) = (Mosquitto::anonymous(), TempDir::new("a"));
    let ended = Ended::wait(&mut alice(home.path(), &mosquitto.url(), &[]));
    assert_eq!((ended.status, ended.reason()), (13, "offline"));
    let detail = ended.event("ended")["detail"].as_str().unwrap();
    assert!(detail.contains("no presence of bob") && detail.contains("--plain"), "{detail}");
}

#[test]
fn in_the_dialect_apprtc_nothing_is_sealed_and_no_key_is_made_and_calls_are_marked() {
    let _turn = Turn::call();
    let (mosquitto, homes) = (Mosquitto::anonymous(), [TempDir::new("a"), TempDir::new("b")]);
    let mut mallory = Mallory::at(mosquitto.port());
    mallory.subscribe("tring/presence/+");
    let mut bob = bob(homes[1].path(), &mosquitto.url(), &["--once", "--dialect", "apprtc"]);
    let args = ["--dialect", "apprtc", "--duration", "1s"];
    let ended = Ended::wait(&mut alice(homes[0].path(), &mosquitto.url(), &args));
    assert_eq!((ended.status, Ended::wait(&mut bob).status), (0, 0), "{}", ended.failure());
    let connected = ended.event("connected");
    assert_eq!((&connected["sealed"], &connected["verified"]), (&json!(false), &json!(false)), "{connected}");
    let log = logged(homes[0].path());
    assert_eq!((&log["sealed"], &log["verified"]), (&json!(false), &json!(false)), "{log}");
    let shown = Tring::command(["log"]).home(homes[0].path()).output(homes[0].path());
    assert!(String::from_utf8_lossy(&shown.stdout).contains("; not verified"), "{shown:?}");
    for home in &homes {
        let state = files(&home.path().join("state/tring"));
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
fn options_that_contradict_each_other_are_refused() {
    let home = TempDir::new("a");
    for (args, word) in [
        (&["--seal=false"][..], "pass --plain"),
        (&["--seal", "--dialect", "apprtc"], "cannot seal"),
        (&["--require-known", "--dialect", "apprtc"], "cannot seal"),
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

/// Whoever asked for sealing before need change nothing.
#[test]
fn a_settings_file_that_asks_for_sealing_is_taken() {
    let home = TempDir::new("a");
    for (text, status, word) in [("seal = true", 20, "127.0.0.1:9"), ("seal = false", 2, "--plain")] {
        let config = home.write("config.toml", text);
        let args = ["--seal", "--config", config.to_str().unwrap()];
        let ended = alice_command("mqtt://127.0.0.1:9", &args[usize::from(status == 2)..]).home(home.path());
        let output = ended.output(home.path());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{text}: {said}");
        assert!(said.contains(word), "{text}: {said}");
    }
}

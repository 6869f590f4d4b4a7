//! Keys of peers: made, remembered, refused, kept; and where none can be kept.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{alice, bob, cannot_seal, whole_call};
use crate::support::call::{Args, Ended, TEST_MEDIA};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

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
    let _bob = cannot_seal("bob", mosquitto.port());
    for args in [&[][..], &["--plain"]] {
        let refused = Ended::wait(&mut alice(homes[0].path(), &mosquitto.url(), args));
        assert_eq!(refused.status, 24, "{}", refused.failure());
        assert!(refused.failure().contains("shows no key, and had one before"), "{}", refused.failure());
    }
}

/// A program without a place for its key seals with one of this run, and says so once.
#[test]
fn without_a_home_and_where_nothing_can_be_written_a_call_is_sealed_all_the_same() {
    let _turn = Turn::call();
    let (mosquitto, homes) = (Mosquitto::anonymous(), [TempDir::new("a"), TempDir::new("b")]);
    let mut bob = bob(homes[1].path(), &mosquitto.url(), &[]);
    for (n, (home, state, why)) in
        [("", "", "there is no home"), ("/", "/proc/tring-state", "cannot be written")].into_iter().enumerate()
    {
        let id = format!("alice-{n}");
        let call =
            Args::new(["call", "bob", "--id", &id, "--broker", &mosquitto.url(), "--duration", "1s", "--no-log"]);
        let call = Tring::command(call.and(TEST_MEDIA)).home(homes[0].path());
        let ended = Ended::wait(&mut call.env("HOME", home).env("XDG_STATE_HOME", state).spawn());
        assert_eq!(ended.status, 0, "{}", ended.failure());
        assert_eq!(ended.event("connected")["sealed"], true);
        assert!(matches!(&ended.warnings()[..], [one] if one.contains(why)), "{:?}", ended.warnings());
        let shown = Tring::command(["id", "--id", &id]).home(homes[0].path());
        let output = shown.env("HOME", home).env("XDG_STATE_HOME", state).output(homes[0].path());
        assert_eq!(output.status.code(), Some(2), "a key that nobody will see again is not shown: {output:?}");
    }
    bob.send_control(&json!({"command": "quit"}));
    assert_eq!(bob.wait_exit(PATIENCE), 0);
}

#[test]
fn a_key_that_is_there_and_cannot_be_used_is_an_error() {
    let home = TempDir::new("a");
    std::fs::create_dir_all(home.path().join("state/tring/keys")).unwrap();
    home.write("state/tring/keys/alice", "no key\n");
    let file = home.file("state/tring/keys/alice");
    for (mode, words) in [(0o644, "chmod 600"), (0o600, "remove that file")] {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let ended = Ended::wait(&mut alice(home.path(), "mqtt://127.0.0.1:9", &[]));
        assert_eq!(ended.status, 2);
        assert!(ended.failure().contains(words) && ended.failure().contains("keys/alice"), "{}", ended.failure());
    }
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

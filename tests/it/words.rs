//! The words of a sealed call, which people compare: the same on both sides, told once, noted for good when the user says so;
//! none where a call is not sealed, and the end of a call whose caller does not keep to its commitment.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::aiortc::Aiortc;
use crate::support::call::{Args, Ended, TEST_MEDIA, talking};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::{PROGRAM, Tring};
use crate::support::screen::Tmux;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

fn caller(id: &str, home: &Path, broker: &str, args: &[&str]) -> Tring {
    let call = Args::new(["call", "bob", "--id", id, "--control", "-", "--broker", broker]).and(TEST_MEDIA);
    Tring::command(call.and(args.iter().copied())).home(home).spawn()
}

fn bob(home: &Path, broker: &str, args: &[&str]) -> Tring {
    let listen = Args::new(["listen", "--id", "bob", "--control", "-", "--broker", broker]).and(TEST_MEDIA);
    let mut bob = Tring::command(listen.and(args.iter().copied())).home(home).spawn();
    bob.wait_event("online", PATIENCE);
    bob
}

/// The words of a call, once it is connected.
fn words(side: &mut Tring) -> (String, bool) {
    let event = side.wait_event("words", PATIENCE);
    let words = event["words"].as_str().unwrap().to_owned();
    assert_eq!(words.split(' ').count(), 4, "{words}");
    (words, event["verified"].as_bool().unwrap())
}

fn position(ended: &Ended, name: &str) -> usize {
    ended.events.iter().position(|event| event["event"] == name).unwrap()
}

fn lines_of(home: &Path, args: &[&str]) -> String {
    let output = Tring::command(args.iter().copied()).home(home).output(home);
    String::from_utf8(output.stdout).unwrap()
}

fn logged(home: &Path) -> Value {
    serde_json::from_str(lines_of(home, &["log", "--json"]).lines().next().unwrap()).unwrap()
}

#[test]
fn both_sides_have_the_same_words_and_the_user_notes_it_for_good() {
    let _turn = Turn::call();
    let (mosquitto, homes) = (Mosquitto::anonymous(), [TempDir::new("a"), TempDir::new("b")]);
    let mut before = None;
    for is_verified in [false, true] {
        let mut bob = bob(homes[1].path(), &mosquitto.url(), &["--answer", "auto", "--once"]);
        let mut alice = caller("alice", homes[0].path(), &mosquitto.url(), &[]);
        talking([&mut alice, &mut bob]);
        let of_alice = words(&mut alice);
        assert_eq!((&of_alice.0, is_verified), (&words(&mut bob).0, of_alice.1));
        assert_ne!(Some(&of_alice.0), before.as_ref(), "each call has its own");
        if !is_verified {
            let heard = of_alice.0.to_uppercase().replace(' ', ", ");
            alice.send_control(&json!({"command": "verify", "words": heard}));
            assert_eq!(alice.wait_event("verified", PATIENCE)["on"], true);
        }
        // Neither a hold nor a new path brings other words.
        for command in ["hold", "resume", "reconnect"] {
            alice.say(command);
        }
        alice.wait_event("reconnected", PATIENCE);
        alice.say("hangup");
        let ended = [Ended::wait(&mut alice), Ended::wait(&mut bob)];
        for side in &ended {
            assert_eq!(side.status, 0, "{}", side.failure());
            assert_eq!(side.events.iter().filter(|event| event["event"] == "words").count(), 1);
            assert!(position(side, "connected") < position(side, "words"));
        }
        assert_eq!(ended[0].event("connected")["verified"], is_verified);
        assert_eq!(
            (&logged(homes[0].path())["verified"], &logged(homes[1].path())["verified"]),
            (&json!(true), &json!(false))
        );
        before = Some(of_alice.0);
    }
    assert!(lines_of(homes[0].path(), &["contacts", "known"]).starts_with("bob  verified  "));
    assert!(lines_of(homes[1].path(), &["contacts", "known"]).starts_with("alice  known  "));
    assert!(lines_of(homes[0].path(), &["log"]).contains("; verified"));
}

#[test]
fn what_the_user_says_of_the_words_can_be_wrong_and_be_taken_back() {
    let _turn = Turn::call();
    let (mosquitto, homes) = (Mosquitto::anonymous(), [TempDir::new("a"), TempDir::new("b")]);
    let mut bob = bob(homes[1].path(), &mosquitto.url(), &["--answer", "auto", "--once"]);
    let mut alice = caller("alice", homes[0].path(), &mosquitto.url(), &[]);
    alice.say("verify");
    talking([&mut alice, &mut bob]);
    words(&mut alice);
    alice.send_control(&json!({"command": "verify", "words": "zoo zoo zoo zoo"}));
    alice.send_control(&json!({"command": "verify", "on": false}));
    let warnings = |alice: &mut Tring, count: usize| {
        let texts = (0..count).map(|_| alice.wait_event("warning", PATIENCE)["text"].as_str().unwrap().to_owned());
        texts.collect::<Vec<_>>()
    };
    let said = warnings(&mut alice, 3);
    for (text, wanted) in said.iter().zip(["no sealed call", "these are not the words", "is not verified"]) {
        assert!(text.contains(wanted), "{text}");
    }
    for on in [true, false] {
        alice.send_control(&json!({"command": "verify", "on": on}));
        assert_eq!(alice.wait_event("verified", PATIENCE)["on"], on);
    }
    assert!(lines_of(homes[0].path(), &["contacts", "known"]).starts_with("bob  known  "));
    // What another program notes is taken up.
    for (command, on) in [("verify", true), ("block", false)] {
        lines_of(homes[0].path(), &["contacts", command, "bob"]);
        assert_eq!(alice.wait_event("verified", PATIENCE)["on"], on, "{command}");
    }
    // Who is blocked stays so.
    alice.say("verify");
    assert!(warnings(&mut alice, 1)[0].contains("bob is blocked by now"));
    alice.say("hangup");
    assert_eq!(Ended::wait(&mut alice).status, 0);
    assert_eq!(logged(homes[0].path())["verified"], false);
}

#[test]
fn a_path_that_is_set_up_while_it_rings_brings_words_when_somebody_answers() {
    let _turn = Turn::call();
    let (mosquitto, homes) = (Mosquitto::anonymous(), [TempDir::new("a"), TempDir::new("b")]);
    let mut bob = bob(homes[1].path(), &mosquitto.url(), &["--early-media", "always", "--once"]);
    let mut alice = caller("alice", homes[0].path(), &mosquitto.url(), &[]);
    for side in [&mut alice, &mut bob] {
        side.wait_event("path_ready", PATIENCE);
        side.catch_up();
        assert!(side.events_named("words").is_empty(), "nobody has answered");
    }
    bob.say("answer");
    assert_eq!(words(&mut alice), words(&mut bob));
    alice.say("hangup");
    for side in [Ended::wait(&mut alice), Ended::wait(&mut bob)] {
        assert_eq!(side.status, 0, "{}", side.failure());
        assert!(position(&side, "connected") < position(&side, "words"));
    }
}

#[test]
fn each_of_two_calls_has_its_words() {
    let _turn = Turn::call();
    let (mosquitto, home) = (Mosquitto::anonymous(), TempDir::new("b"));
    let homes = [TempDir::new("a"), TempDir::new("c")];
    let mut bob = bob(home.path(), &mosquitto.url(), &[]);
    let mut seen = Vec::new();
    let mut callers = Vec::new();
    for (id, home) in ["alice", "carol"].into_iter().zip(&homes) {
        let mut caller = caller(id, home.path(), &mosquitto.url(), &[]);
        bob.wait_event("incoming", PATIENCE);
        bob.say("answer");
        let event = bob.wait_event("words", PATIENCE);
        assert_eq!((event["peer"].as_str(), event["words"].as_str()), (Some(id), Some(&*words(&mut caller).0)));
        seen.push(event["words"].clone());
        callers.push(caller);
    }
    assert_ne!(seen[0], seen[1]);
    // He talks to carol.
    bob.say("verify");
    assert_eq!(bob.wait_event("verified", PATIENCE)["peer"], "carol");
    let known = lines_of(home.path(), &["contacts", "known"]);
    assert!(known.contains("alice  known  ") && known.contains("carol  verified  "), "{known}");
    for caller in &mut callers {
        caller.say("hangup");
        assert_eq!(Ended::wait(caller).status, 0);
    }
}

#[test]
fn a_call_by_the_connection_of_another_program_has_the_same_words() {
    let _turn = Turn::call();
    let (mosquitto, homes) = (Mosquitto::anonymous(), [TempDir::new("a"), TempDir::new("b")]);
    let mut bob = bob(homes[1].path(), &mosquitto.url(), &["--answer", "auto", "--once"]);
    let listen = ["listen", "--id", "alice", "--control", "-", "--broker", &mosquitto.url()].map(str::to_owned);
    let listen = Args::new(listen).and(TEST_MEDIA);
    let mut listener = Tring::command(listen).home(homes[0].path()).spawn();
    listener.wait_event("online", PATIENCE);
    let mut alice = caller("alice", homes[0].path(), &mosquitto.url(), &[]);
    assert_eq!(alice.wait_event("shared", PATIENCE)["process"], listener.pid());
    assert_eq!(words(&mut alice), words(&mut bob));
    alice.say("hangup");
    for side in [&mut alice, &mut bob] {
        assert_eq!(Ended::wait(side).status, 0);
    }
}

#[test]
fn a_call_in_plain_has_no_words() {
    let _turn = Turn::call();
    let (mosquitto, homes) = (Mosquitto::anonymous(), [TempDir::new("a"), TempDir::new("b")]);
    let mut bob = bob(homes[1].path(), &mosquitto.url(), &["--answer", "auto", "--once", "--dialect", "apprtc"]);
    let mut alice = caller("alice", homes[0].path(), &mosquitto.url(), &["--dialect", "apprtc"]);
    talking([&mut alice, &mut bob]);
    alice.say("verify");
    let warning = alice.wait_event("warning", PATIENCE);
    assert!(warning["text"].as_str().unwrap().contains("this call is not sealed"), "{warning}");
    alice.say("hangup");
    for side in [Ended::wait(&mut alice), Ended::wait(&mut bob)] {
        assert_eq!(side.status, 0, "{}", side.failure());
        assert!(side.events.iter().all(|event| event["event"] != "words" && event["event"] != "verified"));
    }
}

#[test]
fn the_words_stand_in_the_view_until_a_key_says_that_they_are_the_same() {
    let _turn = Turn::call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("terminal"));
    let mut bob = bob(dir.path(), &mosquitto.url(), &["--answer", "auto", "--once"]);
    let tmux = Tmux::run(
        &format!(
            "{PROGRAM} call bob --id alice --broker {} --video test --audio none --play none --show terminal",
            mosquitto.url()
        ),
        dir.path(),
    );
    let (words, _) = words(&mut bob);
    tmux.until("the words", |shown| shown.contains(&format!("words: {words}")) && shown.contains("v same words"));
    tmux.press("v");
    tmux.until("that they are noted", |shown| shown.contains("verified") && !shown.contains(&words));
    tmux.press("v");
    tmux.until("the words again", |shown| shown.contains(&words));
    tmux.press("q");
    assert_eq!(Ended::wait(&mut bob).status, 0);
}

// ---- a second implementation ----

fn phone(mosquitto: &Mosquitto, role: &str, options: &[&str]) -> Aiortc {
    let broker = format!("127.0.0.1:{}", mosquitto.port());
    let args = Args::new([role, "--broker", &broker, "--id", "phone", "--partner", "alice", "--seal"]);
    Aiortc::start_script("tests/foreign/phone.py", args.and(options.iter().copied()))
}

fn alice(command: &[&str], mosquitto: &Mosquitto) -> Tring {
    let args = Args::new(command.iter().copied()).and(TEST_MEDIA);
    Tring::spawn(args.and(["--id", "alice", "--control", "-", "--broker", &mosquitto.url()]))
}

#[test]
fn an_earlier_program_that_seals_is_called_without_words() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut phone = phone(&mosquitto, "answer", &["--without-words"]);
    let mut alice = alice(&["call", "phone"], &mosquitto);
    talking([&mut alice]);
    alice.say("verify");
    let warning = alice.wait_event("warning", PATIENCE);
    assert!(warning["text"].as_str().unwrap().contains("no words to compare"), "{warning}");
    phone.order("bye");
    let ended = Ended::wait(&mut alice);
    assert_eq!((ended.status, ended.event("connected")["sealed"].as_bool()), (0, Some(true)));
    assert!(ended.events.iter().all(|event| event["event"] != "words"));
}

#[test]
fn an_earlier_program_that_seals_calls_without_words() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut alice = alice(&["listen", "--once", "--answer", "auto"], &mosquitto);
    alice.wait_event("online", PATIENCE);
    let mut phone = phone(&mosquitto, "call", &["--without-words"]);
    talking([&mut alice]);
    phone.order("bye");
    let ended = Ended::wait(&mut alice);
    assert_eq!((ended.status, ended.event("connected")["sealed"].as_bool()), (0, Some(true)));
    assert!(ended.events.iter().all(|event| event["event"] != "words"));
    assert!(phone.heard().iter().all(|heard| *heard != "nonce"));
}

#[test]
fn a_caller_that_breaks_its_commitment_is_hung_up_on() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut alice = alice(&["listen", "--once", "--answer", "auto"], &mosquitto);
    alice.wait_event("online", PATIENCE);
    let mut phone = phone(&mosquitto, "call", &["--break-commitment"]);
    assert_eq!(phone.hears("bye")["reason"], "identity");
    let ended = Ended::wait(&mut alice);
    assert_eq!((ended.status, ended.reason()), (24, "commitment"));
    let detail = ended.event("ended")["detail"].as_str().unwrap();
    assert!(
        detail.contains("did not keep to its commitment") && detail.contains("tring contacts forget phone"),
        "{detail}"
    );
    assert!(ended.events.iter().all(|event| event["event"] != "words"));
}

/// What somebody in the middle can do at first contact: each side has a call with her, and other words.
#[test]
fn somebody_in_the_middle_gives_both_sides_other_words() {
    let _turn = Turn::whole_machine();
    let (of_alice, of_bob) = (Mosquitto::anonymous(), Mosquitto::anonymous());
    // The broker of alice shows her a bob, and that of bob shows him an alice, each with keys of its own.
    let middle = |mosquitto: &Mosquitto, role: &str, me: &str, partner: &str| {
        let broker = format!("127.0.0.1:{}", mosquitto.port());
        let args = Args::new([role, "--broker", &broker, "--id", me, "--partner", partner, "--seal"]);
        Aiortc::start_script("tests/foreign/phone.py", args)
    };
    let homes = [TempDir::new("a"), TempDir::new("b")];
    let mut bob = bob(homes[1].path(), &of_bob.url(), &["--answer", "auto", "--once"]);
    let _for_alice = middle(&of_alice, "answer", "bob", "alice");
    let _for_bob = middle(&of_bob, "call", "alice", "bob");
    let mut alice = caller("alice", homes[0].path(), &of_alice.url(), &[]);
    assert_ne!(words(&mut alice).0, words(&mut bob).0);
    for side in [&mut alice, &mut bob] {
        side.say("hangup");
        assert_eq!(Ended::wait(side).status, 0);
    }
}

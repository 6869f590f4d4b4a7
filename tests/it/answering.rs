//! Who answers and who is let through: a person at a terminal is asked and answers by one key, pressed after the question;
//! calls go out while `listen` runs under the same ID; whoever crashed and calls anew is let through.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::call::{self, Args, Ended, TEST_MEDIA, talking};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::{PROGRAM, Tring, clean};
use crate::support::screen::Tmux;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

/// Bob waits at a terminal; when the program has ended, it shows the status and whether the terminal is as before.
fn bob_at_a_terminal(broker: &str, dir: &TempDir) -> Tmux {
    let media = TEST_MEDIA.join(" ");
    let script = format!(
        "export HOME={0} XDG_STATE_HOME={0}\nbefore=$(stty -g)\n\
         trap : INT QUIT\n{PROGRAM} listen --id bob --broker {broker} {media}\nstatus=$?\n\
         test \"$before\" = \"$(stty -g)\" && state=restored || state=changed\necho \"status $status, $state\"",
        dir.path().display()
    );
    let bob = Tmux::run(&script, dir.path());
    bob.until("that it waits", |shown| shown.contains("waiting for calls"));
    bob
}

fn alice(broker: &str, options: &[&str]) -> Tring {
    let link = ["--id", "alice", "--broker", broker, "--control", "-"];
    call::call_bob(link.iter().chain(options).copied())
}

#[test]
fn what_was_typed_before_a_call_answers_nothing() {
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("terminal"));
    let bob = bob_at_a_terminal(&mosquitto.url(), &dir);
    // A line, and the beginning of another, which the terminal still holds.
    for key in ["Enter", "y", "Enter", "n"] {
        bob.press(key);
    }
    let mut first = alice(&mosquitto.url(), &["--answer-timeout", "2s"]);
    first.wait_event("ringing", PATIENCE);
    bob.until("the question", |shown| shown.contains("answer? [y/n]"));
    bob.press("Enter");
    bob.until("which keys there are", |shown| shown.contains("y to answer"));
    assert_eq!(first.wait_exit(PATIENCE), 12);
    bob.until("the end", |shown| shown.contains("missed call"));
    bob.press("C-c");
    bob.until("the terminal as before", |shown| shown.contains("status 130, restored"));
}

#[test]
fn one_key_answers_declines_and_quits() {
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("terminal"));
    let bob = bob_at_a_terminal(&mosquitto.url(), &dir);
    let asked = |times: usize| {
        bob.until("the question", |shown| shown.matches("answer? [y/n]").count() == times);
    };
    let mut answered = alice(&mosquitto.url(), &["--duration", "1s"]);
    asked(1);
    bob.press("y");
    answered.wait_event("connected", PATIENCE);
    assert_eq!(Ended::wait(&mut answered).status, 0);
    bob.until("its end", |shown| shown.contains("call with alice ended"));

    let mut declined = alice(&mosquitto.url(), &[]);
    asked(2);
    bob.press("n");
    assert_eq!(declined.wait_exit(PATIENCE), 11);

    let mut last = alice(&mosquitto.url(), &[]);
    asked(3);
    bob.press("q");
    assert_eq!(last.wait_exit(PATIENCE), 11);
    bob.until("the terminal as before", |shown| shown.contains("status 0, restored"));
}

#[test]
fn a_question_is_no_reason_to_keep_the_terminal() {
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("terminal"));
    for key in ["C-c", "C-\\"] {
        let bob = bob_at_a_terminal(&mosquitto.url(), &dir);
        let mut caller = alice(&mosquitto.url(), &[]);
        bob.until("the question", |shown| shown.contains("answer? [y/n]"));
        bob.press(key);
        if key == "C-\\" {
            // No core dump with the terminal left behind: it is still asked.
            std::thread::sleep(Duration::from_millis(500));
            bob.press("C-c");
        }
        bob.until("the terminal as before", |shown| shown.contains("status 130, restored"));
        assert_eq!(caller.wait_exit(PATIENCE), 11);
    }
}

// ---- calling while listening ----

/// Bob, with the home that all programs of his share.
fn bobs(command: &str, broker: &str, home: &TempDir, options: &[&str]) -> Tring {
    let words = command.split_whitespace();
    let args = Args::new(words).and(["--id", "bob", "--broker", broker, "--control", "-"]).and(TEST_MEDIA).and(options);
    Tring::command(args).home(home.path()).spawn()
}

#[test]
fn a_call_goes_out_while_listen_runs_under_the_same_id() {
    let _turn = Turn::call();
    let (mosquitto, home) = (Mosquitto::anonymous(), TempDir::new("bob"));
    let broker = mosquitto.url();
    let mut listener = bobs("listen", &broker, &home, &[]);
    listener.wait_event("online", PATIENCE);
    let mut alice = call::listen(["--id", "alice", "--broker", &broker, "--answer", "auto"]);
    let mut caller = bobs("call alice", &broker, &home, &[]);
    assert_eq!(caller.wait_event("shared", PATIENCE)["process"], listener.pid());
    assert_eq!(alice.wait_event("incoming", PATIENCE)["peer"], "bob");
    talking([&mut caller, &mut alice]);

    // Bob is on the phone, whichever of his programs has it.
    let carol = || call::call_bob(["--id", "carol", "--broker", &broker]);
    assert_eq!(carol().wait_exit(PATIENCE), 10);
    assert_eq!(listener.wait_event("turned_away", PATIENCE)["caller"], "carol");
    caller.say("hangup");
    Ended::wait(&mut caller).assert_called();
    alice.wait_event("summary", PATIENCE);

    // The listener is there as before, and there is one.
    let mut heard = carol();
    assert_eq!(listener.wait_event("incoming", PATIENCE)["peer"], "carol");
    listener.say("reject");
    assert_eq!(heard.wait_exit(PATIENCE), 11);
    let second = Ended::wait(&mut bobs("listen", &broker, &home, &[]));
    assert!(second.status == 21 && second.error().contains("waits for calls here already"), "{}", second.error());
    assert_eq!(listener.events_named("offline"), [] as [Value; 0]);
    listener.say("quit");
    assert_eq!(listener.wait_exit(PATIENCE), 0);
}

#[test]
fn a_call_goes_on_when_the_program_that_has_the_connection_ends() {
    let _turn = Turn::call();
    let (mosquitto, home) = (Mosquitto::anonymous(), TempDir::new("bob"));
    let broker = mosquitto.url();
    let mut listener = bobs("listen", &broker, &home, &["--from", "carol"]);
    listener.wait_event("online", PATIENCE);
    let mut alice = call::listen(["--id", "alice", "--broker", &broker, "--answer", "auto"]);
    let mut caller = bobs("call alice", &broker, &home, &[]);
    talking([&mut caller, &mut alice]);
    caller.catch_up();
    listener.say("quit");
    assert_eq!(listener.wait_exit(PATIENCE), 0);
    caller.wait_event("offline", PATIENCE);
    caller.wait_event("online", PATIENCE);
    caller.say("hangup");
    let caller = Ended::wait(&mut caller);
    assert_eq!((caller.status, caller.reason()), (0, "hangup"));
    assert_eq!(alice.wait_event("ended", PATIENCE)["reason"], "remote-hangup");
}

// ---- calling anew ----

#[test]
fn whoever_crashed_in_a_call_is_let_through_when_calling_anew() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let broker = mosquitto.url();
    let mut bob = call::listen(["--id", "bob", "--broker", &broker, "--answer", "auto"]);
    let mut dead = alice(&broker, &[]);
    talking([&mut dead, &mut bob]);
    dead.signal("KILL");
    let mut anew = alice(&broker, &["--duration", "1s"]);
    let anew = Ended::wait(&mut anew);
    assert_eq!((anew.status, anew.reason()), (0, "hangup"));
    let ended = bob.wait_event("ended", PATIENCE);
    assert_eq!(ended["reason"], "lost", "{ended}");
    assert_eq!(bob.wait_event("ended", PATIENCE)["reason"], "remote-hangup");
}

#[test]
fn who_is_busy_is_waited_for_and_rung_once_free() {
    let _turn = Turn::call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("waiting"));
    let url = mosquitto.url();
    let mut bob = call::listen(["--id", "bob", "--broker", &url, "--answer", "auto"]);
    let mut carol = call::call_bob(["--id", "carol", "--broker", &url, "--control", "-"]);
    talking([&mut carol, &mut bob]);
    // As a person sees it. The limit of time is for a program that says nothing.
    let mut command = Command::new("timeout");
    command.args(["60", PROGRAM, "call", "bob", "--id", "alice", "--broker", &url, "--wait", "--duration", "1s"]);
    clean(&mut command);
    command.args(TEST_MEDIA).env("HOME", dir.path()).env("XDG_STATE_HOME", dir.path()).stdout(Stdio::piped());
    let mut alice = command.spawn().unwrap();
    let mut lines = BufReader::new(alice.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "bob is in another call: it rings when that is over"));
    assert!(carol.is_running(), "the first call stands");
    carol.send_control(&json!({"command": "hangup"}));
    assert!(lines.any(|line| line == "bob is ringing …"));
    assert!(lines.any(|line| line == "call with bob ended: hung up"));
    assert_eq!((alice.wait().unwrap().code(), Ended::wait(&mut carol).status), (Some(0), 0));
}

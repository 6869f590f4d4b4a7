//! What a phone does besides talking: the call log and redialling, ringing, notifications, the progress of dialling.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::call::{self, Args, Ended, TEST_MEDIA, talking};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::{PROGRAM, Tring, TringCommand};
use crate::support::pulse::Pulse;
use crate::support::screen::{COLUMNS, Tmux};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, run, sound};

/// How often something is looked at that tells of no event.
const LOOK: Duration = Duration::from_millis(50);

fn listen(broker: &str, media: &[&str]) -> TringCommand {
    Tring::command(Args::new(["listen", "--id", "bob", "--broker", broker, "--control", "-"]).and(media))
}

fn call_bob(id: &str, broker: &str, media: &[&str]) -> TringCommand {
    Tring::command(Args::new(["call", "bob", "--id", id, "--broker", broker, "--control", "-"]).and(media))
}

/// Waits until something is so that no event tells.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(LOOK);
    }
}

// ---- the call log ----

fn log_file(home: &TempDir) -> PathBuf {
    home.file("state/tring/calls.ndjson")
}

fn log_lines(home: &TempDir) -> Vec<Value> {
    let text = std::fs::read_to_string(log_file(home)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn tring_log(home: &TempDir, options: &[&str]) -> Output {
    Tring::command(Args::new(["log"]).and(options)).home(home.path()).output(home.path())
}

/// What `tring log` prints.
fn shown(home: &TempDir, options: &[&str]) -> String {
    let output = tring_log(home, options);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// What a line says in every respect that is the same each time.
fn told(line: &Value) -> (&str, &str, bool, &str, u64) {
    let text = |name: &str| line[name].as_str().unwrap();
    let answered = line["answered"].as_bool().unwrap();
    (text("direction"), text("peer"), answered, text("reason"), line["status"].as_u64().unwrap())
}

/// Alice calls bob three times: he answers, declines, and is away.
fn three_calls(broker: &str, alices: &TempDir, bobs: &TempDir) {
    let mut bob = listen(broker, &TEST_MEDIA).home(bobs.path()).spawn();
    bob.wait_event("online", PATIENCE);
    let alice = |options: &[&str]| {
        call_bob("alice", broker, &TEST_MEDIA).args(options.iter().copied()).home(alices.path()).spawn()
    };
    let mut answered = alice(&[]);
    bob.wait_event("incoming", PATIENCE);
    bob.say("answer");
    talking([&mut answered, &mut bob]);
    // Long enough for figures.
    answered.wait_event("stats", PATIENCE);
    answered.say("hangup");
    Ended::wait(&mut answered).assert_called();
    bob.wait_event("summary", PATIENCE);
    assert_eq!(bob.events_named("missed").len(), 0);

    let mut declined = alice(&[]);
    bob.wait_event("incoming", PATIENCE);
    bob.say("reject");
    assert_eq!(declined.wait_exit(PATIENCE), 11);
    bob.wait_event("summary", PATIENCE);
    assert_eq!(bob.events_named("missed").len(), 0);

    let mut missed = alice(&["--answer-timeout", "1s"]);
    let incoming = bob.wait_event("incoming", PATIENCE);
    let told = bob.wait_event("missed", PATIENCE);
    assert_eq!(
        (&told["caller"], &told["peer"], &told["call_id"]),
        (&json!("alice"), &json!("alice"), &incoming["call_id"])
    );
    assert!(told["started"].as_u64() <= incoming["ts"].as_u64(), "{told}");
    assert_eq!(missed.wait_exit(PATIENCE), 12);
    bob.say("quit");
    assert_eq!(bob.wait_exit(PATIENCE), 0);
}

#[test]
fn calls_are_noted_down_shown_and_dialled_again() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let (alices, bobs) = (TempDir::new("alice"), TempDir::new("bob"));
    three_calls(&mosquitto.url(), &alices, &bobs);

    let (ours, theirs) = (log_lines(&alices), log_lines(&bobs));
    let as_told: Vec<_> = ours.iter().map(told).collect();
    assert_eq!(
        as_told,
        [
            ("out", "bob", true, "hangup", 0),
            ("out", "bob", false, "remote-decline", 11),
            ("out", "bob", false, "no-answer", 12)
        ]
    );
    let as_told: Vec<_> = theirs.iter().map(told).collect();
    assert_eq!(
        as_told,
        [
            ("in", "alice", true, "remote-hangup", 0),
            ("in", "alice", false, "decline", 11),
            ("in", "alice", false, "no-answer", 12)
        ]
    );
    for (our, their) in ours.iter().zip(&theirs) {
        assert_eq!(our["call_id"], their["call_id"]);
        assert!(our["started"].as_u64() > Some(1_700_000_000_000), "{our}");
    }
    for answered in [&ours[0], &theirs[0]] {
        assert!(answered["duration_ms"].as_f64() > Some(900.0), "{answered}");
        assert_eq!((&answered["path"], &answered["v"]), (&json!("host"), &json!(1)));
        let loss = answered["received"]["loss"].as_f64();
        assert!(loss.is_some_and(|loss| (0.0..0.5).contains(&loss)), "{answered}");
        assert!(answered["received"]["freezes"].is_u64(), "{answered}");
    }
    for unanswered in [&ours[1], &theirs[1], &ours[2], &theirs[2]] {
        for unknown in ["duration_ms", "path", "received"] {
            assert_eq!(unanswered[unknown], Value::Null, "{unanswered}");
        }
    }
    let mode = std::fs::metadata(log_file(&bobs)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    newest_first(&bobs, &theirs);
    again(&mosquitto.url(), &alices);
}

/// What `tring log` makes of these calls, and how it forgets them.
fn newest_first(home: &TempDir, lines: &[Value]) {
    let objects = |options: &[&str]| -> Vec<Value> {
        shown(home, options).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    };
    let newest: Vec<Value> = lines.iter().rev().cloned().collect();
    assert_eq!(objects(&["--json"]), newest);
    assert_eq!(objects(&["--json", "-n", "1"]), newest[..1]);
    assert_eq!(objects(&["--json", "--missed"]), newest[..1]);
    assert_eq!(objects(&["--json", "--peer", "alice"]), newest);
    assert_eq!(objects(&["--json", "--peer", "carol"]), [] as [Value; 0]);
    let table = shown(home, &[]);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 3, "{table}");
    for (row, words) in rows.iter().zip([
        ["alice", "missed", "no answer"],
        ["alice", "declined", "-"],
        ["alice", " in ", "the other side hung up"],
    ]) {
        assert!(words.iter().all(|word| row.contains(word)), "{words:?} in\n{table}");
    }

    let file = log_file(home);
    let kept = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{kept}no JSON\n")).unwrap();
    let output = tring_log(home, &["--json"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 3);
    assert!(String::from_utf8_lossy(&output.stderr).contains("broken=1"), "{output:?}");

    let output = tring_log(home, &["--clear"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("--yes"), "{output:?}");
    assert_eq!(shown(home, &["--clear", "--yes"]), "");
    assert_eq!(shown(home, &[]), "no calls\n");
}

/// Who was called last is called again; nobody is there by now.
fn again(broker: &str, home: &TempDir) {
    let before = log_lines(home).len();
    let redial = |options: &[&str]| {
        let args = Args::new(["redial", "--id", "alice", "--broker", broker]).and(TEST_MEDIA).and(options);
        Tring::command(args).home(home.path()).spawn()
    };
    let mut alice = redial(&[]);
    assert_eq!(alice.wait_event("dialing", PATIENCE)["peer"], "bob");
    assert_eq!(alice.wait_exit(PATIENCE), 13);
    assert_eq!(log_lines(home).len(), before + 1);
    assert_eq!(redial(&["--no-log"]).wait_exit(PATIENCE), 13);
    assert_eq!(log_lines(home).len(), before + 1, "--no-log");

    // A full disk cut off what may be a later call: whom it was to, nobody knows.
    std::fs::OpenOptions::new().append(true).open(log_file(home)).unwrap().write_all(b"{\"v\":1,\"star").unwrap();
    let args = Args::new(["redial", "--id", "alice", "--broker", broker]).and(TEST_MEDIA);
    let output = Tring::command(args).home(home.path()).output(home.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("cannot be read"), "{output:?}");

    let nobody = TempDir::new("nobody");
    let args = Args::new(["redial", "--broker", broker]).and(TEST_MEDIA);
    let output = Tring::command(args).home(nobody.path()).output(nobody.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("tring call"), "{output:?}");
}

#[test]
fn a_log_that_cannot_be_written_is_said_once_and_harms_no_call() {
    let mosquitto = Mosquitto::anonymous();
    let home = TempDir::new("home");
    std::fs::create_dir(home.file("state")).unwrap();
    // A file where the folder is to be: root could write anywhere else.
    home.write("state/tring", "");
    let mut bob = listen(&mosquitto.url(), &TEST_MEDIA).home(home.path()).spawn();
    bob.wait_event("online", PATIENCE);
    for _ in 0..2 {
        let mut alice = call::call_bob(["--id", "alice", "--broker", &mosquitto.url()]);
        bob.wait_event("incoming", PATIENCE);
        bob.say("reject");
        assert_eq!(alice.wait_exit(PATIENCE), 11);
        bob.wait_event("summary", PATIENCE);
    }
    bob.say("quit");
    let bob = Ended::wait(&mut bob);
    assert_eq!(bob.status, 0);
    // Nor can his key be kept.
    let warnings = bob.warnings();
    assert!(matches!(&warnings[..], [key, _] if key.contains("keys/bob")), "{warnings:?}");
    assert!(warnings[1].contains("calls.ndjson") && warnings[1].contains("--no-log"), "{warnings:?}");
}

// ---- ringing ----

/// Pictures both ways, no sound: what is heard is no call's.
const MUTE: [&str; 6] = ["--video", "test", "--audio", "none", "--show", "none"];

/// Two rounds of the ring begin within this time, one of the ring-back.
const LISTENED: Duration = Duration::from_secs(6);

/// Records the speaker while `what` goes on.
fn heard(pulse: &Pulse, what: impl FnOnce()) -> Vec<i16> {
    let dir = TempDir::new("heard");
    let file = dir.file("heard.wav");
    let recording = pulse.recording(&file);
    what();
    drop(recording);
    sound::decode(&file)
}

/// How many tenths of a second sound at about this frequency.
fn tenths(samples: &[i16], hz: f64) -> usize {
    sound::frequencies(samples).into_iter().filter(|measured| (measured - hz).abs() < 15.0).count()
}

/// Waits until no program plays anything.
fn until_released(pulse: &Pulse) {
    until("the speaker is closed", || run(pulse.client("pactl").args(["list", "short", "sink-inputs"])).is_empty());
}

fn pause() {
    // Sound tells of nothing but itself.
    std::thread::sleep(LISTENED);
}

#[test]
fn it_rings_until_it_is_answered_or_declined() {
    let _turn = Turn::call();
    let (pulse, mosquitto) = (Pulse::start(), Mosquitto::anonymous());
    let home = TempDir::new("home");
    let mut bob =
        listen(&mosquitto.url(), &MUTE).args(["--play", "speaker"]).home(home.path()).envs(pulse.env()).spawn();
    bob.wait_event("online", PATIENCE);
    let alice = || call_bob("alice", &mosquitto.url(), &MUTE).args(["--play", "none"]).spawn();

    let mut first = alice();
    bob.wait_event("incoming", PATIENCE);
    let ring = heard(&pulse, pause);
    let (low, high) = (tenths(&ring, 660.0), tenths(&ring, 880.0));
    // Six seconds have at least one whole ring of four notes, 0.4 s each.
    assert!(low >= 5 && high >= 5, "{low} and {high} tenths of a second of the two notes");
    assert!((2_000..13_000).contains(&sound::loudest(&ring)), "{}", sound::loudest(&ring));
    bob.say("reject");
    assert_eq!(first.wait_exit(PATIENCE), 11);
    until_released(&pulse);

    let mut second = alice();
    bob.wait_event("incoming", PATIENCE);
    until("it rings again", || !run(pulse.client("pactl").args(["list", "short", "sink-inputs"])).is_empty());
    bob.say("answer");
    talking([&mut second, &mut bob]);
    let after = heard(&pulse, || {
        for _ in 0..5 {
            bob.wait_event("stats", PATIENCE);
        }
    });
    assert!(sound::loudest(&after) < 200, "something sounds in the call: {}", sound::loudest(&after));
    second.say("hangup");
    Ended::wait(&mut second).assert_called();
    bob.wait_event("summary", PATIENCE);
    until_released(&pulse);
}

#[test]
fn whoever_calls_hears_the_other_side_ring() {
    let _turn = Turn::call();
    let (pulse, mosquitto) = (Pulse::start(), Mosquitto::anonymous());
    let mut bob = listen(&mosquitto.url(), &TEST_MEDIA).spawn();
    bob.wait_event("online", PATIENCE);
    let alice = || call_bob("alice", &mosquitto.url(), &MUTE).args(["--play", "speaker"]).envs(pulse.env());
    let mut first = alice().spawn();
    first.wait_event("ringing", PATIENCE);
    let ring = heard(&pulse, pause);
    assert!(tenths(&ring, 425.0) >= 8, "{} tenths of a second", tenths(&ring, 425.0));
    assert!(sound::loudest(&ring) < 4_000, "{}", sound::loudest(&ring));
    bob.wait_event("incoming", PATIENCE);
    bob.say("answer");
    talking([&mut first, &mut bob]);
    first.wait_event("first_audio", PATIENCE);
    let talk = heard(&pulse, || {
        // Longer than the pause of the ring-back.
        for _ in 0..6 {
            first.wait_event("stats", PATIENCE);
        }
    });
    let (steps, share) = sound::sweep_steps(&talk);
    assert!(steps.len() >= 4 && share > 0.6, "the call is not heard: {steps:?}, {share:.2}");
    // Where one step of the sweep follows another, a window may happen to measure as much.
    assert!(tenths(&talk, 425.0) <= 3, "it still rings: {}", tenths(&talk, 425.0));
    first.say("hangup");
    Ended::wait(&mut first).assert_called();

    let mut silent = alice().args(["--ring", "none"]).spawn();
    silent.wait_event("ringing", PATIENCE);
    let nothing = heard(&pulse, || std::thread::sleep(Duration::from_secs(2)));
    assert_eq!(sound::loudest(&nothing), 0);
    silent.say("hangup");
    assert_eq!(Ended::wait(&mut silent).reason(), "cancel");
}

#[test]
fn busy_is_heard_for_a_second() {
    let _turn = Turn::call();
    let (pulse, mosquitto) = (Pulse::start(), Mosquitto::anonymous());
    let home = TempDir::new("home");
    let answers = ["--answer", "auto"];
    let mut bob = listen(&mosquitto.url(), &TEST_MEDIA).args(answers).home(home.path()).spawn();
    bob.wait_event("online", PATIENCE);
    let mut alice = call_bob("alice", &mosquitto.url(), &TEST_MEDIA).spawn();
    talking([&mut alice, &mut bob]);
    let tone = heard(&pulse, || {
        let carol = call_bob("carol", &mosquitto.url(), &MUTE).args(["--play", "speaker"]).envs(pulse.env());
        assert_eq!(carol.spawn().wait_exit(PATIENCE), 10);
        // What was played last is still on its way into the recording.
        pause();
    });
    assert!((2..=6).contains(&tenths(&tone, 425.0)), "{} tenths of a second", tenths(&tone, 425.0));
    alice.say("hangup");
    Ended::wait(&mut alice).assert_called();
    bob.say("quit");
    assert_eq!(bob.wait_exit(PATIENCE), 0);
    // Whoever heard busy stands in the log too.
    let lines = log_lines(&home);
    assert_eq!(told(&lines[0]), ("in", "carol", false, "busy", 10));
    assert_eq!(lines.len(), 2, "{lines:?}");
}

// ---- in a terminal ----

fn in_terminal(arguments: &str, folder: &Path) -> Tmux {
    // The state folder is to be the test's own.
    let script =
        format!("export HOME={0} XDG_STATE_HOME={0}\n{PROGRAM} {arguments}\necho \"status $?\"", folder.display());
    Tmux::run(&script, folder)
}

#[test]
fn the_progress_of_dialling_is_one_line() {
    let _turn = Turn::call();
    let (mut mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("terminal"));
    let broker = mosquitto.url();
    let mut bob = listen(&broker, &TEST_MEDIA).spawn();
    bob.wait_event("online", PATIENCE);
    let media = TEST_MEDIA.join(" ");
    let tmux = in_terminal(&format!("call bob --id alice --broker {broker} {media} --duration 2s"), dir.path());
    bob.wait_event("incoming", PATIENCE);
    let shown = tmux.until("the time", |shown| shown.contains("bob is ringing … 2 s"));
    assert!(!shown.contains("calling") && shown.matches("ringing").count() == 1, "{shown}");
    // What else is to be said stands above it.
    mosquitto.restart();
    let shown =
        tmux.until("other lines", |shown| shown.contains("broker lost") && shown.matches("online as").count() == 2);
    let last = shown.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    assert!(last.starts_with("bob is ringing … ") && shown.matches("ringing").count() == 1, "{shown}");
    bob.wait_event("online", PATIENCE);
    bob.say("answer");
    let shown = tmux.until("the connection", |shown| shown.contains("connected with bob"));
    assert!(!shown.contains("ringing") && !shown.contains("connecting …"), "{shown}");
    let shown = tmux.until("the end", |shown| shown.contains("status 0"));
    let starts = [
        "online as",
        "broker lost",
        "online as",
        "connected with bob",
        "words of this call: ",
        "first picture",
        "call with bob ended: hung up",
    ];
    for (line, start) in unwrapped(&shown).iter().zip(starts) {
        assert!(line.starts_with(start), "{line:?} in place of {start:?}\n{shown}");
    }
}

/// What stands on the screen, line by line as it was written: a line that is full goes on in the next.
fn unwrapped(shown: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for row in shown.lines() {
        line += row;
        // A space at the end is not shown.
        if row.chars().count() < COLUMNS - 1 {
            lines.push(std::mem::take(&mut line));
        }
    }
    lines
}

#[test]
fn a_person_at_a_terminal_hears_the_bell_and_reads_what_was_missed() {
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("terminal"));
    let media = TEST_MEDIA.join(" ");
    let tmux = in_terminal(&format!("listen --id bob --broker {} {media} --once", mosquitto.url()), dir.path());
    tmux.until("that it waits", |shown| shown.contains("waiting for calls"));
    assert_eq!(tmux.variable("window_bell_flag"), "0");
    let mut alice = call::call_bob(["--id", "alice", "--broker", &mosquitto.url(), "--control", "-"]);
    alice.wait_event("ringing", PATIENCE);
    until("the bell", || tmux.variable("window_bell_flag") == "1");
    alice.say("hangup");
    let shown = tmux.until("the end", |shown| shown.contains("status 14"));
    let missed = shown.lines().find_map(|line| line.strip_prefix("missed call from alice at "));
    let clock = missed.unwrap_or_else(|| panic!("nothing missed in\n{shown}"));
    assert!(
        clock.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>().starts_with("00:00"),
        "{clock}"
    );
}

// ---- notifications ----

/// A folder with a `notify-send` that writes down what it is called with, and its process ID.
fn notify_send(at_interrupt: &str) -> TempDir {
    let dir = TempDir::new("notify");
    let script = dir.write(
        "notify-send",
        &format!(
            "#!/bin/sh\nenv > $0.env\necho \"$$ $*\" >> $0.said\ntrap '{at_interrupt}' INT\n\
             case \"$*\" in *--wait*) while :; do sleep 0.05; done;; esac\n"
        ),
    );
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn said(dir: &TempDir) -> String {
    std::fs::read_to_string(dir.file("notify-send.said")).unwrap_or_default()
}

/// Bob on a desktop with this `notify-send`.
fn bob_at_a_desktop(broker: &str, dir: &TempDir, options: &[&str]) -> Tring {
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let command = listen(broker, &TEST_MEDIA).args(options).env("PATH", path);
    let command = command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
    let mut bob = command.env("TRING_ICE_SECRET", "turn-secret").spawn();
    bob.wait_event("online", PATIENCE);
    bob
}

#[test]
fn a_desktop_shows_who_is_calling_and_who_was_missed() {
    let mosquitto = Mosquitto::anonymous();
    let dir = notify_send("echo closed >> $0.said; exit 0");
    let mut bob = bob_at_a_desktop(&mosquitto.url(), &dir, &[]);
    let mut alice = call::call_bob(["--id", "alice", "--broker", &mosquitto.url(), "--control", "-"]);
    until("the notification", || said(&dir).contains("-- alice is calling"));
    assert!(!said(&dir).contains("closed"), "{}", said(&dir));
    alice.say("hangup");
    until("its end", || said(&dir).contains("closed"));
    until("what was missed", || said(&dir).contains("-- missed call from alice at "));
    assert_eq!(alice.wait_exit(PATIENCE), 0);
    bob.say("quit");
    assert_eq!(bob.wait_exit(PATIENCE), 0);
    assert_eq!(said(&dir).lines().count(), 3, "{}", said(&dir));
    let seen = std::fs::read_to_string(dir.file("notify-send.env")).unwrap();
    assert!(seen.contains("PATH=") && !seen.contains("TRING_"), "secrets are none of its business: {seen}");

    let mut bob = bob_at_a_desktop(&mosquitto.url(), &dir, &["--no-notify", "--answer", "ask"]);
    let mut alice = call::call_bob(["--id", "alice", "--broker", &mosquitto.url(), "--control", "-"]);
    bob.wait_event("incoming", PATIENCE);
    bob.say("reject");
    assert_eq!(alice.wait_exit(PATIENCE), 11);
    bob.say("quit");
    assert_eq!(bob.wait_exit(PATIENCE), 0);
    assert_eq!(said(&dir).lines().count(), 3, "--no-notify: {}", said(&dir));
}

#[test]
fn a_notification_that_hangs_holds_nobody_up() {
    let mosquitto = Mosquitto::anonymous();
    let dir = notify_send("");
    let mut bob = bob_at_a_desktop(&mosquitto.url(), &dir, &["--once"]);
    let mut alice = call::call_bob(["--id", "alice", "--broker", &mosquitto.url()]);
    until("the notification", || said(&dir).contains("-- alice is calling"));
    let pid = said(&dir).split(' ').next().unwrap().to_owned();
    assert!(Path::new("/proc").join(&pid).exists());
    bob.say("reject");
    assert_eq!(alice.wait_exit(PATIENCE), 11);
    assert_eq!(bob.wait_exit(Duration::from_secs(10)), 11);
    assert!(!Path::new("/proc").join(&pid).exists(), "the program of the notification is left behind");
}

//! `tring trace`: what whoever reads along at a broker is shown of a call, and told where the broker does not let it.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::call::{self, Args, Ended, TEST_MEDIA, talking};
use crate::support::mallory::Mallory;
use crate::support::mosquitto::Mosquitto;
use crate::support::people::key_of;
use crate::support::process::{self, Tring};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, daemon, servers_dir, signal_and_wait};

/// What the ladder of a call with hold must show, in this order: what stands in a line.
const LADDER: [&[&str]; 8] = [
    &["alice → bob"],
    &["+0.000 s", "── offer ──", "opus and vp8;", "setup actpass"],
    &["◀─", " answer ──", "opus and vp8;"],
    &["── media ──", "on hold"],
    &["── media ──", "microphone and camera on"],
    &["unreadable ──", "8 bytes: no message of this protocol"],
    &["── bye ──", "hung up"],
    &["● offline"],
];

fn peer(id: &str, broker: &str) -> Args {
    Args::new(["--id", id, "--broker", broker, "--control", "-", "--codec", "vp8"])
}

fn control(side: &mut Tring, command: &str) {
    side.send_control(&json!({ "command": command }));
}

/// A call of alice with bob: held, resumed, hung up. Meanwhile mallory says what nobody can read.
fn call_with_hold(mosquitto: &Mosquitto) {
    let mut mallory = Mallory::at(mosquitto.port());
    let program = |command: &[&str], id: &str| {
        let args = Args::new(command.iter().copied()).and(TEST_MEDIA).and(peer(id, &mosquitto.url()));
        Tring::command(args).env("TRING_SECRET_KEY", key_of_all()).spawn()
    };
    let mut bob = program(&["listen", "--answer", "auto", "--once"], "bob");
    bob.wait_event("online", PATIENCE);
    let mut alice = program(&["call", "bob"], "alice");
    talking([&mut alice, &mut bob]);
    control(&mut alice, "hold");
    bob.wait_event_where("held", PATIENCE, |event| event["side"] == "remote" && event["on"] == true);
    control(&mut alice, "resume");
    bob.wait_event_where("held", PATIENCE, |event| event["side"] == "remote" && event["on"] == false);
    mallory.publish("tring/call/mallory/bob", "nonsense");
    mallory.delivered();
    control(&mut alice, "hangup");
    for side in [&mut alice, &mut bob] {
        assert_eq!(Ended::wait(side).status, 0);
    }
}

/// The key of alice, of bob, and of who reads along: what they say to each other can be read.
fn key_of_all() -> String {
    key_of("all").to_text().to_string()
}

/// Runs `tring trace` to its end beside the call; it is told to end when the call is over.
fn traced(mosquitto: &Mosquitto) -> (Vec<Value>, String) {
    let url = mosquitto.url();
    let json = Tring::command(["trace", "--id", "watcher", "--broker", &url]);
    let mut json = json.env("TRING_SECRET_KEY", key_of_all()).spawn();
    json.wait_event("online", PATIENCE);
    // The ladder is text, and so is read from a file when it is over.
    let folder = TempDir::new("trace");
    let file = folder.file("ladder");
    let program = process::PROGRAM;
    let mut command = std::process::Command::new("sh");
    process::clean(&mut command);
    command.args(["-c", &format!("exec {program} trace alice bob --id reader --broker {url} > {}", file.display())]);
    command.env("TRING_CONFIG", "/dev/null").env("TRING_SECRET_KEY", key_of_all());
    let mut ladder = Reader(command.spawn().unwrap());
    wait_for(&file, "reading along at");
    call_with_hold(mosquitto);
    let offline = |peer: &'static str| move |event: &Value| event["id"] == peer && event["state"] == "offline";
    json.wait_event_where("presence", PATIENCE, offline("alice"));
    json.wait_event_where("presence", PATIENCE, offline("bob"));
    wait_for(&file, "hung up");
    daemon::signal(ladder.0.id(), "INT");
    assert_eq!(ladder.0.wait().unwrap().code(), Some(0), "Ctrl-C is how it ends");
    json.interrupt();
    assert_eq!(json.wait_exit(PATIENCE), 0);
    (json.events_named("message"), std::fs::read_to_string(&file).unwrap())
}

/// Ended when dropped.
struct Reader(std::process::Child);

impl Drop for Reader {
    fn drop(&mut self) {
        signal_and_wait(&mut self.0, "TERM");
    }
}

/// Waits until a file that another program writes holds this.
fn wait_for(file: &Path, text: &str) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !std::fs::read_to_string(file).is_ok_and(|held| held.contains(text)) {
        assert!(std::time::Instant::now() < deadline, "{text:?} does not appear in {}", file.display());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_call_with_hold_is_drawn_and_told() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let (messages, ladder) = traced(&mosquitto);
    let mut lines = ladder.lines();
    for parts in LADDER {
        let found = lines.any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no line with {parts:?} after the last one found:\n{ladder}");
    }
    let said: Vec<&str> = ladder.lines().filter(|line| line.contains("── offer ──")).collect();
    assert!(matches!(&said[..], [offer] if offer.contains(" ms ")), "one offer, acknowledged: {said:?}");
    for secret in ["127.0.0.1 ", "192.168.", "candidate:", "ice-pwd", "fingerprint", "typ host"] {
        let shown = ladder.lines().skip(1).any(|line| line.contains(secret));
        assert!(!shown && !format!("{messages:?}").contains(secret), "{secret} gets out:\n{ladder}");
    }
    judge_messages(&messages);
}

fn judge_messages(messages: &[Value]) {
    let of_type = |kind: &str| messages.iter().filter(|message| message["type"] == kind).collect::<Vec<_>>();
    let offer = of_type("offer")[0];
    assert_eq!((&offer["from"], &offer["to"]), (&json!("alice"), &json!("bob")));
    assert_eq!((&offer["since_ms"], &offer["times"], &offer["standing"]), (&json!(0.0), &json!(1), &json!("new")));
    assert!(offer["call_id"].is_string() && offer["bytes"].as_u64().unwrap() > 500, "{offer}");
    let acknowledged = of_type("ack").into_iter().find(|ack| ack["of"] == offer["id"]).expect("the offer arrived");
    assert_eq!((&acknowledged["of_type"], &acknowledged["call_id"]), (&json!("offer"), &offer["call_id"]));
    assert!(acknowledged["after_ms"].as_f64().unwrap() > 0.0, "{acknowledged}");
    let meanings: Vec<&Value> = of_type("media").into_iter().map(|media| &media["meaning"]).collect();
    assert_eq!(meanings, [&json!("on hold"), &json!("microphone and camera on")]);
    let unreadable: Vec<&Value> = messages.iter().filter(|message| message["type"].is_null()).collect();
    assert!(matches!(&unreadable[..], [one] if one["bytes"] == 8 && one["from"] == "mallory"), "{unreadable:?}");
    assert_eq!(of_type("bye")[0]["meaning"], "hung up");
}

/// Whoever reads along reads what is for the owner of its key, and of the rest that it is there.
#[test]
fn what_is_sealed_for_others_shows_as_sealed() {
    let mosquitto = Mosquitto::anonymous();
    let url = mosquitto.url();
    let readers = ["bob", "watcher"].map(|id| {
        let mut reader = Tring::spawn(["trace", "--id", id, "--broker", &url]);
        reader.wait_event("online", PATIENCE);
        reader
    });
    let mut bob = call::listen(peer("bob", &url).and(["--answer", "reject", "--once"]));
    let mut alice = call::call_bob(peer("alice", &url));
    for side in [&mut alice, &mut bob] {
        assert_eq!(Ended::wait(side).status, 11);
    }
    for (mut reader, offer) in readers.into_iter().zip(["offer", "sealed"]) {
        reader.wait_event_where("presence", PATIENCE, |event| event["id"] == "alice" && event["state"] == "offline");
        let messages = reader.events_named("message");
        let types = |from: &str| {
            let of = messages.iter().filter(|message| message["from"] == from);
            of.map(|message| message["type"].as_str().unwrap().to_owned()).collect::<Vec<String>>()
        };
        assert_eq!(types("alice")[0], offer, "{messages:?}");
        assert!(types("bob").iter().all(|kind| kind == "sealed"), "{messages:?}");
        reader.interrupt();
        assert_eq!(reader.wait_exit(PATIENCE), 0);
    }
}

fn trace(arguments: &[&str]) -> Output {
    let folder = TempDir::new("trace");
    Tring::command(["trace"]).args(arguments).env("TRING_PASSWORD", "alice-secret").output(folder.path())
}

#[test]
fn a_broker_that_forbids_reading_is_a_clear_error() {
    let mosquitto = Mosquitto::password();
    for version in ["3.1.1", "5"] {
        let output = trace(&["--id", "alice", "--user", "alice", "--broker", &mosquitto.url(), "--mqtt", version]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(21), "{stderr}");
        let complaint = "must let alice read that, and write \"tring/call/alice/";
        assert!(stderr.contains("\"tring/call/+/+\"") && stderr.contains(complaint), "{stderr}");
    }
}

#[test]
fn a_login_that_may_read_all_reads_along() {
    let mut mosquitto = Mosquitto::password();
    let rules = std::fs::read_to_string(servers_dir().join("mosquitto.acl")).unwrap();
    mosquitto.set_rules(&rules.replace("user alice\n", "user alice\ntopic read tring/call/+/+\n"));
    let output = trace(&["--id", "alice", "--user", "alice", "--broker", &mosquitto.url(), "--for", "200ms", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"event\":\"online\""));
}

#[test]
fn our_own_broker_is_read_along_where_it_is_told_to_let() {
    for (options, status) in [(&["--read-along"][..], 0), (&[][..], 21)] {
        let ports = ["--mqtt-port", "0", "--websocket-port", "0", "--turn-port", "0"];
        let mut serve = Tring::spawn(["serve"].iter().chain(&ports).chain(options));
        let broker = serve.wait_event("serving", PATIENCE)["mqtt"].as_str().unwrap().to_owned();
        let output = trace(&["--user", "alice", "--broker", &broker, "--for", "100ms"]);
        assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

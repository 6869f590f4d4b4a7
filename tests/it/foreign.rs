//! Calls with a second client of tring's own protocol: that of `tests/foreign`, written from docs/PROTOCOL.md and
//! docs/SECURITY.md alone. It writes three fingerprints, checks paths before its answer is out, and gives candidates the names that browsers give them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::aiortc::{self, Aiortc};
use crate::support::call::{self, Args, Ended};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;

fn phone(mosquitto: &Mosquitto, role: &str, options: &[&str]) -> Aiortc {
    let broker = format!("127.0.0.1:{}", mosquitto.port());
    let args = Args::new([role, "--broker", &broker, "--id", "phone", "--partner", "alice"]);
    Aiortc::start_script("tests/foreign/phone.py", args.and(options.iter().copied()))
}

fn alice(form: Form, command: &[&str], mosquitto: &Mosquitto) -> Tring {
    let args = Args::new(command.iter().copied()).and(call::TEST_MEDIA);
    let alice = Tring::command(args.and(["--id", "alice", "--control", "-", "--broker", &mosquitto.url()]));
    match form {
        Form::Plain => alice.plain().spawn(),
        Form::Sealed => alice.spawn(),
    }
}

fn command(alice: &mut Tring, command: Value) {
    alice.send_control(&command);
}

/// Counts of pictures and sounds that came.
fn received(stats: &Value) -> (u64, u64) {
    let received = &stats["received"];
    (received["video"]["frames"].as_u64().unwrap(), received["audio"]["packets"].as_u64().unwrap())
}

fn seen(phone: &mut Aiortc) -> (u64, u64) {
    phone.order("figures");
    let figures = phone.wait_event("figures");
    (figures["video"]["frames"].as_u64().unwrap(), figures["audio"]["frames"].as_u64().unwrap())
}

/// Pictures and sound go both ways from now on.
fn flows(alice: &mut Tring, phone: &mut Aiortc) {
    alice.catch_up();
    let before = received(&alice.wait_event("stats", PATIENCE));
    let seen_before = seen(phone);
    alice.wait_event_where("stats", PATIENCE, |stats| {
        let now = received(stats);
        now.0 >= before.0 + 10 && now.1 >= before.1 + 10
    });
    for _ in 0..100 {
        let now = seen(phone);
        if now.0 >= seen_before.0 + 10 && now.1 >= seen_before.1 + 10 {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the phone sees and hears nothing more: {seen_before:?}");
}

fn held(alice: &mut Tring, side: &str, on: bool) {
    let event = alice.wait_event("held", PATIENCE);
    assert_eq!((&event["side"], &event["on"]), (&side.into(), &on.into()));
}

/// Each side puts the call on hold, and talks again.
fn hold_and_resume(alice: &mut Tring, phone: &mut Aiortc) {
    for (order, on) in [("hold", true), ("resume", false)] {
        phone.order(order);
        held(alice, "remote", on);
    }
    for (order, on) in [("hold", true), ("resume", false)] {
        command(alice, json!({"command": order}));
        held(alice, "local", on);
        while phone.hears("media")["hold"] != on {}
    }
    flows(alice, phone);
}

/// A new path, asked for by the phone and by us.
fn restarts(alice: &mut Tring, phone: &mut Aiortc) {
    phone.order("restart");
    phone.wait_event("restarted");
    alice.wait_event("reconnecting", PATIENCE);
    alice.wait_event("reconnected", PATIENCE);
    flows(alice, phone);
    command(alice, json!({"command": "reconnect"}));
    phone.wait_event("restarted");
    alice.wait_event("reconnected", PATIENCE);
    flows(alice, phone);
}

fn no_complaints(ended: &Ended) {
    assert_eq!(ended.warnings(), Vec::<&str>::new());
    assert_eq!(ended.summary()["signalling"]["dropped"], 0);
}

/// Both sides have the same words, if their call is sealed.
fn compare(alice: &mut Tring, phone: &mut Aiortc, form: Form) {
    match form {
        Form::Plain => {}
        Form::Sealed => {
            let words = alice.wait_event("words", PATIENCE);
            assert_eq!((&words["words"], &words["verified"]), (&phone.wait_event("words")["words"], &false.into()));
        }
    }
}

/// How messages go.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    Sealed,
}

impl Form {
    /// Options of the client in Python.
    fn client<'a>(self, options: &[&'a str]) -> Vec<&'a str> {
        match self {
            Self::Plain => options.to_vec(),
            Self::Sealed => [options, &["--seal"]].concat(),
        }
    }
}

#[test]
fn it_is_called() {
    is_called(Form::Plain);
}

#[test]
fn it_is_called_sealed() {
    is_called(Form::Sealed);
}

fn is_called(form: Form) {
    let _turn = Turn::whole_machine();
    let mosquitto = Mosquitto::anonymous();
    let mut phone = phone(&mosquitto, "answer", &form.client(&["--late", "0.6"]));
    let mut alice = alice(form, &["call", "phone"], &mosquitto);
    alice.wait_event("first_frame", PATIENCE);
    compare(&mut alice, &mut phone, form);
    flows(&mut alice, &mut phone);
    hold_and_resume(&mut alice, &mut phone);
    phone.order("renew");
    phone.wait_event("agreed");
    for source in ["none", "test"] {
        command(&mut alice, json!({"command": "send", "video": source}));
        phone.wait_event("agreed");
    }
    flows(&mut alice, &mut phone);
    restarts(&mut alice, &mut phone);
    phone.order("bye");
    let ended = Ended::wait(&mut alice);
    assert_eq!((ended.status, ended.reason()), (0, "remote-hangup"));
    assert_eq!(ended.event("ended")["text"].as_str().map(str::len), Some(256), "a text that is too long is cut");
    assert_eq!(phone.wait_event("ended")["unacknowledged"], 0);
    no_complaints(&ended);
    // Its next check would have come 0.9 s after its answer.
    let path_ms = ended.summary()["setup"]["ice_ms"].as_f64().unwrap();
    assert!(path_ms < 500.0, "checks before the answer were not answered: {path_ms} ms");
}

#[test]
fn it_calls() {
    calls(Form::Plain);
}

#[test]
fn it_calls_sealed() {
    calls(Form::Sealed);
}

fn calls(form: Form) {
    let _turn = Turn::whole_machine();
    let mosquitto = Mosquitto::anonymous();
    let mut alice = alice(form, &["listen", "--once", "--answer", "auto"], &mosquitto);
    alice.wait_event("online", PATIENCE);
    let mut phone = phone(&mosquitto, "call", &form.client(&[]));
    let muted = alice.wait_event("muted", PATIENCE);
    assert_eq!((&muted["side"], &muted["audio"]), (&"remote".into(), &true.into()), "what it said before its offer");
    alice.wait_event("first_frame", PATIENCE);
    compare(&mut alice, &mut phone, form);
    flows(&mut alice, &mut phone);
    hold_and_resume(&mut alice, &mut phone);
    phone.order("renew");
    phone.wait_event("agreed");
    for source in ["none", "test"] {
        command(&mut alice, json!({"command": "send", "video": source}));
        phone.wait_event("agreed");
    }
    flows(&mut alice, &mut phone);
    restarts(&mut alice, &mut phone);
    command(&mut alice, json!({"command": "hangup"}));
    let ended = Ended::wait(&mut alice);
    assert_eq!((ended.status, ended.reason()), (0, "hangup"));
    let end = phone.wait_event("ended");
    assert_eq!((&end["by"], &end["unacknowledged"]), (&"remote".into(), &0.into()));
    no_complaints(&ended);
}

/// Sealed messages, signed presence and the short authentication string, written a second time from docs/SECURITY.md: the
/// vectors of this program byte by byte, and the attacks that its own tests refuse.
#[test]
fn a_second_implementation_of_sealing_makes_the_same_bytes() {
    let mut command = std::process::Command::new(aiortc::python());
    command.args(["-m", "unittest", "discover", "-s", "tests/foreign"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("Python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("\nOK"), "{said}");
}

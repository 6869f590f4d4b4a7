//! Calls that stand, as whole programs: hold, a second call, switches that are told, media that change.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::broker::{Make, over_each_broker};
use crate::support::call::{self, Args, Ended, talking};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;

over_each_broker!(hold_and_resume, a_second_call_is_answered_while_the_first_is_held);

fn peer(id: &str, broker: &str) -> Args {
    Args::new(["--id", id, "--broker", broker, "--control", "-"])
}

/// Bob, who can be asked, and takes calls until he is told to quit.
fn bob(broker: &str) -> Tring {
    call::listen(peer("bob", broker).and(["--answer", "ask"]))
}

fn command(side: &mut Tring, command: &str) {
    side.send_control(&json!({ "command": command }));
}

/// `id` calls bob, who answers.
fn talks_to_bob(bob: &mut Tring, id: &str, broker: &str) -> Tring {
    let mut caller = call::call_bob(peer(id, broker));
    bob.wait_event_where("incoming", PATIENCE, |event| event["peer"] == id);
    command(bob, "answer");
    caller.wait_event("first_frame", PATIENCE);
    bob.wait_event_where("first_frame", PATIENCE, |event| event["peer"] == id);
    caller
}

fn pictures(stats: &Value) -> u64 {
    stats["received"]["video"]["frames"].as_u64().unwrap()
}

fn sounds(stats: &Value) -> u64 {
    stats["received"]["audio"]["packets"].as_u64().unwrap()
}

/// The next figures of the call with `other`.
fn figures(side: &mut Tring, other: &str) -> Value {
    side.wait_event_where("stats", PATIENCE, |event| event["peer"] == other)
}

/// The first figures of the call with `other` at or after a moment.
fn figures_after(side: &mut Tring, other: &str, ts: u64) -> Value {
    side.wait_event_where("stats", PATIENCE, |event| event["peer"] == other && event["ts"].as_u64().unwrap() >= ts)
}

fn unix_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Pictures and sound come from `other`.
fn assert_flows(side: &mut Tring, other: &str) {
    let before = figures(side, other);
    side.wait_event_where("stats", PATIENCE, |now| {
        now["peer"] == other && pictures(now) >= pictures(&before) + 10 && sounds(now) >= sounds(&before) + 10
    });
}

/// Nothing comes from `other` for three seconds, and nobody takes the path for broken.
fn assert_still(side: &mut Tring, other: &str) {
    // What was on its way when the hold began has come half a second later.
    let before = figures_after(side, other, unix_ms() + 500);
    let mut last = before.clone();
    for _ in 0..3 {
        last = figures_after(side, other, last["ts"].as_u64().unwrap() + 1);
        let now = &last;
        assert_eq!((pictures(now), sounds(now)), (pictures(&before), sounds(&before)), "from {other}");
    }
    assert!(side.events_named("reconnecting").is_empty(), "a call on hold is not a broken one");
}

fn held(side: &mut Tring, other: &str) -> (String, bool) {
    let event = side.wait_event_where("held", PATIENCE, |event| event["peer"] == other);
    (event["side"].as_str().unwrap().to_owned(), event["on"].as_bool().unwrap())
}

fn hold_and_resume(make: Make) {
    let _turn = Turn::call();
    let broker = make.open();
    let mut bob = bob(&broker.url());
    let mut alice = talks_to_bob(&mut bob, "alice", &broker.url());
    for (by, other, names) in [(0, 1, ["alice", "bob"]), (1, 0, ["alice", "bob"])] {
        let sides = [&mut alice, &mut bob];
        command(sides[by], "hold");
        assert_eq!(held(sides[by], names[other]), ("local".to_owned(), true));
        assert_eq!(held(sides[other], names[by]), ("remote".to_owned(), true));
        assert_still(sides[by], names[other]);
        assert_still(sides[other], names[by]);
        command(sides[by], "resume");
        assert_eq!(held(sides[by], names[other]), ("local".to_owned(), false));
        assert_eq!(held(sides[other], names[by]), ("remote".to_owned(), false));
        assert_flows(sides[by], names[other]);
        assert_flows(sides[other], names[by]);
    }
    command(&mut alice, "hangup");
    let alice = Ended::wait(&mut alice);
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    assert_eq!(bob.wait_event("ended", PATIENCE)["reason"], "remote-hangup");
    command(&mut bob, "quit");
    assert_eq!(Ended::wait(&mut bob).status, 0);
}

fn a_second_call_is_answered_while_the_first_is_held(make: Make) {
    let _turn = Turn::call();
    let broker = make.open();
    let mut bob = bob(&broker.url());
    let mut alice = talks_to_bob(&mut bob, "alice", &broker.url());

    let mut carol = call::call_bob(peer("carol", &broker.url()));
    let incoming = bob.wait_event_where("incoming", PATIENCE, |event| event["peer"] == "carol");
    assert_eq!(incoming["waiting"], true);
    carol.wait_event("ringing", PATIENCE);
    // A third hears busy.
    let mut dave = call::call_bob(peer("dave", &broker.url()));
    assert_eq!(Ended::wait(&mut dave).status, 10);

    command(&mut bob, "answer");
    assert_eq!(held(&mut bob, "alice"), ("local".to_owned(), true));
    assert_eq!(held(&mut alice, "bob"), ("remote".to_owned(), true));
    assert_flows(&mut carol, "bob");
    assert_flows(&mut bob, "carol");
    assert_still(&mut alice, "bob");

    // Back and forth.
    command(&mut bob, "swap");
    assert_eq!(held(&mut carol, "bob"), ("remote".to_owned(), true));
    assert_flows(&mut bob, "alice");
    assert_flows(&mut alice, "bob");
    assert_still(&mut carol, "bob");
    command(&mut bob, "swap");
    assert_flows(&mut carol, "bob");

    // The call that bob talks in ends, and the other goes on.
    command(&mut carol, "hangup");
    let carol = Ended::wait(&mut carol);
    assert_eq!((carol.status, carol.reason()), (0, "hangup"));
    let ended = bob.wait_event_where("ended", PATIENCE, |event| event["peer"] == "carol");
    assert_eq!(ended["reason"], "remote-hangup");
    assert_flows(&mut alice, "bob");
    assert_flows(&mut bob, "alice");

    command(&mut bob, "quit");
    let (bob, alice) = (Ended::wait(&mut bob), Ended::wait(&mut alice));
    assert_eq!((bob.status, alice.status, alice.reason()), (0, 0, "remote-hangup"));
    let mut ended: Vec<&str> =
        bob.events.iter().filter(|event| event["event"] == "summary").filter_map(|e| e["peer"].as_str()).collect();
    ended.sort_unstable();
    assert_eq!(ended, ["alice", "carol"], "each call has its summary");
    assert!(bob.warnings().is_empty(), "{:?}", bob.warnings());
}

#[test]
fn a_waiting_call_is_declined_with_a_word_or_given_up() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut bob = bob(&mosquitto.url());
    let mut alice = talks_to_bob(&mut bob, "alice", &mosquitto.url());

    let mut carol = call::call_bob(peer("carol", &mosquitto.url()));
    bob.wait_event_where("incoming", PATIENCE, |event| event["peer"] == "carol");
    bob.send_control(&json!({"command": "reject", "text": "in a call\u{1b}[2J"}));
    let carol = Ended::wait(&mut carol);
    assert_eq!((carol.status, carol.reason()), (11, "remote-decline"));
    assert_eq!(carol.event("ended")["text"], "in a call\u{1b}[2J");
    assert_eq!(bob.wait_event("ended", PATIENCE)["reason"], "decline");

    let mut dave = call::call_bob(peer("dave", &mosquitto.url()));
    bob.wait_event_where("incoming", PATIENCE, |event| event["peer"] == "dave");
    command(&mut dave, "hangup");
    assert_eq!(Ended::wait(&mut dave).reason(), "cancel");
    assert_eq!(bob.wait_event("ended", PATIENCE)["reason"], "remote-cancel");

    assert_flows(&mut alice, "bob");
    command(&mut alice, "hangup");
    assert_eq!(Ended::wait(&mut alice).status, 0);
    command(&mut bob, "quit");
    assert_eq!(Ended::wait(&mut bob).status, 0);
}

#[test]
fn media_change_in_mid_call() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let silent = ["--video", "none"];
    let mut bob = call::listen(peer("bob", &mosquitto.url()).and(["--answer", "auto", "--once"]).and(silent));
    let mut alice = call::call_bob(peer("alice", &mosquitto.url()).and(silent));
    for side in [&mut alice, &mut bob] {
        side.wait_event("first_audio", PATIENCE);
        side.wait_event("stats", PATIENCE);
    }
    // The caller adds pictures, then the callee.
    for (by, other, names) in [(0, 1, ["alice", "bob"]), (1, 0, ["alice", "bob"])] {
        let sides = [&mut alice, &mut bob];
        assert_eq!(pictures(&figures(sides[other], names[by])), 0);
        sides[by].send_control(&json!({"command": "send", "video": "test"}));
        sides[other].wait_event("first_frame", PATIENCE);
        assert_flows(sides[other], names[by]);
    }
    // And takes them away; sound goes on.
    alice.send_control(&json!({"command": "send", "video": "none"}));
    let mut before = figures(&mut bob, "alice");
    loop {
        let now = figures(&mut bob, "alice");
        if pictures(&now) == pictures(&before) && sounds(&now) > sounds(&before) {
            break;
        }
        before = now;
    }
    assert_flows(&mut alice, "bob");
    command(&mut alice, "hangup");
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, bob.status), (0, 0));
    assert!(alice.warnings().is_empty() && bob.warnings().is_empty(), "{:?} {:?}", alice.warnings(), bob.warnings());
}

#[test]
fn what_is_switched_off_while_it_rings_stays_off() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut bob = bob(&mosquitto.url());
    let mut alice = call::call_bob(peer("alice", &mosquitto.url()));
    bob.wait_event("incoming", PATIENCE);
    command(&mut bob, "mute");
    bob.send_control(&json!({"command": "camera", "on": false}));
    command(&mut bob, "answer");
    let muted = alice.wait_event("muted", PATIENCE);
    assert_eq!((&muted["side"], &muted["audio"], &muted["video"]), (&json!("remote"), &json!(true), &json!(true)));
    assert_flows(&mut alice, "bob");
    command(&mut alice, "hangup");
    let alice = Ended::wait(&mut alice);
    let received = &alice.summary()["received"];
    assert_eq!(received["audio"]["tones_heard"], json!([]), "the microphone was on");
    assert_eq!(received["video"]["pattern"]["read"], 0, "the camera was on");
    command(&mut bob, "quit");
    assert_eq!(Ended::wait(&mut bob).status, 0);
}

#[test]
fn of_changes_in_quick_succession_the_last_holds() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut bob = bob(&mosquitto.url());
    let mut alice = talks_to_bob(&mut bob, "alice", &mosquitto.url());
    alice.wait_event("stats", PATIENCE);
    for command in [
        json!({"command": "send", "video": "none"}),
        json!({"command": "send", "audio": "none"}),
        json!({"command": "send", "video": "test"}),
        json!({"command": "hold"}),
        json!({"command": "resume"}),
        json!({"command": "hold"}),
        json!({"command": "send", "audio": "tone"}),
        json!({"command": "resume"}),
    ] {
        alice.send_control(&command);
    }
    for side in ["remote"; 4] {
        assert_eq!(bob.wait_event("held", PATIENCE)["side"], side);
    }
    assert_flows(&mut bob, "alice");
    bob.wait_event_where("stats", PATIENCE, |stats| stats["received"]["audio"]["tone_hz"].is_number());
    // The devices are whose turn it is: another round finds them.
    command(&mut alice, "hold");
    command(&mut alice, "resume");
    assert_flows(&mut bob, "alice");
    command(&mut alice, "hangup");
    let alice = Ended::wait(&mut alice);
    assert_eq!(alice.status, 0);
    assert!(alice.warnings().is_empty(), "{:?}", alice.warnings());
    command(&mut bob, "quit");
    assert_eq!(Ended::wait(&mut bob).status, 0);
}

#[test]
fn a_held_call_whose_time_is_up_ends_without_the_other() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut bob = call::listen(peer("bob", &mosquitto.url()).and(["--answer", "ask", "--duration", "6s"]));
    let mut alice = talks_to_bob(&mut bob, "alice", &mosquitto.url());
    let mut carol = talks_to_bob(&mut bob, "carol", &mosquitto.url());
    let alice = Ended::wait(&mut alice);
    assert_eq!((alice.status, alice.reason()), (0, "remote-hangup"));
    // Nobody came back to her only to leave.
    let held: Vec<_> = alice.events.iter().filter(|event| event["event"] == "held").collect();
    assert_eq!(held.len(), 1, "{held:?}");
    assert!(carol.events_named("held").is_empty() && carol.is_running());
    assert_flows(&mut carol, "bob");
    command(&mut bob, "quit");
    assert_eq!((Ended::wait(&mut bob).status, Ended::wait(&mut carol).status), (0, 0));
}

#[test]
fn who_is_gone_is_missed_soon_and_the_call_ends() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut bob = call::listen(peer("bob", &mosquitto.url()).and(["--answer", "auto", "--once"]));
    let mut alice = call::call_bob(peer("alice", &mosquitto.url()));
    talking([&mut alice, &mut bob]);
    bob.signal("KILL");
    let gone = Instant::now();
    alice.wait_event("reconnecting", PATIENCE);
    let missed = gone.elapsed();
    let alice = Ended::wait(&mut alice);
    let over = gone.elapsed();
    assert!(missed < Duration::from_secs(3), "missed after {missed:?}");
    assert!(over < Duration::from_secs(12), "over after {over:?}");
    assert_eq!((alice.status, alice.reason()), (22, "lost"));
}

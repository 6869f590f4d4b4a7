//! Calls in networks that are bad on purpose, as whole programs: each impairment against the figure it has to show in.
//! What a scenario can say of them stands in `tests/scenarios`, and runs in `tests/it/runs/measures.rs`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::call::{self, Args, Ended, talking};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;

/// A call of alice's to bob that stands until it is told to end.
struct Call {
    alice: Tring,
    bob: Tring,
    _broker: Mosquitto,
}

const OPTIONS: [&str; 4] = ["--control", "-", "--codec", "vp8"];

impl Call {
    /// `of_alice`: options of hers alone.
    fn standing(of_alice: &[&str]) -> Self {
        let broker = Mosquitto::anonymous();
        let link = |id: &str| Args::new(["--id", id, "--broker", &broker.url()]).and(OPTIONS);
        let mut bob = call::listen(link("bob").and(["--answer", "auto", "--once"]));
        let mut alice = call::call_bob(link("alice").and(of_alice.iter().copied()));
        talking([&mut alice, &mut bob]);
        Self { alice, bob, _broker: broker }
    }

    /// Changes the network of alice.
    fn impair(&mut self, spec: &str) -> Value {
        self.alice.send_control(&json!({"command": "impair", "spec": spec}));
        self.alice.wait_event("impaired", PATIENCE)
    }

    /// Goes on for so long, with figures every second.
    fn run(&mut self, length: Duration) {
        let end = Instant::now() + length;
        while Instant::now() < end {
            self.alice.wait_event("stats", PATIENCE);
        }
        self.alice.catch_up();
        self.bob.catch_up();
    }

    /// The figures of now.
    fn stats(&mut self) -> (Value, Value) {
        let now = |side: &mut Tring| {
            side.catch_up();
            side.send_control(&json!({"command": "stats"}));
            side.wait_event("stats", PATIENCE)
        };
        (now(&mut self.alice), now(&mut self.bob))
    }

    /// Alice hangs up.
    fn end(mut self) -> (Ended, Ended) {
        self.alice.send_control(&json!({"command": "hangup"}));
        let ended = (Ended::wait(&mut self.alice), Ended::wait(&mut self.bob));
        assert_eq!((ended.0.status, ended.1.status), (0, 0));
        ended
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Latency and round trip of a call of ten seconds, at bob's.
fn latency(impair: &[&str]) -> (f64, f64) {
    let mut call = Call::standing(impair);
    // Pictures of a far peer may be held back in the first five seconds, so that a loss does not stop them.
    call.run(seconds(14));
    let (_, bob) = call.end();
    let summary = bob.summary();
    (number(&summary["received"]["video"]["latency_p50_ms"]), number(&summary["pair"]["round_trip_ms"]))
}

#[test]
fn a_delay_shows_in_latency_and_round_trip_as_long_as_it_is() {
    let _turn = Turn::whole_machine();
    let (latency_before, round_trip_before) = latency(&[]);
    let (latency, round_trip) = latency(&["--impair", "up:delay=120ms"]);
    let (more_latency, more_round_trip) = (latency - latency_before, round_trip - round_trip_before);
    assert!((115.0..=125.0).contains(&more_latency), "latency {latency_before} and {latency} ms");
    assert!((115.0..=125.0).contains(&more_round_trip), "round trip {round_trip_before} and {round_trip} ms");
}

#[test]
fn a_loss_is_read_as_large_as_it_is_before_repair() {
    let _turn = Turn::call();
    let mut call = Call::standing(&["--impair", "up:loss=5%,seed=3"]);
    let network = |stats: &Value, kind: &str| {
        let figures = &stats["received"][kind];
        let (missing, expected) = (number(&figures["missing"]), number(&figures["expected"]));
        assert!((number(&figures["network_loss"]) - missing / expected).abs() < 1e-9);
        (missing, expected)
    };
    // So many that 1 % is three times the standard deviation.
    let (alice, bob) = loop {
        call.run(seconds(5));
        let (alice, bob) = call.stats();
        if network(&bob, "video").1 + network(&bob, "audio").1 > 5000.0 {
            break (alice, bob);
        }
    };
    let (video, audio) = (network(&bob, "video"), network(&bob, "audio"));
    let share = (video.0 + audio.0) / (video.1 + audio.1);
    assert!((0.04..=0.06).contains(&share), "video {video:?}, audio {audio:?}");
    assert_eq!((network(&alice, "video").0, network(&alice, "audio").0), (0.0, 0.0), "the way down is as it was");
    let (_, bob) = call.end();
    assert!(number(&bob.summary()["received"]["video"]["lost"]) < 0.2 * video.0, "most of it was repaired");
}

#[test]
fn a_rate_is_adapted_to_and_loses_no_call() {
    const RATE_BPS: f64 = 500_000.0;
    let _turn = Turn::whole_machine();
    let mut call = Call::standing(&["--size", "640x480"]);
    let sent = |call: &mut Call, seconds: u32| {
        call.alice.catch_up();
        let sent = |stats: Value| number(&stats["sent"]["video_bps"]) + number(&stats["sent"]["audio_bps"]);
        let each = (0..seconds).map(|_| sent(call.alice.wait_event("stats", PATIENCE)));
        each.sum::<f64>() / f64::from(seconds)
    };
    call.run(seconds(5));
    let before = sent(&mut call, 3);
    call.impair(&format!("up:rate={}kbit", RATE_BPS / 1000.0));
    call.run(seconds(6));
    let after = sent(&mut call, 4);
    assert!(before > RATE_BPS, "{before} bit/s fit into the rate");
    assert!((0.2 * RATE_BPS..RATE_BPS).contains(&after), "{before} bit/s before, {after} after");
    let (alice, bob) = call.end();
    assert_eq!((alice.reason(), bob.reason()), ("hangup", "remote-hangup"));
    assert!(![&alice, &bob].iter().any(|side| side.course().contains(&"reconnecting")));
}

#[test]
fn both_sides_are_told_of_a_line_that_is_too_narrow_for_pictures() {
    let _turn = Turn::whole_machine();
    let mut call = Call::standing(&[]);
    let told = |side: &mut Tring, of: &str, pictures: &str| {
        side.wait_event_where("plan", 4 * PATIENCE, |plan| plan["side"] == of && plan["pictures"] == pictures);
    };
    call.run(seconds(2));
    // Not at once: what is on its way would take seconds on the narrow one.
    call.impair("up:rate=150kbit,queue=300ms");
    call.run(seconds(6));
    // Sound alone takes a third to a half of it, reports on what bob sends take the most of the rest.
    call.impair("up:rate=24kbit,queue=300ms");
    told(&mut call.alice, "local", "paused");
    told(&mut call.bob, "remote", "paused");
    call.run(seconds(7));
    let figures = &call.stats().1["received"]["audio"];
    assert!(figures["frames"].as_u64().is_some_and(|frames| frames > 0), "{figures}");
    call.impair("none");
    told(&mut call.alice, "local", "sent");
    told(&mut call.bob, "remote", "sent");
    call.end();
}

#[test]
fn reconnect_renews_the_broker_and_the_path() {
    let _turn = Turn::call();
    let mut call = Call::standing(&[]);
    call.run(seconds(1));
    call.alice.send_control(&json!({"command": "reconnect"}));
    for side in [&mut call.alice, &mut call.bob] {
        side.wait_event("reconnecting", PATIENCE);
        side.wait_event("reconnected", PATIENCE);
    }
    call.run(seconds(2));
    let (alice, bob) = call.end();
    let count = |side: &Ended, name: &str| side.course().iter().filter(|told| **told == name).count();
    assert_eq!((count(&alice, "online"), count(&bob, "online")), (2, 1), "alice alone left her broker");
    for side in [&alice, &bob] {
        assert_eq!((count(side, "reconnecting"), count(side, "reconnected")), (1, 1));
    }
}

#[test]
fn reconnect_without_a_call() {
    let broker = Mosquitto::anonymous();
    let link = Args::new(["--id", "bob", "--broker", &broker.url(), "--control", "-"]);
    let mut bob = call::listen(link.and(["--answer", "auto"]));
    bob.send_control(&json!({"command": "reconnect"}));
    bob.wait_event("online", PATIENCE);
    bob.send_control(&json!({"command": "quit"}));
    assert_eq!(Ended::wait(&mut bob).course(), ["online", "offline", "online"]);
}

#[test]
fn a_wrong_impairment_is_told_the_keys() {
    let keys = [
        "delay=",
        "jitter=",
        "loss=",
        "burst=",
        "rate=",
        "queue=",
        "reorder=",
        "duplicate=",
        "seed=",
        "stall=",
        "none",
    ];
    let call = || Tring::command(["call", "bob"]).args(call::TEST_MEDIA);
    for wrong in [call().args(["--impair", "lag=5ms"]), call().env("TRING_IMPAIR", "up:loss=5% down:lag=5ms")] {
        let mut wrong = wrong.spawn();
        assert_eq!(wrong.wait_exit(PATIENCE), 2);
        let said = wrong.wait_stderr();
        assert!(said.contains("lag=5ms") && keys.iter().all(|key| said.contains(key)), "{said}");
    }
    let broker = Mosquitto::anonymous();
    let link = Args::new(["--id", "bob", "--broker", &broker.url(), "--control", "-"]);
    let mut bob = call::listen(link.and(["--impair", "up:loss=5%", "--impair", "down:delay=50ms,loss=1%"]));
    let told = bob.events_named("impaired");
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["up"], &told[0]["down"]), (&json!("loss=5%"), &json!("delay=50ms,loss=1%")));
    bob.send_control(&json!({"command": "impair", "spec": "loss=lots"}));
    let warning = bob.wait_event("warning", PATIENCE);
    assert!(keys.iter().all(|key| warning["text"].as_str().unwrap().contains(key)), "{warning}");
    bob.send_control(&json!({"command": "impair", "spec": "none"}));
    let told = bob.wait_event_where("impaired", PATIENCE, |event| event["up"].is_null());
    assert!(told["down"].is_null(), "{told}");
    bob.send_control(&json!({"command": "quit"}));
    assert_eq!(bob.wait_exit(PATIENCE), 0);
}

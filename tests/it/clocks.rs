//! Two machines whose clocks differ: what is measured between them is right all the same.

use serde_json::Value;

use crate::support::call::{Args, Ended, TEST_MEDIA};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, require};

/// A call of alice, whose clock is `ahead` (as faketime takes it), to bob, whose clock is right.
fn call(ahead: &str) -> [Ended; 2] {
    let faketime = require("faketime", "faketime");
    let mosquitto = Mosquitto::anonymous();
    let url = mosquitto.url();
    let common = |command: &[&str], id: &str| {
        Args::new(command.iter().copied()).and(TEST_MEDIA).option("--id", id).option("--broker", &url)
    };
    let bob = common(&["listen", "--answer", "auto", "--once"], "bob");
    let mut bob = Tring::spawn(bob);
    bob.wait_event("online", PATIENCE);
    let alice = common(&["call", "bob", "--duration", "6s"], "alice");
    let launcher = [faketime.to_str().unwrap(), "--exclude-monotonic", "-f", ahead];
    let mut alice = Tring::command(alice).through(launcher).spawn();
    let ended = [Ended::wait(&mut alice), Ended::wait(&mut bob)];
    assert_eq!([ended[0].status, ended[1].status], [0, 0]);
    ended
}

fn figure(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no figure"))
}

fn assert_right(side: &Ended, ahead_ms: f64) {
    let summary = side.event("summary");
    let received = &summary["received"];
    let clock = &received["clock"];
    let within = figure(&clock["within_ms"]);
    assert!((figure(&clock["ahead_ms"]) - ahead_ms).abs() <= within && within < 50.0, "{clock}");
    // As between two programs of one clock; see `tests/it/demo.rs`.
    let latency = figure(&received["video"]["latency_p50_ms"]);
    assert!((-within..300.0).contains(&latency), "{latency} ms, {clock}");
    assert!((25.0 - within..400.0).contains(&figure(&received["audio"]["latency_ms"])), "{received}");
    assert!((-40.0..60.0).contains(&figure(&received["sync_ms"])), "{received}");
    assert!((3.6..4.42).contains(&figure(&summary["mos"])), "MOS {}", summary["mos"]);
    for stats in side.events.iter().filter(|event| event["event"] == "stats") {
        let received = &stats["received"];
        let known = !received["clock"].is_null();
        assert!(known || received["video"]["latency_p50_ms"].is_null() && received["sync_ms"].is_null(), "{stats}");
        let latencies: Vec<i64> = serde_json::from_value(received["video"]["latencies_ms"].clone()).unwrap();
        assert!(latencies.iter().all(|ms| ms.abs() < 1000), "{stats}");
    }
}

#[test]
fn two_seconds_between_two_clocks_are_seen_and_taken_out() {
    let _turn = Turn::call();
    for (ahead, ahead_ms) in [("+2s", 2000.0), ("+1d", 86_400_000.0)] {
        let [alice, bob] = call(ahead);
        assert_right(&bob, ahead_ms);
        assert_right(&alice, -ahead_ms);
    }
}

#[test]
fn one_clock_is_not_put_right() {
    let _turn = Turn::call();
    let [alice, bob] = call("+0s");
    for side in [&alice, &bob] {
        assert_eq!(side.event("summary")["received"]["clock"]["ahead_ms"], 0.0, "{}", side.event("summary"));
        assert_right(side, 0.0);
    }
}

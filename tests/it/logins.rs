//! Logins at TURN servers that expire while a call stands: by a real coTURN with `use-auth-secret`, which checks the expiry
//! when an allocation is made.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::call::{self, Args, Ended, TEST_MEDIA, talking};
use crate::support::coturn::{self, Coturn};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

/// How long a login is good.
const LIFETIME: Duration = Duration::from_secs(30);

/// coTURN with such logins. It says of an allocation that it lasts 80 s; half of that is when it is refreshed, and by
/// then the login has expired.
const CONFIG: &str = "use-auth-secret\nstatic-auth-secret=north-secret\nmax-allocate-lifetime=80\nverbose";

/// When that refresh must have been seen, after the expiry; it is due 10 s after it.
const REFRESHED_WITHIN: Duration = Duration::from_secs(60);

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// When the logins expire by which coTURN has made allocations for a peer, in order.
fn expiries(coturn: &Coturn, id: &str, what: &str) -> Vec<u64> {
    let mark = format!(":{id}>");
    let log = coturn.log();
    let lines = log.lines().filter(|line| line.contains(what) && line.contains(&mark));
    lines.filter_map(|line| line.split("username=<").nth(1)?.split(':').next()?.parse().ok()).collect()
}

/// Waits until this moment, by the figures that the side tells once a second: pictures come all the time.
fn watch_until(side: &mut Tring, unix_s: u64) {
    let mut frames = None;
    while unix_now() < unix_s {
        let stats = side.wait_event("stats", PATIENCE);
        let now = stats["received"]["video"]["frames"].as_u64();
        assert!(now.is_some() && now > frames, "{frames:?} pictures, and a second later {stats}");
        frames = now;
    }
}

#[test]
fn a_call_outlives_its_login_at_the_relay_and_a_restart_brings_a_fresh_one() {
    let _turn = Turn::call();
    let (mosquitto, coturn, dir) = (Mosquitto::anonymous(), Coturn::with(CONFIG), TempDir::new("secrets"));
    dir.write("secret", coturn::SECRET);
    let peer = |id: &str| {
        let peer = Args::new(["--id", id, "--broker", &mosquitto.url(), "--relay-only", "--control", "-"]);
        let peer = peer.and(["--ice", &coturn.udp_url(), "--size", "320x240", "--ice-login-lifetime", "30s"]);
        peer.option("--ice-secret-file", dir.file("secret"))
    };
    let mut bob = call::listen(peer("bob").and(["--answer", "auto", "--once"]));
    let mut alice = Tring::spawn(Args::new(["call", "bob"]).and(TEST_MEDIA).and(peer("alice")));
    talking([&mut alice, &mut bob]);
    let first = *expiries(&coturn, "alice", " new, ").iter().max().expect("an allocation is logged");
    assert!(first <= unix_now() + LIFETIME.as_secs(), "the login is good for {LIFETIME:?}");

    watch_until(&mut alice, first + 1);
    assert!(expiries(&coturn, "alice", " refreshed, ").is_empty(), "none is due before the login has expired");
    while expiries(&coturn, "alice", " refreshed, ").is_empty() {
        assert!(unix_now() < first + REFRESHED_WITHIN.as_secs(), "{}", coturn.log());
        watch_until(&mut alice, unix_now() + 1);
    }
    eprintln!("refreshed by a login that had expired {} s before", unix_now() - first);
    // What the server thought of it shows in what comes through.
    watch_until(&mut alice, unix_now() + 5);

    alice.send_control(&json!({"command": "reconnect"}));
    let began = unix_now();
    for side in [&mut alice, &mut bob] {
        side.wait_event("reconnected", PATIENCE);
    }
    for id in ["alice", "bob"] {
        let last = *expiries(&coturn, id, " new, ").last().unwrap();
        assert!(last >= began + LIFETIME.as_secs() - 1, "{id}: a fresh login: {last}, {began}");
    }
    watch_until(&mut alice, unix_now() + 3);
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, bob.status), (0, 0));
    let reconnects = alice.events.iter().filter(|event| event["event"] == "reconnecting").count();
    assert_eq!(reconnects, 1, "by order alone");
    alice.assert_path(|kind| kind == "relay");
}

#[test]
fn a_lifetime_that_cannot_be_is_an_error_of_usage() {
    for (time, words) in [("9s", "at least 10s"), ("8d", "unknown unit"), ("200h", "up to a week")] {
        let args = ["call", "bob", "--id", "alice", "--ice-login-lifetime", time];
        let folder = TempDir::new("usage");
        let output = Tring::command(Args::new(args)).output(folder.path());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(words) && told.contains("--ice-login-lifetime"), "{told}");
    }
}

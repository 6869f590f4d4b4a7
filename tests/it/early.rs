//! A path that is set up while it rings: with callers whom the user knows, not with strangers, and never with media.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use rumqttc::{Client, Event, Packet, QoS};

use crate::support::call::{self, Args, Ended, TEST_MEDIA, talking};
use crate::support::mallory;
use crate::support::mosquitto::Mosquitto;
use crate::support::people::{Opener, give_key};
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

/// How long it rings where nothing is to happen meanwhile: a path on this machine is there in a tenth of that.
const RINGS: Duration = Duration::from_millis(800);

/// From the answer to the first picture, with a path that is there, on a busy machine: a picture is drawn, sent and decoded.
const PICTURE_WITHIN_MS: f64 = 250.0;

/// Bob, who is asked, and knows alice.
fn bob(broker: &str, home: &TempDir, options: &[&str]) -> Tring {
    let config = home.path().join("settings.toml");
    std::fs::write(&config, "[contacts]\nally = \"alice\"\n").unwrap();
    let link = ["listen", "--id", "bob", "--broker", broker, "--control", "-", "--config"];
    let args = Args::new(link).and([config.as_os_str()]).and(TEST_MEDIA).and(options);
    give_key(home.path(), "bob");
    let mut bob = Tring::command(args).home(home.path()).spawn();
    bob.wait_event("online", PATIENCE);
    bob
}

fn caller(id: &str, broker: &str) -> Tring {
    call::call_bob(["--id", id, "--broker", broker, "--control", "-"])
}

/// Events of these names, in order.
fn course(side: &mut Tring, names: &[&str]) -> Vec<String> {
    side.catch_up();
    let all = side.events().iter().filter_map(|event| event["event"].as_str());
    all.filter(|name| names.contains(name)).map(str::to_owned).collect()
}

/// The UDP sockets of a process.
fn udp_sockets(side: &Tring) -> BTreeSet<String> {
    let folder = format!("/proc/{}", side.pid());
    let table = |name: &str| std::fs::read_to_string(format!("{folder}/net/{name}")).unwrap_or_default();
    let tables = table("udp") + &table("udp6");
    let inodes: BTreeSet<&str> = tables.lines().filter_map(|line| line.split_whitespace().nth(9)).collect();
    let open = std::fs::read_dir(format!("{folder}/fd")).unwrap().flatten();
    let links = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let sockets = links.filter_map(|link: PathBuf| {
        let name = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
        inodes.contains(name.as_str()).then_some(name)
    });
    sockets.collect()
}

#[test]
fn a_path_is_there_while_a_known_caller_rings_and_the_answer_shows_a_picture() {
    let _turn = Turn::call();
    let (mosquitto, home) = (Mosquitto::anonymous(), TempDir::new("bob"));
    let mut bob = bob(&mosquitto.url(), &home, &[]);
    let mut alice = caller("alice", &mosquitto.url());
    for side in [&mut alice, &mut bob] {
        side.wait_event("path_ready", PATIENCE);
    }
    std::thread::sleep(RINGS);
    for side in [&mut alice, &mut bob] {
        let media = course(side, &["accepted", "connecting", "connected", "first_frame", "first_audio", "stats"]);
        assert_eq!(media, [] as [&str; 0], "before anybody has accepted");
    }
    assert_eq!(course(&mut alice, &["ringing"]), ["ringing"]);
    bob.say("answer");
    for side in [&mut alice, &mut bob] {
        let after_ms = side.wait_event("first_frame", PATIENCE)["after_accept_ms"].as_f64().unwrap();
        assert!(after_ms < PICTURE_WITHIN_MS, "{after_ms} ms");
        let names = ["path_ready", "accepted", "connected", "first_frame"];
        assert_eq!(course(side, &names), names);
    }
    alice.say("hangup");
    let ended = Ended::wait(&mut alice);
    ended.assert_called();
    let setup = &ended.summary()["setup"];
    for part in ["ice_ms", "dtls_ms"] {
        assert!(setup[part].as_f64().is_some_and(|ms| ms < PICTURE_WITHIN_MS), "counted from the answer: {setup}");
    }
}

#[test]
fn with_a_stranger_nothing_is_set_up_before_the_answer() {
    let _turn = Turn::call();
    let (mosquitto, home) = (Mosquitto::anonymous(), TempDir::new("bob"));
    let mut bob = bob(&mosquitto.url(), &home, &[]);
    let mut carol = caller("carol", &mosquitto.url());
    carol.wait_event("ringing", PATIENCE);
    bob.wait_event("incoming", PATIENCE);
    std::thread::sleep(RINGS);
    for side in [&mut carol, &mut bob] {
        assert_eq!(course(side, &["path_ready"]), [] as [&str; 0]);
    }
    bob.say("answer");
    talking([&mut carol, &mut bob]);
    carol.say("hangup");
    Ended::wait(&mut carol).assert_called();
}

/// Carries what alice and bob say to each other, on topics of their own, as programs of before said it: without the lines of
/// descriptions that they did not know. It has their keys, and seals anew what it changed.
fn carry_as_before(port: u16) {
    let (client, mut connection) = Client::new(mallory::options("carrier", port), 100);
    for topic in ["tring/presence/+", "tring/a/alice/bob", "tring/b/bob/alice"] {
        client.subscribe(topic, QoS::AtLeastOnce).unwrap();
    }
    let mut opener = Opener::default();
    std::thread::spawn(move || {
        // Ends with the broker.
        for event in connection.iter().map_while(Result::ok) {
            let Event::Incoming(Packet::Publish(publish)) = event else { continue };
            let Some(mut message) = opener.open(&publish.topic, &publish.payload) else { continue };
            if publish.topic.starts_with("tring/presence/") {
                continue;
            }
            if let Some(sdp) = message["sdp"].as_str() {
                let known = |line: &&str| !line.starts_with("a=tring-");
                message["sdp"] = sdp.split_inclusive('\n').filter(known).collect::<String>().into();
            }
            let to = if publish.topic.ends_with("/bob") { "tring/b/alice/bob" } else { "tring/a/bob/alice" };
            client.publish(to, QoS::AtLeastOnce, false, opener.seal(&message).unwrap()).unwrap();
        }
    });
}

#[test]
fn programs_of_before_are_called_and_call_as_ever() {
    let _turn = Turn::call();
    let (mosquitto, home) = (Mosquitto::anonymous(), TempDir::new("bob"));
    carry_as_before(mosquitto.port());
    let mut bob = bob(&mosquitto.url(), &home, &["--early-media", "always", "--topic", "tring/b/{from}/{to}"]);
    let link = ["--id", "alice", "--broker", &mosquitto.url(), "--control", "-", "--topic", "tring/a/{from}/{to}"];
    let mut alice = call::call_bob(link);
    alice.wait_event("ringing", PATIENCE);
    std::thread::sleep(RINGS);
    for side in [&mut alice, &mut bob] {
        assert_eq!(course(side, &["path_ready"]), [] as [&str; 0]);
    }
    bob.say("answer");
    talking([&mut alice, &mut bob]);
    alice.say("hangup");
    Ended::wait(&mut alice).assert_called();
}

#[test]
fn whom_is_trusted_may_be_chosen() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    for (whom, id, is_ready) in [("always", "carol", true), ("never", "alice", false)] {
        let home = TempDir::new("bob");
        let mut bob = bob(&mosquitto.url(), &home, &["--early-media", whom]);
        let mut calls = caller(id, &mosquitto.url());
        calls.wait_event("ringing", PATIENCE);
        if is_ready {
            calls.wait_event("path_ready", PATIENCE);
        } else {
            std::thread::sleep(RINGS);
        }
        assert_eq!(!course(&mut calls, &["path_ready"]).is_empty(), is_ready, "{whom}");
        bob.say("answer");
        talking([&mut calls, &mut bob]);
        calls.say("hangup");
        Ended::wait(&mut calls).assert_called();
        bob.say("quit");
        bob.wait_exit(PATIENCE);
    }
}

#[test]
fn a_call_that_comes_to_nothing_leaves_no_transport() {
    let _turn = Turn::call();
    let (mosquitto, home) = (Mosquitto::anonymous(), TempDir::new("bob"));
    let mut bob = bob(&mosquitto.url(), &home, &[]);
    let before = udp_sockets(&bob);
    for end in ["reject", "cancel", "no answer"] {
        let options: &[&str] = if end == "no answer" { &["--answer-timeout", "2s"] } else { &[] };
        let link = ["--id", "alice", "--broker", &mosquitto.url(), "--control", "-"].map(str::to_owned);
        let mut alice = call::call_bob(Args::new(link).and(options));
        for side in [&mut alice, &mut bob] {
            side.wait_event("path_ready", PATIENCE);
        }
        assert!(udp_sockets(&bob).len() > before.len(), "{end}: a path has sockets");
        match end {
            "reject" => bob.say("reject"),
            "cancel" => alice.say("hangup"),
            _ => {}
        }
        let status = alice.wait_exit(PATIENCE);
        assert_eq!(
            status,
            match end {
                "reject" => 11,
                "cancel" => 0,
                _ => 12,
            },
            "{end}"
        );
        bob.wait_event("summary", PATIENCE);
        assert_eq!(udp_sockets(&bob), before, "{end}");
    }
    assert_eq!(course(&mut bob, &["accepted", "connected", "first_frame"]), [] as [&str; 0]);
}

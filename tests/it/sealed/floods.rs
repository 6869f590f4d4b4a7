//! Strangers send thousands of offers as fast as the broker takes them, while a sealed call stands: it goes on, a peer that
//! is known gets through, and what is held of it all is bounded.

use std::time::Instant;

use serde_json::{Value, json};

use super::{alice, bob, hang_up};
use crate::support::call::{Args, Ended, TEST_MEDIA, talking};
use crate::support::mallory::{Mallory, Noise};
use crate::support::mosquitto::Mosquitto;
use crate::support::people::Opener;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

/// So many messages a flood has.
const MESSAGES: usize = 10_000;

/// Most that the broker keeps for bob while he is busy; it drops the rest, and such a drop proves nothing.
const BURST: usize = 500;

/// What bob may hold more after a flood than before, in KiB: next to nothing, beside what allocators keep.
const HELD_MAX_KIB: u64 = 32 * 1024;

/// What the process holds, in KiB (proc(5)).
fn resident_kib(side: &Tring) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", side.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Carol, whom bob has in his memory, calls him.
fn carol(home: &TempDir, broker: &str) -> Ended {
    let call = Args::new(["call", "bob", "--id", "carol", "--broker", broker, "--duration", "1s"]).and(TEST_MEDIA);
    Ended::wait(&mut Tring::command(call).home(home.path()).spawn())
}

/// Alice and bob talk while this is said again and again. `flood` makes it of what bob's presence says.
fn flooded(flood: impl FnOnce(&mut Opener) -> Vec<(String, Vec<u8>)>) {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let homes = ["a", "b", "c"].map(TempDir::new);
    let mut bob = bob(homes[1].path(), &mosquitto.url(), &[]);
    assert_eq!(carol(&homes[2], &mosquitto.url()).status, 0, "bob remembers carol from now on");
    let mut alice = alice(homes[0].path(), &mosquitto.url(), &[]);
    talking([&mut alice, &mut bob]);

    let mut mallory = Mallory::at(mosquitto.port());
    let mut opener = Opener::default();
    mallory.subscribe("tring/presence/bob");
    let presence = mallory.presence_where(|presence| presence["state"] == "busy");
    opener.open("tring/presence/bob", presence.to_string().as_bytes());
    let said = flood(&mut opener);
    let before = resident_kib(&bob);
    let (ports, began) = (mosquitto.port(), Instant::now());
    let flooding = std::thread::spawn(move || {
        let mut mallory = Mallory::at(ports);
        for (n, (topic, payload)) in said.iter().cycle().take(MESSAGES).enumerate() {
            mallory.publish(topic, payload.clone());
            if n % BURST == 0 {
                mallory.delivered();
            }
        }
        mallory.delivered();
        began.elapsed()
    });
    let during = carol(&homes[2], &mosquitto.url());
    assert_eq!((during.status, during.reason()), (10, "busy"), "who is known gets through: {}", during.failure());
    let took = flooding.join().unwrap();
    for side in [&mut alice, &mut bob] {
        side.catch_up();
        side.wait_event_where("stats", PATIENCE, |stats| stats["received"]["fps"].as_f64() > Some(10.0));
    }
    hang_up(&mut alice);
    let ended = Ended::wait(&mut alice);
    assert_eq!((ended.status, ended.reason()), (0, "hangup"), "{}", ended.failure());
    let summary = bob.wait_event_where("summary", PATIENCE, |summary| summary["peer"] == "alice");
    let (dropped, held) = (summary["signalling"]["dropped"].as_u64().unwrap(), resident_kib(&bob));
    assert!(dropped > 1000, "{dropped} of {MESSAGES} were dropped in {took:?}: the flood did not arrive");
    assert!(held < before + HELD_MAX_KIB, "{before} KiB before, {held} KiB after, {dropped} dropped in {took:?}");
    assert_steady(&mut bob);
    assert_eq!(carol(&homes[2], &mosquitto.url()).status, 0, "and after it all is as before");
}

/// Its figures came every second.
fn assert_steady(side: &mut Tring) {
    let stats = side.events_named("stats");
    let of_alice = stats.iter().filter(|stats| stats["peer"] == "alice");
    let times: Vec<u64> = of_alice.map(|stats| stats["ts"].as_u64().unwrap()).collect();
    let longest = times.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(0);
    assert!(longest < 3000, "it stood still for {longest} ms");
}

/// An offer of this peer to bob, as a program without sealing says it.
fn offer(from: &str, noise: &mut Noise) -> Value {
    let id = format!("6d-{}", noise.next());
    json!({"v": 1, "id": id, "from": from, "to": "bob", "ts": 1, "call": noise.call(), "type": "offer", "sdp": "v=0"})
}

/// The same, sealed as it should be.
fn sealed(from: &str, noise: &mut Noise, opener: &mut Opener) -> (String, Vec<u8>) {
    let run = r#"{"v":1,"state":"available","run":"6d-0"}"#;
    opener.open(&format!("tring/presence/{from}"), run.as_bytes());
    (format!("tring/call/{from}/bob"), opener.seal(&offer(from, noise)).unwrap())
}

#[test]
fn plain_offers_of_one_stranger() {
    flooded(|_| {
        let mut noise = Noise(21);
        let said =
            (0..1000).map(|_| ("tring/call/mallory/bob".to_owned(), offer("mallory", &mut noise).to_string().into()));
        said.collect()
    });
}

#[test]
fn plain_offers_of_thousands_of_strangers() {
    flooded(|_| {
        let mut noise = Noise(22);
        let mut said = |n: usize| {
            let id = format!("mallory-{n}");
            (format!("tring/call/{id}/bob"), offer(&id, &mut noise).to_string().into())
        };
        (0..MESSAGES).map(&mut said).collect()
    });
}

/// For bob, as everybody sees, and not what it says it is.
#[test]
fn forged_messages_of_one_stranger_and_in_the_callers_name() {
    flooded(|opener| {
        let mut noise = Noise(23);
        let mut forged = Vec::new();
        for from in ["mallory", "alice"] {
            let (topic, genuine) = sealed(from, &mut noise, opener);
            for n in 0..500 {
                let mut changed = genuine.clone();
                let place = changed.len() - 1 - n;
                changed[place] ^= 1;
                forged.push((topic.clone(), changed));
            }
        }
        forged
    });
}

#[test]
fn genuine_offers_of_hundreds_of_strangers() {
    flooded(|opener| {
        let mut noise = Noise(24);
        (0..1000).map(|n| sealed(&format!("mallory-{}", n % 250), &mut noise, opener)).collect()
    });
}

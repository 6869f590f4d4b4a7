//! What the program makes of a stranger's attacks, while it listens and in a call.

use serde_json::json;

use super::Scene;
use crate::support::PATIENCE;
use crate::support::broker::{Make, over_each_broker};
use crate::support::call::{self, Ended, talking};
use crate::support::mallory::Mallory;
use crate::support::process::Tring;
use crate::support::turn::Turn;

over_each_broker!(a_spoofed_offer, a_poisoned_listener, a_call_overheard_and_not_ended_by_another, a_client_id_stolen);

/// Where alice speaks to bob, bob to alice, and mallory to bob.
const ALICES: &str = "tring/call/alice/bob";
const BOBS: &str = "tring/call/bob/alice";
const MALLORYS: &str = "tring/call/mallory/bob";

fn offer(mallory: &mut Mallory, from: &str, call: &str) -> String {
    mallory.message(from, "bob", call, json!({"type": "offer", "sdp": "v=0"})).to_string()
}

fn a_spoofed_offer(make: Make) {
    let first_caller = |scene: Scene| {
        let mut bob = call::listen_plain(scene.peer("bob").and(["--answer", "reject"]));
        let mut mallory = scene.client("mallory");
        for (topic, face, call) in [(ALICES, "alice", "1"), (MALLORYS, "mallory", "2")] {
            let offer = offer(&mut mallory, face, call);
            mallory.publish(topic, offer);
        }
        bob.wait_event("incoming", PATIENCE)["peer"].clone()
    };
    assert_eq!(first_caller(Scene::open(make)), "alice");
    assert_eq!(first_caller(Scene::guarded(make)), "mallory");
}

/// Offers that the broker keeps ring nowhere; on mallory's own topic the program has to see to that itself.
fn a_poisoned_listener(make: Make) {
    let dropped = |scene: Scene| {
        let mut mallory = scene.client("mallory");
        for (topic, face, call) in [(ALICES, "alice", "1"), (MALLORYS, "mallory", "2")] {
            let offer = offer(&mut mallory, face, call);
            mallory.retain(topic, offer);
        }
        mallory.delivered();
        let mut bob = call::listen_plain(scene.peer("bob").and(["--answer", "reject"]));
        let offer = offer(&mut mallory, "mallory", "3");
        mallory.publish(MALLORYS, offer);
        let incoming = bob.wait_event("incoming", PATIENCE);
        assert_eq!((&incoming["peer"], &incoming["call_id"]), (&json!("mallory"), &json!("3")));
        bob.wait_event("summary", PATIENCE)["signalling"]["dropped"].clone()
    };
    assert_eq!(dropped(Scene::open(make)), 2);
    assert_eq!(dropped(Scene::guarded(make)), 1);
}

/// Alice and bob in a call; the listener stays when it ends.
fn in_a_call(scene: &Scene) -> (Tring, Tring) {
    let mut bob = call::listen(scene.peer("bob").and(["--answer", "auto"]));
    let mut alice = call::call_bob(scene.peer("alice"));
    talking([&mut alice, &mut bob]);
    (alice, bob)
}

/// The call stands, and ends when alice says so.
fn assert_goes_on(mut alice: Tring, mut bob: Tring) {
    for side in [&mut alice, &mut bob] {
        // Figures of before do not count.
        side.catch_up();
        for _ in 0..2 {
            side.wait_event("stats", PATIENCE);
        }
    }
    assert!(bob.events_named("ended").is_empty(), "the call has ended");
    alice.send_control(&json!({"command": "hangup"}));
    let alice = Ended::wait(&mut alice);
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    assert_eq!(bob.wait_event("ended", PATIENCE)["reason"], "remote-hangup");
}

/// At an open broker she learns that they speak and may write in their names; what she writes is not sealed with their
/// keys.
fn a_call_overheard_and_not_ended_by_another(make: Make) {
    let _turn = Turn::call();
    let attack = |scene: &Scene| {
        let mut mallory = scene.client("mallory");
        for filter in ["tring/call/+/mallory", "tring/call/+/+"] {
            mallory.subscribe(filter);
        }
        let (alice, mut bob) = in_a_call(scene);
        mallory.publish("tring/call/mallory/mallory", "the end");
        let overheard = mallory.heard_before("the end").iter().any(|message| message.topic == ALICES);
        // She could not know the id of the call; here she does.
        let call = call_id(&mut bob);
        for (topic, from, to) in [(ALICES, "alice", "bob"), (BOBS, "bob", "alice")] {
            let bye = mallory.message(from, to, &call, json!({"type": "bye", "reason": "hangup"}));
            mallory.publish(topic, bye.to_string());
        }
        mallory.publish(MALLORYS, "what bob drops with a warning");
        bob.wait_event("warning", PATIENCE);
        (overheard, alice, bob)
    };
    for (scene, hears) in [(Scene::open(make), true), (Scene::guarded(make), false)] {
        let (overheard, alice, mut bob) = attack(&scene);
        assert_eq!((overheard, bob.events_named("ended").len()), (hears, 0));
        assert_goes_on(alice, bob);
    }
}

fn call_id(bob: &mut Tring) -> String {
    bob.events_named("incoming")[0]["call_id"].as_str().expect("a call has an id").to_owned()
}

/// Mosquitto gives nobody the ClientId of another login. ActiveMQ does: alice is thrown off for a moment, and takes her
/// ID back from a thief who does not insist; the call never notices.
fn a_client_id_stolen(make: Make) {
    let _turn = Turn::call();
    let steal = |scene: &Scene| {
        let (alice, bob) = in_a_call(scene);
        let thief = Mallory::connect(scene.options("alice", "mallory"));
        (thief, alice, bob)
    };
    let taken_back = |scene: &Scene| {
        let (mut thief, mut alice, bob) = steal(scene);
        alice.wait_event("offline", PATIENCE);
        // She was online once before.
        for _ in 0..2 {
            alice.wait_event("online", PATIENCE);
        }
        thief.thrown_off();
        assert_goes_on(alice, bob);
    };
    taken_back(&Scene::open(make));
    let scene = Scene::guarded(make);
    match make {
        Make::ActiveMq => taken_back(&scene),
        Make::Mosquitto => {
            let (_thief, mut alice, bob) = steal(&scene);
            // The thief was let in before these figures, and whoever is thrown off says so at once.
            alice.catch_up();
            for _ in 0..2 {
                alice.wait_event("stats", PATIENCE);
            }
            assert!(alice.events_named("offline").is_empty(), "alice was thrown off");
            assert_goes_on(alice, bob);
        }
    }
}

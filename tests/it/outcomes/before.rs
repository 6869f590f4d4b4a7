//! Before a call stands: declined, given up, unheard, crossed, or to nobody.

use serde_json::json;

use super::{alice, assert_flowing, bob, call_with, controlled, in_a_call, peer, refused};
use crate::support::PATIENCE;
use crate::support::broker::{Make, over_each_broker};
use crate::support::call::{self, Args, Ended, talking};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;

over_each_broker!(
    declined,
    two_who_call_each_other_end_up_in_one_call,
    busy,
    no_answer,
    nobody_there,
    nobody_there_any_more,
    cancelled,
);

fn declined(make: Make) {
    let broker = make.open();
    let mut bob = call::listen(bob(&broker.url()).and(["--answer", "reject", "--once"]));
    let alice = Ended::wait(&mut call::call_bob(alice(&broker.url())));
    let bob = Ended::wait(&mut bob);
    assert_eq!((alice.status, alice.reason()), (11, "remote-decline"));
    assert_eq!(alice.course(), ["online", "dialing", "ringing", "ended", "summary"]);
    assert_eq!((bob.status, bob.reason()), (11, "decline"));
    assert_eq!(bob.course(), ["online", "incoming", "ended", "summary"]);
}

fn two_who_call_each_other_end_up_in_one_call(make: Make) {
    let _turn = Turn::call();
    let broker = make.open();
    let mut alice = call::call_bob(alice(&broker.url()));
    let call_alice = Args::new(["call", "alice"]).and(call::TEST_MEDIA).and(bob(&broker.url()));
    let mut bob = Tring::spawn(call_alice);
    talking([&mut alice, &mut bob]);
    assert_flowing([&mut alice, &mut bob]);
    alice.interrupt();
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (130, "hangup"));
    assert_eq!((bob.status, bob.reason()), (0, "remote-hangup"));
    // The call of the lower ID is the one, on both sides.
    let call = &alice.event("dialing")["call_id"];
    for side in [&alice, &bob] {
        assert_eq!(&side.event("connected")["call_id"], call);
    }
}

fn busy(make: Make) {
    let _turn = Turn::call();
    let broker = make.open();
    let (mut alice, mut bob) = in_a_call(&broker.url());
    let carol = Ended::wait(&mut call::call_bob(peer("carol", &broker.url())));
    assert_eq!((carol.status, carol.reason()), (10, "busy"));
    assert_eq!(carol.course(), ["online", "dialing", "ended", "summary"]);
    let turned_away = bob.wait_event("turned_away", PATIENCE);
    assert_eq!(turned_away["caller"], "carol");
    // The call goes on as if nothing had been.
    for _ in 0..2 {
        assert_flowing([&mut alice, &mut bob]);
    }
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, mut bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    alice.assert_called();
    bob.events.retain(|event| event["event"] != "turned_away");
    bob.assert_answered();
    alice.assert_media();
    bob.assert_media();
}

fn no_answer(make: Make) {
    let broker = make.open();
    let mut bob = controlled(bob(&broker.url()));
    let mut alice = call::call_bob(alice(&broker.url()).option("--answer-timeout", "2s"));
    let ringing = alice.wait_event("ringing", PATIENCE)["ts"].as_u64();
    let ended = alice.wait_event("ended", PATIENCE)["ts"].as_u64();
    let waited = ended.zip(ringing).map(|(ended, ringing)| ended - ringing);
    assert!(waited.is_some_and(|ms| (1_900..7_000).contains(&ms)), "waited {waited:?} ms");
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (12, "no-answer"));
    assert_eq!(alice.course(), ["online", "dialing", "ringing", "ended", "summary"]);
    assert_eq!((bob.status, bob.reason()), (12, "no-answer"));
    assert_eq!(bob.course(), ["online", "incoming", "ended", "summary"]);
}

fn nobody_there(make: Make) {
    let broker = make.open();
    let ended = refused(call_with(alice(&broker.url())));
    assert_eq!((ended.status, ended.reason()), (13, "offline"));
    assert_eq!(ended.course(), ["online", "dialing", "ended", "summary"]);
}

fn nobody_there_any_more(make: Make) {
    let broker = make.open();
    let mut bob = controlled(bob(&broker.url()));
    bob.send_control(&json!({"command": "quit"}));
    assert_eq!(bob.wait_exit(PATIENCE), 0);
    // Bob's presence, retained at the broker, says that he has gone: nothing has to be waited for.
    let mut alice = call::call_bob(alice(&broker.url()));
    let dialing = alice.wait_event("dialing", PATIENCE)["ts"].as_u64();
    let ended = alice.wait_event("ended", PATIENCE)["ts"].as_u64();
    let waited = ended.zip(dialing).map(|(ended, dialing)| ended - dialing);
    assert!(waited.is_some_and(|ms| ms < 4_000), "waited {waited:?} ms");
    let alice = Ended::wait(&mut alice);
    assert_eq!((alice.status, alice.reason()), (13, "offline"));
    assert_eq!(alice.course(), ["online", "dialing", "ended", "summary"]);
}

fn cancelled(make: Make) {
    let broker = make.open();
    let mut bob = controlled(bob(&broker.url()));
    let mut alice = call::call_bob(alice(&broker.url()));
    alice.wait_event("ringing", PATIENCE);
    alice.interrupt();
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (130, "cancel"));
    assert_eq!(alice.course(), ["online", "dialing", "ringing", "ended", "summary"]);
    assert_eq!((bob.status, bob.reason()), (14, "remote-cancel"));
    assert_eq!(bob.course(), ["online", "incoming", "ended", "summary"]);
}

#[test]
fn declined_by_command() {
    let mosquitto = Mosquitto::anonymous();
    let mut bob = controlled(bob(&mosquitto.url()));
    let mut alice = call::call_bob(alice(&mosquitto.url()));
    bob.wait_event("incoming", PATIENCE);
    alice.wait_event("ringing", PATIENCE);
    bob.send_control(&json!({"command": "reject"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (11, "remote-decline"));
    assert_eq!((bob.status, bob.reason()), (11, "decline"));
}

#[test]
fn calls_of_others_are_not_taken() {
    let mosquitto = Mosquitto::anonymous();
    let mut bob = call::listen(bob(&mosquitto.url()).and(["--answer", "auto", "--from", "alice"]));
    let carol = Ended::wait(&mut call::call_bob(peer("carol", &mosquitto.url())));
    assert_eq!((carol.status, carol.reason()), (13, "offline"));
    bob.interrupt();
    let bob = Ended::wait(&mut bob);
    assert_eq!((bob.status, bob.course()), (130, vec!["online"]));
}

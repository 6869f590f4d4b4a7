//! Networks that let no UDP out, or next to nothing: TURN over TCP and TLS gets through, also where it is narrow.

use std::time::Duration;

use serde_json::Value;

use super::{Kinds, Peers};
use crate::support::PATIENCE;
use crate::support::call::{Args, Ended};
use crate::support::lab::{Lab, Nat, Router};
use crate::support::turn::Turn;

/// A call's sound, some small pictures, and no more.
const NARROW_KBIT: u32 = 200;

/// How long the narrow stream is listened to.
const LISTENED: Duration = Duration::from_secs(8);

/// The call begins at a rate that the stream does not carry; by then the sender has found the one that it does.
const ADAPTED_AFTER_MS: u64 = 2000;

/// Share of sound that may be filled in from then on. The aim is 0.02, and 0.009 to 0.055 were seen. TCP lost nothing: each
/// time that more is tried, the path's queue grows by 0.1 to 0.2 s before that is noticed, and by as much over UDP.
const CONCEALED_MAX: f64 = 0.08;

#[test]
fn without_udp_a_call_goes_by_turn_over_tcp() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Symmetric)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.turn_over_udp_and_tcp());
    routers.iter().for_each(|router| router.block_udp());
    // What is not heard from the servers over UDP is told.
    let mut call = peers.ring(Args::default().option("--duration", "4s"));
    for side in [&mut call.alice, &mut call.bob] {
        let connected = side.wait_event("connected", PATIENCE);
        assert_eq!(connected["pair"]["relay_protocol"], "tcp", "{connected}");
    }
    for side in [&mut call.alice, &mut call.bob] {
        let ended = Ended::wait(side);
        assert_eq!(ended.status, 0);
        ended.assert_media();
    }
    assert!(routers.iter().all(|router| router.taken() > 0), "nothing was blocked");
}

#[test]
fn where_https_alone_gets_out_broker_and_relay_are_on_port_443() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Symmetric)];
    let peer = |router: &Router, id| (router.host(id), lab.peer_by_https(id).and(lab.turn_by_https()));
    let peers = Peers { alice: peer(&routers[0], "alice"), bob: peer(&routers[1], "bob") };
    routers.iter().for_each(|router| router.allow_https_alone());
    peers.call("nothing but TCP port 443, TURN over TLS", [Kinds::RELAYED; 2]);
    assert!(routers.iter().all(|router| router.refused() > 0), "nothing was refused");
}

/// The same by the program's own servers, which have one port for all of it.
#[test]
fn where_https_alone_gets_out_our_own_servers_carry_a_whole_call() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let served = lab.serve();
    assert_eq!(served.turns(), "turns:198.18.0.3:443");
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Symmetric)];
    let peer = |router: &Router, id, broker: &str| (router.host(id), lab.peer_of(&served, id, broker));
    let peers =
        Peers { alice: peer(&routers[0], "alice", &served.wss()), bob: peer(&routers[1], "bob", &served.mqtts()) };
    routers.iter().for_each(|router| router.allow_https_alone());
    peers.call("nothing but TCP port 443, by tring serve", [Kinds::RELAYED; 2]);
    assert!(routers.iter().all(|router| router.refused() > 0), "nothing was refused");
}

/// The stream of alice is narrower than the pictures she would send: her pictures give way, her sound does not.
#[test]
fn a_stream_narrower_than_the_call_keeps_the_sound_whole() {
    let _turn = Turn::whole_machine();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Symmetric), lab.router(Nat::Symmetric)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.turn_over_tls().and(["--relay-only"]));
    routers[0].slow_down(NARROW_KBIT);
    let mut call = peers.talk();
    call.watch(LISTENED);
    let (alice, bob) = call.hang_up();
    assert_eq!(alice.summary()["pair"]["relay_protocol"], "tls");
    let look = |from_ms| sound_of(&bob, from_ms).expect("it was watched");
    let (early, last) = (look(look(0).0 + ADAPTED_AFTER_MS), look(u64::MAX));
    let share = (last.1 - early.1) / (last.2 - early.2);
    let summary = &bob.summary()["received"];
    let (lost, frames) = (&summary["audio"]["lost"], &summary["video"]["frames"]);
    eprintln!(
        "TLS at {NARROW_KBIT} kbit/s: {lost} packets of sound lost, {} of {} frames concealed in the first {} s, {share:.3} \
         of those after; {frames} pictures",
        early.1,
        early.2,
        ADAPTED_AFTER_MS / 1000
    );
    assert_eq!(lost, 0, "{summary}");
    assert!(share <= CONCEALED_MAX, "{share}: {summary}");
    assert!(frames.as_u64().is_some_and(|frames| frames > 0), "{summary}");
}

/// At the first look at or after a moment, else at the last one: its time in ms, frames of sound concealed so far, and
/// frames in all.
fn sound_of(side: &Ended, from_ms: u64) -> Option<(u64, f64, f64)> {
    let has_sound = |event: &&Value| event["received"]["audio"]["concealed"].is_number();
    let looks = || side.events.iter().filter(|event| event["event"] == "stats").filter(has_sound);
    let look = looks().find(|event| event["ts"].as_u64() >= Some(from_ms)).or_else(|| looks().next_back())?;
    let count = |name: &str| look["received"]["audio"][name].as_f64();
    let (concealed, frames) = (count("concealed")?, count("frames")?);
    Some((look["ts"].as_u64()?, concealed, concealed + frames))
}

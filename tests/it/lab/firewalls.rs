//! Networks that let no UDP out, or next to nothing: TURN over TCP and TLS gets through, also where it is narrow.

use std::time::Duration;

use super::{Kinds, Peers};
use crate::support::call::Args;
use crate::support::lab::{Lab, Nat};
use crate::support::turn::Turn;

/// A call's sound, some small pictures, and no more.
const NARROW_KBIT: u32 = 200;

/// How long the narrow stream is listened to.
const LISTENED: Duration = Duration::from_secs(8);

/// Share of sound that may be filled in on the narrow stream: what TCP sends again comes late, and all that is behind it.
const CONCEALED_MAX: f64 = 0.05;

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
        let connected = side.wait_event("connected", crate::support::PATIENCE);
        assert_eq!(connected["pair"]["relay_protocol"], "tcp", "{connected}");
    }
    for side in [&mut call.alice, &mut call.bob] {
        let ended = crate::support::call::Ended::wait(side);
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
    let peer =
        |router: &crate::support::lab::Router, id| (router.host(id), lab.peer_by_https(id).and(lab.turn_by_https()));
    let peers = Peers { alice: peer(&routers[0], "alice"), bob: peer(&routers[1], "bob") };
    routers.iter().for_each(|router| router.allow_https_alone());
    peers.call("nothing but TCP port 443, TURN over TLS", [Kinds::RELAYED; 2]);
    assert!(routers.iter().all(|router| router.refused() > 0), "nothing was refused");
}

/// The stream of alice is narrower than the pictures she would send: her pictures give way, her sound does not.
#[test]
fn a_stream_narrower_than_the_call_keeps_the_sound_whole() {
    let _turn = Turn::call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Symmetric), lab.router(Nat::Symmetric)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.turn_over_tls().and(["--relay-only"]));
    routers[0].slow_down(NARROW_KBIT);
    let mut call = peers.talk();
    call.watch(LISTENED);
    let (alice, bob) = call.hang_up();
    assert_eq!(alice.summary()["pair"]["relay_protocol"], "tls");
    let received = &bob.summary()["received"];
    let (audio, video) = (&received["audio"], &received["video"]);
    let count = |name: &str| audio[name].as_f64().expect("it is counted");
    let share = count("concealed") / (count("frames") + count("concealed"));
    eprintln!(
        "TLS at {NARROW_KBIT} kbit/s: sound lost {}, concealed {share:.3}; pictures {}, network loss {}",
        audio["network_loss"], video["frames"], video["network_loss"]
    );
    assert_eq!(count("lost"), 0.0, "{audio}");
    assert!(share <= CONCEALED_MAX, "{audio}");
    assert!(video["frames"].as_u64().is_some_and(|frames| frames > 0), "{video}");
}

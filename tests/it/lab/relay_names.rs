//! A TURN server whose name has several addresses, one of which swallows everything.

use std::time::{Duration, Instant};

use super::{Peers, SMALL};
use crate::support::PATIENCE;
use crate::support::call::{self, Args, Ended};
use crate::support::lab::{Lab, Nat};
use crate::support::turn::Turn;

/// From the start of the program to a call that stands. TCP alone would take seconds to give the address up.
const STANDS_WITHIN: Duration = Duration::from_secs(2);

#[test]
fn a_relay_over_tcp_is_reached_by_the_address_that_answers() {
    let _turn = Turn::whole_machine();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Symmetric), lab.router(Nat::Symmetric)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.turn_by_name().and(["--relay-only"]));
    lab.name_relay(&peers.alice.0);
    lab.name_relay(&peers.bob.0);
    let began = Instant::now();
    let mut call = peers.ring(Args::default().option("--duration", "1s"));
    for side in [&mut call.alice, &mut call.bob] {
        let connected = side.wait_event("connected", PATIENCE);
        assert_eq!(connected["pair"]["relay_protocol"], "tcp", "{connected}");
    }
    let (took, swallowed) = (began.elapsed(), lab.swallowed_by_relay());
    eprintln!("a dead address swallows {swallowed} packets: a call stands after {} ms", took.as_millis());
    assert!(swallowed > 0, "the dead address was not tried");
    assert!(took <= STANDS_WITHIN, "{took:?}");
    let (alice, bob) = (Ended::wait(&mut call.alice), Ended::wait(&mut call.bob));
    assert_eq!((alice.status, bob.status), (0, 0));
    assert!(alice.warnings().is_empty(), "{:?}", alice.warnings());
}

#[test]
fn a_relay_of_which_no_address_answers_is_told_with_each_of_them() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Symmetric), lab.router(Nat::Symmetric)];
    let Peers { alice, bob } = Peers::behind(&lab, routers.each_ref(), &lab.turn_by_name().and(["--relay-only"]));
    lab.name_dead_relay(&alice.0);
    let listen = Args::new(["listen", "--answer", "auto", "--once"]).and(call::TEST_MEDIA).and(SMALL);
    let mut listening = bob.0.run(listen.and(lab.peer("bob")));
    listening.wait_event("online", PATIENCE);
    let call = Args::new(["call", "bob"]).and(call::TEST_MEDIA).and(SMALL);
    let alice = Ended::wait(&mut alice.0.run(call.and(alice.1)));
    assert_eq!((alice.status, alice.reason()), (22, "no-path"));
    let told = alice.failure();
    assert!(told.contains("none of its 2 addresses answers"), "{told}");
    assert!(told.contains("no TCP connection within 3 s") && told.contains("connection refused"), "{told}");
}

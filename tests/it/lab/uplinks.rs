//! A peer with two uplinks, of which the one in use is lost while its address stays.

use std::time::Duration;

use super::{DURATION, LINK_BACK_WITHIN, Mover, Peers, SMALL, assert_flow, now_ms, until};
use crate::support::PATIENCE;
use crate::support::call::{self, Args, Ended};
use crate::support::lab::{Host, Lab, Nat};
use crate::support::turn::Turn;

/// Pictures and sound are back this soon where the address stays and only the way changes: that is looked at,
/// here and for the broker.
const SECOND_UPLINK_WITHIN: Duration = Duration::from_secs(2);

/// A call of somebody with two uplinks, the first of which is used until `change`.
fn goes_on_by_the_other(title: &str, mover: Mover, change: impl FnOnce(&Host)) {
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Cone)];
    let elsewhere = lab.router(Nat::Cone);
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.stun());
    let host = mover.of([&peers.alice.0, &peers.bob.0]);
    host.plug_in_too(&elsewhere);
    let mut call = peers.talk();
    call.watch(Duration::from_secs(1));
    let since_ms = now_ms();
    change(host);
    call.watch(Duration::from_secs(4));
    let (alice, bob) = call.hang_up();
    let link = until(mover.of([&alice, &bob]), "online", since_ms);
    eprintln!("{title}: broker reached again after {} ms", link.as_millis());
    assert_flow(title, [&alice, &bob], since_ms, SECOND_UPLINK_WITHIN);
    assert!(link <= LINK_BACK_WITHIN, "the broker was reached again after {link:?}");
}

#[test]
fn an_uplink_that_goes_down_is_left_though_its_address_stays() {
    let _turn = Turn::small_call();
    goes_on_by_the_other("uplink down", Mover::Caller, |host| host.ip("link set cable1 down"));
}

#[test]
fn an_uplink_that_loses_its_route_is_left() {
    let _turn = Turn::small_call();
    goes_on_by_the_other("route gone", Mover::Callee, |host| host.ip("route del default dev cable1"));
}

#[test]
fn an_uplink_that_is_preferred_from_now_on_is_used() {
    let _turn = Turn::small_call();
    let prefer = "route del default dev cable1\nroute add default via 10.77.1.1 dev cable1 metric 300";
    goes_on_by_the_other("other preferred", Mover::Caller, |host| host.ip(prefer));
}

#[test]
fn an_uplink_is_left_for_one_without_a_default_route() {
    /// All addresses that are no multicast: nothing leads to the group of multicast DNS.
    const ROUTES: [&str; 3] = ["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3"];
    let _turn = Turn::small_call();
    let others = ROUTES.map(|route| format!("route add {route} via 10.77.3.1 dev cable2\n")).concat();
    goes_on_by_the_other("no default route", Mover::Caller, |host| {
        host.ip(&format!("{others}route del default\nroute del default\nlink set cable1 down"));
    });
}

#[test]
fn whoever_waits_for_calls_is_reached_again_soon_after_a_change() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Cone)];
    let elsewhere = lab.router(Nat::Cone);
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.stun());
    peers.bob.0.plug_in_too(&elsewhere);
    let listen = Args::new(["listen", "--answer", "auto", "--once"]).and(call::TEST_MEDIA).and(SMALL);
    let mut bob = peers.bob.0.run(listen.and(peers.bob.1.clone()));
    bob.wait_event("online", PATIENCE);
    // Events are told apart by the millisecond.
    let since_ms = now_ms() + 1;
    peers.bob.0.ip("link set cable1 down");
    bob.wait_event("online", PATIENCE);
    let calling = Args::new(["call", "bob"]).option("--duration", DURATION).and(call::TEST_MEDIA).and(SMALL);
    let mut alice = peers.alice.0.run(calling.and(peers.alice.1.clone()));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    let back = until(&bob, "online", since_ms);
    eprintln!("waiting, uplink down: reached again after {} ms", back.as_millis());
    assert!(back <= LINK_BACK_WITHIN, "reached again after {back:?}");
    alice.assert_called();
    assert_eq!((bob.status, bob.reason()), (0, "remote-hangup"));
}

#[test]
fn a_goodbye_gets_through_though_the_way_to_the_broker_has_just_changed() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let [home, elsewhere] = [lab.router(Nat::Cone), lab.router(Nat::Cone)];
    let peers = Peers::behind(&lab, [&home, &home], &Args::default());
    peers.alice.0.plug_in_too(&elsewhere);
    // Media stay in the network of the first uplink, the broker is reached by the second.
    peers.alice.0.ip("route add 198.18.0.1 via 10.77.2.1 dev cable2");
    let mut call = peers.talk();
    call.watch(Duration::from_secs(1));
    peers.alice.0.ip("link set cable2 down");
    call.hang_up();
}

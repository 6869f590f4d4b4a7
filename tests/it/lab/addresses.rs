//! Machines with dozens of addresses, as container programs give them.

use std::fmt::Write as _;
use std::time::Duration;

use super::{DURATION, Peers};
use crate::support::call::{Args, Ended};
use crate::support::lab::{Host, Lab, Nat};
use crate::support::turn::Turn;

/// A path is found this soon, however many addresses there are.
const FOUND_WITHIN: Duration = Duration::from_secs(1);

/// Bridges with addresses of their own, which both sides have too; the first `alive` of them have a container.
fn add_bridges(host: &Host, count: u8, alive: u8) {
    let mut commands = String::new();
    for n in 1..=count {
        writeln!(commands, "link add br-{n} type bridge\naddr add 172.18.{n}.1/24 dev br-{n}\nlink set br-{n} up")
            .unwrap();
        if n <= alive {
            writeln!(commands, "link add c{n} type veth peer name d{n}\nlink set d{n} up").unwrap();
            writeln!(commands, "link set c{n} master br-{n} up").unwrap();
        }
    }
    host.ip(&commands);
}

fn call_over_bridges(title: &str, count: u8, alive: u8) {
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Cone)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.turn());
    add_bridges(&peers.alice.0, count, alive);
    add_bridges(&peers.bob.0, count, alive);
    let mut call = peers.ring(Args::default().option("--duration", DURATION));
    let (alice, bob) = (Ended::wait(&mut call.alice), Ended::wait(&mut call.bob));
    alice.assert_called();
    bob.assert_answered();
    for (id, side) in [("alice", &alice), ("bob", &bob)] {
        side.assert_media();
        let took = &side.summary()["setup"]["ice_ms"];
        eprintln!("{title}: {id} had a path after {took} ms");
        let took = Duration::from_secs_f64(took.as_f64().expect("a path was found") / 1000.0);
        assert!(took <= FOUND_WITHIN, "{id} had a path after {took:?}");
    }
}

#[test]
fn bridges_without_containers_are_left_alone() {
    let _turn = Turn::whole_machine();
    call_over_bridges("60 bridges without a carrier", 60, 0);
}

#[test]
fn bridges_with_containers_do_not_keep_a_call_from_its_path() {
    let _turn = Turn::whole_machine();
    call_over_bridges("40 bridges with a carrier", 40, 40);
}

//! A path whose smallest hop carries 1000 bytes, as tunnels and mobile networks have them. Large packets are lost on it,
//! whether the router says so or not; pictures are then cut smaller.

use std::time::Duration;

use super::{Peers, assert_flow, now_ms};
use crate::support::lab::{Lab, Manner, Nat};
use crate::support::turn::Turn;

/// Less than a full packet of a picture, more than what sets up a call.
const HOP_BYTES: u16 = 1000;

/// Pictures never stand still for longer than this.
const STANDSTILL_MAX: Duration = Duration::from_secs(1);

fn a_call_over_a_small_hop(title: &str, manner: Manner) {
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Cone)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.stun());
    for (host, _) in [&peers.alice, &peers.bob] {
        host.send_one_by_one();
    }
    routers[0].narrow(HOP_BYTES, manner);
    let mut call = peers.talk();
    let since_ms = now_ms();
    call.watch(Duration::from_secs(6));
    let (alice, bob) = call.hang_up();
    for (id, side) in [("alice", &alice), ("bob", &bob)] {
        let told = side.warnings().iter().any(|text| text.contains("large packets do not arrive on this path"));
        assert!(told, "{id} does not say that packets are too large: {:?}", side.warnings());
    }
    assert_flow(title, [&alice, &bob], since_ms, STANDSTILL_MAX);
}

#[test]
fn a_hop_that_tells_of_large_packets() {
    let _turn = Turn::small_call();
    a_call_over_a_small_hop("hop of 1000 bytes, told", Manner::Says);
}

#[test]
fn a_hop_that_drops_large_packets_in_silence() {
    let _turn = Turn::small_call();
    a_call_over_a_small_hop("hop of 1000 bytes, silent", Manner::KeepsSilent);
}

//! Peers of one family of addresses each, and relays between them: what meets, and what does not.

use super::{Kinds, Peers};
use crate::support::call::Args;
use crate::support::lab::{Host, Lab, Nat};
use crate::support::turn::Turn;

/// alice has IPv6 alone, bob IPv4 alone; each passes these servers.
fn alice_ipv6_bob_ipv4(lab: &Lab, host: Host, ice: [Args; 2]) -> Peers {
    let [alices, bobs] = ice;
    let alice = (lab.host_of_ipv6("alice"), lab.peer_of_ipv6("alice").and(alices));
    Peers { alice, bob: (host, lab.peer("bob").and(bobs)) }
}

#[test]
fn two_families_meet_at_a_relay_that_both_reach() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let router = lab.router(Nat::Symmetric);
    let mut peers = alice_ipv6_bob_ipv4(&lab, router.host("bob"), [lab.turn_over_ipv6(), lab.turn_alone()]);
    peers.call("IPv6 alone and IPv4 alone, TURN", [Kinds::RELAY, Kinds::ANY]);
    for (_, args) in [&mut peers.alice, &mut peers.bob] {
        *args = args.clone().and(["--relay-only"]);
    }
    peers.call("the same, relay only", [Kinds::RELAYED; 2]);
}

#[test]
fn the_relay_of_the_side_without_ipv4_is_enough() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let router = lab.router(Nat::Symmetric);
    // From behind such a NAT the relay has to know at least the outer address.
    let peers = alice_ipv6_bob_ipv4(&lab, router.host("bob"), [lab.turn_over_ipv6(), lab.stun()]);
    peers.call("IPv6 alone with TURN, IPv4 alone with STUN", [Kinds::RELAY, Kinds::ANY]);
}

/// It relays from IPv4 for whoever names no family (RFC 8656 §7.2), and nobody with IPv6 alone reaches that.
#[test]
fn the_relay_of_the_side_without_ipv6_is_not_and_both_are_told() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let router = lab.router(Nat::Symmetric);
    let peers = alice_ipv6_bob_ipv4(&lab, router.host("bob"), [Args::default(), lab.turn_alone()]);
    let [alice, _] = peers.call_in_vain("IPv6 alone without TURN, IPv4 alone with it");
    assert!(alice.contains("this machine has IPv6 alone: a TURN server that relays both"), "{alice}");
}

#[test]
fn two_families_meet_at_our_own_relay() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let served = lab.serve_on("::");
    let router = lab.router(Nat::Symmetric);
    let relay_only = Args::new(["--relay-only"]);
    let ice = [lab.own_over_ipv6(&served), lab.own_over_ipv4(&served)].map(|ice| ice.and(relay_only.clone()));
    let peers = alice_ipv6_bob_ipv4(&lab, router.host("bob"), ice);
    peers.call("IPv6 alone and IPv4 alone, tring serve", [Kinds::RELAYED; 2]);
}

/// Two peers without IPv4, and a relay that has none either. Ours is asked for IPv6; coTURN gives it unasked, when told to.
#[test]
fn peers_without_ipv4_meet_at_a_relay_without_ipv4() {
    let _turn = Turn::small_call();
    let Some(mut lab) = Lab::start() else { return };
    lab.relay_by_ipv6_alone("allocation-default-address-family=keep\n");
    let served = lab.serve_on("fd18::1");
    let hosts = ["alice", "bob"].map(|id| lab.host_of_ipv6(id));
    let mut peers = hosts.map(|host| (host, Args::default()));
    for (title, ice) in [
        ("IPv6 alone, coTURN over UDP", lab.turn_over_ipv6()),
        ("IPv6 alone, coTURN over TCP", lab.turn_over_tcp_and_ipv6()),
        ("IPv6 alone, tring serve", lab.own_over_ipv6(&served)),
    ] {
        for ((_, args), id) in peers.iter_mut().zip(["alice", "bob"]) {
            *args = lab.peer_of_ipv6(id).and(ice.clone()).and(["--relay-only"]);
        }
        let [alice, bob] = peers;
        let both = Peers { alice, bob };
        both.call(title, [Kinds::RELAYED; 2]);
        peers = [both.alice, both.bob];
    }
}

#[test]
fn a_relay_without_ipv4_that_wants_to_be_asked_for_it_says_so() {
    let _turn = Turn::small_call();
    let Some(mut lab) = Lab::start() else { return };
    lab.relay_by_ipv6_alone("");
    let peer = |id| (lab.host_of_ipv6(id), lab.peer_of_ipv6(id).and(lab.turn_over_ipv6()).and(["--relay-only"]));
    let peers = Peers { alice: peer("alice"), bob: peer("bob") };
    let [alice, _] = peers.call_in_vain("IPv6 alone, coTURN that relays IPv6 alone by default IPv4");
    assert!(alice.contains("relays no IPv4 (440)"), "{alice}");
    assert!(alice.contains("allocation-default-address-family=keep"), "{alice}");
}

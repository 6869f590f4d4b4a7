//! Peers behind NATs, as whole programs: which routers let a call through directly, which need a relay, and what a call
//! does when the network changes under it. Judged by what both sides say and by what their kernel counts.
//!
//! `cargo test --test it lab:: -- --nocapture` prints each path and each time measured; OPERATIONS.md shows them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::call::{self, Args, Ended};
use crate::support::lab::{Host, Lab, Nat, Router};
use crate::support::process::Tring;
use crate::support::turn::Turn;

mod addresses;
mod brokers;
mod families;
mod firewalls;
mod lossy_setups;
mod relay_names;
mod small_packets;
mod uplinks;

/// Long enough for every step of the test tone.
const DURATION: &str = "4s";

/// Small pictures: two calls' worth of codecs are not what is tested here.
const SMALL: [&str; 2] = ["--size", "320x240"];

/// How often figures are asked for while a call is watched: what is measured is exact to this.
const LOOK: Duration = Duration::from_millis(50);

/// What a person takes for a hiccup and not for the end: pictures and sound are back this soon after a change of address.
const BACK_WITHIN: Duration = Duration::from_millis(1500);

/// The same after a relay has returned: it has to be asked for everything anew.
const RELAY_BACK_WITHIN: Duration = Duration::from_secs(3);

/// The broker is reached again this soon after a change of address.
const LINK_BACK_WITHIN: Duration = Duration::from_secs(2);

/// Silence is told after 2.2 s and ends the call after 10 s (PROTOCOL.md); half a second for a busy machine to see it.
const SILENCE_TOLD_WITHIN: Duration = Duration::from_secs(3);
const SILENCE_ENDS_WITHIN: Duration = Duration::from_millis(10_500);

// ---- two peers and their ends ----

/// alice and bob, each with what it runs on and what it passes beside its media.
struct Peers {
    alice: (Host, Args),
    bob: (Host, Args),
}

impl Peers {
    /// Each behind a router of its own kind, both with the same ICE servers.
    fn behind(lab: &Lab, [alice, bob]: [&Router; 2], ice: &Args) -> Self {
        let peer = |router: &Router, id| (router.host(id), lab.peer(id).and(ice.clone()));
        Self { alice: peer(alice, "alice"), bob: peer(bob, "bob") }
    }

    /// bob waits, alice rings.
    fn ring(&self, options: Args) -> Call {
        let listen = Args::new(["listen", "--answer", "auto", "--once", "--control", "-"]);
        let call = Args::new(["call", "bob", "--control", "-"]).and(options);
        let start = |(host, args): &(Host, Args), command: Args| {
            host.run(command.and(call::TEST_MEDIA).and(SMALL).and(args.clone()))
        };
        let mut bob = start(&self.bob, listen);
        bob.wait_event("online", PATIENCE);
        Call { bob, alice: start(&self.alice, call) }
    }

    /// A call that stands.
    fn talk(&self) -> Call {
        let mut call = self.ring(Args::default());
        call::talking([&mut call.alice, &mut call.bob]);
        call
    }

    /// A whole call: everything that was sent arrived on both sides, by paths of these kinds (of the local, then of the
    /// remote candidate; the first of [`Kinds`] are alice's).
    fn call(&self, title: &str, kinds: [Kinds; 2]) {
        let mut call = self.ring(Args::default().option("--duration", DURATION));
        let (alice, bob) = (Ended::wait(&mut call.alice), Ended::wait(&mut call.bob));
        alice.assert_called();
        bob.assert_answered();
        for (side, kinds) in [(&alice, kinds[0]), (&bob, kinds[1])] {
            side.assert_media();
            side.assert_path(|_| true);
            let pair = &side.summary()["pair"];
            let [local, remote] = ["local", "remote"].map(|end| pair[end].as_str().unwrap());
            let setup = &side.summary()["setup"];
            eprintln!("{title}: {local} to {remote}, path after {} ms", setup["ice_ms"]);
            assert!(kinds.local.contains(&local) && kinds.remote.contains(&remote), "{pair} is not {kinds:?}");
        }
    }

    /// A call that finds no path: both sides end in time with that reason. What each says of it.
    fn call_in_vain(&self, title: &str) -> [String; 2] {
        let mut call = self.ring(Args::default());
        let (alice, bob) = (Ended::wait(&mut call.alice), Ended::wait(&mut call.bob));
        let without_warnings = |side: &Ended| {
            side.course().iter().filter(|name| **name != "warning").copied().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(without_warnings(&alice), "online dialing ringing accepted connecting ended summary");
        assert_eq!(without_warnings(&bob), "online incoming accepted connecting ended summary");
        [("alice", alice), ("bob", bob)].map(|(id, side)| {
            assert_eq!((side.status, side.reason()), (22, "no-path"));
            assert_eq!((&side.summary()["pair"], &side.summary()["duration_ms"]), (&Value::Null, &Value::Null));
            let detail = side.event("ended")["detail"].as_str().unwrap_or_default();
            eprintln!("{title}: no path; {id}: {detail}");
            detail.to_owned()
        })
    }
}

/// Which kinds of candidates may be at the two ends of a path, as one side sees it.
#[derive(Debug, Clone, Copy)]
struct Kinds {
    local: &'static [&'static str],
    remote: &'static [&'static str],
}

impl Kinds {
    /// From router to router. A local candidate behind a NAT is known by its inner address too.
    const THROUGH_NATS: Self = Self { local: &["host", "srflx", "prflx"], remote: &["srflx", "prflx"] };
    /// From host to host.
    const LAN: Self = Self { local: &["host"], remote: &["host", "prflx"] };
    /// Through a relay on both sides.
    const RELAYED: Self = Self { local: &["relay"], remote: &["relay", "prflx"] };
    /// Through a relay on this side, whatever the other side has.
    const RELAY: Self = Self { local: &["relay"], remote: &["host", "srflx", "prflx", "relay"] };
    /// Whatever works.
    const ANY: Self =
        Self { local: &["host", "srflx", "prflx", "relay"], remote: &["host", "srflx", "prflx", "relay"] };
}

/// Both programs of a call; dropped, and so killed, before what they run on.
struct Call {
    alice: Tring,
    bob: Tring,
}

impl Call {
    /// Asks both for figures again and again.
    fn watch(&mut self, span: Duration) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            for side in [&mut self.alice, &mut self.bob] {
                side.send_control(&json!({"command": "stats"}));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// alice hangs up, and bob hears it.
    fn hang_up(mut self) -> (Ended, Ended) {
        self.alice.send_control(&json!({"command": "hangup"}));
        let (alice, bob) = (Ended::wait(&mut self.alice), Ended::wait(&mut self.bob));
        assert_eq!((alice.status, alice.reason()), (0, "hangup"));
        assert_eq!((bob.status, bob.reason()), (0, "remote-hangup"));
        (alice, bob)
    }
}

/// Now, as events tell the time.
fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn time_of(event: &Value) -> u64 {
    event["ts"].as_u64().expect("events have a time")
}

/// How long after a moment the first event of this name came.
///
/// # Panics
/// When none came.
fn until(side: &Ended, name: &str, since_ms: u64) -> Duration {
    let named = |event: &&Value| event["event"] == name && time_of(event) >= since_ms;
    let event = side.events.iter().find(named).unwrap_or_else(|| panic!("no {name} after the change"));
    Duration::from_millis(time_of(event) - since_ms)
}

/// When more of a medium had been decoded than at the look before.
fn arrivals(side: &Ended, medium: &str) -> Vec<u64> {
    let mut seen = 0;
    let mut arrivals = Vec::new();
    for event in side.events.iter().filter(|event| event["event"] == "stats") {
        let frames = event["received"][medium]["frames"].as_u64().expect("frames are counted");
        if frames > seen {
            seen = frames;
            arrivals.push(time_of(event));
        }
    }
    arrivals
}

/// The longest time without anything new of a medium that ended, or was still going on, after a moment.
fn standstill(side: &Ended, medium: &str, since_ms: u64) -> Duration {
    let last_look = side.events.iter().rev().find(|event| event["event"] == "stats").map(time_of).unwrap();
    let times = [arrivals(side, medium), vec![last_look]].concat();
    let gaps = times.windows(2).filter(|pair| pair[1] > since_ms).map(|pair| pair[1] - pair[0]);
    Duration::from_millis(gaps.max().expect("the call was watched"))
}

/// Both got pictures and sound, and never waited for longer than this since a moment.
fn assert_flow(title: &str, sides: [&Ended; 2], since_ms: u64, most: Duration) {
    for (id, side) in ["alice", "bob"].into_iter().zip(sides) {
        for medium in ["video", "audio"] {
            let gap = standstill(side, medium, since_ms);
            eprintln!("{title}: {id} had no {medium} for {} ms", gap.as_millis());
            assert!(gap <= most + LOOK, "{id} had no {medium} for {gap:?}");
        }
    }
}

/// Both say that the path is back, and had pictures and sound again within this time of a moment when nothing came.
fn assert_back(title: &str, sides: [&Ended; 2], broken_ms: u64, since_ms: u64, within: Duration) {
    for (id, side) in ["alice", "bob"].into_iter().zip(sides) {
        until(side, "reconnected", broken_ms);
        for medium in ["video", "audio"] {
            let first = arrivals(side, medium).into_iter().find(|at| *at > since_ms).expect("nothing came any more");
            let back = Duration::from_millis(first - since_ms);
            eprintln!("{title}: {id} had {medium} again after {} ms", back.as_millis());
            assert!(back <= within + LOOK, "{id} had {medium} again after {back:?}");
        }
    }
}

// ---- what routers let through ----

#[test]
fn two_cones_meet_by_stun() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Cone)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.stun());
    peers.call("cone and cone, STUN", [Kinds::THROUGH_NATS; 2]);
}

#[test]
fn two_cones_that_know_a_turn_server_alone_need_no_relay() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Cone)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.turn_alone());
    peers.call("cone and cone, TURN alone", [Kinds::THROUGH_NATS; 2]);
}

#[test]
fn a_full_cone_and_a_symmetric_nat_meet_by_stun() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::FullCone), lab.router(Nat::Symmetric)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.stun());
    peers.call("full cone and symmetric, STUN", [Kinds::THROUGH_NATS; 2]);
}

#[test]
fn two_symmetric_nats_need_a_relay_and_are_told_so() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Symmetric), lab.router(Nat::Symmetric)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.stun());
    for said in peers.call_in_vain("symmetric and symmetric, STUN") {
        assert!(said.contains("TURN") && said.contains("--ice turn:"), "{said}");
    }
}

#[test]
fn a_cone_and_a_symmetric_nat_need_a_relay() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Symmetric)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.stun());
    peers.call_in_vain("cone and symmetric, STUN");
}

#[test]
fn two_symmetric_nats_meet_at_a_relay() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Symmetric), lab.router(Nat::Symmetric)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.turn());
    peers.call("symmetric and symmetric, TURN", [Kinds::ANY; 2]);
}

#[test]
fn a_relay_that_one_side_names_is_enough() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Symmetric), lab.router(Nat::Symmetric)];
    let Peers { alice, bob: (host, _) } = Peers::behind(&lab, routers.each_ref(), &lab.turn());
    let peers = Peers { alice, bob: (host, lab.peer("bob").and(lab.stun())) };
    peers.call("symmetric and symmetric, TURN at alice's", [Kinds::ANY; 2]);
}

#[test]
fn a_cone_and_a_symmetric_nat_meet_at_a_relay() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Symmetric)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.turn());
    peers.call("cone and symmetric, TURN", [Kinds::ANY; 2]);
}

#[test]
fn one_network_is_direct_whatever_servers_there_are() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let router = lab.router(Nat::Symmetric);
    let peers = Peers::behind(&lab, [&router, &router], &lab.turn());
    peers.call("one network, TURN", [Kinds::LAN; 2]);
}

#[test]
fn a_network_without_a_way_out_is_a_network() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let [alice, bob] = ["alice", "bob"].map(|id| (lab.host(id), lab.peer(id)));
    Peers { alice, bob }.call("one network without a gateway", [Kinds::LAN; 2]);
}

#[test]
fn a_network_without_udp_is_named() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Cone)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.turn());
    routers[0].block_udp();
    let [alice, bob] = peers.call_in_vain("no UDP at alice's, TURN");
    assert!(alice.contains("turn:198.18.0.1") && alice.contains("firewall") && alice.contains("UDP"), "{alice}");
    assert!(bob.contains("the other side"), "{bob}");
    assert!(routers[0].taken() > 0, "nothing was blocked");
}

#[test]
fn two_peers_without_ipv4_meet() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let [alice, bob] = ["alice", "bob"].map(|id| (lab.host_of_ipv6(id), lab.peer_of_ipv6(id)));
    Peers { alice, bob }.call("IPv6 alone", [Kinds::LAN; 2]);
}

#[test]
fn peers_of_two_families_are_told_so() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let router = lab.router(Nat::Cone);
    let alice = (lab.host_of_ipv6("alice"), lab.peer_of_ipv6("alice"));
    let peers = Peers { alice, bob: (router.host("bob"), lab.peer("bob").and(lab.stun())) };
    let [alice, bob] = peers.call_in_vain("no IPv4 at alice's, no IPv6 at bob's");
    assert!(alice.contains("gave IPv4 addresses alone, and this machine has IPv6 alone"), "{alice}");
    assert!(bob.contains("gave IPv6 addresses alone, and this machine has IPv4 alone"), "{bob}");
}

// ---- what happens in mid-call ----

#[test]
fn a_path_that_was_cut_is_used_again() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Cone)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.stun());
    peers.alice.0.count_dtls();
    let mut call = peers.talk();
    let handshake = peers.alice.0.dtls_packets();
    assert!(handshake > 0, "no DTLS was counted");
    let broken_ms = now_ms();
    routers[0].block_udp();
    for side in [&mut call.alice, &mut call.bob] {
        side.wait_event("reconnecting", PATIENCE);
    }
    routers[0].relent();
    let since_ms = now_ms();
    call.watch(BACK_WITHIN + Duration::from_secs(1));
    assert_eq!(peers.alice.0.dtls_packets(), handshake, "DTLS was done again");
    let (alice, bob) = call.hang_up();
    assert_back("path cut", [&alice, &bob], broken_ms, since_ms, BACK_WITHIN);
}

/// Whose network changes.
#[derive(Debug, Clone, Copy)]
enum Mover {
    Caller,
    Callee,
}

impl Mover {
    /// The mover's one of what belongs to alice and bob.
    fn of<T>(self, [alice, bob]: [T; 2]) -> T {
        match self {
            Self::Caller => alice,
            Self::Callee => bob,
        }
    }
}

/// A network that changes under a call. `change` gets the mover's host, the router it is at, and one that is elsewhere.
fn moves(title: &str, mover: Mover, change: impl FnOnce(&Host, &Router, &Router)) {
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Cone)];
    let elsewhere = lab.router(Nat::Cone);
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.stun());
    let host = mover.of([&peers.alice.0, &peers.bob.0]);
    host.count_dtls();
    let mut call = peers.talk();
    call.watch(Duration::from_secs(1));
    let handshake = host.dtls_packets();
    assert!(handshake > 0, "no DTLS was counted");

    let since_ms = now_ms();
    change(host, mover.of(routers.each_ref()), &elsewhere);
    call.watch(Duration::from_secs(5));
    assert_eq!(host.dtls_packets(), handshake, "DTLS was done again");
    let (alice, bob) = call.hang_up();

    let link = until(mover.of([&alice, &bob]), "online", since_ms);
    eprintln!("{title}: broker reached again after {} ms", link.as_millis());
    for (id, side) in [("alice", &alice), ("bob", &bob)] {
        let again = until(side, "reconnected", since_ms);
        eprintln!("{title}: {id} reconnected after {} ms", again.as_millis());
        assert_eq!(side.course().iter().filter(|name| **name == "connected").count(), 1);
    }
    assert_flow(title, [&alice, &bob], since_ms, BACK_WITHIN);
    assert!(link <= LINK_BACK_WITHIN, "the broker was reached again after {link:?}");
}

#[test]
fn the_caller_gets_another_address() {
    let _turn = Turn::small_call();
    moves("caller readdressed", Mover::Caller, |host, home, _| host.readdress(home));
}

#[test]
fn the_caller_moves_to_another_network() {
    let _turn = Turn::small_call();
    moves("caller moved", Mover::Caller, |host, _, elsewhere| host.move_to(elsewhere));
}

#[test]
fn the_callee_moves_to_another_network() {
    let _turn = Turn::small_call();
    moves("callee moved", Mover::Callee, |host, _, elsewhere| host.move_to(elsewhere));
}

#[test]
fn a_relay_that_was_restarted_is_used_again() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let ice = lab.turn();
    relay_comes_back("relay restarted", lab, &ice);
}

#[test]
fn a_relay_over_tcp_that_was_restarted_is_used_again() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let ice = lab.turn_over_tcp();
    relay_comes_back("relay over TCP restarted", lab, &ice);
}

/// coTURN dies in mid-call, and comes back once both sides have noticed.
fn relay_comes_back(title: &str, mut lab: Lab, ice: &Args) {
    let routers = [lab.router(Nat::Symmetric), lab.router(Nat::Symmetric)];
    let peers = Peers::behind(&lab, routers.each_ref(), &ice.clone().and(["--relay-only"]));
    let mut call = peers.talk();
    let broken_ms = now_ms();
    lab.kill_turn();
    for side in [&mut call.alice, &mut call.bob] {
        side.wait_event("reconnecting", PATIENCE);
    }
    lab.start_turn();
    let since_ms = now_ms();
    call.watch(RELAY_BACK_WITHIN + Duration::from_secs(1));
    let (alice, bob) = call.hang_up();
    assert_back(title, [&alice, &bob], broken_ms, since_ms, RELAY_BACK_WITHIN);
}

#[test]
fn another_side_that_dies_is_noticed() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Cone)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.stun());
    let mut call = peers.talk();
    let since_ms = now_ms();
    call.bob.signal("KILL");
    assert_eq!(call.bob.wait_exit(PATIENCE), 128 + 9);
    let alice = Ended::wait(&mut call.alice);
    assert_eq!((alice.status, alice.reason()), (22, "lost"));
    let [noticed, ended] = ["reconnecting", "ended"].map(|name| until(&alice, name, since_ms));
    eprintln!("other side killed: noticed after {} ms, ended after {} ms", noticed.as_millis(), ended.as_millis());
    assert!(noticed <= SILENCE_TOLD_WITHIN, "noticed after {noticed:?}");
    assert!(ended <= SILENCE_ENDS_WITHIN, "ended after {ended:?}");
    assert!(!alice.course().contains(&"reconnected"), "there was nobody to reconnect to");
}

#[test]
fn a_call_goes_on_though_packets_are_lost() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let routers = [lab.router(Nat::Cone), lab.router(Nat::Cone)];
    let peers = Peers::behind(&lab, routers.each_ref(), &lab.stun());
    let mut call = peers.talk();
    routers[0].lose(5);
    let since_ms = now_ms();
    call.watch(Duration::from_secs(10));
    let (alice, bob) = call.hang_up();
    let lost = routers[0].taken();
    eprintln!("5 % loss: {lost} packets lost");
    assert!(lost > 0, "nothing was lost");
    for side in [&alice, &bob] {
        assert!(!side.course().contains(&"reconnecting"), "the call was interrupted");
    }
    assert_flow("5 % loss", [&alice, &bob], since_ms, Duration::from_secs(1));
}

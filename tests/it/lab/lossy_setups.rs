//! Calls that are set up on a line that loses packets: each stands, and soon. A lost flight of the DTLS handshake once
//! cost a second.

use std::time::Duration;

use super::{Peers, SMALL};
use crate::support::PATIENCE;
use crate::support::call::{self, Args, Ended};
use crate::support::lab::{Host, Lab};
use crate::support::turn::Turn;

/// Calls that are set up.
const CALLS: usize = 20;

/// What a handshake may take over such a line: half of them, and all but one. Six flights, a fifth of them lost, each sent
/// again after 50 ms; without that the half alone takes two seconds.
const HALF_WITHIN: Duration = Duration::from_millis(300);
const NEARLY_ALL_WITHIN: Duration = Duration::from_millis(900);

/// alice and bob in one network.
fn neighbours(lab: &Lab) -> Peers {
    let [alice, bob] = ["alice", "bob"].map(|id| (lab.host(id), lab.peer(id)));
    Peers { alice, bob }
}

fn run((host, args): &(Host, Args), command: &[&str]) -> crate::support::process::Tring {
    host.run(Args::new(command.iter().copied()).and(call::TEST_MEDIA).and(SMALL).and(args.clone()))
}

#[test]
fn every_call_stands_on_a_line_that_loses_a_fifth_of_all_packets() {
    let _turn = Turn::whole_machine();
    let Some(lab) = Lab::start() else { return };
    let peers = neighbours(&lab);
    for (host, _) in [&peers.alice, &peers.bob] {
        host.lose(20);
    }
    let mut bob = run(&peers.bob, &["listen", "--answer", "auto"]);
    bob.wait_event("online", PATIENCE);
    let mut handshakes: Vec<Duration> = (0..CALLS)
        .map(|_| {
            let alice = Ended::wait(&mut run(&peers.alice, &["call", "bob", "--duration", "200ms"]));
            assert_eq!((alice.status, alice.reason()), (0, "hangup"));
            let ms = alice.summary()["setup"]["dtls_ms"].as_f64().expect("a call that stood had a handshake");
            Duration::from_secs_f64(ms / 1000.0)
        })
        .collect();
    handshakes.sort();
    eprintln!("20 % loss: DTLS took {handshakes:?}");
    assert!(peers.alice.0.lost() > 0 && peers.bob.0.lost() > 0, "nothing was lost");
    assert!(handshakes[CALLS / 2] <= HALF_WITHIN, "{handshakes:?}");
    assert!(handshakes[CALLS - 2] <= NEARLY_ALL_WITHIN, "{handshakes:?}");
}

#[test]
fn a_path_over_which_nothing_is_encrypted_is_named_as_such() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let peers = neighbours(&lab);
    peers.bob.0.lose_dtls();
    let mut call = peers.ring(Args::default());
    for side in [&mut call.alice, &mut call.bob] {
        let side = Ended::wait(side);
        assert_eq!((side.status, side.reason()), (22, "no-path"));
        let detail = side.failure();
        assert!(detail.contains("a path was found") && detail.contains("DTLS"), "{detail}");
        assert!(!detail.contains("IPv4") && !detail.contains("TURN"), "{detail}");
    }
}

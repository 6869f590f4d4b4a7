//! Every way a call, or the attempt at one, can end: the exit status and the events of both sides.
//!
//! What depends on the broker runs over each of the real ones; what does not, over Mosquitto.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::call::{self, Args, Ended, talking};
use crate::support::process::Tring;

mod before;
mod broker;
mod causes;
mod in_call;
mod relay;
mod sources;

/// What a program on a busy machine needs beside the time it is allowed to wait for.
const SLACK: Duration = Duration::from_secs(5);

fn peer(id: &str, broker: &str) -> Args {
    Args::new(["--id", id, "--broker", broker])
}

fn alice(broker: &str) -> Args {
    peer("alice", broker)
}

fn bob(broker: &str) -> Args {
    peer("bob", broker)
}

/// A listener that answers at once and ends with its first call.
fn answering(link: Args) -> Tring {
    call::listen(link.and(["--answer", "auto", "--once"]))
}

/// A listener that does what its standard input says, and ends with its first call.
fn controlled(link: Args) -> Tring {
    call::listen(link.and(["--control", "-", "--once"]))
}

/// Alice and bob in a call without a set end, each under control.
fn in_a_call(broker: &str) -> (Tring, Tring) {
    let mut bob = answering(bob(broker).and(["--control", "-"]));
    let mut alice = call::call_bob(alice(broker).and(["--control", "-"]));
    talking([&mut alice, &mut bob]);
    (alice, bob)
}

/// Both have received more a second after than before.
fn assert_flowing<const N: usize>(sides: [&mut Tring; N]) {
    for side in sides {
        let frames = |stats: &Value| stats["received"]["video"]["frames"].as_u64();
        let before = frames(&side.wait_event("stats", PATIENCE));
        let after = frames(&side.wait_event("stats", PATIENCE));
        assert!(after > before, "{before:?} pictures and then {after:?}");
    }
}

/// The program with these arguments, to its end within 10 s.
fn refused(args: Args) -> Ended {
    let started = Instant::now();
    let ended = Ended::wait(&mut Tring::spawn(args));
    assert!(started.elapsed() < Duration::from_secs(10) + SLACK, "took {:?}", started.elapsed());
    ended
}

/// A command line that is refused before anything is done: usage goes to stderr.
fn assert_usage(args: Args, said: &str) {
    let mut tring = Tring::spawn(args);
    let status = tring.wait_exit(PATIENCE);
    let stderr = tring.wait_stderr();
    assert_eq!(status, 2, "{stderr}");
    assert!(stderr.contains(said), "{stderr}");
}

fn call_with(args: Args) -> Args {
    Args::new(["call", "bob"]).and(call::TEST_MEDIA).and(args)
}

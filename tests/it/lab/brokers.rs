//! A broker that has several addresses.

use std::time::{Duration, Instant};

use super::SMALL;
use crate::support::PATIENCE;
use crate::support::call::{self, Args, Ended};
use crate::support::lab::{Family, Host, Lab};
use crate::support::turn::Turn;

/// From the start of the program to a call that stands, where one address of the broker swallows everything.
const STANDS_WITHIN: Duration = Duration::from_secs(2);

/// From the start of the program to the error, where both do.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

fn start(host: &Host, command: &[&str], args: Args) -> crate::support::process::Tring {
    host.run(Args::new(command.to_vec()).and(call::TEST_MEDIA).and(SMALL).and(args))
}

#[test]
fn a_broker_is_reached_by_the_address_that_answers() {
    let _turn = Turn::whole_machine();
    for family in [Family::V6, Family::V4] {
        let Some(lab) = Lab::start() else { return };
        let (here, there) = (lab.host_of_both("alice"), lab.host_of_both("bob"));
        lab.swallow(family);
        let mut bob = start(&there, &["listen", "--answer", "auto", "--once"], lab.peer_by_name("bob"));
        bob.wait_event("online", PATIENCE);
        let began = Instant::now();
        let mut alice = start(&here, &["call", "bob", "--duration", "500ms"], lab.peer_by_name("alice"));
        alice.wait_event("connected", PATIENCE);
        let took = began.elapsed();
        let swallowed = lab.swallowed(family);
        eprintln!("{family:?} swallows {swallowed} packets: a call stands after {} ms", took.as_millis());
        assert_eq!((Ended::wait(&mut alice).status, Ended::wait(&mut bob).status), (0, 0));
        // The system puts IPv6 first, so IPv4 is tried only where IPv6 is swallowed.
        assert!(family == Family::V4 || swallowed > 0, "nothing was swallowed");
        assert!(took <= STANDS_WITHIN, "{family:?}: {took:?}");
    }
}

#[test]
fn a_broker_of_which_no_address_answers_is_told_with_each_of_them() {
    let _turn = Turn::small_call();
    let Some(lab) = Lab::start() else { return };
    let here = lab.host_of_both("alice");
    for family in [Family::V6, Family::V4] {
        lab.swallow(family);
    }
    let began = Instant::now();
    let alice = Ended::wait(&mut start(&here, &["call", "bob"], lab.peer_by_name("alice")));
    let (took, told) = (began.elapsed(), alice.error());
    eprintln!("after {} ms: {told}", took.as_millis());
    assert_eq!(alice.status, 20, "{told}");
    assert!(took <= TOLD_WITHIN, "{took:?}");
    for family in [Family::V6, Family::V4] {
        assert!(told.contains(&format!("{} no answer within 4 s", family.broker())), "{told}");
        assert!(lab.swallowed(family) > 0, "{family:?} was not tried");
    }
}

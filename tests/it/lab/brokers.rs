//! A broker that has several addresses, or is behind a proxy.

use std::time::{Duration, Instant};

use super::{Call, Kinds, SMALL};
use crate::support::PATIENCE;
use crate::support::call::{self, Args, Ended};
use crate::support::lab::{Family, Host, Lab, Nat};
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

#[test]
fn where_a_proxy_alone_is_reached_broker_and_relay_are_reached_through_it() {
    let _turn = Turn::whole_machine();
    for (kind, scheme, broker) in
        [("http", "http", "wss://BROKER:8443/mqtt"), ("socks5", "socks5h", "mqtts://BROKER:8883")]
    {
        let Some(lab) = Lab::start() else { return };
        let proxy = lab.proxy(kind);
        let routers = [lab.router(Nat::Cone), lab.router(Nat::Cone)];
        let (here, there) = (routers[0].host("alice"), routers[1].host("bob"));
        routers[0].allow_proxy_alone();
        let mut bob = start(&there, &["listen", "--answer", "auto", "--once"], lab.peer("bob").and(lab.stun()));
        bob.wait_event("online", PATIENCE);
        let variable = format!("{scheme}://{}", lab.proxy_address());
        let args = Args::new(["call", "bob", "--duration", "4s"]).and(call::TEST_MEDIA).and(SMALL);
        let args = args.and(lab.peer_over_tls("alice", broker)).and(lab.turns_again());
        let alice = here.run_with(args, &[("HTTPS_PROXY", &variable)]);
        let mut call = Call { bob, alice };
        let (alice, bob) = (Ended::wait(&mut call.alice), Ended::wait(&mut call.bob));
        alice.assert_called();
        bob.assert_answered();
        alice.assert_media();
        let pair = &alice.summary()["pair"];
        assert!(Kinds::RELAYED.local.contains(&pair["local"].as_str().unwrap()), "{pair}");
        let name = broker.split("BROKER").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
        let log = proxy.log();
        assert!(log.contains(&format!("tunnel broker.test{name}")), "by its name: {log}");
        assert!(log.contains(":5349"), "the relay too: {log}");
        assert!(routers[0].refused() > 0, "nothing was refused");
    }
}

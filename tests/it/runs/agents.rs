//! Peers at agents, each at a broker of its own; a bridge joins the brokers.

use super::{FAILED, scenario, test};
use crate::support::call::Args;
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

/// An agent for our runner alone, online.
fn agent(id: &str, broker: &Mosquitto) -> Tring {
    let mut agent = Tring::spawn(["agent", "--id", id, "--from", "runner", "--broker", &broker.url()]);
    agent.wait_event("online", PATIENCE);
    agent
}

#[test]
fn a_call_between_agents_at_two_bridged_brokers() {
    let _turn = Turn::call();
    let here = Mosquitto::anonymous();
    let there = Mosquitto::bridged(&here);
    let (_berlin, _tokyo) = (agent("berlin", &here), agent("tokyo", &there));
    let folder = TempDir::new("agents");
    let args = Args::new([scenario("agents")]).and(["--id", "runner", "--broker", &here.url(), "--keep"]);
    test(args, &folder).assert_passed(&["agents"]);
    // Read along at one of the brokers, where alice is only by the bridge.
    let exchange = std::fs::read_to_string(super::results(&folder).join("agents/exchange.txt")).unwrap();
    assert!(exchange.contains("── offer ──") && exchange.contains("── answer ──"), "{exchange}");
    assert!(there.log().contains("Received PUBLISH from tokyo"), "tokyo is at the other broker");
}

#[test]
fn an_agent_that_is_not_there_is_named() {
    let (broker, folder) = (Mosquitto::anonymous(), TempDir::new("no-agent"));
    let args = Args::new([scenario("agents")]).and(["--id", "runner", "--broker", &broker.url()]);
    let ran = test(args, &folder);
    assert_eq!(ran.status, FAILED);
    let faults = ran.faults("agents");
    assert!(faults.contains("berlin"), "{faults}");
}

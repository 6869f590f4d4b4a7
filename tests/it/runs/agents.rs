//! Peers at agents, each at a broker of its own; a bridge joins the brokers.

use super::{FAILED, Ran, command, scenario, test};
use crate::support::call::Args;
use crate::support::mosquitto::Mosquitto;
use crate::support::people::key_of;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

/// An agent for our runner alone, online.
fn agent(id: &str, broker: &Mosquitto) -> Tring {
    let agent = Tring::command(["agent", "--id", id, "--from", "runner", "--broker", &broker.url()]);
    let mut agent = agent.env("TRING_SECRET_KEY", key_of_all()).spawn();
    agent.wait_event("online", PATIENCE);
    agent
}

/// The key of the runner and of the agents: so the runner can read what peers at agents say to each other.
fn key_of_all() -> String {
    key_of("all").to_text().to_string()
}

#[test]
fn a_call_between_agents_at_two_bridged_brokers() {
    let _turn = Turn::call();
    let here = Mosquitto::anonymous();
    let there = Mosquitto::bridged(&here);
    let (_berlin, _tokyo) = (agent("berlin", &here), agent("tokyo", &there));
    let folder = TempDir::new("agents");
    let args = Args::new([scenario("agents")]).and(["--id", "runner", "--broker", &here.url(), "--keep"]);
    let runner = command(args, &folder).env("TRING_SECRET_KEY", key_of_all());
    Ran::of(runner.spawn()).assert_passed(&["agents"]);
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

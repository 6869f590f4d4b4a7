//! A machine lent to call tests that run elsewhere: what agents and runners say to each other over the broker.
//!
//! - [`wire`]: frames of items, and their JSON form (docs/PROTOCOL.md)
//! - [`exchange`]: gets items across in order, once, and tells when the other side is gone; pure
//! - [`permit`]: what an agent runs for others, and with which of its own settings
//! - [`serving`]: the agent; the runner's side is `scenario/peers/remote.rs`
//!
//! Both sides are peers of the broker with presence, whose messages go on topics of their own:
//! `tring/agent/{from}/{to}`. An agent never touches a file or hands out a secret for a runner.

pub(crate) mod exchange;
pub(crate) mod permit;
pub(crate) mod serving;
pub(crate) mod wire;

use signalling::topic::Template;

/// Where agents and runners speak.
pub(crate) fn topics() -> Template {
    "tring/agent/{from}/{to}".parse().expect("a template with both placeholders")
}

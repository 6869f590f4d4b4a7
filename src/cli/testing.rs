//! What tests need: reading along, and lending this machine to a test that runs elsewhere.

use std::time::Duration;

use clap::Args;
use signalling::id::PeerId;

use super::options::Link;
use super::parse::parse_time;

/// `tring trace`.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// Show what these say and hear alone, their columns in this order [default: everybody]
    #[arg(value_name = "PEER")]
    pub(crate) peers: Vec<PeerId>,
    /// End after this time [default: Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    pub(crate) time: Option<Duration>,
    #[command(flatten)]
    pub(crate) link: Link,
}

/// `tring agent`.
#[derive(Debug, Args)]
pub(crate) struct Agent {
    /// Run parts for this runner, by ID or nick (repeatable)
    #[arg(long, value_name = "PEER")]
    pub(crate) from: Vec<PeerId>,
    /// Run parts for whoever can write to this agent at the broker, whatever --from says
    #[arg(long)]
    pub(crate) from_anyone: bool,
    /// Run at most so many parts at once, of all runners together
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) parts: u32,
    #[command(flatten)]
    pub(crate) link: Link,
}

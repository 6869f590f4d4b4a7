//! What tests need: reading along.

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

//! What there is besides calls: who is there, calls that were, what is set, whether it works.

use clap::Args;
use signalling::id::PeerId;

use super::options::{Link, Media};

/// `tring contacts`.
#[derive(Debug, Args)]
pub(crate) struct Contacts {
    /// Whose presence to show [default: everybody's]
    #[arg(value_name = "PEER")]
    pub(crate) peers: Vec<PeerId>,
    /// Print what the broker knows now, and end
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) link: Link,
}

/// `tring log`.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// How many calls to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) number: usize,
    /// Calls with this peer alone
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<PeerId>,
    /// Calls alone that nobody here answered: missed and turned away
    #[arg(long)]
    pub(crate) missed: bool,
    /// Forget all calls
    #[arg(long, conflicts_with_all = ["number", "peer", "missed"])]
    pub(crate) clear: bool,
    /// Do not ask before that
    #[arg(long, requires = "clear")]
    pub(crate) yes: bool,
}

/// `tring doctor`: the options of a call.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) media: Media,
    #[command(flatten)]
    pub(crate) link: Link,
}

/// `tring config`.
#[derive(Debug, Args)]
pub(crate) struct Config {
    /// Print where the settings file is, or would be
    #[arg(long)]
    pub(crate) path: bool,
    /// Print a settings file to begin with, all settings explained
    #[arg(long, conflicts_with = "path")]
    pub(crate) example: bool,
}

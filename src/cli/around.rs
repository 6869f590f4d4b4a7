//! What there is besides calls: who is there, calls that were, what is set, whether it works.

use clap::{Args, Subcommand};
use signalling::id::PeerId;

use super::options::{Link, Media};
use super::secret::Secret;

/// `tring contacts`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Contacts {
    #[command(subcommand)]
    pub(crate) keys: Option<Keys>,
    /// Whose presence to show [default: everybody's]
    #[arg(value_name = "PEER")]
    pub(crate) peers: Vec<PeerId>,
    /// Print what the broker knows now, and end
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) link: Link,
}

/// What is remembered of the keys of peers.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// List the peers whose key is remembered
    Known,
    /// Remember the key of PEER by its words, which `tring id` shows there; also in place of another key
    Trust {
        /// Whose key
        peer: PeerId,
        /// Its twelve words
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Note that you have compared the key of PEER, by a call or by WORDS, which must be those that are remembered
    Verify {
        /// Whose key
        peer: PeerId,
        /// Its twelve words
        words: Vec<String>,
    },
    /// Remember nothing of PEER any more: the next call is as the first
    Forget {
        /// Whom
        peer: PeerId,
    },
    /// Have nothing to do with PEER
    Block {
        /// Whom
        peer: PeerId,
    },
}

/// `tring id`.
#[derive(Debug, Args)]
pub(crate) struct Id {
    /// Own peer ID [default: user-host]
    #[arg(long, env = "TRING_ID")]
    pub(crate) id: Option<PeerId>,
    /// The secret key of a run that has one from the environment
    #[arg(long, hide = true, env = "TRING_SECRET_KEY", hide_env_values = true)]
    pub(crate) secret_key: Option<Secret>,
    /// Leave the QR code out
    #[arg(long)]
    pub(crate) no_qr: bool,
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

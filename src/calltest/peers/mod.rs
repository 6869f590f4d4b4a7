//! Peers of a test, wherever they run: what one is to do, what it tells, what it is told.
//!
//! A peer is a `tring call` or `tring listen` with events on its standard output and commands on its standard input, or
//! a foreign program that speaks the same two streams. The places differ, the [`PeerHandle`] does not:
//!
//! - [`process`]: a child process of this one
//! - [`here`]: a session inside this process
//! - [`remote`]: on another machine, by its agent

pub(crate) mod here;
pub(crate) mod process;
pub(crate) mod remote;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

/// What a peer tells and nobody read yet: a second's events of a busy call. When it is full the peer waits.
pub(crate) const TOLD_MAX: usize = 256;

/// Orders a peer has not carried out yet: a step gives one.
pub(crate) const ORDERS_MAX: usize = 16;

/// Longest line taken from a peer; a summary has some 2 KiB.
pub(crate) const LINE_BYTES_MAX: usize = 256 * 1024;

/// What a peer is to do, wherever it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// How the test calls it.
    pub(crate) name: String,
    /// What runs.
    pub(crate) program: Program,
    /// Variables of its environment, secrets among them: never printed, and never sent to another machine.
    pub(crate) env: BTreeMap<String, String>,
    /// Where it runs: files it names are relative to this.
    pub(crate) folder: PathBuf,
}

/// What runs as a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Program {
    /// This program with these arguments; `--json --control -` are added where it runs.
    Tring {
        /// Command and options.
        arguments: Vec<String>,
    },
    /// Another program that prints events and reads commands as this one does.
    Foreign {
        /// The program and its arguments.
        command: Vec<String>,
    },
}

/// What a running peer tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PeerOutput {
    /// A line of its standard output that is a JSON object with an `event`.
    Event(Value),
    /// Another line of its standard output.
    Text(String),
    /// A line of its standard error.
    Log(String),
    /// It has ended, the last that is told: its exit status, or `None` when a signal ended it.
    Ended(Option<i32>),
}

/// What a running peer is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PeerInput {
    /// A command for its standard input: one JSON object.
    Control(String),
    /// To end in order, as by Ctrl-C.
    Interrupt,
    /// To be gone at once.
    Kill,
}

/// A running peer. Dropping the orders kills it.
#[derive(Debug)]
pub(crate) struct PeerHandle {
    /// What it tells; closed after [`PeerOutput::Ended`].
    pub(crate) told: mpsc::Receiver<PeerOutput>,
    /// What it is told.
    pub(crate) orders: mpsc::Sender<PeerInput>,
}

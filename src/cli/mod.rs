//! The command line: what may be typed, as types. Texts shown by `--help` are the doc comments here.
//!
//! - [`calling`]: calls, made and taken; [`around`]: what there is besides; [`servers`]: the demo and our own servers
//! - [`testing`]: tests of calls, and what belongs to them
//! - [`options`]: what commands share: media, links, habits
//! - [`parse`], [`load`], [`secret`]: from words to values
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments are the help texts, where brackets mean: may be left out"
)]

mod around;
mod calling;
pub(crate) mod load;
mod options;
pub(crate) mod parse;
pub(crate) mod secret;
mod servers;
mod testing;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use around::{Config, Contacts, Doctor, Id, Keys, Log};
pub(crate) use calling::{Answer, Call, Common, EarlyMedia, Listen, Redial};
pub(crate) use options::{Dialect, Habits, Link, Media, Ring};
pub(crate) use servers::{Demo, Serve};
pub(crate) use testing::{Agent, Load, Test, Trace};

/// A video phone for the terminal: ring a person, a camera or a test machine by its peer ID.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES, args_override_self = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) output: Output,
}

const EXAMPLES: &str = "\
Examples:
  tring demo                                    a whole call on this machine: no camera, broker or account needed
  tring serve                                   a broker and a TURN server on this machine
  tring listen --id bob                         wait for calls
  tring call bob --id alice                     call bob
  tring doctor --id alice                       would a call work here? with the options of a call
  tring contacts                                who is there
  tring test smoke                              a call test; --list shows more, --print one to begin with
  tring call bob --video test --audio tone      call with test media";

/// What to do.
#[derive(Debug, Subcommand)]
#[command(args_override_self = true)]
pub(crate) enum Command {
    /// Ring PEER and talk
    Call(Call),
    /// Call the peer again that was called last, whether it answered or not
    Redial(Redial),
    /// Wait for calls
    Listen(Listen),
    /// Show your key: its words, to be compared, and a QR code
    Id(Id),
    /// Show who is there: available, busy, away or offline; and what is remembered of the keys of peers
    Contacts(Contacts),
    /// Show the calls that were, newest first
    Log(Log),
    /// Show a whole call: broker, TURN server and two peers with test media on this machine
    Demo(Demo),
    /// Run a broker (MQTT and WebSocket) and a STUN/TURN server
    Serve(Serve),
    /// Run scripted call tests, one's own or ready ones
    Test(Test),
    /// Read a broker live and draw what peers say to each other
    Trace(Trace),
    /// Lend this machine to call tests that run elsewhere: run calls for them
    Agent(Agent),
    /// Make many calls at once, and say what became of them and what they cost
    Load(Load),
    /// List cameras, microphones, speakers and screens
    Devices,
    /// Show each setting in force, and where it comes from; takes the options of call and listen too
    Config(Config),
    /// Say whether a call could work here, line by line, with cause and advice
    Doctor(Doctor),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff), or write all pages into a folder
    Man {
        /// Folder to write tring.1, tring-call.1 and the others into
        #[arg(value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

/// What is printed.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// Print events as JSON, one a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log more; -vv shows deviations, -vvv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log errors only, print nothing but results
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }
}

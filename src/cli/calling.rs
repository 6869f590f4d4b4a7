//! Calls, made and taken.

use std::time::Duration;

use clap::{Args, ValueEnum};
use signalling::id::PeerId;

use super::options::{Habits, Link, Media};
use super::parse::parse_ringing;

/// `tring call`.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// Whom to call: its peer ID, or its nick in the settings file
    pub(crate) peer: PeerId,
    #[command(flatten)]
    pub(crate) dial: Dial,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `tring redial`.
#[derive(Debug, Args)]
pub(crate) struct Redial {
    #[command(flatten)]
    pub(crate) dial: Dial,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// How whoever calls goes about it.
#[derive(Debug, Args)]
pub(crate) struct Dial {
    /// How long it may ring, up to 2m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_ringing)]
    pub(crate) answer_timeout: Duration,
    /// When PEER is not there or busy, wait and ring as soon as it is free (not with --dialect apprtc)
    #[arg(long)]
    pub(crate) wait: bool,
}

/// `tring listen`.
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// What to do when it rings
    #[arg(long, value_enum, default_value_t = Answer::Ask)]
    pub(crate) answer: Answer,
    /// End after the first call
    #[arg(long)]
    pub(crate) once: bool,
    /// Take calls of this peer alone, by ID or nick (repeatable; default: of anyone, which with --dialect apprtc means to
    /// read '+')
    #[arg(long, value_name = "PEER")]
    pub(crate) from: Vec<PeerId>,
    /// Callers with whom the path is set up while it rings, so that an answer shows a picture at once: known (those below
    /// [contacts] in the settings file), always, never. They learn this machine's addresses then, before the answer.
    /// No camera or microphone is opened, and nothing is sent, before the answer
    #[arg(long, value_name = "WHOM", value_enum, default_value_t = EarlyMedia::Known, hide_possible_values = true, env = "TRING_EARLY_MEDIA")]
    pub(crate) early_media: EarlyMedia,
    /// Be away from the start: callers see it, and can still call
    #[arg(long)]
    pub(crate) away: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What to do when it rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Answer {
    /// Ask on the terminal, or over --control
    Ask,
    /// Answer at once
    Auto,
    /// Decline at once
    Reject,
}

/// With whom a path is set up while it rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EarlyMedia {
    /// With those whom the settings file names
    Known,
    /// With anyone
    Always,
    /// With nobody
    Never,
}

/// What `call` and `listen` share.
#[derive(Debug, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) media: Media,
    #[command(flatten)]
    pub(crate) link: Link,
    #[command(flatten)]
    pub(crate) habits: Habits,
    /// Read commands (NDJSON) from standard input: answer, reject, hangup, hold, resume, swap, mute, camera, voice, send, away, back, snapshot, stats, quit
    #[arg(long, value_name = "-", value_parser = ["-"], help_heading = "Output")]
    pub(crate) control: Option<String>,
}

//! Tests of calls, and what belongs to them: reading along, and lending this machine to a test that runs elsewhere.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use media::frame::{Size, VideoCodec};
use signalling::id::PeerId;

use super::load::{CALLS_MAX, FailAbove, PeerRange, Rate};
use super::options::Link;
use super::parse::{parse_codec, parse_size, parse_time};

/// `tring load`.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Calls at once; several numbers are steps, one after the other, as 10,20,40
    #[arg(
        long,
        value_name = "N",
        default_value = "10",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=i64::from(CALLS_MAX))
    )]
    pub(crate) calls: Vec<u32>,
    /// New calls a second, as 5/s
    #[arg(long, value_name = "N/s", default_value = "10/s")]
    pub(crate) rate: Rate,
    /// Length of a call
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_time)]
    pub(crate) talk: Duration,
    /// Go on for so long, a new call for each that ended [default: each call once]; with --answerers: answer for so long
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    pub(crate) lasting: Option<Duration>,
    /// Call these, as site-b or site-b-{1..50}, instead of answerers of our own (repeatable; needs --broker)
    #[arg(long, value_name = "RANGE")]
    pub(crate) to: Vec<PeerRange>,
    /// Only answer, as ID-answerer-1 to -N, for calls from another machine (needs --broker)
    #[arg(
        long,
        value_name = "N",
        conflicts_with_all = ["calls", "rate", "talk", "to", "curve"],
        value_parser = clap::value_parser!(u32).range(1..=i64::from(CALLS_MAX))
    )]
    pub(crate) answerers: Option<u32>,
    /// Have this agent make its share of the calls, or answer (repeatable; with the agent's own broker and TURN server)
    #[arg(long, value_name = "PEER")]
    pub(crate) agent: Vec<PeerId>,
    /// Encode and decode in each call, as a phone does, instead of light media
    #[arg(long)]
    pub(crate) full: bool,
    /// Size of the pictures to send
    #[arg(long, value_name = "WxH", default_value = "640x480", value_parser = parse_size, help_heading = "Media")]
    pub(crate) size: Size,
    /// Pictures a second to send, 1 to 60
    #[arg(
        long,
        value_name = "N",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=60),
        help_heading = "Media"
    )]
    pub(crate) fps: u32,
    /// Video codec: h264 or vp8 [default: both, h264 preferred]
    #[arg(long, value_name = "CODEC", value_parser = parse_codec, help_heading = "Media")]
    pub(crate) codec: Option<VideoCodec>,
    /// Share of calls that may fail: above it the exit status is 30
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    pub(crate) fail_above: FailAbove,
    /// Serve figures at http://ADDRESS/metrics for Prometheus while it runs
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) prometheus: Option<SocketAddr>,
    /// Draw set-up time, loss, failures and processor time over calls at once (SVG); two steps or more
    #[arg(long, value_name = "FILE")]
    pub(crate) curve: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) link: Link,
}

/// `tring test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// What to run: a scenario file, a folder of them, or the name of a ready one (see --list)
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenarios: Vec<String>,
    /// List the ready scenarios, or those of the files and folders named
    #[arg(long)]
    pub(crate) list: bool,
    /// Print a ready scenario, to begin one's own with
    #[arg(long, value_name = "NAME")]
    pub(crate) print: Option<String>,
    /// Print the JSON schema of scenario files, for editors
    #[arg(long)]
    pub(crate) schema: bool,
    /// Run scenarios with this tag alone (repeatable)
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Set a variable of the scenario (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub(crate) set: Vec<(String, String)>,
    /// Run each so often, instead of as its file says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) repeat: Option<u32>,
    /// Runs at once: each has peers that encode and decode, so more than cores disturb what is measured
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) jobs: u32,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write a report to look at, with plots over time: one HTML file
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Where logs, events and recordings of failing runs are kept
    #[arg(long, value_name = "FOLDER", default_value = "tring-results")]
    pub(crate) results: PathBuf,
    /// Record what each peer sees and hears, kept as the logs are
    #[arg(long)]
    pub(crate) record_all: bool,
    /// Keep those of runs that passed too
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) link: Link,
}

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

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("use NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

//! The command line: what may be typed, as types. Texts shown by `--help` are the doc comments here.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments are the help texts, where brackets mean: may be left out"
)]

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use media::capture::{AudioSource, VideoSource};
use media::display::Show;
use media::frame::{Size, VideoCodec};
use media::peer::config::IceUrl;
use media::playout::AudioSink;
use signalling::call::ANSWER_MAX;
use signalling::id::PeerId;
use signalling::mqtt::{BrokerUrl, MqttVersion};
use signalling::topic::Template;

use crate::settings::Secret;

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
    /// Show who is there: available, busy, away or offline
    Contacts(Contacts),
    /// Show the calls that were, newest first
    Log(Log),
    /// Show a whole call: broker, TURN server and two peers with test media on this machine
    Demo(Demo),
    /// Run a broker (MQTT and WebSocket) and a STUN/TURN server
    Serve(Serve),
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
    /// Be away from the start: callers see it, and can still call
    #[arg(long)]
    pub(crate) away: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

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

/// What `call` and `listen` share.
#[derive(Debug, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) media: Media,
    #[command(flatten)]
    pub(crate) link: Link,
    #[command(flatten)]
    pub(crate) habits: Habits,
    /// Read commands (NDJSON) from standard input: answer, reject, hangup, hold, resume, swap, mute, camera, send, away, back, snapshot, stats, quit
    #[arg(long, value_name = "-", value_parser = ["-"], help_heading = "Output")]
    pub(crate) control: Option<String>,
}

/// What is sent and shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Media")]
pub(crate) struct Media {
    /// Pictures to send: camera[:NAME], test, file:PATH (Y4M, WebM, MP4), none
    #[arg(long, value_name = "SOURCE", default_value = "camera", env = "TRING_VIDEO")]
    pub(crate) video: VideoSource,
    /// Sound to send: mic[:NAME], tone, file:PATH (WAV, WebM, MP4), none
    #[arg(long, value_name = "SOURCE", default_value = "mic", env = "TRING_AUDIO")]
    pub(crate) audio: AudioSource,
    /// Where to show the other side: window, terminal, none [default: window on a desktop, else terminal, else none]
    #[arg(long, value_name = "WHERE", env = "TRING_SHOW")]
    pub(crate) show: Option<Show>,
    /// Where to play the other side: speaker[:NAME], none
    #[arg(long, value_name = "WHERE", default_value = "speaker", env = "TRING_PLAY")]
    pub(crate) play: AudioSink,
    /// Size of the pictures to send
    #[arg(long, value_name = "WxH", default_value = "640x480", value_parser = parse_size)]
    pub(crate) size: Size,
    /// Pictures a second to send, 1 to 60
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) fps: u32,
    /// Video codec: h264 or vp8 [default: both, h264 preferred]
    #[arg(long, value_name = "CODEC", value_parser = parse_codec)]
    pub(crate) codec: Option<VideoCodec>,
    /// Record the other side: FILE.webm (VP8) or FILE.mp4 (H.264)
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Save a picture of the other side as PNG, one second into the call
    #[arg(long, value_name = "FILE")]
    pub(crate) snapshot: Option<PathBuf>,
    /// Hang up after this time of call
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) duration: Option<Duration>,
}

/// Who we are, where the broker is, how media gets through.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Links")]
pub(crate) struct Link {
    /// Own peer ID, which is the MQTT ClientId: letters, digits, '-', '_' [default: user-host]
    #[arg(long, env = "TRING_ID")]
    pub(crate) id: Option<PeerId>,
    /// Broker: mqtt[s]://HOST[:PORT] or ws[s]://HOST[:PORT]/PATH (repeatable: the first that works is used)
    #[arg(
        long,
        value_name = "URL",
        default_value = "mqtt://127.0.0.1:1883",
        env = "TRING_BROKER",
        value_delimiter = ','
    )]
    pub(crate) broker: Vec<BrokerUrl>,
    /// MQTT version to speak: 3.1.1, or 5 where the broker has it
    #[arg(long, value_name = "VERSION", default_value = "3.1.1", env = "TRING_MQTT")]
    pub(crate) mqtt: MqttVersion,
    /// User name at the broker; the password comes from --password-file or TRING_PASSWORD
    #[arg(long, env = "TRING_USER")]
    pub(crate) user: Option<String>,
    /// File that holds the password at the broker
    #[arg(long, value_name = "FILE", env = "TRING_PASSWORD_FILE", conflicts_with = "password")]
    pub(crate) password_file: Option<PathBuf>,
    /// The password itself, from the environment alone
    #[arg(long, hide = true, env = "TRING_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<Secret>,
    /// PEM file of the certificate authority to trust for mqtts and wss [default: the system's]
    #[arg(long, value_name = "FILE", env = "TRING_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM file of the client certificate for mqtts and wss
    #[arg(long, value_name = "FILE", env = "TRING_CERT")]
    pub(crate) cert: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE", env = "TRING_KEY")]
    pub(crate) key: Option<PathBuf>,
    /// Call topics: '{from}' is the speaker's ID, '{to}' the listener's [default: tring/call/{from}/{to}; with
    /// --dialect apprtc: {from}]
    #[arg(long, value_name = "TEMPLATE", env = "TRING_TOPIC")]
    pub(crate) topic: Option<Template>,
    /// How to speak to the other side over the broker
    #[arg(long, value_enum, default_value_t = Dialect::Tring, env = "TRING_DIALECT")]
    pub(crate) dialect: Dialect,
    /// STUN or TURN server: stun:HOST[:PORT] or turn:HOST[:PORT] (repeatable)
    #[arg(long, value_name = "URL", env = "TRING_ICE", value_delimiter = ',')]
    pub(crate) ice: Vec<IceUrl>,
    /// User name at the TURN servers
    #[arg(long, value_name = "USER", env = "TRING_ICE_USER")]
    pub(crate) ice_user: Option<String>,
    /// File that holds the password at the TURN servers (or TRING_ICE_PASSWORD)
    #[arg(
        long,
        value_name = "FILE",
        env = "TRING_ICE_PASSWORD_FILE",
        conflicts_with_all = ["ice_password", "ice_secret", "ice_secret_file"]
    )]
    pub(crate) ice_password_file: Option<PathBuf>,
    /// The password itself, from the environment alone
    #[arg(
        long,
        hide = true,
        env = "TRING_ICE_PASSWORD",
        hide_env_values = true,
        conflicts_with_all = ["ice_secret", "ice_secret_file"]
    )]
    pub(crate) ice_password: Option<Secret>,
    /// File that holds the secret shared with the TURN servers, coTURN's use-auth-secret (or TRING_ICE_SECRET)
    #[arg(long, value_name = "FILE", env = "TRING_ICE_SECRET_FILE", conflicts_with = "ice_secret")]
    pub(crate) ice_secret_file: Option<PathBuf>,
    /// The secret itself, from the environment alone
    #[arg(long, hide = true, env = "TRING_ICE_SECRET", hide_env_values = true)]
    pub(crate) ice_secret: Option<Secret>,
    /// Send media through a TURN server only
    #[arg(long)]
    pub(crate) relay_only: bool,
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

/// What is done besides talking.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Habits")]
pub(crate) struct Habits {
    /// How it rings: sound (on the speaker of --play, else the terminal's bell), bell, none
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Ring::Sound, hide_possible_values = true, env = "TRING_RING")]
    pub(crate) ring: Ring,
    /// Do not note calls down for `tring log`
    #[arg(long, env = "TRING_NO_LOG", action = clap::ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(crate) no_log: bool,
    /// Show no notifications on the desktop
    #[arg(long, env = "TRING_NO_NOTIFY", action = clap::ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(crate) no_notify: bool,
}

impl Habits {
    /// Nothing but what was asked for.
    pub(crate) const NONE: Self = Self { ring: Ring::None, no_log: true, no_notify: true };
}

/// How it rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ring {
    /// On the speaker, for whoever calls too
    Sound,
    /// By the bell of the terminal
    Bell,
    /// Not at all
    None,
}

/// How peers speak over the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// tring's own, with acknowledgements, presence and reasons
    Tring,
    /// Plain JSON as Android's WebRTC samples speak it, on topics that are bare client IDs
    Apprtc,
}

/// `tring demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// How long the two talk
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    pub(crate) duration: Duration,
    /// Send media through the TURN server only
    #[arg(long)]
    pub(crate) relay_only: bool,
    /// Video codec: h264 or vp8
    #[arg(long, value_name = "CODEC", default_value = "vp8", value_parser = parse_codec)]
    pub(crate) codec: VideoCodec,
    /// Where to show the call: window, terminal, none [default: terminal where there is one]
    #[arg(long, value_name = "WHERE")]
    pub(crate) show: Option<Show>,
    /// Where the recording goes [default: tring-demo.webm or .mp4 in the current folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

/// `tring serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address to listen on; anything but loopback needs logins: --user and a password, or --users-file
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) listen: std::net::IpAddr,
    /// Port of the broker (0: any free one)
    #[arg(long, value_name = "PORT", default_value_t = 1883)]
    pub(crate) mqtt_port: u16,
    /// Port of the broker over WebSocket (0: any free one)
    #[arg(long, value_name = "PORT", default_value_t = 8083)]
    pub(crate) websocket_port: u16,
    /// Port of the STUN/TURN server (0: any free one)
    #[arg(long, value_name = "PORT", default_value_t = 3478)]
    pub(crate) turn_port: u16,
    /// One login for all clients, for broker and TURN; its password comes from --password-file or TRING_PASSWORD
    #[arg(long, env = "TRING_USER")]
    pub(crate) user: Option<String>,
    /// File that holds the password
    #[arg(long, value_name = "FILE", env = "TRING_PASSWORD_FILE", conflicts_with = "password")]
    pub(crate) password_file: Option<PathBuf>,
    /// The password itself, from the environment alone
    #[arg(long, hide = true, env = "TRING_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<Secret>,
    /// File with a login a peer, ID:PASSWORD a line: nobody can then take another's ID (needs --ice-secret-file)
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["user", "password", "password_file"],
        requires = "ice_secret_file"
    )]
    pub(crate) users_file: Option<PathBuf>,
    /// File that holds a secret for time-limited TURN logins, which peers pass as --ice-secret-file too
    #[arg(long, value_name = "FILE")]
    pub(crate) ice_secret_file: Option<PathBuf>,
    /// Relay to addresses of the internet only, not to private ones
    #[arg(long)]
    pub(crate) relay_public_only: bool,
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

fn parse_time(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit {unit:?}; use ms, s, m or h")),
    };
    match number.parse::<f64>() {
        Ok(value) if value > 0.0 && value * scale <= 7.0 * 24.0 * 3600.0 => Ok(Duration::from_secs_f64(value * scale)),
        _ => Err("use a time above 0 and up to a week, as 500ms, 10s, 5m or 2h".into()),
    }
}

fn parse_ringing(text: &str) -> Result<Duration, String> {
    let time = parse_time(text)?;
    if time <= ANSWER_MAX { Ok(time) } else { Err("nobody rings longer than 2m".into()) }
}

fn parse_size(text: &str) -> Result<Size, String> {
    let wrong = || "use WIDTHxHEIGHT, both even, from 64x48 to 1920x1080".to_owned();
    let (width, height) = text.split_once('x').ok_or_else(wrong)?;
    let (width, height) = (width.parse().map_err(|_| wrong())?, height.parse().map_err(|_| wrong())?);
    let fits = (64..=1920).contains(&width) && (48..=1080).contains(&height);
    if fits && width % 2 == 0 && height % 2 == 0 { Ok(Size { width, height }) } else { Err(wrong()) }
}

fn parse_codec(text: &str) -> Result<VideoCodec, String> {
    match text.to_ascii_lowercase().as_str() {
        "h264" => Ok(VideoCodec::H264),
        "vp8" => Ok(VideoCodec::Vp8),
        _ => Err("use h264 or vp8".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_and_sizes_read() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_time("10"), Ok(Duration::from_secs(10)));
        for text in ["", "0s", "-1s", "1y", "s", "inf", "NaN", "1e30h"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        assert_eq!(parse_size("640x480"), Ok(Size { width: 640, height: 480 }));
        for text in ["640", "641x480", "2x2", "9999x9999", "x", "-2x-2"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}

//! What commands share: media, links, habits.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use media::capture::{AudioSource, VideoSource};
use media::display::Show;
use media::frame::{Size, VideoCodec};
use media::impair::DirectedImpairment;
use media::peer::config::IceUrl;
use media::playout::AudioSink;
use media::send::picture_plan::Content;
use media::voice::Processing;
use signalling::id::PeerId;
use signalling::mqtt::{BrokerUrl, MqttVersion};
use signalling::topic::Template;

use super::parse::{parse_codec, parse_login_lifetime, parse_seal, parse_size, parse_time};
use super::secret::Secret;

/// What is sent and shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Media")]
pub(crate) struct Media {
    /// Send test media encoded once, and count what comes instead of decoding it: for many calls on one machine
    #[arg(long)]
    pub(crate) light: bool,
    /// Pictures to send: camera[:NAME], test, file:PATH (Y4M, WebM, MP4), none
    #[arg(
        long,
        value_name = "SOURCE",
        default_value = "camera",
        default_value_if("light", "true", "test"),
        env = "TRING_VIDEO"
    )]
    pub(crate) video: VideoSource,
    /// Sound to send: mic[:NAME], tone, file:PATH (WAV, WebM, MP4), none
    #[arg(
        long,
        value_name = "SOURCE",
        default_value = "mic",
        default_value_if("light", "true", "tone"),
        env = "TRING_AUDIO"
    )]
    pub(crate) audio: AudioSource,
    /// What is done to the sound of a microphone: full (echo and noise are taken out, the level is evened out), raw
    /// (nothing: for headphones, and for music)
    #[arg(long, value_name = "HOW", default_value = "full", env = "TRING_VOICE")]
    pub(crate) voice: Processing,
    /// Where to show the other side: window, terminal, none [default: window on a desktop, else terminal, else none]
    #[arg(long, value_name = "WHERE", env = "TRING_SHOW")]
    pub(crate) show: Option<Show>,
    /// Where to play the other side: speaker[:NAME], none
    #[arg(
        long,
        value_name = "WHERE",
        default_value = "speaker",
        default_value_if("light", "true", "none"),
        env = "TRING_PLAY"
    )]
    pub(crate) play: AudioSink,
    /// Size of the pictures to send
    #[arg(long, value_name = "WxH", default_value = "640x480", value_parser = parse_size)]
    pub(crate) size: Size,
    /// Pictures a second to send, 1 to 60
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) fps: u32,
    /// What the pictures show: on a narrow line motion becomes smaller, detail becomes slower
    #[arg(long, value_name = "KIND", default_value = "motion", env = "TRING_CONTENT")]
    pub(crate) content: Content,
    /// Video codec: h264 or vp8 [default: both, h264 preferred]
    #[arg(long, value_name = "CODEC", value_parser = parse_codec)]
    pub(crate) codec: Option<VideoCodec>,
    /// Record the other side: FILE.webm (VP8) or FILE.mp4 (H.264)
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Save a picture of the other side as PNG, one second into the call
    #[arg(long, value_name = "FILE")]
    pub(crate) snapshot: Option<PathBuf>,
    /// Let recordings and pictures replace files that are there already
    #[arg(long, env = "TRING_OVERWRITE", action = clap::ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(crate) overwrite: bool,
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
    /// PEM file of the certificate authority to trust for mqtts, wss and turns [default: the system's]
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
    /// Changes nothing: calls are sealed anyway (for settings files of earlier versions)
    #[arg(
        long,
        hide = true,
        value_name = "true",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = parse_seal
    )]
    pub(crate) seal: Option<bool>,
    /// Speak also to programs that cannot seal, if they never showed a key. Whoever runs the broker can listen in to such
    /// calls; all others are sealed
    #[arg(long)]
    pub(crate) plain: bool,
    /// Speak only to peers whose key is remembered: from a call before, or by 'tring contacts trust'
    #[arg(long)]
    pub(crate) require_known: bool,
    /// The secret key for this run, from the environment alone; then nothing is remembered of peers
    #[arg(long, hide = true, env = "TRING_SECRET_KEY", hide_env_values = true)]
    pub(crate) secret_key: Option<Secret>,
    /// STUN or TURN server: stun:HOST[:PORT], turn:HOST[:PORT] (over UDP), turn:HOST[:PORT]?transport=tcp, or
    /// turns:HOST[:PORT] (over TLS) (repeatable)
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
    /// How long a login made from that secret is good, from 10s up to a week: for the call or ICE restart that begins with it
    #[arg(
        long,
        value_name = "TIME",
        default_value = "24h",
        env = "TRING_ICE_LOGIN_LIFETIME",
        value_parser = parse_login_lifetime
    )]
    pub(crate) ice_login_lifetime: Duration,
    /// Send media through a TURN server only
    #[arg(long)]
    pub(crate) relay_only: bool,
    /// For tests: make the network of the media worse, [up:|down:]KEY=VALUE,… of delay=50ms, jitter=10ms, loss=5%,
    /// burst=3, rate=500kbit, queue=300ms, reorder=1%, duplicate=1%, seed=7, stall=700ms, or none (repeatable: a later
    /// one replaces what an earlier one says of its direction)
    #[arg(long, value_name = "SPEC", env = "TRING_IMPAIR", value_delimiter = ' ')]
    pub(crate) impair: Vec<DirectedImpairment>,
}

impl Link {
    /// Takes a broker of ours, which wants no login, in place of the one of the options, whose login it does not get. The
    /// authority of `--ca-file` stays: a TURN server may need it.
    pub(crate) fn leave_broker(&mut self, own: BrokerUrl) {
        self.broker = vec![own];
        (self.user, self.password_file, self.password) = (None, None, None);
        (self.cert, self.key) = (None, None);
        self.mqtt = MqttVersion::default();
    }
}

/// How peers speak over the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// tring's own, with acknowledgements, presence and reasons
    Tring,
    /// Plain JSON as Android's WebRTC samples speak it, on topics that are bare client IDs; not sealed
    Apprtc,
}

/// What is done besides talking.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Ringing and call log")]
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

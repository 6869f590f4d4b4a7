//! The demo, and the servers this program brings itself.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use media::display::Show;
use media::frame::VideoCodec;

use super::parse::{parse_codec, parse_time};
use super::secret::Secret;

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
    /// Where the recording goes [default: tring-demo.webm or .mp4 in the current folder, with a number if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Let the recording replace a file that is there already
    #[arg(long)]
    pub(crate) overwrite: bool,
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
    /// Port of the STUN/TURN server, over UDP and TCP (0: any free one)
    #[arg(long, value_name = "PORT", default_value_t = 3478)]
    pub(crate) turn_port: u16,
    /// One port for everything over TLS, such as 443: mqtts, wss and turns (0: any free one) [default: none]
    #[arg(long, value_name = "PORT")]
    pub(crate) tls_port: Option<u16>,
    /// Certificate for --tls-port, PEM, with those between it and the root behind it [default: one made here and kept]
    #[arg(long, value_name = "FILE", requires_all = ["key", "tls_port"])]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Name or address that clients reach this machine by, for the certificate made here; repeatable
    #[arg(long, value_name = "NAME", requires = "tls_port", conflicts_with = "cert")]
    pub(crate) tls_name: Vec<String>,
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
    /// Let whoever asks read along what peers say to each other, as `tring trace` does; only without logins, so on
    /// loopback alone
    #[arg(long, conflicts_with_all = ["user", "password", "password_file", "users_file"])]
    pub(crate) read_along: bool,
    /// Relayed addresses that one user may have at once [default: 60 with --ice-secret-file; without, as many as there are]
    #[arg(long, value_name = "N")]
    pub(crate) relay_quota: Option<std::num::NonZeroUsize>,
    /// Relay to addresses of the internet only, not to private ones
    #[arg(long)]
    pub(crate) relay_public_only: bool,
}

//! From what was typed to what is meant: secrets read, defaults chosen, contradictions refused.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::time::Duration;

use media::capture::{AudioSource, VideoFormat, VideoSource};
use media::display::Show;
use media::existing::Existing;
use media::frame::VideoCodec;
use media::peer::config::{
    BitrateLimits, Direction, IcePolicy, IceServer, IceServerKind, Loopback, PeerConfig, time_limited_credentials,
};
use media::peer::impaired::ImpairHandle;
use media::playout::AudioSink;
use media::record::Container;
use media::send::picture_plan::Content;
use media::voice::Processing;
use signalling::dialect::Dialect;
use signalling::id::PeerId;
use signalling::mqtt::{Audience, BrokerUrl, LinkConfig, Login, Proxies, Scheme, TlsFiles};
use signalling::seal::{Plain, Policy, SecretKeys, Strangers};

use super::{identity, proxies, turn_streams};
use crate::cli;
use crate::config::secret::{secret, warn_if_open};
use crate::output::exit::Failure;
use crate::platform::clock::unix_ms;
use crate::platform::random;

/// Everything a session needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) link: LinkConfig,
    pub(crate) dialect: Dialect,
    /// `None` in a dialect that cannot seal: no key is made or shown.
    pub(crate) security: Option<Security>,
    /// As resolved; a call takes [`Settings::peer_now`].
    pub(crate) peer: PeerConfig,
    ice_login: IceLogin,
    pub(crate) media: MediaSettings,
    pub(crate) control: Control,
    pub(crate) habits: cli::Habits,
    pub(crate) early_media: EarlyPeers,
}

/// Who may learn our addresses before a call of theirs is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum EarlyPeers {
    /// Nobody.
    #[default]
    None,
    /// These.
    Only(BTreeSet<PeerId>),
    /// Anyone.
    All,
}

impl EarlyPeers {
    /// As the option says, of a user who knows `contacts`.
    pub(crate) fn new<'a>(whom: cli::EarlyMedia, contacts: impl IntoIterator<Item = &'a PeerId>) -> Self {
        match whom {
            cli::EarlyMedia::Known => Self::Only(contacts.into_iter().cloned().collect()),
            cli::EarlyMedia::Always => Self::All,
            cli::EarlyMedia::Never => Self::None,
        }
    }

    /// True for a caller who may.
    pub(crate) fn admits(&self, caller: &PeerId) -> bool {
        match self {
            Self::None => false,
            Self::Only(known) => known.contains(caller),
            Self::All => true,
        }
    }
}

/// How messages are sealed.
#[derive(Clone, Debug)]
pub(crate) struct Security {
    pub(crate) policy: Policy,
    /// The identity to use, in place of the one that is kept.
    pub(crate) keys: Option<Arc<SecretKeys>>,
}

/// How to log in at the TURN servers.
#[derive(Clone)]
enum IceLogin {
    None,
    LongTerm { user: String, password: String },
    SharedSecret { name: String, secret: String, lifetime: Duration },
}

impl std::fmt::Debug for IceLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IceLogin(…)")
    }
}

/// What is sent, shown and kept.
#[derive(Clone, Debug)]
pub(crate) struct MediaSettings {
    pub(crate) video: VideoSource,
    pub(crate) audio: AudioSource,
    /// What is done to the sound of a microphone, at first.
    pub(crate) voice: Processing,
    pub(crate) format: VideoFormat,
    /// What suffers first on a narrow line.
    pub(crate) content: Content,
    pub(crate) show: Show,
    pub(crate) play: AudioSink,
    pub(crate) record: Option<PathBuf>,
    pub(crate) snapshot: Option<PathBuf>,
    /// What becomes of files that are there already under these names.
    pub(crate) existing: Existing,
    pub(crate) duration: Option<Duration>,
    pub(crate) weight: Weight,
}

/// How much work a call's media are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Encoded and decoded.
    Full,
    /// Encoded once a program, in each codec that may be agreed on, and counted where they arrive.
    Light { codecs: Vec<VideoCodec> },
}

/// Where commands come from while a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// From a person at the terminal.
    Terminal,
    /// NDJSON on standard input.
    Stdin,
}

impl Settings {
    /// Resolves the options that `call` and `listen` share.
    ///
    /// # Errors
    /// A usage [`Failure`] that says which options contradict or what is missing.
    pub(crate) fn resolve(common: &cli::Common, audience: Audience) -> Result<Self, Failure> {
        let link = resolve_link(&common.link, audience)?;
        let codecs = resolve_codecs(&common.media)?;
        let ice_login = resolve_ice_login(&common.link, &link.me)?;
        let ice_servers = resolve_ice(&common.link, &ice_login)?;
        let peer = PeerConfig {
            dialer: turn_streams::dialer(&ice_servers, common.link.ca_file.as_deref())?,
            ice_servers,
            ice_policy: if common.link.relay_only { IcePolicy::RelayOnly } else { IcePolicy::All },
            loopback: loopback(&link.brokers),
            video_codecs: codecs,
            video: direction(common.media.video == VideoSource::None),
            audio: direction(common.media.audio == AudioSource::None),
            bitrate: BitrateLimits::for_video(common.media.size.area() as u64 * u64::from(common.media.fps)),
            impairments: ImpairHandle::new(common.link.impair.iter().copied().collect()),
        };
        let media = MediaSettings {
            video: common.media.video.clone(),
            audio: common.media.audio.clone(),
            voice: common.media.voice,
            format: VideoFormat { size: common.media.size, fps: common.media.fps },
            content: common.media.content,
            show: if common.media.light { Show::None } else { common.media.show.unwrap_or_else(Show::best) },
            play: common.media.play.clone(),
            record: common.media.record.clone(),
            snapshot: common.media.snapshot.clone(),
            existing: if common.media.overwrite { Existing::Replace } else { Existing::Keep },
            duration: common.media.duration,
            weight: resolve_weight(&common.media, &peer.video_codecs)?,
        };
        let control = if common.control.is_some() { Control::Stdin } else { Control::Terminal };
        let dialect = dialect(&common.link);
        let security = security(&common.link)?;
        let (habits, early_media) = (common.habits, EarlyPeers::default());
        Ok(Self { link, dialect, security, peer, ice_login, media, control, habits, early_media })
    }

    /// The configuration of a peer connection that begins now: logins made from a shared secret expire.
    pub(crate) fn peer_now(&self) -> PeerConfig {
        let (username, password) = match &self.ice_login {
            IceLogin::None => return self.peer.clone(),
            IceLogin::LongTerm { user, password } => (user.clone(), password.clone()),
            IceLogin::SharedSecret { name, secret, lifetime } => {
                time_limited_credentials(secret, name, Duration::from_millis(unix_ms()) + *lifetime)
            }
        };
        let mut config = self.peer.clone();
        for server in config.ice_servers.iter_mut().filter(|server| server.url.kind == IceServerKind::Turn) {
            (server.username, server.password) = (username.clone(), password.clone());
        }
        config
    }
}

fn direction(silent: bool) -> Direction {
    if silent { Direction::ReceiveOnly } else { Direction::SendReceive }
}

fn security(link: &cli::Link) -> Result<Option<Security>, Failure> {
    if dialect(link) == Dialect::Apprtc {
        return if link.seal.is_some() || link.require_known {
            Err(Failure::usage("--dialect apprtc cannot seal; leave out --seal and --require-known"))
        } else {
            Ok(None)
        };
    }
    if link.require_known && link.plain {
        return Err(Failure::usage(
            "--plain lets peers without a key through, --require-known does not; pass one of them",
        ));
    }
    let plain = if link.plain { Plain::Allowed } else { Plain::Refused };
    let strangers = if link.require_known { Strangers::Refused } else { Strangers::Welcome };
    let keys = link.secret_key.as_ref().map(|secret| identity::of_text(secret.expose())).transpose()?;
    Ok(Some(Security { policy: Policy { plain, strangers }, keys }))
}

/// How peers speak over the broker.
pub(crate) fn dialect(link: &cli::Link) -> Dialect {
    match link.dialect {
        cli::Dialect::Tring => Dialect::Tring,
        cli::Dialect::Apprtc => Dialect::Apprtc,
    }
}

/// Resolves what a connection to the broker needs.
///
/// # Errors
/// A usage [`Failure`], as [`Settings::resolve`].
pub(crate) fn resolve_link(link: &cli::Link, audience: Audience) -> Result<LinkConfig, Failure> {
    let password = secret(link.password_file.as_deref(), link.password.as_ref())?;
    let url_user = link.broker.iter().find_map(|broker| broker.user.clone());
    let login = match (link.user.clone().or(url_user), password) {
        (Some(user), password) => Some(Login { user, password: password.unwrap_or_default() }),
        (None, Some(_)) => return Err(Failure::usage("a password needs a user name too; pass --user")),
        (None, None) => None,
    };
    let client = match (&link.cert, &link.key) {
        (Some(cert), Some(key)) => {
            warn_if_open(key);
            Some((cert.clone(), key.clone()))
        }
        (None, None) => None,
        (Some(_), None) => return Err(Failure::usage("a client certificate needs its private key; pass --key")),
        (None, Some(_)) => return Err(Failure::usage("a private key needs its client certificate; pass --cert")),
    };
    if login.as_ref().is_some_and(|login| !login.password.is_empty()) {
        warn_of_plain_brokers(&link.broker);
    }
    Ok(LinkConfig {
        me: link.id.clone().unwrap_or_else(default_id),
        run: random::nonce(),
        brokers: link.broker.clone(),
        version: link.mqtt,
        login,
        tls: TlsFiles { ca: link.ca_file.clone(), client },
        // A variable that cannot be used matters only where it is used.
        proxies: if link.broker.iter().all(is_plain) { Proxies::default() } else { proxies::of_environment()? },
        template: link.topic.clone().unwrap_or_else(|| dialect(link).topics()),
        audience,
        // A session has its own.
        sealing: None,
    })
}

/// The codecs to offer, best first. A recording keeps what arrives, so its container decides.
fn resolve_codecs(media: &cli::Media) -> Result<Vec<VideoCodec>, Failure> {
    let recorded = match &media.record {
        Some(path) => Some(Container::from_path(path).map_err(Failure::usage)?.video_codec()),
        None => None,
    };
    match (media.codec, recorded) {
        (Some(codec), Some(recorded)) if codec != recorded => Err(Failure::usage(format!(
            "--codec {codec} cannot be recorded to this file; use a name ending in {}",
            if codec == VideoCodec::Vp8 { ".webm" } else { ".mp4" }
        ))),
        (Some(codec), _) | (None, Some(codec)) => Ok(vec![codec]),
        (None, None) => Ok(vec![VideoCodec::H264, VideoCodec::Vp8]),
    }
}

/// Light media opens no device and decodes nothing, so that much cannot be asked of it.
fn resolve_weight(media: &cli::Media, codecs: &[VideoCodec]) -> Result<Weight, Failure> {
    if !media.light {
        return Ok(Weight::Full);
    }
    let needs = |needs: bool, what: &'static str| needs.then_some(what);
    let asked = [
        needs(media.record.is_some(), "--record"),
        needs(media.snapshot.is_some(), "--snapshot"),
        needs(matches!(media.show, Some(Show::Window | Show::Terminal)), "--show"),
        needs(!matches!(media.play, AudioSink::None), "--play"),
        needs(!matches!(media.video, VideoSource::Test | VideoSource::None), "--video"),
        needs(!matches!(media.audio, AudioSource::Tone | AudioSource::None), "--audio"),
    ];
    match asked.into_iter().flatten().next() {
        Some(option @ ("--video" | "--audio")) => Err(Failure::usage(format!(
            "--light sends test media encoded once; leave {option} out, or pass {option} none"
        ))),
        Some(option) => {
            Err(Failure::usage(format!("--light decodes nothing; leave {option} out, or leave --light out")))
        }
        None => Ok(Weight::Light { codecs: codecs.to_vec() }),
    }
}

fn resolve_ice_login(link: &cli::Link, me: &PeerId) -> Result<IceLogin, Failure> {
    let password = secret(link.ice_password_file.as_deref(), link.ice_password.as_ref())?;
    let shared = secret(link.ice_secret_file.as_deref(), link.ice_secret.as_ref())?;
    match (&link.ice_user, password, shared) {
        (_, Some(_), Some(_)) => Err(Failure::usage("pass a TURN password or a shared secret, not both")),
        (None, Some(_), None) => Err(Failure::usage("a TURN password needs a user name too; pass --ice-user")),
        (user, None, Some(secret)) => {
            let name = user.clone().unwrap_or_else(|| me.to_string());
            Ok(IceLogin::SharedSecret { name, secret, lifetime: link.ice_login_lifetime })
        }
        (Some(user), Some(password), None) => Ok(IceLogin::LongTerm { user: user.clone(), password }),
        (Some(_), None, None) | (None, None, None) => Ok(IceLogin::None),
    }
}

fn resolve_ice(link: &cli::Link, login: &IceLogin) -> Result<Vec<IceServer>, Failure> {
    let mut servers = Vec::new();
    for url in &link.ice {
        if url.kind == IceServerKind::Turn && matches!(login, IceLogin::None) {
            return Err(Failure::usage(format!(
                "{url} needs credentials; pass --ice-user and --ice-password-file, or --ice-secret-file"
            )));
        }
        servers.push(IceServer { url: url.clone(), username: String::new(), password: String::new() });
    }
    if link.relay_only && !servers.iter().any(|server| server.url.kind == IceServerKind::Turn) {
        return Err(Failure::usage("--relay-only needs a TURN server; pass --ice turn:HOST and its credentials"));
    }
    Ok(servers)
}

/// Peers on one machine meet on 127.0.0.1, which a broker there hints at.
fn loopback(brokers: &[BrokerUrl]) -> Loopback {
    if brokers.iter().any(is_local) { Loopback::Include } else { Loopback::Exclude }
}

/// True for a broker on this machine.
fn is_local(broker: &BrokerUrl) -> bool {
    broker.host == "localhost" || broker.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// True for a broker without TLS.
fn is_plain(broker: &BrokerUrl) -> bool {
    match broker.scheme {
        Scheme::Mqtt | Scheme::Ws => true,
        Scheme::Mqtts | Scheme::Wss => false,
    }
}

/// Warns, once a program, of a password that everyone on the way to a broker can read.
fn warn_of_plain_brokers(brokers: &[BrokerUrl]) {
    static WARN: Once = Once::new();
    let plain: Vec<String> = brokers
        .iter()
        .filter(|broker| is_plain(broker))
        .filter(|broker| !is_local(broker))
        .map(ToString::to_string)
        .collect();
    if !plain.is_empty() {
        let plain = plain.join(", ");
        WARN.call_once(|| {
            tracing::warn!("the password goes to {plain} unencrypted; use mqtts:// or wss:// where the broker has it");
        });
    }
}

/// The ID of a user who names none: `user-host`.
pub(crate) fn default_id() -> PeerId {
    let user = std::env::var("USER").or_else(|_| std::env::var("USERNAME")).unwrap_or_default();
    let host = std::fs::read_to_string("/etc/hostname").or_else(|_| std::env::var("COMPUTERNAME")).unwrap_or_default();
    id_of(&user, &host)
}

/// `user-host`, with what a peer ID cannot hold left out. A part of which nothing is left is replaced, or left out.
fn id_of(user: &str, host: &str) -> PeerId {
    let plain = |text: &str| {
        let kept = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
        text.chars().filter(kept).collect::<String>().trim_matches('-').to_owned()
    };
    let (user, host) = (plain(user), plain(host));
    let user = if user.is_empty() { "tring" } else { &user };
    let name: String = if host.is_empty() { user.to_owned() } else { format!("{user}-{host}") };
    let name: String = name.chars().take(64).collect();
    name.trim_end_matches('-').parse().unwrap_or_else(|_| "tring".parse().expect("a plain word is a peer ID"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn resolve(arguments: &str) -> Result<Settings, Failure> {
        let cli = Cli::try_parse_from(format!("tring call bob {arguments}").split_whitespace()).unwrap();
        let Command::Call(call) = cli.command else { unreachable!() };
        Settings::resolve(&call.common, Audience::Anyone)
    }

    #[test]
    fn the_default_id_is_sane_whatever_user_and_host_are() {
        for (user, host, id) in [
            ("alice", "laptop\n", "alice-laptop"),
            ("", "vm", "tring-vm"),
            ("Жанна", "vm", "tring-vm"),
            ("alice", "", "alice"),
            ("  ", "...", "tring"),
            ("a.b@c", "my.host", "abc-myhost"),
            ("-x-", "-y-", "x-y"),
            (&"u".repeat(64), "h", &"u".repeat(64)),
        ] {
            assert_eq!(id_of(user, host).as_str(), id, "{user:?} {host:?}");
        }
    }

    #[test]
    fn contradictions_are_refused_with_advice() {
        for (arguments, advice) in [
            ("--ice turn:h", "--ice-user"),
            ("--relay-only", "--ice turn:"),
            ("--relay-only --ice stun:h", "--ice turn:"),
            ("--record a.avi", ".webm"),
            ("--record a.mp4 --codec vp8", ".webm"),
            ("--password-file /nonexistent", "/nonexistent"),
            ("--password-file /dev/null", "no password"),
            ("--light --record a.mp4", "--light decodes nothing; leave --record out"),
            ("--light --snapshot a.png", "leave --snapshot out"),
            ("--light --show terminal", "leave --show out"),
            ("--light --play speaker", "leave --play out"),
            ("--light --video camera", "pass --video none"),
            ("--light --audio file:a.wav", "pass --audio none"),
            ("--cert a.crt", "--key"),
            ("--key a.key", "--cert"),
        ] {
            let failure = resolve(arguments).unwrap_err();
            assert!(failure.text.contains(advice), "{arguments}: {}", failure.text);
            assert_eq!(failure.status, crate::output::exit::ExitStatus::Usage);
        }
    }

    #[test]
    fn a_recording_decides_the_codec() {
        assert_eq!(resolve("--record a.mp4").unwrap().peer.video_codecs, [VideoCodec::H264]);
        assert_eq!(resolve("--record a.webm").unwrap().peer.video_codecs, [VideoCodec::Vp8]);
        assert_eq!(resolve("").unwrap().peer.video_codecs, [VideoCodec::H264, VideoCodec::Vp8]);
    }

    #[test]
    fn light_media_are_test_media_that_nobody_sees() {
        let media = resolve("--light --codec vp8").unwrap().media;
        assert_eq!((media.video, media.audio, media.play), (VideoSource::Test, AudioSource::Tone, AudioSink::None));
        assert_eq!((media.show, media.weight), (Show::None, Weight::Light { codecs: vec![VideoCodec::Vp8] }));
        assert_eq!(resolve("--light --video none").unwrap().media.video, VideoSource::None);
        assert_eq!(resolve("").unwrap().media.weight, Weight::Full);
    }

    #[test]
    fn a_dialect_brings_its_topics_unless_others_are_given() {
        for (arguments, template) in [
            ("", "tring/call/{from}/{to}"),
            ("--dialect apprtc", "{from}"),
            ("--dialect apprtc --topic a/{from}/{to}", "a/{from}/{to}"),
            ("--topic {from}", "{from}"),
        ] {
            assert_eq!(resolve(arguments).unwrap().link.template, template.parse().unwrap(), "{arguments}");
        }
    }

    #[test]
    fn a_local_broker_means_local_peers() {
        assert_eq!(resolve("--broker mqtt://localhost:1").unwrap().peer.loopback, Loopback::Include);
        assert_eq!(resolve("--broker mqtt://192.0.2.1").unwrap().peer.loopback, Loopback::Exclude);
    }

    #[test]
    fn the_default_id_is_an_id() {
        assert!(!default_id().as_str().is_empty());
    }
}

//! What an agent runs for others: `tring call`, `listen` and `load`, with options that touch no file and no secret; and
//! which of its own settings such a part is given.
//!
//! An option is taken when it is listed here, so that a new one is refused until somebody has thought about it. A broker
//! or TURN server that is none of the agent's own is given none of its logins: whoever runs it would learn them.

use std::collections::BTreeMap;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use media::peer::config::IceUrl;
use serde_json::Value;
use signalling::id::PeerId;
use signalling::mqtt::BrokerUrl;

use crate::config::secret::secret;
use crate::output::exit::Failure;
use crate::{cli, config};

/// Commands that are run.
const COMMANDS: [&str; 3] = ["call", "listen", "load"];

/// Options that are taken, by their names in the code.
const OPTIONS: [&str; 44] = [
    // calls
    "peer",
    "answer_timeout",
    "wait",
    "answer",
    "once",
    "from",
    "away",
    "duration",
    "control",
    // media
    "video",
    "audio",
    "voice",
    "show",
    "play",
    "size",
    "fps",
    "content",
    "codec",
    "impair",
    "light",
    "screen",
    // links
    "id",
    "broker",
    "mqtt",
    "topic",
    "dialect",
    "ice",
    "relay_only",
    "seal",
    "plain",
    // habits and output
    "ring",
    "no_log",
    "no_notify",
    "json",
    "verbose",
    "quiet",
    // load
    "calls",
    "rate",
    "talk",
    "lasting",
    "to",
    "answerers",
    "full",
    "fail_above",
];

/// Options whose values may name a file.
const SOURCES: [&str; 2] = ["video", "audio"];

/// Switches that stay on: nothing of a part stays on this machine, nobody here is disturbed.
const QUIET: [&str; 2] = ["no_log", "no_notify"];

/// Commands of `--control` that are passed on: none of them saves a file.
const CONTROLS: [&str; 16] = [
    "answer",
    "reject",
    "hangup",
    "hold",
    "resume",
    "swap",
    "mute",
    "camera",
    "voice",
    "send",
    "away",
    "back",
    "stats",
    "quit",
    "impair",
    "reconnect",
];

/// Why something is not done, for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(pub(crate) String);

/// Whether this command may be passed on to a part: as it was understood, written anew.
///
/// # Errors
/// A [`Refusal`] that names it.
pub(crate) fn judge_control(line: &str) -> Result<String, Refusal> {
    if line.contains(['\n', '\r']) {
        return Err(Refusal("one command at a time: a line break is not passed on".into()));
    }
    let Ok(command) = serde_json::from_str::<BTreeMap<String, Value>>(line) else {
        return Err(Refusal("a command is one JSON object".into()));
    };
    let name = command.get("command").and_then(Value::as_str).unwrap_or_default();
    if !CONTROLS.contains(&name) {
        let name: String = name.chars().take(40).collect();
        return Err(Refusal(format!(
            "the command {name:?} is not taken from a runner: an agent writes no files for others"
        )));
    }
    let names_a_file = |key: &str| {
        let value = command.get(key).and_then(Value::as_str);
        value.is_some_and(|value| value.starts_with("file:"))
    };
    match SOURCES.into_iter().find(|key| names_a_file(key)) {
        Some(key) => {
            Err(Refusal(format!("{key} file:… is not taken from a runner: an agent reads no files for others")))
        }
        None => serde_json::to_string(&command).map_err(|error| Refusal(error.to_string())),
    }
}

/// A part that may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permit {
    /// Its command.
    pub(crate) command: String,
    /// The agent's settings for it, as variables of its environment.
    pub(crate) env: BTreeMap<String, String>,
}

/// What the agent has: never told to a runner.
#[derive(Clone)]
pub(crate) struct Own {
    me: PeerId,
    brokers: Vec<String>,
    ice: Vec<String>,
    /// For every part.
    common: BTreeMap<String, String>,
    /// For parts at the agent's own brokers.
    login: BTreeMap<String, String>,
    /// For parts that use the agent's own TURN servers.
    ice_login: BTreeMap<String, String>,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Own({}, …)", self.me)
    }
}

impl Own {
    /// What the options of the agent give to its parts; files with secrets are read now.
    ///
    /// # Errors
    /// A usage [`Failure`] when a file cannot be read.
    pub(crate) fn of(link: &cli::Link, me: PeerId) -> Result<Self, Failure> {
        let path = |path: &Path| {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            absolute.to_string_lossy().into_owned()
        };
        let brokers: Vec<String> = link.broker.iter().map(ToString::to_string).collect();
        let ice: Vec<String> = link.ice.iter().map(ToString::to_string).collect();
        let dialect = match link.dialect {
            cli::Dialect::Tring => "tring",
            cli::Dialect::Apprtc => "apprtc",
        };
        let mut common = Variables::default();
        common.set("TRING_MQTT", Some(link.mqtt.to_string()));
        common.set("TRING_DIALECT", Some(dialect.to_owned()));
        common.set("TRING_CA_FILE", link.ca_file.as_deref().map(path));
        common.set("TRING_RELAY_ONLY", link.relay_only.then(|| "true".to_owned()));
        common.set("TRING_PLAIN", link.plain.then(|| "true".to_owned()));
        // Nothing of a part stays on this machine, nobody here is disturbed.
        common.set("TRING_NO_LOG", Some("true".to_owned()));
        common.set("TRING_NO_NOTIFY", Some("true".to_owned()));
        common.set("TRING_RING", Some("none".to_owned()));
        let mut login = Variables::default();
        login.set("TRING_USER", link.user.clone());
        login.set("TRING_PASSWORD", secret(link.password_file.as_deref(), link.password.as_ref())?);
        login.set("TRING_CERT", link.cert.as_deref().map(path));
        login.set("TRING_KEY", link.key.as_deref().map(path));
        let mut ice_login = Variables::default();
        ice_login.set("TRING_ICE_USER", link.ice_user.clone());
        ice_login.set("TRING_ICE_PASSWORD", secret(link.ice_password_file.as_deref(), link.ice_password.as_ref())?);
        ice_login.set("TRING_ICE_SECRET", secret(link.ice_secret_file.as_deref(), link.ice_secret.as_ref())?);
        let lifetime_s = link.ice_login_lifetime.as_secs_f64();
        ice_login.set("TRING_ICE_LOGIN_LIFETIME", Some(format!("{lifetime_s}s")));
        Ok(Self { me, brokers, ice, common: common.0, login: login.0, ice_login: ice_login.0 })
    }

    /// Whether these arguments may run here, and with which settings.
    ///
    /// # Errors
    /// A [`Refusal`] that names what is not taken.
    pub(crate) fn judge(&self, arguments: &[String]) -> Result<Permit, Refusal> {
        let mut definition = config::command_alone();
        definition.build();
        let words = std::iter::once("tring").chain(arguments.iter().map(String::as_str));
        let matches = definition.clone().try_get_matches_from(words).map_err(|error| misread(&error))?;
        let (name, matches) = matches.subcommand().ok_or_else(|| Refusal("no command is given".into()))?;
        if !COMMANDS.contains(&name) {
            return Err(Refusal(format!("tring {name} is not run for others; call, listen and load are")));
        }
        let command = definition.find_subcommand(name).ok_or_else(|| Refusal("no such command".into()))?;
        refuse_options(command, matches)?;
        self.check_id(matches)?;
        let brokers = written_alike::<BrokerUrl>(values(matches, "broker"));
        let env = self.env(&brokers, &written_alike::<IceUrl>(values(matches, "ice")));
        Ok(Permit { command: name.to_owned(), env })
    }

    /// A part needs a name of its own at the broker: ours would throw us off.
    fn check_id(&self, matches: &ArgMatches) -> Result<(), Refusal> {
        match values(matches, "id").last() {
            None => Err(Refusal("--id is missing: a part needs one of its own".into())),
            Some(id) if id == self.me.as_str() => Err(Refusal(format!("--id {id} is the agent's own"))),
            Some(_) => Ok(()),
        }
    }

    fn env(&self, brokers: &[String], ice: &[String]) -> BTreeMap<String, String> {
        let mut env = self.common.clone();
        if brokers.is_empty() {
            env.insert("TRING_BROKER".into(), self.brokers.join(","));
        }
        if brokers.iter().all(|broker| self.brokers.contains(broker)) {
            env.extend(self.login.clone());
        }
        if ice.is_empty() && !self.ice.is_empty() {
            env.insert("TRING_ICE".into(), self.ice.join(","));
        }
        if ice.iter().all(|url| self.ice.contains(url)) {
            env.extend(self.ice_login.clone());
        }
        env
    }
}

/// Addresses in the one way in which the program writes them.
fn written_alike<Url: std::str::FromStr + ToString>(urls: Vec<String>) -> Vec<String> {
    urls.into_iter().map(|url| url.parse::<Url>().map_or(url, |url| url.to_string())).collect()
}

#[derive(Default)]
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn set(&mut self, name: &str, value: Option<String>) {
        self.0.extend(value.map(|value| (name.to_owned(), value)));
    }
}

/// The first lines of what clap says: the rest is advice for a terminal.
fn misread(error: &clap::Error) -> Refusal {
    let text = error.to_string();
    let said = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    Refusal(format!("these arguments cannot be read: {}", said.chars().take(200).collect::<String>()))
}

fn refuse_options(command: &Command, matches: &ArgMatches) -> Result<(), Refusal> {
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let is_given = matches.try_contains_id(id).is_ok_and(|is_there| is_there)
            && matches.value_source(id) == Some(ValueSource::CommandLine);
        if !is_given {
            continue;
        }
        let name = arg.get_long().map_or_else(|| id.to_owned(), |long| format!("--{long}"));
        if !OPTIONS.contains(&id) {
            let why = "an agent touches no files and no secrets, and opens no ports for others";
            return Err(Refusal(format!("{name} is not taken from a runner: {why}")));
        }
        if QUIET.contains(&id) && matches.get_one::<bool>(id) == Some(&false) {
            return Err(Refusal(format!("{name}=false is not taken from a runner: an agent keeps no log for others")));
        }
        if SOURCES.contains(&id) && values(matches, id).iter().any(|value| value.starts_with("file:")) {
            return Err(Refusal(format!(
                "{name} file:… is not taken from a runner: an agent reads no files for others"
            )));
        }
    }
    Ok(())
}

/// What was given for this option, as it was written.
fn values(matches: &ArgMatches, id: &str) -> Vec<String> {
    let is_given = matches.try_contains_id(id).is_ok_and(|is_there| is_there)
        && matches.value_source(id) == Some(ValueSource::CommandLine);
    let raw = if is_given { matches.get_raw(id) } else { None };
    raw.into_iter().flatten().map(|value| value.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn own(options: &str) -> Own {
        let words = format!("tring agent --id berlin --from-anyone {options}");
        let cli = cli::Cli::try_parse_from(words.split_whitespace()).unwrap();
        let cli::Command::Agent(agent) = cli.command else { unreachable!() };
        Own::of(&agent.link, "berlin".parse().unwrap()).unwrap()
    }

    fn judge(arguments: &str) -> Result<Permit, Refusal> {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        own("").judge(&arguments)
    }

    #[test]
    fn calls_with_test_media_and_devices_run() {
        for arguments in [
            "call bob --id alice --video test --audio tone --show none --play none --duration 5s",
            "listen --id bob --answer auto --once --video camera:front --audio mic --play speaker",
            "call bob --id alice --broker mqtt://h:1 --ice turn:h --relay-only --control - --json -vv",
            "listen --id bob --answer=auto --once=true --no-log=true --no-notify=true --ring=none --relay-only=false",
        ] {
            assert!(judge(arguments).is_ok(), "{arguments}: {:?}", judge(arguments));
        }
    }

    #[test]
    fn what_touches_files_or_secrets_is_refused_by_name() {
        for (arguments, named) in [
            ("call bob --id alice --record a.webm", "--record"),
            ("call bob --id alice --snapshot a.png", "--snapshot"),
            ("call bob --id alice --video file:/etc/passwd", "--video file:"),
            ("call bob --id alice --audio=file:/etc/passwd", "--audio file:"),
            ("listen --id bob --password-file /etc/passwd", "--password-file"),
            ("listen --id bob --password secret", "--password"),
            ("listen --id bob --user root", "--user"),
            ("listen --id bob --ca-file a.pem", "--ca-file"),
            ("listen --id bob --cert a.pem", "--cert"),
            ("listen --id bob --key a.pem", "--key"),
            ("listen --id bob --ice-user u", "--ice-user"),
            ("listen --id bob --ice-password p", "--ice-password"),
            ("listen --id bob --ice-password-file p", "--ice-password-file"),
            ("listen --id bob --ice-secret s", "--ice-secret"),
            ("listen --id bob --ice-secret-file s", "--ice-secret-file"),
            ("listen --id bob --config a.toml", "--config"),
            ("listen --id bob --no-log=false", "no-log"),
            ("listen --id bob --control /dev/tty", "--control"),
            ("listen --id berlin", "--id berlin"),
            ("listen --answer auto", "--id"),
            ("serve", "tring serve"),
            ("demo", "tring demo"),
            ("doctor --id a", "tring doctor"),
            ("agent --id a --from-anyone", "tring agent"),
            ("trace --id a", "tring trace"),
            ("log --clear --yes", "tring log"),
            ("", "cannot be read"),
            ("call", "cannot be read"),
        ] {
            let refusal = judge(arguments).unwrap_err();
            assert!(refusal.0.contains(named), "{arguments}: {refusal}");
        }
    }

    #[test]
    fn commands_that_touch_files_are_refused() {
        for command in [
            r#"{"command":"hold"}"#,
            r#"{"command":"send","video":"test","audio":"none"}"#,
            r#"{"command":"impair","spec":"loss=5%"}"#,
        ] {
            assert!(judge_control(command).is_ok(), "{command}");
        }
        for (command, named) in [
            (r#"{"command":"snapshot","file":"/tmp/a.png"}"#, "snapshot"),
            (r#"{"command":"send","video":"file:/etc/passwd"}"#, "video file:"),
            (r#"{"command":"send","video":"test","audio":"file:a.wav"}"#, "audio file:"),
            ("{\"command\":\"hold\"}\n{\"command\":\"snapshot\",\"file\":\"a\"}", "line break"),
            (r#"{"command":"dance"}"#, "dance"),
            (r#"{}"#, "\"\""),
            ("hold", "one JSON object"),
        ] {
            assert!(judge_control(command).unwrap_err().0.contains(named), "{command}");
        }
    }

    #[test]
    fn only_the_agents_own_servers_are_given_its_logins() {
        let own = own(
            "--broker mqtt://own:1 --user berlin --password b-secret --ice turn:own --ice-user u --ice-password p-secret",
        );
        let env = |arguments: &str| {
            let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
            own.judge(&arguments).unwrap().env
        };
        let mine = env("listen --id bob");
        assert_eq!((mine["TRING_BROKER"].as_str(), mine["TRING_PASSWORD"].as_str()), ("mqtt://own:1", "b-secret"));
        assert_eq!((mine["TRING_ICE_USER"].as_str(), mine["TRING_ICE_PASSWORD"].as_str()), ("u", "p-secret"));
        assert_eq!(env("listen --id bob --broker mqtt://own:1")["TRING_PASSWORD"], "b-secret");
        for others in ["--broker mqtt://other:1", "--broker mqtt://own:1 --broker mqtt://other:1"] {
            let env = env(&format!("listen --id bob {others}"));
            assert!(!env.contains_key("TRING_USER") && !env.contains_key("TRING_PASSWORD"), "{others}: {env:?}");
        }
        let env = env("listen --id bob --ice turn:other");
        assert!(!env.contains_key("TRING_ICE_PASSWORD") && env.contains_key("TRING_PASSWORD"), "{env:?}");
        assert_eq!((env["TRING_NO_LOG"].as_str(), env["TRING_RING"].as_str()), ("true", "none"));
        assert!(!format!("{own:?}").contains("secret"));
    }
}

//! All layers together, over the definition of the command line as it is.

use super::*;
use crate::cli::Command as Typed;
use crate::config::file::Document;

/// A folder that is thrown away, with a settings file in it.
struct Folder(PathBuf);

impl Folder {
    fn with(text: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tring-settings-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(folder.join("tring")).unwrap();
        std::fs::write(folder.join("tring/config.toml"), text).unwrap();
        Self(folder)
    }

    fn parse(&self, line: &str, variables: &[(&str, &str)]) -> Result<Parsed, String> {
        let mut all: Variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        all.insert("XDG_CONFIG_HOME".into(), self.0.clone().into());
        all.entry("HOME".into()).or_insert_with(|| "/home/alice".into());
        let arguments: Vec<OsString> = ["tring"].into_iter().chain(line.split_whitespace()).map(Into::into).collect();
        parse_from(&arguments, &all).map_err(|stop| match stop {
            Stop::Typing(error) => error.to_string(),
            Stop::Settings(text) => text,
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn call(parsed: Parsed) -> crate::cli::Call {
    let Typed::Call(call) = parsed.cli.command else { panic!("not a call") };
    call
}

const LAYERS: &str = r#"
fps = 11
relay-only = true
id = "top"
broker = ["mqtt://top"]
ice = ["stun:top"]
default-profile = "home"

[profile.home]
fps = 12
broker = ["mqtt://home", "mqtt://spare"]
ice = []

[profile.work]
fps = 13
relay-only = false
"#;

#[test]
fn one_value_on_each_layer() {
    let folder = Folder::with(LAYERS);
    let plain = Folder::with("fps = 11");
    let fps = |folder: &Folder, line: &str, variables: &[(&str, &str)]| {
        call(folder.parse(&format!("call bob {line}"), variables).unwrap()).common.media.fps
    };
    let variable = [("TRING_FPS", "14")];
    assert_eq!(fps(&Folder::with(""), "", &[]), 30);
    assert_eq!(fps(&plain, "", &[]), 11);
    assert_eq!(fps(&folder, "", &[]), 12);
    assert_eq!(fps(&folder, "--profile work", &[]), 13);
    assert_eq!(fps(&folder, "", &[("TRING_PROFILE", "work")]), 13);
    assert_eq!(fps(&folder, "--profile home", &[("TRING_PROFILE", "work")]), 12);
    assert_eq!(fps(&folder, "--profile work", &variable), 14);
    assert_eq!(fps(&plain, "", &variable), 14);
    assert_eq!(fps(&folder, "--fps 15", &variable), 15);
}

#[test]
fn switches_can_be_turned_off_again() {
    let folder = Folder::with(LAYERS);
    let relay_only = |line: &str, variables: &[(&str, &str)]| {
        call(folder.parse(&format!("call bob {line}"), variables).unwrap()).common.link.relay_only
    };
    assert!(relay_only("", &[]));
    assert!(!relay_only("--profile work", &[]));
    assert!(!relay_only("", &[("TRING_RELAY_ONLY", "no")]));
    assert!(relay_only("--relay-only", &[("TRING_RELAY_ONLY", "false")]));
    assert!(!relay_only("--relay-only=false", &[("TRING_RELAY_ONLY", "1")]));
}

#[test]
fn impairments_come_from_every_layer_whole() {
    let folder = Folder::with("impair = ['up:loss=5%,burst=3', 'down:delay=50ms']");
    let impairments = |folder: &Folder, line: &str, variables: &[(&str, &str)]| {
        let link = call(folder.parse(&format!("call bob {line}"), variables).unwrap()).common.link;
        link.impair.into_iter().collect::<media::impair::Impairments>().to_string()
    };
    assert_eq!(impairments(&folder, "", &[]), "up:loss=5%,burst=3 down:delay=50ms");
    assert_eq!(impairments(&Folder::with("impair = 'loss=5%,delay=1ms'"), "", &[]), "delay=1ms,loss=5%");
    let variable = [("TRING_IMPAIR", "rate=1mbit,queue=1s down:stall=1s")];
    assert_eq!(impairments(&folder, "", &variable), "up:rate=1mbit,queue=1s down:stall=1s");
    assert_eq!(impairments(&folder, "--impair delay=1ms --impair up:none", &variable), "up:none down:delay=1ms");
    let wrong = Folder::with("impair = 'lag=5ms'").parse("call bob", &[]).unwrap_err();
    assert!(wrong.contains("lag=5ms") && wrong.contains("stall=700ms"), "{wrong}");
}

#[test]
fn lists_replace_those_below() {
    let folder = Folder::with(LAYERS);
    let link = |line: &str, variables: &[(&str, &str)]| {
        let link = call(folder.parse(&format!("call bob {line}"), variables).unwrap()).common.link;
        let brokers = link.broker.iter().map(|broker| broker.host.clone()).collect::<Vec<String>>();
        (brokers, link.ice.len())
    };
    assert_eq!(link("", &[]), (vec!["home".into(), "spare".into()], 0));
    assert_eq!(link("--profile work", &[]), (vec!["top".into()], 1));
    assert_eq!(link("", &[("TRING_BROKER", "mqtt://a,mqtt://b")]).0, ["a", "b"]);
    assert_eq!(link("--broker mqtt://c --ice stun:x", &[("TRING_BROKER", "mqtt://a")]), (vec!["c".into()], 1));
}

#[test]
fn a_typed_choice_displaces_its_rivals_of_all_layers() {
    let folder = Folder::with("ice-password-file = 'turn.pw'\npassword-file = 'broker.pw'");
    let variables = [("TRING_ICE_PASSWORD", "x"), ("TRING_ICE_USER", "alice")];
    let link = call(folder.parse("call bob --ice-secret-file s", &variables).unwrap()).common.link;
    assert_eq!(link.ice_secret_file, Some("s".into()));
    assert!(link.ice_password_file.is_none() && link.ice_password.is_none());
    assert_eq!((link.ice_user.as_deref(), link.password_file), (Some("alice"), Some(folder.0.join("tring/broker.pw"))));
    let link = call(folder.parse("call bob", &[("TRING_PASSWORD", "x")]).unwrap()).common.link;
    assert!(link.password.is_some() && link.password_file.is_none());
    // Both typed is a contradiction still, and so are both of one layer.
    let both = folder.parse("call bob --ice-secret-file s --ice-password-file p", &[]).unwrap_err();
    assert!(both.contains("--ice-password-file") && both.contains("cannot be used with"), "{both}");
    let both = folder.parse("call bob", &[("TRING_ICE_PASSWORD", "x"), ("TRING_ICE_SECRET", "y")]).unwrap_err();
    assert!(both.contains("TRING_ICE_PASSWORD and TRING_ICE_SECRET"), "{both}");
}

#[test]
fn a_file_of_users_displaces_the_user_of_the_environment() {
    let folder = Folder::with("user = 'of-the-file'");
    let variables = [("TRING_USER", "alice"), ("TRING_PASSWORD", "x"), ("TRING_PASSWORD_FILE", "y")];
    let parsed = folder.parse("serve --users-file u --ice-secret-file s", &variables).unwrap();
    let Typed::Serve(serve) = parsed.cli.command else { panic!("no serve") };
    assert!(serve.user.is_none() && serve.password.is_none() && serve.password_file.is_none());
    // The login of a peer is not that of a broker: `serve` takes nothing from the file.
    let Typed::Serve(serve) = folder.parse("serve", &[]).unwrap().cli.command else { panic!("no serve") };
    assert!(serve.user.is_none());
    assert!(folder.parse("serve --users-file u --ice-secret-file s --user alice", &[]).is_err());
}

#[test]
fn paths_are_relative_to_the_file_or_to_home() {
    let text = "ca-file = '~/ca.crt'\ncert = 'own/a.crt'\nkey = '/etc/a.key'\nvideo = 'file:film.webm'\nuser = '~'";
    let folder = Folder::with(text);
    let call = call(folder.parse("call bob", &[]).unwrap());
    let here = folder.0.join("tring");
    assert_eq!(call.common.link.ca_file, Some("/home/alice/ca.crt".into()));
    assert_eq!(call.common.link.cert, Some(here.join("own/a.crt")));
    assert_eq!(call.common.link.key, Some("/etc/a.key".into()));
    assert_eq!(call.common.link.user.as_deref(), Some("~"));
    assert!(format!("{:?}", call.common.media.video).contains(&here.join("film.webm").display().to_string()));
}

#[test]
fn a_nick_goes_before_an_id() {
    let folder = Folder::with("from = ['Großmutter']\n[contacts]\nmum = 'alice-laptop'\n'Großmutter' = 'gran'");
    assert_eq!(call(folder.parse("call mum", &[]).unwrap()).peer.as_str(), "alice-laptop");
    assert_eq!(call(folder.parse("call Großmutter", &[]).unwrap()).peer.as_str(), "gran");
    assert_eq!(call(folder.parse("call Mum", &[]).unwrap()).peer.as_str(), "Mum");
    assert!(folder.parse("call Opa!", &[]).unwrap_err().contains("is no peer ID"));
    let from = |line: &str, variables: &[(&str, &str)]| {
        let Typed::Listen(listen) = folder.parse(line, variables).unwrap().cli.command else { panic!("no listen") };
        listen.from.iter().map(|id| id.as_str().to_owned()).collect::<Vec<String>>()
    };
    assert_eq!(from("listen", &[]), ["gran"]);
    assert_eq!(from("listen", &[("TRING_FROM", "mum,bob")]), ["alice-laptop", "bob"]);
    assert_eq!(from("listen --from mum --from bob", &[]), ["alice-laptop", "bob"]);
    // One's own ID is never a nick.
    let id = call(folder.parse("call bob --id mum", &[]).unwrap()).common.link.id;
    assert_eq!(id.unwrap().as_str(), "mum");
}

#[test]
fn a_named_file_must_be_there_and_the_standard_one_need_not() {
    let folder = Folder::with("fps = 11\n[profile.home]\nfps = 12");
    let missing = folder.parse("call bob --config /nonexistent/tring.toml", &[]).unwrap_err();
    assert!(missing.contains("/nonexistent/tring.toml"), "{missing}");
    assert!(folder.parse("call bob", &[("TRING_CONFIG", "/nonexistent")]).unwrap_err().contains("/nonexistent"));
    assert!(folder.parse("call bob", &[("TRING_CONFIG", "")]).unwrap_err().contains("TRING_CONFIG"));
    assert!(folder.parse("call bob --config /dev/zero", &[]).unwrap_err().contains("larger than 1 MiB"));
    assert_eq!(call(folder.parse("call bob --config /dev/null", &[]).unwrap()).common.media.fps, 30);
    let unknown = folder.parse("call bob --profile hom", &[]).unwrap_err();
    assert!(unknown.contains("did you mean home?") && unknown.contains("config.toml"), "{unknown}");
    std::fs::remove_file(folder.0.join("tring/config.toml")).unwrap();
    assert_eq!(call(folder.parse("call bob", &[]).unwrap()).common.media.fps, 30);
    assert!(folder.parse("call bob --profile home", &[]).unwrap_err().contains("no settings file"));
}

#[test]
fn secrets_are_not_typed() {
    let error = Folder::with("").parse("call bob --ice-password geheim", &[]).unwrap_err();
    assert!(error.contains("--ice-password-file") && error.contains("TRING_ICE_PASSWORD"), "{error}");
    assert!(!error.contains("geheim"), "{error}");
    let parsed = Folder::with("").parse("call bob", &[("TRING_PASSWORD", "geheim")]).unwrap();
    assert!(!format!("{parsed:?}").contains("geheim"));
    assert!(Folder::with("").parse("call bob", &[("TRING_PASSWORD", "")]).unwrap_err().contains("TRING_PASSWORD"));
}

#[test]
fn what_is_typed_wrong_is_said_before_anything_of_the_file() {
    let folder = Folder::with("bad = ");
    assert!(folder.parse("call bob --frobnicate", &[]).unwrap_err().contains("--frobnicate"));
    assert!(folder.parse("call --help", &[]).unwrap_err().contains("Usage: tring call"));
    assert!(folder.parse("call bob", &[]).unwrap_err().contains("config.toml:1"));
    // What shows where the file is must help when it is wrong.
    assert!(folder.parse("config --path", &[]).is_ok() && folder.parse("config --example", &[]).is_ok());
    assert!(folder.parse("devices", &[]).is_ok());
}

#[test]
fn the_example_can_be_used() {
    let example = include_str!("example.toml");
    let place = Place { path: Path::new("config.toml"), home: None };
    let settings = definition::by_key(&command());
    let as_it_is = Document::parse(example, place, &settings).unwrap();
    assert!(as_it_is.contacts.is_empty());
    let with_a_blank = |line: &&str| !line.starts_with("# ") && *line != "#";
    let used: Vec<&str> = example.lines().filter(with_a_blank).map(|line| line.trim_start_matches('#')).collect();
    let document = Document::parse(&used.join("\n"), place, &settings).unwrap();
    assert_eq!(document.default_profile(), Some("home"));
    assert_eq!(document.tables(Some("work")).unwrap()[0]["relay-only"].values, ["true"]);
    assert_eq!(document.contacts["mum"].as_str(), "alice-laptop");
}

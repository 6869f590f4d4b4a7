//! Settings of all layers on the program itself: what counts, what is refused, and a call made of a file alone.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::support::call::{Args, Ended};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::{Tring, TringCommand};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, password_of};

/// A home of its own, with a settings file where the program looks for one.
struct Home(TempDir);

impl Home {
    fn with(settings: &str) -> Self {
        let home = Self(TempDir::new("settings"));
        std::fs::create_dir_all(home.file().parent().unwrap()).unwrap();
        std::fs::write(home.file(), settings).unwrap();
        home
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("config/tring/config.toml")
    }

    fn tring(&self, args: &[&str]) -> TringCommand {
        Tring::command(args).home(self.0.path())
    }

    /// `tring config --json` with these options and variables.
    fn in_force(&self, args: &[&str], envs: &[(&str, &str)]) -> Value {
        let args = [&["config", "--json"], args].concat();
        let output = self.tring(&args).envs(envs.iter().copied()).output(self.0.path());
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What is said where the settings are refused.
    fn refused(&self, args: &[&str], envs: &[(&str, &str)]) -> String {
        let output = self.tring(args).envs(envs.iter().copied()).output(self.0.path());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        stderr(&output)
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SETTINGS: &str = "\
id = \"alice\"
default-profile = \"home\"

[profile.home]
broker = [\"mqtt://192.0.2.1\", \"mqtt://192.0.2.2\"]
fps = 20
password-file = \"home.pw\"
relay-only = true

[profile.work]
fps = 25

[contacts]
mum = \"alice-laptop\"
";

// ---- what counts ----

#[test]
fn each_setting_is_shown_with_where_it_comes_from() {
    let home = Home::with(SETTINGS);
    let shown = home.in_force(&["--size", "320x240"], &[("TRING_USER", "carol"), ("TRING_ICE_SECRET", "geheim")]);
    let setting = |key: &str| shown["settings"][key].clone();
    let expected = |value: Value, rest: Value| {
        let mut all = serde_json::json!({ "value": value });
        all.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        all
    };
    let in_profile = |line: u32| serde_json::json!({ "source": "profile", "profile": "home", "line": line });
    assert_eq!(setting("size"), expected("320x240".into(), serde_json::json!({ "source": "flag" })));
    let variable = serde_json::json!({ "source": "environment", "variable": "TRING_USER" });
    assert_eq!(setting("user"), expected("carol".into(), variable));
    assert_eq!(setting("broker"), expected(serde_json::json!(["mqtt://192.0.2.1", "mqtt://192.0.2.2"]), in_profile(5)));
    assert_eq!(setting("fps"), expected(20.into(), in_profile(6)));
    assert_eq!(setting("relay-only"), expected(true.into(), in_profile(8)));
    let password = home.file().with_file_name("home.pw");
    assert_eq!(setting("password-file"), expected(password.to_str().unwrap().into(), in_profile(7)));
    assert_eq!(setting("id"), expected("alice".into(), serde_json::json!({ "source": "file", "line": 1 })));
    assert_eq!(setting("video"), expected("camera".into(), serde_json::json!({ "source": "default" })));
    assert_eq!(setting("record"), expected(Value::Null, serde_json::json!({ "source": "default" })));
    assert_eq!(setting("ice-secret")["value"], "(set)");
    assert_eq!(shown["file"].as_str(), home.file().to_str());
    assert_eq!((&shown["profile"], &shown["contacts"]["mum"]), (&"home".into(), &"alice-laptop".into()));
    assert!(!shown.to_string().contains("geheim"));
    // Options of both commands are settings.
    assert!(!setting("answer-timeout").is_null() && !setting("answer").is_null());
}

#[test]
fn the_same_for_people() {
    let home = Home::with(SETTINGS);
    let output = home.tring(&["config"]).env("TRING_PASSWORD", "geheim").output(home.0.path());
    let (text, file) = (stdout(&output), home.file().display().to_string());
    let line = |key: &str| {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(key));
        line.unwrap_or_else(|| panic!("no {key} in {text}")).split_whitespace().collect::<Vec<&str>>().join(" ")
    };
    assert_eq!(line("fps"), format!("fps 20 profile home in {file}:6"));
    assert_eq!(line("id"), format!("id alice {file}:1"));
    assert_eq!(line("password"), "password (set) TRING_PASSWORD");
    assert_eq!(line("size"), "size 640x480 default");
    assert_eq!(line("mum"), "mum alice-laptop");
    let displaced = format!("not in force: password-file (profile home in {file}:7), because of password");
    assert!(text.contains(&displaced) && !text.contains("geheim"), "{text}");
}

#[test]
fn flag_before_environment_before_profile_before_top_before_default() {
    let with_profile = Home::with("fps = 11\n[profile.home]\nfps = 12");
    let without = Home::with("");
    let fps = |home: &Home, args: &[&str], envs: &[(&str, &str)]| {
        let setting = home.in_force(args, envs)["settings"]["fps"].clone();
        (setting["value"].as_u64().unwrap(), setting["source"].as_str().unwrap().to_owned())
    };
    let (flag, profile) = (["--fps", "14"], ["--profile", "home"]);
    let variable = [("TRING_FPS", "13")];
    assert_eq!(fps(&without, &[], &[]), (30, "default".into()));
    assert_eq!(fps(&with_profile, &[], &[]), (11, "file".into()));
    assert_eq!(fps(&with_profile, &profile, &[]), (12, "profile".into()));
    assert_eq!(fps(&with_profile, &[], &[("TRING_PROFILE", "home")]), (12, "profile".into()));
    assert_eq!(fps(&with_profile, &profile, &variable), (13, "environment".into()));
    assert_eq!(fps(&without, &[], &variable), (13, "environment".into()));
    assert_eq!(fps(&with_profile, &[flag, profile].concat(), &variable), (14, "flag".into()));
    assert_eq!(fps(&without, &flag, &[]), (14, "flag".into()));
}

#[test]
fn another_file_by_option_and_by_variable() {
    let home = Home::with("fps = 11");
    let (one, other) = (home.0.write("one.toml", "fps = 12"), home.0.write("other.toml", "fps = 13"));
    let (one, other) = (one.to_str().unwrap(), other.to_str().unwrap());
    let fps = |args: &[&str], envs: &[(&str, &str)]| home.in_force(args, envs)["settings"]["fps"]["value"].clone();
    assert_eq!(fps(&[], &[]), 11);
    assert_eq!(fps(&[], &[("TRING_CONFIG", one)]), 12);
    assert_eq!(fps(&["--config", other], &[("TRING_CONFIG", one)]), 13);
    // Without XDG_CONFIG_HOME it is ~/.config.
    std::fs::create_dir_all(home.0.path().join(".config/tring")).unwrap();
    home.0.write(".config/tring/config.toml", "fps = 14");
    assert_eq!(fps(&[], &[("XDG_CONFIG_HOME", "")]), 14);
}

#[test]
fn a_typed_choice_displaces_the_environment() {
    let home = Home::with("");
    let secret = home.0.write("turn.secret", "s");
    let displaced = home.in_force(&["--ice-secret-file", secret.to_str().unwrap()], &[("TRING_ICE_PASSWORD", "p")]);
    assert_eq!(displaced["settings"]["ice-secret-file"]["source"], "flag");
    assert_eq!(displaced["settings"]["ice-password"]["value"], Value::Null);
    assert_eq!(displaced["displaced"][0]["variable"], "TRING_ICE_PASSWORD");
    // A call with these two is refused for another reason alone.
    let args = ["call", "bob", "--relay-only", "--ice-secret-file", secret.to_str().unwrap()];
    let said = home.refused(&args, &[("TRING_ICE_PASSWORD", "p")]);
    assert!(said.contains("--relay-only needs a TURN server"), "{said}");
    // A file of users goes before the one user of the environment: the port that is taken is all that is wrong here.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let users = home.0.write("users", "alice:a");
    let args = ["serve", "--mqtt-port", &port, "--websocket-port", "0", "--turn-port", "0"];
    let args = [&args[..], &["--users-file", users.to_str().unwrap(), "--ice-secret-file"]].concat();
    let args = [&args[..], &[secret.to_str().unwrap()]].concat();
    let said = home.refused(&args, &[("TRING_USER", "alice"), ("TRING_PASSWORD", "a")]);
    assert!(said.contains(&port) && !said.contains("cannot be used with"), "{said}");
}

// ---- what is refused ----

#[test]
fn faults_of_the_file_are_told_with_file_and_line() {
    for (text, line, advice) in [
        ("id = 'alice'\nbrokr = 'mqtt://a'", 2, "did you mean broker?"),
        ("fps = 'many'", 1, "must be a number"),
        ("\nid = \"alice", 2, "string"),
        ("[profile.home]\npassword = 'geheim'", 2, "password-file"),
    ] {
        let home = Home::with(text);
        for args in [&["config"][..], &["listen", "--answer", "auto"], &["call", "bob"]] {
            let said = home.refused(args, &[]);
            assert!(said.contains(&format!("{}:{line}: ", home.file().display())), "{text}: {said}");
            assert!(said.contains(advice) && !said.contains("geheim"), "{text}: {said}");
        }
    }
}

#[test]
fn faults_of_the_other_layers() {
    let home = Home::with(SETTINGS);
    assert!(home.refused(&["config", "--profile", "wrok"], &[]).contains("did you mean work?"));
    assert!(home.refused(&["config", "--config", "/nonexistent"], &[]).contains("/nonexistent"));
    assert!(home.refused(&["config"], &[("TRING_FPS", "99")]).contains("TRING_FPS: "));
    let both = home.refused(&["config"], &[("TRING_ICE_PASSWORD", "a"), ("TRING_ICE_SECRET", "b")]);
    assert!(both.contains("TRING_ICE_PASSWORD and TRING_ICE_SECRET exclude each other"), "{both}");
    assert!(home.refused(&["call", "bob", "--password", "geheim"], &[]).contains("--password-file"));
}

#[cfg(unix)]
#[test]
fn a_secret_that_everyone_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    // Refused for the missing relay, after the password was read.
    let home = Home::with("user = 'alice'\npassword-file = 'pw'\nrelay-only = true");
    let file = home.file().with_file_name("pw");
    std::fs::write(&file, "x").unwrap();
    for (mode, warned) in [(0o644, true), (0o640, false), (0o600, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let said = home.refused(&["call", "bob"], &[]);
        assert_eq!(said.contains("chmod 600"), warned, "{mode:o}: {said}");
    }
}

// ---- the rest ----

#[test]
fn path_and_example() {
    let home = Home::with("this is no TOML");
    let run = |args: &[&str]| stdout(&home.tring(args).output(home.0.path()));
    assert_eq!(run(&["config", "--path"]).trim(), home.file().to_str().unwrap());
    assert_eq!(run(&["config", "--path", "--config", "other.toml"]).trim(), "other.toml");
    let example = run(&["config", "--example"]);
    std::fs::write(home.file(), &example).unwrap();
    let shown = home.in_force(&[], &[]);
    let settings = shown["settings"].as_object().unwrap();
    assert!(settings.values().all(|setting| setting["source"] == "default"), "{shown}");
    let secrets = ["password", "ice-password", "ice-secret", "secret-key"];
    for key in settings.keys() {
        assert_eq!(example.contains(&format!("\n# {key}: ")), !secrets.contains(&key.as_str()), "{key}");
    }
    // With the '#' before its settings taken away, it is a file too.
    let used = example.lines().map(|line| if line.starts_with("# ") { line } else { line.trim_start_matches('#') });
    std::fs::write(home.file(), used.collect::<Vec<&str>>().join("\n")).unwrap();
    assert_eq!(home.in_force(&["--profile", "work"], &[])["settings"]["relay-only"]["value"], true);
}

#[test]
fn manual_and_completions_know_all_layers() {
    let home = Home::with("");
    let run = |args: &[&str]| stdout(&home.tring(args).output(home.0.path()));
    run(&["man", home.0.path().to_str().unwrap()]);
    let page = std::fs::read_to_string(home.0.path().join("tring-listen.1")).unwrap().replace("\\-", "-");
    for word in ["TRING_FPS", "TRING_ANSWER", "TRING_RELAY_ONLY", "TRING_CONFIG", "--profile", "TRING_PASSWORD"] {
        assert!(page.contains(word), "no {word} in the page of listen");
    }
    let completions = run(&["completions", "bash"]);
    assert!(completions.contains("--profile") && completions.contains("--example"), "{completions}");
}

#[test]
fn a_call_with_everything_from_the_file() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::password();
    let common =
        format!("broker = ['{}']\nvideo = 'test'\naudio = 'tone'\nshow = 'none'\nplay = 'none'\n", mosquitto.url());
    let (bob, alice) = (
        Home::with(&format!(
            "{common}id = 'bob'\nuser = 'bob'\npassword-file = 'pw'\nanswer = 'auto'\nonce = true\nfrom = ['her']\n\
             [contacts]\nher = 'alice'"
        )),
        Home::with(&format!(
            "{common}duration = '3s'\n[profile.test]\nid = 'alice'\nuser = 'alice'\npassword-file = '~/pw'\n[contacts]\nhim = 'bob'"
        )),
    );
    let write = |path: &Path, id: &str| std::fs::write(path, password_of(id)).unwrap();
    write(&bob.file().with_file_name("pw"), "bob");
    write(&alice.0.path().join("pw"), "alice");
    let mut listening = bob.tring(&["listen"]).spawn();
    listening.wait_event("online", PATIENCE);
    let mut calling = alice.tring(&["call", "him", "--profile", "test"]).spawn();
    let (alice, bob) = (Ended::wait(&mut calling), Ended::wait(&mut listening));
    assert_eq!(alice.event("dialing")["peer"], "bob");
    assert_eq!(bob.event("incoming")["peer"], "alice");
    assert_eq!((alice.status, bob.status), (0, 0));
    alice.assert_media();
    bob.assert_media();
}

#[test]
fn without_a_home_there_are_settings_still() {
    let output = Tring::command(Args::new(["config", "--json"])).env("HOME", "").env("XDG_CONFIG_HOME", "");
    let output = output.output(Path::new("/"));
    assert!(output.status.success(), "{}", stderr(&output));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["file"], &shown["found"]), (&Value::Null, &false.into()));
}

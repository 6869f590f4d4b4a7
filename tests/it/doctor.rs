//! `tring doctor` with real servers: what works says so, and what does not says why, what to try, and by which status
//! a call would end.

use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::call::{self, Args};
use crate::support::certificates::Flaw;
use crate::support::coturn::{self, Coturn};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::{PROGRAM, Tring};
use crate::support::pulse::Pulse;
use crate::support::screen::{Tmux, Xvfb};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, free_port, loopback, password_of, require, servers_dir, signal_and_wait};

/// Promised, on a machine that does nothing else.
const WHOLE_RUN: Duration = Duration::from_secs(20);

/// What it found.
struct Found {
    status: i32,
    checks: Vec<Value>,
    last: Value,
    /// All it printed.
    printed: String,
}

impl Found {
    /// Runs `tring doctor ARGS --json` to its end.
    fn by(args: Args) -> Self {
        Self::in_environment(args, Vec::new())
    }

    fn in_environment(args: Args, envs: Vec<(&'static str, String)>) -> Self {
        let started = Instant::now();
        let mut tring = Tring::command(Args::new(["doctor"]).and(args)).envs(envs).spawn();
        let status = tring.wait_exit(PATIENCE);
        assert!(started.elapsed() < WHOLE_RUN, "took {:?}", started.elapsed());
        let events = tring.wait_events().to_vec();
        let printed = events.iter().map(|event| format!("{event}\n")).collect();
        let (last, checks) = events.split_last().expect("it says something");
        assert_eq!(last["event"], "doctor", "{printed}");
        assert_eq!(last["status"], status, "{printed}");
        assert!(checks.iter().all(|check| check["event"] == "check"), "{printed}");
        Self { status, checks: checks.to_vec(), last: last.clone(), printed }
    }

    /// The one check of this name.
    fn check(&self, name: &str) -> &Value {
        let mut found = self.checks.iter().filter(|check| check["name"] == name);
        let check = found.next().unwrap_or_else(|| panic!("no check {name}\n{}", self.printed));
        assert!(found.next().is_none(), "several checks {name}\n{}", self.printed);
        check
    }

    fn names(&self) -> Vec<&str> {
        self.checks.iter().map(|check| check["name"].as_str().unwrap()).collect()
    }

    fn assert_ok(&self, names: &[&str]) {
        for name in names {
            assert_eq!(self.check(name)["status"], "ok", "{name}\n{}", self.printed);
        }
    }

    /// A check with this status, whose detail and advice have these words in them.
    fn assert_found(&self, name: &str, status: &str, detail: &str, fix: &str) {
        let check = self.check(name);
        assert_eq!(check["status"], status, "{}", self.printed);
        let has = |field: &str, words: &str| check[field].as_str().is_some_and(|text| text.contains(words));
        assert!(has("detail", detail) && has("fix", fix), "{name} lacks {detail:?} or {fix:?}: {check}");
    }
}

fn peer(id: &str, broker: &str) -> Args {
    Args::new(["--id", id, "--broker", broker]).and(call::TEST_MEDIA)
}

/// A file that nobody else may read.
fn secret(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.write(name, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A TURN server and its login.
fn turn(coturn: &Coturn, dir: &TempDir, password: &str) -> Args {
    let file = secret(dir, "turn.pw", password);
    Args::new(["--ice", &coturn.udp_url(), "--ice-user", coturn::USER]).option("--ice-password-file", file)
}

fn login(user: &str, password: &str, dir: &TempDir) -> Args {
    Args::new(["--user", user]).option("--password-file", secret(dir, "broker.pw", password))
}

// ---- all is well ----

#[test]
fn all_is_well() {
    let _turn = Turn::small_call();
    let (mosquitto, coturn, dir) = (Mosquitto::password(), Coturn::long_term(), TempDir::new("secrets"));
    let args = peer("alice", &mosquitto.url())
        .and(login("alice", password_of("alice"), &dir))
        .and(turn(&coturn, &dir, coturn::PASSWORD))
        .and(["--ice", &coturn.stun_url()]);
    let found = Found::by(args);
    assert_eq!(found.status, 0, "{}", found.printed);
    let names = ["settings", "seal", "broker", "login", "presence", "topics", "stun", "nat", "turn", "relay", "direct"];
    let devices = ["camera", "microphone", "speaker", "terminal", "clock"];
    assert_eq!(found.names(), [&names[..], &devices[..]].concat());
    found.assert_ok(&names);
    found.assert_ok(&["camera", "microphone", "clock"]);
    for asked in ["speaker", "terminal"] {
        assert_eq!(found.check(asked)["status"], "skipped", "{}", found.printed);
    }
    assert!(found.check("relay")["detail"].as_str().unwrap().contains("relay to relay"), "{}", found.printed);
    for codec in ["h264", "vp8"] {
        assert!(found.check("direct")["detail"].as_str().unwrap().contains(codec), "{}", found.printed);
    }
    for word in [password_of("alice"), coturn::PASSWORD] {
        assert!(!found.printed.contains(word), "a secret is shown: {}", found.printed);
    }
}

#[test]
fn each_check_is_one_object_with_all_its_fields() {
    let mosquitto = Mosquitto::anonymous();
    let found = Found::by(peer("alice", &mosquitto.url()));
    assert_eq!(found.status, 0, "{}", found.printed);
    for check in &found.checks {
        let keys: Vec<&String> = check.as_object().unwrap().keys().collect();
        for key in ["name", "target", "status", "detail", "fix", "millis", "v", "ts", "call_id", "peer"] {
            assert!(keys.iter().any(|found| *found == key), "{key} is missing: {check}");
        }
        let status = check["status"].as_str().unwrap();
        assert!(["ok", "warning", "failed", "skipped"].contains(&status), "{check}");
        assert_eq!(check["fix"].is_string(), ["warning", "failed"].contains(&status), "{check}");
        assert!(check["millis"].as_f64().is_some_and(|ms| (0.0..20_000.0).contains(&ms)), "{check}");
    }
    let counted = |status: &str| found.checks.iter().filter(|check| check["status"] == status).count();
    assert_eq!(found.last["failed"], json!(counted("failed")));
    assert_eq!(found.last["warnings"], json!(counted("warning")));
    assert_eq!(found.check("broker")["target"], json!(mosquitto.url()));
}

#[test]
fn text_has_marks_and_no_colours_outside_a_terminal() {
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("folder"));
    let run = |args: Args| {
        let output = Tring::command(Args::new(["doctor"]).and(args)).output(dir.path());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, text) = run(peer("alice", &mosquitto.url()));
    assert_eq!(status, Some(0), "{text}");
    assert!(!text.contains('\u{1b}') && text.ends_with("a call could work here\n"), "{text}");
    for line in ["ok      broker     mqtt://", "ok      topics     ", "skipped turn       "] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line:?} is missing\n{text}");
    }
    let nowhere = format!("mqtt://127.0.0.1:{}", free_port());
    let (status, text) = run(peer("alice", &nowhere).and(["--quiet"]));
    assert_eq!(status, Some(20), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("failed  broker") && lines[1].trim_start().starts_with("try: "), "{text}");
    assert_eq!(lines.last(), Some(&"a call would not work here: the broker is not reached, status 20 (1 failed)"));
}

#[test]
fn a_terminal_gets_colours() {
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("folder"));
    let program = PROGRAM;
    let broker = mosquitto.url();
    let media = "--video test --audio tone --play none";
    let tmux = Tmux::run(&format!("{program} doctor --id alice --broker {broker} {media}"), dir.path());
    let shown = tmux.until("the last line", |shown| shown.contains("a call could work here"));
    // Green, and the size and colours that this terminal has.
    assert!(shown.contains("\u{1b}[32mok"), "{shown}");
    assert!(shown.contains("100x40 characters, 24-bit colour"), "{shown}");
    assert!(shown.contains("a call would use the terminal"), "{shown}");
}

#[test]
fn a_window_is_opened_where_a_call_would_open_one() {
    let (mosquitto, xvfb) = (Mosquitto::anonymous(), Xvfb::start());
    let args = Args::new(["--id", "alice", "--broker", &mosquitto.url(), "--video", "none", "--audio", "none"]);
    let args = args.and(["--play", "none"]);
    let found = Found::in_environment(args.clone(), vec![("DISPLAY", xvfb.display().to_owned())]);
    assert_eq!((found.status, &found.check("terminal")["status"]), (0, &json!("ok")), "{}", found.printed);
    assert!(found.check("terminal")["detail"].as_str().unwrap().contains("it opens"), "{}", found.printed);
    let found = Found::in_environment(args, vec![("DISPLAY", ":4711".to_owned())]);
    assert_eq!(found.status, 0, "{}", found.printed);
    found.assert_found("terminal", "warning", "X11 :4711", "--show terminal");
}

// ---- the broker ----

#[test]
fn a_broker_that_is_down_is_20_and_the_rest_is_still_looked_at() {
    let (coturn, dir) = (Coturn::long_term(), TempDir::new("secrets"));
    let port = free_port();
    let args = peer("alice", &format!("mqtt://127.0.0.1:{port}")).and(turn(&coturn, &dir, coturn::PASSWORD));
    let found = Found::by(args);
    assert_eq!(found.status, 20, "{}", found.printed);
    found.assert_found("broker", "failed", &format!("nothing listens on port {port}"), "start the broker");
    for name in ["login", "presence", "topics"] {
        assert_eq!(found.check(name)["status"], "skipped", "{}", found.printed);
    }
    found.assert_ok(&["turn", "relay", "direct", "camera", "microphone"]);
}

#[test]
fn a_missing_file_is_told_though_the_broker_is_down_too() {
    let (port, dir) = (free_port(), TempDir::new("files"));
    let args = peer("alice", &format!("mqtts://127.0.0.1:{port}")).option("--ca-file", dir.file("no.pem"));
    let found = Found::by(args);
    found.assert_found("broker", "failed", &format!("nothing listens on port {port}"), "start the broker");
    found.assert_found("tls", "failed", "no.pem", "another file");
    assert_eq!(found.check("login")["status"], "skipped", "{}", found.printed);
}

#[test]
fn a_name_that_does_not_resolve_is_20() {
    let found = Found::by(peer("alice", "mqtt://no-such-host.invalid"));
    assert_eq!(found.status, 20, "{}", found.printed);
    found.assert_found("broker", "failed", "no address", "spelled right");
}

#[test]
fn a_server_that_says_nothing_is_20_in_time() {
    // Connections are taken in by the system and never looked at.
    let silent = TcpListener::bind(loopback(0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let found = Found::by(peer("alice", &format!("mqtt://127.0.0.1:{port}")));
    assert_eq!(found.status, 20, "{}", found.printed);
    found.assert_found("login", "failed", "answers neither MQTT nor TLS nor HTTP", "port");
    let found = Found::by(peer("alice", &format!("wss://127.0.0.1:{port}")));
    assert_eq!(found.status, 20, "{}", found.printed);
    found.assert_found("tls", "failed", "answers neither MQTT nor TLS nor HTTP", "port");
}

#[test]
fn one_broker_that_works_makes_up_for_one_that_is_down() {
    let mosquitto = Mosquitto::anonymous();
    let nowhere = format!("mqtt://127.0.0.1:{}", free_port());
    let found = Found::by(peer("alice", &nowhere).and(["--broker", &mosquitto.url()]));
    assert_eq!(found.status, 0, "{}", found.printed);
    assert_eq!(found.last["failed"], 1, "{}", found.printed);
}

#[test]
fn a_wrong_password_is_21() {
    let (mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    let found = Found::by(peer("alice", &mosquitto.url()).and(login("alice", "wrong-one", &dir)));
    assert_eq!(found.status, 21, "{}", found.printed);
    found.assert_ok(&["broker"]);
    found.assert_found("login", "failed", "refused the login of user \"alice\"", "--password-file");
    assert!(!found.printed.contains("wrong-one"), "{}", found.printed);
}

#[test]
fn packets_that_are_too_small_for_an_offer_are_21() {
    let mosquitto = Mosquitto::with("max_packet_size 1500");
    let found = Found::by(peer("alice", &mosquitto.url()));
    assert_eq!(found.status, 21, "{}", found.printed);
    found.assert_found("topics", "failed", "small messages pass", "max_packet_size");
    assert!(!found.printed.contains("taken over"), "{}", found.printed);
    let lossy = Mosquitto::with("message_size_limit 1500");
    let found = Found::by(peer("alice", &lossy.url()));
    assert_eq!(found.status, 21, "{}", found.printed);
    found.assert_found("topics", "failed", "loses it without a word", "message_size_limit");
}

#[test]
fn what_speaks_something_else_is_named() {
    let (plain, tls) = (Mosquitto::anonymous(), Mosquitto::tls());
    let found = Found::by(peer("alice", &plain.url().replace("mqtt://", "mqtts://")));
    assert_eq!(found.status, 20, "{}", found.printed);
    found.assert_found("tls", "failed", "speaks MQTT without TLS", "mqtt://");
    let found = Found::by(peer("alice", &tls.url().replace("mqtts://", "mqtt://")));
    assert_eq!(found.status, 20, "{}", found.printed);
    found.assert_found("login", "failed", "speaks TLS", "mqtts://");
}

#[test]
fn flaws_of_a_certificate_are_told_apart() {
    for (flaw, detail, fix) in [
        (Flaw::Expired, "has expired", "renew"),
        (Flaw::OtherName, "but for elsewhere.example", "one of these"),
        (Flaw::SelfSigned, "CA:TRUE", "CA:FALSE"),
    ] {
        let mosquitto = Mosquitto::flawed(flaw);
        let found = Found::by(peer("alice", &mosquitto.url()).option("--ca-file", mosquitto.ca_file()));
        assert_eq!(found.status, 20, "{}", found.printed);
        found.assert_found("tls", "failed", detail, fix);
    }
}

// ---- TURN over TCP and TLS ----

#[test]
fn each_transport_of_a_turn_server_has_a_row_and_a_relayed_loop() {
    let _turn = Turn::call();
    let (mosquitto, coturn, dir) = (Mosquitto::anonymous(), Coturn::long_term(), TempDir::new("secrets"));
    let args = peer("alice", &mosquitto.url()).and(turn(&coturn, &dir, coturn::PASSWORD));
    let args = args.and(["--ice", &coturn.tcp_url(), "--ice", &coturn.tls_url()]).option("--ca-file", coturn.ca_file());
    let found = Found::by(args);
    assert_eq!(found.status, 0, "{}", found.printed);
    for (name, words) in [("turn", ["through the relay"; 3]), ("relay", ["over udp", "TURN over TCP", "TURN over TLS"])]
    {
        let rows: Vec<&Value> = found.checks.iter().filter(|check| check["name"] == name).collect();
        let targets = rows.iter().map(|row| row["target"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(targets, [coturn.udp_url(), coturn.tcp_url(), format!("{}?transport=tcp", coturn.tls_url())]);
        for (row, words) in rows.iter().zip(words) {
            assert_eq!(row["status"], "ok", "{}", found.printed);
            assert!(row["detail"].as_str().unwrap().contains(words), "{row}");
        }
    }
}

#[test]
fn flaws_of_a_turn_servers_certificate_are_told_apart() {
    for (flaw, detail, fix) in [
        (Flaw::Expired, "has expired", "renew it at the TURN server"),
        (Flaw::OtherName, "but for elsewhere.example", "in --ice"),
        (Flaw::SelfSigned, "CA:TRUE", "CA:FALSE"),
    ] {
        let (mosquitto, coturn, dir) = (Mosquitto::anonymous(), Coturn::flawed(flaw), TempDir::new("secrets"));
        let file = secret(&dir, "turn.pw", coturn::PASSWORD);
        let args = peer("alice", &mosquitto.url()).and(["--ice", &coturn.tls_url(), "--ice-user", coturn::USER]);
        let found = Found::by(args.option("--ice-password-file", file).option("--ca-file", coturn.ca_file()));
        assert_eq!(found.status, 22, "{}", found.printed);
        found.assert_found("turn", "failed", detail, fix);
        assert_eq!(found.check("relay")["status"], "skipped", "{}", found.printed);
    }
}

#[test]
fn what_is_no_turn_server_over_tcp_or_tls_is_told_by_its_cause() {
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("secrets"));
    // It takes connections and says nothing.
    let (closed, listener) = (free_port(), TcpListener::bind(loopback(0)).unwrap());
    let mute = listener.local_addr().unwrap().port();
    for (url, detail, fix) in [
        (format!("turn:127.0.0.1:{closed}?transport=tcp"), "connection refused", "start the server"),
        (format!("turns:127.0.0.1:{mute}"), "no answer to TLS within 3 s", "port"),
        (format!("turn:127.0.0.1:{mute}?transport=tcp"), "no answer within 3 s", "TCP port"),
    ] {
        let file = secret(&dir, "turn.pw", coturn::PASSWORD);
        let args = peer("alice", &mosquitto.url()).and(["--ice", &url, "--ice-user", coturn::USER]);
        let found = Found::by(args.option("--ice-password-file", file));
        assert_eq!(found.status, 22, "{}", found.printed);
        found.assert_found("turn", "failed", detail, fix);
    }
}

#[test]
fn rules_against_call_topics_are_21() {
    let (mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    // Its rules know the default topics alone.
    let args = peer("alice", &mosquitto.url()).and(login("alice", password_of("alice"), &dir));
    let found = Found::by(args.and(["--topic", "elsewhere/{from}/{to}"]));
    assert_eq!(found.status, 21, "{}", found.printed);
    found.assert_ok(&["login", "presence"]);
    found.assert_found("topics", "failed", "elsewhere/alice/alice", "must let alice write");
}

#[test]
fn rules_against_presence_are_21() {
    let (mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    // Without rules of its own: bob's login writes alice's presence, which no rule allows.
    let args = peer("alice", &mosquitto.url()).and(login("bob", password_of("bob"), &dir));
    let found = Found::by(args);
    assert_eq!(found.status, 21, "{}", found.printed);
    found.assert_found("presence", "failed", "tring/presence/alice", "access rules");
}

#[test]
fn bare_topics_that_one_may_not_read_oneself_are_no_failure() {
    let (mut mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    let rules = std::fs::read_to_string(servers_dir().join("mosquitto.acl")).unwrap();
    assert!(rules.contains("pattern readwrite %u"), "the rules let one hear oneself");
    mosquitto.set_rules(&rules.replace("pattern readwrite %u", "pattern write %u"));
    let args = peer("alice", &mosquitto.url()).and(login("alice", password_of("alice"), &dir));
    let found = Found::by(args.and(["--topic", "{from}"]));
    assert_eq!(found.status, 0, "{}", found.printed);
    found.assert_found("topics", "warning", "did not come back", "alice");
}

#[test]
fn a_running_program_with_the_same_id_is_not_thrown_off() {
    let mosquitto = Mosquitto::anonymous();
    let mut bob = call::listen(Args::new(["--id", "bob", "--broker", &mosquitto.url(), "--answer", "auto"]));
    let found = Found::by(peer("bob", &mosquitto.url()));
    assert_eq!(found.status, 0, "{}", found.printed);
    found.assert_found("login", "warning", "a program runs with the ID \"bob\" (available)", "another --id");
    assert_eq!(found.check("topics")["status"], "skipped", "{}", found.printed);
    assert!(bob.is_running() && bob.events_named("offline").is_empty(), "bob was thrown off");
    bob.signal("TERM");
    assert_eq!(bob.wait_exit(PATIENCE), 0);
    // Now that nobody has the ID it is looked at in full.
    let found = Found::by(peer("bob", &mosquitto.url()));
    found.assert_ok(&["login", "presence", "topics"]);
}

#[test]
fn a_running_program_whose_broker_gives_a_login_one_connection_comes_back() {
    let (mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    let link = || Args::new(["--id", "bob", "--broker", &mosquitto.url()]).and(login("bob", password_of("bob"), &dir));
    let mut bob = call::listen(link().and(["--answer", "auto"]));
    let found = Found::by(link().and(call::TEST_MEDIA));
    assert_eq!(found.status, 0, "{}", found.printed);
    found.assert_found("login", "warning", "one connection", "another --id");
    bob.wait_event("online", PATIENCE);
    assert!(bob.is_running());
}

#[test]
fn a_trusted_certificate_has_a_date_and_an_untrusted_one_a_cause() {
    let mosquitto = Mosquitto::tls();
    let trusted = Args::new(["--ca-file"]).and([mosquitto.ca_file()]);
    for url in [mosquitto.url(), mosquitto.websocket_url()] {
        let found = Found::by(peer("alice", &url).and(trusted.clone()));
        assert_eq!(found.status, 0, "{}", found.printed);
        assert_eq!(found.check("tls")["status"], "ok", "{}", found.printed);
        assert!(found.check("tls")["detail"].as_str().unwrap().contains("trusted until 20"), "{}", found.printed);
        found.assert_ok(&["login", "presence", "topics"]);
    }
    let found = Found::by(peer("alice", &mosquitto.url()));
    assert_eq!(found.status, 20, "{}", found.printed);
    found.assert_found("tls", "failed", "not trusted", "--ca-file");
    assert_eq!(found.check("login")["status"], "skipped");
    let plain = Mosquitto::anonymous();
    let found = Found::by(peer("alice", &plain.url().replace("mqtt://", "mqtts://")));
    assert_eq!(found.status, 20, "{}", found.printed);
    assert_eq!(found.check("tls")["status"], "failed", "{}", found.printed);
}

#[test]
fn a_broker_that_wants_a_client_certificate_says_so() {
    let mosquitto = Mosquitto::tls_with_client_certificate();
    let args = || peer("alice", &mosquitto.url()).option("--ca-file", mosquitto.ca_file());
    let found = Found::by(args());
    assert_eq!(found.status, 20, "{}", found.printed);
    assert!(found.printed.contains("--cert"), "{}", found.printed);
    let (certificate, key) = mosquitto.client_certificate();
    let found = Found::by(args().option("--cert", certificate).option("--key", key));
    assert_eq!(found.status, 0, "{}", found.printed);
    found.assert_ok(&["tls", "login", "presence", "topics"]);
}

// ---- STUN and TURN ----

#[test]
fn a_turn_server_that_refuses_is_22_with_the_cause() {
    let _turn = Turn::small_call();
    let (mosquitto, coturn, dir) = (Mosquitto::anonymous(), Coturn::long_term(), TempDir::new("secrets"));
    let found = Found::by(peer("alice", &mosquitto.url()).and(turn(&coturn, &dir, "wrong-one")));
    assert_eq!(found.status, 22, "{}", found.printed);
    found.assert_found(
        "turn",
        "failed",
        "refuses the login of \"alice\" in realm \"tring.test\" (401)",
        "--ice-password-file",
    );
    assert_eq!(found.check("relay")["status"], "skipped", "{}", found.printed);
    assert!(!found.printed.contains("wrong-one"), "{}", found.printed);
    found.assert_ok(&["direct"]);
}

#[test]
fn servers_that_are_not_there_say_so() {
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("secrets"));
    // Held, and silent.
    let silent = UdpSocket::bind(loopback(0)).unwrap();
    let (closed, silent_port) = (free_port(), silent.local_addr().unwrap().port());
    let file = secret(&dir, "turn.pw", "secret");
    for (port, detail, fix) in [(closed, "nothing listens", "start the server"), (silent_port, "no answer", "firewall")]
    {
        let (stun, turn) = (format!("stun:127.0.0.1:{port}"), format!("turn:127.0.0.1:{port}"));
        let args = peer("alice", &mosquitto.url()).and(["--ice", &stun, "--ice", &turn, "--ice-user", "alice"]);
        let found = Found::by(args.option("--ice-password-file", &file));
        assert_eq!(found.status, 22, "{}", found.printed);
        found.assert_found("turn", "failed", detail, fix);
        found.assert_found("stun", "warning", detail, fix);
        assert_eq!(found.check("nat")["status"], "skipped", "{}", found.printed);
    }
}

#[test]
fn one_turn_server_that_works_makes_up_for_one_that_is_not_there() {
    let _turn = Turn::small_call();
    let (mosquitto, coturn, dir) = (Mosquitto::anonymous(), Coturn::long_term(), TempDir::new("secrets"));
    let nowhere = format!("turn:127.0.0.1:{}", free_port());
    let args = peer("alice", &mosquitto.url()).and(["--ice", &nowhere]).and(turn(&coturn, &dir, coturn::PASSWORD));
    let found = Found::by(args);
    assert_eq!((found.status, &found.last["failed"]), (0, &json!(1)), "{}", found.printed);
}

#[test]
fn a_relay_that_forbids_its_own_addresses_is_22() {
    let coturn = Coturn::with("lt-cred-mech\nuser=alice:alice-secret\ndenied-peer-ip=127.0.0.0-127.255.255.255");
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("secrets"));
    let found = Found::by(peer("alice", &mosquitto.url()).and(turn(&coturn, &dir, coturn::PASSWORD)));
    assert_eq!(found.status, 22, "{}", found.printed);
    found.assert_found("turn", "failed", "(403)", "allowed-peer-ip");
}

#[test]
fn a_quota_that_is_used_up_is_22() {
    let coturn = Coturn::with("lt-cred-mech\nuser=alice:alice-secret\ntotal-quota=1\nverbose");
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("secrets"));
    let holder = hold_allocation(&coturn);
    let found = Found::by(peer("alice", &mosquitto.url()).and(turn(&coturn, &dir, coturn::PASSWORD)));
    drop(holder);
    assert_eq!(found.status, 22, "{}", found.printed);
    found.assert_found("turn", "failed", "(486)", "user-quota");
}

#[test]
fn a_relay_with_too_few_ports_for_two_is_22() {
    let _turn = Turn::small_call();
    let (coturn, mosquitto, dir) = (Coturn::with_ports(1), Mosquitto::anonymous(), TempDir::new("secrets"));
    let found = Found::by(peer("alice", &mosquitto.url()).and(turn(&coturn, &dir, coturn::PASSWORD)));
    assert_eq!(found.status, 22, "{}", found.printed);
    let relay = [found.check("turn"), found.check("relay")].into_iter().find(|check| check["status"] == "failed");
    let told = relay.unwrap_or_else(|| panic!("{}", found.printed)).to_string();
    assert!(told.contains("(508)") && told.contains("min-port"), "{told}");
}

#[test]
fn logins_that_expire_are_told_apart() {
    let _turn = Turn::small_call();
    let (mosquitto, coturn, dir) = (Mosquitto::anonymous(), Coturn::shared_secret(), TempDir::new("secrets"));
    let with = |text: &str| {
        let args = peer("alice", &mosquitto.url()).and(["--ice", &coturn.udp_url()]);
        Found::by(args.option("--ice-secret-file", secret(&dir, "turn.secret", text)))
    };
    let found = with(coturn::SECRET);
    assert_eq!(found.status, 0, "{}", found.printed);
    found.assert_ok(&["turn", "relay"]);
    assert!(!found.printed.contains(coturn::SECRET), "{}", found.printed);
    let found = with("south-secret");
    assert_eq!(found.status, 22, "{}", found.printed);
    found.assert_found("turn", "failed", "(401)", "--ice-secret-file");
    // One that somebody else made, an hour too long ago.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let user = format!("{}:alice", now - 3600);
    let file = secret(&dir, "turn.pw", "whatever");
    let args = peer("alice", &mosquitto.url()).and(["--ice", &coturn.udp_url(), "--ice-user", &user]);
    let found = Found::by(args.option("--ice-password-file", file));
    assert_eq!(found.status, 22, "{}", found.printed);
    found.assert_found("turn", "failed", "it expired at 20", "new login");
}

#[test]
fn relay_only_needs_its_relay() {
    let _turn = Turn::small_call();
    let (mosquitto, coturn, dir) = (Mosquitto::anonymous(), Coturn::long_term(), TempDir::new("secrets"));
    let args = peer("alice", &mosquitto.url()).and(["--relay-only"]).and(turn(&coturn, &dir, coturn::PASSWORD));
    let found = Found::by(args);
    assert_eq!(found.status, 0, "{}", found.printed);
    found.assert_ok(&["turn", "relay", "direct"]);
}

// ---- devices ----

#[test]
fn missing_devices_are_25_and_say_what_does_without() {
    let mosquitto = Mosquitto::anonymous();
    // The program runs without a sound server here.
    let found =
        Found::by(Args::new(["--id", "alice", "--broker", &mosquitto.url(), "--video", "camera:no-such-camera"]));
    assert_eq!(found.status, 25, "{}", found.printed);
    for (name, option) in [("camera", "--video none"), ("microphone", "--audio none"), ("speaker", "--play none")] {
        found.assert_found(name, "failed", "", option);
    }
    found.assert_ok(&["login", "direct"]);
}

#[test]
fn a_silent_microphone_is_a_warning_and_a_speaker_takes_sound() {
    let (mosquitto, pulse) = (Mosquitto::anonymous(), Pulse::start());
    let args = Args::new(["--id", "alice", "--broker", &mosquitto.url(), "--video", "none", "--show", "none"]);
    let found = Found::in_environment(args, pulse.env());
    assert_eq!(found.status, 0, "{}", found.printed);
    found.assert_found("microphone", "warning", "silence", "muted");
    found.assert_ok(&["speaker"]);
    assert_eq!(found.check("camera")["status"], "skipped", "{}", found.printed);
}

#[test]
fn a_password_that_others_can_read_is_a_warning() {
    let (mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    use std::os::unix::fs::PermissionsExt;
    let file = dir.write("open.pw", password_of("alice"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let args = peer("alice", &mosquitto.url()).and(["--user", "alice"]).option("--password-file", file);
    let found = Found::by(args);
    assert_eq!(found.status, 0, "{}", found.printed);
    let warned = found.checks.iter().find(|check| check["name"] == "settings" && check["status"] == "warning");
    assert!(warned.is_some_and(|check| check["fix"].as_str().unwrap().contains("chmod 600")), "{}", found.printed);
}

/// An allocation of somebody else, held until the process is dropped: turnutils_uclient keeps sending.
fn hold_allocation(coturn: &Coturn) -> Holder {
    use std::process::{Command, Stdio};
    let mut command = Command::new(require("turnutils_uclient", "coturn"));
    command.args(["-u", coturn::USER, "-w", coturn::PASSWORD, "-p", &coturn.port().to_string()]);
    // One packet a second to nobody, for longer than the test.
    command.args(["-c", "-m", "1", "-n", "600", "-z", "1000", "-e", "127.0.0.1", "-r", "9", "127.0.0.1"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let holder = Holder(child);
    let deadline = Instant::now() + PATIENCE;
    while !coturn.log().contains("ALLOCATE processed, success") {
        assert!(Instant::now() < deadline, "no allocation\n{}", coturn.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    holder
}

struct Holder(std::process::Child);

impl Drop for Holder {
    fn drop(&mut self) {
        signal_and_wait(&mut self.0, "TERM");
    }
}

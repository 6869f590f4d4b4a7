//! Where secrets go: a login to the servers that it was given for and to no others, files to their owner alone, and
//! variables to no program that does not need them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::TempDir;
use crate::support::call::TEST_MEDIA;
use crate::support::process::{Tring, TringCommand};

/// What must not leave.
const PASSWORD: &str = "home-secret";
const USER: &str = "homer";

/// Refuses every login, as a broker does (MQTT 3.1.1 §3.2.2.3), and keeps what was sent to it.
struct Stranger {
    port: u16,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Stranger {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keeping = Arc::clone(&heard);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                let mut bytes = vec![0; 4096];
                let length = stream.read(&mut bytes).unwrap_or(0);
                bytes.truncate(length);
                keeping.lock().unwrap().push(bytes);
                let _gone = stream.write_all(&[0x20, 2, 0, 5]);
            }
        });
        Self { port, heard }
    }

    fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// What came since the last look, as text; what is no text is of no interest here.
    fn heard(&self) -> String {
        let all: Vec<Vec<u8>> = std::mem::take(&mut *self.heard.lock().unwrap());
        String::from_utf8_lossy(&all.concat()).into_owned()
    }
}

/// A home whose profile has these servers, and a login for each kind.
struct Home(TempDir);

impl Home {
    fn with(servers: &str) -> Self {
        let home = Self(TempDir::new("secrets"));
        std::fs::create_dir_all(home.0.path().join("config/tring")).unwrap();
        for file in ["config/tring/home.pw", "config/tring/turn.pw"] {
            let path = home.0.write(file, PASSWORD);
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let login =
            format!("user = '{USER}'\npassword-file = 'home.pw'\nice-user = '{USER}'\nice-password-file = 'turn.pw'");
        let settings = format!("default-profile = 'home'\nid = 'alice'\n[profile.home]\n{servers}\n{login}\n");
        home.0.write("config/tring/config.toml", &settings);
        home
    }

    fn tring(&self, args: &[&str]) -> TringCommand {
        Tring::command(args).home(self.0.path())
    }

    fn run(&self, args: &[&str]) -> Output {
        self.tring(args).output(self.0.path())
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every command that connects, with what it needs to get so far, and how it ends at a broker that lets nobody in.
fn commands() -> Vec<(Vec<&'static str>, i32)> {
    let no_devices = ["--video", "none", "--audio", "none", "--play", "none", "--show", "none"];
    vec![
        ([&["call", "bob"][..], &TEST_MEDIA].concat(), 21),
        ([&["listen", "--answer", "auto"][..], &TEST_MEDIA].concat(), 21),
        (vec!["contacts", "--once"], 21),
        (vec!["trace"], 21),
        (vec!["agent", "--from-anyone"], 21),
        ([&["doctor"][..], &no_devices].concat(), 21),
        (vec!["load", "--calls", "1"], 21),
        (vec!["test", "smoke"], 30),
    ]
}

#[test]
fn another_broker_gets_no_login_of_the_profile() {
    let (home, stranger) = (Home::with("broker = 'mqtts://home.invalid'"), Stranger::new());
    let url = stranger.url();
    for (args, status) in commands() {
        for by_variable in [false, true] {
            let output = if by_variable {
                home.tring(&args).env("TRING_BROKER", &url).output(home.0.path())
            } else {
                home.run(&[&args[..], &["--broker", &url]].concat())
            };
            let (heard, said) = (stranger.heard(), stderr(&output));
            assert!(heard.contains("MQTT"), "{args:?} did not connect: {said}");
            assert!(!heard.contains(PASSWORD) && !heard.contains(USER), "{args:?} sent {heard:?}");
            assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
            let told = format!("are for mqtts://home.invalid, and are not sent to {url}; pass a login of its own");
            assert!(said.contains(&told), "{args:?}: {said}");
            if status == 21 && args[0] != "doctor" {
                let last = said.lines().last().unwrap();
                assert!(
                    last.contains("does not let us in without a login") && last.contains(&told),
                    "{args:?}: {said}"
                );
            }
            if args[0] == "doctor" {
                let shown = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(shown.contains("are not sent to") && shown.contains("--password-file"), "{shown}");
            }
        }
    }
}

#[test]
fn the_same_host_without_tls_is_another_broker_and_a_list_shares_its_login() {
    let stranger = Stranger::new();
    let secure = Home::with(&format!("broker = 'mqtts://127.0.0.1:{}'", stranger.port));
    let call = [&["call", "bob"][..], &TEST_MEDIA].concat();
    let url = stranger.url();
    let output = secure.run(&[&call[..], &["--broker", &url]].concat());
    assert!(!stranger.heard().contains(PASSWORD), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(21));
    // Nothing listens on port 9; the second of the list is as good as the first.
    let home = Home::with(&format!("broker = ['mqtt://127.0.0.1:9', '{url}']"));
    for broker in [&[][..], &["--broker", &url]] {
        let output = home.run(&[&call[..], broker].concat());
        let heard = stranger.heard();
        assert!(heard.contains(USER) && heard.contains(PASSWORD), "{broker:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("not sent"), "{}", stderr(&output));
    }
    // A login that is given with the other broker goes there.
    let file = home.0.write("other.pw", "other-secret");
    let url = format!("mqtt://localhost:{}", stranger.port);
    let own = ["--broker", &url, "--user", "other", "--password-file", file.to_str().unwrap()];
    let output = home.run(&[&call[..], &own].concat());
    let heard = stranger.heard();
    assert!(heard.contains("other-secret") && !heard.contains(PASSWORD), "{}", stderr(&output));
    // A password of its own with the user of the profile is half a login.
    let half = ["--broker", &url, "--password-file", file.to_str().unwrap()];
    let output = home.run(&[&call[..], &half].concat());
    assert_eq!((output.status.code(), stranger.heard()), (Some(2), String::new()));
    assert!(stderr(&output).contains("pass --user") && stderr(&output).contains("not sent to"), "{}", stderr(&output));
}

#[test]
fn a_scenario_that_names_a_broker_gets_no_login_of_the_options() {
    let (home, stranger) = (Home::with("broker = 'mqtts://home.invalid'"), Stranger::new());
    let theirs = format!("[settings]\nbroker = '{}'\n[peers.bob]\n[peers.alice]\ncalls = 'bob'\n", stranger.url());
    let file = home.0.write("theirs.toml", &theirs);
    let output = home.tring(&["test", file.to_str().unwrap()]).env("TRING_PASSWORD", PASSWORD).output(home.0.path());
    let (heard, said) = (stranger.heard(), stderr(&output));
    assert_eq!(output.status.code(), Some(30), "{said}");
    assert!(heard.contains("MQTT") && !heard.contains(PASSWORD) && !heard.contains(USER), "{heard:?}");
    assert!(said.contains("it is not sent their login"), "{said}");
}

#[test]
fn another_turn_server_gets_no_login_of_the_profile() {
    let home = Home::with("broker = 'mqtt://127.0.0.1:9'\nice = 'turn:home.invalid'");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let url = format!("turn:{}", socket.local_addr().unwrap());
    for command in [
        &["call", "bob"][..],
        &["listen", "--answer", "auto"],
        &["doctor"],
        &["load", "--broker", "mqtt://127.0.0.1:9"],
    ] {
        for by_variable in [false, true] {
            let output = if by_variable {
                home.tring(command).env("TRING_ICE", &url).output(home.0.path())
            } else {
                home.run(&[command, &["--ice", &url]].concat())
            };
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
            assert!(said.contains("needs credentials"), "{command:?}: {said}");
            let last = said.lines().last().unwrap();
            assert!(last.contains("ice-user and ice-password-file (profile home in"), "{command:?}: {said}");
            assert!(last.contains("are for turn:home.invalid, and are not sent to"), "{command:?}: {said}");
        }
    }
    assert!(socket.recv(&mut [0; 100]).is_err(), "nothing was sent");
}

#[test]
fn a_password_that_can_be_read_on_its_way_is_warned_of_once() {
    let home = Home::with("ice = 'stun:127.0.0.1:9'");
    let file = home.0.write("pw", PASSWORD);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    // Refused for the missing relay, once the login is known.
    let warned = |brokers: &[&str]| {
        let login = ["--user", "alice", "--password-file", file.to_str().unwrap(), "--relay-only"];
        let brokers: Vec<&str> = brokers.iter().flat_map(|broker| ["--broker", broker]).collect();
        let output = home.run(&[&["call", "bob"][..], &login, &brokers].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        stderr(&output).matches("unencrypted").count()
    };
    assert_eq!(warned(&["mqtt://192.0.2.1", "ws://192.0.2.2"]), 1);
    assert_eq!(warned(&["mqtts://192.0.2.1", "wss://192.0.2.2", "mqtt://127.0.0.1", "mqtt://localhost"]), 0);
}

#[test]
fn what_is_not_in_force_is_shown_with_its_reason() {
    let home = Home::with("broker = 'mqtts://home.invalid'");
    let output = home.run(&["config", "--broker", "mqtt://other"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("not in force: user (profile home in") && shown.contains("because of broker"), "{shown}");
    let user = shown.lines().find(|line| line.starts_with("user ")).unwrap();
    assert_eq!(user.split_whitespace().collect::<Vec<_>>(), ["user", "-", "default"]);
}

// ---- files ----

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

/// Every file and folder below this one.
fn all_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map_while(Result::ok) {
        if entry.path().is_dir() {
            all.extend(all_below(&entry.path()));
        }
        all.push(entry.path());
    }
    all
}

#[test]
fn what_a_test_leaves_is_for_its_owner_alone() {
    let dir = TempDir::new("modes");
    let args = ["test", "smoke", "--keep", "--record-all", "--junit", "junit.xml", "--report", "report.html"];
    let output = Tring::command(args).output(dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let left = all_below(dir.path());
    let names: Vec<String> = left.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    for name in ["junit.xml", "report.html", "outcome.txt", "alice.events.ndjson"] {
        assert!(names.iter().any(|there| there == name), "no {name}: {names:?}");
    }
    assert!(names.iter().any(|name| name.ends_with(".mp4") || name.ends_with(".webm")), "no recording: {names:?}");
    for path in &left {
        assert_eq!(mode(path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
}

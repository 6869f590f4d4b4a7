//! What the whole-program tests stand on: the program itself, and real servers around it.
//!
//! - [`process::Tring`]: the program under test, driven and read as NDJSON; [`call`]: a whole call of two, judged
//! - [`chromium`]: a browser with the page of `tests/browser`, a peer of another make; [`aiortc`]: those of a third and
//!   a fourth, in Python; [`mallory`]: a stranger
//! - [`mosquitto`], [`activemq`], [`coturn`], [`pulse`]: real servers on free ports of loopback, one of their own a test;
//!   [`broker`]: one and the same test over each broker
//! - [`served`]: the program's own servers
//! - [`people`]: the keys of peers, so that a test opens what they seal
//! - [`lab`]: peers behind NATs, in network namespaces; [`proxy`]: an HTTP or SOCKS5 proxy
//! - [`screen`]: a terminal and a desktop to look at; [`sound`]: frequencies measured
//! - [`turn`]: which tests run beside each other
//! - [`daemon::Daemon`]: what servers share: a log, readiness that is seen and never guessed, an end by process ID
//!
//! Nothing here skips: a program that is missing fails the test with the package to install. What needs a kernel that
//! lets it, as [`lab`] does, says aloud that it did not run ([`did_not_run`]), and fails where `CI` is set.
#![allow(unreachable_pub, reason = "nothing is reached from outside of a test binary")]

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub mod activemq;
pub mod aiortc;
pub mod broker;
pub mod call;
pub mod certificates;
pub mod chromium;
pub mod coturn;
pub mod daemon;
pub mod lab;
pub mod mallory;
pub mod mosquitto;
pub mod people;
pub mod process;
pub mod proxy;
pub mod pulse;
pub mod screen;
pub mod served;
pub mod sound;
pub mod turn;

/// How long anything may take before a test fails: far above what it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The users every broker with logins knows, each with its password; their names are their peer IDs.
pub const USERS: [(&str, &str); 3] = [("alice", "alice-secret"), ("bob", "bob-secret"), ("mallory", "mallory-secret")];

/// The password of one of [`USERS`].
pub fn password_of(user: &str) -> &'static str {
    USERS.iter().find(|(name, _)| *name == user).map(|(_, password)| *password).expect("one of USERS")
}

/// Arguments that make the program the peer `id` of a broker without logins.
pub fn peer(id: &str, broker: &str) -> Vec<String> {
    ["--id", id, "--broker", broker].map(str::to_owned).to_vec()
}

/// [`peer`] alice.
pub fn alice(broker: &str) -> Vec<String> {
    peer("alice", broker)
}

/// [`peer`] bob.
pub fn bob(broker: &str) -> Vec<String> {
    peer("bob", broker)
}

/// The path of a program that a test cannot do without.
///
/// # Panics
/// With the package that has it, when it is not installed.
pub fn require(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Daemons live in sbin, which is not on every user's path.
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    places
        .map(|place| place.join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("{program} is missing, install {package}: apt-get install {package}"))
}

/// For a test that cannot run on this machine, before it returns: says so, whether output is captured or not.
///
/// # Panics
/// Where `CI` is set: there, what was not tested has not passed.
pub fn did_not_run(why: &str) {
    let text = format!("\n==== NOT RUN, nothing was tested ====\n{why}\n\n");
    let is_ci = std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    assert!(!is_ci, "{text}What cannot run fails where CI is set.");
    // Not by a macro: those are silent in tests that pass.
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// Runs a program to its end.
///
/// # Panics
/// With all its output, when it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// Ends a child by a signal (its name without SIG), by force when that does not help, and waits for it.
pub fn signal_and_wait(child: &mut Child, name: &str) {
    const END_TIMEOUT: Duration = Duration::from_secs(10);
    let deadline = Instant::now() + END_TIMEOUT;
    if child.try_wait().unwrap().is_none() {
        daemon::signal(child.id(), name);
    }
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            // An error means that it has just ended.
            let _ = child.kill();
            child.wait().unwrap();
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A directory of its own for a test; removed at the end, unless the test failed.
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes one; `name` is for the reader of a failure.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("tring-{}-{}-{name}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file into it, readable by the user a daemon drops its rights to.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.0.display());
        } else {
            // A daemon that is just ending may still write; what stays is the system's to clean.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A template of `tests/servers` with its placeholders (`@NAME@`) filled in.
///
/// # Panics
/// When a placeholder is not in the template, or one stays unfilled in a line that counts.
pub fn template(name: &str, values: &[(&str, &str)]) -> String {
    let path = servers_dir().join(name);
    let mut text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Comments speak of the placeholders and stay as they are.
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (placeholder, value) in values {
        assert!(text.contains(placeholder), "{name} has no {placeholder}");
        for line in lines.iter_mut().filter(|line| !line.starts_with('#')) {
            *line = line.replace(placeholder, value);
        }
    }
    text = lines.join("\n") + "\n";
    let unfilled = text.lines().find(|line| !line.starts_with('#') && line.contains('@'));
    assert_eq!(unfilled, None, "{name}: a placeholder is left");
    text
}

/// Where the templates and the Java source are.
pub fn servers_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers")
}

/// A port of loopback that is free for TCP and UDP now.
///
/// It is below the ephemeral range of Linux, so that no outgoing connection takes it before the server does, or while
/// the server is being restarted; other test processes begin their search elsewhere.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of `count` consecutive free ports.
pub fn free_ports(count: u16) -> u16 {
    const FIRST: u16 = 15_000;
    const LAST: u16 = 32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 160).expect("below 160") * 100;
    for _ in 0..LAST - FIRST {
        let offset = spread.wrapping_add(NEXT.fetch_add(count, Ordering::Relaxed)) % (LAST - FIRST - count);
        let ports = FIRST + offset..FIRST + offset + count;
        if ports.clone().all(is_free) {
            return ports.start;
        }
    }
    panic!("no {count} free ports between {FIRST} and {LAST}");
}

fn is_free(port: u16) -> bool {
    let addr = loopback(port);
    TcpListener::bind(addr).is_ok() && UdpSocket::bind(addr).is_ok()
}

/// This machine's own address with a port.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A kernel that allows no namespaces, as a test of the lab finds it: by an `ip` that is refused everything.
#[test]
fn what_cannot_run_says_so_and_fails_where_ci_is_set() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new("no-namespaces");
    let ip = dir.write("ip", "#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n");
    std::fs::set_permissions(&ip, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let run = |ci: &str| {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "lab::two_cones_meet_by_stun"]).env("PATH", &path).env("CI", ci);
        test.output().unwrap()
    };
    for (ci, succeeds) in [("", true), ("0", true), ("false", true), ("true", false), ("1", false)] {
        let output = run(ci);
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert_eq!(output.status.success(), succeeds, "CI={ci:?}: {said}");
        assert!(said.contains("NOT RUN") && said.contains("1 test"), "CI={ci:?}: {said}");
    }
}

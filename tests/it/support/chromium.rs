//! Chromium without a screen, showing the page of `tests/browser`, which is a peer of its own making.
//!
//! - in: the settings of the page, behind the `#` of its address (page.js lists them)
//! - out: its events, one line of JSON each in the console, which Chromium copies to its standard error
//! - camera, microphone and their permission are Chromium's own fakes; it is ended with all its processes

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{TempDir, require, run};

/// What an event of the page begins with, and what Chromium writes behind it.
const PREFIX: &str = "tring-page ";
const SOURCE: &str = "\", source: ";

const FLAGS: [&str; 18] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--window-size=800,900",
    "--enable-logging=stderr",
    // Nothing but what the page asks for.
    "--no-first-run",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    // Modules of a page from a file.
    "--allow-file-access-from-files",
    // Media without a device, a question or a click.
    "--use-fake-device-for-media-stream=fps=30",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    // Two peers on one machine: no names in place of addresses, and loopback counts as one.
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    // A busy machine is not to be saved from work.
    "--disable-background-timer-throttling",
];

/// A running Chromium with the page; killed, with all its processes, when dropped.
pub struct Chromium {
    child: Child,
    lines: Receiver<String>,
    events: Vec<Value>,
    /// the events of these indices no `wait_event` has returned yet
    waiting: VecDeque<usize>,
    /// what it wrote beside events, for the reader of a failure
    noise: Vec<String>,
    _profile: TempDir,
}

impl Chromium {
    /// Opens the page with these settings.
    ///
    /// # Panics
    /// With the package to install, when there is no Chromium.
    pub fn open(settings: &[(&str, &str)]) -> Self {
        Self::open_with(&[], settings)
    }

    /// The same, and it takes any certificate: those of the tests are of authorities that it does not know.
    ///
    /// # Panics
    /// With the package to install, when there is no Chromium.
    pub fn open_trustful(settings: &[(&str, &str)]) -> Self {
        Self::open_with(&["--ignore-certificate-errors"], settings)
    }

    fn open_with(flags: &[&str], settings: &[(&str, &str)]) -> Self {
        let profile = TempDir::new("chromium");
        let mut command = Command::new(require("chromium", "chromium"));
        command
            .args(FLAGS)
            .args(flags)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(page(settings));
        // It writes beside its profile too.
        command.env("HOME", profile.path()).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // A group of its own, so that all its processes can be ended together.
        let mut child = command.process_group(0).spawn().expect("chromium starts");
        let (sender, lines) = channel();
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        // Ends with the last process that holds the other end of the pipe.
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while stderr.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, events: Vec::new(), waiting: VecDeque::new(), noise: Vec::new(), _profile: profile }
    }

    /// Waits for the next event of this name; those of other names are kept for later calls.
    ///
    /// # Panics
    /// With all events and messages, when it does not come in time, the page reports an error, or Chromium ends.
    pub fn wait_event(&mut self, name: &str, timeout: Duration) -> Value {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(place) = self.waiting.iter().position(|index| self.events[*index]["event"] == name) {
                let index = self.waiting.remove(place).expect("just found");
                return self.events[index].clone();
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.take(line),
                Err(RecvTimeoutError::Timeout) => panic!("the page told no `{name}` within {timeout:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("chromium ended without `{name}`"),
            }
        }
    }

    /// Stops all its processes, or lets them go on.
    pub fn stand_still(&self, still: bool) {
        let name = if still { "STOP" } else { "CONT" };
        let script = format!("kill -s {name} -- -{}", self.child.id());
        run(Command::new("sh").args(["-c", &script]));
    }

    fn take(&mut self, line: String) {
        let Some(event) = event(&line) else {
            self.noise.push(line);
            return;
        };
        let failed = event["event"] == "error";
        self.waiting.push_back(self.events.len());
        self.events.push(event);
        assert!(!failed, "the page reports an error");
    }
}

/// The event that a line of Chromium's log holds: `[…:CONSOLE:27] "tring-page {…}", source: file:///… (27)`.
fn event(line: &str) -> Option<Value> {
    let (_, message) = line.split_once(PREFIX)?;
    let (json, _) = message.rsplit_once(SOURCE)?;
    serde_json::from_str(json).ok()
}

/// The address of the page. Values are URLs and plain words; only what would end one is escaped.
fn page(settings: &[(&str, &str)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/page.html");
    let escape = |value: &str| value.replace('%', "%25").replace('&', "%26").replace('+', "%2B").replace('#', "%23");
    let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    format!("file://{}#{}", file.display(), settings.join("&"))
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // By group: the browser process alone would leave its children a moment to live.
        let script = format!("kill -s KILL -- -{}", self.child.id());
        // An error of either means that it has already ended.
        let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
        let _ = self.child.kill();
        let status = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- chromium (process {}, {status:?}) ----", self.child.id());
            self.noise.iter().for_each(|line| eprintln!("{line}"));
            self.lines.try_iter().for_each(|line| eprintln!("{line}"));
            eprintln!("---- events of the page ----");
            self.events.iter().for_each(|event| eprintln!("{event}"));
            eprintln!("----");
        }
    }
}

//! WebRTC clients in Python, peers that share no code with the program: by aiortc that of `tests/apprtc`, and that of
//! `tests/foreign`, which speaks tring's own protocol; by GStreamer another of `tests/apprtc`.
//!
//! - in: its arguments (`peer.py --help` lists them); of the second also orders, one line of JSON each
//! - out: its events, one line of JSON each

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use serde_json::Value;

use super::{PATIENCE, TempDir};

/// The running client; killed, and waited for, when dropped.
pub struct Aiortc {
    child: Child,
    orders: ChildStdin,
    lines: Receiver<String>,
    /// every event so far, in order
    events: Vec<Value>,
    /// the events of these indices no `wait_event` has returned yet
    waiting: VecDeque<usize>,
    dir: TempDir,
}

impl Aiortc {
    /// Starts that of `tests/apprtc` and waits until it hears its partner.
    ///
    /// # Panics
    /// With what to do, when its Python is not there.
    pub fn start(args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self::start_script("tests/apprtc/peer.py", args)
    }

    /// Starts one of them and waits until it hears its partner.
    ///
    /// # Panics
    /// With what to do, when its Python is not there.
    pub fn start_script(script: &str, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self::start_by(&python(), script, args)
    }

    /// Starts GStreamer's and waits until it hears its partner. The bindings are those of the system's Python; where
    /// something is missing, the client ends and says which packages have it.
    pub fn start_gstreamer(args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self::start_by(Path::new("/usr/bin/python3"), "tests/apprtc/gstreamer.py", args)
    }

    fn start_by(python: &Path, script: &str, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = TempDir::new("client");
        let mut command = Command::new(python);
        command.arg(root.join(script)).args(args.into_iter().map(Into::into));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(dir.file("stderr")).unwrap());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let orders = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut client = Self { child, orders, lines, events: Vec::new(), waiting: VecDeque::new(), dir };
        client.wait_event("online");
        client
    }

    /// Waits for the next event of this name; those of other names are kept for later calls.
    ///
    /// # Panics
    /// With all events and its standard error, when it does not come in time or the client ends first.
    pub fn wait_event(&mut self, name: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.waiting.iter().position(|index| self.events[*index]["event"] == name) {
                let index = self.waiting.remove(place).expect("just found");
                return self.events[index].clone();
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.waiting.push_back(self.events.len());
                    self.events.push(serde_json::from_str(&line).unwrap_or_else(|_| panic!("no event: {line}")));
                }
                Err(RecvTimeoutError::Timeout) => panic!("the client told no `{name}` within {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the client ended without `{name}`"),
            }
        }
    }

    /// Tells it to do something.
    pub fn order(&mut self, what: &str) {
        writeln!(self.orders, "{{\"do\":\"{what}\"}}").expect("it runs");
    }

    /// Waits for a message of its partner of this type, from those that no call has returned yet.
    pub fn hears(&mut self, kind: &str) -> Value {
        loop {
            let heard = self.wait_event("heard");
            if heard["type"] == kind {
                return heard;
            }
        }
    }

    /// The types of the messages it heard so far.
    pub fn heard(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter(|event| event["event"] == "heard")
            .filter_map(|event| event["type"].as_str())
            .collect()
    }
}

/// Python with the packages of `requirements.txt`.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python");
    let advice = "`./dev test` makes it: python3 -m venv, and pip install -r tests/apprtc/requirements.txt in it";
    assert!(python.is_file(), "{} is missing; {advice}", python.display());
    python
}

impl Drop for Aiortc {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.child.kill();
        let status = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- client in Python (process {}, {status:?}) ----", self.child.id());
            self.events.iter().for_each(|event| eprintln!("{event}"));
            self.lines.try_iter().for_each(|line| eprintln!("{line}"));
            let stderr = std::fs::read(self.dir.file("stderr")).unwrap_or_default();
            eprintln!("---- its stderr ----\n{}\n----", String::from_utf8_lossy(&stderr));
        }
    }
}

//! A server process: its log in a file, its readiness read from that log, its end by process ID.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{PATIENCE, TempDir, signal_and_wait};

/// How often a log is looked at while its server starts.
const LOOK: Duration = Duration::from_millis(10);
/// How many lines of the log a failure shows.
const SHOWN_LINES: usize = 100;

/// A running server; ended, and waited for, when dropped.
pub struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// Why a server is not ready.
#[derive(Debug)]
pub enum NotReady {
    /// It ended; its log tells why.
    Ended(String),
    /// It runs, but the sign of readiness did not come in time.
    Late(String),
}

impl Daemon {
    /// Starts `command` with its output in a log of its own in `dir`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn(name: &'static str, command: &mut Command, dir: &TempDir) -> Self {
        let log = dir.file(&format!("{name}.log"));
        let output = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name, child, log }
    }

    /// All it has written so far.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits for `sign` in its log and returns the line that has it.
    pub fn logged(&mut self, sign: &str) -> Result<String, NotReady> {
        let line = |log: &str| log.lines().find(|line| line.contains(sign)).map(str::to_owned);
        self.until(|daemon| line(&daemon.log()))
    }

    /// Waits until it accepts a TCP connection.
    pub fn accepts(&mut self, addr: SocketAddr) -> Result<(), NotReady> {
        self.until(|_| TcpStream::connect_timeout(&addr, LOOK).ok().map(drop))
    }

    /// Asks `sign` again and again until it has something, the server ends, or patience does.
    pub fn until<T>(&mut self, mut sign: impl FnMut(&Self) -> Option<T>) -> Result<T, NotReady> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait().unwrap();
            // Looked for after the check, so that the last words of a server that ended count.
            if let Some(found) = sign(self) {
                return Ok(found);
            }
            if let Some(status) = ended {
                return Err(NotReady::Ended(format!("{} ended: {status}\n{}", self.name, self.log())));
            }
            if Instant::now() > deadline {
                return Err(NotReady::Late(format!("{} is not ready\n{}", self.name, self.log())));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Ends it at once, as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        // An error means that it has already ended.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        signal_and_wait(&mut self.child, "TERM");
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
            eprintln!("---- {} ({}) ----\n{shown}\n----", self.name, self.log.display());
        }
    }
}

/// Starts a server on ports it picks anew when another program was faster to take them.
///
/// # Panics
/// With the server's log, when it does not get ready for any other reason.
pub fn start<T>(mut attempt: impl FnMut() -> Result<T, NotReady>) -> T {
    for _ in 0..5 {
        match attempt() {
            Ok(ready) => return ready,
            Err(NotReady::Ended(log)) if log.contains("in use") => {}
            Err(NotReady::Ended(log) | NotReady::Late(log)) => panic!("{log}"),
        }
    }
    panic!("five times in a row another program took the port first");
}

/// Sends a signal (its name without SIG) to one process. The shell's own `kill`: no crate, no unsafe code.
pub fn signal(pid: u32, name: &str) {
    let script = format!("kill -{name} {pid}");
    let status = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status().unwrap();
    // It fails only when the process is gone, which is what most callers want anyway.
    let _ = status;
}

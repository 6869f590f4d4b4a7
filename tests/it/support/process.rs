//! The program under test, as another program would drive it: arguments and NDJSON commands in, NDJSON events out.
//!
//! It runs in an environment of its own: no settings of the user, no desktop, a home directory that is thrown away. Whoever
//! has an ID has the same key in each of them, as a person on a machine of theirs; nobody remembers anybody.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::daemon::signal;
use super::people::give_key;
use super::{PATIENCE, TempDir};

/// How often the end of the program is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// Where the program is.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tring");

/// A running `tring … --json`; killed, and waited for, when dropped.
pub struct Tring {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// every event so far, in order
    events: Vec<Value>,
    /// the events of these indices no `wait_event` has returned yet
    waiting: VecDeque<usize>,
    stderr: Option<JoinHandle<String>>,
    stdout: Option<JoinHandle<()>>,
    /// removed with it
    _home: Option<TempDir>,
}

/// The program before it starts.
pub struct TringCommand {
    launcher: Vec<OsString>,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    home: Option<OsString>,
}

impl TringCommand {
    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets several, such as those of `Pulse::env`.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(self, envs: impl IntoIterator<Item = (N, V)>) -> Self {
        envs.into_iter().fold(self, |command, (name, value)| command.env(name, value))
    }

    /// Lets it speak to peers that cannot seal: clients of other makes, and messages that a test writes itself.
    pub fn plain(self) -> Self {
        self.env("TRING_PLAIN", "true")
    }

    /// Keeps settings and keys in this directory, to be found there by the next run.
    pub fn home(mut self, path: &Path) -> Self {
        self.home = Some(path.as_os_str().to_owned());
        self
    }

    /// Starts it by another program that puts itself in place, such as `ip netns exec NAME`: the process stays the same.
    pub fn through<S: AsRef<OsStr>>(mut self, launcher: impl IntoIterator<Item = S>) -> Self {
        self.launcher = launcher.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// Starts the program.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(self) -> Tring {
        let name = self.args.first().map_or_else(String::new, |arg| arg.to_string_lossy().into_owned());
        let (mut command, own_home) = self.prepare();
        command.arg("--json");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program was built for this test");

        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let stdout = std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut stderr = child.stderr.take().expect("piped");
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = std::io::Read::read_to_end(&mut stderr, &mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Tring {
            name,
            stdin: child.stdin.take(),
            child,
            lines,
            events: Vec::new(),
            waiting: VecDeque::new(),
            stderr: Some(stderr),
            stdout: Some(stdout),
            _home: own_home,
        }
    }

    /// Runs the program to its end, in a folder, with nobody at its input, and without `--json`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn output(self, folder: &Path) -> Output {
        let (mut command, _home) = self.prepare();
        command.current_dir(folder).stdin(Stdio::null()).output().expect("the program was built for this test")
    }

    /// The peer ID that it is given.
    fn id(&self) -> Option<String> {
        let typed = self.args.windows(2).find(|words| words[0] == "--id").map(|words| words[1].clone());
        let set = || self.envs.iter().find(|(name, _)| name == "TRING_ID").map(|(_, value)| value.clone());
        typed.or_else(set)?.into_string().ok()
    }

    /// The program in its own environment, and its home directory if that is one of its own.
    fn prepare(self) -> (Command, Option<TempDir>) {
        let own_home = self.home.is_none().then(|| TempDir::new("home"));
        if let Some((home, id)) = own_home.as_ref().zip(self.id()) {
            give_key(home.path(), &id);
        }
        let home = self.home.or_else(|| own_home.as_ref().map(|dir| dir.path().into())).expect("one of the two is set");
        let words: Vec<OsString> = self.launcher.into_iter().chain([PROGRAM.into()]).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        clean(&mut command);
        for (variable, folder) in
            [("HOME", ""), ("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "state")]
        {
            command.env(variable, Path::new(&home).join(folder));
        }
        command.envs(self.envs).args(self.args);
        (command, own_home)
    }
}

/// Takes away what would make the program behave as it does for the person at this machine.
pub fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        // A proxy of this machine knows nothing of servers that a test has started.
        let text = name.to_string_lossy();
        if text.starts_with("TRING_") || text.to_ascii_uppercase().ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "PULSE_SERVER", "RUST_LOG"] {
        command.env_remove(name);
    }
    // No call of a test is to pop up on somebody's desktop.
    command.env_remove("DBUS_SESSION_BUS_ADDRESS");
}

impl Tring {
    /// Starts `tring ARGS --json`.
    pub fn spawn<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::command(args).spawn()
    }

    /// The same, to be given variables or a home directory first.
    pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> TringCommand {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        TringCommand { launcher: Vec::new(), args, envs: Vec::new(), home: None }
    }

    /// Waits for the next event of this name; those of other names are kept for later calls.
    ///
    /// # Panics
    /// With all events and the log, when it does not come in time or the program ends first.
    pub fn wait_event(&mut self, name: &str, timeout: Duration) -> Value {
        self.wait_event_where(name, timeout, |_| true)
    }

    /// The same for an event that also fulfils a condition.
    pub fn wait_event_where(&mut self, name: &str, timeout: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + timeout;
        let mut looked_at = 0;
        loop {
            let is_it = |index: &usize| self.events[*index]["event"] == name && wanted(&self.events[*index]);
            if let Some(place) = self.waiting.iter().skip(looked_at).position(is_it) {
                let index = self.waiting.remove(looked_at + place).expect("just found");
                return self.events[index].clone();
            }
            looked_at = self.waiting.len();
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.take(&line),
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("no event `{name}` within {timeout:?}")),
                Err(RecvTimeoutError::Disconnected) => self.fail(&format!("ended without event `{name}`")),
            }
        }
    }

    /// All events so far, in order, waited for or not.
    pub fn events(&mut self) -> &[Value] {
        while let Ok(line) = self.lines.try_recv() {
            self.take(&line);
        }
        &self.events
    }

    /// Takes note of all events so far: none of them is waited for any more.
    pub fn catch_up(&mut self) {
        self.events();
        self.waiting.clear();
    }

    /// All events of a program that ends, or has ended: also those that were still on their way when it did.
    pub fn wait_events(&mut self) -> &[Value] {
        self.wait_exit(PATIENCE);
        while let Ok(line) = self.lines.recv() {
            self.take(&line);
        }
        &self.events
    }

    /// All events of one name so far.
    pub fn events_named(&mut self, name: &str) -> Vec<Value> {
        self.events().iter().filter(|event| event["event"] == name).cloned().collect()
    }

    /// Gives it a command that has no more than its name, such as `hangup`.
    pub fn say(&mut self, command: &str) {
        self.send_control(&serde_json::json!({ "command": command }));
    }

    /// Writes one NDJSON command, for a program started with `--control -`.
    pub fn send_control(&mut self, command: &Value) {
        let line = format!("{command}\n");
        let stdin = self.stdin.as_mut().expect("stdin is open");
        let sent = stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush());
        if let Err(error) = sent {
            self.fail(&format!("does not read its commands: {error}"));
        }
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        signal(self.child.id(), "INT");
    }

    /// Any other signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end and returns the exit status; 128 + the signal that ended it, as a shell would say.
    ///
    /// # Panics
    /// With all events and the log, when it does not end in time; it is killed then.
    pub fn wait_exit(&mut self, timeout: Duration) -> i32 {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().or_else(|| status.signal().map(|signal| 128 + signal)).expect("one of the two");
            }
            if Instant::now() > deadline {
                self.fail(&format!("still runs after {timeout:?}"));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits for its end and returns what it wrote to stderr.
    pub fn wait_stderr(&mut self) -> String {
        self.wait_exit(PATIENCE);
        self.stderr.take().map(|reader| reader.join().unwrap()).unwrap_or_default()
    }

    fn take(&mut self, line: &str) {
        match serde_json::from_str::<Value>(line) {
            Ok(event) if event["event"].is_string() => {
                self.waiting.push_back(self.events.len());
                self.events.push(event);
            }
            Ok(_) | Err(_) => self.fail(&format!("a line on stdout is no event: {line}")),
        }
    }

    /// Kills it and panics; the output follows from [`Self::drop`].
    fn fail(&mut self, what: &str) -> ! {
        panic!("tring {}: {what}", self.name);
    }
}

impl Drop for Tring {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.child.kill();
        let status = self.child.wait();
        let stderr = self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        if let Some(reader) = self.stdout.take() {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("---- tring {} (process {}, {status:?}) ----", self.name, self.child.id());
            self.events.iter().for_each(|event| eprintln!("{event}"));
            self.lines.try_iter().for_each(|line| eprintln!("{line}"));
            eprintln!("---- its stderr ----\n{stderr}\n----");
        }
    }
}

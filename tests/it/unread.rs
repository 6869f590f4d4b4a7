//! Outputs that nobody reads, that have gone or are full: no command freezes, both signals are heeded, and the status tells.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::support::call::{Args, Ended};
use crate::support::daemon::signal;
use crate::support::mosquitto::Mosquitto;
use crate::support::process::{PROGRAM, Tring, clean};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, free_ports};

/// A pipe without a byte of room.
struct FullPipe {
    path: PathBuf,
    _held: File,
    _dir: TempDir,
}

impl FullPipe {
    fn new() -> Self {
        let dir = TempDir::new("full-pipe");
        let path = pipe(&dir, "pipe");
        // Linux' O_NONBLOCK.
        let mut held = OpenOptions::new().read(true).write(true).custom_flags(0o4000).open(&path).unwrap();
        loop {
            match held.write(&[b'x'; 512]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        Self { path, _held: held, _dir: dir }
    }

    fn writer(&self) -> Stdio {
        File::options().write(true).open(&self.path).unwrap().into()
    }
}

fn pipe(dir: &TempDir, name: &str) -> PathBuf {
    let path = dir.file(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// A program with outputs of the test's choice; killed when dropped.
struct Running {
    child: Child,
    pid: u32,
    _home: TempDir,
}

impl Running {
    fn start(mut command: Command, stdout: Stdio, stderr: Stdio) -> Self {
        let home = TempDir::new("unread-home");
        clean(&mut command);
        command.env("HOME", home.path()).env("XDG_STATE_HOME", home.path()).current_dir(home.path());
        let child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().unwrap();
        let pid = child.id();
        Self { child, pid, _home: home }
    }

    fn of(args: impl IntoIterator<Item = impl Into<std::ffi::OsString>>, stdout: Stdio, stderr: Stdio) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(Args::new(args));
        Self::start(command, stdout, stderr)
    }

    /// On a terminal that nobody reads and that takes nothing more.
    fn on_full_terminal(args: impl IntoIterator<Item = impl Into<std::ffi::OsString>>) -> Self {
        const SCRIPT: &str = "
import fcntl, os, pty, subprocess, sys, termios
master, slave = pty.openpty()
os.set_blocking(slave, False)
try:
    while True: os.write(slave, b'x' * 512)
except BlockingIOError: pass
os.set_blocking(slave, True)
child = subprocess.Popen(sys.argv[1:], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
print(child.pid, flush=True)
sys.exit(child.wait() % 256)
";
        let mut command = Command::new("python3");
        command.args(["-c", SCRIPT, PROGRAM]).args(Args::new(args));
        command.env("TERM", "xterm");
        let mut running = Self::start(command, Stdio::piped(), Stdio::inherit());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(running.child.stdout.take().unwrap()), &mut line)
            .unwrap();
        running.pid = line.trim().parse().unwrap();
        running
    }

    fn signal(&self, name: &str) {
        signal(self.pid, name);
    }

    fn ended_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + time;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            signal(self.pid, "KILL");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

const MEDIA: [&str; 8] = ["--video", "test", "--audio", "tone", "--play", "none", "--codec", "vp8"];

/// Long enough for a program to be at work, where nothing that can be read tells.
const AT_WORK: Duration = Duration::from_millis(1500);

/// What "within a second" may take on a busy machine.
const SECOND: Duration = Duration::from_millis(1000);

fn link(id: &str, broker: &Mosquitto) -> Args {
    Args::new(["--id", id]).option("--broker", broker.url())
}

/// What presence says of bob, as soon as it is this.
fn wait_for_bob(state: &str, broker: &Mosquitto, time: Duration) {
    let until = Instant::now() + time;
    loop {
        let seen = Ended::wait(&mut Tring::spawn(Args::new(["contacts", "bob", "--once"]).and(link("look", broker))));
        let is = seen.events.iter().any(|event| event["event"] == "presence" && event["state"] == state);
        if is {
            return;
        }
        assert!(Instant::now() < until, "bob is not {state}: {:?}", seen.events);
    }
}

/// A callee that nobody reads: the caller's bye frees it, and the first signal ends it.
fn callee_is_free_after_the_call(mut bob: Running, broker: &Mosquitto) {
    wait_for_bob("available", broker, PATIENCE);
    let mut alice = Tring::spawn(
        Args::new(["call", "bob"]).and(MEDIA).and(["--show", "none", "--duration", "2s"]).and(link("alice", broker)),
    );
    let ended = Ended::wait(&mut alice);
    assert_eq!((ended.status, ended.reason()), (0, "hangup"), "{}", ended.failure());
    wait_for_bob("available", broker, Duration::from_secs(3));
    bob.signal("INT");
    let status = bob.ended_within(SECOND).expect("a callee heeds the first signal");
    assert_ne!(status.code(), Some(0), "it says that something went wrong");
}

#[test]
fn a_callee_whose_events_nobody_reads() {
    let (_turn, broker, full) = (Turn::call(), Mosquitto::anonymous(), FullPipe::new());
    let listen =
        Args::new(["listen", "--answer", "auto", "--json", "--show", "none"]).and(MEDIA).and(link("bob", &broker));
    callee_is_free_after_the_call(Running::of(listen, full.writer(), Stdio::null()), &broker);
}

#[test]
fn a_callee_whose_log_nobody_reads() {
    let (_turn, broker, full) = (Turn::call(), Mosquitto::anonymous(), FullPipe::new());
    let listen = Args::new(["listen", "--answer", "auto", "--json", "--show", "none", "-v", "-v"]);
    callee_is_free_after_the_call(
        Running::of(listen.and(MEDIA).and(link("bob", &broker)), Stdio::null(), full.writer()),
        &broker,
    );
}

#[test]
fn a_callee_whose_terminal_nobody_reads() {
    let (_turn, broker) = (Turn::call(), Mosquitto::anonymous());
    let listen = Args::new(["listen", "--answer", "auto", "--show", "terminal"]).and(MEDIA).and(link("bob", &broker));
    callee_is_free_after_the_call(Running::on_full_terminal(listen), &broker);
}

/// Who recorded or saved into a pipe without a reader: the call ends as it should, and the status tells what is lost.
fn nobody_takes(option: &str, file: &str) {
    let (_turn, broker, dir) = (Turn::call(), Mosquitto::anonymous(), TempDir::new("no-reader"));
    let path = pipe(&dir, file);
    let listen =
        Args::new(["listen", "--once", "--answer", "auto", "--show", "none"]).and(MEDIA).and(link("bob", &broker));
    let mut bob = Tring::spawn(listen);
    bob.wait_event("online", PATIENCE);
    let call = Args::new(["call", "bob", "--show", "none", "--duration", "3s"]).and(MEDIA).and(link("alice", &broker));
    let began = Instant::now();
    let alice = Ended::wait(&mut Tring::spawn(call.option(option, &path)));
    assert!(began.elapsed() < Duration::from_secs(8), "it took {:?}", began.elapsed());
    assert_eq!((alice.status, alice.reason()), (1, "hangup"), "{}", alice.failure());
    assert!(alice.failure().contains(file), "{}", alice.failure());
    assert_eq!(Ended::wait(&mut bob).reason(), "remote-hangup");
    assert!(std::os::unix::fs::FileTypeExt::is_fifo(&path.metadata().unwrap().file_type()), "the pipe is still there");
}

#[test]
fn a_recording_that_nobody_takes() {
    nobody_takes("--record", "pipe.webm");
}

#[test]
fn a_picture_that_nobody_takes() {
    nobody_takes("--snapshot", "pipe.png");
}

/// The long-running commands, each as it waits for something.
fn waiting_commands(broker: &Mosquitto, dir: &Path) -> Vec<Args> {
    let port = free_ports(3);
    let scenario = dir.join("talk.toml");
    std::fs::write(&scenario, "timeout = \"1m\"\n[peers.bob]\n[peers.alice]\ncalls = \"bob\"\nduration = \"50s\"\n")
        .unwrap();
    vec![
        Args::new(["call", "nobody", "--wait", "--show", "none"]).and(MEDIA).and(link("alice", broker)),
        Args::new(["listen", "--answer", "auto", "--show", "none"]).and(MEDIA).and(link("bob", broker)),
        Args::new(["contacts"]).and(link("look", broker)),
        Args::new(["trace"]).and(link("trace", broker)),
        Args::new(["agent", "--from-anyone"]).and(link("agent", broker)),
        Args::new(["serve", "--listen", "127.0.0.1"])
            .option("--mqtt-port", port.to_string())
            .option("--websocket-port", (port + 1).to_string())
            .option("--turn-port", (port + 2).to_string()),
        Args::new(["load", "--calls", "1", "--talk", "50s"]),
        Args::new(["demo", "--duration", "50s"]),
        Args::new(["test"]).and([scenario]),
    ]
}

/// Both signals, for each command whose output is `unread`.
fn signals_are_heeded(args: impl Fn(Args) -> Args, start: impl Fn(Args) -> Running) {
    let (_turn, broker, dir) = (Turn::call(), Mosquitto::anonymous(), TempDir::new("waiting"));
    for command in waiting_commands(&broker, dir.path()) {
        let words: Vec<_> = command.clone().into_iter().take(2).collect();
        let mut once = start(args(command.clone()));
        std::thread::sleep(AT_WORK);
        assert!(once.ended_within(Duration::ZERO).is_none(), "{words:?} still runs");
        once.signal("INT");
        // A test or a load ends its peers in order first, which takes them a moment.
        let time = if words[0] == "test" || words[0] == "load" || words[0] == "demo" { 5 * SECOND } else { SECOND };
        assert!(once.ended_within(time).is_some(), "{words:?} does not heed the first signal");

        let mut twice = start(args(command));
        std::thread::sleep(AT_WORK);
        twice.signal("TERM");
        std::thread::sleep(Duration::from_millis(50));
        twice.signal("INT");
        assert!(twice.ended_within(SECOND).is_some(), "{words:?} does not heed the second signal");
    }
}

#[test]
fn every_command_heeds_signals_while_nobody_reads_its_events() {
    let full = FullPipe::new();
    signals_are_heeded(|args| args.and(["--json"]), |args| Running::of(args, full.writer(), Stdio::null()));
}

#[test]
fn every_command_heeds_signals_while_nobody_reads_its_log() {
    let full = FullPipe::new();
    signals_are_heeded(|args| args.and(["-v", "-v"]), |args| Running::of(args, Stdio::null(), full.writer()));
}

#[test]
fn every_command_heeds_signals_while_nobody_reads_its_terminal() {
    signals_are_heeded(|args| args, Running::on_full_terminal);
}

/// What prints a result and ends.
fn printing_commands() -> Vec<Vec<&'static str>> {
    vec![
        vec!["--help"],
        vec!["--version"],
        vec!["call", "--help"],
        vec!["test", "--print", "hold"],
        vec!["test", "--list"],
        vec!["test", "--schema"],
        vec!["log"],
        vec!["devices"],
        vec!["devices", "--json"],
        vec!["config"],
        vec!["config", "--json"],
        vec!["config", "--example"],
        vec!["completions", "bash"],
        vec!["man"],
    ]
}

#[test]
fn a_full_disk_is_said_and_is_no_success() {
    for args in printing_commands() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut running = Running::of(args.clone(), full.into(), Stdio::piped());
        let status = running.ended_within(PATIENCE).unwrap();
        assert_eq!(status.code(), Some(1), "{args:?}");
        let text = running.stderr();
        assert!(text.contains("cannot write to standard output") && text.contains("space"), "{args:?}: {text}");
    }
}

#[test]
fn long_commands_say_that_the_disk_is_full() {
    let (_turn, broker) = (Turn::call(), Mosquitto::anonymous());
    let commands = [
        Args::new(["contacts", "--once", "--json"]).and(link("look", &broker)),
        Args::new(["contacts", "--json"]).and(link("look", &broker)),
        Args::new(["trace", "--json"]).and(link("trace", &broker)),
        Args::new(["listen", "--answer", "auto", "--json", "--show", "none"]).and(MEDIA).and(link("bob", &broker)),
        Args::new(["serve", "--json", "--mqtt-port", "0", "--websocket-port", "0", "--turn-port", "0"]),
        Args::new(["agent", "--json", "--from", "runner"]).and(link("agent", &broker)),
        Args::new(["load", "--json", "--calls", "2", "--talk", "1s"]),
        Args::new(["doctor", "--json", "--show", "none"]).and(MEDIA).and(link("asks", &broker)),
    ];
    for command in commands {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut running = Running::of(command.clone(), full.into(), Stdio::piped());
        let words: Vec<_> = command.into_iter().take(2).collect();
        assert_eq!(running.ended_within(PATIENCE).unwrap().code(), Some(1), "{words:?}");
        assert!(running.stderr().contains("cannot write to standard output"), "{words:?}");
    }
}

#[test]
fn a_reader_that_has_gone_ends_it_quietly() {
    let broker = Mosquitto::anonymous();
    let commands = printing_commands().into_iter().map(Args::new).chain([
        Args::new(["contacts", "--json"]).and(link("look", &broker)),
        Args::new(["listen", "--answer", "auto", "--json", "--show", "none"]).and(MEDIA).and(link("bob", &broker)),
    ]);
    for command in commands {
        let words: Vec<_> = command.clone().into_iter().take(2).collect();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut running = Running::of(command, writer.into(), Stdio::piped());
        assert_eq!(running.ended_within(PATIENCE).unwrap().code(), Some(0), "{words:?}");
        assert_eq!(running.stderr(), "", "{words:?}");
    }
}

#[test]
fn what_a_scenario_calls_itself_is_not_obeyed() {
    let (_turn, dir) = (Turn::call(), TempDir::new("hostile-name"));
    let file = dir.write(
        "hostile.toml",
        "name = \"red\\u001b[31m\\u009b1m\\uFFFE\\u202E\"\ntimeout = \"1s\"\n[peers.mole]\ncommand = [\"/nonexistent/x\\u001b[2J\"]\n",
    );
    let junit = dir.file("junit.xml");
    let output = Tring::command(Args::new(["test"]).and([&file]).option("--junit", &junit)).output(dir.path());
    let told =
        [output.stdout, output.stderr, std::fs::read(&junit).unwrap()].map(|text| String::from_utf8(text).unwrap());
    for text in told {
        let harmful =
            text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t') || "\u{202E}\u{FFFE}".contains(*c));
        assert_eq!(harmful, None, "{text:?}");
    }
    let parse = "import sys, xml.dom.minidom as m; m.parse(sys.argv[1])";
    let parsed = Command::new("python3").args(["-c", parse]).arg(&junit).status().unwrap();
    assert!(parsed.success(), "the report is well-formed");
}

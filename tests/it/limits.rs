//! What the system refuses a program: open files, longer files, room on a disk.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::support::call::{self, Args, Ended, TEST_MEDIA};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::served::{OVER_TLS, SERVE, port_of};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, alice, bob, did_not_run, loopback, run};

/// A CONNECT of MQTT 3.1.1 with ClientId `alice`, a clean session and a keep-alive of 60 s.
const CONNECT: &[u8] = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05alice";
/// The CONNACK that accepts it.
const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];

/// Processor time that a process has used so far.
fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // proc(5): user and system time in ticks of 10 ms, the 12th and 13th value behind the name of the program.
    let values = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
    Duration::from_millis(values.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}

fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Whether the broker answers a CONNECT within a second.
fn is_served(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(loopback(port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut answer = [0; 4];
    stream.write_all(CONNECT).is_ok() && stream.read_exact(&mut answer).is_ok() && answer == ACCEPTED
}

#[test]
fn a_server_without_a_file_left_waits_and_is_back_when_files_are_closed() {
    const WATCHED: Duration = Duration::from_secs(3);
    let mut serve = Tring::spawn(Args::new(SERVE).and(OVER_TLS));
    let serving = serve.wait_event("serving", PATIENCE);
    let urls = ["/mqtt", "/websocket", "/turn_tcp", "/tls/mqtt"].map(|key| serving.pointer(key).unwrap());
    let ports = urls.map(|url| port_of(url.as_str().unwrap()));
    assert!(is_served(ports[0]));
    // Two connections fit, wherever the files are counted from.
    let limit = open_files(serve.pid()) + 2;
    run(Command::new("prlimit").args([format!("--pid={}", serve.pid()), format!("--nofile={limit}:{limit}")]));

    let connect = |port| TcpStream::connect(loopback(port)).unwrap();
    let held: Vec<TcpStream> = (0..4).flat_map(|_| ports.map(connect)).collect();
    let begun = Instant::now();
    while open_files(serve.pid()) < limit {
        assert!(begun.elapsed() < PATIENCE, "connections take no files");
        std::thread::sleep(Duration::from_millis(10));
    }
    let before = cpu_time(serve.pid());
    std::thread::sleep(WATCHED);
    let used = cpu_time(serve.pid()) - before;
    assert!(used < WATCHED / 20, "{used:?} of processor time in {WATCHED:?} of waiting");

    drop(held);
    let begun = Instant::now();
    while !is_served(ports[0]) {
        assert!(begun.elapsed() < PATIENCE, "still nobody is served");
    }
    serve.interrupt();
    let said = serve.wait_stderr();
    for service in ["MQTT", "WebSocket", "TURN over TCP", "TLS"] {
        let told = said.lines().filter(|line| {
            line.contains("too many open files") && line.contains(&format!("new {service} connections"))
        });
        assert_eq!(told.count(), 1, "{service} is not told once: {said}");
    }
    assert!(said.contains("ulimit -n") && !said.contains("os error"), "{said}");
}

#[test]
fn a_websocket_client_that_says_nothing_holds_up_no_other() {
    let mut serve = Tring::spawn(SERVE);
    let serving = serve.wait_event("serving", PATIENCE);
    let port = port_of(serving["websocket"].as_str().unwrap());
    let _silent = TcpStream::connect(loopback(port)).unwrap();
    let mut other = TcpStream::connect(loopback(port)).unwrap();
    other.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let request = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    write!(other, "{request}Sec-WebSocket-Protocol: mqtt\r\n{key}\r\n").unwrap();
    let mut answer = [0; 12];
    other.read_exact(&mut answer).expect("an answer while the first connection is silent");
    assert_eq!(&answer, b"HTTP/1.1 101");
}

/// Starts a program by a shell that sets the limits first and redirects what it writes.
fn shell(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

/// A program's exit status, and all that it said.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    (output.status.code(), text)
}

#[test]
fn files_that_cannot_be_used_are_told_in_words() {
    let dir = TempDir::new("files");
    dir.write("plain", "plain");
    std::fs::create_dir(dir.file("folder")).unwrap();
    // Root may open every file: what is wrong with these is not a right.
    let files = [
        (dir.file("none/x"), "No such file"),
        (dir.file("plain/x"), "Not a directory"),
        (dir.file("folder"), "Is a directory"),
    ];
    let call = "call bob --id alice --broker mqtts://127.0.0.1:1 --show none --play none --video test --audio tone";
    let ice = "--ice turn:127.0.0.1:1";
    let commands = [
        format!("{call} --user u --password-file FILE"),
        format!("{call} --ca-file FILE"),
        format!("{call} --cert FILE --key FILE"),
        format!("{call} {ice} --ice-user u --ice-password-file FILE"),
        format!("{call} {ice} --ice-secret-file FILE"),
        format!("{call} --config FILE"),
        "contacts --once --id alice --broker mqtt://127.0.0.1:1 --user u --password-file FILE".to_owned(),
        "serve --user u --password-file FILE".to_owned(),
        "serve --users-file FILE --ice-secret-file FILE".to_owned(),
        "test smoke --junit FILE".to_owned(),
        "test smoke --report FILE".to_owned(),
        "load --calls 1,2 --curve FILE".to_owned(),
    ];
    let run = |command: &str, file: &Path| {
        let args = command.split(' ').map(|word| word.replace("FILE", file.to_str().unwrap()));
        let (status, text) = said(&Tring::command(args).output(dir.path()));
        assert!(status != Some(0) && !text.contains("os error"), "{command}: {status:?}: {text}");
        assert!(text.contains(file.to_str().unwrap()), "{command}: {text}");
        text
    };
    for (command, (file, words)) in commands.iter().flat_map(|command| files.iter().map(move |file| (command, file))) {
        let text = run(command, file);
        assert!(text.contains(words), "{command}: {text}");
    }
    let source = call.replace("--video test --audio tone", "--video file:FILE --audio none");
    for (command, file) in [
        (source.as_str(), "none/x"),
        (&source, "plain/x"),
        (&source.replace("--video file:FILE --audio none", "--video none --audio file:FILE"), "plain/x"),
        (&format!("{call} --record FILE.webm"), "plain/x"),
        (&format!("{call} --snapshot FILE.png"), "plain/x"),
        ("test FILE.toml", "plain/x"),
        ("test smoke --results FILE", "plain/x"),
        ("man FILE", "plain/x"),
    ] {
        run(command, &dir.file(file));
    }
}

#[test]
fn the_call_log_that_cannot_be_read_is_told() {
    let home = TempDir::new("home");
    let log = home.file("state/tring/calls.ndjson");
    std::fs::create_dir_all(&log).unwrap();
    for command in ["log", "redial"] {
        let (status, text) = said(&Tring::command([command]).home(home.path()).output(home.path()));
        assert_eq!(status, Some(2), "{command}: {text}");
        let told = format!("cannot read {}: Is a directory", log.display());
        assert!(text.contains(&told) && !text.contains("os error"), "{command}: {text}");
    }
}

/// A log, in which bob is who was called.
const CALLED_BOB: &str = r#"{"v":1,"started":1700000000000,"direction":"out","peer":"bob","call_id":null,"answered":true,"duration_ms":1.5,"reason":"remote-hangup","status":0,"path":null,"received":null}"#;

#[test]
fn redial_on_a_full_disk_calls_and_says_that_the_call_is_not_noted_down() {
    if !Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).status().unwrap().success() {
        return did_not_run("no user namespace, in which a small disk could be mounted");
    }
    let (broker, home) = (Mosquitto::anonymous(), TempDir::new("home"));
    std::fs::create_dir(home.file("state")).unwrap();
    // A page of the disk, full to its end.
    let line = home.write("line", &format!("{CALLED_BOB:\n<4096}"));
    let script = format!(
        "mount -t tmpfs -o size=16k tmpfs {state} && mkdir {state}/tring && cat {line} > {state}/tring/calls.ndjson && \
         ! cat /dev/zero > {state}/fill && exec \"$0\" \"$@\"",
        state = home.file("state").display(),
        line = line.display(),
    );
    let launcher = ["unshare", "--user", "--map-root-user", "--mount"].into_iter().chain(shell(&script));
    let args = Args::new(["redial", "--id", "alice", "--broker", &broker.url()]).and(TEST_MEDIA);
    let mut alice = Tring::command(args).home(home.path()).through(launcher).spawn();
    assert_eq!(alice.wait_event("dialing", PATIENCE)["peer"], "bob");
    let mut warned = || alice.wait_event("warning", PATIENCE)["text"].as_str().unwrap().to_owned();
    let (key, text) = (warned(), warned());
    assert!(key.contains("keys/alice cannot be written (No space left on device)"), "{key}");
    assert!(text.contains("calls.ndjson: No space left on device;") && text.contains("--no-log"), "{text}");
    assert_eq!(alice.wait_exit(PATIENCE), 13);
}

#[test]
fn a_recording_beyond_the_limit_of_file_sizes_is_told_and_plays() {
    let _turn = Turn::small_call();
    let (broker, dir) = (Mosquitto::anonymous(), TempDir::new("recording"));
    let mut bob = call::listen(Args::new(bob(&broker.url())).and(["--answer", "auto", "--once"]));
    let recording = dir.file("alice.webm");
    let call = Args::new(["call", "bob", "--duration", "5s", "--no-log"]).and(TEST_MEDIA).and(alice(&broker.url()));
    let limit = ["prlimit", "--fsize=100000:100000"];
    let mut alice = Tring::command(call.option("--record", &recording)).through(limit).spawn();
    let ended = Ended::wait(&mut alice);
    assert_eq!((ended.status, ended.reason()), (1, "hangup"), "the call goes on without the recording");
    let text = ended.error();
    assert!(text.contains("alice.webm: File too large;") && text.contains("ulimit -f"), "{text}");
    assert!((50_000..=100_000).contains(&std::fs::metadata(&recording).unwrap().len()));
    run(Command::new("ffprobe").args(["-v", "error"]).arg(&recording));
    assert_eq!(bob.wait_exit(PATIENCE), 0);
}

#[test]
fn output_beyond_the_limit_of_file_sizes_is_told() {
    let _turn = Turn::small_call();
    let dir = TempDir::new("output");
    std::fs::create_dir(dir.file("pages")).unwrap();
    let limited = |bytes: u32, rest: &str| format!("exec prlimit --fsize={bytes}:{bytes} \"$0\" \"$@\" {rest}");
    let fails = "[peers.bob]\n[peers.alice]\ncalls = \"bob\"\nduration = \"2s\"\nexpect.fps = \">= 500\"\n";
    dir.write("fails.toml", fails);
    for (args, bytes, rest, status, told) in [
        (vec!["test", "--schema"], 1000, "> out", 1, "cannot write to standard output: File too large"),
        (vec!["man", "pages"], 1000, "", 2, "cannot write pages to pages: File too large"),
        (vec!["nonsense"], 10, "2> err", 2, ""),
        (vec!["test", "smoke", "--junit", "junit.xml"], 100, "", 1, "cannot write junit.xml: File too large"),
        (vec!["test", "fails.toml", "--results", "results"], 1000, "", 30, "fails: File too large"),
    ] {
        let script = limited(bytes, rest);
        let (ended, text) = said(&Tring::command(&args).through(shell(&script)).output(dir.path()));
        assert_eq!(ended, Some(status), "{args:?}: {text}");
        assert!(text.contains(told) && !text.contains("os error"), "{args:?}: {text}");
    }
}

#[test]
fn a_call_log_beyond_the_limit_of_file_sizes_is_told() {
    let broker = Mosquitto::anonymous();
    let args = Args::new(["call", "bob"]).and(TEST_MEDIA).and(alice(&broker.url()));
    let ended = Ended::wait(&mut Tring::command(args).through(["prlimit", "--fsize=100:100"]).spawn());
    assert_eq!(ended.status, 13);
    let warnings = ended.warnings().join("; ");
    assert!(warnings.contains("calls.ndjson: File too large;"), "{warnings}");
}

//! What the system refuses a program: open files, longer files, room on a disk.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::process::Tring;
use crate::support::{PATIENCE, loopback, run};

const SERVE: [&str; 7] = ["serve", "--mqtt-port", "0", "--websocket-port", "0", "--turn-port", "0"];
/// A CONNECT of MQTT 3.1.1 with ClientId `alice`, a clean session and a keep-alive of 60 s.
const CONNECT: &[u8] = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05alice";
/// The CONNACK that accepts it.
const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];

fn port_of(url: &str) -> u16 {
    url.trim_end_matches("/mqtt").rsplit(':').next().unwrap().parse().unwrap()
}

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
    let mut serve = Tring::spawn(SERVE);
    let serving = serve.wait_event("serving", PATIENCE);
    let ports = ["mqtt", "websocket"].map(|key| port_of(serving[key].as_str().unwrap()));
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
    for service in ["MQTT", "WebSocket"] {
        let told = said.lines().filter(|line| line.contains("too many open files") && line.contains(service));
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

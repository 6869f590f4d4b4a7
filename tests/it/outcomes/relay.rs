//! The relay: refusing, absent, or silent.

use std::net::UdpSocket;
use std::path::Path;

use super::{alice, answering, bob, call_with, refused};
use crate::support::call::{self, Args, Ended};
use crate::support::coturn::{self, Coturn};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, free_port, loopback};

/// What makes a peer use this relay and nothing else.
fn relay_only(turn: &str, password: &Path) -> Args {
    let relay = Args::new(["--ice", turn, "--ice-user", coturn::USER, "--relay-only"]);
    relay.option("--ice-password-file", password)
}

/// The call found no path, and the reason names the relay.
fn assert_no_relay(side: &Ended, turn: &str, words: &[&str]) {
    assert_eq!((side.status, side.reason()), (22, "no-path"));
    let detail = side.event("ended")["detail"].as_str().unwrap_or_default();
    for word in [turn.trim_end_matches("?transport=udp")].iter().chain(words) {
        assert!(detail.contains(word), "not a word of {word}: {detail}");
    }
}

#[test]
fn a_wrong_turn_password_of_the_caller() {
    let (mosquitto, coturn, dir) = (Mosquitto::anonymous(), Coturn::long_term(), TempDir::new("secrets"));
    let wrong = dir.write("turn", "guessed");
    let mut bob = call::listen(bob(&mosquitto.url()).and(["--answer", "auto"]));
    let alice = refused(call_with(alice(&mosquitto.url()).and(relay_only(&coturn.udp_url(), &wrong))));
    assert_no_relay(&alice, &coturn.udp_url(), &["refused", "--ice-password-file"]);
    bob.signal("TERM");
    assert_eq!(Ended::wait(&mut bob).status, 0);
}

#[test]
fn a_wrong_turn_password_of_the_callee() {
    let _turn = Turn::small_call();
    let (mosquitto, coturn, dir) = (Mosquitto::anonymous(), Coturn::long_term(), TempDir::new("secrets"));
    let wrong = dir.write("turn", "guessed");
    let mut bob = answering(bob(&mosquitto.url()).and(relay_only(&coturn.udp_url(), &wrong)));
    let alice = Ended::wait(&mut call::call_bob(alice(&mosquitto.url())));
    let bob = Ended::wait(&mut bob);
    assert_no_relay(&bob, &coturn.udp_url(), &["refused", "--ice-password-file"]);
    assert_eq!((alice.status, alice.reason()), (22, "no-path"));
}

#[test]
fn a_turn_server_that_is_not_there() {
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("secrets"));
    let password = dir.write("turn", coturn::PASSWORD);
    let turn = format!("turn:127.0.0.1:{}", free_port());
    let _bob = call::listen(bob(&mosquitto.url()).and(["--answer", "auto"]));
    let alice = refused(call_with(alice(&mosquitto.url()).and(relay_only(&turn, &password))));
    assert_no_relay(&alice, &turn, &["is it running"]);
}

#[test]
fn a_turn_server_behind_a_firewall() {
    let _turn = Turn::small_call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("secrets"));
    let password = dir.write("turn", coturn::PASSWORD);
    let silent = UdpSocket::bind(loopback(0)).unwrap();
    let turn = format!("turn:{}", silent.local_addr().unwrap());
    let mut bob = call::listen(bob(&mosquitto.url()).and(["--answer", "auto"]));
    let alice = refused(call_with(alice(&mosquitto.url()).and(relay_only(&turn, &password))));
    assert_no_relay(&alice, &turn, &["no answer"]);
    // However far it came on bob's side, it does not hang there.
    let rang = bob.events_named("incoming").len();
    for _ in 0..rang {
        let summary = bob.wait_event("summary", PATIENCE);
        assert!(["no-path", "remote-cancel"].contains(&summary["reason"].as_str().unwrap()), "{summary}");
    }
}

/// A TURN server that refuses each allocation with 486 (RFC 8656) and a reason that a terminal would obey.
fn rude_relay() -> u16 {
    const REASON: &str = "go\u{1b}[31maway\u{1b}]0;owned\u{7}\u{9b}31mred\u{202e}\r\nline";
    let socket = UdpSocket::bind(loopback(0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut request = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut request) {
            // An Allocate request; its header ends with cookie and transaction ID.
            if length < 20 || request[..2] != [0, 3] {
                continue;
            }
            let mut error = [&[0, 0, 4, 86][..], REASON.as_bytes()].concat();
            let value = u16::try_from(error.len()).unwrap();
            error.resize(error.len().next_multiple_of(4), 0);
            let body = u16::try_from(error.len() + 4).unwrap();
            let head = [[1, 0x13], body.to_be_bytes()].concat();
            let answer = [&head[..], &request[4..20], &[0, 9], &value.to_be_bytes(), &error].concat();
            socket.send_to(&answer, from).unwrap();
        }
    });
    port
}

#[test]
fn the_reason_of_a_turn_server_is_not_obeyed() {
    let _turn = Turn::call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("rude"));
    let password = dir.write("turn", "secret");
    let relay = relay_only(&format!("turn:127.0.0.1:{}", rude_relay()), &password);
    let mut bob = call::listen(bob(&mosquitto.url()).and(["--answer", "auto"]));
    let link = ["--id", "carol", "--broker", &mosquitto.url()];
    for (command, told) in [
        (Args::new(["doctor", "--show", "none"]), true),
        (Args::new(["doctor", "--show", "none", "--json"]), true),
        // The log tells it, where it tells all.
        (Args::new(["call", "bob", "--show", "none", "-vvv"]), false),
    ] {
        let command = command.and(["--video", "test", "--audio", "tone", "--play", "none"]).and(link);
        let output = Tring::command(command.clone().and(relay.clone())).output(dir.path());
        let [out, log] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(!told || out.contains("owned"), "{out}");
        for text in [out, log] {
            let harmful = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t') || *c == '\u{202e}');
            assert_eq!(harmful, None, "{text:?}");
        }
        assert_eq!(output.status.code(), Some(22));
    }
    bob.signal("TERM");
    assert_eq!(Ended::wait(&mut bob).status, 0);
}

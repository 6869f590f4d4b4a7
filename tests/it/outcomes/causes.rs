//! One symptom, several causes: each is told by its own name, with its own advice.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::{alice, answering, bob, call_with, peer, refused};
use crate::support::call::{self, Args, Ended};
use crate::support::certificates::Flaw;
use crate::support::coturn::{self, Coturn};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, did_not_run, free_port, loopback, password_of};

/// The program ended with this status before a call, and said all these words and none of those.
fn assert_error(ended: &Ended, status: i32, words: &[&str], others: &[&str]) {
    assert_eq!((ended.status, ended.event("error")["status"].as_i64()), (status, Some(status.into())));
    assert_says(ended.error(), words, others);
}

fn assert_says(text: &str, words: &[&str], others: &[&str]) {
    for word in words {
        assert!(text.contains(word), "not a word of {word}: {text}");
    }
    for word in others {
        assert!(!text.contains(word), "{word} is not the cause: {text}");
    }
}

// ---- the broker ----

#[test]
fn a_broker_whose_packets_are_too_small_for_an_offer() {
    let mosquitto = Mosquitto::with("max_packet_size 1500");
    let mut bob = call::listen(bob(&mosquitto.url()).and(["--answer", "auto"]));
    let alice = refused(call_with(alice(&mosquitto.url())));
    assert_eq!(alice.status, 21);
    assert_says(alice.error(), &["closes the connection", "bytes", "max_packet_size", "256 KiB"], &["taken over"]);
    assert!(bob.is_running(), "it is not bob's fault");
}

#[test]
fn certificates_with_a_flaw_each_have_their_own() {
    for (flaw, words, others) in [
        (Flaw::Expired, &["has expired", "renew it"][..], &["--ca-file"][..]),
        (Flaw::NotYet, &["not valid yet", "clock"], &["--ca-file"]),
        (Flaw::OtherName, &["not for \"127.0.0.1\", but for elsewhere.example"], &["--ca-file"]),
        (Flaw::SelfSigned, &["CA:TRUE", "CA:FALSE"], &["is --ca-file", "CaUsed"]),
    ] {
        let mosquitto = Mosquitto::flawed(flaw);
        for url in [mosquitto.url(), mosquitto.websocket_url()] {
            let ended = refused(call_with(alice(&url).option("--ca-file", mosquitto.ca_file())));
            assert_error(&ended, 20, &["TLS"], &[]);
            assert_says(ended.error(), words, others);
        }
    }
}

#[test]
fn a_certificate_of_an_unknown_authority() {
    let mosquitto = Mosquitto::tls();
    let ended = refused(call_with(alice(&mosquitto.url())));
    assert_error(&ended, 20, &["authority that is not trusted here", "--ca-file"], &["UnknownIssuer", "expired"]);
}

#[test]
fn a_broker_that_wants_or_refuses_a_client_certificate() {
    let (mosquitto, other) = (Mosquitto::tls_with_client_certificate(), Mosquitto::tls_with_client_certificate());
    for url in [mosquitto.url(), mosquitto.websocket_url()] {
        let trusting = || alice(&url).option("--ca-file", mosquitto.ca_file());
        let ended = refused(call_with(trusting()));
        assert_error(&ended, 20, &["client certificate", "--cert and --key"], &["--ca-file"]);
        let (certificate, key) = other.client_certificate();
        let ended = refused(call_with(trusting().option("--cert", certificate).option("--key", key)));
        assert_error(&ended, 20, &["our certificate", "client.crt"], &["--ca-file"]);
    }
}

/// A server that sends this at once, or once it has read something.
fn server(at_once: bool, says: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(loopback(0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                if !at_once {
                    // Whatever it is.
                    let _ = client.read(&mut [0; 512]);
                }
                let _ = client.write_all(says);
                std::thread::sleep(Duration::from_millis(500));
            });
        }
    });
    port
}

#[test]
fn a_port_that_speaks_another_protocol() {
    let (plain, tls) = (Mosquitto::anonymous(), Mosquitto::tls());
    let ssh = server(true, b"SSH-2.0-OpenSSH_9.2p1\r\n");
    let http = server(false, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let (plain_port, tls_port, websocket) = (plain.port(), tls.port(), plain.websocket_port());
    for (scheme, port, words) in [
        ("mqtt", tls_port, &["speaks TLS", "mqtts://"][..]),
        ("mqtts", plain_port, &["speaks MQTT without TLS", "mqtt://"]),
        ("ws", plain_port, &["speaks MQTT without WebSocket", "mqtt://"]),
        ("wss", plain_port, &["speaks MQTT without WebSocket", "mqtt://"]),
        ("mqtt", websocket, &["speaks HTTP", "ws://"]),
        ("mqtt", ssh, &["speaks SSH", "correct the port"]),
        ("mqtts", ssh, &["speaks SSH"]),
        ("mqtt", http, &["speaks HTTP"]),
        ("ws", http, &["404 Not Found", "path"]),
    ] {
        let url = format!("{scheme}://127.0.0.1:{port}");
        let ended = refused(call_with(alice(&url)));
        assert_error(&ended, 20, words, &["boundary", "ConnAck", "PubAck", "InvalidContentType", "--ca-file"]);
        assert!(ended.error().contains(&url), "{}", ended.error());
    }
}

#[test]
fn a_broker_that_nobody_named_is_said_to_be_the_default() {
    let run = |args: Args| refused(Args::new(["call", "bob", "--id", "alice"]).and(call::TEST_MEDIA).and(args));
    if TcpStream::connect(loopback(1883)).is_ok() {
        did_not_run("a broker listens at port 1883 here, where this test needs none");
        return;
    }
    let ended = run(Args::default());
    assert_error(&ended, 20, &["mqtt://127.0.0.1:1883", "the default", "tring serve", "--broker"], &[]);
    let ended = run(Args::default().option("--broker", format!("mqtt://127.0.0.1:{}", free_port())));
    assert_error(&ended, 20, &["connection refused"], &["default", "tring serve"]);
}

#[test]
fn an_id_that_the_broker_does_not_take() {
    // A CONNACK that refuses the identifier (MQTT 3.1.1, 3.2.2.3).
    let strict = server(false, b"\x20\x02\x00\x02");
    let ended = refused(call_with(alice(&format!("mqtt://127.0.0.1:{strict}"))));
    assert_error(&ended, 21, &["\"alice\"", "ClientId", "--id"], &["--password-file"]);
    // Mosquitto does not say whether it is the ID.
    let prefixed = Mosquitto::with("clientid_prefixes door-");
    let ended = refused(call_with(alice(&prefixed.url())));
    assert_error(&ended, 21, &["without a login", "--user", "another --id"], &[]);
}

#[test]
fn a_program_that_may_open_no_more_files() {
    let mosquitto = Mosquitto::anonymous();
    let mut bob = call::listen(bob(&mosquitto.url()).and(["--answer", "auto"]));
    // Enough to start and to ring, too few for the sockets of a call; what is first missing depends on the system.
    let mut seen = 0;
    for limit in ["9", "10", "11", "12", "13", "14", "15", "16", "18", "20"] {
        let limited = ["prlimit".to_owned(), format!("--nofile={limit}:{limit}")];
        let call = call_with(alice(&mosquitto.url()).option("--duration", "1s"));
        let alice = Ended::wait(&mut Tring::command(call).through(limited).spawn());
        if alice.status == 0 {
            break;
        }
        let said = alice.failure();
        assert_says(&said, &[], &["udp_sockets", "tcp_listeners"]);
        if said.contains("too many open files") {
            assert_says(&said, &["ulimit -n"], &["is --broker right"]);
            seen += 1;
        }
    }
    assert!(seen > 0, "no limit was low enough");
    assert!(bob.is_running());
}

// ---- the rules of the broker ----

/// Presence is free, and calls are as these rules say.
fn with_rules(mosquitto: &mut Mosquitto, calls: &str) {
    mosquitto.set_rules(&format!("pattern write tring/presence/%u\npattern read tring/presence/+\n{calls}"));
}

#[test]
fn rules_that_lose_calls_are_told_on_the_side_that_they_concern() {
    let _turn = Turn::small_call();
    let (mut mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    let url = mosquitto.url();
    let link = |id: &str| peer(id, &url).option("--user", id).option("--password-file", dir.write(id, password_of(id)));
    let all = |id: &str| format!("user {id}\ntopic write tring/call/{id}/+\ntopic read tring/call/+/{id}\n");
    for (rules, at_alice, at_bob) in [
        (format!("user alice\ntopic read tring/call/+/alice\n{}", all("bob")), "let alice write", false),
        (format!("user alice\ntopic write tring/call/alice/+\n{}", all("bob")), "let alice write", false),
        (format!("user bob\ntopic read tring/call/+/bob\n{}", all("alice")), "let bob read", true),
        (format!("user bob\ntopic write tring/call/bob/+\n{}", all("alice")), "let bob read", true),
    ] {
        with_rules(&mut mosquitto, &rules);
        let mut bob = call::listen(link("bob").and(["--answer", "auto"]));
        let alice = refused(call_with(link("alice")));
        assert_eq!((alice.status, alice.reason()), (13, "offline"));
        let detail = alice.event("ended")["detail"].as_str().unwrap_or_default();
        assert_says(detail, &["bob", at_alice, "tring doctor"], &[]);
        if at_bob {
            let warning = bob.wait_event("warning", PATIENCE);
            assert_says(warning["text"].as_str().unwrap(), &["tring/call/bob/bob", "tring doctor"], &[]);
        }
        bob.signal("TERM");
        let bob = Ended::wait(&mut bob);
        assert_eq!((bob.status, bob.warnings().len()), (0, usize::from(at_bob)));
    }
}

// ---- the relay ----

fn relayed(coturn: &Coturn, dir: &TempDir) -> Args {
    let password = dir.write("turn", coturn::PASSWORD);
    let relay = Args::new(["--ice", &coturn.udp_url(), "--ice-user", coturn::USER, "--relay-only"]);
    relay.option("--ice-password-file", password)
}

/// A relayed call of two that share one login finds no path; what is said of it.
fn in_vain(coturn: &Coturn) -> String {
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("secrets"));
    let mut bob = answering(bob(&mosquitto.url()).and(relayed(coturn, &dir)));
    let mut alice = call::call_bob(alice(&mosquitto.url()).and(relayed(coturn, &dir)));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (22, "no-path"));
    let detail = |side: &Ended| side.event("ended")["detail"].as_str().unwrap_or_default().to_owned();
    format!("{} / {}", detail(&alice), detail(&bob))
}

#[test]
fn a_quota_and_ports_that_are_used_up_are_no_wrong_login() {
    let _turn = Turn::small_call();
    let quota = Coturn::with("lt-cred-mech\nuser=alice:alice-secret\nuser-quota=1");
    assert_says(&in_vain(&quota), &["quota", "(486)", "user-quota"], &["--ice-user", "server works"]);
    assert_says(&in_vain(&Coturn::with_ports(1)), &["no relay port left", "(508)", "min-port"], &["--ice-user"]);
}

#[test]
fn a_relay_that_forbids_the_other_side_is_said_to() {
    let _turn = Turn::small_call();
    let rules = "lt-cred-mech\nuser=alice:alice-secret\ndenied-peer-ip=127.0.0.0-127.255.255.255";
    let said = in_vain(&Coturn::with(rules));
    assert_says(&said, &["forbids packets to the other side", "(403)", "denied-peer-ip"], &["server works"]);
}

#[test]
fn a_relay_that_dies_for_good_is_named_in_the_end() {
    let _turn = Turn::small_call();
    let (mosquitto, mut coturn, dir) = (Mosquitto::anonymous(), Coturn::long_term(), TempDir::new("secrets"));
    let mut bob = answering(bob(&mosquitto.url()).and(relayed(&coturn, &dir)));
    let mut alice = call::call_bob(alice(&mosquitto.url()).and(relayed(&coturn, &dir)));
    super::talking([&mut alice, &mut bob]);
    coturn.kill();
    for side in [&mut alice, &mut bob] {
        let ended = Ended::wait(side);
        assert_eq!((ended.status, ended.reason()), (22, "lost"));
        let detail = ended.event("ended")["detail"].as_str().unwrap_or_default();
        assert_says(detail, &["turn:127.0.0.1", "no answer for 4 s", "is it running"], &["IPv4"]);
    }
}

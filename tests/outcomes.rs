//! Every way a call, or the attempt at one, can end: the exit status and the events of both sides.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::activemq::ActiveMq;
use support::call::{self, Args, Ended, alone, talking};
use support::coturn::{self, Coturn};
use support::mosquitto::Mosquitto;
use support::process::Tring;
use support::{PATIENCE, TempDir, certificates, free_port, loopback};

mod support;

/// What a program on a busy machine needs beside the time it is allowed to wait for.
const SLACK: Duration = Duration::from_secs(5);

fn peer(id: &str, broker: &str) -> Args {
    Args::new(["--id", id, "--broker", broker])
}

fn alice(broker: &str) -> Args {
    peer("alice", broker)
}

fn bob(broker: &str) -> Args {
    peer("bob", broker)
}

/// A listener that answers at once and ends with its first call.
fn answering(link: Args) -> Tring {
    call::listen(link.and(["--answer", "auto", "--once"]))
}

/// A listener that does what its standard input says, and ends with its first call.
fn controlled(link: Args) -> Tring {
    call::listen(link.and(["--control", "-", "--once"]))
}

/// Alice and bob in a call without a set end, each under control.
fn in_a_call(broker: &str) -> (Tring, Tring) {
    let mut bob = answering(bob(broker).and(["--control", "-"]));
    let mut alice = call::call_bob(alice(broker).and(["--control", "-"]));
    talking([&mut alice, &mut bob]);
    (alice, bob)
}

/// The program with these arguments, to its end within 10 s.
fn refused(args: Args) -> Ended {
    let started = Instant::now();
    let ended = Ended::wait(&mut Tring::spawn(args));
    assert!(started.elapsed() < Duration::from_secs(10) + SLACK, "took {:?}", started.elapsed());
    ended
}

/// A command line that is refused before anything is done: usage goes to stderr.
fn assert_usage(args: Args, said: &str) {
    let mut tring = Tring::spawn(args);
    let status = tring.wait_exit(PATIENCE);
    let stderr = tring.wait_stderr();
    assert_eq!(status, 2, "{stderr}");
    assert!(stderr.contains(said), "{stderr}");
}

fn call_with(args: Args) -> Args {
    Args::new(["call", "bob"]).and(call::TEST_MEDIA).and(args)
}

// ---- before a call stands ----

#[test]
fn declined() {
    let mosquitto = Mosquitto::anonymous();
    let mut bob = call::listen(bob(&mosquitto.url()).and(["--answer", "reject", "--once"]));
    let alice = Ended::wait(&mut call::call_bob(alice(&mosquitto.url())));
    let bob = Ended::wait(&mut bob);
    assert_eq!((alice.status, alice.reason()), (11, "remote-decline"));
    assert_eq!(alice.course(), ["online", "dialing", "ringing", "ended", "summary"]);
    assert_eq!((bob.status, bob.reason()), (11, "decline"));
    assert_eq!(bob.course(), ["online", "incoming", "ended", "summary"]);
}

#[test]
fn declined_by_command() {
    let mosquitto = Mosquitto::anonymous();
    let mut bob = controlled(bob(&mosquitto.url()));
    let mut alice = call::call_bob(alice(&mosquitto.url()));
    bob.wait_event("incoming", PATIENCE);
    alice.wait_event("ringing", PATIENCE);
    bob.send_control(&json!({"command": "reject"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (11, "remote-decline"));
    assert_eq!((bob.status, bob.reason()), (11, "decline"));
}

#[test]
fn two_who_call_each_other_end_up_in_one_call() {
    let _alone = alone();
    let mosquitto = Mosquitto::anonymous();
    let mut alice = call::call_bob(alice(&mosquitto.url()));
    let call_alice = Args::new(["call", "alice"]).and(call::TEST_MEDIA).and(bob(&mosquitto.url()));
    let mut bob = Tring::spawn(call_alice);
    talking([&mut alice, &mut bob]);
    assert_flowing([&mut alice, &mut bob]);
    alice.interrupt();
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (130, "hangup"));
    assert_eq!((bob.status, bob.reason()), (0, "remote-hangup"));
    // The call of the lower ID is the one, on both sides.
    let call = &alice.event("dialing")["call_id"];
    for side in [&alice, &bob] {
        assert_eq!(&side.event("connected")["call_id"], call);
    }
}

#[test]
fn busy() {
    let _alone = alone();
    let mosquitto = Mosquitto::anonymous();
    let (mut alice, mut bob) = in_a_call(&mosquitto.url());
    let carol = Ended::wait(&mut call::call_bob(peer("carol", &mosquitto.url())));
    assert_eq!((carol.status, carol.reason()), (10, "busy"));
    assert_eq!(carol.course(), ["online", "dialing", "ended", "summary"]);
    let turned_away = bob.wait_event("turned_away", PATIENCE);
    assert_eq!(turned_away["caller"], "carol");
    // The call goes on as if nothing had been.
    for _ in 0..2 {
        assert_flowing([&mut alice, &mut bob]);
    }
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    alice.assert_called();
    assert_eq!((bob.status, bob.reason()), (0, "remote-hangup"));
    alice.assert_media();
    bob.assert_media();
}

#[test]
fn no_answer() {
    let mosquitto = Mosquitto::anonymous();
    let mut bob = controlled(bob(&mosquitto.url()));
    let mut alice = call::call_bob(alice(&mosquitto.url()).option("--answer-timeout", "2s"));
    let ringing = alice.wait_event("ringing", PATIENCE)["ts"].as_u64();
    let ended = alice.wait_event("ended", PATIENCE)["ts"].as_u64();
    let waited = ended.zip(ringing).map(|(ended, ringing)| ended - ringing);
    assert!(waited.is_some_and(|ms| (1_900..7_000).contains(&ms)), "waited {waited:?} ms");
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (12, "no-answer"));
    assert_eq!(alice.course(), ["online", "dialing", "ringing", "ended", "summary"]);
    assert_eq!((bob.status, bob.reason()), (12, "no-answer"));
    assert_eq!(bob.course(), ["online", "incoming", "ended", "summary"]);
}

#[test]
fn nobody_there() {
    let mosquitto = Mosquitto::anonymous();
    let ended = refused(call_with(alice(&mosquitto.url())));
    assert_eq!((ended.status, ended.reason()), (13, "offline"));
    assert_eq!(ended.course(), ["online", "dialing", "ended", "summary"]);
}

#[test]
fn nobody_there_any_more() {
    let mosquitto = Mosquitto::anonymous();
    let mut bob = controlled(bob(&mosquitto.url()));
    bob.send_control(&json!({"command": "quit"}));
    assert_eq!(bob.wait_exit(PATIENCE), 0);
    // Bob's presence, retained at the broker, says that he has gone: nothing has to be waited for.
    let mut alice = call::call_bob(alice(&mosquitto.url()));
    let dialing = alice.wait_event("dialing", PATIENCE)["ts"].as_u64();
    let ended = alice.wait_event("ended", PATIENCE)["ts"].as_u64();
    let waited = ended.zip(dialing).map(|(ended, dialing)| ended - dialing);
    assert!(waited.is_some_and(|ms| ms < 4_000), "waited {waited:?} ms");
    assert_eq!(alice.wait_exit(PATIENCE), 13);
}

#[test]
fn cancelled() {
    let mosquitto = Mosquitto::anonymous();
    let mut bob = controlled(bob(&mosquitto.url()));
    let mut alice = call::call_bob(alice(&mosquitto.url()));
    alice.wait_event("ringing", PATIENCE);
    alice.interrupt();
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (130, "cancel"));
    assert_eq!(alice.course(), ["online", "dialing", "ringing", "ended", "summary"]);
    assert_eq!((bob.status, bob.reason()), (14, "remote-cancel"));
    assert_eq!(bob.course(), ["online", "incoming", "ended", "summary"]);
}

// ---- in a call ----

/// Both have received more a second after than before.
fn assert_flowing<const N: usize>(sides: [&mut Tring; N]) {
    for side in sides {
        let frames = |stats: &Value| stats["received"]["video"]["frames"].as_u64();
        let before = frames(&side.wait_event("stats", PATIENCE));
        let after = frames(&side.wait_event("stats", PATIENCE));
        assert!(after > before, "{before:?} pictures and then {after:?}");
    }
}

#[test]
fn commands_rule_a_call() {
    let _alone = alone();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("snapshot"));
    let mut bob = controlled(bob(&mosquitto.url()));
    let mut alice = call::call_bob(alice(&mosquitto.url()).and(["--control", "-"]).option("--size", "320x240"));
    bob.wait_event("incoming", PATIENCE);
    bob.send_control(&json!({"command": "answer"}));
    talking([&mut alice, &mut bob]);
    let hears = |wanted: bool| move |stats: &Value| stats["received"]["audio"]["tone_hz"].is_number() == wanted;
    bob.wait_event_where("stats", PATIENCE, hears(true));

    alice.send_control(&json!({"command": "mute"}));
    let muted = alice.wait_event("muted", PATIENCE);
    assert_eq!((&muted["audio"], &muted["video"]), (&json!(true), &json!(false)));
    bob.wait_event_where("stats", PATIENCE, hears(false));
    alice.send_control(&json!({"command": "mute", "on": false}));
    assert_eq!(alice.wait_event("muted", PATIENCE)["audio"], false);
    bob.wait_event_where("stats", PATIENCE, hears(true));

    // Without a camera the test pattern is gone, whatever is sent in its place.
    let pattern = |stats: &Value| stats["received"]["video"]["pattern"]["read"].as_u64();
    alice.send_control(&json!({"command": "camera", "on": false}));
    assert_eq!(alice.wait_event("muted", PATIENCE)["video"], true);
    let mut last = None;
    let mut is_still = |stats: &Value| std::mem::replace(&mut last, pattern(stats)) == pattern(stats);
    wait_stats(&mut bob, &mut is_still);
    alice.send_control(&json!({"command": "camera", "on": true}));
    assert_eq!(alice.wait_event("muted", PATIENCE)["video"], false);
    let still = last;
    wait_stats(&mut bob, &mut |stats| pattern(stats) > still);

    let file = dir.file("seen.png");
    bob.send_control(&json!({"command": "snapshot", "file": file}));
    assert_eq!(bob.wait_event("snapshot", PATIENCE)["file"].as_str(), file.to_str());
    assert_eq!(png_size(&file), (320, 240));

    let count = bob.events_named("stats").len();
    for _ in 0..3 {
        bob.send_control(&json!({"command": "stats"}));
    }
    bob.send_control(&json!({"command": "dance"}));
    let warning = bob.wait_event("warning", PATIENCE);
    assert!(warning["text"].as_str().is_some_and(|text| text.contains("hangup")), "{warning}");
    assert!(bob.events_named("stats").len() >= count + 3, "figures that were asked for did not come");

    bob.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (0, "remote-hangup"));
    assert_eq!((bob.status, bob.reason()), (0, "hangup"));
}

fn wait_stats(side: &mut Tring, wanted: &mut dyn FnMut(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !wanted(&side.wait_event("stats", PATIENCE)) {
        assert!(Instant::now() < deadline, "the figures did not change");
    }
}

/// Width and height of a PNG file, from its header.
fn png_size(path: &Path) -> (u32, u32) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n", "{} is no PNG", path.display());
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn interrupted_caller() {
    let _alone = alone();
    let mosquitto = Mosquitto::anonymous();
    let (mut alice, mut bob) = in_a_call(&mosquitto.url());
    alice.interrupt();
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (130, "hangup"));
    bob.assert_answered();
}

#[test]
fn interrupted_callee() {
    let _alone = alone();
    let mosquitto = Mosquitto::anonymous();
    let (mut alice, mut bob) = in_a_call(&mosquitto.url());
    bob.interrupt();
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((bob.status, bob.reason()), (130, "hangup"));
    assert_eq!((alice.status, alice.reason()), (0, "remote-hangup"));
}

#[test]
fn terminated() {
    let _alone = alone();
    let mosquitto = Mosquitto::anonymous();
    let (mut alice, mut bob) = in_a_call(&mosquitto.url());
    alice.signal("TERM");
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    bob.assert_answered();
}

#[test]
fn the_set_duration_and_a_snapshot() {
    let _alone = alone();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("snapshot"));
    let file = dir.file("seen.png");
    let mut bob = answering(bob(&mosquitto.url()).option("--size", "480x360"));
    let mut alice = call::call_bob(alice(&mosquitto.url()).option("--duration", "2500ms").option("--snapshot", &file));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert!((2.4..4.5).contains(&alice.duration()), "the call lasted {} s", alice.duration());
    assert_eq!(alice.event("snapshot")["file"].as_str(), file.to_str());
    alice.assert_called();
    bob.assert_answered();
    assert_eq!(png_size(&file), (480, 360));
}

#[test]
fn a_listener_takes_one_call_after_the_other() {
    let _alone = alone();
    let mosquitto = Mosquitto::anonymous();
    let mut bob = call::listen(bob(&mosquitto.url()).and(["--answer", "auto"]));
    for id in ["alice", "carol"] {
        let caller = Ended::wait(&mut call::call_bob(peer(id, &mosquitto.url()).option("--duration", "1s")));
        assert_eq!(caller.status, 0);
        assert_eq!(bob.wait_event("summary", PATIENCE)["peer"], id);
    }
    bob.signal("TERM");
    assert_eq!(bob.wait_exit(PATIENCE), 0);
}

#[test]
fn calls_of_others_are_not_taken() {
    let mosquitto = Mosquitto::anonymous();
    let mut bob = call::listen(bob(&mosquitto.url()).and(["--answer", "auto", "--from", "alice"]));
    let carol = Ended::wait(&mut call::call_bob(peer("carol", &mosquitto.url())));
    assert_eq!((carol.status, carol.reason()), (13, "offline"));
    bob.interrupt();
    let bob = Ended::wait(&mut bob);
    assert_eq!((bob.status, bob.course()), (130, vec!["online"]));
}

// ---- the broker ----

fn taken_over(broker: &str) {
    let mut first = call::listen(bob(broker).and(["--answer", "auto"]));
    let mut second = call::listen(bob(broker).and(["--answer", "auto"]));
    let first = Ended::wait(&mut first);
    assert_eq!(first.status, 21);
    assert!(first.error().contains("taken over") && first.error().contains("bob"), "{}", first.error());
    // The first had to come back once to learn why it lost the broker; the second outlives that, and can be called.
    let deadline = Instant::now() + PATIENCE;
    while Ended::wait(&mut call::call_bob(alice(broker).option("--duration", "1s"))).status != 0 {
        assert!(second.is_running() && Instant::now() < deadline, "the second cannot be called");
    }
    second.signal("TERM");
    assert_eq!(Ended::wait(&mut second).status, 0);
}

#[test]
fn an_id_taken_over_on_mosquitto() {
    let _alone = alone();
    taken_over(&Mosquitto::anonymous().url());
}

#[test]
fn an_id_taken_over_on_activemq() {
    let _alone = alone();
    taken_over(&ActiveMq::anonymous().url());
}

#[test]
fn no_broker() {
    let broker = format!("mqtt://127.0.0.1:{}", free_port());
    let ended = refused(call_with(alice(&broker)));
    assert_eq!((ended.status, ended.course()), (20, vec!["error"]));
    assert_eq!(ended.event("error")["status"], 20);
    assert!(ended.error().contains(&broker), "{}", ended.error());
}

#[test]
fn a_server_that_speaks_something_else() {
    let server = TcpListener::bind(loopback(0)).unwrap();
    let broker = format!("mqtt://{}", server.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in server.incoming().map_while(Result::ok) {
            // Whatever a client makes of it is what is tested.
            let _ = std::io::Write::write_all(&mut &client, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let ended = refused(call_with(alice(&broker)));
    assert_eq!((ended.status, ended.course()), (20, vec!["error"]));
    assert!(ended.error().contains(&broker), "{}", ended.error());
}

#[test]
fn a_server_that_says_nothing() {
    let server = TcpListener::bind(loopback(0)).unwrap();
    let broker = format!("mqtt://{}", server.local_addr().unwrap());
    std::thread::spawn(move || server.incoming().map_while(Result::ok).collect::<Vec<TcpStream>>());
    let ended = refused(call_with(alice(&broker)));
    assert_eq!((ended.status, ended.course()), (20, vec!["error"]));
    assert!(ended.error().contains(&broker), "{}", ended.error());
}

#[test]
fn an_unknown_scheme() {
    assert_usage(call_with(alice("http://127.0.0.1")), "mqtt://");
}

#[test]
fn a_wrong_password() {
    let dir = TempDir::new("secrets");
    let wrong = dir.write("password", "guessed");
    let (mosquitto, activemq) = (Mosquitto::password(), ActiveMq::password());
    for broker in [mosquitto.url(), mosquitto.websocket_url(), activemq.url()] {
        let login = Args::default().option("--user", "alice").option("--password-file", &wrong);
        let ended = refused(call_with(alice(&broker).and(login)));
        assert_eq!((ended.status, ended.course()), (21, vec!["error"]), "{broker}");
        assert!(ended.error().contains(&broker) && ended.error().contains("--password-file"), "{}", ended.error());
    }
}

#[test]
fn a_broker_of_another_authority() {
    let mosquitto = Mosquitto::tls();
    let other = TempDir::new("authority");
    certificates::make(&other);
    for broker in [mosquitto.url(), mosquitto.websocket_url()] {
        let ended = refused(call_with(alice(&broker).option("--ca-file", other.file("ca.crt"))));
        assert_eq!((ended.status, ended.course()), (20, vec!["error"]), "{broker}");
        assert!(ended.error().contains("TLS") && ended.error().contains("--ca-file"), "{}", ended.error());
    }
}

#[test]
fn a_broker_killed_in_mid_call_does_not_end_it() {
    let _alone = alone();
    let mut mosquitto = Mosquitto::anonymous();
    let (mut alice, mut bob) = in_a_call(&mosquitto.url());
    mosquitto.kill();
    for side in [&mut alice, &mut bob] {
        side.wait_event("offline", PATIENCE);
        // Those that were told before the broker went do not count.
        side.events();
    }
    for _ in 0..3 {
        assert_flowing([&mut alice, &mut bob]);
    }
    // Nobody can tell bob; he sees that nothing comes any more.
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    assert_eq!((bob.status, bob.reason()), (22, "lost"));
    alice.assert_media();
    bob.assert_order();
}

#[test]
fn a_broker_restarted_in_mid_call_carries_the_hangup() {
    let _alone = alone();
    let mut mosquitto = Mosquitto::anonymous();
    let (mut alice, mut bob) = in_a_call(&mosquitto.url());
    mosquitto.restart();
    for side in [&mut alice, &mut bob] {
        side.wait_event("offline", PATIENCE);
        side.wait_event_where("online", PATIENCE, |_| true);
    }
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    assert_eq!((bob.status, bob.reason()), (0, "remote-hangup"));
    alice.assert_order();
    bob.assert_order();
}

#[test]
fn a_broker_restarted_while_it_rings_carries_the_answer() {
    let _alone = alone();
    let mut activemq = ActiveMq::anonymous();
    let mut bob = controlled(bob(&activemq.url()));
    let mut alice = call::call_bob(alice(&activemq.url()).option("--duration", "1s"));
    bob.wait_event("incoming", PATIENCE);
    alice.wait_event("ringing", PATIENCE);
    activemq.kill();
    bob.wait_event("offline", PATIENCE);
    bob.send_control(&json!({"command": "answer"}));
    bob.wait_event("accepted", PATIENCE);
    activemq.restart();
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    assert_eq!((bob.status, bob.reason()), (0, "remote-hangup"));
}

// ---- the relay ----

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
    let _alone = alone();
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
    let _alone = alone();
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

#[test]
fn turn_over_tcp_and_tls_is_refused_with_words() {
    for url in ["turns:127.0.0.1", "turn:127.0.0.1?transport=tcp", "turns:127.0.0.1:5349?transport=tcp"] {
        assert_usage(call_with(alice("mqtt://127.0.0.1").and(["--ice", url])), "not supported");
    }
}

// ---- sources ----

#[test]
fn a_missing_file() {
    let _alone = alone();
    let mosquitto = Mosquitto::anonymous();
    for file in ["file:/nonexistent/film.webm", "file:/nonexistent/film.y4m"] {
        let args = alice(&mosquitto.url()).option("--audio", "tone").option("--video", file);
        let ended = refused(Args::new(["call", "bob", "--show", "none", "--play", "none"]).and(args));
        assert_eq!(ended.status, 2);
        let said = ended.failure();
        assert!(said.contains("/nonexistent/film"), "{said}");
    }
}

#[test]
fn no_camera_and_no_microphone() {
    let _alone = alone();
    let mosquitto = Mosquitto::anonymous();
    for (video, audio, play) in
        [("camera", "none", "none"), ("test", "mic", "none"), ("test", "tone", "speaker"), ("camera:9", "tone", "none")]
    {
        let sources = ["call", "bob", "--show", "none", "--video", video, "--audio", audio, "--play", play];
        let ended = refused(Args::new(sources).and(alice(&mosquitto.url())));
        assert_eq!(ended.status, 25, "--video {video} --audio {audio} --play {play}");
        let said = ended.failure();
        assert!(said.contains("tring devices"), "{said}");
    }
}

#[test]
fn a_listener_without_a_camera_says_so_before_anyone_calls() {
    let mosquitto = Mosquitto::anonymous();
    let sources = ["listen", "--answer", "auto", "--show", "none", "--play", "none", "--video", "camera:9"];
    let bob = refused(Args::new(sources).and(bob(&mosquitto.url())));
    assert_eq!((bob.status, bob.course()), (25, vec!["error"]));
    assert!(bob.error().contains("tring devices"), "{}", bob.error());
}

#[test]
fn a_source_that_went_away_before_the_call() {
    let _alone = alone();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("film"));
    let grey = "FRAME\n".to_owned() + &"x".repeat(64 * 48 * 3 / 2);
    let film = dir.write("film.y4m", &format!("YUV4MPEG2 W64 H48 F30:1 C420jpeg\n{grey}{grey}"));
    let sources = ["listen", "--answer", "auto", "--once", "--show", "none", "--play", "none", "--audio", "none"];
    let file = format!("file:{}", film.display());
    let mut bob = Tring::spawn(Args::new(sources).option("--video", file).and(bob(&mosquitto.url())));
    bob.wait_event("online", PATIENCE);
    std::fs::remove_file(&film).unwrap();
    let alice = Ended::wait(&mut call::call_bob(alice(&mosquitto.url())));
    let bob = Ended::wait(&mut bob);
    assert_eq!((bob.status, bob.reason()), (2, "failed"));
    assert!(bob.failure().contains("film.y4m"), "{}", bob.failure());
    assert_eq!((alice.status, alice.reason()), (22, "no-path"));
}

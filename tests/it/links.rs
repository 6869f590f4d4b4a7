//! The link to the broker as whole programs: MQTT 5, what rules refuse, a list of brokers, presence and who sees it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signalling::id::{Nonce, PeerId};
use signalling::mqtt::{Audience, Link, LinkConfig, LinkEvent, MqttVersion, TlsFiles};
use signalling::topic::Template;
use tokio_util::sync::CancellationToken;

use crate::support::activemq::ActiveMq;
use crate::support::call::{self, Args, Ended, talking};
use crate::support::mallory::Mallory;
use crate::support::mosquitto::Mosquitto;
use crate::support::process::{PROGRAM, Tring};
use crate::support::screen::Tmux;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, USERS, free_port, loopback, password_of};

/// What a program on a busy machine needs beside the time it is allowed to wait for.
const SLACK: Duration = Duration::from_secs(4);

/// How soon signalling is to be back after its broker.
const BACK: Duration = Duration::from_secs(2);

fn peer(id: &str, broker: &str) -> Args {
    Args::new(["--id", id, "--broker", broker])
}

/// A login of one of the users of a broker with logins.
fn login(dir: &TempDir, user: &str) -> Args {
    let file = dir.write(&format!("{user}.password"), password_of(user));
    Args::new(["--user", user]).option("--password-file", file)
}

fn calling(link: Args) -> Args {
    Args::new(["call", "bob"]).and(call::TEST_MEDIA).and(link)
}

fn listening(link: Args) -> Args {
    Args::new(["listen", "--answer", "auto"]).and(call::TEST_MEDIA).and(link)
}

/// The program ends soon with 21, before it was online, and says all these words.
fn assert_refused(args: Args, words: &[&str]) {
    let started = Instant::now();
    let ended = Ended::wait(&mut Tring::spawn(args));
    assert!(started.elapsed() < Duration::from_secs(10) + SLACK, "took {:?}", started.elapsed());
    assert_eq!((ended.status, ended.course()), (21, vec!["error"]));
    for word in words {
        assert!(ended.error().contains(word), "not a word of {word}: {}", ended.error());
    }
}

/// `tring contacts`, without `--json` and with nobody at its input.
fn contacts_text(args: Args) -> Output {
    let dir = TempDir::new("contacts");
    Tring::command(Args::new(["contacts", "--once"]).and(args)).output(dir.path())
}

/// A running `tring contacts --json` that is connected.
fn contacts(args: Args) -> Tring {
    let mut contacts = Tring::spawn(Args::new(["contacts"]).and(args));
    contacts.wait_event("online", PATIENCE);
    contacts
}

/// Waits until this is told of a peer; null when nothing is known.
fn wait_presence(contacts: &mut Tring, id: &str, state: Value) {
    contacts.wait_event_where("presence", PATIENCE, |event| event["id"] == id && event["state"] == state);
}

// ---- MQTT 5 ----

#[test]
fn a_call_over_mqtt_5() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let five = |id: &str| peer(id, &mosquitto.url()).option("--mqtt", "5");
    let mut bob = call::listen(five("bob").and(["--answer", "auto", "--once"]));
    let mut alice = call::call_bob(five("alice").option("--duration", "3s"));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    alice.assert_called();
    bob.assert_answered();
    alice.assert_media();
    for id in ["alice", "bob"] {
        let spoke_five = |line: &str| line.contains(&format!(" as {id} (p5,"));
        assert!(mosquitto.log().lines().any(spoke_five), "{id} does not speak version 5");
    }
}

#[test]
fn versions_meet_at_one_broker() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut bob = call::listen(peer("bob", &mosquitto.url()).and(["--answer", "auto", "--once"]));
    let five = Tring::command(calling(peer("alice", &mosquitto.url())).option("--duration", "1s"));
    let mut alice = five.env("TRING_MQTT", "5").spawn();
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    alice.assert_called();
    bob.assert_answered();
}

#[test]
fn mqtt_5_where_the_broker_does_not_know_it() {
    let activemq = ActiveMq::anonymous();
    for args in [calling(peer("alice", &activemq.url())), listening(peer("bob", &activemq.url()))] {
        assert_refused(args.option("--mqtt", "5"), &[&activemq.url(), "drop --mqtt 5"]);
    }
}

#[test]
fn an_unknown_version() {
    let mut tring = Tring::spawn(calling(peer("alice", "mqtt://127.0.0.1")).option("--mqtt", "4"));
    assert_eq!(tring.wait_exit(PATIENCE), 2);
    assert!(tring.wait_stderr().contains("use 3.1.1 or 5"));
}

// ---- what the broker's rules refuse ----

#[test]
fn a_publish_that_the_broker_drops() {
    let (mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    // Mallory's login may write as mallory alone; in version 3.1.1 the broker says that all is well.
    for version in ["3.1.1", "5"] {
        let link = |id: &str| peer(id, &mosquitto.url()).and(login(&dir, "mallory")).option("--mqtt", version);
        let rule = "must let alice write and read it";
        assert_refused(calling(link("alice")), &[&mosquitto.url(), "tring/presence/alice", rule]);
        assert_refused(listening(link("bob")), &[&mosquitto.url(), "tring/presence/bob", "write and read"]);
    }
}

#[test]
fn presence_that_may_be_written_and_not_read() {
    let (mut mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    let calls = "pattern write tring/call/%u/+\npattern read tring/call/+/%u\n";
    let presence = "pattern write tring/presence/%u\nuser mallory\ntopic read tring/presence/+\n";
    mosquitto.set_rules(&format!("{calls}{presence}"));
    let link = peer("bob", &mosquitto.url()).and(login(&dir, "bob"));
    assert_refused(listening(link), &["tring/presence/bob", "write and read"]);
    // Nobody takes bob for available because of what he could write.
    let mut contacts = contacts(Args::new(["bob"]).and(peer("mallory", &mosquitto.url())).and(login(&dir, "mallory")));
    wait_presence(&mut contacts, "bob", "offline".into());
}

#[test]
fn a_subscription_that_the_broker_refuses() {
    let (activemq, dir) = (ActiveMq::password(), TempDir::new("secrets"));
    let link = |id: &str| peer(id, &activemq.url()).and(login(&dir, "mallory"));
    assert_refused(calling(link("alice")), &[&activemq.url(), "tring/call/bob/alice", "must let alice read it"]);
    assert_refused(listening(link("bob")), &[&activemq.url(), "tring/call/+/bob", "must let bob read it"]);
}

#[test]
fn a_call_that_may_not_be_written() {
    let (mut mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    let presence = "pattern write tring/presence/%u\npattern read tring/presence/+\n";
    mosquitto.set_rules(&format!("{presence}pattern read tring/call/+/%u\nuser bob\ntopic write tring/call/bob/+\n"));
    let link = |id: &str| peer(id, &mosquitto.url()).and(login(&dir, id)).option("--mqtt", "5");
    let mut bob = call::listen(link("bob").and(["--answer", "auto"]));
    let alice = Ended::wait(&mut call::call_bob(link("alice")));
    assert_eq!(alice.status, 21);
    assert!(alice.error().contains("tring/call/alice/bob"), "{}", alice.error());
    assert!(bob.is_running());
}

/// Hands everything on between a client and a broker, but from the answer to the subscription on with a delay.
fn slow_to_acknowledge(broker: u16, delay: Duration) -> String {
    let listener = TcpListener::bind(loopback(0)).unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut server = TcpStream::connect(loopback(broker)).unwrap();
            let (mut to_server, mut from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            // Both directions end with the connection.
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                let mut answered = false;
                while let Ok(count @ 1..) = server.read(&mut buffer) {
                    if answered {
                        std::thread::sleep(delay);
                    }
                    // The first byte of a SUBACK is 0x90.
                    answered |= buffer[0] == 0x90;
                    if client.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[test]
fn a_slow_broker_is_not_taken_for_one_that_refuses() {
    let mosquitto = Mosquitto::anonymous();
    let delay = Duration::from_millis(3500);
    let slow = slow_to_acknowledge(mosquitto.port(), delay);
    let started = Instant::now();
    let mut bob = call::listen(peer("bob", &slow).and(["--answer", "auto"]));
    assert!(started.elapsed() >= delay, "online before its presence came back");
    bob.signal("TERM");
    assert_eq!(Ended::wait(&mut bob).course(), ["online"]);
}

#[tokio::test]
async fn a_link_that_asks_for_itself_hears_itself() {
    let mosquitto = Mosquitto::anonymous();
    let me: PeerId = "alice".parse().unwrap();
    for version in [MqttVersion::V3, MqttVersion::V5] {
        let config = LinkConfig {
            me: me.clone(),
            run: Nonce(7),
            brokers: vec![mosquitto.url().parse().unwrap()],
            version,
            login: None,
            tls: TlsFiles::default(),
            proxies: signalling::mqtt::Proxies::default(),
            template: Template::default(),
            audience: Audience::Only(vec![me.clone()]),
            sealing: None,
        };
        let (link, handle, mut events) = Link::new(config).unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(link.run(stop.clone()));
        let up = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap();
        assert!(matches!(&up, Some(LinkEvent::Up { round_trip, .. }) if !round_trip.is_zero()), "{up:?}");
        handle.publish(me.clone(), b"anyone there?".to_vec()).unwrap();
        let heard = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap();
        match heard {
            Some(LinkEvent::Message { from, payload, .. }) => {
                assert_eq!((from, &payload[..]), (me.clone(), &b"anyone there?"[..]))
            }
            other => panic!("{other:?}"),
        }
        stop.cancel();
        running.await.unwrap();
    }
}

// ---- an ID in use twice ----

fn taken_over(broker: &str) {
    let five = |id: &str| peer(id, broker).option("--mqtt", "5");
    let mut first = call::listen(five("bob").and(["--answer", "auto"]));
    let mut second = call::listen(five("bob").and(["--answer", "auto"]));
    let first = Ended::wait(&mut first);
    assert_eq!(first.status, 21);
    assert!(first.error().contains("taken over") && first.error().contains("bob"), "{}", first.error());
    let deadline = Instant::now() + PATIENCE;
    while Ended::wait(&mut call::call_bob(five("alice").option("--duration", "1s"))).status != 0 {
        assert!(second.is_running() && Instant::now() < deadline, "the second cannot be called");
    }
    second.signal("TERM");
    assert_eq!(Ended::wait(&mut second).status, 0);
}

#[test]
fn an_id_taken_over_in_mqtt_5() {
    let _turn = Turn::small_call();
    taken_over(&Mosquitto::anonymous().url());
}

#[test]
fn an_id_taken_over_at_a_broker_that_says_so() {
    let _turn = Turn::small_call();
    let mut serve = Tring::spawn(["serve", "--mqtt-port", "0", "--websocket-port", "0", "--turn-port", "0"]);
    let broker = serve.wait_event("serving", PATIENCE)["mqtt"].as_str().unwrap().to_owned();
    taken_over(&broker);
}

// ---- several brokers ----

/// When an event came, by the program's own clock.
fn came_at(event: &Value) -> u64 {
    event["ts"].as_u64().unwrap()
}

fn now_ms() -> u64 {
    u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// Both are at this broker in good time after a moment; a side that left another one says so first.
fn assert_meet(sides: [&mut Tring; 2], broker: &str, since_ms: u64) {
    for side in sides {
        let online = side.wait_event_where("online", PATIENCE, |event| event["broker"] == broker);
        let took = Duration::from_millis(came_at(&online).saturating_sub(since_ms));
        assert!(took < BACK + SLACK, "at {broker} after {took:?}");
    }
}

#[test]
fn the_next_broker_carries_the_call_and_the_first_has_it_back() {
    let _turn = Turn::call();
    let (mut first, mut second) = (Mosquitto::anonymous(), Mosquitto::anonymous());
    let list = |id: &str| peer(id, &first.url()).option("--broker", second.url());
    let both = ["--control", "-"];
    let mut bob = call::listen(list("bob").and(["--answer", "auto", "--once"]).and(both));
    let mut alice = call::call_bob(list("alice").and(both));
    talking([&mut alice, &mut bob]);
    for side in [&mut alice, &mut bob] {
        assert_eq!(side.events_named("online")[0]["broker"], first.url());
    }
    first.kill();
    assert_meet([&mut alice, &mut bob], &second.url(), now_ms());
    first.restart();
    assert_meet([&mut alice, &mut bob], &first.url(), now_ms());
    // Nothing but the preferred one is left, and it carries the end.
    second.kill();
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    assert_eq!((bob.status, bob.reason()), (0, "remote-hangup"));
    alice.assert_order();
    bob.assert_order();
    for side in [&alice, &bob] {
        assert!(!side.course().contains(&"reconnecting"), "the call itself was not touched");
        assert_eq!(side.course().iter().filter(|name| **name == "online").count(), 3);
    }
}

#[test]
fn brokers_that_are_all_away_are_named() {
    let ports = [(); 2].map(|()| free_port());
    let list = ports.map(|port| format!("mqtt://127.0.0.1:{port}"));
    let ended = Ended::wait(&mut Tring::spawn(calling(peer("alice", &list.join(",")))));
    assert_eq!((ended.status, ended.course()), (20, vec!["error"]));
    assert!(list.iter().all(|broker| ended.error().contains(broker)), "{}", ended.error());
}

// ---- presence ----

#[test]
fn contacts_shows_what_happens() {
    let _turn = Turn::small_call();
    let mosquitto = Mosquitto::anonymous();
    let mut contacts = contacts(Args::new(["bob"]).and(peer("carol", &mosquitto.url())));
    wait_presence(&mut contacts, "bob", Value::Null);
    let mut bob = call::listen(peer("bob", &mosquitto.url()).and(["--answer", "auto", "--control", "-"]));
    wait_presence(&mut contacts, "bob", "available".into());
    let mut alice = call::call_bob(peer("alice", &mosquitto.url()).option("--duration", "1s"));
    wait_presence(&mut contacts, "bob", "busy".into());
    assert_eq!(Ended::wait(&mut alice).status, 0);
    wait_presence(&mut contacts, "bob", "available".into());
    bob.send_control(&json!({"command": "away"}));
    wait_presence(&mut contacts, "bob", "away".into());
    bob.signal("TERM");
    assert_eq!(bob.wait_exit(PATIENCE), 0);
    wait_presence(&mut contacts, "bob", "offline".into());
    contacts.interrupt();
    let contacts = Ended::wait(&mut contacts);
    assert_eq!(contacts.status, 130);
    let told: Vec<_> = contacts.events.iter().filter(|event| event["event"] == "presence").collect();
    assert!(told.iter().all(|event| event["id"] == "bob"), "others were not asked for");
    assert_eq!(told.len(), 6, "each change is told once");
}

#[test]
fn who_is_away_can_be_called_and_is_away_again() {
    let _turn = Turn::small_call();
    let mosquitto = Mosquitto::anonymous();
    let mut contacts = contacts(peer("carol", &mosquitto.url()));
    let mut bob = call::listen(peer("bob", &mosquitto.url()).and(["--answer", "auto", "--away", "--control", "-"]));
    wait_presence(&mut contacts, "bob", "away".into());
    // Waiting for somebody to come online is over when they are away, too.
    let mut alice = call::call_bob(peer("alice", &mosquitto.url()).and(["--wait", "--control", "-"]));
    talking([&mut alice, &mut bob]);
    wait_presence(&mut contacts, "bob", "busy".into());
    alice.send_control(&json!({"command": "hangup"}));
    assert_eq!(Ended::wait(&mut alice).status, 0);
    wait_presence(&mut contacts, "bob", "away".into());
    bob.send_control(&json!({"command": "back"}));
    wait_presence(&mut contacts, "bob", "available".into());
    let of_bob = contacts.events_named("presence").into_iter().filter(|event| event["id"] == "bob");
    let states: Vec<Value> = of_bob.map(|event| event["state"].clone()).collect();
    assert_eq!(states, ["away", "busy", "away", "available"]);
}

#[test]
fn a_crash_shows_by_the_will() {
    let (mosquitto, activemq) = (Mosquitto::anonymous(), ActiveMq::anonymous());
    for (broker, version) in [(mosquitto.url(), "3.1.1"), (mosquitto.url(), "5"), (activemq.url(), "3.1.1")] {
        let link = |id: &str| peer(id, &broker).option("--mqtt", version);
        let mut contacts = contacts(Args::new(["bob"]).and(link("carol")));
        let mut bob = call::listen(link("bob").and(["--answer", "auto"]));
        wait_presence(&mut contacts, "bob", "available".into());
        bob.signal("KILL");
        assert_eq!(bob.wait_exit(PATIENCE), 137);
        wait_presence(&mut contacts, "bob", "offline".into());
    }
}

#[test]
fn contacts_once_prints_what_the_broker_holds() {
    let mosquitto = Mosquitto::anonymous();
    let mut mallory = Mallory::at(mosquitto.port());
    let presence = |state: &str| format!(r#"{{"v":1,"state":"{state}","run":"6d-0"}}"#);
    mallory.retain("tring/presence/alice", presence("available"));
    mallory.retain("tring/presence/dave", presence("away"));
    mallory.retain("tring/presence/eve", "\u{1b}[2J\u{1b}]0;owned\u{7}");
    mallory.retain("tring/presence/f.f", presence("available"));
    mallory.delivered();

    let output = contacts_text(peer("carol", &mosquitto.url()));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        ["STATE", "PEER", "SINCE"],
        ["available", "alice", "earlier"],
        ["away", "dave", "earlier"],
        ["unknown", "eve", "earlier"],
    ];
    assert_eq!(lines, expected);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");

    let output = contacts_text(Args::new(["dave", "nobody"]).and(peer("carol", &mosquitto.url())));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().skip(1).map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(lines, ["away", "unknown"], "{text}");

    let mut json = Tring::spawn(Args::new(["contacts", "--once"]).and(peer("carol", &mosquitto.url())));
    let json = Ended::wait(&mut json);
    let told: Vec<(&Value, &Value)> =
        json.events.iter().filter(|e| e["event"] == "presence").map(|e| (&e["id"], &e["state"])).collect();
    let (alice, dave, eve) = (json!("alice"), json!("dave"), json!("eve"));
    let (available, away) = (json!("available"), json!("away"));
    assert_eq!((json.status, told), (0, vec![(&alice, &available), (&dave, &away), (&eve, &Value::Null)]));
}

#[test]
fn contacts_where_nobody_is() {
    let mosquitto = Mosquitto::anonymous();
    let output = contacts_text(peer("carol", &mosquitto.url()));
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("nobody: "), "{output:?}");
}

#[test]
fn contacts_on_a_terminal_is_a_table_that_changes() {
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("terminal"));
    let terminal = Tmux::run(&format!("{PROGRAM} contacts --id carol --broker {}", mosquitto.url()), dir.path());
    terminal.until("an empty table", |shown| shown.contains("nobody: ") && shown.contains("Ctrl-C ends"));
    let mut bob = call::listen(peer("bob", &mosquitto.url()).and(["--answer", "auto", "--control", "-"]));
    let has = |shown: &str, words: &[&str]| shown.lines().any(|line| words.iter().all(|word| line.contains(word)));
    terminal.until("bob", |shown| has(shown, &["available", "bob", "s ago"]) && !shown.contains("nobody: "));
    bob.send_control(&json!({"command": "away"}));
    let shown = terminal.until("bob away", |shown| has(shown, &["away", "bob"]));
    assert_eq!(shown.matches("PEER").count(), 1, "one table, drawn again in place\n{shown}");
    assert_eq!(shown.matches("bob").count(), 1, "{shown}");
}

#[test]
fn looking_on_leaves_ones_own_program_alone() {
    let (mosquitto, activemq) = (Mosquitto::anonymous(), ActiveMq::anonymous());
    for broker in [mosquitto.url(), activemq.url()] {
        let mut bob = call::listen(peer("bob", &broker).and(["--answer", "auto"]));
        let mut contacts = contacts(peer("bob", &broker));
        wait_presence(&mut contacts, "bob", "available".into());
        contacts.signal("TERM");
        assert_eq!(contacts.wait_exit(PATIENCE), 0);
        bob.signal("TERM");
        assert_eq!(Ended::wait(&mut bob).course(), ["online"], "{broker}");
    }
}

#[test]
fn looking_on_with_logins() {
    let (activemq, dir) = (ActiveMq::password(), TempDir::new("secrets"));
    let users = dir.write("users", &USERS.map(|(user, password)| format!("{user}:{password}")).join("\n"));
    let secret = dir.write("secret", "turn");
    let serve = ["serve", "--mqtt-port", "0", "--websocket-port", "0", "--turn-port", "0"];
    let serve = Args::new(serve).option("--users-file", users).option("--ice-secret-file", secret);
    let mut serve = Tring::spawn(serve);
    let served = serve.wait_event("serving", PATIENCE)["mqtt"].as_str().unwrap().to_owned();
    for broker in [activemq.url(), served] {
        let link = || peer("bob", &broker).and(login(&dir, "bob"));
        let mut bob = call::listen(link().and(["--answer", "auto"]));
        let mut contacts = contacts(link());
        wait_presence(&mut contacts, "bob", "available".into());
        bob.signal("TERM");
        assert_eq!(Ended::wait(&mut bob).course(), ["online"], "{broker}");
        wait_presence(&mut contacts, "bob", "offline".into());
    }
}

#[test]
fn a_login_with_one_connection_is_not_fought_for() {
    let (mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    let link = || peer("bob", &mosquitto.url()).and(login(&dir, "bob"));
    let mut bob = call::listen(link().and(["--answer", "auto"]));
    // This broker makes every connection of bob's login the client bob.
    let contacts = Ended::wait(&mut Tring::spawn(Args::new(["contacts"]).and(link())));
    assert_eq!(contacts.status, 21);
    assert!(contacts.error().contains("one connection"), "{}", contacts.error());
    // Bob lost his place for a moment and has it again.
    bob.wait_event("online", PATIENCE);
    let other = peer("alice", &mosquitto.url()).and(login(&dir, "alice"));
    let mut alice = Tring::spawn(Args::new(["contacts", "bob"]).and(other));
    wait_presence(&mut alice, "bob", "available".into());
    bob.signal("TERM");
    assert_eq!(Ended::wait(&mut bob).course(), ["online", "offline", "online"]);
}

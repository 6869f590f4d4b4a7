//! The broker: away, back again, refusing, or not one at all.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{alice, assert_flowing, assert_usage, bob, call_with, controlled, in_a_call, peer, refused};
use crate::support::broker::{Make, over_each_broker};
use crate::support::call::{self, Args, Ended};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, certificates, free_port, loopback, password_of};

over_each_broker!(
    killed_in_mid_call_does_not_end_it,
    restarted_in_mid_call_carries_the_hangup,
    restarted_while_it_rings_carries_the_answer,
    back_again_carries_the_hangup_said_meanwhile,
    back_again_carries_the_decline_said_meanwhile,
    an_id_taken_over,
    a_wrong_password,
    another_authority,
    a_topic_that_its_rules_refuse,
);

/// What is told of a broker that goes and comes back.
const GONE_AND_BACK: [&str; 3] = ["online", "offline", "online"];

/// What a caller tells of a call.
const CALLED: [&str; 7] = ["dialing", "ringing", "accepted", "connecting", "connected", "ended", "summary"];

/// And what a callee tells.
const ANSWERED: [&str; 6] = ["incoming", "accepted", "connecting", "connected", "ended", "summary"];

/// What it told of the broker, and what of the call; how the media fared meanwhile is not the subject.
fn told(side: &Ended) -> (Vec<&str>, Vec<&str>) {
    let fared = ["first_frame", "reconnecting", "reconnected"];
    let course = side.course().into_iter().filter(|name| !fared.contains(name));
    course.partition(|name| ["online", "offline"].contains(name))
}

/// It lost the broker and took this course. The bye may be the first that a broker says which is back, and the end of
/// the call the end of the program, before `online` is told.
fn assert_ended_as_it_came_back(side: &Ended, course: &[&str]) {
    let (broker, call) = told(side);
    assert!(broker == GONE_AND_BACK || broker == GONE_AND_BACK[..2], "{broker:?}");
    assert_eq!(call, course);
}

// ---- away ----

/// Those events with a warning before the last two, `ended` and `summary`.
fn warned_of_in_the_end(events: &[&'static str]) -> Vec<&'static str> {
    let (before, end) = events.split_at(events.len() - 2);
    [before, &["warning"], end].concat()
}

fn killed_in_mid_call_does_not_end_it(make: Make) {
    let _turn = Turn::call();
    let mut broker = make.open();
    let (mut alice, mut bob) = in_a_call(&broker.url());
    broker.kill();
    for side in [&mut alice, &mut bob] {
        side.wait_event("offline", PATIENCE);
        // Figures that were told before the broker went do not count.
        side.catch_up();
    }
    for _ in 0..3 {
        assert_flowing([&mut alice, &mut bob]);
    }
    // Nobody can tell bob; he sees that nothing comes any more.
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    // She waits for the broker to carry her bye, and says so before the call is closed.
    assert_eq!(told(&alice), (vec!["online", "offline"], warned_of_in_the_end(&CALLED)));
    assert!(alice.warnings()[0].contains("tell the other side"), "{:?}", alice.warnings());
    assert_eq!((bob.status, bob.reason()), (22, "lost"));
    // So does he, in case she is still there and it was the path alone.
    assert_eq!(told(&bob), (vec!["online", "offline"], warned_of_in_the_end(&ANSWERED)));
    alice.assert_media();
    bob.assert_order();
}

fn restarted_in_mid_call_carries_the_hangup(make: Make) {
    let _turn = Turn::call();
    let mut broker = make.open();
    let (mut alice, mut bob) = in_a_call(&broker.url());
    broker.kill();
    for side in [&mut alice, &mut bob] {
        side.wait_event("offline", PATIENCE);
        side.catch_up();
    }
    broker.restart();
    for side in [&mut alice, &mut bob] {
        side.wait_event("online", PATIENCE);
    }
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    assert_eq!(told(&alice), (GONE_AND_BACK.to_vec(), CALLED.to_vec()));
    assert_eq!((bob.status, bob.reason()), (0, "remote-hangup"));
    assert_eq!(told(&bob), (GONE_AND_BACK.to_vec(), ANSWERED.to_vec()));
    alice.assert_order();
    bob.assert_order();
}

fn restarted_while_it_rings_carries_the_answer(make: Make) {
    let _turn = Turn::call();
    let mut broker = make.open();
    let mut bob = controlled(bob(&broker.url()));
    let mut alice = call::call_bob(alice(&broker.url()).option("--duration", "1s"));
    bob.wait_event("incoming", PATIENCE);
    alice.wait_event("ringing", PATIENCE);
    broker.kill();
    bob.wait_event("offline", PATIENCE);
    bob.send_control(&json!({"command": "answer"}));
    bob.wait_event("accepted", PATIENCE);
    broker.restart();
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    assert_eq!(told(&alice), (GONE_AND_BACK.to_vec(), CALLED.to_vec()));
    assert_eq!((bob.status, bob.reason()), (0, "remote-hangup"));
    assert_eq!(told(&bob), (GONE_AND_BACK.to_vec(), ANSWERED.to_vec()));
}

fn back_again_carries_the_hangup_said_meanwhile(make: Make) {
    let _turn = Turn::call();
    let mut broker = make.open();
    let mut bob = call::listen(bob(&broker.url()).and(["--answer", "auto", "--control", "-"]));
    let mut alice = call::call_bob(alice(&broker.url()));
    alice.wait_event("first_frame", PATIENCE);
    broker.kill();
    bob.wait_event("offline", PATIENCE);
    bob.send_control(&json!({"command": "hangup"}));
    assert_eq!(bob.wait_event("ended", PATIENCE)["reason"], "hangup");
    // Before alice sees by herself that nothing comes any more, and calls it lost.
    broker.restart();
    let alice = Ended::wait(&mut alice);
    assert_eq!((alice.status, alice.reason()), (0, "remote-hangup"));
    assert_ended_as_it_came_back(&alice, &CALLED);
    bob.send_control(&json!({"command": "quit"}));
    let bob = Ended::wait(&mut bob);
    assert_eq!(bob.status, 0);
    assert_eq!(told(&bob), (GONE_AND_BACK.to_vec(), ANSWERED.to_vec()));
}

fn back_again_carries_the_decline_said_meanwhile(make: Make) {
    let mut broker = make.open();
    let mut bob = call::listen(bob(&broker.url()).and(["--control", "-"]));
    let mut alice = call::call_bob(alice(&broker.url()));
    alice.wait_event("ringing", PATIENCE);
    broker.kill();
    bob.wait_event("offline", PATIENCE);
    bob.send_control(&json!({"command": "reject"}));
    assert_eq!(bob.wait_event("ended", PATIENCE)["reason"], "decline");
    broker.restart();
    let alice = Ended::wait(&mut alice);
    assert_eq!((alice.status, alice.reason()), (11, "remote-decline"));
    assert_ended_as_it_came_back(&alice, &["dialing", "ringing", "ended", "summary"]);
    bob.send_control(&json!({"command": "quit"}));
    let bob = Ended::wait(&mut bob);
    assert_eq!(bob.status, 0);
    assert_eq!(told(&bob), (GONE_AND_BACK.to_vec(), vec!["incoming", "ended", "summary"]));
}

// ---- refusing ----

/// One of two programs with one ID ends, and says why; the other lives and can be called. It is the first that ends;
/// ActiveMQ may let each throw the other off before either has read who else is there, and then it may be the second.
fn an_id_taken_over(make: Make) {
    let _turn = Turn::call();
    let server = make.open();
    let broker = &server.url();
    let mut first = call::listen(bob(broker).and(["--answer", "auto"]));
    let mut second = call::listen(bob(broker).and(["--answer", "auto"]));
    let deadline = Instant::now() + PATIENCE;
    while first.is_running() && second.is_running() {
        assert!(Instant::now() < deadline, "neither gives up");
        std::thread::sleep(Duration::from_millis(20));
    }
    let first_ended = !first.is_running();
    assert!(first_ended || make == Make::ActiveMq, "the second gave up");
    let (ended, mut lives) = if first_ended { (&mut first, second) } else { (&mut second, first) };
    let ended = Ended::wait(ended);
    assert_eq!(ended.status, 21);
    assert_eq!(ended.course().last(), Some(&"error"));
    assert!(ended.error().contains("taken over") && ended.error().contains("bob"), "{}", ended.error());
    // The other was thrown off once or twice for it; it outlives that, and can be called.
    while Ended::wait(&mut call::call_bob(alice(broker).option("--duration", "1s"))).status != 0 {
        assert!(lives.is_running() && Instant::now() < deadline, "the other cannot be called");
    }
    lives.signal("TERM");
    assert_eq!(Ended::wait(&mut lives).status, 0);
}

fn a_wrong_password(make: Make) {
    let (broker, dir) = (make.guarded(), TempDir::new("secrets"));
    let wrong = dir.write("password", "guessed");
    for url in broker.urls() {
        let login = Args::default().option("--user", "alice").option("--password-file", &wrong);
        let ended = refused(call_with(alice(&url).and(login)));
        assert_eq!((ended.status, ended.course()), (21, vec!["error"]), "{url}");
        assert!(ended.error().contains(&url) && ended.error().contains("--password-file"), "{}", ended.error());
    }
}

fn another_authority(make: Make) {
    let (broker, dir) = (make.tls(), TempDir::new("authority"));
    certificates::make(&dir);
    for url in broker.urls() {
        let ended = refused(call_with(alice(&url).option("--ca-file", dir.file("ca.crt"))));
        assert_eq!((ended.status, ended.course()), (20, vec!["error"]), "{url}");
        assert!(ended.error().contains("TLS") && ended.error().contains("--ca-file"), "{}", ended.error());
        let trusted = refused(call_with(alice(&url).option("--ca-file", broker.ca_file())));
        assert_eq!((trusted.status, trusted.reason()), (13, "offline"), "{url}");
    }
}

/// ActiveMQ refuses the subscription. Mosquitto grants it and stays silent, and loses what is said: nobody is there, and
/// both say what it looks like.
fn a_topic_that_its_rules_refuse(make: Make) {
    let (broker, dir) = (make.guarded(), TempDir::new("secrets"));
    let refused_topic = |id: &str| {
        let password = dir.write(id, password_of(id));
        let login = peer(id, &broker.url()).option("--user", id).option("--password-file", password);
        login.option("--topic", "private/{from}/{to}")
    };
    let listen = Args::new(["listen", "--answer", "auto"]).and(call::TEST_MEDIA);
    match make {
        Make::Mosquitto => {
            let mut bob = call::listen(refused_topic("bob").and(["--answer", "auto"]));
            let alice = refused(call_with(refused_topic("alice")));
            assert_eq!((alice.status, alice.reason()), (13, "offline"));
            assert_eq!(alice.course(), ["online", "dialing", "ended", "summary"]);
            let detail = alice.event("ended")["detail"].as_str().unwrap_or_default();
            assert!(detail.contains("must let alice write \"private/alice/bob\""), "{detail}");
            bob.wait_event("warning", PATIENCE);
            bob.signal("TERM");
            let bob = Ended::wait(&mut bob);
            assert_eq!((bob.status, bob.course()), (0, vec!["online", "warning"]));
            assert!(bob.warnings()[0].contains("private/+/bob"), "{:?}", bob.warnings());
        }
        Make::ActiveMq => {
            let (alice, bob) = (call_with(refused_topic("alice")), listen.and(refused_topic("bob")));
            for (args, filter) in [(alice, "private/bob/alice"), (bob, "private/+/bob")] {
                let ended = refused(args);
                assert_eq!((ended.status, ended.course()), (21, vec!["error"]));
                assert!(ended.error().contains(filter) && ended.error().contains("access rules"), "{}", ended.error());
            }
        }
    }
}

// ---- not one at all ----

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

//! Whoever rings and is not answered has learnt no address of the callee: neither from what the callee has published by
//! then, read at the broker by a client that reads everything, nor by a packet to a candidate of the caller.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::call::{self, Args, Ended, TEST_MEDIA};
use crate::support::mallory::{self, Mallory};
use crate::support::mosquitto::Mosquitto;
use crate::support::people::Opener;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, loopback};

/// What is said last, so that everything before it has been heard.
const LAST: &str = "that is all";

/// How long a packet to the caller is waited for while it rings: a callee that sent one would do so at once.
const NO_PACKET: Duration = Duration::from_millis(500);

/// How peers speak, and where bob speaks then.
const DIALECTS: [(&str, &str); 2] = [("tring", "tring/call/bob/"), ("apprtc", "bob")];

/// What somebody published: where, and what it says to whom it is for.
struct Said {
    topic: String,
    text: String,
}

/// A broker, a client that hears everything said there and can open it, and bob, who waits for a person's answer.
struct Scene {
    mosquitto: Mosquitto,
    eve: Mallory,
    opener: Opener,
    bob: Tring,
    dialect: &'static str,
    speaks_on: &'static str,
}

impl Scene {
    fn open((dialect, speaks_on): (&'static str, &'static str)) -> Self {
        let mosquitto = Mosquitto::anonymous();
        let mut eve = Mallory::connect(mallory::options("eve", mosquitto.port()));
        eve.subscribe("#");
        let args = ["--id", "bob", "--broker", &mosquitto.url(), "--dialect", dialect, "--control", "-"];
        // A stranger of another make calls him too.
        let bob = call::listen_plain(args);
        Self { mosquitto, eve, opener: Opener::default(), bob, dialect, speaks_on }
    }

    /// Alice rings bob, who has never heard of her.
    fn ring(&mut self, options: &[&str]) -> Tring {
        let args = Args::new(["call", "bob", "--id", "alice", "--broker", &self.mosquitto.url()]).and(TEST_MEDIA);
        let alice = Tring::spawn(args.and(["--dialect", self.dialect]).and(options));
        self.bob.wait_event("incoming", PATIENCE);
        alice
    }

    /// All that was published since this was asked last.
    fn said(&mut self) -> Vec<Said> {
        self.eve.publish("eve", LAST);
        let heard = self.eve.heard_before(LAST);
        let said = heard.iter().map(|publish| {
            let (topic, content) = self.opener.opened(publish);
            let text = content.unwrap_or_else(|| panic!("it is not opened: {publish:?}")).to_string();
            Said { topic, text }
        });
        said.collect()
    }

    /// The same, of bob.
    fn of_bob(&mut self) -> Vec<Said> {
        let speaks_on = self.speaks_on;
        let is_bobs = |topic: &str| topic == "tring/presence/bob" || topic.starts_with(speaks_on);
        self.said().into_iter().filter(|said| is_bobs(&said.topic)).collect()
    }
}

/// Every address in a text.
fn addresses(text: &str) -> Vec<IpAddr> {
    let words = text.split(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':'));
    words.filter_map(|word| word.trim_matches([':', '.']).parse().ok().or_else(|| word.parse().ok())).collect()
}

fn assert_tells_no_address(said: &[Said]) {
    assert!(!said.is_empty(), "nothing was heard of bob");
    for Said { topic, text } in said {
        assert!(addresses(text).is_empty() && !text.contains("candidate"), "{topic}: {text}");
    }
}

#[test]
fn addresses_are_found_in_a_text() {
    let told = |text| addresses(text).into_iter().map(|ip| ip.to_string()).collect::<Vec<_>>();
    assert_eq!(told(r#"{"c":"candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"}"#), ["192.0.2.1"]);
    assert_eq!(told("c=IN IP6 2001:db8::1\r\na=x fe80::2%eth0"), ["2001:db8::1", "fe80::2"]);
    assert!(told(r#"{"v":1,"id":"7a-1","ts":1795611909123,"type":"ringing"}"#).is_empty());
}

#[test]
fn a_call_that_is_declined_has_told_no_address() {
    let _turn = Turn::small_call();
    for dialect in DIALECTS {
        let mut scene = Scene::open(dialect);
        let mut alice = scene.ring(&[]);
        scene.bob.say("reject");
        assert_eq!(Ended::wait(&mut alice).status, 11);
        assert_tells_no_address(&scene.of_bob());
    }
}

#[test]
fn a_call_that_nobody_answers_has_told_no_address() {
    let _turn = Turn::small_call();
    for dialect in DIALECTS {
        let mut scene = Scene::open(dialect);
        let mut alice = scene.ring(&["--answer-timeout", "1s"]);
        assert_eq!(Ended::wait(&mut alice).status, 12);
        scene.bob.wait_event("ended", PATIENCE);
        assert_tells_no_address(&scene.of_bob());
    }
}

#[test]
fn an_answer_is_the_first_that_tells_addresses() {
    let _turn = Turn::small_call();
    for dialect in DIALECTS {
        let mut scene = Scene::open(dialect);
        let mut alice = scene.ring(&["--duration", "500ms"]);
        scene.bob.say("answer");
        assert_eq!(Ended::wait(&mut alice).status, 0);
        let said = scene.of_bob();
        let answer =
            said.iter().position(|said| said.text.contains(r#""type":"answer""#)).expect("there was an answer");
        assert_tells_no_address(&said[..answer]);
        let told: String = said[answer..].iter().map(|said| said.text.as_str()).collect();
        assert!(addresses(&told).contains(&loopback(0).ip()), "what is looked for is there in the end: {told}");
    }
}

/// The offer that was said, as mallory's own, with one candidate: this socket.
fn as_mallorys(offer: &Value, socket: &UdpSocket, mallory: &mut Mallory) -> Value {
    let address = socket.local_addr().unwrap();
    let mut offer = offer.clone();
    let [candidate, ..] = &mut offer["candidates"].as_array_mut().unwrap()[..] else { panic!("no candidate: {offer}") };
    let text = candidate["candidate"].as_str().unwrap();
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    (words[4], words[5]) = (address.ip().to_string(), address.port().to_string());
    candidate["candidate"] = words.join(" ").into();
    offer["candidates"].as_array_mut().unwrap().truncate(1);
    let call = "6d616c6c6f7279000000000000000001";
    let content = json!({"type": "offer", "sdp": offer["sdp"], "candidates": offer["candidates"]});
    mallory.message(mallory::ID, "bob", call, content)
}

#[test]
fn a_caller_gets_no_packet_before_the_answer() {
    let _turn = Turn::small_call();
    let mut scene = Scene::open(DIALECTS[0]);
    let mut alice = scene.ring(&[]);
    let said: Vec<Value> = scene.said().iter().filter_map(|said| serde_json::from_str(&said.text).ok()).collect();
    let offer = said.into_iter().find(|message| message["type"] == "offer").expect("she rings");
    scene.bob.say("reject");
    assert_eq!(Ended::wait(&mut alice).status, 11);
    let socket = UdpSocket::bind(loopback(0)).unwrap();
    let mut mallory = Mallory::at(scene.mosquitto.port());
    let offer = as_mallorys(&offer, &socket, &mut mallory);
    mallory.publish("tring/call/mallory/bob", offer.to_string());
    let incoming = scene.bob.wait_event("incoming", PATIENCE);
    assert_eq!(incoming["peer"], mallory::ID, "{incoming}");
    let mut packet = [0; 2000];
    socket.set_read_timeout(Some(NO_PACKET)).unwrap();
    assert!(socket.recv(&mut packet).is_err(), "a packet came while it rang");
    scene.bob.say("answer");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = socket.recv(&mut packet).expect("a packet comes once it is answered");
    // A STUN binding request (RFC 8489 section 5).
    assert_eq!((&packet[..2], length >= 20), (&[0, 1][..], true));
    scene.bob.say("hangup");
    scene.bob.wait_event("ended", PATIENCE);
}

//! The servers the other tests stand on do what those tests expect of them, seen by clients of another make.

use std::process::Command;
use std::time::{Duration, Instant};

use rumqttc::{Client, Connection, Event, LastWill, MqttOptions, Packet, Publish, QoS, SubscribeReasonCode, Transport};

use crate::support::activemq::ActiveMq;
use crate::support::coturn::{self, Coturn};
use crate::support::mosquitto::Mosquitto;
use crate::support::pulse::{MICROPHONE, Pulse, SPEAKER};
use crate::support::{PATIENCE, TempDir, password_of, require, run};

/// A plain MQTT 3.1.1 client.
struct Mqtt {
    requests: Client,
    packets: Connection,
}

impl Mqtt {
    fn connect(options: MqttOptions) -> Self {
        let (requests, packets) = Client::new(options, 10);
        let mut client = Self { requests, packets };
        client.until(|packet| matches!(packet, Packet::ConnAck(_)).then_some(())).expect("connected");
        client
    }

    fn is_refused(options: MqttOptions) -> bool {
        let (_requests, mut packets) = Client::new(options, 10);
        matches!(packets.recv_timeout(PATIENCE), Ok(Err(_)))
    }

    /// The first packet that is wanted, or nothing when the connection ends first.
    fn until<T>(&mut self, mut wanted: impl FnMut(&Packet) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.packets.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ok(Event::Incoming(packet))) => {
                    if let Some(found) = wanted(&packet) {
                        return Some(found);
                    }
                }
                Ok(Ok(Event::Outgoing(_))) => {}
                Ok(Err(_)) => return None,
                Err(error) => panic!("nothing came in time: {error:?}"),
            }
        }
    }

    fn subscribe(&mut self, filter: &str) -> SubscribeReasonCode {
        self.requests.subscribe(filter, QoS::AtLeastOnce).unwrap();
        let code = |packet: &Packet| match packet {
            Packet::SubAck(ack) => Some(ack.return_codes[0]),
            _ => None,
        };
        self.until(code).expect("connected")
    }

    fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.requests.publish(topic, QoS::AtLeastOnce, false, payload).unwrap();
        self.until(|packet| matches!(packet, Packet::PubAck(_)).then_some(())).expect("connected");
    }

    fn message(&mut self) -> Publish {
        let message = |packet: &Packet| match packet {
            Packet::Publish(message) => Some(message.clone()),
            _ => None,
        };
        self.until(message).expect("connected")
    }
}

fn options(id: &str, port: u16) -> MqttOptions {
    let mut options = MqttOptions::new(id, "127.0.0.1", port);
    options.set_max_packet_size(256 * 1024, 256 * 1024);
    options
}

fn login(id: &str, port: u16) -> MqttOptions {
    let mut options = options(id, port);
    options.set_credentials(id, password_of(id));
    options
}

fn websocket(id: &str, url: String) -> MqttOptions {
    let mut options = MqttOptions::new(id, url, 0);
    options.set_transport(Transport::Ws);
    options.set_max_packet_size(256 * 1024, 256 * 1024);
    options
}

const GRANTED: SubscribeReasonCode = SubscribeReasonCode::Success(QoS::AtLeastOnce);

/// A call message of the size of a large SDP, and a will, from alice to bob.
fn calls_work(alice: MqttOptions, bob: MqttOptions) {
    let mut alice = alice;
    alice.set_last_will(LastWill::new("tring/presence/alice", "offline", QoS::AtLeastOnce, false));
    let mut bob = Mqtt::connect(bob);
    assert_eq!(bob.subscribe("tring/call/+/bob"), GRANTED);
    assert_eq!(bob.subscribe("tring/presence/alice"), GRANTED);
    let mut alice = Mqtt::connect(alice);
    let sdp = [b'.'; 100_000];
    alice.publish("tring/call/alice/bob", &sdp);
    let message = bob.message();
    assert_eq!((message.topic.as_str(), message.payload.len()), ("tring/call/alice/bob", sdp.len()));
    drop(alice);
    let will = bob.message();
    assert_eq!((will.topic.as_str(), will.payload.as_ref()), ("tring/presence/alice", b"offline".as_ref()));
}

/// Mallory neither speaks as alice nor reads what alice sends to bob.
fn mallory_is_kept_out(port: u16) {
    let mut wrong = options("mallory", port);
    wrong.set_credentials("mallory", "guessed");
    assert!(Mqtt::is_refused(wrong), "a wrong password was accepted");
    assert!(Mqtt::is_refused(options("mallory", port)), "no password was accepted");

    let mut bob = Mqtt::connect(login("bob", port));
    bob.subscribe("tring/call/+/bob");
    // Some of these are granted, and must stay silent all the same.
    let mut mallory = Mqtt::connect(login("mallory", port));
    for filter in ["tring/call/+/bob", "tring/call/alice/+", "tring/call/+/#", "#"] {
        mallory.subscribe(filter);
    }
    // Mosquitto acknowledges a refused publish, ActiveMQ does too; neither delivers it.
    mallory.publish("tring/call/alice/bob", b"spoofed");

    let mut alice = Mqtt::connect(login("alice", port));
    alice.publish("tring/call/alice/bob", b"genuine");
    assert_eq!(bob.message().payload, "genuine");
    alice.publish("tring/call/alice/mallory", b"for mallory");
    assert_eq!(mallory.message().payload, "for mallory", "mallory overheard a call");
}

fn restarts(port: u16, restart: impl FnOnce()) {
    let mut before = Mqtt::connect(options("alice", port));
    restart();
    assert_eq!(before.until(|_| None::<()>), None, "the old connection has to break");
    calls_work(options("alice", port), options("bob", port));
}

#[test]
fn mosquitto_anonymous() {
    let mut mosquitto = Mosquitto::anonymous();
    let port = mosquitto.port();
    calls_work(options("alice", port), options("bob", port));
    calls_work(websocket("alice", mosquitto.websocket_url()), options("bob", port));
    restarts(port, || mosquitto.restart());
}

#[test]
fn mosquitto_with_logins() {
    let mosquitto = Mosquitto::password();
    calls_work(login("alice", mosquitto.port()), login("bob", mosquitto.port()));
    mallory_is_kept_out(mosquitto.port());
    // The ClientId asked for is bob's, the one given must be that of the login.
    for mut thief in [options("bob", mosquitto.port()), websocket("bob", mosquitto.websocket_url())] {
        thief.set_credentials("mallory", password_of("mallory"));
        Mqtt::connect(thief);
    }
    let log = mosquitto.log();
    assert_eq!(log.matches("as bob ").count(), log.matches("u'bob'").count(), "a ClientId was stolen");
}

#[test]
fn mosquitto_over_tls() {
    let mosquitto = Mosquitto::tls();
    let client = require("mosquitto_pub", "mosquitto-clients");
    let publish = |ca: Option<&std::path::Path>| {
        let mut command = Command::new(&client);
        command.args(["-h", "127.0.0.1", "-p", &mosquitto.port().to_string(), "-t", "tring/presence/alice", "-m", "x"]);
        match ca {
            Some(ca) => command.arg("--cafile").arg(ca),
            None => command.args(["--capath", "/etc/ssl/certs"]),
        };
        command
    };
    run(&mut publish(Some(&mosquitto.ca_file())));
    assert!(!publish(None).output().unwrap().status.success(), "an unknown authority was trusted");
}

#[test]
fn mosquitto_with_client_certificates() {
    let mosquitto = Mosquitto::tls_with_client_certificate();
    let client = require("mosquitto_pub", "mosquitto-clients");
    let publish = || {
        let mut command = Command::new(&client);
        command.args(["-h", "127.0.0.1", "-p", &mosquitto.port().to_string(), "-t", "tring/presence/alice", "-m", "x"]);
        command.arg("--cafile").arg(mosquitto.ca_file());
        command
    };
    let (certificate, key) = mosquitto.client_certificate();
    run(publish().arg("--cert").arg(certificate).arg("--key").arg(key));
    assert!(mosquitto.log().contains("u'alice'"), "{}", mosquitto.log());
    assert!(!publish().output().unwrap().status.success(), "no certificate was asked for");
}

#[test]
fn activemq_anonymous() {
    let mut activemq = ActiveMq::anonymous();
    let port = activemq.port();
    calls_work(options("alice", port), options("bob", port));
    restarts(port, || activemq.restart());
}

#[test]
fn activemq_with_logins() {
    let activemq = ActiveMq::password();
    calls_work(login("alice", activemq.port()), login("bob", activemq.port()));
    mallory_is_kept_out(activemq.port());
}

/// Relays from client to client, and returns all that was said about it.
fn relay(port: u16, login: &[&str]) -> String {
    let mut command = Command::new(require("turnutils_uclient", "coturn"));
    command.args(["-y", "-c", "-n", "3", "-m", "1", "-p", &port.to_string()]).args(login).arg("127.0.0.1");
    let output = command.output().unwrap();
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

const REFUSED: &str = "Cannot complete Allocation";

/// Whether anything came through. The first packets may not: each side begins before the other has let it in.
pub(crate) fn came_through(said: &str) -> bool {
    let received = said.rsplit("tot_recv_msgs=").next().unwrap_or_default();
    received.split(|c: char| !c.is_ascii_digit()).next().is_some_and(|count| count.parse::<u32>().is_ok_and(|n| n > 0))
}

#[test]
fn coturn_with_a_login() {
    let mut coturn = Coturn::long_term();
    let (user, password) = (coturn::USER, coturn::PASSWORD);
    for transport in [&[][..], &["-t"]] {
        let said = relay(coturn.port(), &[&["-u", user, "-w", password], transport].concat());
        assert!(came_through(&said), "{transport:?}: {said}");
    }
    let said = relay(coturn.port(), &["-u", user, "-w", "guessed"]);
    assert!(said.contains(REFUSED) && !came_through(&said), "{said}");
    coturn.kill();
    assert!(!coturn::answers_stun(coturn.port()));
    coturn.restart();
    assert!(coturn::answers_stun(coturn.port()));
}

#[test]
fn coturn_over_tls() {
    let coturn = Coturn::long_term();
    let ca = coturn.ca_file();
    let tls = ["-S", "-t", "-E", ca.to_str().unwrap(), "-u", coturn::USER, "-w", coturn::PASSWORD];
    let said = relay(coturn.tls_port(), &tls);
    assert!(came_through(&said), "{said}");
}

#[test]
fn coturn_with_a_shared_secret() {
    let coturn = Coturn::shared_secret();
    let said = relay(coturn.port(), &["-u", "alice", "-W", coturn::SECRET]);
    assert!(came_through(&said), "{said}");
    let said = relay(coturn.port(), &["-u", "alice", "-W", "guessed"]);
    assert!(said.contains(REFUSED) && !came_through(&said), "{said}");
}

#[test]
fn pulseaudio_has_a_microphone_and_a_speaker() {
    let pulse = Pulse::start();
    let defaults = run(pulse.client("pactl").arg("info"));
    assert!(defaults.contains(&format!("Default Source: {MICROPHONE}")), "{defaults}");
    assert!(defaults.contains(&format!("Default Sink: {SPEAKER}")), "{defaults}");

    let dir = TempDir::new("tones");
    let (tone, heard, played) = (dir.file("tone.wav"), dir.file("heard.wav"), dir.file("played.wav"));
    wav(&tone, &sine(Duration::from_millis(500)));
    {
        let _recording = pulse.recording(&played);
        run(pulse.client("paplay").arg(&tone));
    }
    assert!(loudest(&played) > 8000, "the speaker's monitor is silent");
    {
        let _hearing = pulse.hearing(&heard);
        pulse.speak(&tone);
    }
    assert!(loudest(&heard) > 8000, "the microphone is silent");
}

fn sine(length: Duration) -> Vec<i16> {
    let samples = length.as_millis() * 48;
    (0..samples).map(|n| ((n as f64 * 440.0 * std::f64::consts::TAU / 48_000.0).sin() * 16_000.0) as i16).collect()
}

/// 48 kHz mono, 16 bit.
fn wav(path: &std::path::Path, samples: &[i16]) {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let length = u32::try_from(data.len()).unwrap();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + length).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend([16, 0, 0, 0, 1, 0, 1, 0]);
    bytes.extend(48_000_u32.to_le_bytes());
    bytes.extend(96_000_u32.to_le_bytes());
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend(length.to_le_bytes());
    bytes.extend(data);
    std::fs::write(path, bytes).unwrap();
}

/// The largest sample of a recording, which may lack the lengths of a finished file.
fn loudest(path: &std::path::Path) -> u16 {
    let bytes = std::fs::read(path).unwrap_or_default();
    let samples = bytes.get(44..).unwrap_or_default().chunks_exact(2);
    samples.map(|pair| i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs()).max().unwrap_or(0)
}

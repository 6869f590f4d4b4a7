//! `tring serve` as it is used: calls through its relay over each transport, its certificates, and clients that mean it no
//! good. `lab::firewalls` and `browser` have more of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::support::call::{self, Args, Ended};
use crate::support::certificates::{self, Flaw};
use crate::support::process::Tring;
use crate::support::served::{LOGIN, OVER_TLS, SERVE, Served, port_of};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, loopback, require, run};

/// Long enough for every step of the test tone.
const DURATION: &str = "4s";
/// How long the server may leave a client alone that says nothing, or half of something (10 and 20 s), and a second for a
/// busy machine.
const DEADLINE: Duration = Duration::from_secs(22);
/// How long it may take to turn away what is no message at all.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Connections at once of clients that have not logged in.
const LOBBY: usize = 256;

// ---- calls ----

/// A peer that sends media through this relay only.
fn peer(served: &Served, dir: &TempDir, id: &str, broker: &str, relay: &str) -> Args {
    let password = dir.write("turn", LOGIN);
    let peer = Args::new(["--id", id, "--broker", broker, "--relay-only", "--ice", relay, "--ice-user", LOGIN]);
    peer.option("--ice-password-file", password).option("--ca-file", served.ca_file())
}

/// A whole call by these addresses of one server: everything arrives, and both sides reach the relay over `transport`.
fn call_by(transport: &str, pick: impl Fn(&Served) -> [String; 3]) {
    let _turn = Turn::call();
    let (served, dir) = (Served::start(Args::new(OVER_TLS)), TempDir::new("secrets"));
    let [alices, bobs, relay] = pick(&served);
    let mut bob = call::listen(peer(&served, &dir, "bob", &bobs, &relay).and(["--answer", "auto", "--once"]));
    let mut alice = call::call_bob(peer(&served, &dir, "alice", &alices, &relay).option("--duration", DURATION));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    alice.assert_called();
    bob.assert_answered();
    for side in [&alice, &bob] {
        side.assert_media();
        side.assert_path(|kind| kind == "relay");
        assert_eq!(side.summary()["pair"]["relay_protocol"], transport, "{}", side.summary()["pair"]);
    }
}

#[test]
fn a_whole_call_goes_through_the_relay_over_udp() {
    call_by("udp", |served| [served.mqtt.clone(), served.websocket.clone(), served.turn.clone()]);
}

#[test]
fn a_whole_call_goes_through_the_relay_over_tcp() {
    call_by("tcp", |served| [served.mqtt.clone(), served.mqtts(), served.turn_tcp.clone()]);
}

#[test]
fn a_whole_call_goes_through_the_relay_over_tls() {
    call_by("tls", |served| [served.wss(), served.mqtts(), served.turns()]);
}

/// alice over TLS meets bob over UDP, and bob is not relayed: her packets leave the relay over UDP.
#[test]
fn a_peer_over_tls_meets_one_that_needs_no_relay() {
    let _turn = Turn::small_call();
    let (served, dir) = (Served::start(Args::new(OVER_TLS)), TempDir::new("secrets"));
    let bob = Args::new(["--id", "bob", "--broker", &served.mqtt, "--answer", "auto", "--once"]);
    let mut bob = call::listen(bob);
    let alice = peer(&served, &dir, "alice", &served.wss(), &served.turns()).option("--duration", "2s");
    let mut alice = call::call_bob(alice);
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, bob.status), (0, 0));
    assert_eq!(alice.summary()["pair"]["local"], "relay", "{}", alice.summary()["pair"]);
    assert_eq!(bob.summary()["pair"]["remote"], "relay", "{}", bob.summary()["pair"]);
}

// ---- certificates ----

/// Arguments of a server with this certificate and key.
fn with_certificate(certificate: &Path, key: &Path) -> Args {
    Args::new(SERVE).and(OVER_TLS).option("--cert", certificate).option("--key", key)
}

#[test]
fn certificates_and_keys_that_cannot_be_used_are_told_by_their_cause() {
    let dir = TempDir::new("certificates");
    certificates::make(&dir);
    run(Command::new(require("openssl", "openssl")).current_dir(dir.path()).args([
        "pkey",
        "-in",
        "server.key",
        "-aes256",
        "-passout",
        "pass:secret",
        "-out",
        "encrypted.key",
    ]));
    let half = std::fs::read_to_string(dir.file("server.crt")).unwrap();
    dir.write("half.crt", &half[..half.len() / 2]);
    dir.write("wrong.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    dir.write("text", "not a certificate\n");
    let said = |certificate: &str, key: &str| {
        let mut serve = Tring::spawn(with_certificate(&dir.file(certificate), &dir.file(key)));
        let ended = Ended::wait(&mut serve);
        assert_eq!(ended.status, 2, "{certificate} {key}");
        ended.error().to_owned()
    };
    for (certificate, key, words) in [
        ("missing.crt", "server.key", &["missing.crt", "No such file"][..]),
        ("server.crt", "missing.key", &["missing.key", "No such file"]),
        ("text", "server.key", &["text holds no certificate", "BEGIN CERTIFICATE"]),
        ("half.crt", "server.key", &["half.crt"]),
        ("wrong.crt", "server.key", &["wrong.crt", "cannot be read"]),
        ("server.key", "server.key", &["holds no certificate", "mixed up"]),
        ("server.crt", "text", &["text holds no private key", "BEGIN PRIVATE KEY"]),
        ("server.crt", "server.crt", &["holds no private key", "mixed up"]),
        ("server.crt", "encrypted.key", &["encrypted.key is encrypted", "openssl pkey"]),
        ("server.crt", "client.key", &["client.key", "server.crt", "not that of"]),
    ] {
        let said = said(certificate, key);
        assert!(words.iter().all(|word| said.contains(word)), "{certificate} {key}: {said}");
        assert!(!said.contains("os error"), "{said}");
    }
}

#[test]
fn a_certificate_without_its_key_or_without_a_port_is_an_error_of_usage() {
    let dir = TempDir::new("certificates");
    certificates::make(&dir);
    let certificate = dir.file("server.crt");
    for (args, word) in [
        (Args::new(SERVE).and(OVER_TLS).option("--cert", &certificate), "--key"),
        (Args::new(SERVE).and(OVER_TLS).option("--key", dir.file("server.key")), "--cert"),
        (Args::new(SERVE).option("--cert", &certificate).option("--key", dir.file("server.key")), "--tls-port"),
        (Args::new(SERVE).and(OVER_TLS).option("--tls-name", "not a name"), "not a name"),
        (Args::new(SERVE).and(["--tls-name", "phone.example"]), "--tls-port"),
    ] {
        let mut serve = Tring::spawn(args);
        assert_eq!(serve.wait_exit(PATIENCE), 2, "{word}");
        let events = serve.wait_events().to_vec();
        let said = format!("{events:?}{}", serve.wait_stderr());
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn certificates_whose_time_is_not_now_are_warned_of_and_shown_all_the_same() {
    for (flaw, words) in [(Flaw::Expired, "has expired"), (Flaw::NotYet, "is not valid before")] {
        let dir = TempDir::new("certificates");
        certificates::make(&dir);
        certificates::spoil(&dir, flaw);
        let mut served =
            Served::run(Tring::command(with_certificate(&dir.file("server.crt"), &dir.file("server.key"))));
        let openssl = run(Command::new(require("openssl", "openssl"))
            .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
            .arg(dir.file("server.crt")));
        assert!(openssl.trim_end().ends_with(&format!("={}", served.fingerprint())), "{openssl}");
        served.program.interrupt();
        let said = served.program.wait_stderr();
        assert!(said.contains(words) && said.contains("server.crt"), "{flaw:?}: {said}");
    }
}

/// One of an authority, with one between it and the root, as most are.
#[test]
fn a_certificate_of_an_authority_is_trusted_by_clients_of_other_makes() {
    let dir = TempDir::new("certificates");
    certificates::make(&dir);
    let served = Served::run(Tring::command(with_certificate(&dir.file("server.crt"), &dir.file("server.key"))));
    publish_by(&served, &dir.file("ca.crt"));
    relay_by(&served, &dir.file("ca.crt"));
}

/// `mosquitto_pub` trusts this authority, and finds a broker.
fn publish_by(served: &Served, ca: &Path) {
    let mut client = Command::new(require("mosquitto_pub", "mosquitto-clients"));
    client.args(["-h", "127.0.0.1", "-p", &port_of(&served.mqtts()).to_string(), "-i", "alice"]);
    run(client.args(["-q", "1", "-t", "tring/presence/alice", "-m", "x", "--cafile"]).arg(ca));
}

/// coTURN's client trusts this authority, and relays by TLS and by TCP.
fn relay_by(served: &Served, ca: &Path) {
    let ca = ca.to_str().unwrap();
    for (url, options) in [(served.turns(), &["-t", "-S", "-E", ca][..]), (served.turn_tcp.clone(), &["-t"])] {
        let mut client = Command::new(require("turnutils_uclient", "coturn"));
        client.args(["-y", "-c", "-n", "5", "-m", "1", "-p", &port_of(&url).to_string(), "-u", LOGIN, "-w", LOGIN]);
        let output = client.args(options).arg("127.0.0.1").output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(crate::servers::came_through(&said), "{url}: {said}");
    }
}

#[test]
fn a_certificate_is_made_and_kept_where_none_is_given() {
    let home = TempDir::new("home");
    let start = |options: &[&str]| {
        let args = Args::new(SERVE).and(OVER_TLS).and(options.iter().copied());
        Served::run(Tring::command(args).home(home.path()))
    };
    let first = start(&[]);
    let (file, fingerprint) = (first.ca_file(), first.fingerprint());
    let key = file.with_file_name("serve.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key).unwrap().permissions());
    assert_eq!((file.starts_with(home.path()), mode & 0o777), (true, 0o600));
    publish_by(&first, &file);
    relay_by(&first, &file);
    drop(first);

    let second = start(&[]);
    assert_eq!((second.ca_file(), second.fingerprint()), (file.clone(), fingerprint.clone()));
    drop(second);
    // Another name takes another certificate, which those who have the file of the first trust all the same.
    let old = home.write("old.crt", &std::fs::read_to_string(&file).unwrap());
    let third = start(&["--tls-name", "phone.example"]);
    assert_ne!(third.fingerprint(), fingerprint);
    let doctor = ["doctor", "--id", "alice", "--broker", &third.wss(), "--video", "none", "--audio", "none"];
    let mut doctor = Tring::spawn(Args::new(doctor).option("--ca-file", old));
    let events = doctor.wait_events().to_vec();
    let broker: Vec<_> = events.iter().filter(|event| event.to_string().contains("TLS 1.3")).collect();
    assert!(!broker.is_empty(), "{events:?}");
}

// ---- strangers ----

/// Takes any certificate: what is looked at is not whom to trust.
#[derive(Debug)]
struct Trustful;

impl ServerCertVerifier for Trustful {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A stranger after the TLS handshake, who names these protocols by ALPN.
fn secured(port: u16, alpn: &[&[u8]]) -> StreamOwned<ClientConnection, TcpStream> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trustful))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    StreamOwned::new(client, TcpStream::connect(loopback(port)).unwrap())
}

/// Waits until the server closes the connection, and is done with it by then.
fn assert_closed(stream: &mut impl Read, socket: &TcpStream, within: Duration, who: &str) {
    let begun = Instant::now();
    socket.set_read_timeout(Some(within)).unwrap();
    let mut rest = Vec::new();
    // A reset is an end too; a time-out is none.
    let kind = stream.read_to_end(&mut rest).err().map(|error| error.kind());
    let timed_out = [Some(std::io::ErrorKind::WouldBlock), Some(std::io::ErrorKind::TimedOut)].contains(&kind);
    assert!(!timed_out, "{who}: still open after {:?}", begun.elapsed());
}

/// A STUN binding request, whole.
fn binding() -> Vec<u8> {
    [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], b"tring--tests"].concat()
}

/// What strangers say on either port: whole and wrong, or half, or nothing.
const WRONG: [&[u8]; 4] =
    [b"GET / HTTP/1.1\r\n\r\n", &[0xff; 64], &[0x40, 1, 0, 4, 1, 2, 3, 4], b"\x00\x01\x00\x00 no cookie at all..."];

fn half() -> Vec<u8> {
    binding()[..11].to_vec()
}

/// A call by relay over TLS stands while strangers come, and hears nothing of them.
#[test]
fn strangers_are_turned_away_in_time_and_disturb_no_call() {
    let _turn = Turn::call();
    let (served, dir) = (Served::start(Args::new(OVER_TLS)), TempDir::new("secrets"));
    // Small pictures: what is tested is that none of them waits for a stranger, not what this machine encodes meanwhile.
    let side = |id: &str| peer(&served, &dir, id, &served.wss(), &served.turns()).and(["--size", "320x240"]);
    let mut bob = call::listen(side("bob").and(["--answer", "auto", "--once"]));
    let mut alice = call::call_bob(side("alice").and(["--control", "-"]));
    call::talking([&mut alice, &mut bob]);
    let (tcp, tls) = (port_of(&served.turn_tcp), port_of(&served.turns()));

    // What is plainly wrong ends at once; on the port of TLS that is everything but TLS.
    for said in WRONG {
        let mut plain = TcpStream::connect(loopback(tcp)).unwrap();
        plain.write_all(said).unwrap();
        let socket = plain.try_clone().unwrap();
        assert_closed(&mut plain, &socket, AT_ONCE, &format!("TCP, {said:?}"));
        let mut no_tls = TcpStream::connect(loopback(tls)).unwrap();
        no_tls.write_all(said).unwrap();
        let socket = no_tls.try_clone().unwrap();
        assert_closed(&mut no_tls, &socket, DEADLINE, &format!("TLS port, {said:?}"));
    }
    for said in [&b"POST / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0x40, 1, 0, 4, 1, 2, 3, 4]] {
        let mut stranger = secured(tls, &[]);
        stranger.write_all(said).unwrap();
        let socket = stranger.sock.try_clone().unwrap();
        assert_closed(&mut stranger, &socket, AT_ONCE, &format!("TLS, {said:?}"));
    }
    // Another protocol than the one that was agreed on.
    let mut crossed = secured(tls, &[b"stun.turn"]);
    crossed.write_all(b"GET /mqtt HTTP/1.1\r\n\r\n").unwrap();
    let socket = crossed.sock.try_clone().unwrap();
    assert_closed(&mut crossed, &socket, AT_ONCE, "TLS, WebSocket in place of TURN");

    // Nothing, and half of something, have a deadline; all of these wait at once.
    let silent = [tcp, tls].map(|port| TcpStream::connect(loopback(port)).unwrap());
    let [mut half_turn, mut half_tls] = [tcp, tls].map(|port| TcpStream::connect(loopback(port)).unwrap());
    half_turn.write_all(&half()).unwrap();
    half_tls.write_all(&[22, 3, 1, 2, 0, 1, 0]).unwrap();
    let mut silent_secured = secured(tls, &[b"stun.turn"]);
    silent_secured.flush().unwrap();
    let mut half_secured = secured(tls, &[]);
    half_secured.write_all(&half()).unwrap();
    // Whoever asks for an address and no more is known, but no client of the relay.
    let mut polite = secured(tls, &[b"stun.turn"]);
    polite.write_all(&binding()).unwrap();
    let mut answer = [0; 20];
    polite.read_exact(&mut answer).unwrap();
    assert_eq!((&answer[..2], &answer[8..]), (&[1, 1][..], &b"tring--tests"[..]));
    for mut stream in silent.into_iter().chain([half_turn, half_tls]) {
        let socket = stream.try_clone().unwrap();
        assert_closed(&mut stream, &socket, DEADLINE, "silent or half");
    }
    for mut stream in [silent_secured, half_secured, polite] {
        let socket = stream.sock.try_clone().unwrap();
        assert_closed(&mut stream, &socket, DEADLINE, "silent or half, over TLS");
    }

    alice.send_control(&serde_json::json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, bob.status), (0, 0));
    for side in [&alice, &bob] {
        side.assert_media();
        assert_eq!(side.summary()["pair"]["relay_protocol"], "tls");
        assert!(side.events.iter().all(|event| event["event"] != "reconnecting"), "the call was disturbed");
    }
}

/// Those who say nothing have only so many places, and give them back.
#[test]
fn a_crowd_of_silent_strangers_is_bounded_and_passes() {
    let served = Served::start(Args::new(OVER_TLS));
    let (tcp, tls) = (port_of(&served.turn_tcp), port_of(&served.turns()));
    let crowd: Vec<TcpStream> =
        (0..LOBBY + 40).map(|n| TcpStream::connect(loopback([tcp, tls][n % 2])).unwrap()).collect();
    let is_closed = |stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        matches!((&mut &*stream).read(&mut [0]), Ok(0))
    };
    let begun = Instant::now();
    while crowd.iter().filter(|stream| is_closed(stream)).count() < 40 {
        assert!(begun.elapsed() < DEADLINE / 4, "all are let in");
    }
    while crowd.iter().any(|stream| !is_closed(stream)) {
        assert!(begun.elapsed() < DEADLINE + Duration::from_secs(10), "some are never turned away");
    }
    let mut known = secured(tls, &[]);
    known.write_all(&binding()).unwrap();
    known.read_exact(&mut [0; 20]).expect("the places are free again");
}

//! What `tring serve` refuses, with a reason that the caller's program names, and what it takes up while it runs.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;

use crate::support::call::{self, Args, Ended, TEST_MEDIA};
use crate::support::process::Tring;
use crate::support::served::{OVER_TLS, SERVE, Served, port_of};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, certificates, require};

/// What logins are made from.
const SECRET: &str = "north-secret";

/// A change of files is taken up this soon: they are looked at every 2 s.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(10);

/// A server whose logins expire, and the folder with its secret.
fn serve(options: &[&str]) -> (Served, TempDir) {
    let dir = TempDir::new("secrets");
    let secret = dir.write("secret", SECRET);
    (Served::start(Args::new(options.to_vec()).option("--ice-secret-file", secret)), dir)
}

/// alice calls through these relays alone, by this login.
fn alice(served: &Served, login: Args, urls: &[&str]) -> Args {
    let peer = Args::new(["--id", "alice", "--broker", &served.mqtt, "--relay-only"]).and(login);
    urls.iter().fold(peer, |args, url| args.option("--ice", *url))
}

#[test]
fn an_expired_login_is_refused_and_the_caller_is_told_so() {
    let _turn = Turn::small_call();
    let (served, dir) = serve(&[]);
    // As somebody has it who was given it an hour ago (draft-uberti-behave-turn-rest-00 §2.2).
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let user = format!("{}:alice", now - 3600);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
    let password = dir.write("password", &BASE64_STANDARD.encode(hmac::sign(&key, user.as_bytes())));
    for url in [&served.turn, &served.turn_tcp] {
        let _bob = call::listen(["--id", "bob", "--broker", &served.mqtt, "--answer", "auto", "--once"]);
        let login = Args::new(["--ice-user", &user]).option("--ice-password-file", &password);
        let calling = Args::new(["call", "bob"]).and(TEST_MEDIA).and(alice(&served, login, &[url]));
        let ended = Ended::wait(&mut Tring::spawn(calling));
        assert_eq!((ended.status, ended.reason()), (22, "no-path"));
        let told = ended.failure();
        assert!(told.contains(&port_of(url).to_string()) && told.contains("has expired (401)"), "{told}");
    }
}

#[test]
fn a_quota_that_is_used_up_is_named_and_the_call_goes_by_what_there_is() {
    let _turn = Turn::small_call();
    let (served, dir) = serve(&["--relay-quota", "1"]);
    let mut bob = call::listen(["--id", "bob", "--broker", &served.mqtt, "--answer", "auto", "--once"]);
    let login = Args::default().option("--ice-secret-file", dir.file("secret"));
    let peer = alice(&served, login, &[&served.turn, &served.turn_tcp]).and(["--control", "-"]);
    let mut alice = call::call_bob(peer);
    alice.wait_event("connected", PATIENCE);
    // An address that has no way to the server at all is waited for, before the refusal of the others counts.
    let warning = alice.wait_event("warning", PATIENCE).to_string();
    assert!(warning.contains("quota") && warning.contains("(486)") && warning.contains("--relay-quota"), "{warning}");
    alice.say("hangup");
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, bob.status), (0, 0));
    assert_eq!(alice.summary()["pair"]["local"], "relay", "{}", alice.summary()["pair"]);
}

/// SHA-256 of the certificate that a client is shown, in capitals with colons.
fn shown(served: &Served) -> String {
    let openssl = require("openssl", "openssl");
    let at = format!("127.0.0.1:{}", port_of(&served.mqtts()));
    let client = Command::new(&openssl).args(["s_client", "-connect", &at]).stdin(Stdio::null()).output().unwrap();
    let mut reader = Command::new(&openssl)
        .args(["x509", "-noout", "-fingerprint", "-sha256"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut reader.stdin.take().unwrap(), &client.stdout).unwrap();
    let told = String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap();
    told.trim().split_once('=').map(|(_, fingerprint)| fingerprint.to_owned()).expect("a certificate was shown")
}

#[test]
fn a_certificate_that_is_renewed_is_shown_without_a_new_start() {
    let [dir, renewed] = ["certificates", "renewed"].map(TempDir::new);
    certificates::make(&dir);
    certificates::make(&renewed);
    let (certificate, key) = (dir.file("server.crt"), dir.file("server.key"));
    let args = Args::new(SERVE).and(OVER_TLS).option("--cert", &certificate).option("--key", &key);
    let mut served = Served::run(Tring::command(args));
    let first = served.fingerprint();
    assert_eq!(shown(&served), first);

    std::fs::copy(renewed.file("server.crt"), &certificate).unwrap();
    std::fs::copy(renewed.file("server.key"), &key).unwrap();
    let since = Instant::now();
    let second = loop {
        let now = shown(&served);
        if now != first {
            break now;
        }
        assert!(since.elapsed() <= TAKEN_UP_WITHIN, "still the first after {:?}", since.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    };
    eprintln!("a renewed certificate is shown after {} ms", since.elapsed().as_millis());

    // One that cannot be used changes nothing, and is told once.
    std::fs::write(&certificate, "not a certificate\n").unwrap();
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(shown(&served), second);
    served.program.interrupt();
    let said = served.program.wait_stderr();
    assert_eq!(said.matches("cannot be used").count(), 1, "{said}");
    assert!(said.contains("server.crt holds no certificate"), "{said}");
    assert_eq!(served.program.wait_exit(PATIENCE), 130);
}

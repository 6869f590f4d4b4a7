//! TURN over UDP, TCP and TLS by a real coTURN: whole calls, which transport is used where there are several, what is
//! said of certificates that cannot be trusted, and proxies on the way.

use serde_json::Value;

use crate::support::call::{self, Args, Ended};
use crate::support::certificates::Flaw;
use crate::support::coturn::{self, Coturn};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::proxy::{self, Kind, Proxy};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, free_port};

/// Long enough for every step of the test tone.
const DURATION: &str = "4s";

/// A broker, a TURN server, and what two peers pass to use them.
struct Servers {
    mosquitto: Mosquitto,
    coturn: Coturn,
    dir: TempDir,
}

impl Servers {
    fn with(coturn: Coturn) -> Self {
        let dir = TempDir::new("secrets");
        dir.write("turn", coturn::PASSWORD);
        Self { mosquitto: Mosquitto::anonymous(), coturn, dir }
    }

    /// A peer that sends media through these TURN servers only.
    fn peer(&self, id: &str, urls: &[&str]) -> Args {
        let peer = Args::new(["--id", id, "--broker", &self.mosquitto.url(), "--relay-only"]);
        let login = peer.option("--ice-user", coturn::USER).option("--ice-password-file", self.dir.file("turn"));
        urls.iter().fold(login.option("--ca-file", self.coturn.ca_file()), |args, url| args.option("--ice", *url))
    }

    /// A whole call by these servers, with these variables in the environment: everything arrives, relayed at both ends, and
    /// both sides reach the server over `transport`.
    fn call(&self, urls: &[&str], envs: &[(&str, String)], transport: &str) {
        let _turn = Turn::call();
        let start = |args: Args| Tring::command(args.and(call::TEST_MEDIA)).envs(envs.to_vec()).spawn();
        let listen = Args::new(["listen", "--answer", "auto", "--once"]);
        let mut bob = start(listen.and(self.peer("bob", urls)));
        bob.wait_event("online", PATIENCE);
        let mut alice = start(Args::new(["call", "bob", "--duration", DURATION]).and(self.peer("alice", urls)));
        let connected = alice.wait_event("connected", PATIENCE);
        assert_eq!(connected["pair"]["relay_protocol"], transport, "{connected}");
        let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
        alice.assert_called();
        bob.assert_answered();
        for side in [&alice, &bob] {
            side.assert_media();
            side.assert_path(|kind| kind == "relay");
            assert_eq!(side.summary()["pair"]["relay_protocol"], transport, "{}", side.summary()["pair"]);
        }
    }

    /// A call that finds no path because of alice's TURN server; what alice says of it.
    fn call_in_vain(&self, alice: Args, envs: &[(&str, String)]) -> String {
        let _turn = Turn::small_call();
        let _bob = call::listen(["--id", "bob", "--broker", &self.mosquitto.url(), "--answer", "auto", "--once"]);
        let alice = Args::new(["call", "bob"]).and(call::TEST_MEDIA).and(alice);
        let mut alice = Tring::command(alice).envs(envs.to_vec()).spawn();
        let alice = Ended::wait(&mut alice);
        assert_eq!((alice.status, alice.reason()), (22, "no-path"));
        alice.failure()
    }
}

#[test]
fn a_whole_call_goes_through_a_relay_over_udp() {
    let servers = Servers::with(Coturn::long_term());
    servers.call(&[&servers.coturn.udp_url()], &[], "udp");
}

#[test]
fn a_whole_call_goes_through_a_relay_over_tcp() {
    let servers = Servers::with(Coturn::long_term());
    servers.call(&[&servers.coturn.tcp_url()], &[], "tcp");
}

#[test]
fn a_whole_call_goes_through_a_relay_over_tls() {
    let servers = Servers::with(Coturn::long_term());
    servers.call(&[&servers.coturn.tls_url()], &[], "tls");
}

#[test]
fn udp_goes_before_tcp_and_tcp_before_tls() {
    let servers = Servers::with(Coturn::long_term());
    let (udp, tcp, tls) = (servers.coturn.udp_url(), servers.coturn.tcp_url(), servers.coturn.tls_url());
    servers.call(&[&tls, &tcp, &udp], &[], "udp");
    servers.call(&[&tls, &tcp], &[], "tcp");
}

#[test]
fn a_transport_that_does_not_work_leaves_the_call_to_another() {
    let servers = Servers::with(Coturn::long_term());
    let closed = free_port();
    let (tcp, tls) = (format!("turn:127.0.0.1:{closed}?transport=tcp"), servers.coturn.tls_url());
    let _turn = Turn::call();
    let mut bob = call::listen(servers.peer("bob", &[&tls]).and(["--answer", "auto", "--once"]));
    let mut alice = call::call_bob(servers.peer("alice", &[&tcp, &tls]).option("--duration", "1s"));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, bob.status), (0, 0));
    assert_eq!(alice.summary()["pair"]["relay_protocol"], "tls");
    let warned = alice.warnings().join("\n");
    assert!(warned.contains(&tcp) && warned.contains("connection refused"), "{warned}");
}

#[test]
fn certificates_that_cannot_be_trusted_are_refused_with_the_reason() {
    for (flaw, words) in [
        (Flaw::Expired, "has expired"),
        (Flaw::OtherName, "not for \"127.0.0.1\", but for elsewhere.example"),
        (Flaw::SelfSigned, "CA:TRUE"),
    ] {
        let servers = Servers::with(Coturn::flawed(flaw));
        let url = servers.coturn.tls_url();
        let said = servers.call_in_vain(servers.peer("alice", &[&url]), &[]);
        assert!(said.contains(&url) && said.contains(words) && !said.contains("broker"), "{flaw:?}: {said}");
    }
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let servers = Servers::with(Coturn::long_term());
    let url = servers.coturn.tls_url();
    let alice = Args::new(["--id", "alice", "--broker", &servers.mosquitto.url(), "--relay-only", "--ice", &url]);
    let alice = alice.option("--ice-user", coturn::USER).option("--ice-password-file", servers.dir.file("turn"));
    let said = servers.call_in_vain(alice, &[]);
    assert!(said.contains("an authority that is not trusted here") && said.contains("--ca-file"), "{said}");
}

#[test]
fn what_is_no_turn_server_is_told_by_its_cause() {
    let servers = Servers::with(Coturn::long_term());
    let (closed, broker) = (free_port(), servers.mosquitto.port());
    for (url, words) in [
        (format!("turn:127.0.0.1:{closed}?transport=tcp"), "connection refused"),
        (format!("turns:127.0.0.1:{closed}"), "connection refused"),
        (format!("turns:127.0.0.1:{broker}"), "TLS"),
        (format!("turn:127.0.0.1:{broker}?transport=tcp"), "closed the connection"),
        ("turn:no.such.host.invalid?transport=tcp".to_owned(), "cannot resolve the host"),
    ] {
        let said = servers.call_in_vain(servers.peer("alice", &[&url]), &[]);
        assert!(said.contains(words), "{url}: {said}");
    }
}

#[test]
fn a_proxy_of_either_kind_is_on_the_way() {
    for kind in [Kind::Http, Kind::Socks5] {
        let (servers, proxy) = (Servers::with(Coturn::long_term()), Proxy::start(kind));
        let (tcp, tls) = (servers.coturn.tcp_url(), servers.coturn.tls_url());
        let by = |password: &str| vec![("HTTPS_PROXY", proxy.url(password))];
        for (url, port, transport) in [(&tcp, servers.coturn.port(), "tcp"), (&tls, servers.coturn.tls_port(), "tls")] {
            servers.call(&[url], &by(proxy::PASSWORD), transport);
            assert!(proxy.tunnels_to(port) >= 2, "{kind:?}: both sides go by it");
        }
        assert_eq!(proxy.refused(), 0, "{kind:?}");
        let before = proxy.tunnels_to(servers.coturn.port());
        let around = [by(proxy::PASSWORD), vec![("NO_PROXY", "127.0.0.0/8".to_owned())]].concat();
        servers.call(&[&tcp], &around, "tcp");
        assert_eq!(proxy.tunnels_to(servers.coturn.port()), before, "{kind:?}");
        let said = servers.call_in_vain(servers.peer("alice", &[&tcp]), &by("guessed"));
        assert!(said.contains("the proxy 127.0.0.1") && said.contains("login"), "{kind:?}: {said}");
        assert!(!said.contains("guessed") && proxy.refused() > 0, "{kind:?}: {said}");
    }
}

#[test]
fn a_proxy_that_cannot_be_used_is_an_error_of_usage() {
    let servers = Servers::with(Coturn::long_term());
    let args = Args::new(["call", "bob"]).and(servers.peer("alice", &[&servers.coturn.tls_url()]));
    let mut alice = Tring::command(args).env("https_proxy", "ftp://carol:secret@proxy").spawn();
    let alice = Ended::wait(&mut alice);
    assert_eq!(alice.status, 2);
    assert!(alice.error().contains("HTTPS_PROXY") && !alice.error().contains("secret"), "{}", alice.error());
}

#[test]
fn a_direct_path_has_no_relay_protocol() {
    let _turn = Turn::small_call();
    let mosquitto = Mosquitto::anonymous();
    let peer = |id: &str| Args::new(["--id", id, "--broker", &mosquitto.url()]);
    let mut bob = call::listen(peer("bob").and(["--answer", "auto", "--once"]));
    let mut alice = call::call_bob(peer("alice").option("--duration", "500ms"));
    let connected = alice.wait_event("connected", PATIENCE);
    assert_eq!(connected["pair"]["relay_protocol"], Value::Null, "{connected}");
    assert_eq!((alice.wait_exit(PATIENCE), bob.wait_exit(PATIENCE)), (0, 0));
}

//! coTURN on loopback, by `tests/servers/coturn.conf`: STUN and TURN over UDP, TCP and TLS.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::certificates::Flaw;
use super::daemon::{self, Daemon, NotReady};
use super::{TempDir, certificates, free_port, free_ports, loopback, require, template};

/// Relayed ports: every candidate of two peers with every transport, ten times over.
const RELAY_PORTS: u16 = 100;
/// How long one answer to STUN is waited for before the next question.
const ANSWER: Duration = Duration::from_millis(100);

/// The one user of [`Coturn::long_term`].
pub const USER: &str = "alice";
/// That user's password.
pub const PASSWORD: &str = "alice-secret";
/// The secret of [`Coturn::shared_secret`].
pub const SECRET: &str = "north-secret";

/// A running coTURN.
pub struct Coturn {
    daemon: Daemon,
    login: &'static str,
    ports: Ports,
    dir: TempDir,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    plain: u16,
    tls: u16,
    first_relay: u16,
    relay_ports: u16,
}

impl Coturn {
    /// One login, [`USER`] and [`PASSWORD`].
    pub fn long_term() -> Self {
        Self::start("lt-cred-mech\nuser=alice:alice-secret")
    }

    /// Logins that expire, made from [`SECRET`].
    pub fn shared_secret() -> Self {
        Self::start("use-auth-secret\nstatic-auth-secret=north-secret")
    }

    /// With these lines of configuration instead of a login of its own.
    pub fn with(lines: &'static str) -> Self {
        Self::start(lines)
    }

    /// One login, and so many relay ports.
    pub fn with_ports(count: u16) -> Self {
        Self::start_with("lt-cred-mech\nuser=alice:alice-secret", count)
    }

    /// As [`Self::long_term`], with a certificate that has a flaw.
    pub fn flawed(flaw: Flaw) -> Self {
        let dir = TempDir::new("coturn");
        certificates::make(&dir);
        certificates::spoil(&dir, flaw);
        Self::start_in(dir, "lt-cred-mech\nuser=alice:alice-secret", RELAY_PORTS)
    }

    fn start(login: &'static str) -> Self {
        Self::start_with(login, RELAY_PORTS)
    }

    fn start_with(login: &'static str, relay_ports: u16) -> Self {
        let dir = TempDir::new("coturn");
        certificates::make(&dir);
        Self::start_in(dir, login, relay_ports)
    }

    fn start_in(dir: TempDir, login: &'static str, relay_ports: u16) -> Self {
        let (daemon, ports) = daemon::start(|| {
            let ports =
                Ports { plain: free_port(), tls: free_port(), first_relay: free_ports(RELAY_PORTS), relay_ports };
            launch(login, ports, &dir).map(|daemon| (daemon, ports))
        });
        Self { daemon, login, ports, dir }
    }

    /// For `--ice`: STUN over UDP.
    pub fn stun_url(&self) -> String {
        format!("stun:127.0.0.1:{}", self.ports.plain)
    }

    /// For `--ice`: TURN over UDP.
    pub fn udp_url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=udp", self.ports.plain)
    }

    /// For `--ice`: TURN over TCP.
    pub fn tcp_url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=tcp", self.ports.plain)
    }

    /// For `--ice`: TURN over TLS.
    pub fn tls_url(&self) -> String {
        format!("turns:127.0.0.1:{}", self.ports.tls)
    }

    /// For `--ca-file`.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.file("ca.crt")
    }

    /// The port of STUN and TURN over UDP and TCP.
    pub fn port(&self) -> u16 {
        self.ports.plain
    }

    /// The port of TURN over TLS.
    pub fn tls_port(&self) -> u16 {
        self.ports.tls
    }

    /// What it has logged since it was started last.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Ends it as a crash would: all relaying stops.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Starts it again on the same ports, after [`Self::kill`] or without.
    pub fn restart(&mut self) {
        self.daemon.kill();
        let (login, ports, dir) = (self.login, self.ports, &self.dir);
        self.daemon = daemon::start(|| launch(login, ports, dir));
    }
}

fn launch(login: &str, ports: Ports, dir: &TempDir) -> Result<Daemon, NotReady> {
    let [plain, tls, min, max] = [ports.plain, ports.tls, ports.first_relay, ports.first_relay + ports.relay_ports - 1]
        .map(|port| port.to_string());
    let mut config = template(
        "coturn.conf",
        &[
            ("@PORT@", &plain),
            ("@TLS_PORT@", &tls),
            ("@MIN_PORT@", &min),
            ("@MAX_PORT@", &max),
            ("@DIR@", dir.path().to_str().expect("a plain path")),
            ("@LOGIN@", login),
        ],
    );
    if is_root() {
        // Debian's package has made this user for it; a service file does the same.
        config.push_str("proc-user=turnserver\nproc-group=turnserver\n");
    }
    let config = dir.write("turnserver.conf", &config);
    let mut command = Command::new(require("turnserver", "coturn"));
    let mut daemon = Daemon::spawn("coturn", command.arg("-c").arg(config), dir);
    daemon.until(|_| answers_stun(ports.plain).then_some(()))?;
    daemon.accepts(loopback(ports.tls))?;
    Ok(daemon)
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Asks once for a STUN binding, RFC 8489 section 6.
pub fn answers_stun(port: u16) -> bool {
    let mut request = [0; 20];
    request[1] = 1;
    request[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    request[8..].copy_from_slice(b"tring--tests");
    let socket = UdpSocket::bind(loopback(0)).unwrap();
    socket.set_read_timeout(Some(ANSWER)).unwrap();
    socket.connect(loopback(port)).unwrap();
    let mut answer = [0; 500];
    socket.send(&request).is_ok()
        && socket.recv(&mut answer).is_ok_and(|len| len >= 20 && answer[..2] == [1, 1] && answer[8..20] == request[8..])
}

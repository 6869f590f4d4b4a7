//! Mosquitto, in the configurations of `tests/servers`, each with MQTT and WebSocket.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::certificates::Flaw;
use super::daemon::{self, Daemon, NotReady};
use super::{TempDir, USERS, certificates, free_port, loopback, require, run, template};

/// Which of the configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Anonymous,
    Password,
    Tls,
    TlsWithClientCertificate,
    /// Joined with the one at this port.
    Bridged(u16),
    /// Everyone may do everything, with a line more of configuration.
    With(&'static str),
    /// TLS with a certificate that has a flaw.
    Flawed(Flaw),
}

impl Variant {
    fn is_tls(self) -> bool {
        match self {
            Self::Anonymous | Self::Password | Self::Bridged(_) | Self::With(_) => false,
            Self::Tls | Self::TlsWithClientCertificate | Self::Flawed(_) => true,
        }
    }
}

/// A running Mosquitto.
pub struct Mosquitto {
    daemon: Daemon,
    variant: Variant,
    port: u16,
    websocket_port: u16,
    dir: TempDir,
}

impl Mosquitto {
    /// Everyone may do everything.
    pub fn anonymous() -> Self {
        Self::start(Variant::Anonymous)
    }

    /// A login for each of [`USERS`], bound to its ClientId, and the topic rules of `mosquitto.acl`.
    pub fn password() -> Self {
        Self::start(Variant::Password)
    }

    /// TLS with a certificate of [`Self::ca_file`]; everyone who trusts it may do everything.
    pub fn tls() -> Self {
        Self::start(Variant::Tls)
    }

    /// The same, and the client must show a certificate such as [`Self::client_certificate`].
    pub fn tls_with_client_certificate() -> Self {
        Self::start(Variant::TlsWithClientCertificate)
    }

    /// Everyone may do everything, and what is said here or at the other broker is heard at both.
    pub fn bridged(other: &Self) -> Self {
        let mut bridged = Self::start(Variant::Bridged(other.port));
        // Subscribed there, it hears all that is said from now on.
        bridged.daemon.logged("Received SUBACK from local.").expect("the other broker lets it in");
        bridged
    }

    /// Everyone may do everything, within this line of configuration.
    pub fn with(line: &'static str) -> Self {
        Self::start(Variant::With(line))
    }

    /// As [`Self::tls`], with a certificate that has a flaw.
    pub fn flawed(flaw: Flaw) -> Self {
        Self::start(Variant::Flawed(flaw))
    }

    fn start(variant: Variant) -> Self {
        require("mosquitto", "mosquitto");
        let dir = TempDir::new("mosquitto");
        match variant {
            Variant::Anonymous | Variant::Bridged(_) | Variant::With(_) => {}
            Variant::Flawed(flaw) => {
                certificates::make(&dir);
                certificates::spoil(&dir, flaw);
            }
            Variant::Password => logins(&dir),
            Variant::Tls | Variant::TlsWithClientCertificate => certificates::make(&dir),
        }
        let (daemon, port, websocket_port) = daemon::start(|| {
            let (port, websocket_port) = (free_port(), free_port());
            configure(variant, port, websocket_port, &dir);
            launch(&dir, port).map(|daemon| (daemon, port, websocket_port))
        });
        Self { daemon, variant, port, websocket_port, dir }
    }

    /// For `--broker`: MQTT over TCP or TLS.
    pub fn url(&self) -> String {
        let scheme = if self.variant.is_tls() { "mqtts" } else { "mqtt" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// For `--broker`: MQTT over WebSocket.
    pub fn websocket_url(&self) -> String {
        let scheme = if self.variant.is_tls() { "wss" } else { "ws" };
        format!("{scheme}://127.0.0.1:{}/mqtt", self.websocket_port)
    }

    /// The port of MQTT over TCP or TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port of MQTT over WebSocket.
    pub fn websocket_port(&self) -> u16 {
        self.websocket_port
    }

    /// For `--ca-file`, with TLS only.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.file("ca.crt")
    }

    /// For `--cert` and `--key`, with TLS only: alice's certificate and its key.
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        (self.dir.file("client.crt"), self.dir.file("client.key"))
    }

    /// What it has logged since it was started last.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Ends it as a crash would: connections break, retained messages and sessions are lost.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Puts other rules in place of `mosquitto.acl`, with logins only, and starts it again.
    pub fn set_rules(&mut self, rules: &str) {
        self.dir.write("mosquitto.acl", rules);
        self.restart();
    }

    /// Starts it again on the same ports, after [`Self::kill`] or without.
    pub fn restart(&mut self) {
        self.daemon.kill();
        let (dir, port) = (&self.dir, self.port);
        self.daemon = daemon::start(|| launch(dir, port));
    }
}

fn logins(dir: &TempDir) {
    let mosquitto_passwd = require("mosquitto_passwd", "mosquitto");
    let passwords = dir.write("passwords", "");
    for (user, password) in USERS {
        run(Command::new(&mosquitto_passwd).arg("-b").arg(&passwords).args([user, password]));
    }
    // As root it drops its rights, and reads this file again on a reload.
    std::fs::set_permissions(&passwords, std::fs::Permissions::from_mode(0o644)).unwrap();
    dir.write("mosquitto.acl", &template("mosquitto.acl", &[]));
}

fn configure(variant: Variant, port: u16, websocket_port: u16, dir: &TempDir) {
    let (port, websocket_port, files) = (port.to_string(), websocket_port.to_string(), dir.path().to_str().unwrap());
    let ports = [("@PORT@", port.as_str()), ("@WEBSOCKET_PORT@", &websocket_port)];
    let tls = |required| [ports[0], ports[1], ("@DIR@", files), ("@REQUIRE_CERTIFICATE@", required)];
    let text = match variant {
        Variant::Anonymous => template("mosquitto-anonymous.conf", &ports),
        Variant::Bridged(other) => {
            template("mosquitto-bridge.conf", &[ports[0], ports[1], ("@OTHER_PORT@", &other.to_string())])
        }
        Variant::Password => template("mosquitto-password.conf", &[ports[0], ports[1], ("@DIR@", files)]),
        Variant::With(line) => format!("{}{line}\n", template("mosquitto-anonymous.conf", &ports)),
        Variant::Tls | Variant::Flawed(_) => template("mosquitto-tls.conf", &tls("false")),
        Variant::TlsWithClientCertificate => template("mosquitto-tls.conf", &tls("true")),
    };
    dir.write("mosquitto.conf", &text);
}

fn launch(dir: &TempDir, port: u16) -> Result<Daemon, NotReady> {
    let mut command = Command::new(require("mosquitto", "mosquitto"));
    let mut daemon = Daemon::spawn("mosquitto", command.arg("-c").arg(dir.file("mosquitto.conf")), dir);
    daemon.logged(" running")?;
    daemon.accepts(loopback(port))?;
    Ok(daemon)
}

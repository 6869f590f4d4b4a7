//! `tring serve`, the program's own servers, on free ports.

use std::path::PathBuf;

use serde_json::Value;

use super::PATIENCE;
use super::call::Args;
use super::process::{Tring, TringCommand};

/// On any free ports.
pub const SERVE: [&str; 7] = ["serve", "--mqtt-port", "0", "--websocket-port", "0", "--turn-port", "0"];

/// What also makes it serve everything over TLS, on one more port.
pub const OVER_TLS: [&str; 2] = ["--tls-port", "0"];

/// TURN user and password where no other login is set: on loopback they are no secret, and it tells them itself.
pub const LOGIN: &str = "tring";

/// A running `tring serve`, and where it is.
pub struct Served {
    pub program: Tring,
    pub mqtt: String,
    pub websocket: String,
    /// TURN over UDP, for `--ice`.
    pub turn: String,
    /// The same over TCP.
    pub turn_tcp: String,
    tls: Value,
}

impl Served {
    /// On free ports of loopback.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(options: Args) -> Self {
        Self::run(Tring::command(Args::new(SERVE).and(options)))
    }

    /// As the command says.
    ///
    /// # Panics
    /// When it does not start.
    pub fn run(command: TringCommand) -> Self {
        let mut program = command.spawn();
        let serving = program.wait_event("serving", PATIENCE);
        let address = |name: &str| serving[name].as_str().expect("an address").to_owned();
        let [mqtt, websocket, turn, turn_tcp] = ["mqtt", "websocket", "turn", "turn_tcp"].map(address);
        Self { program, mqtt, websocket, turn, turn_tcp, tls: serving["tls"].clone() }
    }

    /// MQTT over TLS.
    pub fn mqtts(&self) -> String {
        self.over_tls("mqtt")
    }

    /// MQTT over WebSocket over TLS.
    pub fn wss(&self) -> String {
        self.over_tls("websocket")
    }

    /// TURN over TLS.
    pub fn turns(&self) -> String {
        self.over_tls("turn")
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> String {
        self.over_tls("fingerprint")
    }

    /// For `--ca-file`, where it has made its certificate itself.
    pub fn ca_file(&self) -> PathBuf {
        self.over_tls("ca_file").into()
    }

    fn over_tls(&self, what: &str) -> String {
        self.tls[what].as_str().unwrap_or_else(|| panic!("no {what} in {}", self.tls)).to_owned()
    }
}

/// The port of an address such as `wss://127.0.0.1:443/mqtt` or `turn:127.0.0.1:3478?transport=tcp`.
///
/// # Panics
/// When there is none.
pub fn port_of(url: &str) -> u16 {
    let address = url.split('?').next().unwrap().trim_end_matches("/mqtt");
    address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port in {url}"))
}

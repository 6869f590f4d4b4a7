//! The servers of the lab's public side: Mosquitto, and coTURN as OPERATIONS.md wants it on the internet.

use super::super::daemon::{Daemon, NotReady};
use super::super::{TempDir, certificates, coturn, servers_dir, template};
use super::names::BROKER_NAME;
use super::space::Space;
use super::{PROXY_PORT, SERVER, SERVER_V6};

/// What a relay that others reach must not be used to reach: OPERATIONS.md lists the same networks.
const DENIED: [&str; 7] = [
    "0.0.0.0-0.255.255.255",
    "10.0.0.0-10.255.255.255",
    "100.64.0.0-100.127.255.255",
    "127.0.0.0-127.255.255.255",
    "169.254.0.0-169.254.255.255",
    "172.16.0.0-172.31.255.255",
    "192.168.0.0-192.168.255.255",
];

/// The usual port of MQTT: nobody else is in this network.
const MQTT: &str = "1883";

/// A broker for everyone, over IPv4 and IPv6, over TLS on 8883, and by WebSocket over TLS on 8443, where the port of HTTPS
/// leads. Its certificate is in `dir`.
///
/// # Panics
/// With its log, when it does not start.
pub fn mosquitto(public: &Space, dir: &TempDir) -> Daemon {
    let text = template("mosquitto-anonymous.conf", &[("@PORT@", MQTT), ("@WEBSOCKET_PORT@", "8083")]);
    let over_ipv6 = format!("listener {MQTT} {SERVER_V6}\nprotocol mqtt\n");
    let folder = dir.path().display();
    let over_tls = [(8883, "mqtt"), (8443, "websockets")].map(|(port, protocol)| {
        let files = format!("certfile {folder}/server.crt\nkeyfile {folder}/server.key\n");
        format!("listener {port} {SERVER}\nprotocol {protocol}\n{files}")
    });
    let config = dir.write("mosquitto.conf", &(at_server(&text) + &over_ipv6 + &over_tls.concat()));
    let mut command = public.command("mosquitto", "mosquitto");
    let mut daemon = Daemon::spawn("mosquitto", command.arg("-c").arg(config), dir);
    ready(daemon.logged(" running"));
    daemon
}

/// A proxy of this kind (`http`, `socks5`), which knows the broker's name.
///
/// # Panics
/// With its log, when it does not start.
pub fn proxy(public: &Space, kind: &str, dir: &TempDir) -> Daemon {
    let mut command = public.command("python3", "python3");
    let script = servers_dir().join("proxy.py");
    command.arg(script).args([kind, SERVER, &PROXY_PORT.to_string(), &format!("{BROKER_NAME}={SERVER}")]);
    let mut daemon = Daemon::spawn("proxy", &mut command, dir);
    ready(daemon.logged("ready"));
    daemon
}

/// What both servers need beside their configuration, once for all their starts.
pub fn prepare(dir: &TempDir) {
    certificates::make(dir);
    let login = format!("lt-cred-mech\nuser={}:{}", coturn::USER, coturn::PASSWORD);
    let values = [
        ("@PORT@", "3478"),
        ("@TLS_PORT@", "5349"),
        ("@MIN_PORT@", "49152"),
        ("@MAX_PORT@", "49351"),
        ("@DIR@", dir.path().to_str().expect("a plain path")),
        ("@LOGIN@", &login),
    ];
    let text = at_server(&template("coturn.conf", &values)).replace("\nallow-loopback-peers\n", "\n");
    let text = text.replace("\nlistening-port=", &format!("\nlistening-ip={SERVER_V6}\nlistening-port="));
    let denied = DENIED.map(|range| format!("denied-peer-ip={range}\n")).concat();
    // Debian's package has made this user for it; a service file does the same.
    let user = "proc-user=turnserver\nproc-group=turnserver\n";
    dir.write("turnserver.conf", &[&text, &denied, user].concat());
}

/// From the next start on coTURN relays from its IPv6 address alone, with these lines of configuration too.
pub fn relay_by_ipv6_alone(dir: &TempDir, more: &str) {
    let path = dir.file("turnserver.conf");
    let text = std::fs::read_to_string(&path).unwrap();
    let moved = text.replace(&format!("relay-ip={SERVER}\n"), &format!("relay-ip={SERVER_V6}\n"));
    assert_ne!(moved, text, "it has an address to relay from");
    dir.write("turnserver.conf", &format!("{moved}{more}"));
}

/// STUN and TURN over UDP, TCP and TLS, with one login, at an IPv4 and an IPv6 address.
///
/// # Panics
/// With its log, when it does not start.
pub fn coturn(public: &Space, dir: &TempDir) -> Daemon {
    let mut command = public.command("turnserver", "coturn");
    let mut daemon = Daemon::spawn("coturn", command.arg("-c").arg(dir.file("turnserver.conf")), dir);
    ready(daemon.until(|_| answers(public).then_some(())));
    daemon
}

/// Asks for a STUN binding; the client itself would wait for its answer for ever.
fn answers(public: &Space) -> bool {
    let mut ask = public.command("timeout", "coreutils");
    let answer = ask.args(["0.2", "turnutils_stunclient", SERVER]).output().unwrap();
    String::from_utf8_lossy(&answer.stdout).contains("reflexive addr")
}

/// A configuration for loopback, made to listen at the server's address.
fn at_server(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let moved = if line.starts_with('#') { line.to_owned() } else { line.replace("127.0.0.1", SERVER) };
        moved + "\n"
    });
    lines.collect()
}

fn ready<T>(result: Result<T, NotReady>) -> T {
    match result {
        Ok(ready) => ready,
        Err(NotReady::Ended(log) | NotReady::Late(log)) => panic!("{log}"),
    }
}

//! `tring serve`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use crate::cli;
use crate::exit::{ExitStatus, Failure};
use crate::printer::Printer;
use crate::serve::broker::{Access, BrokerConfig};
use crate::serve::turn::{Credentials, PeerPolicy, TurnConfig};
use crate::serve::{Serve, ServeConfig, ServeError};
use crate::settings::secret;

/// Shown to clients, part of their TURN key (RFC 8489 §9.2.2).
pub(super) const REALM: &str = "tring";

/// Login on loopback, where the broker needs none but TURN always does (RFC 8656 §5).
const LOCAL_LOGIN: &str = "tring";

pub(crate) async fn run(options: cli::Serve, printer: Arc<Printer>) -> Result<ExitStatus, Failure> {
    let password = secret(options.password_file.as_deref(), "TRING_PASSWORD")?;
    let login = options.user.clone().zip(password);
    let listen = |port| SocketAddr::new(options.listen, port);
    let access = match &login {
        Some((user, password)) => Access::Password { user: user.clone(), password: password.clone() },
        None => Access::Anonymous,
    };
    let (user, password) = login.clone().unwrap_or_else(|| (LOCAL_LOGIN.into(), LOCAL_LOGIN.into()));
    let config = ServeConfig {
        broker: BrokerConfig { mqtt: listen(options.mqtt_port), websocket: listen(options.websocket_port), access },
        turn: TurnConfig {
            listen: listen(options.turn_port),
            relay_ip: relay_ip(options.listen),
            realm: REALM.into(),
            credentials: Credentials::LongTerm { user: user.clone(), password },
            peers: PeerPolicy::PrivateToo,
        },
    };
    let mut serve = Serve::start(config).await.map_err(failure)?;
    print(&serve, &printer, login.is_some(), &user);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| Failure::internal(format!("cannot listen for signals: {error}")))?;
    let outcome = tokio::select! {
        _ = tokio::signal::ctrl_c() => Ok(ExitStatus::Interrupted),
        _ = terminate.recv() => Ok(ExitStatus::Done),
        error = serve.ended() => Err(failure(error)),
    };
    serve.stop().await;
    outcome
}

/// What a client has to be told, as it would type it.
fn print(serve: &Serve, printer: &Printer, needs_login: bool, user: &str) {
    let (mqtt, websocket, turn) = (serve.broker.mqtt_addr(), serve.broker.websocket_addr(), serve.turn.addr());
    if printer.is_json() {
        let line = serde_json::json!({
            "v": crate::events::VERSION, "ts": crate::printer::unix_ms(), "event": "serving",
            "mqtt": format!("mqtt://{mqtt}"), "websocket": format!("ws://{websocket}/mqtt"),
            "turn": format!("turn:{turn}"), "call_id": null, "peer": null,
        });
        return printer.result(&line.to_string());
    }
    let login = if needs_login { format!(" --user {user} --password-file FILE") } else { String::new() };
    let ice_login = if needs_login { "FILE" } else { "<(echo tring)" };
    printer.result(&format!(
        "broker   mqtt://{mqtt} and ws://{websocket}/mqtt\nrelay    turn:{turn} (STUN and TURN over UDP)\n\n\
         Peers join with\n  tring listen --id bob --broker mqtt://{mqtt}{login}\n  \
         tring call bob --id alice --broker mqtt://{mqtt}{login}\n\
         and where the direct path fails, on both sides, with\n  \
         --ice turn:{turn} --ice-user {user} --ice-password-file {ice_login}\n\nCtrl-C ends."
    ));
}

pub(super) fn failure(error: ServeError) -> Failure {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Failure::usage(text)
}

/// The address that peers see of a relay listening on `listen`: for a wildcard the one that leads out of this machine.
fn relay_ip(listen: IpAddr) -> IpAddr {
    if !listen.is_unspecified() {
        return listen;
    }
    let probe = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // An address for documentation (RFC 5737); connecting a UDP socket sends nothing.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    probe().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

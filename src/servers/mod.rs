//! The servers this program brings itself: an MQTT broker and a STUN/TURN server, and one port for both over TLS.
//!
//! - owns: starting them, the addresses they really got, ending them; the texts of what can go wrong
//! - must never: listen beyond this machine without a login, print, write to disk anything but a certificate it made
//! - flow: [`ServeConfig`] → [`Serve::start`] → listening servers → [`Serve::stop`], or [`Serve::ended`] when one dies
//!
//! What it is not: a broker for many strangers (sessions in memory, no quota a user). `docs/OPERATIONS.md` has the
//! configurations of Mosquitto, ActiveMQ and coTURN for that.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use network::system_error::without_number;
use thiserror::Error;

pub(crate) mod broker;
mod lobby;
pub(crate) mod one_run;
pub(crate) mod tls;
pub(crate) mod turn;

use broker::{Broker, BrokerConfig};
use tls::certificate::CertificateError;
use tls::{Behind, Tls, TlsConfig};
use turn::{Turn, TurnConfig};

/// Shown to clients, part of their TURN key (RFC 8489 §9.2.2).
pub(crate) const REALM: &str = "tring";

/// Which listener an error speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// MQTT over TCP
    Mqtt,
    /// MQTT over WebSocket
    WebSocket,
    /// STUN and TURN over UDP
    Turn,
    /// the same over TCP
    TurnTcp,
    /// everything over TLS
    Tls,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mqtt => "MQTT",
            Self::WebSocket => "WebSocket",
            Self::Turn => "TURN",
            Self::TurnTcp => "TURN over TCP",
            Self::Tls => "TLS",
        })
    }
}

/// Why a server could not start, or ended by itself.
#[derive(Debug, Error)]
pub(crate) enum ServeError {
    /// Another program, or another of our own listeners, has the port.
    #[error(
        "{service} address {addr} is already in use; stop the program that has it, or choose another port (0 takes a free one)"
    )]
    AddressInUse { service: Service, addr: SocketAddr },
    /// No interface of this machine has the address.
    #[error(
        "{service} address {addr} is not one of this machine's; try 127.0.0.1, 0.0.0.0 or an address that `ip address` lists"
    )]
    AddressNotLocal { service: Service, addr: SocketAddr },
    /// A port below 1024 without the right to it.
    #[error("no permission to listen on {service} address {addr}; try a port above 1023")]
    PortNotPermitted { service: Service, addr: SocketAddr },
    /// Every other reason a socket cannot listen.
    #[error("cannot listen on {service} address {addr}; try another address or port")]
    Listen {
        service: Service,
        addr: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// Anonymous access on an address that others reach.
    #[error(
        "refusing to listen on {service} address {addr} without a login, as everyone who reaches it could take part; set a user and a password, or listen on 127.0.0.1"
    )]
    OpenToNetwork { service: Service, addr: SocketAddr },
    /// A login that anyone can guess, or that the protocol cannot carry.
    #[error("{service} login has an empty user name, password or secret; set it, or leave the login out on 127.0.0.1")]
    EmptyCredentials { service: Service },
    /// The name of a user who is to be a peer cannot be a peer ID.
    #[error("user name `{user}` cannot be a peer ID; use 1 to 64 of A-Z a-z 0-9 _ -")]
    UserIsNoPeer { user: String },
    /// The broker's task ended by itself.
    #[error("the MQTT broker stopped by itself; start it again, with -v for its log")]
    BrokerStopped,
    /// The TURN library refused its configuration.
    #[error("the TURN server did not start; check realm and addresses")]
    Turn(#[source] ::turn::Error),
    /// The TURN server's task ended by itself.
    #[error("the TURN server stopped by itself; start it again, with -v for its log")]
    TurnStopped,
    /// The task of the TLS listener ended by itself.
    #[error("the TLS listener stopped by itself; start it again, with -v for its log")]
    TlsStopped,
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl ServeError {
    /// With its causes, in a line.
    pub(crate) fn text(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text = format!("{text}: {}", without_number(&cause.to_string()));
            source = cause.source();
        }
        text
    }

    /// True where other options would help.
    pub(crate) const fn is_usage(&self) -> bool {
        match self {
            Self::AddressInUse { .. }
            | Self::AddressNotLocal { .. }
            | Self::PortNotPermitted { .. }
            | Self::Listen { .. }
            | Self::OpenToNetwork { .. }
            | Self::EmptyCredentials { .. }
            | Self::UserIsNoPeer { .. }
            | Self::Certificate(_) => true,
            Self::BrokerStopped | Self::Turn(_) | Self::TurnStopped | Self::TlsStopped => false,
        }
    }

    /// Names the cause of a failed bind or listen.
    fn listen(service: Service, addr: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse { service, addr },
            io::ErrorKind::AddrNotAvailable => Self::AddressNotLocal { service, addr },
            io::ErrorKind::PermissionDenied => Self::PortNotPermitted { service, addr },
            _ => Self::Listen { service, addr, source },
        }
    }
}

/// What the servers listen on and whom they let in.
#[derive(Debug)]
pub(crate) struct ServeConfig {
    /// MQTT over TCP and WebSocket
    pub(crate) broker: BrokerConfig,
    /// STUN and TURN over UDP and TCP
    pub(crate) turn: TurnConfig,
    /// both over TLS
    pub(crate) tls: Option<TlsConfig>,
}

/// A running broker and TURN server; dropping it ends both without waiting.
pub(crate) struct Serve {
    /// the broker, for its addresses
    pub(crate) broker: Broker,
    /// the TURN server, for its address
    pub(crate) turn: Turn,
    /// the port for both over TLS, where there is one
    pub(crate) tls: Option<Tls>,
}

impl Serve {
    /// Starts all; when one fails, none is left running.
    ///
    /// # Errors
    /// See [`ServeError`]; nothing listens any more by then.
    pub(crate) async fn start(config: ServeConfig) -> Result<Self, ServeError> {
        let is_open = config.broker.access.is_open();
        if let Some(tls) = config.tls.as_ref().filter(|tls| is_open && !tls.listen.ip().is_loopback()) {
            return Err(ServeError::OpenToNetwork { service: Service::Tls, addr: tls.listen });
        }
        let broker = broker::start(config.broker).await?;
        let turn = match turn::start(config.turn).await {
            Ok(turn) => turn,
            Err(error) => {
                broker.stop().await;
                return Err(error);
            }
        };
        let mut serve = Self { broker, turn, tls: None };
        if let Some(tls) = config.tls {
            let behind = Behind { broker: serve.broker.front(), turn: serve.turn.streams() };
            match tls::start(tls, behind, serve.turn.lobby()).await {
                Ok(tls) => serve.tls = Some(tls),
                Err(error) => {
                    serve.stop().await;
                    return Err(error);
                }
            }
        }
        Ok(serve)
    }

    /// Returns only when one of them has died, which a healthy server never does. Cancellation safe.
    pub(crate) async fn ended(&mut self) -> ServeError {
        let tls = async {
            match &mut self.tls {
                Some(tls) => tls.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = self.broker.ended() => error,
            error = self.turn.ended() => error,
            error = tls => error,
        }
    }

    /// Ends all and waits until their ports are free again.
    pub(crate) async fn stop(self) {
        let tls = async {
            if let Some(tls) = self.tls {
                tls.stop().await;
            }
        };
        tokio::join!(tls, self.broker.stop(), self.turn.stop());
    }
}

#[cfg(test)]
mod tests {
    use super::broker::Access;
    use super::turn::{Credentials, PeerPolicy, Transports};
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn config(turn_port: u16) -> ServeConfig {
        ServeConfig {
            broker: BrokerConfig { mqtt: loopback(0), websocket: loopback(0), access: Access::Anonymous },
            turn: TurnConfig {
                listen: loopback(turn_port),
                transports: Transports::UdpAndTcp,
                relay_ip: loopback(0).ip(),
                realm: "tring.test".into(),
                credentials: Credentials::LongTerm { user: "u".into(), password: "p".into() },
                peers: PeerPolicy::PrivateToo,
                quota: None,
            },
            tls: None,
        }
    }

    #[tokio::test]
    async fn both_servers_start_and_give_their_ports_back() {
        let serve = Serve::start(config(0)).await.unwrap();
        let (mqtt, turn) = (serve.broker.mqtt_addr(), serve.turn.addr());
        assert!(std::net::TcpListener::bind(mqtt).is_err());
        assert!(std::net::UdpSocket::bind(turn).is_err());
        assert!(std::net::TcpListener::bind(turn).is_err());
        serve.stop().await;
        std::net::TcpListener::bind(mqtt).expect("the broker's port is free");
        std::net::UdpSocket::bind(turn).expect("the TURN port is free");
        std::net::TcpListener::bind(turn).expect("the TURN port is free over TCP too");
    }

    #[tokio::test]
    async fn a_turn_port_that_is_taken_over_tcp_alone_is_named() {
        let taken = std::net::TcpListener::bind(loopback(0)).unwrap();
        let addr = taken.local_addr().unwrap();
        let error = Serve::start(config(addr.port())).await.err().unwrap();
        assert!(matches!(error, ServeError::AddressInUse { service: Service::TurnTcp, .. }), "{error:?}");
        std::net::UdpSocket::bind(addr).expect("the port is free again over UDP");
    }

    #[tokio::test]
    async fn a_taken_turn_port_is_named_and_leaves_no_broker_behind() {
        let taken = std::net::UdpSocket::bind(loopback(0)).unwrap();
        let addr = taken.local_addr().unwrap();
        let error = Serve::start(config(addr.port())).await.err().unwrap();
        assert!(
            matches!(error, ServeError::AddressInUse { service: Service::Turn, addr: a } if a == addr),
            "{error:?}"
        );
        assert!(error.to_string().contains(&addr.to_string()), "{error}");
    }
}

//! The way to a broker: its name, and a TCP connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use media::system_error::in_words;
use signalling::mqtt::BrokerUrl;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::NamedBroker;

/// How long both may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// EMFILE.
const TOO_MANY_FILES: i32 = 24;

/// Where the broker is.
pub(super) struct Reached {
    /// The address that answered.
    pub(super) socket: SocketAddr,
    /// How long connecting took.
    pub(super) took: Duration,
}

/// Why there is no TCP connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreached {
    /// No such name.
    #[error("its name has no address: {0}")]
    Unresolved(String),
    /// The machine says so.
    #[error("nothing listens on port {0} there")]
    Closed(u16),
    /// Nobody says anything.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// This program may open no more files.
    #[error("too many open files here")]
    TooManyFiles,
    /// The rest.
    #[error("cannot connect: {0}")]
    Other(String),
}

impl Unreached {
    /// What to try.
    pub(super) fn advice(&self, url: &BrokerUrl, named: NamedBroker) -> String {
        match self {
            Self::Closed(_) if named == NamedBroker::Default => {
                "no broker was named, so this is the default: name yours by --broker, or start one here by `tring serve`"
                    .to_owned()
            }
            Self::TooManyFiles => "raise the limit with ulimit -n".to_owned(),
            Self::Unresolved(_) => {
                format!("is {:?} spelled right, and does this machine have a name server?", url.host)
            }
            Self::Closed(_) => "start the broker, or correct the port in --broker".to_owned(),
            Self::Silent => format!("is the machine on, and does every firewall let TCP port {} through?", url.port),
            Self::Other(_) => "does this machine have a network?".to_owned(),
        }
    }
}

/// Tries all addresses of the broker, as a call does.
pub(super) async fn reach(url: &BrokerUrl) -> Result<Reached, Unreached> {
    timeout(PATIENCE, connect(url)).await.unwrap_or(Err(Unreached::Silent))
}

async fn connect(url: &BrokerUrl) -> Result<Reached, Unreached> {
    let found = lookup_host((url.host.as_str(), url.port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|error| Unreached::Unresolved(in_words(&error)))?.collect();
    let began = Instant::now();
    let socket = TcpStream::connect(&addresses[..]).await.map_err(|error| match error.kind() {
        _ if error.raw_os_error() == Some(TOO_MANY_FILES) => Unreached::TooManyFiles,
        io::ErrorKind::ConnectionRefused => Unreached::Closed(url.port),
        io::ErrorKind::TimedOut => Unreached::Silent,
        _ => Unreached::Other(in_words(&error)),
    })?;
    let address = socket.peer_addr().map_err(|error| Unreached::Other(in_words(&error)))?;
    Ok(Reached { socket: address, took: began.elapsed() })
}

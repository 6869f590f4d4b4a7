//! Whether a TURN server is there at all, asked by a question without a login, which costs it no relay address; and
//! what can be wrong with one, in words. What it says to the login and the addresses of a call is seen on the call's own
//! questions ([`super::servers`]).

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{UdpSocket, lookup_host};

use super::config::{IceServer, IceServerKind};
use super::{random_u32, stun};

/// A server that does not answer for so long is of no use to a call that begins.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(4);

/// When the question is asked again: it may be lost.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Most of a server's own words that are passed on, in characters.
const REASON_CHARS_MAX: usize = 80;

/// An Allocate request (RFC 8656 §7.1), and one that gives back what it got (§8).
const ALLOCATE: u16 = 0x0003;
const REFRESH: u16 = 0x0004;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const LIFETIME: u16 = 0x000d;
const UDP: [u8; 4] = [17, 0, 0, 0];

/// Why a TURN server is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// Its name has no address.
    #[error("{url}: cannot resolve the host: {reason}")]
    Resolve {
        /// The server.
        url: String,
        /// What the resolver says.
        reason: String,
    },
    /// It does not answer.
    #[error("{url}: no answer for {} s; is it running, and does a firewall let UDP through?", SILENT_AFTER.as_secs())]
    Silent {
        /// The server.
        url: String,
    },
    /// Its machine says that nothing listens there.
    #[error("{url}: nothing listens on this UDP port; is it running there?")]
    Closed {
        /// The server.
        url: String,
    },
    /// It does not take the login.
    #[error("{url}: login refused ({code}); check --ice-user, --ice-password-file or --ice-secret-file")]
    Login {
        /// The server.
        url: String,
        /// 401 or 441.
        code: u16,
    },
    /// It gives no relay address for another reason.
    #[error("{url}: no relay address: {reason} ({code}); {fix}")]
    Refused {
        /// The server.
        url: String,
        /// Why.
        reason: String,
        /// By which code.
        code: u16,
        /// What to do.
        fix: &'static str,
    },
    /// The socket failed on this side.
    #[error("{url}: {reason}")]
    Local {
        /// The server.
        url: String,
        /// What failed.
        reason: String,
    },
}

impl TurnError {
    /// What the refusal of a relay address by this code means; `reason` are the server's own words.
    pub(super) fn of_code(url: String, code: u16, reason: &str) -> Self {
        let refused = |reason: &str, fix| Self::Refused { url: url.clone(), reason: reason.to_owned(), code, fix };
        match code {
            401 | 441 => Self::Login { url, code },
            403 => refused("the server forbids it", "look at its rules and its log"),
            437 => refused("the server holds an older one for this port", "try again"),
            440 | 443 => refused("the server relays no IPv4", "let it relay IPv4"),
            442 => refused("the server relays no UDP", "let it relay UDP (coTURN: without no-udp-relay)"),
            486 => refused(
                "the quota of this login, or of the server, is used up",
                "wait until other calls end, or raise it (coTURN: user-quota, total-quota)",
            ),
            508 => refused(
                "the server has no relay port left",
                "wait until other calls end, or give it more ports (coTURN: min-port, max-port)",
            ),
            _ => {
                let own: String = reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect();
                let own = if own.trim().is_empty() { "the server refuses it" } else { own.trim() };
                refused(own, "look at the server's log")
            }
        }
    }

    /// Which server it is about.
    #[must_use]
    pub fn url(&self) -> &str {
        match self {
            Self::Resolve { url, .. }
            | Self::Silent { url }
            | Self::Closed { url }
            | Self::Login { url, .. }
            | Self::Refused { url, .. }
            | Self::Local { url, .. } => url,
        }
    }
}

/// Asks `server` whether it is there. A STUN server passes unasked.
///
/// # Errors
/// [`TurnError`] naming the server and the reason.
pub async fn check(server: &IceServer) -> Result<(), TurnError> {
    if server.url.kind == IceServerKind::Stun {
        return Ok(());
    }
    let url = server.url.to_string();
    let address = resolve(server, &url).await?;
    match tokio::time::timeout(SILENT_AFTER, ask(address, &url)).await {
        Ok(result) => result,
        Err(_) => Err(TurnError::Silent { url }),
    }
}

async fn resolve(server: &IceServer, url: &str) -> Result<SocketAddr, TurnError> {
    let failed = |reason: String| TurnError::Resolve { url: url.to_owned(), reason };
    let addresses = lookup_host(format!("{}:{}", server.url.host, server.url.port)).await;
    let mut addresses = addresses.map_err(|error| failed(super::cause::of_io(&error)))?;
    addresses.find(SocketAddr::is_ipv4).ok_or_else(|| failed("no IPv4 address".into()))
}

async fn ask(address: SocketAddr, url: &str) -> Result<(), TurnError> {
    let failed = |error: std::io::Error| match error.kind() {
        // The system tells of a closed port (ICMP) on the next send or receive.
        ErrorKind::ConnectionRefused => TurnError::Closed { url: url.to_owned() },
        _ => TurnError::Local { url: url.to_owned(), reason: super::cause::of_io(&error) },
    };
    let socket = UdpSocket::bind("0.0.0.0:0").await.map_err(failed)?;
    socket.connect(address).await.map_err(failed)?;
    let transaction = transaction();
    let request = stun::write(ALLOCATE, transaction, &[(REQUESTED_TRANSPORT, &UDP)]);
    let mut buffer = vec![0; 2048];
    loop {
        socket.send(&request).await.map_err(failed)?;
        let again = Instant::now() + ASK_AGAIN;
        while let Ok(received) = tokio::time::timeout_at(again.into(), socket.recv(&mut buffer)).await {
            let length = received.map_err(failed)?;
            let answer = stun::Message::read(&buffer[..length]);
            let Some(answer) = answer.filter(|answer| answer.transaction == transaction) else { continue };
            if answer.class == stun::Class::Success {
                // It asks nobody for a login. If this is lost, the address is free again after its lifetime.
                let _lost = socket.send(&stun::write(REFRESH, self::transaction(), &[(LIFETIME, &[0; 4])])).await;
            }
            return Ok(());
        }
    }
}

fn transaction() -> [u8; 12] {
    let mut transaction = [0; 12];
    for part in transaction.chunks_mut(4) {
        part.copy_from_slice(&random_u32().to_be_bytes());
    }
    transaction
}

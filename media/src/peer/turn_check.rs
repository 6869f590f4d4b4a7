//! Asks a TURN server for an allocation and gives it back: the engine hides why a relay candidate is missing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc::crypto;
use rtc::sansio::Protocol as _;
use rtc::shared::{TransportContext, TransportMessage, TransportProtocol};
use rtc::turn::client::{Client, ClientConfig, Event};
use tokio::net::{UdpSocket, lookup_host};

use super::config::{IceServer, IceServerKind};

/// How long a server may take: four tries of the client fit in.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Why a TURN server is of no use.
#[derive(Debug, thiserror::Error)]
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
    #[error("{url}: no answer within {} s; is it running, and does a firewall let UDP through?", TIMEOUT.as_secs())]
    Silent {
        /// The server.
        url: String,
    },
    /// It refuses.
    #[error("{url}: allocation refused: {reason}; check --ice-user, --ice-password-file or --ice-secret-file")]
    Refused {
        /// The server.
        url: String,
        /// What it says.
        reason: String,
    },
    /// The socket or the client failed on this side.
    #[error("{url}: {reason}")]
    Local {
        /// The server.
        url: String,
        /// What failed.
        reason: String,
    },
}

/// Makes an allocation on `server` and releases it (RFC 8656 §7). A STUN server passes unasked.
///
/// # Errors
/// [`TurnError`] naming the server and the reason.
pub async fn check(server: &IceServer) -> Result<(), TurnError> {
    if server.url.kind == IceServerKind::Stun {
        return Ok(());
    }
    let url = server.url.to_string();
    let address = resolve(server, &url).await?;
    match tokio::time::timeout(TIMEOUT, allocate(server, address, &url)).await {
        Ok(result) => result,
        Err(_) => Err(TurnError::Silent { url }),
    }
}

async fn resolve(server: &IceServer, url: &str) -> Result<SocketAddr, TurnError> {
    let failed = |reason: String| TurnError::Resolve { url: url.to_owned(), reason };
    let addresses = lookup_host(format!("{}:{}", server.url.host, server.url.port)).await;
    let mut addresses = addresses.map_err(|error| failed(error.to_string()))?;
    addresses.find(SocketAddr::is_ipv4).ok_or_else(|| failed("no IPv4 address".into()))
}

async fn allocate(server: &IceServer, address: SocketAddr, url: &str) -> Result<(), TurnError> {
    let local_error = |reason: String| TurnError::Local { url: url.to_owned(), reason };
    let socket = UdpSocket::bind("0.0.0.0:0").await.map_err(|e| local_error(e.to_string()))?;
    socket.connect(address).await.map_err(|e| local_error(e.to_string()))?;
    let local_addr = socket.local_addr().map_err(|e| local_error(e.to_string()))?;
    let config = ClientConfig {
        stun_serv_addr: address.to_string(),
        turn_serv_addr: address.to_string(),
        local_addr,
        transport_protocol: TransportProtocol::UDP,
        username: server.username.clone(),
        password: server.password.clone(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        allocation_refresh_interval_cap: None,
    };
    let provider = crypto::default_provider().map_err(|e| local_error(e.to_string()))?;
    let mut client = Client::new(config, provider).map_err(|e| local_error(e.to_string()))?;
    client.allocate(Instant::now()).map_err(|e| local_error(e.to_string()))?;
    let mut buffer = vec![0; 2048];
    loop {
        while let Some(packet) = client.poll_write() {
            // A refused port shows here on the next send; the answer, or its absence, decides.
            let _lost = socket.send(&packet.message).await;
        }
        while let Some(event) = client.poll_event() {
            match event {
                Event::AllocateResponse(..) => return release(&mut client, &socket).await,
                Event::AllocateError(_, error) => {
                    return Err(TurnError::Refused { url: url.to_owned(), reason: error.to_string() });
                }
                Event::TransactionTimeout(_) => return Err(TurnError::Silent { url: url.to_owned() }),
                _ => {}
            }
        }
        let deadline = client.poll_timeout().unwrap_or_else(|| Instant::now() + Duration::from_millis(200));
        tokio::select! {
            received = socket.recv(&mut buffer) => {
                // The system tells of a closed port (ICMP) on the next receive.
                let length = received.map_err(|error| local_error(format!("{error}; is it running there?")))?;
                let message = TransportMessage {
                    now: Instant::now(),
                    transport: TransportContext {
                        local_addr,
                        peer_addr: address,
                        transport_protocol: TransportProtocol::UDP,
                        ecn: None,
                    },
                    message: bytes::BytesMut::from(&buffer[..length]),
                };
                // What is no STUN message of ours is not for us.
                let _unrelated = client.handle_read(message);
            }
            () = tokio::time::sleep_until(deadline.into()) => {
                client.handle_timeout(Instant::now()).map_err(|e| local_error(e.to_string()))?;
            }
        }
    }
}

/// Gives the allocation back; if the packet is lost, it ends by itself after its lifetime.
async fn release(client: &mut Client, socket: &UdpSocket) -> Result<(), TurnError> {
    if client.close().is_ok() {
        while let Some(packet) = client.poll_write() {
            let _lost = socket.send(&packet.message).await;
        }
    }
    Ok(())
}

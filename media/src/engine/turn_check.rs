//! Checks that a TURN server answers, before it is needed. The request has no login, so the server gives no relay
//! address. How it answers the requests of a call is seen on the call's own sockets ([`crate::path::server_log`]).

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{UdpSocket, lookup_host};

use super::random::random_u32;
use super::socket_errors;
use crate::path::ice_server::{IceServer, IceServerKind};
use crate::path::stun;
use crate::path::turn_error::{SILENT_AFTER, TurnError};

/// When the question is asked again: it may be lost.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// An Allocate request (RFC 8656 §7.1), and one that gives back what it got (§8).
const ALLOCATE: u16 = 0x0003;
const REFRESH: u16 = 0x0004;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const LIFETIME: u16 = 0x000d;
const UDP: [u8; 4] = [17, 0, 0, 0];

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
    let mut addresses = addresses.map_err(|error| failed(socket_errors::of_io(&error)))?;
    addresses.find(SocketAddr::is_ipv4).ok_or_else(|| failed("no IPv4 address".into()))
}

async fn ask(address: SocketAddr, url: &str) -> Result<(), TurnError> {
    let failed = |error: std::io::Error| match error.kind() {
        // The system tells of a closed port (ICMP) on the next send or receive.
        ErrorKind::ConnectionRefused => TurnError::Closed { url: url.to_owned() },
        _ => TurnError::Local { url: url.to_owned(), reason: socket_errors::of_io(&error) },
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

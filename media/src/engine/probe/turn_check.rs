//! Checks that a TURN server answers, before it is needed. The request has no login, so the server gives no relay
//! address. How it answers the requests of a call is seen on the call's own sockets ([`crate::path::server_log`]); for one
//! over TCP or TLS that is enough, since its stream tells of a closed port too.

use std::net::SocketAddr;

use tokio::time::timeout;

use super::allocation;
use super::transaction::{self, Unanswered};
use crate::path::ice_server::{IceServer, IceServerKind};
use crate::path::turn_error::{SILENT_AFTER, TurnError};

/// Asks `server` whether it is there. A STUN server passes unasked, and so does a server over TCP or TLS.
///
/// # Errors
/// [`TurnError`] naming the server and the reason.
pub async fn check(server: &IceServer) -> Result<(), TurnError> {
    if server.url.kind == IceServerKind::Stun || server.url.transport.is_stream() {
        return Ok(());
    }
    let url = server.url.to_string();
    // A name server that is slow is not the TURN server's fault: its time begins when the address is known.
    let answer = match transaction::resolve(&server.url).await {
        Ok(address) => timeout(SILENT_AFTER, ask(address)).await.unwrap_or(Err(Unanswered::Silent)),
        Err(unanswered) => Err(unanswered),
    };
    match answer {
        // Nonsense too: something answers there, and what it says to the call is seen there.
        Ok(()) | Err(Unanswered::Nonsense) => Ok(()),
        Err(Unanswered::Unresolved(reason)) => Err(TurnError::Resolve { url, reason }),
        Err(Unanswered::Closed) => Err(TurnError::Closed { url }),
        Err(Unanswered::Stream(fault)) => Err(TurnError::of_stream(&server.url, &fault)),
        Err(Unanswered::Silent) => Err(TurnError::silent(&server.url)),
        Err(Unanswered::Local(reason)) => Err(TurnError::Local { url, reason }),
    }
}

async fn ask(address: SocketAddr) -> Result<(), Unanswered> {
    let socket = transaction::open_to(address).await?;
    loop {
        match transaction::ask(&socket, address, &allocation::request_without_login()?).await {
            Ok((answer, _)) => {
                // It answers, which is what was asked; the address is free again after its lifetime.
                let _lost = allocation::give_back(&socket, address, &answer).await;
                return Ok(());
            }
            // It is asked until the time is over.
            Err(Unanswered::Silent) => {}
            Err(unanswered) => return Err(unanswered),
        }
    }
}

//! Checks that a TURN server answers, before it is needed. The request has no login, so the server gives no relay
//! address. How it answers the requests of a call is seen on the call's own sockets ([`crate::path::server_log`]).

use super::allocation;
use super::transaction::{self, Unanswered};
use crate::path::ice_server::{IceServer, IceServerKind};
use crate::path::turn_error::{SILENT_AFTER, TurnError};

/// Asks `server` whether it is there. A STUN server passes unasked.
///
/// # Errors
/// [`TurnError`] naming the server and the reason.
pub async fn check(server: &IceServer) -> Result<(), TurnError> {
    if server.url.kind == IceServerKind::Stun {
        return Ok(());
    }
    let url = server.url.to_string();
    match tokio::time::timeout(SILENT_AFTER, ask(server)).await {
        Err(_) => Err(TurnError::Silent { url }),
        Ok(Ok(())) => Ok(()),
        Ok(Err(Unanswered::Unresolved(reason))) => Err(TurnError::Resolve { url, reason }),
        Ok(Err(Unanswered::Closed)) => Err(TurnError::Closed { url }),
        // Whatever it was, something answers there; what it says to the call is seen there.
        Ok(Err(Unanswered::Nonsense)) => Ok(()),
        Ok(Err(Unanswered::Silent)) => Err(TurnError::Silent { url }),
        Ok(Err(Unanswered::Local(reason))) => Err(TurnError::Local { url, reason }),
    }
}

async fn ask(server: &IceServer) -> Result<(), Unanswered> {
    let address = transaction::resolve(&server.url).await?;
    let socket = transaction::open_to(address).await?;
    loop {
        match transaction::ask(&socket, address, &allocation::request_without_login()?).await {
            Ok((answer, _)) => return allocation::give_back(&socket, address, &answer).await,
            // It is asked until the time is over.
            Err(Unanswered::Silent) => {}
            Err(unanswered) => return Err(unanswered),
        }
    }
}

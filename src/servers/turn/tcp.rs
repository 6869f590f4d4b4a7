//! TURN over TCP without TLS: takes connections and gives each a task.
//!
//! - must never: let one connection hold up another; try again at once when the system hands out no connection
//! - flow: listener → [`Acceptor`] → [`Lobby`] → [`StreamServer::serve`]

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::streams::StreamServer;
use crate::platform::acceptor::{Acceptor, send_at_once};
use crate::servers::lobby::Lobby;

/// Serves until `stopping` fires; nothing listens, and no connection is open any more, when this returns.
pub(super) async fn run(listener: TcpListener, server: StreamServer, lobby: Arc<Lobby>, stopping: CancellationToken) {
    let mut acceptor = Acceptor::new("TURN over TCP");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!("the task of a connection ended: {error}");
                }
            }
            (stream, from) = acceptor.next(|| listener.accept()) => {
                let (Some(guest), Ok(local)) = (lobby.enter(from.ip()), stream.local_addr()) else {
                    debug!("a TURN connection is refused: too many clients have not logged in yet");
                    continue;
                };
                send_at_once(&stream);
                let server = server.clone();
                connections.spawn(async move { server.serve(stream, from, local, guest).await });
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

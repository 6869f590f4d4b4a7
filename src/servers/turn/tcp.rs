//! TURN over TCP without TLS: takes connections and gives each a task.
//!
//! - must never: let one connection hold up another; try again at once when the system hands out no connection
//! - flow: listener → [`serve_each`] → [`Lobby`] → [`StreamServer::serve`]

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::streams::StreamServer;
use crate::platform::acceptor::{send_at_once, serve_each};
use crate::servers::lobby::Lobby;

/// Serves until `stopping` fires; nothing listens, and no connection is open any more, when this returns.
pub(super) async fn run(listener: TcpListener, server: StreamServer, lobby: Arc<Lobby>, stopping: CancellationToken) {
    let mut connections = serve_each("TURN over TCP", listener, &stopping, |stream, from| {
        let (Some(guest), Ok(local)) = (lobby.enter(from.ip()), stream.local_addr()) else {
            debug!("a TURN connection is refused: too many clients have not logged in yet");
            return None;
        };
        send_at_once(&stream);
        let server = server.clone();
        Some(async move { server.serve(stream, from, local, guest).await })
    })
    .await;
    while connections.join_next().await.is_some() {}
}

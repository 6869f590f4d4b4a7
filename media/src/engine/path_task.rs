//! The task that watches the path of one peer connection.
//!
//! - every [`TICK`]: the time and the datagrams received → [`Watch`](crate::path::watch::Watch) → events
//! - every [`TICKS_A_LOOK`] ticks: addresses and routes of this machine → the same → `NetworkChanged`
//! - news of the payload limit and of TURN servers → events

use std::sync::Arc;
use std::time::Instant;

use tokio::time::MissedTickBehavior;
use webrtc::peer_connection::PeerConnection;

use super::events::PeerEvent;
use super::runtime::SettlingRuntime;
use super::shared::Shared;
use super::stats;
use crate::congestion::payload_limit::PayloadLimit;
use crate::path::addresses::Network;
use crate::path::receive_counter::ReceiveCounter;
use crate::path::turn_error::TurnError;
use crate::path::watch::{PathEvent, TICK, TICKS_A_LOOK};

/// Watches until the peer connection goes away.
pub(super) async fn run(
    shared: Arc<Shared>,
    (received, payload): (Arc<ReceiveCounter>, Arc<PayloadLimit>),
    connection: Arc<dyn PeerConnection>,
    network: Arc<dyn Network>,
    settling: Arc<SettlingRuntime>,
) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    let mut troubled = Vec::new();
    for tick in 0u32.. {
        ticks.tick().await;
        let now = Instant::now();
        let ran = now.saturating_duration_since(last);
        last = now;
        let events = shared.watch().tick(now, ran, received.count());
        for event in events {
            shared.tell(PeerEvent::from(event));
        }
        if let Some(bytes) = payload.news() {
            shared.shrunk(bytes);
        }
        for trouble in news(&mut troubled, shared.servers.troubles(now)) {
            shared.tell(PeerEvent::Relay(trouble));
        }
        if shared.servers.take_refused_refresh() && stats::ends(&*connection).await.is_some_and(|ends| ends.is_relayed)
        {
            shared.tell(PeerEvent::RelayExpires);
        }
        if tick % TICKS_A_LOOK == 0 && look(&shared, &*connection, &*network, &settling).await {
            shared.tell(PeerEvent::NetworkChanged);
        }
    }
}

/// What is told now and was not before.
fn news(before: &mut Vec<TurnError>, now: Vec<TurnError>) -> Vec<TurnError> {
    let news = now.iter().filter(|trouble| !before.contains(trouble)).cloned().collect();
    *before = now;
    news
}

async fn look(
    shared: &Shared,
    connection: &dyn PeerConnection,
    network: &dyn Network,
    settling: &SettlingRuntime,
) -> bool {
    let ends = stats::ends(connection).await;
    let route = ends.map(|ends| {
        // What is relayed goes to a server first.
        let to = if ends.is_relayed { settling.server(ends.from.is_ipv4()) } else { ends.to };
        network.route(ends.from, to)
    });
    let addresses = network.addresses();
    shared.watch().moved(addresses, route)
}

impl From<PathEvent> for PeerEvent {
    fn from(event: PathEvent) -> Self {
        match event {
            PathEvent::Silent => Self::Silent,
            PathEvent::Heard => Self::Heard,
            PathEvent::Stalled => Self::Stalled,
            PathEvent::Failed => Self::Failed,
        }
    }
}

//! Polls an event loop of `rumqttc` on a task of its own, once there is a connection.
//!
//! [`Way`]: whether the event loop connects itself, or by a [`Bridge`] → [`Pump`]: connect → poll until the first error.
//! The way by a bridge is for names, which may have several addresses, and for proxies.

use std::net::{IpAddr, SocketAddr};

use network::proxy::Proxies;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::bridge::Bridge;
use super::{Options, REQUESTS_MAX};
use crate::mqtt::reach::{self, REACH};
use crate::mqtt::{BrokerUrl, Scheme, cause};

/// An event loop of `rumqttc`, of either version.
pub(super) trait Poll: Send + 'static {
    type Packet: Send;
    type Error: Send;

    fn poll(&mut self) -> impl Future<Output = Result<Self::Packet, Self::Error>> + Send;

    /// Has it go by a proxy from its next connection on.
    fn go_by(&mut self, proxy: rumqttc::Proxy);
}

/// How an event loop gets to the broker.
pub(super) enum Way {
    /// It connects to this address itself.
    Direct(SocketAddr),
    /// We connect for it: to a name, or through a proxy.
    Bridged { broker: BrokerUrl, proxies: Proxies, interface: Option<String> },
}

impl Way {
    pub(super) fn of(options: &Options<'_>) -> Self {
        let route = reach::route(options.broker, options.proxies, options.interface);
        match options.broker.host.parse::<IpAddr>() {
            // `rumqttc` cannot check a certificate for an IPv6 address that it connects to itself: it has brackets.
            Ok(ip) if route.proxy.is_none() && (ip.is_ipv4() || options.broker.scheme != Scheme::Mqtts) => {
                Self::Direct(SocketAddr::new(ip, options.broker.port))
            }
            Ok(_) | Err(_) => Self::Bridged {
                broker: options.broker.clone(),
                proxies: options.proxies.clone(),
                interface: options.interface.map(str::to_owned),
            },
        }
    }
}

/// What a [`Pump`] brings.
enum Brought<P> {
    /// There is a connection.
    Reached { address: SocketAddr, bridge: Option<JoinHandle<()>> },
    /// Something came or went by it.
    Packet(P),
}

/// Why a [`Pump`] has ended.
pub(super) enum PumpEnd<E> {
    /// There is no connection, for this reason.
    Unreached(String),
    /// The event loop has failed.
    Failed(E),
}

type Item<L> = Result<Brought<<L as Poll>::Packet>, PumpEnd<<L as Poll>::Error>>;

/// Connects, and polls an event loop on a task of its own until its first error: `poll` must not be cancelled half-way.
pub(super) struct Pump<L: Poll> {
    brought: mpsc::Receiver<Item<L>>,
    task: Option<JoinHandle<()>>,
    /// Ends by itself.
    bridge: Option<JoinHandle<()>>,
    pub(super) address: Option<SocketAddr>,
}

impl<L: Poll> Pump<L> {
    pub(super) fn start(mut event_loop: L, way: Way) -> Self {
        let (sender, brought) = mpsc::channel(REQUESTS_MAX);
        let task = tokio::spawn(async move {
            let reached = match connect(&mut event_loop, way).await {
                Ok((address, bridge)) => Ok(Brought::Reached { address, bridge }),
                Err(reason) => Err(PumpEnd::Unreached(reason)),
            };
            let mut over = reached.is_err();
            if sender.send(reached).await.is_err() {
                return;
            }
            while !over {
                let packet = event_loop.poll().await.map(Brought::Packet).map_err(PumpEnd::Failed);
                over = packet.is_err();
                if sender.send(packet).await.is_err() {
                    return;
                }
            }
        });
        Self { brought, task: Some(task), bridge: None, address: None }
    }

    /// The next packet; nothing after the error that ended it. Cancellation safe.
    pub(super) async fn next(&mut self) -> Option<Result<L::Packet, PumpEnd<L::Error>>> {
        loop {
            match self.brought.recv().await? {
                Ok(Brought::Reached { address, bridge }) => (self.address, self.bridge) = (Some(address), bridge),
                Ok(Brought::Packet(packet)) => return Some(Ok(packet)),
                Err(end) => return Some(Err(end)),
            }
        }
    }

    /// See [`super::Client::close`].
    pub(super) async fn close(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _aborted = task.await;
        }
        // Its client is gone, so it ends once it has passed on the rest.
        if let Some(bridge) = self.bridge.take() {
            let _ended = bridge.await;
        }
    }
}

impl<L: Poll> Drop for Pump<L> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Connects where the event loop cannot do so itself.
async fn connect<L: Poll>(event_loop: &mut L, way: Way) -> Result<(SocketAddr, Option<JoinHandle<()>>), String> {
    let (broker, proxies, interface) = match way {
        Way::Direct(address) => return Ok((address, None)),
        Way::Bridged { broker, proxies, interface } => (broker, proxies, interface),
    };
    let route = reach::route(&broker, &proxies, interface.as_deref());
    let reached = network::reach::reach(&route, REACH).await.map_err(|error| reach::in_words(&route, &error))?;
    tracing::debug!(address = %reached.address, took = ?reached.took, "TCP connected");
    let bridge = Bridge::start(reached.stream).await;
    let Bridge { proxy, task } = bridge.map_err(|error| no_loopback(&cause::of_io(&error)))?;
    event_loop.go_by(proxy);
    Ok((reached.address, Some(task)))
}

/// Why the event loop does not get to the bridge.
pub(super) fn no_loopback(reason: &str) -> String {
    format!("no connection to 127.0.0.1 of this machine, which is needed inside the program: {reason}")
}

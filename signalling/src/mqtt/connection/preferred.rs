//! The way back to a broker that stands before the present one in the list.
//!
//! Peers that share a list of brokers meet only where both are, so all of them use the first that works: one that is
//! gone is left for the next, and one that is back is gone back to.

use std::time::Duration;

use network::proxy::Proxies;

use super::Broker;
use crate::mqtt::BrokerUrl;
use crate::mqtt::reach::reach;

/// How often a TCP connection to the preferred brokers is tried: peers are to be together again 2 s after theirs is back.
const LOOK_FIRST: Duration = Duration::from_secs(1);

/// The same, after one has accepted connections and refused the login again and again.
const LOOK_MAX: Duration = Duration::from_secs(64);

/// How long a broker may take to accept a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// When to look whether a better broker is back.
#[derive(Debug)]
pub(super) struct Preferred {
    every: Duration,
    /// The broker that was left for a better one, until the next connection.
    left: Option<usize>,
}

impl Default for Preferred {
    fn default() -> Self {
        Self { every: LOOK_FIRST, left: None }
    }
}

impl Preferred {
    /// The broker in this place is left for a better one.
    pub(super) fn leaves(&mut self, place: usize) {
        self.left = Some(place);
    }

    /// The broker in this place has taken us in.
    pub(super) fn arrived(&mut self, place: usize) {
        match self.left.take() {
            // Nothing gained: the broker that accepted the connection refused the login.
            Some(left) if place >= left => self.every = (self.every * 2).min(LOOK_MAX),
            Some(_) => self.every = LOOK_FIRST,
            None => {}
        }
    }

    /// Returns when a broker that stands before this one in the list accepts connections.
    pub(super) fn better_is_back(
        &self,
        broker: &Broker,
        brokers: &[BrokerUrl],
        proxies: &Proxies,
    ) -> impl Future<Output = ()> + Send + use<> {
        is_back(brokers[..broker.place].to_vec(), proxies.clone(), self.every)
    }
}

/// Returns when one of these accepts a connection; never, when there is none.
async fn is_back(brokers: Vec<BrokerUrl>, proxies: Proxies, every: Duration) {
    if brokers.is_empty() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(every).await;
        for broker in &brokers {
            if reach(broker, &proxies, CONNECT_TIMEOUT).await.is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_refuses_the_login_is_looked_at_less_and_less_often() {
        let mut preferred = Preferred::default();
        for doubled in [2, 4, 8, 16, 32, 64, 64] {
            preferred.leaves(1);
            preferred.arrived(1);
            assert_eq!(preferred.every, Duration::from_secs(doubled));
        }
        // A loss says nothing of the better ones.
        preferred.arrived(1);
        assert_eq!(preferred.every, LOOK_MAX);
        preferred.leaves(1);
        preferred.arrived(0);
        assert_eq!(preferred.every, LOOK_FIRST);
    }
}

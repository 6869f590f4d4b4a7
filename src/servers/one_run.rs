//! A broker and a TURN server for one run of this program: on loopback, on free ports, with a login made for it.
//!
//! - owns: which of the two there are, where they listen, ending each and starting it again on its port
//! - flow: [`OneRun::new`] → [`OneRun::start_broker`], [`OneRun::start_turn`] → [`OneRun::stop`]
//!
//! The demo, loads and call tests stand on them. Several runs at once do not meet.

use std::net::SocketAddr;

use super::ServeError;
use super::broker::{self, Access, Broker, BrokerConfig};
use super::turn::{self, Turn, TurnConfig};
use crate::platform::random;

/// The servers of one run; dropping it ends them without waiting.
pub(crate) struct OneRun {
    broker: Slot<Broker>,
    access: Access,
    turn: Slot<Turn>,
    user: &'static str,
    password: String,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Broker,
    Turn,
}

/// A server of the run.
enum Slot<S> {
    /// There is none.
    Absent,
    Running(S, SocketAddr),
    /// Was ended; its port is kept.
    Down(SocketAddr),
}

impl<S> Slot<S> {
    const fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Absent => None,
            Self::Running(_, addr) | Self::Down(addr) => Some(*addr),
        }
    }

    /// The server, if it runs; from now on it is down.
    fn take_down(&mut self) -> Option<S> {
        match std::mem::replace(self, Self::Absent) {
            Self::Absent => None,
            Self::Running(server, addr) => {
                *self = Self::Down(addr);
                Some(server)
            }
            Self::Down(addr) => {
                *self = Self::Down(addr);
                None
            }
        }
    }
}

impl OneRun {
    /// None so far; `user` is the name at the TURN server, whose password is made here.
    pub(crate) fn new(user: &'static str) -> Self {
        Self { broker: Slot::Absent, access: Access::Anonymous, turn: Slot::Absent, user, password: random::password() }
    }

    /// Starts the broker, on the port it had before if there was one.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub(crate) async fn start_broker(&mut self, access: Access) -> Result<(), ServeError> {
        let port = self.broker.addr().map_or(0, |addr| addr.port());
        let broker = broker::start(BrokerConfig::on_loopback(port, access.clone())).await?;
        let addr = broker.mqtt_addr();
        (self.broker, self.access) = (Slot::Running(broker, addr), access);
        Ok(())
    }

    /// Starts the TURN server, on the port it had before if there was one.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub(crate) async fn start_turn(&mut self) -> Result<(), ServeError> {
        let port = self.turn.addr().map_or(0, |addr| addr.port());
        let turn = turn::start(TurnConfig::on_loopback(port, self.user, &self.password)).await?;
        let addr = turn.addr();
        self.turn = Slot::Running(turn, addr);
        Ok(())
    }

    /// Where the broker is; `None` where there is none.
    pub(crate) fn broker_url(&self) -> Option<String> {
        self.broker.addr().map(|addr| format!("mqtt://{addr}"))
    }

    /// Where the TURN server is; `None` where there is none.
    pub(crate) fn turn_url(&self) -> Option<String> {
        self.turn.addr().map(|addr| format!("turn:{addr}"))
    }

    /// Name at the TURN server.
    pub(crate) const fn user(&self) -> &'static str {
        self.user
    }

    /// Password at the TURN server.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// True for a server of this run, running or not.
    pub(crate) const fn has(&self, member: Member) -> bool {
        match member {
            Member::Broker => self.broker.addr().is_some(),
            Member::Turn => self.turn.addr().is_some(),
        }
    }

    /// Ends a server, and waits until its port is free.
    pub(crate) async fn kill(&mut self, member: Member) {
        match member {
            Member::Broker => {
                if let Some(broker) = self.broker.take_down() {
                    broker.stop().await;
                }
            }
            Member::Turn => {
                if let Some(turn) = self.turn.take_down() {
                    turn.stop().await;
                }
            }
        }
    }

    /// Ends a server, and starts it again on its port.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub(crate) async fn restart(&mut self, member: Member) -> Result<(), ServeError> {
        self.kill(member).await;
        match member {
            Member::Broker => self.start_broker(self.access.clone()).await,
            Member::Turn => self.start_turn().await,
        }
    }

    /// Ends both.
    pub(crate) async fn stop(mut self) {
        self.kill(Member::Turn).await;
        self.kill(Member::Broker).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_comes_back_on_its_port() {
        let mut servers = OneRun::new("test");
        assert!(!servers.has(Member::Broker) && servers.turn_url().is_none());
        servers.start_broker(Access::Anonymous).await.unwrap();
        servers.start_turn().await.unwrap();
        let urls = (servers.broker_url().unwrap(), servers.turn_url().unwrap());
        servers.kill(Member::Broker).await;
        let addr = urls.0.strip_prefix("mqtt://").unwrap().to_owned();
        std::net::TcpListener::bind(&addr).expect("the broker's port is free");
        for member in [Member::Broker, Member::Turn] {
            servers.restart(member).await.unwrap();
        }
        assert!(std::net::TcpListener::bind(&addr).is_err());
        assert_eq!((servers.broker_url().unwrap(), servers.turn_url().unwrap()), urls);
        servers.stop().await;
        std::net::TcpListener::bind(&addr).expect("the broker's port is free");
    }
}

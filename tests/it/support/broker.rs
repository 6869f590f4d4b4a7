//! Any of the real brokers, for what has to be the same on all of them.

use std::path::PathBuf;

use super::activemq::ActiveMq;
use super::mosquitto::Mosquitto;

/// Who made the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    Mosquitto,
    ActiveMq,
}

impl Make {
    /// A broker on which everyone may do everything.
    pub fn open(self) -> Broker {
        match self {
            Self::Mosquitto => Broker::Mosquitto(Mosquitto::anonymous()),
            Self::ActiveMq => Broker::ActiveMq(ActiveMq::anonymous()),
        }
    }

    /// One with a login for each of the users, and rights for each login.
    pub fn guarded(self) -> Broker {
        match self {
            Self::Mosquitto => Broker::Mosquitto(Mosquitto::password()),
            Self::ActiveMq => Broker::ActiveMq(ActiveMq::password()),
        }
    }

    /// One that speaks TLS, on which everyone may do everything.
    pub fn tls(self) -> Broker {
        match self {
            Self::Mosquitto => Broker::Mosquitto(Mosquitto::tls()),
            Self::ActiveMq => Broker::ActiveMq(ActiveMq::tls()),
        }
    }
}

/// A running broker of either make.
pub enum Broker {
    Mosquitto(Mosquitto),
    ActiveMq(ActiveMq),
}

impl Broker {
    /// For `--broker`: MQTT over TCP or TLS.
    pub fn url(&self) -> String {
        match self {
            Self::Mosquitto(broker) => broker.url(),
            Self::ActiveMq(broker) => broker.url(),
        }
    }

    /// All that `--broker` takes for it: WebSocket too, where it has that.
    pub fn urls(&self) -> Vec<String> {
        match self {
            Self::Mosquitto(broker) => vec![broker.url(), broker.websocket_url()],
            Self::ActiveMq(broker) => vec![broker.url()],
        }
    }

    /// The port of MQTT over TCP or TLS.
    pub fn port(&self) -> u16 {
        match self {
            Self::Mosquitto(broker) => broker.port(),
            Self::ActiveMq(broker) => broker.port(),
        }
    }

    /// For `--ca-file`, with TLS only.
    pub fn ca_file(&self) -> PathBuf {
        match self {
            Self::Mosquitto(broker) => broker.ca_file(),
            Self::ActiveMq(broker) => broker.ca_file(),
        }
    }

    /// Ends it as a crash would: connections break, everything is lost.
    pub fn kill(&mut self) {
        match self {
            Self::Mosquitto(broker) => broker.kill(),
            Self::ActiveMq(broker) => broker.kill(),
        }
    }

    /// Starts it again on the same port, after [`Self::kill`] or without.
    pub fn restart(&mut self) {
        match self {
            Self::Mosquitto(broker) => broker.restart(),
            Self::ActiveMq(broker) => broker.restart(),
        }
    }
}

/// Makes each named function, which takes a [`Make`], a test over each of the brokers: `mosquitto::NAME` and
/// `activemq::NAME`.
macro_rules! over_each_broker {
    ($($name:ident),+ $(,)?) => {
        mod mosquitto {
            $(#[test]
            fn $name() {
                super::$name($crate::support::broker::Make::Mosquitto);
            })+
        }

        mod activemq {
            $(#[test]
            fn $name() {
                super::$name($crate::support::broker::Make::ActiveMq);
            })+
        }
    };
}
pub(crate) use over_each_broker;

//! How a connection ended, what the errors of a broker mean, and what is told when no broker takes us.

use super::{Broker, Connection};
use crate::mqtt::cause::{CONNECTION_REFUSED, Cause};
use crate::mqtt::client::{CONNECT_TRY_SECONDS, Ending, HTTP_ANSWERS, INCOMING_PACKET_BYTES_MAX, Refusal};
use crate::mqtt::probe::other_protocol;
use crate::mqtt::{LinkError, MqttVersion};

/// How a connection, or the try at one, ended.
pub(super) enum ConnectionEnd {
    /// We were told to stop.
    Stopped,
    /// A broker that we would rather use is back.
    Returning,
    /// The addresses of this machine changed: the connection may be dead and not know it.
    NetworkChanged,
    /// The broker does not answer any more.
    Silent,
    /// It broke; try again.
    Broken(String),
    /// A stranger's message above the limit broke it; try again.
    Oversized,
    /// It was closed while a message of ours was under way that is larger than any that this broker took.
    ClosedOnPacket { reason: String },
    /// It cannot work, at this broker at least.
    Fatal(LinkError),
}

impl ConnectionEnd {
    /// For people.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Stopped => "told to stop".to_owned(),
            Self::Returning => "a broker that stands before it in the list is back".to_owned(),
            Self::NetworkChanged => "the network of this machine changed".to_owned(),
            Self::Silent => "the broker does not answer any more".to_owned(),
            Self::Broken(reason) | Self::ClosedOnPacket { reason } => reason.clone(),
            Self::Oversized => {
                format!("someone sent more than {} MiB at once", INCOMING_PACKET_BYTES_MAX / 1024 / 1024)
            }
            Self::Fatal(error) => error.to_string(),
        }
    }
}

/// How a try at all brokers, one after the other, ended.
pub(super) enum Round {
    /// We were told to stop.
    Stopped,
    /// One took us in, and is gone again.
    Served,
    /// One took us in, and we left it for a better one, or for a connection over another network.
    Returning,
    /// None took us in.
    Failed(Vec<Failed>),
    /// It cannot work.
    Fatal(LinkError),
}

/// A broker that did not take us in.
pub(super) struct Failed {
    pub(super) broker: String,
    pub(super) reason: String,
    /// Set when the broker itself said no.
    pub(super) refusal: Option<LinkError>,
}

/// What to say when no broker took us in: what the last one said that said no, else that none can be reached.
pub(super) fn unreachable(mut failed: Vec<Failed>) -> LinkError {
    if let Some(refusal) = failed.iter_mut().rev().find_map(|failed| failed.refusal.take()) {
        return refusal;
    }
    let brokers: Vec<&str> = failed.iter().map(|failed| failed.broker.as_str()).collect();
    let reason = match &failed[..] {
        [only] => only.reason.clone(),
        all => all.iter().map(|failed| format!("{}: {}", failed.broker, failed.reason)).collect::<Vec<_>>().join(", "),
    };
    LinkError::Unreachable { broker: brokers.join(" or "), reason }
}

impl Connection {
    /// What an ending before the broker's greeting means. Where something else may speak there, it is asked what.
    pub(super) async fn not_greeted(&mut self, ending: Ending, broker: &Broker) -> ConnectionEnd {
        let may_be_another = match &ending {
            Ending::Ungreeted(_) | Ending::Unanswered | Ending::ClosedInTls => true,
            // Nobody is there to be asked, or it is known who.
            Ending::Broken(reason) => reason != CONNECTION_REFUSED && !reason.starts_with(HTTP_ANSWERS),
            Ending::Tls(error) => matches!(error, rustls::Error::InvalidMessage(_)),
            Ending::Unreached(_)
            | Ending::Version(_)
            | Ending::Oversized
            | Ending::NoWebSocket(_)
            | Ending::Login(_)
            | Ending::ClientId
            | Ending::TakenOver
            | Ending::Refused(_) => false,
        };
        if may_be_another
            && !self.history.been_up
            && self.history.asked.insert(broker.place)
            && let Some(other) = other_protocol(&broker.url, &self.tls, &self.config.proxies).await
        {
            let (broker, cause, fix) = (broker.to_string(), other.cause, other.fix);
            return ConnectionEnd::Fatal(LinkError::OtherProtocol { broker, cause, fix });
        }
        self.end_of(ending, broker)
    }

    /// What an ending means for us.
    pub(super) fn end_of(&mut self, ending: Ending, broker: &Broker) -> ConnectionEnd {
        let name = broker.to_string();
        match ending {
            Ending::Broken(reason) | Ending::Unreached(reason) => ConnectionEnd::Broken(reason),
            Ending::Oversized => ConnectionEnd::Oversized,
            // Once may be a broker that is just starting.
            Ending::Ungreeted(reason)
                if self.config.version == MqttVersion::V3
                    || self.history.been_up
                    || self.history.ungreeted.insert(broker.place) =>
            {
                ConnectionEnd::Broken(reason)
            }
            Ending::Ungreeted(reason) | Ending::Version(reason) => {
                ConnectionEnd::Fatal(LinkError::VersionRefused { broker: name, reason })
            }
            Ending::Login(reason) => {
                let user = self.config.login.as_ref().map(|login| login.user.clone()).or(broker.url.user.clone());
                ConnectionEnd::Fatal(LinkError::LoginRefused { broker: name, user, reason, me: self.config.me.clone() })
            }
            Ending::ClientId => ConnectionEnd::Fatal(LinkError::IdRefused { broker: name, me: self.config.me.clone() }),
            Ending::Tls(error) => {
                let cause = Cause::of_tls(&error, &broker.url.host, &self.config.tls);
                ConnectionEnd::Fatal(LinkError::Tls { broker: name, cause })
            }
            Ending::Unanswered => ConnectionEnd::Broken(format!("no answer within {CONNECT_TRY_SECONDS} s")),
            Ending::ClosedInTls => ConnectionEnd::Broken(Cause::closed_in_handshake().cause),
            Ending::NoWebSocket(answer) => ConnectionEnd::Fatal(LinkError::OtherProtocol {
                broker: name,
                cause: format!("gives no WebSocket for MQTT: {answer}"),
                fix: "correct port and path in --broker".to_owned(),
            }),
            Ending::TakenOver => ConnectionEnd::Fatal(self.kicked(broker)),
            Ending::Refused(reason) => ConnectionEnd::Fatal(LinkError::Refused { broker: name, reason }),
        }
    }

    /// What a refused subscription means.
    pub(super) fn subscription_refused(&self, broker: &Broker, filter: String, why: Refusal) -> LinkError {
        let broker = broker.to_string();
        match why {
            Refusal::Forbidden => LinkError::SubscriptionRefused { broker, filter, me: self.config.me.clone() },
            Refusal::Because(words) => {
                LinkError::Refused { broker, reason: format!("no subscription to {filter:?}, {words}") }
            }
        }
    }

    /// What a refused publish means.
    pub(super) fn publish_refused(&self, broker: &Broker, topic: String, why: Refusal) -> LinkError {
        let broker = broker.to_string();
        match why {
            Refusal::Forbidden => LinkError::PublishRefused { broker, topic, me: self.config.me.clone() },
            Refusal::Because(words) => {
                LinkError::Refused { broker, reason: format!("no message on {topic:?}, {words}") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(broker: &str, refusal: Option<LinkError>) -> Failed {
        Failed { broker: broker.into(), reason: format!("{broker} is silent"), refusal }
    }

    #[test]
    fn what_is_told_of_brokers_that_all_failed() {
        let one = unreachable(vec![failed("a", None)]).to_string();
        assert!(one.starts_with("broker a cannot be reached: a is silent;"), "{one}");
        let two = unreachable(vec![failed("a", None), failed("b", None)]).to_string();
        assert!(two.starts_with("broker a or b cannot be reached: a: a is silent, b: b is silent;"), "{two}");
        let me = "alice".parse().unwrap();
        let refusal = LinkError::LoginRefused { broker: "a".into(), user: None, reason: "no".into(), me };
        let told = unreachable(vec![failed("a", Some(refusal)), failed("b", None)]);
        assert!(matches!(told, LinkError::LoginRefused { .. }), "{told}");
    }
}

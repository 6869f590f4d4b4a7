//! What can go wrong between us and a broker, in words for people.

use super::cause::{self, Cause};
use crate::id::PeerId;
use crate::wire::ENVELOPE_BYTES_MAX;

/// Why the link cannot work.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No broker answered in time.
    #[error("broker {broker} cannot be reached: {reason}; {}", cause::advice(reason))]
    Unreachable {
        /// Address as given; several, when several were tried.
        broker: String,
        /// What the network says.
        reason: String,
    },
    /// The broker's certificate is not trusted, or ours is not taken.
    #[error("TLS with broker {broker} failed: {}; {}", cause.cause, cause.fix)]
    Tls {
        /// Address as given.
        broker: String,
        /// What was seen, and what to do.
        cause: Cause,
    },
    /// Something else than a broker answers there, or in another way than the address says.
    #[error("broker {broker} cannot be used: its port {cause}; {fix}")]
    OtherProtocol {
        /// Address as given.
        broker: String,
        /// What the port does: `speaks TLS`.
        cause: String,
        /// What to try.
        fix: String,
    },
    /// The broker refuses the login, or wants one.
    #[error("broker {broker} {}: {reason}; {}", refused_login(user.as_deref()), login_advice(user.as_deref(), me))]
    LoginRefused {
        /// Address as given.
        broker: String,
        /// The user whose login it was, if there was one.
        user: Option<String>,
        /// What the broker says.
        reason: String,
        /// Our ID.
        me: PeerId,
    },
    /// The broker does not take our ID as a ClientId.
    #[error(
        "broker {broker} does not take {me:?} as a ClientId; pass another --id, one that its rules or this login allow",
        me = me.as_str()
    )]
    IdRefused {
        /// Address as given.
        broker: String,
        /// Our ID.
        me: PeerId,
    },
    /// The broker does not speak the version of MQTT that was asked for.
    #[error("broker {broker} does not take MQTT 5 ({reason}); drop --mqtt 5 to speak 3.1.1, which every broker does")]
    VersionRefused {
        /// Address as given.
        broker: String,
        /// What it did instead.
        reason: String,
    },
    /// The broker refuses a subscription.
    #[error("broker {broker} refused the subscription to {filter:?}; its access rules must let {me} read it")]
    SubscriptionRefused {
        /// Address as given.
        broker: String,
        /// The topic filter.
        filter: String,
        /// Our ID.
        me: PeerId,
    },
    /// The broker does not pass on what we publish: it says so, or our own presence never came back.
    #[error(
        "broker {broker} did not pass on what {me} published on {topic:?}; its access rules must let {me} {} it",
        rights(topic)
    )]
    PublishRefused {
        /// Address as given.
        broker: String,
        /// The topic.
        topic: String,
        /// Our ID.
        me: PeerId,
    },
    /// The broker lets us subscribe to what peers say, and what we said there ourselves did not come back.
    #[error(
        "broker {broker} does not pass on what peers say on {filter:?}; its access rules must let {me} read that, and \
         write {topic:?}, by which this was found out"
    )]
    NotReadable {
        /// Address as given.
        broker: String,
        /// The filter that stays silent.
        filter: String,
        /// Where we spoke.
        topic: String,
        /// Our ID.
        me: PeerId,
    },
    /// A message is larger than the broker takes.
    #[error("broker {broker} takes {bytes_max} bytes at most, and a message has {bytes}; raise its limit to 256 KiB")]
    PacketTooLarge {
        /// Address as given.
        broker: String,
        /// Size of the packet.
        bytes: usize,
        /// What the broker says it takes.
        bytes_max: usize,
    },
    /// A broker that says nothing of its limit closes the connection whenever a message of this size is sent.
    #[error(
        "broker {broker} closes the connection on each message of {bytes} bytes; raise its packet limit to 256 KiB          (Mosquitto: max_packet_size, ActiveMQ: wireFormat.maxFrameSize)"
    )]
    ClosesOnPacket {
        /// Address as given.
        broker: String,
        /// Size of the message.
        bytes: usize,
    },
    /// The broker refuses us for a reason of its own, such as a quota.
    #[error("broker {broker} refuses to go on: {reason}; check its limits and its log")]
    Refused {
        /// Address as given.
        broker: String,
        /// What the broker says.
        reason: String,
    },
    /// Someone else connects with our ID.
    #[error("the ID {me:?} was taken over by another program at {broker}; give each its own --id", me = me.as_str())]
    TakenOver {
        /// Address as given.
        broker: String,
        /// Our ID.
        me: PeerId,
    },
    /// Whoever looks on and the program that runs with this login throw each other off.
    #[error(
        "broker {broker} closes the connection again and again: it seems to allow a login one connection alone, and \
         another program has it; look on with the --user of a peer that is not running"
    )]
    OneConnectionALogin {
        /// Address as given.
        broker: String,
    },
    /// A certificate or key file is unusable.
    #[error("{0}")]
    TlsFile(String),
    /// What another program of this user that has the connection was told.
    #[error("{0}")]
    Relayed(String),
}

impl LinkError {
    /// True when another broker, or the same one later, may think otherwise.
    pub(super) const fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::OtherProtocol { .. }
            | Self::LoginRefused { .. }
            | Self::IdRefused { .. }
            | Self::VersionRefused { .. }
            | Self::PublishRefused { .. }
            | Self::Refused { .. } => true,
            Self::SubscriptionRefused { .. }
            | Self::NotReadable { .. }
            | Self::PacketTooLarge { .. }
            | Self::ClosesOnPacket { .. }
            | Self::TakenOver { .. }
            | Self::OneConnectionALogin { .. }
            | Self::TlsFile(_)
            | Self::Relayed(_) => false,
        }
    }
}

fn refused_login(user: Option<&str>) -> String {
    user.map_or_else(
        || "does not let us in without a login".to_owned(),
        |user| format!("refused the login of user {user:?}"),
    )
}

fn login_advice(user: Option<&str>, me: &PeerId) -> String {
    let id = me.as_str();
    match user {
        None => format!("pass --user and --password-file, or another --id if it is {id:?} that it does not take"),
        Some(_) => format!(
            "check --user and --password-file, and whether the broker's rules let this login use the ID {id:?} (--id)"
        ),
    }
}

/// Presence is read back by the one who wrote it, and read by others; call messages are read by others alone.
fn rights(topic: &str) -> &'static str {
    if crate::topic::presence_owner(topic).is_some() { "write and read" } else { "write" }
}

/// Why a payload was not taken for publishing.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Above [`ENVELOPE_BYTES_MAX`].
    #[error("message of {0} bytes is above the limit of {ENVELOPE_BYTES_MAX}")]
    TooLarge(usize),
    /// More is waiting than a broker at work leaves waiting.
    #[error("the broker is too slow; the message will be sent again")]
    Full,
    /// The link has ended.
    #[error("the link to the broker has ended")]
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_publish_names_the_missing_rule() {
        let refused = |topic: &str| {
            let me = "alice".parse().unwrap();
            LinkError::PublishRefused { broker: "mqtt://h:1883".into(), topic: topic.into(), me }.to_string()
        };
        let presence = refused("tring/presence/alice");
        assert!(presence.contains("must let alice write and read it"), "{presence}");
        let call = refused("tring/call/alice/bob");
        assert!(call.contains("\"tring/call/alice/bob\"") && call.contains("must let alice write it"), "{call}");
    }
}

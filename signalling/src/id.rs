//! Names of peers, calls and messages, each its own type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest peer ID, in bytes. Longer ones are legal MQTT 3.1.1 ClientIds only by the broker's grace (§3.1.3.1).
const PEER_ID_BYTES_MAX: usize = 64;

/// Longest call or message id we take in, in bytes. Ours are shorter; a stranger's may not grow our tables.
const FOREIGN_ID_BYTES_MAX: usize = 64;

/// Who someone is: the MQTT ClientId, `[A-Za-z0-9_-]{1,64}`.
///
/// Other characters carry meaning in topics of one broker or another (`/ + #` in MQTT, `. > * , ?` in ActiveMQ).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerId(String);

/// A text that is no peer ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no peer ID: use 1 to 64 letters, digits, '-' or '_'")]
pub struct InvalidPeerId(String);

impl PeerId {
    /// The ID as it stands in a topic.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PeerId {
    type Err = InvalidPeerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_plain(text, PEER_ID_BYTES_MAX) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPeerId(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for PeerId {
    type Error = InvalidPeerId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PeerId> for String {
    fn from(id: PeerId) -> Self {
        id.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                if is_plain(&text, FOREIGN_ID_BYTES_MAX) { Ok(Self(text)) } else { Err(InvalidId) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_id! {
    /// One call, from the first ring to the end; chosen by the caller, unguessable.
    CallId
}

opaque_id! {
    /// One message of one sender; a resent message keeps it.
    MessageId
}

opaque_id! {
    /// The type of a message that this program does not know.
    MessageType
}

/// A call or message id that is empty, too long or holds other characters than `[A-Za-z0-9_-]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id must be 1 to 64 letters, digits, '-' or '_'")]
pub struct InvalidId;

/// Random bits from outside the pure parts; everything drawn here only ever names things.
#[derive(Clone, Copy, Debug)]
pub struct Nonce(pub u64);

impl CallId {
    /// Makes the id of a new call from 128 random bits.
    #[must_use]
    pub fn from_random(bits: u128) -> Self {
        Self(format!("{bits:032x}"))
    }
}

impl MessageId {
    /// The `count`-th message of the run that drew `nonce`.
    #[must_use]
    pub fn numbered(nonce: Nonce, count: u64) -> Self {
        Self(format!("{:016x}-{count}", nonce.0))
    }
}

fn is_plain(text: &str, bytes_max: usize) -> bool {
    !text.is_empty()
        && text.len() <= bytes_max
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_ids_keep_to_the_characters_that_every_broker_takes_literally() {
        for good in ["a", "Alice_2", "front-door", &"x".repeat(64)] {
            assert!(good.parse::<PeerId>().is_ok(), "{good}");
        }
        for bad in ["", "a/b", "+", "#", "a.b", "A,B", "A?x=1", "ä", "a b", "\u{1b}[2J", &"x".repeat(65)] {
            assert!(bad.parse::<PeerId>().is_err(), "{bad}");
        }
    }
}

//! What a presence carries so that others know it is genuine: keys, dates, a signature. Only the form; what is signed, and
//! what it means, is in [`super::presence`].

use serde::{Deserialize, Serialize};

use super::keys::{self, InvalidKeys, PublicKeys};

/// What makes a presence genuine, and tells the keys of its peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The peer's keys.
    pub keys: PublicKeys,
    /// When the connection to the broker began, in milliseconds since the Unix epoch, by the peer's clock.
    pub since: u64,
    /// When this was said, by the same clock.
    pub ts: u64,
    /// Of whoever has the keys, over all of the presence.
    pub sig: Signature,
}

/// A signature of Ed25519.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature(pub(super) [u8; 64]);

impl TryFrom<String> for Signature {
    type Error = InvalidKeys;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        keys::decode(&text).map(Self).ok_or(InvalidKeys)
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> Self {
        keys::encode(&signature.0)
    }
}

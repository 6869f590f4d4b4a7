//! Presence that is signed and dated: whoever lacks the keys of a peer can neither make it up nor play back what was said
//! before.
//!
//! Each connection to a broker has a beginning, `since`. The MQTT will is made before the connection, so it is as old as
//! the connection; it says `offline`, and nothing of the same connection comes after it. So the order of two presences
//! of one peer is: first `since`, then whether it is `offline`, then `ts`.

use super::announcement::{Announcement, Signature};
use super::keys::{PublicKeys, SecretKeys};
use super::put;
use crate::id::PeerId;
use crate::wire::{Presence, PresenceState};

/// A presence that is not signed by whoever has its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the presence is not signed by the peer whose it is")]
pub struct ForgedPresence;

/// Which of two presences of a peer is the later one: the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    since: u64,
    is_offline: bool,
    ts: u64,
}

impl Presence {
    /// Signs it for `id`, on a connection that began at `since`; `ts` is now. Both in milliseconds since the Unix epoch.
    #[must_use]
    pub fn sign(self, me: &SecretKeys, id: &PeerId, since: u64, ts: u64) -> Self {
        let keys = *me.public();
        let sig = Signature(me.sign(&self.signed(id, &keys, since, ts)));
        Self { seal: Some(Announcement { keys, since, ts, sig }), ..self }
    }

    /// The keys of `id`, whose presence this is, and where it stands among others of that peer; `None` when it announces
    /// no keys.
    ///
    /// # Errors
    /// [`ForgedPresence`] when anything of it was changed, or it is of another peer.
    pub fn verify(&self, id: &PeerId) -> Result<Option<(PublicKeys, Order)>, ForgedPresence> {
        let Some(Announcement { keys, since, ts, sig }) = &self.seal else { return Ok(None) };
        if !keys.signed(&self.signed(id, keys, *since, *ts), &sig.0) {
            return Err(ForgedPresence);
        }
        let is_offline = self.state == PresenceState::Offline;
        Ok(Some((*keys, Order { since: *since, is_offline, ts: *ts })))
    }

    fn signed(&self, id: &PeerId, keys: &PublicKeys, since: u64, ts: u64) -> Vec<u8> {
        let mut bytes = b"tring presence 1\0".to_vec();
        put(&mut bytes, id.as_str());
        put(&mut bytes, self.state.name());
        put(&mut bytes, self.run.as_str());
        bytes.extend_from_slice(keys.as_bytes());
        bytes.extend_from_slice(&since.to_be_bytes());
        bytes.extend_from_slice(&ts.to_be_bytes());
        bytes
    }
}

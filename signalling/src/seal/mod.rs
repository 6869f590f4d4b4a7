//! End-to-end sealing of what peers say, so that the broker need not be trusted. Pure: reads no clock, draws no
//! randomness, does no IO. docs/SECURITY.md describes every byte for other clients.
//!
//! - [`keys`]: the identity of a peer: one key pair to sign, one to seal, and the fingerprint of both
//! - [`message`]: an [`Envelope`](crate::wire::Envelope) ⇄ one independent sealed box, authenticated and encrypted
//! - [`replay`]: which boxes came before, and which are too old to know
//! - [`presence`]: presence that is signed and dated; [`announcement`] is what it carries for this
//! - [`trust`], [`vault`]: who is spoken to, sealed or in plain, and who is not
//! - [`sas`]: the short authentication string that two people compare, with a commitment first; [`handshake`]: one side's
//!   way to it in a call
//! - [`words`]: fingerprints as words
//!
//! It knows no topics and no files: what is remembered of peers is given to it.

mod announcement;
mod handshake;
mod keys;
mod message;
mod presence;
mod replay;
mod sas;
#[cfg(test)]
mod tests;
mod trust;
mod vault;
#[cfg(test)]
mod vectors;
mod words;

pub use announcement::{Announcement, Signature};
pub use handshake::{Handshake, Parties};
pub use keys::{Fingerprint, InvalidKeys, PublicKeys, SecretKeys};
pub use message::{Endpoint, OpenError, Opened, SEALED_BYTES_MAX, SealError, is_sealed, open, parts, seal, tag};
pub use presence::{ForgedPresence, Order};
pub use replay::{ReplayWindow, Seen, Stale};
pub use sas::{Agreed, Commitment, InvalidSas, SasNonce, SasPart, fingerprints};
pub use trust::{Acquaintance, Acquaintances, Distrust, Opinion, Plain, Policy, Standing, Strangers, Trust};
pub use vault::{Dropped, Heard, News, Unsent, Vault};
pub use words::{FINGERPRINT_WORDS, SAS_WORDS, fingerprint_words, same as same_words};

/// Appends `text` with its length in one byte before it. Ids have at most 64 bytes.
fn put(bytes: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    bytes.push(length);
    bytes.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

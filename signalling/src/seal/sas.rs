//! The short authentication string: a few words that both people see, and that are the same on both sides only when
//! nobody sits in the middle. As in ZRTP (RFC 6189 §4.4 and §4.5) one side commits to its part before it sees that of the other, so
//! whoever sits in the middle has one guess a call and cannot search for keys that give the same words.
//!
//! - offer: the caller's [`Commitment`] to a nonce
//! - answer: the callee's nonce
//! - then: the caller's nonce, which the callee checks against the commitment
//!
//! [`super::handshake`] has the order of these.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::keys::{self, PublicKeys};
use super::put;
use super::words;
use crate::id::{CallId, PeerId};

/// What one side adds to the string: 128 random bits, drawn for one call.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SasNonce([u8; 16]);

/// A promise of the caller's nonce: its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Commitment([u8; 32]);

/// What the first descriptions of a call carry for the string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SasPart {
    /// Of an offer: the promise of the caller's nonce.
    Commitment(Commitment),
    /// Of an answer: the callee's nonce.
    Nonce(SasNonce),
}

/// A text that is no nonce or commitment, or a nonce that is not the promised one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSas {
    /// Not as many bytes as one has.
    #[error("not a part of a short authentication string")]
    Form,
    /// The caller promised another.
    #[error("the caller did not keep to its commitment: somebody may sit in the middle of this call")]
    Broken,
}

/// What both sides must have in common.
#[derive(Clone, Copy, Debug)]
pub struct Agreed<'a> {
    /// The call.
    pub call: &'a CallId,
    /// Who calls, with which keys.
    pub caller: (&'a PeerId, &'a PublicKeys),
    /// Who is called, with which keys.
    pub callee: (&'a PeerId, &'a PublicKeys),
    /// Fingerprints of the caller's DTLS certificates, as [`fingerprints`] takes them from its description.
    pub caller_dtls: &'a [String],
    /// Those of the callee.
    pub callee_dtls: &'a [String],
}

macro_rules! as_text {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&keys::encode(&self.0))
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidSas;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                keys::decode(text).map(Self).ok_or(InvalidSas::Form)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidSas;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(part: $name) -> Self {
                part.to_string()
            }
        }
    };
}

as_text!(SasNonce);
as_text!(Commitment);

/// Until the caller's nonce is out nobody may know it.
impl std::fmt::Debug for SasNonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SasNonce(…)")
    }
}

impl SasNonce {
    /// Of random bits.
    #[must_use]
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// What the caller promises with its offer.
    #[must_use]
    pub fn commitment(&self, call: &CallId, caller: &PublicKeys) -> Commitment {
        let mut bytes = b"tring commitment 1\0".to_vec();
        put(&mut bytes, call.as_str());
        bytes.extend_from_slice(caller.as_bytes());
        bytes.extend_from_slice(&self.0);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        Commitment(hash)
    }
}

impl Agreed<'_> {
    /// The words, for both sides: the callee has checked the caller's nonce by [`Agreed::check`].
    #[must_use]
    pub fn words(&self, caller: &SasNonce, callee: &SasNonce) -> String {
        let mut bytes = b"tring words 1\0".to_vec();
        put(&mut bytes, self.call.as_str());
        for (id, keys) in [self.caller, self.callee] {
            put(&mut bytes, id.as_str());
            bytes.extend_from_slice(keys.as_bytes());
        }
        for side in [self.caller_dtls, self.callee_dtls] {
            let text = side.join("\n");
            bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&caller.0);
        bytes.extend_from_slice(&callee.0);
        words::encode(digest(&SHA256, &bytes).as_ref(), words::SAS_WORDS)
    }

    /// Checks that the caller's nonce is the one that it promised.
    ///
    /// # Errors
    /// [`InvalidSas::Broken`] when it is another.
    pub fn check(&self, promised: &Commitment, nonce: &SasNonce) -> Result<(), InvalidSas> {
        if nonce.commitment(self.call, self.caller.1) == *promised { Ok(()) } else { Err(InvalidSas::Broken) }
    }
}

/// The fingerprints of a description (RFC 8122 §5), each once, in lower case, in order.
#[must_use]
pub fn fingerprints(sdp: &str) -> Vec<String> {
    let lines = sdp.lines().filter_map(|line| line.trim_end().strip_prefix("a=fingerprint:"));
    let mut all: Vec<String> = lines.map(|value| value.trim().to_ascii_lowercase()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

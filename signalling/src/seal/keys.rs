//! The identity of a peer: an Ed25519 key pair to sign (RFC 8032), an X25519 key pair to seal (RFC 7748).
//!
//! Both are made once and stay. The fingerprint covers both, so neither can be exchanged without the other.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Serializable as _};
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::words;

/// The key encapsulation of RFC 9180: DHKEM(X25519, HKDF-SHA256).
pub(super) type Kem = X25519HkdfSha256;
type Sealing = <Kem as hpke::Kem>::PrivateKey;

/// Bytes of an identity, secret or public: 32 of Ed25519, then 32 of X25519.
const BYTES: usize = 64;

/// What makes the identity of one peer; nobody else may have it.
pub struct SecretKeys {
    bytes: Zeroizing<[u8; BYTES]>,
    signing: Ed25519KeyPair,
    sealing: Sealing,
    public: PublicKeys,
}

/// What everybody may know of a peer's identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKeys([u8; BYTES]);

/// SHA-256 of both public keys: what people compare, and what is remembered of a peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text or bytes that are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the keys of a peer: 64 bytes are needed, as 86 characters of base64url")]
pub struct InvalidKeys;

impl SecretKeys {
    /// Makes an identity of 64 random bytes, or the same again of those kept: 32 of Ed25519 (the seed of RFC 8032
    /// §5.1.5), then 32 of X25519.
    ///
    /// # Errors
    /// [`InvalidKeys`] when the keys cannot be made of them, which random bytes do not bring about.
    pub fn from_bytes(bytes: [u8; BYTES]) -> Result<Self, InvalidKeys> {
        let bytes = Zeroizing::new(bytes);
        let (seed, scalar) = bytes.split_at(32);
        let signing = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| InvalidKeys)?;
        let sealing = Sealing::from_bytes(scalar).map_err(|_| InvalidKeys)?;
        let mut public = [0; BYTES];
        public[..32].copy_from_slice(signing.public_key().as_ref());
        public[32..].copy_from_slice(&<Kem as hpke::Kem>::sk_to_pk(&sealing).to_bytes());
        Ok(Self { bytes, signing, sealing, public: PublicKeys(public) })
    }

    /// The bytes to keep.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; BYTES]> {
        self.bytes.clone()
    }

    /// The identity of a text, as [`SecretKeys::to_text`] writes it.
    ///
    /// # Errors
    /// [`InvalidKeys`] when it is none.
    pub fn from_text(text: &str) -> Result<Self, InvalidKeys> {
        Self::from_bytes(decode(text).ok_or(InvalidKeys)?)
    }

    /// The bytes to keep, as base64url.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(encode(self.bytes.as_slice()))
    }

    /// What others may know.
    #[must_use]
    pub const fn public(&self) -> &PublicKeys {
        &self.public
    }

    pub(super) fn sign(&self, what: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.signing.sign(what).as_ref());
        signature
    }

    pub(super) const fn sealing(&self) -> &Sealing {
        &self.sealing
    }
}

/// Secrets stay out of logs.
impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKeys({})", self.public.fingerprint())
    }
}

impl PublicKeys {
    /// Of bytes: 32 of Ed25519, then 32 of X25519.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// What people compare.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut bytes = b"tring identity 1\0".to_vec();
        bytes.extend_from_slice(&self.0);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        Fingerprint(hash)
    }

    /// Whether whoever has these keys signed `what`.
    pub(super) fn signed(&self, what: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0[..32]).verify(what, signature).is_ok()
    }

    pub(super) fn sealing(&self) -> Result<<Kem as hpke::Kem>::PublicKey, InvalidKeys> {
        <Kem as hpke::Kem>::PublicKey::from_bytes(&self.0[32..]).map_err(|_| InvalidKeys)
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKeys({})", self.fingerprint())
    }
}

impl fmt::Display for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for PublicKeys {
    type Err = InvalidKeys;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decode(text).map(Self).ok_or(InvalidKeys)
    }
}

impl TryFrom<String> for PublicKeys {
    type Error = InvalidKeys;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PublicKeys> for String {
    fn from(keys: PublicKeys) -> Self {
        keys.to_string()
    }
}

impl Fingerprint {
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first 132 bits as [`words::FINGERPRINT_WORDS`] words, for people.
    #[must_use]
    pub fn words(&self) -> String {
        words::encode(&self.0, words::FINGERPRINT_WORDS)
    }

    /// Whether `text` has the words of this fingerprint, in whatever case and with whatever between them.
    #[must_use]
    pub fn has_words(&self, text: &str) -> bool {
        words::same(&self.words(), text)
    }
}

/// All 64 hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// As many bytes as `N`, written as base64url without padding (RFC 4648 §5).
pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // A text that is too long is not even read.
    let fits = text.len() == (N * 8).div_ceil(6);
    (fits && URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(N)).then_some(bytes)
}

/// The counterpart of [`decode`].
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

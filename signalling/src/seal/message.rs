//! One message as one sealed box: HPKE in authenticated mode (RFC 9180 §5.1.3), and inside it a signature.
//!
//! Each box stands for itself, so messages may be lost, repeated and overtake each other. The box is bound to both IDs,
//! the keys of both sides and the run of the receiver's program by the `info` of HPKE; to everything in clear by the
//! additional data; to call, message id and time because these are inside.
//!
//! HPKE's authenticated mode alone lets whoever stole the *receiver's* key write in anybody's name to that receiver
//! (RFC 9180 §9.1.1). The signature inside takes that away.

use std::convert::Infallible;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, HpkeError, OpModeR, OpModeS, Serializable as _};
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::keys::{Kem, PublicKeys, SecretKeys};
use super::put;
use crate::id::{MessageId, PeerId};
use crate::wire::{ENVELOPE_BYTES_MAX, Envelope, WireError};

/// The first byte of a sealed message, and its version. No JSON begins so.
const FORM: u8 = 1;

/// Bytes of the tag that says for whom a message is.
const TAG_BYTES: usize = 16;

/// Bytes in clear before the box: form, keys of the sender, tag of the receiver, encapsulated key.
const CLEAR_BYTES: usize = 1 + 64 + TAG_BYTES + ENC_BYTES;

/// An encapsulated key of X25519.
const ENC_BYTES: usize = 32;

/// What ChaCha20-Poly1305 adds.
const AEAD_BYTES: usize = 16;

/// Bytes of a signature of Ed25519.
const SIGNATURE_BYTES: usize = 64;

/// The smallest content. An acknowledgement, a `ringing` and a `bye` look the same from outside.
const PADDED_MIN: usize = 1024;

/// From here on contents are padded to multiples of this, not to powers of two.
const PADDED_STEP: usize = 32 * 1024;

/// The largest content.
const PADDED_MAX: usize = 7 * PADDED_STEP;

/// Largest sealed message, in bytes.
pub const SEALED_BYTES_MAX: usize = CLEAR_BYTES + PADDED_MAX + AEAD_BYTES;

const _: () = assert!(SEALED_BYTES_MAX <= ENVELOPE_BYTES_MAX);

/// One side of a message: who, in which run of its program.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    /// Its ID.
    pub id: &'a PeerId,
    /// The run of its program, as its presence and its messages say.
    pub run: &'a MessageId,
}

/// What was in a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What is said. Sender and receiver are those of the topic, and it is dated.
    pub envelope: Envelope,
    /// The same as its sender wrote it.
    pub json: Vec<u8>,
    /// Who said it: whoever has the secrets of these keys.
    pub keys: PublicKeys,
    /// The run of the sender's program: what is said back is sealed for it.
    pub run: MessageId,
}

/// Why a message was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It is larger than any real one.
    #[error("the message is too large to be sealed ({0} bytes)")]
    TooLarge(usize),
    /// It cannot be written.
    #[error("the message cannot be written")]
    Unwritable(#[from] WireError),
    /// The keys of the receiver are none.
    #[error("the keys of the other side cannot be used")]
    Keys,
}

/// Why a message was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A form that this program does not know, a plain message among them.
    #[error("the message is not sealed in a form that this program knows")]
    Form,
    /// Shorter than any box, longer than any, or of a length that none has.
    #[error("a sealed message has no such length ({0} bytes)")]
    Length(usize),
    /// It was sealed for other keys, or for an earlier run of this program.
    #[error("the message is sealed for another key, or for an earlier run of this program")]
    NotForUs,
    /// It came back to its sender.
    #[error("the message is one of our own, sent back")]
    Reflected,
    /// It was changed on the way, or whoever sent it has not the keys that it names, or speaks in another name.
    #[error("the message was changed on the way, or is not of its sender")]
    Forged,
    /// The signature inside is of somebody else.
    #[error("the message is not signed by its sender")]
    Signature,
    /// Its sender made it wrongly.
    #[error("what was sealed is no message")]
    Content,
    /// The message inside cannot be read.
    #[error("not a message of this protocol")]
    Unreadable(#[from] WireError),
    /// The message inside is of others than the box.
    #[error("the message inside names another sender or receiver")]
    Mixed,
    /// The message inside does not say when it was sent.
    #[error("the message inside is not dated")]
    Undated,
}

/// Whether bytes on a call topic are a sealed message, by their first one.
#[must_use]
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.first() == Some(&FORM)
}

/// The tag of whoever has `keys`, in this run of its program, as it stands in messages for it.
#[must_use]
pub fn tag(keys: &PublicKeys, run: &MessageId) -> [u8; TAG_BYTES] {
    let mut bytes = b"tring receiver 1\0".to_vec();
    bytes.extend_from_slice(keys.as_bytes());
    put(&mut bytes, run.as_str());
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&digest(&SHA256, &bytes).as_ref()[..TAG_BYTES]);
    tag
}

/// Seals `envelope`, an [`Envelope`] as bytes, for `to`, who has the keys `to_keys`. Its `from` and `to` must be those here.
/// `random` must be drawn anew each time, also for a message that is sent again.
///
/// # Errors
/// [`SealError`] when it is too large, or the keys of the receiver are none.
pub fn seal(
    me: &SecretKeys,
    from: Endpoint<'_>,
    (to, to_keys): (Endpoint<'_>, &PublicKeys),
    envelope: &[u8],
    random: [u8; 32],
) -> Result<Vec<u8>, SealError> {
    let context = context(me.public(), to_keys, from.id, to);
    let inner = inner(from.run, envelope);
    let signature = me.sign(&signed(&context, &inner));
    let padded = padded(SIGNATURE_BYTES + inner.len()).ok_or(SealError::TooLarge(envelope.len()))?;
    let mut content = Zeroizing::new(Vec::with_capacity(padded));
    content.extend_from_slice(&signature);
    content.extend_from_slice(&inner);
    content.resize(padded, 0);

    let mut sealed = Vec::with_capacity(CLEAR_BYTES + padded + AEAD_BYTES);
    sealed.push(FORM);
    sealed.extend_from_slice(me.public().as_bytes());
    sealed.extend_from_slice(&tag(to_keys, to.run));
    let receiver = to_keys.sealing().map_err(|_| SealError::Keys)?;
    let sender = (me.sealing().clone(), me.public().sealing().map_err(|_| SealError::Keys)?);
    let (enc, ciphertext) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeS::Auth(sender),
        &receiver,
        &context,
        &content,
        &sealed,
        &mut Drawn(random),
    )
    .map_err(|_| SealError::Keys)?;
    sealed.extend_from_slice(&enc.to_bytes());
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

/// Opens what `from` published, for whoever has the keys `me`, as `to`.
///
/// # Errors
/// [`OpenError`] on everything that is not exactly what `from` sealed for this run of our program.
pub fn open(me: &SecretKeys, to: Endpoint<'_>, from: &PeerId, bytes: &[u8]) -> Result<Opened, OpenError> {
    if !is_sealed(bytes) {
        return Err(OpenError::Form);
    }
    let content_bytes = bytes.len().checked_sub(CLEAR_BYTES + AEAD_BYTES).ok_or(OpenError::Length(bytes.len()))?;
    if padded(content_bytes) != Some(content_bytes) {
        return Err(OpenError::Length(bytes.len()));
    }
    let (clear, ciphertext) = bytes.split_at(CLEAR_BYTES);
    let (bound, enc) = clear.split_at(CLEAR_BYTES - ENC_BYTES);
    let (keys, for_whom) = bound[1..].split_at(64);
    let keys = PublicKeys::from_bytes(keys.try_into().map_err(|_| OpenError::Content)?);
    if for_whom != tag(me.public(), to.run) {
        return Err(if keys == *me.public() { OpenError::Reflected } else { OpenError::NotForUs });
    }
    let context = context(&keys, me.public(), from, to);
    let content = Zeroizing::new(decrypt(me, &keys, enc, &context, bound, ciphertext).map_err(|_| OpenError::Forged)?);
    let (signature, inner) = content.split_at_checked(SIGNATURE_BYTES).ok_or(OpenError::Content)?;
    let (run, json, inner) = parts(inner).ok_or(OpenError::Content)?;
    if !keys.signed(&signed(&context, inner), signature) {
        return Err(OpenError::Signature);
    }
    let json = json.to_vec();
    let envelope = Envelope::from_bytes(&json)?;
    if envelope.from != *from || envelope.to != *to.id {
        return Err(OpenError::Mixed);
    }
    if envelope.ts == 0 {
        return Err(OpenError::Undated);
    }
    Ok(Opened { envelope, json, keys, run })
}

fn decrypt(
    me: &SecretKeys,
    keys: &PublicKeys,
    enc: &[u8],
    context: &[u8],
    bound: &[u8],
    ciphertext: &[u8],
) -> Result<Vec<u8>, HpkeError> {
    let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(enc)?;
    let sender = keys.sealing().map_err(|_| HpkeError::ValidationError)?;
    let mode = OpModeR::Auth(sender);
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(&mode, me.sealing(), &enc, context, ciphertext, bound)
}

/// What both sides know without being told: the `info` of HPKE.
fn context(from_keys: &PublicKeys, to_keys: &PublicKeys, from: &PeerId, to: Endpoint<'_>) -> Vec<u8> {
    let mut bytes = b"tring sealed message 1\0".to_vec();
    put(&mut bytes, from.as_str());
    put(&mut bytes, to.id.as_str());
    put(&mut bytes, to.run.as_str());
    bytes.extend_from_slice(from_keys.as_bytes());
    bytes.extend_from_slice(to_keys.as_bytes());
    bytes
}

/// Run of the sender, length and text of the envelope.
fn inner(run: &MessageId, json: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(1 + 64 + 4 + json.len()));
    put(&mut bytes, run.as_str());
    // Limited by the size of an envelope.
    bytes.extend_from_slice(&u32::try_from(json.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(json);
    bytes
}

/// Reads what is inside a box, after the signature: the run of the sender, the text of the envelope, and all of it without
/// padding. Public for the fuzz target, which cannot make boxes of such content.
#[doc(hidden)]
#[must_use]
pub fn parts(bytes: &[u8]) -> Option<(MessageId, &[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (run, rest) = rest.split_at_checked(usize::from(*length))?;
    let run = MessageId::try_from(String::from_utf8(run.to_vec()).ok()?).ok()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (json, padding) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let is_zero = padding.iter().all(|byte| *byte == 0);
    is_zero.then(|| (run, json, &bytes[..bytes.len() - padding.len()]))
}

/// What is signed.
fn signed(context: &[u8], inner: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(b"tring signed message 1\0".to_vec());
    bytes.extend_from_slice(context);
    bytes.extend_from_slice(inner);
    bytes
}

/// How long a content of so many bytes is made; `None` when it is too large.
fn padded(bytes: usize) -> Option<usize> {
    let padded = match bytes {
        0..=PADDED_MIN => PADDED_MIN,
        _ if bytes <= PADDED_STEP => bytes.next_power_of_two(),
        _ => bytes.checked_next_multiple_of(PADDED_STEP)?,
    };
    (padded <= PADDED_MAX).then_some(padded)
}

/// Random bytes that were drawn outside, for the one ephemeral key of a box: HPKE asks for 32, once.
struct Drawn([u8; 32]);

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(32) {
            chunk.copy_from_slice(&self.0[..chunk.len()]);
            // Should more be asked for one day, it is other bytes.
            let next = digest(&SHA256, &self.0);
            self.0.copy_from_slice(next.as_ref());
        }
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

impl Drop for Drawn {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

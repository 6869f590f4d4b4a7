//! UDP sockets around the engine's own, each with one job; [`super::runtime`] puts them one into the other.
//!
//! - out: the engine → [`counting`] → [`dtls_resending`] → [`early`] → [`impaired`] → the system
//! - in: the system → [`impaired`] → [`early`] → [`dtls_resending`] → [`counting`] → the engine

pub(super) mod counting;
pub(super) mod dtls_resending;
pub(super) mod early;
pub(crate) mod impaired;

/// The datagrams that were joined into one message, `stride` bytes each but the last; an empty message is one too.
fn split(message: &[u8], stride: usize) -> impl Iterator<Item = &[u8]> {
    let empty = message.is_empty().then_some(message);
    empty.into_iter().chain(message.chunks(stride.max(1)))
}

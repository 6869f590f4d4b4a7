//! UDP sockets around the engine's own, each with one job; [`super::runtime`] puts them one into the other.
//!
//! - out: the engine → [`dtls_cookie`] → [`nomination`] → [`counting`] → [`dtls_resending`] → [`early`] → [`impaired`] →
//!   [`relay_family`] → [`relay_streams`] → the system
//! - in: the system → [`relay_streams`] → [`relay_family`] → [`impaired`] → [`early`] → [`dtls_resending`] → [`counting`] →
//!   [`nomination`] → [`dtls_cookie`] → the engine
//!
//! [`relay_streams`] carries what is for a TURN server over TCP or TLS in a stream of its own.

/// The parts of `AsyncUdpSocket` in which a socket is as the one that it is around.
macro_rules! as_inner {
    () => {
        fn local_addr(&self) -> io::Result<SocketAddr> {
            self.inner.local_addr()
        }

        fn max_gso_segments(&self) -> usize {
            self.inner.max_gso_segments()
        }

        fn max_gro_segments(&self) -> usize {
            self.inner.max_gro_segments()
        }
    };
}

/// Prints a socket by its name: what is around it says nothing to who reads a log.
macro_rules! debug_by_name {
    ($socket:ident) => {
        impl std::fmt::Debug for $socket {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($socket)).finish_non_exhaustive()
            }
        }
    };
}

pub(super) mod counting;
pub(super) mod dtls_cookie;
pub(super) mod dtls_resending;
pub(super) mod early;
pub(crate) mod impaired;
mod inbox;
pub(super) mod nomination;
pub(super) mod relay_family;
pub(super) mod relay_streams;

/// The datagrams that were joined into one message, `stride` bytes each but the last; an empty message is one too.
fn split(message: &[u8], stride: usize) -> impl Iterator<Item = &[u8]> {
    let empty = message.is_empty().then_some(message);
    empty.into_iter().chain(message.chunks(stride.max(1)))
}

//! A network that is bad on purpose: what `--impair` says, and a link that does it.
//!
//! - in: text → [`Impairments`], one [`Impairment`] a direction
//! - [`Link`]: packets and time in, packets and time out; [`Counters`] tell what became of them
//!
//! All of it is pure: it reads no clock, and draws what it needs from the seed alone. The same packets at the same times
//! with the same seed come out the same. Sockets are put behind links by [`crate::peer::impaired`].

mod link;
mod random;
mod spec;
#[cfg(test)]
mod tests;

pub use link::{Counters, Link, PACKETS_MAX, QUEUE_DEFAULT, REORDER_HOLD, wire_bits};
pub use spec::{Burst, DirectedImpairment, Impairment, Impairments, InvalidImpairment, Rate, Share};

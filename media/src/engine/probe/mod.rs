//! Asks STUN and TURN servers, outside any call: whether they are there, what they see and what they refuse.
//!
//! - [`transaction`]: a request and its answer; [`binding`]: our address as a server sees it
//! - [`allocation`]: a relay address, and a packet through it; [`turn_check`]: whether a server answers at all
//!
//! The engine's own client says only that an allocation failed; here every answer is looked at.

pub(crate) mod allocation;
pub(crate) mod binding;
pub(crate) mod transaction;
pub(crate) mod turn_check;

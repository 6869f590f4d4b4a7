//! UDP sockets around the engine's own, each with one job; [`super::runtime`] puts them one into the other.
//!
//! - out: the engine → [`counting`] → [`early`] → [`impaired`] → the system
//! - in: the system → [`impaired`] → [`early`] → [`counting`] → the engine

pub(super) mod counting;
pub(super) mod early;
pub(crate) mod impaired;

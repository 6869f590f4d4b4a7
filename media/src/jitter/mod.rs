//! Puts received packets back in order and decides how long to wait for missing ones. Pure: no clock, no IO.
//!
//! - [`video`]: hands out a picture as soon as it is whole and everything before it was handed out
//! - [`audio`]: hands out one packet a tick of the playout clock, as late as the measured jitter asks for
//! - [`missing`]: counts what the network lost before any repair

pub mod audio;
pub mod missing;
pub mod video;

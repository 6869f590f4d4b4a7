//! What the path carries, and so how much, in which order and in how large packets may be sent. Pure: no clock, no IO,
//! no engine.
//!
//! - [`sending`]: all of it together: packets in, packets with transport-wide numbers out, feedback in
//! - [`pacer`]: in which order and how fast packets leave
//! - [`history`]: what left, joined with the [`feedback`] on it
//! - [`controller`]: from delay and loss to the target; of [`queueing_delay`], [`queue_limit`], [`delivery`], [`growth`],
//!   [`loss_window`] and [`loss_limit`]; [`report_limit`] for peers that tell less
//! - [`estimate`]: what is known of the path, where encoders and statistics read it
//! - [`payload_limit`]: how large packets may be
//! - [`round_trip`]: how long it takes to the other side and back, where repair reads it
//! - [`limits`]: between which rates all of this stays

pub(crate) mod controller;
pub(crate) mod delivery;
pub(crate) mod estimate;
pub(crate) mod feedback;
pub(crate) mod growth;
pub(crate) mod history;
pub(crate) mod limits;
pub(crate) mod loss_limit;
pub(crate) mod loss_window;
pub(crate) mod pacer;
pub(crate) mod payload_limit;
pub(crate) mod queue_limit;
pub(crate) mod queueing_delay;
pub(crate) mod report_limit;
pub(crate) mod round_trip;
pub(crate) mod sending;
#[cfg(test)]
mod simulation;

pub use limits::BitrateLimits;

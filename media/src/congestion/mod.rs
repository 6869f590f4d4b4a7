//! What the path carries, and so how much and in how large packets may be sent. Pure: no clock, no IO, no engine.
//!
//! - [`feedback`]: what the other side's feedback tells of packets
//! - [`send_rate`]: the estimate, the lower of the one by delay and of [`loss_limit`], which [`loss_window`] feeds
//! - [`estimate`]: what is known of the path, where encoders read it
//! - [`payload_limit`]: how large packets may be
//! - [`limits`]: between which rates all of this stays

pub(crate) mod estimate;
pub(crate) mod feedback;
pub(crate) mod limits;
pub(crate) mod loss_limit;
pub(crate) mod loss_window;
pub(crate) mod payload_limit;
pub(crate) mod send_rate;

pub use limits::BitrateLimits;

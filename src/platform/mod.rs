//! What the machine gives: time, randomness, child processes, signals, notifications, resource usage.
//!
//! Nothing here knows what a call is.

pub(crate) mod acceptor;
pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod file_lock;
pub(crate) mod files;
pub(crate) mod local_time;
pub(crate) mod notify;
pub(crate) mod paths;
pub(crate) mod random;
pub(crate) mod signals;
pub(crate) mod usage;

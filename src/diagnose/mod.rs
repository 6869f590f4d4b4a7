//! Looks for what keeps calls from working.
//!
//! - [`doctor`]: whether a call could work here, with cause and advice
//! - [`trace`]: what two peers say to each other over the broker

pub(crate) mod doctor;
pub(crate) mod trace;

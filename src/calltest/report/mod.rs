//! What is told of runs: while they go on and when they are over.
//!
//! - [`progress`]: a line a run, on a terminal with what it is doing
//! - [`junit`], [`html`]: files for CI and for eyes
//! - [`results`]: what a failing run leaves to be looked into

pub(crate) mod events;
pub(crate) mod html;
pub(crate) mod junit;
mod plot;
pub(crate) mod progress;
pub(crate) mod results;

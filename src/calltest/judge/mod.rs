//! Judges a run: what the events of a peer say, and whether that is as expected.
//!
//! - [`facts`]: figures, read out of events
//! - [`bound`]: limits of figures, as they are written
//! - [`expect`]: what a scenario expects of them → checks
//! - [`outcome`]: what came of a whole run

pub(crate) mod bound;
pub(crate) mod expect;
pub(crate) mod facts;
pub(crate) mod outcome;

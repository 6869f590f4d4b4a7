//! Scenarios: what a call test is to do, read and checked.
//!
//! - [`document`]: a file as it is written → [`script`]: what it means, with everything wrong in it found
//! - [`select`]: which scenarios are run; [`schema`], [`described`]: for editors
//! - [`secrets`]: what of all that is never printed

pub(crate) mod built_in;
mod described;
pub(crate) mod document;
pub(crate) mod schema;
pub(crate) mod script;
pub(crate) mod secrets;
pub(crate) mod select;

//! Session descriptions (SDP): reading, judging and rewriting them. Pure; nobody else looks into their text.
//!
//! - [`description`]: reads one into a value, which the others ask
//! - [`negotiated`]: what offer and answer agreed on
//! - [`continuity`]: whether a description can follow those before it
//! - [`rewrite`]: ours as they are sent, theirs as the engine should read them
//! - [`interop`]: those of other makes

pub(crate) mod continuity;
pub(crate) mod description;
pub(crate) mod interop;
pub(crate) mod negotiated;
pub(crate) mod rewrite;

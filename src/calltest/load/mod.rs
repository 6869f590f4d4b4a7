//! `tring load`: many calls at once, and what became of them.
//!
//! - [`names`]: IDs of its many peers
//! - [`worker`]: who makes the calls of a step; each tells of every finished call, wherever it runs
//! - [`here`]: the worker in this process: callers and answerers as sessions, each with a connection of its own
//! - [`elsewhere`]: several workers on other machines, by their agents
//! - [`record`]: from the events of a session to one finished [`record::LoadCall`]; the two sides of a call joined
//! - [`tally`]: from finished calls to counts and percentiles; merging is adding
//! - [`machine`]: processor time and memory while a step runs
//! - out: [`table`] for people, [`metrics`] for Prometheus, [`curve`] as a picture, events for programs
//!
//! Nothing here knows how a call is made: that is the session's. What is judged is what its events say.

pub(crate) mod curve;
pub(crate) mod elsewhere;
pub(crate) mod events;
pub(crate) mod here;
pub(crate) mod machine;
pub(crate) mod metrics;
pub(crate) mod names;
pub(crate) mod record;
pub(crate) mod table;
pub(crate) mod tally;
pub(crate) mod worker;

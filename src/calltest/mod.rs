//! Everything that tests calls.
//!
//! - [`scenario`]: a file as it is written, and what it means
//! - [`run`]: one run of it, on servers of its own, with its [`peers`]
//! - [`judge`]: what the events of a peer say, and whether that is as expected
//! - [`report`]: for people, for CI, for programs
//! - [`load`]: many calls at once
//! - [`agent`]: this machine, lent to tests that run elsewhere
//!
//! A test judges what peers tell, and nothing else: whatever `tring call --json` prints can be expected.

pub(crate) mod agent;
pub(crate) mod judge;
pub(crate) mod load;
pub(crate) mod peers;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod scenario;
pub(crate) mod values;

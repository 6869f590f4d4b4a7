//! Call tests: scenarios, who plays them, what is reported.
//!
//! - [`document`]: a file as it is written → [`script`]: what it means, with everything wrong in it found
//! - [`select`]: which scenarios are run; [`ready`]: those that come with the program; [`schema`]: for editors
//! - [`play`]: one run, on a [`stage`] of servers, with [`peers`] → an [`outcome`]
//! - [`facts`]: what the events of a peer say; [`expect`], [`bound`]: whether that is as it should be
//! - [`secrets`]: what of all that is never printed
//! - [`report`]: for people, for CI, for programs
//!
//! A test judges what peers tell, and nothing else: whatever `tring call --json` prints can be expected.

pub(crate) mod bound;
pub(crate) mod document;
pub(crate) mod expect;
pub(crate) mod facts;
pub(crate) mod outcome;
pub(crate) mod peers;
pub(crate) mod play;
pub(crate) mod ready;
pub(crate) mod report;
pub(crate) mod schema;
pub(crate) mod script;
pub(crate) mod secrets;
pub(crate) mod select;
pub(crate) mod stage;

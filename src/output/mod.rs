//! What the program tells: events, results, errors, the log; and how it ends.
//!
//! - [`events`] → [`printer`]: as text for people, as JSON lines for programs
//! - [`logging`], [`log_file`]: what developers read
//! - [`sanitize`]: untrusted text, before it reaches a terminal or a file
//! - [`streams`]: standard output, standard error and the log file, each written by a thread of its own
//! - [`exit`]: the statuses that scripts rely on

pub(crate) mod events;
pub(crate) mod exit;
pub(crate) mod log_file;
pub(crate) mod logging;
pub(crate) mod printer;
pub(crate) mod sanitize;
pub(crate) mod streams;

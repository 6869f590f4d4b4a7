//! What a call needs: settings, the session that runs it, ringing, the log of calls.
//!
//! - [`settings`], [`plan`]: options of a command → what a session is to do
//! - [`identity`], [`known_peers`]: our keys, and what is remembered of those of others
//! - [`turn_streams`]: how TURN servers over TCP and TLS are connected to
//! - [`session`]: one loop that owns the calls of one ID
//! - [`sharing`]: one connection to the broker for all programs of an ID
//! - [`ringing`], [`call_log`], [`outputs`]: what else a call leaves or starts on this machine

pub(crate) mod call_log;
pub(crate) mod events;
pub(crate) mod identity;
pub(crate) mod known_peers;
pub(crate) mod outputs;
pub(crate) mod plan;
mod proxies;
pub(crate) mod ringing;
pub(crate) mod session;
pub(crate) mod settings;
pub(crate) mod sharing;
mod turn_streams;

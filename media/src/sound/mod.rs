//! The system's sound devices: what microphone and speaker share.
//!
//! - [`system`]: which host, which device, which stream settings
//! - [`stream`]: an open stream on a thread of its own

pub(crate) mod stream;
pub(crate) mod system;

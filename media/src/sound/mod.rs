//! The system's sound devices: what microphone and speaker share.
//!
//! - [`system`]: which host, which device, which stream settings
//! - [`stream`]: an open device on a thread of its own, opened again when it has gone
//! - [`pulse`]: streams of a PulseAudio server, without cpal between it and us
//! - [`latency`]: how much sound should wait for a speaker. Pure
//! - [`play_clock`]: how far a speaker has played. Pure
//! - [`priority`]: real time for the threads that devices wait for

pub(crate) mod latency;
pub(crate) mod play_clock;
pub(crate) mod priority;
#[cfg(target_os = "linux")]
pub(crate) mod pulse;
pub(crate) mod stream;
pub(crate) mod system;

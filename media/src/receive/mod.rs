//! What becomes of received packets, and what is asked of the other side for them. No IO, no engine.
//!
//! - [`inbox`]: the queues that packets come by, from the engine's tracks to the decoders
//! - [`video_jitter`]: the video jitter buffer; hands out a picture as soon as it is whole and everything before it was
//!   handed out; [`packet_store`] knows when that is, and [`playout_delay`] holds it back while repairs take long
//! - [`audio_buffer`]: the audio jitter buffer; hands out 10 ms of sound for each step of the playout clock, as late as the
//!   measured jitter asks for
//! - [`network_loss`]: counts what the network lost before any repair
//! - [`nack`]: which lost packets are asked for again; [`repair`]: how often, and how long that is waited for
//! - [`keyframes`]: carries the request for a keyframe, which the jitter buffer wants, to the tracks
//! - [`peer_clock`]: what reports of the other side say of its clock; [`capture_times`]: when what it sends was captured
//! - [`lip_sync`]: how long pictures wait for sound, or sound for pictures

pub mod audio_buffer;
pub(crate) mod capture_times;
pub(crate) mod inbox;
pub(crate) mod keyframes;
pub(crate) mod lip_sync;
pub(crate) mod nack;
pub mod network_loss;
pub(crate) mod packet_store;
pub(crate) mod peer_clock;
pub(crate) mod playout_delay;
pub(crate) mod repair;
#[cfg(test)]
mod simulation;
pub mod video_jitter;

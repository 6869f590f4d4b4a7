//! The audio buffer: packets in as they come, 10 ms of sound out for each step of the playout clock.
//!
//! It holds sound back for as long as the network's jitter needs, and no longer, whatever the length of the packets. The
//! manner is that of NetEQ, the audio jitter buffer of WebRTC.
//!
//! - [`opus_packet`]: how much sound a packet holds, read from its first bytes
//! - [`time_line`]: the place of a packet in the stream, past wraps, losses, silences and a sender that counts anew
//! - [`delays`]: a histogram of arrivals that forgets; how long to hold sound back
//! - [`copies`]: how long to hold it back for copies of lost packets
//! - [`decision`]: what to make sound of (a packet, the coarse copy in the one after it, what was heard before), and
//!   whether to play it faster or slower
//! - [`samples`], [`stretch`]: sound that waits; faster and slower with the pitch kept
//! - [`buffer`]: puts these together: [`AudioBuffer::insert`] and [`AudioBuffer::next`]
//!
//! Pure: reads no clock. Each packet knows when it came, and each step when it is due.

mod buffer;
mod copies;
mod decision;
mod decoder;
mod delays;
mod opus_packet;
mod samples;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod sound_tests;
mod stretch;
mod time_line;

pub use buffer::{AudioBuffer, Counters, Decoded, STEP, STEP_SAMPLES, Step};
pub use decoder::{Decoder, NoDecoder};

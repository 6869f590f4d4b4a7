//! What is sent: from the encoders to RTP packets, and what the other side says of them. Pure: no IO, no engine.
//!
//! - [`adaptation`]: rate of the path, requests for keyframes → bitrate, pictures left out, keyframes
//! - [`media_sender`]: what encoders send by
//! - [`packets`]: payloads, sequence numbers and time stamps
//! - [`rtx_filter`]: which retransmissions are still worth sending
//! - [`state`]: what all senders of a peer connection share

pub mod adaptation;
pub(crate) mod media_sender;
pub(crate) mod packets;
pub(crate) mod rtx_filter;
pub(crate) mod state;

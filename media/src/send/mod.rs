//! What is sent: from the encoders to RTP packets, and what the other side says of them. Pure: no IO, no engine.
//!
//! - [`adaptation`]: rate of the path, requests for keyframes → bitrate, pictures left out, keyframes; by
//!   [`picture_plan`]: how large pictures are, and how many a second
//! - [`sound_rate`]: rate of the path → bitrate of sound; [`redundancy`]: reported loss → copies of earlier packets
//! - [`media_sender`]: what encoders send by
//! - [`packets`]: payloads, sequence numbers and time stamps
//! - [`keyframe_demand`]: whether the encoder has to make a keyframe; [`path_gate`]: whether it need encode at all
//! - [`captures`]: when what is sent was captured, for sender reports
//! - [`stream_stats`]: what is counted of a stream, and reported of it
//! - [`rtx_filter`]: which retransmissions are still worth sending

pub mod adaptation;
pub(crate) mod captures;
pub mod keyframe_demand;
pub(crate) mod media_sender;
pub(crate) mod packets;
pub(crate) mod path_gate;
pub mod picture_plan;
pub mod redundancy;
pub(crate) mod rtx_filter;
pub mod sound_rate;
pub(crate) mod stream_stats;

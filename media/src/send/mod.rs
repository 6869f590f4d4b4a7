//! How media is sent: what to send, and when. Pure; no engine, no sockets, no clock.
//!
//! - [`adaptation`]: rate of the path, requests for keyframes → bitrate, pictures left out, keyframes

pub mod adaptation;

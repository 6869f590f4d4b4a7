//! WHAT is seen and heard: capture, codecs, the peer connection, playout, display, recording.
//!
//! Nothing in this crate knows MQTT or who is calling. Data flow of one call:
//!
//! - out: [`capture`] → [`queue`] → [`codec`] encoder (thread of its own) → [`peer`]
//! - in: [`peer`] → [`receive`] → [`codec`] decoder (thread of its own) → [`display`], [`playout`], [`record`]
//!
//! [`call`] owns the threads of one call, [`send`] decides what leaves, [`stats`] and [`quality`] measure it. Every queue
//! between two of these rooms is bounded, drops when full (which end: docs/ARCHITECTURE.md, Queues), and counts the drop.

pub mod call;
pub mod capture;
pub mod clock;
pub mod codec;
mod congestion;
mod container;
pub mod devices;
pub mod display;
mod engine;
pub mod existing;
pub mod frame;
#[cfg(test)]
mod house;
pub mod impair;
mod path;
pub mod patience;
pub mod peer;
pub mod playout;
pub mod private_file;
pub mod quality;
pub mod queue;
pub mod receive;
pub mod record;
pub mod rtp;
mod scale;
mod sdp;
pub mod send;
pub mod snapshot;
mod sound;
pub mod stats;
mod threads;
pub mod voice;

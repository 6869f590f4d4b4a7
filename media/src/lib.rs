//! WHAT is seen and heard.
pub mod frame;
pub mod queue;
pub mod rtp;
pub mod peer;

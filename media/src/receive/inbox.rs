//! Where received packets go: one queue a medium.

use crate::queue;
use crate::rtp::RtpPacket;

/// Where received packets go.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// Video packets.
    pub video: queue::Sender<RtpPacket>,
    /// Audio packets.
    pub audio: queue::Sender<RtpPacket>,
}

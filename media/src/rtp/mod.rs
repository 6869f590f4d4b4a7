//! RTP: received packets, payload formats, arithmetic on counters that wrap, capture times as RTP time. No engine, no
//! sockets.

pub(crate) mod clock;
pub mod payload;
mod unwrap;

use std::time::Instant;

use bytes::Bytes;

pub(crate) use unwrap::nearest;
pub use unwrap::{SequenceUnwrapper, TimestampUnwrapper};

/// Clock rate of all video payload formats (RFC 6184 §8.2.1, RFC 7741 §4.1).
pub const VIDEO_CLOCK_HZ: u32 = 90_000;

/// One received RTP packet (RFC 3550 §5.1), without padding and extensions.
#[derive(Clone, Debug)]
pub struct RtpPacket {
    /// Sequence number; wraps at 2^16.
    pub sequence: u16,
    /// Media time stamp in the codec's clock; wraps at 2^32.
    pub timestamp: u32,
    /// Video: last packet of a picture.
    pub marker: bool,
    /// Which of the negotiated codecs.
    pub payload_type: u8,
    /// The payload, starting with the payload format's own header.
    pub payload: Bytes,
    /// When the engine handed it on: decrypted, and a moment after it came out of the socket.
    pub arrived: Instant,
}

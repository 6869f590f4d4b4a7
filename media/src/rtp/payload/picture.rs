//! What payloads are put together to.

use bytes::Bytes;

/// A received picture put together again.
#[derive(Debug, PartialEq, Eq)]
pub struct Picture {
    /// Shape as in [`crate::frame::EncodedVideo`].
    pub data: Bytes,
    /// True when a decoder can start here.
    pub keyframe: bool,
}

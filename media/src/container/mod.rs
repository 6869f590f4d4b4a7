//! File containers, as far as reading ([`crate::capture`]) and recording ([`crate::record`]) have them in common.
//!
//! Bytes to values and back; knows no tracks, no times, no codecs. What a file says is never believed: a reader gives an
//! error instead of reaching beyond the end.
//!
//! - [`isobmff`]: boxes of MP4 (ISO/IEC 14496-12)
//! - [`h264`]: H.264 in MP4 (ISO/IEC 14496-15) and as a byte stream
//! - [`opus`]: what a container says of Opus
//! - [`ebml`]: elements of Matroska and WebM (RFC 8794)

pub(crate) mod ebml;
pub(crate) mod h264;
pub(crate) mod isobmff;
pub(crate) mod opus;

/// A container cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContainerError {
    /// It lies about itself, or ends too early.
    #[error("{0}")]
    Broken(String),
    /// The system does not let it be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn broken(reason: &str) -> ContainerError {
    ContainerError::Broken(reason.to_owned())
}

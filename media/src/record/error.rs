//! Why a recording ends before the call does.

use std::path::PathBuf;

use network::system_error::in_words;

/// Recording failed; the text says what to try.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The extension names no container.
    #[error("cannot record to {path}: name it .webm (VP8 and Opus) or .mp4 (H.264 and Opus)")]
    UnknownContainer {
        /// The file.
        path: PathBuf,
    },
    /// There is another file of that name.
    #[error("{path} is there already; name another file, or pass --overwrite")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be created.
    #[error("cannot record to {path}: {}; choose a folder that exists and that you may write to", in_words(.source))]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Writing failed; what was written before it plays.
    #[error("cannot write the recording {path}: {}{}", in_words(.source), advice(.source))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The container does not take this packet.
    #[error("cannot put a packet into the recording {path}: {reason}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

fn advice(cause: &std::io::Error) -> &'static str {
    match cause.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "; make room on the disk; what was recorded until then plays"
        }
        std::io::ErrorKind::FileTooLarge => {
            "; raise the limit with ulimit -f, or record to another disk; what was recorded until then plays"
        }
        _ => "",
    }
}

/// Why a muxer stopped.
#[derive(Debug)]
pub(super) enum MuxError {
    Io(std::io::Error),
    Refused(String),
}

impl From<std::io::Error> for MuxError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

//! Where the partner's sound goes: a speaker, or nowhere.
//!
//! The caller decodes and conceals; this room only plays 48 kHz mono samples in the order they come. [`ring`] makes
//! those that are heard before a call stands.

use std::str::FromStr;

pub mod ring;
pub mod speaker;

pub use speaker::Speaker;

/// Where sound goes: `speaker[:NAME]`, `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudioSink {
    /// A speaker, the system's default when unnamed. NAME is a part of the device's name.
    Speaker(Option<String>),
    /// Nothing is played.
    None,
}

/// A sink text on the command line that means nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown sink {text:?}; use one of speaker, speaker:NAME, none")]
pub struct UnknownSink {
    text: String,
}

impl FromStr for AudioSink {
    type Err = UnknownSink;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "speaker" => Ok(Self::Speaker(None)),
            None if text == "none" => Ok(Self::None),
            Some(("speaker", name)) if !name.is_empty() => Ok(Self::Speaker(Some(name.to_owned()))),
            _ => Err(UnknownSink { text: text.to_owned() }),
        }
    }
}

/// A speaker could not be opened. The text says what to try.
#[derive(Debug, thiserror::Error)]
pub enum PlayoutError {
    /// There is no such device, or it cannot be opened.
    #[error("{0}")]
    Device(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_are_read_from_the_command_line() {
        assert_eq!("speaker".parse(), Ok(AudioSink::Speaker(None)));
        assert_eq!("speaker:USB: 2".parse(), Ok(AudioSink::Speaker(Some("USB: 2".to_owned()))));
        assert_eq!("none".parse(), Ok(AudioSink::None));
        for wrong in ["", "speaker:", "Speaker", "none:x", "mic"] {
            let error = wrong.parse::<AudioSink>().unwrap_err().to_string();
            assert!(error.contains("speaker:NAME"), "{error}");
        }
    }
}

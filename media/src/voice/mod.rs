//! What is done to sound between a device or a file and a codec. Pure; no device, no clock.
//!
//! - [`resample`]: samples of one rate → samples of another
//! - [`far_end`]: what the speaker plays → reference for echo
//! - [`echo_path`]: how much later than its reference an echo comes
//! - [`mod@reference`]: the far end → as much later as the path of its echo has become longer
//! - [`processing`]: the microphone's sound → without echo and noise, at a steady level
//! - [`level`]: how loud it is, and whether somebody speaks while muted

mod echo_path;
pub(crate) mod far_end;
pub(crate) mod level;
pub(crate) mod processing;
mod reference;
pub(crate) mod resample;

use serde::Serialize;

use crate::frame::AUDIO_RATE_HZ;

pub use self::far_end::FarEnd;

/// Samples of a block: 10 ms.
pub(crate) const BLOCK_SAMPLES: usize = AUDIO_RATE_HZ as usize / 100;

/// What is done to the sound of a microphone: `full`, `raw`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Processing {
    /// Echo of the speaker and noise are taken out, and the level is evened out.
    #[default]
    Full,
    /// Nothing: for headphones in a quiet room, and for music.
    Raw,
}

/// A text that names no [`Processing`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown processing {text:?}; use full or raw")]
pub struct UnknownProcessing {
    text: String,
}

impl std::str::FromStr for Processing {
    type Err = UnknownProcessing;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "full" => Ok(Self::Full),
            "raw" => Ok(Self::Raw),
            _ => Err(UnknownProcessing { text: text.to_owned() }),
        }
    }
}

/// What is known of the sound of a microphone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VoiceFigures {
    /// What is done to it.
    pub processing: Processing,
    /// Level of the microphone over the last half second, before any processing: RMS in dB relative to full scale.
    pub level_dbfs: f64,
    /// The echo of the speaker, where there is one and it is known.
    pub echo: Option<Echo>,
    /// How often sound of the microphone was lost because this program was too late to take it.
    pub overruns: u64,
}

/// The echo of the speaker in the microphone, measured over the last ten seconds in which the speaker played.
/// Whoever speaks meanwhile makes both losses smaller than they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Echo {
    /// Echo return loss: how much quieter the microphone is than what the speaker is told to play, in dB.
    pub return_loss_db: f64,
    /// The same of what is sent: how much quieter the other side hears itself than it speaks.
    pub sent_return_loss_db: f64,
    /// How much later than its reference the echo comes, in milliseconds: as the canceller found it, in steps of 4, and
    /// how much later that reference is made.
    pub delay_ms: f64,
}

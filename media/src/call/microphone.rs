//! The sound of a microphone between capture and encoder: processed as the user wants it, measured, and listened to
//! while muted.
//!
//! Runs on the encoder's thread. What the speaker plays comes from the decoder's thread through a ring, so neither side
//! waits for the other.
//!
//! - frame of 20 ms → level → [`Voice`], with what [`FarEnd`] has → encoder

use crate::capture::Overruns;
use crate::voice::level::{Meter, MutedSpeech};
use crate::voice::processing::Voice;
use crate::voice::{FarEnd, Processing, VoiceFigures};

/// Says that captured sound is a microphone's.
#[derive(Clone, Debug, Default)]
pub struct Microphone {
    /// What the speaker plays meanwhile; `None` without one.
    pub far_end: Option<FarEnd>,
    /// What was lost of its sound before it came here.
    pub overruns: Overruns,
}

/// One microphone in one call.
pub(super) struct MicrophoneSound {
    far_end: Option<FarEnd>,
    overruns: Overruns,
    /// `None` while nothing is processed: what it has learnt is of no use later.
    voice: Option<Voice>,
    meter: Meter,
    muted_speech: MutedSpeech,
}

impl MicrophoneSound {
    pub(super) fn new(Microphone { far_end, overruns }: Microphone) -> Self {
        Self { far_end, overruns, voice: None, meter: Meter::default(), muted_speech: MutedSpeech::default() }
    }

    /// Replaces the samples of a frame by what is to be sent; figures every half second.
    pub(super) fn process(&mut self, samples: &mut [i16], processing: Processing) -> Option<VoiceFigures> {
        let level = self.meter.add(samples);
        match processing {
            Processing::Full => self.process_full(samples),
            Processing::Raw => self.voice = None,
        }
        let echo = || self.voice.as_ref().and_then(Voice::echo);
        let overruns = self.overruns.count();
        level.map(|level_dbfs| VoiceFigures { processing, level_dbfs, echo: echo(), overruns })
    }

    /// True when somebody has spoken into the microphone for a while though it is muted, once for each time that it is.
    /// `samples` are those that were processed: what the speaker plays is no speech of ours.
    pub(super) fn is_spoken_into_while_muted(&mut self, samples: &[i16], muted: bool) -> bool {
        self.muted_speech.add(samples, muted)
    }

    fn process_full(&mut self, samples: &mut [i16]) {
        let far_end = self.far_end.as_ref();
        let voice = self.voice.get_or_insert_with(|| {
            if let Some(far_end) = far_end {
                far_end.forget();
            }
            Voice::new()
        });
        if let Some(far_end) = far_end {
            far_end.each_block(|block| voice.far(block));
        }
        // A frame has two whole blocks.
        for block in samples.as_chunks_mut().0 {
            voice.near(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::AUDIO_FRAME_SAMPLES;
    use crate::voice::far_end;

    /// Steady noise, the same each time.
    fn noise() -> impl Iterator<Item = i16> {
        let mut state = 1_u32;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16 / 8
        })
    }

    #[test]
    fn raw_sound_is_left_as_it_is_and_measured() {
        let mut sound = MicrophoneSound::new(Microphone::default());
        let told: Vec<VoiceFigures> = (0..25)
            .filter_map(|_| {
                let mut samples = [3277; AUDIO_FRAME_SAMPLES];
                let figures = sound.process(&mut samples, Processing::Raw);
                assert_eq!(samples, [3277; AUDIO_FRAME_SAMPLES]);
                figures
            })
            .collect();
        assert!(
            matches!(told[..], [figures] if (figures.level_dbfs + 20.0).abs() < 0.01 && figures.echo.is_none()),
            "{told:?}"
        );
    }

    #[test]
    fn what_the_speaker_plays_is_taken_out_and_is_no_speech() {
        let (mut tap, far_end) = far_end::tap();
        let mut sound = MicrophoneSound::new(Microphone { far_end: Some(far_end), ..Microphone::default() });
        // The echo comes 60 ms late, half as loud.
        let mut played = noise();
        let mut echo = std::iter::repeat_n(0, 2880).chain(noise().map(|sample| sample / 2));
        let (mut left, mut figures) = (0, None);
        for n in 0..200 {
            tap.push(&played.by_ref().take(AUDIO_FRAME_SAMPLES).collect::<Vec<_>>());
            let mut samples: Vec<i16> = echo.by_ref().take(AUDIO_FRAME_SAMPLES).collect();
            figures = sound.process(&mut samples, Processing::Full).or(figures);
            // The canceller gets a second and a half to begin with.
            assert!(!sound.is_spoken_into_while_muted(&samples, n >= 75), "frame {n}");
            left = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
        }
        assert!(left < 100, "{left} of up to 2048 is left");
        let echo = figures.unwrap().echo.unwrap();
        assert!((40.0..80.0).contains(&echo.delay_ms), "{echo:?}");
    }
}

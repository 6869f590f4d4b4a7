//! Levels of sound: how loud a microphone is, and whether somebody speaks while muted. Pure.

use crate::frame::AUDIO_RATE_HZ;

/// Level of digital silence, dBFS.
const SILENCE_DBFS: f64 = -100.0;

/// Samples that a level is measured over: half a second.
const WINDOW_SAMPLES: usize = AUDIO_RATE_HZ as usize / 2;

/// From this level on a frame counts as speech, dBFS: quiet speech near a microphone. Rooms are at -60.
const SPEECH_DBFS: f64 = -40.0;

/// Frames of speech that are one who speaks: 300 ms of frames of 20 ms.
const SPEECH_FRAMES: u32 = 15;

/// RMS of `samples` in dB relative to full scale, at least -100.
pub(crate) fn dbfs(samples: &[i16]) -> f64 {
    mean_dbfs(energy(samples), samples.len())
}

fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|&sample| f64::from(sample).powi(2)).sum()
}

fn mean_dbfs(energy: f64, samples: usize) -> f64 {
    if energy <= 0.0 || samples == 0 {
        return SILENCE_DBFS;
    }
    let full_scale = f64::from(i16::MAX).powi(2);
    (10.0 * (energy / samples as f64 / full_scale).log10()).max(SILENCE_DBFS)
}

/// Measures levels of half a second.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    energy: f64,
    samples: usize,
}

impl Meter {
    /// Takes samples in; the level, in dBFS, each time that half a second is full.
    pub(crate) fn add(&mut self, samples: &[i16]) -> Option<f64> {
        self.energy += energy(samples);
        self.samples += samples.len();
        if self.samples < WINDOW_SAMPLES {
            return None;
        }
        let full = std::mem::take(self);
        Some(mean_dbfs(full.energy, full.samples))
    }
}

/// Notices that somebody speaks while muted, once for each time of being muted.
#[derive(Debug, Default)]
pub(crate) enum MutedSpeech {
    /// The microphone is on.
    #[default]
    On,
    /// It is off; so many frames of speech, less one for each without.
    Waiting(u32),
    /// It is off, and that was noticed.
    Noticed,
}

impl MutedSpeech {
    /// Takes a frame of 20 ms; true when somebody has spoken while `muted` for 300 ms, pauses aside.
    pub(crate) fn add(&mut self, samples: &[i16], muted: bool) -> bool {
        let speech = match (&self, muted) {
            (_, false) => {
                *self = Self::On;
                return false;
            }
            (Self::Noticed, true) => return false,
            (Self::On, true) => 0,
            (Self::Waiting(frames), true) => *frames,
        };
        let frames = if dbfs(samples) >= SPEECH_DBFS { speech + 1 } else { speech.saturating_sub(1) };
        let noticed = frames >= SPEECH_FRAMES;
        *self = if noticed { Self::Noticed } else { Self::Waiting(frames) };
        noticed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::AUDIO_FRAME_SAMPLES;

    #[test]
    fn levels_are_relative_to_full_scale() {
        assert_eq!(dbfs(&[0; 480]), -100.0);
        assert_eq!(dbfs(&[]), -100.0);
        assert!(dbfs(&[i16::MAX, i16::MIN + 1]).abs() < 0.01);
        let half = i16::MAX / 2;
        assert!((dbfs(&[half, -half]) + 6.02).abs() < 0.01);
    }

    #[test]
    fn a_level_comes_every_half_second() {
        let mut meter = Meter::default();
        let levels: Vec<f64> = (0..100).filter_map(|_| meter.add(&[328; AUDIO_FRAME_SAMPLES])).collect();
        assert_eq!(levels.len(), 4);
        assert!(levels.iter().all(|level| (level + 40.0).abs() < 0.1), "{levels:?}");
    }

    #[test]
    fn who_speaks_while_muted_is_noticed_once_each_time() {
        let (loud, quiet) = ([1000; AUDIO_FRAME_SAMPLES], [30; AUDIO_FRAME_SAMPLES]);
        let mut speech = MutedSpeech::default();
        assert!((0..100).all(|_| !speech.add(&loud, false)), "the microphone is on");
        assert!((0..14).all(|_| !speech.add(&loud, true)));
        assert!(!speech.add(&quiet, true) && !speech.add(&loud, true), "a pause is no end");
        assert!(speech.add(&loud, true));
        assert!((0..100).all(|_| !speech.add(&loud, true)), "once");
        assert!(!speech.add(&loud, false));
        let noticed = (0..100).filter(|_| speech.add(&loud, true)).count();
        assert_eq!(noticed, 1, "once more the next time");
        assert!(!speech.add(&loud, false));
        assert!((0..1000).all(|n| !speech.add(if n % 3 == 0 { &loud } else { &quiet }, true)), "coughs are no speech");
    }
}

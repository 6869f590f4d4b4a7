//! The tones of a telephone: ringing, ringing at the other side, busy.
//!
//! Owns how they sound; never touches a device. Made and not recorded, so no file is needed. Pure: each frame of 20 ms
//! follows from its number alone.
//!
//! - [`Tone::Ring`]: two notes in turn and a pause, louder from second to second, for whoever is called
//! - [`Tone::RingBack`], [`Tone::Busy`]: one note of 425 Hz in the rhythms of ITU-T E.180, quieter, for whoever calls

use std::f64::consts::TAU;

use crate::frame::{AUDIO_FRAME_SAMPLES, AUDIO_RATE_HZ};

/// How long a note takes to swell: below it the ear hears a click.
const ATTACK_MS: f64 = 10.0;

/// How long it takes to die away.
const RELEASE_MS: f64 = 40.0;

/// Strength of the octave above each note: what makes it a bell and not a whistle.
const OCTAVE: f64 = 0.2;

/// How far below its level the ring begins: nobody is to be startled.
const FADE_DB: f64 = 14.0;

/// How long it takes to reach its level: the first ring and the pause after it.
const FADE_MS: f64 = 4_000.0;

/// What is to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Someone calls.
    Ring,
    /// The other side rings.
    RingBack,
    /// The other side is in another call.
    Busy,
}

/// One note of a cycle.
#[derive(Clone, Copy, Debug)]
struct Note {
    hz: f64,
    from_ms: u32,
    length_ms: u32,
}

const fn note(hz: f64, from_ms: u32, length_ms: u32) -> Note {
    Note { hz, from_ms, length_ms }
}

/// E5 and A5, a fourth: four notes, then a pause.
const RING: &[Note] = &[note(660.0, 0, 400), note(880.0, 400, 400), note(660.0, 800, 400), note(880.0, 1_200, 400)];

const RING_BACK: &[Note] = &[note(425.0, 0, 1_000)];

const BUSY: &[Note] = &[note(425.0, 0, 250)];

impl Tone {
    const fn notes(self) -> &'static [Note] {
        match self {
            Self::Ring => RING,
            Self::RingBack => RING_BACK,
            Self::Busy => BUSY,
        }
    }

    /// Length of one round, pause included.
    const fn cycle_ms(self) -> u32 {
        match self {
            Self::Ring => 4_000,
            Self::RingBack => 5_000,
            Self::Busy => 500,
        }
    }

    /// Largest sample: -9 dBFS to be heard across a room, -20 dBFS for an ear that listens already.
    const fn peak(self) -> f64 {
        match self {
            Self::Ring => 11_600.0,
            Self::RingBack | Self::Busy => 3_280.0,
        }
    }

    /// Endless sound, as frames of [`AUDIO_FRAME_SAMPLES`] mono samples at [`AUDIO_RATE_HZ`].
    pub fn frames(self) -> impl Iterator<Item = Vec<i16>> {
        let frame = AUDIO_FRAME_SAMPLES as u64;
        (0..).map(move |number: u64| (number * frame..(number + 1) * frame).map(|n| self.sample(n)).collect())
    }

    fn sample(self, number: u64) -> i16 {
        let per_ms = f64::from(AUDIO_RATE_HZ) / 1000.0;
        let at_ms = number as f64 / per_ms;
        let in_cycle = at_ms % f64::from(self.cycle_ms());
        let sounding = self.notes().iter().find(|note| {
            let from = f64::from(note.from_ms);
            (from..from + f64::from(note.length_ms)).contains(&in_cycle)
        });
        let Some(note) = sounding else { return 0 };
        let since = in_cycle - f64::from(note.from_ms);
        let angle = TAU * note.hz * since / 1000.0;
        let wave = (angle.sin() + OCTAVE * (2.0 * angle).sin()) / (1.0 + OCTAVE);
        let gain = envelope(since, f64::from(note.length_ms)) * self.fade(at_ms);
        (self.peak() * gain * wave).round() as i16
    }

    fn fade(self, at_ms: f64) -> f64 {
        match self {
            Self::Ring => 10_f64.powf(-FADE_DB * (1.0 - at_ms / FADE_MS).max(0.0) / 20.0),
            Self::RingBack | Self::Busy => 1.0,
        }
    }
}

/// From 0 to 1 and back, without a corner: half a cosine at each end.
fn envelope(since_ms: f64, length_ms: f64) -> f64 {
    let rise = |share: f64| 0.5 - 0.5 * (TAU / 2.0 * share.clamp(0.0, 1.0)).cos();
    rise(since_ms / ATTACK_MS) * rise((length_ms - since_ms) / RELEASE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: usize = AUDIO_RATE_HZ as usize / 1000;

    fn heard(tone: Tone, ms: usize) -> Vec<i16> {
        tone.frames().flatten().take(ms * MS).collect()
    }

    fn loudest(samples: &[i16]) -> u16 {
        samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap()
    }

    /// By upward zero crossings.
    fn hz(samples: &[i16]) -> f64 {
        let upward = samples.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        upward as f64 * 1000.0 / (samples.len() / MS) as f64
    }

    #[test]
    fn the_ring_has_two_notes_in_turn_and_a_pause() {
        let ring = heard(Tone::Ring, 8_000);
        for cycle in ring.chunks(4_000 * MS) {
            for (note, expected) in [660.0, 880.0, 660.0, 880.0].into_iter().enumerate() {
                let middle = &cycle[(note * 400 + 100) * MS..][..200 * MS];
                assert!((hz(middle) - expected).abs() <= 5.0, "note {note}: {} Hz", hz(middle));
            }
            assert_eq!(loudest(&cycle[1_600 * MS..]), 0);
        }
    }

    #[test]
    fn the_ring_begins_quietly_and_reaches_its_level_without_clipping() {
        let ring = heard(Tone::Ring, 12_000);
        let levels: Vec<u16> = ring.chunks(4_000 * MS).map(|cycle| loudest(&cycle[..400 * MS])).collect();
        assert!((2_000..4_000).contains(&levels[0]), "{levels:?}");
        assert!(levels[1].abs_diff(levels[2]) <= 1, "{levels:?}");
        assert!((9_000..=11_600).contains(&levels[1]), "{levels:?}");
        assert!(loudest(&ring) <= 11_600);
    }

    #[test]
    fn whoever_calls_hears_less_and_at_another_pitch() {
        let back = heard(Tone::RingBack, 10_000);
        for cycle in back.chunks(5_000 * MS) {
            assert!((hz(&cycle[100 * MS..900 * MS]) - 425.0).abs() <= 5.0);
            assert!((2_500..=3_280).contains(&loudest(cycle)));
            assert_eq!(loudest(&cycle[1_000 * MS..]), 0);
        }
        let busy = heard(Tone::Busy, 1_000);
        for (quarter, loud) in busy.chunks(250 * MS).zip([true, false, true, false]) {
            assert_eq!(loudest(quarter) > 2_500, loud);
        }
    }

    #[test]
    fn nothing_clicks() {
        for tone in [Tone::Ring, Tone::RingBack, Tone::Busy] {
            let sound = heard(tone, 8_000);
            assert_eq!(sound[0], 0);
            let jump = sound.windows(2).map(|pair| i32::from(pair[0]).abs_diff(i32::from(pair[1]))).max().unwrap();
            // The steepest note moves by at most 2π·880/48000 of its peak a sample, its octave by 0.4 of that more.
            assert!(f64::from(jump) < 0.17 * tone.peak(), "{tone:?} jumps by {jump}");
        }
    }
}

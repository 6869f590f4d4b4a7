//! What is measured of received sound: the tones of the test sweep and their latency. Of any other sound nothing is.
//!
//! Nobody tells a receiver whether the other side sends the test sweep, so the sound itself has to show it, as the stamp
//! does in pictures.
//!
//! - in: decoded sound, 10 or 20 ms at a time, with the time when it is played and what it was made of
//! - while the sweep was not heard: every 100 ms are correlated with themselves half a period and a period of
//!   [`PERIOD_SAMPLES`] later, which is cheap; a tone of the sweep alone is the same then, or the same upside down
//! - sound that passes goes to the detector ([`tone`]); from the first tone found on everything is measured, until no tone
//!   was found for [`WINDOWS_WITHOUT_MAX`]
//! - out: the tone of the last 100 ms, the tones so far, latencies of the steps ([`super::sweep`])
//!
//! Pure: reads no clock.

use std::time::Duration;

use super::concealment::Origin;
use super::sweep::SweepTiming;
use super::tone;
use crate::capture::tone::PERIOD_SAMPLES;

/// Samples looked at for a tone: 100 ms.
const WINDOW: usize = 4800;

/// How much alike two parts of a tone are at least, after a codec; 1 is the same. A voice is seldom so much like itself
/// both half a period and a period later, since it has harmonics and its pitch moves.
const ALIKE: f64 = 0.8;

/// Windows without a tone after which nothing is measured any more: 5 s, a cycle of the sweep and a bit.
const WINDOWS_WITHOUT_MAX: u32 = 50;

/// Tones remembered at most: of a call of eight minutes.
const TONES_MAX: usize = 1000;

/// Looks for the test sweep in received sound and measures it.
#[derive(Debug, Default)]
pub struct TestSound {
    /// What came of the current window.
    window: Vec<i16>,
    state: State,
    tone_hz: Option<f64>,
    tones_heard: Vec<u32>,
    detections: u64,
}

#[derive(Debug, Default)]
enum State {
    /// No sweep is to be heard.
    #[default]
    Other,
    /// The sweep is measured.
    Sweep { timing: Box<SweepTiming>, windows_without: u32 },
}

impl TestSound {
    /// Takes what is played from `played` (Unix time) on; the latency in milliseconds, modulo a cycle of the sweep, when
    /// a step was found to begin.
    pub fn add(&mut self, samples: &[i16], played: Duration, origin: Origin) -> Option<f64> {
        let latency_ms = match &mut self.state {
            State::Other => None,
            State::Sweep { timing, .. } => timing.add(samples, played, origin),
        };
        self.window.extend_from_slice(samples);
        if self.window.len() >= WINDOW {
            self.look_at_window();
            self.window.clear();
        }
        latency_ms
    }

    /// The tone that was dominant in the last 100 ms, hertz.
    #[must_use]
    pub const fn tone_hz(&self) -> Option<f64> {
        self.tone_hz
    }

    /// The tones so far, hertz, in order; each is there once for as long as it lasted.
    #[must_use]
    pub fn tones_heard(&self) -> &[u32] {
        &self.tones_heard
    }

    /// Windows of 100 ms that went through the detector.
    #[must_use]
    pub const fn detections(&self) -> u64 {
        self.detections
    }

    fn look_at_window(&mut self) {
        let may_be_tone = match self.state {
            State::Other => is_like_tone(&self.window),
            State::Sweep { .. } => true,
        };
        self.tone_hz = if may_be_tone { self.detect() } else { None };
        if let Some(hz) = self.tone_hz.map(|hz| hz.round() as u32)
            && self.tones_heard.last() != Some(&hz)
            && self.tones_heard.len() < TONES_MAX
        {
            self.tones_heard.push(hz);
        }
        match (&mut self.state, self.tone_hz) {
            (State::Other, None) => {}
            (State::Other, Some(_)) => self.state = State::Sweep { timing: Box::default(), windows_without: 0 },
            (State::Sweep { windows_without, .. }, Some(_)) => *windows_without = 0,
            (State::Sweep { windows_without, .. }, None) => {
                *windows_without += 1;
                if *windows_without >= WINDOWS_WITHOUT_MAX {
                    self.state = State::Other;
                }
            }
        }
    }

    fn detect(&mut self) -> Option<f64> {
        self.detections += 1;
        tone::detect(&self.window)
    }
}

/// True for a tone of the sweep; for a voice, music, noise and silence hardly ever.
fn is_like_tone(window: &[i16]) -> bool {
    let energy = product(window, window);
    if (energy / window.len() as f64).sqrt() < tone::SILENCE_RMS {
        return false;
    }
    let likeness = |lag: usize| {
        let (earlier, later) = (&window[..window.len() - lag], &window[lag..]);
        product(earlier, later) / (product(earlier, earlier) * product(later, later)).sqrt()
    };
    likeness(PERIOD_SAMPLES) >= ALIKE && likeness(PERIOD_SAMPLES / 2).abs() >= ALIKE
}

fn product(a: &[i16], b: &[i16]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::f64::consts::TAU;
    use std::time::Instant;

    use super::*;
    use crate::capture::tone::Sweep;
    use crate::codec::opus::{OpusDecoder, OpusEncoder};
    use crate::frame::{AUDIO_FRAME_SAMPLES, AUDIO_RATE_HZ, AudioFrame};

    const FRAME: Duration = Duration::from_millis(20);

    /// Sound that is as hard to tell from a tone as a voice is: a pulse train whose pitch glides between 90 and 250 Hz,
    /// through three formants that move from vowel to vowel, with pauses and hisses between syllables.
    pub(crate) fn voice(frames: usize) -> Vec<Vec<i16>> {
        /// First three formants of a, e, i, o, u, hertz.
        const VOWELS: [[f64; 3]; 5] = [
            [730.0, 1090.0, 2440.0],
            [530.0, 1840.0, 2480.0],
            [270.0, 2290.0, 3010.0],
            [570.0, 840.0, 2410.0],
            [300.0, 870.0, 2240.0],
        ];
        let rate = f64::from(AUDIO_RATE_HZ);
        let mut random = crate::codec::checks::noise(5);
        let (mut phase, mut resonators) = (0.0, [[0.0; 2]; 3]);
        let mut next_sample = |n: usize| {
            let seconds = n as f64 / rate;
            let (syllable, into) = ((seconds / 0.18) as usize, (seconds / 0.18).fract());
            let hiss = f64::from(random() % 2_000) - 1_000.0;
            if syllable % 6 == 5 {
                return 0;
            }
            if into < 0.2 {
                return hiss as i16;
            }
            let pitch_hz = 170.0 + 60.0 * (seconds * 1.7).sin() + 20.0 * (seconds * 5.3 * TAU).sin();
            phase += pitch_hz / rate;
            let pulse = if phase >= 1.0 { 20_000.0 } else { 0.0 };
            phase = phase.fract();
            let mut sample = 0.0;
            for (state, hz) in resonators.iter_mut().zip(VOWELS[syllable % 5]) {
                let decay = (-std::f64::consts::PI * 90.0 / rate).exp();
                let out = pulse + 2.0 * decay * (TAU * hz / rate).cos() * state[0] - decay * decay * state[1];
                *state = [out, state[0]];
                sample += out;
            }
            (sample * 0.05 + hiss * 0.05) as i16
        };
        let samples: Vec<i16> = (0..frames * AUDIO_FRAME_SAMPLES).map(&mut next_sample).collect();
        samples.chunks_exact(AUDIO_FRAME_SAMPLES).map(<[i16]>::to_vec).collect()
    }

    fn coded(frames: Vec<Vec<i16>>) -> Vec<Vec<i16>> {
        let (mut encoder, mut decoder) = (OpusEncoder::new(32_000).unwrap(), OpusDecoder::new().unwrap());
        let code = |samples| {
            let packet = encoder.encode(&AudioFrame { samples, at: Instant::now() }).unwrap();
            decoder.decode(&packet.data).unwrap()
        };
        frames.into_iter().map(code).collect()
    }

    fn listen(sound: &mut TestSound, frames: &[Vec<i16>]) -> Vec<f64> {
        let played = |n: u32| Duration::from_secs(1_767_225_600) + n * FRAME;
        let origin = |n: u32| Origin::Packet { timestamp: n * AUDIO_FRAME_SAMPLES as u32 };
        (0..).zip(frames).filter_map(|(n, samples)| sound.add(samples, played(n), origin(n))).collect()
    }

    #[test]
    fn no_tone_is_looked_for_in_a_voice() {
        let frames = coded(voice(3_000));
        let loudest = frames.iter().flatten().map(|sample| sample.unsigned_abs()).max();
        assert!(loudest > Some(3_000), "a voice is to be heard: {loudest:?}");
        let mut sound = TestSound::default();
        assert_eq!(listen(&mut sound, &frames), Vec::<f64>::new());
        assert_eq!((sound.detections, sound.tone_hz(), sound.tones_heard().len()), (0, None, 0));
    }

    #[test]
    fn the_sweep_is_measured_from_its_first_tone_on() {
        let mut sweep = Sweep::new();
        let frames = coded((0..400).map(|_| sweep.next_frame()).collect());
        let mut sound = TestSound::default();
        listen(&mut sound, &frames[..5]);
        assert_eq!((sound.detections, sound.tone_hz()), (1, Some(400.0)), "the first 100 ms");
        let latencies = listen(&mut sound, &frames[5..]);
        assert_eq!(latencies.len(), 15, "of 8 s each step but the first: {latencies:?}");
        let steps: Vec<u32> = (0..16).map(|step| 400 + step % 8 * 200).collect();
        assert_eq!(sound.tones_heard(), steps);
    }

    #[test]
    fn a_sweep_is_found_between_lost_packets_and_in_noise() {
        let (mut sweep, mut random) = (Sweep::new(), crate::codec::checks::noise(3));
        let mut sound = TestSound::default();
        for n in 0..100_u32 {
            let mut samples = sweep.next_frame();
            let origin = if n % 10 == 7 { Origin::Silence } else { Origin::Packet { timestamp: n * 960 } };
            match origin {
                Origin::Silence => samples.fill(0),
                // A tenth of the energy is noise.
                Origin::Packet { .. } | Origin::Stretched | Origin::Concealment => {
                    samples.iter_mut().for_each(|sample| *sample += (random() % 6_600) as i16 - 3_300);
                }
            }
            sound.add(&samples, n * FRAME, origin);
        }
        assert_eq!(sound.tones_heard(), [400, 600, 800, 1000]);
    }

    #[test]
    fn what_comes_after_the_sweep_is_measured_for_a_while_only() {
        let mut sweep = Sweep::new();
        let tones: Vec<Vec<i16>> = (0..50).map(|_| sweep.next_frame()).collect();
        let mut sound = TestSound::default();
        listen(&mut sound, &tones);
        listen(&mut sound, &vec![vec![0; AUDIO_FRAME_SAMPLES]; 200]);
        assert!(matches!(sound.state, State::Sweep { .. }) && sound.tone_hz().is_none(), "{sound:?}");
        let before = sound.detections;
        listen(&mut sound, &voice(3_000));
        assert_eq!(sound.detections - before, 10, "until 5 s are over");
        listen(&mut sound, &tones[..5]);
        assert_eq!(sound.tone_hz(), Some(400.0), "it is found again");
    }
}

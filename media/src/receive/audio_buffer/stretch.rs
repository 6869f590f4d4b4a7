//! Plays sound faster or slower and keeps its pitch: leaves out a stretch that is like the one after it, or repeats one,
//! and blends the two where they meet (WSOLA: Verhelst and Roelands, ICASSP 1993).
//!
//! A stretch of voice is a period of its pitch, or some. Where nothing is alike, nothing is changed, unless the caller
//! asks for it more and more urgently.
//!
//! Pure. Lengths are samples at 48 kHz.

/// Shortest stretch: 2.5 ms, a period of 400 Hz.
pub(super) const LAG_MIN: usize = 120;

/// Longest stretch: 15 ms, a period of 67 Hz.
pub(super) const LAG_MAX: usize = 720;

/// So much is compared: 10 ms.
pub(super) const COMPARED: usize = 480;

/// The first search looks at every fourth sample, each the mean of four.
const COARSE: usize = 4;

/// Below this level (root mean square, -56 dBFS) sound is taken for silence, in which any stretch will do.
const SILENCE_RMS: f32 = 50.0;

/// Of stretches that are about equally alike the longer one is taken: by up to so much.
const LONGER_BONUS: f32 = 0.02;

/// How much alike the stretches are at least: a coefficient of correlation, from -1 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Likeness(pub(super) f32);

/// Where the next sound to be played begins in `sound`, and what the search may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    pub(super) at: usize,
    pub(super) lag_max: usize,
    pub(super) likeness: Likeness,
}

/// Leaves out some samples from `at` on; how many, 0 when no stretch is alike enough.
///
/// What comes before `at` stays, and what follows joins without a jump.
pub(super) fn leave_out(sound: &mut Vec<i16>, search: Search) -> usize {
    let Search { at, .. } = search;
    let waiting = sound.len() - at;
    // Both stretches have to be there to be compared, and to be blended.
    let lag_max = search.lag_max.min(LAG_MAX).min(waiting.saturating_sub(COMPARED)).min(waiting / 2);
    let Some(lag) = best_lag(&sound[at..], 0, Direction::Later, lag_max, search.likeness) else { return 0 };
    for n in 0..lag {
        sound[at + n] = blend(sound[at + n], sound[at + lag + n], n, lag);
    }
    sound.drain(at + lag..at + 2 * lag);
    lag
}

/// Repeats some samples from before `at`; how many, 0 when no stretch is alike enough.
pub(super) fn repeat(sound: &mut Vec<i16>, search: Search) -> usize {
    let Search { at, .. } = search;
    let waiting = sound.len() - at;
    if waiting < COMPARED {
        return 0;
    }
    let lag_max = search.lag_max.min(LAG_MAX).min(waiting).min(at);
    let from = at - lag_max;
    let Some(lag) = best_lag(&sound[from..], lag_max, Direction::Earlier, lag_max, search.likeness) else { return 0 };
    let repeated: Vec<i16> = (0..lag).map(|n| blend(sound[at + n], sound[at - lag + n], n, lag)).collect();
    sound.splice(at..at, repeated);
    lag
}

/// Goes from one sample to the other, evenly, over `length`.
fn blend(from: i16, to: i16, n: usize, length: usize) -> i16 {
    let (n, length) = (n as i32, length as i32);
    // Between two samples, so it fits.
    ((i32::from(from) * (length - n) + i32::from(to) * n) / length) as i16
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Earlier,
    Later,
}

/// The distance at which `sound` is most like what begins at `at`, if it is enough.
fn best_lag(sound: &[i16], at: usize, direction: Direction, lag_max: usize, least: Likeness) -> Option<usize> {
    if lag_max < LAG_MIN {
        return None;
    }
    let other = |lag: usize| match direction {
        Direction::Earlier => at - lag,
        Direction::Later => at + lag,
    };
    let compared = &sound[at..at + COMPARED];
    if compared.iter().map(|&sample| f32::from(sample).powi(2)).sum::<f32>() < SILENCE_RMS.powi(2) * COMPARED as f32 {
        return Some(lag_max);
    }
    // Aligned at `at`, so that the coarse lags are multiples of four.
    let offset = at % COARSE;
    let coarse: Vec<f32> = sound[offset..].chunks_exact(COARSE).map(mean).collect();
    let (coarse_at, coarse_compared) = (at / COARSE, COMPARED / COARSE);
    let coarse_likeness = |lag: usize| {
        let other = match direction {
            Direction::Earlier => coarse_at - lag,
            Direction::Later => coarse_at + lag,
        };
        likeness(&coarse[coarse_at..coarse_at + coarse_compared], &coarse[other..other + coarse_compared])
    };
    let bonus = |lag: usize| LONGER_BONUS * lag as f32 / LAG_MAX as f32;
    let lags = LAG_MIN / COARSE..=lag_max / COARSE;
    let scored = lags.map(|lag| (coarse_likeness(lag) + bonus(lag * COARSE), lag * COARSE));
    let (_, about) = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    let fine: Vec<f32> = compared.iter().map(|&sample| f32::from(sample)).collect();
    let near = (about + 1).saturating_sub(COARSE).max(LAG_MIN)..=(about + COARSE - 1).min(lag_max);
    let fine_likeness = |lag: usize| {
        let start = other(lag);
        let there: Vec<f32> = sound[start..start + COMPARED].iter().map(|&sample| f32::from(sample)).collect();
        likeness(&fine, &there)
    };
    let (best, lag) = near.map(|lag| (fine_likeness(lag), lag)).max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best >= least.0).then_some(lag)
}

fn mean(samples: &[i16]) -> f32 {
    samples.iter().map(|&sample| f32::from(sample)).sum::<f32>() / samples.len() as f32
}

/// The coefficient of correlation, without taking the mean out.
fn likeness(a: &[f32], b: &[f32]) -> f32 {
    let (mut product, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        product += a * b;
        of_a += a * a;
        of_b += b * b;
    }
    if of_a > 0.0 && of_b > 0.0 { product / (of_a * of_b).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    const RATE: f64 = 48_000.0;

    fn tone(hz: f64, samples: usize) -> Vec<i16> {
        (0..samples).map(|n| (8192.0 * (TAU * hz * n as f64 / RATE).sin()) as i16).collect()
    }

    /// Plays `sound` with a change every 20 ms; what is heard.
    fn changed(mut sound: Vec<i16>, likeness: f32, change: fn(&mut Vec<i16>, Search) -> usize) -> (Vec<i16>, usize) {
        let (mut at, mut changes) = (960, 0);
        while at + 1920 < sound.len() {
            let search = Search { at, lag_max: LAG_MAX, likeness: Likeness(likeness) };
            let lag = change(&mut sound, search);
            changes += usize::from(lag > 0);
            at += 960 + lag;
        }
        (sound, changes)
    }

    /// Cycles a second, from the times at which the sound rises through zero.
    fn pitch(sound: &[i16]) -> f64 {
        let rises: Vec<f64> = (1..sound.len())
            .filter(|&n| sound[n - 1] < 0 && sound[n] >= 0)
            .map(|n| n as f64 - f64::from(sound[n]) / f64::from(sound[n] - sound[n - 1]))
            .collect();
        (rises.len() - 1) as f64 * RATE / (rises[rises.len() - 1] - rises[0])
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_has_no_clicks() {
        for hz in [85.0, 123.4, 200.0, 440.0, 997.0, 1800.0, 3301.0] {
            let original = tone(hz, 96_000);
            // The steepest slope, and half a sample for what lags of whole samples are off by.
            let slope = 8192.0 * TAU * hz / RATE * 1.5 + 3.0;
            for (change, is_longer) in [(repeat as fn(&mut _, _) -> _, true), (leave_out, false)] {
                let (heard, changes) = changed(original.clone(), 0.9, change);
                assert!(changes > 30, "{hz} Hz: {changes} changes");
                assert_eq!(heard.len() > original.len(), is_longer);
                assert!((pitch(&heard) / hz - 1.0).abs() < 0.002, "{hz} Hz: {}", pitch(&heard));
                let jump =
                    heard.windows(2).map(|two| (f64::from(two[1]) - f64::from(two[0])).abs()).fold(0.0, f64::max);
                assert!(jump < slope, "{hz} Hz: a jump of {jump}");
            }
        }
    }

    #[test]
    fn a_rising_line_never_falls() {
        for change in [repeat as fn(&mut _, _) -> _, leave_out] {
            let (heard, changes) = changed((0..30_000).map(|n| n + 1_000).collect(), 0.9, change);
            assert!(changes > 10 && heard.windows(2).all(|two| two[0] <= two[1]));
        }
    }

    #[test]
    fn noise_is_changed_only_where_it_is_urgent_and_silence_always() {
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16 / 4
        };
        let noise: Vec<i16> = (0..48_000).map(|_| noise()).collect();
        for change in [repeat as fn(&mut _, _) -> _, leave_out] {
            assert_eq!(changed(noise.clone(), 0.9, change), (noise.clone(), 0));
            assert!(changed(noise.clone(), -1.0, change).1 > 10);
            assert!(changed(vec![3; 48_000], 0.9, change).1 > 10);
        }
    }

    #[test]
    fn too_little_sound_is_left_alone() {
        let search = Search { at: 100, lag_max: LAG_MAX, likeness: Likeness(0.9) };
        for samples in [100, 300, 579, 580, 600, 700] {
            let original = tone(440.0, samples);
            let mut sound = original.clone();
            assert_eq!((repeat(&mut sound, search), sound == original), (0, true));
            let left_out = leave_out(&mut sound, search);
            assert_eq!(sound.len(), samples - left_out);
        }
    }
}

//! The far end as the canceller gets it: so much later that its echo is where the canceller has learnt it to be. Pure.
//!
//! A canceller that has to find an echo again begins anew: seconds in which the other side hears itself. When the path
//! of the echo becomes longer, its reference is made later by as much, to the sample, and nothing has to be learnt.
//! When the path becomes shorter, what was put in is taken out again. A reference cannot be early, so what remains is
//! left to the canceller.
//!
//! - blocks of the far end and of the microphone → [`EchoPath`] → how much later the echo comes than before
//! - blocks of the far end → delay line → the canceller

use super::BLOCK_SAMPLES;
use super::echo_path::{EchoPath, Finding};
use crate::frame::AUDIO_RATE_HZ;

/// Samples by which the far end is made later at most: 512 ms, as late as an echo is looked for.
const LATER_MAX: usize = AUDIO_RATE_HZ as usize * 512 / 1000;

/// Follows the echo of one microphone.
pub(crate) struct Reference {
    path: EchoPath,
    /// The last samples of the far end.
    samples: Vec<i16>,
    /// How much later it is, in samples.
    later: usize,
    /// Where the canceller had learnt the echo to be when it last moved: samples behind the reference.
    learnt: Option<f64>,
}

impl Reference {
    pub(crate) fn new() -> Self {
        Self { path: EchoPath::new(), samples: vec![0; LATER_MAX + BLOCK_SAMPLES], later: 0, learnt: None }
    }

    /// Takes a block of the far end and of the microphone. `found_ms` is how late the canceller takes the echo to be.
    pub(crate) fn follow(&mut self, far: &[i16; BLOCK_SAMPLES], near: &[i16; BLOCK_SAMPLES], found_ms: Option<f64>) {
        self.samples.copy_within(BLOCK_SAMPLES.., 0);
        self.samples[LATER_MAX..].copy_from_slice(far);
        if let Some(Finding::Moved { from, to }) = self.path.add(far, near) {
            self.move_by(from, to, found_ms);
        }
    }

    fn move_by(&mut self, from: f64, to: f64, found_ms: Option<f64>) {
        let now = self.later as f64;
        // The canceller has the echo where it was until now; or where it was before that, if the reference could not
        // follow; or it has been faster, and has it where it is.
        let places = [from - now, self.learnt.unwrap_or(from - now), to - now];
        let found = found_ms.map_or(places[0], |ms| ms * f64::from(AUDIO_RATE_HZ) / 1000.0);
        let nearer = |one: f64, other: f64| if (other - found).abs() < (one - found).abs() { other } else { one };
        let learnt = places.into_iter().reduce(nearer).unwrap_or(found);
        self.learnt = Some(learnt);
        self.later = (to - learnt).round().clamp(0.0, LATER_MAX as f64) as usize;
        tracing::debug!(from, to, later = self.later, "the echo has moved, in samples: its reference follows");
    }

    /// What is seen meanwhile says nothing of the path: blocks of the two ends are out of step.
    pub(crate) fn doubt(&mut self) {
        self.path.doubt();
    }

    /// The block for the canceller.
    pub(crate) fn block(&self) -> [i16; BLOCK_SAMPLES] {
        let first = LATER_MAX - self.later;
        std::array::from_fn(|n| self.samples[first + n])
    }

    /// How much later than the far end it is, in milliseconds.
    pub(crate) fn later_ms(&self) -> f64 {
        self.later as f64 * 1000.0 / f64::from(AUDIO_RATE_HZ)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first: usize) -> [i16; BLOCK_SAMPLES] {
        std::array::from_fn(|n| (first + n) as i16)
    }

    fn after(moves: &[(f64, f64, Option<f64>)]) -> Reference {
        let mut reference = Reference::new();
        moves.iter().for_each(|&(from, to, found_ms)| reference.move_by(from, to, found_ms));
        reference
    }

    #[test]
    fn the_far_end_is_later_to_the_sample() {
        let mut reference = after(&[(4_800.0, 12_001.3, Some(100.0))]);
        assert_eq!(reference.later, 7_201);
        for n in 0..20 {
            reference.follow(&block(n * BLOCK_SAMPLES), &[0; BLOCK_SAMPLES], None);
        }
        assert_eq!(reference.block(), block(19 * BLOCK_SAMPLES - 7_201));
        assert!((reference.later_ms() - 150.0).abs() < 0.1);
    }

    #[test]
    fn what_was_put_in_is_taken_out_and_no_more() {
        assert_eq!(after(&[(4_800.0, 12_000.0, Some(100.0)), (12_000.0, 6_000.0, Some(100.0))]).later, 1_200);
        assert_eq!(after(&[(4_800.0, 12_000.0, Some(100.0)), (12_000.0, 2_400.0, Some(100.0))]).later, 0);
        assert_eq!(after(&[(1.0, 1e6, None)]).later, LATER_MAX);
    }

    #[test]
    fn what_the_canceller_has_learnt_is_kept_while_the_reference_cannot_follow() {
        // For a moment the echo is 50 ms early, as when a device has lost sound; the canceller is as slow, or finds it.
        let early = [(4_800.0, 6_000.0, Some(100.0)), (6_000.0, 3_600.0, Some(100.0))];
        assert_eq!(after(&early).later, 0);
        assert_eq!(after(&[early[0], early[1], (3_600.0, 6_000.0, Some(100.0))]).later, 1_200);
        assert_eq!(after(&[early[0], early[1], (3_600.0, 6_000.0, Some(76.0))]).later, 2_400);
    }

    #[test]
    fn a_canceller_that_was_faster_is_left_alone() {
        assert_eq!(after(&[(4_800.0, 12_000.0, Some(248.0))]).later, 0);
        assert_eq!(after(&[(4_800.0, 12_000.0, Some(96.0)), (12_000.0, 14_400.0, Some(148.0))]).later, 7_200);
    }
}

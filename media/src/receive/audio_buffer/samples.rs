//! Decoded sound that waits to be played, and what it was made of.

use std::collections::VecDeque;

use super::stretch::{self, COMPARED, LAG_MAX, Search};
use crate::quality::concealment::Origin;

/// Sound kept after it was played, for [`stretch::repeat`] to repeat.
const HISTORY: usize = LAG_MAX + COMPARED;

/// Samples that were played are cleared away at so many: moving the rest is cheap, but not for each step.
const PLAYED_MAX: usize = 8 * HISTORY;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Played ones first.
    sound: Vec<i16>,
    played: usize,
    /// From here on all sound came in packets, without a gap.
    whole_from: usize,
    spans: VecDeque<Span>,
}

/// Some samples that were made of the same.
#[derive(Clone, Copy, Debug)]
struct Span {
    origin: Origin,
    samples: usize,
}

impl Samples {
    /// Samples that wait.
    pub(super) const fn waiting(&self) -> usize {
        self.sound.len() - self.played
    }

    /// Appends exactly `samples` samples: those that `make` appends, cut or filled up with silence.
    pub(super) fn append(&mut self, origin: Origin, samples: usize, make: impl FnOnce(&mut Vec<i16>)) {
        if samples == 0 {
            return;
        }
        self.clear_away();
        let end = self.sound.len() + samples;
        make(&mut self.sound);
        self.sound.resize(end, 0);
        if !matches!(origin, Origin::Packet { .. }) {
            self.whole_from = end;
        }
        self.spans.push_back(Span { origin, samples });
    }

    /// Lets the last `samples` samples fade to silence.
    pub(super) fn fade_out(&mut self, samples: usize) {
        let start = self.sound.len().saturating_sub(samples).max(self.played);
        let fading = &mut self.sound[start..];
        let length = fading.len() as i32;
        for (left, sample) in (0..length).rev().zip(fading) {
            *sample = (i32::from(*sample) * left / length) as i16;
        }
    }

    /// Lets the last `samples` samples begin in silence.
    pub(super) fn fade_in(&mut self, samples: usize, over: usize) {
        let start = self.sound.len().saturating_sub(samples).max(self.played);
        for (n, sample) in self.sound[start..].iter_mut().take(over).enumerate() {
            *sample = (i32::from(*sample) * n as i32 / over as i32) as i16;
        }
    }

    /// What comes next does not follow on what waits.
    pub(super) const fn gap(&mut self) {
        self.whole_from = self.sound.len();
    }

    /// True when all that waits came in packets, without a gap.
    pub(super) const fn is_whole(&self) -> bool {
        self.whole_from <= self.played
    }

    /// Leaves out some of what waits; how much.
    pub(super) fn leave_out(&mut self, search: impl FnOnce(usize) -> Search) -> usize {
        let lag = stretch::leave_out(&mut self.sound, search(self.played));
        if lag > 0 {
            self.take_spans(2 * lag);
            self.spans.push_front(Span { origin: Origin::Stretched, samples: lag });
        }
        lag
    }

    /// Plays some of what was played again; how much.
    pub(super) fn repeat(&mut self, search: impl FnOnce(usize) -> Search) -> usize {
        let search = search(self.played);
        let lag_max = search.lag_max.min(self.played.saturating_sub(self.whole_from));
        let lag = stretch::repeat(&mut self.sound, Search { lag_max, ..search });
        if lag > 0 {
            self.spans.push_front(Span { origin: Origin::Stretched, samples: lag });
        }
        lag
    }

    /// Copies the next samples to `out`, which is full of silence; what they were made of.
    pub(super) fn take(&mut self, out: &mut [i16]) -> Origin {
        let samples = out.len().min(self.waiting());
        out[..samples].copy_from_slice(&self.sound[self.played..self.played + samples]);
        self.played += samples;
        self.take_spans(samples)
    }

    fn clear_away(&mut self) {
        if self.played > PLAYED_MAX {
            let over = self.played - HISTORY;
            self.sound.drain(..over);
            self.played = HISTORY;
            self.whole_from = self.whole_from.saturating_sub(over);
        }
    }

    /// Takes the first so many samples from the spans; what they were made of together.
    fn take_spans(&mut self, mut samples: usize) -> Origin {
        let mut all = None;
        while samples > 0
            && let Some(span) = self.spans.front_mut()
        {
            let taken = samples.min(span.samples);
            all = Some(all.map_or(span.origin, |all| worse(all, span.origin)));
            span.samples -= taken;
            if let Origin::Packet { timestamp } = &mut span.origin {
                *timestamp = timestamp.wrapping_add(taken as u32);
            }
            if span.samples == 0 {
                self.spans.pop_front();
            }
            samples -= taken;
        }
        all.unwrap_or(Origin::Silence)
    }
}

/// What says most of a step that is made of both.
const fn worse(a: Origin, b: Origin) -> Origin {
    const fn rank(origin: Origin) -> u8 {
        match origin {
            Origin::Packet { .. } => 0,
            Origin::Stretched => 1,
            Origin::Silence => 2,
            Origin::Concealment => 3,
        }
    }
    if rank(b) > rank(a) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(samples: &mut Samples, timestamp: u32, length: usize) {
        samples.append(Origin::Packet { timestamp }, length, |out| out.extend(vec![7; length]));
    }

    #[test]
    fn a_step_is_made_of_the_worst_in_it() {
        let mut samples = Samples::default();
        packet(&mut samples, 1000, 960);
        samples.append(Origin::Concealment, 240, |_| {});
        packet(&mut samples, 2200, 960);
        let mut take = || samples.take(&mut [0; 480]);
        assert_eq!([take(), take()], [1000, 1480].map(|timestamp| Origin::Packet { timestamp }));
        assert_eq!([take(), take()], [Origin::Concealment, Origin::Packet { timestamp: 2440 }]);
        assert_eq!((take(), take()), (Origin::Packet { timestamp: 2920 }, Origin::Silence));
    }

    #[test]
    fn little_of_what_was_played_is_kept() {
        let mut samples = Samples::default();
        for n in 0..1000 {
            packet(&mut samples, n * 960, 960);
            samples.take(&mut [0; 480]);
            samples.take(&mut [0; 480]);
        }
        assert!(samples.sound.len() <= PLAYED_MAX + 2 * 960 && samples.waiting() == 0);
    }

    #[test]
    fn sound_may_be_cut_off_without_a_click() {
        let mut samples = Samples::default();
        samples.append(Origin::Concealment, 480, |out| out.extend([1000; 480]));
        samples.fade_out(480);
        packet(&mut samples, 0, 480);
        samples.fade_in(480, 120);
        let mut heard = [0; 960];
        samples.take(&mut heard);
        assert!(heard.windows(2).all(|two| (two[1] - two[0]).abs() <= 9), "{heard:?}");
        assert_eq!((heard[479], heard[480], heard[600]), (0, 0, 7));
    }
}

//! What sound was made of as it was heard, and its loss: steps of 20 ms that were not played from a packet of their own.

/// What sound was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A packet of its own; the first sample has this RTP time stamp.
    Packet {
        /// RTP time stamp.
        timestamp: u32,
    },
    /// Packets of its own, played faster or slower.
    Stretched,
    /// The packet after it, or what was heard before: it did not come in time.
    Concealment,
    /// Nothing: the sender is silent, or nothing came for long.
    Silence,
}

/// Steps so far; the difference of two of these is what lies between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Steps played from their own packet.
    pub played: u64,
    /// Steps made up, or recovered from the packet after, before one that was played.
    pub concealed: u64,
    /// Runs of the latter.
    pub bursts: u64,
}

/// Loss as the E-model takes it (ITU-T G.107 §7.5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Ppl: share of steps that were lost, in percent.
    pub percent: f64,
    /// BurstR: mean length of a run of losses over what it would be by chance; 1 when nothing was lost.
    pub burst_ratio: f64,
}

/// Burst ratios that the model is made for. Losses that lie further apart than by chance count as by chance.
const BURST_RATIO_MIN: f64 = 1.0;
const BURST_RATIO_MAX: f64 = 8.0;

impl Steps {
    /// What came since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            played: self.played.saturating_sub(earlier.played),
            concealed: self.concealed.saturating_sub(earlier.concealed),
            bursts: self.bursts.saturating_sub(earlier.bursts),
        }
    }

    /// The loss among these steps; `None` when none was played.
    #[must_use]
    pub fn loss(self) -> Option<Loss> {
        if self.played == 0 {
            return None;
        }
        let share = self.concealed as f64 / (self.played + self.concealed) as f64;
        // Runs of random losses of probability p are 1 / (1 - p) long on average.
        let ratio =
            if self.bursts > 0 { self.concealed as f64 / self.bursts as f64 * (1.0 - share) } else { BURST_RATIO_MIN };
        Some(Loss { percent: 100.0 * share, burst_ratio: ratio.clamp(BURST_RATIO_MIN, BURST_RATIO_MAX) })
    }
}

/// Samples of one step at 48 kHz: 20 ms.
const STEP_SAMPLES: u64 = 960;

/// Counts steps as they are played, from samples at 48 kHz.
///
/// A run of concealed sound counts once a packet is played after it: where a stream ends nothing is lost. It counts as
/// the steps that come nearest to its length, and as one at least.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepCounter {
    played_samples: u64,
    concealed: u64,
    bursts: u64,
    run_samples: u64,
}

impl StepCounter {
    /// So many samples were played from their own packet.
    pub const fn played(&mut self, samples: u64) {
        if self.run_samples > 0 {
            let steps = (self.run_samples + STEP_SAMPLES / 2) / STEP_SAMPLES;
            self.concealed += if steps > 0 { steps } else { 1 };
            self.bursts += 1;
            self.run_samples = 0;
        }
        self.played_samples += samples;
    }

    /// So many samples were not.
    pub const fn concealed(&mut self, samples: u64) {
        self.run_samples += samples;
    }

    /// What was concealed since the last packet stands for nothing that was sent: the stream begins anew, as after a
    /// hold, or the sender was silent.
    pub const fn begin_anew(&mut self) {
        self.run_samples = 0;
    }

    /// Steps so far.
    #[must_use]
    pub const fn steps(&self) -> Steps {
        Steps { played: self.played_samples / STEP_SAMPLES, concealed: self.concealed, bursts: self.bursts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(steps: &str) -> Steps {
        let mut counter = StepCounter::default();
        for step in steps.chars() {
            match step {
                '.' => counter.played(960),
                'x' => counter.concealed(960),
                _ => counter.begin_anew(),
            }
        }
        counter.steps()
    }

    #[test]
    fn runs_count_when_something_is_played_after_them() {
        assert_eq!(counted("..x.xxx...xx"), Steps { played: 6, concealed: 4, bursts: 2 });
        assert_eq!(counted("..xx|.."), Steps { played: 4, concealed: 0, bursts: 0 });
        assert_eq!(counted("xx").loss(), None);
    }

    #[test]
    fn the_burst_ratio_is_one_by_chance_and_more_in_bursts() {
        assert_eq!(counted("....").loss(), Some(Loss { percent: 0.0, burst_ratio: 1.0 }));
        // 10 % in runs of two: 2 · 0.9.
        let bursty = Steps { played: 90, concealed: 10, bursts: 5 }.loss().unwrap();
        assert!((bursty.percent - 10.0).abs() < 1e-9 && (bursty.burst_ratio - 1.8).abs() < 1e-9, "{bursty:?}");
        assert_eq!(Steps { played: 90, concealed: 10, bursts: 10 }.loss().unwrap().burst_ratio, 1.0);
        // Drawn at random, from a fixed seed.
        let mut random = crate::codec::checks::noise(3);
        let steps: String = (0..50_000).map(|_| if random().is_multiple_of(5) { 'x' } else { '.' }).collect();
        let loss = counted(&steps).loss().unwrap();
        assert!((loss.percent - 20.0).abs() < 1.0 && loss.burst_ratio < 1.03, "{loss:?}");
    }

    #[test]
    fn a_difference_is_of_its_window() {
        let (before, after) = (counted("..x."), counted("..x.xx.."));
        assert_eq!(after.since(before), Steps { played: 2, concealed: 2, bursts: 1 });
    }
}

//! How late packets come, and how long sound has to be held back for that.
//!
//! The transit of a packet is its arrival less its RTP time: one clock less another, so only differences of it mean
//! anything. The least transit is that of the network's fastest packet; how much more another one took is its delay
//! (as the relative arrival delay of NetEQ).
//!
//! - in: the transit of each packet that came
//! - a histogram of 1 ms, of the last [`REMEMBERED_US`]: so it forgets, and follows a sender's clock that runs fast or slow
//! - a queue that builds up: transits that rise packet by packet are expected to rise on
//! - peaks that recur are expected to recur once more
//! - out: the offset of playout, on the scale of transits, that [`PERCENT`] of these packets would have been in time for
//!
//! Pure: reads no clock.

use std::collections::{BTreeMap, VecDeque};

use super::copies::CopyWait;

/// Arrivals are forgotten after so long: a burst of delay is paid for so long, and seconds later it is over.
const REMEMBERED_US: i64 = 3_000_000;

/// So many are remembered however old they are: half a second of sound. After a long silence of the sender something
/// is still known of the path.
const REMEMBERED_MIN: usize = 25;

/// So many are remembered at most; a stream of the shortest packets has 1200 in 3 s.
const REMEMBERED_MAX: usize = 2048;

/// Packets that have to be in time, in percent. Of those that are not, some still are thanks to [`STEP_US`].
const PERCENT: usize = 99;

/// Sound is taken in steps of 10 ms: the last sample of a step is needed as early as its first one.
const STEP_US: i64 = 10_000;

/// What threads and timers of both sides are late by on a machine with other work.
const SLACK_US: i64 = 3_000;

/// Least sound held back: what a steady stream needs, and a bit for a queue that begins to build up.
pub(super) const LEAST_US: i64 = 17_000;

/// Most sound held back: beyond it a talk is no talk any more (ITU-T G.114 §4).
pub(super) const MOST_US: i64 = 300_000;

/// A queue is seen when transits have risen evenly over at least so many packets, by so much, within so long; and at most
/// so much is held back for what comes of it.
const QUEUE_PACKETS: usize = 5;
const QUEUE_RISEN_US: i64 = 8_000;
const QUEUE_SEEN_US: i64 = 150_000;
const QUEUE_AHEAD_MAX_US: i64 = 12_000;

/// What comes too late within so long is of one peak; peaks that are further apart than that have nothing to do with each
/// other.
const PEAK_PACKETS_MIN: u32 = 2;
const PEAKS_APART_US: i64 = 1_000_000;
const PEAKS_RECUR_US: i64 = 15_000_000;

/// A peak that is higher is not waited for: a delay all the time is worse than a hole now and then (ITU-T G.114 §4).
const PEAK_HELD_MAX_US: i64 = 150_000;

/// Width of a class of the histogram.
const CLASS_US: i64 = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ArrivalDelays {
    /// When they came, and the class of their transit, in the order in which they came.
    arrivals: VecDeque<(i64, i64)>,
    histogram: BTreeMap<i64, u32>,
    peaks: Peaks,
    copies: CopyWait,
    /// Sound is held back for so long at least, whatever comes.
    least_us: i64,
    /// The answer to what comes all the time.
    usual_us: i64,
    /// The answer, until something else comes.
    playout_us: i64,
}

/// Peaks of delay that sound was not held back for. One comes and is forgotten; where one follows another, the next is to be
/// expected (as the peak detector of NetEQ).
#[derive(Clone, Copy, Debug, Default)]
struct Peaks {
    latest: Option<Peak>,
    before: Option<Peak>,
}

/// Packets that came too late, shortly one after the other. Times in microseconds.
#[derive(Clone, Copy, Debug)]
struct Peak {
    from_us: i64,
    to_us: i64,
    packets: u32,
    /// The longest delay among them, over the fastest packet.
    height_us: i64,
}

impl Peaks {
    /// A packet came too late, with this delay.
    fn add(&mut self, at_us: i64, height_us: i64) {
        match &mut self.latest {
            Some(peak) if at_us - peak.to_us < PEAKS_APART_US => {
                (peak.to_us, peak.packets) = (at_us, peak.packets + 1);
                peak.height_us = peak.height_us.max(height_us);
            }
            latest => {
                let ended = latest.replace(Peak { from_us: at_us, to_us: at_us, packets: 1, height_us });
                // A packet alone is not worth holding all others back.
                self.before = ended.filter(|peak| peak.packets >= PEAK_PACKETS_MIN).or(self.before);
            }
        }
    }

    /// How much is held back for the peak that is to be expected; `None` when there is none.
    fn held_back(&self, now_us: i64) -> Option<i64> {
        let (latest, before) = self.latest.zip(self.before)?;
        let apart_us = latest.from_us - before.from_us;
        let is_expected =
            latest.packets >= PEAK_PACKETS_MIN && apart_us < PEAKS_RECUR_US && now_us - latest.to_us < 2 * apart_us;
        let height_us = latest.height_us.min(before.height_us);
        (is_expected && height_us <= PEAK_HELD_MAX_US).then_some(height_us)
    }
}

impl ArrivalDelays {
    /// A packet with this transit came at `arrived_us`; both in microseconds.
    pub(super) fn add(&mut self, arrived_us: i64, transit_us: i64) {
        let class = transit_us.div_euclid(CLASS_US);
        self.arrivals.push_back((arrived_us, class));
        *self.histogram.entry(class).or_default() += 1;
        while let Some(&(came, class)) = self.arrivals.front()
            && (self.arrivals.len() > REMEMBERED_MAX
                || self.arrivals.len() > REMEMBERED_MIN && came < arrived_us - REMEMBERED_US)
        {
            self.arrivals.pop_front();
            self.forget(class);
        }
        let fastest = self.fastest_us();
        if class * CLASS_US > self.usual_us && self.arrivals.len() > REMEMBERED_MIN {
            self.peaks.add(arrived_us, class * CLASS_US - fastest);
        }
        let recurring = self.peaks.held_back(arrived_us).map(|us| fastest + us + STEP_US + SLACK_US);
        self.usual_us = self.usual();
        self.playout_us = self.usual_us.max(self.ahead_of_a_queue()).max(recurring.unwrap_or(i64::MIN));
        self.playout_us = self.playout_us.max(self.with_copies(arrived_us));
    }

    /// A copy of a packet that did not come itself came at `arrived_us`, with this transit of the packet's sound.
    pub(super) fn add_copy(&mut self, arrived_us: i64, transit_us: i64) {
        self.copies.add(arrived_us, transit_us);
        self.playout_us = self.playout_us.max(self.with_copies(arrived_us));
    }

    /// Sound is held back for so long at least, from the next packet on.
    pub(super) const fn hold_at_least(&mut self, least_us: i64) {
        self.least_us = least_us;
    }

    /// Forgets all: transits before say nothing of those to come.
    pub(super) fn clear(&mut self) {
        *self = Self { least_us: self.least_us, ..Self::default() };
    }

    /// Sound with the RTP time t is best played at t plus this, in microseconds.
    pub(super) const fn playout_us(&self) -> i64 {
        self.playout_us
    }

    /// The transit of the fastest packet, in microseconds; 0 when none came.
    pub(super) fn fastest_us(&self) -> i64 {
        self.histogram.first_key_value().map_or(0, |(class, _)| class * CLASS_US)
    }

    fn forget(&mut self, class: i64) {
        if let Some(count) = self.histogram.get_mut(&class) {
            *count -= 1;
            if *count == 0 {
                self.histogram.remove(&class);
            }
        }
    }

    /// While each packet takes longer than the one before, a queue builds up on the way, and the next ones will take longer
    /// still: by as much again, in the same time.
    fn ahead_of_a_queue(&self) -> i64 {
        let Some(&(newest_us, slowest)) = self.arrivals.back() else { return i64::MIN };
        let (mut fastest, mut packets, mut steepest) = (slowest, 0, 0);
        for &(came_us, class) in self.arrivals.iter().rev().skip(1) {
            if newest_us - came_us > QUEUE_SEEN_US || class > fastest {
                break;
            }
            steepest = steepest.max(fastest - class);
            (fastest, packets) = (class, packets + 1);
        }
        let risen_us = (slowest - fastest) * CLASS_US;
        let is_even = steepest * 2 <= slowest - fastest;
        if packets < QUEUE_PACKETS || risen_us < QUEUE_RISEN_US || !is_even {
            return i64::MIN;
        }
        let most = self.fastest_us() + MOST_US;
        ((slowest + 1) * CLASS_US + STEP_US + SLACK_US + risen_us.min(QUEUE_AHEAD_MAX_US)).min(most)
    }

    /// Playout that copies are in time for, where they are worth it.
    fn with_copies(&self, now_us: i64) -> i64 {
        let most = self.fastest_us() + MOST_US;
        self.copies.transit_us(now_us).map_or(i64::MIN, |transit_us| (transit_us + STEP_US + SLACK_US).min(most))
    }

    /// What [`PERCENT`] of the packets would have been in time for.
    fn usual(&self) -> i64 {
        let mut late = self.arrivals.len() * (100 - PERCENT) / 100;
        let in_time = |&(_, &count): &(&i64, &u32)| {
            let fits = late >= count as usize;
            late = late.saturating_sub(count as usize);
            !fits
        };
        let slowest = self.histogram.iter().rev().find(in_time).map_or(0, |(class, _)| (class + 1) * CLASS_US);
        let fastest = self.fastest_us();
        (slowest + STEP_US + SLACK_US).clamp(fastest + self.least_us.clamp(LEAST_US, MOST_US), fastest + MOST_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET_US: i64 = 20_000;

    /// So many packets, with these delays in turn; the sound held back then, in milliseconds.
    fn held_back(delays: &mut ArrivalDelays, from: i64, count: i64, delay_ms: impl Fn(i64) -> i64) -> i64 {
        for n in from..from + count {
            delays.add(n * PACKET_US, 77_000_000 + delay_ms(n) * 1000);
        }
        (delays.playout_us() - delays.fastest_us()) / 1000
    }

    #[test]
    fn a_steady_stream_is_held_back_by_the_least() {
        assert_eq!(held_back(&mut ArrivalDelays::default(), 0, 500, |_| 0), LEAST_US / 1000);
        assert_eq!(held_back(&mut ArrivalDelays::default(), 0, 1, |_| 0), LEAST_US / 1000);
    }

    #[test]
    fn jitter_is_held_back_for_but_one_in_a_hundred() {
        let mut delays = ArrivalDelays::default();
        assert_eq!(held_back(&mut delays, 0, 500, |n| n % 50), 49 + 1 + 13);
        let mut delays = ArrivalDelays::default();
        assert_eq!(held_back(&mut delays, 0, 500, |n| if n % 150 == 0 { 200 } else { n % 10 }), 9 + 1 + 13);
        assert_eq!(held_back(&mut ArrivalDelays::default(), 0, 500, |n| n % 2 * 900), MOST_US / 1000);
    }

    #[test]
    fn a_burst_is_forgotten_within_seconds() {
        let mut delays = ArrivalDelays::default();
        held_back(&mut delays, 0, 500, |_| 0);
        assert_eq!(held_back(&mut delays, 500, 100, |n| n % 4 * 20), 74);
        assert_eq!(held_back(&mut delays, 600, 155, |_| 0), LEAST_US / 1000);
    }

    #[test]
    fn a_queue_that_builds_up_is_held_back_for_before_it_is_there() {
        let mut delays = ArrivalDelays::default();
        held_back(&mut delays, 0, 200, |_| 0);
        // 200 ms a second.
        assert_eq!(held_back(&mut delays, 200, 25, |n| (n - 200) * 4), 96 + 1 + 13 + 12);
        assert_eq!(held_back(&mut delays, 225, 1, |_| 96), 96 + 1 + 13 + 12);
        assert_eq!(held_back(&mut delays, 226, 5, |_| 90), 96 + 1 + 13, "no more than it was");
    }

    #[test]
    fn a_peak_that_recurs_is_expected_until_it_stays_away() {
        let mut delays = ArrivalDelays::default();
        // Every 5 s 150 ms for five packets.
        let peaks = |n: i64| if n % 250 >= 245 { 150 } else { 0 };
        assert_eq!(held_back(&mut delays, 0, 490, peaks), LEAST_US / 1000, "after one");
        assert_eq!(held_back(&mut delays, 490, 240, peaks), 150 + 13, "after two");
        assert_eq!(held_back(&mut delays, 730, 300, peaks), 150 + 14);
        assert_eq!(held_back(&mut delays, 1_030, 480, |_| 0), LEAST_US / 1000, "10 s after the last");
    }

    #[test]
    fn a_high_peak_that_recurs_is_not_waited_for() {
        let mut delays = ArrivalDelays::default();
        let peaks = |n: i64| if n % 250 >= 245 { 200 } else { 0 };
        assert_eq!(held_back(&mut delays, 0, 740, peaks), LEAST_US / 1000, "after two");
    }

    #[test]
    fn another_path_and_a_slow_clock_are_followed() {
        let mut delays = ArrivalDelays::default();
        held_back(&mut delays, 0, 200, |_| 0);
        assert_eq!(held_back(&mut delays, 200, 155, |_| 150), LEAST_US / 1000);
        // 1000 ppm: a millisecond a second.
        assert_eq!(held_back(&mut delays, 355, 600, |n| 150 + n / 50), LEAST_US / 1000);
    }

    #[test]
    fn what_pictures_need_is_held_back_at_least() {
        let mut delays = ArrivalDelays::default();
        delays.hold_at_least(90_000);
        assert_eq!(held_back(&mut delays, 0, 200, |_| 0), 90);
        assert_eq!(held_back(&mut delays, 200, 200, |n| n % 4 * 40), 120 + 1 + 13);
        delays.clear();
        assert_eq!(held_back(&mut delays, 400, 200, |_| 0), 90);
        delays.hold_at_least(i64::MAX);
        assert_eq!(held_back(&mut delays, 600, 200, |_| 0), MOST_US / 1000);
        delays.hold_at_least(0);
        assert_eq!(held_back(&mut delays, 800, 200, |_| 0), LEAST_US / 1000);
    }

    #[test]
    fn little_is_remembered() {
        let mut delays = ArrivalDelays::default();
        for n in 0..10_000 {
            delays.add(n, n % 7);
        }
        assert_eq!((delays.arrivals.len(), delays.histogram.len()), (REMEMBERED_MAX, 1));
        delays.add(1_000_000_000, 0);
        assert_eq!(delays.arrivals.len(), REMEMBERED_MIN);
    }
}

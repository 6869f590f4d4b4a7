//! [`QueueingDelay`]: how long packets wait in queues of the path, from when they left here and when they arrived there.
//!
//! The two clocks are not alike, so only differences count: the least delay of the latest while is that of an empty
//! queue, and what a packet took beyond it is time in a queue. The standing queue is the least of a short window, as
//! CoDel takes it (RFC 8289 §3.1): bursts and jitter come and go within it, a queue that is too long stays.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The least delay is looked for in so many slots of a second: clocks that drift by 100 parts in a million move it by
/// 2 ms in that time.
const BASE_SLOTS: usize = 20;
const BASE_SLOT: Duration = Duration::from_secs(1);

/// A delay that is off by so much is of another clock: the other side counts anew.
const ANOTHER_CLOCK: f64 = 30.0;

/// One-way delays, seconds; they start from an arbitrary zero.
#[derive(Debug, Default)]
pub(crate) struct QueueingDelay {
    /// What departures are counted from.
    started: Option<Instant>,
    /// The least delay of each slot, the latest last, with the arrival that began it.
    base: VecDeque<(f64, f64)>,
    /// Arrival and delay of the latest packets.
    window: VecDeque<(f64, f64)>,
    /// The least delay is kept, however old.
    is_base_kept: bool,
}

impl QueueingDelay {
    /// A packet that left at `departure` arrived at `arrival` of the other side's clock; how long it waited in queues.
    pub(crate) fn add(&mut self, departure: Instant, arrival: Duration, window: Duration) -> Duration {
        let started = *self.started.get_or_insert(departure);
        // A packet may have left before the first one that was told of.
        let left = departure.saturating_duration_since(started).as_secs_f64()
            - started.saturating_duration_since(departure).as_secs_f64();
        let (arrival, delay) = (arrival.as_secs_f64(), arrival.as_secs_f64() - left);
        if self.window.back().is_some_and(|(_, last)| (delay - last).abs() > ANOTHER_CLOCK) {
            self.begin_anew();
        }
        match self.base.back_mut() {
            Some((began, least)) if arrival < *began + BASE_SLOT.as_secs_f64() => *least = least.min(delay),
            Some(_) | None => self.base.push_back((arrival, delay)),
        }
        if self.base.len() > BASE_SLOTS && !self.is_base_kept {
            self.base.drain(..self.base.len() - BASE_SLOTS);
        }
        self.window.push_back((arrival, delay));
        let oldest = arrival - window.as_secs_f64();
        while self.window.front().is_some_and(|(at, _)| *at < oldest) {
            self.window.pop_front();
        }
        self.above_base(delay)
    }

    /// The path is another one, or was left alone for so long that it may be.
    pub(crate) fn begin_anew(&mut self) {
        (self.base, self.window) = (VecDeque::new(), VecDeque::new());
    }

    /// Whether the least delay is kept, however old: a queue that never empties would come to count as the path.
    pub(crate) const fn keep_base(&mut self, is_kept: bool) {
        self.is_base_kept = is_kept;
    }

    /// The queue that stood for all of the window; `None` before there are two packets in it.
    pub(crate) fn standing(&self) -> Option<Duration> {
        let least = self.window.iter().map(|(_, delay)| *delay).reduce(f64::min)?;
        (self.window.len() > 1).then(|| self.above_base(least))
    }

    fn above_base(&self, delay: f64) -> Duration {
        let base = self.base.iter().map(|(_, least)| *least).fold(delay, f64::min);
        Duration::from_secs_f64(delay - base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(100);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Packets 10 ms apart, of which each takes 40 ms and what is said.
    fn add(delay: &mut QueueingDelay, start: Instant, from: u64, queued: impl IntoIterator<Item = u64>) {
        for (n, queued) in (from..).zip(queued) {
            delay.add(start + ms(10 * n), ms(7000 + 10 * n + 40 + queued), WINDOW);
        }
    }

    #[test]
    fn bursts_and_jitter_are_no_standing_queue() {
        let (mut delay, start) = (QueueingDelay::default(), Instant::now());
        add(&mut delay, start, 0, [0, 30, 60, 20, 0, 50, 40, 30, 20, 10]);
        assert_eq!(delay.standing(), Some(Duration::ZERO));
        add(&mut delay, start, 10, [60; 10]);
        let standing = delay.standing().unwrap().as_secs_f64();
        assert!((standing - 0.060).abs() < 1e-6, "{standing}");
    }

    #[test]
    fn another_clock_and_a_longer_path_are_taken_for_what_they_are() {
        let (mut delay, start) = (QueueingDelay::default(), Instant::now());
        add(&mut delay, start, 0, [0; 20]);
        let waited = delay.add(start + ms(300), ms(90_000), WINDOW);
        assert_eq!((waited, delay.standing()), (Duration::ZERO, None), "the other side counts anew");
        let mut delay = QueueingDelay::default();
        add(&mut delay, start, 0, [0; 100]);
        add(&mut delay, start, 100, [50; 2200]);
        assert_eq!(delay.standing(), Some(Duration::ZERO), "after twenty seconds this is the path");
    }
}

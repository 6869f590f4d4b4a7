//! [`StreamGate`]: how much of a stream may be under way. Pure.
//!
//! What the system has of a stream goes in its order: sound waits behind pictures there, for as long as they take. On a
//! narrow path that is longer than the other side's jitter buffer holds back, whatever [`super::stream_queue`] puts first.
//! So pictures go into the stream only while what is under way takes little more time than the path itself; sound, and all
//! that is small, always.
//!
//! - in: what the other end of the stream has acknowledged so far, and what it has not, each time before a picture
//! - out: whether a picture may go
//!
//! The queue that is left on the path is a little longer than what counts as congestion
//! ([`crate::congestion::queue_limit`]): congestion control, which sees how late packets arrive, has to see it, and send
//! less.

use std::time::{Duration, Instant};

/// What may stand on the path: so much time, and that of one packet, as in `queue_limit` with a margin.
const STANDING: Duration = Duration::from_millis(40);
const PACKET_BYTES: f64 = 1200.0;
const PACKET_TIME_MAX: f64 = 0.05;

/// The path's own round trip is left so much room, so that the rate can rise from what was measured.
const GROWTH: f64 = 1.5;

/// So much may be under way before a rate is known: the initial window of TCP (RFC 6928 §2).
const UNKNOWN_BYTES: u32 = 14_600;

/// A rate is measured over this time without a pause: acknowledgements come in clusters. What was under way for a shorter
/// time, and is acknowledged as a whole, may tell of a higher one.
const MEASURED_FOR: Duration = Duration::from_millis(100);
const WHOLE_FOR: Duration = Duration::from_millis(20);

/// What the system says of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes that the other end has acknowledged since the stream began.
    pub(crate) acknowledged: u64,
    /// Bytes that it has not, sent or not.
    pub(crate) under_way: u32,
    /// The least round trip to the other end.
    pub(crate) round_trip: Duration,
}

/// See the module. Reads no clock.
#[derive(Debug, Default)]
pub(crate) struct StreamGate {
    /// When something began to be under way without a pause, or the last measurement, and what was acknowledged by then.
    busy: Option<(Instant, u64)>,
    /// What the path takes, bytes a second.
    rate: Option<f64>,
}

impl StreamGate {
    /// Whether a picture may go now.
    pub(crate) fn is_open(&mut self, now: Instant, progress: Progress) -> bool {
        self.measure(now, progress);
        let Some(rate) = self.rate else { return progress.under_way <= UNKNOWN_BYTES };
        let path = progress.round_trip.as_secs_f64() * GROWTH;
        let standing = STANDING.as_secs_f64() + (PACKET_BYTES / rate).min(PACKET_TIME_MAX);
        f64::from(progress.under_way) <= rate * (path + standing)
    }

    fn measure(&mut self, now: Instant, progress: Progress) {
        let Some((since, acknowledged)) = self.busy else {
            self.busy = (progress.under_way > 0).then_some((now, progress.acknowledged));
            return;
        };
        let passed = now.saturating_duration_since(since);
        let is_idle = progress.under_way == 0;
        if passed >= if is_idle { WHOLE_FOR } else { MEASURED_FOR } {
            let rate = progress.acknowledged.saturating_sub(acknowledged) as f64 / passed.as_secs_f64();
            // What ended early was not limited by the path.
            let is_news = if is_idle { self.rate.is_some_and(|known| rate > known) } else { rate > 0.0 };
            if is_news {
                self.rate = Some(rate);
                self.busy = Some((now, progress.acknowledged));
            }
        }
        if is_idle {
            self.busy = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A path that takes so many bytes a millisecond, and a round trip of so many.
    struct Path {
        per_ms: u32,
        trip_ms: u64,
        under_way: u32,
        acknowledged: u64,
        /// What was taken from the queue, and when it is acknowledged.
        flying: std::collections::VecDeque<(u64, u32)>,
    }

    impl Path {
        const fn new(per_ms: u32, trip_ms: u64) -> Self {
            let flying = std::collections::VecDeque::new();
            Self { per_ms, trip_ms, under_way: 0, acknowledged: 0, flying }
        }

        fn queued(&self) -> u32 {
            self.under_way - self.flying.iter().map(|(_, bytes)| bytes).sum::<u32>()
        }

        fn pass(&mut self, ms: u64) {
            let taken = self.queued().min(self.per_ms);
            self.flying.push_back((ms + self.trip_ms, taken));
            while self.flying.front().is_some_and(|(due, _)| *due <= ms) {
                let (_, bytes) = self.flying.pop_front().unwrap();
                self.under_way -= bytes;
                self.acknowledged += u64::from(bytes);
            }
        }

        fn progress(&self) -> Progress {
            let round_trip = MS * u32::try_from(self.trip_ms).unwrap();
            Progress { acknowledged: self.acknowledged, under_way: self.under_way, round_trip }
        }
    }

    /// Pictures as fast as the gate lets them, over a path: the most that stood in its queue after half a second, in ms,
    /// and how many bytes were acknowledged.
    fn pictures(path: &mut Path, gate: &mut StreamGate, start: Instant, from: u64, to: u64) -> (u32, u64) {
        let (mut longest, before) = (0, path.acknowledged);
        for ms in from..to {
            path.pass(ms);
            // Several may be ready at once.
            for _ in 0..4 {
                if gate.is_open(start + MS * u32::try_from(ms).unwrap(), path.progress()) {
                    path.under_way += 600;
                }
            }
            if ms > from + 500 {
                longest = longest.max(path.queued() / path.per_ms);
            }
        }
        (longest, path.acknowledged - before)
    }

    #[test]
    fn a_narrow_path_is_filled_and_its_queue_stays_short() {
        // 200 kbit/s. The first pictures go before anything is known, and take a while.
        for trip_ms in [1, 40, 150] {
            let (mut path, mut gate, start) = (Path::new(25, trip_ms), StreamGate::default(), Instant::now());
            pictures(&mut path, &mut gate, start, 0, 12_000);
            let (longest, arrived) = pictures(&mut path, &mut gate, start, 12_000, 20_000);
            let most = 100 + trip_ms / 2 + 24 + 10;
            assert!(u64::from(longest) <= most, "{longest} ms at a round trip of {trip_ms} ms");
            assert!(arrived >= 8000 * 25 * 95 / 100, "{arrived} bytes at a round trip of {trip_ms} ms");
        }
    }

    #[test]
    fn a_path_that_becomes_wider_is_found_to_be_so() {
        let (mut path, mut gate, start) = (Path::new(25, 40), StreamGate::default(), Instant::now());
        pictures(&mut path, &mut gate, start, 0, 12_000);
        path.per_ms = 250;
        let (_, arrived) = pictures(&mut path, &mut gate, start, 12_000, 14_000);
        assert!(arrived >= 2000 * 250 * 8 / 10, "{arrived} bytes in two seconds");
        path.per_ms = 25;
        pictures(&mut path, &mut gate, start, 14_000, 16_000);
        let (longest, _) = pictures(&mut path, &mut gate, start, 16_000, 18_000);
        assert!(longest <= 160, "{longest} ms");
    }

    #[test]
    fn what_does_not_fill_the_path_is_not_held() {
        let (mut path, mut gate, start) = (Path::new(250, 100), StreamGate::default(), Instant::now());
        for ms in 0..10_000_u64 {
            path.pass(ms);
            if ms % 33 == 0 {
                assert!(gate.is_open(start + MS * u32::try_from(ms).unwrap(), path.progress()), "{ms}");
                path.under_way += 1200;
            }
        }
    }
}

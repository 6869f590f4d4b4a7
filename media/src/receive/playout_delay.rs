//! [`PlayoutDelay`]: how long whole pictures are held back, so that they come evenly although repairs take their time.
//!
//! - each picture's time stamp and when it could be shown → how late it was, against the fastest of the last seconds
//! - how late pictures were that waited for a repair → the delay: nearly all of them are there by then, but for what is
//!   not noticed ([`UNNOTICED`])
//! - the delay → when the next picture is due
//!
//! On a path that loses nothing there is no delay, unless sound has to be waited for: pictures are due at once, whatever the
//! jitter. Grows by as much as a
//! picture was late, else little by little, and shrinks within seconds once nothing is repaired. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::repair::{REORDERED, Repair, WAIT_MAX};
use crate::rtp::{TimestampUnwrapper, VIDEO_CLOCK_HZ};

/// What a picture may be late without a person or a test seeing it (webrtc-stats counts freezes from 150 ms on).
const UNNOTICED: Duration = Duration::from_millis(60);

/// The share of late pictures that is made up for, in hundredths.
const COVERED: usize = 98;

/// So long a picture's lateness counts.
const LOOKED_BACK: Duration = Duration::from_secs(4);

/// Pictures kept at most: a second of a fast camera.
const PICTURES_MAX: usize = 512;

/// In the first seconds nothing is known of the loss. One repair is allowed for where it takes this long: no path of that
/// length is free of loss for sure, and the first loss would stop the picture for a whole round trip.
const FIRST_TRIP_MIN: Duration = Duration::from_millis(100);

/// How long these first seconds are.
const FIRST: Duration = Duration::from_secs(5);

/// The delay grows by this share of the time between pictures, which then play at two thirds of their speed.
const GROWTH: f64 = 0.5;

/// And shrinks by this one.
const SHRINKAGE: f64 = 0.15;

/// The fastest way of this span of time and the one before is what lateness is measured against: clocks run apart, and
/// paths change.
const FASTEST_OVER: Duration = Duration::from_secs(5);

/// A picture that is later is none of the stream before: its clock was set anew.
const LATE_MAX: Duration = Duration::from_secs(10);

/// A picture that could be shown now, as everything before it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// RTP time stamp.
    pub(crate) timestamp: u32,
    /// Since when it could be shown.
    pub(crate) at: Instant,
    /// It, or one before it, waited for a repair.
    pub(crate) was_repaired: bool,
}

/// See the module. Reads no clock.
#[derive(Debug, Default)]
pub(crate) struct PlayoutDelay {
    stamps: TimestampUnwrapper,
    stream: Option<Stream>,
    /// How late pictures were that were repaired, else zero; and when that was.
    late: VecDeque<(Instant, Duration)>,
    delay: Duration,
    /// They are held back for so long at least, whatever is repaired.
    least: Duration,
}

/// What is known of a stream since its first picture.
#[derive(Debug)]
struct Stream {
    began: Instant,
    /// Where media time 0 would have arrived, by the fastest picture: of this span of time and of the one before,
    /// seconds after `began`.
    fastest_s: [f64; 2],
    fastest_since: Instant,
    /// The picture that is looked at: its media time in seconds, and how late it was.
    media_s: f64,
    late: Duration,
    /// The media time of the picture that was shown last, and how many were.
    shown_s: Option<f64>,
    shown: u64,
}

impl PlayoutDelay {
    /// The next picture is whole; when it is due. To be called once a picture, in decoding order.
    pub(crate) fn ready(&mut self, picture: Ready, repair: &Repair) -> Instant {
        let media_s = self.stamps.unwrap(picture.timestamp) as f64 / f64::from(VIDEO_CLOCK_HZ);
        let stream = self.stream.get_or_insert_with(|| Stream::new(picture.at, media_s));
        let Some(late) = stream.late(picture.at, media_s) else {
            self.begin_anew();
            return self.ready(picture, repair);
        };
        (stream.media_s, stream.late) = (media_s, late);
        let counted = if picture.was_repaired { late } else { Duration::ZERO };
        self.late.push_back((picture.at, counted));
        while self.late.len() > PICTURES_MAX
            || self.late.front().is_some_and(|(at, _)| picture.at.saturating_duration_since(*at) > LOOKED_BACK)
        {
            self.late.pop_front();
        }
        self.move_towards(self.target(picture.at, repair));
        picture.at + self.delay.saturating_sub(late)
    }

    /// The picture that was ready is shown.
    pub(crate) fn shown(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.shown_s = Some(stream.media_s);
            stream.shown += 1;
        }
    }

    /// Forgets the stream: it begins anew.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self { least: self.least, ..Self::default() };
    }

    /// Holds pictures back for so long at least: sound needs as long.
    pub(crate) const fn hold_at_least(&mut self, least: Duration) {
        self.least = least;
    }

    /// How long pictures are held back now.
    pub(crate) const fn delay(&self) -> Duration {
        self.delay
    }

    fn target(&self, now: Instant, repair: &Repair) -> Duration {
        let mut late: Vec<Duration> = self.late.iter().map(|(_, late)| *late).collect();
        late.sort_unstable();
        let covered = late.get((late.len() * COVERED / 100).min(late.len().saturating_sub(1))).copied();
        let seen = covered.unwrap_or_default();
        let is_first = self.stream.as_ref().is_some_and(|stream| now.saturating_duration_since(stream.began) < FIRST);
        let trip = repair.round_trip().smoothed().filter(|trip| is_first && *trip >= FIRST_TRIP_MIN);
        let first = trip.map_or(Duration::ZERO, |trip| REORDERED + trip);
        seen.max(first).saturating_sub(UNNOTICED).min(WAIT_MAX).max(self.least)
    }

    fn move_towards(&mut self, target: Duration) {
        let Some(stream) = &self.stream else { return };
        let Some(shown_s) = stream.shown_s else {
            // The first picture is shown at once, whatever comes after it.
            return;
        };
        let passed = Duration::try_from_secs_f64(stream.media_s - shown_s).unwrap_or_default();
        if target > self.delay {
            // Nothing is lost by a delay that a late picture has already.
            let late = stream.late.saturating_sub(self.delay);
            let grown = self.delay + late.max(passed.mul_f64(GROWTH));
            // After the very first picture nobody waits for a movement to go on.
            self.delay = if stream.shown == 1 { target } else { grown.min(target) };
        } else {
            self.delay = self.delay.saturating_sub(passed.mul_f64(SHRINKAGE)).max(target);
        }
    }
}

impl Stream {
    const fn new(began: Instant, media_s: f64) -> Self {
        let fastest_s = [f64::INFINITY; 2];
        Self { began, fastest_s, fastest_since: began, media_s, late: Duration::ZERO, shown_s: None, shown: 0 }
    }

    /// How much later than the fastest a picture could be shown; `None` when it is of another stream.
    fn late(&mut self, at: Instant, media_s: f64) -> Option<Duration> {
        let way_s = at.saturating_duration_since(self.began).as_secs_f64() - media_s;
        if at.saturating_duration_since(self.fastest_since) >= FASTEST_OVER {
            self.fastest_s = [way_s, self.fastest_s[0]];
            self.fastest_since = at;
        }
        self.fastest_s[0] = self.fastest_s[0].min(way_s);
        let late_s = way_s - self.fastest_s[0].min(self.fastest_s[1]);
        Duration::try_from_secs_f64(late_s).ok().filter(|late| *late <= LATE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::round_trip::RoundTrip;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn repair(round_trip_ms: u64) -> Repair {
        let (mut trip, now) = (RoundTrip::default(), Instant::now());
        (0..50).for_each(|_| trip.measured(ms(round_trip_ms), now));
        Repair::new(trip, 0.0)
    }

    /// Shows pictures 33 ms apart; of each is said how late it is, and whether by a repair. When they are shown after
    /// they were ready, in milliseconds.
    fn held(playout: &mut PlayoutDelay, start: Instant, late: &[(u64, bool)], repair: &Repair) -> Vec<u128> {
        let mut before = start;
        let show = |(n, (late_ms, was_repaired)): (u64, &(u64, bool))| {
            let at = before.max(start + ms(n * 33 + late_ms));
            before = at;
            let picture = Ready { timestamp: (n * 33 * 90) as u32, at, was_repaired: *was_repaired };
            let due = playout.ready(picture, repair);
            playout.shown();
            (due - at).as_millis()
        };
        (0..).zip(late).map(show).collect()
    }

    #[test]
    fn nothing_is_held_back_without_repairs() {
        let late: Vec<_> = (0..300).map(|n| (n * 37 % 90, false)).collect();
        let held = held(&mut PlayoutDelay::default(), Instant::now(), &late, &repair(20));
        assert!(held.iter().all(|ms| *ms == 0), "{held:?}");
    }

    #[test]
    fn pictures_come_evenly_once_repairs_take_long_and_at_once_after_a_clean_while() {
        let mut playout = PlayoutDelay::default();
        let (start, repair) = (Instant::now(), repair(50));
        let lossy = |n: u64| if n > 5 && n < 300 && n % 10 < 3 { (200, true) } else { (0, false) };
        let late: Vec<_> = (0..600).map(lossy).collect();
        let held = held(&mut playout, start, &late, &repair);
        assert!(held[..6].iter().all(|ms| *ms == 0), "{held:?}");
        assert!(held[20..300].iter().any(|ms| *ms >= 135), "but for what is not noticed: {held:?}");
        let clean_again = held[300..].iter().position(|ms| *ms == 0).unwrap();
        assert!((100..210).contains(&clean_again), "after {clean_again} pictures");
        assert!(held[300 + clean_again..].iter().all(|ms| *ms == 0), "{held:?}");
        assert!(held.windows(2).all(|two| two[0] <= two[1] + 200), "{held:?}");
    }

    #[test]
    fn a_long_path_gets_room_for_one_repair_at_first() {
        let (mut playout, start) = (PlayoutDelay::default(), Instant::now());
        let held = held(&mut playout, start, &[(0, false); 300], &repair(300));
        assert_eq!(held[..3], [0, 250, 250], "the first picture is shown at once: {held:?}");
        assert_eq!(held[260..], [0; 40], "and nothing is lost: {held:?}");
    }

    #[test]
    fn a_sender_with_another_clock_is_followed() {
        let (mut playout, repair) = (PlayoutDelay::default(), repair(300));
        let start = Instant::now();
        for (n, timestamp) in [0, 3000, 6000, 4_000_000_000, 4_000_003_000, 100, 3100, 2_000_000_000].iter().enumerate()
        {
            let at = start + ms(33) * n as u32;
            let due = playout.ready(Ready { timestamp: *timestamp, at, was_repaired: true }, &repair);
            assert!(due - at <= WAIT_MAX, "{timestamp}: {:?}", due - at);
            playout.shown();
        }
        assert!(playout.delay() <= WAIT_MAX);
    }
}

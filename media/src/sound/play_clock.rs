//! How far a device has played, between two times that it told. Pure.

use std::time::{Duration, Instant};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct PlayClock {
    rate: u32,
    told: Option<Told>,
}

/// What the device told last.
#[derive(Clone, Copy, Debug)]
struct Told {
    at: Instant,
    /// Samples that had been heard by then.
    played: i64,
    /// Samples that it will have played when it is given no more; `None` while it goes on.
    end: Option<i64>,
}

impl PlayClock {
    /// For a stream with so many samples a second, of which nothing is known yet.
    pub(crate) const fn new(rate: u32) -> Self {
        Self { rate, told: None }
    }

    /// At `at` so many samples of the stream had been taken, `waiting` of them were still to be heard, and the device went
    /// on, or had no more.
    pub(crate) const fn tell(&mut self, at: Instant, taken: i64, waiting: i64, runs: bool) {
        let end = if runs { None } else { Some(taken) };
        self.told = Some(Told { at, played: taken - waiting, end });
    }

    /// Samples that the device told to have played, the last time that it told.
    pub(crate) fn told(&self) -> i64 {
        self.told.map_or(0, |told| told.played)
    }

    /// How long the device still plays at `now`, of a stream that `pushed` samples were put into so far.
    pub(crate) fn waiting(&self, pushed: u64, now: Instant) -> Duration {
        let waiting = i64::try_from(pushed).unwrap_or(i64::MAX).saturating_sub(self.played(now)).max(0);
        Duration::from_micros(waiting.cast_unsigned().saturating_mul(1_000_000) / u64::from(self.rate.max(1)))
    }

    /// More is put into a stream of `pushed` samples. Where all of them were played it goes on from here.
    pub(crate) fn push(&mut self, pushed: u64, now: Instant) {
        let pushed = i64::try_from(pushed).unwrap_or(i64::MAX);
        if let Some(told) = self.told
            && told.end.is_none()
            && self.played(now) > pushed
        {
            self.tell(now, pushed, 0, true);
        }
    }

    fn played(&self, now: Instant) -> i64 {
        let Some(Told { at, played, end }) = self.told else { return 0 };
        let since = now.saturating_duration_since(at);
        let played = played + (since.as_secs_f64() * f64::from(self.rate)) as i64;
        end.map_or(played, |end| played.min(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn all_that_was_put_in_waits_until_the_device_tells() {
        let clock = PlayClock::new(48_000);
        let now = Instant::now();
        assert_eq!(clock.waiting(480, now), 10 * MS);
        assert_eq!(clock.waiting(480, now + 50 * MS), 10 * MS);
    }

    #[test]
    fn it_runs_on_between_two_times_and_stands_when_the_device_does() {
        let (mut clock, now) = (PlayClock::new(48_000), Instant::now());
        clock.tell(now, 4_800, 0, true);
        assert_eq!(clock.waiting(9_600, now + 40 * MS), 60 * MS);
        assert_eq!(clock.waiting(9_600, now + 400 * MS), Duration::ZERO);
        clock.tell(now, 4_800, 0, false);
        assert_eq!(clock.waiting(9_600, now + 400 * MS), 100 * MS);
        assert_eq!(clock.told(), 4_800);
    }

    #[test]
    fn what_comes_after_the_end_is_played_from_then_on() {
        let (mut clock, now) = (PlayClock::new(48_000), Instant::now());
        clock.tell(now, 0, 0, true);
        let late = now + 100 * MS;
        clock.push(480, late);
        assert_eq!(clock.waiting(960, late), 10 * MS);
        // Sound that is in time changes nothing.
        clock.push(960, late + 5 * MS);
        assert_eq!(clock.waiting(960, late + 5 * MS), 5 * MS);
    }

    #[test]
    fn sound_that_the_device_has_not_heard_yet_counts_too() {
        let (mut clock, now) = (PlayClock::new(48_000), Instant::now());
        clock.tell(now, 0, 480, true);
        assert_eq!(clock.waiting(480, now), 20 * MS);
    }

    #[test]
    fn the_last_sound_is_heard_after_the_device_has_no_more() {
        let (mut clock, now) = (PlayClock::new(48_000), Instant::now());
        clock.tell(now, 9_600, 480, false);
        assert_eq!(clock.waiting(9_600, now), 10 * MS);
        assert_eq!(clock.waiting(9_600, now + 10 * MS), Duration::ZERO);
        // What is given later waits until the device goes on.
        assert_eq!(clock.waiting(10_080, now + 100 * MS), 10 * MS);
    }
}

//! When each picture of a file is shown: times that rise at a sane rate, whatever the file says. Pure: reads no clock.
//!
//! - time in the file → [`Schedule::next`] → time since the beginning, or nothing for a picture that is left out
//! - length of the file → [`Schedule::end`] → the file begins again there

use std::time::Duration;

/// Least distance of two pictures. 60 pictures a second, the most that `--fps` takes, are 16 or 17 ms apart in a WebM.
const GAP_MIN: Duration = Duration::from_millis(15);

/// A picture stays no longer than this before the next one: a damaged time must not stop the file for hours.
const STAY_MAX: Duration = Duration::from_secs(60);

/// So many pictures in a row whose time does not rise are left out. Then the file has no times that could be followed
/// (all are equal, or they began anew), and pictures come at the usual distance.
const STUCK_MAX: u32 = 2;

/// The same for pictures whose time rises by less than [`GAP_MIN`]: more than 2000 a second are not believed.
const CROWDED_MAX: u32 = 30;

/// Places the pictures of a file that is repeated at its end.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Distance of two pictures where the file gives none.
    usual: Duration,
    /// When the file began, this time.
    pass: Duration,
    last: Option<Shown>,
    /// Pictures left out since the last one that was shown at its own time.
    left_out: u32,
}

/// The last picture that was not left out.
#[derive(Clone, Copy, Debug)]
struct Shown {
    /// Its time in the file.
    due: Duration,
    /// Its time since the beginning.
    at: Duration,
}

impl Schedule {
    /// `fps` is the rate for files without times; 0 counts as 1.
    pub(super) fn new(fps: u32) -> Self {
        Self { usual: Duration::from_secs(1) / fps.max(1), pass: Duration::ZERO, last: None, left_out: 0 }
    }

    /// When the picture with the time `due` in the file is shown; `None`: it is left out.
    pub(super) fn next(&mut self, due: Duration) -> Option<Duration> {
        let at = match self.last {
            None => self.pass.saturating_add(due.min(STAY_MAX)),
            Some(last) => {
                let step = due.saturating_sub(last.due);
                if step >= GAP_MIN {
                    self.left_out = 0;
                    last.at.saturating_add(step.min(STAY_MAX))
                } else {
                    self.left_out = self.left_out.saturating_add(1);
                    if self.left_out <= if step.is_zero() { STUCK_MAX } else { CROWDED_MAX } {
                        return None;
                    }
                    last.at.saturating_add(self.usual)
                }
            }
        };
        self.last = Some(Shown { due, at });
        Some(at)
    }

    /// The file ended after `length`, or nobody knows when (`None`); it begins again.
    pub(super) fn end(&mut self, length: Option<Duration>) {
        let Some(last) = self.last.take() else { return };
        let stay = match length.and_then(|length| length.checked_sub(last.due)) {
            Some(stay) if !stay.is_zero() => stay.clamp(GAP_MIN, STAY_MAX),
            _ => self.usual,
        };
        self.pass = last.at.saturating_add(stay);
        self.left_out = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Where pictures of these times are shown, in milliseconds; asked for are 25 pictures a second.
    fn shown(schedule: &mut Schedule, due: &[u64]) -> Vec<u128> {
        due.iter().filter_map(|due| schedule.next(ms(*due))).map(|at| at.as_millis()).collect()
    }

    #[test]
    fn times_that_rise_are_kept_and_the_end_joins_the_beginning() {
        let mut schedule = Schedule::new(25);
        assert_eq!(shown(&mut schedule, &[0, 33, 67, 300, 301, 340]), [0, 33, 67, 300, 340]);
        schedule.end(Some(ms(380)));
        assert_eq!(shown(&mut schedule, &[0, 33]), [380, 413]);
        schedule.end(None);
        assert_eq!(shown(&mut schedule, &[0]), [453]);
    }

    #[test]
    fn one_picture_without_a_length_comes_at_the_rate_that_was_asked_for() {
        let mut schedule = Schedule::new(25);
        let times: Vec<_> = (0..4)
            .flat_map(|_| {
                let times = shown(&mut schedule, &[0]);
                schedule.end(Some(ms(0)));
                times
            })
            .collect();
        assert_eq!(times, [0, 40, 80, 120]);
    }

    #[test]
    fn more_than_sixty_a_second_are_thinned_out() {
        let mut schedule = Schedule::new(25);
        let due: Vec<u64> = (0..=100).collect();
        assert_eq!(shown(&mut schedule, &due), [0, 15, 30, 45, 60, 75, 90]);
        let mut schedule = Schedule::new(25);
        // 60 a second, in whole milliseconds.
        assert_eq!(shown(&mut schedule, &[0, 17, 33, 50, 67, 83, 100]), [0, 17, 33, 50, 67, 83, 100]);
    }

    #[test]
    fn times_that_do_not_rise_are_left_out_and_times_that_stand_still_are_replaced() {
        let mut schedule = Schedule::new(25);
        assert_eq!(shown(&mut schedule, &[0, 40, 40, 20, 80, 120]), [0, 40, 80, 120]);
        let mut schedule = Schedule::new(25);
        assert_eq!(shown(&mut schedule, &[7, 7, 7, 7, 7, 7]), [7, 47, 87, 127]);
        // Two files, one behind the other.
        let mut schedule = Schedule::new(25);
        assert_eq!(shown(&mut schedule, &[0, 50, 100, 0, 50, 100, 150, 200]), [0, 50, 100, 140, 190, 240]);
    }

    #[test]
    fn a_file_whose_pictures_are_nanoseconds_apart_is_not_read_at_once() {
        let mut schedule = Schedule::new(25);
        let shown = (0..1000).filter_map(|n| schedule.next(Duration::from_nanos(n))).count();
        assert!(shown > 900, "{shown}");
    }

    #[test]
    fn absurd_times_do_not_stop_the_file() {
        let mut schedule = Schedule::new(25);
        let times = [Duration::ZERO, Duration::MAX / 2, Duration::MAX].map(|due| schedule.next(due).unwrap());
        assert_eq!(times, [ms(0), STAY_MAX, STAY_MAX * 2]);
        schedule.end(Some(Duration::MAX));
        assert_eq!(schedule.next(Duration::ZERO), Some(STAY_MAX * 2 + ms(40)));
        let mut schedule = Schedule::new(25);
        schedule.next(ms(0));
        schedule.end(Some(Duration::MAX));
        assert_eq!(schedule.next(Duration::MAX), Some(STAY_MAX * 2));
        assert_eq!(Schedule::new(0).usual, ms(1000));
    }
}

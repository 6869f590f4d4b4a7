//! [`Pace`]: how far pictures are apart, as encoders have to know it. Rate control divides the bitrate among pictures: one
//! that believes in 30 pictures a second spends half of it on a camera that gives 15.
//!
//! Pure: it takes the capture times of pictures and reads no clock.

use std::time::{Duration, Instant};

/// Weight of the latest distance: a camera that slows down in the dark is followed within some pictures, and one late
/// picture unsettles nothing.
const WEIGHT: f64 = 0.25;

/// Distances outside of this are none of a camera.
const SHORTEST: Duration = Duration::from_millis(8);
const LONGEST: Duration = Duration::from_secs(1);

/// The smoothed distance between pictures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Seconds.
    distance: f64,
    last: Option<Instant>,
}

impl Pace {
    /// Of pictures that are said to come `fps` times a second.
    pub(super) fn new(fps: u32) -> Self {
        Self { distance: 1.0 / f64::from(fps.clamp(1, 120)), last: None }
    }

    /// A picture was captured at `at`; the distance to the one before it, smoothed.
    pub(super) fn captured(&mut self, at: Instant) -> Duration {
        if let Some(last) = self.last.replace(at) {
            let distance = at.saturating_duration_since(last);
            // What is further apart was interrupted; what is closer was captured late.
            if distance <= LONGEST {
                self.distance += (distance.max(SHORTEST).as_secs_f64() - self.distance) * WEIGHT;
            }
        }
        Duration::from_secs_f64(self.distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distances(pace: &mut Pace, from: &mut Instant, apart_ms: u64, pictures: u32) -> f64 {
        let mut distance = Duration::ZERO;
        for _ in 0..pictures {
            *from += Duration::from_millis(apart_ms);
            distance = pace.captured(*from);
        }
        distance.as_secs_f64() * 1000.0
    }

    #[test]
    fn a_camera_that_slows_down_is_followed_and_a_pause_is_not() {
        let (mut pace, mut at) = (Pace::new(30), Instant::now());
        assert!((distances(&mut pace, &mut at, 33, 30) - 33.0).abs() < 0.5);
        assert!((distances(&mut pace, &mut at, 66, 15) - 66.0).abs() < 2.0);
        assert!((distances(&mut pace, &mut at, 5_000, 1) - 66.0).abs() < 2.0);
        assert!((distances(&mut pace, &mut at, 0, 50) - 8.0).abs() < 0.5, "a burst is no camera of any rate");
    }
}

//! [`LipSync`]: lets the faster of pictures and sound wait for the slower, so that lips move with the voice.
//!
//! - in: how long each was on its way when it was shown or played: our clock less that of the other side at its capture,
//!   which sender reports tell (RFC 3550 §6.4.1). How far the two clocks are apart drops out of the difference
//! - the medians of half a second → sound is late, or early, by so much
//! - out: for how long each has to be held back at least
//!
//! Sound that is a little late is left so: nobody sees it (ITU-R BT.1359 §2: from 125 ms late, or 45 ms early, on), and
//! pictures are not made to wait for it. Pictures wait as long as they must, sound only for a while: talk suffers from
//! delay before it suffers from lips. Pure: reads no clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Sound may be so late, and so early, before anything is done. Milliseconds.
const LATE_MAX_MS: f64 = 40.0;
const EARLY_MAX_MS: f64 = 30.0;

/// Where a correction leads to.
const LATE_AIM_MS: f64 = 39.0;
const EARLY_AIM_MS: f64 = 15.0;

/// What is held back for nothing is let go: pictures where sound is less late than this, sound where it is later.
const LATE_ENOUGH_MS: f64 = 36.0;
const EARLY_ENOUGH_MS: f64 = 5.0;

/// At the start of a call sound finds out how much it has to wait for; until then nothing is corrected.
const SETTLES: Duration = Duration::from_secs(1);

/// Between two corrections: the first has to show before the second is made.
const LOOK: Duration = Duration::from_millis(500);

/// Fewer pictures a look (8 a second) are no lips that move.
const SEEN_MIN: usize = 4;

/// Values kept of a look at most.
const SEEN_MAX: usize = 64;

/// Most that pictures wait for sound.
const PICTURES_HELD_MAX: Duration = Duration::from_millis(400);

/// Most that sound waits for pictures.
const SOUND_HELD_MAX: Duration = Duration::from_millis(120);

/// A longer way is no way: a clock was set, or stream and report do not belong together.
const APART_MAX_MS: f64 = 10_000.0;

/// What is shown, or played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    Pictures,
    Sound,
}

/// See the module. Cheap to clone, callable from any thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedLipSync(Arc<Mutex<LipSync>>);

impl SharedLipSync {
    /// See [`LipSync::presented`].
    pub(crate) fn presented(&self, medium: Medium, way_ms: f64, held: Duration, now: Instant) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).presented(medium, way_ms, held, now)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LipSync {
    pictures: Stream,
    sound: Stream,
    /// When the first look begins.
    begins: Option<Instant>,
    looked: Option<Instant>,
}

#[derive(Debug, Default)]
struct Stream {
    ways_ms: Vec<f64>,
    /// How long it is held back now, for whatever reason.
    held: Duration,
    /// How long it has to be held back at least.
    least: Duration,
}

impl LipSync {
    /// Something was shown or played `way_ms` after its capture, the difference of the clocks included, while its medium was
    /// held back for `held`. For how long that medium has to be held back at least from now on.
    pub(crate) fn presented(&mut self, medium: Medium, way_ms: f64, held: Duration, now: Instant) -> Duration {
        let begins = *self.begins.get_or_insert(now + SETTLES);
        let stream = match medium {
            Medium::Pictures => &mut self.pictures,
            Medium::Sound => &mut self.sound,
        };
        if now < begins {
            return stream.least;
        }
        if stream.ways_ms.len() < SEEN_MAX {
            stream.ways_ms.push(way_ms);
        }
        stream.held = held;
        let looked = *self.looked.get_or_insert(now);
        if now.saturating_duration_since(looked) >= LOOK {
            self.looked = Some(now);
            self.look();
        }
        match medium {
            Medium::Pictures => self.pictures.least,
            Medium::Sound => self.sound.least,
        }
    }

    fn look(&mut self) {
        let ways_ms = self.pictures.take_median().zip(self.sound.take_median());
        let Some(late_ms) = ways_ms.map(|(pictures, sound)| sound - pictures).filter(|ms| ms.abs() < APART_MAX_MS)
        else {
            // There is nothing to wait for.
            self.sound.lower(SOUND_HELD_MAX);
            return;
        };
        if late_ms > LATE_MAX_MS {
            let by = ms(late_ms - LATE_AIM_MS);
            let left = self.sound.lower(by);
            self.pictures.raise(left, PICTURES_HELD_MAX);
        } else if late_ms < -EARLY_MAX_MS {
            let by = ms(-late_ms - EARLY_AIM_MS);
            let left = self.pictures.lower(by);
            self.sound.raise(left, SOUND_HELD_MAX);
        } else {
            if late_ms < LATE_ENOUGH_MS {
                self.pictures.lower(ms(LATE_AIM_MS - late_ms));
            }
            if late_ms > -EARLY_ENOUGH_MS {
                self.sound.lower(ms(late_ms + EARLY_AIM_MS));
            }
        }
    }
}

impl Stream {
    /// The median of the look that ends; `None` when there was too little to see or hear.
    fn take_median(&mut self) -> Option<f64> {
        let mut ways_ms = std::mem::take(&mut self.ways_ms);
        ways_ms.sort_by(f64::total_cmp);
        (ways_ms.len() >= SEEN_MIN).then(|| ways_ms[ways_ms.len() / 2])
    }

    /// Holds back for so much less; what it was not held back for.
    fn lower(&mut self, by: Duration) -> Duration {
        let lowered = self.least.min(by);
        self.least -= lowered;
        by - lowered
    }

    /// Holds back for so much longer than now.
    fn raise(&mut self, by: Duration, most: Duration) {
        if !by.is_zero() {
            self.least = (self.held.max(self.least) + by).min(most.max(self.least));
        }
    }
}

fn ms(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call: each medium takes its way and is held back by what it needs itself, or by what lips need.
    struct Call {
        sync: LipSync,
        now: Instant,
        held: [Duration; 2],
    }

    /// One medium: how long it is on its way, what it is held back for anyway, and how many are presented a second.
    #[derive(Clone, Copy)]
    struct Way {
        ms: f64,
        own_ms: u64,
        each: u32,
    }

    const SOUND: Way = Way { ms: 30.0, own_ms: 20, each: 10 };
    const PICTURES: Way = Way { ms: 10.0, own_ms: 0, each: 30 };

    impl Call {
        fn new() -> Self {
            Self { sync: LipSync::default(), now: Instant::now(), held: [Duration::ZERO; 2] }
        }

        /// So many seconds; how late sound is in the end, and for how long the two are held back.
        fn run(&mut self, seconds: u32, pictures: Way, sound: Way) -> (f64, u128, u128) {
            let (mut late, start) = ([0.0; 2], self.now);
            for n in 1..=seconds * 100 {
                self.now = start + Duration::from_millis(10) * n;
                for (index, (medium, way)) in
                    [(Medium::Pictures, pictures), (Medium::Sound, sound)].into_iter().enumerate()
                {
                    if way.each > 0 && n % (100 / way.each) == 0 {
                        let held = self.held[index].max(Duration::from_millis(way.own_ms));
                        late[index] = way.ms + held.as_secs_f64() * 1000.0;
                        self.held[index] = self.sync.presented(medium, late[index], held, self.now);
                    }
                }
            }
            (late[1] - late[0], self.held[0].as_millis(), self.held[1].as_millis())
        }
    }

    #[test]
    fn what_nobody_sees_is_left_alone() {
        for ms in [0.0, 27.0] {
            let (_, pictures, sound) = Call::new().run(10, PICTURES, Way { ms, ..SOUND });
            assert_eq!((pictures, sound), (0, 0));
        }
    }

    #[test]
    fn pictures_wait_for_late_sound_within_two_seconds_and_no_longer_than_they_must() {
        let mut call = Call::new();
        for speaker_ms in [110.0, 250.0, 60.0, 300.0] {
            let (late_ms, _, sound) = call.run(3, PICTURES, Way { ms: speaker_ms, ..SOUND });
            assert!((LATE_ENOUGH_MS..=LATE_MAX_MS).contains(&late_ms), "{speaker_ms} ms: {late_ms} ms late");
            assert_eq!(sound, 0);
        }
        let (late_ms, pictures, _) = call.run(3, PICTURES, Way { ms: 10.0, ..SOUND });
        assert!(late_ms <= LATE_MAX_MS && pictures == 0, "{late_ms} ms late, {pictures} ms held back");
    }

    #[test]
    fn sound_that_is_late_in_the_first_second_alone_makes_nobody_wait() {
        let mut call = Call::new();
        assert_eq!(call.run(1, PICTURES, Way { ms: 50.0, ..SOUND }).1, 0);
        assert_eq!(call.run(3, PICTURES, Way { ms: 28.0, ..SOUND }).1, 0);
    }

    #[test]
    fn pictures_stop_waiting_when_sound_gets_a_little_faster() {
        let mut call = Call::new();
        let (_, pictures, _) = call.run(3, PICTURES, Way { ms: 40.0, ..SOUND });
        assert!(pictures >= 10, "{pictures} ms held back");
        let (late_ms, pictures, _) = call.run(3, PICTURES, Way { ms: 28.0, ..SOUND });
        assert!(late_ms <= LATE_MAX_MS && pictures <= 3, "{late_ms} ms late, {pictures} ms held back");
    }

    #[test]
    fn sound_waits_for_late_pictures_for_a_while_and_is_let_go() {
        let mut call = Call::new();
        let (late_ms, _, sound) = call.run(3, Way { ms: 130.0, ..PICTURES }, SOUND);
        assert!(late_ms >= -EARLY_MAX_MS && sound > 50, "{late_ms} ms late, {sound} ms held back");
        assert_eq!(call.run(3, Way { ms: 400.0, ..PICTURES }, SOUND).2, SOUND_HELD_MAX.as_millis());
        assert_eq!(call.run(3, PICTURES, SOUND).2, 0);
        // Pictures that hardly come are not waited for.
        call.run(3, Way { ms: 400.0, ..PICTURES }, SOUND);
        assert_eq!(call.run(1, Way { ms: 400.0, each: 4, ..PICTURES }, SOUND).2, 0);
    }

    #[test]
    fn what_is_held_back_for_repairs_counts() {
        let mut call = Call::new();
        let repaired = Way { own_ms: 150, ..PICTURES };
        let (late_ms, pictures, _) = call.run(3, repaired, Way { ms: 250.0, ..SOUND });
        assert!(late_ms <= LATE_MAX_MS && pictures > 150, "{late_ms} ms late, {pictures} ms held back");
    }

    #[test]
    fn clocks_that_are_apart_drop_out_and_nonsense_is_left_alone() {
        let mut call = Call::new();
        let far = |way: Way| Way { ms: way.ms - 3_600_000.0, ..way };
        let (late_ms, pictures, _) = call.run(3, far(PICTURES), far(Way { ms: 110.0, ..SOUND }));
        assert!(late_ms <= LATE_MAX_MS && pictures > 0, "{late_ms} ms late");
        let (_, pictures, sound) = Call::new().run(3, far(PICTURES), SOUND);
        assert_eq!((pictures, sound), (0, 0));
    }

    #[test]
    fn little_is_kept() {
        let mut sync = LipSync::default();
        let start = Instant::now();
        let _least = sync.presented(Medium::Pictures, 1.0, Duration::ZERO, start);
        for _ in 0..1000 {
            let _least = sync.presented(Medium::Pictures, 1.0, Duration::ZERO, start + SETTLES);
        }
        assert_eq!(sync.pictures.ways_ms.len(), SEEN_MAX);
    }
}

//! [`Pacer`]: in which order and how fast packets leave.
//!
//! - sound leaves at once, whatever waits; it is counted
//! - repairs wait for the rate, before pictures: somebody already waits for them
//! - pictures wait for the rate; how long is told, so that an encoder makes fewer rather than older ones
//! - what has waited for so long that nobody wants it any more is dropped, with all pictures that refer to it, and told: a
//!   keyframe has to follow
//!
//! A token bucket: a short burst leaves at once, so that one picture need not wait on a path that is fast.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a packet is, as far as the pacer is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Of a stream of sound.
    Sound,
    /// Sent before, and asked for again.
    Repair,
    /// Part of the picture with this RTP time stamp.
    Picture(u32),
}

/// How fast packets may leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// Bits a second.
    pub(crate) bps: f64,
    /// What may leave at once, in time at this rate.
    pub(crate) burst: Duration,
    /// Sound alone leaves: nobody knows whether anything arrives.
    pub(crate) is_held: bool,
}

/// A picture that waited for longer is too late to be shown.
const PICTURE_WAIT_MAX: Duration = Duration::from_millis(400);

/// The same of a picture that nothing else waits behind: a keyframe on a narrow path takes its time.
const LONE_PICTURE_WAIT_MAX: Duration = Duration::from_secs(2);

/// A repair that waited for longer is too late: it was asked for again, or given up.
const REPAIR_WAIT_MAX: Duration = Duration::from_millis(250);

/// Bits that may always leave at once: one packet.
const BURST_BITS_MIN: f64 = 12_000.0;

/// So far in debt may sound bring the budget, in time.
const DEBT_MAX: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Waiting<P> {
    content: P,
    bytes: usize,
    since: Instant,
}

/// A packet that leaves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Released<P> {
    pub(crate) content: P,
    pub(crate) bytes: usize,
    pub(crate) class: Class,
}

/// See the module. Reads no clock.
#[derive(Debug)]
pub(crate) struct Pacer<P> {
    pace: Pace,
    budget_bits: f64,
    refilled: Option<Instant>,
    sounds: VecDeque<Waiting<P>>,
    repairs: VecDeque<Waiting<P>>,
    pictures: VecDeque<(u32, Waiting<P>)>,
    queued_bytes: usize,
    dropped: Vec<P>,
    /// A packet may leave though the pacer is held.
    is_one_permitted: bool,
}

impl<P> Pacer<P> {
    /// A pacer from which `start_bits` may leave at once.
    pub(crate) const fn new(pace: Pace, start_bits: f64) -> Self {
        Self {
            pace,
            budget_bits: start_bits,
            refilled: None,
            sounds: VecDeque::new(),
            repairs: VecDeque::new(),
            pictures: VecDeque::new(),
            queued_bytes: 0,
            dropped: Vec::new(),
            is_one_permitted: false,
        }
    }

    /// From now on packets leave so fast.
    pub(crate) fn set_pace(&mut self, pace: Pace, now: Instant) {
        self.refill(now);
        self.pace = pace;
    }

    /// A packet is to leave.
    pub(crate) fn push(&mut self, class: Class, content: P, bytes: usize, now: Instant) {
        self.refill(now);
        let waiting = Waiting { content, bytes, since: now };
        match class {
            Class::Sound => return self.sounds.push_back(waiting),
            Class::Repair => self.repairs.push_back(waiting),
            Class::Picture(id) => self.pictures.push_back((id, waiting)),
        }
        self.queued_bytes += bytes;
        self.drop_late(now);
    }

    /// The next packet that may leave now; call until there is none.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Released<P>> {
        self.refill(now);
        if let Some(sound) = self.sounds.pop_front() {
            return Some(self.release(sound, Class::Sound));
        }
        self.drop_late(now);
        let may_leave = if self.pace.is_held { self.is_one_permitted } else { self.budget_bits > 0.0 };
        if !may_leave {
            return None;
        }
        let (class, waiting) = match self.repairs.pop_front() {
            Some(repair) => (Class::Repair, repair),
            None => self.pictures.pop_front().map(|(id, picture)| (Class::Picture(id), picture))?,
        };
        self.queued_bytes -= waiting.bytes;
        self.is_one_permitted = false;
        Some(self.release(waiting, class))
    }

    /// When [`Pacer::poll`] may have something, or [`Pacer::take_dropped`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let refilled = self.refilled?;
        if !self.sounds.is_empty() {
            return Some(refilled);
        }
        let repair = self.repairs.front().map(|repair| repair.since + REPAIR_WAIT_MAX);
        let picture = self.pictures.front().map(|(_, picture)| picture.since + PICTURE_WAIT_MAX);
        let late = [repair, picture].into_iter().flatten().min()?;
        if self.pace.is_held {
            return Some(if self.is_one_permitted { refilled } else { late });
        }
        let debt = (-self.budget_bits).max(0.0);
        // A little late rather than a little early: nothing could leave then.
        Some(refilled + Duration::from_secs_f64(debt / self.pace.bps) + Duration::from_micros(50))
    }

    /// While it is held one packet may leave all the same.
    pub(crate) const fn permit_one(&mut self) {
        self.is_one_permitted = true;
    }

    /// How long a picture that comes now would wait.
    pub(crate) fn queue_delay(&self) -> Duration {
        let bits = self.queued_bytes as f64 * 8.0 - self.budget_bits;
        if self.queued_bytes == 0 { Duration::ZERO } else { Duration::from_secs_f64((bits / self.pace.bps).max(0.0)) }
    }

    fn spend(&mut self, bytes: usize) {
        self.budget_bits = (self.budget_bits - bytes as f64 * 8.0).max(-self.pace.bps * DEBT_MAX.as_secs_f64());
    }

    /// Drops repairs and pictures, and tells nobody: a keyframe comes that needs none of them.
    pub(crate) fn forget_pictures(&mut self) {
        self.repairs.clear();
        self.pictures.clear();
        self.queued_bytes = 0;
    }

    /// Packets of pictures that waited for too long; what refers to them cannot be decoded.
    pub(crate) fn take_dropped(&mut self) -> Vec<P> {
        std::mem::take(&mut self.dropped)
    }

    fn release(&mut self, waiting: Waiting<P>, class: Class) -> Released<P> {
        self.spend(waiting.bytes);
        Released { content: waiting.content, bytes: waiting.bytes, class }
    }

    fn refill(&mut self, now: Instant) {
        let passed = self.refilled.map_or(Duration::ZERO, |before| now.saturating_duration_since(before));
        let earned = passed.as_secs_f64() * self.pace.bps;
        let most = (self.pace.bps * self.pace.burst.as_secs_f64()).max(BURST_BITS_MIN);
        // What was granted at the start is kept until it is spent.
        self.budget_bits = self.budget_bits.max((self.budget_bits + earned).min(most));
        self.refilled = Some(self.refilled.map_or(now, |before| before.max(now)));
    }

    fn drop_late(&mut self, now: Instant) {
        let waited = |waiting: &Waiting<P>| now.saturating_duration_since(waiting.since);
        // A picture that is not repaired in time cannot be shown, and none that refers to it.
        if self.repairs.front().is_some_and(|repair| waited(repair) >= REPAIR_WAIT_MAX) {
            return self.drop_all();
        }
        let Some((first, oldest)) = self.pictures.front() else { return };
        let is_lone = self.pictures.back().is_some_and(|(last, _)| last == first) && !self.pace.is_held;
        if waited(oldest) < if is_lone { LONE_PICTURE_WAIT_MAX } else { PICTURE_WAIT_MAX } {
            return;
        }
        self.drop_all();
    }

    fn drop_all(&mut self) {
        let repairs = self.repairs.drain(..).map(|late| late.content);
        self.dropped.extend(repairs);
        self.dropped.extend(self.pictures.drain(..).map(|(_, late)| late.content));
        self.queued_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { bps: 800_000.0, burst: Duration::from_millis(20), is_held: false };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Lets time pass to `end`; when which packets leave, in whole milliseconds.
    fn leave(pacer: &mut Pacer<&'static str>, start: Instant, end: u64) -> Vec<(u128, &'static str)> {
        let (mut now, mut left) = (start, Vec::new());
        loop {
            while let Some(released) = pacer.poll(now) {
                left.push(((now - start).as_millis(), released.content));
            }
            match pacer.poll_timeout().map(|at| at.max(now + Duration::from_micros(1))) {
                Some(at) if at <= start + ms(end) => now = at,
                Some(_) | None => return left,
            }
        }
    }

    #[test]
    fn sound_overtakes_all_and_repairs_overtake_pictures() {
        let (mut pacer, start) = (Pacer::new(PACE, 0.0), Instant::now());
        for (class, content) in [
            (Class::Picture(1), "picture"),
            (Class::Picture(1), "its end"),
            (Class::Repair, "repair"),
            (Class::Sound, "sound"),
        ] {
            pacer.push(class, content, 1000, start);
        }
        let left = leave(&mut pacer, start, 100);
        assert_eq!(left, [(0, "sound"), (10, "repair"), (20, "picture"), (30, "its end")], "10 ms each");
    }

    #[test]
    fn a_burst_leaves_at_once_and_the_start_is_granted_more() {
        let (mut pacer, start) = (Pacer::new(PACE, 40_000.0), Instant::now());
        (0..7).for_each(|_| pacer.push(Class::Picture(1), "p", 1000, start));
        let times: Vec<_> = leave(&mut pacer, start, 100).iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [0, 0, 0, 0, 0, 0, 10], "one more than the grant: the debt is paid back");
        let later = start + ms(1000);
        (0..4).for_each(|_| pacer.push(Class::Picture(2), "p", 1000, later));
        let times: Vec<_> = leave(&mut pacer, later, 100).iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [0, 0, 0, 10], "20 ms are 2,000 bytes, and one more");
    }

    #[test]
    fn how_long_a_picture_would_wait_is_told() {
        let (mut pacer, start) = (Pacer::new(PACE, 0.0), Instant::now());
        assert_eq!(pacer.queue_delay(), Duration::ZERO);
        (0..10).for_each(|_| pacer.push(Class::Picture(1), "p", 1000, start));
        assert_eq!(pacer.queue_delay(), ms(100));
        pacer.set_pace(Pace { bps: 400_000.0, ..PACE }, start);
        assert_eq!(pacer.queue_delay(), ms(200));
    }

    #[test]
    fn pictures_that_waited_too_long_are_dropped_but_a_lone_one_is_given_time() {
        let slow = Pace { bps: 8_000.0, ..PACE };
        let (mut pacer, start) = (Pacer::new(slow, -80_000.0), Instant::now());
        pacer.push(Class::Picture(1), "keyframe", 1000, start);
        pacer.push(Class::Picture(1), "its end", 1000, start);
        assert_eq!(pacer.poll(start + ms(1900)), None);
        assert!(pacer.take_dropped().is_empty(), "a keyframe takes its time");
        pacer.push(Class::Picture(2), "next", 1000, start + ms(1900));
        assert_eq!(pacer.take_dropped(), ["keyframe", "its end", "next"]);
        assert_eq!(pacer.queue_delay(), Duration::ZERO);
    }

    #[test]
    fn a_repair_that_waited_too_long_takes_all_pictures_with_it() {
        let slow = Pace { bps: 8_000.0, ..PACE };
        let (mut pacer, start) = (Pacer::new(slow, -80_000.0), Instant::now());
        pacer.push(Class::Repair, "repair", 1000, start);
        pacer.push(Class::Picture(1), "picture", 1000, start);
        assert_eq!((pacer.poll(start + ms(249)), pacer.take_dropped().len()), (None, 0));
        assert_eq!((pacer.poll(start + ms(250)), pacer.take_dropped()), (None, vec!["repair", "picture"]));
    }

    #[test]
    fn before_a_keyframe_nothing_but_sound_is_needed() {
        let (mut pacer, start) = (Pacer::new(PACE, -8_000.0), Instant::now());
        for (class, content) in [(Class::Picture(1), "picture"), (Class::Repair, "repair"), (Class::Sound, "sound")] {
            pacer.push(class, content, 1000, start);
        }
        pacer.forget_pictures();
        pacer.push(Class::Picture(2), "keyframe", 1000, start);
        assert_eq!(leave(&mut pacer, start, 100), [(0, "sound"), (20, "keyframe")]);
        assert_eq!((pacer.take_dropped().len(), pacer.queue_delay()), (0, Duration::ZERO));
    }

    #[test]
    fn a_pacer_that_is_held_lets_sound_alone_pass_and_forgets_the_rest_in_time() {
        let (mut pacer, start) = (Pacer::new(Pace { is_held: true, ..PACE }, 40_000.0), Instant::now());
        for (class, content) in [(Class::Picture(1), "picture"), (Class::Repair, "repair"), (Class::Sound, "sound")] {
            pacer.push(class, content, 1000, start);
        }
        assert_eq!(leave(&mut pacer, start, 249), [(0, "sound")]);
        assert_eq!(pacer.poll_timeout(), Some(start + ms(250)));
        assert_eq!(pacer.poll(start + ms(250)), None);
        assert_eq!((pacer.take_dropped(), pacer.queue_delay()), (vec!["repair", "picture"], Duration::ZERO));
    }
}

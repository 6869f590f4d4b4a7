//! How much sound should wait for a speaker: little on a quiet machine, more on one that is late. Pure.
//!
//! - in: how much was left when more came, and that the device ran dry
//! - out: [`DeviceLatency::target`], from [`Limits::floor`] to [`Limits::ceiling`]
//!
//! What waits is delay, and too little of it is a gap. So the target goes up at once when the device ran dry or nearly
//! did, and comes down in small steps after a quiet while. A step down that was one too many doubles that while.

use std::time::{Duration, Instant};

/// A target that went up stays for so long: what makes a machine late seldom happens once.
const QUIET: Duration = Duration::from_secs(20);

/// It stays for so long at most, however often it came down too early.
const QUIET_MAX: Duration = Duration::from_secs(160);

/// Between two steps down.
const BETWEEN_STEPS: Duration = Duration::from_secs(5);

/// A step down, and what is added when the device nearly ran dry.
const STEP: Duration = Duration::from_millis(5);

/// What is added at least when the device ran dry; else half of the target is.
const RISE_MIN: Duration = Duration::from_millis(10);

/// With less left the next thread that is late is heard.
const NEARLY_DRY: Duration = Duration::from_millis(4);

/// As long as sound takes to reach a new target, by steps of 9 ms in place of 10.
const SETTLES: Duration = Duration::from_millis(500);

/// Between these the target moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Where it starts.
    pub(crate) floor: Duration,
    pub(crate) ceiling: Duration,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct DeviceLatency {
    limits: Limits,
    target: Duration,
    /// When the target changed last, or was left as it is, and which way it went.
    changed: Option<(Instant, Change)>,
    /// The least that was left since then.
    least: Option<Duration>,
    /// How long it has to be quiet after a rise.
    quiet: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It began.
    Start,
    Rise,
    Descent,
}

impl DeviceLatency {
    /// Begins at the floor.
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { limits, target: limits.floor, changed: None, least: None, quiet: QUIET }
    }

    /// How much sound should wait.
    pub(crate) const fn target(&self) -> Duration {
        self.target
    }

    /// Moves what is known to a device with other limits.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        let above = self.target.saturating_sub(self.limits.floor);
        self.limits = limits;
        self.target = (limits.floor + above).min(limits.ceiling);
    }

    /// So much was left, of what the device could still have played, when more sound came.
    pub(crate) fn left(&mut self, left: Duration, now: Instant) {
        let &mut (since, change) = self.changed.get_or_insert((now, Change::Start));
        let since = now.saturating_duration_since(since);
        if since < SETTLES {
            return;
        }
        let least = self.least.map_or(left, |least| least.min(left));
        self.least = Some(least);
        let quiet = match change {
            Change::Start | Change::Rise => self.quiet,
            Change::Descent => BETWEEN_STEPS,
        };
        if least < NEARLY_DRY {
            self.rise(STEP, now);
        } else if since >= quiet {
            if least >= 2 * NEARLY_DRY + STEP && self.target > self.limits.floor {
                self.target = (self.target - STEP).max(self.limits.floor);
                self.change(Change::Descent, now);
            } else {
                // It was not quiet enough; the while begins anew.
                self.change(change, now);
            }
        }
    }

    /// The device had nothing to play.
    pub(crate) fn ran_dry(&mut self, now: Instant) {
        if let Some((since, Change::Rise)) = self.changed
            && now.saturating_duration_since(since) < SETTLES
        {
            // The rise before has not helped yet.
            return;
        }
        self.rise(RISE_MIN.max(self.target / 2), now);
    }

    fn rise(&mut self, by: Duration, now: Instant) {
        match self.changed {
            Some((_, Change::Descent)) => self.quiet = (2 * self.quiet).min(QUIET_MAX),
            Some((_, Change::Start | Change::Rise)) | None => {}
        }
        self.target = (self.target + by).min(self.limits.ceiling);
        self.change(Change::Rise, now);
    }

    fn change(&mut self, change: Change, now: Instant) {
        self.changed = Some((now, change));
        self.least = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const LIMITS: Limits = Limits { floor: Duration::from_millis(30), ceiling: Duration::from_millis(160) };

    /// A speaker that is fed every 10 ms by a thread that is up to `late_ms` late, now and then.
    struct Machine {
        latency: DeviceLatency,
        now: Instant,
        steps: u32,
    }

    impl Machine {
        fn new() -> Self {
            Self { latency: DeviceLatency::new(LIMITS), now: Instant::now(), steps: 0 }
        }

        /// Runs for so long; how often the device ran dry.
        fn run(&mut self, time: Duration, late_ms: u32) -> u32 {
            let mut dry = 0;
            for _ in 0..time.as_millis() / 10 {
                self.now += 10 * MS;
                self.steps += 1;
                // Seven in hundred are late, by anything up to the most.
                let late = if self.steps.is_multiple_of(14) { self.steps / 14 * 7 % (late_ms + 1) } else { 0 };
                let before = self.latency.target().saturating_sub(10 * MS);
                match before.checked_sub(MS * late) {
                    Some(left) => self.latency.left(left, self.now),
                    None => {
                        dry += 1;
                        self.latency.ran_dry(self.now);
                    }
                }
            }
            dry
        }
    }

    #[test]
    fn a_quiet_machine_stays_at_the_floor() {
        let mut machine = Machine::new();
        assert_eq!(machine.run(Duration::from_secs(600), 8), 0);
        assert_eq!(machine.latency.target(), LIMITS.floor);
    }

    #[test]
    fn a_late_machine_is_followed_within_seconds_and_then_nothing_is_lost() {
        for late_ms in [25, 45, 90] {
            let mut machine = Machine::new();
            let first = machine.run(Duration::from_secs(10), late_ms);
            assert!((1..=40).contains(&first), "{late_ms} ms: {first} times dry");
            assert_eq!(machine.run(Duration::from_secs(10), late_ms), 0, "{late_ms} ms");
            let most = MS * late_ms * 2 + 20 * MS;
            assert!(machine.latency.target() <= most, "{late_ms} ms: {:?}", machine.latency.target());
        }
    }

    #[test]
    fn it_comes_down_after_a_quiet_while() {
        let mut machine = Machine::new();
        machine.run(Duration::from_secs(10), 60);
        let high = machine.latency.target();
        let (risen, _) = machine.latency.changed.unwrap();
        while machine.latency.target() >= high {
            machine.run(10 * MS, 0);
        }
        assert!(machine.now - risen >= QUIET, "after {:?}", machine.now - risen);
        machine.run(Duration::from_secs(200), 0);
        assert_eq!(machine.latency.target(), LIMITS.floor);
    }

    #[test]
    fn it_comes_down_only_as_far_as_the_machine_is_in_time() {
        let mut machine = Machine::new();
        machine.run(Duration::from_secs(20), 45);
        let dry = machine.run(Duration::from_secs(1_800), 45);
        assert!(dry <= 2, "{dry} gaps in half an hour");
        assert!(machine.latency.target() >= 55 * MS, "{:?}", machine.latency.target());
    }

    #[test]
    fn what_came_down_too_early_stays_longer_the_next_time() {
        let mut machine = Machine::new();
        machine.latency.ran_dry(machine.now);
        let high = machine.latency.target();
        let mut kept = Vec::new();
        for _ in 0..5 {
            let begun = machine.now;
            while machine.latency.target() >= high {
                machine.run(10 * MS, 0);
            }
            kept.push((machine.now - begun).as_secs());
            // As soon as it came down it runs dry.
            machine.latency.ran_dry(machine.now);
            assert!(machine.latency.target() <= LIMITS.ceiling);
        }
        assert!(kept[0] >= 20 && kept[1] >= 2 * kept[0] - 1 && *kept.last().unwrap() >= 160, "{kept:?}");
    }

    #[test]
    fn the_ceiling_holds_and_a_burst_counts_once() {
        let mut latency = DeviceLatency::new(LIMITS);
        let start = Instant::now();
        (0..10).for_each(|n| latency.ran_dry(start + n * 10 * MS));
        assert_eq!(latency.target(), 45 * MS);
        (0..100).for_each(|n| latency.ran_dry(start + n * SETTLES));
        assert_eq!(latency.target(), LIMITS.ceiling);
        latency.set_limits(Limits { floor: 40 * MS, ceiling: 100 * MS });
        assert_eq!(latency.target(), 100 * MS);
    }
}

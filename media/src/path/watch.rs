//! Watches the path: silence, loss, ICE restarts that fail, a network that changed. Reads no clock.
//!
//! - in: the engine's states ([`Watch::checking`], [`Watch::up`], [`Watch::interrupted`]) and ICE restarts
//!   ([`Watch::renewed`])
//! - [`Watch::tick`]: the time and the number of datagrams received → [`PathEvent`]s
//! - [`Watch::moved`]: this machine's addresses and routes → whether the network changed
//!
//! The engine's own timer for `failed` is off. It counts from the first check after a restart, or not at all while the
//! other side does not answer: it would end a call that is being healed, or keep a dead one.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::addresses::{Addresses, Route};

/// Silence after which the engine counts the path as interrupted. It looks at it once in a keepalive interval: told
/// within 3 s.
pub(crate) const DISCONNECTED_AFTER: Duration = Duration::from_millis(2200);

/// A silence of this length, while media is expected, is a dead path. Sound comes every 20 ms, and checks come even
/// when a camera stalls; jitter of this size would end the talk anyway.
const SILENT_AFTER: Duration = Duration::from_millis(800);

/// How often the watch looks: an eighth of a silence.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// The most that one tick adds to a silence. When this program stood still, nothing could be heard.
const TICK_MAX: Duration = Duration::from_millis(150);

/// The addresses of this machine are looked at every so many ticks: 500 ms.
pub(crate) const TICKS_A_LOOK: u32 = 5;

/// A path that is down for so long is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// What an ICE restart may take: two tries of a TURN allocation, signalling, checks. For so long a lost path is kept,
/// and after it another restart is worth a try.
const RENEWAL_TIME: Duration = Duration::from_secs(3);

/// However often ICE is restarted, a path that is down for so long is lost.
const LOST_AT_LAST: Duration = Duration::from_secs(30);

/// What the watch tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathEvent {
    /// Media is expected, and for most of a second nothing came. Told once a silence.
    Silent,
    /// That silence is over, without a new path.
    Heard,
    /// An ICE restart found no path in three seconds.
    Stalled,
    /// The path was down for too long: it will not heal.
    Failed,
}

/// What should come from the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expectation {
    /// What it said that it sends: a silence is told.
    #[default]
    Media,
    /// Nothing: one of the two holds the call.
    Nothing,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    path: Path,
    silence: Silence,
    expectation: Expectation,
    /// The other side said that it sends something.
    promised: bool,
    /// A first packet of media came.
    began: bool,
    /// What sockets were bound to, or the change that was told last.
    bound: Addresses,
    /// How packets of the path in use were routed, or the change that was told last.
    route: Option<Route>,
}

#[derive(Debug, Default)]
enum Path {
    /// One description is not known yet.
    #[default]
    None,
    Up,
    Down {
        since: Instant,
        renewed: Option<Instant>,
        /// When a restart counts as one that leads nowhere; gone once that was told.
        stalls_at: Option<Instant>,
    },
    /// Told; it may still come up.
    Lost,
}

impl Watch {
    /// A watch over sockets bound to `bound`.
    pub(crate) fn new(bound: Addresses) -> Self {
        Self { bound, ..Self::default() }
    }

    /// The addresses that sockets are bound to, in order of use.
    pub(crate) fn bound(&self) -> &[IpAddr] {
        &self.bound.usable
    }

    /// A path is looked for.
    pub(crate) fn checking(&mut self, now: Instant) {
        if let Path::None = self.path {
            self.path = Path::Down { since: now, renewed: None, stalls_at: None };
        }
    }

    /// Media can flow.
    pub(crate) fn up(&mut self) {
        self.path = Path::Up;
    }

    /// The engine heard nothing for [`DISCONNECTED_AFTER`].
    pub(crate) fn interrupted(&mut self, now: Instant) {
        if let Path::Up = self.path {
            let since = now.checked_sub(DISCONNECTED_AFTER).unwrap_or(now);
            self.path = Path::Down { since, renewed: None, stalls_at: None };
        }
    }

    /// It will not come up, and that was told.
    pub(crate) fn lost(&mut self) {
        self.path = Path::Lost;
    }

    /// ICE is restarted, on sockets bound to `bound`.
    pub(crate) fn renewed(&mut self, now: Instant, bound: Addresses) {
        (self.bound, self.route) = (bound, None);
        let since = match self.path {
            Path::Down { since, .. } => since,
            Path::None | Path::Up | Path::Lost => now,
        };
        self.path = Path::Down { since, renewed: Some(now), stalls_at: Some(now + RENEWAL_TIME) };
    }

    /// What the session expects of the other side.
    pub(crate) fn expect(&mut self, expectation: Expectation) {
        self.expectation = expectation;
    }

    /// Whether the other side said that it sends anything.
    pub(crate) fn promise(&mut self, promised: bool) {
        self.promised = promised;
    }

    /// A track opened: its first packet came.
    pub(crate) fn began(&mut self) {
        self.began = true;
    }

    /// What follows from time having passed: `ran` of it since the last call, and `heard` datagrams so far.
    pub(crate) fn tick(&mut self, now: Instant, ran: Duration, heard: u64) -> Vec<PathEvent> {
        // Without a path nothing can come, and a restart that is under way has its own time.
        let possible = self.began && self.promised && matches!(self.path, Path::Up);
        let expected = possible && self.expectation == Expectation::Media;
        self.silence.tick(heard, ran, expected).into_iter().chain(self.path.tick(now)).collect()
    }

    /// True once for each change of the network that concerns the path in use, which is routed so now.
    pub(crate) fn moved(&mut self, now: Addresses, route: Option<Route>) -> bool {
        let outdated = self.bound.outdated_by(&now, self.route.as_ref(), route.as_ref());
        if outdated {
            self.bound = now;
        }
        // What has no route for a moment is compared with what it had before.
        if outdated || route.is_none_or(|route| route.chosen.is_some()) || self.route.is_none() {
            self.route = route;
        }
        outdated
    }
}

impl Path {
    fn tick(&mut self, now: Instant) -> Option<PathEvent> {
        let Self::Down { since, renewed, stalls_at } = self else { return None };
        let patience = renewed.map_or(*since, |renewed| renewed + RENEWAL_TIME);
        if now >= (*since + LOST_AFTER).max(patience).min(*since + LOST_AT_LAST) {
            *self = Self::Lost;
            return Some(PathEvent::Failed);
        }
        stalls_at.take_if(|at| *at <= now).map(|_| PathEvent::Stalled)
    }
}

#[derive(Debug, Default)]
struct Silence {
    heard: u64,
    length: Duration,
    told: bool,
}

impl Silence {
    /// What is to be told: each silence that counts once, and its end.
    fn tick(&mut self, heard: u64, ran: Duration, expected: bool) -> Option<PathEvent> {
        if heard != self.heard || !expected {
            let over = self.told && heard != self.heard && expected;
            *self = Self { heard, ..Self::default() };
            return over.then_some(PathEvent::Heard);
        }
        self.length += ran.min(TICK_MAX);
        let silent = self.length >= SILENT_AFTER && !self.told;
        self.told |= silent;
        silent.then_some(PathEvent::Silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A watch in mid-call, and its clock.
    struct Call {
        watch: Watch,
        now: Instant,
        heard: u64,
    }

    impl Call {
        fn new() -> Self {
            let mut watch = Watch::default();
            let now = Instant::now();
            watch.checking(now);
            watch.up();
            watch.promise(true);
            watch.began();
            Self { watch, now, heard: 1 }
        }

        /// What is told while nothing is heard, each with the time since the start of it.
        fn quiet(&mut self, length: Duration) -> Vec<(u128, String)> {
            let start = self.now;
            let mut told = Vec::new();
            while self.now < start + length {
                self.now += TICK;
                for event in self.watch.tick(self.now, TICK, self.heard) {
                    told.push((self.now.duration_since(start).as_millis(), format!("{event:?}")));
                }
            }
            told
        }

        fn hears(&mut self) {
            assert!(self.hears_again().is_empty());
        }

        fn hears_again(&mut self) -> Vec<PathEvent> {
            self.heard += 1;
            self.now += TICK;
            self.watch.tick(self.now, TICK, self.heard)
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silence_is_told_once_and_again_after_a_packet() {
        let mut call = Call::new();
        call.hears();
        for _ in 0..2 {
            assert_eq!(call.quiet(seconds(5)), [(800, "Silent".to_owned())]);
            assert!(matches!(call.hears_again()[..], [PathEvent::Heard]), "and so is its end");
            call.hears();
        }
    }

    #[test]
    fn nothing_is_silent_while_nothing_is_expected() {
        let mut call = Call::new();
        call.hears();
        call.watch.expect(Expectation::Nothing);
        assert!(call.quiet(seconds(5)).is_empty());
        call.watch.expect(Expectation::Media);
        assert_eq!(call.quiet(seconds(2)), [(800, "Silent".to_owned())], "the silence begins with the expectation");
        assert!(matches!(call.hears_again()[..], [PathEvent::Heard]));
        call.watch.promise(false);
        assert!(call.quiet(seconds(5)).is_empty(), "a side that sends nothing");
        let mut early = Call::new();
        early.watch.began = false;
        assert!(early.quiet(seconds(5)).is_empty(), "before the first packet");
    }

    #[test]
    fn a_restart_under_way_is_not_disturbed() {
        let mut call = Call::new();
        call.hears();
        call.watch.renewed(call.now, Addresses::default());
        assert_eq!(call.quiet(Duration::from_millis(2900)), []);
        call.watch.up();
        assert_eq!(call.quiet(seconds(2)), [(800, "Silent".to_owned())], "up, but nothing comes");
    }

    #[test]
    fn a_program_that_stood_still_heard_nothing_and_says_nothing() {
        let mut call = Call::new();
        call.hears();
        let events = call.watch.tick(call.now + seconds(60), seconds(60), call.heard);
        assert!(events.is_empty(), "{events:?}");
    }

    #[test]
    fn a_path_that_stays_down_is_lost_ten_seconds_after_its_last_packet() {
        let mut call = Call::new();
        call.watch.expect(Expectation::Nothing);
        call.watch.interrupted(call.now);
        let rest = (LOST_AFTER - DISCONNECTED_AFTER).as_millis();
        assert_eq!(call.quiet(seconds(20)), [(rest, "Failed".to_owned())]);
    }

    #[test]
    fn a_first_path_that_is_never_found_is_lost_too() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        assert!(watch.tick(now + seconds(60), TICK, 0).is_empty(), "not looked for yet");
        watch.checking(now);
        watch.checking(now + seconds(9));
        assert!(watch.tick(now + seconds(9), TICK, 0).is_empty());
        assert!(matches!(watch.tick(now + seconds(10), TICK, 0)[..], [PathEvent::Failed]));
        assert!(watch.tick(now + seconds(20), TICK, 0).is_empty(), "told once");
    }

    #[test]
    fn a_restart_is_given_its_time_and_then_said_to_have_stalled() {
        let mut call = Call::new();
        call.watch.expect(Expectation::Nothing);
        call.watch.renewed(call.now, Addresses::default());
        assert_eq!(call.quiet(seconds(9)), [(3000, "Stalled".to_owned())]);
        call.watch.renewed(call.now, Addresses::default());
        assert_eq!(call.quiet(seconds(20)), [(3000, "Failed".to_owned())], "a second later than without it");
        call.watch.renewed(call.now, Addresses::default());
        call.watch.up();
        assert!(call.quiet(seconds(60)).is_empty(), "healed");
    }

    #[test]
    fn restarts_without_end_do_not_keep_a_dead_call_alive() {
        let mut call = Call::new();
        call.watch.expect(Expectation::Nothing);
        let mut lost_after = 0;
        for second in 1..60 {
            call.watch.renewed(call.now, Addresses::default());
            if !call.quiet(seconds(1)).is_empty() {
                lost_after = second;
                break;
            }
        }
        assert_eq!(lost_after, LOST_AT_LAST.as_secs());
    }

    #[test]
    fn a_change_of_the_network_is_told_once() {
        let at = |last: u8| {
            let ip = IpAddr::from([192, 0, 2, last]);
            Addresses { usable: vec![ip], way_out: Some(ip) }
        };
        let mut watch = Watch::new(at(1));
        assert!(!watch.moved(at(1), None));
        assert!(!watch.moved(Addresses::default(), None), "told when there is somewhere to go");
        assert!(watch.moved(at(2), None));
        assert!(!watch.moved(at(2), None));
        watch.renewed(Instant::now(), at(3));
        assert!(!watch.moved(at(3), None), "a restart binds anew by itself");
    }

    #[test]
    fn another_way_to_the_other_side_is_told_once() {
        let ip = |last: u8| IpAddr::from([192, 0, 2, last]);
        let both = || Addresses { usable: vec![ip(1), ip(2)], way_out: Some(ip(1)) };
        let route = |chosen: Option<u8>| Some(Route { from: ip(1), to: ip(200), chosen: chosen.map(ip) });
        let mut watch = Watch::new(both());
        assert!(!watch.moved(both(), route(Some(1))));
        assert!(!watch.moved(both(), route(None)), "gone for a moment");
        assert!(watch.moved(both(), route(Some(2))));
        assert!(!watch.moved(both(), route(Some(2))));
        assert!(!watch.moved(both(), route(Some(1))), "back where the path starts");
        assert!(watch.moved(both(), route(Some(2))), "and away again");
    }
}

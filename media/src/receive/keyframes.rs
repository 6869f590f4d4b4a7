//! Keyframe requests: when one is due ([`KeyframePacing`]), and from the decoders to the tasks of the video tracks, which
//! send them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::congestion::round_trip::RoundTrip;

/// What making a keyframe and sending it take, as long as none was asked for.
const KEYFRAME_TAKES: Duration = Duration::from_millis(100);

/// A keyframe may take so much longer than the ones before.
const SLOWER: f64 = 1.5;

/// Each further request for the same keyframe waits by so much longer: on a narrow path the one under way takes its time,
/// and one more makes it worse.
const BACKOFF: f64 = 1.5;

/// No keyframe is waited for any longer before it is asked for again.
const APART_MAX: Duration = Duration::from_secs(2);

/// Spaces keyframe requests (PLI): by the round trip and what a keyframe takes to come. Reads no clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyframePacing {
    /// What is asked for and did not come.
    asked: Option<Asked>,
    /// From request to keyframe, smoothed.
    takes: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    times: u32,
}

impl KeyframePacing {
    /// A keyframe is needed; whether to ask for it now.
    pub(crate) fn ask(&mut self, now: Instant, round_trip: RoundTrip) -> bool {
        let Some(asked) = self.asked else {
            self.asked = Some(Asked { at: now, times: 1 });
            return true;
        };
        let takes = self.takes.map_or(Duration::ZERO, |takes| takes.mul_f64(SLOWER));
        let apart = takes.max(round_trip.timeout() + KEYFRAME_TAKES);
        let apart = apart.mul_f64(BACKOFF.powi(asked.times.min(16).cast_signed() - 1)).min(APART_MAX);
        let is_due = now.saturating_duration_since(asked.at) >= apart;
        if is_due {
            self.asked = Some(Asked { at: now, times: asked.times + 1 });
        }
        is_due
    }

    /// A keyframe is there.
    pub(crate) fn came(&mut self, now: Instant) {
        // Which request was answered is known only where there was one (Karn's rule, RFC 6298 §3).
        if let Some(Asked { at, times: 1 }) = self.asked.take() {
            let took = now.saturating_duration_since(at);
            self.takes = Some(self.takes.map_or(took, |before| (before * 3 + took) / 4));
        }
    }
}

/// Asks the other side for a keyframe (PLI, RFC 4585 §6.3.1); cheap to clone, callable from any thread.
#[derive(Clone, Debug, Default)]
pub struct KeyframeRequester(Arc<Mutex<Tracks>>);

/// The video tracks that requests go to: all that are open, as a track may be dead long before it is closed.
#[derive(Debug, Default)]
struct Tracks {
    open: Vec<Weak<Notify>>,
    /// A request that no track has taken.
    waiting: bool,
}

impl KeyframeRequester {
    /// Asks now; several calls before the request is out count as one. Before there is a track, the first one asks.
    pub fn request(&self) {
        let mut tracks = self.tracks();
        tracks.open.retain(|track| track.strong_count() > 0);
        for track in tracks.open.iter().filter_map(Weak::upgrade) {
            track.notify_one();
        }
        tracks.waiting = tracks.open.is_empty();
    }

    /// The requests for a track that opens.
    pub(crate) fn of_track(&self) -> KeyframeRequests {
        let mut tracks = self.tracks();
        let track = Arc::new(Notify::new());
        tracks.open.push(Arc::downgrade(&track));
        if std::mem::take(&mut tracks.waiting) {
            track.notify_one();
        }
        KeyframeRequests(track)
    }

    fn tracks(&self) -> MutexGuard<'_, Tracks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keyframe requests for one video track.
#[derive(Debug)]
pub(crate) struct KeyframeRequests(Arc<Notify>);

impl KeyframeRequests {
    /// Waits for the next one.
    pub(crate) async fn next(&self) {
        self.0.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// When requests leave, in milliseconds, while a keyframe is needed all the time.
    fn requests(pacing: &mut KeyframePacing, start: Instant, trip: RoundTrip) -> Vec<u64> {
        (0..3000).filter(|at| pacing.ask(start + ms(*at), trip)).collect()
    }

    #[test]
    fn requests_are_apart_by_round_trip_and_keyframe_and_ever_more() {
        let (start, mut far) = (Instant::now(), RoundTrip::default());
        (0..50).for_each(|_| far.measured(ms(300), start));
        assert_eq!(requests(&mut KeyframePacing::default(), start, RoundTrip::default())[..4], [0, 200, 500, 950]);
        assert_eq!(requests(&mut KeyframePacing::default(), start, far)[..3], [0, 405, 1013]);
        let mut pacing = KeyframePacing::default();
        assert!(pacing.ask(start, far));
        pacing.came(start + ms(800));
        assert_eq!(requests(&mut pacing, start + ms(900), far)[..2], [0, 1200], "the one before took that long");
        pacing.came(start + ms(1600));
        assert_eq!(requests(&mut pacing, start, far)[..2], [0, 1200], "which of the two it answered is not known");
    }

    #[test]
    fn a_request_reaches_a_track_behind_one_that_is_dead() {
        let requester = KeyframeRequester::default();
        let (dead, alive) = (requester.of_track(), requester.of_track());
        let mut cx = Context::from_waker(Waker::noop());
        let (mut at_dead, mut at_alive) = (pin!(dead.next()), pin!(alive.next()));
        assert!(at_dead.as_mut().poll(&mut cx).is_pending() && at_alive.as_mut().poll(&mut cx).is_pending());
        requester.request();
        assert!(at_alive.as_mut().poll(&mut cx).is_ready());
        assert!(at_dead.as_mut().poll(&mut cx).is_ready(), "nobody knows which is dead");
    }

    #[test]
    fn a_request_before_there_is_a_track_waits_for_the_first() {
        let requester = KeyframeRequester::default();
        requester.request();
        requester.request();
        let mut cx = Context::from_waker(Waker::noop());
        let first = requester.of_track();
        assert!(pin!(first.next()).poll(&mut cx).is_ready());
        assert!(pin!(first.next()).poll(&mut cx).is_pending(), "once");
        assert!(pin!(requester.of_track().next()).poll(&mut cx).is_pending(), "it was taken");
        drop(first);
        requester.request();
        assert!(pin!(requester.of_track().next()).poll(&mut cx).is_ready(), "those before are closed");
    }
}

//! Keyframe requests: from the decoders to the tasks of the video tracks, which send them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

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

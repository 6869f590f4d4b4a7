//! A bounded queue for media: a full queue drops its oldest entry and counts it, because late media is worthless.
//!
//! Control messages never travel here (they wait instead); see `tokio::sync::mpsc`.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Makes a queue that holds at most `capacity` entries (at least one).
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State { entries: VecDeque::new(), senders: 1, receiver_alive: true, dropped: 0 }),
        arrived: Condvar::new(),
        capacity: capacity.max(1),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

/// The side that puts entries in. Clone it for several producers.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

/// The side that takes entries out.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Shared<T>>);

/// Why [`Receiver::recv_timeout`] returned nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// Nothing came in time.
    Timeout,
    /// Every sender is gone and the queue is empty.
    Closed,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    entries: VecDeque<T>,
    senders: usize,
    receiver_alive: bool,
    dropped: u64,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic elsewhere leaves the queue itself intact: every update below is complete before it unlocks.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Sender<T> {
    /// Puts `entry` in, dropping the oldest one when full. Returns false when the receiver is gone.
    pub fn send(&self, entry: T) -> bool {
        let mut state = self.0.lock();
        if !state.receiver_alive {
            return false;
        }
        if state.entries.len() == self.0.capacity {
            state.entries.pop_front();
            state.dropped += 1;
        }
        state.entries.push_back(entry);
        drop(state);
        self.0.arrived.notify_one();
        true
    }

    /// How many entries were dropped so far because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.arrived.notify_one();
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest entry, waiting up to `timeout` for one.
    ///
    /// # Errors
    /// [`RecvError::Timeout`] when nothing came, [`RecvError::Closed`] when nothing can come any more.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        let deadline = Instant::now() + timeout;
        let mut state = self.0.lock();
        loop {
            if let Some(entry) = state.entries.pop_front() {
                return Ok(entry);
            }
            if state.senders == 0 {
                return Err(RecvError::Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(RecvError::Timeout);
            }
            state = self.0.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes the oldest entry if there is one.
    #[must_use]
    pub fn try_recv(&self) -> Option<T> {
        self.0.lock().entries.pop_front()
    }

    /// Takes the newest entry and drops the rest uncounted: for a screen, which only ever shows the latest picture.
    #[must_use]
    pub fn latest(&self) -> Option<T> {
        self.0.lock().entries.drain(..).next_back()
    }

    /// How many entries were dropped so far because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.receiver_alive = false;
        state.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_queue_drops_the_oldest_and_counts_it() {
        let (tx, rx) = bounded(2);
        for n in 1..=3 {
            assert!(tx.send(n));
        }
        assert_eq!((rx.try_recv(), rx.try_recv(), rx.try_recv()), (Some(2), Some(3), None));
        assert_eq!(rx.dropped(), 1);
    }

    #[test]
    fn latest_takes_the_newest_and_leaves_nothing() {
        let (tx, rx) = bounded(4);
        for n in 1..=3 {
            tx.send(n);
        }
        assert_eq!(rx.latest(), Some(3));
        assert_eq!(rx.latest(), None);
    }

    #[test]
    fn both_ends_notice_that_the_other_is_gone() {
        let (tx, rx) = bounded::<u8>(1);
        assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvError::Timeout));
        drop(tx);
        assert_eq!(rx.recv_timeout(Duration::from_secs(60)), Err(RecvError::Closed));
        let (tx, rx) = bounded::<u8>(1);
        drop(rx);
        assert!(!tx.send(1));
    }
}

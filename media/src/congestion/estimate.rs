//! [`PathEstimate`]: what is known of the path that media is sent over, and [`SharedEstimate`], where it is published.
//! Congestion control and the pacer write it, encoders and statistics read it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is known of the path, and of what waits for it. Rates count whole RTP packets, with their headers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PathEstimate {
    /// What may be sent, all media and retransmissions together, bits a second.
    pub target_bps: u32,
    /// The same for longer than a moment: while a queue is drained, what may be sent after; while nothing is heard, what
    /// was before.
    pub lasting_bps: u32,
    /// What left here lately, bits a second.
    pub sent_bps: u32,
    /// What arrived lately, by the other side's clock, bits a second; `None` before it is known.
    pub acknowledged_bps: Option<u32>,
    /// Part of `sent_bps` that was sent again.
    pub repair_bps: u32,
    /// How long a picture that is sent now waits here before it leaves.
    pub pacer_queue: Duration,
    /// How long packets wait in queues of the path: their delay above the lowest that was seen.
    pub queueing_delay: Duration,
    /// Share of packets lost on the way, before repair, 0 to 1.
    pub loss: f64,
    /// From here to the other side and back; `None` before it is known.
    pub round_trip: Option<Duration>,
}

/// Where the estimate is published. Clones are one and the same; no lock is held for longer than a copy takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedEstimate(Arc<Mutex<PathEstimate>>);

impl SharedEstimate {
    /// A first estimate, bits a second, of a path of which nothing else is known.
    pub(crate) fn new(target_bps: u32) -> Self {
        Self(Arc::new(Mutex::new(PathEstimate { target_bps, lasting_bps: target_bps, ..PathEstimate::default() })))
    }

    /// What is known now.
    pub(crate) fn get(&self) -> PathEstimate {
        *self.lock()
    }

    /// Publishes what has changed.
    pub(crate) fn update(&self, change: impl FnOnce(&mut PathEstimate)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, PathEstimate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

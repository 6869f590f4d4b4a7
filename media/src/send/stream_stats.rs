//! [`StreamStats`]: counters of one stream of ours, and the other side's last report on it. The tasks of the stream
//! write them, statistics read them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the other side says of a stream that it gets from us (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RemoteReport {
    /// Share of packets lost since its last report, 0 to 1.
    pub fraction_lost: f32,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: f32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct StreamStats {
    bytes: AtomicU64,
    dropped: AtomicU64,
    report: Mutex<Option<RemoteReport>>,
}

impl StreamStats {
    /// A packet with a payload of so many bytes was sent.
    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A picture, or a sound packet, was dropped because the engine was too slow.
    pub(crate) fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// The other side has reported.
    pub(crate) fn reported(&self, report: RemoteReport) {
        *self.latest() = Some(report);
    }

    /// Payload bytes sent so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Pictures, or sound packets, dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The latest report of the other side.
    pub(crate) fn report(&self) -> Option<RemoteReport> {
        *self.latest()
    }

    fn latest(&self) -> MutexGuard<'_, Option<RemoteReport>> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

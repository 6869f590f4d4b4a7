//! What all senders of one peer connection share.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::congestion::payload_limit::PayloadLimit;

/// What the other side says of the video it gets from us (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RemoteReport {
    /// Share of packets lost since its last report, 0 to 1.
    pub fraction_lost: f32,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: f32,
}

/// What all senders of one peer connection share, whenever they were made.
#[derive(Debug)]
pub(crate) struct SendState {
    pub(crate) target_bps: Arc<AtomicU32>,
    pub(crate) payload: Arc<PayloadLimit>,
    pub(crate) path_closed: AtomicBool,
    pub(crate) keyframe_wanted: AtomicBool,
    pub(crate) keyframe_requests: AtomicU64,
    pub(crate) video_bytes: AtomicU64,
    pub(crate) audio_bytes: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) video_report: Mutex<Option<RemoteReport>>,
    pub(crate) audio_report: Mutex<Option<RemoteReport>>,
}

impl SendState {
    pub(crate) fn new(target_bps: Arc<AtomicU32>, payload: Arc<PayloadLimit>) -> Self {
        Self {
            target_bps,
            payload,
            path_closed: AtomicBool::new(false),
            keyframe_wanted: AtomicBool::new(true),
            keyframe_requests: AtomicU64::new(0),
            video_bytes: AtomicU64::new(0),
            audio_bytes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            video_report: Mutex::new(None),
            audio_report: Mutex::new(None),
        }
    }

    /// There is no path: what is sent would only count as lost.
    pub(crate) fn close_path(&self) {
        self.path_closed.store(true, Ordering::Relaxed);
    }

    /// The new limit when packets have become smaller: what was sent before did not arrive.
    pub(crate) fn shrunk(&self) -> Option<usize> {
        let news = self.payload.news();
        if news.is_some() {
            self.keyframe_wanted.store(true, Ordering::Relaxed);
        }
        news
    }

    /// There is a path, and the other side has missed something.
    pub(crate) fn open_path(&self) {
        self.keyframe_wanted.store(true, Ordering::Relaxed);
        self.path_closed.store(false, Ordering::Relaxed);
    }
}

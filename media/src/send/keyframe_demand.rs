//! [`KeyframeDemand`]: whether our encoder has to make a keyframe. Feedback, drops and path changes set it, the encoder
//! takes it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One is wanted at first: the first picture is a keyframe.
#[derive(Debug)]
pub(crate) struct KeyframeDemand {
    wanted: AtomicBool,
    /// Keyframe requests of the other side: PLI (RFC 4585 §6.3.1) and FIR (RFC 5104 §4.3.1).
    requests: AtomicU64,
}

impl Default for KeyframeDemand {
    fn default() -> Self {
        Self { wanted: AtomicBool::new(true), requests: AtomicU64::new(0) }
    }
}

impl KeyframeDemand {
    /// The other side has missed something.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// The other side has asked for a keyframe.
    pub(crate) fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.want();
    }

    /// True once after one was wanted.
    pub(crate) fn take(&self) -> bool {
        self.wanted.swap(false, Ordering::Relaxed)
    }

    /// Keyframes that the other side asked for.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

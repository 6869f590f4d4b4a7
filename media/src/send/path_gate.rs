//! [`PathGate`]: whether there is a path to send on. The engine's callbacks write it, encoders read it.

use std::sync::atomic::{AtomicBool, Ordering};

/// Open at first: what is sent before there is a path waits in the engine.
#[derive(Debug, Default)]
pub(crate) struct PathGate {
    closed: AtomicBool,
}

impl PathGate {
    /// There is no path: what is sent would only count as lost.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// There is a path.
    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

//! [`TargetBitrate`]: where the estimate is published. [`super::send_rate`] writes it, encoders read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What the path is estimated to carry, for all media together. Clones are one and the same.
#[derive(Clone, Debug)]
pub(crate) struct TargetBitrate(Arc<AtomicU32>);

impl TargetBitrate {
    /// A first estimate, bits a second.
    pub(crate) fn new(bps: u32) -> Self {
        Self(Arc::new(AtomicU32::new(bps)))
    }

    /// The estimate, bits a second.
    pub(crate) fn bps(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Publishes an estimate, bits a second.
    pub(crate) fn set(&self, bps: u32) {
        self.0.store(bps, Ordering::Relaxed);
    }
}

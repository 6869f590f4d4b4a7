//! [`KeyframeDemand`]: whether our encoder has to make a keyframe, and which it made last. Feedback, drops and path changes
//! set it, the encoder takes it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Why a keyframe is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyframeCause {
    /// The other side asked. It did not know what was under way then.
    Asked,
    /// Pictures never left: what was sent is not enough.
    Dropped,
}

/// One is wanted at first: the first picture is a keyframe.
#[derive(Debug)]
pub(crate) struct KeyframeDemand {
    asked: AtomicBool,
    dropped: AtomicBool,
    /// Keyframe requests of the other side: PLI (RFC 4585 §6.3.1) and FIR (RFC 5104 §4.3.1).
    requests: AtomicU64,
    /// RTP time stamp of the latest keyframe, above [`NONE_YET`] when there is one.
    latest: AtomicU64,
}

/// More than any RTP time stamp.
const NONE_YET: u64 = 1 << 32;

impl Default for KeyframeDemand {
    fn default() -> Self {
        Self {
            asked: AtomicBool::new(false),
            dropped: AtomicBool::new(true),
            requests: AtomicU64::new(0),
            latest: AtomicU64::new(NONE_YET),
        }
    }
}

impl KeyframeDemand {
    /// Pictures never left, or the path is a new one.
    pub(crate) fn want(&self) {
        self.dropped.store(true, Ordering::Relaxed);
    }

    /// The other side has asked for a keyframe.
    pub(crate) fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Why one is wanted, once.
    pub(crate) fn take(&self) -> Option<KeyframeCause> {
        let was_asked = self.asked.swap(false, Ordering::Relaxed);
        if self.dropped.swap(false, Ordering::Relaxed) {
            return Some(KeyframeCause::Dropped);
        }
        was_asked.then_some(KeyframeCause::Asked)
    }

    /// Keyframes that the other side asked for.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// A keyframe with this RTP time stamp is on its way.
    pub(crate) fn sent(&self, timestamp: u32) {
        self.latest.store(timestamp.into(), Ordering::Relaxed);
    }

    /// RTP time stamp of the latest keyframe: what was sent before it, nobody needs.
    pub(crate) fn latest(&self) -> Option<u32> {
        u32::try_from(self.latest.load(Ordering::Relaxed)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demand_is_taken_once_and_what_was_dropped_counts_more_than_a_request() {
        let demand = KeyframeDemand::default();
        assert_eq!((demand.take(), demand.take()), (Some(KeyframeCause::Dropped), None));
        demand.requested();
        assert_eq!((demand.take(), demand.take()), (Some(KeyframeCause::Asked), None));
        demand.requested();
        demand.want();
        assert_eq!((demand.take(), demand.take(), demand.requests()), (Some(KeyframeCause::Dropped), None, 2));
    }

    #[test]
    fn the_latest_keyframe_is_known_when_there_is_one() {
        let demand = KeyframeDemand::default();
        assert_eq!(demand.latest(), None);
        demand.sent(u32::MAX);
        assert_eq!(demand.latest(), Some(u32::MAX));
    }
}

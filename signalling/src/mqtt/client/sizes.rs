//! How large the messages were that the broker has acknowledged, and those that it has not: a broker of version 3.1.1
//! says nothing of its limit, and closes the connection on what is above it.

use std::collections::{BTreeMap, VecDeque};

/// Sizes of what was published on one connection; topic and payload in bytes.
#[derive(Debug, Default)]
pub(in crate::mqtt) struct Sizes {
    /// Published and not sent yet, in order.
    waiting: VecDeque<usize>,
    /// Sent and not acknowledged yet, by packet id.
    sent: BTreeMap<u16, usize>,
    acknowledged_max: usize,
}

impl Sizes {
    pub(super) fn published(&mut self, bytes: usize) {
        self.waiting.push_back(bytes);
    }

    /// Packets leave in the order in which they were given.
    pub(super) fn sent(&mut self, id: u16) {
        if let Some(bytes) = self.waiting.pop_front() {
            self.sent.insert(id, bytes);
        }
    }

    pub(super) fn acknowledged(&mut self, id: u16) {
        if let Some(bytes) = self.sent.remove(&id) {
            self.acknowledged_max = self.acknowledged_max.max(bytes);
        }
    }

    /// The smallest message that was sent, not acknowledged, and larger than all that were: what may have been too
    /// large, when the connection was closed on it.
    pub(in crate::mqtt) fn suspect(&self) -> Option<usize> {
        self.sent.values().copied().filter(|bytes| *bytes > self.acknowledged_max).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_all_that_was_taken_is_suspect() {
        let mut sizes = Sizes::default();
        for (id, bytes) in [(1, 80), (2, 5000), (3, 60)] {
            sizes.published(bytes);
            sizes.sent(id);
        }
        assert_eq!(sizes.suspect(), Some(60), "nothing was taken yet");
        sizes.acknowledged(1);
        assert_eq!(sizes.suspect(), Some(5000));
        sizes.acknowledged(2);
        assert_eq!(sizes.suspect(), None, "60 bytes are none too many");
        sizes.published(9000);
        assert_eq!(sizes.suspect(), None, "not sent yet");
    }
}

//! Keeps one peer from drowning the others: a token bucket a sender. Pure: reads no clock, does no IO.
//!
//! A call makes a few dozen messages; whoever sends hundreds a second is no caller. What is above the rate is dropped
//! before it is read, and not acknowledged: a well-behaved peer sends it again later.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::id::PeerId;

/// Messages a peer may send at once: several calls' worth.
const BURST: f64 = 100.0;

/// Messages a second it may send on and on.
const A_SECOND: f64 = 20.0;

/// Peers remembered. A stranger with thousands of IDs displaces the ones that were silent longest, whose buckets are full.
const PEERS_MAX: usize = 1024;

/// Who sent how much lately.
#[derive(Debug, Default)]
pub struct Flood {
    buckets: BTreeMap<PeerId, Bucket>,
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// One that holds all of its `burst` tokens.
    pub(crate) const fn full(burst: f64, now: Instant) -> Self {
        Self { tokens: burst, at: now }
    }

    /// Takes a token, where there is one; `a_second` come back.
    pub(crate) fn take(&mut self, burst: f64, a_second: f64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * a_second).min(burst);
        self.at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

impl Flood {
    /// True when a message of `peer` is to be taken in.
    pub fn admits(&mut self, peer: &PeerId, now: Instant) -> bool {
        if !self.buckets.contains_key(peer) {
            self.make_room();
            self.buckets.insert(peer.clone(), Bucket::full(BURST, now));
        }
        let Some(bucket) = self.buckets.get_mut(peer) else { return false };
        bucket.take(BURST, A_SECOND, now)
    }

    fn make_room(&mut self) {
        if self.buckets.len() < PEERS_MAX {
            return;
        }
        let oldest = self.buckets.iter().min_by_key(|(_, bucket)| bucket.at).map(|(peer, _)| peer.clone());
        if let Some(oldest) = oldest {
            self.buckets.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    #[test]
    fn a_flood_is_cut_down_to_the_rate_and_touches_nobody_else() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let admitted = (0..10_000).filter(|_| flood.admits(&id("mallory"), start)).count();
        assert_eq!(admitted, 100);
        assert!(flood.admits(&id("bob"), start));
        let later = start + Duration::from_secs(2);
        let admitted = (0..10_000).filter(|_| flood.admits(&id("mallory"), later)).count();
        assert_eq!(admitted, 40);
    }

    #[test]
    fn the_table_stays_bounded() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        for n in 0..5000 {
            assert!(flood.admits(&id(&format!("peer-{n}")), now));
        }
        assert_eq!(flood.buckets.len(), PEERS_MAX);
    }
}

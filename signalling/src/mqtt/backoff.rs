//! How long to wait before the next try to connect.

use std::time::Duration;

use crate::id::Nonce;

/// First wait: a broker that restarts is back within a second or so.
const FIRST: Duration = Duration::from_millis(250);

/// Longest wait: signalling is to be back within 2 s of the broker.
const MAX: Duration = Duration::from_millis(1500);

/// Doubling waits with jitter, so that a broker's restart does not bring all its clients back at once.
#[derive(Debug)]
pub(super) struct Backoff {
    wait: Duration,
    seed: u64,
}

impl Backoff {
    pub(super) const fn new(seed: Nonce) -> Self {
        Self { wait: FIRST, seed: seed.0 | 1 }
    }

    /// The next wait: between half and all of 250 ms, 500 ms, 1 s, 1.5 s, 1.5 s, …
    pub(super) fn next(&mut self) -> Duration {
        // xorshift64 (Marsaglia 2003): jitter needs spread, not secrecy.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let half = self.wait / 2;
        let jitter = half.mul_f64((self.seed >> 11) as f64 / (1u64 << 53) as f64);
        self.wait = (self.wait * 2).min(MAX);
        half + jitter
    }

    pub(super) const fn reset(&mut self) {
        self.wait = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_start_again() {
        let mut backoff = Backoff::new(Nonce(42));
        let waits: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST);
        assert!(waits[5..].iter().all(|w| *w >= MAX / 2 && *w <= MAX));
        assert!(waits[5..].windows(2).any(|pair| pair[0] != pair[1]), "no jitter");
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}

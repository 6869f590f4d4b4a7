//! A long TCP transfer: slow start, additive increase, a decrease to 0.7 on loss as CUBIC has it (RFC 9438 §4.6).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Item, Way};

const BYTES: usize = 1448;
const DECREASE: f64 = 0.7;
const TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Tcp {
    window: f64,
    threshold: f64,
    next: u64,
    /// When each packet that is out was sent.
    out: BTreeMap<u64, Instant>,
    acknowledged: u64,
    /// Losses of packets below this number were answered.
    recovered: u64,
    heard: Instant,
}

impl Tcp {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            window: 10.0,
            threshold: f64::INFINITY,
            next: 0,
            out: BTreeMap::new(),
            acknowledged: 0,
            recovered: 0,
            heard: now,
        }
    }

    pub(super) fn run(&mut self, now: Instant, out: &mut Vec<(Way, Item, usize)>) {
        if now >= self.heard + TIMEOUT {
            (self.threshold, self.window) = ((self.window * DECREASE).max(2.0), 2.0);
            self.heard = now;
            self.out.clear();
        }
        while (self.out.len() as f64) < self.window {
            self.out.insert(self.next, now);
            out.push((Way::There, Item::Tcp { number: self.next }, BYTES));
            self.next += 1;
        }
    }

    pub(super) fn acknowledged(&mut self, number: u64, now: Instant) {
        self.heard = now;
        if self.out.remove(&number).is_none() {
            return;
        }
        self.acknowledged += 1;
        self.window += if self.window < self.threshold { 1.0 } else { 1.0 / self.window };
        // Three later ones have come.
        let lost: Vec<u64> = self.out.range(..number.saturating_sub(2)).map(|(number, _)| *number).collect();
        for number in lost {
            self.out.remove(&number);
            if number >= self.recovered {
                self.window = (self.window * DECREASE).max(2.0);
                self.threshold = self.window;
                self.recovered = self.next;
            }
        }
    }

    pub(super) fn acknowledged_bits(&self) -> f64 {
        self.acknowledged as f64 * BYTES as f64 * 8.0
    }

    pub(super) fn next_event(&self) -> Instant {
        self.heard + TIMEOUT
    }
}

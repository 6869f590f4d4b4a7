//! What a load costs this program: processor time and memory, looked at each second.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::platform::usage;

/// What this program used. Servers and answerers that run in it are part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Processor time for each second in which at least nine tenths of the calls stood; 1 is one core.
    pub(crate) cores: Option<f64>,
    /// The same for each call.
    pub(crate) cores_per_call: Option<f64>,
    /// Most memory held at one look, bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// What it grew by since before the first step, for each call at once.
    pub(crate) memory_per_call_bytes: Option<u64>,
}

impl Machine {
    /// What several used, each on a machine of its own or not: sums, and means a call. What one does not know, all do not.
    pub(crate) fn together(all: &[Self]) -> Self {
        let sum = |of: fn(&Self) -> Option<f64>| all.iter().map(of).sum::<Option<f64>>().filter(|_| !all.is_empty());
        let bytes = |of: fn(&Self) -> Option<u64>| {
            let add = |sum: u64, machine: &Self| Some(sum.saturating_add(of(machine)?));
            all.iter().try_fold(0, add).filter(|_| !all.is_empty())
        };
        Self {
            cores: sum(|machine| machine.cores),
            cores_per_call: sum(|machine| machine.cores_per_call).map(|sum| sum / all.len() as f64),
            memory_bytes: bytes(|machine| machine.memory_bytes),
            memory_per_call_bytes: bytes(|machine| machine.memory_per_call_bytes).map(|sum| sum / all.len() as u64),
        }
    }
}

/// Processor time over spans of wall clock.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    processor: Duration,
    wall: f64,
    /// Seconds of call in it.
    calls: f64,
}

impl Span {
    fn add(&mut self, other: Self) {
        self.processor += other.processor;
        self.wall += other.wall;
        self.calls += other.calls;
    }
}

/// Looks at this program while a step runs.
#[derive(Debug)]
pub(crate) struct Meter {
    at_once: u32,
    last: Option<(Instant, Duration)>,
    memory_before: Option<u64>,
    memory: Option<u64>,
    busiest: u32,
    /// While nearly all calls stood.
    full: Span,
    /// While any did.
    any: Span,
}

impl Meter {
    /// For a step of so many calls at once, which begins now; `memory_before` was held before the first step. What a
    /// step gives back stays with the allocator, so it is no beginning for the next.
    pub(crate) fn start(at_once: u32, memory_before: Option<u64>) -> Self {
        Self {
            at_once,
            last: usage::processor_time().map(|used| (Instant::now(), used)),
            memory_before,
            memory: None,
            busiest: 0,
            full: Span::default(),
            any: Span::default(),
        }
    }

    /// A look, with so many calls under way since the last.
    pub(crate) fn look(&mut self, under_way: u32) {
        self.busiest = self.busiest.max(under_way);
        self.memory = self.memory.max(usage::memory_bytes());
        let Some(used) = usage::processor_time() else { return };
        let now = Instant::now();
        if let Some((at, before)) = self.last.replace((now, used)) {
            let wall = now.saturating_duration_since(at).as_secs_f64();
            let calls = wall * f64::from(under_way);
            self.add(under_way, Span { processor: used.saturating_sub(before), wall, calls });
        }
    }

    fn add(&mut self, under_way: u32, span: Span) {
        if under_way > 0 {
            self.any.add(span);
        }
        if u64::from(under_way) * 10 >= u64::from(self.at_once) * 9 {
            self.full.add(span);
        }
    }

    /// What it came to. Where nearly all calls never stood at once, what there was is taken.
    pub(crate) fn conclude(&self) -> Machine {
        let span = if self.full.wall > 0.0 { self.full } else { self.any };
        let used = span.processor.as_secs_f64();
        let grown = self.memory.zip(self.memory_before).map(|(most, before)| most.saturating_sub(before));
        Machine {
            cores: (span.wall > 0.0).then(|| used / span.wall),
            cores_per_call: (span.calls > 0.0).then(|| used / span.calls),
            memory_bytes: self.memory,
            memory_per_call_bytes: grown.filter(|_| self.busiest > 0).map(|grown| grown / u64::from(self.busiest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(at_once: u32) -> Meter {
        let none = Span::default();
        Meter { at_once, last: None, memory_before: Some(100), memory: Some(500), busiest: 4, full: none, any: none }
    }

    fn second(processor_ms: u64, under_way: u32) -> Span {
        Span { processor: Duration::from_millis(processor_ms), wall: 1.0, calls: f64::from(under_way) }
    }

    #[test]
    fn cores_are_those_while_nearly_all_calls_stood() {
        let mut meter = meter(10);
        meter.add(2, second(900, 2));
        meter.add(10, second(400, 10));
        meter.add(9, second(600, 9));
        let machine = meter.conclude();
        assert_eq!(machine.cores, Some(0.5));
        assert!((machine.cores_per_call.unwrap() - 1.0 / 19.0).abs() < 1e-9);
        assert_eq!((machine.memory_bytes, machine.memory_per_call_bytes), (Some(500), Some(100)));
    }

    #[test]
    fn calls_too_short_to_stand_together_are_measured_all_the_same() {
        let mut meter = meter(10);
        meter.add(0, second(10, 0));
        meter.add(2, second(300, 2));
        assert_eq!(meter.conclude().cores, Some(0.3));
        assert_eq!(Meter { busiest: 0, ..self::meter(1) }.conclude().cores, None);
    }
}

//! From finished calls to counts and percentiles. Pure; memory grows by some 60 bytes a call.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::record::LoadCall;
use crate::calltest::judge::facts::nearest_rank;

/// A distribution in three figures, by nearest rank; null when there is nothing to rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p99: Option<f64>,
}

/// Values to be ranked.
#[derive(Clone, Debug, Default)]
struct Values(Vec<f64>);

impl Values {
    fn add(&mut self, value: Option<f64>) {
        self.0.extend(value.filter(|value| value.is_finite()));
    }

    fn spread(&self) -> Spread {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = |percent: f64| nearest_rank(&sorted, percent);
        Spread { p50: rank(50.0), p95: rank(95.0), p99: rank(99.0) }
    }
}

/// Calls added up. Those of several workers are added to one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    placed: u64,
    connected: u64,
    failed: BTreeMap<String, u64>,
    details: BTreeMap<String, String>,
    frozen: u64,
    freezes: u64,
    left_out: u64,
    setup: Values,
    answer: Values,
    first_frame: Values,
    round_trip: Values,
    loss: Values,
    jitter: Values,
}

impl Tally {
    pub(crate) fn add(&mut self, call: &LoadCall) {
        self.placed += 1;
        self.connected += u64::from(call.connected);
        if call.status != 0 {
            *self.failed.entry(call.outcome.clone()).or_default() += 1;
            if let Some(detail) = &call.detail {
                self.details.entry(call.outcome.clone()).or_insert_with(|| detail.clone());
            }
        }
        self.frozen += u64::from(call.received.freezes > 0);
        self.freezes = self.freezes.saturating_add(call.received.freezes);
        self.left_out = self.left_out.saturating_add(call.received.left_out);
        self.setup.add(call.setup_ms);
        self.answer.add(call.answer_to_connected_ms);
        self.first_frame.add(call.first_frame_ms);
        self.round_trip.add(call.round_trip_ms);
        self.loss.add(call.received.loss);
        self.jitter.add(call.received.jitter_ms);
    }

    pub(crate) const fn placed(&self) -> u64 {
        self.placed
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.values().sum()
    }

    /// The whole step.
    pub(crate) fn conclude(&self, at_once: u32, machine: Machine) -> StepSummary {
        StepSummary {
            at_once,
            placed: self.placed,
            connected: self.connected,
            failed: self.failed(),
            causes: self.failed.clone(),
            details: self.details.clone(),
            frozen: self.frozen,
            freezes: self.freezes,
            left_out: self.left_out,
            setup_ms: self.setup.spread(),
            answer_to_connected_ms: self.answer.spread(),
            first_frame_ms: self.first_frame.spread(),
            round_trip_ms: self.round_trip.spread(),
            loss: self.loss.spread(),
            jitter_ms: self.jitter.spread(),
            machine,
        }
    }
}

/// What became of one step, as the event `load` says it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepSummary {
    pub(crate) at_once: u32,
    pub(crate) placed: u64,
    pub(crate) connected: u64,
    pub(crate) failed: u64,
    /// How many failed, by the name of the exit status.
    pub(crate) causes: BTreeMap<String, u64>,
    /// What the first of each cause said.
    pub(crate) details: BTreeMap<String, String>,
    /// Calls in which a picture froze.
    pub(crate) frozen: u64,
    pub(crate) freezes: u64,
    pub(crate) left_out: u64,
    pub(crate) setup_ms: Spread,
    pub(crate) answer_to_connected_ms: Spread,
    pub(crate) first_frame_ms: Spread,
    pub(crate) round_trip_ms: Spread,
    pub(crate) loss: Spread,
    pub(crate) jitter_ms: Spread,
    #[serde(rename = "process")]
    pub(crate) machine: Machine,
}

impl StepSummary {
    /// The causes in words, most frequent first: `3 offline, 1 busy`.
    pub(crate) fn words(&self) -> String {
        let mut causes: Vec<(&String, &u64)> = self.causes.iter().collect();
        causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        causes.iter().map(|(cause, count)| format!("{count} {cause}")).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calltest::load::record::Received;

    fn call(setup_ms: f64) -> LoadCall {
        LoadCall { connected: true, outcome: "done".into(), setup_ms: Some(setup_ms), ..LoadCall::default() }
    }

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let spread = |values: &[f64]| Values(values.to_vec()).spread();
        assert_eq!(spread(&[]), Spread::default());
        assert_eq!(spread(&[7.0]), Spread { p50: Some(7.0), p95: Some(7.0), p99: Some(7.0) });
        assert_eq!(spread(&[2.0, 1.0]), Spread { p50: Some(1.0), p95: Some(2.0), p99: Some(2.0) });
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(spread(&hundred), Spread { p50: Some(50.0), p95: Some(95.0), p99: Some(99.0) });
    }

    #[test]
    fn calls_of_several_workers_add_up_in_any_order() {
        let mut calls: Vec<LoadCall> = (1..=10).map(|n| call(f64::from(n))).collect();
        calls[3].received = Received { loss: Some(0.5), freezes: 2, ..Received::default() };
        calls.push(LoadCall { status: 13, outcome: "offline".into(), ..LoadCall::default() });
        calls.push(LoadCall { status: 13, outcome: "offline".into(), ..LoadCall::default() });
        let busy = LoadCall { status: 10, outcome: "busy".into(), detail: Some("x".into()), ..LoadCall::default() };
        calls.push(busy);
        let sum = |calls: &[LoadCall]| {
            let mut tally = Tally::default();
            calls.iter().for_each(|call| tally.add(call));
            tally.conclude(5, Machine::default())
        };
        let forwards = sum(&calls);
        calls.reverse();
        assert_eq!(forwards, sum(&calls));
        assert_eq!((forwards.placed, forwards.connected, forwards.failed), (13, 10, 3));
        assert_eq!((forwards.frozen, forwards.freezes, forwards.loss.p50), (1, 2, Some(0.5)));
        assert_eq!(forwards.words(), "2 offline, 1 busy");
        assert_eq!(forwards.details["busy"], "x");
        assert_eq!((forwards.setup_ms.p50, forwards.jitter_ms.p50), (Some(5.0), None));
    }
}

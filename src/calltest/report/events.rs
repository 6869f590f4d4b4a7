//! What `tring test` tells.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::calltest::judge::expect::Check;
use crate::calltest::judge::outcome::{Outcome, Verdict};
use crate::output::events::Event;

/// One thing that a call test found.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum TestEvent {
    /// A run is over.
    TestRun(Box<TestRun>),
    /// All that was found.
    TestSummary(TestSummary),
}

impl Event for TestEvent {
    /// What is found is printed with colours.
    fn words(&self, _peer: &str) -> Option<String> {
        None
    }
}

/// What came of one run of a call test.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TestRun {
    /// Scenario, what the matrix chose, and which repetition.
    pub(crate) title: String,
    pub(crate) scenario: String,
    pub(crate) chosen: BTreeMap<String, String>,
    /// `passed`, `failed` or `skipped`.
    pub(crate) result: &'static str,
    /// Unix time in ms.
    pub(crate) started: u64,
    pub(crate) took_ms: f64,
    /// What went wrong, or why it was skipped.
    pub(crate) faults: Vec<String>,
    pub(crate) checks: Vec<Check>,
    pub(crate) folder: Option<String>,
}

impl TestRun {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let (result, faults) = match &outcome.verdict {
            Verdict::Passed => ("passed", Vec::new()),
            Verdict::Failed(_) => ("failed", outcome.faults()),
            Verdict::Skipped(reason) => ("skipped", vec![reason.clone()]),
        };
        Self {
            title: outcome.title(),
            scenario: outcome.scenario.clone(),
            chosen: outcome.chosen.clone(),
            result,
            started: outcome.started,
            took_ms: outcome.took.as_secs_f64() * 1000.0,
            faults,
            checks: outcome.checks.clone(),
            folder: outcome.folder.as_ref().map(|folder| folder.display().to_string()),
        }
    }
}

/// What came of all runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct TestSummary {
    pub(crate) status: u8,
    pub(crate) runs: usize,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

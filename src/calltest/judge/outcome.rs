//! What came of a run, as reports tell it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::expect::Check;

/// What came of one run.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The scenario's name.
    pub(crate) scenario: String,
    /// What the matrix chose for it.
    pub(crate) chosen: BTreeMap<String, String>,
    /// Which repetition it was, from 1, and of how many.
    pub(crate) repetition: (u32, u32),
    /// When it began, Unix time in ms.
    pub(crate) started: u64,
    pub(crate) took: Duration,
    pub(crate) verdict: Verdict,
    /// What was expected and what came, all of it.
    pub(crate) checks: Vec<Check>,
    pub(crate) peers: Vec<PeerOutcome>,
    /// The exchange over the broker, drawn; nothing where it could not be read.
    pub(crate) exchange: Option<String>,
    /// Where logs, recordings and events are kept.
    pub(crate) folder: Option<PathBuf>,
}

/// Whether it passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// What was expected did not come; what else went wrong, one thing a line, beside the checks that failed.
    Failed(Vec<String>),
    /// It could not run here, and why.
    Skipped(String),
}

/// What one peer did.
#[derive(Clone, Debug)]
pub(crate) struct PeerOutcome {
    pub(crate) name: String,
    pub(crate) id: String,
    /// Its exit status; `None` when a signal ended it, or it never started.
    pub(crate) status: Option<i32>,
    pub(crate) events: Vec<Value>,
    /// What it wrote on standard error.
    pub(crate) log: Vec<String>,
}

impl Outcome {
    /// `hold [codec=vp8] 2/3`: the name of this run.
    pub(crate) fn title(&self) -> String {
        title(&self.scenario, &self.chosen, self.repetition)
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed(_))
    }

    /// What went wrong beside the checks that failed.
    pub(crate) fn troubles(&self) -> &[String] {
        match &self.verdict {
            Verdict::Failed(troubles) => troubles,
            Verdict::Passed | Verdict::Skipped(_) => &[],
        }
    }

    /// All that went wrong, a line each, causes before what follows from them. Of a peer that did not end as it should,
    /// figures that nobody knows are counted and not listed.
    pub(crate) fn faults(&self) -> Vec<String> {
        let (statuses, others): (Vec<&Check>, Vec<&Check>) =
            self.checks.iter().filter(|check| !check.passed).partition(|check| check.expectation == "status");
        let explained =
            |check: &&Check| check.seen.is_none() && statuses.iter().any(|status| status.peer == check.peer);
        let (unknown, others): (Vec<&Check>, Vec<&Check>) = others.into_iter().partition(explained);
        let mut lines = self.troubles().to_vec();
        for status in &statuses {
            let more = unknown.iter().filter(|check| check.peer == status.peer).count();
            let more = if more > 0 { format!("; {more} more of its figures are not known") } else { String::new() };
            lines.push(describe(status) + &more);
        }
        lines.extend(others.into_iter().map(describe));
        lines
    }
}

/// The name of a run.
pub(crate) fn title(scenario: &str, chosen: &BTreeMap<String, String>, (n, of): (u32, u32)) -> String {
    let choices: Vec<String> = chosen.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let choices = if choices.is_empty() { String::new() } else { format!(" [{}]", choices.join(", ")) };
    let repetition = if of > 1 { format!(" {n}/{of}") } else { String::new() };
    format!("{scenario}{choices}{repetition}")
}

/// A check in a line: `alice: freezes is 2, expected 0`.
pub(crate) fn describe(check: &Check) -> String {
    let step = check.step.map(|step| format!("step {step}: ")).unwrap_or_default();
    let seen = check.seen.as_deref().unwrap_or("not known");
    format!("{step}{}: {} is {seen}, expected {}", check.peer, check.expectation, check.wanted)
}

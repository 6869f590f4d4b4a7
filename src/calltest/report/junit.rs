//! Runs as CI systems read them: JUnit's XML, a test suite a scenario and a test case a run.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite, XmlString};

use crate::calltest::judge::outcome::{Outcome, Verdict, describe};
use crate::output::sanitize::harmless_lines;

/// Lines of a peer's log that go into the report.
const LOG_LINES: usize = 50;

/// The report as XML.
///
/// # Errors
/// When the library refuses to write it.
pub(crate) fn text(outcomes: &[Outcome]) -> Result<String, String> {
    let mut report = Report::new("tring test");
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for outcome in outcomes {
        let suite = suites.entry(&outcome.scenario).or_insert_with(|| TestSuite::new(&outcome.scenario));
        suite.add_test_case(case(outcome));
    }
    report.set_time(outcomes.iter().map(|outcome| outcome.took).sum::<Duration>());
    report.add_test_suites(suites.into_values());
    // Numbers and tags are harmless: what is replaced is in texts and names alone.
    report.to_string().map(|xml| harmless_lines(&xml)).map_err(|error| error.to_string())
}

fn case(outcome: &Outcome) -> TestCase {
    let status = match &outcome.verdict {
        Verdict::Passed => TestCaseStatus::success(),
        Verdict::Skipped(reason) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason.as_str());
            status
        }
        Verdict::Failed(_) => {
            let faults = outcome.faults();
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(faults.first().cloned().unwrap_or_default());
            status.set_type("expectation");
            status.set_description(faults.join("\n"));
            status
        }
    };
    let mut case = TestCase::new(outcome.title(), status);
    case.set_classname(format!("tring.{}", outcome.scenario));
    case.set_time(outcome.took);
    let seen: Vec<String> =
        outcome.checks.iter().map(|check| format!("{} {}", mark(check.passed), describe(check))).collect();
    case.set_system_out(XmlString::new(seen.join("\n")));
    if outcome.has_failed() {
        let log = |name: &str, log: &[String]| {
            let last = &log[log.len().saturating_sub(LOG_LINES)..];
            last.iter().map(|line| format!("{name}: {line}")).collect::<Vec<_>>()
        };
        let lines: Vec<String> = outcome.peers.iter().flat_map(|peer| log(&peer.name, &peer.log)).collect();
        let exchange = outcome.exchange.clone().unwrap_or_default();
        case.set_system_err(XmlString::new(format!("{exchange}\n{}", lines.join("\n"))));
    }
    case
}

const fn mark(passed: bool) -> &'static str {
    if passed { "ok" } else { "FAILED" }
}

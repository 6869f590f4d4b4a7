//! `tring test` as a whole program: what should pass passes over each kind of server, what should fail fails with its
//! reason, and what it writes is what happened.
//!
//! - [`ready`]: the scenarios that come with the program; [`measures`]: figures against impairments of known size
//! - [`figures`]: every expectation there is, failing; [`troubles`]: runs that cannot come to their end
//! - [`agents`], [`foreign`]: peers on other machines, and peers of another make

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::TempDir;
use crate::support::call::Args;
use crate::support::process::{Tring, TringCommand};

mod agents;
mod figures;
mod foreign;
mod measures;
mod ready;
mod troubles;

/// The longest test here takes a minute and a half on an idle machine.
const LONG: Duration = Duration::from_secs(300);

/// How often a file is looked for that another program makes.
const LOOK: Duration = Duration::from_millis(20);

/// Exit status of a test that shows that something does not hold.
const FAILED: i32 = 30;

/// A test that is over, and what it told.
struct Ran {
    status: i32,
    /// A `test_run` event each.
    runs: Vec<Value>,
    /// The `test_summary` event.
    summary: Value,
    stderr: String,
}

/// Where the results of a test in this folder are.
fn results(folder: &TempDir) -> PathBuf {
    folder.file("results")
}

/// `tring test`, its results in this folder.
fn command(args: Args, folder: &TempDir) -> TringCommand {
    Tring::command(Args::new(["test"]).and(args).option("--results", results(folder)))
}

/// Runs it to its end.
fn test(args: Args, folder: &TempDir) -> Ran {
    Ran::of(command(args, folder).spawn())
}

/// A scenario of this folder of tests.
fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/runs").join(format!("{name}.toml"))
}

impl Ran {
    fn of(mut tring: Tring) -> Self {
        let status = tring.wait_exit(LONG);
        let events = tring.wait_events().to_vec();
        let named = |name: &str| events.iter().filter(|event| event["event"] == name).cloned().collect::<Vec<Value>>();
        let (runs, summary) = (named("test_run"), named("test_summary").pop().unwrap_or_default());
        Self { status, runs, summary, stderr: tring.wait_stderr() }
    }

    /// The run of this title.
    fn run(&self, title: &str) -> &Value {
        let run = self.runs.iter().find(|run| run["title"] == title);
        run.unwrap_or_else(|| panic!("no run {title}: {:?} {}", self.runs, self.stderr))
    }

    /// What went wrong in it, in one text.
    fn faults(&self, title: &str) -> String {
        let faults = self.run(title)["faults"].as_array().unwrap();
        faults.iter().map(|fault| fault.as_str().unwrap()).collect::<Vec<_>>().join("\n")
    }

    /// Whether all of these ran, no others, and each passed what was expected of it.
    fn assert_passed(&self, titles: &[&str]) {
        let mut ran: Vec<&str> = self.runs.iter().map(|run| run["title"].as_str().unwrap()).collect();
        let mut wanted = titles.to_vec();
        ran.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(ran, wanted, "{}", self.stderr);
        for run in &self.runs {
            let checks = run["checks"].as_array().unwrap();
            let all = !checks.is_empty() && checks.iter().all(|check| check["passed"] == true);
            assert!(run["result"] == "passed" && all, "{run:#}");
        }
        assert_eq!(self.status, 0);
        self.assert_counts(titles.len(), 0, 0);
    }

    fn assert_counts(&self, passed: usize, failed: usize, skipped: usize) {
        let count = |name: &str| usize::try_from(self.summary[name].as_u64().unwrap()).unwrap();
        assert_eq!((count("passed"), count("failed"), count("skipped")), (passed, failed, skipped));
        assert_eq!(count("runs"), passed + failed + skipped);
        assert_eq!(self.summary["status"], self.status);
    }
}

//! `tring test`: scenarios found, run, reported; the worst of them is the exit status.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use media::display::window::WindowClient;
use media::private_file;
use network::system_error::in_words;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::calltest::judge::outcome::{self, Outcome, Verdict};
use crate::calltest::report::events::{TestEvent, TestSummary};
use crate::calltest::report::progress::Progress;
use crate::calltest::report::{html, junit, results};
use crate::calltest::run::servers::Servers;
use crate::calltest::run::{self, Given, Recordings};
use crate::calltest::scenario::built_in::{self, BUILT_IN};
use crate::calltest::scenario::script::{Action, Scenario};
use crate::calltest::scenario::secrets::Secrets;
use crate::calltest::scenario::{schema, select};
use crate::cli::Test;
use crate::config::{CallOptions, InForce, Inherited};
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::outputs;
use crate::platform::clock::unix_ms;
use crate::platform::signals::{self, Ends};

/// How long writing the reports may take.
const REPORT_PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn run(
    options: Test,
    in_force: &InForce,
    printer: Arc<Printer>,
    windows: WindowClient,
) -> Result<ExitStatus, Failure> {
    if options.schema {
        printer.result(&schema::text());
        return Ok(ExitStatus::Done);
    }
    if let Some(name) = &options.print {
        let ready = built_in::named(name).ok_or_else(|| {
            let names: Vec<&str> = BUILT_IN.iter().map(|ready| ready.name).collect();
            Failure::usage(format!("there is no ready scenario {name:?}; there are: {}", names.join(", ")))
        })?;
        printer.result(&to_begin_with(ready.source));
        return Ok(ExitStatus::Done);
    }
    if options.scenarios.is_empty() && !options.list && options.tag.is_empty() {
        return Err(Failure::usage(
            "nothing to run; name a file, a folder or a ready scenario, e.g. tring test smoke (--list shows them)",
        ));
    }
    let call_options = CallOptions::new();
    let mut scenarios = select::find(&options.scenarios, &options.set, &call_options)?;
    let tags: BTreeSet<String> = scenarios.iter().flat_map(|scenario| scenario.tags.clone()).collect();
    if !options.tag.is_empty() {
        scenarios.retain(|scenario| options.tag.iter().any(|tag| scenario.tags.contains(tag)));
    }
    if options.list {
        list(&scenarios, &printer);
        return Ok(ExitStatus::Done);
    }
    if scenarios.is_empty() {
        let tags = tags.into_iter().collect::<Vec<_>>().join(", ");
        let wanted = options.tag.join(" or ");
        return Err(Failure::usage(format!("no scenario has the tag {wanted}; there are: {tags}")));
    }
    check_reports(&options)?;
    let inherited = call_options.inherited(in_force);
    let runs = Runs {
        options,
        call_options,
        inherited,
        progress: Progress::new(Arc::clone(&printer)),
        stop: CancellationToken::new(),
        at_once: CancellationToken::new(),
        windows,
    };
    run_and_report(Arc::new(runs), scenarios, &printer).await
}

/// A ready scenario for somebody's own folder, where its schema lies elsewhere.
fn to_begin_with(source: &str) -> String {
    let rest = source.split_once('\n').map_or(source, |(_schema, rest)| rest);
    let schema = "#:schema ./tring-scenario.schema.json\n# made by: tring test --schema > tring-scenario.schema.json\n";
    format!("{schema}\n{}", rest.trim_end())
}

/// What there is, a line each.
fn list(scenarios: &[Scenario], printer: &Printer) {
    let mut last = None;
    for scenario in scenarios.iter().filter(|scenario| last.replace(&scenario.name) != Some(&scenario.name)) {
        let tags = scenario.tags.join(", ");
        printer.result(&format!("{:<16} {} [{tags}]", scenario.name, scenario.description));
    }
}

/// What all runs share.
struct Runs {
    options: Test,
    call_options: CallOptions,
    inherited: Inherited,
    progress: Progress,
    stop: CancellationToken,
    at_once: CancellationToken,
    windows: WindowClient,
}

/// Runs everything and says what came of it.
async fn run_and_report(runs: Arc<Runs>, scenarios: Vec<Scenario>, printer: &Printer) -> Result<ExitStatus, Failure> {
    // Kept to the end: a second signal ends the program, whatever it does.
    let ends = signals::heed();
    let interrupting = tokio::spawn(interrupt(ends.clone(), runs.stop.clone(), runs.at_once.clone()));
    let was_there = runs.options.results.exists();
    let outcomes = run_all(&runs, scenarios).await;
    interrupting.abort();
    // Empty when everything passed; not before the end, since runs at once make folders in it. A folder of the user's
    // own stays.
    if !was_there {
        let _others = std::fs::remove_dir(&runs.options.results);
    }
    let count = |is: fn(&Verdict) -> bool| outcomes.iter().filter(|outcome| is(&outcome.verdict)).count();
    let passed = count(|verdict| *verdict == Verdict::Passed);
    let skipped = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
    let failed = outcomes.len() - passed - skipped;
    let status = if runs.stop.is_cancelled() {
        ExitStatus::Interrupted
    } else if failed > 0 || passed == 0 {
        // A test of which nothing ran has shown nothing.
        ExitStatus::Assertion
    } else {
        ExitStatus::Done
    };
    let outcomes = write_reports(&runs.options, outcomes).await?;
    let words = format!(
        "{} run{}: {passed} passed, {failed} failed, {skipped} skipped",
        outcomes.len(),
        if outcomes.len() == 1 { "" } else { "s" }
    );
    if printer.is_json() {
        printer.tell(&TestEvent::TestSummary(TestSummary {
            status: status.code(),
            runs: outcomes.len(),
            passed,
            failed,
            skipped,
        }));
    } else if printer.is_text() || status != ExitStatus::Done {
        printer.result(&words);
    }
    Ok(status)
}

/// Ctrl-C and its like: peers are ended in order, at the second one at once, and what was found so far is reported.
async fn interrupt(mut ends: Ends, stop: CancellationToken, at_once: CancellationToken) {
    for token in [stop, at_once] {
        ends.next().await;
        token.cancel();
    }
}

async fn run_all(runs: &Arc<Runs>, scenarios: Vec<Scenario>) -> Vec<Outcome> {
    let places = Arc::new(Semaphore::new(runs.options.jobs as usize));
    let mut tasks = JoinSet::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    for scenario in scenarios {
        let times = runs.options.repeat.unwrap_or(scenario.repeat);
        let scenario = Arc::new(scenario);
        for n in 1..=times {
            let title = outcome::title(&scenario.name, &scenario.chosen, (n, times));
            let folder = results::free_folder(&runs.options.results, &title, &folders);
            folders.push(folder.clone());
            let order = folders.len();
            // Never closed; and if it were, running them all at once is no harm.
            let place = Arc::clone(&places).acquire_owned().await;
            let (runs, scenario) = (Arc::clone(runs), Arc::clone(&scenario));
            tasks.spawn(async move {
                let _until_it_is_over = place;
                (order, run_one(&runs, &scenario, (n, times), folder).await)
            });
        }
    }
    let mut outcomes = Vec::new();
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(done) => outcomes.push(done),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    outcomes.sort_by_key(|(order, _)| *order);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// One run, its results kept where it failed.
async fn run_one(runs: &Runs, scenario: &Scenario, repetition: (u32, u32), folder: PathBuf) -> Outcome {
    let title = outcome::title(&scenario.name, &scenario.chosen, repetition);
    let without = |verdict: Verdict| Outcome {
        scenario: scenario.name.clone(),
        chosen: scenario.chosen.clone(),
        repetition,
        started: unix_ms(),
        took: Duration::ZERO,
        verdict,
        checks: Vec::new(),
        peers: Vec::new(),
        exchange: None,
        folder: None,
    };
    let secrets = Secrets::new(scenario.secrets.iter().chain(runs.inherited.env.values()));
    let told = |mut outcome: Outcome| {
        secrets.hide_in(&mut outcome);
        runs.progress.tell(&outcome);
        outcome
    };
    if runs.stop.is_cancelled() {
        return told(without(Verdict::Skipped("interrupted".to_owned())));
    }
    let failed = |text: String| without(Verdict::Failed(vec![text]));
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    if let Err(error) = results::clear(&folder) {
        return told(failed(format!("cannot use the folder {}: {}", folder.display(), in_words(&error))));
    }
    let servers = match Servers::start(scenario, runs.inherited.clone()).await {
        Ok(servers) => servers,
        Err(failure) => {
            tidy(&folder);
            return told(failed(failure.text));
        }
    };
    if let Some(objection) = objection(scenario, &servers) {
        servers.stop().await;
        tidy(&folder);
        return told(without(Verdict::Skipped(objection)));
    }
    let running = runs.progress.begin(&title);
    let progress = |what: &str| running.note(what);
    let given = Given {
        options: &runs.call_options,
        link: &runs.options.link,
        repetition,
        recordings: if runs.options.record_all { Recordings::All } else { Recordings::AsWritten },
        folder: &folder,
        stop: runs.stop.clone(),
        at_once: runs.at_once.clone(),
        windows: runs.windows.clone(),
        progress: &progress,
    };
    let mut outcome = run::play(scenario, servers, given).await;
    secrets.hide_in(&mut outcome);
    keep(&mut outcome, &folder, runs.options.keep);
    runs.progress.end(&running, &outcome);
    if !outcome.has_failed() && runs.options.report.is_none() {
        // Nobody asks for them any more, and long tests have many.
        outcome.peers.clear();
    }
    outcome
}

/// Why the scenario cannot run with these servers.
fn objection(scenario: &Scenario, servers: &Servers) -> Option<String> {
    scenario.steps.iter().find_map(|step| match step.action {
        Action::Server(server, action) => servers.objection(server, action),
        _ => None,
    })
}

/// Keeps what a failing run left; of others nothing, unless that is wanted.
fn keep(outcome: &mut Outcome, folder: &Path, always: bool) {
    if !outcome.has_failed() && !always {
        return tidy(folder);
    }
    match results::write(folder, outcome) {
        Ok(()) => outcome.folder = Some(folder.to_owned()),
        Err(error) => {
            let text = format!("cannot write to {}: {}", folder.display(), in_words(&error));
            outcome.verdict = match std::mem::replace(&mut outcome.verdict, Verdict::Passed) {
                Verdict::Failed(mut faults) => {
                    faults.push(text);
                    Verdict::Failed(faults)
                }
                Verdict::Passed | Verdict::Skipped(_) => Verdict::Failed(vec![text]),
            };
        }
    }
}

/// Takes a folder of results away.
fn tidy(folder: &Path) {
    // What cannot be removed is in nobody's way.
    let _left = std::fs::remove_dir_all(folder);
}

/// What cannot be written, or would replace anything but an older report, is said before anything runs.
fn check_reports(options: &Test) -> Result<(), Failure> {
    let reports = [(&options.junit, outputs::JUNIT), (&options.report, outputs::HTML)];
    for (path, beginning) in reports.iter().filter_map(|(path, beginning)| Some((path.as_ref()?, *beginning))) {
        outputs::check_report(path, beginning)?;
    }
    Ok(())
}

/// Writes the reports, on a thread that may hang: a report may be a pipe that nobody reads.
async fn write_reports(options: &Test, outcomes: Vec<Outcome>) -> Result<Vec<Outcome>, Failure> {
    let (to_junit, to_html) = (options.junit.clone(), options.report.clone());
    let writing = tokio::task::spawn_blocking(move || {
        let write = |path: &Path, text: String| {
            let written = private_file::write(path, text);
            written.map_err(|error| Failure::internal(format!("cannot write {}: {error}", path.display())))
        };
        if let Some(path) = &to_junit {
            write(path, junit::text(&outcomes).map_err(Failure::internal)?)?;
        }
        if let Some(path) = &to_html {
            write(path, html::text(&outcomes))?;
        }
        Ok(outcomes)
    });
    let written = tokio::time::timeout(REPORT_PATIENCE, writing).await;
    let written = written.map_err(|_| Failure::internal("cannot write the reports: nobody takes them"))?;
    written.map_err(Failure::internal)?
}

//! Runs as they go on: on a terminal a line each that says what it is doing, elsewhere a line when one is over.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::events::{TestEvent, TestRun};
use crate::calltest::judge::outcome::{Outcome, Verdict};
use crate::output::printer::Printer;
use crate::output::sanitize::harmless;
use crate::output::streams::bars;

/// How often a line on a terminal moves.
const TICK: Duration = Duration::from_millis(100);

/// Tells of runs.
pub(crate) struct Progress {
    printer: Arc<Printer>,
    bars: MultiProgress,
    style: Style,
}

/// Marks, with colours where somebody looks.
#[derive(Clone, Copy)]
struct Style {
    colours: bool,
}

impl Style {
    fn mark(self, verdict: &Verdict) -> String {
        let (word, colour) = match verdict {
            Verdict::Passed => ("ok  ", 32),
            Verdict::Failed(_) => ("FAIL", 31),
            Verdict::Skipped(_) => ("skip", 33),
        };
        if self.colours { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() }
    }
}

/// The line of one run.
pub(crate) struct Running {
    bar: ProgressBar,
    title: String,
}

impl Running {
    /// Says what it is doing.
    pub(crate) fn note(&self, what: &str) {
        self.bar.set_message(harmless(&format!("{}: {what}", self.title)));
    }
}

impl Progress {
    pub(crate) fn new(printer: Arc<Printer>) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let live = printer.is_text() && std::io::stderr().is_terminal();
        let target = if live { bars() } else { ProgressDrawTarget::hidden() };
        Self { printer, bars: MultiProgress::with_draw_target(target), style: Style { colours } }
    }

    /// A run begins.
    pub(crate) fn begin(&self, title: &str) -> Running {
        let bar = self.bars.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template("  {spinner} {wide_msg} {elapsed}");
        bar.set_style(style.expect("the template is fixed"));
        bar.enable_steady_tick(TICK);
        let running = Running { bar, title: title.to_owned() };
        running.note("starting");
        running
    }

    /// It is over.
    pub(crate) fn end(&self, running: &Running, outcome: &Outcome) {
        running.bar.finish_and_clear();
        self.tell(outcome);
    }

    /// Tells of a run that is over, or was never begun.
    pub(crate) fn tell(&self, outcome: &Outcome) {
        if self.printer.is_json() {
            self.printer.tell(&TestEvent::TestRun(Box::new(TestRun::of(outcome))));
        } else if self.printer.is_text() || outcome.has_failed() {
            self.bars.suspend(|| self.printer.coloured_result(&lines(outcome, self.style)));
        }
    }
}

/// A run that is over: one line, and below it what went wrong.
fn lines(outcome: &Outcome, style: Style) -> String {
    let seconds = outcome.took.as_secs_f64();
    let mut text = format!("{} {:<48} {seconds:>6.1} s", style.mark(&outcome.verdict), harmless(&outcome.title()));
    if let Verdict::Skipped(reason) = &outcome.verdict {
        text += &format!("\n       {}", harmless(reason));
    }
    for fault in outcome.faults() {
        text += &format!("\n       {}", harmless(&fault));
    }
    if outcome.has_failed()
        && let Some(folder) = &outcome.folder
    {
        text += &format!("\n       kept in {}", harmless(&folder.display().to_string()));
    }
    text
}

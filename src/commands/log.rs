//! `tring log`: the calls that were, newest first.

use std::io::{self, BufRead as _, IsTerminal as _};

use signalling::call::EndReason;

use crate::cli::Log;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::call_log::{CallLog, Entry, Outcome, Read};
use crate::phone::events;
use crate::platform::local_time;

pub(crate) fn run(options: &Log, printer: &Printer) -> Result<ExitStatus, Failure> {
    let Some(log) = CallLog::of_this_user() else {
        return Err(Failure::usage("there is no call log without a home; set HOME or XDG_STATE_HOME"));
    };
    if options.clear {
        return clear(&log, options, printer);
    }
    let Read { entries, broken, .. } = read(&log)?;
    let wanted = entries.iter().rev().filter(|entry| is_wanted(entry, options)).take(options.number);
    if printer.is_json() {
        for entry in wanted {
            printer.result(&serde_json::to_string(entry).map_err(Failure::internal)?);
        }
    } else {
        printer.result(table(wanted).trim_end());
    }
    if broken > 0 {
        tracing::warn!(file = %log.path().display(), broken, "unreadable lines of the call log are left out");
    }
    Ok(ExitStatus::Done)
}

/// Reads the log.
///
/// # Errors
/// A [`Failure`] that names the file.
pub(super) fn read(log: &CallLog) -> Result<Read, Failure> {
    log.read().map_err(|error| Failure::usage(format!("cannot read {}: {error}", log.path().display())))
}

fn is_wanted(entry: &Entry, options: &Log) -> bool {
    let is_missed = match entry.outcome() {
        Outcome::Missed | Outcome::TurnedAway => true,
        Outcome::Out | Outcome::In | Outcome::Declined => false,
    };
    options.peer.as_ref().is_none_or(|peer| *peer == entry.peer) && (!options.missed || is_missed)
}

fn table<'a>(entries: impl Iterator<Item = &'a Entry>) -> String {
    let rows: Vec<[String; 5]> = entries.map(row).collect();
    if rows.is_empty() {
        return "no calls".to_owned();
    }
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// When, who, which way, how long, how it ended.
fn row(entry: &Entry) -> [String; 5] {
    let way = match entry.outcome() {
        Outcome::Out => "out",
        Outcome::In => "in",
        Outcome::Missed => "missed",
        Outcome::TurnedAway => "turned away",
        Outcome::Declined => "declined",
    };
    [
        local_time::date_and_time(entry.started),
        entry.peer.to_string(),
        way.to_owned(),
        entry.duration_ms.map_or_else(|| "-".to_owned(), length),
        format!("{}{}", ending(entry.reason.as_str()), mark(entry)),
    ]
}

/// What is known of the other side of a call: nothing of calls of earlier versions, nothing new of those whose words nobody
/// compared.
const fn mark(entry: &Entry) -> &'static str {
    match (entry.sealed, entry.verified) {
        (Some(false), _) => "; not verified",
        (_, Some(true)) => "; verified",
        _ => "",
    }
}

/// As `7 s`, `3:07` (minutes) or `1:02:03`.
fn length(ms: f64) -> String {
    let seconds = (ms / 1000.0).round().clamp(0.0, 1e9) as u64;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes}:{:02}", seconds % 60),
        (hours, minutes) => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
    }
}

fn clear(log: &CallLog, options: &Log, printer: &Printer) -> Result<ExitStatus, Failure> {
    if !options.yes {
        if !io::stdin().is_terminal() {
            return Err(Failure::usage("nobody can be asked here whether to forget all calls; pass --yes"));
        }
        printer.result(&format!("forget all calls in {}? [y/N]", log.path().display()));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(Failure::internal)?;
        if !["y", "yes"].contains(&answer.trim()) {
            return Ok(ExitStatus::Done);
        }
    }
    log.clear().map_err(|error| Failure::internal(format!("cannot remove {}: {error}", log.path().display())))?;
    Ok(ExitStatus::Done)
}

/// Why a call ended, for people; a word of a newer program stays as it is.
fn ending(reason: &str) -> &str {
    match EndReason::of_name(reason) {
        Some(known) => events::ending(known),
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phone::call_log::{Direction, VERSION, Word};

    fn entry(
        peer: &str,
        direction: Direction,
        answered: bool,
        duration_ms: Option<f64>,
        reason: &'static str,
    ) -> Entry {
        Entry {
            v: VERSION,
            started: 1_700_000_000_000,
            direction,
            peer: peer.parse().unwrap(),
            call_id: None,
            answered,
            duration_ms,
            reason: Word::known(reason),
            status: 0,
            path: None,
            received: None,
            sealed: None,
            verified: None,
        }
    }

    #[test]
    fn columns_stand_under_each_other() {
        let entries = [
            entry("front-door", Direction::In, true, Some(187_000.0), "remote-hangup"),
            entry("bob", Direction::In, false, None, "remote-cancel"),
            Entry {
                sealed: Some(true),
                verified: Some(true),
                ..entry("bob", Direction::Out, true, Some(7_000.0), "hangup")
            },
            Entry {
                sealed: Some(true),
                verified: Some(false),
                ..entry("bob", Direction::Out, true, Some(7_000.0), "hangup")
            },
            entry("bob", Direction::Out, false, None, "no-answer"),
            Entry {
                sealed: Some(false),
                verified: Some(false),
                ..entry("door", Direction::Out, true, Some(1000.0), "hangup")
            },
        ];
        let table = table(entries.iter());
        let lines: Vec<&str> = table.lines().map(|line| &line[local_time::date_and_time(0).len()..]).collect();
        assert_eq!(
            lines,
            [
                "  front-door  in      3:07  the other side hung up",
                "  bob         missed  -     the caller gave up",
                "  bob         out     7 s   hung up; verified",
                "  bob         out     7 s   hung up",
                "  bob         out     -     no answer",
                "  door        out     1 s   hung up; not verified",
            ]
        );
    }

    #[test]
    fn lengths_read_like_a_clock() {
        for (ms, text) in [(0.0, "0 s"), (7_400.0, "7 s"), (187_000.0, "3:07"), (3_723_000.0, "1:02:03")] {
            assert_eq!(length(ms), text);
        }
    }
}

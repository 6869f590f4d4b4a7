//! From findings to lines for people and to an exit status. Pure.

use super::{Finding, Group, Verdict};
use crate::output::exit::ExitStatus;
use crate::output::sanitize::harmless;

/// Whether marks are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    /// As on a terminal.
    On,
    /// As in a file.
    Off,
}

/// What all findings come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conclusion {
    /// 0 when a call could work, else how it would end.
    pub(crate) status: ExitStatus,
    /// Lines that failed; another server may make up for them.
    pub(crate) failed: usize,
    /// Lines with a warning.
    pub(crate) warnings: usize,
}

impl Finding {
    /// The mark, as a word.
    pub(crate) const fn status(&self) -> &'static str {
        match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning { .. } => "warning",
            Verdict::Failed { .. } => "failed",
            Verdict::Skipped => "skipped",
        }
    }

    /// What to try.
    pub(crate) fn fix(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Warning { fix } | Verdict::Failed { fix, .. } => Some(fix),
            Verdict::Ok | Verdict::Skipped => None,
        }
    }

    const fn end(&self) -> Option<ExitStatus> {
        match self.verdict {
            Verdict::Failed { end, .. } => Some(end),
            Verdict::Ok | Verdict::Warning { .. } | Verdict::Skipped => None,
        }
    }
}

/// A finding as one line, with the advice below it.
pub(crate) fn line(finding: &Finding, colours: Colours) -> String {
    let mark = mark(finding, colours);
    // Colours pass the printer, so that what servers said is cleaned here.
    let target = finding.target.as_ref().map(|target| format!("{}: ", harmless(target))).unwrap_or_default();
    let mut text = format!("{mark} {:<10} {target}{}", finding.name, harmless(&finding.detail));
    if let Some(fix) = finding.fix() {
        text.push_str(&format!("\n{:19}try: {}", "", harmless(fix)));
    }
    text
}

/// The word that begins a line, padded to the longest; colours are those of traffic lights.
fn mark(finding: &Finding, colours: Colours) -> String {
    let word = format!("{:<7}", finding.status());
    let colour = match (&finding.verdict, colours) {
        (_, Colours::Off) => return word,
        (Verdict::Ok, Colours::On) => "32",
        (Verdict::Warning { .. }, Colours::On) => "33",
        (Verdict::Failed { .. }, Colours::On) => "31",
        (Verdict::Skipped, Colours::On) => "2",
    };
    format!("\x1b[{colour}m{word}\x1b[0m")
}

/// The last line.
pub(crate) fn closing(conclusion: &Conclusion) -> String {
    let counted = match (conclusion.failed, conclusion.warnings) {
        (0, 0) => String::new(),
        (0, warnings) => format!(" ({})", count(warnings, "warning")),
        (failed, 0) => format!(" ({failed} failed)"),
        (failed, warnings) => format!(" ({failed} failed, {})", count(warnings, "warning")),
    };
    let end = match conclusion.status {
        ExitStatus::Done => return format!("a call could work here{counted}"),
        ExitStatus::BrokerUnreachable => "the broker is not reached",
        ExitStatus::BrokerRefused => "the broker refuses",
        ExitStatus::NoPath => "there is no path for media",
        ExitStatus::NoMedia => "neither picture nor sound would come",
        ExitStatus::Device => "a device cannot be used",
        _ => "see above",
    };
    format!("a call would not work here: {end}, status {}{counted}", conclusion.status.code())
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// What all findings come to: of several reasons against a call the one with the lowest status.
pub(crate) fn conclude(findings: &[Finding]) -> Conclusion {
    let alone = findings.iter().filter(|finding| finding.group == Group::Alone).filter_map(Finding::end);
    let ends = alone.chain(of_brokers(findings)).chain(of_relays(findings));
    let status = ends.min_by_key(|end| end.code()).unwrap_or(ExitStatus::Done);
    let failed = findings.iter().filter(|finding| finding.end().is_some()).count();
    let warnings = findings.iter().filter(|finding| matches!(finding.verdict, Verdict::Warning { .. })).count();
    Conclusion { status, failed, warnings }
}

/// How the link would end, which tries brokers in their order: it goes on after one that is not reached or does not let
/// us in; rules that forbid a topic of calls end it at once.
fn of_brokers(findings: &[Finding]) -> Option<ExitStatus> {
    let mut closed = Vec::new();
    for index in 0.. {
        let mut lines = findings.iter().filter(|finding| finding.group == Group::Broker(index)).peekable();
        if lines.peek().is_none() {
            break;
        }
        let failed = lines.find_map(|finding| finding.end().map(|end| (finding.name, end)));
        match failed {
            None => return None,
            Some(("topics", end)) => return Some(end),
            Some(("broker", _)) => closed.push(None),
            Some((_, end)) => closed.push(Some(end)),
        }
    }
    // The last one that was there and said no is the one whose word is told.
    let refused = closed.iter().rev().flatten().next().copied();
    (!closed.is_empty()).then(|| refused.unwrap_or(ExitStatus::BrokerUnreachable))
}

/// Without any relay that works a path is left to luck.
fn of_relays(findings: &[Finding]) -> Option<ExitStatus> {
    let mut end = None;
    for index in 0.. {
        let mut lines = findings.iter().filter(|finding| finding.group == Group::Turn(index)).peekable();
        if lines.peek().is_none() {
            break;
        }
        // One that works is enough.
        end = Some(lines.find_map(Finding::end)?);
    }
    end
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn finding(name: &'static str, group: Group, verdict: Verdict) -> Finding {
        let detail = "nothing listens there".to_owned();
        Finding { name, target: Some("mqtt://h:1883".into()), group, verdict, detail, took: Duration::ZERO }
    }

    fn failed(name: &'static str, group: Group, end: ExitStatus) -> Finding {
        finding(name, group, Verdict::Failed { fix: "start it".into(), end })
    }

    fn ok(name: &'static str, group: Group) -> Finding {
        finding(name, group, Verdict::Ok)
    }

    fn status(findings: &[Finding]) -> ExitStatus {
        conclude(findings).status
    }

    #[test]
    fn a_line_has_its_mark_its_target_and_advice_below() {
        let line = |verdict, colours| line(&finding("broker", Group::Broker(0), verdict), colours);
        assert_eq!(line(Verdict::Ok, Colours::Off), "ok      broker     mqtt://h:1883: nothing listens there");
        assert_eq!(
            line(Verdict::Failed { fix: "start it".into(), end: ExitStatus::BrokerUnreachable }, Colours::Off),
            "failed  broker     mqtt://h:1883: nothing listens there\n                   try: start it"
        );
        let coloured = line(Verdict::Warning { fix: "wait".into() }, Colours::On);
        assert!(coloured.starts_with("\x1b[33mwarning\x1b[0m broker"), "{coloured:?}");
        assert!(line(Verdict::Skipped, Colours::Off).starts_with("skipped broker"));
    }

    #[test]
    fn the_lowest_status_counts_and_warnings_do_not() {
        use ExitStatus::{BrokerUnreachable, Device, Done, NoMedia};
        let all = [failed("camera", Group::Alone, Device), failed("direct", Group::Alone, NoMedia)];
        assert_eq!(conclude(&all), Conclusion { status: NoMedia, failed: 2, warnings: 0 });
        assert_eq!(status(&[all[0].clone(), failed("broker", Group::Broker(0), BrokerUnreachable)]), BrokerUnreachable);
        let warned =
            [finding("stun", Group::Alone, Verdict::Warning { fix: String::new() }), ok("turn", Group::Turn(0))];
        assert_eq!(conclude(&warned), Conclusion { status: Done, failed: 0, warnings: 1 });
        assert_eq!(status(&[]), Done);
    }

    #[test]
    fn one_broker_of_the_list_is_enough_unless_the_link_ends_before_it() {
        use ExitStatus::{BrokerRefused, BrokerUnreachable, Done};
        let (first, second) = (Group::Broker(0), Group::Broker(1));
        let away = |group| failed("broker", group, BrokerUnreachable);
        let refused = |group| failed("login", group, BrokerRefused);
        let untrusted = |group| failed("tls", group, BrokerUnreachable);
        let forbidden = |group| failed("topics", group, BrokerRefused);
        for (findings, expected) in [
            ([away(first), ok("topics", second)], Done),
            ([refused(first), ok("topics", second)], Done),
            ([forbidden(first), ok("topics", second)], BrokerRefused),
            ([away(first), away(second)], BrokerUnreachable),
            ([away(first), refused(second)], BrokerRefused),
            ([refused(first), away(second)], BrokerRefused),
            ([refused(first), untrusted(second)], BrokerUnreachable),
            ([ok("topics", first), forbidden(second)], Done),
        ] {
            let named: Vec<_> = findings.iter().map(|finding| (finding.name, finding.status())).collect();
            assert_eq!(status(&findings), expected, "{named:?}");
        }
    }

    #[test]
    fn one_relay_is_enough() {
        let (first, second) = (Group::Turn(0), Group::Turn(1));
        let broken = |name, group| failed(name, group, ExitStatus::NoPath);
        assert_eq!(status(&[broken("turn", first), ok("turn", second), ok("relay", second)]), ExitStatus::Done);
        assert_eq!(status(&[ok("turn", first), broken("relay", first)]), ExitStatus::NoPath);
        assert_eq!(status(&[broken("turn", first), broken("relay", second)]), ExitStatus::NoPath);
    }

    #[test]
    fn the_last_line_says_how_a_call_would_end() {
        let of = |status, failed, warnings| closing(&Conclusion { status, failed, warnings });
        assert_eq!(of(ExitStatus::Done, 0, 0), "a call could work here");
        assert_eq!(of(ExitStatus::Done, 0, 1), "a call could work here (1 warning)");
        assert_eq!(
            of(ExitStatus::BrokerRefused, 1, 2),
            "a call would not work here: the broker refuses, status 21 (1 failed, 2 warnings)"
        );
    }
}

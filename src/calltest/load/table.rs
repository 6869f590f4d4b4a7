//! A load for people: one line a step, and below it why calls failed.

use std::fmt::Write as _;

use super::tally::StepSummary;

/// The columns: title and width.
const COLUMNS: [(&str, usize); 13] = [
    ("calls", 5),
    ("placed", 7),
    ("connected", 10),
    ("failed", 7),
    ("froze", 6),
    ("set-up p50", 11),
    ("p95", 8),
    ("p99", 8),
    ("loss p95", 9),
    ("jitter p95", 11),
    ("trip p50", 9),
    ("cores", 6),
    ("MB", 6),
];

/// The line over all steps.
pub(crate) fn head() -> String {
    COLUMNS.iter().map(|(title, width)| format!("{title:>width$}")).collect()
}

/// The line of one step, and lines about what failed.
pub(crate) fn row(step: &StepSummary) -> String {
    let ms = |value: Option<f64>, digits: usize| value.map_or("n/a".into(), |ms| format!("{ms:.digits$} ms"));
    let cells = [
        step.at_once.to_string(),
        step.placed.to_string(),
        step.connected.to_string(),
        step.failed.to_string(),
        step.frozen.to_string(),
        ms(step.setup_ms.p50, 0),
        ms(step.setup_ms.p95, 0),
        ms(step.setup_ms.p99, 0),
        step.loss.p95.map_or("n/a".into(), |loss| format!("{:.2} %", loss * 100.0)),
        ms(step.jitter_ms.p95, 1),
        ms(step.round_trip_ms.p50, 1),
        step.machine.cores.map_or("n/a".into(), |cores| format!("{cores:.2}")),
        step.machine.memory_bytes.map_or("n/a".into(), |bytes| format!("{}", bytes / 1_000_000)),
    ];
    let mut text: String = COLUMNS.iter().zip(cells).map(|((_, width), cell)| format!("{cell:>width$}")).collect();
    for (cause, count) in &step.causes {
        let detail = step.details.get(cause).map(|detail| format!(": {detail}")).unwrap_or_default();
        // Writing to a String cannot fail.
        let _infallible = write!(text, "\n      {count} × {cause}{detail}");
    }
    text
}

/// The last line: what a call costs, from the largest step.
pub(crate) fn foot(steps: &[StepSummary]) -> Option<String> {
    let largest = steps.iter().max_by_key(|step| step.at_once)?;
    let machine = largest.machine;
    let (cores, bytes) = machine.cores_per_call.zip(machine.memory_per_call_bytes)?;
    let megabytes = bytes as f64 / 1e6;
    Some(format!("each of {} calls at once took {cores:.3} cores and {megabytes:.1} MB", largest.at_once))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calltest::load::machine::Machine;
    use crate::calltest::load::tally::Spread;

    #[test]
    fn a_step_is_a_line_under_the_head_and_its_failures_follow() {
        let step = StepSummary {
            at_once: 20,
            placed: 20,
            connected: 17,
            failed: 3,
            causes: [("offline".to_owned(), 2), ("busy".to_owned(), 1)].into(),
            details: [("offline".to_owned(), "nobody there".to_owned())].into(),
            setup_ms: Spread { p50: Some(81.4), p95: Some(140.0), p99: Some(1500.0) },
            machine: Machine { cores: Some(0.52), memory_bytes: Some(123_456_789), ..Machine::default() },
            ..StepSummary::default()
        };
        let row = row(&step);
        let lines: Vec<&str> = row.lines().collect();
        assert_eq!(lines[0].chars().count(), head().chars().count());
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>()[..7], ["20", "20", "17", "3", "0", "81", "ms"]);
        assert!(lines[0].ends_with("0.52   123") && lines[0].contains("n/a"), "unknown is no zero: {row}");
        assert_eq!(lines[1..], ["      1 × busy", "      2 × offline: nobody there"]);
        assert_eq!(foot(&[step]), None);
    }
}

//! A report to look at: one HTML file that needs nothing else, with plots over time of each peer.

use std::fmt::Write as _;

use serde_json::Value;

use super::plot::{self, Line};
use crate::calltest::judge::expect::Check;
use crate::calltest::judge::outcome::{Outcome, PeerOutcome, Verdict};
use crate::output::sanitize::is_harmful;
use crate::platform::local_time::date_and_time;

const STYLE: &str = include_str!("report.css");

/// The report.
pub(crate) fn text(outcomes: &[Outcome]) -> String {
    let count = |is: fn(&Verdict) -> bool| outcomes.iter().filter(|outcome| is(&outcome.verdict)).count();
    let passed = count(|verdict| matches!(verdict, Verdict::Passed));
    let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    let skipped = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>tring test</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\
         <h1>Call tests</h1><p class=\"sum\"><b class=\"ok\">{passed} passed</b> <b class=\"fail\">{failed} failed</b> \
         <b class=\"skip\">{skipped} skipped</b> <small>tring {}, {}</small></p>",
        env!("CARGO_PKG_VERSION"),
        outcomes.first().map(|first| date_and_time(first.started)).unwrap_or_default()
    );
    page += "<table class=\"runs\"><tr><th></th><th>run</th><th>time</th></tr>";
    for (n, outcome) in outcomes.iter().enumerate() {
        let (class, word) = mark(&outcome.verdict);
        // Writing to a string does not fail.
        let _infallible = write!(
            page,
            "<tr><td class=\"{class}\">{word}</td><td><a href=\"#run{n}\">{}</a></td><td>{:.1} s</td></tr>",
            escape(&outcome.title()),
            outcome.took.as_secs_f64()
        );
    }
    page += "</table>";
    for (n, outcome) in outcomes.iter().enumerate() {
        page += &run(n, outcome);
    }
    page + "</body></html>\n"
}

const fn mark(verdict: &Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Passed => ("ok", "ok"),
        Verdict::Failed(_) => ("fail", "FAIL"),
        Verdict::Skipped(_) => ("skip", "skip"),
    }
}

fn run(n: usize, outcome: &Outcome) -> String {
    let (class, word) = mark(&outcome.verdict);
    let mut text =
        format!("<section id=\"run{n}\"><h2><span class=\"{class}\">{word}</span> {}</h2>", escape(&outcome.title()));
    if let Verdict::Skipped(reason) = &outcome.verdict {
        text += &format!("<p>{}</p>", escape(reason));
    }
    let faults: String = outcome.faults().iter().map(|fault| format!("<li>{}</li>", escape(fault))).collect();
    if !faults.is_empty() {
        text += &format!("<ul class=\"faults\">{faults}</ul>");
    }
    if !outcome.checks.is_empty() {
        let rows: String = outcome.checks.iter().map(row).collect();
        text += &format!(
            "<details{}><summary>{} expectations</summary><table><tr><th></th><th>peer</th><th>step</th><th>figure</th>\
             <th>expected</th><th>seen</th></tr>{rows}</table></details>",
            if outcome.has_failed() { " open" } else { "" },
            outcome.checks.len()
        );
    }
    text += &outcome.peers.iter().map(peer).collect::<String>();
    if let Some(exchange) = &outcome.exchange {
        text += &format!("<details><summary>signalling</summary><pre>{}</pre></details>", escape(exchange));
    }
    text + "</section>"
}

fn row(check: &Check) -> String {
    let (class, word) = if check.passed { ("ok", "ok") } else { ("fail", "FAIL") };
    let step = check.step.map(|step| step.to_string()).unwrap_or_default();
    let seen = check.seen.as_deref().unwrap_or("not known");
    format!(
        "<tr><td class=\"{class}\">{word}</td><td>{}</td><td>{step}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        escape(&check.peer),
        check.expectation,
        escape(&check.wanted),
        escape(seen)
    )
}

fn peer(peer: &PeerOutcome) -> String {
    let status = peer.status.map_or_else(|| "no exit status".to_owned(), |status| format!("exit status {status}"));
    let mut text = format!("<h3>{} <small>{} · {status}</small></h3>", escape(&peer.name), escape(&peer.id));
    let plots: String = plots(&peer.events).into_iter().collect();
    if !plots.is_empty() {
        text += &format!("<div class=\"plots\">{plots}</div>");
    }
    let start = peer.events.first().and_then(|event| event["ts"].as_f64()).unwrap_or_default();
    let events: String = peer.events.iter().filter_map(|told| event(told, start)).collect();
    text += &format!("<details><summary>events</summary><table class=\"events\">{events}</table></details>");
    if !peer.log.is_empty() {
        text += &format!("<details><summary>log</summary><pre>{}</pre></details>", escape(&peer.log.join("\n")));
    }
    text
}

/// An event as a line; figures of each second are in the plots.
fn event(event: &Value, start: f64) -> Option<String> {
    let name = event["event"].as_str().filter(|name| *name != "stats")?;
    let fields = event.as_object()?.iter().filter(|(key, value)| {
        !matches!(key.as_str(), "v" | "ts" | "event" | "call_id") && !value.is_null() && name != "summary"
    });
    let fields: Vec<String> = fields.map(|(key, value)| format!("{key} {value}")).collect();
    let at = event["ts"].as_f64().map(|ts| format!("+{:.3} s", (ts - start) / 1000.0)).unwrap_or_default();
    Some(format!("<tr><td>{at}</td><td>{}</td><td>{}</td></tr>", escape(name), escape(&fields.join(", "))))
}

/// Figures that are closer together in time are rates of next to nothing.
const BETWEEN_MS_MIN: f64 = 500.0;

/// One plot.
struct Plot {
    title: &'static str,
    unit: &'static str,
    lines: &'static [Source],
}

/// One line of it: its name, where its value stands in `stats`, and what to multiply that by.
struct Source(&'static str, &'static str, f64);

/// What is plotted as it is told.
const PLOTS: &[Plot] = &[
    Plot {
        title: "video bitrate",
        unit: "kbit/s",
        lines: &[
            Source("received", "/received/video_bps", 0.001),
            Source("sent", "/sent/video_bps", 0.001),
            Source("estimate", "/target_bps", 0.001),
        ],
    },
    Plot {
        title: "pictures a second",
        unit: "",
        lines: &[Source("received", "/received/fps", 1.0), Source("sent", "/sent/fps", 1.0)],
    },
    Plot { title: "round trip", unit: "ms", lines: &[Source("selected pair", "/pair/round_trip_ms", 1.0)] },
    Plot {
        title: "jitter",
        unit: "ms",
        lines: &[Source("video", "/received/video/jitter_ms", 1.0), Source("sound", "/received/audio/jitter_ms", 1.0)],
    },
    Plot { title: "PSNR", unit: "dB", lines: &[Source("luma", "/received/video/psnr_db", 1.0)] },
    Plot { title: "MOS, estimated", unit: "", lines: &[Source("sound", "/received/audio/mos", 1.0)] },
];

/// What is plotted of counters: their growth from second to second.
const GROWTHS: &[Plot] = &[
    Plot {
        title: "packets lost on the way, a second",
        unit: "",
        lines: &[Source("video", "/received/video/missing", 1.0), Source("sound", "/received/audio/missing", 1.0)],
    },
    Plot { title: "frozen, a second", unit: "ms", lines: &[Source("picture", "/received/video/frozen_ms", 1.0)] },
];

/// The figures of each second; what a step asked for in between shows the same call.
fn seconds_of(events: &[Value]) -> Vec<&Value> {
    let mut kept: Vec<&Value> = Vec::new();
    for stats in events.iter().filter(|event| event["event"] == "stats") {
        let since = kept.last().and_then(|last| Some(stats["ts"].as_f64()? - last["ts"].as_f64()?));
        if since.is_none_or(|since| since >= BETWEEN_MS_MIN) {
            kept.push(stats);
        }
    }
    kept
}

fn plots(events: &[Value]) -> Vec<String> {
    let stats = seconds_of(events);
    let Some(start) = stats.first().and_then(|stats| stats["ts"].as_f64()) else { return Vec::new() };
    let seconds = |stats: &Value| stats["ts"].as_f64().map(|ts| (ts - start) / 1000.0);
    let value = |stats: &Value, pointer: &str| stats.pointer(pointer).and_then(Value::as_f64);
    let line = |Source(label, pointer, scale): &Source| {
        let point = |stats: &&Value| Some((seconds(stats)?, value(stats, pointer)? * scale));
        Line { label: (*label).to_owned(), points: stats.iter().filter_map(point).collect() }
    };
    let growth = |Source(label, pointer, scale): &Source| {
        let point = |pair: &[&Value]| {
            let grown = value(pair[1], pointer)? - value(pair[0], pointer)?;
            Some((seconds(pair[1])?, grown.max(0.0) * scale))
        };
        Line { label: (*label).to_owned(), points: stats.windows(2).filter_map(point).collect() }
    };
    let mut all: Vec<(&str, &str, Vec<Line>)> = Vec::new();
    all.push(("latency", "ms", latencies(&stats, &seconds)));
    all.extend(PLOTS.iter().map(|plot| (plot.title, plot.unit, plot.lines.iter().map(line).collect())));
    all.extend(GROWTHS.iter().map(|plot| (plot.title, plot.unit, plot.lines.iter().map(growth).collect())));
    all.into_iter()
        .filter_map(|(title, unit, mut lines)| {
            lines.retain(|line| !line.points.is_empty());
            let svg = plot::svg(&lines)?;
            let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
            Some(format!("<figure><figcaption>{title}{unit} {}</figcaption>{svg}</figure>", plot::legend(&lines)))
        })
        .collect()
}

/// Median and 95th percentile of each second's pictures.
fn latencies(stats: &[&Value], seconds: &dyn Fn(&Value) -> Option<f64>) -> Vec<Line> {
    let of = |percent: f64| {
        let point = |stats: &&Value| {
            let list = stats["received"]["video"]["latencies_ms"].as_array()?;
            let mut list: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
            list.sort_by(f64::total_cmp);
            Some((seconds(stats)?, crate::calltest::judge::facts::nearest_rank(&list, percent)?))
        };
        stats.iter().filter_map(point).collect()
    };
    vec![
        Line { label: "median".to_owned(), points: of(50.0) },
        Line { label: "95th percentile".to_owned(), points: of(95.0) },
    ]
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            c if is_harmful(c) && c != '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_stranger_wrote_is_text() {
        assert_eq!(escape("<script>&\"\x1b[31m\n"), "&lt;script&gt;&amp;&quot; [31m\n");
    }

    #[test]
    fn figures_of_each_second_become_plots() {
        let stats = |ts: u64, lost: u64| json!({"event": "stats", "ts": ts, "received": {"fps": 30, "video": {"missing": lost, "latencies_ms": [5, 6]}}});
        let plots = plots(&[stats(0, 0), stats(1000, 4), stats(2000, 4)]);
        assert_eq!(plots.len(), 3, "latency, pictures a second, loss: {plots:?}");
        assert!(plots.iter().all(|plot| plot.contains("<svg") && plot.contains("polyline")), "{plots:?}");
        assert!(super::plots(&[]).is_empty());
    }
}

//! Whole calls between two processes on this machine, measured by `tring demo`: set-up, latency, processor, memory.
//!
//! Each figure is the median, least and most of several calls of one run. Compare figures of one run only: machines and
//! their load differ. [`AGAINST`] names another program to compare with.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and may fail loudly")]

use std::ffi::{OsStr, OsString};
use std::process::Command;

use serde_json::Value;

/// Calls of each kind.
const CALLS: usize = 5;

/// Length of a call.
const DURATION: &str = "10s";

/// A name, and where the figure stands in a peer's summary.
type Figure = (&'static str, fn(&Value) -> Option<f64>);

const FIGURES: [Figure; 8] = [
    ("answer to first picture, ms", |s| s["setup"]["answer_to_first_frame_ms"].as_f64()),
    ("  of it ICE, ms", |s| s["setup"]["ice_ms"].as_f64()),
    ("  of it DTLS, ms", |s| s["setup"]["dtls_ms"].as_f64()),
    ("  of it first picture, ms", |s| s["setup"]["first_frame_ms"].as_f64()),
    ("latency p50, ms", |s| s["received"]["video"]["latency_p50_ms"].as_f64()),
    ("latency p95, ms", |s| s["received"]["video"]["latency_p95_ms"].as_f64()),
    ("processor of one end, cores", |s| s["process"]["cores"].as_f64()),
    ("memory of one end, MB", |s| s["process"]["memory_peak_bytes"].as_f64().map(|bytes| bytes / 1e6)),
];

/// Names another program to compare with: its calls are made in turn with ours, and each figure has their ratio.
const AGAINST: &str = "TRING_BENCH_AGAINST";

fn main() {
    let ours = OsString::from(env!("CARGO_BIN_EXE_tring"));
    let other = std::env::var_os(AGAINST).filter(|program| !program.is_empty());
    for (name, options) in [
        ("VP8 640x480@30, direct", &["--codec", "vp8"][..]),
        ("H.264 640x480@30, direct", &["--codec", "h264"]),
        ("VP8 640x480@30, relayed by the embedded TURN server", &["--codec", "vp8", "--relay-only"]),
    ] {
        let (mut of_ours, mut of_other) = (Vec::new(), Vec::new());
        for _ in 0..CALLS {
            of_ours.extend(call(&ours, options));
            if let Some(other) = &other {
                of_other.extend(call(other, options));
            }
        }
        println!("\n{name}: {CALLS} calls of {DURATION}, both ends");
        match &other {
            None => println!("  {:32}{:>9}{:>9}{:>9}", "", "median", "least", "most"),
            Some(other) => {
                println!("  {:32}{:>9}{:>9}{:>9}", "", "median", "other", "ratio");
                println!("  other: {}", other.to_string_lossy());
            }
        }
        for (figure, read) in FIGURES {
            let ours = Spread::of(&of_ours, read);
            match (ours, Spread::of(&of_other, read)) {
                (Some(ours), Some(other)) => {
                    println!("  {figure:32}{:9.2}{:9.2}{:9.2}", ours.median, other.median, ours.median / other.median);
                }
                (Some(ours), None) => println!("  {figure:32}{:9.2}{:9.2}{:9.2}", ours.median, ours.least, ours.most),
                (None, _) => println!("  {figure:32}{:>9}", "n/a"),
            }
        }
    }
}

/// A figure over several calls.
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    /// `None` where no call has the figure.
    fn of(summaries: &[Value], read: fn(&Value) -> Option<f64>) -> Option<Self> {
        let mut values: Vec<f64> = summaries.iter().filter_map(read).collect();
        values.sort_by(f64::total_cmp);
        Some(Self { least: *values.first()?, median: *values.get(values.len() / 2)?, most: *values.last()? })
    }
}

/// The summaries of both ends of one call.
fn call(program: &OsStr, options: &[&str]) -> Vec<Value> {
    let recording = std::env::temp_dir().join(format!("tring-bench-{}.{}", std::process::id(), extension(options)));
    let output = Command::new(program)
        .args(["demo", "--json", "--show", "none", "--duration", DURATION, "--record"])
        .arg(&recording)
        .args(options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(recording).unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == "summary").collect()
}

fn extension(options: &[&str]) -> &'static str {
    if options.contains(&"h264") { "mp4" } else { "webm" }
}

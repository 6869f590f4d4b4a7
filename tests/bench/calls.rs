//! Whole calls between two processes on this machine, measured by `tring demo`: set-up, latency, processor, memory.
//!
//! Each figure is the median, least and most of several calls of one run. Compare figures of one run only: machines and
//! their load differ.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and may fail loudly")]

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

fn main() {
    for (name, options) in [
        ("VP8 640x480@30, direct", &["--codec", "vp8"][..]),
        ("H.264 640x480@30, direct", &["--codec", "h264"]),
        ("VP8 640x480@30, relayed by the embedded TURN server", &["--codec", "vp8", "--relay-only"]),
    ] {
        let summaries: Vec<Value> = (0..CALLS).flat_map(|_| call(options)).collect();
        println!(
            "\n{name}: {CALLS} calls of {DURATION}, both ends\n  {:32}{:>9}{:>9}{:>9}",
            "", "median", "least", "most"
        );
        for (figure, read) in FIGURES {
            let mut values: Vec<f64> = summaries.iter().filter_map(read).collect();
            values.sort_by(f64::total_cmp);
            match (values.first(), values.get(values.len() / 2), values.last()) {
                (Some(least), Some(median), Some(most)) => {
                    println!("  {figure:32}{median:9.2}{least:9.2}{most:9.2}");
                }
                _ => println!("  {figure:32}{:>9}", "n/a"),
            }
        }
    }
}

/// The summaries of both ends of one call.
fn call(options: &[&str]) -> Vec<Value> {
    let recording = std::env::temp_dir().join(format!("tring-bench-{}.{}", std::process::id(), extension(options)));
    let output = Command::new(env!("CARGO_BIN_EXE_tring"))
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

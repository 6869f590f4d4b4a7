//! What the events of a peer say about its call, by name: figures and words. Pure.
//!
//! - [`of_call`]: the whole call, from its events, its last `summary` and the exit status
//! - [`of_window`]: a part of it, from the `stats` events at its ends and in between
//!
//! A figure that is not known is absent, and an expectation of it fails: docs/TESTING.md defines each.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::calltest::judge::bound::Unit;

/// A figure that can be expected.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) key: &'static str,
    pub(crate) unit: Unit,
    /// Whether a part of a call has it too.
    pub(crate) span: Span,
    /// What it is, in a sentence, for editors and `--help`.
    pub(crate) meaning: &'static str,
}

/// Of which stretch of a call a figure can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// The whole call alone.
    Call,
    /// A part of it too.
    Any,
}

const fn figure(key: &'static str, unit: Unit, span: Span, meaning: &'static str) -> Figure {
    Figure { key, unit, span, meaning }
}

/// All figures.
pub(crate) const FIGURES: &[Figure] = &[
    figure("answered_within", Unit::Time, Span::Call, "from dialling to the answer"),
    figure("connected_within", Unit::Time, Span::Call, "from the answer to a path with keys (ICE and DTLS)"),
    figure("setup_within", Unit::Time, Span::Call, "from dialling to a path with keys; of a callee, from ringing"),
    figure("first_frame_within", Unit::Time, Span::Call, "from the answer to the first picture of the other side"),
    figure("first_audio_within", Unit::Time, Span::Call, "from the answer to the first sound of the other side"),
    figure("reconnected_within", Unit::Time, Span::Call, "the longest time from a lost path to the next one"),
    figure("duration", Unit::Time, Span::Call, "from connected to the end"),
    figure("fps", Unit::Plain, Span::Any, "pictures decoded a second"),
    figure("sent_fps", Unit::Plain, Span::Any, "pictures encoded a second"),
    figure("frames", Unit::Plain, Span::Any, "pictures decoded"),
    figure("video_bitrate", Unit::Rate, Span::Any, "RTP payload of the video that came"),
    figure("audio_bitrate", Unit::Rate, Span::Any, "RTP payload of the sound that came"),
    figure("sent_video_bitrate", Unit::Rate, Span::Any, "RTP payload of the video that was sent"),
    figure("video_loss", Unit::Share, Span::Any, "share of video packets given up, after repair"),
    figure("audio_loss", Unit::Share, Span::Any, "share of sound packets that did not come in time"),
    figure("video_network_loss", Unit::Share, Span::Any, "share of video packets lost on the way, before repair"),
    figure("audio_network_loss", Unit::Share, Span::Any, "share of sound packets lost on the way"),
    figure("concealed", Unit::Share, Span::Any, "share of the sound that had to be made up"),
    figure("jitter", Unit::Time, Span::Any, "interarrival jitter of the video (RFC 3550), at the end"),
    figure("freezes", Unit::Plain, Span::Any, "freezes of the picture (W3C webrtc-stats freezeCount)"),
    figure("frozen", Unit::Time, Span::Any, "their length together (totalFreezesDuration)"),
    figure("missing_pictures", Unit::Plain, Span::Any, "pictures of the test pattern that were sent and not seen"),
    figure("keyframe_requests", Unit::Plain, Span::Any, "keyframes asked for"),
    figure("latency_p50", Unit::Time, Span::Any, "from drawing a picture of the test pattern to decoding it: median"),
    figure("latency_p95", Unit::Time, Span::Any, "the same: 95th percentile"),
    figure("audio_latency", Unit::Time, Span::Any, "from a step of the test tone to hearing it: median"),
    figure(
        "sync",
        Unit::Time,
        Span::Any,
        "latency of the sound less that of the picture; above zero the sound is late",
    ),
    figure("round_trip", Unit::Time, Span::Any, "of the selected pair: median of what was told"),
    figure("psnr", Unit::Decibel, Span::Any, "luma of the received test pattern against what was drawn: mean"),
    figure("ssim", Unit::Plain, Span::Any, "structural similarity of the same, 0 to 1: mean"),
    figure("mos", Unit::Plain, Span::Any, "estimated opinion of the sound, 1 to 4.5 (ITU-T G.107 E-model)"),
    figure("tones", Unit::Plain, Span::Call, "steps of the test tone heard"),
    figure("cores", Unit::Plain, Span::Call, "processor time of the peer a second of call"),
    figure("memory", Unit::Bytes, Span::Call, "most memory the peer held at once"),
];

/// What is known of a call or a part of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// Figures by key, in the base of their unit.
    pub(crate) numbers: BTreeMap<&'static str, f64>,
    /// Words by key: `path`, `video_codec`, `audio_codec`, `size`, `reason`, `status`.
    pub(crate) words: BTreeMap<&'static str, String>,
}

impl Facts {
    fn number(&mut self, key: &'static str, value: Option<f64>) {
        debug_assert!(FIGURES.iter().any(|figure| figure.key == key), "{key} is no figure");
        if let Some(value) = value {
            self.numbers.insert(key, value);
        }
    }

    fn word(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.words.insert(key, value.to_owned());
        }
    }
}

/// What the whole of a peer's run says; where it had several calls, the last one counts.
pub(crate) fn of_call(events: &[Value], status: Option<i32>) -> Facts {
    let mut facts = Facts::default();
    facts.word("status", status.map(|status| status.to_string()).as_deref());
    let summary = events.iter().rev().find(|event| event["event"] == "summary");
    let call = summary.and_then(|summary| summary["call_id"].as_str());
    let of_call = |event: &&Value| call.is_none() || event["call_id"].as_str() == call;
    let events: Vec<&Value> = events.iter().filter(of_call).collect();
    moments(&mut facts, &events);
    if let Some(summary) = summary {
        totals(&mut facts, summary);
    }
    let ended = events.iter().rev().find(|event| event["event"] == "ended");
    facts.word("reason", ended.and_then(|ended| ended["reason"].as_str()));
    let connecting = events.iter().rev().find(|event| event["event"] == "connecting");
    for (key, medium) in [("video_codec", "video"), ("audio_codec", "audio")] {
        facts.word(key, connecting.and_then(|event| event[medium].as_str()));
    }
    let trips = events.iter().filter(|event| event["event"] == "stats");
    let trips = trips.filter_map(|event| event["pair"]["round_trip_ms"].as_f64()).collect();
    facts.number("round_trip", median(trips));
    facts
}

/// Times between events.
fn moments(facts: &mut Facts, events: &[&Value]) {
    let at = |name: &str| {
        let event = events.iter().find(|event| event["event"] == name);
        event.and_then(|event| event["ts"].as_f64())
    };
    let between = |from: Option<f64>, to: Option<f64>| Some((to? - from?).max(0.0));
    let (accepted, connected) = (at("accepted"), at("connected"));
    facts.number("answered_within", between(at("dialing"), accepted));
    facts.number("connected_within", between(accepted, connected));
    facts.number("setup_within", between(at("dialing").or_else(|| at("incoming")), connected));
    for (key, name) in [("first_frame_within", "first_frame"), ("first_audio_within", "first_audio")] {
        let told = events.iter().find(|event| event["event"] == name);
        let exact = told.and_then(|event| event["after_accept_ms"].as_f64());
        facts.number(key, exact.or_else(|| between(accepted, at(name))));
    }
    let back = events.iter().filter(|event| event["event"] == "reconnected");
    facts.number("reconnected_within", back.filter_map(|event| event["after_ms"].as_f64()).reduce(f64::max));
}

/// What the summary of the call says.
fn totals(facts: &mut Facts, summary: &Value) {
    let (video, audio) = (&summary["received"]["video"], &summary["received"]["audio"]);
    facts.word("path", path(&summary["pair"]));
    facts.word("size", size(video).as_deref());
    for (key, value) in [
        ("duration", &summary["duration_ms"]),
        ("fps", &summary["received"]["fps"]),
        ("sent_fps", &summary["sent"]["fps"]),
        ("video_bitrate", &summary["received"]["video_bps"]),
        ("audio_bitrate", &summary["received"]["audio_bps"]),
        ("sent_video_bitrate", &summary["sent"]["video_bps"]),
        ("jitter", &video["jitter_ms"]),
        ("latency_p50", &video["latency_p50_ms"]),
        ("latency_p95", &video["latency_p95_ms"]),
        ("audio_latency", &audio["latency_ms"]),
        ("sync", &summary["received"]["sync_ms"]),
        ("psnr", &video["psnr_db"]),
        ("ssim", &video["ssim"]),
        ("mos", &summary["mos"]),
        ("cores", &summary["process"]["cores"]),
        ("memory", &summary["process"]["memory_peak_bytes"]),
    ] {
        facts.number(key, value.as_f64());
    }
    facts.number("tones", audio["tones_heard"].as_array().map(|tones| tones.len() as f64));
    counts(facts, &|pointer| summary.pointer(pointer).and_then(Value::as_f64));
}

/// Figures that come of counters, by a way to look one up.
fn counts(facts: &mut Facts, count: &dyn Fn(&str) -> Option<f64>) {
    let of = |part: Option<f64>, rest: Option<f64>| {
        let (part, rest) = (part?, rest?);
        (part + rest > 0.0).then(|| part / (part + rest))
    };
    for (key, pointer) in [
        ("frames", "/received/video/frames"),
        ("freezes", "/received/video/freezes"),
        ("frozen", "/received/video/frozen_ms"),
        ("keyframe_requests", "/received/video/keyframe_requests"),
    ] {
        facts.number(key, count(pointer));
    }
    // Without one picture read nothing is known of those that were not.
    let read = count("/received/video/pattern/read").filter(|read| *read > 0.0);
    facts.number("missing_pictures", read.and(count("/received/video/pattern/missing")));
    for (medium, given_up, on_the_way) in
        [("video", "video_loss", "video_network_loss"), ("audio", "audio_loss", "audio_network_loss")]
    {
        let look = |name: &str| count(&format!("/received/{medium}/{name}"));
        facts.number(given_up, of(look("lost"), look("packets")));
        let (missing, expected) = (look("missing"), look("expected"));
        let share = missing.zip(expected).filter(|(_, expected)| *expected > 0.0);
        facts.number(on_the_way, share.map(|(missing, expected)| missing / expected));
    }
    facts.number("concealed", of(count("/received/audio/concealed"), count("/received/audio/frames")));
}

/// What a part of a call says: `stats` are the events of that name from its beginning to its end, both included.
pub(crate) fn of_window(stats: &[&Value]) -> Facts {
    let mut facts = Facts::default();
    let (Some((first, rest)), Some(last)) = (stats.split_first(), stats.last()) else { return facts };
    let seconds = match (first["ts"].as_f64(), last["ts"].as_f64()) {
        (Some(from), Some(to)) if to > from => (to - from) / 1000.0,
        _ => return facts,
    };
    // Of two calls the counters do not belong together, and neither is the one that was meant.
    if stats.iter().any(|stats| stats["call_id"] != first["call_id"]) {
        return facts;
    }
    let number = |stats: &Value, pointer: &str| stats.pointer(pointer).and_then(Value::as_f64);
    let grown = |pointer: &str| Some(number(last, pointer)? - number(first, pointer)?).filter(|grown| *grown >= 0.0);
    counts(&mut facts, &grown);
    facts.number("fps", grown("/received/video/frames").map(|frames| frames / seconds));
    facts.number("sent_fps", grown("/sent/frames").map(|frames| frames / seconds));
    facts.number("jitter", number(last, "/received/video/jitter_ms"));
    // Each rate holds for the time since the event before.
    let mean_rate = |pointer: &str| {
        let pieces = stats.windows(2).filter_map(|pair| {
            let length = pair[1]["ts"].as_f64()? - pair[0]["ts"].as_f64()?;
            Some((length, number(pair[1], pointer)? * length))
        });
        let (length, sum) = pieces.fold((0.0, 0.0), |(length, sum), piece| (length + piece.0, sum + piece.1));
        (length > 0.0).then(|| sum / length)
    };
    for (key, pointer) in [
        ("video_bitrate", "/received/video_bps"),
        ("audio_bitrate", "/received/audio_bps"),
        ("sent_video_bitrate", "/sent/video_bps"),
    ] {
        facts.number(key, mean_rate(pointer));
    }
    let told = |pointer: &str| -> Vec<f64> { rest.iter().filter_map(|stats| number(stats, pointer)).collect() };
    facts.number("psnr", mean(&told("/received/video/psnr_db")));
    facts.number("ssim", mean(&told("/received/video/ssim")));
    facts.number("mos", mean(&told("/received/audio/mos")));
    facts.number("round_trip", median(told("/pair/round_trip_ms")));
    facts.number("audio_latency", median(told("/received/audio/latency_ms")));
    facts.number("sync", median(told("/received/sync_ms")));
    let latencies = |stats: &&Value| stats["received"]["video"]["latencies_ms"].as_array().cloned();
    let mut latencies: Vec<f64> = rest.iter().filter_map(latencies).flatten().filter_map(|ms| ms.as_f64()).collect();
    latencies.sort_by(f64::total_cmp);
    facts.number("latency_p50", nearest_rank(&latencies, 50.0));
    facts.number("latency_p95", nearest_rank(&latencies, 95.0));
    facts.word("path", path(&last["pair"]));
    facts.word("size", size(&last["received"]["video"]).as_deref());
    facts
}

/// Which way media goes, by the longer way of both ends (RFC 8445 §4 has the kinds).
fn path(pair: &Value) -> Option<&str> {
    let kinds = [pair["local"].as_str()?, pair["remote"].as_str()?];
    let longest = ["relay", "srflx", "prflx", "host"].into_iter().find(|kind| kinds.contains(kind));
    longest.or(Some(kinds[0]))
}

fn size(video: &Value) -> Option<String> {
    let (width, height) = (video["width"].as_u64()?, video["height"].as_u64()?);
    (width > 0).then(|| format!("{width}x{height}"))
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    nearest_rank(&values, 50.0)
}

/// The value, of these in order, that `percent` of all do not exceed.
pub(crate) fn nearest_rank(sorted: &[f64], percent: f64) -> Option<f64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call() -> Vec<Value> {
        let event = |ts: u64, name: &str| json!({"ts": ts, "event": name, "call_id": "1"});
        let mut events = vec![event(1000, "dialing"), event(1300, "accepted"), event(1350, "connected")];
        events.push(json!({"ts": 1301, "event": "connecting", "call_id": "1", "video": "vp8", "audio": "opus"}));
        events.push(json!({"ts": 1400, "event": "first_frame", "call_id": "1", "after_accept_ms": 99.5}));
        events.push(json!({"ts": 2400, "event": "stats", "call_id": "1", "pair": {"round_trip_ms": 3.0}}));
        events.push(json!({"ts": 9000, "event": "ended", "call_id": "1", "reason": "hangup"}));
        events.push(json!({
            "ts": 9001, "event": "summary", "call_id": "1", "duration_ms": 7650.0,
            "pair": {"local": "host", "remote": "relay"}, "mos": null,
            "received": {
                "fps": 29.5,
                "video": {"width": 640, "height": 480, "frames": 200, "packets": 950, "lost": 50, "freezes": 1,
                    "frozen_ms": 700.0, "pattern": {"read": 0, "missing": 0}},
                "audio": {"packets": 0, "lost": 0, "frames": 90, "concealed": 10, "tones_heard": [400, 600]},
            },
        }));
        events
    }

    #[test]
    fn a_call_is_read_from_its_events() {
        let facts = of_call(&call(), Some(0));
        for (key, expected) in [
            ("answered_within", Some(300.0)),
            ("connected_within", Some(50.0)),
            ("setup_within", Some(350.0)),
            ("first_frame_within", Some(99.5)),
            ("first_audio_within", None),
            ("duration", Some(7650.0)),
            ("fps", Some(29.5)),
            ("video_loss", Some(0.05)),
            ("audio_loss", None),
            ("concealed", Some(0.1)),
            ("freezes", Some(1.0)),
            ("frozen", Some(700.0)),
            ("missing_pictures", None),
            ("round_trip", Some(3.0)),
            ("tones", Some(2.0)),
            ("mos", None),
        ] {
            assert_eq!(facts.numbers.get(key).copied(), expected, "{key}");
        }
        let words =
            [("path", "relay"), ("size", "640x480"), ("reason", "hangup"), ("status", "0"), ("video_codec", "vp8")];
        for (key, expected) in words {
            assert_eq!(facts.words[key], expected);
        }
    }

    #[test]
    fn of_several_calls_the_last_counts() {
        let mut events = call();
        events.push(json!({"ts": 20_000, "event": "dialing", "call_id": "2"}));
        events.push(json!({"ts": 20_100, "event": "ended", "call_id": "2", "reason": "busy"}));
        events.push(json!({"ts": 20_101, "event": "summary", "call_id": "2"}));
        let facts = of_call(&events, Some(10));
        assert_eq!(facts.words["reason"], "busy");
        assert!(!facts.numbers.contains_key("connected_within") && !facts.words.contains_key("path"));
    }

    #[test]
    fn nothing_is_known_of_a_peer_that_told_nothing() {
        assert_eq!(of_call(&[], None), Facts::default());
    }

    #[test]
    fn a_window_counts_what_grew_in_it() {
        let stats = |ts: u64, frames: u64, lost: u64, packets: u64, bps: f64, latencies: &[u64]| {
            json!({
                "ts": ts, "pair": {"local": "host", "remote": "host", "round_trip_ms": bps / 100.0},
                "received": {"video_bps": bps, "video": {"frames": frames, "lost": lost, "packets": packets,
                    "freezes": 2, "latencies_ms": latencies, "psnr_db": bps / 10.0}},
            })
        };
        let told = [
            stats(1000, 100, 10, 1000, 900.0, &[500]),
            stats(2000, 130, 10, 1100, 100.0, &[5, 6]),
            stats(3500, 175, 20, 1190, 300.0, &[7, 90]),
        ];
        let facts = of_window(&told.iter().collect::<Vec<_>>());
        for (key, expected) in [
            ("frames", 75.0),
            ("fps", 30.0),
            ("video_loss", 0.05),
            ("freezes", 0.0),
            ("video_bitrate", 220.0),
            ("latency_p50", 6.0),
            ("latency_p95", 90.0),
            ("psnr", 20.0),
            ("round_trip", 1.0),
        ] {
            assert_eq!(facts.numbers.get(key).copied(), Some(expected), "{key}");
        }
        assert_eq!(facts.words["path"], "host");
    }

    #[test]
    fn a_window_over_two_calls_tells_nothing() {
        let stats = |ts: u64, call: &str, frames: u64| json!({"ts": ts, "call_id": call, "received": {"video": {"frames": frames}}});
        let told = [stats(1000, "1", 10), stats(2000, "2", 40)];
        assert_eq!(of_window(&told.iter().collect::<Vec<_>>()), Facts::default());
        let told = [stats(1000, "1", 40), stats(2000, "1", 10)];
        assert!(!of_window(&told.iter().collect::<Vec<_>>()).numbers.contains_key("frames"), "counters do not fall");
    }

    #[test]
    fn one_look_is_no_window() {
        assert_eq!(of_window(&[]), Facts::default());
        assert_eq!(of_window(&[&json!({"ts": 1, "received": {"video": {"frames": 1}}})]), Facts::default());
    }
}

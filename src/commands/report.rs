//! The closing report of a call between two peers, from their summaries.

use std::fmt::Write as _;

use serde_json::Value;

/// Width of the column with the names of figures.
const NAME: usize = 22;

/// Width of a column of figures.
const FIGURE: usize = 26;

/// The report on a call from alice to bob.
pub(super) fn of_two(alice: &Value, bob: &Value) -> String {
    let mut text = String::new();
    let setup = &alice["setup"];
    let step = |key: &str| number(&setup[key], 0, "ms");
    line(
        &mut text,
        "set-up",
        &format!(
            "signalling {} · ICE {} · DTLS {} · first picture {}",
            step("signalling_ms"),
            step("ice_ms"),
            step("dtls_ms"),
            step("first_frame_ms"),
        ),
    );
    line(
        &mut text,
        "answer to picture",
        &format!(
            "{} at alice, {} at bob",
            step("answer_to_first_frame_ms"),
            number(&bob["setup"]["answer_to_first_frame_ms"], 0, "ms"),
        ),
    );
    let pair = &alice["pair"];
    let end = |key: &str| pair[key].as_str().unwrap_or("n/a").to_owned();
    line(
        &mut text,
        "path",
        &format!(
            "{} to {} over {}, round trip {}",
            end("local"),
            end("remote"),
            end("protocol"),
            number(&pair["round_trip_ms"], 1, "ms"),
        ),
    );
    line(&mut text, "talk", &number(&scaled(&alice["duration_ms"], 0.001), 1, "s"));
    text.push('\n');
    both(
        &mut text,
        "received by",
        |side| if std::ptr::eq(side, alice) { "alice".into() } else { "bob".into() },
        alice,
        bob,
    );
    both(&mut text, "video", video, alice, bob);
    both(&mut text, "pictures a second", |side| number(&side["received"]["fps"], 1, ""), alice, bob);
    both(&mut text, "video bitrate", |side| kbps(&side["received"]["video_bps"]), alice, bob);
    both(&mut text, "packets lost", |side| loss(&side["received"]["video"]), alice, bob);
    both(&mut text, "jitter", |side| number(&side["received"]["video"]["jitter_ms"], 1, "ms"), alice, bob);
    both(&mut text, "freezes", freezes, alice, bob);
    both(&mut text, "latency p50 / p95", latency, alice, bob);
    both(&mut text, "pictures in order", in_order, alice, bob);
    both(&mut text, "PSNR / SSIM", likeness, alice, bob);
    both(&mut text, "audio bitrate", |side| kbps(&side["received"]["audio_bps"]), alice, bob);
    both(&mut text, "audio packets lost", |side| loss(&side["received"]["audio"]), alice, bob);
    both(&mut text, "tone heard", |side| tones(&side["received"]["audio"]), alice, bob);
    both(&mut text, "sound latency", |side| number(&side["received"]["audio"]["latency_ms"], 0, "ms"), alice, bob);
    both(&mut text, "sound after picture", |side| number(&side["received"]["sync_ms"], 0, "ms"), alice, bob);
    both(&mut text, "MOS, estimated", |side| number(&side["mos"], 2, ""), alice, bob);
    both(&mut text, "processor", |side| number(&side["process"]["cores"], 2, "cores"), alice, bob);
    both(&mut text, "memory", |side| number(&scaled(&side["process"]["memory_peak_bytes"], 1e-6), 0, "MB"), alice, bob);
    if let Some(file) = alice["recording"]["file"].as_str() {
        let recording = &alice["recording"];
        let length = number(&scaled(&recording["duration_ms"], 0.001), 1, "s");
        text.push('\n');
        line(
            &mut text,
            "recording",
            &format!(
                "{file}: {} pictures, {} sound packets, {length}",
                recording["video_frames"], recording["audio_frames"],
            ),
        );
    }
    text.trim_end().to_owned()
}

fn line(text: &mut String, name: &str, figure: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "{name:NAME$}{figure}");
}

fn both(text: &mut String, name: &str, figure: impl Fn(&Value) -> String, alice: &Value, bob: &Value) {
    line(text, name, &format!("{:FIGURE$}{}", figure(alice), figure(bob)));
}

fn scaled(value: &Value, factor: f64) -> Value {
    value.as_f64().map_or(Value::Null, |number| (number * factor).into())
}

/// A figure with its unit, or `n/a` where it is unknown.
fn number(value: &Value, decimals: usize, unit: &str) -> String {
    match value.as_f64() {
        Some(number) if unit.is_empty() => format!("{number:.decimals$}"),
        Some(number) => format!("{number:.decimals$} {unit}"),
        None => "n/a".to_owned(),
    }
}

fn kbps(value: &Value) -> String {
    number(&scaled(value, 0.001), 0, "kbit/s")
}

fn video(side: &Value) -> String {
    let video = &side["received"]["video"];
    match video["codec"].as_str() {
        Some(codec) => format!("{codec} {}x{}", video["width"], video["height"]),
        None => "none".to_owned(),
    }
}

fn loss(medium: &Value) -> String {
    let (Some(lost), Some(came)) = (medium["lost"].as_u64(), medium["packets"].as_u64()) else {
        return "n/a".to_owned();
    };
    let share = if lost + came > 0 { 100.0 * lost as f64 / (lost + came) as f64 } else { 0.0 };
    format!("{lost} of {} ({share:.1} %)", lost + came)
}

fn freezes(side: &Value) -> String {
    let video = &side["received"]["video"];
    format!("{} ({})", video["freezes"], number(&video["frozen_ms"], 0, "ms"))
}

fn latency(side: &Value) -> String {
    let video = &side["received"]["video"];
    format!("{} / {}", number(&video["latency_p50_ms"], 0, "ms"), number(&video["latency_p95_ms"], 0, "ms"))
}

fn in_order(side: &Value) -> String {
    let pattern = &side["received"]["video"]["pattern"];
    format!(
        "{} of {}",
        pattern["in_order"],
        pattern["in_order"].as_u64().unwrap_or(0) + pattern["missing"].as_u64().unwrap_or(0)
    )
}

fn likeness(side: &Value) -> String {
    let video = &side["received"]["video"];
    format!("{} / {}", number(&video["psnr_db"], 1, "dB"), number(&video["ssim"], 3, ""))
}

fn tones(audio: &Value) -> String {
    match audio["tones_heard"].as_array().map(Vec::len) {
        None | Some(0) => "none".to_owned(),
        Some(steps) => format!("{steps} steps of the sweep"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_figures_are_not_zero() {
        let report = of_two(&Value::Null, &Value::Null);
        assert!(report.contains("signalling n/a") && report.contains("round trip n/a"), "{report}");
    }

    #[test]
    fn figures_stand_where_they_belong() {
        let side = serde_json::json!({
            "setup": {"signalling_ms": 49.2}, "duration_ms": 10_000.0,
            "received": {
                "video": {
                    "codec": "vp8", "width": 640, "height": 480, "lost": 1, "packets": 99,
                    "psnr_db": 36.04, "ssim": 0.9712,
                },
                "sync_ms": -12.4,
            },
            "mos": 4.36,
        });
        let report = of_two(&side, &side);
        assert!(report.contains("signalling 49 ms") && report.contains("1 of 100 (1.0 %)"), "{report}");
        assert!(report.contains("vp8 640x480") && report.contains("10.0 s"), "{report}");
        assert!(report.contains("36.0 dB / 0.971") && report.contains("-12 ms") && report.contains("4.36"), "{report}");
    }
}

//! What a person sees: the demo and its report, a call in a terminal, a call in a window.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::call::{self, Args, Ended, talking};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::{PROGRAM, Tring};
use crate::support::screen::{Picture, Tmux, Xvfb, is_about};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, require, run};

/// Seconds of a demo: six steps of the test tone.
const SECONDS: f64 = 3.0;

fn demo(options: &[&str], folder: &Path) -> Output {
    let _turn = Turn::whole_machine();
    let args = Args::new(["demo", "--duration", "3s", "--show", "none"]).and(options);
    let output = Tring::command(args).output(folder);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{}: {stderr}", output.status);
    output
}

/// The figures that the report has under this name.
fn line<'a>(report: &'a str, name: &str) -> &'a str {
    let line = report.lines().find_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with("  ")));
    line.unwrap_or_else(|| panic!("no line {name:?} in\n{report}")).trim()
}

/// The report of a demo, with every promised line, each with a figure.
fn report(output: &Output, codec: &str) -> String {
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in [
        "set-up",
        "answer to picture",
        "path",
        "talk",
        "received by",
        "video",
        "pictures a second",
        "video bitrate",
        "packets lost",
        "jitter",
        "freezes",
        "latency p50 / p95",
        "pictures in order",
        "PSNR / SSIM",
        "audio bitrate",
        "audio packets lost",
        "tone heard",
        "sound latency",
        "sound after picture",
        "MOS, estimated",
        "recording",
    ] {
        let figures = line(&report, name);
        assert!(!figures.is_empty() && !figures.contains("n/a") && !figures.contains("null"), "{name}: {figures}");
    }
    assert!(report.starts_with("broker mqtt://127.0.0.1:"), "{report}");
    assert_eq!(line(&report, "received by").split_whitespace().collect::<Vec<_>>(), ["alice", "bob"]);
    let video = format!("{codec} 640x480");
    assert_eq!(line(&report, "video").matches(&video).count(), 2, "{report}");
    let tones = line(&report, "tone heard");
    assert_eq!(tones.matches("steps of the sweep").count(), 2, "{tones}");
    let in_order: Vec<f64> = line(&report, "pictures in order")
        .split(" of ")
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(in_order[0] >= 0.95 * in_order[1] && in_order[2] >= 0.95 * in_order[3], "{in_order:?}");
    report
}

#[test]
fn the_demo_is_a_whole_call() {
    let dir = TempDir::new("demo");
    let report = report(&demo(&[], dir.path()), "vp8");
    assert!(line(&report, "path").starts_with("host to host over udp, round trip "), "{report}");
    assert!(line(&report, "recording").starts_with("tring-demo.webm: "), "{report}");
    call::assert_recording(&dir.file("tring-demo.webm"), "vp8", SECONDS);
}

#[test]
fn the_demo_by_relay() {
    let dir = TempDir::new("demo");
    let report = report(&demo(&["--relay-only"], dir.path()), "vp8");
    assert!(line(&report, "path").starts_with("relay to relay over udp"), "{report}");
    call::assert_recording(&dir.file("tring-demo.webm"), "vp8", SECONDS);
}

#[test]
fn the_demo_in_h264() {
    let dir = TempDir::new("demo");
    report(&demo(&["--codec", "h264"], dir.path()), "h264");
    call::assert_recording(&dir.file("tring-demo.mp4"), "h264", SECONDS);
}

#[test]
fn the_demo_recorded_elsewhere() {
    let dir = TempDir::new("demo");
    let file = dir.file("elsewhere.webm");
    demo(&["--record", file.to_str().unwrap()], dir.path());
    call::assert_recording(&file, "vp8", SECONDS);
    assert!(!dir.file("tring-demo.webm").exists());
}

#[test]
fn the_demo_as_json() {
    let dir = TempDir::new("demo");
    let output = demo(&["--json"], dir.path());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for event in &events {
        assert!(event["v"] == 1 && event["ts"].is_u64() && event["event"].is_string(), "{event}");
    }
    let summaries: Vec<&Value> = events.iter().filter(|event| event["event"] == "summary").collect();
    assert_eq!(summaries.len(), 2);
    for peer in ["alice", "bob"] {
        let summary = summaries.iter().find(|summary| summary["peer"] == peer).unwrap_or_else(|| panic!("{text}"));
        assert_eq!((&summary["status"], &summary["video_codec"]), (&json!(0), &json!("vp8")));
        assert_quality(summary);
        let stats = events.iter().filter(|event| event["event"] == "stats" && event["peer"] == peer);
        assert_latencies(stats, &summary["received"]["video"]);
    }
}

/// Pictures and sound of a call on one machine are as good as their codecs, and come nearly together.
fn assert_quality(summary: &Value) {
    let received = &summary["received"];
    let figure = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no figure in {summary}"));
    let (psnr_db, ssim) = (figure(&received["video"]["psnr_db"]), figure(&received["video"]["ssim"]));
    // Codecs that are worth the name give 30 to 50 dB; a comparison with another picture gives less than 20.
    assert!((30.0..60.0).contains(&psnr_db) && (0.85..1.0).contains(&ssim), "{psnr_db} dB, {ssim}");
    // A packet and the look-ahead of its encoder alone take 26.5 ms; what is above 400 ms is no talk (ITU-T G.114).
    let latency_ms = figure(&received["audio"]["latency_ms"]);
    assert!((25.0..400.0).contains(&latency_ms), "{latency_ms} ms");
    // Pictures and sound keep together, within what EBU R 37 allows from end to end.
    let sync_ms = figure(&received["sync_ms"]);
    assert!((-40.0..60.0).contains(&sync_ms), "{sync_ms} ms");
    let mos = figure(&summary["mos"]);
    assert!((3.6..4.42).contains(&mos), "MOS {mos}");
}

/// The latency of each picture that was counted stands in one `stats`, apart from those after the last one.
fn assert_latencies<'a>(stats: impl Iterator<Item = &'a Value>, video: &Value) {
    let mut told = 0;
    let mut last = Value::Null;
    for stats in stats {
        last = stats["received"]["video"].clone();
        let latencies: Vec<i64> = serde_json::from_value(last["latencies_ms"].clone()).unwrap();
        assert!(latencies.iter().all(|ms| (0..5_000).contains(ms)), "{latencies:?}");
        told += latencies.len() as u64 + last["latencies_left_out"].as_u64().unwrap();
    }
    assert_eq!(Some(told), last["pattern"]["read"].as_u64(), "{last}");
    assert!(told > 20, "{told} pictures");
    assert!(video.get("latencies_ms").is_none(), "{video}");
}

#[test]
fn the_demo_does_not_hide_a_failure() {
    let dir = TempDir::new("demo");
    let args = ["demo", "--duration", "1s", "--show", "none", "--record", "/nonexistent/demo.webm"];
    let output = Tring::command(args).output(dir.path());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("/nonexistent/demo.webm"), "{}: {stderr}", output.status);
}

// ---- terminal ----

/// A shell script that runs the program, and says how it ended and whether the terminal is as before.
fn script(arguments: &str) -> String {
    format!(
        "before=$(stty -g)\n{PROGRAM} {arguments}\nstatus=$?\n\
         test \"$before\" = \"$(stty -g)\" && state=restored || state=changed\necho \"status $status, $state\""
    )
}

/// A picture in half blocks, in many colours.
fn is_picture(shown: &str) -> bool {
    let cells = shown.matches(['▀', '▄']).count();
    let colours: std::collections::BTreeSet<&str> =
        shown.split("38;2;").skip(1).filter_map(|rest| rest.split(['m', 'H']).next()).collect();
    cells > 1000 && colours.len() > 100
}

/// Which share of the colours shown is without colour; the own picture in the corner is grey too while on hold.
fn greys(shown: &str) -> f64 {
    let colours: Vec<Vec<u8>> = shown
        .split("8;2;")
        .skip(1)
        .filter_map(|rest| rest.split(['m', 'H']).next())
        .map(|colour| colour.split(';').filter_map(|level| level.parse().ok()).collect())
        .collect();
    let grey = |colour: &&Vec<u8>| matches!(colour[..], [r, g, b, ..] if r == g && g == b);
    colours.iter().filter(grey).count() as f64 / colours.len().max(1) as f64
}

fn assert_restored(tmux: &Tmux, status: i32) {
    let shown = tmux.until("the end", |shown| shown.contains("status "));
    assert!(shown.contains(&format!("status {status}, restored")), "{shown}");
    assert_eq!((tmux.variable("cursor_flag"), tmux.variable("alternate_on")), ("1".into(), "0".into()));
    assert!(!is_picture(&shown), "the picture stays\n{shown}");
}

#[test]
fn the_demo_in_a_terminal() {
    let _turn = Turn::call();
    let dir = TempDir::new("demo");
    let tmux = Tmux::run(&script("demo --duration 6s"), dir.path());
    tmux.until("the picture", is_picture);
    assert_eq!(tmux.variable("alternate_on"), "1");
    let shown = tmux.until("the status line", |shown| shown.contains("pictures/s"));
    for word in ["bob", "kbit/s", "q end"] {
        assert!(shown.contains(word), "no {word:?}\n{shown}");
    }
    assert_restored(&tmux, 0);
    let shown = tmux.shown();
    assert!(shown.contains("tone heard") && shown.contains("tring-demo.webm"), "no report\n{shown}");
}

#[test]
fn keys_rule_a_call_in_a_terminal() {
    let _turn = Turn::call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("terminal"));
    let mut bob = call::listen(["--id", "bob", "--broker", &mosquitto.url(), "--answer", "auto", "--once"]);
    let arguments = format!(
        "call bob --id alice --broker {} --video test --audio tone --play none --show terminal",
        mosquitto.url()
    );
    let tmux = Tmux::run(&script(&arguments), dir.path());
    bob.wait_event("first_frame", PATIENCE);
    tmux.until("the picture", is_picture);
    let hears = |wanted: bool| move |stats: &Value| stats["received"]["audio"]["tone_hz"].is_number() == wanted;
    bob.wait_event_where("stats", PATIENCE, hears(true));
    tmux.press("m");
    tmux.until("one's own state", |shown| shown.contains("you: muted"));
    bob.wait_event_where("stats", PATIENCE, hears(false));
    assert_eq!(bob.wait_event("muted", PATIENCE)["side"], "remote");
    tmux.press("?");
    tmux.until("the list of keys", |shown| shown.contains("hang up and end the program"));
    tmux.press("?");
    tmux.until("the list gone", |shown| !shown.contains("hang up and end the program"));
    tmux.press("h");
    assert_eq!(bob.wait_event("held", PATIENCE)["on"], true);
    // In the line, and over a picture without colours.
    let shown = tmux.until("the hold", |shown| shown.matches("bob is on hold").count() == 2);
    assert!(greys(&shown) > 0.95, "{:.2} of the colours are greys\n{shown}", greys(&shown));
    tmux.press("h");
    assert_eq!(bob.wait_event("held", PATIENCE)["on"], false);
    tmux.press("q");
    let bob = Ended::wait(&mut bob);
    let course = ["online", "incoming", "accepted", "connecting", "connected", "first_frame"];
    let switched = ["muted", "held", "held", "ended", "summary"];
    assert_eq!((bob.status, bob.course()), (0, [&course[..], &switched].concat()));
    assert_restored(&tmux, 0);
}

#[test]
fn a_second_call_is_answered_in_a_terminal() {
    let _turn = Turn::call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("terminal"));
    let arguments =
        format!("listen --id bob --broker {} --video test --audio tone --play none --show terminal", mosquitto.url());
    let tmux = Tmux::run(&script(&arguments), dir.path());
    tmux.until("bob online", |shown| shown.contains("waiting for calls"));
    let caller = |id: &str| call::call_bob(["--id", id, "--broker", &mosquitto.url(), "--control", "-"]);
    let mut alice = caller("alice");
    tmux.until("the question", |shown| shown.contains("answer? [y/n]"));
    for key in ["y", "Enter"] {
        tmux.press(key);
    }
    alice.wait_event("first_frame", PATIENCE);
    let mut carol = caller("carol");
    tmux.until("the second question", |shown| shown.contains("carol is calling too"));
    tmux.press("a");
    carol.wait_event("first_frame", PATIENCE);
    assert_eq!(alice.wait_event("held", PATIENCE)["on"], true);
    tmux.until("who waits", |shown| shown.contains("back to alice"));
    tmux.press("s");
    assert_eq!(alice.wait_event("held", PATIENCE)["on"], false);
    assert_eq!(carol.wait_event("held", PATIENCE)["on"], true);
    for side in [&mut alice, &mut carol] {
        side.send_control(&json!({"command": "hangup"}));
        assert_eq!(Ended::wait(side).status, 0);
    }
    // The first end was told while the view had the terminal.
    tmux.until("both ends", |shown| shown.matches(" ended: the other side hung up").count() == 2);
}

#[test]
fn a_terminal_is_restored_after_an_interrupt() {
    let _turn = Turn::call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("terminal"));
    let mut bob = call::listen(["--id", "bob", "--broker", &mosquitto.url(), "--answer", "auto", "--once"]);
    let arguments = format!(
        "call bob --id alice --broker {} --video test --audio tone --play none --show terminal",
        mosquitto.url()
    );
    let tmux = Tmux::run(&script(&arguments), dir.path());
    tmux.until("the picture", is_picture);
    tmux.press("C-c");
    assert_restored(&tmux, 130);
    Ended::wait(&mut bob).assert_answered();
}

// ---- window ----

/// The colour bars of the test pattern: 75 % of white, yellow, cyan, green, magenta, red and blue.
const BARS: [[u8; 3]; 7] =
    [[191, 191, 191], [191, 191, 0], [0, 191, 191], [0, 191, 0], [191, 0, 191], [191, 0, 0], [0, 0, 191]];

/// The stamp's blocks: how many of a row of pixels within the window are black, white and neither.
fn stamp(picture: &Picture, [left, top, width, height]: [usize; 4]) -> Option<[usize; 3]> {
    let row = |row: usize| {
        (left..left + width).fold([0; 3], |mut counts, column| {
            let pixel = picture.at(column, row);
            let kind = if is_about(pixel, [0; 3]) {
                0
            } else if is_about(pixel, [255; 3]) {
                1
            } else {
                2
            };
            counts[kind] += 1;
            counts
        })
    };
    // Where the picture begins below a border, the first row with some white is the stamp's.
    (top..top + height).map(row).find(|[_, white, _]| *white > width / 50)
}

#[test]
fn a_call_in_a_window() {
    let _turn = Turn::whole_machine();
    let (mosquitto, xvfb) = (Mosquitto::anonymous(), Xvfb::start());
    let mut bob = call::listen(["--id", "bob", "--broker", &mosquitto.url(), "--answer", "auto", "--once"]);
    let args = Args::new(["call", "bob", "--id", "alice", "--broker", &mosquitto.url(), "--control", "-"]);
    let args = args.and(["--video", "test", "--audio", "tone", "--play", "none", "--show", "window"]);
    let mut alice = Tring::command(args).env("DISPLAY", xvfb.display()).spawn();
    talking([&mut alice, &mut bob]);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (window, picture) = (xvfb.window("tring: bob"), xvfb.picture());
        let bars = BARS.map(|colour| picture.count(colour));
        let blocks = window.and_then(|window| stamp(&picture, window));
        let is_stamp = blocks.is_some_and(|[black, white, other]| black > white / 4 && other < (black + white) / 4);
        if is_stamp && bars.iter().all(|count| *count > 100) {
            break;
        }
        assert!(Instant::now() < deadline, "window {window:?}, stamp {blocks:?}, bars {bars:?}");
        alice.wait_event("stats", PATIENCE);
    }
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    alice.assert_called();
    bob.assert_answered();
    assert_eq!(xvfb.window("tring: bob"), None);
}

/// Does something on this desktop, such as closing a window.
fn xdotool(xvfb: &Xvfb, args: &[&str]) -> String {
    run(Command::new(require("xdotool", "xdotool")).args(args).env("DISPLAY", xvfb.display())).trim().to_owned()
}

/// The window of a call with `peer`, once it is there.
fn window_of(xvfb: &Xvfb, peer: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut search = Command::new(require("xdotool", "xdotool"));
        search.args(["search", "--name", &format!("^tring: {peer}")]).env("DISPLAY", xvfb.display());
        let found = String::from_utf8(search.output().unwrap().stdout).unwrap();
        if !found.trim().is_empty() {
            return found.trim().to_owned();
        }
        assert!(Instant::now() < deadline, "no window of a call with {peer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_window_that_another_program_closes_ends_the_call() {
    let _turn = Turn::call();
    let (mosquitto, xvfb) = (Mosquitto::anonymous(), Xvfb::start());
    let call = |keys: &[&str]| {
        let mut bob = call::listen(["--id", "bob", "--broker", &mosquitto.url(), "--answer", "auto", "--once"]);
        let args = Args::new(["call", "bob", "--id", "alice", "--broker", &mosquitto.url()]);
        let args = args.and(["--video", "test", "--audio", "tone", "--play", "none", "--show", "window"]);
        let mut alice = Tring::command(args).env("DISPLAY", xvfb.display()).spawn();
        talking([&mut alice, &mut bob]);
        let window = xdotool(&xvfb, &["search", "--sync", "--name", "^tring: bob$"]);
        for key in keys {
            xdotool(&xvfb, &["windowfocus", "--sync", &window, "key", key]);
        }
        if keys.is_empty() {
            xdotool(&xvfb, &["windowclose", &window]);
        }
        let status = alice.wait_exit(PATIENCE);
        Ended::wait(&mut bob).assert_answered();
        (status, alice.events_named("muted").len(), alice.wait_stderr())
    };
    assert_eq!(call(&[]), (0, 0, String::new()));
    // Ctrl-C is not the camera's key.
    let (status, muted, stderr) = call(&["ctrl+c"]);
    assert_eq!((status, muted), (130, 0), "{stderr}");
}

#[test]
fn the_call_that_is_left_gets_a_window_when_another_program_closes_it() {
    let _turn = Turn::call();
    let (mosquitto, xvfb) = (Mosquitto::anonymous(), Xvfb::start());
    let link = |id: &'static str| Args::new(["--id", id, "--broker", &mosquitto.url(), "--control", "-"]);
    let args = Args::new(["listen", "--answer", "ask"]).and(link("bob"));
    let args = args.and(["--video", "test", "--audio", "tone", "--play", "none", "--show", "window"]);
    let mut bob = Tring::command(args).env("DISPLAY", xvfb.display()).spawn();
    bob.wait_event("online", PATIENCE);
    let mut callers = ["alice", "carol"].map(|id| {
        let mut caller = call::call_bob(link(id));
        bob.wait_event_where("incoming", PATIENCE, |event| event["peer"] == id);
        bob.send_control(&json!({"command": "answer"}));
        talking([&mut caller, &mut bob]);
        caller
    });
    let window = window_of(&xvfb, "carol");
    xdotool(&xvfb, &["windowclose", &window]);
    assert_eq!(callers[1].wait_exit(PATIENCE), 0);
    let other = window_of(&xvfb, "alice");
    assert_ne!(other, window);

    // It is a whole window: it shows pictures, and its keys are heard.
    bob.send_control(&json!({"command": "resume"}));
    let deadline = Instant::now() + PATIENCE;
    while !BARS.iter().all(|colour| xvfb.picture().count(*colour) > 100) {
        assert!(Instant::now() < deadline, "no picture in the second window");
        bob.wait_event("stats", PATIENCE);
    }
    xdotool(&xvfb, &["windowfocus", "--sync", &other, "key", "q"]);
    assert_eq!(callers[0].wait_exit(PATIENCE), 0);
    assert!(bob.is_running());
}

#[test]
fn no_desktop_to_show_a_window_on() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut bob = call::listen(["--id", "bob", "--broker", &mosquitto.url(), "--answer", "auto", "--once"]);
    let args = Args::new(["call", "bob", "--id", "alice", "--broker", &mosquitto.url(), "--duration", "4s"]);
    let args = args.and(["--video", "test", "--audio", "tone", "--play", "none", "--show", "window"]);
    let alice = Ended::wait(&mut Tring::spawn(args));
    // Whoever talks would rather hear than lose the call.
    assert_eq!((alice.status, alice.warnings().len()), (0, 1));
    alice.assert_media();
    Ended::wait(&mut bob).assert_answered();
}

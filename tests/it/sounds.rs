//! Sound with peers of other makes, both ways for half a minute: which tones come, and where sound is missing, judged at
//! both ends. Peers: Chromium, aiortc, and GStreamer's webrtcbin.
//!
//! What is allowed to be missing is what a busy machine may cost: it keeps a peer, or us, from running for a moment, in one
//! second and not in the next. What a program does wrong with the packets of another shows in every second.

use std::ffi::OsString;

use serde_json::{Value, json};

use crate::support::aiortc::Aiortc;
use crate::support::call::{Args, Ended};
use crate::support::chromium::Chromium;
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, peer, sound};

/// How long they talk, in seconds.
const TALK: usize = 30;

/// The first seconds of a call are not judged: clients send what they queued until there was a path in one burst, of which
/// the buffer drops what would come too late.
const SETTLED: usize = 4;

/// What GStreamer sends, in hertz.
const GSTREAMER_HZ: f64 = 440.0;

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// How much a count of the sound that we received rises in each second that is judged.
fn each_second(stats: &[Value], name: &str) -> Vec<u64> {
    let audio = stats.iter().map(|stats| &stats["received"]["audio"]);
    let begun = audio.filter(|audio| audio["packets"].as_u64().is_some_and(|packets| packets > 0));
    let counts: Vec<u64> = begun.map(|audio| count(&audio[name])).collect();
    counts.windows(2).skip(SETTLED).map(|two| two[1] - two[0]).collect()
}

/// Sound came to us for nearly `seconds`, next to none of it was made up, and in most seconds nothing.
fn came_whole(stats: &[Value], seconds: usize) {
    let [packets, concealed] = ["packets", "concealed"].map(|name| each_second(stats, name));
    assert!(packets.len() + SETTLED + 4 >= seconds, "{packets:?}");
    assert!(packets.iter().sum::<u64>() >= 45 * packets.len() as u64, "50 a second are due: {packets:?}");
    let broken = concealed.iter().filter(|steps| **steps > 0).count();
    assert!(broken * 2 <= concealed.len(), "sound was made up in {broken} seconds: {concealed:?}");
    assert!(concealed.iter().sum::<u64>() * 20 <= packets.iter().sum::<u64>(), "{concealed:?} of {packets:?}");
}

/// The other side heard our tones for nearly `seconds`, with next to no silence in them. `heard` is what an `Ear` tells, in
/// Python or in the page: `ms`, `tones`, `gaps` of more than 40 ms as `[at_ms, length_ms]`.
fn heard_whole(heard: &Value, seconds: usize) {
    let (ms, settled) = (heard["ms"].as_f64().unwrap(), SETTLED as f64 * 1000.0);
    assert!(ms + settled >= seconds as f64 * 1000.0, "{heard}");
    let gaps: Vec<[f64; 2]> = serde_json::from_value(heard["gaps"].clone()).unwrap();
    let lengths: Vec<f64> = gaps.iter().filter(|[at, _]| *at > settled).map(|[_, length]| *length).collect();
    assert!(lengths.len() <= 3 && lengths.iter().sum::<f64>() <= 0.03 * ms, "{heard}");
    in_steps(&heard["tones"], ms / 1000.0);
}

/// Steps of our test tone, two a second. Where sound is missing, a step may be.
fn in_steps(tones: &Value, seconds: f64) {
    let steps: Vec<u32> = serde_json::from_value(tones.clone()).unwrap();
    assert!(steps.len() as f64 >= 1.7 * seconds, "in {seconds} s: {steps:?}");
    let follow = steps.windows(2).filter(|two| sound::follows_the_sweep(two)).count();
    assert!(follow * 10 >= (steps.len() - 1) * 9, "{steps:?}");
}

fn stats_of(ended: &Ended) -> Vec<Value> {
    ended.events.iter().filter(|event| event["event"] == "stats").cloned().collect()
}

/// Alice, who speaks the plain dialect and sends sound.
fn alice(command: &[&str], mosquitto: &Mosquitto) -> Args {
    let args = Args::new(command.iter().copied());
    let args = args.and(["--dialect", "apprtc", "--id", "alice", "--broker", &mosquitto.url()]);
    args.and(["--audio", "tone", "--show", "none", "--play", "none"])
}

/// Alice, who answers at once, and is online.
fn listening(mosquitto: &Mosquitto, options: impl IntoIterator<Item = impl Into<OsString>>) -> Tring {
    let listen = ["listen", "--once", "--answer", "auto", "--from", "phone"];
    let mut alice = Tring::spawn(alice(&listen, mosquitto).and(options));
    alice.wait_event("online", PATIENCE);
    alice
}

/// Arguments of a client in Python.
fn phone(mosquitto: &Mosquitto, role: &str, options: &[&str]) -> Args {
    let broker = format!("127.0.0.1:{}", mosquitto.port());
    Args::new([role, "--broker", &broker, "--id", "phone", "--partner", "alice"]).and(options.iter().copied())
}

#[test]
fn aiortc_hears_and_is_heard() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut alice = listening(&mosquitto, ["--video", "none"]);
    let mut phone = Aiortc::start(phone(&mosquitto, "call", &["--sound-only", "--talk", &TALK.to_string()]));
    let alice = Ended::wait(&mut alice);
    let heard = phone.wait_event("ended");
    assert_eq!((alice.status, alice.reason(), alice.warnings()), (0, "remote-hangup", vec![]));
    came_whole(&stats_of(&alice), TALK);
    in_steps(&alice.summary()["received"]["audio"]["tones_heard"], TALK as f64 - 2.0);
    heard_whole(&heard["audio"], TALK);
}

#[test]
fn gstreamer_hears_and_is_heard() {
    let _turn = Turn::call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("recording"));
    let file = dir.file("heard.webm");
    let options = Args::new(["--video", "none"]).option("--record", &file);
    let mut alice = listening(&mosquitto, options);
    let mut phone = Aiortc::start_gstreamer(phone(&mosquitto, "call", &["--sound-only", "--talk", &TALK.to_string()]));
    let alice = Ended::wait(&mut alice);
    let heard = phone.wait_event("ended");
    assert_eq!((alice.status, alice.reason(), alice.warnings()), (0, "remote-hangup", vec![]));
    came_whole(&stats_of(&alice), TALK);
    heard_whole(&heard["audio"], TALK);
    // Our own figures know the tones of our sweep alone.
    let samples = sound::decode_in_time(&file);
    let pieces: Vec<&[i16]> = samples.chunks_exact(sound::RATE / 10).skip(SETTLED * 10).collect();
    let is_it = |piece: &&&[i16]| sound::frequency(piece).is_some_and(|hz| (hz - GSTREAMER_HZ).abs() < 5.0);
    let right = pieces.iter().filter(is_it).count();
    assert!(
        pieces.len() >= (TALK - 2 * SETTLED) * 10 && right * 20 >= pieces.len() * 19,
        "{right} of {}",
        pieces.len()
    );
}

/// Its pictures are in a section that is there for bundling sides alone (port 0, `a=bundle-only`), and in VP8 alone, which
/// is not the first of ours.
#[test]
fn gstreamer_calls_with_pictures() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut alice = listening(&mosquitto, ["--video", "test", "--size", "320x240", "--fps", "15"]);
    let mut phone = Aiortc::start_gstreamer(phone(&mosquitto, "call", &["--talk", "6"]));
    let alice = Ended::wait(&mut alice);
    let heard = phone.wait_event("ended");
    assert_eq!((alice.status, alice.reason(), alice.warnings()), (0, "remote-hangup", vec![]));
    let summary = alice.summary();
    assert_eq!(summary["video_codec"], "vp8", "{summary}");
    assert!(count(&summary["received"]["video"]["frames"]) >= 40 && count(&heard["video"]["frames"]) >= 40, "{heard}");
}

#[test]
fn gstreamer_is_called_with_pictures() {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let mut phone = Aiortc::start_gstreamer(phone(&mosquitto, "answer", &[]));
    let options = ["--video", "test", "--size", "320x240", "--fps", "15", "--duration", "6s"];
    let call = alice(&["call", "phone"], &mosquitto).and(options);
    let alice = Ended::wait(&mut Tring::spawn(call));
    let heard = phone.wait_event("ended");
    assert_eq!((alice.status, alice.reason(), alice.warnings()), (0, "hangup", vec![]));
    let summary = alice.summary();
    assert_eq!(summary["video_codec"], "vp8", "{summary}");
    assert!(count(&summary["received"]["video"]["frames"]) >= 40 && count(&heard["video"]["frames"]) >= 40, "{heard}");
    assert!(heard["audio"]["ms"].as_f64().is_some_and(|ms| ms >= 4000.0), "{heard}");
}

/// Chromium as it calls us, with pictures and sound that can be checked, and what we are.
fn chromium_calls(mosquitto: &Mosquitto, ours: &[&str], settings: &[(&str, &str)]) -> (Tring, Chromium) {
    let broker = mosquitto.websocket_url();
    let listen = ["listen", "--answer", "auto", "--once", "--control", "-", "--video", "test", "--audio", "tone"];
    let quiet = ["--show", "none", "--play", "none", "--size", "320x240", "--fps", "15"];
    let args = Args::new(listen).and(quiet).and(peer("alice", &broker)).and(ours.iter().copied());
    let mut alice = Tring::command(args).plain().spawn();
    alice.wait_event("online", PATIENCE);
    let calls = [("broker", &*broker), ("id", "browser"), ("role", "call"), ("peer", "alice"), ("send", "pattern")];
    let mut page = Chromium::open(&[&calls[..], settings].concat());
    for name in ["connected", "first_frame", "first_audio"] {
        alice.wait_event(name, PATIENCE);
        page.wait_event(name, PATIENCE);
    }
    (alice, page)
}

/// The last of what the page told of the sound that came, `seconds` later.
fn after(page: &mut Chromium, seconds: usize) -> Value {
    (0..seconds).map(|_| page.wait_event("sound", PATIENCE)).last().expect("some seconds")
}

/// Half a minute without loss, and 15 s with so much of it that sound without copies of earlier packets would be broken in
/// every second. The page prefers RED.
#[test]
fn chromium_hears_and_is_heard_and_both_send_copies_when_packets_are_lost() {
    const LOSSY: usize = 15;
    // What we send without copies, before any is lost.
    const PLAIN_BPS: f64 = 32_000.0;
    let _turn = Turn::whole_machine();
    let mosquitto = Mosquitto::anonymous();
    let settings = [("red", "first"), ("report", "sound")];
    let (mut alice, mut page) = chromium_calls(&mosquitto, &[], &settings);
    let before = after(&mut page, TALK);
    came_whole(&alice.events_named("stats"), TALK);
    heard_whole(&before["heard"], TALK);

    alice.send_control(&json!({"command": "impair", "spec": "loss=10%,seed=5"}));
    alice.wait_event("impaired", PATIENCE);
    // Both sides have learned of the loss by then, and the buffers of both wait for copies.
    let from = after(&mut page, 2 * SETTLED);
    let ours_from = alice.events_named("stats").pop().expect("a second has passed");
    let to = after(&mut page, LOSSY);
    let ours_to = alice.events_named("stats").pop().expect("a second has passed");
    alice.send_control(&json!({"command": "hangup"}));
    let ended = page.wait_event("ended", PATIENCE);
    assert_eq!(alice.wait_exit(PATIENCE), 0);

    // Copies come in packets of RED alone. A page that did not read those would hear next to nothing.
    let copies =
        alice.events_named("stats").iter().rev().take(LOSSY).filter(|stats| stats["plan"]["sound_copies"] != 0).count();
    assert!(copies * 2 > LOSSY, "in {copies} of {LOSSY} s there were copies");
    let theirs = |name: &str| count(&to[name]) - count(&from[name]);
    let [bytes, concealed, samples] = ["bytes", "concealed", "samples"].map(theirs);
    let bps = bytes as f64 * 8.0 / (samples as f64 / sound::RATE as f64);
    assert!(bps > 1.3 * PLAIN_BPS, "{bps} bit/s of sound came: {from} {to}");
    // Without copies as much would be made up as is lost. How long the page waits for them is its own choice.
    let [lost, packets] = ["lost", "packets"].map(theirs);
    let (made_up, missing) = (concealed as f64 / samples as f64, lost as f64 / (lost + packets) as f64);
    assert!(made_up * 1.2 <= missing, "{made_up} of the sound is made up, {missing} were lost: {from} {to}");

    let audio = |stats: &Value, name: &str| count(&stats["received"]["audio"][name]);
    let [missing, recovered, concealed] =
        ["missing", "recovered", "concealed"].map(|name| audio(&ours_to, name) - audio(&ours_from, name));
    assert!(missing >= LOSSY as u64 * 2, "{missing} of a tenth of {LOSSY} s: {ours_to}");
    // A coarse copy by in-band FEC would count as made up too: more is recovered than made up by whole copies alone.
    assert!(recovered * 4 >= missing * 3 && concealed * 2 <= missing, "{missing} {recovered} {concealed}: {ours_to}");
    in_steps(&ended["audio"]["heard"]["tones"], (TALK + LOSSY) as f64);
    let summary = alice.events_named("summary").pop().expect("it ended");
    in_steps(&summary["received"]["audio"]["tones_heard"], (TALK + LOSSY) as f64);
}

/// The codec that was agreed on is not the first of ours: what is lost of our pictures is repaired all the same.
fn pictures_are_repaired(settings: &[(&str, &str)]) {
    const SECONDS: usize = 8;
    let _turn = Turn::whole_machine();
    let mosquitto = Mosquitto::anonymous();
    let (mut alice, mut page) = chromium_calls(&mosquitto, &["--impair", "up:loss=5%,seed=5"], settings);
    for _ in 0..SECONDS {
        alice.wait_event("stats", PATIENCE);
    }
    alice.send_control(&json!({"command": "hangup"}));
    let ended = page.wait_event("ended", PATIENCE);
    assert_eq!(alice.wait_exit(PATIENCE), 0);
    assert_eq!(ended["video"]["codec"], "video/VP8", "{ended}");
    let summary = alice.events_named("summary").pop().expect("it ended");
    let (sent, decoded) = (count(&summary["sent"]["frames"]), count(&ended["video"]["decoded"]));
    assert!(sent >= 40 && decoded * 10 >= sent * 8, "{decoded} of {sent} pictures were decoded: {ended}");
}

#[test]
fn pictures_are_repaired_for_a_browser_that_prefers_vp8() {
    pictures_are_repaired(&[]);
}

#[test]
fn pictures_are_repaired_for_a_browser_that_speaks_vp8_alone() {
    pictures_are_repaired(&[("codec", "vp8")]);
}

//! Microphone and speaker as a person has them, on a PulseAudio of the test's own: what is said into one is heard from
//! the other, at the other end of a call.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::call::{Args, Ended, talking};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::pulse::{ECHO, MICROPHONE, Pulse, SPEAKER};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, require, run, sound};

/// Not one of the program's own test tones.
const TONE_HZ: f64 = 700.0;

/// Far longer than the call it is spoken into; it ends with the test.
const SPOKEN: Duration = Duration::from_secs(60);

/// Seconds of call that are listened to.
const HEARD: usize = 3;

fn peer(command: &[&str], id: &str, broker: &str) -> Args {
    Args::new(command).and(["--id", id, "--broker", broker, "--video", "test", "--show", "none", "--control", "-"])
}

/// Alice speaks into `microphone`, which is processed as `voice` says, and bob hears it from `speaker`: what the speaker's
/// monitor records meanwhile.
fn spoken_and_heard(pulse: &Pulse, (microphone, voice): (&str, &str), speaker: &str, speech: &[i16]) -> Vec<i16> {
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("sound"));
    let (said, heard) = (dir.file("said.wav"), dir.file("heard.wav"));
    sound::write_wav(&said, speech);
    let bob = peer(&["listen", "--answer", "auto", "--once"], "bob", &mosquitto.url());
    let bob = bob.option("--audio", "none").option("--play", speaker);
    let mut bob = Tring::command(bob).envs(pulse.env()).spawn();
    bob.wait_event("online", PATIENCE);
    let alice = peer(&["call", "bob"], "alice", &mosquitto.url());
    let alice = alice.option("--audio", microphone).option("--voice", voice).option("--play", "none");
    let mut alice = Tring::command(alice).envs(pulse.env()).spawn();
    talking([&mut alice, &mut bob]);
    let speaking = pulse.speaking(&said);
    // From here on it has come through.
    bob.wait_event_where("stats", PATIENCE, |stats| {
        stats["received"]["audio_bps"].as_f64().is_some_and(|bps| bps > 0.0)
    });
    {
        let _recording = pulse.recording(&heard);
        for _ in 0..=HEARD {
            bob.wait_event("stats", PATIENCE);
        }
    }
    drop(speaking);
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    alice.assert_called();
    bob.assert_answered();
    sound::decode(&heard)
}

/// The middle one of all frequencies, and the share of them that is near it.
fn pitch(samples: &[i16]) -> (f64, f64) {
    let mut measured = sound::frequencies(samples);
    assert!(measured.len() >= 10, "next to nothing is to be heard: {} windows", measured.len());
    measured.sort_by(f64::total_cmp);
    let middle = measured[measured.len() / 2];
    let near = measured.iter().filter(|hz| (*hz - middle).abs() < 0.05 * middle).count();
    (middle, near as f64 / measured.len() as f64)
}

#[test]
fn a_tone_reaches_the_other_sides_speaker() {
    let _turn = Turn::call();
    let pulse = Pulse::start();
    // A steady tone is noise to whoever looks for a voice.
    let heard = spoken_and_heard(&pulse, ("mic", "raw"), "speaker", &sound::sine(TONE_HZ, SPOKEN));
    let (hz, share) = pitch(&heard);
    assert!((hz - TONE_HZ).abs() < 5.0, "heard {hz} Hz");
    assert!(share > 0.8, "only {share:.2} of what is heard is the tone");
}

#[test]
fn speech_reaches_the_other_sides_named_speaker() {
    let _turn = Turn::call();
    let (pulse, dir) = (Pulse::start(), TempDir::new("speech"));
    let speech = sound::decode(&words(&dir));
    let (microphone, speaker) = (format!("mic:{MICROPHONE}"), format!("speaker:{SPEAKER}"));
    let heard = spoken_and_heard(&pulse, (&microphone, "full"), &speaker, &speech);
    assert!(sound::loudest(&heard) > sound::loudest(&speech) / 8, "hardly heard: {}", sound::loudest(&heard));
    // Words have gaps and many pitches; a hum or a stutter has not.
    let pitches = sound::frequencies(&heard);
    let (low, high) = pitches.iter().fold((f64::MAX, 0.0_f64), |(low, high), hz| (low.min(*hz), high.max(*hz)));
    assert!(pitches.len() >= 10 && high > 2.0 * low, "{} windows from {low} to {high} Hz", pitches.len());
}

/// Somebody who counts, as a WAV file.
fn words(dir: &TempDir) -> PathBuf {
    let spoken = dir.file("speech.wav");
    let words = "one two three four five six seven eight nine ten ".repeat(10);
    run(Command::new(require("espeak-ng", "espeak-ng")).arg("-w").arg(&spoken).arg(&words));
    spoken
}

/// Bob counts, alice's microphone hears her speaker and nothing else: the level of what comes back to bob, in dBFS, and
/// the last figures of alice's microphone.
fn echo_of(voice: &str) -> (f64, Value) {
    let (pulse, mosquitto, dir) = (Pulse::start(), Mosquitto::anonymous(), TempDir::new("echo"));
    let recorded = dir.file("echo.webm");
    let bob = peer(&["listen", "--answer", "auto", "--once"], "bob", &mosquitto.url());
    let bob = bob.option("--audio", format!("file:{}", words(&dir).display())).option("--play", "none");
    let mut bob = Tring::command(bob.option("--record", &recorded)).envs(pulse.env()).spawn();
    bob.wait_event("online", PATIENCE);
    let alice = peer(&["call", "bob"], "alice", &mosquitto.url());
    let alice = alice.option("--audio", format!("mic:{ECHO}")).option("--voice", voice);
    let mut alice = Tring::command(alice.option("--play", format!("speaker:{SPEAKER}"))).envs(pulse.env()).spawn();
    talking([&mut alice, &mut bob]);
    let mut figures = Value::Null;
    for _ in 0..8 {
        figures = alice.wait_event("stats", PATIENCE)["voice"].clone();
    }
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    alice.assert_called();
    bob.assert_answered();
    // The canceller gets the first seconds to learn. Of silence next to nothing is sent.
    let heard = sound::decode_in_time(&recorded);
    (sound::middle_dbfs(heard.get(3 * sound::RATE..).unwrap_or_default()), figures)
}

#[test]
fn a_speaker_beside_the_microphone_is_not_sent_back() {
    let _turn = Turn::call();
    let ((raw, raw_figures), (full, figures)) = (echo_of("raw"), echo_of("full"));
    assert!(raw > -40.0, "there is no echo to take out: {raw:.1} dBFS");
    assert!(raw - full >= 30.0, "the echo is {raw:.1} dBFS raw, and {full:.1} dBFS processed: {figures}");
    assert_eq!((&raw_figures["processing"], &figures["processing"]), (&json!("raw"), &json!("full")));
    assert!(figures["level_dbfs"].as_f64().is_some_and(|level| level > -60.0), "{figures}");
    assert!(figures["echo_delay_ms"].as_f64().is_some_and(|delay| delay < 400.0), "{figures}");
    assert!(raw_figures["echo_return_loss_db"].is_null() && figures["echo_return_loss_db"].is_number(), "{figures}");
    assert!(figures["echo_return_loss_sent_db"].as_f64().is_some_and(|loss| loss > 30.0), "{figures}");
}

#[test]
fn a_microphone_is_switched_in_a_call() {
    let _turn = Turn::call();
    let (pulse, mosquitto, dir) = (Pulse::start(), Mosquitto::anonymous(), TempDir::new("switched"));
    let said = dir.file("said.wav");
    sound::write_wav(&said, &sound::decode(&words(&dir)));
    let bob = peer(&["listen", "--answer", "auto", "--once"], "bob", &mosquitto.url());
    let mut bob = Tring::command(bob.option("--audio", "none").option("--play", "none")).spawn();
    bob.wait_event("online", PATIENCE);
    let alice = peer(&["call", "bob"], "alice", &mosquitto.url());
    let alice = alice.option("--audio", "mic").option("--play", "none");
    let mut alice = Tring::command(alice).envs(pulse.env()).spawn();
    talking([&mut alice, &mut bob]);
    let as_told = |processing: &'static str| move |stats: &Value| stats["voice"]["processing"] == processing;
    alice.wait_event_where("stats", PATIENCE, as_told("full"));
    alice.send_control(&json!({"command": "voice", "on": false}));
    assert_eq!(alice.wait_event("voice", PATIENCE)["processing"], "raw");
    alice.wait_event_where("stats", PATIENCE, as_told("raw"));
    alice.send_control(&json!({"command": "voice", "on": true}));
    alice.wait_event_where("stats", PATIENCE, as_told("full"));
    // Who speaks into a microphone that is off is told, once.
    alice.send_control(&json!({"command": "mute"}));
    let _speaking = pulse.speaking(&said);
    let is_told = |warning: &Value| warning["text"].as_str().is_some_and(|text| text.contains("microphone is off"));
    alice.wait_event_where("warning", PATIENCE, is_told);
    for _ in 0..3 {
        alice.wait_event("stats", PATIENCE);
    }
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, bob.status), (0, 0));
    assert_eq!(alice.events.iter().filter(|event| event["event"] == "warning" && is_told(event)).count(), 1);
}

#[test]
fn they_are_listed() {
    let (pulse, dir) = (Pulse::start(), TempDir::new("folder"));
    let listed = Tring::command(["devices", "--json"]).envs(pulse.env()).output(dir.path());
    assert!(listed.status.success());
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("devices are JSON");
    for (kind, id) in [("microphones", MICROPHONE), ("speakers", SPEAKER)] {
        let devices = listed[kind].as_array().expect("a list");
        let ours = devices.iter().find(|device| device["id"] == id).unwrap_or_else(|| panic!("no {id}: {listed}"));
        assert_eq!(ours["default"], true, "{listed}");
        assert_eq!(listed[format!("{kind}_error")], Value::Null);
        assert!(devices.iter().all(|device| !device["id"].as_str().unwrap().ends_with(".monitor")), "{listed}");
    }
    let text = Tring::command(["devices"]).envs(pulse.env()).output(dir.path());
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    for option in [format!("mic:{MICROPHONE}"), format!("speaker:{SPEAKER}")] {
        assert!(text.contains(&option), "{option} is not there to be copied: {text}");
    }
}

#[test]
fn unknown_names_are_told() {
    let (pulse, mosquitto) = (Pulse::start(), Mosquitto::anonymous());
    for (audio, play) in [("mic:nothing-like-it", "none"), ("none", "speaker:nothing-like-it")] {
        let args = peer(&["call", "bob"], "alice", &mosquitto.url()).option("--audio", audio).option("--play", play);
        let alice = Ended::wait(&mut Tring::command(args).envs(pulse.env()).spawn());
        assert_eq!(alice.status, 25, "--audio {audio} --play {play}");
        let said = alice.failure();
        assert!(said.contains("nothing-like-it") && said.contains("tring devices"), "{said}");
    }
}

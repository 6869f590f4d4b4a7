//! Sound devices that are late, come, go and change in the middle of a call, on a PulseAudio of the test's own.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::call::{Args, Ended};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::pulse::{ECHO, MICROPHONE, Pulse, SPEAKER};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, sound};

/// Not one of the program's own test tones.
const TONE_HZ: f64 = 700.0;

/// A speaker that is plugged in by a test.
const SPARE: &str = "tring_spare";

/// Alice sends `audio`, and bob hears it from the default speaker.
struct Call {
    alice: Tring,
    bob: Tring,
    _mosquitto: Mosquitto,
}

impl Call {
    fn start(pulse: &Pulse, audio: &str) -> Self {
        let mosquitto = Mosquitto::anonymous();
        let peer = |command: &[&str], id: &str| {
            let args = Args::new(command).and(["--id", id, "--broker", &mosquitto.url(), "--video", "none"]);
            args.and(["--show", "none", "--ring", "none", "--control", "-"])
        };
        let bob = peer(&["listen", "--answer", "auto", "--once"], "bob").option("--audio", "none");
        let mut bob = Tring::command(bob.option("--play", "speaker")).envs(pulse.env()).spawn();
        bob.wait_event("online", PATIENCE);
        let alice = peer(&["call", "bob"], "alice").option("--audio", audio).option("--voice", "raw");
        let mut alice = Tring::command(alice.option("--play", "none")).envs(pulse.env()).spawn();
        alice.wait_event("connected", PATIENCE);
        Self { alice, bob, _mosquitto: mosquitto }
    }

    /// Alice sends a tone from a file.
    fn with_tone(pulse: &Pulse, dir: &TempDir) -> Self {
        let file = dir.file("tone.wav");
        // Whole periods, as it is repeated.
        sound::write_wav(&file, &sound::sine(TONE_HZ, Duration::from_secs(10)));
        Self::start(pulse, &format!("file:{}", file.display()))
    }

    /// Waits for so many figures of bob; the last ones of his sound.
    fn figures(&mut self, count: usize) -> Value {
        let mut figures = Value::Null;
        for _ in 0..count {
            figures = self.bob.wait_event("stats", PATIENCE)["received"]["audio"].clone();
        }
        figures
    }

    /// Waits until bob's figures are like that.
    fn until(&mut self, is_so: impl Fn(&Value) -> bool) -> Value {
        self.bob.wait_event_where("stats", PATIENCE, |stats| is_so(&stats["received"]["audio"]))["received"]["audio"]
            .clone()
    }

    fn end(mut self) -> Value {
        self.alice.send_control(&json!({"command": "hangup"}));
        let (alice, bob) = (Ended::wait(&mut self.alice), Ended::wait(&mut self.bob));
        assert_eq!((alice.status, bob.status), (0, 0));
        bob.summary()["received"]["audio"].clone()
    }
}

/// What `speaker` plays for so many seconds is a tone, nearly all of the time.
fn assert_heard(pulse: &Pulse, call: &mut Call, speaker: &str, file: &Path) {
    {
        let _recording = pulse.recording_of(speaker, file);
        call.figures(4);
    }
    let heard = sound::decode(file);
    let frequencies = sound::frequencies(&heard);
    let right = frequencies.iter().filter(|hz| (*hz - TONE_HZ).abs() < 20.0).count();
    // A busy machine may make holes into it.
    assert!(right >= 10 && right * 10 >= frequencies.len() * 7, "{speaker}: {right} of {frequencies:?}");
}

#[test]
fn a_call_goes_on_at_another_speaker_when_its_own_is_unplugged() {
    let _turn = Turn::call();
    let (pulse, dir) = (Pulse::start(), TempDir::new("unplugged"));
    let mut call = Call::with_tone(&pulse, &dir);
    assert_heard(&pulse, &mut call, SPEAKER, &dir.file("before.wav"));
    pulse.plug_speaker(SPARE);
    pulse.unplug(SPEAKER);
    // Which one follows is the server's choice, unless somebody chooses.
    pulse.set_default_speaker(SPARE);
    assert_heard(&pulse, &mut call, SPARE, &dir.file("after.wav"));
    call.end();
}

#[test]
fn a_call_goes_on_when_the_only_speaker_is_unplugged_and_there_is_one_again() {
    let _turn = Turn::call();
    let (pulse, dir) = (Pulse::start(), TempDir::new("none-left"));
    let mut call = Call::with_tone(&pulse, &dir);
    assert_heard(&pulse, &mut call, SPEAKER, &dir.file("before.wav"));
    // The sink behind the microphone is one too.
    pulse.unplug(MICROPHONE);
    pulse.unplug("tring_voice");
    pulse.unplug(SPEAKER);
    // It goes on without.
    let packets = call.figures(2)["packets"].as_u64();
    call.until(|audio| audio["packets"].as_u64() > packets);
    pulse.plug_speaker(SPARE);
    pulse.set_default_speaker(SPARE);
    // It is looked for each second.
    call.figures(3);
    assert_heard(&pulse, &mut call, SPARE, &dir.file("after.wav"));
    call.end();
}

#[test]
fn a_call_follows_the_default_speaker() {
    let _turn = Turn::call();
    let (pulse, dir) = (Pulse::start(), TempDir::new("default"));
    pulse.plug_speaker(SPARE);
    let mut call = Call::with_tone(&pulse, &dir);
    assert_heard(&pulse, &mut call, SPEAKER, &dir.file("before.wav"));
    pulse.set_default_speaker(SPARE);
    assert_heard(&pulse, &mut call, SPARE, &dir.file("after.wav"));
    call.end();
}

#[test]
fn a_call_goes_on_with_another_microphone_when_its_own_is_unplugged() {
    let _turn = Turn::call();
    let (pulse, dir) = (Pulse::start(), TempDir::new("microphone"));
    let said = dir.file("said.wav");
    sound::write_wav(&said, &sound::sine(TONE_HZ, Duration::from_secs(120)));
    let mut call = Call::start(&pulse, "mic");
    {
        let _speaking = pulse.speaking(&said);
        assert_heard(&pulse, &mut call, SPEAKER, &dir.file("before.wav"));
    }
    // The one that hears the speaker is a microphone like any other.
    pulse.unplug(ECHO);
    pulse.plug_microphone(SPARE);
    pulse.unplug(MICROPHONE);
    let _speaking = pulse.speaking_into(SPARE, &said);
    // It is looked for each second.
    call.figures(3);
    assert_heard(&pulse, &mut call, SPEAKER, &dir.file("after.wav"));
    call.end();
}

#[test]
fn a_speaker_that_runs_dry_is_counted() {
    let _turn = Turn::call();
    let (pulse, dir) = (Pulse::start(), TempDir::new("dry"));
    let mut call = Call::with_tone(&pulse, &dir);
    let before = call.figures(3)["underruns"].as_u64().expect("a number");
    call.bob.signal("STOP");
    // For longer than any sound that waits lasts.
    std::thread::sleep(Duration::from_secs(1));
    call.bob.signal("CONT");
    let after = call.until(|audio| audio["underruns"].as_u64() > Some(before));
    let summary = call.end();
    assert!(summary["underruns"].as_u64() >= after["underruns"].as_u64(), "{summary}");
}

#[test]
fn a_speaker_that_is_slow_to_begin_costs_no_delay() {
    let _turn = Turn::call();
    let (pulse, dir) = (Pulse::start(), TempDir::new("cold"));
    pulse.hold_speaker(true);
    let mut call = Call::with_tone(&pulse, &dir);
    // Sound comes, and none of it is taken.
    call.until(|audio| audio["packets"].as_u64() >= Some(25));
    pulse.hold_speaker(false);
    assert_heard(&pulse, &mut call, SPEAKER, &dir.file("heard.wav"));
    let figures = call.figures(1);
    assert_eq!(figures["skipped"], 0, "{figures}");
    // Half a second and more had come before the speaker began.
    assert!(figures["shrunk_ms"].as_f64().is_some_and(|ms| ms < 300.0), "{figures}");
    call.end();
}

#[test]
fn pictures_wait_for_the_sound_of_a_speaker() {
    let _turn = Turn::call();
    let (pulse, mosquitto) = (Pulse::start(), Mosquitto::anonymous());
    let peer = |command: &[&str], id: &str| {
        let args = Args::new(command).and(["--id", id, "--broker", &mosquitto.url(), "--codec", "vp8"]);
        args.and(["--video", "test", "--audio", "tone", "--show", "none", "--ring", "none", "--control", "-"])
    };
    let bob = peer(&["listen", "--answer", "auto", "--once"], "bob").option("--play", "speaker");
    let mut bob = Tring::command(bob).envs(pulse.env()).spawn();
    bob.wait_event("online", PATIENCE);
    let alice = peer(&["call", "bob"], "alice").option("--play", "none");
    let mut alice = Tring::command(alice).envs(pulse.env()).spawn();
    alice.wait_event("connected", PATIENCE);
    // Sender reports come once a second, and a correction takes half a second.
    for _ in 0..6 {
        bob.wait_event("stats", PATIENCE);
    }
    let (mut together, mut held) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let received = bob.wait_event("stats", PATIENCE)["received"].clone();
        together.extend(received["sync_ms"].as_f64());
        held.extend(received["video"]["held_ms"].as_f64());
    }
    alice.send_control(&json!({"command": "hangup"}));
    assert_eq!((Ended::wait(&mut alice).status, Ended::wait(&mut bob).status), (0, 0));
    together.sort_by(f64::total_cmp);
    // Without it sound is late by what waits in the speaker too. A busy machine may spoil a second of it.
    let median = together.get(together.len() / 2).copied();
    assert!(median.is_some_and(|ms| (-40.0..=55.0).contains(&ms)), "{together:?}, pictures held back by {held:?} ms");
    assert!(held.iter().any(|ms| *ms > 0.0), "the speaker alone takes more than pictures do: {held:?} ms");
}

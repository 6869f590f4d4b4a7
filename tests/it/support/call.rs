//! A call between two programs: started, ended, and judged by what each says of itself.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::process::Tring;
use super::{PATIENCE, require, run, sound};

/// Test media in both directions, neither shown nor played.
pub const TEST_MEDIA: [&str; 8] = ["--video", "test", "--audio", "tone", "--show", "none", "--play", "none"];

/// Pictures a second that are sent unless asked otherwise.
const FPS: f64 = 30.0;

/// What a scripted user is told of; anything of these that comes unexpectedly fails a test.
const MILESTONES: [&str; 18] = [
    "online",
    "offline",
    "dialing",
    "ringing",
    "incoming",
    "accepted",
    "connecting",
    "connected",
    "first_frame",
    "reconnecting",
    "reconnected",
    "turned_away",
    "muted",
    "held",
    "warning",
    "ended",
    "summary",
    "error",
];

/// Arguments of any kinds, one after the other.
#[derive(Clone, Default)]
pub struct Args(Vec<OsString>);

impl Args {
    /// Begins with these.
    pub fn new<S: Into<OsString>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::default().and(args)
    }

    /// Adds these.
    pub fn and<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.0.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds an option and its value.
    pub fn option(self, name: &str, value: impl Into<OsString>) -> Self {
        self.and([OsString::from(name), value.into()])
    }
}

impl IntoIterator for Args {
    type Item = OsString;
    type IntoIter = std::vec::IntoIter<OsString>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// `listen` with test media, and online.
pub fn listen(link: impl IntoIterator<Item = impl Into<OsString>>) -> Tring {
    let mut bob = Tring::spawn(Args::new(["listen"]).and(TEST_MEDIA).and(link));
    bob.wait_event("online", PATIENCE);
    bob
}

/// The same, also for peers that cannot seal.
pub fn listen_plain(link: impl IntoIterator<Item = impl Into<OsString>>) -> Tring {
    let mut bob = Tring::command(Args::new(["listen"]).and(TEST_MEDIA).and(link)).plain().spawn();
    bob.wait_event("online", PATIENCE);
    bob
}

/// `call bob` with test media.
pub fn call_bob(link: impl IntoIterator<Item = impl Into<OsString>>) -> Tring {
    Tring::spawn(Args::new(["call", "bob"]).and(TEST_MEDIA).and(link))
}

/// Waits until both see each other.
pub fn talking<const N: usize>(sides: [&mut Tring; N]) {
    for side in sides {
        side.wait_event("first_frame", PATIENCE);
    }
}

/// A program that has ended, and all it said.
pub struct Ended {
    /// Its exit status.
    pub status: i32,
    /// Its events, in order.
    pub events: Vec<Value>,
}

impl Ended {
    /// Waits for the end of the program.
    pub fn wait(tring: &mut Tring) -> Self {
        let status = tring.wait_exit(PATIENCE);
        Self { status, events: tring.wait_events().to_vec() }
    }

    /// The last event of this name.
    ///
    /// # Panics
    /// When there is none.
    pub fn event(&self, name: &str) -> &Value {
        let found = self.events.iter().rev().find(|event| event["event"] == name);
        found.unwrap_or_else(|| panic!("no event {name}"))
    }

    /// The closing figures.
    pub fn summary(&self) -> &Value {
        self.event("summary")
    }

    /// The names of all events that tell something of the course of the call.
    pub fn course(&self) -> Vec<&str> {
        let names = self.events.iter().filter_map(|event| event["event"].as_str());
        names.filter(|name| MILESTONES.contains(name)).collect()
    }

    /// Why the call ended.
    pub fn reason(&self) -> &str {
        self.event("ended")["reason"].as_str().expect("ended has a reason")
    }

    /// The text of the error the program ended with.
    pub fn error(&self) -> &str {
        self.event("error")["text"].as_str().expect("an error has a text")
    }

    /// All that it says went wrong on its side, before a call or in one.
    pub fn failure(&self) -> String {
        let texts = self.events.iter().map(|event| match event["event"].as_str() {
            Some("ended") => event["detail"].as_str(),
            Some("error") => event["text"].as_str(),
            Some(_) | None => None,
        });
        texts.flatten().collect::<Vec<&str>>().join("; ")
    }

    /// The texts of all warnings.
    pub fn warnings(&self) -> Vec<&str> {
        self.events.iter().filter(|event| event["event"] == "warning").filter_map(|e| e["text"].as_str()).collect()
    }

    /// Seconds from connected to the end.
    pub fn duration(&self) -> f64 {
        self.summary()["duration_ms"].as_f64().expect("there was a call") / 1000.0
    }

    /// It answered a call that the other side ended, and nothing else happened.
    pub fn assert_answered(&self) {
        let course = ["online", "incoming", "accepted", "connecting", "connected", "first_frame", "ended", "summary"];
        assert_eq!((self.status, self.course()), (0, course.to_vec()));
        assert_eq!((self.reason(), &self.summary()["status"]), ("remote-hangup", &Value::from(0)));
    }

    /// It called, hung up after a while, and nothing else happened.
    pub fn assert_called(&self) {
        let course =
            ["online", "dialing", "ringing", "accepted", "connecting", "connected", "first_frame", "ended", "summary"];
        assert_eq!((self.status, self.course()), (0, course.to_vec()));
        assert_eq!((self.reason(), &self.summary()["status"]), ("hangup", &Value::from(0)));
    }

    /// The pictures of the test pattern that it saw came in order, with next to none missing; how many.
    pub fn assert_order(&self) -> f64 {
        let pattern = &self.summary()["received"]["video"]["pattern"];
        let count = |name: &str| pattern[name].as_f64().expect("the pattern is counted");
        let (in_order, counted) = (count("in_order"), count("in_order") + count("missing"));
        assert!(in_order > 0.0 && in_order >= 0.95 * counted, "{in_order} of {counted} pictures came in order");
        in_order
    }

    /// It saw the other side's test pattern and heard its test tone as they were sent, for as long as the call lasted.
    pub fn assert_media(&self) {
        let received = &self.summary()["received"];
        let (in_order, due) = (self.assert_order(), FPS * self.duration());
        assert!(in_order >= 0.8 * due, "{in_order} of about {due} pictures came");
        let steps: Vec<u32> = serde_json::from_value(received["audio"]["tones_heard"].clone()).unwrap();
        assert!(steps.len() >= 4 && sound::follows_the_sweep(&steps), "heard {steps:?}");
    }

    /// By its closing figures, its path ran through candidates of a wanted kind at both ends.
    pub fn assert_path(&self, is_wanted: impl Fn(&str) -> bool) {
        let pair = &self.summary()["pair"];
        let kinds = ["local", "remote"].map(|end| pair[end].as_str().unwrap_or("unknown"));
        assert!(kinds.into_iter().all(is_wanted) && pair["protocol"] == "udp", "{pair}");
        assert!(pair["round_trip_ms"].as_f64().is_some_and(|ms| ms > 0.0 && ms < 1000.0), "{pair}");
    }

    /// Its pictures came in this codec.
    pub fn assert_codec(&self, codec: &str) {
        assert_eq!(self.event("connecting")["video"], codec);
        assert_eq!(self.event("connecting")["audio"], "opus");
        assert_eq!(self.summary()["video_codec"], codec);
        assert_eq!(self.summary()["received"]["video"]["codec"], codec);
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- ended with status {} ----", self.status);
            self.events.iter().filter(|event| event["event"] != "stats").for_each(|event| eprintln!("{event}"));
        }
    }
}

/// Other programs find in a recording what was sent, for about as long as the call lasted.
pub fn assert_recording(path: &Path, codec: &str, seconds: f64) {
    let mut command = Command::new(require("ffprobe", "ffmpeg"));
    command.args(["-v", "error", "-show_entries", "stream=codec_type,codec_name:format=duration", "-of", "json"]);
    let found: Value = serde_json::from_str(&run(command.arg(path))).expect("ffprobe found no error");
    let stream = |kind: &str| {
        let streams = found["streams"].as_array().expect("ffprobe lists streams");
        let stream = streams.iter().find(|stream| stream["codec_type"] == kind);
        stream.unwrap_or_else(|| panic!("no {kind} track in {found}"))["codec_name"].clone()
    };
    assert_eq!((stream("video"), stream("audio")), (codec.into(), "opus".into()));
    let duration: f64 = found["format"]["duration"].as_str().and_then(|text| text.parse().ok()).expect("a duration");
    assert!((duration - seconds).abs() <= 0.25 * seconds, "recorded {duration} s of {seconds} s");

    let mut command = Command::new(require("ffmpeg", "ffmpeg"));
    // Pictures keep their own times: rounded to a frame rate, two that were captured close together would coincide.
    let decode = ["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"];
    let said = run(command.args(["-nostdin", "-v", "error", "-i"]).arg(path).args(decode));
    assert_eq!(said, "", "ffmpeg does not decode {} cleanly", path.display());
    let (steps, share) = sound::sweep_steps(&sound::decode(path));
    assert!(steps.len() >= 4 && sound::follows_the_sweep(&steps), "recorded the tones {steps:?}");
    assert!(share >= 0.6, "only {share:.2} of the recorded sound is one of the tones");
}

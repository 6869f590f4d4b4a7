//! `tring agent`, driven by a runner of another make that speaks the frames of docs/PROTOCOL.md: parts run, are ordered
//! about, survive a broker that is started anew, and end with their runner; what touches files is refused.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::mallory::{Mallory, options};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::{PATIENCE, TempDir};

/// A part that listens until it is told to quit.
const BOB: [&str; 13] = [
    "listen", "--id", "bob", "--answer", "auto", "--video", "test", "--audio", "tone", "--show", "none", "--play",
    "none",
];

const TO_BERLIN: &str = "tring/agent/runner/berlin";
const FROM_BERLIN: &str = "tring/agent/berlin/runner";

/// Our side of a run.
struct Runner {
    client: Mallory,
    run: &'static str,
    asks: Vec<Value>,
    /// How many of the agent's items came.
    arrived: usize,
    /// The agent's items, in order, that no test has looked at.
    items: Vec<Value>,
}

impl Runner {
    fn connect(mosquitto: &Mosquitto, run: &'static str) -> Self {
        Self { client: Self::client(mosquitto), run, asks: Vec::new(), arrived: 0, items: Vec::new() }
    }

    fn client(mosquitto: &Mosquitto) -> Mallory {
        let mut client = Mallory::connect(options("runner", mosquitto.port()));
        client.subscribe(FROM_BERLIN);
        client.subscribe("tring/presence/bob");
        client
    }

    /// Connects anew, as a broker that was started anew demands; what was asked is asked again.
    fn reconnect(&mut self, mosquitto: &Mosquitto) {
        self.client = Self::client(mosquitto);
        self.say(1, self.asks.clone());
    }

    fn ask(&mut self, ask: Value) {
        self.asks.push(ask.clone());
        self.say(self.asks.len(), vec![ask]);
    }

    fn say(&mut self, first: usize, items: Vec<Value>) {
        let frame = json!({
            "v": 1, "run": self.run, "type": "items", "ack": self.arrived, "first": first, "items": items,
        });
        self.client.publish(TO_BERLIN, frame.to_string());
    }

    fn start(&mut self, arguments: &[&str]) {
        self.ask(json!({"start": {"part": "bob", "arguments": arguments}}));
    }

    fn order(&mut self, order: Value) {
        self.ask(json!({"order": {"part": "bob", "order": order}}));
    }

    /// The next item of the agent that is one of these; others before it are passed over. Each sign of life is answered.
    fn hears(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while !self.items.is_empty() {
                let item = self.items.remove(0);
                if wanted(&item) {
                    return item;
                }
            }
            assert!(Instant::now() < deadline, "no such item within {PATIENCE:?}");
            let frame = self.client.hears("items");
            assert_eq!(frame["run"], self.run);
            let items = frame["items"].as_array().unwrap();
            let first = usize::try_from(frame["first"].as_u64().unwrap()).unwrap();
            // Behind a gap, as a broker leaves it that was away, nothing is taken: it comes again.
            let known = (self.arrived + 1).checked_sub(first).unwrap_or(items.len());
            let new: Vec<Value> = items.iter().skip(known).cloned().collect();
            self.arrived += new.len();
            self.items.extend(new);
            self.say(self.asks.len() + 1, Vec::new());
        }
    }

    /// The next event of this name.
    ///
    /// # Panics
    /// When the part ends before.
    fn hears_event(&mut self, name: &str) -> Value {
        let item = self.hears(|item| item["told"]["told"]["event"]["event"] == name || is_end(item));
        assert!(!is_end(&item), "no event {name}, but {item}");
        item["told"]["told"]["event"].clone()
    }

    fn hears_end(&mut self) -> Value {
        self.hears(is_end)
    }
}

/// True for the last that is told of a part.
fn is_end(item: &Value) -> bool {
    item["told"]["told"].get("ended").is_some() || item.get("refused").is_some()
}

/// Berlin, online, for our runner alone.
fn berlin(mosquitto: &Mosquitto, more: &[&str]) -> Tring {
    let url = mosquitto.url();
    let arguments = ["agent", "--id", "berlin", "--from", "runner", "--broker", &url];
    let mut agent = Tring::spawn(arguments.iter().chain(more));
    agent.wait_event("online", PATIENCE);
    agent
}

#[test]
fn a_part_runs_obeys_and_its_end_is_told() {
    let mosquitto = Mosquitto::anonymous();
    let mut agent = berlin(&mosquitto, &[]);
    let mut runner = Runner::connect(&mosquitto, "1");
    runner.start(&BOB);
    assert_eq!(runner.hears_event("online")["id"], "bob");
    // The same frame again starts nothing.
    runner.say(1, runner.asks.clone());
    runner.order(json!({"control": r#"{"command":"snapshot","file":"/tmp/a.png"}"#}));
    let is_refusal =
        |item: &Value| item["told"]["told"]["log"].as_str().is_some_and(|log| log.contains("\"snapshot\""));
    runner.hears(is_refusal);
    runner.order(json!({"control": r#"{"command":"stats"}"#}));
    runner.order(json!({"control": r#"{"command":"quit"}"#}));
    assert_eq!(runner.hears_end()["told"]["told"]["ended"], 0);
    // The name is free again, and another end is told too.
    runner.start(&BOB);
    runner.hears_event("online");
    runner.order(json!("interrupt"));
    assert_eq!(runner.hears_end()["told"]["told"]["ended"], 130);
    runner.start(&BOB);
    runner.hears_event("online");
    runner.order(json!("kill"));
    assert_eq!(runner.hears_end()["told"]["told"]["ended"], Value::Null);
    agent.interrupt();
    assert_eq!(agent.wait_exit(PATIENCE), 130);
}

#[test]
fn what_touches_files_and_more_parts_than_allowed_are_refused() {
    let mosquitto = Mosquitto::anonymous();
    let _agent = berlin(&mosquitto, &["--parts", "1"]);
    let mut runner = Runner::connect(&mosquitto, "1");
    for refused in ["--record=/tmp/a.webm", "--video=file:/etc/passwd", "--password-file=/etc/passwd"] {
        runner.start(&[&BOB[..], &[refused]].concat());
        let reason = runner.hears_end()["refused"]["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(refused.split(['=', ':']).next().unwrap()), "{reason}");
    }
    runner.start(&BOB);
    runner.hears_event("online");
    runner.ask(json!({"start": {"part": "carol", "arguments": ["listen", "--id", "carol"]}}));
    let refused = runner.hears_end();
    assert_eq!(refused["refused"]["part"], "carol");
    assert!(refused["refused"]["reason"].as_str().unwrap().contains("runs 1 parts at once"), "{refused}");
    runner.ask(json!("close"));
    assert_eq!(runner.hears_end()["told"]["told"]["ended"], 130);
}

#[test]
fn a_broker_that_is_started_anew_loses_nothing() {
    let mut mosquitto = Mosquitto::anonymous();
    let mut agent = berlin(&mosquitto, &[]);
    let mut runner = Runner::connect(&mosquitto, "1");
    runner.start(&BOB);
    runner.hears_event("online");
    mosquitto.restart();
    agent.wait_event("online", PATIENCE);
    runner.reconnect(&mosquitto);
    // What bob said while nobody could hear it.
    runner.hears_event("offline");
    runner.hears_event("online");
    runner.order(json!({"control": r#"{"command":"quit"}"#}));
    assert_eq!(runner.hears_end()["told"]["told"]["ended"], 0);
}

#[test]
fn parts_end_with_their_runner() {
    let mosquitto = Mosquitto::anonymous();
    let _agent = berlin(&mosquitto, &[]);
    let mut runner = Runner::connect(&mosquitto, "1");
    runner.start(&BOB);
    runner.hears_event("online");
    let silent_since = Instant::now();
    let offline = |message: &Value| message["state"] == "offline";
    runner.client.presence_where(offline);
    let took = silent_since.elapsed();
    assert!(took > Duration::from_secs(8), "bob was hung up though his runner had just spoken: {took:?}");
}

#[test]
fn whose_parts_are_run_must_be_said() {
    let mosquitto = Mosquitto::anonymous();
    let folder = TempDir::new("agents");
    let output = Tring::command(["agent", "--id", "berlin", "--broker", &mosquitto.url()]).output(folder.path());
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("--from") && stderr.contains("--from-anyone"), "{stderr}");
}

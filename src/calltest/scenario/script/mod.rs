//! A scenario with its meaning: who takes part, what happens, what has to come of it. Pure.
//!
//! - in: a [`Variant`] of a file, in which every value is a text
//! - [`placing`]: who takes part; [`steps`]: what happens
//! - out: a [`Scenario`], or what is wrong and where; nothing that a run could still trip over is left

mod placing;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use signalling::id::PeerId;

use placing::Placing;
use steps::step_of;

use super::document::{Document, Impair, Variant};
use crate::calltest::judge::expect::Expectation;
use crate::calltest::values::Text;
use crate::cli::parse::parse_time;
use crate::config::CallOptions;

/// One run takes no longer, unless its file says so.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A call that nothing else ends is so long.
const DURATION: &str = "5s";

/// Runs of one scenario at most.
const REPEAT_MAX: u32 = 10_000;

/// Everything about one run.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) tags: Vec<String>,
    /// What the matrix chose.
    pub(crate) chosen: BTreeMap<String, String>,
    pub(crate) timeout: Duration,
    pub(crate) repeat: u32,
    pub(crate) broker: BrokerWanted,
    pub(crate) restart_broker: Option<Vec<String>>,
    pub(crate) restart_turn: Option<Vec<String>>,
    pub(crate) peers: Vec<PeerSpec>,
    pub(crate) steps: Vec<Step>,
    /// What must not be printed.
    pub(crate) secrets: BTreeSet<String>,
    /// Where files it names are looked for.
    pub(crate) folder: PathBuf,
}

/// Which broker it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrokerWanted {
    /// The one of the options, or one of the test's own.
    Any,
    /// One of the test's own.
    Own,
}

/// One who takes part.
#[derive(Clone, Debug)]
pub(crate) struct PeerSpec {
    pub(crate) name: String,
    pub(crate) id: Option<PeerId>,
    pub(crate) start: Start,
    pub(crate) does: Does,
    pub(crate) place: Place,
    pub(crate) env: BTreeMap<String, String>,
    /// Options by their long names, with what is usual.
    pub(crate) settings: BTreeMap<String, Vec<String>>,
    /// The keys among them that the file itself names.
    pub(crate) named: BTreeSet<String>,
    /// Values of `--impair`.
    pub(crate) impair: Vec<String>,
    pub(crate) expect: Vec<Expectation>,
}

/// When it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the beginning.
    AtOnce,
    /// At a step.
    ByStep,
}

/// Where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// As a process of its own on this machine.
    Process,
    /// As a session inside the program that runs the test.
    Inside,
    /// On another machine.
    Agent(PeerId),
}

impl Place {
    /// The agent, if it runs at one.
    pub(crate) fn agent(&self) -> Option<PeerId> {
        match self {
            Self::Agent(agent) => Some(agent.clone()),
            Self::Process | Self::Inside => None,
        }
    }
}

/// What it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Calls one who takes part, or another peer by its ID.
    Call(String),
    /// Listens.
    Listen,
    /// Whatever this program does.
    Foreign(Vec<String>),
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) after: Duration,
    /// Names of the peers.
    pub(crate) peers: Vec<String>,
    pub(crate) action: Action,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Nothing but the time before it.
    Pause,
    Start,
    Wait {
        event: String,
        fields: Vec<(String, String)>,
        within: Duration,
    },
    Command(Value),
    Interrupt,
    Kill,
    Server(Server, ServerAction),
    Expect {
        over: Duration,
        expect: Vec<Expectation>,
    },
}

/// A server of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Broker,
    Turn,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerAction {
    Kill,
    Restart,
}

impl Server {
    fn named(name: &str) -> Option<Self> {
        match name {
            "broker" => Some(Self::Broker),
            "turn" => Some(Self::Turn),
            _ => None,
        }
    }
}

/// Gives a run its meaning. `name` is that of a file that has none; `folder` is where it lies.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn read(variant: Variant, name: &str, folder: &Path, options: &CallOptions) -> Result<Scenario, String> {
    let Variant { chosen, document, secrets } = variant;
    let Document { name: own_name, description, tags, timeout, repeat, servers, settings, peers, steps, .. } = document;
    if peers.is_empty() {
        return Err("nobody takes part; add e.g. [peers.bob] and [peers.alice] with calls = \"bob\"".to_owned());
    }
    let mut specs = Vec::new();
    for (name, peer) in peers {
        let reading = Placing { common: &settings, options, folder };
        specs.push(reading.spec(&name, peer).map_err(|error| format!("peers.{name}: {error}"))?);
    }
    let mut peers = specs;
    let names: BTreeSet<&str> = peers.iter().map(|spec| spec.name.as_str()).collect();
    let read_step = |(n, step)| step_of(step, &names).map_err(|error| format!("step {}: {error}", n + 1));
    let steps = steps.into_iter().enumerate().map(read_step).collect::<Result<Vec<_>, _>>()?;
    check_starts(&peers, &steps)?;
    finish(&mut peers, &steps);
    let list = |words: Option<Vec<Text>>| words.map(|words| words.into_iter().map(|word| word.0).collect());
    let broker = match servers.broker.as_deref() {
        None => BrokerWanted::Any,
        Some("own") => BrokerWanted::Own,
        Some(other) => {
            return Err(format!("servers.broker can be own, not {other:?}; a broker of yours is named by --broker"));
        }
    };
    let repeat = match &repeat {
        None => 1,
        Some(text) => text
            .parse()
            .ok()
            .filter(|times| (1..=REPEAT_MAX).contains(times))
            .ok_or_else(|| format!("repeat is a number from 1 to {REPEAT_MAX}, not {:?}", text.0))?,
    };
    Ok(Scenario {
        name: own_name.map_or_else(|| name.to_owned(), |name| name.0),
        description: description.map(|text| text.0).unwrap_or_default(),
        tags: tags.into_iter().map(|tag| tag.0).collect(),
        chosen,
        timeout: time("timeout", timeout.as_ref())?.unwrap_or(TIMEOUT),
        repeat,
        broker,
        restart_broker: list(servers.restart_broker),
        restart_turn: list(servers.restart_turn),
        peers,
        steps,
        secrets,
        folder: folder.to_owned(),
    })
}

fn time(what: &str, text: Option<&Text>) -> Result<Option<Duration>, String> {
    let Some(text) = text else { return Ok(None) };
    if matches!(&**text, "0" | "0s" | "0ms") {
        return Ok(Some(Duration::ZERO));
    }
    parse_time(text).map(Some).map_err(|error| format!("{what}: {error}"))
}

/// What follows from peers and steps together: nobody fails unnoticed, and every call has an end.
fn finish(peers: &mut [PeerSpec], steps: &[Step]) {
    for spec in peers.iter_mut() {
        let kills = |step: &Step| matches!(step.action, Action::Kill) && step.peers.contains(&spec.name);
        // One that is killed has no exit status.
        if !spec.expect.iter().any(Expectation::is_of_status) && !steps.iter().any(kills) {
            spec.expect.push(Expectation::of_status_done());
        }
    }
    if steps.is_empty() && !peers.iter().any(|spec| spec.settings.contains_key("duration")) {
        let callers = peers.iter_mut().filter(|spec| matches!(spec.does, Does::Call(_)));
        callers.for_each(|spec| drop(spec.settings.insert("duration".into(), vec![DURATION.into()])));
    }
}

/// One that starts by a step needs that step.
fn check_starts(peers: &[PeerSpec], steps: &[Step]) -> Result<(), String> {
    for spec in peers.iter().filter(|spec| spec.start == Start::ByStep) {
        let starts = |step: &&Step| matches!(step.action, Action::Start) && step.peers.contains(&spec.name);
        if steps.iter().find(starts).is_none() {
            return Err(format!(
                "peers.{0}: it starts by a step, but no step has do = \"start\" with peer = \"{0}\"",
                spec.name
            ));
        }
    }
    Ok(())
}

/// What `--impair` takes for it.
fn impairments(impair: Impair) -> Result<Vec<String>, String> {
    match impair {
        Impair::Both(text) => Ok(vec![text.0]),
        Impair::Apart { up: None, down: None } => Err("impair: a table has up, down or both".to_owned()),
        Impair::Apart { up, down } => {
            let part = |prefix: &str, text: Option<Text>| text.map(|text| format!("{prefix}:{}", text.0));
            Ok(part("up", up).into_iter().chain(part("down", down)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::document::{self, Surroundings};
    use super::*;

    fn scenario(source: &str) -> Result<Scenario, String> {
        let around = Surroundings { set: &BTreeMap::new(), environment: &|_| None };
        let variant = document::read(source, &around)?.remove(0);
        read(variant, "file", Path::new("/tests"), &CallOptions::new())
    }

    const TWO: &str = "[peers.bob]\n[peers.alice]\ncalls = \"bob\"\n";

    #[test]
    fn two_peers_are_all_that_is_needed() {
        let scenario = scenario(TWO).unwrap();
        assert_eq!((scenario.name.as_str(), scenario.repeat, scenario.timeout), ("file", 1, TIMEOUT));
        let [alice, bob] = scenario.peers.as_slice() else { panic!("{:?}", scenario.peers) };
        assert_eq!((&alice.does, &bob.does), (&Does::Call("bob".into()), &Does::Listen));
        assert_eq!(bob.settings["answer"], ["auto"]);
        assert_eq!(alice.settings["video"], ["test"]);
        assert!(alice.expect.iter().any(Expectation::is_of_status), "who fails unnoticed tests nothing");
    }

    #[test]
    fn steps_have_their_meaning() {
        let source = format!(
            r#"{TWO}
            [[steps]]
            wait = "muted"
            where = {{ side = "remote", audio = true }}
            peer = ["alice", "bob"]
            within = "3s"
            [[steps]]
            do = "mute"
            on = false
            peer = "alice"
            after = "500ms"
            [[steps]]
            impair = {{ up = "loss=5%", down = "delay=1ms" }}
            peer = "bob"
            [[steps]]
            restart = "broker"
            [[steps]]
            kill = "bob"
            "#
        );
        let steps = scenario(&source).unwrap().steps;
        assert!(matches!(&steps[0].action, Action::Wait { event, fields, within }
            if event == "muted" && fields.len() == 2 && *within == Duration::from_secs(3)));
        assert_eq!(steps[0].peers, ["alice", "bob"]);
        assert!(matches!(&steps[1].action, Action::Command(command)
            if *command == json!({"command": "mute", "on": false})));
        assert_eq!(steps[1].after, Duration::from_millis(500));
        assert!(matches!(&steps[2].action, Action::Command(command) if command["spec"] == "up:loss=5% down:delay=1ms"));
        assert!(matches!(steps[3].action, Action::Server(Server::Broker, ServerAction::Restart)));
        assert!(matches!(steps[4].action, Action::Kill) && steps[4].peers == ["bob"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (source, expected) in [
            ("", "nobody takes part"),
            ("[peers.bob]\nvideo = \"cmaera\"", "peers.bob: video:"),
            ("[peers.bob]\nvidoe = \"test\"", "did you mean video?"),
            ("[peers.bob]\ncals = \"x\"", "did you mean calls?"),
            ("[peers.bob]\nanswer_timeout = \"3s\"", "one that calls"),
            ("[settings]\nvidoe = 1\n[peers.bob]", "settings: there is no setting"),
            ("[peers.broker]", "neither broker nor turn"),
            ("[peers.bob]\nexpect = { fps = \"fast\" }", "peers.bob: expect: fps"),
            ("[peers.bob]\ncommand = []", "no program"),
            ("[peers.bob]\nstart = \"step\"", "no step has do = \"start\""),
            ("repeat = 0\n[peers.bob]", "repeat"),
            ("[servers]\nbroker = \"mqtt://a\"\n[peers.bob]", "--broker"),
            ("[peers.bob]\n[[steps]]\npeer = \"bob\"", "step 1: it does nothing"),
            ("[peers.bob]\n[[steps]]\nwait = \"online\"\ndo = \"quit\"", "wait and do"),
            ("[peers.bob]\n[[steps]]\nwait = \"online\"", "nobody's name"),
            ("[peers.bob]\n[[steps]]\nwait = \"onlin\"\npeer = \"bob\"", "did you mean online?"),
            ("[peers.bob]\n[[steps]]\nwait = \"online\"\npeer = \"bpb\"", "did you mean bob?"),
            ("[peers.bob]\n[[steps]]\ndo = \"dance\"\npeer = \"bob\"", "no command \"dance\""),
            ("[peers.bob]\n[[steps]]\ndo = \"camera\"\npeer = \"bob\"", "do = \"camera\""),
            ("[peers.bob]\n[[steps]]\ndo = \"quit\"\nover = \"3s\"\npeer = \"bob\"", "belongs to a step with expect"),
            ("[peers.bob]\nimpair = \"los=5%\"", "peers.bob: impair"),
            ("[peers.bob]\n[[steps]]\nimpair = \"loss=5\"\npeer = \"bob\"", "step 1: impair"),
            ("[peers.bob]\n[[steps]]\nrestart = \"bob\"", "broker or turn"),
            ("[peers.bob]\n[[steps]]\nexpect = { status = 0 }\npeer = \"bob\"", "whole call"),
        ] {
            let error = scenario(source).unwrap_err();
            assert!(error.contains(expected), "{source}: {error}");
        }
    }
}

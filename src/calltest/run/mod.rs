//! One run of a scenario: its peers, its steps, its end, its outcome.
//!
//! - in: a [`Scenario`] and a [`Servers`]
//! - one loop owns everything: what peers tell comes over one channel, marked with who told it
//! - [`starting`]: whom it starts, and with what; [`peer`]: where each stands; [`ending`]: how they end; [`exchange`]:
//!   what they said over the broker
//! - out: an [`Outcome`], whatever happens; nothing that was started is left running

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use media::display::window::WindowClient;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::peer::{Peer, Standing};
use super::peers::remote::Agents;
use super::peers::{PeerInput, PeerOutput, TOLD_MAX};
use crate::calltest::judge::expect::{Check, Expectation};
use crate::calltest::judge::facts;
use crate::calltest::judge::outcome::{Outcome, Verdict};
use crate::calltest::run::servers::Servers;
use crate::calltest::scenario::script::{Action, PeerSpec, Scenario, Server, ServerAction, Step};
use crate::cli;
use crate::config::CallOptions;
use crate::platform::clock::unix_ms;
use crate::platform::random;

mod ending;
mod exchange;
mod peer;
pub(crate) mod servers;
mod starting;

/// How long a peer may take to end when its call is over, or when it is told to.
const FAREWELL: Duration = Duration::from_secs(15);

/// How long `stats` may take to be told when they are asked for.
const STATS_MAX: Duration = Duration::from_secs(5);

/// What a run is given besides its scenario.
pub(crate) struct Given<'a> {
    pub(crate) options: &'a CallOptions,
    /// How the runner itself reaches the broker.
    pub(crate) link: &'a cli::Link,
    pub(crate) repetition: (u32, u32),
    /// Whether recordings are made that the scenario does not ask for.
    pub(crate) recordings: Recordings,
    /// Where peers put recordings and pictures.
    pub(crate) folder: &'a Path,
    /// Needed by peers inside this program, used by none that shows nothing.
    pub(crate) windows: WindowClient,
    /// Fires when the user has had enough.
    pub(crate) stop: CancellationToken,
    /// Fires when that is not fast enough.
    pub(crate) at_once: CancellationToken,
    /// Hears what is being done.
    pub(crate) progress: &'a (dyn Fn(&str) + Sync),
}

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recordings {
    /// What the scenario says.
    AsWritten,
    /// Whatever a peer on this machine sees and hears, beside that.
    All,
}

/// Runs the scenario once.
pub(crate) async fn play(scenario: &Scenario, servers: Servers, given: Given<'_>) -> Outcome {
    let (started, clock) = (unix_ms(), Instant::now());
    let repetition = given.repetition;
    let reading = exchange::read_along(scenario, &servers, given.link, clock).await;
    let mut play = Run::new(scenario, servers, given);
    let mut faults = Vec::new();
    if let Err(stop) = play.run().await {
        faults.push(stop.words(scenario));
    }
    faults.extend(play.end_all().await);
    if let Some(agents) = play.agents.take() {
        agents.close().await;
    }
    let checks = play.judged();
    let ids = play.peers.values().map(|peer| peer.id.clone()).collect();
    let passed = faults.is_empty() && checks.iter().all(|check| check.passed);
    let outcome = Outcome {
        scenario: scenario.name.clone(),
        chosen: scenario.chosen.clone(),
        repetition,
        started,
        took: clock.elapsed(),
        verdict: if passed { Verdict::Passed } else { Verdict::Failed(faults) },
        checks,
        peers: play.peers.values().map(Peer::outcome).collect(),
        exchange: Some(exchange::drawn(reading, &ids).await),
        folder: None,
    };
    play.servers.stop().await;
    outcome
}

/// Why a run ends before its end.
enum Stop {
    /// In step number `.0`, if in one.
    TimedOut(Option<usize>),
    Interrupted,
    /// In step number `.0`, if in one.
    Fault(Option<usize>, String),
}

impl Stop {
    fn fault(text: impl Into<String>) -> Self {
        Self::Fault(None, text.into())
    }

    fn in_step(self, n: usize) -> Self {
        match self {
            Self::Fault(None, text) => Self::Fault(Some(n), text),
            Self::TimedOut(None) => Self::TimedOut(Some(n)),
            other => other,
        }
    }

    fn words(self, scenario: &Scenario) -> String {
        match self {
            Self::TimedOut(step) => {
                let place = step.and_then(|n| Some(format!(", in step {n}: {}", describe(scenario.steps.get(n - 1)?))));
                format!("not over after {} s (timeout){}", scenario.timeout.as_secs_f64(), place.unwrap_or_default())
            }
            Self::Interrupted => "interrupted".to_owned(),
            Self::Fault(None, text) => text,
            Self::Fault(Some(n), text) => format!("step {n}: {text}"),
        }
    }
}

struct Run<'a> {
    scenario: &'a Scenario,
    servers: Servers,
    agents: Option<Agents>,
    given: Given<'a>,
    deadline: Instant,
    peers: BTreeMap<String, Peer>,
    told: mpsc::Receiver<(String, PeerOutput)>,
    told_tx: mpsc::Sender<(String, PeerOutput)>,
    checks: Vec<Check>,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, servers: Servers, given: Given<'a>) -> Self {
        let (told_tx, told) = mpsc::channel(TOLD_MAX);
        // On a broker where others meet, no two runs may take each other's place.
        let mark = random::mark(4);
        let id = |spec: &PeerSpec| {
            let plain = spec.name.parse().ok();
            let marked = format!("{}-{mark}", &spec.name[..spec.name.len().min(59)]).parse().ok();
            let usual = if servers.is_private() { plain } else { marked };
            spec.id.clone().or(usual).expect("a name of the peers is a peer ID, and so is one with a mark")
        };
        let peer = |spec: &PeerSpec| {
            let peer = Peer {
                id: id(spec),
                spec: spec.clone(),
                orders: None,
                standing: Standing::Waiting,
                events: Vec::new(),
                seen: 0,
                log: Vec::new(),
                is_flooding: false,
            };
            (spec.name.clone(), peer)
        };
        let peers = scenario.peers.iter().map(peer).collect();
        let deadline = Instant::now() + scenario.timeout;
        Self { scenario, servers, agents: None, given, deadline, peers, told, told_tx, checks: Vec::new() }
    }

    async fn run(&mut self) -> Result<(), Stop> {
        self.begin().await?;
        for (n, step) in self.scenario.steps.iter().enumerate() {
            self.step(n + 1, step).await.map_err(|stop| stop.in_step(n + 1))?;
        }
        self.wait_for_ends().await
    }

    async fn step(&mut self, n: usize, step: &Step) -> Result<(), Stop> {
        let total = self.scenario.steps.len();
        (self.given.progress)(&format!("step {n}/{total}: {}", describe(step)));
        let begin = Instant::now() + step.after;
        self.pass_time(begin).await?;
        match &step.action {
            Action::Pause => {}
            Action::Start => {
                for name in &step.peers {
                    self.start(name).await?;
                }
            }
            Action::Wait { event, fields, within } => {
                let until = Instant::now() + *within;
                for name in &step.peers {
                    self.wait(name, event, fields, until, *within).await?;
                }
            }
            Action::Command(command) => {
                let command = self.with_files(command.clone());
                self.order_each(&step.peers, &PeerInput::Control(command.to_string())).await?;
            }
            Action::Interrupt => self.order_each(&step.peers, &PeerInput::Interrupt).await?,
            Action::Kill => {
                self.order_each(&step.peers, &PeerInput::Kill).await?;
                for name in &step.peers {
                    self.until(name, Instant::now() + FAREWELL, |peer| !peer.is_running()).await?;
                }
            }
            Action::Server(server, action) => self.serve(*server, *action).await?,
            Action::Expect { over, expect } => self.expect(n, &step.peers, *over, expect).await?,
        }
        Ok(())
    }

    /// A command whose file goes to the results of this run.
    fn with_files(&self, mut command: Value) -> Value {
        if command["command"] == "snapshot"
            && let Some(file) = command["file"].as_str()
        {
            command["file"] = self.given.folder.join(file).display().to_string().into();
        }
        command
    }

    async fn serve(&mut self, server: Server, action: ServerAction) -> Result<(), Stop> {
        self.servers.act(server, action).await.map_err(Stop::fault)
    }

    async fn order_each(&mut self, names: &[String], order: &PeerInput) -> Result<(), Stop> {
        for name in names {
            let peer = &self.peers[name];
            let Some(orders) = &peer.orders else {
                return Err(Stop::fault(match peer.standing {
                    Standing::Waiting => format!("{name} has not started yet"),
                    Standing::Running | Standing::Ended(_) => format!("{name} has ended already{}", peer.last_words()),
                }));
            };
            // It may end at this very moment; its end is told.
            let _ending = orders.send(order.clone()).await;
        }
        Ok(())
    }

    /// Waits for an event of this name and these fields, from where the last `wait` of this peer ended: it may have come
    /// before the step.
    async fn wait(
        &mut self,
        name: &str,
        event: &str,
        fields: &[(String, String)],
        until: Instant,
        within: Duration,
    ) -> Result<(), Stop> {
        let found = |peer: &Peer| {
            let fits =
                |told: &Value| told["event"] == event && fields.iter().all(|(key, value)| is_text(&told[key], value));
            peer.events[peer.seen..].iter().position(fits).map(|n| peer.seen + n + 1)
        };
        let in_time = self.until(name, until, |peer| found(peer).is_some() || !peer.is_running()).await?;
        let Some(peer) = self.peers.get_mut(name) else { return Ok(()) };
        match found(peer) {
            Some(after) => {
                peer.seen = after;
                Ok(())
            }
            None if in_time => Err(Stop::fault(format!("{name} ended{} without the event {event}", peer.last_words()))),
            None => {
                let other = peer.events[peer.seen..].iter().rev().find(|told| told["event"] == event);
                let other = other.map(|told| {
                    let shown = fields.iter().map(|(key, _)| format!("{key} = {}", told[key])).collect::<Vec<_>>();
                    format!(", but one with {}", shown.join(", "))
                });
                let other = other.unwrap_or_default();
                let which = if fields.is_empty() { "no" } else { "no such" };
                Err(Stop::fault(format!("{name} told {which} {event} within {} s{other}", within.as_secs_f64())))
            }
        }
    }

    /// Judges what comes from now on, for so long.
    async fn expect(&mut self, n: usize, names: &[String], over: Duration, expect: &[Expectation]) -> Result<(), Stop> {
        let from = self.look_at_stats(names).await?;
        self.pass_time(Instant::now() + over).await?;
        let to = self.look_at_stats(names).await?;
        for (name, (from, to)) in names.iter().zip(from.into_iter().zip(to)) {
            let events = &self.peers[name].events[from..=to];
            let stats: Vec<&Value> = events.iter().filter(|event| event["event"] == "stats").collect();
            let facts = facts::of_window(&stats);
            let checks =
                expect.iter().map(|expectation| Check { step: Some(n), ..expectation.judge(name, &facts, events) });
            self.checks.extend(checks);
        }
        Ok(())
    }

    /// Has each tell its `stats` now; where they stand among its events.
    async fn look_at_stats(&mut self, names: &[String]) -> Result<Vec<usize>, Stop> {
        let before: Vec<usize> = names.iter().map(|name| self.peers[name].events.len()).collect();
        self.order_each(names, &PeerInput::Control(r#"{"command":"stats"}"#.to_owned())).await?;
        let mut places = Vec::new();
        for (name, before) in names.iter().zip(before) {
            let place = |peer: &Peer| {
                let later = peer.events.iter().enumerate().skip(before);
                later.filter(|(_, event)| event["event"] == "stats").map(|(n, _)| n).next()
            };
            self.until(name, Instant::now() + STATS_MAX, |peer| place(peer).is_some() || !peer.is_running()).await?;
            let peer = &self.peers[name];
            places.push(place(peer).ok_or_else(|| {
                Stop::fault(format!("{name} has no call whose figures could be looked at{}", peer.last_words()))
            })?);
        }
        Ok(places)
    }

    /// Lets time pass, taking in what is told.
    async fn pass_time(&mut self, until: Instant) -> Result<(), Stop> {
        while self.take(until).await? {}
        Ok(())
    }

    /// Waits until something is true of one of the peers; false when time was up first.
    async fn until(&mut self, name: &str, until: Instant, is: impl Fn(&Peer) -> bool) -> Result<bool, Stop> {
        loop {
            if self.peers.get(name).is_some_and(&is) {
                return Ok(true);
            }
            if !self.take(until).await? {
                return Ok(false);
            }
        }
    }

    /// Takes in what is told next; false at the end of this time.
    async fn take(&mut self, until: Instant) -> Result<bool, Stop> {
        let end = until.min(self.deadline);
        // A peer that tells without a pause must not stop the clock.
        if Instant::now() >= end {
            return if end < until { Err(Stop::TimedOut(None)) } else { Ok(false) };
        }
        tokio::select! {
            biased;
            () = self.given.stop.cancelled() => Err(Stop::Interrupted),
            told = self.told.recv() => {
                if let Some((name, told)) = told
                    && let Some(peer) = self.peers.get_mut(&name)
                {
                    peer.take(told);
                }
                Ok(true)
            }
            () = tokio::time::sleep_until(end.into()) => {
                if end < until { Err(Stop::TimedOut(None)) } else { Ok(false) }
            }
        }
    }

    /// All expectations, judged; of the peers only those who took part.
    fn judged(&mut self) -> Vec<Check> {
        let mut checks = std::mem::take(&mut self.checks);
        for peer in self.peers.values() {
            let status = match peer.standing {
                Standing::Waiting => continue,
                Standing::Running => None,
                Standing::Ended(status) => status,
            };
            let facts = facts::of_call(&peer.events, status);
            let judge = |expectation: &Expectation| {
                let check = expectation.judge(&peer.spec.name, &facts, &peer.events);
                // A status alone sends people to the log.
                let words = if expectation.is_of_status() && !check.passed { peer.last_words() } else { String::new() };
                let seen = match check.seen {
                    None if !words.is_empty() => Some(format!("not known{words}")),
                    seen => seen.map(|seen| seen + &words),
                };
                Check { seen, ..check }
            };
            checks.extend(peer.spec.expect.iter().map(judge));
        }
        checks
    }
}

/// True when a field of an event is what a file has as a text.
fn is_text(field: &Value, text: &str) -> bool {
    match field {
        Value::String(value) => value == text,
        Value::Null => text == "null",
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            let written = field.to_string();
            written == text
        }
    }
}

/// A step in a few words.
fn describe(step: &Step) -> String {
    let peers = step.peers.join(", ");
    match &step.action {
        Action::Pause => "pause".to_owned(),
        Action::Start => format!("start {peers}"),
        Action::Wait { event, .. } => format!("{peers}: wait for {event}"),
        Action::Command(command) => format!("{peers}: {}", command["command"].as_str().unwrap_or("command")),
        Action::Interrupt => format!("interrupt {peers}"),
        Action::Kill => format!("kill {peers}"),
        Action::Server(server, action) => format!("{action:?} {server:?}").to_lowercase(),
        Action::Expect { over, .. } => format!("{peers}: figures over {} s", over.as_secs_f64()),
    }
}

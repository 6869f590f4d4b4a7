//! One run of a scenario: its peers, its steps, its end, its outcome.
//!
//! - in: a [`Scenario`] and a [`Stage`]
//! - one loop owns everything: what peers tell comes over one channel, marked with who told it
//! - out: an [`Outcome`], whatever happens; nothing that was started is left running

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use signalling::id::PeerId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::expect::{Check, Expectation};
use super::facts;
use super::outcome::{Outcome, PeerOutcome, Verdict};
use super::peers::{Order, Part, PeerHandle, Program, TOLD_MAX, Told, process};
use super::script::{Action, Does, Member, Scenario, Server, ServerAction, Start, Step};
use super::stage::Stage;
use crate::config::{CallCommand, CallOptions};
use crate::printer::unix_ms;
use crate::settings::random_nonce;

/// How long one that listens may take to be online: a broker that is tried for 8 s, and a slow machine.
const ONLINE_MAX: Duration = Duration::from_secs(20);

/// How long a call may go on beyond its `duration`: set-up and farewell have time-outs of their own.
const BEYOND_DURATION: Duration = Duration::from_secs(60);

/// How long a peer may take to end when its call is over, or when it is told to.
const FAREWELL: Duration = Duration::from_secs(15);

/// The same for one that is interrupted and does not listen to commands any more.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long `stats` may take to be told when they are asked for.
const STATS_MAX: Duration = Duration::from_secs(5);

/// Lines of a log that are kept of each peer: what went wrong stands at its end.
const LOG_MAX: usize = 5000;

/// What a run is given besides its scenario.
pub(crate) struct Given<'a> {
    pub(crate) options: &'a CallOptions,
    pub(crate) repetition: (u32, u32),
    /// Where peers put recordings and pictures.
    pub(crate) folder: &'a Path,
    /// Fires when the user has had enough.
    pub(crate) stop: CancellationToken,
    /// Hears what is being done.
    pub(crate) progress: &'a (dyn Fn(&str) + Sync),
}

/// Runs the scenario once.
pub(crate) async fn play(scenario: &Scenario, stage: Stage, given: Given<'_>) -> Outcome {
    let (started, clock) = (unix_ms(), Instant::now());
    let repetition = given.repetition;
    let mut play = Play::new(scenario, stage, given);
    let mut faults = Vec::new();
    if let Err(stop) = play.run().await {
        faults.push(stop.words(scenario));
    }
    faults.extend(play.end_all().await);
    let checks = play.judged();
    let passed = faults.is_empty() && checks.iter().all(|check| check.passed);
    let outcome = Outcome {
        scenario: scenario.name.clone(),
        chosen: scenario.chosen.clone(),
        repetition,
        started,
        took: clock.elapsed(),
        verdict: if passed { Verdict::Passed } else { Verdict::Failed(faults) },
        checks,
        peers: play.cast.values().map(Actor::outcome).collect(),
        exchange: None,
        folder: None,
    };
    play.stage.strike().await;
    outcome
}

/// Why a run ends before its end.
enum Stop {
    TimedOut,
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
            other => other,
        }
    }

    fn words(self, scenario: &Scenario) -> String {
        match self {
            Self::TimedOut => format!("not over after {} s (timeout)", scenario.timeout.as_secs_f64()),
            Self::Interrupted => "interrupted".to_owned(),
            Self::Fault(None, text) => text,
            Self::Fault(Some(n), text) => format!("step {n}: {text}"),
        }
    }
}

/// Where one who takes part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Waiting,
    Running,
    /// With this exit status, or by a signal.
    Ended(Option<i32>),
}

/// One who takes part, in this run.
struct Actor {
    member: Member,
    id: PeerId,
    orders: Option<mpsc::Sender<Order>>,
    standing: Standing,
    events: Vec<Value>,
    /// Events that a step has waited for lie before this.
    seen: usize,
    log: Vec<String>,
}

impl Actor {
    fn is_running(&self) -> bool {
        self.standing == Standing::Running
    }

    fn has_told(&self, name: &str) -> bool {
        self.events.iter().any(|event| event["event"] == name)
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Event(event) => self.events.push(event),
            Told::Text(line) | Told::Log(line) => {
                if self.log.len() == LOG_MAX {
                    self.log.remove(0);
                }
                self.log.push(line);
            }
            Told::Ended(status) => {
                self.standing = Standing::Ended(status);
                self.orders = None;
            }
        }
    }

    /// Why it ended, as it says itself.
    fn last_words(&self) -> String {
        let error = self.events.iter().rev().find(|event| event["event"] == "error");
        let ended = self.events.iter().rev().find(|event| event["event"] == "ended");
        let text = error.and_then(|event| event["text"].as_str()).map(str::to_owned);
        let reason = ended.and_then(|event| event["reason"].as_str()).map(str::to_owned);
        let said = text.or(reason).or_else(|| self.log.last().cloned());
        said.map(|said| format!(" ({said})")).unwrap_or_default()
    }

    fn outcome(&self) -> PeerOutcome {
        let status = match self.standing {
            Standing::Ended(status) => status,
            Standing::Waiting | Standing::Running => None,
        };
        let (name, id) = (self.member.name.clone(), self.id.to_string());
        PeerOutcome { name, id, status, events: self.events.clone(), log: self.log.clone() }
    }
}

struct Play<'a> {
    scenario: &'a Scenario,
    stage: Stage,
    given: Given<'a>,
    deadline: Instant,
    cast: BTreeMap<String, Actor>,
    told: mpsc::Receiver<(String, Told)>,
    told_tx: mpsc::Sender<(String, Told)>,
    checks: Vec<Check>,
}

impl<'a> Play<'a> {
    fn new(scenario: &'a Scenario, stage: Stage, given: Given<'a>) -> Self {
        let (told_tx, told) = mpsc::channel(TOLD_MAX);
        // On a broker where others meet, no two runs may take each other's place.
        let mark = format!("{:04x}", random_nonce().0 & 0xffff);
        let id = |member: &Member| {
            let plain = member.name.parse().ok();
            let marked = format!("{}-{mark}", &member.name[..member.name.len().min(59)]).parse().ok();
            let usual = if stage.is_private() { plain } else { marked };
            member.id.clone().or(usual).expect("a name of the cast is a peer ID, and so is one with a mark")
        };
        let actor = |member: &Member| {
            let actor = Actor {
                id: id(member),
                member: member.clone(),
                orders: None,
                standing: Standing::Waiting,
                events: Vec::new(),
                seen: 0,
                log: Vec::new(),
            };
            (member.name.clone(), actor)
        };
        let cast = scenario.cast.iter().map(actor).collect();
        let deadline = Instant::now() + scenario.timeout;
        Self { scenario, stage, given, deadline, cast, told, told_tx, checks: Vec::new() }
    }

    async fn run(&mut self) -> Result<(), Stop> {
        self.begin().await?;
        for (n, step) in self.scenario.steps.iter().enumerate() {
            self.step(n + 1, step).await.map_err(|stop| stop.in_step(n + 1))?;
        }
        self.wait_for_ends().await
    }

    /// Starts those who listen, and when they are online those who call.
    async fn begin(&mut self) -> Result<(), Stop> {
        (self.given.progress)("starting");
        let at_once = |member: &&Member| member.start == Start::AtOnce;
        let is_caller = |member: &&Member| matches!(member.does, Does::Call(_));
        let names = |members: Vec<&Member>| members.iter().map(|member| member.name.clone()).collect::<Vec<String>>();
        let first = self.scenario.cast.iter().filter(at_once).filter(|member| !is_caller(member)).collect();
        let callers = self.scenario.cast.iter().filter(at_once).filter(is_caller).collect();
        let (first, callers) = (names(first), names(callers));
        for name in &first {
            self.start(name).await?;
        }
        let until = Instant::now() + ONLINE_MAX;
        for name in &first {
            // One that ends before that has a status to be judged by.
            let ready = |actor: &Actor| actor.has_told("online") || !actor.is_running();
            if !self.until(name, until, ready).await? {
                return Err(Stop::fault(format!("{name} is not online after {} s", ONLINE_MAX.as_secs())));
            }
        }
        for name in &callers {
            self.start(name).await?;
        }
        Ok(())
    }

    async fn start(&mut self, name: &str) -> Result<(), Stop> {
        let actor = &self.cast[name];
        if actor.is_running() {
            return Err(Stop::fault(format!("{name} is running already")));
        }
        let part = self.part(actor).map_err(Stop::fault)?;
        let handle = match &actor.member.agent {
            None => process::start(&part).map_err(|failure| Stop::fault(failure.text))?,
            Some(agent) => return Err(Stop::fault(format!("agent {agent}: not there"))),
        };
        self.join(name, handle);
        Ok(())
    }

    /// Takes a peer in: what it tells comes with its name from now on.
    fn join(&mut self, name: &str, handle: PeerHandle) {
        let PeerHandle { mut told, orders } = handle;
        if let Some(actor) = self.cast.get_mut(name) {
            (actor.orders, actor.standing) = (Some(orders), Standing::Running);
        }
        let (out, name) = (self.told_tx.clone(), name.to_owned());
        tokio::spawn(async move {
            while let Some(told) = told.recv().await {
                if out.send((name.clone(), told)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// What this one is to run.
    fn part(&self, actor: &Actor) -> Result<Part, String> {
        let member = &actor.member;
        let mut env = self.stage.env();
        let program = match &member.does {
            Does::Foreign(command) => {
                env.insert("TRING_ID".into(), actor.id.to_string());
                env.extend(self.stage.broker_url().map(|url| ("TRING_BROKER".to_owned(), url)));
                env.extend(
                    self.cast
                        .values()
                        .map(|other| (format!("PEER_{}", variable(&other.member.name)), other.id.to_string())),
                );
                Program::Foreign { command: command.clone() }
            }
            Does::Listen => {
                Program::Tring { arguments: self.arguments(actor, CallCommand::Listen, vec!["listen".into()])? }
            }
            Does::Call(whom) => {
                let callee = self.cast.get(whom).map_or_else(|| whom.clone(), |callee| callee.id.to_string());
                Program::Tring { arguments: self.arguments(actor, CallCommand::Call, vec!["call".into(), callee])? }
            }
        };
        env.extend(member.env.clone());
        let folder = std::env::current_dir().map_err(|error| format!("the current folder is gone: {error}"))?;
        Ok(Part { name: member.name.clone(), program, env, folder })
    }

    fn arguments(&self, actor: &Actor, command: CallCommand, first: Vec<String>) -> Result<Vec<String>, String> {
        let member = &actor.member;
        let mut settings = member.settings.clone();
        for (key, values) in self.stage.settings() {
            if !member.named.contains(&key) {
                settings.insert(key, values);
            }
        }
        let mut arguments = first;
        arguments.push(format!("--id={}", actor.id));
        for (key, values) in settings.iter().filter(|(key, _)| *key != "id") {
            // What is written goes to the results; what is read lies beside the scenario.
            let is_output = matches!(key.as_str(), "record" | "snapshot");
            let folder = if is_output { self.given.folder } else { &self.scenario.folder };
            let words = self.given.options.words(command, key, values, folder);
            arguments.extend(words.map_err(|error| format!("{}: {error}", member.name))?);
        }
        arguments.extend(member.impair.iter().map(|spec| format!("--impair={spec}")));
        Ok(arguments)
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
            Action::Command(command) => self.order_each(&step.peers, &Order::Control(command.to_string())).await?,
            Action::Interrupt => self.order_each(&step.peers, &Order::Interrupt).await?,
            Action::Kill => {
                self.order_each(&step.peers, &Order::Kill).await?;
                for name in &step.peers {
                    self.until(name, Instant::now() + FAREWELL, |actor| !actor.is_running()).await?;
                }
            }
            Action::Server(server, action) => self.serve(*server, *action).await?,
            Action::Expect { over, expect } => self.expect(n, &step.peers, *over, expect).await?,
        }
        Ok(())
    }

    async fn serve(&mut self, server: Server, action: ServerAction) -> Result<(), Stop> {
        self.stage.act(server, action).await.map_err(Stop::fault)
    }

    async fn order_each(&mut self, names: &[String], order: &Order) -> Result<(), Stop> {
        for name in names {
            let actor = &self.cast[name];
            let Some(orders) = &actor.orders else {
                return Err(Stop::fault(match actor.standing {
                    Standing::Waiting => format!("{name} has not started yet"),
                    Standing::Running | Standing::Ended(_) => format!("{name} has ended already{}", actor.last_words()),
                }));
            };
            // It may end at this very moment; its end is told.
            let _ending = orders.send(order.clone()).await;
        }
        Ok(())
    }

    /// Waits for the next event of this name and these fields.
    async fn wait(
        &mut self,
        name: &str,
        event: &str,
        fields: &[(String, String)],
        until: Instant,
        within: Duration,
    ) -> Result<(), Stop> {
        let found = |actor: &Actor| {
            let fits =
                |told: &Value| told["event"] == event && fields.iter().all(|(key, value)| is_text(&told[key], value));
            actor.events[actor.seen..].iter().position(fits).map(|n| actor.seen + n + 1)
        };
        let in_time = self.until(name, until, |actor| found(actor).is_some() || !actor.is_running()).await?;
        let Some(actor) = self.cast.get_mut(name) else { return Ok(()) };
        match found(actor) {
            Some(after) => {
                actor.seen = after;
                Ok(())
            }
            None if in_time => {
                Err(Stop::fault(format!("{name} ended{} without the event {event}", actor.last_words())))
            }
            None => Err(Stop::fault(format!("{name} told no {event} within {} s", within.as_secs_f64()))),
        }
    }

    /// Judges what comes from now on, for so long.
    async fn expect(&mut self, n: usize, names: &[String], over: Duration, expect: &[Expectation]) -> Result<(), Stop> {
        let from = self.look_at_stats(names).await?;
        self.pass_time(Instant::now() + over).await?;
        let to = self.look_at_stats(names).await?;
        for (name, (from, to)) in names.iter().zip(from.into_iter().zip(to)) {
            let events = &self.cast[name].events[from..=to];
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
        let before: Vec<usize> = names.iter().map(|name| self.cast[name].events.len()).collect();
        self.order_each(names, &Order::Control(r#"{"command":"stats"}"#.to_owned())).await?;
        let mut places = Vec::new();
        for (name, before) in names.iter().zip(before) {
            let place = |actor: &Actor| {
                let later = actor.events.iter().enumerate().skip(before);
                later.filter(|(_, event)| event["event"] == "stats").map(|(n, _)| n).next()
            };
            self.until(name, Instant::now() + STATS_MAX, |actor| place(actor).is_some() || !actor.is_running()).await?;
            let actor = &self.cast[name];
            places.push(place(actor).ok_or_else(|| {
                Stop::fault(format!("{name} has no call whose figures could be looked at{}", actor.last_words()))
            })?);
        }
        Ok(places)
    }

    /// Lets time pass, taking in what is told.
    async fn pass_time(&mut self, until: Instant) -> Result<(), Stop> {
        while self.take(until).await? {}
        Ok(())
    }

    /// Waits until something is true of one of the cast; false when time was up first.
    async fn until(&mut self, name: &str, until: Instant, is: impl Fn(&Actor) -> bool) -> Result<bool, Stop> {
        loop {
            if self.cast.get(name).is_some_and(&is) {
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
        tokio::select! {
            biased;
            () = self.given.stop.cancelled() => Err(Stop::Interrupted),
            told = self.told.recv() => {
                if let Some((name, told)) = told
                    && let Some(actor) = self.cast.get_mut(&name)
                {
                    actor.take(told);
                }
                Ok(true)
            }
            () = tokio::time::sleep_until(end.into()) => {
                if end < until { Err(Stop::TimedOut) } else { Ok(false) }
            }
        }
    }

    /// All steps are done: calls with an end of their own come to it, the others are hung up.
    async fn wait_for_ends(&mut self) -> Result<(), Stop> {
        (self.given.progress)("waiting for the end");
        let durations = self.cast.values().filter(|actor| actor.is_running());
        let durations = durations.filter_map(|actor| actor.member.settings.get("duration")?.first());
        let longest = durations.filter_map(|text| crate::cli::parse::parse_time(text).ok()).max();
        let callers: Vec<String> =
            self.cast.values().filter(|actor| is_caller(actor)).map(|actor| actor.member.name.clone()).collect();
        match longest {
            Some(duration) => {
                let until = Instant::now() + duration + BEYOND_DURATION;
                for name in &callers {
                    if !self.until(name, until, |actor| !actor.is_running()).await? {
                        return Err(Stop::fault(format!(
                            "{name} has not ended by itself, {} s after its time",
                            BEYOND_DURATION.as_secs()
                        )));
                    }
                }
            }
            None => self.quit(&callers).await,
        }
        let until = Instant::now() + FAREWELL;
        for name in self.cast.keys().cloned().collect::<Vec<_>>() {
            let ends_itself = |actor: &Actor| {
                actor.has_told("incoming") && actor.member.settings.get("once").is_some_and(|once| *once == ["true"])
            };
            if self.cast.get(&name).is_some_and(ends_itself) {
                self.until(&name, until, |actor| !actor.is_running()).await?;
            }
        }
        Ok(())
    }

    /// Tells those that still run to end.
    async fn quit(&mut self, names: &[String]) {
        for name in names {
            if let Some(orders) = &self.cast[name].orders {
                // It may end at this very moment; its end is told.
                let _ending = orders.send(Order::Control(r#"{"command":"quit"}"#.to_owned())).await;
            }
        }
    }

    /// Ends whoever still runs, in order if that is possible; what did not go in order.
    async fn end_all(&mut self) -> Vec<String> {
        let names: Vec<String> = self.cast.keys().cloned().collect();
        // From here on only these bounds count: time-out and Ctrl-C have had their say.
        (self.deadline, self.given.stop) = (Instant::now() + FAREWELL + 2 * LAST_WORDS, CancellationToken::new());
        self.quit(&names).await;
        let mut faults = Vec::new();
        for (order, patience) in
            [(None, FAREWELL), (Some(Order::Interrupt), LAST_WORDS), (Some(Order::Kill), LAST_WORDS)]
        {
            let running: Vec<String> = names.iter().filter(|name| self.cast[*name].is_running()).cloned().collect();
            let until = Instant::now() + patience;
            if let Some(order) = order {
                // One that ended meanwhile needs no order.
                let _ended = self.order_each(&running, &order).await;
                if order == Order::Kill {
                    faults.extend(
                        running.iter().map(|name| format!("{name} did not end when it was told to, and was killed")),
                    );
                }
            }
            for name in &running {
                let _out_of_time = self.until(name, until, |actor| !actor.is_running()).await;
            }
        }
        faults
    }

    /// All expectations, judged; of the cast only those who took part.
    fn judged(&mut self) -> Vec<Check> {
        let mut checks = std::mem::take(&mut self.checks);
        for actor in self.cast.values() {
            let status = match actor.standing {
                Standing::Waiting => continue,
                Standing::Running => None,
                Standing::Ended(status) => status,
            };
            let facts = facts::of_call(&actor.events, status);
            let judge = |expectation: &Expectation| expectation.judge(&actor.member.name, &facts, &actor.events);
            checks.extend(actor.member.expect.iter().map(judge));
        }
        checks
    }
}

const fn is_caller(actor: &Actor) -> bool {
    matches!(actor.member.does, Does::Call(_))
}

/// A name as part of a variable's.
fn variable(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// True when a field of an event is what a file has as a text.
fn is_text(field: &Value, text: &str) -> bool {
    match field {
        Value::String(value) => value == text,
        Value::Null => text == "null",
        other => other.to_string() == text,
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

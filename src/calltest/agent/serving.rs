//! The agent at work: parts of any number of runs, each run with an exchange of its own, kept apart.
//!
//! - in: frames of runners by the link, what parts tell, time
//! - out: frames; parts started, ordered about, interrupted and killed
//!
//! A run ends when its runner says so or is gone: then its parts are interrupted, and killed [`HANG_UP`] later. Dropping
//! the agent kills all of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use signalling::id::PeerId;
use signalling::mqtt::{LinkEvent, LinkHandle};
use tokio::sync::{Semaphore, mpsc};
use tracing::{info, warn};

use super::exchange::{Exchange, UNACKNOWLEDGED_MAX};
use super::permit::{Own, Permit, judge_control};
use super::wire::{Ask, Body, Frame, ITEM_BYTES_MAX, Run, Tell, VERSION};
use crate::calltest::peers::{Launch, PeerHandle, PeerInput, PeerOutput, Program, process};
use crate::output::exit::Failure;

/// How long a part may take to hang up before it is killed.
const HANG_UP: Duration = Duration::from_secs(5);

/// Runs at once; a runner has one.
const RUNS_MAX: usize = 32;

/// Runs that are over and remembered: a frame of theirs that comes late must not begin them again.
const FINISHED_MAX: usize = 256;

/// What parts told and the agent did not take up yet; each waits for its turn.
const TOLD_MAX: usize = 64;

/// Kept free of what parts tell, for what the agent itself has to say.
const RESERVED: usize = 128;

/// How often time is looked at: signs of life, resends, runners that are gone.
const TICK: Duration = Duration::from_millis(200);

/// Which runner, and which of its runs.
type Key = (PeerId, Run);

/// What a part of a run told.
type Heard = (Key, String, PeerOutput);

/// An agent.
pub(crate) struct Serving {
    own: Own,
    link: LinkHandle,
    parts_max: usize,
    runs: BTreeMap<Key, State>,
    finished: VecDeque<Key>,
    told_tx: mpsc::Sender<Heard>,
    told: mpsc::Receiver<Heard>,
}

struct State {
    exchange: Exchange<Tell>,
    parts: BTreeMap<String, Running>,
    /// What parts may still tell before something is acknowledged.
    room: Arc<Semaphore>,
    /// The runner has said that the run is over.
    closed: bool,
}

struct Running {
    orders: mpsc::Sender<PeerInput>,
    kill_at: Option<Instant>,
}

impl Serving {
    /// An agent that runs at most so many parts at once.
    pub(crate) fn new(own: Own, link: LinkHandle, parts_max: usize) -> Self {
        let (told_tx, told) = mpsc::channel(TOLD_MAX);
        Self { own, link, parts_max, runs: BTreeMap::new(), finished: VecDeque::new(), told_tx, told }
    }

    /// Serves until `stop` is ready; then hangs up what still runs and tells its runners.
    ///
    /// # Errors
    /// A [`Failure`] when the link to the broker cannot work.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<LinkEvent>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        tokio::pin!(stop);
        let mut tick = tokio::time::interval(TICK);
        let mut leave_at = None;
        loop {
            tokio::select! {
                biased;
                () = &mut stop, if leave_at.is_none() => {
                    let now = Instant::now();
                    self.runs.values_mut().for_each(|state| state.hang_up(now));
                    leave_at = Some(now + HANG_UP * 2);
                    // Nothing begins any more.
                    self.parts_max = 0;
                }
                event = events.recv() => self.link_event(event)?,
                Some((key, part, told)) = self.told.recv() => self.heard(&key, &part, told),
                _ = tick.tick() => {}
            }
            let now = Instant::now();
            self.time(now);
            let is_done = self.runs.values().all(|state| state.parts.is_empty() && state.exchange.is_idle());
            if leave_at.is_some_and(|at| is_done || at <= now) {
                return Ok(());
            }
        }
    }

    fn link_event(&mut self, event: Option<LinkEvent>) -> Result<(), Failure> {
        let now = Instant::now();
        match event {
            None => return Err(Failure::internal("the link to the broker ended")),
            Some(LinkEvent::Failed(error)) => return Err(Failure::new((&error).into(), &error)),
            Some(LinkEvent::Up { .. }) => self.runs.values_mut().for_each(|state| state.exchange.link_restored(now)),
            Some(LinkEvent::Down { reason }) => {
                warn!(reason, "the broker is away");
                self.runs.values_mut().for_each(|state| state.exchange.link_lost(now));
            }
            Some(LinkEvent::Message { from, payload, .. }) => match Frame::<Ask>::from_bytes(&payload) {
                Ok(frame) => self.frame(from, frame, now),
                Err(error) => warn!(%from, %error, "dropped"),
            },
            Some(LinkEvent::Refused { to, error }) => warn!(%to, %error, "not sent"),
            Some(LinkEvent::Dropped { reason }) => warn!(%reason, "dropped"),
            Some(
                LinkEvent::Presence { .. }
                | LinkEvent::Overheard { .. }
                | LinkEvent::Echo
                | LinkEvent::Ready { .. }
                | LinkEvent::Distrusted { .. },
            ) => {}
        }
        Ok(())
    }

    fn frame(&mut self, from: PeerId, frame: Frame<Ask>, now: Instant) {
        let Body::Items { ack, first, items } = frame.body else { return };
        let key = (from, frame.run);
        if !self.runs.contains_key(&key) {
            if first != 1 || items.is_empty() || self.finished.contains(&key) {
                return self.refuse(key, "this agent does not know the run, or it is over");
            }
            if self.runs.len() == RUNS_MAX {
                return self.refuse(key, "this agent has too many runs");
            }
            info!(runner = %key.0, "a run begins");
            let room = Arc::new(Semaphore::new(UNACKNOWLEDGED_MAX - RESERVED));
            let exchange = Exchange::new(key.1.clone(), now);
            self.runs.insert(key.clone(), State { exchange, parts: BTreeMap::new(), room, closed: false });
        }
        let Some(state) = self.runs.get_mut(&key) else { return };
        let (acknowledged, asks) = state.exchange.handle(ack, first, items, now);
        // Some were the agent's own words, which took no room: it is never more than all.
        let free = UNACKNOWLEDGED_MAX - RESERVED - state.room.available_permits();
        state.room.add_permits(acknowledged.min(free));
        for ask in asks {
            match ask {
                Ask::Start { part, arguments } => self.start(&key, part, arguments),
                Ask::Order { part, order } => self.order(&key, &part, order),
                Ask::Close => {
                    if let Some(state) = self.runs.get_mut(&key) {
                        state.hang_up(now);
                        state.closed = true;
                    }
                }
            }
        }
    }

    fn start(&mut self, key: &Key, name: String, arguments: Vec<String>) {
        let running: usize = self.runs.values().map(|state| state.parts.len()).sum();
        let is_known = self.runs.get(key).is_some_and(|state| state.parts.contains_key(&name));
        let judged = if is_known {
            Err(format!("a part named {name} runs already"))
        } else if running >= self.parts_max {
            Err(format!("this agent runs {} parts at once and no more", self.parts_max))
        } else {
            self.own.judge(&arguments).map_err(|refusal| refusal.0)
        };
        let started =
            judged.and_then(|permit| process::start(&part(&name, permit, arguments)).map_err(|failure| failure.text));
        let Some(state) = self.runs.get_mut(key) else { return };
        match started {
            Ok(PeerHandle { told, orders }) => {
                info!(runner = %key.0, part = name, "runs");
                tokio::spawn(relay(key.clone(), name.clone(), told, Arc::clone(&state.room), self.told_tx.clone()));
                state.parts.insert(name, Running { orders, kill_at: None });
            }
            Err(reason) => {
                warn!(runner = %key.0, part = name, reason, "does not run");
                state.tell(Tell::Refused { part: name, reason });
            }
        }
    }

    fn order(&mut self, key: &Key, part: &str, order: PeerInput) {
        let judged = match order {
            PeerInput::Control(line) => judge_control(&line).map(PeerInput::Control),
            PeerInput::Interrupt | PeerInput::Kill => Ok(order),
        };
        let order = match judged {
            Ok(order) => order,
            Err(refusal) => {
                warn!(runner = %key.0, part, %refusal, "a command was left out");
                if let Some(state) = self.runs.get_mut(key) {
                    let told = PeerOutput::Log(format!("the agent refuses a command: {refusal}"));
                    state.tell(Tell::Told { part: part.to_owned(), told });
                }
                return;
            }
        };
        // One that has ended is ordered about in vain; its end has been told.
        let running = self.runs.get(key).and_then(|state| state.parts.get(part));
        if running.is_some_and(|running| running.orders.try_send(order).is_err()) {
            warn!(runner = %key.0, part, "an order was left out: the part does not take any");
        }
    }

    fn heard(&mut self, key: &Key, part: &str, told: PeerOutput) {
        let Some(state) = self.runs.get_mut(key) else { return };
        if matches!(told, PeerOutput::Ended(_)) {
            state.parts.remove(part);
        }
        state.tell(Tell::Told { part: part.to_owned(), told: fitting(told) });
    }

    /// Signs of life and resends, parts that do not hang up, runs that are over.
    fn time(&mut self, now: Instant) {
        let mut over = Vec::new();
        for (key, state) in &mut self.runs {
            for running in state.parts.values_mut().filter(|running| running.kill_at.is_some_and(|at| at <= now)) {
                // A full queue is tried again with the next tick.
                let _later = running.orders.try_send(PeerInput::Kill);
            }
            let is_gone = state.exchange.is_gone(now);
            if is_gone && !state.closed {
                warn!(runner = %key.0, "the runner is gone; its parts are hung up");
                state.hang_up(now);
                state.closed = true;
            }
            for frame in state.exchange.frames(now) {
                publish(&self.link, &key.0, frame.to_bytes());
            }
            if state.closed && state.parts.is_empty() && (state.exchange.is_idle() || is_gone) {
                over.push(key.clone());
            }
        }
        for key in over {
            info!(runner = %key.0, "a run is over");
            self.runs.remove(&key);
            self.finished.push_back(key);
            if self.finished.len() > FINISHED_MAX {
                self.finished.pop_front();
            }
        }
    }

    fn refuse(&self, (to, run): Key, reason: &str) {
        let frame: Frame<Tell> = Frame { v: VERSION, run, body: Body::Refused { reason: reason.to_owned() } };
        publish(&self.link, &to, frame.to_bytes());
    }
}

impl State {
    fn tell(&mut self, item: Tell) {
        if let Err(error) = self.exchange.push(item) {
            // Only a runner that asks for more than it listens to comes here: parts wait for their turn.
            warn!(%error, "a run is ended");
            self.hang_up(Instant::now());
        }
    }

    fn hang_up(&mut self, now: Instant) {
        self.room.close();
        for running in self.parts.values_mut().filter(|running| running.kill_at.is_none()) {
            running.kill_at = Some(now + HANG_UP);
            // A full queue belongs to a part that does not listen; it is killed in time.
            let _full = running.orders.try_send(PeerInput::Interrupt);
        }
    }
}

/// Hands on what a part tells, as far as there is room.
async fn relay(
    key: Key,
    part: String,
    mut told: mpsc::Receiver<PeerOutput>,
    room: Arc<Semaphore>,
    to: mpsc::Sender<Heard>,
) {
    while let Some(told) = told.recv().await {
        match (room.acquire().await, &told) {
            (Ok(permit), _) => permit.forget(),
            // Nobody listens any more: its end alone is of interest, to the agent itself.
            (Err(_closed), PeerOutput::Ended(_)) => {}
            (Err(_closed), PeerOutput::Event(_) | PeerOutput::Text(_) | PeerOutput::Log(_)) => continue,
        }
        if to.send((key.clone(), part.clone(), told)).await.is_err() {
            return;
        }
    }
}

/// The part as a child of this program.
fn part(name: &str, permit: Permit, arguments: Vec<String>) -> Launch {
    let program = match (permit.command.as_str(), process::own_program()) {
        // It takes no commands.
        ("load", Ok(program)) => {
            let program = program.to_string_lossy().into_owned();
            Program::Foreign { command: [program].into_iter().chain(arguments).chain(["--json".to_owned()]).collect() }
        }
        _ => Program::Tring { arguments },
    };
    Launch { name: name.to_owned(), program, env: permit.env, folder: std::env::temp_dir() }
}

/// Longest line that is handed on, in characters: each takes up to six bytes in JSON.
const LINE_CHARS_MAX: usize = ITEM_BYTES_MAX / 8;

/// Largest event that is handed on, with room for what is around it.
const EVENT_BYTES_MAX: usize = ITEM_BYTES_MAX - 1024;

/// What fits into a frame: a line that is too long is cut, an event that is too large said so.
fn fitting(told: PeerOutput) -> PeerOutput {
    let cut = |line: String| line.chars().take(LINE_CHARS_MAX).collect();
    match told {
        PeerOutput::Text(line) => PeerOutput::Text(cut(line)),
        PeerOutput::Log(line) => PeerOutput::Log(cut(line)),
        PeerOutput::Event(event) => match event.to_string().len() {
            ..=EVENT_BYTES_MAX => PeerOutput::Event(event),
            bytes => {
                let name = event.get("event").and_then(Value::as_str).unwrap_or_default();
                PeerOutput::Log(cut(format!(
                    "an event {name:?} of {bytes} bytes was left out: too large for the broker"
                )))
            }
        },
        PeerOutput::Ended(status) => PeerOutput::Ended(status),
    }
}

/// What is lost is sent again.
pub(crate) fn publish(link: &LinkHandle, to: &PeerId, frame: Vec<u8>) {
    if let Err(error) = link.publish(to.clone(), frame) {
        tracing::debug!(%to, %error, "left to be sent again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_for_a_frame_is_cut_or_said_so() {
        let control = "\u{1}".repeat(200_000);
        for told in [PeerOutput::Text(control.clone()), PeerOutput::Log(control.clone())] {
            let item = Tell::Told { part: "a".into(), told: fitting(told) };
            assert!(serde_json::to_vec(&item).unwrap().len() <= ITEM_BYTES_MAX);
        }
        let event = serde_json::json!({"event": "stats", "more": control});
        assert!(matches!(fitting(PeerOutput::Event(event)), PeerOutput::Log(text) if text.contains("\"stats\" of 1")));
        let event = serde_json::json!({"event": "stats"});
        assert_eq!(fitting(PeerOutput::Event(event.clone())), PeerOutput::Event(event));
    }
}

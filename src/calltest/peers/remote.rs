//! Peers that run on other machines: the runner's side of [`crate::calltest::agent`].
//!
//! - [`Agents::connect`]: one link to the broker for all agents of a run
//! - [`Agents::start`]: a part on one of them, with the [`PeerHandle`] that every peer has
//! - [`Agents::close`]: ends what still runs there
//!
//! An agent that is not there is an error at once; one that goes away ends its peers: a last line of their log says so.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use signalling::id::{MessageId, PeerId};
use signalling::mqtt::{Audience, Link, LinkConfig, LinkEvent, LinkHandle};
use signalling::wire::PresenceState;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Launch, ORDERS_MAX, PeerHandle, PeerInput, PeerOutput, Program, TOLD_MAX};
use crate::calltest::agent::exchange::Exchange;
use crate::calltest::agent::serving::publish;
use crate::calltest::agent::topics;
use crate::calltest::agent::wire::{Ask, Body, Frame, Run, Tell};
use crate::output::exit::{ExitStatus, Failure};

/// Parts that are to be started and orders that are to go out: a step of a test gives a few.
const JOBS_MAX: usize = 64;

/// What an agent told and peers' readers did not take yet; above it its frames wait, and are sent again.
const BACKLOG_MAX: usize = 4096;

/// How long after the subscription an agent's retained presence is waited for: brokers send it at once.
const PRESENCE_WAIT: Duration = Duration::from_millis(1500);

/// How long an agent may take at the end to hang up what still runs.
const CLOSE_WAIT: Duration = Duration::from_secs(12);

/// How often time is looked at.
const TICK: Duration = Duration::from_millis(200);

/// All agents of a run.
#[derive(Debug)]
pub(crate) struct Agents {
    jobs: mpsc::Sender<Job>,
    task: JoinHandle<()>,
    link: JoinHandle<()>,
    /// Dropped, it ends the link.
    stop: DropGuard,
}

#[derive(Debug)]
enum Job {
    Start { agent: PeerId, part: String, arguments: Vec<String>, done: oneshot::Sender<Result<PeerHandle, Failure>> },
    Order { agent: PeerId, part: String, order: PeerInput },
    Close,
}

impl Agents {
    /// Connects under the runner's own ID; the topics of `config` are not used. Nothing is asked of an agent yet.
    ///
    /// # Errors
    /// A [`Failure`] when the broker cannot be reached or refuses the runner.
    pub(crate) async fn connect(mut config: LinkConfig, agents: &[PeerId]) -> Result<Self, Failure> {
        config.template = topics();
        config.audience = Audience::Only(agents.to_vec());
        let (me, run) = (config.me.clone(), MessageId::numbered(config.run, 0));
        let failure = |error: &signalling::mqtt::LinkError| Failure::new(error.into(), error);
        let (link, handle, mut events) = Link::new(config).map_err(|error| failure(&error))?;
        let stop = CancellationToken::new();
        let link = tokio::spawn(link.run(stop.clone()));
        loop {
            match events.recv().await {
                Some(LinkEvent::Up { .. }) => break,
                Some(LinkEvent::Failed(error)) => return Err(failure(&error)),
                Some(_) => {}
                None => return Err(Failure::internal("the link to the broker ended")),
            }
        }
        let now = Instant::now();
        let mut known = BTreeMap::new();
        for agent in agents {
            handle.watch(agent.clone()).map_err(Failure::internal)?;
            known.insert(agent.clone(), Remote::new(run.clone(), now));
        }
        let (jobs, jobs_rx) = mpsc::channel(JOBS_MAX);
        let runner = Runner { me, link: handle, agents: known, jobs: jobs.downgrade(), close_at: None };
        let task = tokio::spawn(runner.run(events, jobs_rx));
        Ok(Self { jobs, task, link, stop: stop.drop_guard() })
    }

    /// Starts a part on an agent. It runs, or is refused by the agent, which its log says then.
    ///
    /// # Errors
    /// A [`Failure`] when the agent is not there or the part is none that runs elsewhere.
    pub(crate) async fn start(&self, agent: &PeerId, part: &Launch) -> Result<PeerHandle, Failure> {
        let Program::Tring { arguments } = &part.program else {
            return Err(Failure::usage(format!("peer {} is a foreign program, which no agent runs", part.name)));
        };
        if let Some(name) = part.env.keys().next() {
            return Err(Failure::usage(format!(
                "peer {} is given {name}, and no variable is sent to another machine; set it for the agent {agent}",
                part.name
            )));
        }
        let (done, started) = oneshot::channel();
        let (agent, arguments) = (agent.clone(), arguments.clone());
        let job = Job::Start { agent, part: part.name.clone(), arguments, done };
        let ended = |_| Failure::internal("the link to the agents ended");
        self.jobs.send(job).await.map_err(|_| ended(()))?;
        started.await.map_err(|_| ended(()))?
    }

    /// Ends what still runs on the agents, and leaves the broker.
    pub(crate) async fn close(self) {
        // An error means that it has ended already.
        let _ended = self.jobs.send(Job::Close).await;
        let _ended = self.task.await;
        drop(self.stop);
        let _ended = self.link.await;
    }
}

/// One agent, as the runner sees it.
#[derive(Debug)]
struct Remote {
    presence: Seen,
    exchange: Exchange<Ask>,
    /// True once something was asked of it.
    in_use: bool,
    is_gone: bool,
    /// Parts that begin once it is known whether the agent is there.
    waiting: Vec<Waiting>,
    peers: BTreeMap<String, mpsc::Sender<PeerOutput>>,
    backlog: VecDeque<(String, PeerOutput)>,
}

#[derive(Debug)]
struct Waiting {
    part: String,
    arguments: Vec<String>,
    done: oneshot::Sender<Result<PeerHandle, Failure>>,
}

#[derive(Clone, Copy, Debug)]
enum Seen {
    /// Not yet: without word by then it is absent.
    Unknown {
        until: Instant,
    },
    There,
    Absent,
}

impl Remote {
    fn new(run: Run, now: Instant) -> Self {
        Self {
            presence: Seen::Unknown { until: now + PRESENCE_WAIT },
            exchange: Exchange::new(run, now),
            in_use: false,
            is_gone: false,
            waiting: Vec::new(),
            peers: BTreeMap::new(),
            backlog: VecDeque::new(),
        }
    }

    /// Ends all its peers: nothing more will come.
    fn lose(&mut self, why: &str) {
        self.is_gone = true;
        self.backlog.clear();
        for (part, told) in std::mem::take(&mut self.peers) {
            // A reader that is behind still learns of the end: its channel closes.
            let _behind = told.try_send(PeerOutput::Log(format!("{part}: {why}")));
            let _behind = told.try_send(PeerOutput::Ended(None));
        }
    }

    /// Hands on what peers' readers have room for, in order.
    fn hand_on(&mut self) {
        let mut blocked: Vec<String> = Vec::new();
        let mut kept = VecDeque::new();
        for (part, told) in std::mem::take(&mut self.backlog) {
            let is_last = matches!(told, PeerOutput::Ended(_));
            let Some(to) = self.peers.get(&part) else { continue };
            if blocked.contains(&part) {
                kept.push_back((part, told));
                continue;
            }
            match to.try_send(told) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) if is_last => {
                    self.peers.remove(&part);
                }
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                Err(mpsc::error::TrySendError::Full(told)) => {
                    blocked.push(part.clone());
                    kept.push_back((part, told));
                }
            }
        }
        self.backlog = kept;
    }
}

struct Runner {
    me: PeerId,
    link: LinkHandle,
    agents: BTreeMap<PeerId, Remote>,
    /// For those who order peers about: they must not keep the runner alive.
    jobs: mpsc::WeakSender<Job>,
    close_at: Option<Instant>,
}

impl Runner {
    async fn run(mut self, mut events: mpsc::Receiver<LinkEvent>, mut jobs: mpsc::Receiver<Job>) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => self.link_event(event),
                    None => return self.lose_all("the link to the broker ended"),
                },
                job = jobs.recv() => match job {
                    Some(job) => self.job(job),
                    None => return,
                },
                _ = tick.tick() => {}
            }
            let now = Instant::now();
            self.time(now);
            let is_done = || {
                self.agents.values().all(|remote| {
                    !remote.in_use || remote.is_gone || (remote.exchange.is_idle() && remote.peers.is_empty())
                })
            };
            if self.close_at.is_some_and(|at| at <= now || is_done()) {
                return;
            }
        }
    }

    fn lose_all(&mut self, why: &str) {
        self.agents.values_mut().for_each(|remote| remote.lose(why));
    }

    fn link_event(&mut self, event: LinkEvent) {
        let now = Instant::now();
        match event {
            LinkEvent::Up { .. } => self.agents.values_mut().for_each(|remote| remote.exchange.link_restored(now)),
            LinkEvent::Down { .. } => self.agents.values_mut().for_each(|remote| remote.exchange.link_lost(now)),
            LinkEvent::Presence { peer, state } => {
                if let Some(remote) = self.agents.get_mut(&peer) {
                    remote.presence = match state {
                        Some(PresenceState::Available | PresenceState::Busy | PresenceState::Away) => Seen::There,
                        Some(PresenceState::Offline) | None => Seen::Absent,
                    };
                }
            }
            LinkEvent::Message { from, payload, .. } => self.message(&from, &payload, now),
            LinkEvent::Failed(error) => self.lose_all(&error.to_string()),
            LinkEvent::Refused { to, error } => tracing::warn!(%to, %error, "not sent"),
            LinkEvent::Dropped { reason } => tracing::warn!(%reason, "dropped"),
            LinkEvent::Overheard { .. } | LinkEvent::Echo | LinkEvent::Ready { .. } | LinkEvent::Distrusted { .. } => {}
        }
    }

    fn message(&mut self, from: &PeerId, payload: &[u8], now: Instant) {
        let Some(remote) = self.agents.get_mut(from) else { return };
        let frame = match Frame::<Tell>::from_bytes(payload) {
            Ok(frame) => frame,
            Err(error) => return tracing::warn!(%from, %error, "dropped"),
        };
        match frame.body {
            Body::Items { .. } if !remote.in_use || remote.backlog.len() > BACKLOG_MAX => {}
            Body::Items { ack, first, items } => {
                for item in remote.exchange.handle(ack, first, items, now).1 {
                    match item {
                        Tell::Told { part, told } => remote.backlog.push_back((part, told)),
                        Tell::Refused { part, reason } => {
                            let told = PeerOutput::Log(format!("agent {from} refuses {part}: {reason}"));
                            remote.backlog.push_back((part.clone(), told));
                            let status = i32::from(ExitStatus::Usage.code());
                            remote.backlog.push_back((part, PeerOutput::Ended(Some(status))));
                        }
                    }
                }
            }
            Body::Refused { reason } if !remote.is_gone => {
                remote.lose(&format!("agent {from} has lost the run: {reason}; was it started anew?"));
            }
            Body::Refused { .. } => {}
        }
    }

    fn job(&mut self, job: Job) {
        match job {
            Job::Start { agent, part, arguments, done } => {
                let waiting = Waiting { part, arguments, done };
                match self.agents.get_mut(&agent) {
                    Some(remote) => remote.waiting.push(waiting),
                    None => {
                        let unknown = Failure::internal(format!("agent {agent} was not named at the beginning"));
                        let _gone = waiting.done.send(Err(unknown));
                    }
                }
            }
            Job::Order { agent, part, order } => {
                let remote = self.agents.get_mut(&agent).filter(|remote| !remote.is_gone);
                let pushed = remote.map(|remote| remote.exchange.push(Ask::Order { part, order }));
                if let Some(Err(error)) = pushed {
                    tracing::warn!(%agent, %error, "an order was left out");
                }
            }
            Job::Close => {
                self.close_at = Some(Instant::now() + CLOSE_WAIT);
                for remote in self.agents.values_mut().filter(|remote| remote.in_use && !remote.is_gone) {
                    // A full outbox belongs to an agent that does not answer, and ends the parts when it misses us.
                    let _full = remote.exchange.push(Ask::Close);
                }
            }
        }
    }

    fn time(&mut self, now: Instant) {
        for (agent, remote) in &mut self.agents {
            remote.hand_on();
            if let Seen::Unknown { until } = remote.presence
                && until <= now
            {
                remote.presence = Seen::Absent;
            }
            match remote.presence {
                Seen::Unknown { .. } => {}
                Seen::There => begin(agent, remote, &self.jobs, now),
                Seen::Absent => {
                    for waiting in remote.waiting.drain(..) {
                        let _gone = waiting.done.send(Err(absent(agent)));
                    }
                }
            }
            if !remote.in_use || remote.is_gone {
                continue;
            }
            if remote.exchange.is_gone(now) {
                remote.lose(&format!(
                    "nothing is heard of agent {agent}; is it running, and are you, {}, among its --from?",
                    self.me
                ));
                continue;
            }
            for frame in remote.exchange.frames(now) {
                publish(&self.link, agent, frame.to_bytes());
            }
        }
    }
}

fn absent(agent: &PeerId) -> Failure {
    let advice = format!("start `tring agent --id {agent} --from RUNNER` with the same --broker");
    Failure::new(ExitStatus::Offline, format!("agent {agent} is not there; {advice}"))
}

/// Asks the agent for the parts that wait for it.
fn begin(agent: &PeerId, remote: &mut Remote, jobs: &mpsc::WeakSender<Job>, now: Instant) {
    for Waiting { part, arguments, done } in std::mem::take(&mut remote.waiting) {
        if remote.is_gone || remote.peers.contains_key(&part) {
            let text = format!("agent {agent} cannot run {part}: it is gone, or runs one of that name");
            let _gone = done.send(Err(Failure::new(ExitStatus::Offline, text)));
            continue;
        }
        if !remote.in_use {
            // Silence counts from here.
            remote.exchange.link_restored(now);
            remote.in_use = true;
        }
        if let Err(error) = remote.exchange.push(Ask::Start { part: part.clone(), arguments }) {
            let _gone = done.send(Err(Failure::internal(format!("peer {part} cannot be sent to {agent}: {error}"))));
            continue;
        }
        let (told_tx, told) = mpsc::channel(TOLD_MAX);
        let (orders, orders_rx) = mpsc::channel(ORDERS_MAX);
        tokio::spawn(forward(agent.clone(), part.clone(), orders_rx, jobs.clone()));
        remote.peers.insert(part, told_tx);
        let _gone = done.send(Ok(PeerHandle { told, orders }));
    }
}

/// Hands on orders. Dropping their sender kills the peer, as it does a child process.
async fn forward(agent: PeerId, part: String, mut orders: mpsc::Receiver<PeerInput>, jobs: mpsc::WeakSender<Job>) {
    loop {
        let order = orders.recv().await;
        let is_last = order.is_none();
        let Some(jobs) = jobs.upgrade() else { return };
        let job = Job::Order { agent: agent.clone(), part: part.clone(), order: order.unwrap_or(PeerInput::Kill) };
        if jobs.send(job).await.is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests;

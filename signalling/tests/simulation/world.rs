//! Peers, broker, media and users on one clock. Everything that is to happen lies in one queue; the clock jumps to
//! whatever comes next, there or in a peer's own time-outs. What users, media and broker come up with is in [`whims`].

mod whims;
mod words;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use signalling::call::{
    Action, Confidence, Event, MediaChange, Path as MediaPath, Phone, PhoneConfig, Renewal, State, Talk, Update,
    Waiting,
};
use signalling::delivery::{Output, ReliableDelivery};
use signalling::id::{CallId, Nonce, PeerId};
use signalling::wire::{Candidate, Description, Envelope, Message};

use crate::random::Random;
use crate::watch::{Lines, Told, Watch, hold};
use words::Words;

/// After the users stop and the broker behaves, all must be over by then: offline, ringing and connecting in a row.
const SETTLED_BY: Duration = Duration::from_secs(120);

/// No state may last longer by time alone: the callee's ringing.
const DEADLINE_MAX: Duration = Duration::from_secs(125);

/// Unacknowledged messages a peer may ever hold.
const OUTBOX_MAX: usize = 256;

#[derive(Debug)]
enum Happening {
    /// A message reaches a peer, unless the broker restarted since.
    Arrives { to: usize, epoch: u64, envelope: Envelope },
    /// A user wants something.
    Wants { who: usize, act: Act },
    /// A peer connection made its offer or answer.
    Described { who: usize, call: CallId },
    /// A peer connection made its answer while it rings.
    Prepared { who: usize, call: CallId, confidence: Confidence },
    /// What was prepared is of no use any more.
    Outdated { who: usize, call: CallId },
    /// A peer connection made an update or its answer.
    Revised { who: usize, call: CallId, revision: u32, renewed: Renewal },
    /// A peer connection cannot make an update, or take one.
    NotRevised { who: usize, call: CallId, revision: u32 },
    /// A peer connection took the answer to an update.
    Applied { who: usize, call: CallId, revision: u32 },
    /// A stranger speaks in the name of the other side.
    Spoofed { who: usize, call: CallId, message: Message },
    /// A peer connection gathered a candidate.
    Gathered { who: usize, call: CallId },
    /// A peer connection's path changed.
    Media { who: usize, call: CallId, change: MediaChange },
    /// The broker restarts: everything under way is lost.
    Restarts { away: Duration },
    /// One peer's link breaks.
    LinkBreaks { who: usize },
    /// One peer's link is back.
    LinkReturns { who: usize },
    /// The broker says a peer is gone, because its link broke.
    SaidOffline { who: usize, peer: usize },
    /// Users stop, and the broker loses nothing any more.
    Settles,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Dial(usize),
    Accept,
    Decline,
    HangUp,
    Hold,
    Resume,
    Swap,
    /// Microphone off, camera as it was.
    Mute(bool),
    /// No pictures on a line that is too narrow, or pictures again.
    Pause(bool),
    /// Other media, or another network.
    Renew(Renewal),
}

struct Peer {
    id: PeerId,
    phone: Phone,
    delivery: ReliableDelivery,
    linked: bool,
}

/// The peer connections of one call.
#[derive(Debug, Default)]
struct Path {
    /// Whose are open.
    open: Vec<usize>,
    /// Both descriptions are known to both.
    described: bool,
}

/// What the broker and the users do in this run.
struct Weather {
    calm: bool,
    loss: u64,
    duplicates: u64,
    /// Messages of a hundred that are late by seconds, so that others overtake them.
    late: u64,
    delay_max_ms: u64,
    /// Envelopes go through their bytes: slow, so only in some runs.
    bytes: bool,
}

pub(crate) struct World {
    random: Random,
    base: Instant,
    at: Duration,
    count: u64,
    queue: BTreeMap<(Duration, u64), Happening>,
    peers: Vec<Peer>,
    paths: BTreeMap<CallId, Path>,
    weather: Weather,
    /// A stranger speaks in the name of peers.
    spoofs: bool,
    /// Users switch their microphones off before a call stands. A generator of its own: other runs stay as they were.
    early_switches: Option<Random>,
    /// Answers are made while it rings. A generator of its own as well.
    prepares: Option<Random>,
    /// Calls are sealed, so that they have words; other runs stay as they were.
    words: Option<Words>,
    epoch: u64,
    stop: Duration,
    watch: Watch,
    log: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let calm = seed.is_multiple_of(8);
        let people = if seed.is_multiple_of(2) { 2 } else { 3 };
        let base = Instant::now();
        let peers = ["alice", "bob", "carol"][..people].iter().enumerate().map(|(n, name)| {
            let id: PeerId = name.parse().expect("a plain name");
            let nonce = Nonce(n as u64 + 1);
            // Each fifth run lets second calls through; in calm ones two end up in one.
            let waiting = if seed % 5 == 1 && !calm { Waiting::Rings } else { Waiting::Refused };
            let phone = Phone::new(id.clone(), PhoneConfig { waiting, ..PhoneConfig::default() });
            Peer { phone, delivery: ReliableDelivery::new(id.clone(), nonce), id, linked: true }
        });
        let peers = peers.collect();
        let long = random.chance(2);
        let weather = Weather {
            calm,
            loss: if calm { 0 } else { [0, 5, 20, 50][random.below(4) as usize] },
            duplicates: [0, 5, 30][random.below(3) as usize],
            late: if calm { 0 } else { [0, 0, 5, 20][random.below(4) as usize] },
            delay_max_ms: [5, 50, 300, 900][random.below(4) as usize],
            bytes: seed.is_multiple_of(16),
        };
        let stop = if long { random.time(90_000, 150_000) } else { random.time(5_000, 50_000) };
        Self {
            random,
            base,
            at: Duration::ZERO,
            count: 0,
            queue: BTreeMap::new(),
            peers,
            paths: BTreeMap::new(),
            weather,
            spoofs: seed % 7 == 3 && !calm,
            early_switches: (seed % 9 == 5 && !calm).then(|| Random::new(!seed)),
            prepares: (seed % 3 == 1 && !calm).then(|| Random::new(seed ^ 0x5eed)),
            words: matches!(seed % 10, 7 | 8).then(|| Words::new(seed)),
            epoch: 0,
            stop,
            watch: Watch::default(),
            log: None,
        }
    }

    /// The same run, written down.
    pub(crate) fn logging(seed: u64) -> Self {
        Self { log: Some(Vec::new()), ..Self::new(seed) }
    }

    /// What happened.
    pub(crate) fn log(&self) -> String {
        self.log.as_ref().map(|lines| lines.join("\n")).unwrap_or_default()
    }

    /// Runs to the end of all that happens.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        self.plan();
        while let Some(next) = self.next_moment() {
            self.at = next;
            hold!(next <= self.stop + SETTLED_BY, "not settled in time: {}", self.states());
            for who in 0..self.peers.len() {
                self.time_out(who)?;
            }
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= next) {
                let happening = entry.remove();
                self.write(|| format!("{happening:?}"));
                self.happen(happening)?;
            }
        }
        self.settled()
    }

    fn plan_at(&mut self, at: Duration, happening: Happening) {
        self.count += 1;
        self.queue.insert((at, self.count), happening);
    }

    fn plan_in(&mut self, low_ms: u64, high_ms: u64, happening: Happening) {
        let at = self.at + self.random.time(low_ms, high_ms);
        self.plan_at(at, happening);
    }

    fn next_moment(&self) -> Option<Duration> {
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let timed = self.peers.iter().flat_map(|peer| [peer.phone.poll_timeout(), peer.delivery.poll_timeout()]);
        timed.flatten().map(|at| at - self.base).chain(queued).min()
    }

    fn now(&self) -> Instant {
        self.base + self.at
    }

    fn time_out(&mut self, who: usize) -> Result<(), String> {
        let now = self.now();
        let peer = &mut self.peers[who];
        if peer.phone.poll_timeout().is_some_and(|at| at <= now) {
            let before = Lines::of(&peer.phone);
            let actions = peer.phone.handle_timeout(now);
            self.write(|| format!("{who} timed out in {before}"));
            self.act(who, &before, None, actions)?;
        }
        if self.peers[who].delivery.poll_timeout().is_some_and(|at| at <= now) {
            let outputs = self.peers[who].delivery.handle_timeout(now);
            self.deliver(who, outputs)?;
            let next = self.peers[who].delivery.poll_timeout();
            hold!(next.is_none_or(|at| at > now), "delivery of {who} is late by itself");
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Arrives { to, epoch, envelope } => {
                if epoch != self.epoch || !self.peers[to].linked {
                    return Ok(());
                }
                let outputs = self.peers[to].delivery.receive(envelope, 0);
                self.deliver(to, outputs)
            }
            Happening::Wants { who, act } => self.want(who, act),
            Happening::Described { who, call } => self.described(who, call),
            Happening::Prepared { who, call, confidence } => self.prepared(who, call, confidence),
            Happening::Outdated { who, call } => self.line_event(who, Event::AnswerOutdated { call }),
            Happening::Revised { who, call, revision, renewed } => {
                let description = update(renewed);
                self.line_event(who, Event::UpdateReady { call, revision, description, renewed })
            }
            Happening::NotRevised { who, call, revision } => {
                self.line_event(who, Event::UpdateFailed { call, revision, why: "it is broken".into() })
            }
            Happening::Applied { who, call, revision } => self.line_event(who, Event::UpdateApplied { call, revision }),
            Happening::Spoofed { who, call, message } => self.spoofed(who, call, message),
            Happening::Gathered { who, call } => {
                let candidates = vec![Candidate { candidate: "c".into(), mid: None, mline: None }];
                self.line_event(who, Event::CandidatesGathered { call, candidates })
            }
            Happening::Media { who, call, change } => self.media(who, call, change),
            Happening::Restarts { away } => {
                self.epoch += 1;
                for who in 0..self.peers.len() {
                    self.peers[who].linked = false;
                    let back = (self.at + away + self.random.time(0, 1000)).min(self.stop);
                    self.plan_at(back, Happening::LinkReturns { who });
                }
                Ok(())
            }
            Happening::LinkBreaks { who } => {
                self.peers[who].linked = false;
                Ok(())
            }
            Happening::LinkReturns { who } => {
                self.peers[who].linked = true;
                let now = self.now();
                let outputs = self.peers[who].delivery.link_restored(now);
                hold!(outputs.len() <= OUTBOX_MAX, "{who} holds {} messages", outputs.len());
                self.deliver(who, outputs)
            }
            Happening::SaidOffline { who, peer } => {
                let peer = self.peers[peer].id.clone();
                self.line_event(who, Event::PeerOffline { peer })
            }
            Happening::Settles => {
                self.weather.loss = 0;
                Ok(())
            }
        }
    }

    /// As the session does: nothing is made of a description that comes too late.
    fn described(&mut self, who: usize, call: CallId) -> Result<(), String> {
        let path = self.paths.entry(call.clone()).or_default();
        if !path.open.contains(&who) {
            return Ok(());
        }
        let me = &self.peers[who].id;
        if let Some(record) = self.watch.calls.get_mut(&call)
            && record.callee == *me
        {
            record.at_callee.described = true;
        }
        for _ in 0..self.random.below(3) {
            self.plan_in(0, 1500, Happening::Gathered { who, call: call.clone() });
        }
        self.line_event(who, Event::DescriptionReady { call, description: description() })
    }

    /// As the session does, while nobody has accepted: without an answer of its own, later, there is one already.
    fn prepared(&mut self, who: usize, call: CallId, confidence: Confidence) -> Result<(), String> {
        let State::Incoming { answer: None, .. } = self.peers[who].phone.state_of(&call) else { return Ok(()) };
        self.paths.entry(call.clone()).or_default().open.push(who);
        if let Some(record) = self.watch.calls.get_mut(&call) {
            record.at_callee.described = true;
        }
        let gathered = self.prepares.as_mut().map_or(0, |random| random.below(3));
        for nth in 0..gathered {
            let at = self.at + Duration::from_millis(300 * nth);
            self.plan_at(at, Happening::Gathered { who, call: call.clone() });
        }
        self.line_event(who, Event::AnswerPrepared { call, description: description(), confidence })
    }

    fn line_event(&mut self, who: usize, event: Event) -> Result<(), String> {
        let now = self.now();
        let phone = &mut self.peers[who].phone;
        let before = Lines::of(phone);
        let actions = phone.handle(event.clone(), now);
        self.act(who, &before, Some(&event), actions)
    }

    /// Carries out what a line decided, as the session does.
    fn act(&mut self, who: usize, before: &Lines, event: Option<&Event>, actions: Vec<Action>) -> Result<(), String> {
        let now = self.now();
        let Peer { id, phone, .. } = &self.peers[who];
        let (name, after) = (id.as_str(), Lines::of(phone));
        if let Some(log) = &mut self.log {
            log.push(format!("{:?}   {name} is {after}: {event:?} -> {actions:?}", self.at));
        }
        self.watch.stepped(id, before, event, &actions, &after)?;
        for state in [phone.front(), phone.back()] {
            let at_rest = matches!(
                state,
                State::Idle | State::Active { talk: Talk { path: MediaPath::Flowing, update: Update::None, .. }, .. }
            );
            match state.poll_timeout() {
                Some(at) => hold!(at > now && at <= now + DEADLINE_MAX, "{name}: no sane deadline for {after}"),
                None => hold!(at_rest, "{name}: {after} has no deadline"),
            }
        }
        for action in actions {
            match action {
                Action::Send { to, call, mut message } => {
                    if let Some(words) = &mut self.words {
                        words.complete(who, &call, &mut message);
                    }
                    let delivery = &mut self.peers[who].delivery;
                    if let Message::Bye { .. } = message {
                        delivery.forget(&call);
                    }
                    let outputs = delivery.send(to, call, message, now, 0);
                    self.deliver(who, outputs)?;
                }
                Action::MakeOffer { call } => self.make_description(who, call),
                Action::MakeAnswer { call, offer } => {
                    self.called(who, &call, &offer);
                    self.make_description(who, call);
                }
                Action::ApplyAnswer { call, answer } | Action::ApplyEarlyAnswer { call, answer } => {
                    self.connect(call.clone());
                    self.answered(who, &call, &answer)?;
                }
                Action::CheckNonce { call, nonce } => self.check_nonce(who, &call, nonce)?,
                Action::AddCandidates { .. } | Action::HoldMedia { .. } | Action::ResumeMedia { .. } => {}
                Action::MakeUpdate { call, revision, renewal } => self.make_update(who, call, revision, renewal),
                Action::AnswerUpdate { call, revision, offer } => self.answer_update(who, call, revision, &offer),
                Action::ApplyUpdate { call, revision, answer } => self.apply_update(who, call, revision, &answer),
                Action::CloseMedia { call } => {
                    self.peers[who].delivery.forget(&call);
                    self.close(who, &call);
                }
                Action::Notify(notice) => {
                    self.begin_words(who, &notice);
                    self.react(who, &notice);
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self, who: usize, outputs: Vec<Output>) -> Result<(), String> {
        for output in outputs {
            match output {
                Output::Transmit(envelope) => self.transmit(who, envelope)?,
                Output::Delivered { call, message, .. } => {
                    self.line_event(who, Event::Delivered { call, message })?;
                }
                Output::Expired { call, message, .. } => {
                    self.line_event(who, Event::Expired { call, message })?;
                }
                Output::Unknown { .. } => return Err("a message of no known type".into()),
                Output::Received { from, call, message } => {
                    self.line_event(who, Event::Received { from, call, message })?;
                }
            }
        }
        Ok(())
    }

    fn transmit(&mut self, who: usize, envelope: Envelope) -> Result<(), String> {
        let lost = !self.peers[who].linked || self.random.chance(self.weather.loss);
        self.write(|| format!("  {who} sends {envelope:?}{}", if lost { " LOST" } else { "" }));
        if lost {
            return Ok(());
        }
        let envelope = if self.weather.bytes {
            let bytes = envelope.to_bytes().map_err(|error| error.to_string())?;
            Envelope::from_bytes(&bytes).map_err(|error| error.to_string())?
        } else {
            envelope
        };
        let to = self.peers.iter().position(|peer| peer.id == envelope.to).ok_or("a message for nobody")?;
        let copies = 1 + u64::from(self.random.chance(self.weather.duplicates));
        for _ in 0..copies {
            let late = self.random.chance(self.weather.late) && self.at < self.stop;
            let delay_max_ms = if late { 8000 } else { self.weather.delay_max_ms };
            let epoch = self.epoch;
            self.plan_in(1, delay_max_ms, Happening::Arrives { to, epoch, envelope: envelope.clone() });
        }
        Ok(())
    }

    /// Nothing is scheduled any more.
    fn settled(&self) -> Result<(), String> {
        for peer in &self.peers {
            hold!(peer.delivery.is_idle(), "{} still sends", peer.id);
            for state in [peer.phone.front(), peer.phone.back()] {
                self.settled_line(peer, state)?;
            }
        }
        self.watch.settled()?;
        if self.weather.calm {
            let talking = self.watch.calls.values().filter(|call| call.at_callee.told == Told::Connected);
            hold!(talking.count() == 1, "two who want to talk to each other do not: {}", self.states());
        }
        Ok(())
    }

    /// A line at rest has no call, or one that its partner has too, and both know the same of it.
    fn settled_line(&self, peer: &Peer, state: &State) -> Result<(), String> {
        match state {
            State::Idle => {}
            State::Active { call, peer: partner, media, talk } => {
                let other = self.peers.iter().find(|other| other.id == *partner).ok_or("a stranger")?;
                let theirs = other.phone.state_of(call);
                hold!(theirs.is(call, &peer.id), "{} talks to nobody: {}", peer.id, self.states());
                let State::Active { media: their_media, talk: theirs, .. } = theirs else {
                    return Err(format!("{} talks alone: {}", peer.id, self.states()));
                };
                let may_differ = self.watch.gave_up(call) || self.watch.spoofed(call);
                hold!(
                    may_differ || media.remote == their_media.local,
                    "{} knows the media of {partner} otherwise: {}",
                    peer.id,
                    self.states()
                );
                hold!(talk.update == Update::None, "{} still updates: {}", peer.id, self.states());
                hold!(talk.role != theirs.role, "two of a kind: {}", self.states());
                if let Some(words) = self.words.as_ref().filter(|_| !self.watch.gave_up(call)) {
                    words.agree(call)?;
                }
            }
            State::Offering { .. }
            | State::Dialing { .. }
            | State::Ringing { .. }
            | State::Incoming { .. }
            | State::Answering { .. }
            | State::Connecting { .. } => return Err(format!("dead: {}", self.states())),
        }
        Ok(())
    }

    fn states(&self) -> String {
        self.peers
            .iter()
            .map(|peer| format!("{} {:?} {:?}; ", peer.id, peer.phone.front(), peer.phone.back()))
            .collect()
    }

    fn write(&mut self, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{:?} {}", self.at, text()));
        }
    }
}

fn description() -> Description {
    Description::new("v=0".into(), Vec::new())
}

/// What an update says, as far as it matters here: whether it renews the path.
fn update(renewed: Renewal) -> Description {
    let sdp = match renewed {
        Renewal::Media => "v=0",
        Renewal::Restart => "v=0 restart",
    };
    Description::new(sdp.into(), Vec::new())
}

/// A description that no peer connection can take.
fn broken() -> Description {
    Description::new("broken".into(), Vec::new())
}

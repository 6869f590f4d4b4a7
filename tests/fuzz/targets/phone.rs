//! The call machine among strangers: any event of its user, its media, its broker and its peers, at any time.
//!
//! Nothing here is likely, as it is in `signalling/tests/simulation`; what must hold is less, and holds always:
//!
//! - a call is in a line from the notice that begins it to the one that ends it, which comes once
//! - the back line is idle, rings, or is held; it is idle when the front is
//! - each wait has a deadline, and no deadline is left behind
//! - nothing that a peer sends is kept without a bound

use std::collections::BTreeSet;
use std::time::Instant;

use signalling::call::{
    Action, Confidence, Event, MediaChange, Notice, Path, Phone, PhoneConfig, Renewal, Role, State, Update, Updates,
    Waiting,
};
use signalling::id::{CallId, PeerId};
use signalling::seal::SasNonce;
use signalling::wire::{ByeReason, Candidate, Description, MediaState, Message, MessageKind, Revised};

use super::reader::Reader;

/// Us, and peers whose IDs are lower and higher.
const ME: &str = "me";
const PEERS: [&str; 5] = ["alice", "bob", "zoe", "zora", ME];

/// Messages as the delivery reports them.
const KINDS: [MessageKind; 5] =
    [MessageKind::Offer, MessageKind::Answer, MessageKind::Candidates, MessageKind::Media, MessageKind::Bye];

/// Most candidates kept for one call.
const CANDIDATES_A_CALL_MAX: usize = 256;

pub(crate) fn run(data: &[u8]) {
    let mut reader = Reader::new(data);
    let phone_config = PhoneConfig {
        waiting: reader.of(&[Waiting::Rings, Waiting::Refused]),
        updates: reader.of(&[Updates::Understood, Updates::Unknown]),
        ..PhoneConfig::default()
    };
    let mut world = World {
        phone: Phone::new(peer(ME), phone_config),
        now: Instant::now(),
        dialed: 0,
        current: BTreeSet::new(),
        released: BTreeSet::new(),
    };
    while let Some(kind) = reader.next() {
        world.step(kind, &mut reader);
    }
    world.let_time_pass();
}

struct World {
    phone: Phone,
    now: Instant,
    /// Calls that our user made so far.
    dialed: u8,
    /// Calls that our user was told of, and not of their end.
    current: BTreeSet<(CallId, PeerId)>,
    /// Calls whose devices were released.
    released: BTreeSet<CallId>,
}

impl World {
    fn step(&mut self, kind: u8, reader: &mut Reader<'_>) {
        match kind % 32 {
            0 => {
                self.now += reader.time();
                let actions = self.phone.handle_timeout(self.now);
                self.check(&actions);
                assert!(self.phone.poll_timeout().is_none_or(|at| at > self.now), "a deadline is left behind");
            }
            // The loop is late: deadlines pass unseen.
            1 => self.now += reader.time(),
            kind => {
                let event = self.event(kind, reader);
                let before = counts(self.phone.front());
                let is_word = matches!(event, Event::Received { .. });
                let actions = self.phone.handle(event, self.now);
                self.check(&actions);
                let began = actions.iter().any(|action| matches!(action, Action::MakeUpdate { .. }));
                if is_word
                    && !began
                    && let (Some(before), Some(after)) = (before, counts(self.phone.front()))
                    && before.0 == after.0
                {
                    assert_eq!(before, after, "a peer's word alone sets a count");
                }
            }
        }
    }

    fn event(&mut self, kind: u8, reader: &mut Reader<'_>) -> Event {
        match kind {
            2 => {
                self.dialed = self.dialed.wrapping_add(1);
                Event::Dial { peer: self.peer(reader), call: call(u128::from(self.dialed) << 8) }
            }
            3 => Event::Accept,
            4 => Event::Decline { text: reader.flag().then(|| "later".to_owned()) },
            5 => Event::HangUp,
            6 => Event::Hold,
            7 => Event::Resume,
            8 => Event::Swap,
            9 => Event::Switch { call: self.call(reader), audio: reader.flag(), video: reader.flag() },
            10 => {
                let renewal = reader.of(&[Renewal::Restart, Renewal::Media]);
                Event::Renew { call: self.call(reader), renewal }
            }
            11 => Event::Delivered { call: self.call(reader), message: reader.of(&KINDS) },
            12 => Event::Expired { call: self.call(reader), message: reader.of(&KINDS) },
            13 => Event::PeerOffline { peer: self.peer(reader) },
            14 => Event::DescriptionReady { call: self.call(reader), description: description(reader) },
            15 => match reader.byte() % 8 {
                0 | 4 => Event::AnswerOutdated { call: self.call(reader) },
                7 => Event::CommitmentBroken { call: self.call(reader) },
                choice => Event::AnswerPrepared {
                    call: self.call(reader),
                    description: description(reader),
                    confidence: if choice % 4 == 1 { Confidence::Stranger } else { Confidence::Known },
                },
            },
            16 => Event::UpdateReady {
                call: self.call(reader),
                revision: self.made(reader),
                description: description(reader),
                renewed: reader.of(&[Renewal::Media, Renewal::Restart]),
            },
            17 if reader.flag() => Event::UpdateApplied { call: self.call(reader), revision: self.made(reader) },
            17 => Event::UpdateFailed { call: self.call(reader), revision: self.made(reader), why: String::new() },
            18 => Event::CandidatesGathered { call: self.call(reader), candidates: candidates(reader) },
            19 | 20 => {
                let changes =
                    [MediaChange::Connected, MediaChange::Interrupted, MediaChange::Failed, MediaChange::Unavailable];
                Event::Media { call: self.call(reader), change: reader.of(&changes) }
            }
            kind => {
                let (from, call) = (self.peer(reader), self.call(reader));
                Event::Received { from, call, message: self.message(kind, reader) }
            }
        }
    }

    fn message(&self, kind: u8, reader: &mut Reader<'_>) -> Message {
        match kind {
            21 | 22 => Message::Offer(description(reader)),
            23 => Message::Ringing,
            24 => Message::Answer(description(reader)),
            25 => Message::Candidates { generation: self.generation(reader), candidates: candidates(reader) },
            26 => {
                let reasons = [
                    ByeReason::Hangup,
                    ByeReason::Cancel,
                    ByeReason::Decline,
                    ByeReason::Busy,
                    ByeReason::NoAnswer,
                    ByeReason::Failed,
                    ByeReason::Other,
                    ByeReason::Identity,
                ];
                Message::Bye { reason: reader.of(&reasons), text: None }
            }
            27 => Message::Media(MediaState {
                revision: number(reader),
                audio: reader.flag(),
                video: reader.flag(),
                hold: reader.flag(),
                paused: reader.flag(),
            }),
            28 => Message::Update(self.revised(reader)),
            29 => Message::Updated(self.revised(reader)),
            30 if reader.flag() => Message::Refused { revision: self.revision(reader), text: None },
            31 if reader.flag() => Message::EarlyAnswer(description(reader)),
            _ => match reader.byte() {
                choice if choice % 2 == 1 => Message::Renew { generation: Some(self.generation(reader)) },
                choice if choice % 8 == 6 => Message::Nonce { nonce: SasNonce::from_random([choice; 16]) },
                _ => Message::Renew { generation: None },
            },
        }
    }

    fn revised(&self, reader: &mut Reader<'_>) -> Revised {
        Revised {
            revision: self.revision(reader),
            generation: self.generation(reader),
            description: description(reader),
        }
    }

    /// One of our own calls, or one of a few that strangers made up.
    fn call(&self, reader: &mut Reader<'_>) -> CallId {
        let choice = reader.byte();
        let line = match choice % 8 {
            0..4 => self.phone.front(),
            4 => self.phone.back(),
            _ => &State::Idle,
        };
        line.call().map_or_else(|| call(u128::from(choice)), |(call, _)| call.clone())
    }

    /// Mostly the one we are in a call with.
    fn peer(&self, reader: &mut Reader<'_>) -> PeerId {
        let choice = reader.byte();
        let line = match choice % 16 {
            0..8 => self.phone.front(),
            8 => self.phone.back(),
            _ => &State::Idle,
        };
        line.call().map_or_else(|| peer(PEERS[usize::from(choice) % PEERS.len()]), |(_, peer)| peer.clone())
    }

    /// The revision of the call in front, one close to it, or any.
    fn revision(&self, reader: &mut Reader<'_>) -> u32 {
        let now = match self.phone.front() {
            State::Active { talk, .. } => talk.revision,
            _ => 0,
        };
        close_to(now, reader)
    }

    /// The revision of the description that is being made, one close to it, or any.
    fn made(&self, reader: &mut Reader<'_>) -> u32 {
        match self.phone.front() {
            State::Active { talk, .. } => match talk.update {
                Update::Answering { revision, .. } => close_to(revision, reader),
                Update::None | Update::Making { .. } | Update::Offered { .. } | Update::Asked { .. } => {
                    close_to(talk.revision, reader)
                }
            },
            _ => close_to(0, reader),
        }
    }

    fn generation(&self, reader: &mut Reader<'_>) -> u32 {
        let now = match self.phone.front() {
            State::Active { talk, .. } => talk.generation,
            _ => 0,
        };
        close_to(now, reader)
    }

    /// Every deadline is met: what only waits comes to an end.
    fn let_time_pass(&mut self) {
        for _ in 0..1000 {
            let Some(at) = self.phone.poll_timeout() else { break };
            self.now = self.now.max(at);
            let actions = self.phone.handle_timeout(self.now);
            self.check(&actions);
            assert!(self.phone.poll_timeout().is_none_or(|at| at > self.now), "a deadline is left behind");
        }
        assert_eq!(self.phone.poll_timeout(), None, "a wait without an end");
    }

    fn check(&mut self, actions: &[Action]) {
        for (index, action) in actions.iter().enumerate() {
            match action {
                Action::Notify(notice) => self.noticed(notice, &actions[..index]),
                Action::HoldMedia { call } => assert!(self.released.insert(call.clone()), "devices released twice"),
                Action::ResumeMedia { call } => assert!(self.released.remove(call), "devices taken twice"),
                Action::CloseMedia { call } => {
                    self.released.remove(call);
                }
                Action::Send { to, call, message } => {
                    assert_ne!(to.as_str(), ME, "a word to ourselves");
                    let over = matches!(message, Message::Bye { .. });
                    assert!(over || self.phone.state_of(call).is(call, to), "{} of no call", message.name());
                }
                Action::MakeOffer { call }
                | Action::MakeAnswer { call, .. }
                | Action::ApplyAnswer { call, .. }
                | Action::ApplyEarlyAnswer { call, .. }
                | Action::ApplyUpdate { call, .. }
                | Action::CheckNonce { call, .. }
                | Action::AddCandidates { call, .. } => {
                    assert_ne!(self.phone.state_of(call), &State::Idle, "media of no call");
                }
                Action::MakeUpdate { call, .. } => assert_eq!(self.role(call), Some(Role::Caller)),
                Action::AnswerUpdate { call, .. } => assert_eq!(self.role(call), Some(Role::Callee)),
            }
        }
        self.check_lines();
    }

    fn role(&self, call: &CallId) -> Option<Role> {
        match self.phone.state_of(call) {
            State::Active { talk, .. } => Some(talk.role),
            _ => None,
        }
    }

    fn noticed(&mut self, notice: &Notice, before: &[Action]) {
        match notice {
            Notice::Dialing { call, peer } | Notice::Incoming { call, peer } => {
                assert!(self.current.insert((call.clone(), peer.clone())), "begun twice: {notice:?}");
            }
            Notice::Accepted { call, peer } => {
                let supersedes =
                    before.iter().any(|a| matches!(a, Action::Notify(Notice::Superseded { by, .. }) if by == call));
                let known = !self.current.insert((call.clone(), peer.clone()));
                assert!(known != supersedes, "accepted out of nothing: {notice:?}");
            }
            Notice::Ringing { call, peer }
            | Notice::Connected { call, peer }
            | Notice::Reconnecting { call, peer }
            | Notice::Reconnected { call, peer } => {
                assert!(self.current.contains(&(call.clone(), peer.clone())), "of no call: {notice:?}");
            }
            Notice::Held { call, .. }
            | Notice::Switched { call, .. }
            | Notice::Paused { call, .. }
            | Notice::UpdateRefused { call, .. } => {
                assert!(self.current.iter().any(|(current, _)| current == call), "of no call: {notice:?}");
            }
            Notice::Superseded { call, peer, .. } | Notice::Ended { call, peer, .. } => {
                assert!(self.current.remove(&(call.clone(), peer.clone())), "ended twice: {notice:?}");
                let closes = before.iter().any(|a| matches!(a, Action::CloseMedia { call: closed } if closed == call));
                assert!(closes, "media of {call} stays open");
            }
            Notice::TurnedAway { peer } => assert_ne!(peer.as_str(), ME),
        }
    }

    fn check_lines(&self) {
        let lines = [self.phone.front(), self.phone.back()];
        let [front, back] = lines;
        let rests = matches!(back, State::Idle | State::Incoming { .. }) || back.is_held();
        assert!(rests, "two calls at once: {} and {}", front.name(), back.name());
        assert!(*front != State::Idle || *back == State::Idle, "a call is forgotten in the back: {}", back.name());
        let in_lines: BTreeSet<_> =
            lines.into_iter().filter_map(|line| line.call().map(|(c, p)| (c.clone(), p.clone()))).collect();
        assert_eq!(in_lines, self.current, "the user knows of other calls than there are");
        for line in lines {
            let waits = waits(line);
            assert_eq!(waits, line.poll_timeout().is_some(), "{} waits: {waits}", line.name());
            assert!(kept(line) <= CANDIDATES_A_CALL_MAX, "{} candidates kept", kept(line));
            if let Some((call, peer)) = line.call() {
                assert_ne!(peer.as_str(), ME, "in a call with ourselves");
                assert_eq!(line.is_held(), self.released.contains(call), "held, and devices in use");
            }
        }
        assert!(self.released.len() <= 2, "devices of a call that is over stay released");
    }
}

/// The call, and what counts its updates and paths.
fn counts(line: &State) -> Option<(CallId, u32, u32)> {
    match line {
        State::Active { call, talk, .. } => Some((call.clone(), talk.revision, talk.generation)),
        _ => None,
    }
}

/// Something is to happen that may not.
fn waits(line: &State) -> bool {
    match line {
        State::Idle => false,
        State::Active { talk, .. } => talk.path != Path::Flowing || talk.update != Update::None,
        State::Offering { .. }
        | State::Dialing { .. }
        | State::Ringing { .. }
        | State::Incoming { .. }
        | State::Answering { .. }
        | State::Connecting { .. } => true,
    }
}

/// Candidates that a line keeps.
fn kept(line: &State) -> usize {
    match line {
        State::Idle | State::Offering { .. } | State::Connecting { .. } => 0,
        State::Dialing { candidates, .. } | State::Ringing { candidates, .. } | State::Answering { candidates, .. } => {
            candidates.len()
        }
        State::Incoming { offer, .. } => offer.candidates.len(),
        State::Active { talk, .. } => talk.ahead.len(),
    }
}

fn peer(name: &str) -> PeerId {
    name.parse().expect("a name here is plain")
}

fn call(number: u128) -> CallId {
    CallId::from_random(number)
}

fn description(reader: &mut Reader<'_>) -> Description {
    Description::new("v=0\r\n".to_owned(), candidates(reader))
}

/// As many as a message may bring.
fn candidates(reader: &mut Reader<'_>) -> Vec<Candidate> {
    let candidate = Candidate { candidate: "candidate:1".to_owned(), mid: None, mline: Some(0) };
    vec![candidate; usize::from(reader.byte() % 65)]
}

/// Small, or as large as can be.
fn number(reader: &mut Reader<'_>) -> u32 {
    match reader.byte() {
        small @ 0..240 => u32::from(small),
        large => u32::MAX - u32::from(255 - large),
    }
}

fn close_to(now: u32, reader: &mut Reader<'_>) -> u32 {
    match reader.byte() {
        near @ 0..128 => now.saturating_add(u32::from(near % 4)).saturating_sub(1),
        small @ 128..240 => u32::from(small - 128),
        large => u32::MAX - u32::from(255 - large),
    }
}

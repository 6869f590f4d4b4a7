//! [`Phone`]: two lines, of which its user talks on one.

use std::time::Instant;

use super::early::Early;
use super::line::{Step, busy};
use super::redial::{Redial, Verdict};
use super::{Action, Event, State, Timeouts};
use crate::id::{CallId, PeerId};
use crate::wire::Message;

/// Whether a second caller is let through to a user who is in a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waiting {
    /// No: they hear busy.
    #[default]
    Refused,
    /// Yes: it rings, and the user may put the first on hold and answer.
    Rings,
}

/// Whether the other side knows a new offer in a standing call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Updates {
    /// Yes: a path that is lost is replaced.
    #[default]
    Understood,
    /// No: a path that is lost stays lost.
    Unknown,
}

/// How a phone behaves: its time-outs, and what it does about a second caller and updates.
#[derive(Clone, Copy, Debug, Default)]
pub struct PhoneConfig {
    /// How long each wait may last.
    pub timeouts: Timeouts,
    /// What a second caller meets.
    pub waiting: Waiting,
    /// What the other side understands.
    pub updates: Updates,
}

/// One phone of one peer: at most two calls at a time, and at most one in which its user talks.
#[derive(Debug)]
pub struct Phone {
    me: PeerId,
    config: PhoneConfig,
    early: Early,
    /// The line that the user talks on; the other one is idle, held, or has a call waiting.
    front: State,
    back: State,
    /// A partner that calls anew, until it is known what became of its call.
    redial: Option<Redial>,
}

impl Phone {
    /// A phone with no call.
    #[must_use]
    pub fn new(me: PeerId, config: PhoneConfig) -> Self {
        Self { me, config, early: Early::default(), front: State::Idle, back: State::Idle, redial: None }
    }

    /// Where the line stands that the user talks on.
    #[must_use]
    pub const fn front(&self) -> &State {
        &self.front
    }

    /// Where the other line stands.
    #[must_use]
    pub const fn back(&self) -> &State {
        &self.back
    }

    /// Where `call` stands; idle when it is over, or never was.
    #[must_use]
    pub fn state_of(&self, call: &CallId) -> &State {
        [&self.front, &self.back].into_iter().find(|state| state.is_call(call)).unwrap_or(&State::Idle)
    }

    /// When [`Phone::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let redial = self.redial.as_ref().and_then(|redial| redial.due(self.line_with(&redial.from)));
        [&self.front, &self.back].into_iter().filter_map(State::poll_timeout).chain(redial).min()
    }

    /// Takes in what happened; gives back what is to be done, in order.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match event {
            Event::Received { from, call, message: Message::Offer(offer) } if self.is_redial(&from, &call) => {
                let earlier = self.redial.replace(Redial::new(from, call, offer, now));
                earlier.map_or_else(Vec::new, |earlier| self.refuse(earlier))
            }
            event => {
                self.forget_redial(&event);
                self.dispatch(event, now)
            }
        }
    }

    /// Says busy to a partner that calls anew and still waits: no more calls are taken.
    pub fn refuse_redial(&mut self) -> Vec<Action> {
        let redial = self.redial.take();
        redial.map_or_else(Vec::new, |redial| self.refuse(redial))
    }

    fn dispatch(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = match self.route(&event) {
            Route::Front => self.line(Line::Front, now).handle(event),
            Route::Back => self.line(Line::Back, now).handle(event),
            Route::Both => {
                let mut actions = self.line(Line::Front, now).handle(event.clone());
                actions.extend(self.line(Line::Back, now).handle(event));
                actions
            }
            Route::AnswerWaiting => {
                let mut actions = self.line(Line::Front, now).handle(Event::Hold);
                self.swap_lines();
                actions.extend(self.line(Line::Front, now).handle(event));
                actions
            }
            Route::Swap => {
                let mut actions = self.line(Line::Front, now).handle(Event::Hold);
                self.swap_lines();
                actions.extend(self.line(Line::Front, now).handle(Event::Resume));
                actions
            }
            Route::None => Vec::new(),
        };
        actions.extend(self.settle(now));
        actions
    }

    /// Acts on time having passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = self.line(Line::Front, now).handle_timeout();
        actions.extend(self.line(Line::Back, now).handle_timeout());
        actions.extend(self.settle(now));
        actions.extend(self.decide_redial(now));
        actions
    }

    /// A partner that calls anew may give up while its offer still waits.
    fn forget_redial(&mut self, event: &Event) {
        if let Event::Received { from, call, message: Message::Bye { .. } } = event {
            self.redial.take_if(|redial| redial.from == *from && redial.call == *call);
        }
    }

    /// True for a new call of somebody who is in a call with us, and did not yield to us.
    fn is_redial(&self, from: &PeerId, call: &CallId) -> bool {
        let is_known = self.early.has_ended(from, call) || self.line_of(call).is_some();
        let stands = |state: &State| match state {
            State::Incoming { .. } | State::Answering { .. } | State::Connecting { .. } | State::Active { .. } => true,
            State::Idle | State::Offering { .. } | State::Dialing { .. } | State::Ringing { .. } => false,
        };
        !is_known && self.line_with(from).is_some_and(stands)
    }

    /// Finds out whether the old call of a partner that calls anew is dead. A step of its own, so that no step acts for a
    /// call and ends it.
    fn decide_redial(&mut self, now: Instant) -> Vec<Action> {
        let Some(redial) = &self.redial else { return Vec::new() };
        let verdict = redial.verdict(self.line_with(&redial.from), now);
        if verdict == Verdict::Waits {
            return Vec::new();
        }
        let Some(redial) = self.redial.take() else { return Vec::new() };
        let mut actions = match verdict {
            Verdict::Busy => return self.refuse(redial),
            Verdict::Replaces => {
                let line = if has(&self.back, &redial.from) { Line::Back } else { Line::Front };
                self.line(line, now).give_way()
            }
            Verdict::Rings | Verdict::Waits => Vec::new(),
        };
        actions.extend(self.settle(now));
        let Redial { from, call, offer, .. } = redial;
        actions.extend(self.dispatch(Event::Received { from, call, message: Message::Offer(offer) }, now));
        actions
    }

    fn refuse(&mut self, redial: Redial) -> Vec<Action> {
        self.early.end(redial.from.clone(), redial.call.clone());
        vec![busy(redial.from, redial.call)]
    }

    fn line_with(&self, peer: &PeerId) -> Option<&State> {
        [&self.front, &self.back].into_iter().find(|state| has(state, peer))
    }

    /// Which line an event is for.
    fn route(&self, event: &Event) -> Route {
        match event {
            Event::Dial { .. } => match (&self.front, &self.back) {
                (State::Idle, State::Idle) => Route::Front,
                // One call at a time is dialed.
                _ => Route::None,
            },
            Event::Accept if matches!(self.back, State::Incoming { .. }) => Route::AnswerWaiting,
            Event::Decline { .. } if matches!(self.back, State::Incoming { .. }) => Route::Back,
            Event::Accept | Event::Decline { .. } | Event::HangUp | Event::Hold | Event::Resume => Route::Front,
            Event::Swap if matches!((&self.front, &self.back), (State::Active { .. }, State::Active { .. })) => {
                Route::Swap
            }
            Event::Swap => Route::None,
            Event::Received { from, call, message } => self.route_message(from, call, message),
            Event::PeerOffline { .. } => Route::Both,
            Event::End { call }
            | Event::Switch { call, .. }
            | Event::Pause { call, .. }
            | Event::Renew { call, .. }
            | Event::Delivered { call, .. }
            | Event::Expired { call, .. }
            | Event::DescriptionReady { call, .. }
            | Event::AnswerPrepared { call, .. }
            | Event::AnswerOutdated { call }
            | Event::UpdateReady { call, .. }
            | Event::UpdateApplied { call, .. }
            | Event::UpdateFailed { call, .. }
            | Event::CommitmentBroken { call }
            | Event::CandidatesGathered { call, .. }
            | Event::Media { call, .. } => self.line_of(call).unwrap_or(Route::None),
        }
    }

    /// Which line a message is for: that of its call; a new offer may ring on the second.
    fn route_message(&self, from: &PeerId, call: &CallId, message: &Message) -> Route {
        if let Some(line) = self.line_of(call) {
            return line;
        }
        let may_wait = match (&self.front, self.config.waiting) {
            (State::Active { peer, .. }, Waiting::Rings) => peer != from && self.back == State::Idle,
            // Nobody is asked in the middle of ringing or being rung.
            (_, Waiting::Rings) | (_, Waiting::Refused) => false,
        };
        match message {
            Message::Offer(_) if may_wait => Route::Back,
            // The first line also remembers what came early or late.
            _ => Route::Front,
        }
    }

    fn line_of(&self, call: &CallId) -> Option<Route> {
        if self.front.is_call(call) {
            return Some(Route::Front);
        }
        self.back.is_call(call).then_some(Route::Back)
    }

    /// When the user's call is over, the other one is theirs: a held one goes on.
    fn settle(&mut self, now: Instant) -> Vec<Action> {
        if self.front != State::Idle || self.back == State::Idle {
            return Vec::new();
        }
        self.swap_lines();
        if self.front.is_held() { self.line(Line::Front, now).handle(Event::Resume) } else { Vec::new() }
    }

    const fn swap_lines(&mut self) {
        std::mem::swap(&mut self.front, &mut self.back);
    }

    const fn line(&mut self, line: Line, now: Instant) -> Step<'_> {
        let state = match line {
            Line::Front => &mut self.front,
            Line::Back => &mut self.back,
        };
        let PhoneConfig { timeouts, updates, .. } = &self.config;
        Step { me: &self.me, timeouts, updates: *updates, early: &mut self.early, state, now }
    }
}

fn has(state: &State, peer: &PeerId) -> bool {
    state.call().is_some_and(|(_, partner)| partner == peer)
}

#[derive(Clone, Copy)]
enum Line {
    Front,
    Back,
}

/// Which line an event goes to.
enum Route {
    Front,
    Back,
    Both,
    /// The waiting call is answered: the first is put on hold, and the user is on the second.
    AnswerWaiting,
    /// The user goes over to the other call.
    Swap,
    /// It means nothing in this state.
    None,
}

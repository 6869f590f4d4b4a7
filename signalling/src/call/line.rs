//! [`Line`]: the transitions between the [`State`]s.

use std::time::Instant;

use super::early::{Early, append};
use super::{Action, CALLEE_RINGS, Callee, Connected, EndReason, Event, MediaChange, Notice, State, Timeouts};
use crate::id::{CallId, PeerId};
use crate::wire::{ByeReason, Candidate, Description, Message};

/// One line of one peer: at most one call at a time.
#[derive(Debug)]
pub struct Line {
    me: PeerId,
    timeouts: Timeouts,
    state: State,
    early: Early,
}

impl Line {
    /// A line with no call.
    #[must_use]
    pub fn new(me: PeerId, timeouts: Timeouts) -> Self {
        Self { me, timeouts, state: State::Idle, early: Early::default() }
    }

    /// Where the line stands.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// When [`Line::handle_timeout`] wants to be called next.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.state.give_up_at()
    }

    /// Takes in what happened; gives back what is to be done, in order.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match event {
            Event::Dial { peer, call } => self.dial(peer, call, now),
            Event::Accept => self.accept(now),
            Event::Decline => match self.state {
                State::Incoming { .. } => self.end(EndReason::LocalDecline),
                // Nothing rings here.
                State::Idle
                | State::Offering { .. }
                | State::Dialing { .. }
                | State::Ringing { .. }
                | State::Answering { .. }
                | State::Connecting { .. }
                | State::Active { .. } => Vec::new(),
            },
            Event::HangUp => self.hang_up(),
            Event::Received { from, call, message } => self.received(from, call, message, now),
            Event::Delivered { call, message } => self.delivered(&call, message, now),
            Event::Expired { call, message } => self.expired(&call, message),
            Event::PeerOffline { peer } => match &self.state {
                State::Offering { peer: callee, .. } | State::Dialing { peer: callee, .. } if *callee == peer => {
                    self.end(EndReason::Offline)
                }
                // Once it rang or talks, the path between the peers tells more than the broker's opinion.
                State::Idle
                | State::Offering { .. }
                | State::Dialing { .. }
                | State::Ringing { .. }
                | State::Incoming { .. }
                | State::Answering { .. }
                | State::Connecting { .. }
                | State::Active { .. } => Vec::new(),
            },
            Event::DescriptionReady { call, description } => self.description_ready(&call, description, now),
            Event::CandidatesGathered { call, candidates } => self.gathered(&call, candidates),
            Event::Media { call, change } => self.media(&call, change, now),
        }
    }

    /// Acts on time having passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Action> {
        if self.state.give_up_at().is_none_or(|at| at > now) {
            return Vec::new();
        }
        match self.state {
            State::Offering { .. } => self.end(EndReason::LocalFailure),
            State::Dialing { callee: Callee::Silent, .. } => self.end(EndReason::Offline),
            State::Dialing { callee: Callee::Reached, .. } | State::Ringing { .. } | State::Incoming { .. } => {
                self.end(EndReason::NoAnswer)
            }
            State::Answering { .. } | State::Connecting { .. } => self.end(EndReason::NoPath),
            State::Active { .. } => self.end(EndReason::Lost),
            State::Idle => Vec::new(),
        }
    }

    fn dial(&mut self, peer: PeerId, call: CallId, now: Instant) -> Vec<Action> {
        if self.state != State::Idle || peer == self.me {
            return Vec::new();
        }
        let give_up_at = now + self.timeouts.connect;
        self.state = State::Offering { call: call.clone(), peer: peer.clone(), yielding: None, give_up_at };
        vec![Action::Notify(Notice::Dialing { call: call.clone(), peer }), Action::MakeOffer { call }]
    }

    fn accept(&mut self, now: Instant) -> Vec<Action> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Incoming { call, peer, offer, .. } => {
                self.state = State::Answering {
                    call: call.clone(),
                    peer: peer.clone(),
                    candidates: Vec::new(),
                    give_up_at: now + self.timeouts.connect,
                };
                vec![Action::Notify(Notice::Accepted { call: call.clone(), peer }), Action::MakeAnswer { call, offer }]
            }
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    fn hang_up(&mut self) -> Vec<Action> {
        match self.state {
            State::Idle => Vec::new(),
            State::Offering { .. } | State::Dialing { .. } | State::Ringing { .. } => self.end(EndReason::LocalCancel),
            // Without an answer on its way there was no call yet.
            State::Incoming { .. } | State::Answering { .. } => self.end(EndReason::LocalDecline),
            State::Connecting { .. } | State::Active { .. } => self.end(EndReason::LocalHangup),
        }
    }

    fn received(&mut self, from: PeerId, call: CallId, message: Message, now: Instant) -> Vec<Action> {
        match message {
            Message::Offer(offer) => self.offer_received(from, call, offer, now),
            Message::Ringing => self.ringing_received(&from, &call, now),
            Message::Answer(answer) => self.answer_received(&from, &call, answer, now),
            Message::Candidates { candidates } => self.candidates_received(from, call, candidates),
            Message::Bye { reason } => self.bye_received(&from, call, reason),
        }
    }

    fn offer_received(&mut self, from: PeerId, call: CallId, mut offer: Description, now: Instant) -> Vec<Action> {
        if self.early.has_ended(&from, &call) || self.state.is(&call, &from) || from == self.me {
            return Vec::new();
        }
        if let State::Offering { call: own, peer, .. }
        | State::Dialing { call: own, peer, .. }
        | State::Ringing { call: own, peer, .. } = &self.state
            && *peer == from
        {
            let own = own.clone();
            return self.glare(own, from, call, offer, now);
        }
        if let Some((_, partner)) = self.state.call() {
            let someone_else = *partner != from;
            self.early.end(from.clone(), call.clone());
            let busy = Message::Bye { reason: ByeReason::Busy };
            let mut actions = vec![Action::Send { to: from.clone(), call, message: busy }];
            // A late offer of our own partner, who yielded to us or whose bye is still under way, is no caller's.
            if someone_else {
                actions.push(Action::Notify(Notice::TurnedAway { peer: from }));
            }
            return actions;
        }
        append(&mut offer.candidates, self.early.take_candidates(&from, &call));
        self.state = State::Incoming { call: call.clone(), peer: from.clone(), offer, give_up_at: now + CALLEE_RINGS };
        vec![
            Action::Send { to: from.clone(), call: call.clone(), message: Message::Ringing },
            Action::Notify(Notice::Incoming { call, peer: from }),
        ]
    }

    /// Both call each other at once: the call of the lower peer ID goes on, on both sides, and the other one never was.
    fn glare(&mut self, own: CallId, from: PeerId, call: CallId, mut offer: Description, now: Instant) -> Vec<Action> {
        if self.me < from {
            match &mut self.state {
                State::Offering { yielding, .. } | State::Dialing { yielding, .. } => {
                    // One that came before is over, or this one is and came late: they have one line.
                    let actions = refuse(&from, yielding.replace(call.clone()));
                    self.early.end(from, call);
                    return actions;
                }
                // Where ours rang already, an offer from there means that the other side knows nothing of it any more.
                State::Ringing { .. } => {}
                // Not calling anyone, so not calling each other.
                State::Idle
                | State::Incoming { .. }
                | State::Answering { .. }
                | State::Connecting { .. }
                | State::Active { .. } => return Vec::new(),
            }
        }
        let mut actions = Vec::new();
        if !matches!(self.state, State::Offering { .. }) {
            // Ours may still arrive, or ring there already: it must not outlive itself.
            let cancel = Message::Bye { reason: ByeReason::Cancel };
            actions.push(Action::Send { to: from.clone(), call: own.clone(), message: cancel });
        }
        self.early.end(from.clone(), own.clone());
        append(&mut offer.candidates, self.early.take_candidates(&from, &call));
        self.state = State::Answering {
            call: call.clone(),
            peer: from.clone(),
            candidates: Vec::new(),
            give_up_at: now + self.timeouts.connect,
        };
        actions.extend([
            Action::CloseMedia { call: own.clone() },
            Action::Notify(Notice::Superseded { call: own, by: call.clone(), peer: from.clone() }),
            // Whoever calls someone wants to talk to them: there is nobody to ask.
            Action::Notify(Notice::Accepted { call: call.clone(), peer: from }),
            Action::MakeAnswer { call, offer },
        ]);
        actions
    }

    fn ringing_received(&mut self, from: &PeerId, call: &CallId, now: Instant) -> Vec<Action> {
        if !self.state.is(call, from) {
            return Vec::new();
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Dialing { call, peer, candidates, yielding, .. } => {
                let give_up_at = now + self.timeouts.answer;
                self.state = State::Ringing { call: call.clone(), peer: peer.clone(), candidates, give_up_at };
                let mut actions = refuse(&peer, yielding);
                actions.push(Action::Notify(Notice::Ringing { call, peer }));
                actions
            }
            // Late or repeated: the answer overtook it.
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    fn answer_received(&mut self, from: &PeerId, call: &CallId, answer: Description, now: Instant) -> Vec<Action> {
        if !self.state.is(call, from) {
            return Vec::new();
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Dialing { call, peer, candidates, yielding, .. } => {
                let mut actions = refuse(&peer, yielding);
                actions.extend(self.answered(call, peer, candidates, answer, now));
                actions
            }
            State::Ringing { call, peer, candidates, .. } => self.answered(call, peer, candidates, answer, now),
            // A second answer, or an answer to someone who is not the caller.
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    fn answered(
        &mut self,
        call: CallId,
        peer: PeerId,
        candidates: Vec<Candidate>,
        answer: Description,
        now: Instant,
    ) -> Vec<Action> {
        let give_up_at = now + self.timeouts.connect;
        self.state = State::Connecting { call: call.clone(), peer: peer.clone(), give_up_at };
        let mut actions = vec![
            Action::Notify(Notice::Accepted { call: call.clone(), peer }),
            Action::ApplyAnswer { call: call.clone(), answer },
        ];
        if !candidates.is_empty() {
            actions.push(Action::AddCandidates { call, candidates });
        }
        actions
    }

    fn candidates_received(&mut self, from: PeerId, call: CallId, more: Vec<Candidate>) -> Vec<Action> {
        if !self.state.is(&call, &from) {
            if !self.early.has_ended(&from, &call) {
                self.early.keep_candidates(from, call, more);
            }
            return Vec::new();
        }
        match &mut self.state {
            State::Dialing { candidates, .. }
            | State::Ringing { candidates, .. }
            | State::Answering { candidates, .. } => append(candidates, more),
            State::Incoming { offer, .. } => append(&mut offer.candidates, more),
            State::Connecting { .. } | State::Active { .. } => {
                return vec![Action::AddCandidates { call, candidates: more }];
            }
            // Our offer is not out, so nobody can have candidates for it.
            State::Idle | State::Offering { .. } => {}
        }
        Vec::new()
    }

    fn bye_received(&mut self, from: &PeerId, call: CallId, reason: ByeReason) -> Vec<Action> {
        if !self.state.is(&call, from) {
            if let State::Offering { peer, yielding, .. } | State::Dialing { peer, yielding, .. } = &mut self.state
                && peer == from
            {
                // It yielded.
                yielding.take_if(|yielding| *yielding == call);
            }
            self.early.end(from.clone(), call);
            return Vec::new();
        }
        let unanswered = matches!(
            self.state,
            State::Offering { .. } | State::Dialing { .. } | State::Ringing { .. } | State::Incoming { .. }
        );
        let ours = matches!(self.state, State::Offering { .. } | State::Dialing { .. } | State::Ringing { .. });
        self.leave(match reason {
            ByeReason::Busy if ours => EndReason::Busy,
            ByeReason::Decline | ByeReason::Hangup | ByeReason::Other if ours => EndReason::RemoteDecline,
            ByeReason::NoAnswer if unanswered => EndReason::NoAnswer,
            ByeReason::Failed if unanswered => EndReason::NoPath,
            ByeReason::Failed if matches!(self.state, State::Active { .. }) => EndReason::Lost,
            ByeReason::Failed => EndReason::NoPath,
            ByeReason::Hangup
            | ByeReason::Cancel
            | ByeReason::Decline
            | ByeReason::Busy
            | ByeReason::NoAnswer
            | ByeReason::Other => {
                if unanswered && !ours {
                    EndReason::RemoteCancel
                } else {
                    EndReason::RemoteHangup
                }
            }
        })
    }

    fn delivered(&mut self, call: &CallId, message: &'static str, now: Instant) -> Vec<Action> {
        match &mut self.state {
            // The callee's program has the offer; its "ringing" may still be under way, so it is not offline.
            State::Dialing { call: current, callee, give_up_at, .. } if current == call && message == "offer" => {
                *callee = Callee::Reached;
                *give_up_at = now + self.timeouts.answer;
            }
            State::Idle
            | State::Offering { .. }
            | State::Dialing { .. }
            | State::Ringing { .. }
            | State::Incoming { .. }
            | State::Answering { .. }
            | State::Connecting { .. }
            | State::Active { .. } => {}
        }
        Vec::new()
    }

    fn expired(&mut self, call: &CallId, message: &'static str) -> Vec<Action> {
        let concerns_us = self.state.call().is_some_and(|(current, _)| current == call);
        match self.state {
            State::Dialing { .. } | State::Ringing { .. } if concerns_us && message == "offer" => {
                self.end(EndReason::Offline)
            }
            // Every other wait has a time-out of its own, shorter than the expiry of a message.
            State::Idle
            | State::Offering { .. }
            | State::Dialing { .. }
            | State::Ringing { .. }
            | State::Incoming { .. }
            | State::Answering { .. }
            | State::Connecting { .. }
            | State::Active { .. } => Vec::new(),
        }
    }

    fn description_ready(&mut self, call: &CallId, description: Description, now: Instant) -> Vec<Action> {
        if self.state.call().is_none_or(|(current, _)| current != call) {
            return Vec::new();
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Offering { call, peer, yielding, .. } => {
                self.state = State::Dialing {
                    call: call.clone(),
                    peer: peer.clone(),
                    candidates: Vec::new(),
                    callee: Callee::Silent,
                    yielding,
                    give_up_at: now + self.timeouts.unreachable,
                };
                vec![Action::Send { to: peer, call, message: Message::Offer(description) }]
            }
            State::Answering { call, peer, candidates, .. } => {
                let give_up_at = now + self.timeouts.connect;
                self.state = State::Connecting { call: call.clone(), peer: peer.clone(), give_up_at };
                let answer = Message::Answer(description);
                let mut actions = vec![Action::Send { to: peer, call: call.clone(), message: answer }];
                if !candidates.is_empty() {
                    actions.push(Action::AddCandidates { call, candidates });
                }
                actions
            }
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    fn gathered(&mut self, call: &CallId, candidates: Vec<Candidate>) -> Vec<Action> {
        match &self.state {
            State::Dialing { call: current, peer, .. }
            | State::Ringing { call: current, peer, .. }
            | State::Connecting { call: current, peer, .. }
            | State::Active { call: current, peer, .. }
                if current == call =>
            {
                vec![Action::Send { to: peer.clone(), call: call.clone(), message: Message::Candidates { candidates } }]
            }
            // Before the description is out its maker holds the candidates back and puts them in.
            State::Idle
            | State::Offering { .. }
            | State::Dialing { .. }
            | State::Ringing { .. }
            | State::Incoming { .. }
            | State::Answering { .. }
            | State::Connecting { .. }
            | State::Active { .. } => Vec::new(),
        }
    }

    fn media(&mut self, id: &CallId, change: MediaChange, now: Instant) -> Vec<Action> {
        let (call, peer) = match self.state.call() {
            Some((call, peer)) if call == id => (call.clone(), peer.clone()),
            Some(_) | None => return Vec::new(),
        };
        match (&mut self.state, change) {
            (State::Answering { .. } | State::Connecting { .. }, MediaChange::Connected) => {
                self.state = State::Active { call: call.clone(), peer: peer.clone(), path: Connected::Flowing };
                vec![Action::Notify(Notice::Connected { call, peer })]
            }
            (State::Active { path: path @ Connected::Interrupted { .. }, .. }, MediaChange::Connected) => {
                *path = Connected::Flowing;
                vec![Action::Notify(Notice::Reconnected { call, peer })]
            }
            (State::Active { path: path @ Connected::Flowing, .. }, MediaChange::Interrupted) => {
                *path = Connected::Interrupted { give_up_at: now + self.timeouts.lost };
                vec![Action::Notify(Notice::Reconnecting { call, peer })]
            }
            (_, MediaChange::Unavailable) => self.end(EndReason::LocalFailure),
            (State::Active { .. }, MediaChange::Failed) => self.end(EndReason::Lost),
            (
                State::Offering { .. }
                | State::Dialing { .. }
                | State::Ringing { .. }
                | State::Incoming { .. }
                | State::Answering { .. }
                | State::Connecting { .. },
                MediaChange::Failed,
            ) => self.end(EndReason::NoPath),
            // Nothing new: already so, or not yet of any meaning.
            (
                State::Idle
                | State::Offering { .. }
                | State::Dialing { .. }
                | State::Ringing { .. }
                | State::Incoming { .. }
                | State::Answering { .. }
                | State::Connecting { .. }
                | State::Active { .. },
                MediaChange::Connected | MediaChange::Interrupted | MediaChange::Failed,
            ) => Vec::new(),
        }
    }

    /// Ends the call from this side: tells the other one, unless no offer is out yet, and the user.
    fn end(&mut self, reason: EndReason) -> Vec<Action> {
        let mut actions = Vec::new();
        if !matches!(self.state, State::Offering { .. })
            && let Some((call, peer)) = self.state.call()
            && let Some(reason) = reason.bye()
        {
            actions.push(Action::Send { to: peer.clone(), call: call.clone(), message: Message::Bye { reason } });
        }
        actions.extend(self.leave(reason));
        actions
    }

    /// Leaves a call that the other side ended, or was told of: the user hears why.
    fn leave(&mut self, reason: EndReason) -> Vec<Action> {
        let state = std::mem::replace(&mut self.state, State::Idle);
        let Some((call, peer)) = state.call().map(|(call, peer)| (call.clone(), peer.clone())) else {
            return Vec::new();
        };
        self.early.end(peer.clone(), call.clone());
        let mut actions = match state {
            State::Offering { yielding, .. } | State::Dialing { yielding, .. } => refuse(&peer, yielding),
            State::Idle
            | State::Ringing { .. }
            | State::Incoming { .. }
            | State::Answering { .. }
            | State::Connecting { .. }
            | State::Active { .. } => Vec::new(),
        };
        actions
            .extend([Action::CloseMedia { call: call.clone() }, Action::Notify(Notice::Ended { call, peer, reason })]);
        actions
    }
}

/// Says busy to a call that was to yield to ours. Mostly it did, and then nobody minds; but ours may not have reached
/// its caller, or be over there already, and then they wait.
fn refuse(peer: &PeerId, yielding: Option<CallId>) -> Vec<Action> {
    let busy = |call| Action::Send { to: peer.clone(), call, message: Message::Bye { reason: ByeReason::Busy } };
    yielding.map(busy).into_iter().collect()
}

//! From the first ring to the exchanged descriptions.

use super::super::early::append;
use super::super::{Action, CALLEE_RINGS, Callee, EarlyPath, MediaSides, Notice, ReadyAnswer, Role, State};
use super::ahead::add;
use super::{Step, refuse};
use crate::id::{CallId, PeerId};
use crate::wire::{ByeReason, Candidate, Description, Message};

impl Step<'_> {
    pub(super) fn dial(&mut self, peer: PeerId, call: CallId) -> Vec<Action> {
        if *self.state != State::Idle || peer == *self.me {
            return Vec::new();
        }
        let give_up_at = self.now + self.timeouts.connect;
        let media = MediaSides::default();
        *self.state = State::Offering { call: call.clone(), peer: peer.clone(), media, yielding: None, give_up_at };
        vec![Action::Notify(Notice::Dialing { call: call.clone(), peer }), Action::MakeOffer { call }]
    }

    pub(super) fn accept(&mut self) -> Vec<Action> {
        match std::mem::replace(self.state, State::Idle) {
            State::Incoming { call, peer, media, offer, answer: Some(answer), .. } => {
                self.accept_prepared(call, peer, media, offer.candidates, answer)
            }
            State::Incoming { call, peer, media, offer, answer: None, .. } => {
                *self.state = State::Answering {
                    call: call.clone(),
                    peer: peer.clone(),
                    media,
                    candidates: Vec::new(),
                    give_up_at: self.now + self.timeouts.connect,
                };
                vec![Action::Notify(Notice::Accepted { call: call.clone(), peer }), Action::MakeAnswer { call, offer }]
            }
            // Nothing rings here.
            other @ (State::Idle
            | State::Offering { .. }
            | State::Dialing { .. }
            | State::Ringing { .. }
            | State::Answering { .. }
            | State::Connecting { .. }
            | State::Active { .. }) => {
                *self.state = other;
                Vec::new()
            }
        }
    }

    pub(super) fn offer_received(&mut self, from: PeerId, call: CallId, mut offer: Description) -> Vec<Action> {
        if self.early.has_ended(&from, &call) || self.state.is(&call, &from) || from == *self.me {
            return Vec::new();
        }
        if let State::Offering { call: own, peer, .. }
        | State::Dialing { call: own, peer, .. }
        | State::Ringing { call: own, peer, .. } = &*self.state
            && *peer == from
        {
            let own = own.clone();
            return self.glare(own, from, call, offer);
        }
        if let Some((_, partner)) = self.state.call() {
            let someone_else = *partner != from;
            self.early.end(from.clone(), call.clone());
            let busy = Message::bye(ByeReason::Busy);
            let mut actions = vec![Action::Send { to: from.clone(), call, message: busy }];
            // A late offer of our own partner, who yielded to us or whose bye is still under way, is no caller's.
            if someone_else {
                actions.push(Action::Notify(Notice::TurnedAway { peer: from }));
            }
            return actions;
        }
        append(&mut offer.candidates, self.early.take_candidates(&from, &call));
        let give_up_at = self.now + CALLEE_RINGS;
        let media = MediaSides::default();
        *self.state =
            State::Incoming { call: call.clone(), peer: from.clone(), media, offer, answer: None, give_up_at };
        vec![
            Action::Send { to: from.clone(), call: call.clone(), message: Message::Ringing },
            Action::Notify(Notice::Incoming { call, peer: from }),
        ]
    }

    /// Both call each other at once: the call of the lower peer ID goes on, on both sides, and the other one never was.
    fn glare(&mut self, own: CallId, from: PeerId, call: CallId, mut offer: Description) -> Vec<Action> {
        if *self.me < from {
            match &mut *self.state {
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
            let cancel = Message::bye(ByeReason::Cancel);
            actions.push(Action::Send { to: from.clone(), call: own.clone(), message: cancel });
        }
        self.early.end(from.clone(), own.clone());
        append(&mut offer.candidates, self.early.take_candidates(&from, &call));
        // What our user switched off while it dialed stays off.
        let local = self.state.media().unwrap_or_default().local;
        *self.state = State::Answering {
            call: call.clone(),
            peer: from.clone(),
            media: MediaSides { local, ..MediaSides::default() },
            candidates: Vec::new(),
            give_up_at: self.now + self.timeouts.connect,
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

    pub(super) fn ringing_received(&mut self, from: &PeerId, call: &CallId) -> Vec<Action> {
        if !self.state.is(call, from) {
            return Vec::new();
        }
        match std::mem::replace(self.state, State::Idle) {
            State::Dialing { call, peer, media, candidates, path, yielding, .. } => {
                let give_up_at = self.now + self.timeouts.answer;
                *self.state =
                    State::Ringing { call: call.clone(), peer: peer.clone(), media, candidates, path, give_up_at };
                let mut actions = refuse(&peer, yielding);
                actions.push(Action::Notify(Notice::Ringing { call, peer }));
                actions
            }
            // Late or repeated: the answer overtook it.
            other @ (State::Idle
            | State::Offering { .. }
            | State::Ringing { .. }
            | State::Incoming { .. }
            | State::Answering { .. }
            | State::Connecting { .. }
            | State::Active { .. }) => {
                *self.state = other;
                Vec::new()
            }
        }
    }

    pub(super) fn answer_received(&mut self, from: &PeerId, call: &CallId, answer: Description) -> Vec<Action> {
        if !self.state.is(call, from) {
            return Vec::new();
        }
        match std::mem::replace(self.state, State::Idle) {
            State::Dialing { call, peer, media, candidates, path, yielding, .. } => {
                let mut actions = refuse(&peer, yielding);
                actions.extend(self.answered(call, peer, media, candidates, path, answer));
                actions
            }
            State::Ringing { call, peer, media, candidates, path, .. } => {
                self.answered(call, peer, media, candidates, path, answer)
            }
            // A second answer, or an answer to someone who is not the caller.
            other @ (State::Idle
            | State::Offering { .. }
            | State::Incoming { .. }
            | State::Answering { .. }
            | State::Connecting { .. }
            | State::Active { .. }) => {
                *self.state = other;
                Vec::new()
            }
        }
    }

    /// The callee accepts. Where it had an answer before, that is known, and this one brings candidates alone.
    fn answered(
        &mut self,
        call: CallId,
        peer: PeerId,
        media: MediaSides,
        candidates: Vec<Candidate>,
        path: Option<EarlyPath>,
        answer: Description,
    ) -> Vec<Action> {
        let mut actions = vec![Action::Notify(Notice::Accepted { call: call.clone(), peer: peer.clone() })];
        match path {
            None => actions.push(Action::ApplyAnswer { call: call.clone(), answer }),
            Some(_) => actions.extend(add(call.clone(), answer.candidates)),
        }
        actions.extend(add(call.clone(), candidates));
        actions.extend(self.connect(call, peer, media, Role::Caller, path));
        actions
    }

    pub(super) fn candidates_received(
        &mut self,
        from: PeerId,
        call: CallId,
        generation: u32,
        more: Vec<Candidate>,
    ) -> Vec<Action> {
        if !self.state.is(&call, &from) {
            // Those of an ICE restart belong to a call that stands, so not to one that is to come.
            if generation == 0 && !self.early.has_ended(&from, &call) {
                self.early.keep_candidates(from, call, more);
            }
            return Vec::new();
        }
        match &mut *self.state {
            State::Active { talk, .. } => talk.take_candidates(call, generation, more),
            // The other side stands already, and looks for a new path.
            State::Dialing { .. } | State::Ringing { .. } | State::Answering { .. } | State::Connecting { .. }
                if generation > 0 =>
            {
                self.early.keep_message(from, call, Message::Candidates { generation, candidates: more });
                Vec::new()
            }
            State::Connecting { .. }
            | State::Dialing { path: Some(_), .. }
            | State::Ringing { path: Some(_), .. }
            | State::Incoming { answer: Some(ReadyAnswer { path: Some(_), .. }), .. } => {
                vec![Action::AddCandidates { call, candidates: more }]
            }
            State::Dialing { candidates, .. }
            | State::Ringing { candidates, .. }
            | State::Answering { candidates, .. } => {
                append(candidates, more);
                Vec::new()
            }
            State::Incoming { offer, .. } => {
                append(&mut offer.candidates, more);
                Vec::new()
            }
            // Our offer is not out, so nobody can have candidates for it.
            State::Idle | State::Offering { .. } => Vec::new(),
        }
    }

    pub(super) fn description_ready(&mut self, call: &CallId, description: Description) -> Vec<Action> {
        if !self.state.is_call(call) {
            return Vec::new();
        }
        match std::mem::replace(self.state, State::Idle) {
            State::Offering { call, peer, media, yielding, .. } => {
                *self.state = State::Dialing {
                    call: call.clone(),
                    peer: peer.clone(),
                    media,
                    candidates: Vec::new(),
                    callee: Callee::Silent,
                    path: None,
                    yielding,
                    give_up_at: self.now + self.timeouts.unreachable,
                };
                vec![Action::Send { to: peer, call, message: Message::Offer(description) }]
            }
            State::Answering { call, peer, media, candidates, .. } => {
                let answer = Message::Answer(description);
                let mut actions = vec![Action::Send { to: peer.clone(), call: call.clone(), message: answer }];
                actions.extend(add(call.clone(), candidates));
                actions.extend(self.connect(call, peer, media, Role::Callee, None));
                actions
            }
            // None was asked for.
            other @ (State::Idle
            | State::Dialing { .. }
            | State::Ringing { .. }
            | State::Incoming { .. }
            | State::Connecting { .. }
            | State::Active { .. }) => {
                *self.state = other;
                Vec::new()
            }
        }
    }

    pub(super) fn gathered(&mut self, call: &CallId, candidates: Vec<Candidate>) -> Vec<Action> {
        if !self.state.is_call(call) {
            return Vec::new();
        }
        let (peer, generation) = match &mut *self.state {
            State::Dialing { peer, .. } | State::Ringing { peer, .. } | State::Connecting { peer, .. } => (peer, 0),
            State::Active { peer, talk, .. } => (peer, talk.generation),
            State::Incoming { peer, answer: Some(ReadyAnswer { path: Some(_), .. }), .. } => (peer, 0),
            // They go with the answer.
            State::Incoming { answer: Some(ReadyAnswer { description, path: None }), .. } => {
                append(&mut description.candidates, candidates);
                return Vec::new();
            }
            // Before the description is out its maker holds the candidates back and puts them in.
            State::Idle | State::Offering { .. } | State::Incoming { .. } | State::Answering { .. } => {
                return Vec::new();
            }
        };
        let message = Message::Candidates { generation, candidates };
        vec![Action::Send { to: peer.clone(), call: call.clone(), message }]
    }
}

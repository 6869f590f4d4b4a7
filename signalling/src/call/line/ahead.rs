//! A path before the call is accepted: the callee's answer is made while it rings, and a caller that may know our addresses
//! is told of it. Nothing is accepted by that, and no media are opened.

use super::super::{Action, Confidence, EarlyPath, MediaSides, Notice, ReadyAnswer, Role, State};
use super::Step;
use crate::id::{CallId, PeerId};
use crate::wire::{Candidate, Description, Message};

impl Step<'_> {
    /// Our answer is made while it rings; where it was asked for meanwhile, it goes out.
    pub(super) fn answer_prepared(
        &mut self,
        call: &CallId,
        description: Description,
        confidence: Confidence,
    ) -> Vec<Action> {
        match &mut *self.state {
            State::Incoming { call: current, peer, offer, answer: answer @ None, .. } if current == call => {
                let (call, to) = (call.clone(), peer.clone());
                match confidence {
                    Confidence::Stranger => {
                        *answer = Some(ReadyAnswer { description, path: None });
                        Vec::new()
                    }
                    Confidence::Known => {
                        let message = Message::EarlyAnswer(description.clone());
                        *answer = Some(ReadyAnswer { description, path: Some(EarlyPath::Checking) });
                        let candidates = std::mem::take(&mut offer.candidates);
                        let mut actions = vec![Action::Send { to, call: call.clone(), message }];
                        actions.extend(add(call, candidates));
                        actions
                    }
                }
            }
            State::Answering { .. } => self.description_ready(call, description),
            // It came too late, or is there already.
            State::Idle
            | State::Offering { .. }
            | State::Dialing { .. }
            | State::Ringing { .. }
            | State::Incoming { .. }
            | State::Connecting { .. }
            | State::Active { .. } => Vec::new(),
        }
    }

    /// What was prepared is of no use any more. What the caller was told of stays: its path is replaced when it stands.
    pub(super) fn answer_outdated(&mut self) -> Vec<Action> {
        match &mut *self.state {
            State::Incoming { answer, .. } => {
                answer.take_if(|answer| answer.path.is_none());
                if let Some(ReadyAnswer { path: Some(path), .. }) = answer {
                    *path = EarlyPath::Lost;
                }
            }
            // A caller's path is renewed when the call stands, as any other.
            State::Idle
            | State::Offering { .. }
            | State::Dialing { .. }
            | State::Ringing { .. }
            | State::Answering { .. }
            | State::Connecting { .. }
            | State::Active { .. } => {}
        }
        Vec::new()
    }

    /// Our user accepts, and the answer is there.
    pub(super) fn accept_prepared(
        &mut self,
        call: CallId,
        peer: PeerId,
        media: MediaSides,
        candidates: Vec<Candidate>,
        ReadyAnswer { description, path }: ReadyAnswer,
    ) -> Vec<Action> {
        let mut actions = vec![
            Action::Notify(Notice::Accepted { call: call.clone(), peer: peer.clone() }),
            Action::Send { to: peer.clone(), call: call.clone(), message: Message::Answer(description) },
        ];
        actions.extend(add(call.clone(), candidates));
        actions.extend(self.connect(call, peer, media, Role::Callee, path));
        actions
    }

    /// The callee has an answer before it accepts.
    pub(super) fn early_answer_received(&mut self, from: &PeerId, call: &CallId, answer: Description) -> Vec<Action> {
        if !self.state.is(call, from) {
            return Vec::new();
        }
        match &mut *self.state {
            State::Dialing { candidates, path: path @ None, .. }
            | State::Ringing { candidates, path: path @ None, .. } => {
                *path = Some(EarlyPath::Checking);
                let candidates = std::mem::take(candidates);
                let mut actions = vec![Action::ApplyEarlyAnswer { call: call.clone(), answer }];
                actions.extend(add(call.clone(), candidates));
                actions
            }
            // Another one; or the answer overtook it, or it is for someone who is not the caller.
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

    /// The path of a call that is accepted; it may be up already, or lost again.
    pub(super) fn connect(
        &mut self,
        call: CallId,
        peer: PeerId,
        media: MediaSides,
        role: Role,
        path: Option<EarlyPath>,
    ) -> Vec<Action> {
        let give_up_at = self.now + self.timeouts.connect;
        *self.state = State::Connecting { call, peer, media, role, give_up_at };
        match path {
            None | Some(EarlyPath::Checking) => Vec::new(),
            Some(EarlyPath::Up) => self.stand(),
            Some(EarlyPath::Lost) => {
                let mut actions = self.stand();
                actions.extend(self.path_is_gone());
                actions
            }
        }
    }

    /// The path of a call that is not accepted yet, if there is to be one.
    pub(super) const fn early_path(&mut self) -> Option<&mut EarlyPath> {
        match &mut *self.state {
            State::Dialing { path, .. } | State::Ringing { path, .. } => path.as_mut(),
            State::Incoming { answer: Some(ReadyAnswer { path, .. }), .. } => path.as_mut(),
            State::Idle
            | State::Offering { .. }
            | State::Incoming { answer: None, .. }
            | State::Answering { .. }
            | State::Connecting { .. }
            | State::Active { .. } => None,
        }
    }
}

/// Gives candidates of the other side to the peer connection, if there are any.
pub(super) fn add(call: CallId, candidates: Vec<Candidate>) -> Option<Action> {
    (!candidates.is_empty()).then_some(Action::AddCandidates { call, candidates })
}

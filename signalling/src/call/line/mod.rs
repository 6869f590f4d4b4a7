//! The transitions of one line between its [`State`]s.
//!
//! - here: from event to transition, time-outs, ends
//! - [`ahead`]: a path before the call is accepted
//! - [`nonce`]: what the words of a sealed call need
//! - [`setup`]: from the first ring to the exchanged descriptions
//! - [`talk`]: the standing call: its path, hold, switches
//! - [`update`]: other media or another path in mid-call
//!
//! Every pair of state and event is decided: a `match` on the state has no `_` arm, and what does nothing says why.

mod ahead;
mod nonce;
mod setup;
mod talk;
mod update;

use std::time::Instant;

use super::early::Early;
use super::{Action, Callee, EndReason, Event, MediaChange, Notice, Path, State, Talk, Timeouts, Updates};
use crate::id::{CallId, PeerId};
use crate::wire::{ByeReason, Message, MessageKind};
pub(super) use talk::SAID_AGAIN;

/// One line at one moment: its state, and what its transitions need beside it.
pub(super) struct Step<'a> {
    pub(super) me: &'a PeerId,
    pub(super) timeouts: &'a Timeouts,
    pub(super) updates: Updates,
    pub(super) early: &'a mut Early,
    pub(super) state: &'a mut State,
    pub(super) now: Instant,
}

impl Step<'_> {
    /// Takes in what happened to this line; gives back what is to be done, in order.
    pub(super) fn handle(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Dial { peer, call } => self.dial(peer, call),
            Event::Accept => self.accept(),
            Event::Decline { text } => self.decline(text),
            Event::HangUp | Event::End { .. } => self.hang_up(),
            Event::Hold => self.hold(),
            Event::Resume => self.resume(),
            // Which line is talked on is no matter of one line.
            Event::Swap => Vec::new(),
            Event::Switch { audio, video, .. } => self.switch(audio, video),
            Event::Pause { on, .. } => self.pause(on),
            Event::Renew { renewal, .. } => self.renew_wanted(renewal),
            Event::Received { from, call, message } => self.received(from, call, message),
            Event::Delivered { call, message } => self.delivered(&call, message),
            Event::Expired { call, message } => self.expired(&call, message),
            Event::PeerOffline { peer } => self.peer_offline(&peer),
            Event::DescriptionReady { call, description } => self.description_ready(&call, description),
            Event::AnswerPrepared { call, description, confidence } => {
                self.answer_prepared(&call, description, confidence)
            }
            Event::AnswerOutdated { .. } => self.answer_outdated(),
            Event::UpdateReady { revision, description, renewed, .. } => {
                self.update_ready(revision, description, renewed)
            }
            Event::UpdateApplied { revision, .. } => self.update_applied(revision),
            Event::UpdateFailed { revision, why, .. } => self.update_failed(revision, why),
            Event::CommitmentBroken { .. } => self.commitment_broken(),
            Event::CandidatesGathered { call, candidates } => self.gathered(&call, candidates),
            Event::Media { call, change } => self.media(&call, change),
        }
    }

    /// Acts on time having passed.
    pub(super) fn handle_timeout(&mut self) -> Vec<Action> {
        if self.state.poll_timeout().is_none_or(|at| at > self.now) {
            return Vec::new();
        }
        match self.state {
            State::Idle => Vec::new(),
            State::Offering { .. } => self.end(EndReason::LocalFailure),
            State::Dialing { callee: Callee::Silent, .. } => self.end(EndReason::Offline),
            State::Dialing { callee: Callee::Reached, .. } | State::Ringing { .. } | State::Incoming { .. } => {
                self.end(EndReason::NoAnswer)
            }
            State::Answering { .. } | State::Connecting { .. } => self.end(EndReason::NoPath),
            State::Active { talk: Talk { path: Path::Interrupted { give_up_at, .. }, .. }, .. }
                if *give_up_at <= self.now =>
            {
                self.end(EndReason::Lost)
            }
            State::Active { .. } => self.talk_timeout(),
        }
    }

    fn decline(&mut self, text: Option<String>) -> Vec<Action> {
        match &*self.state {
            State::Incoming { call, peer, .. } => {
                let message = Message::Bye { reason: ByeReason::Decline, text };
                let mut actions = vec![Action::Send { to: peer.clone(), call: call.clone(), message }];
                actions.extend(self.leave(EndReason::LocalDecline, None));
                actions
            }
            // Nothing rings here.
            State::Idle
            | State::Offering { .. }
            | State::Dialing { .. }
            | State::Ringing { .. }
            | State::Answering { .. }
            | State::Connecting { .. }
            | State::Active { .. } => Vec::new(),
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

    fn received(&mut self, from: PeerId, call: CallId, message: Message) -> Vec<Action> {
        match message {
            Message::Offer(offer) => self.offer_received(from, call, offer),
            Message::Ringing => self.ringing_received(&from, &call),
            Message::EarlyAnswer(answer) => self.early_answer_received(&from, &call, answer),
            Message::Answer(answer) => self.answer_received(&from, &call, answer),
            Message::Candidates { generation, candidates } => {
                self.candidates_received(from, call, generation, candidates)
            }
            Message::Bye { reason, text } => self.bye_received(&from, call, reason, text),
            message @ (Message::Media(_)
            | Message::Update(_)
            | Message::Updated(_)
            | Message::Refused { .. }
            | Message::Renew { .. }) => self.talk_received(from, call, message),
            Message::Nonce { nonce } => self.nonce_received(&from, &call, nonce),
        }
    }

    fn bye_received(&mut self, from: &PeerId, call: CallId, reason: ByeReason, text: Option<String>) -> Vec<Action> {
        if !self.state.is(&call, from) {
            if let State::Offering { peer, yielding, .. } | State::Dialing { peer, yielding, .. } = self.state
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
        let reason = match reason {
            ByeReason::Busy if ours => EndReason::Busy,
            // Of a call that is answered: our nonce does not fit our commitment.
            ByeReason::Identity if ours || !unanswered => EndReason::Identity,
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
            | ByeReason::Identity
            | ByeReason::Other => {
                if unanswered && !ours {
                    EndReason::RemoteCancel
                } else {
                    EndReason::RemoteHangup
                }
            }
        };
        self.leave(reason, text)
    }

    fn delivered(&mut self, call: &CallId, message: MessageKind) -> Vec<Action> {
        match &mut *self.state {
            // The callee's program has the offer; its "ringing" may still be under way, so it is not offline.
            State::Dialing { call: current, callee, give_up_at, .. }
                if current == call && message == MessageKind::Offer =>
            {
                *callee = Callee::Reached;
                *give_up_at = self.now + self.timeouts.answer;
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

    fn expired(&mut self, call: &CallId, message: MessageKind) -> Vec<Action> {
        match self.state {
            State::Dialing { .. } | State::Ringing { .. }
                if self.state.is_call(call) && message == MessageKind::Offer =>
            {
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

    fn peer_offline(&mut self, offline: &PeerId) -> Vec<Action> {
        match &*self.state {
            State::Offering { peer, .. } | State::Dialing { peer, .. } if peer == offline => {
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
        }
    }

    fn media(&mut self, id: &CallId, change: MediaChange) -> Vec<Action> {
        if !self.state.is_call(id) {
            return Vec::new();
        }
        if change != MediaChange::Unavailable
            && let Some(path) = self.early_path()
        {
            path.change(change);
            return Vec::new();
        }
        match (&*self.state, change) {
            (State::Idle, _) => Vec::new(),
            (_, MediaChange::Unavailable) => self.end(EndReason::LocalFailure),
            // Nothing is to come before our user accepts.
            (State::Incoming { answer: Some(_), .. }, _) => Vec::new(),
            (State::Answering { .. } | State::Connecting { .. }, MediaChange::Connected) => self.stand(),
            (State::Active { .. }, MediaChange::Connected) => self.path_is_back(),
            (State::Active { .. }, MediaChange::Interrupted) => self.path_is_gone(),
            (State::Active { .. }, MediaChange::Failed) => match self.updates {
                // A new path is looked for until time is up.
                Updates::Understood => self.path_is_gone(),
                Updates::Unknown => self.end(EndReason::Lost),
            },
            (
                State::Offering { .. }
                | State::Dialing { .. }
                | State::Ringing { .. }
                | State::Incoming { .. }
                | State::Answering { .. }
                | State::Connecting { .. },
                MediaChange::Failed,
            ) => self.end(EndReason::NoPath),
            // Not yet of any meaning.
            (
                State::Offering { .. } | State::Dialing { .. } | State::Ringing { .. } | State::Incoming { .. },
                MediaChange::Connected | MediaChange::Interrupted,
            )
            | (State::Answering { .. } | State::Connecting { .. }, MediaChange::Interrupted) => Vec::new(),
        }
    }

    /// Ends the call from this side: tells the other one, unless no offer is out yet, and the user.
    fn end(&mut self, reason: EndReason) -> Vec<Action> {
        let mut actions = Vec::new();
        if !matches!(self.state, State::Offering { .. })
            && let Some((call, peer)) = self.state.call()
            && let Some(reason) = reason.bye()
        {
            actions.push(Action::Send { to: peer.clone(), call: call.clone(), message: Message::bye(reason) });
        }
        actions.extend(self.leave(reason, None));
        actions
    }

    /// Ends a call whose partner calls anew and knows nothing of it any more.
    pub(super) fn give_way(&mut self) -> Vec<Action> {
        match self.state {
            State::Incoming { .. } => self.end(EndReason::NoAnswer),
            // Its media never came up.
            State::Answering { .. } | State::Connecting { .. } => self.end(EndReason::NoPath),
            State::Idle
            | State::Offering { .. }
            | State::Dialing { .. }
            | State::Ringing { .. }
            | State::Active { .. } => self.end(EndReason::Lost),
        }
    }

    /// Leaves a call that the other side ended, or was told of: the user hears why.
    fn leave(&mut self, reason: EndReason, text: Option<String>) -> Vec<Action> {
        let state = std::mem::replace(self.state, State::Idle);
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
        let ended = Notice::Ended { call: call.clone(), peer, reason, text };
        actions.extend([Action::CloseMedia { call }, Action::Notify(ended)]);
        actions
    }
}

/// Says busy to a call that was to yield to ours. Mostly it did, and then nobody minds; but ours may not have reached
/// its caller, or be over there already, and then they wait.
fn refuse(peer: &PeerId, yielding: Option<CallId>) -> Vec<Action> {
    yielding.map(|call| busy(peer.clone(), call)).into_iter().collect()
}

/// Says busy to a caller.
pub(super) fn busy(to: PeerId, call: CallId) -> Action {
    Action::Send { to, call, message: Message::bye(ByeReason::Busy) }
}

//! Updates of a standing call: other media, another path.
//!
//! The caller of the call makes every new offer, so that no two can meet; a callee that needs one asks for it. An update
//! under way is [`Update`]; what comes too early for it waits in [`Talk::ahead`].
//!
//! What a peer says of an update counts once the peer connection has taken it: until then the call is as it was, and an
//! offer that cannot be taken changes nothing, not even which revision is next.

use std::time::Instant;

use super::super::early::{CANDIDATES_A_CALL_MAX, append};
use super::super::{ANOTHER_ANSWER, Action, Notice, Renewal, Role, State, Talk, UPDATE_MAX, Update, Updates};
use super::Step;
use super::talk::is_later;
use crate::id::CallId;
use crate::wire::{Candidate, Description, Message, Revised};

impl Step<'_> {
    /// Our own side needs an update.
    pub(super) fn renew_wanted(&mut self, renewal: Renewal) -> Vec<Action> {
        // Before the call stands, its descriptions are still being made.
        if matches!(self.state, State::Active { .. }) { self.renew(renewal) } else { Vec::new() }
    }

    /// Begins an update as the caller, asks for one as the callee. Until a new path is offered the old one may carry.
    pub(super) fn renew(&mut self, wanted: Renewal) -> Vec<Action> {
        match self.updates {
            Updates::Understood => self.begin_update(wanted).into_iter().collect(),
            Updates::Unknown => Vec::new(),
        }
    }

    fn begin_update(&mut self, wanted: Renewal) -> Option<Action> {
        let give_up_at = self.now + UPDATE_MAX;
        let State::Active { call, peer, talk, .. } = &mut *self.state else { return None };
        match (&mut talk.update, talk.role) {
            (Update::Making { again, .. } | Update::Offered { again, .. } | Update::Answering { again, .. }, _) => {
                *again = (*again).max(Some(wanted));
                None
            }
            (Update::None | Update::Asked { .. }, Role::Caller) => {
                talk.revision = talk.revision.saturating_add(1);
                talk.update = Update::Making { renewal: wanted, again: None, give_up_at };
                Some(Action::MakeUpdate { call: call.clone(), revision: talk.revision, renewal: wanted })
            }
            // What was asked for already includes it: our answer will say what we send by then.
            (Update::Asked { renewal, .. }, Role::Callee) if *renewal >= wanted => None,
            (Update::None | Update::Asked { .. }, Role::Callee) => {
                talk.update = Update::Asked { renewal: wanted, give_up_at };
                let generation = (wanted == Renewal::Restart).then_some(talk.generation);
                let message = Message::Renew { generation };
                Some(Action::Send { to: peer.clone(), call: call.clone(), message })
            }
        }
    }

    pub(super) fn renew_received(&mut self, generation: Option<u32>) -> Vec<Action> {
        let State::Active { talk, .. } = &*self.state else { return Vec::new() };
        match (talk.role, generation) {
            // A callee makes no offers.
            (Role::Callee, _) => Vec::new(),
            // The path that it complains of is history, or being replaced.
            (Role::Caller, Some(generation)) if generation < talk.generation => Vec::new(),
            (Role::Caller, Some(_)) => self.renew(Renewal::Restart),
            (Role::Caller, None) => self.renew(Renewal::Media),
        }
    }

    /// The caller's offer, unless it is one that a later one overtook.
    pub(super) fn update_received(&mut self, offer: Revised) -> Vec<Action> {
        let State::Active { talk, .. } = &mut *self.state else { return Vec::new() };
        // Only the caller makes offers.
        if talk.role == Role::Caller || !is_later(offer.revision, talk.revision) {
            return Vec::new();
        }
        match &mut talk.update {
            // One after the other: the peer connection reads one description at a time.
            Update::Answering { revision, next, .. } => {
                let replaces = match next {
                    Some(next) => is_later(offer.revision, next.revision),
                    None => offer.revision != *revision,
                };
                if replaces {
                    *next = Some(Box::new(offer));
                }
                Vec::new()
            }
            Update::None | Update::Asked { .. } | Update::Making { .. } | Update::Offered { .. } => {
                self.answer_update(offer, None).into_iter().collect()
            }
        }
    }

    fn answer_update(&mut self, offer: Revised, again: Option<Renewal>) -> Option<Action> {
        let give_up_at = self.now + UPDATE_MAX;
        let State::Active { call, talk, .. } = &mut *self.state else { return None };
        let Revised { revision, generation, mut description } = offer;
        talk.update = Update::Answering { revision, generation, next: None, again, give_up_at };
        append(&mut description.candidates, talk.take_ahead(generation));
        Some(Action::AnswerUpdate { call: call.clone(), revision, offer: description })
    }

    /// The callee's answer: it counts once the peer connection has taken it.
    pub(super) fn updated_received(&mut self, answer: Revised) -> Vec<Action> {
        let State::Active { call, talk, .. } = &*self.state else { return Vec::new() };
        match talk.step_of(answer.revision) {
            UpdateStep::Offered { .. } => {
                let Revised { revision, description: answer, .. } = answer;
                vec![Action::ApplyUpdate { call: call.clone(), revision, answer }]
            }
            // There is no offer of ours to answer.
            UpdateStep::Making { .. } | UpdateStep::Answering { .. } | UpdateStep::None => Vec::new(),
        }
    }

    /// The peer connection took the answer to our offer.
    pub(super) fn update_applied(&mut self, revision: u32) -> Vec<Action> {
        let State::Active { call, talk, .. } = &mut *self.state else { return Vec::new() };
        let again = match talk.step_of(revision) {
            UpdateStep::Offered { again } => again,
            // An answer is applied to an offer that is out.
            UpdateStep::Making { .. } | UpdateStep::Answering { .. } | UpdateStep::None => return Vec::new(),
        };
        talk.update = Update::None;
        let mut actions = talk.add_ahead(call);
        actions.extend(again.map(|renewal| self.renew(renewal)).unwrap_or_default());
        actions
    }

    /// The callee cannot take our offer.
    pub(super) fn update_refused(&mut self, revision: u32, text: Option<String>) -> Vec<Action> {
        let State::Active { call, talk, .. } = &*self.state else { return Vec::new() };
        match talk.step_of(revision) {
            UpdateStep::Offered { .. } => {
                let mut actions = vec![Action::Notify(Notice::UpdateRefused { call: call.clone(), text })];
                actions.extend(self.give_update_up());
                actions
            }
            // There is no offer of ours to refuse.
            UpdateStep::Making { .. } | UpdateStep::Answering { .. } | UpdateStep::None => Vec::new(),
        }
    }

    /// The description that was asked for is made, and with it the peer connection took what it answers.
    pub(super) fn update_ready(&mut self, made: u32, description: Description, renewed: Renewal) -> Vec<Action> {
        let State::Active { call, peer, talk, .. } = &mut *self.state else { return Vec::new() };
        let (to, call) = (peer.clone(), call.clone());
        match talk.step_of(made) {
            UpdateStep::Making { again, give_up_at } => {
                if renewed == Renewal::Restart {
                    talk.begin_generation(talk.generation.saturating_add(1));
                }
                talk.update = Update::Offered { renewal: renewed, again, give_up_at };
                let offer = Revised { revision: made, generation: talk.generation, description };
                let mut actions = vec![Action::Send { to, call, message: Message::Update(offer) }];
                actions.extend(self.old_path_is_left(renewed));
                actions
            }
            UpdateStep::Answering { generation } => {
                talk.revision = made;
                talk.begin_generation(generation);
                let answer = Revised { revision: made, generation, description };
                let mut actions = vec![Action::Send { to, call, message: Message::Updated(answer) }];
                actions.extend(self.old_path_is_left(renewed));
                actions.extend(self.answer_is_done());
                actions
            }
            // It is made already, or was given up meanwhile.
            UpdateStep::Offered { .. } | UpdateStep::None => Vec::new(),
        }
    }

    /// With a description that renews the path the old one is gone.
    fn old_path_is_left(&mut self, renewed: Renewal) -> Vec<Action> {
        match renewed {
            Renewal::Restart => self.path_is_left(),
            Renewal::Media => Vec::new(),
        }
    }

    /// An offer or answer of ours cannot be made, or theirs cannot be taken.
    pub(super) fn update_failed(&mut self, failed: u32, why: String) -> Vec<Action> {
        let now = self.now;
        let State::Active { call, peer, talk, .. } = &mut *self.state else { return Vec::new() };
        match talk.step_of(failed) {
            UpdateStep::Making { .. } => self.give_update_up(),
            UpdateStep::Offered { .. } => {
                // Someone else may have made it in the callee's name: the true one is waited for, not for long.
                talk.update.give_up_by(now + ANOTHER_ANSWER);
                Vec::new()
            }
            UpdateStep::Answering { .. } => {
                let message = Message::refused(failed, why);
                let mut actions = vec![Action::Send { to: peer.clone(), call: call.clone(), message }];
                actions.extend(self.answer_is_done());
                actions
            }
            UpdateStep::None => Vec::new(),
        }
    }

    /// The update under way comes to nothing; what waited for it has its turn.
    pub(super) fn give_update_up(&mut self) -> Vec<Action> {
        let State::Active { call, talk, .. } = &mut *self.state else { return Vec::new() };
        match &mut talk.update {
            Update::Making { again, .. } | Update::Offered { again, .. } => {
                let again = again.take();
                talk.update = Update::None;
                // Where the path is as it was, its candidates are still of use.
                let mut actions = talk.add_ahead(call);
                actions.extend(again.map(|renewal| self.renew(renewal)).unwrap_or_default());
                actions
            }
            Update::Answering { .. } => self.answer_is_done(),
            Update::Asked { .. } | Update::None => {
                talk.update = Update::None;
                Vec::new()
            }
        }
    }

    /// The callee is done with an offer, one way or the other: what came meanwhile has its turn.
    fn answer_is_done(&mut self) -> Vec<Action> {
        let State::Active { call, talk, .. } = &mut *self.state else { return Vec::new() };
        let (next, again) = match std::mem::replace(&mut talk.update, Update::None) {
            Update::Answering { next, again, .. } => (next, again),
            Update::None | Update::Making { .. } | Update::Offered { .. } | Update::Asked { .. } => (None, None),
        };
        let mut actions = talk.add_ahead(call);
        match next.filter(|next| is_later(next.revision, talk.revision)) {
            Some(next) => actions.extend(self.answer_update(*next, again)),
            None => actions.extend(again.map(|renewal| self.renew(renewal)).unwrap_or_default()),
        }
        actions
    }
}

/// Where the update stands that a revision names.
enum UpdateStep {
    /// Our offer is being made.
    Making { again: Option<Renewal>, give_up_at: Instant },
    /// Our offer is out.
    Offered { again: Option<Renewal> },
    /// Our answer is being made.
    Answering { generation: u32 },
    /// Nowhere: it was given up or is history, or someone else speaks of it in a peer's name.
    None,
}

impl Talk {
    /// Where the update of this revision stands.
    const fn step_of(&self, named: u32) -> UpdateStep {
        match self.update {
            Update::Making { again, give_up_at, .. } if named == self.revision => {
                UpdateStep::Making { again, give_up_at }
            }
            Update::Offered { again, .. } if named == self.revision => UpdateStep::Offered { again },
            Update::Answering { revision, generation, .. } if named == revision => UpdateStep::Answering { generation },
            Update::None
            | Update::Making { .. }
            | Update::Offered { .. }
            | Update::Asked { .. }
            | Update::Answering { .. } => UpdateStep::None,
        }
    }

    /// Candidates of the other side: for the path that is, or for one whose description has not come.
    pub(super) fn take_candidates(&mut self, call: CallId, generation: u32, more: Vec<Candidate>) -> Vec<Action> {
        let description_is_due = match self.update {
            Update::Making { renewal, .. } | Update::Offered { renewal, .. } => renewal == Renewal::Restart,
            Update::Answering { .. } => true,
            Update::None | Update::Asked { .. } => false,
        };
        if generation < self.generation {
            // Of a path that is history.
            return Vec::new();
        }
        if generation > self.generation || description_is_due {
            self.ahead.extend(more.into_iter().map(|candidate| (generation, candidate)));
            // Of too many those of the next description stay: whatever is said of a far one cannot displace them.
            self.ahead.sort_by_key(|(generation, _)| *generation);
            self.ahead.truncate(CANDIDATES_A_CALL_MAX);
            return Vec::new();
        }
        vec![Action::AddCandidates { call, candidates: more }]
    }

    /// A path of this generation is looked for from now on; candidates of older ones are history.
    fn begin_generation(&mut self, generation: u32) {
        self.generation = generation;
        self.ahead.retain(|(of, _)| *of >= generation);
    }

    /// Hands out what waited for the description of a generation.
    fn take_ahead(&mut self, generation: u32) -> Vec<Candidate> {
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ahead).into_iter().partition(|(of, _)| *of == generation);
        self.ahead = later;
        now.into_iter().map(|(_, candidate)| candidate).collect()
    }

    fn add_ahead(&mut self, call: &CallId) -> Vec<Action> {
        let candidates = self.take_ahead(self.generation);
        if candidates.is_empty() {
            return Vec::new();
        }
        vec![Action::AddCandidates { call: call.clone(), candidates }]
    }
}

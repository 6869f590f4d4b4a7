//! The standing call: its path, hold, switches, updates.
//!
//! The caller of the call makes every new offer, so that no two can meet; a callee that needs one asks for it. An update
//! under way is [`Update`]; what comes too early for it waits in [`Talk::ahead`].

use super::super::early::{CANDIDATES_A_CALL_MAX, append};
use super::super::{
    Action, Notice, Path, RESTART_EVERY, Renewal, Role, Side, State, Talk, UPDATE_MAX, Update, Updates,
};
use super::Step;
use crate::id::{CallId, PeerId};
use crate::wire::{Candidate, Description, MediaState, Message, Revised};

impl Step<'_> {
    /// The media path is up for the first time. What came before, for a call that stands, has its turn now.
    pub(super) fn stand(&mut self) -> Vec<Action> {
        let (call, peer, role) = match &*self.state {
            State::Answering { call, peer, .. } => (call.clone(), peer.clone(), Role::Callee),
            State::Connecting { call, peer, role, .. } => (call.clone(), peer.clone(), *role),
            State::Idle
            | State::Offering { .. }
            | State::Dialing { .. }
            | State::Ringing { .. }
            | State::Incoming { .. }
            | State::Active { .. } => return Vec::new(),
        };
        *self.state = State::Active { call: call.clone(), peer: peer.clone(), talk: Talk::new(role) };
        let mut actions = vec![Action::Notify(Notice::Connected { call: call.clone(), peer: peer.clone() })];
        for message in self.early.take_messages(&peer, &call) {
            actions.extend(self.received(peer.clone(), call.clone(), message));
        }
        actions
    }

    /// A message of a standing call; one that comes before it stands waits for that.
    pub(super) fn talk_received(&mut self, from: PeerId, call: CallId, message: Message) -> Vec<Action> {
        if !self.state.is(&call, &from) {
            return Vec::new();
        }
        match &*self.state {
            State::Active { .. } => match message {
                Message::Media(there) => self.media_told(there),
                Message::Update(offer) => self.update_received(offer),
                Message::Updated(answer) => self.updated_received(answer),
                Message::Renew { generation } => self.renew_received(generation),
                Message::Offer(_)
                | Message::Ringing
                | Message::Answer(_)
                | Message::Candidates { .. }
                | Message::Bye { .. } => Vec::new(),
            },
            State::Dialing { .. } | State::Ringing { .. } | State::Answering { .. } | State::Connecting { .. } => {
                self.early.keep_message(from, call, message);
                Vec::new()
            }
            // No call stands at the other side either.
            State::Idle | State::Offering { .. } | State::Incoming { .. } => Vec::new(),
        }
    }

    /// Our user leaves the call for a while.
    pub(super) fn hold(&mut self) -> Vec<Action> {
        self.set_hold(Hold::On)
    }

    /// Our user is back.
    pub(super) fn resume(&mut self) -> Vec<Action> {
        self.set_hold(Hold::Off)
    }

    fn set_hold(&mut self, hold: Hold) -> Vec<Action> {
        // Only a call that stands can wait; anything before is ended or answered instead.
        let State::Active { call, peer, talk } = &mut *self.state else { return Vec::new() };
        let on = hold == Hold::On;
        if talk.here.hold == on {
            return Vec::new();
        }
        let here = MediaState { hold: on, ..talk.here };
        let call = call.clone();
        let media = match hold {
            Hold::On => Action::HoldMedia { call: call.clone() },
            Hold::Off => Action::ResumeMedia { call: call.clone() },
        };
        vec![talk.tell(peer, &call, here), media, Action::Notify(Notice::Held { call, side: Side::Local, on })]
    }

    /// Our user switched microphone or camera. Before the call stands the other side sees for itself.
    pub(super) fn switch(&mut self, audio: bool, video: bool) -> Vec<Action> {
        let State::Active { call, peer, talk } = &mut *self.state else { return Vec::new() };
        if (talk.here.audio, talk.here.video) == (audio, video) {
            return Vec::new();
        }
        let here = MediaState { audio, video, ..talk.here };
        let call = call.clone();
        vec![talk.tell(peer, &call, here)]
    }

    fn media_told(&mut self, there: MediaState) -> Vec<Action> {
        let State::Active { call, talk, .. } = &mut *self.state else { return Vec::new() };
        // A later word overtook this one.
        if there.revision <= talk.there.revision {
            return Vec::new();
        }
        let before = std::mem::replace(&mut talk.there, there);
        let mut actions = Vec::new();
        if before.hold != there.hold {
            let held = Notice::Held { call: call.clone(), side: Side::Remote, on: there.hold };
            actions.push(Action::Notify(held));
        }
        if (before.audio, before.video) != (there.audio, there.video) {
            let switched = Notice::Switched { call: call.clone(), audio: there.audio, video: there.video };
            actions.push(Action::Notify(switched));
        }
        actions
    }

    /// Nothing comes any more: another path is looked for.
    pub(super) fn path_is_gone(&mut self) -> Vec<Action> {
        let mut actions = self.path_is_left();
        if !actions.is_empty() {
            actions.extend(self.restart_unless_under_way());
        }
        actions
    }

    /// From now on the call has no path, because it broke or is being replaced; nothing, when it had none before.
    fn path_is_left(&mut self) -> Vec<Action> {
        let (now, timeouts) = (self.now, self.timeouts);
        let State::Active { call, peer, talk } = &mut *self.state else { return Vec::new() };
        match talk.path {
            Path::Interrupted { .. } => Vec::new(),
            Path::Flowing => {
                talk.path = Path::Interrupted { restart_at: now + RESTART_EVERY, give_up_at: now + timeouts.lost };
                vec![Action::Notify(Notice::Reconnecting { call: call.clone(), peer: peer.clone() })]
            }
        }
    }

    pub(super) fn path_is_back(&mut self) -> Vec<Action> {
        let State::Active { call, peer, talk } = &mut *self.state else { return Vec::new() };
        match std::mem::replace(&mut talk.path, Path::Flowing) {
            Path::Interrupted { .. } => {
                vec![Action::Notify(Notice::Reconnected { call: call.clone(), peer: peer.clone() })]
            }
            Path::Flowing => Vec::new(),
        }
    }

    /// Time alone matters in a standing call: the next try for a path, or an update nobody answered.
    pub(super) fn talk_timeout(&mut self) -> Vec<Action> {
        let now = self.now;
        let State::Active { talk, .. } = &mut *self.state else { return Vec::new() };
        let mut actions = Vec::new();
        if talk.update.give_up_at().is_some_and(|at| at <= now) {
            actions = self.give_update_up();
        }
        let State::Active { talk, .. } = &mut *self.state else { return actions };
        if let Path::Interrupted { restart_at, .. } = &mut talk.path
            && *restart_at <= now
        {
            *restart_at = now + RESTART_EVERY;
            actions.extend(self.restart_unless_under_way());
        }
        actions
    }

    fn restart_unless_under_way(&mut self) -> Vec<Action> {
        let State::Active { talk, .. } = &*self.state else { return Vec::new() };
        if talk.update.restarts() { Vec::new() } else { self.renew(Renewal::Restart) }
    }

    /// Our own side needs an update.
    pub(super) fn renew_wanted(&mut self, renewal: Renewal) -> Vec<Action> {
        // Before the call stands, its descriptions are still being made.
        if matches!(self.state, State::Active { .. }) { self.renew(renewal) } else { Vec::new() }
    }

    /// Begins an update as the caller, asks for one as the callee. Until a new path is offered the old one may carry.
    fn renew(&mut self, wanted: Renewal) -> Vec<Action> {
        match self.updates {
            Updates::Understood => self.begin_update(wanted).into_iter().collect(),
            Updates::Unknown => Vec::new(),
        }
    }

    fn begin_update(&mut self, wanted: Renewal) -> Option<Action> {
        let give_up_at = self.now + UPDATE_MAX;
        let State::Active { call, peer, talk } = &mut *self.state else { return None };
        match (&mut talk.update, talk.role) {
            (Update::Making { again, .. } | Update::Offered { again, .. } | Update::Answering { again, .. }, _) => {
                *again = (*again).max(Some(wanted));
                None
            }
            (Update::None | Update::Asked { .. }, Role::Caller) => {
                talk.revision += 1;
                if wanted == Renewal::Restart {
                    talk.generation += 1;
                }
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

    fn renew_received(&mut self, generation: Option<u32>) -> Vec<Action> {
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

    fn update_received(&mut self, offer: Revised) -> Vec<Action> {
        let give_up_at = self.now + UPDATE_MAX;
        let State::Active { call, talk, .. } = &mut *self.state else { return Vec::new() };
        // Only the caller makes offers; an older one was overtaken by the one we know, and a generation never goes back.
        let Revised { revision, generation, mut description } = offer;
        if talk.role == Role::Caller || revision <= talk.revision || generation < talk.generation {
            return Vec::new();
        }
        let restarts = generation > talk.generation;
        (talk.revision, talk.generation) = (revision, generation);
        talk.update = Update::Answering { again: None, give_up_at };
        append(&mut description.candidates, talk.take_ahead());
        let answer = Action::AnswerUpdate { call: call.clone(), revision, offer: description };
        let mut actions = if restarts { self.path_is_left() } else { Vec::new() };
        actions.push(answer);
        actions
    }

    fn updated_received(&mut self, answer: Revised) -> Vec<Action> {
        let State::Active { call, talk, .. } = &mut *self.state else { return Vec::new() };
        let again = match talk.update {
            Update::Offered { again, .. } if answer.revision == talk.revision => again,
            // An answer to an offer that was given up, or to none.
            Update::None
            | Update::Making { .. }
            | Update::Offered { .. }
            | Update::Asked { .. }
            | Update::Answering { .. } => return Vec::new(),
        };
        talk.update = Update::None;
        let mut actions = vec![Action::ApplyUpdate { call: call.clone(), answer: answer.description }];
        actions.extend(talk.add_ahead(call));
        if let Some(renewal) = again {
            actions.extend(self.renew(renewal));
        }
        actions
    }

    pub(super) fn update_ready(&mut self, revision: u32, description: Description) -> Vec<Action> {
        let State::Active { call, peer, talk } = &mut *self.state else { return Vec::new() };
        if revision != talk.revision {
            return Vec::new();
        }
        let revised = Revised { revision, generation: talk.generation, description };
        let mut renews = Renewal::Media;
        let (message, mut more, again) = match talk.update {
            Update::Making { renewal, again, give_up_at } => {
                talk.update = Update::Offered { renewal, again, give_up_at };
                renews = renewal;
                (Message::Update(revised), Vec::new(), None)
            }
            Update::Answering { again, .. } => {
                talk.update = Update::None;
                (Message::Updated(revised), talk.add_ahead(call), again)
            }
            // It was given up meanwhile.
            Update::None | Update::Offered { .. } | Update::Asked { .. } => return Vec::new(),
        };
        let mut actions = vec![Action::Send { to: peer.clone(), call: call.clone(), message }];
        actions.append(&mut more);
        if renews == Renewal::Restart {
            // With the offer the old path is gone.
            actions.extend(self.path_is_left());
        }
        actions.extend(again.map(|renewal| self.renew(renewal)).unwrap_or_default());
        actions
    }

    pub(super) fn update_failed(&mut self, revision: u32) -> Vec<Action> {
        let State::Active { talk, .. } = &mut *self.state else { return Vec::new() };
        if revision != talk.revision {
            return Vec::new();
        }
        match talk.update {
            Update::Making { .. } | Update::Answering { .. } => self.give_update_up(),
            // It was given up already.
            Update::None | Update::Offered { .. } | Update::Asked { .. } => Vec::new(),
        }
    }

    /// The update under way comes to nothing; what waited for it has its turn.
    fn give_update_up(&mut self) -> Vec<Action> {
        let State::Active { call, talk, .. } = &mut *self.state else { return Vec::new() };
        match std::mem::replace(&mut talk.update, Update::None) {
            Update::Making { again, .. } | Update::Offered { again, .. } => {
                again.map(|renewal| self.renew(renewal)).unwrap_or_default()
            }
            // The path is as it was, and its candidates are still of use.
            Update::Answering { again, .. } => {
                let mut actions = talk.add_ahead(call);
                actions.extend(again.map(|renewal| self.renew(renewal)).unwrap_or_default());
                actions
            }
            Update::Asked { .. } | Update::None => Vec::new(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    On,
    Off,
}

impl Talk {
    /// Says what our side does from now on.
    fn tell(&mut self, peer: &PeerId, call: &CallId, here: MediaState) -> Action {
        self.here = MediaState { revision: self.here.revision + 1, ..here };
        Action::Send { to: peer.clone(), call: call.clone(), message: Message::Media(self.here) }
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
            let room = CANDIDATES_A_CALL_MAX.saturating_sub(self.ahead.len());
            self.ahead.extend(more.into_iter().take(room).map(|candidate| (generation, candidate)));
            return Vec::new();
        }
        vec![Action::AddCandidates { call, candidates: more }]
    }

    /// Hands out what waited for the description of this generation; older ones are history.
    fn take_ahead(&mut self) -> Vec<Candidate> {
        let due = |(generation, _): &(u32, Candidate)| *generation == self.generation;
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ahead).into_iter().filter(|(g, _)| *g >= self.generation).partition(due);
        self.ahead = later;
        now.into_iter().map(|(_, candidate)| candidate).collect()
    }

    fn add_ahead(&mut self, call: &CallId) -> Vec<Action> {
        let candidates = self.take_ahead();
        if candidates.is_empty() {
            return Vec::new();
        }
        vec![Action::AddCandidates { call: call.clone(), candidates }]
    }
}

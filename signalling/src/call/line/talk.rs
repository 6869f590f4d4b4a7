//! The standing call: its path, hold, switches.

use super::super::{Action, Notice, Path, RESTART_EVERY, Renewal, Role, Side, State, Talk};
use super::Step;
use crate::id::{CallId, PeerId};
use crate::wire::{MediaState, Message};

/// How many words of one side may overtake an earlier one of it, counted in revisions. What is further below the last is
/// no late word: its sender counts anew, or says what is true after someone else spoke in its name.
const OVERTAKING_MAX: u32 = 64;

/// By how much a side's revision rises when it says again what it does. Eight such words are above whatever a stranger
/// said in its name; and as many may be late at once and still count as overtaken.
pub(in super::super) const SAID_AGAIN: u32 = OVERTAKING_MAX / 8;

/// Whether a count that a peer sets is later than the last one that was taken.
pub(super) const fn is_later(count: u32, last: u32) -> bool {
    count > last || last - count > OVERTAKING_MAX
}

impl Step<'_> {
    /// The media path is up for the first time. What came before, for a call that stands, has its turn now.
    pub(super) fn stand(&mut self) -> Vec<Action> {
        let (call, peer, mut media, role) = match &*self.state {
            State::Answering { call, peer, media, .. } => (call.clone(), peer.clone(), *media, Role::Callee),
            State::Connecting { call, peer, media, role, .. } => (call.clone(), peer.clone(), *media, *role),
            State::Idle
            | State::Offering { .. }
            | State::Dialing { .. }
            | State::Ringing { .. }
            | State::Incoming { .. }
            | State::Active { .. } => return Vec::new(),
        };
        let mut actions = vec![Action::Notify(Notice::Connected { call: call.clone(), peer: peer.clone() })];
        if !(media.local.audio && media.local.video) {
            // What was switched off before the call stood is told now.
            let message = media.change(media.local);
            actions.push(Action::Send { to: peer.clone(), call: call.clone(), message });
        }
        *self.state = State::Active { call: call.clone(), peer: peer.clone(), media, talk: Talk::new(role) };
        let early = self.early.take_media(&peer, &call).map(Message::Media);
        for message in early.into_iter().chain(self.early.take_messages(&peer, &call)) {
            actions.extend(self.received(peer.clone(), call.clone(), message));
        }
        actions
    }

    /// A message of a standing call; one that comes before it stands waits for that.
    pub(super) fn talk_received(&mut self, from: PeerId, call: CallId, message: Message) -> Vec<Action> {
        if !self.state.is(&call, &from) {
            if let Message::Media(media) = message {
                self.early.keep_media(from, call, media);
            }
            return Vec::new();
        }
        match &*self.state {
            State::Active { .. } => match message {
                Message::Media(remote) => self.media_told(remote),
                Message::Update(offer) => self.update_received(offer),
                Message::Updated(answer) => self.updated_received(answer),
                Message::Refused { revision, text } => self.update_refused(revision, text),
                Message::Renew { generation } => self.renew_received(generation),
                Message::Offer(_)
                | Message::Ringing
                | Message::EarlyAnswer(_)
                | Message::Answer(_)
                | Message::Candidates { .. }
                | Message::Nonce { .. }
                | Message::Bye { .. } => Vec::new(),
            },
            State::Dialing { .. } | State::Ringing { .. } | State::Answering { .. } | State::Connecting { .. } => {
                self.early.keep_message(from, call, message);
                Vec::new()
            }
            State::Incoming { .. } => {
                if let Message::Media(media) = message {
                    self.early.keep_media(from, call, media);
                }
                // The call stands at neither side, so nothing of it can be updated.
                Vec::new()
            }
            // Nobody knows of our call.
            State::Idle | State::Offering { .. } => Vec::new(),
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
        let State::Active { call, peer, media, .. } = &mut *self.state else { return Vec::new() };
        let on = hold == Hold::On;
        if media.local.hold == on {
            return Vec::new();
        }
        let message = media.change(MediaState { hold: on, ..media.local });
        let call = call.clone();
        let devices = match hold {
            Hold::On => Action::HoldMedia { call: call.clone() },
            Hold::Off => Action::ResumeMedia { call: call.clone() },
        };
        vec![
            Action::Send { to: peer.clone(), call: call.clone(), message },
            devices,
            Action::Notify(Notice::Held { call, side: Side::Local, on }),
        ]
    }

    /// Our user switched microphone or camera.
    pub(super) fn switch(&mut self, audio: bool, video: bool) -> Vec<Action> {
        match &mut *self.state {
            State::Idle => Vec::new(),
            // The other side is told when the call stands.
            State::Offering { media, .. }
            | State::Dialing { media, .. }
            | State::Ringing { media, .. }
            | State::Incoming { media, .. }
            | State::Answering { media, .. }
            | State::Connecting { media, .. } => {
                (media.local.audio, media.local.video) = (audio, video);
                Vec::new()
            }
            State::Active { media, .. } if (media.local.audio, media.local.video) == (audio, video) => Vec::new(),
            State::Active { call, peer, media, .. } => {
                let message = media.change(MediaState { audio, video, ..media.local });
                vec![Action::Send { to: peer.clone(), call: call.clone(), message }]
            }
        }
    }

    /// Our line is too narrow for pictures, or not any more.
    pub(super) fn pause(&mut self, on: bool) -> Vec<Action> {
        // Before the call stands nothing is sent, so there is nothing to be told of.
        let State::Active { call, peer, media, .. } = &mut *self.state else { return Vec::new() };
        if media.local.paused == on {
            return Vec::new();
        }
        let message = media.change(MediaState { paused: on, ..media.local });
        vec![Action::Send { to: peer.clone(), call: call.clone(), message }]
    }

    /// The other side says what it does with its media.
    fn media_told(&mut self, remote: MediaState) -> Vec<Action> {
        let State::Active { call, media, .. } = &mut *self.state else { return Vec::new() };
        // A later word overtook this one.
        if !is_later(remote.revision, media.remote.revision) {
            return Vec::new();
        }
        let before = std::mem::replace(&mut media.remote, remote);
        let mut actions = Vec::new();
        if before.hold != remote.hold {
            let held = Notice::Held { call: call.clone(), side: Side::Remote, on: remote.hold };
            actions.push(Action::Notify(held));
        }
        if (before.audio, before.video) != (remote.audio, remote.video) {
            let switched = Notice::Switched { call: call.clone(), audio: remote.audio, video: remote.video };
            actions.push(Action::Notify(switched));
        }
        if before.paused != remote.paused {
            actions.push(Action::Notify(Notice::Paused { call: call.clone(), on: remote.paused }));
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
    pub(super) fn path_is_left(&mut self) -> Vec<Action> {
        let (now, timeouts) = (self.now, self.timeouts);
        let State::Active { call, peer, talk, .. } = &mut *self.state else { return Vec::new() };
        match talk.path {
            Path::Interrupted { .. } => Vec::new(),
            Path::Flowing => {
                talk.path = Path::Interrupted { restart_at: now + RESTART_EVERY, give_up_at: now + timeouts.lost };
                vec![Action::Notify(Notice::Reconnecting { call: call.clone(), peer: peer.clone() })]
            }
        }
    }

    pub(super) fn path_is_back(&mut self) -> Vec<Action> {
        let State::Active { call, peer, media, talk } = &mut *self.state else { return Vec::new() };
        match std::mem::replace(&mut talk.path, Path::Flowing) {
            Path::Interrupted { .. } => {
                let call = call.clone();
                let reconnected = Notice::Reconnected { call: call.clone(), peer: peer.clone() };
                // Why nothing came may be that the other side was told something else of us.
                let again = Action::Send { to: peer.clone(), call, message: media.repeat() };
                vec![Action::Notify(reconnected), again]
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
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    On,
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_later_when_it_is_above_the_last_or_far_below_it() {
        for (count, last, expected) in [
            (1, 0, true),
            (0, 0, false),
            (5, 5, false),
            (4, 5, false),
            (1, 65, false),
            (1, 66, true),
            (u32::MAX, 5, true),
            (6, u32::MAX, true),
            (u32::MAX - 64, u32::MAX, false),
        ] {
            assert_eq!(is_later(count, last), expected, "{count} after {last}");
        }
    }
}

//! Other programs of this user with our ID: what they say goes out by our link, and what is for them goes to them.

use signalling::mqtt::LinkEvent;
use signalling::wire::PresenceState;
use tracing::debug;

use super::{LinkState, Session};
use crate::phone::sharing::{FromGuest, ToGuest, ToHost};

impl Session {
    /// A guest came, says something, or is gone.
    pub(super) fn guest(&mut self, input: FromGuest) {
        match input {
            FromGuest::Joined { number, guest } => {
                let up = self.broker.clone().filter(|_| self.link_state == LinkState::Up);
                self.desk.join(number, guest, up.map(|broker| ToGuest::Up { broker }));
            }
            FromGuest::Said { number, said } => self.guest_says(number, said),
            FromGuest::Left { number } => {
                self.desk.leave(number);
                self.show_presence();
            }
        }
    }

    fn guest_says(&mut self, number: u64, said: ToHost) {
        let sent = match said {
            ToHost::Publish { to, payload } => {
                self.desk.said(number, &payload.0);
                self.link.publish(to, payload.0.to_vec())
            }
            ToHost::Probe => self.link.probe(),
            ToHost::Watch { peer } => self.link.watch(peer),
            ToHost::Hear { peer } => self.link.hear(peer),
            ToHost::Presence { state } => {
                self.desk.shows(number, state);
                self.show_presence();
                Ok(())
            }
            ToHost::Reconnect => {
                self.link.reconnect();
                Ok(())
            }
            ToHost::Doubt => {
                self.link.check();
                Ok(())
            }
        };
        if let Err(error) = sent {
            debug!(%error, "what a guest wants is not done");
        }
    }

    /// Tells guests what the link tells, and hands on what is for one of them; true when it is nothing to us.
    pub(super) fn is_a_guests(&self, event: &LinkEvent) -> bool {
        let line = match event {
            LinkEvent::Message { from, payload } => {
                return self.desk.hand_on(from, payload, |call| self.calls.get(call).is_some());
            }
            LinkEvent::Up { broker, .. } => ToGuest::Up { broker: broker.clone() },
            LinkEvent::Echo => ToGuest::Echo,
            LinkEvent::Down { reason } => ToGuest::Down { reason: reason.clone() },
            LinkEvent::Refused { to, error } => ToGuest::Refused { to: to.clone(), text: error.to_string() },
            LinkEvent::Presence { peer, state } => ToGuest::Presence { peer: peer.clone(), state: *state },
            LinkEvent::Failed(error) => ToGuest::Failed { text: error.to_string() },
            LinkEvent::Dropped { .. } | LinkEvent::Overheard { .. } => return false,
        };
        self.desk.tell_all(&line);
        false
    }

    /// Shows others whether our user is in a call, here or at a guest.
    pub(super) fn show_presence(&self) {
        let busy = self.in_a_call() || self.desk.is_busy();
        self.link.set_presence(if busy { PresenceState::Busy } else { self.at_rest });
    }
}

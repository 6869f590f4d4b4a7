//! Other programs of this user with our ID: what they say goes out by our link, and what is for them goes to them.

use signalling::id::CallId;
use signalling::mqtt::LinkEvent;
use tokio::sync::mpsc;
use tracing::debug;

use super::link::BrokerLink;
use crate::phone::sharing::desk::Desk;
use crate::phone::sharing::{FromGuest, ToGuest, ToHost};

/// Those that are there, and what they say.
pub(super) struct Guests {
    desk: Desk,
    inputs: mpsc::Receiver<FromGuest>,
}

impl Guests {
    pub(super) fn new(inputs: mpsc::Receiver<FromGuest>) -> Self {
        Self { desk: Desk::default(), inputs }
    }

    /// What a guest does next; `None` when there will be no more. Loses nothing when it is dropped.
    pub(super) async fn next(&mut self) -> Option<FromGuest> {
        self.inputs.recv().await
    }

    /// True when our user is in a call at a guest.
    pub(super) fn is_busy(&self) -> bool {
        self.desk.is_busy()
    }

    /// True when our user is on the phone at a guest, or about to be.
    pub(super) fn is_occupied(&self) -> bool {
        self.desk.is_occupied()
    }

    /// A guest came, says something, or is gone; true when that may change what others see of us.
    pub(super) fn take(&mut self, input: FromGuest, link: &BrokerLink) -> bool {
        match input {
            FromGuest::Joined { number, guest } => {
                let up = link.broker().map(|broker| ToGuest::Up { broker: broker.to_owned() });
                self.desk.join(number, guest, up);
                false
            }
            FromGuest::Said { number, said } => {
                let is_presence = matches!(said, ToHost::Presence { .. });
                self.says(number, said, link);
                is_presence
            }
            FromGuest::Left { number } => {
                self.desk.leave(number);
                true
            }
        }
    }

    fn says(&mut self, number: u64, said: ToHost, link: &BrokerLink) {
        let handle = link.handle();
        let sent = match said {
            ToHost::Publish { to, payload } => {
                self.desk.said(number, &payload.0);
                handle.publish(to, payload.0.to_vec())
            }
            ToHost::Probe => handle.probe(),
            ToHost::Watch { peer } => handle.watch(peer),
            ToHost::Hear { peer } => handle.hear(peer),
            ToHost::Presence { state } => {
                self.desk.shows(number, state);
                Ok(())
            }
            ToHost::Reconnect => {
                handle.reconnect();
                Ok(())
            }
            ToHost::Doubt => {
                handle.check();
                Ok(())
            }
        };
        if let Err(error) = sent {
            debug!(%error, "what a guest wants is not done");
        }
    }

    /// Tells guests what the link tells, and hands on what is for one of them; true when it is nothing to us, whose calls
    /// `is_ours` knows.
    pub(super) fn hear(&self, event: &LinkEvent, is_ours: impl Fn(&CallId) -> bool) -> bool {
        let line = match event {
            LinkEvent::Message { from, payload, standing } => {
                return self.desk.hand_on(from, (payload, standing), is_ours);
            }
            LinkEvent::Ready { peer } => ToGuest::Ready { peer: peer.clone() },
            LinkEvent::Distrusted { why, shown } => ToGuest::Distrusted { why: why.clone(), shown: *shown },
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
}

//! Whether somebody else uses our ID: two programs with one ClientId throw each other off for ever, so one must end.
//!
//! A broker of version 5 may say so. Else our own retained presence tells, after we came back; and where that cannot
//! tell, connections that live for moments only.

use std::time::Duration;

use super::{Broker, Connection, ConnectionEnd, Part};
use crate::mqtt::client::{Client, Incoming};
use crate::mqtt::{LinkError, run_id};
use crate::wire::{Presence, PresenceState};

/// How long to wait for our own retained presence after a reconnect before taking it as absent.
const OWN_PRESENCE_WAIT: Duration = Duration::from_millis(300);

/// A connection that the broker closes sooner than this after it was up did not end by itself.
const SHORT_LIFE: Duration = Duration::from_secs(3);

/// So many short lives in a row are two programs with one ID kicking each other, where presence cannot tell.
const SHORT_LIVES_MAX: u32 = 4;

impl Connection {
    /// After a reconnect: our own retained presence tells whether someone else used our ID meanwhile.
    pub(super) async fn refuse_take_over(&mut self, client: &mut Client, broker: &Broker) -> Result<(), ConnectionEnd> {
        let own = self.own_topic();
        let deadline = tokio::time::Instant::now() + OWN_PRESENCE_WAIT;
        while let Ok(next) = tokio::time::timeout_at(deadline, client.next()).await {
            match next {
                Ok(Incoming::Message { topic, payload, .. }) if topic == own => {
                    let Ok(presence) = Presence::from_bytes(&payload) else { return Ok(()) };
                    // A broker that was away, or that we come back to, may hold what an earlier run of ours left.
                    // Where we have just been, an offline of another run is the will of whoever we have thrown off.
                    let was_here = self.history.served_just_now == Some(broker.place);
                    let left_over = !was_here && presence.state == PresenceState::Offline;
                    if left_over || self.is_ours(&presence) {
                        return Ok(());
                    }
                    return Err(ConnectionEnd::Fatal(self.kicked(broker)));
                }
                Ok(Incoming::Message { topic, payload, retained }) => self.incoming(&topic, payload, retained).await,
                Ok(_) => {}
                Err(ending) => return Err(self.end_of(ending, broker)),
            }
        }
        Ok(())
    }

    pub(super) fn is_ours(&self, presence: &Presence) -> bool {
        presence.run == run_id(self.config.run)
    }

    /// Counts a connection that was lost; true when it must be somebody else who has our place.
    pub(super) fn kicked_again_and_again(&mut self, lived: Duration, oversized: bool) -> bool {
        let short = lived < SHORT_LIFE && !oversized;
        self.history.short_lives = if short { self.history.short_lives + 1 } else { 0 };
        self.history.short_lives >= self.short_lives_max()
    }

    /// Where a login is named like the ID, the broker may well tie the two: then an observer throws off the program
    /// that runs with this ID, and must not do so twice.
    fn short_lives_max(&self) -> u32 {
        let user = self.config.login.as_ref().map(|login| login.user.as_str());
        match self.part {
            Part::Observer(_) | Part::Tracer if user == Some(self.config.me.as_str()) => 1,
            Part::Observer(_) | Part::Tracer | Part::Peer => SHORT_LIVES_MAX,
        }
    }

    /// Somebody else has our place at the broker.
    pub(super) fn kicked(&self, broker: &Broker) -> LinkError {
        let broker = broker.to_string();
        match self.part {
            Part::Peer => LinkError::TakenOver { broker, me: self.config.me.clone() },
            Part::Observer(_) | Part::Tracer => LinkError::OneConnectionALogin { broker },
        }
    }
}

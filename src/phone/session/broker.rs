//! What the broker brings, and what goes out by it: messages, presence, acknowledgements.

use std::time::{Duration, Instant};

use signalling::call::{self, Action, Notice};
use signalling::dialect::Output;
use signalling::id::{CallId, PeerId};
use signalling::mqtt::{LinkError, LinkEvent};
use signalling::wire::{ByeReason, Message, PresenceState};
use tracing::{debug, warn};

use super::rules::Echo;
use super::work::Work;
use super::{Absent, LinkState, Phase, Role, Session};
use crate::output::events::ProgramEvent;
use crate::output::exit::Failure;
use crate::platform::clock::unix_ms;
use crate::platform::random;

/// What the broker holds of someone who is just coming online is still their last goodbye; so long it may be wrong.
const OFFLINE_GRACE: Duration = Duration::from_millis(700);

impl Session {
    pub(super) fn link_event(&mut self, event: Option<LinkEvent>) -> Result<(), Failure> {
        let now = Instant::now();
        if event.as_ref().is_some_and(|event| self.is_a_guests(event)) {
            return Ok(());
        }
        match event {
            None if self.is_leaving() => self.phase = self.phase.without_farewell(),
            None => return Err(Failure::internal("the link to the broker ended")),
            Some(LinkEvent::Failed(error)) => {
                // An outcome that is known already stays: only its farewell is lost.
                if self.is_leaving() {
                    self.phase = self.phase.without_farewell();
                    return Ok(());
                }
                return Err(Failure::new((&error).into(), error));
            }
            Some(LinkEvent::Up { broker, .. }) => {
                self.link_state = LinkState::Up;
                self.broker = Some(broker.clone());
                let id = self.settings.link.me.to_string();
                self.printer.tell(&ProgramEvent::Online { id, broker });
                let outputs = self.delivery.link_restored(now);
                self.deliver(outputs);
                if self.phase == Phase::Starting {
                    self.phase = Phase::Running;
                    self.start();
                }
            }
            Some(LinkEvent::Refused { to, error }) => self.refused(&to, &error)?,
            Some(LinkEvent::Down { reason }) => {
                self.link_state = LinkState::Down;
                self.printer.tell(&ProgramEvent::Offline { reason });
                self.await_broker_for_farewell();
            }
            Some(LinkEvent::Dropped { reason }) => self.drop_message(reason),
            Some(LinkEvent::Message { from, .. }) if !self.flood.admits(&from, now) => {
                self.drop_message("one peer sends too much");
            }
            Some(LinkEvent::Message { from, payload }) => {
                match self.delivery.receive(from.clone(), &payload, unix_ms()) {
                    Ok(outputs) => self.deliver(outputs),
                    Err(error) => {
                        debug!(%from, ?error, "message dropped");
                        self.drop_message(&error.to_string());
                    }
                }
            }
            Some(LinkEvent::Presence { peer, state }) => self.presence(peer, state),
            Some(LinkEvent::Echo) => self.echo = Echo::Heard,
            // Tracers alone are told of it.
            Some(LinkEvent::Overheard { .. }) => {}
        }
        Ok(())
    }

    /// The broker did not take a message. Without it nobody is rung; a call that stands goes on.
    fn refused(&mut self, to: &PeerId, error: &LinkError) -> Result<(), Failure> {
        let leaving = self.is_leaving();
        let Some(live) = self.calls.iter_mut().find(|live| live.peer == *to) else { return Ok(()) };
        let dialing = live.marks.accepted.is_none();
        let text = error.to_string();
        // Messages are sent again, and refused again.
        let is_news = !live.problems.contains(&text);
        if dialing && matches!(self.role, Role::Call { .. }) && !leaving {
            return Err(Failure::new(error.into(), error));
        }
        if is_news {
            live.problems.push(text.clone());
            let call = live.call.clone();
            self.warn_of(&call, text);
        }
        Ok(())
    }

    /// Counts what was not taken in; the first one is worth a warning, a flood is not.
    pub(super) fn drop_message(&mut self, reason: &str) {
        self.dropped += 1;
        if self.dropped == 1 {
            self.warn(format!("dropped a message: {reason}; further ones are only counted"));
        }
    }

    fn start(&mut self) {
        match &self.role {
            Role::Call { peer, absent } => {
                let (peer, absent) = (peer.clone(), *absent);
                if let Err(error) = self.link.hear(peer.clone()) {
                    warn!(%error, "the other side may not be heard");
                }
                if self.delivery.heeds_presence()
                    && let Err(error) = self.link.watch(peer.clone())
                {
                    warn!(%error, "presence not asked for");
                }
                match absent {
                    Absent::End => self.dial(peer),
                    Absent::Wait if self.printer.is_text() => {
                        self.printer.result(&format!("waiting until {peer} can be called; Ctrl-C ends"));
                    }
                    Absent::Wait => {}
                }
            }
            Role::Listen { .. } => {
                if self.printer.is_text() {
                    self.printer.result("waiting for calls; Ctrl-C ends");
                }
                self.ask_for_echo();
            }
        }
    }

    fn dial(&mut self, peer: PeerId) {
        self.phone_event(call::Event::Dial { peer, call: CallId::from_random(random::call_bits()) });
    }

    /// A watched peer came, went or is busy.
    fn presence(&mut self, peer: PeerId, state: Option<PresenceState>) {
        if matches!(&self.role, Role::Call { peer: callee, .. } if *callee == peer) {
            self.callee_presence = state;
        }
        for live in self.calls.iter_mut().filter(|live| live.peer == peer) {
            let is_offline = state == Some(PresenceState::Offline);
            live.offline_at = is_offline.then(|| Instant::now() + OFFLINE_GRACE);
        }
        if matches!(&self.role, Role::Call { absent: Absent::Wait, .. })
            && self.calls.is_empty()
            && self.printer.is_text()
        {
            let why = match state {
                Some(PresenceState::Busy) => Some("is in another call: it rings when that is over"),
                Some(PresenceState::Offline) | None => Some("is not online: it rings when they come"),
                Some(PresenceState::Available | PresenceState::Away) => None,
            };
            if let Some(why) = why {
                self.printer.result(&format!("{peer} {why}"));
            }
        }
        match state {
            Some(PresenceState::Available | PresenceState::Away) => {
                let awaited = matches!(&self.role, Role::Call { absent: Absent::Wait, .. });
                // Once: whoever was called and is available again has had their call.
                if awaited && self.calls.is_empty() && self.phase == Phase::Running {
                    self.dial(peer);
                }
            }
            Some(PresenceState::Offline | PresenceState::Busy) | None => {}
        }
    }

    /// Publishes what delivery wants sent; what it tells has its turn after the work that waits already.
    pub(super) fn deliver(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Transmit(publication) => match publication.to_bytes() {
                    Ok(bytes) => {
                        if let Err(error) = self.link.publish(publication.to().clone(), bytes) {
                            debug!(%error, "message not sent");
                        }
                    }
                    Err(error) => self.warn(format!("message not sent: {error}")),
                },
                Output::Delivered { call, message, .. } => self.phone_event(call::Event::Delivered { call, message }),
                Output::Expired { call, message, .. } => self.phone_event(call::Event::Expired { call, message }),
                // A newer program's. It is acknowledged, so that it is not sent again.
                Output::Unknown { from, kind } => debug!(%from, %kind, "message of an unknown type passed over"),
                Output::Received { from, call, message } => self.work.push(Work::Received { from, call, message }),
            }
        }
    }

    /// A message of another peer. Who cannot be called is not rung.
    pub(super) fn received(&mut self, from: PeerId, call: CallId, message: Message) {
        let is_offer = matches!(message, Message::Offer(_));
        // Nobody is at home any more, and the call before is still being put away; or our user is on the phone in another
        // program.
        if is_offer && (self.is_leaving() || self.desk.is_occupied()) {
            let to = from.clone();
            self.work.push(Work::Act(Action::Send { to, call, message: Message::bye(ByeReason::Busy) }));
            if !self.is_leaving() && self.welcomes(&from) {
                self.work.push(Work::Act(Action::Notify(Notice::TurnedAway { peer: from })));
            }
        } else if is_offer && !self.welcomes(&from) {
            self.drop_message("call of a peer that --from does not name");
        } else {
            self.phone_event(call::Event::Received { from, call, message });
        }
    }

    /// True when calls of this peer are taken; the broker may deliver others on a bare ClientId topic.
    pub(super) fn welcomes(&self, from: &PeerId) -> bool {
        match (&self.role, &self.settings.link.audience) {
            (Role::Call { .. }, _) | (_, signalling::mqtt::Audience::Anyone) => true,
            (_, signalling::mqtt::Audience::Only(peers)) => peers.contains(from),
        }
    }
}

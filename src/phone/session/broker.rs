//! What the broker brings, and what goes out by it: messages, presence, acknowledgements.

use std::time::{Duration, Instant};

use signalling::call::{self, Action, Notice};
use signalling::dialect::Output;
use signalling::id::{CallId, PeerId};
use signalling::mqtt::{LinkError, LinkEvent};
use signalling::wire::{ByeReason, Message, PresenceState};
use tracing::{debug, warn};

use super::calls::Timer;
use super::work::Work;
use super::{Absent, Role, Session, rules};
use crate::output::events::ProgramEvent;
use crate::output::exit::Failure;
use crate::platform::random;

/// What the broker holds of someone who is just coming online is still their last goodbye; so long it may be wrong.
pub(super) const OFFLINE_GRACE: Duration = Duration::from_millis(700);

impl Session {
    pub(super) fn link_event(&mut self, event: Option<LinkEvent>) -> Result<(), Failure> {
        let now = Instant::now();
        if event.as_ref().is_some_and(|event| self.guests.hear(event, |call| self.calls.get(call).is_some())) {
            return Ok(());
        }
        match event {
            None if self.life.is_leaving() => self.life.skip_farewell(now),
            None => return Err(Failure::internal("the link to the broker ended")),
            Some(LinkEvent::Failed(error)) => {
                // An outcome that is known already stays: only its farewell is lost.
                if self.life.is_leaving() {
                    self.life.skip_farewell(now);
                    return Ok(());
                }
                return Err(Failure::new((&error).into(), error));
            }
            Some(LinkEvent::Up { broker, .. }) => {
                self.link.went_up(broker.clone());
                let id = self.settings.link.me.to_string();
                self.printer.tell(&ProgramEvent::Online { id, broker });
                let outputs = self.messages.delivery.link_restored(now);
                self.deliver(outputs);
                if self.life.reached_broker() {
                    self.start();
                }
            }
            Some(LinkEvent::Refused { to, error }) => self.refused(&to, &error)?,
            Some(LinkEvent::Down { reason }) => {
                self.link.went_down();
                self.printer.tell(&ProgramEvent::Offline { reason });
                self.await_broker_for_farewell();
            }
            Some(LinkEvent::Dropped { reason }) => self.drop_message(&reason),
            Some(LinkEvent::Message { from, payload, standing }) => match self.messages.receive(&from, &payload, now) {
                Ok(outputs) => {
                    let calls = &self.calls;
                    self.trust.stands(&from, standing, |peer| calls.iter().any(|live| live.peer == *peer));
                    self.deliver(outputs);
                }
                Err(why) => self.drop_message(&why),
            },
            // What waited for keys of this peer; what others have not acknowledged may well go out again.
            Some(LinkEvent::Ready { .. }) => {
                let outputs = self.messages.delivery.link_restored(now);
                self.deliver(outputs);
            }
            Some(LinkEvent::Distrusted { why, shown }) => self.distrusted(why, shown)?,
            Some(LinkEvent::Presence { peer, state }) => self.presence(peer, state),
            Some(LinkEvent::Echo) => self.link.echo_heard(),
            // Tracers alone are told of it.
            Some(LinkEvent::Overheard { .. }) => {}
        }
        Ok(())
    }

    /// The broker did not take a message. Without it nobody is rung; a call that stands goes on.
    fn refused(&mut self, to: &PeerId, error: &LinkError) -> Result<(), Failure> {
        let leaving = self.life.is_leaving();
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
        if self.messages.count_dropped() {
            self.warn(format!("dropped a message: {reason}; further ones are only counted"));
        }
    }

    fn start(&mut self) {
        match &self.role {
            Role::Call { peer, absent } => {
                let (peer, absent) = (peer.clone(), *absent);
                if let Err(error) = self.link.handle().hear(peer.clone()) {
                    warn!(%error, "the other side may not be heard");
                }
                if self.messages.delivery.heeds_presence() {
                    self.link.watch_callee(&peer);
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
                self.link.ask_for_echo(&self.settings.link.template, Instant::now());
            }
        }
    }

    fn dial(&mut self, peer: PeerId) {
        self.phone_event(call::Event::Dial { peer, call: CallId::from_random(random::call_bits()) });
    }

    /// A watched peer came, went or is busy.
    fn presence(&mut self, peer: PeerId, state: Option<PresenceState>) {
        if matches!(&self.role, Role::Call { peer: callee, .. } if *callee == peer) {
            self.link.callee_is(state);
        }
        for live in self.calls.iter_mut().filter(|live| live.peer == peer) {
            if state == Some(PresenceState::Offline) {
                live.timers.set(Timer::Offline, Instant::now() + OFFLINE_GRACE);
            } else {
                live.timers.stop(Timer::Offline);
            }
        }
        if self.role.waits() && self.calls.is_empty() && self.printer.is_text() {
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
                let awaited = self.role.waits();
                // Once: whoever was called and is available again has had their call.
                if awaited && self.calls.is_empty() && self.life.is_running() {
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
                        if let Err(error) = self.link.handle().publish(publication.to().clone(), bytes) {
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
        if is_offer && (self.life.is_leaving() || self.guests.is_occupied()) {
            let to = from.clone();
            self.work.push(Work::Act(Action::Send { to, call, message: Message::bye(ByeReason::Busy) }));
            if !self.life.is_leaving() && self.role.welcomes(&from, &self.settings.link.audience) {
                self.work.push(Work::Act(Action::Notify(Notice::TurnedAway { peer: from })));
            }
        } else if is_offer && !self.role.welcomes(&from, &self.settings.link.audience) {
            self.drop_message("call of a peer that --from does not name");
        } else {
            self.phone_event(call::Event::Received { from, call, message });
        }
    }

    /// The wait for a message to ourselves may be over: a listener whose messages do not come back is told.
    pub(super) fn echo_time(&mut self, now: Instant) {
        if self.link.echo_is_missing(now) && matches!(self.role, Role::Listen { .. }) {
            let (template, me) = (&self.settings.link.template, &self.settings.link.me);
            self.warn(rules::deaf(template, me));
        }
    }

    /// Shows others whether our user is in a call, here or at a guest.
    pub(super) fn show_presence(&self) {
        self.link.show(self.calls.any_answered() || self.guests.is_busy());
    }
}

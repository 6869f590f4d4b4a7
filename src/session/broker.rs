//! What the broker brings, and what goes out by it: envelopes, presence, acknowledgements.

use std::time::{Duration, Instant};

use signalling::call;
use signalling::delivery::Output;
use signalling::id::{CallId, PeerId};
use signalling::mqtt::{LinkError, LinkEvent};
use signalling::wire::{ByeReason, Envelope, Message, PresenceState};
use tracing::{debug, warn};

use super::{Absent, Phase, Role, Session};
use crate::events::Event;
use crate::exit::Failure;
use crate::printer::unix_ms;
use crate::settings::random_nonce;

/// What the broker holds of someone who is just coming online is still their last goodbye; so long it may be wrong.
const OFFLINE_GRACE: Duration = Duration::from_millis(700);

impl Session {
    pub(super) async fn link_event(&mut self, event: Option<LinkEvent>) -> Result<(), Failure> {
        let now = Instant::now();
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
                let id = self.settings.link.me.to_string();
                self.printer.tell(&Event::Online { id, broker });
                let outputs = self.delivery.link_restored(now);
                self.deliver(outputs).await?;
                if self.phase == Phase::Starting {
                    self.phase = Phase::Running;
                    self.start().await?;
                }
            }
            Some(LinkEvent::Refused { to, error }) => self.refused(&to, &error)?,
            Some(LinkEvent::Down { reason }) => self.printer.tell(&Event::Offline { reason }),
            Some(LinkEvent::Dropped { reason }) => self.drop_message(reason),
            Some(LinkEvent::Message { from, .. }) if !self.flood.admits(&from, now) => {
                self.drop_message("one peer sends too much");
            }
            Some(LinkEvent::Message { from, payload }) => match Envelope::from_bytes(&payload) {
                Ok(envelope) if envelope.from != from => self.drop_message("sender is not the owner of its topic"),
                Ok(envelope) => {
                    let outputs = self.delivery.receive(envelope, unix_ms());
                    self.deliver(outputs).await?;
                }
                Err(error) => {
                    debug!(%from, %error, "message dropped");
                    self.drop_message("not a message of this protocol");
                }
            },
            Some(LinkEvent::Presence { peer, state }) => self.presence(peer, state).await?,
        }
        Ok(())
    }

    /// The broker did not take a message. Without it nobody is rung; a call that stands goes on.
    fn refused(&mut self, to: &PeerId, error: &LinkError) -> Result<(), Failure> {
        let dialing = self.current.as_ref().is_some_and(|call| call.peer == *to && call.marks.accepted.is_none());
        if dialing && matches!(self.role, Role::Call { .. }) && !self.is_leaving() {
            return Err(Failure::new(error.into(), error));
        }
        let text = error.to_string();
        // Messages are sent again, and refused again.
        let is_news = self.current.as_ref().is_some_and(|call| call.peer == *to && !call.problems.contains(&text));
        if is_news {
            self.warn(text.clone());
            self.problem(text);
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

    pub(super) async fn start(&mut self) -> Result<(), Failure> {
        match &self.role {
            Role::Call { peer, absent } => {
                let (peer, absent) = (peer.clone(), *absent);
                if let Err(error) = self.link.watch(peer.clone()) {
                    warn!(%error, "presence not asked for");
                }
                match absent {
                    Absent::End => self.dial(peer).await?,
                    Absent::Wait if self.printer.is_text() => {
                        self.printer.result(&format!("waiting for {peer} to come online; Ctrl-C ends"));
                    }
                    Absent::Wait => {}
                }
            }
            Role::Listen { .. } if self.printer.is_text() => self.printer.result("waiting for calls; Ctrl-C ends"),
            Role::Listen { .. } => {}
        }
        Ok(())
    }

    async fn dial(&mut self, peer: PeerId) -> Result<(), Failure> {
        let bits = u128::from(random_nonce().0) << 64 | u128::from(random_nonce().0);
        self.line_event(call::Event::Dial { peer, call: CallId::from_random(bits) }).await
    }

    /// A watched peer came, went or is busy.
    async fn presence(&mut self, peer: PeerId, state: Option<PresenceState>) -> Result<(), Failure> {
        if let Some(current) = self.current.as_mut().filter(|current| current.peer == peer) {
            let is_offline = state == Some(PresenceState::Offline);
            current.offline_at = is_offline.then(|| Instant::now() + OFFLINE_GRACE);
        }
        match state {
            Some(PresenceState::Available | PresenceState::Away) => {
                let awaited = matches!(&self.role, Role::Call { absent: Absent::Wait, .. });
                // Once: whoever was called and is available again has had their call.
                if awaited && self.current.is_none() && self.phase == Phase::Running {
                    return self.dial(peer).await;
                }
                Ok(())
            }
            Some(PresenceState::Offline | PresenceState::Busy) | None => Ok(()),
        }
    }

    pub(super) async fn deliver(&mut self, outputs: Vec<Output>) -> Result<(), Failure> {
        for output in outputs {
            match output {
                Output::Transmit(envelope) => match envelope.to_bytes() {
                    Ok(bytes) => {
                        if let Err(error) = self.link.publish(envelope.to, bytes) {
                            debug!(%error, "message not sent");
                        }
                    }
                    Err(error) => self.warn(format!("message not sent: {error}")),
                },
                Output::Delivered { call, message, .. } => {
                    self.line_event_boxed(call::Event::Delivered { call, message }).await?;
                }
                Output::Expired { call, message, .. } => {
                    self.line_event_boxed(call::Event::Expired { call, message }).await?;
                }
                Output::Received { from, call, message: Message::Offer(_) } if self.is_leaving() => {
                    // Nobody is at home any more, and the call before is still being put away.
                    let busy = Message::Bye { reason: ByeReason::Busy };
                    let outputs = self.delivery.send(from, call, busy, Instant::now(), unix_ms());
                    Box::pin(self.deliver(outputs)).await?;
                }
                Output::Received { from, call, message } => {
                    if !self.welcomes(&from) && matches!(message, Message::Offer(_)) {
                        self.drop_message("call of a peer that --from does not name");
                        continue;
                    }
                    self.line_event_boxed(call::Event::Received { from, call, message }).await?;
                }
            }
        }
        Ok(())
    }

    /// True when calls of this peer are taken; the broker may deliver others on a bare ClientId topic.
    pub(super) fn welcomes(&self, from: &PeerId) -> bool {
        match (&self.role, &self.settings.link.audience) {
            (Role::Call { .. }, _) | (_, signalling::mqtt::Audience::Anyone) => true,
            (_, signalling::mqtt::Audience::Only(peers)) => peers.contains(from),
        }
    }
}

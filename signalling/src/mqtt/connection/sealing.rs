//! What comes and goes, by the vault: opened, sealed, or refused.
//!
//! Without a vault, bytes are handed on as they are: in other dialects, and to those who only look.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tracing::debug;

use super::Connection;
use crate::id::PeerId;
use crate::mqtt::client::{Client, Kind, Message};
use crate::mqtt::{LinkEvent, Shown, random, unix_ms};
use crate::seal::{Distrust, Dropped, News, OpenError, Standing, Unsent, Vault};
use crate::topic::Hearers;
use crate::wire::Presence;

/// Refusals that wait; what does not fit is dropped, and asked for again.
const REFUSALS_MAX: usize = 64;

impl Connection {
    /// What is published for `to`; nothing as long as its keys are not known.
    pub(super) async fn sealed(&mut self, to: &PeerId, payload: Bytes) -> Option<Bytes> {
        let Some(vault) = self.vault() else { return Some(payload) };
        match vault.outgoing(to, &payload, random(), Instant::now()) {
            Ok(sealed) => Some(sealed.into()),
            Err(Unsent::Waiting) => {
                debug!(%to, "its keys are not known yet: message left to be sent again");
                None
            }
            Err(Unsent::Seal(error)) => {
                self.drop_for(format!("a message of ours: {error}")).await;
                None
            }
        }
    }

    /// A peer we watch is in another state.
    pub(super) async fn presence_of(&mut self, peer: PeerId, payload: &[u8]) {
        let news = match self.vault() {
            Some(vault) => vault.presence(&peer, payload),
            None => look_at(&peer, payload),
        };
        match news {
            News::Nothing => debug!(%peer, "presence passed over: it is not of this peer, or was said before"),
            News::State { state, is_ready } => {
                self.tell(LinkEvent::Presence { peer: peer.clone(), state }).await;
                if is_ready {
                    self.tell(LinkEvent::Ready { peer }).await;
                }
            }
            News::Distrusted(why) => self.tell(LinkEvent::Distrusted { why, shown: Shown::ByPresence }).await,
        }
    }

    /// A message of `from`.
    pub(super) async fn opened(&mut self, from: PeerId, payload: Bytes) {
        let Some(vault) = self.vault() else {
            return self.tell(LinkEvent::Message { from, payload, standing: Standing::Plain }).await;
        };
        match vault.incoming(&from, &payload, [random(), random()], (Instant::now(), unix_ms())) {
            Ok(heard) => {
                let (payload, standing) = (heard.payload.into(), heard.standing);
                self.tell(LinkEvent::Message { from, payload, standing }).await;
            }
            // On topics without a listener it is for somebody else.
            Err(Dropped::Closed(OpenError::NotForUs)) if self.config.template.hearers() == Hearers::All => {}
            Err(Dropped::Distrusted { why: Distrust::Blocked { .. }, .. }) => debug!(%from, "blocked"),
            Err(Dropped::Distrusted { why, reply }) => {
                let room = REFUSALS_MAX.saturating_sub(self.refusals.len());
                self.refusals.extend(reply.into_iter().take(room).map(|payload| (from.clone(), payload)));
                self.tell(LinkEvent::Distrusted { why, shown: Shown::ByMessage }).await;
            }
            Err(dropped) => {
                debug!(%from, ?dropped, "message dropped");
                self.drop_for(dropped.to_string()).await;
            }
        }
    }

    /// Tells those who are not spoken to, so that their programs end.
    pub(super) fn refuse(&mut self, client: &mut Client) {
        for (to, payload) in self.refusals.drain(..) {
            let topic = self.config.template.call(&self.config.me, &to);
            if client.publish(Message { topic, payload: payload.into(), kind: Kind::Call { to } }).is_err() {
                debug!("broker too slow: a refusal is not published");
            }
        }
    }

    pub(super) async fn drop_for(&self, reason: impl Into<Cow<'static, str>>) {
        self.tell(LinkEvent::Dropped { reason: reason.into() }).await;
    }

    /// The vault, with what is remembered of peers by now.
    fn vault(&mut self) -> Option<&mut Vault> {
        let (vault, sealing) = (self.vault.as_mut()?, self.config.sealing.as_ref()?);
        vault.remember(Arc::clone(&sealing.acquaintances.borrow()));
        Some(vault)
    }
}

/// What those see of a peer who only look: its own word, or a plain one.
fn look_at(peer: &PeerId, payload: &[u8]) -> News {
    // No presence is an emptied topic; anything unreadable is as good as none.
    let presence = Presence::from_bytes(payload).ok();
    match presence {
        Some(presence) if presence.verify(peer).is_err() => News::Nothing,
        presence => News::State { state: presence.map(|presence| presence.state), is_ready: false },
    }
}

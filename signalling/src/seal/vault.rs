//! How each peer is spoken to: sealed, with which keys, or in plain; and who is not spoken to at all. Pure.
//!
//! - presence and messages of peers → [`Vault::presence`], [`Vault::incoming`] → what they say, if it can be trusted
//! - messages for peers → [`Vault::outgoing`] → the bytes to publish
//!
//! The rules, which docs/SECURITY.md explains: a peer that is remembered has the key that is remembered, and no other and
//! not none. Whoever is not remembered keeps, for as long as this program runs, the key that it showed first. Plain is
//! spoken where the user allows it, with peers that never showed a key.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::{self, Endpoint, OpenError, Opened, SealError};
use super::presence::Order;
use super::trust::{Acquaintance, Acquaintances, Distrust, Opinion, Plain, Policy, Standing, Strangers, Trust};
use super::{Fingerprint, PublicKeys, ReplayWindow, SecretKeys, Seen, Stale};
use crate::flood::{Bucket, Flood};
use crate::id::{MessageId, PeerId};
use crate::wire::{Ack, ByeReason, Content, Envelope, Message, Presence, PresenceState, VERSION};

/// Peers whose keys are remembered for as long as the program runs. Whoever was silent longest is forgotten.
const PARTNERS_MAX: usize = 1024;

/// Runs of other programs whose connections were taken over, one after the other.
const FORMER_MAX: usize = 4;

/// So long presence may take to tell that a peer has keys, before it is spoken to in plain where that is allowed.
const PLAIN_AFTER: Duration = Duration::from_millis(800);

/// Messages that all peers together may send at once and in a second of whom nothing is known yet: opening one takes a
/// third of a millisecond, so strangers take a tenth of a core at most.
const STRANGERS_AT_ONCE: f64 = 400.0;
const STRANGERS_A_SECOND: f64 = 200.0;

/// Why a message is not published.
#[derive(Debug, thiserror::Error)]
pub enum Unsent {
    /// Its receiver's keys are not known yet; it is sent again later.
    #[error("the keys of the other side are not known yet")]
    Waiting,
    /// It cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// What a message of a peer says.
#[derive(Debug)]
pub struct Heard {
    /// The envelope, in plain.
    pub payload: Vec<u8>,
    /// How it came.
    pub standing: Standing,
}

/// Why a message of a peer was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum Dropped {
    /// Too many come.
    #[error("one peer, or many together, send too much")]
    Flood,
    /// It cannot be opened.
    #[error(transparent)]
    Closed(#[from] OpenError),
    /// It may have come before.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// A plain message of a peer that seals: forged.
    #[error("a message that is not sealed, of a peer that has a key")]
    Downgraded,
    /// Its sender is not spoken to. `reply` tells it so, if it offers a call and only its key is in the way.
    #[error("{why}")]
    Distrusted {
        /// Why.
        why: Distrust,
        /// What to publish for it.
        reply: Vec<Vec<u8>>,
    },
}

/// What a presence tells.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing: forged, or said before.
    Nothing,
    /// The peer is in this state; `None` where the broker holds nothing that can be read.
    State {
        /// The state.
        state: Option<PresenceState>,
        /// True when messages that waited for it can be sent now.
        is_ready: bool,
    },
    /// The peer is not spoken to.
    Distrusted(Distrust),
}

/// One peer, as far as this run of the program knows it.
#[derive(Debug, Default)]
struct Partner {
    /// Its keys and the run of its program: what it is sent is sealed for these.
    sealed: Option<(PublicKeys, MessageId)>,
    order: Option<Order>,
    /// It said something in plain, and that is allowed.
    is_plain: bool,
    /// When something was first to be sent to it.
    asked: Option<Instant>,
    used: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Vault {
    me: PeerId,
    run: MessageId,
    keys: Arc<SecretKeys>,
    policy: Policy,
    acquaintances: Arc<Acquaintances>,
    partners: BTreeMap<PeerId, Partner>,
    window: ReplayWindow,
    flood: Flood,
    strangers: Option<Bucket>,
    /// Earlier runs of another program of ours, whose connection we took over.
    former: Vec<MessageId>,
    count: u64,
}

impl Vault {
    /// A vault of `me`, who has `keys`, for one run of the program.
    #[must_use]
    pub fn new(me: PeerId, run: MessageId, keys: Arc<SecretKeys>, policy: Policy) -> Self {
        Self {
            me,
            run,
            keys,
            policy,
            acquaintances: Arc::default(),
            partners: BTreeMap::new(),
            window: ReplayWindow::default(),
            flood: Flood::default(),
            strangers: None,
            former: Vec::new(),
            count: 0,
        }
    }

    /// What is remembered of peers from now on.
    pub fn remember(&mut self, acquaintances: Arc<Acquaintances>) {
        self.acquaintances = acquaintances;
    }

    /// Takes in what was sealed for another run too: that of a program of ours whose connection we take over.
    pub fn succeed(&mut self, run: MessageId) {
        if self.former.contains(&run) {
            return;
        }
        if self.former.len() >= FORMER_MAX {
            self.former.remove(0);
        }
        self.former.push(run);
    }

    /// Signs our presence: the connection to the broker began at `since`, and it is `ts` now, both in milliseconds since
    /// the Unix epoch.
    #[must_use]
    pub fn sign(&self, presence: Presence, since: u64, ts: u64) -> Presence {
        presence.sign(&self.keys, &self.me, since, ts)
    }

    /// Takes in what is retained on the presence topic of `peer`.
    pub fn presence(&mut self, peer: &PeerId, payload: &[u8]) -> News {
        let Ok(presence) = Presence::from_bytes(payload) else { return self.no_presence(peer) };
        match presence.verify(peer) {
            Err(_forged) => self.no_presence(peer),
            Ok(None) => self.plain_presence(peer, presence.state),
            Ok(Some((keys, order))) => {
                let trusted = self.judge(peer, &keys);
                let partner = self.partner(peer);
                match (trusted, &partner.sealed) {
                    // It has shown its true key, and this is somebody else's.
                    (Err(Distrust::Changed { .. }), Some(_)) => News::Nothing,
                    (Err(why), _) => News::Distrusted(why),
                    (Ok(_), Some((before, _))) if *before == keys && partner.order.is_some_and(|last| order < last) => {
                        News::Nothing
                    }
                    (Ok(_), before) => {
                        let is_ready = before.as_ref() != Some(&(keys, presence.run.clone()));
                        partner.order = Some(order);
                        partner.sealed = Some((keys, presence.run));
                        News::State { state: Some(presence.state), is_ready }
                    }
                }
            }
        }
    }

    /// Nothing that can be read: of a peer whose genuine presence was seen that says nothing.
    fn no_presence(&mut self, peer: &PeerId) -> News {
        match self.partner(peer).order {
            Some(_) => News::Nothing,
            None => News::State { state: None, is_ready: false },
        }
    }

    fn plain_presence(&mut self, peer: &PeerId, state: PresenceState) -> News {
        let (plain, has_key) = (self.policy.plain, self.has_key(peer));
        let partner = self.partner(peer);
        let is_there = state != PresenceState::Offline;
        match (has_key, plain) {
            (true, _) if is_there && partner.sealed.is_none() => {
                News::Distrusted(Distrust::KeyGone { peer: peer.clone() })
            }
            (true, _) => News::Nothing,
            (false, Plain::Refused) if is_there => News::Distrusted(Distrust::PlainOnly { peer: peer.clone() }),
            (false, Plain::Refused) => News::State { state: Some(state), is_ready: false },
            (false, Plain::Allowed) => {
                let is_ready = is_there && !partner.is_plain;
                partner.is_plain |= is_there;
                News::State { state: Some(state), is_ready }
            }
        }
    }

    /// Makes what is published for `to` of an envelope for it. `random` must be drawn anew each time.
    ///
    /// # Errors
    /// [`Unsent`] when its keys are not known, or the envelope cannot be sealed.
    pub fn outgoing(
        &mut self,
        to: &PeerId,
        envelope: &[u8],
        random: [u8; 32],
        now: Instant,
    ) -> Result<Vec<u8>, Unsent> {
        let (plain, has_key) = (self.policy.plain, self.has_key(to));
        let asked = *self.partner(to).asked.get_or_insert(now);
        let partner = self.partner(to);
        if let Some((keys, run)) = partner.sealed.clone() {
            return Ok(self.seal(to, (&keys, &run), envelope, random)?);
        }
        let is_due = partner.is_plain || now.saturating_duration_since(asked) >= PLAIN_AFTER;
        let is_plain = match plain {
            Plain::Refused => false,
            Plain::Allowed => !has_key && is_due,
        };
        if is_plain { Ok(envelope.to_vec()) } else { Err(Unsent::Waiting) }
    }

    fn seal(
        &self,
        to: &PeerId,
        (keys, run): (&PublicKeys, &MessageId),
        envelope: &[u8],
        random: [u8; 32],
    ) -> Result<Vec<u8>, SealError> {
        let from = Endpoint { id: &self.me, run: &self.run };
        message::seal(&self.keys, from, (Endpoint { id: to, run }, keys), envelope, random)
    }

    /// Takes in what `from` published. `random` is for a reply; `unix_ms` is the wall
    /// clock, milliseconds since the epoch.
    ///
    /// # Errors
    /// [`Dropped`] on all that is not certainly of a peer that we speak to.
    pub fn incoming(
        &mut self,
        from: &PeerId,
        payload: &[u8],
        random: [[u8; 32]; 2],
        (now, unix_ms): (Instant, u64),
    ) -> Result<Heard, Dropped> {
        // Whoever makes these up takes nothing from the limit of the peer in whose name they are.
        if !message::is_sealed(payload) && self.has_key(from) {
            return Err(Dropped::Downgraded);
        }
        if !self.admits(from, now) {
            return Err(Dropped::Flood);
        }
        if !message::is_sealed(payload) {
            return self.heard_in_plain(from, payload, unix_ms);
        }
        let opened = self.open(from, payload)?;
        let trust = match self.judge(from, &opened.keys) {
            Ok(trust) => trust,
            Err(why) => {
                let reply = self.refuse(from, &opened, &why, (random, unix_ms));
                return Err(Dropped::Distrusted { why, reply });
            }
        };
        let fingerprint = opened.keys.fingerprint();
        let seen = self.window.admit(fingerprint, &opened.run, &opened.envelope.id, opened.envelope.ts)?;
        if seen == Seen::New {
            let partner = self.partner(from);
            if partner.sealed.as_ref().is_none_or(|(keys, _)| *keys != opened.keys) {
                partner.order = None;
            }
            partner.sealed = Some((opened.keys, opened.run));
        }
        Ok(Heard { payload: opened.json, standing: Standing::Sealed { keys: opened.keys, trust } })
    }

    /// Strangers share what they may send, so that those who are known get through a flood.
    fn admits(&mut self, from: &PeerId, now: Instant) -> bool {
        let is_known = self.acquaintances.contains_key(from)
            || self.partners.get(from).is_some_and(|partner| partner.sealed.is_some() || partner.is_plain);
        let bucket = self.strangers.get_or_insert_with(|| Bucket::full(STRANGERS_AT_ONCE, now));
        (is_known || bucket.take(STRANGERS_AT_ONCE, STRANGERS_A_SECOND, now)) && self.flood.admits(from, now)
    }

    fn open(&self, from: &PeerId, payload: &[u8]) -> Result<Opened, OpenError> {
        let mut refused = match message::open(&self.keys, Endpoint { id: &self.me, run: &self.run }, from, payload) {
            Err(refused @ OpenError::NotForUs) => refused,
            other => return other,
        };
        for run in &self.former {
            refused = match message::open(&self.keys, Endpoint { id: &self.me, run }, from, payload) {
                // A call of that program may go on here; none begins that it may have heard of.
                Ok(opened) if !is_offer(&opened.envelope) => return Ok(opened),
                Ok(_) => OpenError::NotForUs,
                Err(error) => error,
            };
        }
        Err(refused)
    }

    fn heard_in_plain(&mut self, from: &PeerId, payload: &[u8], unix_ms: u64) -> Result<Heard, Dropped> {
        match self.policy.plain {
            Plain::Refused => {
                let why = Distrust::PlainOnly { peer: from.clone() };
                let envelope = Envelope::from_bytes(payload).ok();
                let envelope = envelope.filter(|envelope| envelope.from == *from && envelope.to == self.me);
                let replies = envelope.map(|envelope| self.refusals(&envelope, Some(needs_a_key(&self.me)), unix_ms));
                let replies = replies.unwrap_or_default();
                let reply = replies.iter().filter_map(|envelope| envelope.to_bytes().ok()).collect();
                Err(Dropped::Distrusted { why, reply })
            }
            Plain::Allowed => {
                self.partner(from).is_plain = true;
                Ok(Heard { payload: payload.to_vec(), standing: Standing::Plain })
            }
        }
    }

    /// Whether a peer with these keys is spoken to.
    fn judge(&self, peer: &PeerId, keys: &PublicKeys) -> Result<Trust, Distrust> {
        let fingerprint = keys.fingerprint();
        let changed = |before: &str| {
            let (before, now) = (before.to_owned(), fingerprint.words());
            Distrust::Changed { peer: peer.clone(), before, now }
        };
        match self.acquaintances.get(peer) {
            Some(Acquaintance { opinion: Opinion::Blocked, .. }) => Err(Distrust::Blocked { peer: peer.clone() }),
            Some(Acquaintance { words: Some(words), .. }) if !fingerprint.has_words(words) => Err(changed(words)),
            Some(Acquaintance { words: Some(_), opinion: Opinion::Verified }) => Ok(Trust::Verified),
            Some(Acquaintance { words: Some(_), opinion: Opinion::Known }) => Ok(Trust::Known),
            Some(Acquaintance { words: None, .. }) | None => match self.pinned(peer) {
                Some(pinned) if pinned != fingerprint && self.policy.strangers != Strangers::Anew => {
                    Err(changed(&pinned.words()))
                }
                Some(_) | None => match self.policy.strangers {
                    Strangers::Refused => Err(Distrust::Stranger { peer: peer.clone(), now: fingerprint.words() }),
                    Strangers::Welcome | Strangers::Anew => Ok(Trust::First),
                },
            },
        }
    }

    /// The key that a peer showed in this run of the program.
    fn pinned(&self, peer: &PeerId) -> Option<Fingerprint> {
        let (keys, _) = self.partners.get(peer)?.sealed.as_ref()?;
        Some(keys.fingerprint())
    }

    /// Whether a peer is known to have a key; one that is blocked counts too.
    fn has_key(&self, peer: &PeerId) -> bool {
        self.acquaintances.contains_key(peer) || self.pinned(peer).is_some()
    }

    /// What a caller is told whose key is in the way.
    fn refuse(
        &self,
        to: &PeerId,
        opened: &Opened,
        why: &Distrust,
        (random, unix_ms): ([[u8; 32]; 2], u64),
    ) -> Vec<Vec<u8>> {
        if matches!(why, Distrust::Blocked { .. }) {
            return Vec::new();
        }
        let sealed =
            self.refusals(&opened.envelope, None, unix_ms).into_iter().zip(random).filter_map(|(envelope, random)| {
                self.seal(to, (&opened.keys, &opened.run), &envelope.to_bytes().ok()?, random).ok()
            });
        sealed.collect()
    }

    /// That its offer came, so that it is not sent again, and why it is refused, with `text` for people. Nothing else is
    /// answered.
    fn refusals(&self, offer: &Envelope, text: Option<String>, unix_ms: u64) -> Vec<Envelope> {
        let Content::Call { call, message: Message::Offer(_) } = &offer.content else { return Vec::new() };
        let bye = Message::Bye { reason: ByeReason::Identity, text };
        let bye = Content::Call { call: call.clone(), message: bye };
        let named = |letter: &str| format!("{letter}-{}", offer.id).chars().take(64).collect::<String>();
        let contents = [(named("a"), Content::Ack(Ack { of: offer.id.clone() })), (named("b"), bye)];
        let envelopes = contents.into_iter().filter_map(|(id, content)| {
            let (from, to, ts) = (self.me.clone(), offer.from.clone(), unix_ms);
            Some(Envelope { v: VERSION, id: MessageId::try_from(id).ok()?, from, to, ts, content })
        });
        envelopes.collect()
    }

    fn partner(&mut self, peer: &PeerId) -> &mut Partner {
        self.count += 1;
        if !self.partners.contains_key(peer) && self.partners.len() >= PARTNERS_MAX {
            let silent = self.partners.iter().min_by_key(|(_, partner)| partner.used).map(|(peer, _)| peer.clone());
            silent.and_then(|peer| self.partners.remove(&peer));
        }
        let partner = self.partners.entry(peer.clone()).or_default();
        partner.used = self.count;
        partner
    }
}

/// What a caller without a key is told, whose program may know nothing of sealing.
fn needs_a_key(me: &PeerId) -> String {
    format!("{me} takes sealed calls only: call with a tring that seals, or let {me} run with --plain")
}

fn is_offer(envelope: &Envelope) -> bool {
    matches!(envelope.content, Content::Call { message: Message::Offer(_), .. })
}

//! Whom we speak to: how messages of peers came, what is remembered of their keys, and what happens where one is not
//! trusted. What two people compare is [`verifying`](super::verifying)'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use signalling::id::{CallId, PeerId};
use signalling::mqtt::{Sealing, Shown};
use signalling::seal::{Acquaintances, Distrust, PublicKeys, Standing, Trust};
use tokio::sync::watch;

use super::jobs::Done;
use super::{Role, Session};
use crate::output::exit::{ExitStatus, Failure};
use crate::phone::events::Security;
use crate::phone::known_peers::KnownPeers;

/// Peers of whom it is known how their messages came: those of two calls, and of some that heard busy.
const STANDINGS_MAX: usize = 64;

/// Peers of whom is told that they are not trusted; a stranger has as many IDs as it likes.
const TOLD_MAX: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Trusts {
    /// Where keys are remembered; `None` where they are not.
    pub(super) memory: Option<KnownPeers>,
    /// Our own keys; `None` where nothing is to be sealed.
    pub(super) own: Option<PublicKeys>,
    /// What is remembered of peers.
    known: Option<watch::Receiver<Arc<Acquaintances>>>,
    standings: BTreeMap<PeerId, Standing>,
    told: BTreeSet<PeerId>,
}

impl Trusts {
    pub(super) fn new(memory: Option<KnownPeers>, sealing: Option<&Sealing>) -> Self {
        Self {
            memory,
            own: sealing.map(|sealing| *sealing.keys.public()),
            known: sealing.map(|sealing| sealing.acquaintances.clone()),
            standings: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    /// What is remembered of peers, if it has changed since this was last asked.
    pub(super) fn what_changed(&mut self) -> Option<Arc<Acquaintances>> {
        let known = self.known.as_mut()?;
        // Where nothing is remembered, nothing ever changes.
        known.has_changed().unwrap_or(false).then(|| Arc::clone(&known.borrow_and_update()))
    }

    /// The keys that the last message of this peer was sealed with; `None` where it was not, or none came.
    pub(super) fn keys_of(&self, peer: &PeerId) -> Option<PublicKeys> {
        match self.standings.get(peer)? {
            Standing::Plain => None,
            Standing::Sealed { keys, .. } => Some(*keys),
        }
    }

    /// A message of this peer came so. Where there are too many peers, one of those that are not in a call is forgotten.
    pub(super) fn stands(&mut self, peer: &PeerId, standing: Standing, is_in_call: impl Fn(&PeerId) -> bool) {
        if self.standings.len() >= STANDINGS_MAX && !self.standings.contains_key(peer) {
            let other = self.standings.keys().find(|peer| !is_in_call(peer)).cloned();
            other.map(|other| self.standings.remove(&other));
        }
        self.standings.insert(peer.clone(), standing);
    }

    /// True for a peer of whom is not told yet.
    fn is_news(&mut self, peer: &PeerId) -> bool {
        self.told.len() < TOLD_MAX && self.told.insert(peer.clone())
    }
}

impl Session {
    /// A peer is not spoken to. Where we call it, that is the end; a stranger's message is not.
    pub(super) fn distrusted(&mut self, why: Distrust, shown: Shown) -> Result<(), Failure> {
        let peer = why.peer().clone();
        let is_callee = matches!(&self.role, Role::Call { peer: callee, .. } if *callee == peer);
        let is_answered = self.calls.iter_mut().any(|live| live.peer == peer && live.marks.accepted.is_some());
        if shown == Shown::ByPresence && is_callee && !is_answered && !self.life.is_leaving() {
            return Err(Failure::new(ExitStatus::Identity, why));
        }
        if self.trust.is_news(&peer) {
            self.warn(why.to_string());
        }
        Ok(())
    }

    /// The call is established: from now on its peer is known by its key. How its messages come.
    pub(super) fn remember_partner(&mut self, call: &CallId) -> Security {
        let Some(peer) = self.calls.get(call).map(|live| live.peer.clone()) else { return Security::default() };
        let standing = self.trust.standings.get(&peer).cloned().unwrap_or(Standing::Plain);
        // Whoever has our own key is one of ours, in a demo or a test: there is nothing to compare.
        let is_ours = self.trust.keys_of(&peer).is_some_and(|keys| self.trust.own == Some(keys));
        if let (Standing::Sealed { keys, trust: Trust::First }, Some(memory)) = (&standing, &self.trust.memory) {
            let (memory, words) = (memory.clone(), keys.fingerprint().words());
            self.jobs.spawn(async move {
                let remembering = tokio::task::spawn_blocking(move || {
                    let remembered = memory.remember(peer, words);
                    remembered.map_err(|why| format!("cannot write {}: {why}", memory.path().display()))
                });
                Done::Remembered(remembering.await.unwrap_or_else(|error| Err(error.to_string())))
            });
        }
        let mut security = Security::of(standing);
        security.verified |= is_ours;
        if let Some(live) = self.calls.get_mut(call) {
            live.security = Some(security.clone());
        }
        security
    }

    /// The key of a peer was remembered, or could not be.
    pub(super) fn remembered(&self, remembered: Result<(), String>) {
        if let Err(why) = remembered {
            self.warn(format!("the key of the other side is not remembered: {why}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_make_nobody_forget_who_is_in_a_call() {
        let mut trusts = Trusts::new(None, None);
        let id = |text: &str| -> PeerId { text.parse().unwrap() };
        let sealed = Standing::Sealed { keys: PublicKeys::from_bytes([1; 64]), trust: Trust::First };
        let is_in_call = |peer: &PeerId| *peer == id("alice");
        trusts.stands(&id("alice"), sealed.clone(), is_in_call);
        for n in 0..2 * STANDINGS_MAX {
            trusts.stands(&id(&format!("stranger-{n}")), Standing::Plain, is_in_call);
        }
        assert_eq!(trusts.standings.len(), STANDINGS_MAX);
        assert_eq!(trusts.standings[&id("alice")], sealed);
    }
}

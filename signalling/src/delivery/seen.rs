//! Which messages have come before. Pure.
//!
//! Peers that we speak with have a memory each, which nobody else's messages can fill. All others share one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::{MessageId, PeerId};

/// Ids remembered of one peer that we speak with: more than [`crate::flood`] lets through of one sender in
/// [`super::EXPIRY`], so what is sent again is always known.
pub(super) const OF_A_PARTNER_MAX: usize = 2048;

/// Ids remembered of all others together.
pub(super) const OF_STRANGERS_MAX: usize = 4096;

/// Peers that we speak with: the partners of two calls, and of some before.
const PARTNERS_MAX: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seen {
    partners: BTreeMap<PeerId, Partner>,
    strangers: Ring<(PeerId, MessageId)>,
    count: u64,
}

#[derive(Debug, Default)]
struct Partner {
    ids: Ring<MessageId>,
    /// When we spoke to it last, as a count.
    spoken: u64,
}

impl Seen {
    /// We say something to this peer: from now on its messages are remembered apart from those of strangers.
    pub(super) fn speaks_with(&mut self, peer: &PeerId) {
        self.count += 1;
        let spoken = self.count;
        if let Some(partner) = self.partners.get_mut(peer) {
            partner.spoken = spoken;
            return;
        }
        if self.partners.len() == PARTNERS_MAX {
            let silent = self.partners.iter().min_by_key(|(_, partner)| partner.spoken).map(|(peer, _)| peer.clone());
            silent.and_then(|peer| self.partners.remove(&peer));
        }
        let mut ids = Ring::default();
        for (_, id) in self.strangers.take(|(from, _)| from == peer) {
            ids.insert(id, OF_A_PARTNER_MAX);
        }
        self.partners.insert(peer.clone(), Partner { ids, spoken });
    }

    /// True when this message comes for the first time.
    pub(super) fn is_new(&mut self, from: PeerId, id: MessageId) -> bool {
        match self.partners.get_mut(&from) {
            Some(partner) => partner.ids.insert(id, OF_A_PARTNER_MAX),
            None => self.strangers.insert((from, id), OF_STRANGERS_MAX),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.strangers.order.len() + self.partners.values().map(|partner| partner.ids.order.len()).sum::<usize>()
    }
}

/// The latest of what came; the oldest is forgotten.
#[derive(Debug)]
struct Ring<T> {
    known: BTreeSet<T>,
    order: VecDeque<T>,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { known: BTreeSet::new(), order: VecDeque::new() }
    }
}

impl<T: Clone + Ord> Ring<T> {
    /// False when it is known.
    fn insert(&mut self, item: T, most: usize) -> bool {
        if !self.known.insert(item.clone()) {
            return false;
        }
        self.order.push_back(item);
        if self.order.len() > most
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Takes out those that `belongs` is true of, oldest first.
    fn take(&mut self, belongs: impl Fn(&T) -> bool) -> Vec<T> {
        let (taken, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.order).into_iter().partition(belongs);
        self.order = rest.into();
        taken.iter().for_each(|item| {
            self.known.remove(item);
        });
        taken
    }
}

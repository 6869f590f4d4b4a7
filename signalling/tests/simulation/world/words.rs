//! The words of sealed calls: each side has its part in them, as in the session, and both come to the same ones.

use std::collections::BTreeMap;

use signalling::call::{Notice, State};
use signalling::id::{CallId, PeerId};
use signalling::seal::{Handshake, Parties, PublicKeys, SasNonce};
use signalling::wire::{Description, Message};

use super::{World, hold};
use crate::random::Random;

/// See the module.
pub(super) struct Words {
    /// A generator of its own: what else happens does not depend on it.
    random: Random,
    /// By call, and by who of its two sides.
    sides: BTreeMap<(CallId, usize), Handshake>,
}

impl Words {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed ^ 0x000a_11ce), sides: BTreeMap::new() }
    }

    /// A message of `who` leaves.
    pub(super) fn complete(&mut self, who: usize, call: &CallId, message: &mut Message) {
        if let Some(side) = self.sides.get_mut(&(call.clone(), who)) {
            side.complete(message);
        }
    }

    /// Both sides of a call that stands have the same words.
    pub(super) fn agree(&self, call: &CallId) -> Result<(), String> {
        let sides = self.sides.iter().filter(|((of, _), _)| of == call);
        let words: Vec<Option<&str>> = sides.map(|(_, side)| side.words()).collect();
        let [Some(one), Some(other)] = words[..] else { return Err(format!("{call} has no words: {words:?}")) };
        hold!(one == other, "{call} has {one:?} on one side, and {other:?} on the other");
        Ok(())
    }

    fn nonce(&mut self) -> SasNonce {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.random.next().to_ne_bytes());
        SasNonce::from_random(bytes)
    }
}

/// Nothing is sealed here, so any bytes do.
fn keys(peer: &PeerId) -> PublicKeys {
    PublicKeys::from_bytes([peer.as_str().as_bytes()[0]; 64])
}

impl World {
    fn parties(&self, who: usize, call: &CallId, peer: &PeerId) -> Parties {
        let me = self.peers[who].id.clone();
        Parties { call: call.clone(), me: (me.clone(), keys(&me)), peer: peer.clone() }
    }

    /// A call begins here.
    pub(super) fn begin_words(&mut self, who: usize, notice: &Notice) {
        match notice {
            Notice::Dialing { call, peer } => {
                let parties = self.parties(who, call, peer);
                let Some(words) = &mut self.words else { return };
                let nonce = words.nonce();
                words.sides.insert((call.clone(), who), Handshake::caller(parties, nonce));
            }
            Notice::Incoming { call, .. } => {
                let State::Incoming { offer, .. } = self.peers[who].phone.state_of(call) else { return };
                let offer = offer.clone();
                self.called(who, call, &offer);
            }
            _ => {}
        }
    }

    /// Somebody calls.
    pub(super) fn called(&mut self, who: usize, call: &CallId, offer: &Description) {
        let state = self.peers[who].phone.state_of(call);
        let Some((_, peer)) = state.call() else { return };
        let (parties, keys) = (self.parties(who, call, peer), keys(peer));
        let Some(words) = &mut self.words else { return };
        let nonce = words.nonce();
        if let Some(side) = Handshake::callee(parties, nonce, keys, offer) {
            words.sides.entry((call.clone(), who)).or_insert(side);
        }
    }

    /// The callee's first answer is taken: it is told our nonce.
    pub(super) fn answered(&mut self, who: usize, call: &CallId, answer: &Description) -> Result<(), String> {
        let Some((_, peer)) = self.peers[who].phone.state_of(call).call() else { return Ok(()) };
        let peer = peer.clone();
        let Some(words) = &mut self.words else { return Ok(()) };
        let side = words.sides.get_mut(&(call.clone(), who)).ok_or("an answer to no offer")?;
        let nonce = side.answered(&keys(&peer), answer).ok_or("an answer without a nonce")?;
        let now = self.now();
        let outputs = self.peers[who].delivery.send(peer, call.clone(), Message::Nonce { nonce }, now, 0);
        self.deliver(who, outputs)
    }

    /// The caller tells its nonce: once, however often it comes.
    pub(super) fn check_nonce(&mut self, who: usize, call: &CallId, nonce: SasNonce) -> Result<(), String> {
        let Some((_, peer)) = self.peers[who].phone.state_of(call).call() else { return Ok(()) };
        let keys = keys(peer);
        let Some(words) = &mut self.words else { return Err("a nonce in plain".to_owned()) };
        let side = words.sides.get_mut(&(call.clone(), who)).ok_or("a nonce of no call")?;
        let is_new = side.revealed(&keys, &nonce).map_err(|error| error.to_string())?;
        hold!(is_new, "the nonce of {call} came twice");
        Ok(())
    }
}

//! One side's way to the words of a call ([`super::sas`]): what its messages carry for them, and what it makes of those of
//! the other side. Pure: nonces are given to it.
//!
//! - caller: [`Handshake::caller`] → its offer with a commitment → [`Handshake::answered`] → its nonce, and the words
//! - callee: [`Handshake::callee`] → its answer with a nonce → [`Handshake::revealed`] → the words
//!
//! What belongs to the other side comes with the keys that it was sealed with: others may not take part.

#[cfg(test)]
mod tests;

use super::{Agreed, Commitment, InvalidSas, PublicKeys, SasNonce, SasPart, fingerprints};
use crate::id::{CallId, PeerId};
use crate::wire::{Description, Message};

/// Whose call it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parties {
    /// The call.
    pub call: CallId,
    /// We, with our keys.
    pub me: (PeerId, PublicKeys),
    /// The other side.
    pub peer: PeerId,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Handshake {
    parties: Parties,
    step: Step,
}

#[derive(Clone, Debug)]
enum Step {
    /// Caller: our offer is not out.
    Calling { nonce: SasNonce },
    /// Caller: our offer is out.
    Committed { nonce: SasNonce, dtls: Vec<String> },
    /// Callee: our answer is not out.
    Called { nonce: SasNonce, caller: Caller },
    /// Callee: our answer is out.
    Answered { nonce: SasNonce, caller: Caller, dtls: Vec<String> },
    /// Both have all of it.
    Agreed { words: String },
}

/// What a callee knows of its caller.
#[derive(Clone, Debug)]
struct Caller {
    keys: PublicKeys,
    promised: Commitment,
    dtls: Vec<String>,
}

impl Handshake {
    /// We call.
    #[must_use]
    pub const fn caller(parties: Parties, nonce: SasNonce) -> Self {
        Self { parties, step: Step::Calling { nonce } }
    }

    /// We are called, by whoever has `keys`; `None` where the offer has no commitment, as those of earlier programs.
    #[must_use]
    pub fn callee(parties: Parties, nonce: SasNonce, keys: PublicKeys, offer: &Description) -> Option<Self> {
        let Some(SasPart::Commitment(promised)) = offer.sas else { return None };
        let caller = Caller { keys, promised, dtls: fingerprints(&offer.sdp) };
        Some(Self { parties, step: Step::Called { nonce, caller } })
    }

    /// A message of ours leaves: the offer takes the commitment with it, the answers our nonce. The words belong to the first
    /// description.
    pub fn complete(&mut self, message: &mut Message) {
        match (&mut self.step, message) {
            (Step::Calling { nonce }, Message::Offer(offer)) => {
                let nonce = *nonce;
                offer.sas = Some(SasPart::Commitment(nonce.commitment(&self.parties.call, &self.parties.me.1)));
                self.step = Step::Committed { nonce, dtls: fingerprints(&offer.sdp) };
            }
            (Step::Called { nonce, caller }, Message::EarlyAnswer(answer) | Message::Answer(answer)) => {
                answer.sas = Some(SasPart::Nonce(*nonce));
                let (nonce, caller, dtls) = (*nonce, caller.clone(), fingerprints(&answer.sdp));
                self.step = Step::Answered { nonce, caller, dtls };
            }
            // The answer after an early one is the same.
            (Step::Answered { nonce, .. }, Message::EarlyAnswer(answer) | Message::Answer(answer)) => {
                answer.sas = Some(SasPart::Nonce(*nonce));
            }
            // Nothing else carries anything; an answer that leaves when there are words is one that is known.
            (
                Step::Calling { .. }
                | Step::Committed { .. }
                | Step::Called { .. }
                | Step::Answered { .. }
                | Step::Agreed { .. },
                _,
            ) => {}
        }
    }

    /// Caller: the callee, who has `keys`, answers. Our nonce, which it is to be sent; `None` where its answer has none, as
    /// those of earlier programs.
    pub fn answered(&mut self, keys: &PublicKeys, answer: &Description) -> Option<SasNonce> {
        let (Step::Committed { nonce, dtls }, Some(SasPart::Nonce(theirs))) = (&self.step, answer.sas) else {
            return None;
        };
        let (nonce, callee_dtls) = (*nonce, fingerprints(&answer.sdp));
        let agreed = Agreed {
            call: &self.parties.call,
            caller: (&self.parties.me.0, &self.parties.me.1),
            callee: (&self.parties.peer, keys),
            caller_dtls: dtls,
            callee_dtls: &callee_dtls,
        };
        self.step = Step::Agreed { words: agreed.words(&nonce, &theirs) };
        Some(nonce)
    }

    /// Callee: the caller, who has `keys`, tells its nonce. True when there are words now; false where none was waited for.
    ///
    /// # Errors
    /// [`InvalidSas::Broken`] when it is not the promised one, or the caller has other keys than its offer had.
    pub fn revealed(&mut self, keys: &PublicKeys, theirs: &SasNonce) -> Result<bool, InvalidSas> {
        let Step::Answered { nonce, caller, dtls } = &self.step else { return Ok(false) };
        if caller.keys != *keys {
            return Err(InvalidSas::Broken);
        }
        let agreed = Agreed {
            call: &self.parties.call,
            caller: (&self.parties.peer, keys),
            callee: (&self.parties.me.0, &self.parties.me.1),
            caller_dtls: &caller.dtls,
            callee_dtls: dtls,
        };
        agreed.check(&caller.promised, theirs)?;
        self.step = Step::Agreed { words: agreed.words(theirs, nonce) };
        Ok(true)
    }

    /// The four words, once both sides have all of it.
    #[must_use]
    pub fn words(&self) -> Option<&str> {
        match &self.step {
            Step::Agreed { words } => Some(words),
            Step::Calling { .. } | Step::Committed { .. } | Step::Called { .. } | Step::Answered { .. } => None,
        }
    }
}

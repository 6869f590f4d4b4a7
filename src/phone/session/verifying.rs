//! The words of a sealed call (docs/SECURITY.md): what goes to the other side and comes from it for them, and what our user
//! says of them.
//!
//! - out, with offers and answers: [`Session::complete`]
//! - in: [`Session::called`], [`Session::answered`], [`Session::check_nonce`] → [`Session::tell_words`]
//! - the user has compared them: [`Session::verify`], [`Session::doubt`] → what is remembered of the peer; what other
//!   programs note there: [`Session::take_up_opinions`]

use signalling::call::{self, Action};
use signalling::id::CallId;
use signalling::seal::{Acquaintance, Handshake, Opinion, Parties, SasNonce, same_words};
use signalling::wire::{Description, Message};

use super::Session;
use super::jobs::Done;
use super::work::Work;
use crate::output::exit::{ExitStatus, Failure};
use crate::phone::events::CallEvent;
use crate::platform::random;

impl Session {
    /// We call: the offer is to have a commitment.
    pub(super) fn calling(&mut self, call: &CallId) {
        let Some(parties) = self.parties(call) else { return };
        if let Some(live) = self.calls.get_mut(call) {
            live.handshake = Some(Handshake::caller(parties, drawn()));
        }
    }

    /// Somebody calls us with this offer: where it is sealed and has a commitment, our answer is to have a nonce.
    pub(super) fn called(&mut self, call: &CallId, offer: &Description) {
        let Some(parties) = self.parties(call) else { return };
        let Some(keys) = self.trust.keys_of(&parties.peer) else { return };
        if let Some(live) = self.calls.get_mut(call).filter(|live| live.handshake.is_none()) {
            live.handshake = Handshake::callee(parties, drawn(), keys, offer);
        }
    }

    /// A message of ours leaves.
    pub(super) fn complete(&mut self, call: &CallId, message: &mut Message) {
        if let Some(handshake) = self.calls.get_mut(call).and_then(|live| live.handshake.as_mut()) {
            handshake.complete(message);
        }
    }

    /// The callee's first answer is to be applied. It is told our nonce right after; media wait for nothing of this.
    pub(super) fn answered(&mut self, call: &CallId, answer: &Description) {
        let Some(live) = self.calls.get_mut(call) else { return };
        let (Some(keys), Some(handshake)) = (self.trust.keys_of(&live.peer), &mut live.handshake) else { return };
        let Some(nonce) = handshake.answered(&keys, answer) else { return };
        let (to, call) = (live.peer.clone(), call.clone());
        self.work.push(Work::Act(Action::Send { to, call, message: Message::Nonce { nonce } }));
    }

    /// The caller tells its nonce. One that does not fit its commitment ends the call.
    pub(super) fn check_nonce(&mut self, call: &CallId, nonce: SasNonce) {
        let Some(live) = self.calls.get_mut(call) else { return };
        let (Some(keys), Some(handshake)) = (self.trust.keys_of(&live.peer), &mut live.handshake) else { return };
        match handshake.revealed(&keys, &nonce) {
            Ok(true) if live.marks.connected.is_some() => self.tell_words(call),
            // They are told when the call stands; or it told its nonce before.
            Ok(true | false) => {}
            Err(error) => {
                let peer = &live.peer;
                let text = format!(
                    "{error}; run `tring contacts forget {peer}`, and compare the words of `tring id` before you call again"
                );
                live.failure = Some(Failure::new(ExitStatus::Identity, text));
                self.phone_event(call::Event::CommitmentBroken { call: call.clone() });
            }
        }
    }

    /// Tells the words of a call that stands, once there are any.
    pub(super) fn tell_words(&self, call: &CallId) {
        let Some(live) = self.calls.get(call) else { return };
        let (Some(words), Some(security)) = (live.words(), &live.security) else { return };
        let (words, verified) = (words.to_owned(), security.verified);
        self.tell_of(call, &CallEvent::Words { words, verified });
    }

    /// Whether the key of the call that the user talks in is known to be that of the other side.
    pub(super) fn is_verified(&self) -> bool {
        let live = self.front().and_then(|call| self.calls.get(&call));
        live.and_then(|live| live.security.as_ref()).is_some_and(|security| security.verified)
    }

    /// Our user has compared the words of the call that it talks in, or heard `heard` from the other side: they are the
    /// same. From now on the key is known to be that of the peer.
    pub(super) fn verify(&mut self, heard: Option<&str>) {
        let live = self.front().and_then(|call| self.calls.get(&call));
        let Some((live, security)) = live.and_then(|live| Some((live, live.security.as_ref()?))) else {
            return self.warn("there is no sealed call whose words could be compared".to_owned());
        };
        let peer = &live.peer;
        if !security.sealed {
            return self.warn(format!(
                "this call is not sealed, so there is nothing to verify: {peer} shows no key; it needs a program that seals"
            ));
        }
        let Some(words) = live.words() else {
            return self.warn(format!(
                "this call has no words to compare: the program of {peer} is an earlier one, or they have not come yet. \
                 Compare those of `tring id`, and run `tring contacts verify {peer} WORDS`"
            ));
        };
        if heard.is_some_and(|heard| !same_words(heard, words)) {
            let text = format!(
                "these are not the words of this call, which are: {words}. If they are those that {peer} sees, somebody sits \
                 in the middle: hang up, and run `tring contacts forget {peer}`"
            );
            return self.warn(text);
        }
        self.note(Opinion::Verified);
    }

    /// Our user takes it back.
    pub(super) fn doubt(&mut self) {
        if self.is_verified() {
            self.note(Opinion::Known);
        } else {
            self.warn("the other side of this call is not verified".to_owned());
        }
    }

    /// Notes down what our user thinks of the key of the call that it talks in.
    fn note(&mut self, opinion: Opinion) {
        let Some(live) = self.front().and_then(|call| self.calls.get(&call)) else { return };
        let Some(key) = live.security.as_ref().and_then(|security| security.key.clone()) else { return };
        let (call, peer) = (live.call.clone(), live.peer.clone());
        let Some(memory) = self.trust.memory.clone() else {
            self.warn_of(&call, format!("nothing is remembered here: this holds for this call with {peer} alone"));
            return self.noted(&call, opinion, Ok(()));
        };
        self.jobs.spawn(async move {
            let noting = tokio::task::spawn_blocking(move || memory.note(&peer, &key, opinion));
            let noted = noting.await.unwrap_or_else(|error| Err(error.to_string()));
            Done::Noted(call, opinion, noted)
        });
    }

    /// What our user thinks is noted down, or cannot be.
    pub(super) fn noted(&mut self, call: &CallId, opinion: Opinion, noted: Result<(), String>) {
        if let Err(why) = noted {
            return self.warn_of(call, format!("what you say of the other side is not noted: {why}"));
        }
        let on = opinion == Opinion::Verified;
        if let Some(security) = self.calls.get_mut(call).and_then(|live| live.security.as_mut()) {
            security.verified = on;
        }
        self.tell_of(call, &CallEvent::Verified { on });
    }

    /// Another program, such as `tring contacts`, may note what the user thinks of a peer: calls that stand take it up.
    pub(super) fn take_up_opinions(&mut self) {
        let Some(known) = self.trust.what_changed() else { return };
        for call in self.calls.ids() {
            let Some(live) = self.calls.get_mut(&call) else { continue };
            let Some(Acquaintance { words: Some(words), opinion }) = known.get(&live.peer) else { continue };
            let Some(security) = &mut live.security else { continue };
            let on = *opinion == Opinion::Verified;
            if security.key.as_ref() == Some(words) && security.verified != on {
                security.verified = on;
                self.tell_of(&call, &CallEvent::Verified { on });
            }
        }
    }

    /// Whose call it is; `None` where nothing is to be sealed.
    fn parties(&self, call: &CallId) -> Option<Parties> {
        let keys = self.trust.own?;
        let peer = self.calls.get(call)?.peer.clone();
        Some(Parties { call: call.clone(), me: (self.settings.link.me.clone(), keys), peer })
    }
}

/// A nonce for one call.
fn drawn() -> SasNonce {
    SasNonce::from_random(random::bytes())
}

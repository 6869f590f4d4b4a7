//! The answer to a call that rings, made ahead: addresses are gathered and TURN servers asked before anyone accepts, and a
//! caller whom our user knows gets the answer at once, so that the path is set up while it rings.
//!
//! - it rings → [`Session::prepare_ahead`] → a peer connection without devices, which has no candidates of the caller
//! - accepted → [`Session::accepted`]: devices are opened, and media begin when they are
//!
//! Until then no camera and no microphone is opened and nothing is sent. A stranger learns no address of ours before the
//! answer: without the caller's candidates nothing is sent to them, and without our answer nothing comes from them.

use std::sync::Arc;

use ::media::peer::sdp::takes_early_answer;
use signalling::call::{self, Action, Confidence, State};
use signalling::dialect::Dialect;
use signalling::id::CallId;
use signalling::wire::Description;

use super::Session;
use super::calls::Ahead;
use super::jobs::Done;
use super::media::{self, Prepared};
use super::open::{Aside, OpenMedia, Speaking};
use super::work::Work;
use crate::output::exit::Failure;
use crate::phone::events::CallEvent;

impl Session {
    /// It rings: the answer is made ahead, where a person is asked who takes their time.
    pub(super) fn prepare_ahead(&mut self, id: &CallId) {
        let State::Incoming { offer, peer, .. } = self.phone.state_of(id) else { return };
        // The devices and the line are another call's.
        let is_only_call = self.calls.len() == 1;
        // Candidates inside of a description cannot be kept back.
        let has_candidates = offer.sdp.contains("a=candidate:");
        if !self.role.asks() || !is_only_call || has_candidates || self.settings.dialect != Dialect::Tring {
            return;
        }
        let is_known = self.settings.early_media.admits(peer) && takes_early_answer(&offer.sdp);
        let confidence = if is_known { Confidence::Known } else { Confidence::Stranger };
        let offer = Description { candidates: Vec::new(), ..offer.clone() };
        let (config, call) = (self.settings.peer_now(), id.clone());
        if let Some(live) = self.calls.get_mut(id) {
            live.ahead = Ahead::Making;
        }
        self.spawn(id, async move {
            let made = media::prepare_answer(config, None, offer).await.map(Box::new);
            Done::Ahead(call, confidence, made)
        });
    }

    /// The answer is made, or cannot be: then it is tried again when our user accepts, and what is wrong is told then.
    pub(super) fn prepared_ahead(&mut self, id: CallId, confidence: Confidence, made: Result<Box<Prepared>, Failure>) {
        let is_over = self.phone.state_of(&id) == &State::Idle;
        let Some(live) = self.calls.get_mut(&id).filter(|_| !is_over) else {
            if let Ok(prepared) = made {
                self.close_aside(prepared.media);
            }
            return;
        };
        let wanted = match std::mem::take(&mut live.ahead) {
            Ahead::Making => None,
            Ahead::Wanted(offer) => Some(offer),
            other => {
                live.ahead = other;
                if let Ok(prepared) = made {
                    self.close_aside(prepared.media);
                }
                return;
            }
        };
        match (made, wanted) {
            (Ok(prepared), wanted) => {
                let Prepared { media, description, agreed } = *prepared;
                let Some(agreed) = agreed else { return };
                media.expect_nothing();
                live.media = Some(media);
                live.ahead = Ahead::Made(agreed);
                match wanted {
                    None => self.phone_event(call::Event::AnswerPrepared { call: id, description, confidence }),
                    Some(Description { candidates, .. }) => {
                        self.open_for(&id);
                        self.phone_event(call::Event::DescriptionReady { call: id.clone(), description });
                        self.work.push(Work::Act(Action::AddCandidates { call: id, candidates }));
                    }
                }
            }
            (Err(failure), None) => tracing::debug!(%failure.text, "no answer ahead; it is made when it is asked for"),
            (Err(_), Some(offer)) => self.prepare(id, Some(offer)),
        }
    }

    /// The answer is asked for; true when it is being made already.
    pub(super) fn is_made_ahead(&mut self, id: &CallId, offer: &Description) -> bool {
        let Some(live) = self.calls.get_mut(id) else { return false };
        match live.ahead {
            Ahead::Making => {
                live.ahead = Ahead::Wanted(offer.clone());
                true
            }
            Ahead::No | Ahead::Wanted(_) | Ahead::Made(_) | Ahead::Opening(_) => false,
        }
    }

    /// A call was accepted, by us or by the other side: where the path was set up ahead, media begin now.
    pub(super) fn accepted(&mut self, id: &CallId) {
        let Some(live) = self.calls.get_mut(id) else { return };
        if let Some(agreed) = live.agreed_early.take() {
            live.marks.ice = None;
            if let Some(media) = &live.media {
                media.expect_media();
            }
            return self.described(id, agreed);
        }
        if matches!(live.ahead, Ahead::Made(_)) {
            self.open_for(id);
            self.end_if_hopeless(id);
        }
    }

    /// Opens devices for a call whose answer was made ahead.
    fn open_for(&mut self, id: &CallId) {
        let settings = Arc::new(self.settings.media.clone());
        let own = self.screen.own_of_new_call();
        let Some(live) = self.calls.get_mut(id) else { return };
        let Ahead::Made(agreed) = std::mem::take(&mut live.ahead) else { return };
        live.ahead = Ahead::Opening(agreed.clone());
        // Times of the set-up count from the answer.
        live.marks.ice = None;
        if let Some(media) = &live.media {
            media.expect_media();
        }
        // Whatever comes from now on is shown as soon as there is something that shows it.
        self.described(id, agreed);
        let call = id.clone();
        self.spawn(id, async move {
            let opened = OpenMedia::open_aside(settings, own, Speaking::Needed).await;
            Done::Opened(call, opened.map(Box::new))
        });
    }

    /// Devices are open for a call whose answer was made ahead.
    pub(super) fn opened(&mut self, id: &CallId, opened: Result<Box<Aside<OpenMedia>>, Failure>) {
        let sides = self.phone.state_of(id).media();
        let (open, sides) = match (opened, sides) {
            (Ok(open), Some(sides)) => (open, sides),
            // Closed aside where it is dropped.
            (Ok(_), None) => return,
            (Err(failure), _) => {
                if let Some(live) = self.calls.get_mut(id) {
                    live.failure.get_or_insert(failure);
                }
                let change = call::MediaChange::Unavailable;
                return self.phone_event(call::Event::Media { call: id.clone(), change });
            }
        };
        let Some(live) = self.calls.get_mut(id) else { return };
        let Ahead::Opening(agreed) = std::mem::take(&mut live.ahead) else { return };
        let Some(media) = &mut live.media else { return };
        media.give(*open);
        media.switch(sides.local);
        let complaint = media.complaint();
        let display = self.screen.open_view(&live.peer, &self.printer);
        if let Err(failure) = media.start_receiving(agreed, display) {
            live.failure.get_or_insert(failure);
        }
        let is_connected = live.marks.connected.is_some();
        if let Some(text) = complaint {
            self.warn_of(id, text);
        }
        if is_connected {
            self.start_sending(id);
        }
    }

    /// The callee's answer came before it accepts: the path is set up, and nothing is shown.
    pub(super) async fn apply_early_answer(&mut self, id: &CallId, answer: Description) {
        let Some(live) = self.calls.get_mut(id) else { return };
        let Some(media) = live.media.as_mut() else { return };
        match media.apply_answer(answer).await {
            Ok(agreed) => {
                media.expect_nothing();
                live.agreed_early = Some(agreed);
            }
            Err(error) => live.problems.push(error.to_string()),
        }
    }

    /// The path is up. True while nobody has accepted: the user hears of it, and nothing else happens.
    pub(super) fn is_up_early(&self, id: &CallId) -> bool {
        match self.phone.state_of(id) {
            State::Dialing { .. } | State::Ringing { .. } | State::Incoming { .. } => true,
            State::Idle
            | State::Offering { .. }
            | State::Answering { .. }
            | State::Connecting { .. }
            | State::Active { .. } => false,
        }
    }

    pub(super) fn tell_early_path(&self, id: &CallId) {
        self.tell_of(id, &CallEvent::PathReady);
    }

    /// Our user accepts. What was made ahead for other addresses than there are now is not used.
    pub(super) fn accept(&mut self) {
        let rings = |state: &State| matches!(state, State::Incoming { .. });
        let line = if rings(self.phone.back()) { self.phone.back() } else { self.phone.front() };
        if let Some(id) = line.call().filter(|_| rings(line)).map(|(call, _)| call.clone()) {
            let live = self.calls.get_mut(&id);
            let is_outdated = live.and_then(|live| live.media.as_ref()).is_some_and(|media| media.peer().is_outdated());
            if is_outdated {
                self.outdate(&id);
            }
        }
        self.phone_event(call::Event::Accept);
    }

    /// This machine has other addresses than those that the answer was made with.
    pub(super) fn outdate(&mut self, id: &CallId) {
        let State::Incoming { answer: Some(answer), .. } = self.phone.state_of(id) else { return };
        // What the caller knows is renewed by an update; anything else is made anew.
        let is_told = answer.path.is_some();
        self.phone_event(call::Event::AnswerOutdated { call: id.clone() });
        if is_told {
            return;
        }
        let Some(live) = self.calls.get_mut(id) else { return };
        live.ahead = Ahead::No;
        if let Some(media) = live.media.take() {
            self.close_aside(media);
        }
    }
}

//! Carrying out what the phone decides: messages and notices to the user; what concerns media is [`media_actions`]'s.
//!
//! [`media_actions`]: super::media_actions

use std::time::Instant;

use signalling::call::{self, Action, Notice, Side, State};
use signalling::id::{CallId, PeerId};

use super::broker::OFFLINE_GRACE;
use super::calls::Timer;
use super::marks::Marks;
use super::rules::UNANSWERED;
use super::screen::Place;
use super::work::Work;
use super::{LiveCall, Role, Session};
use crate::cli::Answer;
use crate::phone::events::{CallEvent, Plan};

impl Session {
    /// Tells the phone what happened, when all that came before it is done.
    pub(super) fn phone_event(&mut self, event: call::Event) {
        self.work.push(Work::Phone(event));
    }

    /// Carries out one action of the phone.
    pub(super) async fn act(&mut self, action: Action) {
        match action {
            Action::Send { to, call, mut message } => {
                self.complete(&call, &mut message);
                let outputs = self.messages.send(to, call, message);
                self.deliver(outputs);
            }
            Action::MakeOffer { call } => self.prepare(call, None),
            Action::MakeAnswer { call, offer } => {
                self.called(&call, &offer);
                if !self.is_made_ahead(&call, &offer) {
                    self.prepare(call, Some(offer));
                }
            }
            Action::ApplyEarlyAnswer { call, answer } => {
                self.answered(&call, &answer);
                self.apply_early_answer(&call, answer).await;
            }
            Action::ApplyAnswer { call, answer } => {
                self.answered(&call, &answer);
                self.apply_answer(call, answer).await;
            }
            Action::CheckNonce { call, nonce } => self.check_nonce(&call, nonce),
            Action::MakeUpdate { call, revision, renewal } => self.make_update(call, revision, renewal),
            Action::AnswerUpdate { call, revision, offer } => self.answer_update(call, revision, offer),
            Action::ApplyUpdate { call, revision, answer } => self.apply_update(call, revision, answer).await,
            Action::AddCandidates { call, candidates } => {
                if let Some(live) = self.calls.get_mut(&call)
                    && let Some(media) = &mut live.media
                {
                    live.candidates_left_out += media.add_candidates(candidates).await as u64;
                }
            }
            Action::HoldMedia { call } => self.hold_media(&call),
            Action::ResumeMedia { call } => self.resume_media(&call),
            Action::CloseMedia { call } => {
                if let Some(live) = self.calls.get_mut(&call) {
                    live.abort_jobs();
                }
                self.messages.delivery.forget(&call);
            }
            Action::Notify(notice) => self.notice(notice).await,
        }
    }

    async fn notice(&mut self, notice: Notice) {
        self.habits.before_notice(&notice, &mut self.calls, &self.role).await;
        let now = Instant::now();
        match notice {
            Notice::Dialing { call, peer } => {
                self.begin(&call, peer, Marks { dialed: Some(now), ..Marks::default() });
                self.calling(&call);
                if let Some(live) = self.calls.get_mut(&call) {
                    live.timers.set(Timer::NoRinging, now + UNANSWERED);
                    // It may be known before we dial.
                    if self.link.is_callee_offline() {
                        live.timers.set(Timer::Offline, now + OFFLINE_GRACE);
                    }
                }
                self.tell_of(&call, &CallEvent::Dialing);
            }
            Notice::Ringing { call, .. } => {
                if let Some(live) = self.calls.get_mut(&call) {
                    live.timers.stop(Timer::NoRinging);
                }
                self.tell_of(&call, &CallEvent::Ringing);
            }
            Notice::Incoming { call, peer } => {
                let waiting = !self.calls.is_empty();
                self.begin(&call, peer, Marks::default());
                self.screen.open_question(self.calls.len()).await;
                self.tell_of(&call, &CallEvent::Incoming { waiting });
                if let State::Incoming { offer, .. } = self.phone.state_of(&call) {
                    let offer = offer.clone();
                    self.called(&call, &offer);
                }
                self.prepare_ahead(&call);
                self.answer_or_ask(&call);
            }
            Notice::Accepted { call, .. } => {
                if let Some(live) = self.calls.get_mut(&call) {
                    live.marks.accepted = Some(now);
                    live.timers.stop(Timer::NoRinging);
                }
                self.show_presence();
                self.tell_of(&call, &CallEvent::Accepted);
                self.accepted(&call);
            }
            Notice::Connected { call, .. } => self.connected(&call).await,
            Notice::Reconnecting { call, .. } => {
                if let Some(live) = self.calls.get_mut(&call) {
                    live.interrupted_at = Some(now);
                }
                self.tell_of(&call, &CallEvent::Reconnecting);
            }
            Notice::Reconnected { call, .. } => self.reconnected(&call).await,
            Notice::Held { call, side, on } => {
                self.held(&call);
                self.tell_of(&call, &CallEvent::Held { side, on });
            }
            Notice::Switched { call, audio, video } => {
                let muted = CallEvent::Muted { side: Side::Remote, audio: !audio, video: !video };
                self.tell_of(&call, &muted);
            }
            Notice::Paused { call, on } => {
                let plan = Plan::of_other_side(on);
                self.tell_of(&call, &CallEvent::Plan { side: Side::Remote, plan });
            }
            Notice::UpdateRefused { call, text } => {
                let why =
                    text.map(|text| format!(": {}", crate::output::sanitize::harmless(&text))).unwrap_or_default();
                self.warn_once_of(&call, format!("the other side could not change the call{why}"));
            }
            Notice::Superseded { call, by, .. } => self.superseded(&call, by),
            Notice::TurnedAway { peer } => self.turned_away(peer),
            Notice::Ended { call, reason, text, .. } => self.ended(&call, reason, text),
        }
    }

    fn begin(&mut self, call: &CallId, peer: PeerId, marks: Marks) {
        self.calls.begin(LiveCall::new(call.clone(), peer, marks));
    }

    /// The other's call goes on in place of ours.
    fn superseded(&mut self, call: &CallId, by: CallId) {
        let Some(live) = self.calls.get_mut(call) else { return };
        live.call = by;
        // The words are those of the other's call.
        live.handshake = None;
        if let Some(media) = live.media.take() {
            self.close_aside(media);
        }
    }

    fn answer_or_ask(&mut self, call: &CallId) {
        match self.role {
            Role::Listen { answer: Answer::Auto, .. } => self.phone_event(call::Event::Accept),
            Role::Listen { answer: Answer::Reject, .. } => self.phone_event(call::Event::Decline { text: None }),
            Role::Listen { answer: Answer::Ask, .. } => self.ask(call),
            // Whoever waits for someone to come online is glad when they ring first; others are declined.
            Role::Call { ref peer, .. } => {
                let awaited = self.calls.get(call).is_some_and(|live| live.peer == *peer);
                let event = if awaited { call::Event::Accept } else { call::Event::Decline { text: None } };
                self.phone_event(event);
            }
        }
    }

    /// Asks whether to answer: in the view of the call that stands, where there is one in the terminal, else there.
    fn ask(&self, call: &CallId) {
        let Some(peer) = self.calls.get(call).map(|live| live.peer.clone()) else { return };
        if self.screen.place_of_question(self.calls.len()) != Place::Terminal {
            return;
        }
        if self.printer.is_text() {
            let held = if self.calls.len() > 1 { " (the call that stands is put on hold)" } else { "" };
            self.printer.result(&format!("answer? [y/n]{held}"));
        } else if !self.printer.is_json() {
            self.printer.result(&format!("{peer} is calling; answer? [y/n]"));
        }
    }

    /// Tells of somebody who heard busy, and notes it down: of a flood of them a few.
    fn turned_away(&mut self, peer: PeerId) {
        if self.habits.admits_turned_away() {
            self.tell_left_out();
            self.habits.log_turned_away(peer, &mut self.jobs);
        }
    }

    /// Says how many of those were not told of.
    pub(super) fn tell_left_out(&mut self) {
        if let Some(text) = self.habits.left_out() {
            self.warn(text);
        }
    }
}

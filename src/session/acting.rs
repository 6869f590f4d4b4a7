//! Carrying out what the line decides: messages, peer connections, notices to the user.

use std::sync::Arc;
use std::time::Instant;

use ::media::peer::config::IceServerKind;
use ::media::peer::turn_check;
use signalling::call::{self, Action, MediaChange, Notice};
use signalling::id::{CallId, PeerId};
use signalling::wire::{Description, Message, PresenceState};

use super::figures::Meter;
use super::media::{Marks, Prepared, prepare};
use super::{CurrentCall, Role, STATS_EVERY, Session, figures};
use crate::cli::Answer;
use crate::events::Event;
use crate::exit::{ExitStatus, Failure};
use crate::printer::unix_ms;
use crate::usage;

impl Session {
    pub(super) async fn line_event(&mut self, event: call::Event) -> Result<(), Failure> {
        let actions = self.line.handle(event, Instant::now());
        self.act(actions).await
    }

    /// The same from within [`Session::act`]'s own calls: an action may send, and sending is an event again.
    pub(super) fn line_event_boxed(
        &mut self,
        event: call::Event,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + '_>> {
        Box::pin(self.line_event(event))
    }

    pub(super) async fn act(&mut self, actions: Vec<Action>) -> Result<(), Failure> {
        for action in actions {
            match action {
                Action::Send { to, call, message } => {
                    if let Message::Bye { .. } = message {
                        self.delivery.forget(&call);
                    }
                    let outputs = self.delivery.send(to, call, message, Instant::now(), unix_ms());
                    self.deliver(outputs).await?;
                }
                Action::MakeOffer { call } => self.prepare(call, None),
                Action::MakeAnswer { call, offer } => self.prepare(call, Some(offer)),
                Action::ApplyAnswer { call, answer } => self.apply_answer(call, answer).await?,
                Action::AddCandidates { candidates, .. } => {
                    if let (Some(media), Some(current)) = (&self.media, &mut self.current) {
                        current.candidates_left_out += media.add_candidates(candidates).await as u64;
                    }
                }
                Action::CloseMedia { call } => {
                    self.preparing.abort_all();
                    self.turn_checks.abort_all();
                    self.delivery.forget(&call);
                }
                Action::Notify(notice) => self.notice(notice).await?,
            }
        }
        Ok(())
    }

    pub(super) fn prepare(&mut self, call: CallId, offer: Option<Description>) {
        let settings = Arc::new(self.settings.media.clone());
        let config = self.settings.peer_now();
        let servers = config.ice_servers.clone();
        let checked = call.clone();
        self.turn_checks.spawn(async move {
            let mut problems = Vec::new();
            for server in servers.iter().filter(|server| server.url.kind == IceServerKind::Turn) {
                if let Err(error) = turn_check::check(server).await {
                    problems.push(error.to_string());
                }
            }
            (checked, problems)
        });
        let open = self.open.take();
        self.preparing.spawn(async move {
            let prepared = prepare(settings, config, open, offer).await;
            (call, prepared.map(Box::new))
        });
    }

    pub(super) async fn prepared(
        &mut self,
        call: CallId,
        prepared: Result<Box<Prepared>, Failure>,
    ) -> Result<(), Failure> {
        let is_current = self.line.state().call().is_some_and(|(current, _)| *current == call);
        match prepared {
            Ok(prepared) if !is_current => {
                prepared.media.close().await;
            }
            Ok(prepared) => {
                let Prepared { media, description } = *prepared;
                let answering = media.negotiated.is_some();
                self.media = Some(media);
                if answering {
                    self.described()?;
                }
                self.line_event(call::Event::DescriptionReady { call, description }).await?;
            }
            Err(failure) => {
                // An offer that cannot be used is the other side's fault, anything else is ours.
                let no_path = failure.status == ExitStatus::NoPath;
                let change = if no_path { MediaChange::Failed } else { MediaChange::Unavailable };
                if let Some(current) = self.current.as_mut().filter(|current| current.call == call) {
                    current.failure = Some(failure);
                }
                self.line_event(call::Event::Media { call, change }).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn apply_answer(&mut self, call: CallId, answer: Description) -> Result<(), Failure> {
        let Some(media) = &mut self.media else { return Ok(()) };
        match media.apply_answer(answer).await {
            Ok(()) => self.described(),
            Err(error) => {
                self.problem(error.to_string());
                self.line_event_boxed(call::Event::Media { call, change: MediaChange::Failed }).await
            }
        }
    }

    /// Both descriptions are known.
    pub(super) fn described(&mut self) -> Result<(), Failure> {
        let (Some(media), Some(current)) = (&mut self.media, &mut self.current) else { return Ok(()) };
        current.marks.described = Some(Instant::now());
        let title = format!("tring: {}", current.peer);
        if let Err(failure) = media.start_receiving(&self.settings.media, &title, &self.windows, &self.printer) {
            current.failure.get_or_insert(failure);
        }
        let negotiated = media.negotiated.clone().unwrap_or_default();
        let event = Event::Connecting {
            video: negotiated.video.map(|(codec, _)| codec.to_string()),
            audio: negotiated.audio.map(|_| "opus".to_owned()),
        };
        self.printer.tell_of(&event, &current.call, &current.peer);
        Ok(())
    }

    pub(super) async fn notice(&mut self, notice: Notice) -> Result<(), Failure> {
        self.mind(&notice).await;
        let now = Instant::now();
        match notice {
            Notice::Dialing { call, peer } => {
                self.begin(call, peer, Marks { dialed: Some(now), ..Marks::default() });
                self.tell(&Event::Dialing);
            }
            Notice::Ringing { .. } => self.tell(&Event::Ringing),
            Notice::Incoming { call, peer } => {
                self.begin(call, peer, Marks::default());
                self.tell(&Event::Incoming);
                self.answer_or_ask().await?;
            }
            Notice::Accepted { .. } => {
                if let Some(current) = &mut self.current {
                    current.marks.accepted = Some(now);
                }
                self.link.set_presence(PresenceState::Busy);
                self.tell(&Event::Accepted);
            }
            Notice::Connected { .. } => self.connected().await?,
            Notice::Reconnecting { .. } => self.tell(&Event::Reconnecting),
            Notice::Reconnected { .. } => self.tell(&Event::Reconnected),
            Notice::Superseded { by, .. } => {
                if let Some(media) = self.media.take() {
                    media.close().await;
                }
                if let Some(current) = &mut self.current {
                    current.call = by;
                }
            }
            Notice::TurnedAway { peer } => self.printer.tell(&Event::TurnedAway { caller: peer.to_string() }),
            Notice::Ended { reason, .. } => self.ended(reason).await?,
        }
        Ok(())
    }

    pub(super) fn begin(&mut self, call: CallId, peer: PeerId, marks: Marks) {
        self.current = Some(CurrentCall {
            call,
            peer,
            marks,
            stats_due: None,
            snapshot_due: None,
            hang_up_at: None,
            offline_at: None,
            problems: Vec::new(),
            failure: None,
            candidates_left_out: 0,
            muted: false,
            camera_off: false,
        });
    }

    pub(super) async fn answer_or_ask(&mut self) -> Result<(), Failure> {
        match self.role {
            Role::Listen { answer: Answer::Auto, .. } => self.line_event_boxed(call::Event::Accept).await,
            Role::Listen { answer: Answer::Reject, .. } => self.line_event_boxed(call::Event::Decline).await,
            Role::Listen { answer: Answer::Ask, .. } => {
                if let (Some(prompt), Some(current)) = (&self.prompt, &self.current) {
                    prompt.ask();
                    if !self.printer.is_json() {
                        self.printer.result(&format!("{} is calling; answer? [y/n]", current.peer));
                    }
                }
                Ok(())
            }
            // Whoever waits for someone to come online is glad when they ring first; other callers hear busy.
            Role::Call { ref peer, .. } => {
                let awaited = self.current.as_ref().is_some_and(|current| current.peer == *peer);
                let event = if awaited { call::Event::Accept } else { call::Event::Decline };
                self.line_event_boxed(event).await
            }
        }
    }

    pub(super) async fn connected(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        let Some(media) = &mut self.media else { return Ok(()) };
        if let Err(failure) = media.start_sending()
            && let Some(current) = &mut self.current
        {
            current.failure.get_or_insert(failure);
        }
        let pair = media.selected_pair().await.map(figures::pair);
        self.meter = Meter::new(now);
        if let Some(current) = &mut self.current {
            current.marks.connected = Some(now);
            current.marks.processor_at_connected = usage::processor_time();
            current.marks.ice.get_or_insert(now);
            current.stats_due = Some(now + STATS_EVERY);
            current.hang_up_at = self.settings.media.duration.map(|duration| now + duration);
        }
        self.tell(&Event::Connected { pair });
        Ok(())
    }
}

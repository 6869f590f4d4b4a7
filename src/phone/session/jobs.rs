//! Work that goes on aside while the loop goes on: descriptions, devices, TURN checks.

use std::sync::Arc;

use ::media::peer::config::IceServerKind;
use ::media::peer::probe::{self, TurnError};
use ::media::peer::sdp::Negotiated;
use ::media::peer::{self, PeerError};
use signalling::call::{self, Confidence, MediaChange, Renewal};
use signalling::id::CallId;
use signalling::seal::Opinion;
use signalling::wire::Description;

use super::descriptions::Revision;
use super::ended_call::EndedCall;
use super::media::{self, CallMedia, Prepared};
use super::open::{Aside, OpenMedia, Sources, Speaking, close_devices};
use super::{LiveCall, Session};
use crate::output::events::ProgramEvent;
use crate::output::exit::{ExitStatus, Failure};

/// What became of it.
pub(super) enum Done {
    /// A peer connection with its first description.
    Prepared(CallId, Result<Box<Prepared>, Failure>),
    /// The same while it rings; whether the caller is told of it at once.
    Ahead(CallId, Confidence, Result<Box<Prepared>, Failure>),
    /// Devices, for a call whose answer was made while it rang.
    Opened(CallId, Result<Box<Aside<OpenMedia>>, Failure>),
    /// What is wrong with TURN servers.
    TurnChecked(CallId, Vec<TurnError>),
    /// A new offer in a standing call, or the answer to one.
    Revised(CallId, u32, Result<Revision, PeerError>),
    /// Camera and microphone, again or others.
    Sources(CallId, u64, Result<Box<Sources>, Failure>),
    /// Camera and microphone were given back.
    Released,
    /// A call that is over has closed its media.
    Ended(Box<EndedCall>),
    /// A line of the call log was written, or could not be.
    LogWritten(Result<(), String>),
    /// The key of a peer was remembered, or could not be.
    Remembered(Result<(), String>),
    /// What our user thinks of the key of a call was noted down, or could not be.
    Noted(CallId, Opinion, Result<(), String>),
}

impl Session {
    /// Does `work` for a call until it is done or the call is over.
    pub(super) fn spawn(&mut self, call: &CallId, work: impl Future<Output = Done> + Send + 'static) {
        let job = self.jobs.spawn(work);
        if let Some(live) = self.calls.get_mut(call) {
            live.jobs.retain(|job| !job.is_finished());
            live.jobs.push(job);
        }
    }

    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Prepared(call, prepared) => self.prepared(call, prepared),
            Done::Ahead(call, confidence, made) => self.prepared_ahead(call, confidence, made),
            Done::Opened(call, opened) => self.opened(&call, opened),
            Done::TurnChecked(call, troubles) => self.turn_checked(&call, &troubles),
            Done::Revised(call, revision, made) => self.revised(call, revision, made),
            Done::Sources(call, opening, opened) => self.sources_opened(&call, opening, opened),
            Done::Released => {}
            Done::Ended(ending) => self.conclude(*ending),
            Done::LogWritten(written) => self.log_written(written),
            Done::Remembered(remembered) => self.remembered(remembered),
            Done::Noted(call, opinion, noted) => self.noted(&call, opinion, noted),
        }
    }

    /// A line of the call log was written, or could not be.
    pub(super) fn log_written(&mut self, written: Result<(), String>) {
        if let Some(text) = self.habits.log_written(written) {
            self.warn(text);
        }
    }

    /// Opens devices where they are not open yet, and makes an offer, or an answer to `offer`.
    pub(super) fn prepare(&mut self, call: CallId, offer: Option<Description>) {
        let settings = Arc::new(self.settings.media.clone());
        let config = self.settings.peer_now();
        let servers = config.ice_servers.clone();
        let checked = call.clone();
        self.spawn(&call, async move {
            let mut problems = Vec::new();
            for server in servers.iter().filter(|server| server.url.kind == IceServerKind::Turn) {
                if let Err(error) = probe::check(server).await {
                    problems.push(error);
                }
            }
            Done::TurnChecked(checked, problems)
        });
        let open = self.open.take();
        let own = self.screen.own_of_new_call();
        let speaking = if self.calls.len() > 1 { Speaking::IfFree } else { Speaking::Needed };
        let id = call.clone();
        self.spawn(&call, async move {
            let prepared = async {
                let open = match open {
                    Some(open) => open,
                    None => OpenMedia::open_aside(settings, own, speaking).await?,
                };
                let prepared = match offer {
                    None => media::prepare_offer(config, open).await,
                    Some(offer) => media::prepare_answer(config, Some(open), offer).await,
                };
                prepared.map(Box::new)
            };
            Done::Prepared(id, prepared.await)
        });
    }

    fn prepared(&mut self, call: CallId, prepared: Result<Box<Prepared>, Failure>) {
        let sides = self.phone.state_of(&call).media();
        match (prepared, sides) {
            (Ok(prepared), None) => self.close_aside(prepared.media),
            (Ok(prepared), Some(sides)) => {
                let Prepared { media, description, agreed } = *prepared;
                if let Some(text) = media.complaint() {
                    self.warn_of(&call, text);
                }
                // What was switched off before there was anything to switch.
                media.switch(sides.local);
                if let Some(live) = self.calls.get_mut(&call) {
                    live.media = Some(media);
                }
                if let Some(agreed) = agreed {
                    self.described(&call, agreed);
                }
                self.phone_event(call::Event::DescriptionReady { call, description });
            }
            (Err(failure), _) => {
                // An offer that cannot be used is the other side's fault, anything else is ours.
                let no_path = failure.status == ExitStatus::NoPath;
                let change = if no_path { MediaChange::Failed } else { MediaChange::Unavailable };
                if let Some(live) = self.calls.get_mut(&call) {
                    live.failure = Some(failure);
                }
                self.phone_event(call::Event::Media { call, change });
            }
        }
    }

    /// A new offer of ours, or the answer to one of theirs, is made, or cannot be.
    fn revised(&mut self, call: CallId, revision: u32, made: Result<Revision, PeerError>) {
        match made {
            Ok(Revision { description, renewed, negotiated }) => {
                if let Some(negotiated) = negotiated {
                    self.renegotiated(&call, negotiated);
                }
                let renewed = match renewed {
                    peer::Renewal::Media => Renewal::Media,
                    peer::Renewal::IceRestart => Renewal::Restart,
                };
                self.phone_event(call::Event::UpdateReady { call, revision, description, renewed });
            }
            Err(error) => {
                let why = error.to_string();
                self.warn_once_of(&call, format!("the call could not be changed: {why}"));
                self.phone_event(call::Event::UpdateFailed { call, revision, why });
            }
        }
    }

    /// An update agreed on other media: what may be sent now is.
    pub(super) fn renegotiated(&mut self, call: &CallId, negotiated: Negotiated) {
        let Some(live) = self.calls.get_mut(call) else { return };
        let Some(media) = &mut live.media else { return };
        media.renegotiated(negotiated);
        self.start_sending(call);
    }

    /// Nobody wants these any more: closed aside, since devices may take their time.
    fn give_back(&mut self, opened: Result<Box<Sources>, Failure>) {
        self.jobs.spawn(async move {
            close_devices(opened).await;
            Done::Released
        });
    }

    /// Closes media of which nothing is to be told.
    pub(super) fn close_aside(&mut self, media: CallMedia) {
        self.jobs.spawn(async move {
            media.close().await;
            Done::Released
        });
    }

    /// Camera and microphone are open again, or others; what is sent, a call on hold aside.
    fn sources_opened(&mut self, call: &CallId, opening: u64, opened: Result<Box<Sources>, Failure>) {
        let held = self.phone.state_of(call).is_held();
        let counts = |live: &&mut LiveCall| live.opening == opening && !held;
        let Some(live) = self.calls.get_mut(call).filter(counts) else { return self.give_back(opened) };
        let Some(media) = &mut live.media else { return self.give_back(opened) };
        match opened {
            Ok(sources) => {
                let taken = media.take_sources(*sources);
                if let Err(failure) = taken {
                    self.calls.fail(call, failure);
                }
            }
            // The call goes on: one still sees and hears.
            Err(failure) => self.tell_of(call, &ProgramEvent::Warning { text: format!("nothing is sent: {failure}") }),
        }
    }
}

//! One step: so many calls at once, begun at a rate, each in a place of its own.
//!
//! A place is a number from 1: its caller, and its answerer where that is ours. A call that has ended gives its place to
//! the next one, for as long as the step lasts.

use std::collections::VecDeque;
use std::time::Duration;

use signalling::id::PeerId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Site;
use super::answerers::{Answerers, LOOK_EVERY, News};
use crate::calltest::load::machine::{Machine, Meter};
use crate::calltest::load::names::numbered;
use crate::calltest::load::record::{Joiner, LoadCall, Record};
use crate::calltest::load::worker::Report;
use crate::calltest::peers::{PeerHandle, PeerInput, PeerOutput};
use crate::cli::load::Rate;
use crate::output::exit::{ExitStatus, Failure};

/// What a call may take beside the talk: broker, ringing, path and farewell have bounds of their own; this is the last
/// resort.
const LAST_RESORT: Duration = Duration::from_secs(120);

/// How long the answerers' figures of the last calls are waited for.
const SIDES_WITHIN: Duration = Duration::from_secs(5);

/// What a step is to be.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) at_once: u32,
    pub(super) rate: Rate,
    pub(super) talk: Duration,
    pub(super) lasting: Option<Duration>,
}

/// Makes all calls of the step; what this program used meanwhile.
pub(super) async fn run(
    site: &Site,
    step: Step,
    reports: &mpsc::Sender<Report>,
    stop: &CancellationToken,
) -> Result<Machine, Failure> {
    let meter = Meter::start(step.at_once, site.memory_before);
    let answerers = if site.to.is_empty() { Some(Answerers::start(site, step.at_once, stop).await?) } else { None };
    let mut running = Running {
        site,
        step,
        stop,
        answerers,
        calls: JoinSet::new(),
        places: (1..=step.at_once).collect(),
        began: Instant::now(),
        begun: 0,
        joiner: Joiner::default(),
        meter,
    };
    running.make_calls(reports).await?;
    running.wait_for_sides(reports).await;
    for call in running.joiner.rest() {
        tell(reports, Report::Finished(Box::new(call))).await;
    }
    if let Some(answerers) = running.answerers.take() {
        answerers.stop().await;
    }
    Ok(running.meter.conclude())
}

/// A call that is over.
struct Done {
    place: u32,
    call_id: Option<String>,
    call: LoadCall,
}

/// A step under way.
struct Running<'a> {
    site: &'a Site,
    step: Step,
    stop: &'a CancellationToken,
    answerers: Option<Answerers>,
    calls: JoinSet<Done>,
    /// Places without a call, each to have one.
    places: VecDeque<u32>,
    began: Instant,
    /// Calls begun so far.
    begun: u64,
    joiner: Joiner,
    meter: Meter,
}

impl Running<'_> {
    async fn make_calls(&mut self, reports: &mpsc::Sender<Report>) -> Result<(), Failure> {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.calls.is_empty() || (!self.places.is_empty() && !self.stop.is_cancelled()) {
            let due = self.began + self.step.rate.begins(self.begun);
            let may_begin = !self.places.is_empty() && !self.stop.is_cancelled();
            tokio::select! {
                biased;
                Some(done) = self.calls.join_next() => {
                    let done = done.map_err(|_| Failure::internal("the task of a call panicked"))?;
                    self.over(done, reports).await;
                }
                Some(news) = news_of(&mut self.answerers) => self.heard(news, reports).await,
                _ = looks.tick() => self.meter.look(self.under_way()),
                () = tokio::time::sleep_until(due), if may_begin => self.begin(reports).await?,
                () = self.stop.cancelled(), if may_begin => {}
            }
        }
        Ok(())
    }

    /// Begins the call of the next place.
    async fn begin(&mut self, reports: &mpsc::Sender<Report>) -> Result<(), Failure> {
        let Some(place) = self.places.pop_front() else { return Ok(()) };
        self.begun += 1;
        let me = &self.site.settings.link.me;
        let caller = numbered(me, "caller", place).map_err(Failure::usage)?;
        let answerer = match self.site.to.get((place as usize - 1) % self.site.to.len().max(1)) {
            Some(peer) => peer.clone(),
            None => numbered(me, "answerer", place).map_err(Failure::usage)?,
        };
        let handle = self.site.caller(caller.clone(), answerer.clone(), self.step.talk);
        let call = Call { place, at_once: self.step.at_once, caller, answerer };
        self.calls.spawn(call.attend(handle, self.stop.clone(), self.step.talk + LAST_RESORT));
        tell(reports, Report::UnderWay(self.under_way())).await;
        Ok(())
    }

    /// A caller's call is over; its place is free for another while the step lasts.
    async fn over(&mut self, done: Done, reports: &mpsc::Sender<Report>) {
        if self.step.lasting.is_some_and(|lasting| self.began.elapsed() < lasting) {
            self.places.push_back(done.place);
        }
        tell(reports, Report::UnderWay(self.under_way())).await;
        // A call that Ctrl-C cut off is no result.
        if done.call.status == ExitStatus::Interrupted.code() {
            return;
        }
        let finished = match self.answerers {
            Some(_) => self.joiner.caller(done.call_id, done.call),
            None => Some(done.call),
        };
        if let Some(call) = finished {
            tell(reports, Report::Finished(Box::new(call))).await;
        }
    }

    async fn heard(&mut self, news: News, reports: &mpsc::Sender<Report>) {
        match news {
            News::Side { record, .. } if record.was_connected() => {
                if let Some(id) = record.call_id.clone()
                    && let Some(call) = self.joiner.answerer(id, record.received())
                {
                    tell(reports, Report::Finished(Box::new(call))).await;
                }
            }
            // Nothing came in a call that never stood.
            News::Side { .. } | News::Online | News::Began => {}
            // Calls to it fail, and say so.
            News::Ended(failure) => tracing::warn!(%failure, "an answerer ended"),
        }
    }

    /// The last answerers may tell of their side a moment after the callers.
    async fn wait_for_sides(&mut self, reports: &mpsc::Sender<Report>) {
        let until = Instant::now() + SIDES_WITHIN;
        while self.joiner.is_waiting() {
            match tokio::time::timeout_at(until, news_of(&mut self.answerers)).await {
                Ok(Some(news)) => self.heard(news, reports).await,
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn under_way(&self) -> u32 {
        u32::try_from(self.calls.len()).unwrap_or(u32::MAX)
    }
}

/// What an answerer of ours tells next; never, without one.
async fn news_of(answerers: &mut Option<Answerers>) -> Option<News> {
    match answerers {
        Some(answerers) => answerers.news.recv().await,
        None => std::future::pending().await,
    }
}

async fn tell(reports: &mpsc::Sender<Report>, report: Report) {
    // Whoever asked may be gone, and stops the step then.
    let _gone = reports.send(report).await;
}

/// One call, and in whose name.
struct Call {
    place: u32,
    at_once: u32,
    caller: PeerId,
    answerer: PeerId,
}

impl Call {
    /// Reads what its caller tells until that has ended.
    async fn attend(self, mut handle: PeerHandle, stop: CancellationToken, patience: Duration) -> Done {
        let mut record = Record::default();
        let last_resort = Instant::now() + patience;
        let mut stopping = false;
        let status = loop {
            let told = tokio::select! {
                told = handle.told.recv() => told,
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    // One that has ended is told nothing any more.
                    let _ended = handle.orders.send(PeerInput::Interrupt).await;
                    continue;
                }
                () = tokio::time::sleep_until(last_resort) => break None,
            };
            match told {
                Some(PeerOutput::Event(event)) => {
                    record.take(&event);
                }
                Some(PeerOutput::Text(_) | PeerOutput::Log(_)) => {}
                Some(PeerOutput::Ended(status)) => break status,
                None => break None,
            }
        };
        let call = record.finished(self.at_once, self.caller.as_str(), self.answerer.as_str(), status);
        Done { place: self.place, call_id: record.call_id, call }
    }
}

//! The calls under way: what is known of each beside the state of its line.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::{Duration, Instant};

use media::call::StreamEvent;
use media::capture::{AudioSource, VideoSource};
use media::peer::PeerEvent;
use media::peer::sdp::Negotiated;
use signalling::id::{CallId, PeerId};
use signalling::seal::Handshake;
use signalling::wire::Description;
use tokio::task::{AbortHandle, JoinSet};

use super::figures::Meter;
use super::marks::Marks;
use super::media::CallMedia;
use super::snapshot::Saved;
use crate::output::exit::Failure;
use crate::phone::events::{Security, Stats};

/// Warnings a call of what its partner can bring about as often as it likes.
const WARNINGS_MAX: usize = 8;

/// How far the answer to a call has come that is made ahead.
#[derive(Debug, Default)]
pub(super) enum Ahead {
    /// None is made: it is when our user accepts.
    #[default]
    No,
    /// It is being made.
    Making,
    /// It is being made, and our user has accepted: the offer, with the caller's candidates.
    Wanted(Description),
    /// It is made. What was agreed on, for the time when our user accepts.
    Made(Negotiated),
    /// Our user has accepted; devices are being opened.
    Opening(Negotiated),
}

/// One call under way.
pub(super) struct LiveCall {
    pub(super) call: CallId,
    pub(super) peer: PeerId,
    /// How its messages come, once it is established.
    pub(super) security: Option<Security>,
    /// What the words of a sealed call are made of.
    pub(super) handshake: Option<Handshake>,
    /// From its first description to its end.
    pub(super) media: Option<CallMedia>,
    /// Callee: the answer that is made while it rings.
    pub(super) ahead: Ahead,
    /// Caller: what an early answer agreed on, until the callee accepts.
    pub(super) agreed_early: Option<Negotiated>,
    pub(super) marks: Marks,
    pub(super) meter: Meter,
    /// Figures of the last second.
    pub(super) stats: Option<Stats>,
    /// When time alone matters.
    pub(super) timers: Timers,
    /// Since when the path is interrupted.
    pub(super) interrupted_at: Option<Instant>,
    /// Our user has spoken since the microphone was switched off.
    pub(super) speaks_while_muted: bool,
    /// Why a path could not be found, as far as known.
    pub(super) problems: Vec<String>,
    /// What is wrong with TURN servers, by their addresses: the first that was told of each.
    pub(super) relay_troubles: BTreeMap<String, String>,
    /// Warnings that are told once a call.
    pub(super) warned: Vec<String>,
    /// What went wrong on our side, with the exit status it asks for.
    pub(super) failure: Option<Failure>,
    pub(super) candidates_left_out: u64,
    /// What is sent in place of what the settings say.
    pub(super) sources: Option<(VideoSource, AudioSource)>,
    /// Which opening of camera and microphone counts: an earlier one that comes late is given back.
    pub(super) opening: u64,
    /// Work for this call that goes on aside; ended with it.
    pub(super) jobs: Vec<AbortHandle>,
    /// Pictures that are being saved; waited for when it ends.
    pub(super) saves: JoinSet<Saved>,
}

impl LiveCall {
    pub(super) fn new(call: CallId, peer: PeerId, marks: Marks) -> Self {
        Self {
            call,
            peer,
            security: None,
            handshake: None,
            media: None,
            ahead: Ahead::default(),
            agreed_early: None,
            marks,
            meter: Meter::new(Instant::now()),
            stats: None,
            timers: Timers::default(),
            interrupted_at: None,
            speaks_while_muted: false,
            problems: Vec::new(),
            relay_troubles: BTreeMap::new(),
            warned: Vec::new(),
            failure: None,
            candidates_left_out: 0,
            sources: None,
            opening: 0,
            jobs: Vec::new(),
            saves: JoinSet::new(),
        }
    }

    /// The words that people compare, once both sides have them.
    pub(super) fn words(&self) -> Option<&str> {
        self.handshake.as_ref()?.words()
    }

    /// True for a warning that is to be told: it was not yet, and not too many were.
    pub(super) fn is_news(&mut self, text: &str) -> bool {
        let is_news = self.warned.len() < WARNINGS_MAX && !self.warned.iter().any(|told| told == text);
        if is_news {
            self.warned.push(text.to_owned());
        }
        is_news
    }

    /// What is still being done for this call is not wanted any more.
    pub(super) fn abort_jobs(&mut self) {
        for job in self.jobs.drain(..) {
            job.abort();
        }
    }
}

/// What a call waits for, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// It is to end: `--duration`.
    HangUp,
    /// Nothing rings at the other side: nobody got the offer, or no program there understood it.
    NoRinging,
    /// The other counts as offline, unless presence says otherwise until then.
    Offline,
    /// A picture is to be saved: `--snapshot`.
    Snapshot,
    /// Figures are due.
    Stats,
}

/// When each of them is due.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeMap<Timer, Instant>);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.0.insert(timer, at);
    }

    /// Stops it; true when it ran.
    pub(super) fn stop(&mut self, timer: Timer) -> bool {
        self.0.remove(&timer).is_some()
    }

    /// Runs again so long after it was due, if it runs, but not before `now`.
    pub(super) fn repeat(&mut self, timer: Timer, every: Duration, now: Instant) {
        if let Some(at) = self.0.get_mut(&timer) {
            *at = (*at + every).max(now);
        }
    }

    /// The most important one that is due.
    pub(super) fn due(&self, now: Instant) -> Option<Timer> {
        self.0.iter().find(|(_, at)| **at <= now).map(|(timer, _)| *timer)
    }

    /// When the next one is due.
    fn deadline(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }
}

/// All of them: one, or two while one is held or waits.
#[derive(Default)]
pub(super) struct LiveCalls(Vec<LiveCall>);

/// What the media of a call tells.
pub(super) enum MediaInput {
    Peer(PeerEvent),
    Stream(StreamEvent),
    Saved(Saved),
}

impl LiveCalls {
    pub(super) fn begin(&mut self, call: LiveCall) {
        self.0.push(call);
    }

    pub(super) fn end(&mut self, call: &CallId) -> Option<LiveCall> {
        let index = self.0.iter().position(|live| live.call == *call)?;
        Some(self.0.remove(index))
    }

    pub(super) fn get(&self, call: &CallId) -> Option<&LiveCall> {
        self.0.iter().find(|live| live.call == *call)
    }

    pub(super) fn get_mut(&mut self, call: &CallId) -> Option<&mut LiveCall> {
        self.0.iter_mut().find(|live| live.call == *call)
    }

    /// Something on our side failed that the exit status must tell, though the call goes on.
    pub(super) fn fail(&mut self, call: &CallId, failure: Failure) {
        if let Some(live) = self.get_mut(call) {
            live.failure.get_or_insert(failure);
        }
    }

    /// True when a call was answered and is not over.
    pub(super) fn any_answered(&self) -> bool {
        self.0.iter().any(|live| live.marks.accepted.is_some())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LiveCall> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut LiveCall> {
        self.0.iter_mut()
    }

    pub(super) fn ids(&self) -> Vec<CallId> {
        self.0.iter().map(|live| live.call.clone()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(|live| live.timers.deadline()).min()
    }

    /// What the media of any call tells next; never, without one. Loses nothing when it is dropped.
    pub(super) async fn next(&mut self) -> (CallId, MediaInput) {
        std::future::poll_fn(|cx| {
            for live in &mut self.0 {
                if let Poll::Ready(Some(Ok(saved))) = live.saves.poll_join_next(cx) {
                    return Poll::Ready((live.call.clone(), MediaInput::Saved(saved)));
                }
                let Some(media) = &mut live.media else { continue };
                // A channel that is closed has nothing more to say; the others may.
                if let Poll::Ready(Some(event)) = media.peer_events.poll_recv(cx) {
                    return Poll::Ready((live.call.clone(), MediaInput::Peer(event)));
                }
                if let Poll::Ready(Some(event)) = media.stream_events.poll_recv(cx) {
                    return Poll::Ready((live.call.clone(), MediaInput::Stream(event)));
                }
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_timers_that_are_due_the_most_important_is_first() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut timers = Timers::default();
        timers.set(Timer::Stats, now);
        timers.set(Timer::HangUp, now + second);
        assert_eq!((timers.due(now), timers.deadline()), (Some(Timer::Stats), Some(now)));
        assert_eq!(timers.due(now + second), Some(Timer::HangUp), "though it was due later");
        timers.repeat(Timer::Stats, second, now);
        assert_eq!(timers.due(now), None);
        timers.repeat(Timer::Stats, second, now + 5 * second);
        assert!(timers.stop(Timer::HangUp) && !timers.stop(Timer::HangUp));
        assert_eq!(timers.deadline(), Some(now + 5 * second), "what was missed is not made up for");
        timers.repeat(Timer::Snapshot, second, now);
        assert_eq!(timers.due(now + second), None, "what does not run is not begun");
    }
}

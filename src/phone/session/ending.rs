//! The end of a call: media closed aside, figures summed up, an exit status found.

use std::time::{Duration, Instant};

use ::media::peer::config::Loopback;
use ::media::peer::{PathSeen, has_network};
use signalling::call::{self, EndReason};
use signalling::id::CallId;

use super::calls::Timer;
use super::ended_call::{CLOSING, ClosedMedia, EndedCall};
use super::hints::Evidence;
use super::jobs::Done;
use super::lifecycle::Bearing;
use super::media::Closed;
use super::{Absent, Calls, LiveCall, Role, Session, figures, hints};
use crate::output::exit::{ExitStatus, Failure};
use crate::phone::events::{CallEvent, Process, Recording, Summary};
use crate::platform::usage;

/// How long a message to somebody who seems to be away may take to leave this machine.
const LAST_WORD: Duration = Duration::from_millis(200);

/// How long the last messages may take to be acknowledged when the program ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// The same while the broker is away: it may be back soon, and the other side should hear of the end.
const FAREWELL_TO_COME: Duration = Duration::from_secs(10);

/// A call this long whose media never came was one without media.
const MEDIA_DUE: Duration = Duration::from_secs(5);

impl Session {
    /// A call is over: the other side knows, or will. Media, view and pictures are closed aside, so that a device or a
    /// pipe that hangs holds nobody up; [`Session::conclude`] follows.
    pub(super) fn ended(&mut self, call: &CallId, reason: EndReason, text: Option<String>) {
        let ended = Instant::now();
        if let (Some(file), Some(live)) = (self.settings.media.snapshot.clone(), self.calls.get_mut(call)) {
            if live.timers.stop(Timer::Snapshot) {
                self.snapshot(call, file);
            } else if live.marks.connected.is_some() && live.marks.first_frame.is_none() {
                self.calls.fail(call, Failure::new(ExitStatus::NoMedia, "no picture came that --snapshot could save"));
            }
        }
        let Some(live) = self.calls.end(call) else { return };
        self.show_presence();
        let leaves = match self.role {
            // Presence was out of date; the wait goes on.
            Role::Call { absent: Absent::Wait, .. } if reason == EndReason::Offline => false,
            // Whoever calls anew after a crash rings already when the dead call ends.
            Role::Call { .. } | Role::Listen { calls: Calls::One, .. } => {
                self.calls.is_empty() && *self.phone.front() == call::State::Idle
            }
            Role::Listen { calls: Calls::Many, .. } => false,
        };
        let mut bearing = Bearing::Passes;
        if leaves && self.life.is_running() {
            // Somebody who is not there will not acknowledge that we gave up.
            let farewell = if reason == EndReason::Offline { LAST_WORD } else { self.farewell() };
            if !self.link.is_up() && !self.messages.delivery.is_idle() {
                let seconds = farewell.as_secs();
                self.warn(format!("the broker is away; trying for {seconds} s to tell the other side of the end"));
            }
            // A connection that is dead and does not know it would swallow the goodbye.
            self.link.handle().check();
            bearing = Bearing::Decides;
            self.life.leave(reason.into(), ended + farewell);
        }
        self.close_call(live, reason, text, bearing);
    }

    /// Opens the view again for the call that is left, if the view went with the call that ended.
    fn show_call_in_front(&mut self) {
        let Some(call) = self.front() else { return };
        if let Some(live) = self.calls.get(&call)
            && live.marks.described.is_some()
        {
            // Where its pictures go is known since it began.
            let _same = self.screen.open_view(&live.peer, &self.printer);
        }
    }

    /// Closes what a call has open, aside.
    fn close_call(&mut self, mut live: LiveCall, reason: EndReason, text: Option<String>, bearing: Bearing) {
        live.abort_jobs();
        let ended = Instant::now();
        let view = if self.calls.is_empty() { self.screen.take_view() } else { None };
        self.show_call_in_front();
        let (media, saves) = (live.media.take(), std::mem::take(&mut live.saves));
        self.jobs.spawn(async move {
            // The terminal is given back before anything is printed there.
            let view_closed = async {
                if let Some(view) = view {
                    view.close().await;
                }
            };
            let media_closed = async {
                match media {
                    Some(media) => Some(ClosedMedia::of(media).await),
                    None => None,
                }
            };
            let ((), media, saved) = tokio::join!(view_closed, media_closed, saves.join_all());
            Done::Ended(Box::new(EndedCall { live, reason, text, ended, bearing, media, saved }))
        });
    }

    /// Everything of a call is closed: prints its end, and finds the exit status.
    pub(super) fn conclude(&mut self, ending: EndedCall) {
        let bearing = ending.bearing;
        let (status, failure) = self.finish_call(ending);
        if let Some(failure) = self.life.conclude(bearing, status, failure) {
            self.warn(failure.text);
        }
    }

    /// Prints the end; the exit status the call asks for, and what went wrong on our side.
    fn finish_call(&mut self, ending: EndedCall) -> (ExitStatus, Option<Failure>) {
        let EndedCall { mut live, reason, text, ended, bearing: _, media, saved } = ending;
        for saved in saved {
            if let Some(failure) = saved.tell(&self.printer, &live.call, &live.peer) {
                live.failure.get_or_insert(failure);
            }
        }
        let mut summary = Summary { setup: figures::setup(&live.marks), ..Summary::of(reason) };
        let connected_for = live.marks.connected.map(|at| ended.saturating_duration_since(at));
        let mut missed = false;
        let mut path_seen = PathSeen::default();
        if let Some(ClosedMedia { path, seen, negotiated, sent, bytes_sent, closed }) = media {
            path_seen = seen;
            let round_trip = path.as_ref().and_then(|path| path.round_trip);
            // One that was there while it rang, and that nobody talked over, is no path of a call.
            summary.pair = path.filter(|_| live.marks.accepted.is_some()).map(figures::pair);
            let Closed { video, audio, recorded, late } = closed;
            let promised = negotiated.promised.video || negotiated.promised.audio;
            missed = promised && video.frames == 0 && audio.frames == 0;
            if let Some(failure) = late.into_iter().find_map(Failure::of_recording) {
                live.failure.get_or_insert(failure);
            }
            let empty = recorded.is_some_and(|recorded| recorded.video_frames + recorded.audio_frames == 0);
            if empty && connected_for.is_some() {
                let text = "nothing came that could be recorded";
                live.failure.get_or_insert(Failure::new(ExitStatus::NoMedia, text));
            }
            summary.video_codec = video.codec.clone().or(negotiated.video.map(|(codec, _)| codec.to_string()));
            if connected_for.is_some() {
                (summary.sent, summary.received, summary.mos) =
                    live.meter.averages(sent, bytes_sent, video, audio, round_trip, ended);
            }
            summary.recording = self.settings.media.record.as_ref().zip(recorded).map(|(file, recorded)| Recording {
                file: file.display().to_string(),
                video_frames: recorded.video_frames,
                audio_frames: recorded.audio_frames,
                duration_ms: figures::ms(recorded.duration),
            });
        }
        summary.duration_ms = connected_for.map(figures::ms);
        let used = usage::processor_time().zip(live.marks.processor_at_connected).zip(connected_for);
        summary.process = Process {
            cores: used
                .filter(|(_, call)| !call.is_zero())
                .map(|((now, before), call)| now.saturating_sub(before).as_secs_f64() / call.as_secs_f64()),
            memory_peak_bytes: usage::memory_peak_bytes(),
        };
        summary.signalling = self.messages.figures(live.candidates_left_out);
        let mute = connected_for.is_some_and(|duration| duration >= MEDIA_DUE) && missed;
        let status = match (&live.failure, ExitStatus::from(reason)) {
            (Some(failure), _) => failure.status,
            (None, ExitStatus::Done) if mute => ExitStatus::NoMedia,
            (None, status) => status,
        };
        summary.status = status.code();
        self.explain(&mut live, &path_seen, reason, ended);
        if reason == EndReason::Offline {
            live.problems.extend(self.link.why_unanswered(&self.settings.link, &live.peer));
        }
        let entry = self.habits.entry(&live, &summary);
        let problems = (!live.problems.is_empty()).then(|| live.problems.join("; "));
        let detail = live.failure.as_ref().map(|failure| failure.text.clone()).or(problems);
        let end = CallEvent::Ended { reason, detail, text };
        self.printer.tell_of(&end, &live.call, &live.peer);
        self.printer.tell_of(&CallEvent::Summary(Box::new(summary)), &live.call, &live.peer);
        self.habits.log_ended_call(&live.call, entry, &self.role, &mut self.jobs);
        let failure = live.failure.as_ref().map(|failure| Failure::new(failure.status, &failure.text));
        (status, failure)
    }

    /// Notes why there was no path, by what was seen.
    fn explain(&self, live: &mut LiveCall, seen: &PathSeen, reason: EndReason, ended: Instant) {
        // What is still wrong now counts, and what was wrong before there was anything to look at.
        let mut troubles: Vec<String> = match live.marks.described {
            Some(_) => seen.relays.iter().filter_map(|relay| relay.trouble.as_ref()).map(ToString::to_string).collect(),
            None => Vec::new(),
        };
        if live.marks.connected.is_none() && troubles.is_empty() {
            troubles.extend(live.relay_troubles.values().cloned());
        }
        live.problems.extend(troubles);
        let searched = live.marks.described.is_some_and(|at| ended.saturating_duration_since(at) >= hints::SEARCHED);
        if reason == EndReason::NoPath && searched {
            let loopback = self.settings.peer.loopback;
            let evidence = Evidence {
                has_network: has_network(loopback),
                same_machine: loopback == Loopback::Include,
                found: live.marks.ice.is_some(),
                seen,
                has_problems: !live.problems.is_empty(),
            };
            live.problems.extend(hints::no_path(&evidence));
        }
    }

    /// The broker went away before the other side acknowledged our last messages: they may take longer.
    pub(super) fn await_broker_for_farewell(&mut self) {
        if !self.messages.delivery.is_idle() {
            self.life.extend_farewell(Instant::now() + FAREWELL_TO_COME);
        }
    }

    /// How long the last messages may take: longer while the broker is away, so that the other side hears of the end.
    pub(super) const fn farewell(&self) -> Duration {
        if self.link.is_up() { FAREWELL } else { FAREWELL_TO_COME }
    }

    /// The link is gone for good: the other side is told nothing any more, but devices are closed in order.
    pub(super) async fn abandon(&mut self, failure: &Failure) {
        self.habits.silence(&mut self.calls).await;
        for call in self.calls.ids() {
            let Some(mut live) = self.calls.end(&call) else { continue };
            live.failure = Some(Failure::new(failure.status, &failure.text));
            self.close_call(live, EndReason::Lost, None, Bearing::Passes);
        }
        let until = tokio::time::Instant::now() + CLOSING;
        while let Ok(Some(done)) = tokio::time::timeout_at(until, self.jobs.join_next()).await {
            match done {
                Ok(Done::Ended(ending)) => self.conclude(*ending),
                Ok(Done::LogWritten(written)) => self.log_written(written),
                Ok(Done::Remembered(remembered)) => self.remembered(remembered),
                Ok(Done::Noted(call, opinion, noted)) => self.noted(&call, opinion, noted),
                // Nobody wants any of it now.
                Ok(_) | Err(_) => {}
            }
        }
    }
}

//! The end of a call: media closed, figures summed up, an exit status found.

use std::time::{Duration, Instant};

use signalling::call::EndReason;

use super::media::Closed;
use super::{Absent, Calls, CurrentCall, FAREWELL, Phase, Role, Session, figures};
use crate::events::{Event, Process, Recording, Signalling, Summary};
use crate::exit::{ExitStatus, Failure};
use crate::usage;

/// How long a message to somebody who seems to be away may take to leave this machine.
const LAST_WORD: Duration = Duration::from_millis(200);

/// A call this long whose media never came was one without media.
const MEDIA_DUE: Duration = Duration::from_secs(5);

impl Session {
    pub(super) async fn ended(&mut self, reason: EndReason) -> Result<(), Failure> {
        let ended = Instant::now();
        self.preparing.abort_all();
        self.turn_checks.abort_all();
        if let (Some(file), Some(current)) = (self.settings.media.snapshot.clone(), &self.current) {
            if current.snapshot_due.is_some() {
                self.snapshot(file).await;
            } else if current.marks.connected.is_some() && current.marks.first_frame.is_none() {
                self.fail_call(Failure::new(ExitStatus::NoMedia, "no picture came that --snapshot could save"));
            }
        }
        let Some(mut current) = self.current.take() else { return Ok(()) };
        let (status, failure) = self.finish_call(&mut current, reason, ended).await;
        self.link.set_presence(self.at_rest);
        let leaves = match self.role {
            // Presence was out of date; the wait goes on.
            Role::Call { absent: Absent::Wait, .. } if reason == EndReason::Offline => false,
            Role::Call { .. } | Role::Listen { calls: Calls::One, .. } => true,
            Role::Listen { calls: Calls::Many, .. } => false,
        };
        if leaves && self.phase == Phase::Running {
            // Somebody who is not there will not acknowledge that we gave up.
            let farewell = if reason == EndReason::Offline { LAST_WORD } else { FAREWELL };
            self.phase = Phase::Leaving { status, until: ended + farewell };
            self.failure = failure;
        } else if matches!(self.phase, Phase::Leaving { .. }) {
            self.failure = self.failure.take().or(failure);
        } else if let Some(failure) = failure {
            self.warn(failure.text);
        }
        Ok(())
    }

    /// Closes the media and prints the end; the exit status the call asks for, and what went wrong on our side.
    pub(super) async fn finish_call(
        &mut self,
        current: &mut CurrentCall,
        reason: EndReason,
        ended: Instant,
    ) -> (ExitStatus, Option<Failure>) {
        let mut summary =
            Summary { reason: reason.name(), setup: figures::setup(&current.marks), ..Summary::default() };
        let connected_for = current.marks.connected.map(|at| ended.saturating_duration_since(at));
        let mut missed = false;
        if let Some(media) = self.media.take() {
            summary.pair = media.peer().path().await.map(figures::pair);
            let negotiated = media.negotiated.clone().unwrap_or_default();
            let sent = figures::counts(&media);
            let bytes_sent = media.sender().map(|sender| sender.bytes_sent());
            let Closed { video, audio, recorded, late } = media.close().await;
            let promised = negotiated.promised.video || negotiated.promised.audio;
            missed = promised && video.frames == 0 && audio.frames == 0;
            if let Some(failure) = late.into_iter().find_map(Failure::of_recording) {
                current.failure.get_or_insert(failure);
            }
            let empty = recorded.is_some_and(|recorded| recorded.video_frames + recorded.audio_frames == 0);
            if empty && connected_for.is_some() {
                let text = "nothing came that could be recorded";
                current.failure.get_or_insert(Failure::new(ExitStatus::NoMedia, text));
            }
            summary.video_codec = video.codec.clone().or(negotiated.video.map(|(codec, _)| codec.to_string()));
            if connected_for.is_some() {
                (summary.sent, summary.received) = self.meter.averages(sent, bytes_sent, &video, &audio, ended);
            }
            summary.recording = self.settings.media.record.as_ref().zip(recorded).map(|(file, recorded)| Recording {
                file: file.display().to_string(),
                video_frames: recorded.video_frames,
                audio_frames: recorded.audio_frames,
                duration_ms: figures::ms(recorded.duration),
            });
        }
        summary.duration_ms = connected_for.map(figures::ms);
        let used = usage::processor_time().zip(current.marks.processor_at_connected).zip(connected_for);
        summary.process = Process {
            cores: used
                .filter(|(_, call)| !call.is_zero())
                .map(|((now, before), call)| now.saturating_sub(before).as_secs_f64() / call.as_secs_f64()),
            memory_peak_bytes: usage::memory_peak_bytes(),
        };
        summary.signalling = Signalling {
            dropped: self.dropped,
            duplicates: self.delivery.duplicates(),
            candidates_left_out: current.candidates_left_out,
        };
        let mute = connected_for.is_some_and(|duration| duration >= MEDIA_DUE) && missed;
        let status = match (&current.failure, ExitStatus::from(reason)) {
            (Some(failure), _) => failure.status,
            (None, ExitStatus::Done) if mute => ExitStatus::NoMedia,
            (None, status) => status,
        };
        summary.status = status.code();
        let problems = (!current.problems.is_empty()).then(|| current.problems.join("; "));
        let detail = current.failure.as_ref().map(|failure| failure.text.clone()).or(problems);
        let end = Event::Ended { reason: reason.name(), detail };
        self.printer.tell_of(&end, &current.call, &current.peer);
        self.printer.tell_of(&Event::Summary(Box::new(summary)), &current.call, &current.peer);
        let failure = current.failure.as_ref().map(|failure| Failure::new(failure.status, &failure.text));
        (status, failure)
    }

    /// The link is gone for good: the other side is told nothing any more, but devices are closed in order.
    pub(super) async fn abandon(&mut self, failure: &Failure) {
        if let Some(mut current) = self.current.take() {
            current.failure = Some(Failure::new(failure.status, &failure.text));
            self.finish_call(&mut current, EndReason::Lost, Instant::now()).await;
        }
    }
}

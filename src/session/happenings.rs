//! What the media of the call tells: paths, first pictures, displays, TURN servers that refuse.

use std::time::{Duration, Instant};

use ::media::display::DisplayEvent;
use ::media::peer::PeerEvent;
use ::media::peer::config::{IcePolicy, IceServerKind};
use ::media::stream::StreamEvent;
use signalling::call::{self, MediaChange};
use signalling::id::CallId;

use super::control::Command;
use super::media::Marks;
use super::{Session, figures, media};
use crate::events::Event;
use crate::exit::{ExitStatus, Failure};

/// When into a call `--snapshot` is taken: rate control has settled by then.
const SNAPSHOT_AFTER: Duration = Duration::from_secs(1);

impl Session {
    pub(super) async fn peer_event(&mut self, event: PeerEvent) -> Result<(), Failure> {
        let Some(call) = self.current.as_ref().map(|current| current.call.clone()) else { return Ok(()) };
        let change = match event {
            PeerEvent::Candidates(candidates) => {
                let candidates = media::to_wire(candidates);
                return self.line_event(call::Event::CandidatesGathered { call, candidates }).await;
            }
            PeerEvent::IceConnected => {
                if let Some(current) = &mut self.current {
                    current.marks.ice.get_or_insert_with(Instant::now);
                }
                return Ok(());
            }
            PeerEvent::Connected => MediaChange::Connected,
            PeerEvent::Disconnected => MediaChange::Interrupted,
            PeerEvent::Failed => MediaChange::Failed,
            PeerEvent::Silent | PeerEvent::Stalled | PeerEvent::NetworkChanged => return Ok(()),
        };
        self.line_event(call::Event::Media { call, change }).await
    }

    pub(super) fn stream_event(&mut self, event: StreamEvent) {
        let after = |at: Instant, marks: &Marks| Some(figures::ms(at.checked_duration_since(marks.accepted?)?));
        match event {
            StreamEvent::FirstFrame(at) => {
                let Some(current) = &mut self.current else { return };
                current.marks.first_frame = Some(at);
                current.snapshot_due = self.settings.media.snapshot.as_ref().map(|_| at + SNAPSHOT_AFTER);
                let after_accept_ms = after(at, &current.marks);
                self.tell(&Event::FirstFrame { after_accept_ms });
            }
            StreamEvent::FirstAudio(at) => {
                let Some(current) = &mut self.current else { return };
                current.marks.first_audio = Some(at);
                let after_accept_ms = after(at, &current.marks);
                self.tell(&Event::FirstAudio { after_accept_ms });
            }
            StreamEvent::SourceEnded(what) => self.warn(format!("our {what} source ended; the other side gets none")),
            StreamEvent::RecordingFailed(text) => {
                self.warn(text.clone());
                self.fail_call(Failure::new(ExitStatus::Internal, text));
            }
            StreamEvent::CodecFailed(text) => {
                self.warn(text.clone());
                self.fail_call(Failure::new(ExitStatus::NoMedia, text));
            }
        }
    }

    pub(super) async fn display_event(&mut self, event: DisplayEvent) -> Result<(), Failure> {
        match event {
            DisplayEvent::CloseRequested => self.line_event(call::Event::HangUp).await,
            DisplayEvent::Interrupted => self.interrupted().await,
            DisplayEvent::Key('m') => {
                let muted = self.current.as_ref().is_some_and(|current| current.muted);
                self.command(Command::Mute { on: !muted }).await
            }
            DisplayEvent::Key('c') => {
                let off = self.current.as_ref().is_some_and(|current| current.camera_off);
                self.command(Command::Camera { on: off }).await
            }
            DisplayEvent::Key(_) => Ok(()),
        }
    }

    pub(super) async fn turn_checked(&mut self, call: CallId, problems: Vec<String>) -> Result<(), Failure> {
        let is_current = self.current.as_ref().is_some_and(|current| current.call == call);
        if problems.is_empty() || !is_current {
            return Ok(());
        }
        for problem in &problems {
            self.warn(problem.clone());
        }
        let turn_servers =
            self.settings.peer.ice_servers.iter().filter(|server| server.url.kind == IceServerKind::Turn).count();
        let hopeless = self.settings.peer.ice_policy == IcePolicy::RelayOnly && problems.len() == turn_servers;
        let Some(current) = &mut self.current else { return Ok(()) };
        current.problems.extend(problems);
        if hopeless && current.marks.connected.is_none() {
            let call = current.call.clone();
            self.line_event(call::Event::Media { call, change: MediaChange::Failed }).await?;
        }
        Ok(())
    }
}

//! What the media of a call tells: paths, first pictures, views, TURN servers that refuse.

use std::time::{Duration, Instant};

use ::media::display::DisplayEvent;
use ::media::peer::PeerEvent;
use ::media::peer::config::{IcePolicy, IceServerKind};
use ::media::peer::turn_check::TurnError;
use ::media::stream::StreamEvent;
use signalling::call::{self, MediaChange, Renewal};
use signalling::id::CallId;

use super::control::Command;
use super::media::Marks;
use super::{LinkState, Session, figures, media};
use crate::events::Event;
use crate::exit::{ExitStatus, Failure};

/// When into a call `--snapshot` is taken: rate control has settled by then.
const SNAPSHOT_AFTER: Duration = Duration::from_secs(1);

/// What several calls tell of a changed network within this time is one change.
const ONE_MOVE: Duration = Duration::from_secs(1);

impl Session {
    pub(super) async fn peer_event(&mut self, call: CallId, event: PeerEvent) -> Result<(), Failure> {
        let change = match event {
            PeerEvent::Candidates(candidates) => {
                let candidates = media::to_wire(candidates);
                return self.phone_event(call::Event::CandidatesGathered { call, candidates }).await;
            }
            PeerEvent::IceConnected => {
                if let Some(live) = self.calls.get_mut(&call) {
                    live.marks.ice.get_or_insert_with(Instant::now);
                }
                return Ok(());
            }
            PeerEvent::NetworkChanged => {
                // The connection to the broker began at the same address.
                // Each call tells of it.
                let now = Instant::now();
                if self.moved_at.is_none_or(|at| now.saturating_duration_since(at) > ONE_MOVE) {
                    self.moved_at = Some(now);
                    self.link.reconnect();
                }
                return self.phone_event(call::Event::Renew { call, renewal: Renewal::Restart }).await;
            }
            PeerEvent::PacketsShrunk { bytes } => {
                let text = format!("large packets do not arrive on this path; sending at most {bytes} bytes in each");
                self.warn_of(&call, text);
                return Ok(());
            }
            // The phone tries again by itself.
            PeerEvent::Stalled => return Ok(()),
            PeerEvent::Relay(trouble) => return self.relay_failed(&call, &trouble).await,
            PeerEvent::Connected | PeerEvent::Heard => MediaChange::Connected,
            // Without a broker no new path can be agreed on, and the old one may heal: ICE decides.
            PeerEvent::Silent if self.link_state == LinkState::Down => return Ok(()),
            PeerEvent::Disconnected | PeerEvent::Silent => {
                // A new path is agreed on by the broker, and what took media away may have taken it too.
                self.link.check();
                MediaChange::Interrupted
            }
            PeerEvent::Failed => MediaChange::Failed,
        };
        self.phone_event(call::Event::Media { call, change }).await
    }

    pub(super) fn stream_event(&mut self, call: &CallId, event: StreamEvent) {
        let after = |at: Instant, marks: &Marks| Some(figures::ms(at.checked_duration_since(marks.accepted?)?));
        match event {
            StreamEvent::FirstFrame(at) => {
                let snapshot = self.settings.media.snapshot.is_some();
                let Some(live) = self.calls.get_mut(call) else { return };
                live.marks.first_frame = Some(at);
                live.snapshot_due = snapshot.then(|| at + SNAPSHOT_AFTER);
                let after_accept_ms = after(at, &live.marks);
                self.tell_of(call, &Event::FirstFrame { after_accept_ms });
            }
            StreamEvent::FirstAudio(at) => {
                let Some(live) = self.calls.get_mut(call) else { return };
                live.marks.first_audio = Some(at);
                let after_accept_ms = after(at, &live.marks);
                self.tell_of(call, &Event::FirstAudio { after_accept_ms });
            }
            StreamEvent::SourceEnded(what) => {
                self.warn_of(call, format!("our {what} source ended; the other side gets none"));
            }
            StreamEvent::RecordingFailed(text) => {
                self.warn_of(call, text.clone());
                self.fail_call(call, Failure::new(ExitStatus::Internal, text));
            }
            StreamEvent::CodecFailed(text) => {
                self.warn_of(call, text.clone());
                self.fail_call(call, Failure::new(ExitStatus::NoMedia, text));
            }
        }
    }

    pub(super) async fn display_event(&mut self, event: DisplayEvent) -> Result<(), Failure> {
        match event {
            DisplayEvent::CloseRequested => self.phone_event(call::Event::HangUp).await,
            DisplayEvent::Interrupted => self.interrupted().await,
            DisplayEvent::Key('m') => {
                let muted = self.front_call().is_some_and(|live| live.muted);
                self.command(Command::Mute { on: !muted }).await
            }
            DisplayEvent::Key('c') => {
                let off = self.front_call().is_some_and(|live| live.camera_off);
                self.command(Command::Camera { on: off }).await
            }
            DisplayEvent::Key('h') => {
                let held = self.front_call().is_some_and(|live| live.held.by_us);
                self.command(if held { Command::Resume {} } else { Command::Hold {} }).await
            }
            DisplayEvent::Key('a') => self.command(Command::Answer {}).await,
            DisplayEvent::Key('r') => self.command(Command::Reject { text: None }).await,
            DisplayEvent::Key('s') => self.command(Command::Swap {}).await,
            DisplayEvent::Key('?') => {
                self.help = self.help.toggled();
                Ok(())
            }
            DisplayEvent::Key(_) => Ok(()),
        }
    }

    /// What is wrong with TURN servers, by a question before the call.
    pub(super) async fn turn_checked(&mut self, call: CallId, troubles: Vec<TurnError>) -> Result<(), Failure> {
        for trouble in &troubles {
            self.relay_failed(&call, trouble).await?;
        }
        Ok(())
    }

    /// A TURN server is of no use. Where nothing else may be used, and there is no other, the call has no path.
    async fn relay_failed(&mut self, call: &CallId, trouble: &TurnError) -> Result<(), Failure> {
        let Some(live) = self.calls.get_mut(call) else { return Ok(()) };
        let is_news = live.relay_troubles.insert(trouble.url().to_owned(), trouble.to_string()).is_none();
        if !is_news {
            return Ok(());
        }
        let (failed, connected) = (live.relay_troubles.len(), live.marks.connected.is_some());
        self.warn_of(call, trouble.to_string());
        let servers = &self.settings.peer.ice_servers;
        let all = servers.iter().filter(|server| server.url.kind == IceServerKind::Turn).count();
        let hopeless = self.settings.peer.ice_policy == IcePolicy::RelayOnly && failed == all;
        if hopeless && !connected {
            self.phone_event(call::Event::Media { call: call.clone(), change: MediaChange::Failed }).await?;
        }
        Ok(())
    }
}

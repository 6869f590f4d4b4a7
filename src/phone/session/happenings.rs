//! What the media of a call tells: paths, first pictures, TURN servers that refuse.

use std::time::{Duration, Instant};

use ::media::call::StreamEvent;
use ::media::peer::PeerEvent;
use ::media::peer::config::{IcePolicy, IceServerKind};
use ::media::peer::probe::TurnError;
use signalling::call::{self, MediaChange, Renewal, Side, State};
use signalling::id::CallId;

use super::calls::Timer;
use super::descriptions::to_wire;
use super::marks::Marks;
use super::{Session, figures};
use crate::output::exit::{ExitStatus, Failure};
use crate::phone::events::{CallEvent, Pictures, Plan};

/// When into a call `--snapshot` is taken: rate control has settled by then.
const SNAPSHOT_AFTER: Duration = Duration::from_secs(1);

impl Session {
    pub(super) fn peer_event(&mut self, call: CallId, event: PeerEvent) {
        let change = match event {
            PeerEvent::Candidates(candidates) => {
                let candidates = to_wire(candidates);
                return self.phone_event(call::Event::CandidatesGathered { call, candidates });
            }
            PeerEvent::IceConnected => {
                if let Some(live) = self.calls.get_mut(&call) {
                    live.marks.ice.get_or_insert_with(Instant::now);
                }
                return;
            }
            PeerEvent::NetworkChanged => {
                self.link.network_changed(Instant::now());
                self.outdate(&call);
                return self.phone_event(call::Event::Renew { call, renewal: Renewal::Restart });
            }
            PeerEvent::RelayExpires => {
                return self.phone_event(call::Event::Renew { call, renewal: Renewal::Restart });
            }
            PeerEvent::PacketsShrunk { bytes } => {
                let text = format!("large packets do not arrive on this path; sending at most {bytes} bytes in each");
                return self.warn_of(&call, text);
            }
            // The phone tries again by itself.
            PeerEvent::Stalled => return,
            PeerEvent::Relay(trouble) => return self.relay_failed(&call, &trouble),
            PeerEvent::Connected | PeerEvent::Heard => {
                if self.is_up_early(&call) {
                    self.tell_early_path(&call);
                }
                MediaChange::Connected
            }
            // Without a broker no new path can be agreed on, and the old one may heal: ICE decides.
            PeerEvent::Silent if !self.link.is_up() => return,
            PeerEvent::Disconnected | PeerEvent::Silent => {
                // A new path is agreed on by the broker, and what took media away may have taken it too.
                self.link.handle().check();
                MediaChange::Interrupted
            }
            PeerEvent::Failed => MediaChange::Failed,
        };
        self.phone_event(call::Event::Media { call, change });
    }

    pub(super) fn stream_event(&mut self, call: &CallId, event: StreamEvent) {
        let after = |at: Instant, marks: &Marks| Some(figures::ms(at.checked_duration_since(marks.accepted?)?));
        match event {
            StreamEvent::FirstFrame(at) => {
                let snapshot = self.settings.media.snapshot.is_some();
                let Some(live) = self.calls.get_mut(call) else { return };
                live.marks.first_frame = Some(at);
                if snapshot {
                    live.timers.set(Timer::Snapshot, at + SNAPSHOT_AFTER);
                }
                let after_accept_ms = after(at, &live.marks);
                self.tell_of(call, &CallEvent::FirstFrame { after_accept_ms });
            }
            StreamEvent::FirstAudio(at) => {
                let Some(live) = self.calls.get_mut(call) else { return };
                live.marks.first_audio = Some(at);
                let after_accept_ms = after(at, &live.marks);
                self.tell_of(call, &CallEvent::FirstAudio { after_accept_ms });
            }
            StreamEvent::SourceEnded(what) => {
                self.warn_of(call, format!("our {what} source ended; the other side gets none"));
            }
            StreamEvent::PlanChanged(plan) => {
                let plan = Plan::from(plan);
                self.tell_of(call, &CallEvent::Plan { side: Side::Local, plan });
                let on = plan.pictures == Some(Pictures::Paused);
                self.phone_event(call::Event::Pause { call: call.clone(), on });
            }
            StreamEvent::SpokeWhileMuted => {
                // It may be on again by now.
                let is_muted = self.phone.state_of(call).media().is_some_and(|sides| !sides.local.audio);
                let Some(live) = self.calls.get_mut(call).filter(|_| is_muted) else { return };
                live.speaks_while_muted = true;
                self.warn_of(call, "you speak, and your microphone is off; m switches it on".to_owned());
            }
            StreamEvent::RecordingFailed(text) => {
                self.warn_of(call, text.clone());
                self.calls.fail(call, Failure::new(ExitStatus::Internal, text));
            }
            StreamEvent::CodecFailed(text) => {
                self.warn_of(call, text.clone());
                self.calls.fail(call, Failure::new(ExitStatus::NoMedia, text));
            }
        }
    }

    /// What is wrong with TURN servers, by a question before the call.
    pub(super) fn turn_checked(&mut self, call: &CallId, troubles: &[TurnError]) {
        for trouble in troubles {
            self.relay_failed(call, trouble);
        }
    }

    /// A TURN server is of no use. Where nothing else may be used, and there is no other, the call has no path.
    fn relay_failed(&mut self, call: &CallId, trouble: &TurnError) {
        let Some(live) = self.calls.get_mut(call) else { return };
        let is_news = live.relay_troubles.insert(trouble.url().to_owned(), trouble.to_string()).is_none();
        if !is_news {
            return;
        }
        self.warn_of(call, trouble.to_string());
        // While it rings here nobody waits for a path.
        if !matches!(self.phone.state_of(call), State::Incoming { .. }) {
            self.end_if_hopeless(call);
        }
    }

    /// Ends a call that needs a relay, where no TURN server is of use.
    pub(super) fn end_if_hopeless(&mut self, call: &CallId) {
        let Some(live) = self.calls.get(call) else { return };
        let (failed, connected) = (live.relay_troubles.len(), live.marks.connected.is_some());
        let servers = &self.settings.peer.ice_servers;
        let all = servers.iter().filter(|server| server.url.kind == IceServerKind::Turn).count();
        let hopeless = self.settings.peer.ice_policy == IcePolicy::RelayOnly && failed > 0 && failed == all;
        if hopeless && !connected {
            self.phone_event(call::Event::Media { call: call.clone(), change: MediaChange::Failed });
        }
    }
}

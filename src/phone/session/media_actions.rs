//! What the phone decides about media: descriptions applied, a path that comes, breaks and heals, hold, other sources.

use std::sync::Arc;
use std::time::Instant;

use ::media::capture::{AudioSource, VideoSource};
use ::media::peer;
use ::media::peer::sdp::Negotiated;
use signalling::call::{self, MediaChange, Renewal};
use signalling::id::CallId;
use signalling::wire::Description;

use super::calls::Timer;
use super::descriptions::{answer_update, make_update};
use super::jobs::Done;
use super::media::CallMedia;
use super::open::{Sources, close_devices};
use super::{STATS_EVERY, Session, figures};
use crate::phone::events::CallEvent;
use crate::phone::settings::MediaSettings;
use crate::platform::usage;

impl Session {
    pub(super) async fn apply_answer(&mut self, call: CallId, answer: Description) {
        let Some(media) = self.calls.get_mut(&call).and_then(|live| live.media.as_mut()) else { return };
        match media.apply_answer(answer).await {
            Ok(agreed) => self.described(&call, agreed),
            Err(error) => {
                if let Some(live) = self.calls.get_mut(&call) {
                    live.problems.push(error.to_string());
                }
                self.phone_event(call::Event::Media { call, change: MediaChange::Failed });
            }
        }
    }

    /// Both descriptions are known.
    pub(super) fn described(&mut self, call: &CallId, agreed: Negotiated) {
        let Some(live) = self.calls.get_mut(call) else { return };
        let Some(media) = &mut live.media else { return };
        live.marks.described = Some(Instant::now());
        let display = self.screen.open_view(&live.peer, &self.printer);
        let event = CallEvent::Connecting {
            video: agreed.video.map(|(codec, _)| codec.to_string()),
            audio: agreed.audio.map(|_| "opus".to_owned()),
        };
        if let Err(failure) = media.start_receiving(agreed, display) {
            live.failure.get_or_insert(failure);
        }
        self.tell_of(call, &event);
    }

    /// The path is up for the first time.
    pub(super) async fn connected(&mut self, call: &CallId) {
        let now = Instant::now();
        self.start_sending(call);
        let duration = self.settings.media.duration;
        let Some(live) = self.calls.get_mut(call) else { return };
        let Some(media) = &mut live.media else { return };
        let pair = media.selected_pair().await.map(figures::pair);
        live.meter = figures::Meter::new(now);
        live.marks.connected = Some(now);
        live.marks.processor_at_connected = usage::processor_time();
        live.marks.ice.get_or_insert(now);
        live.timers.set(Timer::Stats, now + STATS_EVERY);
        if let Some(duration) = duration {
            live.timers.set(Timer::HangUp, now + duration);
        }
        let security = self.remember_partner(call);
        self.tell_of(call, &CallEvent::Connected { pair, security });
        self.tell_words(call);
    }

    pub(super) fn start_sending(&mut self, call: &CallId) {
        let Some(live) = self.calls.get_mut(call) else { return };
        if let Some(media) = &mut live.media
            && let Err(failure) = media.start_sending()
        {
            live.failure.get_or_insert(failure);
        }
    }

    /// The path is back.
    pub(super) async fn reconnected(&mut self, call: &CallId) {
        let Some(live) = self.calls.get_mut(call) else { return };
        let after_ms = live.interrupted_at.take().map(|since| figures::ms(since.elapsed()));
        let pair = match &mut live.media {
            Some(media) => media.selected_pair().await.map(figures::pair),
            None => None,
        };
        self.tell_of(call, &CallEvent::Reconnected { pair, after_ms });
    }

    pub(super) fn make_update(&mut self, id: CallId, revision: u32, renewal: Renewal) {
        let Some(peer) = self.peer_of(&id) else { return };
        peer.set_ice_servers(self.settings.peer_now().ice_servers);
        let renewal = match renewal {
            Renewal::Media => peer::Renewal::Media,
            Renewal::Restart => peer::Renewal::IceRestart,
        };
        let call = id.clone();
        self.spawn(&call, async move { Done::Revised(id, revision, make_update(peer, renewal).await) });
    }

    pub(super) fn answer_update(&mut self, id: CallId, revision: u32, offer: Description) {
        let Some(peer) = self.peer_of(&id) else { return };
        peer.set_ice_servers(self.settings.peer_now().ice_servers);
        let call = id.clone();
        self.spawn(&call, async move { Done::Revised(id, revision, answer_update(peer, offer).await) });
    }

    pub(super) async fn apply_update(&mut self, call: CallId, revision: u32, answer: Description) {
        let Some(media) = self.calls.get_mut(&call).and_then(|live| live.media.as_mut()) else { return };
        let event = match media.apply_update(answer).await {
            Ok(()) => {
                self.start_sending(&call);
                call::Event::UpdateApplied { call, revision }
            }
            Err(error) => {
                let why = error.to_string();
                self.warn_once_of(&call, format!("the call could not be changed: {why}"));
                call::Event::UpdateFailed { call, revision, why }
            }
        };
        self.phone_event(event);
    }

    fn peer_of(&self, call: &CallId) -> Option<Arc<peer::Peer>> {
        let media = self.calls.get(call)?.media.as_ref()?;
        Some(Arc::clone(media.peer()))
    }

    /// Our user leaves the call: camera and microphone are given back.
    pub(super) fn hold_media(&mut self, call: &CallId) {
        let Some(live) = self.calls.get_mut(call) else { return };
        live.opening += 1;
        let Some(released) = live.media.as_mut().and_then(CallMedia::release) else { return };
        // Not a job of the call: devices are given back even when it ends meanwhile.
        self.jobs.spawn(async move {
            close_devices(released).await;
            Done::Released
        });
    }

    /// Our user is back: camera and microphone are opened again.
    pub(super) fn resume_media(&mut self, call: &CallId) {
        let mut settings: MediaSettings = self.settings.media.clone();
        let Some(live) = self.calls.get_mut(call) else { return };
        live.opening += 1;
        let opening = live.opening;
        if let Some((video, audio)) = live.sources.clone() {
            (settings.video, settings.audio) = (video, audio);
        }
        let own = self.screen.own();
        let id = call.clone();
        self.spawn(call, async move {
            Done::Sources(id, opening, Sources::open_aside(Arc::new(settings), own).await.map(Box::new))
        });
    }

    /// One side holds, or talks again.
    pub(super) fn held(&self, call: &CallId) {
        if let Some(sides) = self.phone.state_of(call).media()
            && let Some(media) = self.calls.get(call).and_then(|live| live.media.as_ref())
        {
            media.set_held(sides.is_held());
        }
    }

    /// Sends something else from now on; what the other side has to agree to is asked of it.
    pub(super) fn change_sources(&mut self, video: Option<VideoSource>, audio: Option<AudioSource>) {
        let (now_video, now_audio) = (self.settings.media.video.clone(), self.settings.media.audio.clone());
        let front = self.front();
        let Some(live) = front.and_then(|front| self.calls.get_mut(&front)) else {
            return self.warn("there is no call to send anything in".to_owned());
        };
        if live.marks.connected.is_none() {
            return self.warn("something else can be sent once the call stands".to_owned());
        }
        let before = live.sources.clone().unwrap_or((now_video, now_audio));
        let after = (video.unwrap_or_else(|| before.0.clone()), audio.unwrap_or_else(|| before.1.clone()));
        if after == before {
            return;
        }
        let sends =
            |(video, audio): &(VideoSource, AudioSource)| (*video != VideoSource::None, *audio != AudioSource::None);
        let renewed = sends(&before) != sends(&after);
        live.sources = Some(after.clone());
        let call = live.call.clone();
        let Some(media) = &live.media else { return };
        if renewed {
            let direction =
                |sent| if sent { peer::config::Direction::SendReceive } else { peer::config::Direction::ReceiveOnly };
            let (video, audio) = sends(&after);
            media.peer().set_sending(direction(video), direction(audio));
        }
        if !self.phone.state_of(&call).is_held() {
            self.hold_media(&call);
            self.resume_media(&call);
        }
        if renewed {
            self.phone_event(call::Event::Renew { call, renewal: Renewal::Media });
        }
    }
}

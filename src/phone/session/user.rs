//! What the user wants: commands, keys, Ctrl-C.

use std::time::Instant;

use ::media::display::DisplayEvent;
use ::media::impair::{Impairment, Impairments};
use ::media::voice::Processing;
use signalling::call::{self, Renewal, Side};
use signalling::id::CallId;
use signalling::wire::{MediaState, PresenceState};

use super::Session;
use super::control::Command;
use super::snapshot::{Saved, save_picture};
use super::work::Work;
use crate::output::events::ProgramEvent;
use crate::output::exit::{ExitStatus, Failure};
use crate::phone::events::CallEvent;

impl Session {
    /// A key or the close button of the view; figures are asked for by none of its keys, so nothing here waits.
    pub(super) fn display_event(&mut self, event: DisplayEvent) -> Result<(), Failure> {
        let key = match event {
            DisplayEvent::CloseRequested => {
                self.phone_event(call::Event::HangUp);
                return Ok(());
            }
            DisplayEvent::Gone => {
                self.screen.view_is_gone();
                self.phone_event(call::Event::HangUp);
                return Ok(());
            }
            DisplayEvent::Interrupted => return self.interrupted(),
            DisplayEvent::Key(key) => key,
        };
        let local = self.phone.front().media().unwrap_or_default().local;
        let command = match key {
            'm' => Command::Mute { on: local.audio },
            'c' => Command::Camera { on: !local.video },
            'e' => Command::Voice { on: self.processing() == Some(Processing::Raw) },
            'v' => Command::Verify { on: !self.is_verified(), words: None },
            'h' if local.hold => Command::Resume {},
            'h' => Command::Hold {},
            'a' => Command::Answer {},
            'r' => Command::Reject { text: None },
            's' => Command::Swap {},
            '?' => {
                self.screen.help = self.screen.help.toggled();
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.work.push(Work::Control(Some(Ok(command))));
        Ok(())
    }

    pub(super) async fn command(&mut self, command: Command) {
        match command {
            Command::Answer {} => self.accept(),
            Command::Reject { text } => self.phone_event(call::Event::Decline { text }),
            Command::Hangup {} => self.phone_event(call::Event::HangUp),
            Command::Hold {} => self.phone_event(call::Event::Hold),
            Command::Resume {} => self.phone_event(call::Event::Resume),
            Command::Swap {} => self.phone_event(call::Event::Swap),
            Command::Quit {} => self.leave(ExitStatus::Done),
            Command::Mute { on } => self.switch(|local| local.audio = !on),
            Command::Camera { on } => self.switch(|local| local.video = on),
            Command::Voice { on } => self.process_voice(if on { Processing::Full } else { Processing::Raw }),
            Command::Verify { on: true, words } => self.verify(words.as_deref()),
            Command::Verify { on: false, .. } => self.doubt(),
            Command::Send { video, audio } => self.change_sources(video, audio),
            Command::Snapshot { file } => match self.front() {
                Some(call) => self.snapshot(&call, file),
                None => self.warn("no picture of the other side to save".to_owned()),
            },
            Command::Impair { spec } => {
                self.settings.peer.impairments.set(spec);
                self.tell_impaired(spec);
            }
            Command::Reconnect {} => {
                self.link.reconnect(Instant::now());
                for call in self.calls.ids() {
                    self.phone_event(call::Event::Renew { call, renewal: Renewal::Restart });
                }
            }
            Command::Away {} => self.rest_as(PresenceState::Away),
            Command::Back {} => self.rest_as(PresenceState::Available),
            Command::Stats {} => {
                if let Some(call) = self.front() {
                    self.stats(&call).await;
                }
            }
        }
    }

    /// What the network of our media is made to be.
    pub(super) fn tell_impaired(&self, impairments: Impairments) {
        let text = |one: Impairment| (!one.is_none()).then(|| one.to_string());
        self.printer.tell(&CallEvent::Impaired { up: text(impairments.up), down: text(impairments.down) });
    }

    /// What others see of us while no call stands; one that stands stays visible as busy.
    fn rest_as(&mut self, state: PresenceState) {
        self.link.rest_as(state);
        self.show_presence();
        let id = self.settings.link.me.to_string();
        self.printer.tell(&ProgramEvent::Presence { id, state: Some(state.name()) });
    }

    /// Microphone or camera, of the call that the user talks in.
    fn switch(&mut self, change: impl FnOnce(&mut MediaState)) {
        let front = self.phone.front();
        let (Some((call, _)), Some(sides)) = (front.call(), front.media()) else {
            return self.warn("there is no call to switch anything in".to_owned());
        };
        let (call, mut local) = (call.clone(), sides.local);
        change(&mut local);
        if let Some(live) = self.calls.get_mut(&call) {
            live.speaks_while_muted &= !local.audio;
            if let Some(media) = &live.media {
                media.switch(local);
            }
        }
        let MediaState { audio, video, .. } = local;
        self.tell(&CallEvent::Muted { side: Side::Local, audio: !audio, video: !video });
        self.phone_event(call::Event::Switch { call, audio, video });
    }

    /// What is done to our microphone, in the call that the user talks in.
    fn processing(&self) -> Option<Processing> {
        Some(self.calls.get(&self.front()?)?.media.as_ref()?.processing())
    }

    /// Processes our microphone in another way from now on, in the call that the user talks in. The other side is not
    /// told: it hears it.
    fn process_voice(&self, processing: Processing) {
        let front = self.front().and_then(|call| self.calls.get(&call));
        let Some(media) = front.and_then(|live| live.media.as_ref()) else {
            return self.warn("there is no call to switch anything in".to_owned());
        };
        media.set_processing(processing);
        self.tell(&CallEvent::Voice { processing });
    }

    /// Saves the latest picture of the other side, aside: a file may be slow, or nobody takes what is written to it.
    pub(super) fn snapshot(&mut self, call: &CallId, file: std::path::PathBuf) {
        let existing = self.settings.media.existing;
        let live = self.calls.get_mut(call);
        let shown = live.and_then(|live| Some((live.media.as_ref()?.latest_picture()?, &mut live.saves)));
        let Some((frame, saves)) = shown else {
            return self.warn_of(call, "no picture of the other side to save".to_owned());
        };
        saves.spawn(save_picture(file, frame, existing));
    }

    pub(super) fn saved(&mut self, call: &CallId, saved: Saved) {
        let Some(live) = self.calls.get_mut(call) else { return };
        if let Some(failure) = saved.tell(&self.printer, &live.call, &live.peer) {
            live.failure.get_or_insert(failure);
        }
    }

    /// Ctrl-C: once hangs up, twice leaves at once.
    ///
    /// # Errors
    /// The failure that the session ends with at once.
    pub(super) fn interrupted(&mut self) -> Result<(), Failure> {
        self.life.interrupt()?;
        self.leave(ExitStatus::Interrupted);
        Ok(())
    }

    /// Ends the call, if any, and then the program with `status`; an outcome that is known already stays.
    pub(super) fn leave(&mut self, status: ExitStatus) {
        self.life.leave(status, Instant::now() + self.farewell());
        // Held and waiting ones first: nobody comes back only to be left.
        let calls = [self.phone.back(), self.phone.front()].map(|state| state.call().map(|(call, _)| call.clone()));
        for call in calls.into_iter().flatten() {
            self.phone_event(call::Event::End { call });
        }
    }
}

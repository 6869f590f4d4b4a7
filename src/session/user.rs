//! What the user wants: commands, keys, Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use signalling::call;
use signalling::wire::PresenceState;
use tokio::io::AsyncBufReadExt as _;
use tokio::sync::mpsc;

use super::control::{self, Command};
use super::media::{self, CallMedia};
use super::{CurrentCall, FAREWELL, Phase, Session};
use crate::events::Event;
use crate::exit::{ExitStatus, Failure};

impl Session {
    pub(super) async fn command(&mut self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Answer {} => self.line_event(call::Event::Accept).await,
            Command::Reject {} => self.line_event(call::Event::Decline).await,
            Command::Hangup {} => self.line_event(call::Event::HangUp).await,
            Command::Quit {} => self.leave(ExitStatus::Done).await,
            Command::Mute { on } => {
                self.switch(|current| current.muted = on);
                Ok(())
            }
            Command::Camera { on } => {
                self.switch(|current| current.camera_off = !on);
                Ok(())
            }
            Command::Snapshot { file } => {
                self.snapshot(file).await;
                Ok(())
            }
            Command::Away {} => {
                self.rest_as(PresenceState::Away);
                Ok(())
            }
            Command::Back {} => {
                self.rest_as(PresenceState::Available);
                Ok(())
            }
            Command::Stats {} => {
                self.stats().await;
                Ok(())
            }
        }
    }

    /// What others see of us while no call stands; one that stands stays visible as busy.
    fn rest_as(&mut self, state: PresenceState) {
        self.at_rest = state;
        let answered = self.current.as_ref().is_some_and(|current| current.marks.accepted.is_some());
        if !answered {
            self.link.set_presence(state);
        }
        let id = self.settings.link.me.to_string();
        self.printer.tell(&Event::Presence { id, state: Some(state.name()) });
    }

    pub(super) fn switch(&mut self, change: impl FnOnce(&mut CurrentCall)) {
        let Some(current) = &mut self.current else {
            return self.warn("there is no call to switch anything in".to_owned());
        };
        change(current);
        let (audio, video) = (current.muted, current.camera_off);
        if let Some(media) = &self.media {
            media.switches().set_muted(audio);
            media.switches().set_camera_off(video);
        }
        self.tell(&Event::Muted { audio, video });
    }

    pub(super) async fn snapshot(&mut self, file: std::path::PathBuf) {
        let Some(frame) = self.media.as_ref().and_then(CallMedia::latest_picture) else {
            return self.warn("no picture of the other side to save".to_owned());
        };
        let path = file.clone();
        let saved = tokio::task::spawn_blocking(move || media::save_picture(&path, &frame)).await;
        match saved {
            Ok(Ok(())) => self.tell(&Event::Snapshot { file: file.display().to_string() }),
            Ok(Err(text)) => {
                self.warn(text.clone());
                self.fail_call(Failure::internal(text));
            }
            Err(error) => self.warn(error.to_string()),
        }
    }

    /// Ctrl-C: once hangs up, twice leaves at once.
    pub(super) async fn interrupted(&mut self) -> Result<(), Failure> {
        self.interrupts += 1;
        if self.interrupts > 1 {
            return Err(Failure::new(ExitStatus::Interrupted, "interrupted"));
        }
        self.leave(ExitStatus::Interrupted).await
    }

    /// Ends the call, if any, and then the program with `status`; an outcome that is known already stays.
    pub(super) async fn leave(&mut self, status: ExitStatus) -> Result<(), Failure> {
        if !matches!(self.phase, Phase::Leaving { .. }) {
            self.phase = Phase::Leaving { status, until: Instant::now() + FAREWELL };
        }
        self.line_event(call::Event::HangUp).await
    }
}

/// Lets [`read_keys`] read one line, unless it still waits for one.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    ask: mpsc::Sender<()>,
    reading: Arc<AtomicBool>,
}

impl Prompt {
    pub(super) fn ask(&self) {
        if !self.reading.load(Ordering::Acquire) {
            // A question that is asked already need not be asked twice.
            let _asked = self.ask.try_send(());
        }
    }
}

/// Answers typed at the terminal: y, n, q; one line each time the prompt asks. In between standard input is left alone:
/// the terminal view reads its keys there.
pub(super) fn read_keys(input: tokio::io::Stdin) -> (Prompt, mpsc::Receiver<control::Line>) {
    let (keys, received) = mpsc::channel(4);
    let (ask, mut asked) = mpsc::channel(1);
    let reading = Arc::new(AtomicBool::new(false));
    let prompt = Prompt { ask, reading: Arc::clone(&reading) };
    tokio::spawn(async move {
        let mut lines = tokio::io::BufReader::new(input).lines();
        while asked.recv().await.is_some() {
            reading.store(true, Ordering::Release);
            let line = lines.next_line().await;
            reading.store(false, Ordering::Release);
            let Ok(Some(line)) = line else { return };
            let command = match line.trim() {
                "" | "y" | "yes" => Ok(Command::Answer {}),
                "n" | "no" => Ok(Command::Reject {}),
                "q" => Ok(Command::Quit {}),
                _ => Err("type y to answer, n to decline, q to quit".to_owned()),
            };
            if keys.send(command).await.is_err() {
                return;
            }
        }
    });
    (prompt, received)
}

//! What is heard before anybody talks: the ring of whoever is called, the tones of whoever calls.
//!
//! Owns the playing; how it sounds is [`media::playout::ring`]'s. A speaker is in one hand at a time:
//!
//! - called: [`Ringing`] opens the speaker when it is its turn, and closes it before the call has its own
//! - calling: the call's speaker is open already; [`Lent`] plays on it and gives it back
//! - no speaker: the terminal's bell

use std::sync::Arc;
use std::time::Duration;

use media::playout::AudioSink;
use media::playout::ring::Tone;
use media::playout::speaker::Speaker;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use crate::cli::Ring;
use crate::output::printer::Printer;

/// Sound that waits in a speaker of our own: enough for a busy machine, and it is lost when the speaker is closed.
const QUEUED: Duration = Duration::from_millis(200);

/// Sound that waits in a speaker that is to be given back: over before a talk is missed.
const QUEUED_LENT: Duration = Duration::from_millis(40);

/// How often the speaker is looked at. A tone stops within this time.
const LOOK: Duration = Duration::from_millis(5);

/// How often the terminal's bell rings.
const BELL_EVERY: Duration = Duration::from_secs(3);

/// How long whoever hears busy hears it.
const BUSY: Duration = Duration::from_secs(1);

/// How long a speaker may take to fall silent; one that hangs is left behind.
const STOP_PATIENCE: Duration = Duration::from_millis(500);

/// Length of one frame of sound.
const FRAME: Duration = Duration::from_millis(20);

/// The ring of an incoming call; silent once dropped.
#[derive(Debug)]
pub(crate) struct Ringing {
    _ends: DropGuard,
}

impl Ringing {
    /// Rings as wanted: on the speaker, opened as soon as `turn` gives the right to the devices, or by the terminal.
    pub(crate) fn start(
        how: Ring,
        sink: AudioSink,
        turn: impl Future<Output = Option<OwnedSemaphorePermit>> + Send + 'static,
        printer: Arc<Printer>,
    ) -> Self {
        let ends = CancellationToken::new();
        let over = ends.clone();
        // Ends with its guard; the speaker is closed by then, or the devices are not given to the call.
        tokio::spawn(async move {
            match (how, sink) {
                (Ring::None, _) => return,
                (Ring::Bell, _) | (Ring::Sound, AudioSink::None) => {}
                (Ring::Sound, AudioSink::Speaker(name)) => {
                    let turn = tokio::select! {
                        biased;
                        () = over.cancelled() => return,
                        turn = turn => turn,
                    };
                    let stop = over.clone();
                    let rung = tokio::task::spawn_blocking(move || {
                        let rung = ring(name.as_deref(), &stop);
                        // The speaker is closed: now the call may have it.
                        drop(turn);
                        rung
                    });
                    match rung.await {
                        Ok(Ok(())) => return,
                        Ok(Err(reason)) => warn!(%reason, "rings by the terminal's bell"),
                        Err(error) => warn!(%error, "rings by the terminal's bell"),
                    }
                }
            }
            while !over.is_cancelled() {
                printer.bell();
                let _rung_or_over = tokio::time::timeout(BELL_EVERY, over.cancelled()).await;
            }
        });
        Self { _ends: ends.drop_guard() }
    }
}

/// Opens the speaker, rings until told to stop, closes it.
fn ring(name: Option<&str>, stop: &CancellationToken) -> Result<(), String> {
    if stop.is_cancelled() {
        return Ok(());
    }
    let mut speaker = Speaker::open(name).map_err(|error| error.to_string())?;
    play(&mut speaker, QUEUED, Tone::Ring.frames(), stop);
    if speaker.has_failed() { Err("the speaker is gone".to_owned()) } else { Ok(()) }
}

/// A tone on a speaker that belongs to a call.
#[derive(Debug)]
pub(crate) struct Lent {
    ends: CancellationToken,
    playing: JoinHandle<Speaker>,
}

impl Lent {
    /// The other side rings.
    pub(crate) fn ring_back(speaker: Speaker) -> Self {
        Self::start(speaker, Tone::RingBack.frames())
    }

    /// The other side is busy; ends by itself.
    pub(crate) fn busy(speaker: Speaker) -> Self {
        Self::start(speaker, Tone::Busy.frames().take((BUSY.as_millis() / FRAME.as_millis()) as usize))
    }

    fn start(mut speaker: Speaker, tone: impl Iterator<Item = Vec<i16>> + Send + 'static) -> Self {
        let ends = CancellationToken::new();
        let stop = ends.clone();
        let playing = tokio::task::spawn_blocking(move || {
            play(&mut speaker, QUEUED_LENT, tone, &stop);
            speaker
        });
        Self { ends, playing }
    }

    /// Silence within some milliseconds; the speaker, unless it was lost with its thread.
    pub(crate) async fn stop(mut self) -> Option<Speaker> {
        self.ends.cancel();
        let playing = tokio::time::timeout(STOP_PATIENCE, &mut self.playing).await;
        let mut speaker = playing.ok()?.ok()?;
        speaker.forget_underruns();
        Some(speaker)
    }

    /// Waits until a tone that ends by itself has been heard, not much longer than it lasts.
    pub(crate) async fn heard(mut self) {
        // Whether it was heard or not, it is over.
        let _over = tokio::time::timeout(2 * BUSY, &mut self.playing).await;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.ends.cancel();
    }
}

/// Plays, about `queued` ahead, until the tone is over, `stop` says so, or the device has gone.
fn play(speaker: &mut Speaker, queued: Duration, tone: impl Iterator<Item = Vec<i16>>, stop: &CancellationToken) {
    let goes_on = |speaker: &Speaker| !stop.is_cancelled() && !speaker.has_failed();
    for frame in tone {
        while speaker.queued() > queued && goes_on(speaker) {
            std::thread::sleep(LOOK);
        }
        if !goes_on(speaker) {
            return;
        }
        speaker.push(&frame);
    }
    while !speaker.queued().is_zero() && goes_on(speaker) {
        std::thread::sleep(LOOK);
    }
}

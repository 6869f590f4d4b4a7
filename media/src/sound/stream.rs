//! An open sound stream, kept on a thread of its own.
//!
//! Owns that thread and what the stream's callbacks report. Not every system lets streams change threads, and a sound
//! server that froze holds up whoever closes a stream: so the thread opens, waits and closes, and is left behind when
//! it does not come back. Dropping a stream never waits; opening one waits for one of the same role that is still closing.
//!
//! - a device that is gone (unplugged, or its server ended) is closed, and one is opened again as soon as there is one
//! - what belongs to the new one comes out of [`Stream::renewed`]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::system::{OPEN_PATIENCE, Role};
use crate::threads::{end_aside, join_or_leave, wait_for_ended};
use network::system_error::in_words;

/// How long a stream may take to close.
pub(crate) const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// How soon a device is looked for after one has gone: by then the system has chosen another default.
const REOPEN_AFTER: Duration = Duration::from_millis(100);

/// How often it is looked for when there was none.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// How often a device is looked after that tells by itself when it is gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// An open device, as the thread that keeps it sees it. It is closed when it is dropped.
pub(crate) trait Device {
    /// Looks after it; how soon to look again.
    ///
    /// # Errors
    /// Why it cannot be used any more.
    fn look(&mut self) -> Result<Duration, String>;
}

/// What `open` gives: a device, and what goes to whoever opened it.
pub(crate) type Opened<T> = (Box<dyn Device>, T);

/// A running stream; dropping it has its thread close it, and never waits.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    role: Role,
    /// Nothing is ever sent; dropped to end the thread.
    keep: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    opened: Receiver<Result<T, String>>,
}

impl<T: Send + 'static> Stream<T> {
    /// Runs `open` on a new thread and keeps the device it opened there; gives what `open` gave beside it. Blocks.
    ///
    /// # Errors
    /// The error of `open`, or a text when the sound system does not answer.
    pub(crate) fn open(
        role: Role,
        open: impl FnMut() -> Result<Opened<T>, String> + Send + 'static,
    ) -> Result<(Self, T), String> {
        let name = format!("{}-stream", role.word());
        wait_for_ended(&name, CLOSE_PATIENCE);
        let (out, opened) = sync_channel(1);
        let (keep, kept) = sync_channel::<()>(1);
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || keep_open(role, open, &out, &kept))
            .map_err(|error| in_words(&error))?;
        match opened.recv_timeout(2 * OPEN_PATIENCE) {
            Ok(beside) => Ok((Self { role, keep: Some(keep), thread: Some(thread), opened }, beside?)),
            // The thread is left inside the sound system; it ends when that answers.
            Err(_) => Err("the sound system does not answer".to_owned()),
        }
    }

    /// What belongs to the device that was opened in place of one that has gone, once.
    pub(crate) fn renewed(&self) -> Option<T> {
        self.opened.try_recv().ok()?.ok()
    }
}

impl<T> Stream<T> {
    /// Closes the stream and waits until it is closed, [`CLOSE_PATIENCE`] at most. Blocks.
    pub(crate) fn close(mut self) {
        drop(self.keep.take());
        if let Some(thread) = self.thread.take() {
            join_or_leave(thread, CLOSE_PATIENCE, self.role.word());
        }
    }
}

impl<T> Drop for Stream<T> {
    fn drop(&mut self) {
        drop(self.keep.take());
        if let Some(thread) = self.thread.take() {
            end_aside(thread);
        }
    }
}

/// The thread of a stream: until the other end of `kept` is dropped, or nothing could be opened to begin with.
fn keep_open<T>(
    role: Role,
    mut open: impl FnMut() -> Result<Opened<T>, String>,
    out: &SyncSender<Result<T, String>>,
    kept: &Receiver<()>,
) {
    let mut device = match open() {
        Ok((device, beside)) => {
            if out.send(Ok(beside)).is_err() {
                return;
            }
            Some(device)
        }
        // Nobody waits any more when this cannot be sent.
        Err(reason) => return drop(out.send(Err(reason))),
    };
    let mut wait = Duration::ZERO;
    while let Err(RecvTimeoutError::Timeout) = kept.recv_timeout(wait) {
        wait = match &mut device {
            Some(opened) => opened.look().unwrap_or_else(|reason| {
                tracing::warn!(device = role.word(), reason, "sound device lost; another is looked for");
                device = None;
                REOPEN_AFTER
            }),
            None => match open() {
                Ok((opened, beside)) => {
                    tracing::info!(device = role.word(), "sound device found again");
                    // One that was never fetched is that of a device that has gone meanwhile.
                    match out.try_send(Ok(beside)) {
                        Ok(()) => {
                            device = Some(opened);
                            Duration::ZERO
                        }
                        Err(_) => REOPEN_EVERY,
                    }
                }
                Err(reason) => {
                    tracing::debug!(device = role.word(), reason, "no sound device yet");
                    REOPEN_EVERY
                }
            },
        };
    }
}

/// A stream of cpal; its callbacks tell how it does.
pub(crate) struct CpalDevice {
    _stream: cpal::Stream,
    health: Arc<Health>,
}

impl CpalDevice {
    pub(crate) const fn new(stream: cpal::Stream, health: Arc<Health>) -> Self {
        Self { _stream: stream, health }
    }
}

impl Device for CpalDevice {
    fn look(&mut self) -> Result<Duration, String> {
        if self.health.has_failed() { Err("it is gone".to_owned()) } else { Ok(LOOK_EVERY) }
    }
}

/// What a stream's callbacks report.
#[derive(Debug, Default)]
pub(crate) struct Health {
    glitches: AtomicU64,
    failed: AtomicBool,
}

impl Health {
    /// Counts moments in which sound was lost: nothing to play, or no room for what was recorded.
    pub(crate) fn count(&self, glitches: u64) {
        self.glitches.fetch_add(glitches, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub(crate) fn glitches(&self) -> u64 {
        self.glitches.load(Ordering::Relaxed)
    }

    /// The device is gone.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// True once the device is gone.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The stream's error callback.
    pub(crate) fn on_error(self: &Arc<Self>, role: Role) -> impl FnMut(cpal::Error) + Send + 'static {
        let health = Arc::clone(self);
        move |error| match error.kind() {
            cpal::ErrorKind::Xrun => {
                tracing::debug!(device = role.word(), "sound device ran dry or over");
                health.count(1);
            }
            cpal::ErrorKind::DeviceChanged | cpal::ErrorKind::RealtimeDenied => {
                tracing::debug!(device = role.word(), %error, "sound device hiccup");
            }
            _ => {
                tracing::debug!(device = role.word(), %error, "sound device failed");
                health.fail();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use super::*;

    /// A device that is gone once it is told so.
    struct Pluggable {
        gone: Receiver<()>,
    }

    impl Device for Pluggable {
        fn look(&mut self) -> Result<Duration, String> {
            if self.gone.try_recv().is_ok() { Err("unplugged".to_owned()) } else { Ok(Duration::from_millis(1)) }
        }
    }

    #[test]
    fn a_device_that_is_gone_is_opened_again_until_there_is_one() {
        let (unplug, unplugged) = channel();
        let mut attempts = vec![Some(channel().1), None, Some(unplugged)];
        let mut opened = 0;
        let (stream, first) = Stream::open(Role::Speaker, move || {
            opened += 1;
            let gone = attempts.pop().flatten().ok_or("there is none")?;
            Ok((Box::new(Pluggable { gone }) as Box<dyn Device>, opened))
        })
        .unwrap();
        assert_eq!(first, 1);
        assert_eq!(stream.renewed(), None);
        unplug.send(()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let renewed = loop {
            if let Some(renewed) = stream.renewed() {
                break renewed;
            }
            assert!(Instant::now() < deadline, "no device is opened again");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(renewed, 3, "the second attempt found none");
        stream.close();
    }

    #[test]
    fn what_cannot_be_opened_to_begin_with_is_told_and_not_tried_again() {
        let error = Stream::<()>::open(Role::Microphone, || Err("there is none".to_owned())).unwrap_err();
        assert_eq!(error, "there is none");
    }
}

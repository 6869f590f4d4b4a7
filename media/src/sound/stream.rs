//! An open sound stream, kept on a thread of its own.
//!
//! Owns that thread and what the stream's callbacks report. Not every system lets streams change threads, and a sound
//! server that froze holds up whoever closes a stream: so the thread opens, waits and closes, and is left behind when
//! it does not come back. Dropping a stream never waits; opening one waits for one of the same role that is still closing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::system::{OPEN_PATIENCE, Role};
use crate::system_error::in_words;
use crate::threads::{end_aside, join_or_leave, wait_for_ended};

/// How long a stream may take to close.
pub(crate) const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// A running stream; dropping it has its thread close it, and never waits.
#[derive(Debug)]
pub(crate) struct Stream {
    role: Role,
    /// Nothing is ever sent; dropped to end the thread.
    keep: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// Runs `open` on a new thread and keeps the stream it made there; gives what `open` gave beside it. Blocks.
    ///
    /// # Errors
    /// The error of `open`, or a text when the sound system does not answer.
    pub(crate) fn open<T: Send + 'static>(
        role: Role,
        open: impl FnOnce() -> Result<(cpal::Stream, T), String> + Send + 'static,
    ) -> Result<(Self, T), String> {
        let name = format!("{}-stream", role.word());
        wait_for_ended(&name, CLOSE_PATIENCE);
        let (ready, opened) = sync_channel(1);
        let (keep, kept) = sync_channel::<()>(1);
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || match open() {
                Ok((stream, beside)) => {
                    if ready.send(Ok(beside)).is_ok() {
                        // Returns when the other end is dropped.
                        kept.recv().unwrap_or_default();
                    }
                    drop(stream);
                }
                // Nobody waits any more when this cannot be sent.
                Err(reason) => drop(ready.send(Err(reason))),
            })
            .map_err(|error| in_words(&error))?;
        match opened.recv_timeout(2 * OPEN_PATIENCE) {
            Ok(beside) => Ok((Self { role, keep: Some(keep), thread: Some(thread) }, beside?)),
            // The thread is left inside the sound system; it ends when that answers.
            Err(_) => Err("the sound system does not answer".to_owned()),
        }
    }

    /// Closes the stream and waits until it is closed, [`CLOSE_PATIENCE`] at most. Blocks.
    pub(crate) fn close(mut self) {
        drop(self.keep.take());
        if let Some(thread) = self.thread.take() {
            join_or_leave(thread, CLOSE_PATIENCE, self.role.word());
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        drop(self.keep.take());
        if let Some(thread) = self.thread.take() {
            end_aside(thread);
        }
    }
}

/// What a stream's callbacks report.
#[derive(Debug, Default)]
pub(crate) struct Health {
    glitches: AtomicU64,
    failed: AtomicBool,
}

impl Health {
    /// Counts lost samples or moments without sound; called by the data callback.
    pub(crate) fn count(&self, glitches: u64) {
        self.glitches.fetch_add(glitches, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub(crate) fn glitches(&self) -> u64 {
        self.glitches.load(Ordering::Relaxed)
    }

    /// True once the device is gone.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The stream's error callback.
    pub(crate) fn on_error(self: &Arc<Self>, role: Role) -> impl FnMut(cpal::Error) + Send + 'static {
        let health = Arc::clone(self);
        move |error| match error.kind() {
            cpal::ErrorKind::DeviceChanged | cpal::ErrorKind::Xrun | cpal::ErrorKind::RealtimeDenied => {
                tracing::debug!(device = role.word(), %error, "sound device hiccup");
            }
            _ => {
                tracing::warn!(device = role.word(), %error, "sound device lost");
                health.failed.store(true, Ordering::Relaxed);
            }
        }
    }
}

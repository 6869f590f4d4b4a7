//! The threads and tasks of one call: they only carry out what the pure parts decided.
//!
//! Owns the threads, their queues and their ends. Decides nothing about the media: what is sent when is decided by
//! [`crate::send`], what is played when by the jitter buffers.
//!
//! - [`outgoing`]: capture queue → encoder → [`crate::peer::MediaSender`]
//! - [`incoming`]: packet queue → jitter buffer → decoder → display, speaker, [`crate::record`]
//! - [`microphone`]: what is done to the sound of a microphone before it is encoded
//! - [`light`]: both without codecs, on tasks, for many calls at once
//!
//! Threads and not tasks, because codecs block. Each ends when it is told to, and its owner joins it. Figures go out
//! through `watch` channels; a reader sees the latest and slows nothing.

pub mod incoming;
pub mod light;
mod microphone;
pub mod outgoing;
mod recording;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use outgoing::SendingPlan;

/// How often a thread looks whether it should end, at least.
const POLL: Duration = Duration::from_millis(50);

/// What the threads of a call tell at once.
#[derive(Debug)]
pub enum StreamEvent {
    /// The first picture of the other side was handed to the display.
    FirstFrame(Instant),
    /// The first sound of the other side was decoded.
    FirstAudio(Instant),
    /// The source of our pictures or sound ended by itself.
    SourceEnded(&'static str),
    /// The recording cannot go on; the call does.
    RecordingFailed(String),
    /// Media are sent in another way from now on: the path, or this machine, asks for it.
    PlanChanged(SendingPlan),
    /// Our user has spoken into a microphone that is muted, for the first time since it is.
    SpokeWhileMuted,
    /// A codec cannot go on; the call does, without that medium.
    CodecFailed(String),
}

/// A running thread that ends when this is dropped.
#[derive(Debug)]
struct Worker<T> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Worker<T> {
    fn spawn(name: &str, body: impl FnOnce(Arc<AtomicBool>) -> T + Send + 'static) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || body(flag))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl<T> Worker<T> {
    /// Ends the thread and hands out its result; `None` when it panicked.
    fn finish(mut self) -> Option<T> {
        self.end()
    }

    /// Tells the thread to end, and does not wait for it.
    fn tell_to_end(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Leaves a thread that hangs to end by itself.
    fn leave(mut self) {
        self.thread.take();
    }

    fn end(&mut self) -> Option<T> {
        self.tell_to_end();
        let result = self.thread.take()?.join();
        if result.is_err() {
            tracing::error!("a media thread panicked");
        }
        result.ok()
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.end();
    }
}

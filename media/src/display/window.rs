//! Windows on the desktop.
//!
//! Some systems let only the main thread talk to the desktop, and only one event loop exist in a process. So the main
//! thread hosts: [`main_thread`] gives a [`WindowHost`] to run there and a [`WindowClient`] to open windows from
//! anywhere. The host sleeps until the first window is asked for, and touches no desktop before.
//!
//! - pictures → a thread a window ([`forward_pictures`]) → its [`Slot`] → wakes the host → [`canvas`] → screen
//! - keys and the close button → host → [`DisplayEvent`]

use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use self::request::{Request, Slot, Waker};
use super::{DisplayError, DisplayEvent, Labels, Pictures, Refreshed, Scene};
use network::system_error::in_words;

mod canvas;
mod font;
mod host;
mod request;

pub use self::host::WindowHost;

/// Requests that wait for the host: one a window, and nobody opens many at once. When full, opening fails.
const REQUESTS: usize = 16;

/// How long opening a window may take, a slow remote desktop included.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// How often a window without pictures from the partner looks for one's own: 25 times a second.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// Makes the two ends. The host goes to the main thread, the client wherever windows are wanted.
#[must_use]
pub fn main_thread() -> (WindowHost, WindowClient) {
    let (ask, requests) = sync_channel(REQUESTS);
    let waker = Arc::new(Waker::default());
    (WindowHost { requests, waker: Arc::clone(&waker) }, WindowClient { ask: Some(ask), waker })
}

/// The end that opens windows; clone it freely.
#[derive(Clone, Debug)]
pub struct WindowClient {
    /// Taken on drop, before the host is woken to notice.
    ask: Option<SyncSender<Request>>,
    waker: Arc<Waker>,
}

/// An open window; dropping it closes it.
#[derive(Debug)]
pub struct Window {
    slot: Arc<Slot>,
    forwarder: Option<JoinHandle<()>>,
    client: WindowClient,
}

impl WindowClient {
    /// Opens a window. Waits until it is there: run it where blocking is allowed.
    ///
    /// # Errors
    /// [`DisplayError::NoWindow`] without a desktop, or when the host does not run.
    pub fn open(
        &self,
        title: &str,
        pictures: Arc<Pictures>,
        events: mpsc::Sender<DisplayEvent>,
    ) -> Result<Window, DisplayError> {
        let failed = |reason: &str| DisplayError::NoWindow(reason.to_owned());
        let slot = Arc::new(Slot::default());
        let (answer, answered) = sync_channel(1);
        let request = Request { title: title.to_owned(), slot: Arc::clone(&slot), events, answer };
        let ask = self.ask.as_ref().expect("the sender is only taken on drop");
        ask.try_send(request).map_err(|_| failed("the main thread shows no windows"))?;
        self.waker.wake();
        let opened = answered.recv_timeout(OPEN_PATIENCE);
        // From here on, dropping the handle tells the host, also when it opens the window only later.
        let mut window = Window { slot, forwarder: None, client: self.clone() };
        match opened {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => return Err(DisplayError::NoWindow(reason)),
            Err(RecvTimeoutError::Timeout) => return Err(failed("the desktop does not answer")),
            Err(RecvTimeoutError::Disconnected) => return Err(failed("the main thread shows no windows any more")),
        }
        let (slot, waker) = (Arc::clone(&window.slot), Arc::clone(&self.waker));
        let forwarder = std::thread::Builder::new()
            .name("window-pictures".to_owned())
            .spawn(move || forward_pictures(&pictures, &slot, &waker))
            .map_err(|error| failed(&in_words(&error)))?;
        window.forwarder = Some(forwarder);
        Ok(window)
    }
}

impl Window {
    /// Shows these words below and over the pictures, and in the title.
    pub fn set_labels(&self, labels: &Labels) {
        *self.slot.labels() = Arc::new(labels.printable());
        self.slot.dirty.store(true, Ordering::Release);
        self.client.waker.wake();
    }
}

impl Drop for WindowClient {
    fn drop(&mut self) {
        drop(self.ask.take());
        self.waker.wake();
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.slot.closed.store(true, Ordering::Release);
        self.client.waker.wake();
        if let Some(forwarder) = self.forwarder.take()
            && forwarder.join().is_err()
        {
            tracing::error!("window's picture thread panicked");
        }
    }
}

/// Moves pictures from their queues to the host until the window is closed.
fn forward_pictures(pictures: &Pictures, slot: &Slot, waker: &Waker) {
    let mut scene = Scene::default();
    while !slot.closed.load(Ordering::Acquire) {
        let moved = pictures.refresh(&mut scene, LOOK_EVERY) == Refreshed::Moved;
        let labels = Arc::clone(&slot.labels());
        let before = std::mem::replace(&mut scene.labels, labels);
        if before.peer != scene.labels.peer && !moved {
            // What stood there is of another call.
            scene.remote = None;
        }
        if moved || before != scene.labels {
            *slot.scene.lock().unwrap_or_else(PoisonError::into_inner) = scene.clone();
            if !slot.dirty.swap(true, Ordering::AcqRel) {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue;

    #[test]
    fn the_host_ends_when_nobody_can_ask_any_more() {
        let (host, client) = main_thread();
        let other = client.clone();
        drop(client);
        drop(other);
        host.run();
    }

    #[test]
    fn without_a_host_opening_fails_and_says_what_to_try() {
        let (host, client) = main_thread();
        drop(host);
        let (_frames, pictures) = queue::bounded(1);
        let (events, _keys) = mpsc::channel(1);
        let error = client.open("test", Arc::new(Pictures::new(pictures)), events).unwrap_err().to_string();
        assert!(error.contains("--show terminal") && error.contains("--show none"), "{error}");
    }
}

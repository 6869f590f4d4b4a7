//! What passes between whoever opens a window, the thread that brings pictures and the host.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use winit::event_loop::EventLoopProxy;

use crate::display::{DisplayEvent, Labels, Scene};

/// A window that is wanted.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) title: String,
    pub(super) slot: Arc<Slot>,
    pub(super) events: mpsc::Sender<DisplayEvent>,
    pub(super) answer: SyncSender<Result<(), String>>,
}

/// What a window's handle, the thread that brings its pictures and the host share.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) scene: Mutex<Scene>,
    pub(super) labels: Mutex<Arc<Labels>>,
    /// There is something to draw.
    pub(super) dirty: AtomicBool,
    /// The handle was dropped.
    pub(super) closed: AtomicBool,
}

/// Wakes the host's event loop, once there is one.
#[derive(Debug, Default)]
pub(super) struct Waker {
    proxy: Mutex<Option<EventLoopProxy<Wake>>>,
}

/// Look around: a request came, a window closed, a picture arrived, or every client is gone.
#[derive(Debug)]
pub(super) struct Wake;

impl Waker {
    pub(super) fn wake(&self) {
        if let Some(proxy) = &*self.proxy.lock().unwrap_or_else(PoisonError::into_inner) {
            // An event loop that ended needs no waking.
            drop(proxy.send_event(Wake));
        }
    }

    pub(super) fn set(&self, proxy: EventLoopProxy<Wake>) {
        *self.proxy.lock().unwrap_or_else(PoisonError::into_inner) = Some(proxy);
    }
}

impl Slot {
    pub(super) fn labels(&self) -> MutexGuard<'_, Arc<Labels>> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Threads that own a device, which may hold them up.
//!
//! A device is opened and closed by the thread that owns it, since closing may take seconds. Whoever drops the handle of a
//! device only tells that thread to end: it may be a task of a runtime, which must not wait. The thread is kept here
//! ([`end_aside`]) until it has ended, and whoever opens the same kind of device next waits for it ([`wait_for_ended`]), so
//! that the device is free.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a thread that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Threads that were told to end, by their names.
static ENDING: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// Lets a thread that was told to end do so by itself. Never waits.
pub(crate) fn end_aside(thread: JoinHandle<()>) {
    let mut ending = ending();
    reap(&mut ending);
    ending.push(thread);
}

/// Waits up to `patience` until no thread of this name is ending any more, then leaves those that still do. Blocks.
pub(crate) fn wait_for_ended(name: &str, patience: Duration) {
    let deadline = Instant::now() + patience;
    let is_named = |thread: &JoinHandle<()>| thread.thread().name() == Some(name);
    loop {
        let mut ending = ending();
        reap(&mut ending);
        if !ending.iter().any(is_named) {
            return;
        }
        if Instant::now() >= deadline {
            tracing::warn!(device = name, "device does not stop; left behind");
            return ending.retain(|thread| !is_named(thread));
        }
        drop(ending);
        std::thread::sleep(LOOK);
    }
}

/// Waits up to `patience` for a thread that a device may hold up, then leaves it to end by itself. Blocks.
pub(crate) fn join_or_leave(thread: JoinHandle<()>, patience: Duration, what: &str) {
    let deadline = Instant::now() + patience;
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            tracing::warn!(device = what, "device does not stop; left behind");
            return;
        }
        std::thread::sleep(LOOK);
    }
    join(thread);
}

fn ending() -> MutexGuard<'static, Vec<JoinHandle<()>>> {
    ENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes out those that have ended.
fn reap(ending: &mut Vec<JoinHandle<()>>) {
    ending.extract_if(.., |thread| thread.is_finished()).for_each(join);
}

fn join(thread: JoinHandle<()>) {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    if thread.join().is_err() {
        tracing::error!(device = name, "device thread panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// A thread that ends once the sender is dropped.
    fn held_up(name: &str) -> (Sender<()>, JoinHandle<()>) {
        let (release, blocked) = channel::<()>();
        let body = move || assert!(blocked.recv().is_err());
        (release, std::thread::Builder::new().name(name.to_owned()).spawn(body).unwrap())
    }

    #[test]
    fn a_thread_that_hangs_is_left_behind() {
        let (release, thread) = held_up("hangs");
        join_or_leave(thread, Duration::from_millis(20), "test");
        drop(release);
    }

    #[test]
    fn a_device_that_is_closing_is_waited_for_by_whoever_opens_the_next() {
        let (release, thread) = held_up("closing");
        end_aside(thread);
        let begun = Instant::now();
        wait_for_ended("another kind", Duration::from_secs(60));
        assert!(begun.elapsed() < Duration::from_secs(30), "that one is not waited for");
        let waiting = std::thread::spawn(|| wait_for_ended("closing", Duration::from_secs(60)));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished());
        drop(release);
        waiting.join().unwrap();
    }

    #[test]
    fn one_that_does_not_close_is_given_up() {
        let (release, thread) = held_up("stuck");
        end_aside(thread);
        wait_for_ended("stuck", Duration::from_millis(20));
        assert!(!ending().iter().any(|thread| thread.thread().name() == Some("stuck")));
        drop(release);
    }
}

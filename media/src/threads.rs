//! Threads that a device may hold up.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a thread that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits up to `patience` for a thread that a device may hold up, then leaves it to end by itself.
pub(crate) fn join_or_leave(thread: JoinHandle<()>, patience: Duration, what: &str) {
    let deadline = Instant::now() + patience;
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            tracing::warn!(device = what, "device does not stop; left behind");
            return;
        }
        std::thread::sleep(LOOK);
    }
    if thread.join().is_err() {
        tracing::error!(device = what, "device thread panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_hangs_is_left_behind() {
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || assert!(blocked.recv().is_err()));
        join_or_leave(thread, Duration::from_millis(20), "test");
        drop(release);
    }
}

//! Waits for the lock of a file that other programs hold for a few milliseconds. Blocks.

use std::fs::{File, TryLockError};
use std::io;
use std::time::{Duration, Instant};

/// How long it is waited for, and how far apart it is tried.
const PATIENCE: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(5);

/// Until when a lock is waited for, from now on.
pub(crate) fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// Takes the lock of `file`; false when another program still has it at `deadline`. It is given back with the file.
///
/// # Errors
/// Where files have no locks.
pub(crate) fn wait(file: &File, deadline: Instant) -> io::Result<bool> {
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(EVERY),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

//! The terminal in our hands: alternate screen, hidden cursor, raw mode. There is one a process.
//!
//! It is given back on drop, on a panic anywhere in the process, and by [`restore`]. Nothing is drawn here.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd as _;
use std::sync::{Mutex, MutexGuard, Once, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

use super::tty::{self, Place};

/// How long to wait for the view before, which may still be closing.
const TAKE_PATIENCE: Duration = Duration::from_secs(2);

/// Alternate screen, hidden cursor, no wrapping at the right edge, everything cleared (xterm's control sequences).
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[0m\x1b[2J";

/// Undoes [`ENTER`].
const LEAVE: &[u8] = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// How long a panic waits for a picture that is just being written.
const PANIC_PATIENCE: Duration = Duration::from_millis(100);

/// True while the terminal is ours. There is one terminal a process; whoever writes to it holds this.
static TAKEN: Mutex<bool> = Mutex::new(false);

/// The terminal while it is ours; dropping it gives it back.
pub(super) struct RawTerminal {
    output: Box<dyn Write + Send>,
}

impl RawTerminal {
    pub(super) fn take() -> io::Result<Self> {
        let output = output()?;
        let deadline = Instant::now() + TAKE_PATIENCE;
        while !try_take() {
            if Instant::now() >= deadline {
                return Err(io::Error::other("it shows another call already"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        give_back_on_panic();
        let mut taken = Self { output };
        enable_raw_mode()?;
        taken.write(ENTER)?;
        Ok(taken)
    }

    /// Takes it once more, after another program has had it.
    pub(super) fn take_again(&mut self) -> io::Result<()> {
        // The library believes that the mode is still as it set it.
        disable_raw_mode()?;
        enable_raw_mode()?;
        self.write(ENTER)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = lock();
        if !*taken {
            return Err(io::Error::other("it was given back after a panic"));
        }
        self.output.write_all(bytes)?;
        self.output.flush()
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        give_back(lock());
    }
}

/// Takes it, unless it is somebody's or somebody is just writing to it.
fn try_take() -> bool {
    match TAKEN.try_lock() {
        Ok(mut taken) => !std::mem::replace(&mut *taken, true),
        Err(TryLockError::Poisoned(taken)) => !std::mem::replace(&mut *taken.into_inner(), true),
        Err(TryLockError::WouldBlock) => false,
    }
}

/// Restores the terminal, if it is ours, for a process that is about to end whatever hangs. May block where the terminal
/// takes nothing; its mode is restored before.
pub fn restore() {
    tty::restore();
    give_back_within(PANIC_PATIENCE);
}

fn lock() -> MutexGuard<'static, bool> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Restores the terminal if it is ours. A terminal that is gone needs nothing.
fn give_back(mut taken: MutexGuard<'_, bool>) {
    if !std::mem::replace(&mut *taken, false) {
        return;
    }
    // In the background it is the shell's, and to set anything there would stop this program.
    if File::open("/dev/tty").is_ok_and(|terminal| tty::place(&terminal) == Place::Background) {
        return;
    }
    // The mode first: the rest may hang, where nobody reads.
    if let Err(error) = disable_raw_mode() {
        tracing::debug!(%error, "terminal mode not restored");
    }
    if let Ok(mut output) = output() {
        drop(output.write_all(LEAVE).and_then(|()| output.flush()));
    }
}

/// The same where a picture may just be being written. A terminal that takes no picture has its mode restored alone.
fn give_back_within(patience: Duration) {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        match TAKEN.try_lock() {
            Ok(taken) => return give_back(taken),
            Err(TryLockError::Poisoned(taken)) => return give_back(taken.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    // Whoever holds the lock has the terminal, and it was in raw mode.
    if let Err(error) = disable_raw_mode() {
        tracing::debug!(%error, "terminal mode not restored");
    }
}

/// Gives the terminal back before a panic's message is printed, so that the message can be read.
fn give_back_on_panic() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back_within(PANIC_PATIENCE);
            next(panic);
        }));
    });
}

/// Standard output when it is a terminal, else the terminal that controls this process.
pub(super) fn output() -> io::Result<Box<dyn Write + Send>> {
    if io::stdout().is_terminal() {
        // Not through the lock of standard output: whoever hangs in a write would hold up everybody else.
        return Ok(Box::new(File::from(io::stdout().as_fd().try_clone_to_owned()?)));
    }
    match File::options().read(true).write(true).open("/dev/tty") {
        Ok(file) => Ok(Box::new(file)),
        Err(_) => Err(io::Error::other("this program runs in no terminal")),
    }
}

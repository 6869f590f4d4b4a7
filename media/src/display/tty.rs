//! The mode of the terminal that this program runs in: one key at a time for a question, and back again.
//!
//! There is one terminal a process, so what it was before is kept once ([`BEFORE`]); [`restore`] gives that back however
//! the program ends.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::fs::OFlags;
use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcgetpgrp, tcsetattr,
};

/// What the terminal was before a question was asked; `None` while none is.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// What a control character is set to that is switched off (`_POSIX_VDISABLE`).
const SWITCHED_OFF: u8 = 0;

/// Whether keys come to this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has the terminal.
    Foreground,
    /// Another program has it, such as the shell; reading or setting anything there would stop this one.
    Background,
}

/// Where this program stands at the terminal behind `terminal`.
pub(super) fn place(terminal: impl AsFd) -> Place {
    // A terminal that does not tell, such as one of another session, has no background either.
    match tcgetpgrp(terminal) {
        Ok(group) if group != getpgrp() => Place::Background,
        Ok(_) | Err(_) => Place::Foreground,
    }
}

/// True while keys come one by one, as a view needs them. A shell that got the terminal back meanwhile ends that.
pub(super) fn is_raw(terminal: impl AsFd) -> bool {
    tcgetattr(terminal).is_ok_and(|mode| !mode.local_modes.contains(LocalModes::ICANON))
}

/// The terminal, to read single keys from.
#[derive(Debug)]
pub struct Keys {
    /// A description of our own: what is not blocking here stays blocking for the shell.
    terminal: File,
}

impl Keys {
    /// Opens the terminal of standard input.
    ///
    /// # Errors
    /// When standard input is no terminal, or it cannot be opened.
    pub fn open() -> io::Result<Self> {
        if !io::stdin().is_terminal() {
            return Err(io::Error::other("standard input is no terminal"));
        }
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let open = |path| File::options().read(true).custom_flags(flags).open(path);
        Ok(Self { terminal: open("/dev/tty").or_else(|_| open("/proc/self/fd/0"))? })
    }

    /// Lets each key come at once and unseen, and throws away what was typed before. Ctrl-C stays a signal.
    ///
    /// Called again while a question is open it changes nothing, unless another program changed the mode meanwhile.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub fn begin(&self) -> io::Result<Place> {
        if place(&self.terminal) == Place::Background {
            return Ok(Place::Background);
        }
        restore_on_panic();
        let mut before = lock();
        let mode = tcgetattr(&self.terminal)?;
        if before.is_some() && !mode.local_modes.contains(LocalModes::ICANON) {
            return Ok(Place::Foreground);
        }
        let mut asking = mode.clone();
        asking.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        asking.special_codes[SpecialCodeIndex::VMIN] = 1;
        asking.special_codes[SpecialCodeIndex::VTIME] = 0;
        // It would end the program at once, and leave the terminal like this.
        asking.special_codes[SpecialCodeIndex::VQUIT] = SWITCHED_OFF;
        tcsetattr(&self.terminal, OptionalActions::Now, &asking)?;
        before.get_or_insert(mode);
        tcflush(&self.terminal, QueueSelector::IFlush)?;
        Ok(Place::Foreground)
    }

    /// The keys that were pressed, as bytes; none at the end of the terminal.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when none was.
    pub fn read(&self, keys: &mut [u8]) -> io::Result<usize> {
        (&self.terminal).read(keys)
    }
}

/// Gives the terminal the mode that it had before the question, if one is open.
pub fn restore() {
    let mut before = lock();
    let Some(mode) = before.take() else { return };
    let stdin = io::stdin();
    if place(&stdin) == Place::Foreground
        && let Err(error) = tcsetattr(&stdin, OptionalActions::Now, &mode)
    {
        tracing::debug!(%error, "terminal mode not restored");
    }
}

fn lock() -> MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Restores the terminal before a panic's message is printed.
fn restore_on_panic() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            next(panic);
        }));
    });
}

//! Signals, handled in one place and outside everything that could hang.
//!
//! - SIGINT, SIGTERM, SIGHUP → thread `signals` → [`Ends`] of the command that runs
//! - Ctrl-C as a key, which a terminal in raw mode hands on → [`interrupt`] → the same
//! - standard output that cannot be written → [`output_failed`] → the same
//! - SIGXFSZ, a file that would grow beyond the limit of `ulimit -f` → taken note of: the write fails, and is told
//!
//! The first signal asks the command to end in order. The second ends the program: the command gets [`GRACE`] to do it
//! itself, then the terminal is restored and the process exits, whatever hangs. A command that never asked for
//! signals ends at the first.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use media::display::terminal;
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use tokio::sync::watch;

/// How long the program may take to end by itself after the second signal.
const GRACE: Duration = Duration::from_millis(400);

/// How long restoring the terminal may take: one that nobody reads takes nothing.
const RESTORE: Duration = Duration::from_millis(200);

/// Exit status of a program that a second signal ends: 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: i32 = 128 + SIGINT;

/// Why the program is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGINT or Ctrl-C: in order, with status 130.
    Interrupt,
    /// SIGTERM or SIGHUP, or nobody can be told anything any more: in order.
    Terminate,
    /// The second signal: now.
    AtOnce,
}

/// What has been asked for so far.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    first: Option<End>,
    signals: u32,
}

static ASKED: OnceLock<watch::Sender<Asked>> = OnceLock::new();

/// True once a command has asked for signals.
static HEEDED: AtomicBool = AtomicBool::new(false);

fn asked() -> &'static watch::Sender<Asked> {
    ASKED.get_or_init(|| watch::Sender::new(Asked::default()))
}

/// Begins to handle signals, once, before anything else runs.
///
/// # Errors
/// When the system refuses.
pub(crate) fn install() -> io::Result<()> {
    // Any handler will do, and a program that we start does not inherit it: nobody looks at the flag.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = move || {
        for signal in signals.forever() {
            raise(if signal == SIGINT { End::Interrupt } else { End::Terminate });
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(handle)?;
    media::display::on_interrupt(interrupt);
    Ok(())
}

/// Ctrl-C, as a key.
pub(crate) fn interrupt() {
    raise(End::Interrupt);
}

/// Standard output is gone or stuck: a command that goes on is asked to end.
pub(crate) fn output_failed() {
    asked().send_if_modified(|asked| {
        let is_news = asked.first.is_none();
        asked.first.get_or_insert(End::Terminate);
        is_news
    });
}

/// True when a command ends in order when it is asked to; any other is ended at once.
fn are_heeded() -> bool {
    asked().receiver_count() > 0
}

/// True for a program whose command goes on until it is asked to end, now or before.
pub(crate) fn were_heeded() -> bool {
    HEEDED.load(Ordering::Relaxed)
}

/// True when somebody wants the program to end.
pub(crate) fn came() -> bool {
    asked().borrow().signals > 0
}

fn raise(end: End) {
    // Asked for before the command hears of it: one that is idle may be over right after.
    let is_heeded = are_heeded();
    let mut signals = 0;
    asked().send_modify(|asked| {
        asked.first.get_or_insert(end);
        asked.signals += 1;
        signals = asked.signals;
    });
    match signals {
        1 if is_heeded => {}
        2 if is_heeded => {
            let last_resort = std::thread::Builder::new().name("last resort".into()).spawn(|| {
                std::thread::sleep(GRACE);
                end_now();
            });
            if last_resort.is_err() {
                end_now();
            }
        }
        _ => end_now(),
    }
}

/// Restores the terminal and ends the process, without waiting for anything that may hang.
fn end_now() -> ! {
    restore_terminal();
    // Not `std::process::exit`: what libraries do at exit may wait for a device.
    signal_hook::low_level::exit(INTERRUPTED)
}

/// Restores the terminal, should a view have been left behind that hangs in it.
pub(crate) fn restore_terminal() {
    let (done, restored) = sync_channel::<()>(1);
    let restoring = std::thread::Builder::new().name("restore".into()).spawn(move || {
        terminal::restore();
        drop(done);
    });
    if restoring.is_ok() {
        // It ends with an error, either way: nothing is ever sent.
        let _over = restored.recv_timeout(RESTORE);
    }
}

/// Asks for signals: from now on the first one is this command's to heed. To be kept until the command is over.
pub(crate) fn heed() -> Ends {
    HEEDED.store(true, Ordering::Relaxed);
    Ends { asked: asked().subscribe(), told: 0 }
}

/// Where a command learns that it is to end.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    asked: watch::Receiver<Asked>,
    told: u32,
}

impl Ends {
    /// The next request; each is told once. Loses nothing when it is dropped.
    pub(crate) async fn next(&mut self) -> End {
        let told = self.told;
        let is_news = |asked: &Asked| Self::news(told, *asked).is_some();
        let asked = self.asked.wait_for(is_news).await.map(|asked| *asked);
        // The sender is a static, so there is no error.
        let Ok(asked) = asked else { return std::future::pending().await };
        self.told += 1;
        Self::news(told, asked).unwrap_or(End::AtOnce)
    }

    fn news(told: u32, asked: Asked) -> Option<End> {
        match told {
            0 => asked.first,
            1 => (asked.signals > 1).then_some(End::AtOnce),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_the_second_is_at_once() {
        let news = |told, first, signals| Ends::news(told, Asked { first, signals });
        assert_eq!(news(0, None, 0), None);
        assert_eq!(news(0, Some(End::Terminate), 1), Some(End::Terminate));
        assert_eq!(news(1, Some(End::Terminate), 1), None);
        assert_eq!(news(1, Some(End::Interrupt), 2), Some(End::AtOnce));
        assert_eq!(news(2, Some(End::Interrupt), 3), None);
        assert_eq!(news(0, Some(End::Terminate), 0), Some(End::Terminate), "output that failed is no signal");
    }
}

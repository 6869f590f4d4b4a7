//! The progress of dialling: one line at the bottom of the terminal, rewritten in place each second.
//!
//! Whatever else is printed meanwhile goes above it: the line is taken away, and drawn again after ([`aside`]). There is
//! one terminal, so there is one line a program; a lock guards it, held while something is printed.

use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The line on the terminal, if any.
static LINE: Mutex<Option<Line>> = Mutex::new(None);

/// How often its time is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Takes the line away: to its beginning, and nothing in it.
const CLEARED: &str = "\r\x1b[2K";

struct Line {
    what: String,
    since: Instant,
    /// Nothing is ever sent; dropped to end the thread that draws each second.
    _ticking: SyncSender<()>,
}

/// Begins a line.
pub(super) fn begin(what: String) {
    let (ticking, over) = sync_channel(1);
    let line = Line { what, since: Instant::now(), _ticking: ticking };
    let mut shown = shown();
    draw(&line);
    *shown = Some(line);
    drop(shown);
    let ticker = std::thread::Builder::new().name("progress".into()).spawn(move || tick(&over));
    if let Err(error) = ticker {
        tracing::debug!(%error, "the time on the progress line stands still");
    }
}

/// Says something else on the line, if there is one; whether there is.
pub(super) fn go_on(what: String) -> bool {
    let mut shown = shown();
    let Some(line) = shown.as_mut() else { return false };
    line.what = what;
    draw(line);
    true
}

/// Takes the line away for good.
pub(super) fn end() {
    if shown().take().is_some() {
        write(CLEARED);
    }
}

/// Prints something else, with the line out of the way.
pub(crate) fn aside<T>(print: impl FnOnce() -> T) -> T {
    let shown = shown();
    if shown.is_some() {
        write(CLEARED);
    }
    let printed = print();
    if let Some(line) = shown.as_ref() {
        draw(line);
    }
    printed
}

fn tick(over: &Receiver<()>) {
    while over.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        if let Some(line) = shown().as_ref() {
            draw(line);
        }
    }
}

fn draw(line: &Line) {
    write(&drawn(&line.what, line.since.elapsed()));
}

/// Where the terminal is narrow the line is cut off: of one that goes on below, only the last row could be cleared.
fn drawn(what: &str, elapsed: Duration) -> String {
    let time = match elapsed.as_secs() {
        0 => String::new(),
        seconds => format!(" {seconds} s"),
    };
    format!("{CLEARED}\x1b[?7l{what} …{time}\x1b[?7h")
}

fn shown() -> MutexGuard<'static, Option<Line>> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    // Whoever looked on has gone away: the exit status still tells the outcome.
    let _gone = write!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_drawn_over_itself_with_its_time() {
        assert_eq!(drawn("calling bob", Duration::from_millis(900)), "\r\x1b[2K\x1b[?7lcalling bob …\x1b[?7h");
        assert_eq!(drawn("bob is ringing", Duration::from_secs(7)), "\r\x1b[2K\x1b[?7lbob is ringing … 7 s\x1b[?7h");
    }

    #[test]
    fn without_a_line_there_is_nothing_to_go_on_with() {
        assert!(!go_on("bob is ringing".to_owned()));
        assert_eq!(aside(|| 3), 3);
    }
}

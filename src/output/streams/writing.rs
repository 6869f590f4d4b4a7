//! The thread that writes: takes items from a queue, and keeps a line at the bottom of the terminal out of their way.

use std::io::{self, Write};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use network::system_error::in_words;

use super::{Item, Shared, Trouble, Worth};

/// Bytes of one write: what a pipe takes at once, so that each bit that a slow reader takes shows.
const CHUNK: usize = 4096;

/// How often the time on the line of progress is looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long to wait with a descriptor that somebody else has made non-blocking.
const WOULD_BLOCK: Duration = Duration::from_millis(5);

/// Takes a line away: to its beginning, and nothing in it.
const CLEARED: &str = "\r\x1b[2K";

/// The thread's state.
pub(super) struct Writing {
    shared: Arc<Shared>,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    progress: Option<Progress>,
    /// Lines that the next [`Item::Redraw`] replaces.
    drawn: usize,
}

/// The line at the bottom.
struct Progress {
    what: String,
    since: Instant,
}

impl Progress {
    /// Where the terminal is narrow it is cut off: of one that goes on below, only the last row could be cleared.
    fn drawn(&self) -> String {
        drawn(&self.what, self.since.elapsed())
    }
}

fn drawn(what: &str, elapsed: Duration) -> String {
    let time = match elapsed.as_secs() {
        0 => String::new(),
        seconds => format!(" {seconds} s"),
    };
    format!("{CLEARED}\x1b[?7l{what} …{time}\x1b[?7h")
}

impl Writing {
    pub(super) fn new(shared: Arc<Shared>, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self { shared, out, err, progress: None, drawn: 0 }
    }

    /// Writes until the queue is closed and empty, or nothing can be written any more.
    pub(super) fn run(mut self) {
        loop {
            let Some(next) = self.next() else { return };
            let (is_kept, len) = next.as_ref().map_or((false, 0), |(item, worth)| (*worth == Worth::Kept, item.len()));
            let written = match next {
                Some((item, _)) => self.write(item),
                None => self.tick(),
            };
            if let Err(error) = written {
                let gone = error.kind() == io::ErrorKind::BrokenPipe;
                return self.shared.fail(if gone { Trouble::Gone } else { Trouble::Failed(in_words(&error)) });
            }
            let mut state = self.shared.lock();
            state.is_writing = false;
            if state.trouble.is_some() {
                return;
            }
            state.bytes -= len;
            state.kept -= usize::from(is_kept);
            drop(state);
            self.shared.written.notify_all();
        }
    }

    /// The next item, or `None` in it when the time on the line is to be drawn; `None` when all is over.
    #[expect(clippy::option_option, reason = "an end, and a tick that is no item")]
    fn next(&mut self) -> Option<Option<(Item, Worth)>> {
        let mut state = self.shared.lock();
        loop {
            if state.trouble.is_some() || (state.is_closed && state.queue.is_empty()) {
                return None;
            }
            if let Some(item) = state.queue.pop_front() {
                state.is_writing = true;
                return Some(Some(item));
            }
            if self.progress.is_none() {
                state = self.shared.added.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.shared.added.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if waited.1.timed_out() && state.queue.is_empty() {
                state.is_writing = true;
                return Some(None);
            }
        }
    }

    fn write(&mut self, item: Item) -> io::Result<()> {
        match item {
            Item::Out(bytes) => self.aside(|writing| all(&writing.shared, &mut writing.out, &bytes)),
            Item::Err(bytes) => self.aside(|writing| {
                // A standard error that cannot be written has nowhere to be told of.
                let _untold = all(&writing.shared, &mut writing.err, &bytes);
                Ok(())
            }),
            Item::Progress(what) => {
                match &mut self.progress {
                    Some(progress) => progress.what = what,
                    None => self.progress = Some(Progress { what, since: Instant::now() }),
                }
                self.tick()
            }
            Item::ProgressOver if self.progress.take().is_some() => {
                all(&self.shared, &mut self.out, CLEARED.as_bytes())
            }
            Item::ProgressOver => Ok(()),
            Item::Redraw(lines) => {
                let text = redraw(self.drawn, &lines)?;
                self.drawn = lines.len();
                all(&self.shared, &mut self.out, &text)
            }
        }
    }

    /// Writes something else, with the line out of the way.
    fn aside(&mut self, write: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if self.progress.is_some() {
            all(&self.shared, &mut self.out, CLEARED.as_bytes())?;
        }
        write(self)?;
        self.tick()
    }

    fn tick(&mut self) -> io::Result<()> {
        match &self.progress {
            Some(progress) => all(&self.shared, &mut self.out, progress.drawn().as_bytes()),
            None => Ok(()),
        }
    }
}

/// Puts lines in place of those that were drawn last.
fn redraw(drawn: usize, lines: &[String]) -> io::Result<Vec<u8>> {
    use crossterm::cursor::MoveUp;
    use crossterm::queue;
    use crossterm::terminal::{Clear, ClearType};
    let mut text = Vec::new();
    if drawn > 0 {
        queue!(text, MoveUp(u16::try_from(drawn).unwrap_or(u16::MAX)))?;
    }
    queue!(text, Clear(ClearType::FromCursorDown))?;
    for line in lines {
        writeln!(text, "{line}")?;
    }
    Ok(text)
}

/// Writes all of it, and counts each write that took something.
fn all(shared: &Shared, to: &mut Box<dyn Write + Send>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(&bytes[..bytes.len().min(CHUNK)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = &bytes[count..];
                shared.lock().moves += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && shared.lock().trouble.is_none() => {
                std::thread::sleep(WOULD_BLOCK);
            }
            Err(error) => return Err(error),
        }
    }
    to.flush()
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
    fn lines_replace_those_that_were_drawn_last() {
        let lines = ["one".to_owned(), "two".to_owned()];
        assert_eq!(redraw(0, &lines).unwrap(), b"\x1b[Jone\ntwo\n");
        assert_eq!(redraw(2, &lines[..1]).unwrap(), b"\x1b[2A\x1b[Jone\n");
    }
}

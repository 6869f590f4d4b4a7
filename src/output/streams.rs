//! Output: standard output, standard error and the log file, each written by a thread of its own.
//!
//! - printer, logging, progress → [`Outlet::push`] → bounded queue → thread → file descriptor
//! - a write that fails, or a reader that takes nothing for too long → [`Trouble`] → the program ends, and says so
//!
//! Whoever pushes never waits. What is [`Worth::Spare`] is dropped and counted when the queue is long; what is
//! [`Worth::Kept`] waits in the queue. Where both standard output and standard error are terminals one thread writes
//! both, so that lines keep their order and a line that is rewritten in place stays out of the way.

mod bar;
mod writing;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::output::exit::ExitStatus;
use crate::platform::signals;

pub(crate) use bar::bars;
use network::system_error::in_words;
use writing::Writing;

/// Bytes that may wait when something spare is added: half a minute of figures.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// Bytes that may wait at all: far more than the events of a day. A reader that is so far behind reads no more.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long whoever reads may take nothing while something waits that must not be lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same at a terminal: a person may have stopped it to read.
const PATIENCE_AT_TERMINAL: Duration = Duration::from_secs(60);

/// The same once somebody asked the program to end.
const PATIENCE_AT_END: Duration = Duration::from_millis(400);

/// How often a queue that does not move is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

static STDOUT: OnceLock<Outlet> = OnceLock::new();
static STDERR: OnceLock<Outlet> = OnceLock::new();

/// What becomes of something while the queue is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// It waits.
    Kept,
    /// It is dropped, and counted: events with figures.
    Figures,
    /// The same, of lines of the log.
    Log,
    /// It is dropped: the next one says the same.
    Spare,
}

/// What is to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// These bytes.
    Out(Vec<u8>),
    /// These bytes, on standard error.
    Err(Vec<u8>),
    /// Begin a line at the bottom of the terminal that is rewritten in place, or change its text.
    Progress(String),
    /// Take that line away.
    ProgressOver,
    /// These lines in place of those of the last one.
    Redraw(Vec<String>),
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Out(bytes) | Self::Err(bytes) => bytes.len(),
            Self::Progress(text) => text.len(),
            Self::ProgressOver => 0,
            Self::Redraw(lines) => lines.iter().map(String::len).sum(),
        }
    }
}

/// Why output came to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Whoever read has gone (EPIPE).
    Gone,
    /// The system's words.
    Failed(String),
    /// Nobody reads.
    Unread,
}

/// One file descriptor, its queue and its thread.
#[derive(Debug)]
pub(crate) struct Outlet {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something was added, or the queue was closed.
    added: Condvar,
    /// Something was written.
    written: Condvar,
    on_trouble: fn(),
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(Item, Worth)>,
    /// Of the queue and of what is being written.
    bytes: usize,
    /// Items of [`Worth::Kept`] in both.
    kept: usize,
    is_writing: bool,
    /// Goes up with each write that took something.
    moves: u64,
    /// Figures dropped since this was told last.
    dropped_figures: u64,
    /// The same of lines of the log.
    dropped_log: u64,
    /// Kept items that were never written.
    lost: u64,
    trouble: Option<Trouble>,
    is_closed: bool,
}

/// Standard output.
pub(crate) fn stdout() -> &'static Outlet {
    STDOUT.get_or_init(|| {
        let patience = if io::stdout().is_terminal() { PATIENCE_AT_TERMINAL } else { PATIENCE };
        let outlet = Outlet::start("stdout", duplicate(io::stdout()), duplicate(io::stderr()), signals::output_failed);
        // Whoever prints a result and ends may wait for a pager.
        outlet.watch(patience, signals::were_heeded);
        outlet
    })
}

/// Where standard error is written: by the thread of standard output where both are terminals.
fn stderr() -> &'static Outlet {
    if io::stdout().is_terminal() && io::stderr().is_terminal() {
        return stdout();
    }
    STDERR.get_or_init(|| Outlet::start("stderr", Box::new(io::sink()), duplicate(io::stderr()), || {}))
}

/// Writes a line of the log on standard error, unless nobody reads there.
pub(crate) fn log(line: &[u8]) {
    log_to(stderr(), line, Item::Err);
}

/// The same for a file.
pub(crate) fn log_to(outlet: &Outlet, line: &[u8], item: fn(Vec<u8>) -> Item) {
    if let Some(dropped) = outlet.dropped_log() {
        let text = format!("{dropped} lines of the log were left out: nobody read them\n");
        outlet.push(item(text.into_bytes()), Worth::Spare);
    }
    outlet.push(item(line.to_vec()), Worth::Log);
}

/// Writes a text of the command line's definition, with its colours, on one of both.
pub(crate) fn show(text: &str, on_stderr: bool) {
    let bytes = crate::output::sanitize::harmless_coloured(text).into_bytes();
    if on_stderr {
        stderr().push(Item::Err(bytes), Worth::Kept);
    } else {
        stdout().push(Item::Out(bytes), Worth::Kept);
    }
}

/// Writes a last word on standard error.
pub(crate) fn complain(text: &str) {
    let text = crate::output::sanitize::harmless_lines(text).replace('\n', "\n  ");
    stderr().push(Item::Err(format!("tring: {text}\n").into_bytes()), Worth::Kept);
}

/// Writes what waits, and says what could not be written; the status that the program ends with.
pub(crate) fn finish(status: ExitStatus) -> ExitStatus {
    let Some(out) = STDOUT.get() else {
        let _nothing_more_to_say = stderr().flush(|| Some(PATIENCE_AT_END));
        return status;
    };
    out.push(Item::ProgressOver, Worth::Kept);
    let (trouble, lost) = out.flush(patience_at_end);
    let status = match &trouble {
        Some(Trouble::Failed(_) | Trouble::Unread) => of_failed_output(status, signals::came()),
        Some(Trouble::Gone) | None => status,
    };
    match trouble {
        None | Some(Trouble::Gone) => {}
        Some(Trouble::Failed(error)) => complain_elsewhere(&format!("cannot write to standard output: {error}")),
        Some(Trouble::Unread) => {
            complain_elsewhere(&format!("standard output is not read: {lost} lines that were due there are lost"));
        }
    }
    if let Some(dropped) = out.dropped_figures() {
        complain_elsewhere(&format!(
            "standard output was read too slowly: {dropped} events with figures were left out"
        ));
    }
    // Where this cannot be written the status still tells.
    let _nowhere_to_tell = stderr().flush(|| Some(PATIENCE_AT_END));
    status
}

/// The status where standard output could not be written. A command that was asked to end because of that may call
/// itself interrupted, which only a signal does.
fn of_failed_output(status: ExitStatus, signal_came: bool) -> ExitStatus {
    match status {
        ExitStatus::Done => ExitStatus::Internal,
        ExitStatus::Interrupted if !signal_came => ExitStatus::Internal,
        other => other,
    }
}

/// How long a reader may pause once the program is over; `None` for ever. Whoever prints a result and ends may wait for
/// a pager, and a signal ends that.
fn patience_at_end() -> Option<Duration> {
    match (signals::came(), signals::were_heeded()) {
        (true, _) => Some(PATIENCE_AT_END),
        (false, true) => Some(PATIENCE),
        (false, false) => None,
    }
}

/// The same where standard output is not to be relied on.
fn complain_elsewhere(text: &str) {
    if !std::ptr::eq(stderr(), stdout()) {
        complain(text);
    }
}

/// Own access to a standard stream: its lock is not taken, so that a thread that hangs in it holds nobody up.
fn duplicate(stream: impl AsFd + Write + Send + 'static) -> Box<dyn Write + Send> {
    match stream.as_fd().try_clone_to_owned() {
        Ok(owned) => Box::new(File::from(owned)),
        // No file can be opened any more, and that is what is to be told: with the lock rather than not at all.
        Err(_) => Box::new(stream),
    }
}

impl Outlet {
    /// Starts the thread. `on_trouble` is called once, when writing `out` comes to an end.
    fn start(name: &str, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, on_trouble: fn()) -> Self {
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { state, added: Condvar::new(), written: Condvar::new(), on_trouble });
        let writing = Writing::new(Arc::clone(&shared), out, err);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || writing.run());
        if let Err(error) = thread {
            shared.fail(Trouble::Failed(in_words(&error)));
        }
        Self { shared }
    }

    /// One for a log file; ends when it is dropped.
    pub(crate) fn to_file(file: impl Write + Send + 'static) -> Self {
        Self::start("log", Box::new(file), Box::new(io::sink()), || {})
    }

    /// Adds something, without waiting.
    pub(crate) fn push(&self, item: Item, worth: Worth) {
        let mut state = self.shared.lock();
        if state.trouble.is_some() {
            state.lost += u64::from(worth == Worth::Kept);
            return;
        }
        if worth != Worth::Kept && state.bytes > SPARE_BYTES_MAX {
            state.dropped_figures += u64::from(worth == Worth::Figures);
            state.dropped_log += u64::from(worth == Worth::Log);
            return;
        }
        // Of drawings that wait only the last one is seen.
        if matches!(item, Item::Redraw(_)) && matches!(state.queue.back(), Some((Item::Redraw(_), _))) {
            state.forget_last();
        }
        state.bytes += item.len();
        state.kept += usize::from(worth == Worth::Kept);
        state.queue.push_back((item, worth));
        let is_too_much = state.bytes > BYTES_MAX;
        drop(state);
        self.shared.added.notify_all();
        if is_too_much {
            self.shared.fail(Trouble::Unread);
        }
    }

    /// How many events with figures were dropped, once there is room again; `None` when none was.
    pub(crate) fn dropped_figures(&self) -> Option<u64> {
        self.dropped(|state| &mut state.dropped_figures)
    }

    /// The same of lines of the log.
    fn dropped_log(&self) -> Option<u64> {
        self.dropped(|state| &mut state.dropped_log)
    }

    fn dropped(&self, count: impl FnOnce(&mut State) -> &mut u64) -> Option<u64> {
        let mut state = self.shared.lock();
        let has_room = state.trouble.is_none() && state.bytes < SPARE_BYTES_MAX / 2;
        let count = count(&mut state);
        (has_room && *count > 0).then(|| std::mem::take(count))
    }

    /// Waits until there is room, for those who can hold up whoever they hear from. Loses nothing when it is dropped.
    pub(crate) async fn room(&self) {
        let is_full = || {
            let state = self.shared.lock();
            state.trouble.is_none() && state.bytes > SPARE_BYTES_MAX
        };
        while is_full() {
            tokio::time::sleep(LOOK_EVERY / 5).await;
        }
    }

    /// Waits until all is written, as long as that goes on, with pauses of `patience` at most; what went wrong, and how
    /// many items are lost.
    fn flush(&self, patience: fn() -> Option<Duration>) -> (Option<Trouble>, u64) {
        let (mut quiet, mut moves) = (Duration::ZERO, u64::MAX);
        let mut state = self.shared.lock();
        while state.trouble.is_none() && (state.is_writing || !state.queue.is_empty()) {
            let is_still = std::mem::replace(&mut moves, state.moves) == state.moves;
            quiet = if is_still { quiet + LOOK_EVERY } else { Duration::ZERO };
            if patience().is_some_and(|patience| quiet >= patience) {
                drop(state);
                self.shared.fail(Trouble::Unread);
                state = self.shared.lock();
                break;
            }
            state = self.shared.written.wait_timeout(state, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        (state.trouble.clone(), state.lost)
    }

    /// Gives a reader up that takes nothing for `patience` while something waits that must not be lost, as long as
    /// `is_impatient`.
    fn watch(&self, patience: Duration, is_impatient: fn() -> bool) {
        let shared = Arc::clone(&self.shared);
        let watching = move || {
            let (mut quiet, mut moves) = (Duration::ZERO, 0);
            let mut state = shared.lock();
            while state.trouble.is_none() {
                while state.kept == 0 && state.trouble.is_none() {
                    quiet = Duration::ZERO;
                    state = shared.added.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                // Time is counted in looks: a program that is stopped does not look.
                state = shared.written.wait_timeout(state, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
                let is_still = std::mem::replace(&mut moves, state.moves) == state.moves;
                let counts = is_still && is_impatient();
                quiet = if counts { quiet + LOOK_EVERY } else { Duration::ZERO };
                if quiet >= patience {
                    drop(state);
                    return shared.fail(Trouble::Unread);
                }
            }
        };
        // Without it a reader that takes nothing is noticed at the end.
        let _started = std::thread::Builder::new().name("stdout-watch".into()).spawn(watching);
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.added.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Output is over: what waits is lost.
    fn fail(&self, trouble: Trouble) {
        let mut state = self.lock();
        if state.trouble.is_some() {
            return;
        }
        state.lost += state.kept as u64;
        state.trouble = Some(trouble);
        state.queue.clear();
        (state.bytes, state.kept) = (0, 0);
        drop(state);
        self.added.notify_all();
        self.written.notify_all();
        (self.on_trouble)();
    }
}

impl State {
    fn forget_last(&mut self) {
        if let Some((item, worth)) = self.queue.pop_back() {
            self.bytes -= item.len();
            self.kept -= usize::from(worth == Worth::Kept);
        }
    }
}

/// True while a line is rewritten in place.
static PROGRESS: AtomicBool = AtomicBool::new(false);

/// Begins a line at the bottom of the terminal that tells how far we are.
pub(crate) fn begin_progress(what: String) {
    PROGRESS.store(true, Ordering::Relaxed);
    stdout().push(Item::Progress(what), Worth::Kept);
}

/// Says something else on that line, if there is one; whether there is.
pub(crate) fn go_on_with_progress(what: String) -> bool {
    let is_shown = PROGRESS.load(Ordering::Relaxed);
    if is_shown {
        stdout().push(Item::Progress(what), Worth::Kept);
    }
    is_shown
}

/// Takes it away.
pub(crate) fn end_progress() {
    if PROGRESS.swap(false, Ordering::Relaxed) {
        stdout().push(Item::ProgressOver, Worth::Kept);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Takes what it is given only when it may.
    struct Gate {
        open: Receiver<()>,
        took: SyncSender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.open.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            self.took.send(bytes.to_vec()).map_err(|_| io::Error::other("the test is over"))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Outlet, SyncSender<()>, Receiver<Vec<u8>>) {
        let (open_tx, open) = sync_channel(1000);
        let (took, took_rx) = sync_channel(1000);
        (Outlet::start("test", Box::new(Gate { open, took }), Box::new(io::sink()), || {}), open_tx, took_rx)
    }

    fn line(text: &str) -> Item {
        Item::Out(text.as_bytes().to_vec())
    }

    #[test]
    fn figures_are_dropped_and_counted_and_events_wait() {
        let (outlet, open, took) = gated();
        outlet.push(line("first"), Worth::Kept);
        outlet.push(line(&"x".repeat(SPARE_BYTES_MAX)), Worth::Kept);
        for _ in 0..3 {
            outlet.push(line("stats"), Worth::Figures);
        }
        outlet.push(line("bell"), Worth::Spare);
        outlet.push(line("ended"), Worth::Kept);
        assert_eq!(outlet.dropped_figures(), None, "there is no room yet");
        (0..100).for_each(|_| open.send(()).unwrap());
        assert_eq!(outlet.flush(|| None), (None, 0));
        let written: Vec<u8> = took.try_iter().flatten().collect();
        assert!(written.starts_with(b"firstxx") && written.ends_with(b"xxended"));
        assert_eq!((outlet.dropped_figures(), outlet.dropped_figures()), (Some(3), None));
    }

    #[test]
    fn a_reader_that_takes_nothing_is_given_up() {
        let (outlet, _open, _took) = gated();
        outlet.watch(Duration::from_millis(300), || true);
        outlet.push(line("never read"), Worth::Kept);
        outlet.push(line("nor this"), Worth::Kept);
        assert_eq!(outlet.flush(|| None), (Some(Trouble::Unread), 2));
        outlet.push(line("too late"), Worth::Kept);
        assert_eq!(outlet.flush(|| None), (Some(Trouble::Unread), 3));
    }

    #[test]
    fn what_a_reader_takes_slowly_is_waited_for() {
        let (outlet, open, took) = gated();
        outlet.watch(Duration::from_millis(400), || true);
        (0..6).for_each(|_| outlet.push(line("event"), Worth::Kept));
        let reader = std::thread::spawn(move || {
            for _ in 0..6 {
                std::thread::sleep(Duration::from_millis(150));
                open.send(()).unwrap();
            }
            took.iter().take(6).count()
        });
        assert_eq!(outlet.flush(|| None), (None, 0));
        assert_eq!(reader.join().unwrap(), 6);
    }

    #[test]
    fn a_reader_that_has_gone_is_told_apart_from_a_full_disk() {
        let (outlet, open, _took) = gated();
        drop(open);
        outlet.push(line("nobody there"), Worth::Kept);
        assert_eq!(outlet.flush(|| None).0, Some(Trouble::Gone));
        let full = File::options().write(true).open("/dev/full").unwrap();
        let outlet = Outlet::to_file(full);
        outlet.push(line("no room"), Worth::Kept);
        assert!(matches!(outlet.flush(|| None).0, Some(Trouble::Failed(text)) if text.contains("space")));
    }

    #[test]
    fn output_that_failed_is_no_success_and_no_interrupt() {
        assert_eq!(of_failed_output(ExitStatus::Done, false), ExitStatus::Internal);
        assert_eq!(of_failed_output(ExitStatus::Interrupted, false), ExitStatus::Internal);
        assert_eq!(of_failed_output(ExitStatus::Interrupted, true), ExitStatus::Interrupted);
        assert_eq!(of_failed_output(ExitStatus::Busy, false), ExitStatus::Busy);
    }

    #[test]
    fn more_than_can_be_kept_ends_it() {
        let (outlet, _open, _took) = gated();
        (0..9).for_each(|_| outlet.push(line(&"x".repeat(1 << 20)), Worth::Kept));
        assert_eq!(outlet.flush(|| None).0, Some(Trouble::Unread));
    }
}

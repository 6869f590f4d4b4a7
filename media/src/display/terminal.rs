//! Pictures in the terminal this program runs in.
//!
//! Owns the terminal while it is open ([`RawTerminal`]), and one thread that draws and reads keys.
//! Text from outside never reaches the terminal as control characters. While a shell has the terminal, because this program
//! was stopped or put into the background, nothing is drawn and read; afterwards it is taken anew and drawn anew.
//!
//! - pictures → [`Cells`] → terminal (`/dev/tty` when standard output is a pipe)
//! - keys → [`DisplayEvent`]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use super::cells::{Cells, Colours};
use super::raw_terminal::{RawTerminal, output};
use super::tty::{self, Place};
use super::{DisplayError, DisplayEvent, Labels, Pictures, Refreshed, Scene, key_event, report};
use crate::threads::join_or_leave;
use network::system_error::in_words;

pub use super::raw_terminal::restore;

/// How often keys, the terminal's size and the status line are looked at: 25 times a second.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// How long to look for a key: the library does not look at all when told not to wait.
const KEY_WAIT: Duration = Duration::from_millis(1);

/// How long a terminal may take to swallow the last picture, over a slow line.
const CLOSE_PATIENCE: Duration = Duration::from_millis(700);

/// Whoever was not running for so long was stopped, and something else may be on the screen.
const STOPPED: Duration = Duration::from_secs(1);

/// The open view; dropping it gives the terminal back.
#[derive(Debug)]
pub struct Terminal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the handle tells the thread.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    labels: Mutex<Arc<Labels>>,
}

impl Terminal {
    /// Takes the terminal over and draws `pictures` until dropped.
    ///
    /// # Errors
    /// [`DisplayError::NoTerminal`] when there is none, it refuses, or it is taken already.
    pub fn open(pictures: Arc<Pictures>, events: mpsc::Sender<DisplayEvent>) -> Result<Self, DisplayError> {
        let taken = RawTerminal::take().map_err(|error| DisplayError::NoTerminal(in_words(&error)))?;
        let shared = Arc::new(Shared::default());
        let view = View {
            taken,
            keyboard: File::open("/dev/tty").ok(),
            hold: Hold::Ours { since: Instant::now() },
            pictures,
            events,
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || view.run())
            .map_err(|error| DisplayError::NoTerminal(in_words(&error)))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Shows these words on the last line and over the pictures, without their control characters.
    pub fn set_labels(&self, labels: &Labels) {
        *self.shared.labels.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(labels.printable());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            join_or_leave(thread, CLOSE_PATIENCE, "terminal");
        }
    }
}

/// What kind of terminal this is, for people; `None` without one.
pub(crate) fn describe() -> Option<String> {
    output().ok()?;
    let (columns, rows) = size().ok()?;
    let colours = match colours() {
        Colours::True => "24-bit colour",
        Colours::Indexed => "256 colours",
    };
    Some(format!("{columns}x{rows} characters, {colours}"))
}

fn colours() -> Colours {
    Colours::from_colorterm(&std::env::var("COLORTERM").unwrap_or_default())
}

/// Columns and rows; 80x24 on lines that do not know, such as serial consoles.
fn size() -> io::Result<(u16, u16)> {
    if cfg!(windows) {
        return crossterm::terminal::size();
    }
    // Unlike `size`, this starts no program when the terminal is gone.
    let size = crossterm::terminal::window_size()?;
    Ok(if size.columns == 0 || size.rows == 0 { (80, 24) } else { (size.columns, size.rows) })
}

/// The thread's state.
struct View {
    taken: RawTerminal,
    /// The terminal, to look at its mode; without one it is taken to be ours.
    keyboard: Option<File>,
    hold: Hold,
    pictures: Arc<Pictures>,
    events: mpsc::Sender<DisplayEvent>,
    shared: Arc<Shared>,
}

/// Whether the terminal is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// It was when we last looked.
    Ours { since: Instant },
    /// A shell has it.
    Lost,
}

/// What a look at the terminal brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// It is as we left it.
    Same,
    /// It is ours again, and shows something else.
    Back,
    /// A shell has it.
    Away,
}

impl View {
    /// Draws until the handle is dropped, or the terminal is gone or was given back after a panic.
    fn run(mut self) {
        if let Err(error) = self.draw_on() {
            tracing::debug!(%error, "terminal gone");
        }
    }

    fn draw_on(&mut self) -> io::Result<()> {
        let mut scene = Scene::default();
        let mut screen = Screen::new(size()?);
        let mut out = Vec::new();
        let mut first = true;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let moved = self.pictures.refresh(&mut scene, LOOK_EVERY) == Refreshed::Moved;
            let look = self.look()?;
            if look == Look::Away {
                continue;
            }
            self.keys()?;
            let now = size()?;
            let resized = now != screen.size || look == Look::Back;
            if resized {
                screen = Screen::new(now);
                out.extend_from_slice(b"\x1b[0m\x1b[2J");
            }
            let labels = Arc::clone(&*self.shared.labels.lock().unwrap_or_else(PoisonError::into_inner));
            let before = std::mem::replace(&mut scene.labels, labels);
            let relabelled = before != scene.labels;
            if before.peer != scene.labels.peer && !moved {
                // What stood there is of another call.
                scene.remote = None;
            }
            if moved || resized || relabelled || first {
                screen.cells.draw(&scene, &mut out);
                first = false;
            }
            screen.draw_status(&scene.labels, &mut out);
            if !out.is_empty() {
                self.taken.write(&out)?;
                out.clear();
            }
        }
        Ok(())
    }

    /// Looks whether the terminal is still ours, and takes it again when it comes back.
    fn look(&mut self) -> io::Result<Look> {
        let Some(keyboard) = &self.keyboard else { return Ok(Look::Same) };
        if tty::place(keyboard) == Place::Background {
            self.hold = Hold::Lost;
            return Ok(Look::Away);
        }
        let now = Instant::now();
        let is_same = match self.hold {
            Hold::Ours { since } => now.duration_since(since) < STOPPED && tty::is_raw(keyboard),
            Hold::Lost => false,
        };
        if !is_same {
            self.taken.take_again()?;
        }
        self.hold = Hold::Ours { since: Instant::now() };
        Ok(if is_same { Look::Same } else { Look::Back })
    }

    /// Reports every key that waits.
    fn keys(&self) -> io::Result<()> {
        while event::poll(KEY_WAIT)? {
            if let Event::Key(key) = event::read()?
                && let Some(event) = meaning(key)
            {
                report(&self.events, event);
            }
        }
        Ok(())
    }
}

fn meaning(key: KeyEvent) -> Option<DisplayEvent> {
    if key.kind != KeyEventKind::Press {
        return None;
    }
    match key.code {
        KeyCode::Esc => Some(DisplayEvent::CloseRequested),
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(DisplayEvent::Interrupted),
        KeyCode::Char(_) if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => None,
        KeyCode::Char(character) => Some(key_event(character)),
        KeyCode::Enter => Some(DisplayEvent::Key('\n')),
        _ => None,
    }
}

/// What the terminal shows: cells, and a status on the last line.
struct Screen {
    size: (u16, u16),
    cells: Cells,
    /// `None` until it was drawn once.
    status: Option<String>,
}

impl Screen {
    fn new(size @ (columns, rows): (u16, u16)) -> Self {
        Self { size, cells: Cells::new(columns, rows.saturating_sub(1), colours()), status: None }
    }

    /// Draws the status line when it changed: reversed, as wide as the terminal.
    fn draw_status(&mut self, labels: &Labels, out: &mut Vec<u8>) {
        let (columns, rows) = self.size;
        let line = labels.line(usize::from(columns));
        if self.status.as_ref() == Some(&line) || rows == 0 {
            return;
        }
        out.extend_from_slice(format!("\x1b[{rows};1H\x1b[0;7m{line}\x1b[0m").as_bytes());
        self.status = Some(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line_is_as_wide_as_the_terminal_and_drawn_once() {
        let labels = |state: &str| Labels { state: state.into(), ..Labels::default() };
        let mut screen = Screen::new((9, 4));
        let mut out = Vec::new();
        screen.draw_status(&labels("bob, 12 s"), &mut out);
        assert_eq!(String::from_utf8(out.clone()).unwrap(), "\x1b[4;1H\x1b[0;7m bob, 1  \x1b[0m");
        out.clear();
        screen.draw_status(&labels("bob, 12 s"), &mut out);
        assert!(out.is_empty());
        screen.draw_status(&labels(""), &mut out);
        assert!(String::from_utf8(out).unwrap().contains("7m         \x1b"));
    }

    #[test]
    fn keys_mean_what_the_window_makes_of_them() {
        let press = |code, modifiers| meaning(KeyEvent::new(code, modifiers));
        assert_eq!(press(KeyCode::Char('q'), KeyModifiers::NONE), Some(DisplayEvent::CloseRequested));
        assert_eq!(press(KeyCode::Esc, KeyModifiers::NONE), Some(DisplayEvent::CloseRequested));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(DisplayEvent::Interrupted));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::NONE), Some(DisplayEvent::Key('c')));
        assert_eq!(press(KeyCode::Char('x'), KeyModifiers::CONTROL), None);
        assert_eq!(press(KeyCode::F(1), KeyModifiers::NONE), None);
    }
}

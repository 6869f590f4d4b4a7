//! Progress bars on standard error, drawn through its queue: a terminal that is stopped holds nobody up.

use std::fmt::Write as _;
use std::io;
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressDrawTarget, TermLike};

use super::{Item, Worth, stderr};

/// Where bars are drawn.
pub(crate) fn bars() -> ProgressDrawTarget {
    ProgressDrawTarget::term_like_with_hz(Box::new(Bars::default()), 20)
}

/// One drawing after the other, handed on when it is complete.
#[derive(Debug, Default)]
struct Bars(Mutex<String>);

impl Bars {
    fn add(&self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_fmt(text).map_err(io::Error::other)
    }
}

impl TermLike for Bars {
    fn width(&self) -> u16 {
        crossterm::terminal::size().map_or(80, |(columns, _)| columns)
    }

    fn height(&self) -> u16 {
        crossterm::terminal::size().map_or(24, |(_, rows)| rows)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        if n > 0 { self.add(format_args!("\x1b[{n}A")) } else { Ok(()) }
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        if n > 0 { self.add(format_args!("\x1b[{n}B")) } else { Ok(()) }
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        if n > 0 { self.add(format_args!("\x1b[{n}C")) } else { Ok(()) }
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        if n > 0 { self.add(format_args!("\x1b[{n}D")) } else { Ok(()) }
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.add(format_args!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(format_args!("{text}"))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add(format_args!("\r\x1b[2K"))
    }

    fn flush(&self) -> io::Result<()> {
        let drawing = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if !drawing.is_empty() {
            stderr().push(Item::Err(drawing.into_bytes()), Worth::Spare);
        }
        Ok(())
    }
}

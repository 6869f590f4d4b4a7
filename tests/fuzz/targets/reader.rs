//! From bytes to choices. Each choice is one byte or a fixed few, so that a small change of the bytes is a small change
//! of what happens, and a corpus stays readable with `xxd`.

use std::time::Duration;

/// Takes choices from bytes, until there are none.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next byte; 0 beyond the end.
    pub(crate) fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// One of `choices`, of which there is at least one.
    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// A time of no, some, or many milliseconds: up to four minutes.
    pub(crate) fn time(&mut self) -> Duration {
        let n = u64::from(self.byte());
        Duration::from_millis(if n < 128 { n * 10 } else { (n - 127) * 2000 })
    }

    /// As many of the next bytes as the next one says.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }
}

//! Logs: on stderr, or in a file while the terminal is taken by the full-screen view. Written by [`crate::output::streams`], so
//! that no thread waits for whoever reads them; each is one line without anything that a terminal obeys, and without the
//! numbers of the system's errors.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use media::private_file;
use network::system_error::without_number;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::Output;
use crate::output::log_file::LogFile;
use crate::output::sanitize::harmless;
use crate::output::streams::{self, Item, Outlet};
use crate::platform::paths::state_folder;

/// Where logs go at the moment.
static TARGET: Mutex<Target> = Mutex::new(Target::Stderr);

enum Target {
    Stderr,
    File(Outlet),
}

/// Sets logging up, once.
pub(crate) fn init(output: Output) {
    let ours = match (output.quiet, output.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    // Libraries print addresses and whole packets; they are heard only when asked for by TRING_LOG.
    let default = format!("off,tring={ours},signalling={ours},media={ours}");
    let filter = EnvFilter::try_from_env("TRING_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colours = std::env::var_os("NO_COLOR").is_none() && io::IsTerminal::is_terminal(&io::stderr());
    // Colours are added to a line once it is clean.
    let writer = Writer { colours };
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_target(false).with_writer(writer).init();
}

/// Sends logs to a file until the guard is dropped.
///
/// # Errors
/// When the file cannot be made.
pub(crate) fn to_file() -> io::Result<FileGuard> {
    let path = log_path()?;
    *target() = Target::File(Outlet::to_file(LogFile::open(&path)?));
    Ok(FileGuard)
}

/// Ends logging to a file when dropped.
#[derive(Debug)]
pub(crate) struct FileGuard;

impl Drop for FileGuard {
    fn drop(&mut self) {
        *target() = Target::Stderr;
    }
}

/// `tring.log` in [`state_folder`]; without a home in a folder of this user among the temporary files.
fn log_path() -> io::Result<PathBuf> {
    let folder = match state_folder() {
        Some(folder) => {
            private_file::create_folder(&folder)?;
            folder
        }
        None => {
            let me = rustix::process::geteuid().as_raw();
            let folder = std::env::temp_dir().join(format!("tring-{me}"));
            private_file::create_folder(&folder)?;
            // Anybody may have made it, or a link of that name.
            let made = std::fs::symlink_metadata(&folder)?;
            if !made.is_dir() || made.uid() != me {
                return Err(io::Error::other(format!("{} is not a folder of yours", folder.display())));
            }
            folder
        }
    };
    Ok(folder.join("tring.log"))
}

fn target() -> MutexGuard<'static, Target> {
    TARGET.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, Debug)]
struct Writer {
    colours: bool,
}

impl MakeWriter<'_> for Writer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl Write for Writer {
    /// Takes one line, whole.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = without_number(&harmless(String::from_utf8_lossy(bytes).trim_end()));
        match &*target() {
            Target::Stderr if self.colours => streams::log(format!("{}\n", coloured(&line)).as_bytes()),
            Target::Stderr => streams::log(format!("{line}\n").as_bytes()),
            Target::File(file) => streams::log_to(file, format!("{line}\n").as_bytes(), Item::Out),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line with its time dim and its level, the second word, in the level's colour.
fn coloured(line: &str) -> String {
    let Some((time, rest)) = line.split_once(' ') else { return line.to_owned() };
    let rest = rest.trim_start();
    let (level, message) = rest.split_once(' ').unwrap_or((rest, ""));
    let colour = match level {
        "ERROR" => 31,
        "WARN" => 33,
        "INFO" => 32,
        "DEBUG" => 34,
        _ => 35,
    };
    format!("\x1b[2m{time}\x1b[0m \x1b[{colour}m{level:>5}\x1b[0m {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_has_its_colour() {
        let line = coloured("2026-01-02T03:04:05Z  WARN a relay refuses");
        assert_eq!(line, "\x1b[2m2026-01-02T03:04:05Z\x1b[0m \x1b[33m WARN\x1b[0m a relay refuses");
        assert_eq!(coloured("word"), "word");
    }
}

//! Logs: on stderr, or in a file while the terminal is taken by the full-screen view.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use media::private_file;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::Output;
use crate::log_file::LogFile;
use crate::printer::progress;

/// Where logs go at the moment.
static TARGET: Mutex<Target> = Mutex::new(Target::Stderr);

enum Target {
    Stderr,
    File(LogFile),
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
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_target(false).with_writer(Writer).init();
}

/// Sends logs to a file until the guard is dropped.
///
/// # Errors
/// When the file cannot be made.
pub(crate) fn to_file() -> io::Result<FileGuard> {
    let path = log_path()?;
    *target() = Target::File(LogFile::open(&path)?);
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

/// `$XDG_STATE_HOME/tring`, by default under `~/.local/state`; `None` where nobody has a home.
pub(crate) fn state_folder() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let folder = state.or(home.map(|home| PathBuf::from(home).join(".local/state")))?;
    Some(folder.join("tring"))
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

struct Writer;

impl<'a> MakeWriter<'a> for Writer {
    type Writer = LockedTarget;

    fn make_writer(&'a self) -> LockedTarget {
        LockedTarget(target())
    }
}

struct LockedTarget(MutexGuard<'static, Target>);

impl Write for LockedTarget {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0 {
            Target::Stderr => progress::aside(|| io::stderr().write(bytes)),
            Target::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut *self.0 {
            Target::Stderr => io::stderr().flush(),
            Target::File(file) => file.flush(),
        }
    }
}

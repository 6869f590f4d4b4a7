//! The log file of the terminal view: private, no link, bounded.
//!
//! Nobody but its owner can read it. A symbolic link, a pipe or a device in its place is refused. When it has grown to
//! [`BYTES_MAX`] it becomes `tring.log.1`, in place of the one before, and a new one begins; several programs may write it
//! at once.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use media::private_file;
use rustix::fs::OFlags;

/// A file of this size is put aside: some days of deviations, or a minute of everything.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Rights of anybody but the owner (chmod(2)).
const OTHERS: u32 = 0o077;

/// An open log.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    bytes_max: u64,
}

impl LogFile {
    /// Opens it, to be appended to.
    ///
    /// # Errors
    /// When it cannot be written, or is no file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::bounded(path, BYTES_MAX)
    }

    fn bounded(path: &Path, bytes_max: u64) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: open(path)?, bytes_max })
    }

    /// Begins a new file when this one is full.
    fn make_room(&mut self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        if ours.len() < self.bytes_max {
            return Ok(());
        }
        // Another program may have put it aside already.
        if fs::symlink_metadata(&self.path).is_ok_and(|there| there.ino() == ours.ino()) {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            fs::rename(&self.path, aside)?;
        }
        self.file = open(&self.path)?;
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.make_room()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Without NONBLOCK a pipe that nobody reads would hold us here.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let file = private_file::options().create(true).append(true).custom_flags(flags).open(path)?;
    let data = file.metadata()?;
    if !data.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if data.mode() & OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(data.mode() & 0o7777 & !OTHERS))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tring-log-file-{}-{name}", std::process::id()));
        private_file::create_folder(&folder).unwrap();
        folder
    }

    #[test]
    fn it_is_private_and_no_link() {
        let folder = folder("link");
        let (log, elsewhere) = (folder.join("tring.log"), folder.join("elsewhere"));
        symlink(&elsewhere, &log).unwrap();
        assert!(LogFile::open(&log).is_err());
        assert!(!elsewhere.exists(), "nothing is made where a link leads");
        fs::write(&elsewhere, "theirs").unwrap();
        assert!(LogFile::open(&log).is_err());
        assert_eq!(fs::read(&elsewhere).unwrap(), b"theirs");
        fs::remove_file(&log).unwrap();
        fs::write(&log, "before\n").unwrap();
        fs::set_permissions(&log, Permissions::from_mode(0o664)).unwrap();
        LogFile::open(&log).unwrap().write_all(b"after\n").unwrap();
        assert_eq!(fs::read(&log).unwrap(), b"before\nafter\n");
        assert_eq!(fs::metadata(&log).unwrap().mode() & 0o777, 0o600);
        assert!(LogFile::open(&folder).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let folder = folder("grow");
        let log = folder.join("tring.log");
        let mut both = [LogFile::bounded(&log, 1000).unwrap(), LogFile::bounded(&log, 1000).unwrap()];
        for n in 0..500 {
            both[n % 2].write_all(format!("line {n:04}\n").as_bytes()).unwrap();
            let size = |name: &str| fs::metadata(folder.join(name)).map_or(0, |data| data.len());
            assert!(size("tring.log") <= 1010 && size("tring.log.1") <= 1020, "{n}");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        assert!(fs::read_to_string(&log).unwrap().ends_with("line 0499\n"));
        assert_eq!(fs::metadata(&log).unwrap().mode() & 0o777, 0o600);
        fs::remove_dir_all(&folder).unwrap();
    }
}

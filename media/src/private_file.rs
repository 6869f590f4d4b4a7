//! Files that nobody but their owner can read: recordings, pictures, logs, results.
//!
//! New files have mode 600 and new folders mode 700, whatever the umask. What exists keeps the rights that its owner gave
//! it: a recording that is replaced stays as readable as it was.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Mode of a new file.
pub const FILE_MODE: u32 = 0o600;

/// Mode of a new folder.
const FOLDER_MODE: u32 = 0o700;

/// How to open a file that is to be private where it is new.
#[must_use]
pub fn options() -> OpenOptions {
    let mut options = File::options();
    options.mode(FILE_MODE);
    options
}

/// Opens a file for writing, emptied.
///
/// # Errors
/// As [`File::create`].
pub fn create(path: &Path) -> io::Result<File> {
    options().write(true).create(true).truncate(true).open(path)
}

/// Writes a whole file.
///
/// # Errors
/// As [`std::fs::write`].
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    create(path)?.write_all(content.as_ref())
}

/// Makes a file that is whole from the moment it is there. One that is there already stays: of several programs that make
/// it at once, the first one's counts.
///
/// # Errors
/// When the folder cannot be written, or the disk is full.
pub fn add_whole(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let draft = Draft::of(path, content.as_ref(), FILE_MODE)?;
    match fs::hard_link(&draft.0, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

/// Puts a file of this mode in place of what is there: whoever reads sees all of the one or all of the other.
///
/// # Errors
/// When the folder cannot be written, or the disk is full; then what is there stays.
pub fn replace_whole(path: &Path, content: impl AsRef<[u8]>, mode: u32) -> io::Result<()> {
    let draft = Draft::of(path, content.as_ref(), mode)?;
    fs::rename(&draft.0, path)
}

/// A file beside another one, written to the disk; removed when dropped, unless it was put in place.
struct Draft(PathBuf);

impl Draft {
    fn of(path: &Path, content: &[u8], mode: u32) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let (mut file, draft) = loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let draft = path.with_file_name(format!(".{name}.{}-{number}", std::process::id()));
            match options().write(true).create_new(true).open(&draft) {
                // An earlier program of this number was killed over it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => break (opened?, Self(draft)),
            }
        };
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // An error means that it was put in place.
        let _absent = fs::remove_file(&self.0);
    }
}

/// Makes a folder and those above it, where they are not there yet.
///
/// # Errors
/// As [`std::fs::create_dir_all`].
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_new_is_private_and_what_was_there_keeps_its_rights() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        create_folder(&inner).unwrap();
        create_folder(&inner).unwrap();
        assert_eq!((mode(&inner), mode(inner.parent().unwrap())), (0o700, 0o700));
        let file = inner.join("file");
        write(&file, "one").unwrap();
        assert_eq!(mode(&file), 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        write(&file, "2").unwrap();
        assert_eq!((mode(&file), fs::read(&file).unwrap()), (0o644, b"2".to_vec()));
    }

    #[test]
    fn a_whole_file_is_added_once_and_replaced_at_once_and_no_draft_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        add_whole(&file, "one").unwrap();
        add_whole(&file, "two").unwrap();
        assert_eq!((mode(&file), fs::read(&file).unwrap()), (0o600, b"one".to_vec()));
        replace_whole(&file, "three", 0o644).unwrap();
        assert_eq!((mode(&file), fs::read(&file).unwrap()), (0o644, b"three".to_vec()));
        let inner = folder.path().join("inner");
        create_folder(&inner).unwrap();
        assert!(replace_whole(&inner, "four", FILE_MODE).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}

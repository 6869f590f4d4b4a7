//! Our identity: the secret keys of each of our peer IDs, in the state folder, in a file that nobody else can read.
//!
//! Made on first use. Several programs may start at once: the first file that is there counts.

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use media::private_file;
use network::system_error::in_words;
use signalling::id::PeerId;
use signalling::seal::SecretKeys;

use crate::output::exit::Failure;
use crate::platform::paths::state_folder;
use crate::platform::random;

/// The rights of others (chmod(2)), of which a file with secrets has none.
const OTHERS: u32 = 0o077;

/// Longer than any such file, in bytes.
const BYTES_MAX: u64 = 1024;

/// The identity of `id`, made where there is none. Without a home it is for this run alone.
///
/// # Errors
/// A usage [`Failure`] that names the file, when it cannot be read or others can read it.
pub(crate) fn own(id: &PeerId) -> Result<Arc<SecretKeys>, Failure> {
    match file_of(id) {
        Some(file) => in_file(&file).map(Arc::new),
        None => Ok(fresh()),
    }
}

/// The identity of `id`, if there is one that can be used.
pub(crate) fn kept(id: &PeerId) -> Option<Arc<SecretKeys>> {
    let text = read(&file_of(id)?).ok()?;
    SecretKeys::from_text(text.trim()).ok().map(Arc::new)
}

/// The identity of all peers that this program runs for tests, whatever their IDs: so it can read what they say to each
/// other.
pub(crate) fn of_this_program() -> Arc<SecretKeys> {
    static KEYS: OnceLock<Arc<SecretKeys>> = OnceLock::new();
    Arc::clone(KEYS.get_or_init(fresh))
}

/// An identity for one run.
pub(crate) fn fresh() -> Arc<SecretKeys> {
    Arc::new(made())
}

/// Where the identity of `id` is kept; `None` without a home.
pub(crate) fn file_of(id: &PeerId) -> Option<PathBuf> {
    Some(state_folder()?.join("keys").join(id.as_str()))
}

/// The identity of this text.
///
/// # Errors
/// A usage [`Failure`] when it is none.
pub(crate) fn of_text(text: &str) -> Result<Arc<SecretKeys>, Failure> {
    SecretKeys::from_text(text.trim()).map(Arc::new).map_err(|error| Failure::usage(format!("secret key: {error}")))
}

fn made() -> SecretKeys {
    SecretKeys::from_bytes(random::bytes()).expect("random bytes make keys: any seed and any scalar are of some key")
}

fn in_file(file: &Path) -> Result<SecretKeys, Failure> {
    let unusable = |error: &dyn fmt::Display| {
        Failure::usage(format!(
            "cannot use your key in {}: {error}; remove that file to make a new key, which others will be warned of",
            file.display()
        ))
    };
    let text = match read(file) {
        Err(Unreadable::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            make(file).map_err(|error| unusable(&in_words(&error)))?;
            read(file)
        }
        read => read,
    };
    let text = text.map_err(|error| match error {
        Unreadable::Open => Failure::usage(format!("your key can be read by others; run chmod 600 {}", file.display())),
        Unreadable::Io(error) => unusable(&in_words(&error)),
    })?;
    SecretKeys::from_text(text.trim()).map_err(|error| unusable(&error))
}

/// Why a file with a key is not read.
#[derive(Debug)]
enum Unreadable {
    /// Others can read it too.
    Open,
    Io(io::Error),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The text of a file that nobody else can read.
fn read(file: &Path) -> Result<String, Unreadable> {
    let opened = fs::File::open(file)?;
    if opened.metadata()?.permissions().mode() & OTHERS != 0 {
        return Err(Unreadable::Open);
    }
    let mut text = String::new();
    opened.take(BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a new identity, unless another program was first.
fn make(file: &Path) -> io::Result<()> {
    private_file::create_folder(file.parent().ok_or(io::ErrorKind::NotFound)?)?;
    private_file::add_whole(file, format!("{}\n", made().to_text().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Removed when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("tring-keys-{}", random::mark(16))))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_identity_is_made_once_and_is_private() {
        let folder = Folder::new();
        let file = folder.0.join("keys/alice");
        let first = in_file(&file).unwrap();
        assert_eq!(in_file(&file).unwrap().public(), first.public());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
        assert_ne!(in_file(&folder.0.join("keys/bob")).unwrap().public(), first.public());
    }

    #[test]
    fn a_key_that_others_can_read_and_one_that_is_broken_are_refused() {
        let folder = Folder::new();
        let file = folder.0.join("alice");
        in_file(&file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(in_file(&file).unwrap_err().text.contains("chmod 600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "no key").unwrap();
        assert!(in_file(&file).unwrap_err().text.contains("64 bytes"));
    }
}

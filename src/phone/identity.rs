//! Our identity: the secret keys of each of our peer IDs, in the state folder, in a file that nobody else can read.
//!
//! Made on first use. Several programs may start at once: the first file that is there counts. Where none can be written,
//! an identity is made for one run. A file that is there and cannot be used is an error: in place of its key another one
//! would be refused by all who know it.

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

/// The identity of a user.
pub(crate) struct Identity {
    pub(crate) keys: Arc<SecretKeys>,
    /// Why it is for this run alone, in words; `None` where it is kept.
    pub(crate) passing: Option<String>,
}

/// The identity of `id`, made where there is none. Without a home, and where nothing can be written, it is for this run
/// alone.
///
/// # Errors
/// A usage [`Failure`] that names the file, when it is there and cannot be used, or others can read it.
pub(crate) fn own(id: &PeerId) -> Result<Identity, Failure> {
    let for_this_run = |why: String| {
        let passing = format!(
            "your key is for this run alone, {why}: whoever knows another key of {id} refuses this one. Set \
             XDG_STATE_HOME to a folder that keeps it, or TRING_SECRET_KEY"
        );
        Identity { keys: fresh(), passing: Some(passing) }
    };
    let Some(file) = file_of(id) else { return Ok(for_this_run("since there is no home to keep it in".to_owned())) };
    Ok(match in_file(&file)? {
        Ok(keys) => Identity { keys: Arc::new(keys), passing: None },
        Err(why) => for_this_run(format!("since {} cannot be written ({why})", file.display())),
    })
}

/// The identity of `id`, if one is kept.
///
/// # Errors
/// As [`own`].
pub(crate) fn kept(id: &PeerId) -> Result<Option<Arc<SecretKeys>>, Failure> {
    let Some(file) = file_of(id) else { return Ok(None) };
    found(&file).map(|keys| keys.map(Arc::new))
}

/// The identity of all peers that this program runs for tests, whatever their IDs: so it can read what they say to each
/// other. That of `TRING_SECRET_KEY`, where it is set.
pub(crate) fn of_this_program() -> Arc<SecretKeys> {
    static KEYS: OnceLock<Arc<SecretKeys>> = OnceLock::new();
    let given = || std::env::var("TRING_SECRET_KEY").ok().and_then(|text| of_text(&text).ok());
    Arc::clone(KEYS.get_or_init(|| given().unwrap_or_else(fresh)))
}

/// An identity for one run.
fn fresh() -> Arc<SecretKeys> {
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

/// The keys in this file, made where it is not there; or why none can be written, in words.
fn in_file(file: &Path) -> Result<Result<SecretKeys, String>, Failure> {
    if let Some(keys) = found(file)? {
        return Ok(Ok(keys));
    }
    if let Err(error) = make(file) {
        return Ok(Err(in_words(&error)));
    }
    // Another program may have been first.
    found(file).map(|keys| keys.ok_or_else(|| "it is gone again".to_owned()))
}

/// The keys in this file; `None` where there is none.
fn found(file: &Path) -> Result<Option<SecretKeys>, Failure> {
    let unusable = |error: &dyn fmt::Display| {
        Failure::usage(format!(
            "cannot use your key in {}: {error}; remove that file to make a new key, which others will be warned of",
            file.display()
        ))
    };
    let text = match read(file) {
        Ok(text) => text,
        Err(Unreadable::Open) => {
            let text = format!("your key can be read by others; run chmod 600 {}", file.display());
            return Err(Failure::usage(text));
        }
        Err(Unreadable::Io(_)) if is_out_of_reach(file) => return Ok(None),
        Err(Unreadable::Io(error)) => return Err(unusable(&in_words(&error))),
    };
    SecretKeys::from_text(text.trim()).map(Some).map_err(|error| unusable(&error))
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

/// True where no file of this name is to be seen: it is not there, or its folder belongs to somebody else.
fn is_out_of_reach(file: &Path) -> bool {
    fs::symlink_metadata(file).is_err()
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
        let made = |file: &Path| *in_file(file).unwrap().unwrap().public();
        let first = made(&file);
        assert_eq!(made(&file), first);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
        assert_ne!(made(&folder.0.join("keys/bob")), first);
    }

    #[test]
    fn a_key_that_others_can_read_and_one_that_is_broken_are_refused() {
        let folder = Folder::new();
        let file = folder.0.join("alice");
        let refused = |file: &Path| in_file(file).map(|_| ()).unwrap_err().text;
        in_file(&file).unwrap().unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(refused(&file).contains("chmod 600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "no key").unwrap();
        assert!(refused(&file).contains("64 bytes"));
    }

    #[test]
    fn where_none_can_be_written_is_told() {
        for file in ["/proc/no/such/folder/alice", "/dev/null/alice"] {
            let why = in_file(Path::new(file)).unwrap().map(|_| ()).unwrap_err();
            assert!(!why.is_empty(), "{file}");
        }
    }
}

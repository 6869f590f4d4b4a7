//! What is remembered of peers: `known-peers.json` in the state folder. Written by calls and by `tring contacts`, read by
//! every program that calls or listens, also while it runs.
//!
//! A change is made under a lock, and the file is replaced as a whole: whoever reads sees all of it, before or after.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use media::private_file;
use network::system_error::in_words;
use serde::{Deserialize, Serialize};
use signalling::id::PeerId;
use signalling::seal::{Acquaintance, Acquaintances, Opinion};
use tokio::sync::watch;
use tracing::warn;

use crate::output::exit::Failure;
use crate::platform::file_lock;
use crate::platform::files::Stamp;
use crate::platform::paths::state_folder;

/// Version of the file.
const VERSION: u32 = 1;

/// Largest file that is read, in bytes: about 20,000 peers.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How often a running program looks whether the file is another one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    v: u32,
    peers: Acquaintances,
}

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct KnownPeers {
    path: PathBuf,
}

impl KnownPeers {
    /// Where it is; `None` without a home.
    pub(crate) fn find() -> Option<Self> {
        Some(Self { path: state_folder()?.join("known-peers.json") })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it; a file that is not there remembers nobody.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub(crate) fn read(&self) -> Result<Acquaintances, String> {
        let opened = match File::open(&self.path) {
            Ok(opened) => opened,
            // It is not there, or its folder belongs to somebody else.
            Err(_) if fs::symlink_metadata(&self.path).is_err() => return Ok(Acquaintances::new()),
            Err(error) => return Err(in_words(&error)),
        };
        let mut text = String::new();
        opened.take(BYTES_MAX).read_to_string(&mut text).map_err(|error| in_words(&error))?;
        let content: Content = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if content.v != VERSION {
            return Err(format!("it is of another version ({})", content.v));
        }
        Ok(content.peers)
    }

    /// The same for a program that needs it to begin.
    ///
    /// # Errors
    /// A usage [`Failure`] that names the file.
    pub(crate) fn load(&self) -> Result<Acquaintances, Failure> {
        self.read().map_err(|why| {
            Failure::usage(format!(
                "cannot read what is remembered of peers in {}: {why}; mend it, or remove it to forget all of them",
                self.path.display()
            ))
        })
    }

    /// Changes it; what `change` gives. Blocks for as long as another program changes it, a second at most.
    ///
    /// # Errors
    /// Why it cannot be read or written, in words.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Acquaintances) -> T) -> Result<T, String> {
        let _lock = self.lock().map_err(|error| in_words(&error))?;
        let before = self.read()?;
        let mut peers = before.clone();
        let given = change(&mut peers);
        if peers != before {
            let content = Content { v: VERSION, peers };
            let text = serde_json::to_string_pretty(&content).map_err(|error| error.to_string())? + "\n";
            private_file::replace_whole(&self.path, text, private_file::FILE_MODE).map_err(|error| in_words(&error))?;
        }
        Ok(given)
    }

    /// Remembers the key of a peer after a call. What is remembered already stays.
    ///
    /// # Errors
    /// As [`KnownPeers::change`].
    pub(crate) fn remember(&self, peer: PeerId, words: String) -> Result<(), String> {
        self.change(|acquaintances| {
            let new = Acquaintance { words: None, opinion: Opinion::Known };
            let _remembered = acquaintances.entry(peer).or_insert(new).words.get_or_insert(words);
        })
    }

    /// Notes what the user thinks of the key with these words, which a peer has in a call.
    ///
    /// # Errors
    /// As [`KnownPeers::change`]; also when another key of it is remembered by now, or it is blocked.
    pub(crate) fn note(&self, peer: &PeerId, words: &str, opinion: Opinion) -> Result<(), String> {
        self.change(|acquaintances| match acquaintances.get(peer) {
            Some(Acquaintance { opinion: Opinion::Blocked, .. }) => Err(format!("{peer} is blocked by now")),
            Some(Acquaintance { words: Some(other), .. }) if other != words => {
                Err(format!("another key of {peer} is remembered by now; its words are: {other}"))
            }
            Some(_) | None => {
                let noted = Acquaintance { words: Some(words.to_owned()), opinion };
                acquaintances.insert(peer.clone(), noted);
                Ok(())
            }
        })?
    }

    fn lock(&self) -> io::Result<File> {
        if let Some(folder) = self.path.parent() {
            private_file::create_folder(folder)?;
        }
        let path = self.path.with_extension("lock");
        let file = private_file::options().create(true).truncate(false).write(true).open(path)?;
        if file_lock::wait(&file, file_lock::deadline())? { Ok(file) } else { Err(io::ErrorKind::ResourceBusy.into()) }
    }

    /// What is remembered, now and from then on, until nobody asks any more. To be called in a tokio runtime.
    ///
    /// # Errors
    /// As [`KnownPeers::load`].
    pub(crate) fn follow(self) -> Result<watch::Receiver<Arc<Acquaintances>>, Failure> {
        // Before it is read: what changes meanwhile is read again.
        let mut seen = Stamp::of(&self.path);
        let (told, followed) = watch::channel(Arc::new(self.load()?));
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = told.closed() => return,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
                let (file, before) = (self.clone(), seen);
                let look = move || {
                    let stamp = Stamp::of(&file.path);
                    (stamp, (stamp != before).then(|| file.read()))
                };
                let Ok((stamp, read)) = tokio::task::spawn_blocking(look).await else { continue };
                seen = stamp;
                match read {
                    Some(Ok(acquaintances)) => {
                        told.send_replace(Arc::new(acquaintances));
                    }
                    Some(Err(why)) => {
                        warn!(why, file = %self.path.display(), "what is remembered of peers cannot be read")
                    }
                    None => {}
                }
            }
        });
        Ok(followed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::random;

    /// Removed when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("tring-known-{}", random::mark(16))))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    fn known(words: &str, opinion: Opinion) -> Acquaintance {
        Acquaintance { words: Some(words.to_owned()), opinion }
    }

    #[test]
    fn what_is_remembered_is_read_again_and_a_call_changes_no_mind() {
        let folder = Folder::new();
        let file = KnownPeers { path: folder.0.join("state/known-peers.json") };
        let bob: PeerId = "bob".parse().unwrap();
        assert_eq!(file.read(), Ok(Acquaintances::new()));
        file.remember(bob.clone(), "able zoo".into()).unwrap();
        assert_eq!(file.read().unwrap()[&bob], known("able zoo", Opinion::Known));
        file.change(|all| all.get_mut(&bob).unwrap().opinion = Opinion::Verified).unwrap();
        file.remember(bob.clone(), "other words".into()).unwrap();
        assert_eq!(file.read().unwrap()[&bob], known("able zoo", Opinion::Verified));
        file.note(&bob, "able zoo", Opinion::Known).unwrap();
        assert_eq!(file.read().unwrap()[&bob], known("able zoo", Opinion::Known));
        file.note(&bob, "able zoo", Opinion::Verified).unwrap();
        assert!(file.note(&bob, "other words", Opinion::Verified).unwrap_err().contains("able zoo"));
        assert_eq!(file.read().unwrap()[&bob], known("able zoo", Opinion::Verified));
        let carol: PeerId = "carol".parse().unwrap();
        file.note(&carol, "zoo able", Opinion::Verified).unwrap();
        assert_eq!(file.read().unwrap()[&carol], known("zoo able", Opinion::Verified), "before it is remembered");
        file.change(|all| all.get_mut(&carol).unwrap().opinion = Opinion::Blocked).unwrap();
        assert!(file.note(&carol, "zoo able", Opinion::Verified).unwrap_err().contains("blocked"));
        for broken in ["", "{}", r#"{"v":2,"peers":{}}"#, r#"{"v":1,"peers":{"a b":{"opinion":"known"}}}"#] {
            fs::write(&file.path, broken).unwrap();
            assert!(file.read().is_err(), "{broken}");
            assert!(file.remember(bob.clone(), "able zoo".into()).is_err(), "what cannot be read is not replaced");
        }
        assert!(file.load().unwrap_err().text.contains("known-peers.json"));
    }

    #[test]
    fn many_programs_change_it_at_once() {
        let folder = Folder::new();
        let file = KnownPeers { path: folder.0.join("known-peers.json") };
        std::thread::scope(|scope| {
            for n in 0..8 {
                let file = &file;
                scope.spawn(move || file.remember(format!("peer-{n}").parse().unwrap(), "able".into()).unwrap());
            }
        });
        assert_eq!(file.read().unwrap().len(), 8);
    }
}

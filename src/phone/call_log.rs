//! The call log: one JSON object a line in `calls.ndjson` of the state folder, written when a call ends.
//!
//! Several programs write it at once: each line is one write to a file opened for appending, under a lock that whoever
//! shortens the file holds too. A log that cannot be written never harms a call; a line that cannot be read is left out
//! and counted. What is read is taken in as types: the file may hold anything.
//!
//! - in: [`Entry`] → [`CallLog::append`]
//! - out: [`CallLog::read`] → `tring log`, `tring redial`

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use media::private_file;
use serde::{Deserialize, Serialize};
use signalling::id::{CallId, PeerId};

use crate::platform::file_lock;
use crate::platform::paths::state_folder;

/// Version of the line format.
pub(crate) const VERSION: u32 = 1;

/// The file is shortened when it has grown to this, bytes.
const BYTES_MAX: u64 = 1024 * 1024;

/// So many of the last calls are kept then. About 300 bytes each, so the file shrinks to a third.
const KEPT: usize = 1000;

/// Most of a file that is read, from its end: ours is never longer by more than what a few programs append at once.
const READ_BYTES_MAX: u64 = 2 * BYTES_MAX;

/// One call, as it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) v: u32,
    /// When it was dialled or began to ring, Unix time in ms.
    pub(crate) started: u64,
    pub(crate) direction: Direction,
    pub(crate) peer: PeerId,
    /// `None` where it never became a call: someone heard busy.
    pub(crate) call_id: Option<CallId>,
    pub(crate) answered: bool,
    /// From connected to the end.
    pub(crate) duration_ms: Option<f64>,
    /// As the event `ended` has it.
    pub(crate) reason: Word,
    pub(crate) status: u8,
    /// How media went: `host`, `srflx` or `relay`.
    pub(crate) path: Option<Word>,
    pub(crate) received: Option<Quality>,
    /// The broker could neither read nor make up what was said of the call. Only of calls that were established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sealed: Option<bool>,
    /// Its user had compared the key of the other side. Only of calls that were established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verified: Option<bool>,
}

/// Who called whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// We called.
    Out,
    /// They called.
    In,
}

/// What arrived, in brief.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quality {
    pub(crate) freezes: u64,
    /// Share of the packets that never came, 0 to 1; `None` when none was sent.
    pub(crate) loss: Option<f64>,
}

/// A word of letters and hyphens: safe to print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Word(String);

/// A text that is no [`Word`].
#[derive(Debug, thiserror::Error)]
#[error("use 1 to 32 letters and '-'")]
pub(crate) struct InvalidWord;

impl TryFrom<String> for Word {
    type Error = InvalidWord;

    fn try_from(text: String) -> Result<Self, InvalidWord> {
        let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        if plain && (1..=32).contains(&text.len()) { Ok(Self(text)) } else { Err(InvalidWord) }
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        word.0
    }
}

impl Word {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A word that stands in this program.
    pub(crate) fn known(word: &'static str) -> Self {
        Self(word.to_owned())
    }
}

/// What became of a call, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// We called.
    Out,
    /// They called, and we answered.
    In,
    /// They called, and nobody answered.
    Missed,
    /// They called while we were in another call.
    TurnedAway,
    /// They called, and we did not want to.
    Declined,
}

impl Entry {
    /// A call that became none: `peer` heard busy.
    pub(crate) fn turned_away(peer: PeerId, started: u64, status: u8) -> Self {
        Self {
            v: VERSION,
            started,
            direction: Direction::In,
            peer,
            call_id: None,
            answered: false,
            duration_ms: None,
            reason: Word::known("busy"),
            status,
            path: None,
            received: None,
            sealed: None,
            verified: None,
        }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        match (self.direction, self.answered, self.reason.as_str()) {
            (Direction::Out, _, _) => Outcome::Out,
            (Direction::In, true, _) => Outcome::In,
            (Direction::In, false, "busy") => Outcome::TurnedAway,
            (Direction::In, false, "decline") => Outcome::Declined,
            (Direction::In, false, _) => Outcome::Missed,
        }
    }
}

/// Where calls are written down.
#[derive(Clone, Debug)]
pub(crate) struct CallLog {
    path: PathBuf,
}

/// What a log holds.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Oldest first.
    pub(crate) entries: Vec<Entry>,
    /// Lines that are no entries.
    pub(crate) broken: usize,
    /// One of them came after the last call of ours: it may be a later one, cut off by a full disk.
    pub(crate) is_last_unclear: bool,
}

impl CallLog {
    /// `calls.ndjson` of the state folder; `None` where nobody has a home.
    pub(crate) fn of_this_user() -> Option<Self> {
        Some(Self { path: state_folder()?.join("calls.ndjson") })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a call; blocks for some milliseconds.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn append(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if let Some(folder) = self.path.parent() {
            private_file::create_folder(folder)?;
        }
        let (mut file, lock) = self.open_locked()?;
        // A line that was cut off by a full disk must not spoil this one.
        if !ends_with_a_line(&file)? {
            line.insert(0, b'\n');
        }
        file.write_all(&line)?;
        if lock == Lock::Ours && file.metadata()?.len() > BYTES_MAX {
            self.shorten()?;
        }
        Ok(())
    }

    /// All entries, oldest first; none when there is no file yet.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub(crate) fn read(&self) -> io::Result<Read> {
        match File::open(&self.path) {
            Ok(file) => Ok(parse(&tail(file)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Read::default()),
            Err(error) => Err(error),
        }
    }

    /// Forgets all calls.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The file, open for appending and ours alone. When another program holds it for long, it is written all the same:
    /// a line appended in one write is whole either way.
    fn open_locked(&self) -> io::Result<(File, Lock)> {
        let deadline = file_lock::deadline();
        loop {
            let file = private_file::options().create(true).append(true).read(true).open(&self.path)?;
            // A file system without locks has nobody who holds one.
            if !file_lock::wait(&file, deadline).unwrap_or(true) {
                return Ok((file, Lock::Another));
            }
            // Whoever had the lock may have put a shorter file in its place, or removed it.
            let ours = file.metadata()?.ino();
            if fs::metadata(&self.path).is_ok_and(|there| there.ino() == ours) {
                return Ok((file, Lock::Ours));
            }
            if Instant::now() >= deadline {
                return Ok((file, Lock::Another));
            }
        }
    }

    /// Puts a file with the last calls in place of this one, at once for whoever reads.
    fn shorten(&self) -> io::Result<()> {
        let bytes = tail(File::open(&self.path)?)?;
        let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let starts: Vec<usize> = std::iter::once(0).chain(starts).collect();
        // The last of them is the end of the file. Of lines that are too long, fewer are kept.
        let first = starts.len().saturating_sub(KEPT + 1);
        let short = |start: &&usize| bytes.len() - **start <= BYTES_MAX as usize / 2;
        let kept = starts[first..].iter().find(short).map_or(&[][..], |start| &bytes[*start..]);
        private_file::replace_whole(&self.path, kept, private_file::FILE_MODE)
    }
}

/// Whose the file is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    Ours,
    Another,
}

/// The end of a file, from the beginning of a line.
fn tail(mut file: File) -> io::Result<Vec<u8>> {
    let skipped = file.metadata()?.len().saturating_sub(READ_BYTES_MAX);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    // Where the beginning was skipped, the first line is half a line.
    let whole = if skipped > 0 { bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) } else { 0 };
    bytes.drain(..whole);
    Ok(bytes)
}

fn ends_with_a_line(mut file: &File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn parse(bytes: &[u8]) -> Read {
    let mut read = Read::default();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        match serde_json::from_slice::<Entry>(line) {
            Ok(entry) if entry.v == VERSION => {
                read.is_last_unclear &= entry.direction == Direction::In;
                read.entries.push(entry);
            }
            Ok(_) | Err(_) => (read.broken, read.is_last_unclear) = (read.broken + 1, true),
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn entry(number: u64) -> Entry {
        Entry {
            v: VERSION,
            started: 1_700_000_000_000,
            direction: Direction::Out,
            peer: "bob".parse().unwrap(),
            call_id: Some(CallId::from_random(number.into())),
            answered: true,
            duration_ms: Some(61_250.5),
            reason: Word::known("remote-hangup"),
            status: 0,
            path: Some(Word::known("srflx")),
            received: Some(Quality { freezes: 2, loss: Some(0.012) }),
            sealed: None,
            verified: None,
        }
    }

    /// A log in a folder of its own, which does not exist yet.
    fn log(name: &str) -> CallLog {
        let folder = std::env::temp_dir().join(format!("tring-log-{}-{name}", std::process::id()));
        let _absent = fs::remove_dir_all(&folder);
        CallLog { path: folder.join("tring/calls.ndjson") }
    }

    #[test]
    fn a_line_is_what_the_documentation_shows() {
        assert_eq!(
            serde_json::to_string(&entry(1)).unwrap(),
            r#"{"v":1,"started":1700000000000,"direction":"out","peer":"bob","call_id":"00000000000000000000000000000001","answered":true,"duration_ms":61250.5,"reason":"remote-hangup","status":0,"path":"srflx","received":{"freezes":2,"loss":0.012}}"#
        );
        let sealed = Entry { sealed: Some(true), verified: Some(false), ..entry(1) };
        let line = serde_json::to_string(&sealed).unwrap();
        assert!(line.ends_with(r#""loss":0.012},"sealed":true,"verified":false}"#), "{line}");
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), sealed);
        let away = Entry::turned_away("carol".parse().unwrap(), 1_700_000_000_000, 10);
        assert_eq!(
            serde_json::to_string(&away).unwrap(),
            r#"{"v":1,"started":1700000000000,"direction":"in","peer":"carol","call_id":null,"answered":false,"duration_ms":null,"reason":"busy","status":10,"path":null,"received":null}"#
        );
    }

    #[test]
    fn what_is_written_is_read_and_nobody_else_may() {
        let log = log("read");
        assert!(log.read().unwrap().entries.is_empty());
        log.append(&entry(1)).unwrap();
        log.append(&entry(2)).unwrap();
        assert_eq!(log.read().unwrap().entries, [entry(1), entry(2)]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&log.path), mode(log.path.parent().unwrap())), (0o600, 0o700));
        log.clear().unwrap();
        log.clear().unwrap();
        assert!(log.read().unwrap().entries.is_empty());
    }

    #[test]
    fn broken_lines_are_left_out_and_counted() {
        let log = log("broken");
        log.append(&entry(1)).unwrap();
        let mut file = File::options().append(true).open(&log.path).unwrap();
        let escape = r#"{"v":1,"started":0,"direction":"in","peer":"\u001b[2J","call_id":null,"answered":false,"duration_ms":null,"reason":"busy","status":10,"path":null,"received":null}"#;
        file.write_all(format!("\n\u{0}\n{{\"v\":2}}\n{escape}\n{{\"v\":1,\"sta").as_bytes()).unwrap();
        log.append(&entry(2)).unwrap();
        let read = log.read().unwrap();
        assert!(!read.is_last_unclear, "a whole call came after them");
        assert_eq!((read.entries, read.broken), (vec![entry(1), entry(2)], 4));
        file.write_all(b"{\"v\":1,\"sta").unwrap();
        let turned_away = Entry::turned_away("eve".parse().unwrap(), 7, 10);
        log.append(&turned_away).unwrap();
        let read = log.read().unwrap();
        assert!(read.is_last_unclear, "a call of ours may be cut off");
        assert_eq!((read.entries, read.broken), (vec![entry(1), entry(2), turned_away], 5));
    }

    #[test]
    fn a_long_log_keeps_the_last_thousand() {
        let log = log("long");
        log.append(&entry(0)).unwrap();
        let line = fs::read(&log.path).unwrap();
        let many = usize::try_from(BYTES_MAX).unwrap() / line.len();
        fs::write(&log.path, line.repeat(many)).unwrap();
        log.append(&entry(7)).unwrap();
        log.append(&entry(8)).unwrap();
        let entries = log.read().unwrap().entries;
        assert!((KEPT..=KEPT + 1).contains(&entries.len()), "{}", entries.len());
        assert_eq!(entries[entries.len() - 2..], [entry(7), entry(8)]);
        assert_eq!(fs::metadata(&log.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(log.path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn one_huge_line_does_not_stay() {
        let log = log("huge");
        log.append(&entry(0)).unwrap();
        fs::write(&log.path, vec![b'x'; 2 * usize::try_from(READ_BYTES_MAX).unwrap()]).unwrap();
        assert!(log.read().unwrap().entries.is_empty());
        log.append(&entry(1)).unwrap();
        assert_eq!(log.read().unwrap().entries, [entry(1)]);
        assert!(fs::metadata(&log.path).unwrap().len() < 1_000);
    }

    #[test]
    fn several_writers_lose_nothing() {
        let log = log("several");
        log.append(&entry(0)).unwrap();
        // So that the log is shortened while they write.
        let line = fs::read(&log.path).unwrap();
        fs::write(&log.path, line.repeat(usize::try_from(BYTES_MAX).unwrap() / line.len() - 20)).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let log = &log;
                scope.spawn(move || (0..25).for_each(|n| log.append(&entry(1000 + 100 * writer + n)).unwrap()));
            }
        });
        let read = log.read().unwrap();
        let written = (0..4).flat_map(|writer| (0..25).map(move |n| entry(1000 + 100 * writer + n)));
        let lost = written.filter(|entry| !read.entries.contains(entry)).count();
        assert_eq!((lost, read.broken), (0, 0));
        assert!(read.entries.len() < 1200, "{} are kept", read.entries.len());
    }

    #[test]
    fn each_call_has_an_outcome() {
        let incoming =
            |answered, reason| Entry { answered, direction: Direction::In, reason: Word::known(reason), ..entry(1) };
        assert_eq!(entry(1).outcome(), Outcome::Out);
        assert_eq!(incoming(true, "hangup").outcome(), Outcome::In);
        for reason in ["remote-cancel", "no-answer", "no-path", "lost"] {
            assert_eq!(incoming(false, reason).outcome(), Outcome::Missed, "{reason}");
        }
        assert_eq!(incoming(false, "decline").outcome(), Outcome::Declined);
        assert_eq!(incoming(false, "busy").outcome(), Outcome::TurnedAway);
    }
}

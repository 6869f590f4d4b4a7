//! Files that a command leaves for its user: what cannot be written, or would take the place of something else, is said
//! before anything runs.

use std::fs::File;
use std::path::{Path, PathBuf};

use media::capture::{AudioSource, VideoSource};
use media::existing::Existing;

use crate::output::exit::Failure;
use crate::phone::settings::MediaSettings;

/// What a report begins with; an old report is replaced, any other file is not.
pub(crate) const JUNIT: &str = "<?xml";
pub(crate) const HTML: &str = "<!doctype html";
pub(crate) const SVG: &str = "<svg";

/// Longest of the above.
const BEGINNING_BYTES_MAX: usize = 32;

/// Looks at the files of `--record` and `--snapshot` before a call.
///
/// # Errors
/// A usage [`Failure`] for a file that is there already, or is the one that is sent, or whose folder is missing.
pub(crate) fn check_kept(media: &MediaSettings) -> Result<(), Failure> {
    let sent = [
        if let VideoSource::File(path) = &media.video { Some(path) } else { None },
        if let AudioSource::File(path) = &media.audio { Some(path) } else { None },
    ];
    for path in [&media.record, &media.snapshot].into_iter().flatten() {
        check_new(path, media.existing)?;
        let is_sent = |sent: &&PathBuf| same_file(sent, path);
        if sent.into_iter().flatten().any(|sent| is_sent(&sent)) {
            return Err(Failure::usage(format!("{} is what is sent; name another file", path.display())));
        }
    }
    Ok(())
}

/// Looks at one file that is to be made.
///
/// # Errors
/// A usage [`Failure`].
pub(crate) fn check_new(path: &Path, existing: Existing) -> Result<(), Failure> {
    if existing.forbids(path) {
        let path = path.display();
        return Err(Failure::usage(format!("{path} is there already; name another file, or pass --overwrite")));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        return Err(Failure::usage(format!("{} is a folder; name a file in it", path.display())));
    }
    if !folder.is_dir() {
        let (path, folder) = (path.display(), folder.display());
        return Err(Failure::usage(format!("cannot write {path}: there is no folder {folder}")));
    }
    Ok(())
}

/// A name like `path` that no file has: `a.webm`, `a-2.webm`, `a-3.webm` and so on.
pub(crate) fn free_name(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    let numbered = (2..10_000).map(|n| path.with_file_name(format!("{stem}-{n}{extension}")));
    let is_free = |path: &PathBuf| !Existing::Keep.forbids(path);
    std::iter::once(path.to_owned()).chain(numbered).find(is_free).unwrap_or_else(|| path.to_owned())
}

/// Looks at the file of a report, which takes the place of an older one that begins alike.
///
/// # Errors
/// A usage [`Failure`] for any other file, or one that cannot be written.
pub(crate) fn check_report(path: &Path, beginning: &str) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::usage(format!("cannot write {}: {error}", path.display()));
    let metadata = std::fs::metadata(path);
    if metadata.as_ref().is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0) {
        let mut found = Vec::new();
        let file = File::open(path).map_err(cannot)?;
        std::io::Read::read_to_end(&mut std::io::Read::take(file, BEGINNING_BYTES_MAX as u64), &mut found)
            .map_err(cannot)?;
        if !found.to_ascii_lowercase().starts_with(beginning.as_bytes()) {
            let path = path.display();
            return Err(Failure::usage(format!("{path} is there already and is no such report; name another file")));
        }
    }
    media::private_file::options().create(true).append(true).open(path).map_err(cannot)?;
    if metadata.is_err() {
        // It was made to see whether it can be; a run that is killed leaves no empty report.
        let _left = std::fs::remove_file(path);
    }
    Ok(())
}

/// Whether two names lead to one file that is there.
fn same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    real(one).is_some_and(|one| real(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is removed at the end of a test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tring-outputs-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn with(&self, name: &str, content: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, content).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_in_the_way_is_said() {
        let folder = Folder::new("new");
        let old = folder.with("old.webm", "x");
        let refused = |path: &Path| check_new(path, Existing::Keep).map_err(|failure| failure.text);
        assert!(refused(&old).unwrap_err().contains("--overwrite"));
        assert_eq!(check_new(&old, Existing::Replace).map_err(|failure| failure.text), Ok(()));
        assert!(refused(&folder.0).unwrap_err().contains("is a folder"));
        assert!(refused(&folder.0.join("missing/a.webm")).unwrap_err().contains("no folder"));
        assert_eq!(refused(&folder.0.join("new.webm")), Ok(()));
        assert_eq!(refused(Path::new("new.webm")), Ok(()));
    }

    #[test]
    fn a_free_name_has_a_number() {
        let folder = Folder::new("free");
        let path = folder.0.join("tring-demo.webm");
        assert_eq!(free_name(&path), path);
        folder.with("tring-demo.webm", "x");
        folder.with("tring-demo-2.webm", "x");
        assert_eq!(free_name(&path), folder.0.join("tring-demo-3.webm"));
    }

    #[test]
    fn a_report_replaces_reports_alone() {
        let folder = Folder::new("report");
        let refused = |path: &Path| check_report(path, JUNIT).map_err(|failure| failure.text);
        assert_eq!(refused(&folder.with("old.xml", "<?xml version")), Ok(()));
        assert_eq!(refused(&folder.with("empty.xml", "")), Ok(()));
        let scenario = folder.with("smoke.toml", "[peer.alice]");
        assert!(refused(&scenario).unwrap_err().contains("no such report"));
        let new = folder.0.join("new.xml");
        assert_eq!((refused(&new), new.exists()), (Ok(()), false));
        assert!(refused(&folder.0.join("missing/new.xml")).unwrap_err().contains("cannot write"));
    }
}

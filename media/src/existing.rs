//! Files that are there already where a call is to leave one: none is replaced without a word.

use std::path::Path;

/// What happens to a file that is there already. An empty one holds nothing to lose and is always replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the new one is refused.
    #[default]
    Keep,
    /// The new one takes its place.
    Replace,
}

impl Existing {
    /// True when there is a file at `path` that has to stay. Pipes and devices hold nothing.
    #[must_use]
    pub fn forbids(self, path: &Path) -> bool {
        let is_kept = || std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0);
        self == Self::Keep && is_kept()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_something_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        assert!(!Existing::Keep.forbids(&file) && !Existing::Keep.forbids(folder.path()));
        std::fs::write(&file, "").unwrap();
        assert!(!Existing::Keep.forbids(&file));
        std::fs::write(&file, "x").unwrap();
        assert!(Existing::Keep.forbids(&file) && !Existing::Replace.forbids(&file));
    }
}

//! Secrets, and the files that hold them.

use std::io::Read as _;
use std::path::Path;

use crate::exit::Failure;

/// Largest file with secrets, in bytes: a device that never ends is not read for ever.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A password or a shared secret.
#[derive(Clone)]
pub(crate) struct Secret(String);

/// A text that is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSecret {
    #[error("it holds no password")]
    Empty,
    #[error("it holds several lines; a password is one line")]
    SeveralLines,
}

impl std::str::FromStr for Secret {
    type Err = NoSecret;

    /// The one line that is not blank. Line breaks and the mark that some editors put before a text do not belong to it,
    /// blanks of that line do.
    fn from_str(text: &str) -> Result<Self, NoSecret> {
        let mut lines = without_mark(text).lines().filter(|line| !line.trim().is_empty());
        let line = lines.next().ok_or(NoSecret::Empty)?;
        if lines.next().is_some() { Err(NoSecret::SeveralLines) } else { Ok(Self(line.to_owned())) }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret from a file or, without one, as the environment gave it.
///
/// # Errors
/// A usage [`Failure`] that names the file.
pub(crate) fn secret(file: Option<&Path>, given: Option<&Secret>) -> Result<Option<String>, Failure> {
    let Some(path) = file else { return Ok(given.map(|secret| secret.0.clone())) };
    let Secret(secret) = text_of(path)?.parse().map_err(|error: NoSecret| unusable(path, &error))?;
    Ok(Some(secret))
}

/// The text of a file with secrets, without the mark that some editors put before a text. Warns where everyone on this
/// machine can read it.
///
/// # Errors
/// A usage [`Failure`] that names the file.
pub(crate) fn text_of(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| unusable(path, &error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unusable(path, &"it is larger than 1 MiB"));
    }
    warn_if_open(path);
    let text = String::from_utf8(bytes).map_err(|_| unusable(path, &"it is not UTF-8; save it as UTF-8"))?;
    Ok(without_mark(&text).to_owned())
}

/// Warns of a file with a secret that everyone on this machine can read.
pub(crate) fn warn_if_open(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        /// The right of others to read (chmod(2)).
        const READABLE_BY_OTHERS: u32 = 0o004;
        // A pipe, as of `<(…)`, ends with its reader, whatever its rights. A file that cannot be looked at is not open.
        let rights = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|data| data.permissions());
        if rights.is_some_and(|rights| rights.mode() & READABLE_BY_OTHERS != 0) {
            tracing::warn!(
                "{0} holds a secret and everyone on this machine can read it; chmod 600 {0}",
                path.display()
            );
        }
    }
}

/// The text without its byte order mark.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("cannot read {}: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_line_that_is_not_blank() {
        for (text, expected) in [
            ("geheim", Ok("geheim")),
            ("geheim\n", Ok("geheim")),
            ("geheim\r\n\r\n", Ok("geheim")),
            ("\u{feff}geheim\n", Ok("geheim")),
            ("\n \t\ngeheim\n", Ok("geheim")),
            (" two words \n", Ok(" two words ")),
            ("", Err(NoSecret::Empty)),
            ("\u{feff}", Err(NoSecret::Empty)),
            (" \t\n\n", Err(NoSecret::Empty)),
            ("one\ntwo\n", Err(NoSecret::SeveralLines)),
        ] {
            let read = text.parse::<Secret>().map(|secret| secret.0);
            assert_eq!(read.as_deref().map_err(|error| *error), expected, "{text:?}");
        }
    }

    #[test]
    fn a_device_that_never_ends_is_refused() {
        assert!(text_of(Path::new("/dev/zero")).unwrap_err().text.contains("larger than 1 MiB"));
    }
}

//! Files that hold secrets.

use std::path::Path;

use crate::cli::secret::{NoSecret, Secret, without_mark};
use crate::output::exit::Failure;
use crate::platform::files::read_bounded;

/// A secret from a file or, without one, as the environment gave it.
///
/// # Errors
/// A usage [`Failure`] that names the file.
pub(crate) fn secret(file: Option<&Path>, given: Option<&Secret>) -> Result<Option<String>, Failure> {
    let Some(path) = file else { return Ok(given.map(|secret| secret.expose().to_owned())) };
    let secret: Secret = text_of(path)?.parse().map_err(|error: NoSecret| unusable(path, &error))?;
    Ok(Some(secret.expose().to_owned()))
}

/// The text of a file with secrets, without the mark that some editors put before a text. Warns where everyone on this
/// machine can read it.
///
/// # Errors
/// A usage [`Failure`] that names the file.
pub(crate) fn text_of(path: &Path) -> Result<String, Failure> {
    let bytes = read_bounded(path).map_err(|error| unusable(path, &error))?;
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

fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("cannot read {}: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_never_ends_is_refused() {
        assert!(text_of(Path::new("/dev/zero")).unwrap_err().text.contains("larger than 1 MiB"));
    }
}

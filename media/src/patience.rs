//! How long a file may take.

use std::path::Path;
use std::time::Duration;

/// A disk may be slow, and a network's slower.
const DISK: Duration = Duration::from_secs(5);

/// A pipe has a reader or it has none.
const PIPE: Duration = Duration::from_millis(500);

/// How long writing to `path` may make no headway before it is given up.
#[must_use]
pub fn of_file(path: &Path) -> Duration {
    if is_special(path) { PIPE } else { DISK }
}

/// True for a pipe, a device and their like, which are written as they are: never replaced, cut off or sought in.
pub(crate) fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

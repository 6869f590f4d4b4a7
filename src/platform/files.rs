//! Files that a user names.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Largest such file, in bytes: a device that never ends is not read for ever.
const BYTES_MAX: u64 = 1024 * 1024;

/// All of a file of 1 MiB at most. Blocks.
///
/// # Errors
/// When it cannot be read, or is larger.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(bytes)
}

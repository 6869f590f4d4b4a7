//! Where this program keeps what it remembers.

use std::path::PathBuf;

/// `$XDG_STATE_HOME/tring`, by default under `~/.local/state`; `None` where nobody has a home.
pub(crate) fn state_folder() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let folder = state.or(home.map(|home| PathBuf::from(home).join(".local/state")))?;
    Some(folder.join("tring"))
}

//! Programs that this one starts.

use tokio::process::Command;

/// Every variable of ours begins so; passwords are among them.
const OURS: &str = "TRING_";

/// Keeps our settings and secrets from the program: it sees no `TRING_…` variable but those that are set afterwards.
pub(crate) fn hide_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(OURS.as_bytes())) {
        command.env_remove(name);
    }
}

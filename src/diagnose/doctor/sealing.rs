//! Whether calls are sealed, and with which key. Makes no key.

use std::path::Path;

use signalling::seal::{Plain, SecretKeys};

use super::{Finding, Look};
use crate::output::exit::ExitStatus;
use crate::phone::identity;
use crate::phone::known_peers::KnownPeers;
use crate::phone::settings::{Security, Settings};

/// The check named `seal`.
pub(super) fn check(settings: &Settings) -> Vec<Finding> {
    let look = Look::at("seal");
    let Some(security) = &settings.security else {
        let found = "calls are not sealed in --dialect apprtc, and not verified: whoever runs the broker can listen in";
        return vec![look.warning(found, "leave --dialect out where the other side is tring")];
    };
    let mut findings = vec![key(look, settings, security)];
    if security.policy.plain == Plain::Allowed {
        let found =
            "calls with peers that show no key are not sealed, and not verified: whoever runs the broker can listen in";
        findings.push(Look::at("seal").warning(found, "leave --plain out where all peers are tring"));
    }
    if security.keys.is_none()
        && let Some(Err(failure)) = KnownPeers::find().map(|peers| peers.load())
    {
        let fix = "mend that file, or remove it to forget all peers";
        findings.push(Look::at("seal").failed(ExitStatus::Usage, failure.text, fix));
    }
    findings
}

fn key(look: Look, settings: &Settings, security: &Security) -> Finding {
    if let Some(keys) = &security.keys {
        return look.ok(sealed(keys, "from TRING_SECRET_KEY; nothing is remembered of peers"));
    }
    let me = &settings.link.me;
    let keep = "set XDG_STATE_HOME to a folder that keeps it, or TRING_SECRET_KEY";
    let Some(file) = identity::file_of(me) else {
        return look.warning("calls are sealed, with another key in each run: there is no home to keep one in", keep);
    };
    match identity::kept(me) {
        Ok(Some(keys)) => look.ok(sealed(&keys, &format!("in {}", file.display()))),
        Ok(None) if is_writable(&file) => look.ok("calls are sealed; the key is made with the first one"),
        Ok(None) => {
            let found = format!("calls are sealed, with another key in each run: {} cannot be written", file.display());
            look.warning(found, keep)
        }
        Err(failure) => look.failed(ExitStatus::Usage, failure.text, "put that right, or set TRING_SECRET_KEY"),
    }
}

fn sealed(keys: &SecretKeys, place: &str) -> String {
    format!("calls are sealed; the words of our key, {place}: {}", keys.public().fingerprint().words())
}

/// Whether the first folder above that is there can be written.
fn is_writable(file: &Path) -> bool {
    let folder = file.ancestors().skip(1).find(|folder| folder.exists());
    folder.is_some_and(|folder| rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok())
}

//! What is in force, secrets left out; and whether others on this machine can read the secrets' files.

use std::path::Path;

use media::peer::config::{IcePolicy, IceServerKind, PeerConfig};

use super::{Finding, Look};
use crate::cli;
use crate::config::WithheldLogin;
use crate::phone::settings::Settings;

/// `config` is that of a call that begins now.
pub(super) fn check(
    settings: &Settings,
    config: &PeerConfig,
    link: &cli::Link,
    withheld: &[WithheldLogin],
) -> Vec<Finding> {
    let mut findings = vec![Look::at("settings").ok(describe(settings, config))];
    let files = [&link.password_file, &link.ice_password_file, &link.ice_secret_file, &link.key];
    let open = files.into_iter().flatten().filter(|path| is_readable_by_others(path));
    findings.extend(withheld.iter().map(|login| Look::at("settings").warning(&login.cause, login.advice)));
    findings.extend(open.map(|path| {
        Look::at("settings").warning(
            format!("{} can be read by others on this machine", path.display()),
            format!("chmod 600 {}", path.display()),
        )
    }));
    findings
}

fn describe(settings: &Settings, config: &PeerConfig) -> String {
    let link = &settings.link;
    let brokers: Vec<String> = link.brokers.iter().map(ToString::to_string).collect();
    let login = link.login.as_ref().map(|login| format!(" as {:?}", login.user)).unwrap_or_default();
    let ice: Vec<String> = config.ice_servers.iter().map(|server| server.url.to_string()).collect();
    let ice = if ice.is_empty() { "no STUN or TURN server".to_owned() } else { ice.join(", ") };
    let relay = config.ice_servers.iter().find(|server| server.url.kind == IceServerKind::Turn);
    let ice_login = relay.map(|server| format!(" as {:?}", server.username)).unwrap_or_default();
    let policy = if config.ice_policy == IcePolicy::RelayOnly { ", relay only" } else { "" };
    format!("peer {}; {}{login}; {ice}{ice_login}{policy}", link.me, brokers.join(", "))
}

#[cfg(unix)]
fn is_readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).is_ok_and(|file| file.mode() & 0o004 != 0)
}

/// Other systems have other rules, which are not known here.
#[cfg(not(unix))]
fn is_readable_by_others(_path: &Path) -> bool {
    false
}

//! What a run leaves to be looked into: events, logs, the exchange, recordings.

use std::io;
use std::path::{Path, PathBuf};

use super::super::outcome::Outcome;

/// The folder of a run: its title, in letters that any system takes.
pub(crate) fn folder(results: &Path, title: &str) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=') { c } else { '-' };
    let name: String = title.chars().map(plain).collect();
    let name = name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    results.join(name.chars().take(120).collect::<String>())
}

/// Makes the folder empty: what an earlier run left is not this one's.
///
/// # Errors
/// When the folder cannot be made.
pub(crate) fn clear(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    std::fs::create_dir_all(folder)
}

/// Writes down what was told: `PEER.events.ndjson`, `PEER.log`, `outcome.txt`, `exchange.txt`.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(folder: &Path, outcome: &Outcome) -> io::Result<()> {
    for peer in &outcome.peers {
        let events: String = peer.events.iter().map(|event| format!("{event}\n")).collect();
        std::fs::write(folder.join(format!("{}.events.ndjson", peer.name)), events)?;
        let log: String = peer.log.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(folder.join(format!("{}.log", peer.name)), log)?;
    }
    let mut text = format!("{}\n", outcome.title());
    for check in &outcome.checks {
        let mark = if check.passed { "ok    " } else { "FAILED" };
        text += &format!("{mark} {}\n", super::super::outcome::describe(check));
    }
    for fault in outcome.faults() {
        text += &format!("fault: {fault}\n");
    }
    std::fs::write(folder.join("outcome.txt"), text)?;
    match &outcome.exchange {
        Some(exchange) => std::fs::write(folder.join("exchange.txt"), exchange),
        None => Ok(()),
    }
}

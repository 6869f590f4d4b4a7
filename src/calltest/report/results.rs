//! What a run leaves to be looked into: events, logs, the exchange, recordings. Nobody but the user can read it.

use std::io;
use std::path::{Path, PathBuf};

use media::private_file;

use crate::calltest::judge::outcome::Outcome;

/// What every folder of ours has.
const OUTCOME: &str = "outcome.txt";

/// The folder of a run: its title, in letters that any system takes and that lead nowhere else.
pub(crate) fn folder(results: &Path, title: &str) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '=') { c } else { '-' };
    let name: String = title.chars().map(plain).collect();
    let name = name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    let name: String = name.chars().take(120).collect();
    results.join(if name.is_empty() { "run" } else { &name })
}

/// The folder of a run, beside those that others of its title have.
pub(crate) fn free_folder(results: &Path, title: &str, taken: &[PathBuf]) -> PathBuf {
    let first = folder(results, title);
    let name = first.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut others = (2..).map(|n: usize| results.join(format!("{name}-{n}")));
    if taken.contains(&first) { others.find(|folder| !taken.contains(folder)).unwrap_or(first) } else { first }
}

/// Makes the folder empty: what an earlier run left is not this one's. A folder that no run left stays as it is.
///
/// # Errors
/// When the folder cannot be made, or holds what is not ours.
pub(crate) fn clear(folder: &Path) -> io::Result<()> {
    match std::fs::read_dir(folder).map(Iterator::count) {
        Ok(entries) if entries == 0 || folder.join(OUTCOME).is_file() => std::fs::remove_dir_all(folder)?,
        Ok(_) => {
            return Err(io::Error::other("it holds other files; name another folder for results with --results"));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    private_file::create_folder(folder)?;
    private_file::write(&folder.join(OUTCOME), "this run has not come to its end\n")
}

/// Writes down what was told: `PEER.events.ndjson`, `PEER.log`, `outcome.txt`, `exchange.txt`.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(folder: &Path, outcome: &Outcome) -> io::Result<()> {
    for peer in &outcome.peers {
        let events: String = peer.events.iter().map(|event| format!("{event}\n")).collect();
        private_file::write(&folder.join(format!("{}.events.ndjson", peer.name)), events)?;
        let log: String = peer.log.iter().map(|line| format!("{line}\n")).collect();
        private_file::write(&folder.join(format!("{}.log", peer.name)), log)?;
    }
    let mut text = format!("{}\n", outcome.title());
    for check in &outcome.checks {
        let mark = if check.passed { "ok    " } else { "FAILED" };
        text += &format!("{mark} {}\n", crate::calltest::judge::outcome::describe(check));
    }
    for trouble in outcome.troubles() {
        text += &format!("fault: {trouble}\n");
    }
    private_file::write(&folder.join(OUTCOME), text)?;
    match &outcome.exchange {
        Some(exchange) => private_file::write(&folder.join("exchange.txt"), exchange),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_title_leads_nowhere_but_into_the_results() {
        for (title, name) in [
            ("hold [codec=vp8] 2/3", "hold-codec=vp8-2-3"),
            ("..", "run"),
            ("../../etc/passwd", "etc-passwd"),
            ("/", "run"),
            ("v1.2", "v1-2"),
        ] {
            assert_eq!(folder(Path::new("results"), title), Path::new("results").join(name));
        }
        let taken = [Path::new("r/same").to_owned(), Path::new("r/same-2").to_owned()];
        assert_eq!(free_folder(Path::new("r"), "same", &taken), Path::new("r/same-3"));
        let long = "x".repeat(500);
        let first = free_folder(Path::new("r"), &long, &[]);
        assert_ne!(free_folder(Path::new("r"), &long, std::slice::from_ref(&first)), first);
    }

    #[test]
    fn what_no_run_left_is_not_removed() {
        let folder = std::env::temp_dir().join(format!("tring-results-{}", std::process::id()));
        clear(&folder).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join(OUTCOME))), (0o700, 0o600));
        std::fs::write(folder.join("a.log"), "x").unwrap();
        clear(&folder).unwrap();
        assert!(!folder.join("a.log").exists(), "an earlier run's");
        std::fs::remove_file(folder.join(OUTCOME)).unwrap();
        std::fs::write(folder.join("thesis.tex"), "x").unwrap();
        let error = clear(&folder).unwrap_err();
        assert!(error.to_string().contains("--results") && folder.join("thesis.tex").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

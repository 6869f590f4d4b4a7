//! A corpus once more, without libFuzzer: each file of a target through its target.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs each file of `corpus/NAME`; panics with the names of those in which something does not hold.
#[expect(clippy::print_stderr, reason = "how much was replayed is part of the test's result")]
pub(crate) fn replay(name: &str, run: fn(&[u8])) {
    let files = files_of(name);
    let panics = count_panics();
    let mut broken = Vec::new();
    for file in &files {
        let bytes = fs::read(file).unwrap_or_else(|error| panic!("{} cannot be read: {error}", file.display()));
        let before = panics.load(Ordering::SeqCst);
        // A task of a runtime panics by itself: only the count tells.
        let unwound = catch_unwind(AssertUnwindSafe(|| run(&bytes))).is_err();
        if unwound || panics.load(Ordering::SeqCst) > before {
            broken.push(file.display().to_string());
        }
    }
    assert!(broken.is_empty(), "{} of {} files of {name}: {broken:#?}", broken.len(), files.len());
    eprintln!("{name}: {} files replayed", files.len());
}

fn files_of(name: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()));
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a folder can be listed to its end").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

/// Counts panics from now on, wherever they happen, and reports them as before.
fn count_panics() -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let (counted, report) = (Arc::clone(&count), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        counted.fetch_add(1, Ordering::SeqCst);
        report(info);
    }));
    count
}

//! The rooms of the program, as a table, and the test that holds the sources to it: arrows run one way, and no files
//! import each other in a circle.

#[path = "../media/src/house/reader.rs"]
mod reader;

use std::path::Path;

use reader::{House, sources};

/// See the module. A room may import those on floors below its own.
const PROGRAM: House<'_> = House {
    floors: &[
        // One file a command.
        &["commands"],
        // Everything that tests calls.
        &["calltest"],
        // Looks for what keeps calls from working.
        &["diagnose"],
        // What a call needs.
        &["phone"],
        // Layers of settings.
        &["config"],
        // What the program tells, and how it ends.
        &["output"],
        // What may be typed.
        &["cli"],
        // A broker and a TURN server of our own.
        &["servers"],
        // What the machine gives.
        &["platform"],
    ],
    crates: &[],
    strict: &[],
    upwards: &[],
};

#[test]
fn the_arrows_of_the_program_run_one_way() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    assert!(sources.len() > 100, "the sources are elsewhere");
    let faults = PROGRAM.faults(&sources);
    assert!(faults.is_empty(), "{} faults, files below src:\n{}", faults.len(), faults.join("\n"));
}

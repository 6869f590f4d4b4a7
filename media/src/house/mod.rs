//! The rooms of this crate, as a table, and the test that holds the sources to it.
//!
//! The arrows run one way: a room imports rooms on floors below its own. No two files import each other, by whatever way
//! round. The engine's crates stay in the engine's room.

mod reader;

use std::path::Path;

use reader::{House, Source, sources};

/// See the module.
const MEDIA: House<'_> = House {
    floors: &[
        // Threads of one call; what the program sees of the peer connection.
        &["call"],
        &["peer"],
        // The only room that knows the engine: sockets, tracks, tasks.
        &["engine"],
        // What is decided about a call's transport: pure.
        &["send", "receive", "path"],
        &["congestion", "sdp"],
        &["rtp"],
        // The bad network.
        &["impair"],
        // What is done with media, and what it is measured by.
        &["snapshot", "record", "playout", "devices", "quality"],
        &["stats"],
        // Sources and sinks.
        &["capture", "display"],
        // What they are made of.
        &["codec", "container", "sound", "voice"],
        &["existing", "patience", "private_file", "scale", "threads"],
        &["clock", "frame", "queue"],
    ],
    crates: &[("rtc", "engine"), ("webrtc", "engine")],
    strict: &["peer", "engine", "send", "receive", "path", "congestion", "sdp", "rtp", "impair"],
    upwards: &[],
};

#[test]
fn the_arrows_of_this_crate_run_one_way() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    assert!(sources.len() > 100, "the sources are elsewhere");
    let faults = MEDIA.faults(&sources);
    assert!(faults.is_empty(), "{} faults, files below media/src:\n{}", faults.len(), faults.join("\n"));
}

/// A house of two floors: `top`, and `left` beside `right`.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let house = House {
        floors: &[&["top"], &["left", "right"]],
        crates: &[("engine_crate", "top")],
        strict: &["top"],
        upwards: &[("left/known.rs", "top")],
    };
    let source = |(path, text): &(&str, &str)| Source { path: (*path).to_owned(), text: (*text).to_owned() };
    house.faults(&files.iter().map(source).collect::<Vec<_>>())
}

#[test]
fn imports_downwards_and_within_a_room_are_right() {
    let files = [
        ("top/mod.rs", "pub(crate) mod a;\nmod b;\npub use a::Thing;\nuse crate::left::X;\nuse engine_crate::Y;\n"),
        ("top/a.rs", "use super::b::Z;\n"),
        ("top/b.rs", "use std::io;\n// crate::top::a::Thing in words\n"),
        ("left.rs", "use ::other::top;\n"),
        ("left/known.rs", "use crate::top::Thing;\n"),
    ];
    assert_eq!(faults(&files), Vec::<String>::new());
}

#[test]
fn imports_upwards_and_aside_are_told() {
    let files = [
        ("top.rs", ""),
        ("left/mod.rs", "\nuse crate::{\n    right::X,\n    top::{Y, Z as Q},\n};\n"),
        ("right/deep.rs", "fn f() -> super::super::top::Y {\n    crate::left::f()\n}\n"),
    ];
    assert_eq!(
        faults(&files),
        [
            "left/mod.rs:2: `left` imports `right`, which is beside it (crate::right::X)",
            "left/mod.rs:2: `left` imports `top`, which is above it (crate::top::Y)",
            "left/mod.rs:2: `left` imports `top`, which is above it (crate::top::Z)",
            "right/deep.rs:1: `right` imports `top`, which is above it (crate::top::Y)",
            "right/deep.rs:2: `right` imports `left`, which is beside it (crate::left::f)",
        ]
    );
}

#[test]
fn circles_of_files_are_told_through_re_exports_too() {
    let files = [
        ("top/mod.rs", "mod a;\nmod b;\nmod c;\npub use b::B;\n"),
        ("top/a.rs", "use super::B;\n"),
        ("top/b.rs", "use super::c::C;\n"),
        ("top/c.rs", "\nfn f(a: crate::top::a::A) {}\n"),
    ];
    assert_eq!(faults(&files), ["circle of files: top/a.rs:1 → top/b.rs:1 → top/c.rs:2 → top/a.rs"]);
    let parent_and_child = |room| {
        let (parent, child) = (format!("{room}/mod.rs"), format!("{room}/a.rs"));
        faults(&[(&parent, "mod a;\nuse a::A;\n"), (&child, "use super::Own;\n")])
    };
    assert_eq!(parent_and_child("top"), ["circle of files: top/mod.rs:2 → top/a.rs:1 → top/mod.rs"]);
    assert_eq!(parent_and_child("left"), Vec::<String>::new(), "not a strict room");
}

#[test]
fn a_crate_outside_its_room_is_told() {
    let files = [("left.rs", "use engine_crate::X;\nuse my_engine_crate::X;\nfn f(x: engine_crate::Y) {}\n")];
    assert_eq!(
        faults(&files),
        ["left.rs:1: `engine_crate` belongs to `top` alone", "left.rs:3: `engine_crate` belongs to `top` alone"]
    );
}

#[test]
fn a_room_without_a_floor_is_told() {
    let files = [("attic.rs", "use crate::left::X;\n"), ("top.rs", "use crate::cellar::X;\n")];
    assert_eq!(
        faults(&files),
        [
            "attic.rs:1: the table of rooms does not name `attic`; give it a floor",
            "top.rs:1: the table of rooms does not name `cellar`; give it a floor"
        ]
    );
}

#[test]
fn tests_may_import_what_they_like() {
    let left = "#[cfg(test)]\nuse crate::top::X;\n#[cfg(test)]\nimpl Y {\n    fn f(x: crate::top::X) {}\n}\n\
        #[cfg(test)]\nmod tests {\n    use crate::top::X;\n    use engine_crate::X;\n}\n";
    let up = "use crate::top::X;\n";
    let files = [
        ("left.rs", left),
        ("left/tests.rs", up),
        ("left/a_tests.rs", up),
        ("lib.rs", "mod left;\n#[cfg(test)]\nmod checks;\nmod top;\n"),
        ("checks/mod.rs", up),
        ("checks/more.rs", up),
    ];
    assert_eq!(faults(&files), Vec::<String>::new());
    let after = format!("{left}use crate::top::X;\n");
    assert_eq!(faults(&[("left.rs", &after)]).len(), 1, "code goes on after them");
}

//! What strangers may send, made up by libFuzzer: the entry of `./dev fuzz`.
//!
//! - [`targets`]: what is done with the bytes, and what must hold; the tests replay the corpus through the same code
//! - `corpus/NAME/`: where a run begins, and what it found
//!
//! One program for all targets, so that there is one to build; `FUZZ_TARGET` names the one that runs.

#![no_main]

mod targets;

use std::sync::OnceLock;

static TARGET: OnceLock<targets::Run> = OnceLock::new();

fn chosen() -> targets::Run {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    targets::named(&name)
        .unwrap_or_else(|| panic!("no fuzz target {name:?}; FUZZ_TARGET names one of tests/fuzz/corpus"))
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let run = *TARGET.get_or_init(chosen);
    run(data);
});

//! Scenarios that come with the program: `tring test NAME`.

/// A scenario by its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    pub(crate) source: &'static str,
}

macro_rules! ready {
    ($($name:literal),+ $(,)?) => {
        &[$(BuiltIn { name: $name, source: include_str!(concat!("../../../tests/scenarios/", $name, ".toml")) }),+]
    };
}

/// All of them, the first to try first.
pub(crate) const BUILT_IN: &[BuiltIn] = ready![
    "smoke",
    "relay-only",
    "codecs",
    "busy",
    "declined",
    "no-answer",
    "offline",
    "glare",
    "hold",
    "media-change",
    "broker-restart",
    "relay-restart",
    "reconnect",
    "delay",
    "loss",
    "loss-10",
    "narrow-line",
    "rate-step",
    "stall",
    "soak",
];

/// The one of this name.
pub(crate) fn named(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|ready| ready.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::calltest::scenario::document::{self, Surroundings};
    use crate::calltest::scenario::script;
    use crate::config::CallOptions;

    #[test]
    fn each_reads_and_says_what_it_shows() {
        let options = CallOptions::new();
        let around = Surroundings { set: &BTreeMap::new(), environment: &|_| None };
        for ready in BUILT_IN {
            let variants =
                document::read(ready.source, &around).unwrap_or_else(|error| panic!("{}: {error}", ready.name));
            for variant in variants {
                let scenario = script::read(variant, ready.name, Path::new("."), &options);
                let scenario = scenario.unwrap_or_else(|error| panic!("{}: {error}", ready.name));
                assert_eq!(scenario.name, ready.name, "the name of the file is the name to call it by");
                assert!(!scenario.description.is_empty() && !scenario.tags.is_empty(), "{}", ready.name);
            }
        }
    }

    #[test]
    fn none_is_forgotten() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let mut names: Vec<_> = files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        let mut listed: Vec<_> = BUILT_IN.iter().map(|ready| ready.name.to_owned()).collect();
        names.sort();
        listed.sort();
        assert_eq!(names, listed);
    }
}

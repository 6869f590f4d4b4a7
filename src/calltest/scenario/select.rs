//! Which scenarios are run: files, folders and ready ones, by name and by tag.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::{self, Surroundings, Variant};
use super::script::{self, Scenario};
use super::secrets::Secrets;
use crate::calltest::scenario::built_in::{self, BUILT_IN};
use crate::config::CallOptions;
use crate::output::exit::Failure;

/// Largest scenario file: ten times what anybody writes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Files taken of one folder.
const FILES_MAX: usize = 1000;

/// Finds and reads what was named; the ready ones where nothing was.
///
/// # Errors
/// A usage [`Failure`] that says which file is wrong, and where.
pub(crate) fn find(
    named: &[String],
    set: &[(String, String)],
    options: &CallOptions,
) -> Result<Vec<Scenario>, Failure> {
    let set: BTreeMap<String, String> = set.iter().cloned().collect();
    let mut scenarios = Vec::new();
    if named.is_empty() {
        for ready in BUILT_IN {
            scenarios.extend(read(ready.source, ready.name, Path::new("."), &set, options)?);
        }
    }
    for name in named {
        let path = Path::new(name);
        if path.is_dir() {
            for file in files(path)? {
                scenarios.extend(read_file(&file, &set, options)?);
            }
        } else if path.is_file() {
            scenarios.extend(read_file(path, &set, options)?);
        } else if let Some(ready) = built_in::named(name) {
            scenarios.extend(read(ready.source, ready.name, Path::new("."), &set, options)?);
        } else {
            let known = crate::calltest::judge::expect::unknown(
                "ready scenario",
                name,
                BUILT_IN.iter().map(|ready| ready.name),
            );
            return Err(Failure::usage(format!("{name} is no file and no folder, and {known}; see tring test --list")));
        }
    }
    Ok(scenarios)
}

/// Scenario files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let wrong = |error: std::io::Error| Failure::usage(format!("cannot read the folder {}: {error}", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(wrong)?.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    let is_scenario = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml") && path.is_file();
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_scenario).collect();
    files.sort();
    if files.is_empty() || files.len() > FILES_MAX {
        return Err(Failure::usage(format!("{} has {} scenarios (*.toml)", folder.display(), files.len())));
    }
    Ok(files)
}

fn read_file(path: &Path, set: &BTreeMap<String, String>, options: &CallOptions) -> Result<Vec<Scenario>, Failure> {
    let wrong = |reason: &dyn std::fmt::Display| Failure::usage(format!("{}: {reason}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| wrong(&error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(wrong(&"too large for a scenario"));
    }
    let source = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = std::path::absolute(path).map_err(|error| wrong(&error))?;
    let folder = folder.parent().unwrap_or(Path::new("/")).to_owned();
    of(&source, &name, &folder, set, options).map_err(|error| wrong(&error))
}

fn read(
    source: &str,
    name: &str,
    folder: &Path,
    set: &BTreeMap<String, String>,
    options: &CallOptions,
) -> Result<Vec<Scenario>, Failure> {
    of(source, name, folder, set, options).map_err(|error| Failure::usage(format!("{name}: {error}")))
}

fn of(
    source: &str,
    name: &str,
    folder: &Path,
    set: &BTreeMap<String, String>,
    options: &CallOptions,
) -> Result<Vec<Scenario>, String> {
    let around = Surroundings { set, environment: &|name| std::env::var(name).ok() };
    let variants = document::read(source, &around)?;
    let of_variant = |variant: Variant| {
        let secrets = Secrets::new(&variant.secrets);
        let hidden = |mut text: String| {
            secrets.hide(&mut text);
            text
        };
        let mut scenario = script::read(variant, name, folder, options).map_err(hidden)?;
        // These are printed, and name the folder of its results.
        scenario.name = hidden(scenario.name);
        scenario.description = hidden(scenario.description);
        scenario.tags = scenario.tags.into_iter().map(&hidden).collect();
        Ok(scenario)
    };
    variants.into_iter().map(of_variant).collect()
}

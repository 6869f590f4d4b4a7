//! Settings in layers: command line > `TRING_…` environment > profile of the settings file > top of that file >
//! built-in default.
//!
//! - [`definition`]: clap's definition of the command line is the only list of settings, and is equipped for them here
//! - [`mod@file`]: the settings file, from TOML to values with their lines
//! - [`layers`]: the layer each setting is taken from, and what gives way to a rival of a higher layer
//! - [`binding`]: which servers a login was given for; no other gets it
//! - [`secret`]: secrets, and the files that hold them
//! - [`in_force`]: what came of it, as `tring config` shows it
//! - [`options`]: options of calls in files of another kind
//!
//! The command line is read twice. The first look checks no value and tells the command, the settings file and which
//! options were typed. For the second, which counts, the values of the lower layers stand in the definition as
//! defaults, so that one parser judges them all.

pub(crate) mod binding;
mod definition;
mod file;
mod in_force;
mod layers;
mod options;
pub(crate) mod secret;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, FromArgMatches as _};

use crate::cli::Cli;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::streams;
use definition::{CONFIG, PROFILE};
use file::{Document, Place};
use layers::Layers;
use values::{Table, Typed};

pub(crate) use definition::{command, command_alone};
pub(crate) use in_force::{InForce, Setting, WithheldLogin, explained};
pub(crate) use options::{CallCommand, CallOptions, Form, Inherited};
pub(crate) use values::Origin;

/// The command line with all layers below it.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) cli: Cli,
    pub(crate) in_force: InForce,
}

/// Why there is no command to run.
#[derive(Debug)]
enum Stop {
    /// The command line itself; also `--help` and its like.
    Typing(clap::Error),
    /// Another layer.
    Settings(String),
}

impl From<clap::Error> for Stop {
    fn from(error: clap::Error) -> Self {
        Self::Typing(error)
    }
}

/// What surrounds the program.
type Variables = BTreeMap<OsString, OsString>;

/// What reading the command line came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A command to run.
    Command(Box<Parsed>),
    /// Help was shown, or what is wrong with the command line.
    Over(ExitStatus),
}

/// Reads the command line and all layers below it; shows help, and what is wrong with what was typed.
///
/// # Errors
/// When the environment or the settings file is wrong, with what to do about it.
pub(crate) fn parse() -> Result<Outcome, Failure> {
    match parse_from(&std::env::args_os().collect::<Vec<_>>(), &std::env::vars_os().collect()) {
        Ok(parsed) => Ok(Outcome::Command(Box::new(parsed))),
        Err(Stop::Typing(error)) => Ok(Outcome::Over(show(&error))),
        Err(Stop::Settings(text)) => Err(Failure::usage(text)),
    }
}

/// Shows help on standard output, a wrong command line on standard error.
fn show(error: &clap::Error) -> ExitStatus {
    let text = error.render();
    let is_terminal =
        if error.use_stderr() { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
    let has_colours = is_terminal && std::env::var_os("NO_COLOR").is_none();
    let text = if has_colours { text.ansi().to_string() } else { text.to_string() };
    streams::show(&text, error.use_stderr());
    if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Done }
}

fn parse_from(arguments: &[OsString], variables: &Variables) -> Result<Parsed, Stop> {
    let definition = command();
    let look = FirstLook::at(&definition, arguments, variables)?;
    let leaf = definition::find(&definition, &look.command);
    look.refuse_secrets(leaf).map_err(Stop::Settings)?;
    let source = Source::find(&look, leaf, &definition, variables).map_err(Stop::Settings)?;
    let tables = source.tables().map_err(Stop::Settings)?;
    let (contacts, file) = (&source.document.contacts, source.words());
    let layers = Layers::choose(leaf, &look.typed, variables, &tables, contacts, &file).map_err(Stop::Settings)?;
    let mut apply = |leaf: Command| layers.apply(leaf, contacts);
    let matches = definition::change(definition.clone(), &look.command, &mut apply).try_get_matches_from(arguments)?;
    let in_force = InForce::new(leaf, innermost(&matches).1, &layers, &source);
    Ok(Parsed { cli: Cli::from_arg_matches(&matches)?, in_force })
}

/// What the command line says before any value is checked.
struct FirstLook {
    /// the names on the way to the command
    command: Vec<String>,
    typed: Typed,
    file: Option<PathBuf>,
    profile: Option<String>,
}

impl FirstLook {
    fn at(definition: &Command, arguments: &[OsString], variables: &Variables) -> Result<Self, clap::Error> {
        let relaxed = definition::relaxed(definition.clone());
        let matches = match relaxed.try_get_matches_from(arguments) {
            Ok(matches) => matches,
            // The definition as it is explains the same fault better.
            Err(error) => return Err(definition.clone().try_get_matches_from(arguments).err().unwrap_or(error)),
        };
        let (command, leaf) = innermost(&matches);
        let is_typed = |id: &&clap::Id| leaf.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        let values = |id: &clap::Id| leaf.get_raw(id.as_str()).into_iter().flatten().map(OsStr::to_owned).collect();
        let typed = leaf.ids().filter(is_typed).map(|id| (id.as_str().to_owned(), values(id))).collect();
        let named = |id: &str, variable: &str| {
            let typed = leaf.try_get_one::<OsString>(id).ok().flatten();
            typed.or_else(|| variables.get(OsStr::new(variable))).cloned()
        };
        Ok(Self {
            command,
            typed,
            file: named(CONFIG, "TRING_CONFIG").map(PathBuf::from),
            profile: named(PROFILE, "TRING_PROFILE").map(|name| name.to_string_lossy().into_owned()),
        })
    }

    /// What is typed is in the list of processes and in the shell's history.
    fn refuse_secrets(&self, leaf: &Command) -> Result<(), String> {
        let mut secrets = definition::settings(leaf).filter(|arg| definition::is_secret(arg));
        match secrets.find(|arg| self.typed.contains_key(arg.get_id().as_str())) {
            Some(arg) => {
                let (key, variable) = (arg.get_long().unwrap_or_default(), arg.get_env().unwrap_or_default());
                Err(format!(
                    "--{key} would show it to every program on this machine; pass --{key}-file, or {} in the environment",
                    variable.to_string_lossy()
                ))
            }
            None => Ok(()),
        }
    }
}

/// The settings file that counts, and its profile.
#[derive(Debug, Default)]
struct Source {
    path: Option<PathBuf>,
    found: bool,
    document: Document,
    profile: Option<String>,
}

impl Source {
    fn find(look: &FirstLook, leaf: &Command, definition: &Command, variables: &Variables) -> Result<Self, String> {
        if !definition::takes_settings(leaf) {
            return Ok(Self::default());
        }
        let folder = |variable: &str| {
            let folder = variables.get(OsStr::new(variable)).map(PathBuf::from);
            folder.filter(|folder| folder.is_absolute())
        };
        let home = folder("HOME");
        let standard = folder("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        let path = look.file.clone().or_else(|| standard.map(|folder| folder.join("tring/config.toml")));
        let is_config = look.command.iter().eq([CONFIG]);
        if is_config && definition::OWN.iter().any(|id| look.typed.contains_key(*id)) {
            return Ok(Self { path, ..Self::default() });
        }
        let mut source = Self { path, ..Self::default() };
        if let Some(path) = &source.path
            && let Some(text) = read(path, look.file.is_some())?
        {
            let place = Place { path, home: home.as_deref() };
            let settings = definition::by_key(definition);
            source.document = Document::parse(&text, place, &settings).map_err(|error| error.to_string())?;
            source.found = true;
        }
        source.profile = look.profile.clone().or_else(|| source.document.default_profile().map(str::to_owned));
        Ok(source)
    }

    /// The tables in force, the one that goes first in front.
    fn tables(&self) -> Result<Vec<&Table>, String> {
        match &self.profile {
            Some(profile) if !self.found => {
                Err(format!("there is no profile {profile:?}, since there is no settings file: {}", self.words()))
            }
            profile => {
                let tables = self.document.tables(profile.as_deref());
                tables.map_err(|text| format!("{}: {text}", self.words()))
            }
        }
    }

    fn words(&self) -> String {
        self.path.as_deref().map_or_else(|| "no settings file".to_owned(), |path| path.display().to_string())
    }
}

/// The text of the settings file; a missing one is an error only where somebody named it.
fn read(path: &Path, named: bool) -> Result<Option<String>, String> {
    if path.as_os_str().is_empty() {
        return Err("--config or TRING_CONFIG names no file; /dev/null stands for no settings".to_owned());
    }
    match file::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if !named && [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
        Err(error) => Err(format!("cannot read the settings file {}: {error}", path.display())),
    }
}

/// The names on the way to the command that was typed, and what was typed there.
fn innermost(matches: &ArgMatches) -> (Vec<String>, &ArgMatches) {
    let (mut names, mut leaf) = (Vec::new(), matches);
    while let Some((name, inner)) = leaf.subcommand() {
        names.push(name.to_owned());
        leaf = inner;
    }
    (names, leaf)
}

//! What clap's definition of the command line says of settings, and what it is given for them.
//!
//! A setting is an option with a long name of a command that talks to a broker; its key in the settings file is that
//! name. There is no other list: a new option is a setting, with a `TRING_…` variable, as soon as `cli.rs` has it.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, Resettable, ValueHint};
use clap::{Arg, ArgAction, Command, CommandFactory as _};
use signalling::id::PeerId;

use super::values::Contacts;
use crate::cli::Cli;

/// The option that names the settings file, and the command that shows what is in force.
pub(super) const CONFIG: &str = "config";

/// The option that names the profile.
pub(super) const PROFILE: &str = "profile";

/// Options of `tring config` itself, which show something else than settings and so need no settings file.
pub(super) const OWN: [&str; 2] = ["path", "example"];

/// Options of one run alone, which no file and no variable stands for: what is shown instead, what is set for a scenario.
const OF_ONE_RUN: [&str; 8] = ["list", "print", "schema", "set", "tag", "repeat", "keep", "record_all"];

/// Every command with this option talks to a broker.
const BROKER: &str = "broker";

/// Variables with a meaning of their own, which no option gets.
const TAKEN: [&str; 1] = ["TRING_LOG"];

/// What a value of a setting looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Switch,
    Number,
    Text,
}

/// The command line as it is typed: what `cli.rs` says, a variable for each setting, switches that can be turned off,
/// `--config` and `--profile`. `tring config` takes the settings of all commands.
pub(crate) fn command() -> Command {
    let command = equip(Cli::command());
    let mut all = BTreeMap::new();
    collect(&command, &mut all);
    let settings: Vec<Arg> = all.into_values().map(|arg| arg.required(false).hide(true)).collect();
    change(command, &[CONFIG.to_owned()], &mut |config| config.args(settings.clone()).args(source_options()))
}

/// The same without what stands in the environment: for arguments that somebody else wrote.
pub(crate) fn command_alone() -> Command {
    fn without_variables(command: Command) -> Command {
        let command = command.mut_args(|arg| arg.env(Resettable::<clap::builder::OsStr>::Reset));
        command.mut_subcommands(without_variables)
    }
    without_variables(command())
}

/// Options of this command that are settings.
pub(super) fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_setting = |arg: &&Arg| arg.get_long().is_some() && !arg.is_global_set();
    let is_other = |arg: &&Arg| [CONFIG, PROFILE].iter().chain(&OWN).chain(&OF_ONE_RUN).any(|id| arg.get_id() == id);
    command.get_arguments().filter(is_setting).filter(move |arg| !is_other(arg))
}

/// The settings of all commands, by key.
pub(super) fn by_key(definition: &Command) -> BTreeMap<String, Arg> {
    let mut all = BTreeMap::new();
    collect(definition, &mut all);
    all
}

/// True for a command whose options can come from the settings file.
pub(super) fn takes_settings(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == BROKER)
}

/// The command that was typed, from the names on the way to it.
pub(super) fn find<'a>(definition: &'a Command, names: &[String]) -> &'a Command {
    names.iter().fold(definition, |command, name| command.find_subcommand(name).unwrap_or(command))
}

/// Changes the command of these names; the others keep their places in the help.
pub(super) fn change(command: Command, names: &[String], how: &mut dyn FnMut(Command) -> Command) -> Command {
    match names.split_first() {
        Some((first, rest)) => command.mut_subcommands(|inner| {
            let is_meant = inner.get_name() == first;
            if is_meant { change(inner, rest, how) } else { inner }
        }),
        None => how(command),
    }
}

/// The same syntax without any check of values, for a first look at what was typed.
pub(super) fn relaxed(command: Command) -> Command {
    let relax = |arg: Arg| match arg.get_action() {
        ArgAction::Set | ArgAction::Append => {
            free(arg).required(false).value_parser(clap::value_parser!(OsString)).value_hint(ValueHint::Unknown)
        }
        _ => free(arg),
    };
    command.mut_args(relax).mut_subcommands(relaxed)
}

/// The argument without its variable, and without what it demands of others.
pub(super) fn free(arg: Arg) -> Arg {
    let arg = arg.conflicts_with(Resettable::<clap::Id>::Reset).requires(Resettable::<clap::Id>::Reset);
    arg.env(Resettable::<clap::builder::OsStr>::Reset)
}

/// The argument, where it names a peer, taking nicks too. A nick goes before an ID of the same letters.
pub(super) fn knowing(arg: Arg, contacts: &Contacts) -> Arg {
    let names_a_peer = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "PEER"));
    if contacts.is_empty() || !names_a_peer || arg.get_value_parser().type_id() != TypeId::of::<PeerId>() {
        return arg;
    }
    let contacts = contacts.clone();
    arg.value_parser(move |text: &str| contacts.get(text).cloned().map_or_else(|| text.parse::<PeerId>(), Ok))
}

/// Why this value cannot be that of the option; `None` when it can.
pub(super) fn complaint(arg: &Arg, value: &OsStr) -> Option<String> {
    let arg = free(arg.clone()).required(false).default_values(Vec::<OsString>::new());
    let mut typed = OsString::from(format!("--{}=", arg.get_long()?));
    typed.push(value);
    let error = Command::new("value").no_binary_name(true).arg(arg).try_get_matches_from([typed]).err()?;
    if let Some(source) = std::error::Error::source(&error) {
        return Some(source.to_string());
    }
    let text = error.to_string();
    let words = text.lines().map(str::trim).take_while(|line| !line.starts_with("For more information"));
    let words = words.filter(|line| !line.is_empty()).collect::<Vec<&str>>().join(" ");
    Some(words.trim_start_matches("error: ").to_owned())
}

pub(super) fn kind(arg: &Arg) -> Kind {
    let id = arg.get_value_parser().type_id();
    let numbers = [
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
        TypeId::of::<i32>(),
        TypeId::of::<i64>(),
        TypeId::of::<f32>(),
        TypeId::of::<f64>(),
    ];
    if id == TypeId::of::<bool>() {
        Kind::Switch
    } else if numbers.iter().any(|number| id == *number) {
        Kind::Number
    } else {
        Kind::Text
    }
}

/// True where several values are taken.
pub(super) fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

pub(super) fn is_path(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<PathBuf>()
}

/// True for a password and its like: neither typed, nor in the settings file, nor shown.
pub(super) fn is_secret(arg: &Arg) -> bool {
    arg.is_hide_env_values_set()
}

/// True where only one of the two can hold.
pub(super) fn are_rivals(command: &Command, one: &Arg, other: &Arg) -> bool {
    let names = |one: &Arg, other: &Arg| {
        command.get_arg_conflicts_with(one).iter().any(|rival| rival.get_id() == other.get_id())
    };
    names(one, other) || names(other, one)
}

fn equip(command: Command) -> Command {
    let command = command.mut_subcommands(equip);
    if takes_settings(&command) { command.mut_args(as_setting).args(source_options()) } else { command }
}

fn collect(command: &Command, all: &mut BTreeMap<String, Arg>) {
    if takes_settings(command) {
        for arg in settings(command) {
            let key = arg.get_long().unwrap_or_default().to_owned();
            all.entry(key).or_insert_with(|| arg.clone());
        }
    }
    command.get_subcommands().for_each(|inner| collect(inner, all));
}

fn as_setting(arg: Arg) -> Arg {
    if OF_ONE_RUN.iter().any(|id| arg.get_id() == id) {
        return arg;
    }
    let Some(variable) = arg.get_long().filter(|_| !arg.is_global_set()).map(variable) else { return arg };
    let arg = match arg.get_action() {
        ArgAction::SetTrue => switch(arg),
        // A variable holds one text, whatever the option takes.
        ArgAction::Append if arg.get_value_delimiter().is_none() => arg.value_delimiter(','),
        _ => arg,
    };
    if arg.get_env().is_some() || TAKEN.contains(&variable.as_str()) { arg } else { arg.env(variable) }
}

/// A flag that can also be said to be off, since a lower layer may have it on.
fn switch(arg: Arg) -> Arg {
    let arg = arg.action(ArgAction::Set).value_parser(BoolishValueParser::new()).value_name("true|false");
    let arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true").default_value("false");
    arg.hide_default_value(true).hide_possible_values(true)
}

pub(super) fn variable(long: &str) -> String {
    format!("TRING_{}", long.to_uppercase().replace('-', "_"))
}

fn source_options() -> [Arg; 2] {
    [
        Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .env(variable(CONFIG))
            .help("Settings file [default: tring/config.toml in XDG_CONFIG_HOME or ~/.config]")
            .help_heading("Settings"),
        Arg::new(PROFILE)
            .long(PROFILE)
            .value_name("NAME")
            .env(variable(PROFILE))
            .help("Profile of the settings file [default: its default-profile]")
            .help_heading("Settings"),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_equipped_definition_holds_together() {
        command().debug_assert();
        relaxed(command()).debug_assert();
    }

    #[test]
    fn a_key_means_the_same_in_every_command() {
        fn look(command: &Command, seen: &mut BTreeMap<String, (Kind, bool, bool)>) {
            if takes_settings(command) {
                for arg in settings(command) {
                    let key = arg.get_long().unwrap().to_owned();
                    let means = (kind(arg), is_list(arg), is_path(arg));
                    assert_eq!(*seen.entry(key.clone()).or_insert(means), means, "{key}");
                }
            }
            command.get_subcommands().for_each(|inner| look(inner, seen));
        }
        let mut seen = BTreeMap::new();
        look(&command(), &mut seen);
        assert_eq!(seen["relay-only"], (Kind::Switch, false, false));
        assert_eq!(seen["fps"], (Kind::Number, false, false));
        assert_eq!(seen["broker"], (Kind::Text, true, false));
        assert_eq!(seen["ca-file"], (Kind::Text, false, true));
        for key in ["default-profile", "profile", "contacts", "config", "path", "example"] {
            assert!(!seen.contains_key(key), "{key} has a meaning of its own");
        }
    }

    #[test]
    fn every_setting_has_a_variable_of_its_own() {
        let mut taken: BTreeSet<String> = TAKEN.map(str::to_owned).into();
        for (key, arg) in by_key(&command()) {
            let variable = arg.get_env().unwrap_or_else(|| panic!("{key} has no variable"));
            assert!(taken.insert(variable.to_str().unwrap().to_owned()), "{key}: {variable:?} is taken");
        }
    }

    #[test]
    fn values_are_judged_one_by_one() {
        let all = by_key(&command());
        assert_eq!(complaint(&all["size"], "640x480".as_ref()), None);
        assert_eq!(complaint(&all["cert"], "a.crt".as_ref()), None);
        assert_eq!(complaint(&all["broker"], "mqtt://a,mqtt://b".as_ref()), None);
        assert!(complaint(&all["size"], "huge".as_ref()).unwrap().contains("WIDTHxHEIGHT"));
        assert!(complaint(&all["fps"], "99".as_ref()).unwrap().contains("60"));
        assert!(complaint(&all["answer"], "never".as_ref()).unwrap().contains("reject"));
        assert!(complaint(&all["relay-only"], "perhaps".as_ref()).is_some());
    }
}

//! Which layer each setting is taken from, and which settings give way to a rival of a higher one. Pure.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::builder::Resettable;
use clap::{Arg, Command};

use super::definition::{self, Typed};
use super::file::{Contacts, Table};

/// Where a value comes from; what comes later here gives way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Variable(String),
    Profile { name: String, line: usize },
    Top { line: usize },
    Default,
}

impl Origin {
    const fn rank(&self) -> u8 {
        match self {
            Self::Flag => 0,
            Self::Variable(_) => 1,
            Self::Profile { .. } => 2,
            Self::Top { .. } => 3,
            Self::Default => 4,
        }
    }

    /// As `tring config` and errors say it.
    pub(crate) fn words(&self, file: &str) -> String {
        match self {
            Self::Flag => "flag".to_owned(),
            Self::Variable(variable) => variable.clone(),
            Self::Profile { name, line } => format!("profile {name} in {file}:{line}"),
            Self::Top { line } => format!("{file}:{line}"),
            Self::Default => "default".to_owned(),
        }
    }
}

/// The layer a setting is taken from, and its values there; those that were typed, clap knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) origin: Origin,
    pub(super) values: Vec<OsString>,
}

/// A setting that gave way, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Displaced {
    pub(crate) key: String,
    pub(crate) origin: Origin,
    pub(crate) by: String,
}

/// What holds for one command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layers {
    /// by the ids of the options
    pub(super) choices: BTreeMap<String, Choice>,
    pub(super) displaced: Vec<Displaced>,
}

impl Layers {
    /// Takes each setting of a command from the highest layer that has it, and drops those whose rival is higher.
    ///
    /// # Errors
    /// When a variable holds what the option does not take, or one layer has two rivals that no higher one decides.
    pub(super) fn choose(
        command: &Command,
        typed: &Typed,
        variables: &BTreeMap<OsString, OsString>,
        tables: &[&Table],
        contacts: &Contacts,
        file: &str,
    ) -> Result<Self, String> {
        let mut found: Vec<(&Arg, Choice)> = Vec::new();
        for arg in definition::settings(command) {
            if let Some(choice) = find(arg, typed, variables, tables) {
                found.push((arg, choice));
            }
        }
        found.sort_by_key(|(_, choice)| choice.origin.rank());
        let mut layers = Self::default();
        let mut kept: Vec<(&Arg, Choice)> = Vec::new();
        for (arg, choice) in found {
            match kept.iter().find(|(other, _)| definition::are_rivals(command, arg, other)) {
                Some((other, theirs)) if theirs.origin.rank() < choice.origin.rank() => {
                    layers.displaced.push(Displaced { key: key(arg), origin: choice.origin, by: key(other) });
                }
                // Of what was typed clap tells, with the usage.
                Some((other, theirs)) if choice.origin != Origin::Flag => {
                    return Err(both(&named(other, theirs, file), &named(arg, &choice, file)));
                }
                Some(_) | None => {
                    judge_variable(&definition::knowing(arg.clone(), contacts), &choice)?;
                    kept.push((arg, choice));
                }
            }
        }
        layers.choices = kept.into_iter().map(|(arg, choice)| (arg.get_id().to_string(), choice)).collect();
        Ok(layers)
    }

    /// The command with the values of all layers below the command line as its defaults.
    pub(super) fn apply(&self, command: Command, contacts: &Contacts) -> Command {
        command.mut_args(|arg| {
            let arg = definition::knowing(arg, contacts).env(Resettable::<clap::builder::OsStr>::Reset);
            match self.choices.get(arg.get_id().as_str()) {
                Some(choice) if choice.origin != Origin::Flag => {
                    arg.required(false).default_values(choice.values.iter().cloned())
                }
                Some(_) | None => arg,
            }
        })
    }
}

fn find(arg: &Arg, typed: &Typed, variables: &BTreeMap<OsString, OsString>, tables: &[&Table]) -> Option<Choice> {
    if typed.contains(arg.get_id().as_str()) {
        return Some(Choice { origin: Origin::Flag, values: Vec::new() });
    }
    if let Some((name, value)) = arg.get_env().and_then(|name| variables.get_key_value(name)) {
        let origin = Origin::Variable(name.to_string_lossy().into_owned());
        return Some(Choice { origin, values: vec![value.clone()] });
    }
    let entry = tables.iter().find_map(|table| table.get(arg.get_long()?))?;
    Some(Choice { origin: entry.origin.clone(), values: entry.values.clone() })
}

/// The values of the file were judged where they were read.
fn judge_variable(arg: &Arg, choice: &Choice) -> Result<(), String> {
    let Origin::Variable(variable) = &choice.origin else { return Ok(()) };
    let complaint = choice.values.iter().find_map(|value| definition::complaint(arg, value));
    complaint.map_or(Ok(()), |text| Err(format!("{variable}: {text}")))
}

fn key(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().to_owned()
}

/// A setting as the reader finds it: a variable is its own name.
fn named(arg: &Arg, choice: &Choice, file: &str) -> String {
    match &choice.origin {
        Origin::Variable(variable) => variable.clone(),
        origin => format!("{} ({})", key(arg), origin.words(file)),
    }
}

fn both(one: &str, other: &str) -> String {
    format!("{one} and {other} exclude each other; keep one of them")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::definition::command;
    use crate::config::file::Entry;

    const FILE: &str = "config.toml";

    fn table(origin: &Origin, keys: &[(&str, &str)]) -> Table {
        let entry = |value: &str| Entry { origin: origin.clone(), values: vec![value.into()] };
        keys.iter().map(|(key, value)| ((*key).to_owned(), entry(value))).collect()
    }

    fn choose(
        name: &str,
        typed: &[&str],
        variables: &[(&str, &str)],
        profile: &[(&str, &str)],
        top: &[(&str, &str)],
    ) -> Result<Layers, String> {
        let definition = command();
        let typed = typed.iter().map(|id| (*id).to_owned()).collect();
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let profile = table(&Origin::Profile { name: "home".into(), line: 7 }, profile);
        let top = table(&Origin::Top { line: 2 }, top);
        let command = definition::find(&definition, &[name.to_owned()]);
        Layers::choose(command, &typed, &variables, &[&profile, &top], &Contacts::default(), FILE)
    }

    #[test]
    fn the_highest_layer_counts() {
        let (variable, profile, top) = ([("TRING_SIZE", "64x48")], [("size", "66x48")], [("size", "68x48")]);
        let from = |typed: &[&str], variables: &[_], profile: &[_], top: &[_]| {
            let layers = choose("call", typed, variables, profile, top).unwrap();
            layers.choices.get("size").map(|choice| (choice.origin.words(FILE), choice.values.clone()))
        };
        assert_eq!(from(&["size"], &variable, &profile, &top), Some(("flag".into(), vec![])));
        assert_eq!(from(&[], &variable, &profile, &top), Some(("TRING_SIZE".into(), vec!["64x48".into()])));
        let in_profile = "profile home in config.toml:7".to_owned();
        assert_eq!(from(&[], &[], &profile, &top), Some((in_profile, vec!["66x48".into()])));
        assert_eq!(from(&[], &[], &[], &top), Some(("config.toml:2".into(), vec!["68x48".into()])));
        assert_eq!(from(&[], &[], &[], &[]), None);
    }

    #[test]
    fn a_rival_of_a_higher_layer_displaces() {
        let (password, secret) = ("ice_password_file", "ice_secret_file");
        let kept = |layers: &Layers| layers.choices.keys().cloned().collect::<Vec<String>>();
        // Each layer against each below it.
        let layers = choose("call", &[secret], &[("TRING_ICE_PASSWORD", "x")], &[], &[]).unwrap();
        assert_eq!(kept(&layers), [secret]);
        assert_eq!(layers.displaced[0].origin, Origin::Variable("TRING_ICE_PASSWORD".into()));
        assert_eq!(
            (layers.displaced[0].key.as_str(), layers.displaced[0].by.as_str()),
            ("ice-password", "ice-secret-file")
        );
        let layers = choose("call", &[password], &[], &[("ice-secret-file", "a")], &[]).unwrap();
        assert_eq!(kept(&layers), [password]);
        let layers = choose("call", &[], &[("TRING_ICE_SECRET", "x")], &[("ice-password-file", "a")], &[]).unwrap();
        assert_eq!(kept(&layers), ["ice_secret"]);
        let layers = choose("call", &[], &[], &[("ice-secret-file", "a")], &[("ice-password-file", "b")]).unwrap();
        assert_eq!(kept(&layers), [secret]);
        // A password in the environment goes before the file that a profile names.
        let layers = choose("listen", &[], &[("TRING_PASSWORD", "x")], &[("password-file", "a")], &[]).unwrap();
        assert_eq!(kept(&layers), ["password"]);
        // Two rivals that both give way are no contradiction.
        let below = [("TRING_ICE_PASSWORD", "x"), ("TRING_ICE_SECRET", "y")];
        let layers = choose("call", &[secret], &below, &[], &[]).unwrap();
        assert_eq!((kept(&layers), layers.displaced.len()), (vec![secret.to_owned()], 2));
    }

    #[test]
    fn what_was_displaced_displaces_nothing() {
        // The user of the environment gives way to the file of users, and no longer has a say.
        let layers = choose(
            "serve",
            &["users_file"],
            &[("TRING_USER", "u"), ("TRING_PASSWORD", "p"), ("TRING_PASSWORD_FILE", "f")],
            &[],
            &[],
        );
        assert_eq!(layers.unwrap().choices.keys().collect::<Vec<_>>(), ["users_file"]);
    }

    #[test]
    fn rivals_of_one_layer_are_refused_by_name() {
        let variables = [("TRING_ICE_PASSWORD", "x"), ("TRING_ICE_SECRET_FILE", "y")];
        let error = choose("call", &[], &variables, &[], &[]).unwrap_err();
        assert!(error.contains("TRING_ICE_PASSWORD and TRING_ICE_SECRET_FILE"), "{error}");
        let profile = [("ice-password-file", "a"), ("ice-secret-file", "b")];
        let error = choose("call", &[], &[], &profile, &[]).unwrap_err();
        assert!(error.contains("ice-secret-file (profile home in config.toml:7)"), "{error}");
        // What was typed is left to clap.
        assert_eq!(choose("call", &["ice_password_file", "ice_secret_file"], &[], &[], &[]).unwrap().displaced, []);
    }

    #[test]
    fn a_variable_that_cannot_be_is_named() {
        let error = choose("call", &[], &[("TRING_SIZE", "huge")], &[], &[]).unwrap_err();
        assert!(error.starts_with("TRING_SIZE: ") && error.contains("WIDTHxHEIGHT"), "{error}");
        // It does not count once the option is typed.
        assert!(choose("call", &["size"], &[("TRING_SIZE", "huge")], &[], &[]).is_ok());
    }
}

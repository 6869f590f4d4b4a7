//! Which layer each setting is taken from, which settings give way to a rival of a higher one, and which logins are for
//! other servers than those in force. Pure.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::builder::Resettable;
use clap::{Arg, Command};

use super::binding::{Group, Servers, Withheld};
use super::definition;
use super::values::{Choice, Contacts, Origin, Table, Typed};

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
    pub(super) withheld: Vec<Withheld>,
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
        let mut layers = Self::default();
        let servers: Vec<(Group, Servers)> = Group::ALL
            .into_iter()
            .filter_map(|group| Some((group, servers(command, group, typed, variables, tables)?)))
            .collect();
        let mut found: Vec<(&Arg, Choice)> = Vec::new();
        for arg in definition::settings(command) {
            let group = Group::of_login(&key(arg));
            let bound = servers.iter().find(|(of, _)| Some(*of) == group).map(|(_, servers)| servers);
            if let Some(choice) = layers.first_allowed(arg, candidates(arg, typed, variables, tables), bound) {
                found.push((arg, choice));
            }
        }
        found.sort_by_key(|(_, choice)| choice.origin.rank());
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

    /// The choice of the highest layer that may go to the servers in force. Where there is none, what was withheld is noted.
    fn first_allowed(&mut self, arg: &Arg, candidates: Vec<Choice>, bound: Option<&Servers>) -> Option<Choice> {
        let Some(servers) = bound else { return candidates.into_iter().next() };
        let mut withheld = Vec::new();
        for choice in candidates {
            match servers.withholds(&key(arg), &choice.origin) {
                None => return Some(choice),
                Some(not) => withheld.push((choice.origin, not)),
            }
        }
        for (origin, not) in withheld {
            let by = not.group.servers().to_owned();
            self.displaced.push(Displaced { key: key(arg), origin, by });
            not.add_to(&mut self.withheld);
        }
        None
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

/// What each layer has of a setting, the highest first.
fn candidates(arg: &Arg, typed: &Typed, variables: &BTreeMap<OsString, OsString>, tables: &[&Table]) -> Vec<Choice> {
    let typed = typed.get(arg.get_id().as_str());
    let typed = typed.map(|values| Choice { origin: Origin::Flag, values: values.clone() });
    let variable = arg.get_env().and_then(|name| variables.get_key_value(name)).map(|(name, value)| {
        let origin = Origin::Variable(name.to_string_lossy().into_owned());
        Choice { origin, values: vec![value.clone()] }
    });
    let entries = tables.iter().filter_map(|table| table.get(arg.get_long()?));
    let entries = entries.map(|entry| Choice { origin: entry.origin.clone(), values: entry.values.clone() });
    typed.into_iter().chain(variable).chain(entries).collect()
}

/// The servers that logins of this group are for; `None` for a command that has none.
fn servers(
    command: &Command,
    group: Group,
    typed: &Typed,
    variables: &BTreeMap<OsString, OsString>,
    tables: &[&Table],
) -> Option<Servers> {
    let arg = definition::settings(command).find(|arg| arg.get_long() == Some(group.servers()))?;
    let default = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    Some(Servers::of(group, &candidates(arg, typed, variables, tables), default))
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
    use crate::config::values::Entry;

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
        let typed = typed.iter().map(|id| ((*id).to_owned(), Vec::new())).collect();
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
        assert_eq!(from(&["size"], &variable, &profile, &top), Some(("flag".into(), Vec::new())));
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

    #[test]
    fn a_login_of_another_server_does_not_count_and_one_of_this_server_does() {
        let home =
            [("broker", "mqtts://home"), ("user", "alice"), ("password-file", "pw"), ("cert", "c"), ("key", "k")];
        let layers = choose("call", &[], &[("TRING_BROKER", "mqtt://home")], &home, &[]).unwrap();
        assert_eq!(layers.choices.keys().collect::<Vec<_>>(), ["broker"]);
        assert_eq!((layers.displaced.len(), layers.withheld.len()), (4, 1));
        assert!(layers.displaced.iter().all(|displaced| displaced.by == "broker"), "{:?}", layers.displaced);
        let words = layers.withheld[0].words(FILE);
        assert!(words.starts_with("user, password-file, cert and key (profile home"), "{words}");
        // The login of the environment is for another server; that of the profile is for the one in force.
        let variables = [("TRING_USER", "eve"), ("TRING_PASSWORD", "x"), ("TRING_BROKER", "mqtts://home")];
        let layers = choose("call", &[], &variables[..2], &home, &[]).unwrap();
        assert_eq!(layers.choices["user"].values, ["eve"]);
        let top = [("broker", "mqtts://top"), ("user", "bob")];
        let layers = choose("call", &[], &variables[2..], &[], &top).unwrap();
        assert!(!layers.choices.contains_key("user"));
        assert_eq!(layers.withheld.len(), 1);
        // What is not sent does not displace what is.
        let variables = [("TRING_ICE", "turn:b"), ("TRING_ICE_SECRET", "s")];
        let layers = choose("call", &[], &variables, &[("ice", "turn:a"), ("ice-password-file", "p")], &[]).unwrap();
        assert_eq!(layers.choices.keys().collect::<Vec<_>>(), ["ice", "ice_secret"]);
    }
}

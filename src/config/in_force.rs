//! The settings in force, each with its value and the layer it comes from.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};
use serde_json::Value;

use super::Source;
use super::binding::{Group, Withheld};
use super::definition::{self, Kind};
use super::layers::{Displaced, Layers};
use super::values::{Contacts, Origin};
use crate::output::exit::{ExitStatus, Failure};

/// What came of all layers for one command.
#[derive(Debug)]
pub(crate) struct InForce {
    /// where the settings file is, or would be
    pub(crate) file: Option<PathBuf>,
    pub(crate) found: bool,
    pub(crate) profile: Option<String>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) displaced: Vec<Displaced>,
    pub(crate) contacts: Contacts,
    withheld: Vec<Withheld>,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) key: String,
    /// null where there is none; of a secret only that it is set
    pub(crate) value: Value,
    pub(crate) origin: Origin,
    /// what `--help` says of it
    pub(crate) help: String,
    pub(crate) is_secret: bool,
}

/// Part of a login that is not sent, for the user: `cause; advice`.
#[derive(Clone, Debug)]
pub(crate) struct WithheldLogin {
    group: Group,
    pub(crate) cause: String,
    pub(crate) advice: &'static str,
}

impl std::fmt::Display for WithheldLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.cause, self.advice)
    }
}

/// The failure with what was withheld, where it may come of that.
pub(crate) fn explained(mut failure: Failure, withheld: &[WithheldLogin]) -> Failure {
    let names = |options: &[&str]| options.iter().any(|option| failure.text.contains(option));
    let concerns = |group| match (group, failure.status) {
        (Group::Broker, ExitStatus::BrokerRefused) => true,
        (Group::Broker, ExitStatus::Usage) => names(&["--user", "--cert", "--key"]),
        (Group::Ice, ExitStatus::NoPath) => true,
        (Group::Ice, ExitStatus::Usage) => names(&["--ice-user", "credentials"]),
        (Group::Broker | Group::Ice, _) => false,
    };
    let told: Vec<&WithheldLogin> = withheld.iter().filter(|login| concerns(login.group)).collect();
    for login in told {
        failure.text = format!("{}; {login}", failure.text);
    }
    failure
}

impl InForce {
    /// True when some layer sets this option, be it to its default.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.settings.iter().any(|setting| setting.key == key && setting.origin != Origin::Default)
    }

    /// What of logins is not sent, since it was given for other servers than those in force.
    pub(crate) fn withheld(&self) -> Vec<WithheldLogin> {
        let file = self.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let told = |withheld: &Withheld| WithheldLogin {
            group: withheld.group,
            cause: withheld.words(&file),
            advice: withheld.group.advice(),
        };
        self.withheld.iter().map(told).collect()
    }

    pub(super) fn new(command: &Command, matches: &ArgMatches, layers: &Layers, source: &Source) -> Self {
        let setting = |arg: &Arg| {
            let choice = layers.choices.get(arg.get_id().as_str());
            Setting {
                key: arg.get_long().unwrap_or_default().to_owned(),
                value: value(arg, matches),
                origin: choice.map_or(Origin::Default, |choice| choice.origin.clone()),
                help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
                is_secret: definition::is_secret(arg),
            }
        };
        Self {
            file: source.path.clone(),
            found: source.found,
            profile: source.profile.clone(),
            settings: definition::settings(command).map(setting).collect(),
            displaced: layers.displaced.clone(),
            contacts: Contacts::clone(&source.document.contacts),
            withheld: layers.withheld.clone(),
        }
    }
}

fn value(arg: &Arg, matches: &ArgMatches) -> Value {
    let raw = matches.try_get_raw(arg.get_id().as_str()).ok().flatten();
    let mut texts = raw.into_iter().flatten().map(|value| value.to_string_lossy().into_owned());
    if definition::is_list(arg) {
        return texts.collect::<Vec<String>>().into();
    }
    let Some(text) = texts.next() else { return Value::Null };
    if definition::is_secret(arg) {
        return "(set)".into();
    }
    match definition::kind(arg) {
        // Switches are written in several ways, as yes and 1.
        Kind::Switch => matches.get_one::<bool>(arg.get_id().as_str()).copied().into(),
        Kind::Number => text.parse::<serde_json::Number>().map_or_else(|_| text.into(), Value::Number),
        Kind::Text => text.into(),
    }
}

//! The options of `tring call` and `tring listen`, as a file of another kind names them: each by its long name, its value
//! as it would be typed, judged by clap's own definition.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};

use super::definition::{self, Kind};
use super::{InForce, Origin};

/// Options that a test sets itself.
const TAKEN: [&str; 4] = ["control", "config", "profile", "impair"];

/// The options of calls.
pub(crate) struct CallOptions {
    call: BTreeMap<String, Arg>,
    listen: BTreeMap<String, Arg>,
}

/// A command of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallCommand {
    Call,
    Listen,
}

/// How an option looks to an editor.
pub(crate) struct Described<'a> {
    pub(crate) key: &'a str,
    pub(crate) help: String,
    pub(crate) form: Form,
    pub(crate) choices: Vec<String>,
}

/// What its value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Switch,
    Number,
    Text,
    List,
}

/// What the one who runs a test has set: options for peers, and variables for what is secret.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inherited {
    pub(crate) settings: BTreeMap<String, Vec<String>>,
    pub(crate) env: BTreeMap<String, String>,
}

impl CallOptions {
    pub(crate) fn new() -> Self {
        let definition = definition::command();
        let of = |name: &str| {
            let command = definition.find_subcommand(name);
            let settings = command.into_iter().flat_map(|command: &Command| definition::settings(command));
            let named = settings.filter_map(|arg| Some((arg.get_long()?.to_owned(), arg.clone())));
            named.filter(|(key, arg)| !TAKEN.contains(&key.as_str()) && !definition::is_secret(arg)).collect()
        };
        Self { call: of("call"), listen: of("listen") }
    }

    fn of(&self, command: CallCommand) -> &BTreeMap<String, Arg> {
        match command {
            CallCommand::Call => &self.call,
            CallCommand::Listen => &self.listen,
        }
    }

    /// True where this command takes the option.
    pub(crate) fn takes(&self, command: CallCommand, key: &str) -> bool {
        self.of(command).contains_key(key)
    }

    /// All options of both commands.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let others = self.listen.keys().filter(|key| !self.call.contains_key(*key));
        self.call.keys().chain(others).map(String::as_str)
    }

    /// Each of them, for an editor.
    pub(crate) fn described(&self) -> impl Iterator<Item = Described<'_>> {
        self.keys().filter_map(|key| {
            let arg = self.call.get(key).or_else(|| self.listen.get(key))?;
            let form = match definition::kind(arg) {
                _ if definition::is_list(arg) => Form::List,
                Kind::Switch => Form::Switch,
                Kind::Number => Form::Number,
                Kind::Text => Form::Text,
            };
            let choices = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
            let choices = if form == Form::Switch { Vec::new() } else { choices };
            Some(Described { key, help: arg.get_help().map(ToString::to_string).unwrap_or_default(), form, choices })
        })
    }

    /// The option with its values as arguments. Files are looked for in `folder`.
    ///
    /// # Errors
    /// Why a value cannot be that of the option; that there is no such option.
    pub(crate) fn words(
        &self,
        command: CallCommand,
        key: &str,
        values: &[String],
        folder: &Path,
    ) -> Result<Vec<String>, String> {
        let Some(arg) = self.of(command).get(key) else { return Err(format!("there is no setting {key:?}")) };
        if values.len() != 1 && !definition::is_list(arg) {
            return Err(format!("{key} takes one value"));
        }
        let word = |value: &String| match definition::complaint(arg, value.as_ref()) {
            None => Ok(format!("--{key}={}", absolute(arg, value, folder))),
            Some(text) => Err(format!("{key}: {text}")),
        };
        values.iter().map(word).collect()
    }

    /// What is set for the command that runs a test and means the same to its peers.
    pub(crate) fn inherited(&self, in_force: &InForce) -> Inherited {
        let mut inherited = Inherited::default();
        let here = std::env::current_dir().unwrap_or_default();
        for setting in in_force.settings.iter().filter(|setting| setting.origin != Origin::Default) {
            if setting.is_secret {
                let variable = definition::variable(&setting.key);
                if let Ok(value) = std::env::var(&variable) {
                    inherited.env.insert(variable, value);
                }
            } else if let Some(arg) = self.call.get(&setting.key).filter(|_| setting.key != "id") {
                let text = |value: &serde_json::Value| match value {
                    serde_json::Value::String(text) => absolute(arg, text, &here),
                    other => other.to_string(),
                };
                let values = match &setting.value {
                    serde_json::Value::Array(list) => list.iter().map(text).collect(),
                    single => vec![text(single)],
                };
                inherited.settings.insert(setting.key.clone(), values);
            }
        }
        inherited
    }
}

/// A file as it is found from anywhere; another value as it is.
fn absolute(arg: &Arg, value: &str, folder: &Path) -> String {
    let whole = |path: &str| {
        let path = PathBuf::from(path);
        if path.is_absolute() { path } else { folder.join(path) }.display().to_string()
    };
    match value.strip_prefix("file:") {
        Some(path) => format!("file:{}", whole(path)),
        None if definition::is_path(arg) => whole(value),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_arguments_and_wrong_ones_are_refused() {
        let options = CallOptions::new();
        let words = |key: &str, values: &[&str]| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            options.words(CallCommand::Call, key, &values, Path::new("/tests"))
        };
        assert_eq!(words("video", &["file:a.y4m"]).unwrap(), ["--video=file:/tests/a.y4m"]);
        assert_eq!(words("record", &["/x/a.webm"]).unwrap(), ["--record=/x/a.webm"]);
        assert_eq!(words("ice", &["stun:a", "stun:b"]).unwrap(), ["--ice=stun:a", "--ice=stun:b"]);
        assert_eq!(words("relay-only", &["true"]).unwrap(), ["--relay-only=true"]);
        for (key, values, expected) in [
            ("codec", &["av1"][..], "h264 or vp8"),
            ("colour", &["red"], "no setting"),
            ("size", &["1x1", "2x2"], "one value"),
            ("password", &["secret"], "no setting"),
            ("control", &["-"], "no setting"),
        ] {
            assert!(words(key, values).unwrap_err().contains(expected), "{key}");
        }
        assert!(options.takes(CallCommand::Listen, "answer") && !options.takes(CallCommand::Call, "answer"));
    }
}

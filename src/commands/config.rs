//! `tring config`: the settings in force, where the settings file is, a file to begin with.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli;
use crate::config::{InForce, Origin, Setting};
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;

/// The part of the example that tells what goes where; the settings themselves follow from their definition.
const EXAMPLE: &str = include_str!("../config/example.toml");

pub(crate) fn run(options: &cli::Config, in_force: &InForce, printer: &Printer) -> Result<ExitStatus, Failure> {
    if options.path {
        printer.result(&path(in_force)?);
    } else if options.example {
        printer.result(example(&in_force.settings).trim_end());
    } else if printer.is_json() {
        printer.result(&as_json(in_force).to_string());
    } else {
        printer.result(as_text(in_force).trim_end());
    }
    Ok(ExitStatus::Done)
}

fn path(in_force: &InForce) -> Result<String, Failure> {
    let path = in_force.file.as_ref().map(|path| path.display().to_string());
    path.ok_or_else(|| Failure::usage("HOME is not set, so there is no place for a settings file; pass --config FILE"))
}

/// A settings file that changes nothing until the `#` before a line is taken away.
fn example(settings: &[Setting]) -> String {
    let mut text = EXAMPLE.to_owned();
    for setting in settings.iter().filter(|setting| !setting.is_secret) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "# {}: {}", setting.key, setting.help);
    }
    text
}

fn as_text(in_force: &InForce) -> String {
    let file = file(in_force);
    let mut text = match (&in_force.profile, in_force.found) {
        (Some(profile), _) => format!("settings file {file}, profile {profile}\n\n"),
        (None, true) => format!("settings file {file}, no profile\n\n"),
        (None, false) => format!("no settings file at {file}\n\n"),
    };
    let rows: Vec<[String; 3]> = in_force.settings.iter().map(|setting| row(setting, &file)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (keys, values) = (width(0), width(1));
    for [key, value, origin] in &rows {
        let _infallible = writeln!(text, "{key:keys$}  {value:values$}  {origin}");
    }
    if !in_force.displaced.is_empty() {
        text.push('\n');
    }
    for displaced in &in_force.displaced {
        let origin = displaced.origin.words(&file);
        let _infallible = writeln!(text, "not in force: {} ({origin}), because of {}", displaced.key, displaced.by);
    }
    if !in_force.contacts.is_empty() {
        text.push_str("\ncontacts\n");
    }
    for (nick, id) in in_force.contacts.iter() {
        let _infallible = writeln!(text, "{nick:keys$}  {id}");
    }
    text
}

fn row(setting: &Setting, file: &str) -> [String; 3] {
    let value = match &setting.value {
        Value::Null => "-".to_owned(),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<String>>().join(", "),
        value => plain(value),
    };
    [setting.key.clone(), value, setting.origin.words(file)]
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn as_json(in_force: &InForce) -> Value {
    let settings: serde_json::Map<String, Value> = in_force
        .settings
        .iter()
        .map(|setting| (setting.key.clone(), with_origin(json!({ "value": setting.value }), &setting.origin)))
        .collect();
    let displaced: Vec<Value> = in_force
        .displaced
        .iter()
        .map(|displaced| with_origin(json!({ "key": displaced.key, "by": displaced.by }), &displaced.origin))
        .collect();
    json!({
        "file": in_force.file.as_ref().map(|path| path.display().to_string()),
        "found": in_force.found,
        "profile": in_force.profile,
        "settings": settings,
        "displaced": displaced,
        "contacts": *in_force.contacts,
    })
}

fn with_origin(mut object: Value, origin: &Origin) -> Value {
    match origin {
        Origin::Flag => object["source"] = "flag".into(),
        Origin::Variable(variable) => {
            object["source"] = "environment".into();
            object["variable"] = variable.as_str().into();
        }
        Origin::Profile { name, line } => {
            object["source"] = "profile".into();
            object["profile"] = name.as_str().into();
            object["line"] = (*line).into();
        }
        Origin::Top { line } => {
            object["source"] = "file".into();
            object["line"] = (*line).into();
        }
        Origin::Default => object["source"] = "default".into(),
    }
    object
}

fn file(in_force: &InForce) -> String {
    in_force.file.as_ref().map_or_else(|| "an unknown place".to_owned(), |path| path.display().to_string())
}

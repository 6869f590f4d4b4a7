//! Parts of the JSON schema of scenario files that are described elsewhere: settings by the definition of the command
//! line, expectations by the tables of figures, words and events.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::calltest::judge::expect::{EVENT_NAMES, EVENTS, WORDS};
use crate::calltest::judge::facts::FIGURES;
use crate::config::{CallOptions, Form};

/// A text with a variable in it, which may stand for any word.
const VARIABLE: &str = r"\$\{";

/// One of these words, or a variable that stands for one.
fn choice<S: serde::Serialize>(words: &[S]) -> Value {
    json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": VARIABLE}]})
}

/// Stands for a table of settings.
pub(crate) enum Settings {}

impl JsonSchema for Settings {
    fn schema_name() -> Cow<'static, str> {
        "Settings".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let options = CallOptions::new();
        let mut properties = Map::new();
        // The names of the options themselves are read as well, but not proposed.
        let mut dashed = Map::new();
        for option in options.described() {
            let mut property = match option.form {
                Form::Switch => json!({"type": ["boolean", "string"]}),
                Form::Number => json!({"type": ["number", "string"]}),
                Form::Text if option.choices.is_empty() => json!({"type": ["string", "number"]}),
                Form::Text => choice(&option.choices),
                Form::List => json!({"type": ["string", "array"], "items": {"type": "string"}}),
            };
            property["description"] = option.help.into();
            if option.key.contains('-') {
                dashed.insert(format!("^{}$", option.key), property.clone());
            }
            properties.insert(option.key.replace('-', "_"), property);
        }
        json_schema!({
            "type": "object",
            "properties": properties,
            "patternProperties": dashed,
            "additionalProperties": false,
        })
    }
}

/// Stands for a table of expectations.
pub(crate) enum Expectations {}

impl JsonSchema for Expectations {
    fn schema_name() -> Cow<'static, str> {
        "Expectations".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut properties = Map::new();
        for figure in FIGURES {
            let description = format!("{}; e.g. {}", figure.meaning, figure.unit.example());
            properties.insert(figure.key.into(), json!({"type": ["string", "number"], "description": description}));
        }
        for (key, allowed, meaning) in WORDS {
            let one = if allowed.is_empty() { json!({"type": ["string", "number"]}) } else { choice(allowed) };
            let any = json!({"anyOf": [one, {"type": "array", "items": one}], "description": meaning});
            properties.insert((*key).into(), any);
        }
        for (key, meaning) in EVENTS {
            let one = choice(EVENT_NAMES);
            let names = json!({"anyOf": [one, {"type": "array", "items": one}], "description": meaning});
            properties.insert((*key).into(), names);
        }
        json_schema!({"type": "object", "properties": Value::Object(properties), "additionalProperties": false})
    }
}

/// Stands for the name of an event.
pub(crate) enum EventName {}

impl JsonSchema for EventName {
    fn schema_name() -> Cow<'static, str> {
        "EventName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"enum": EVENT_NAMES}, {"type": "string", "pattern": VARIABLE}]})
    }
}

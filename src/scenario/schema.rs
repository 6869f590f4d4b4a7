//! The JSON schema of scenario files, for editors: `tring test --schema`.
//!
//! Their own shape comes from the types of [`super::document`], settings from the definition of the command line, and
//! expectations from the table of figures, so that there is no second list of anything.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::document::Document;
use super::expect::{EVENT_NAMES, EVENTS, WORDS};
use super::facts::FIGURES;
use crate::config::{CallOptions, Form};

/// The schema as JSON (draft 2020-12).
pub(crate) fn text() -> String {
    let schema = schemars::schema_for!(Document);
    // A schema is made of strings, so it can always be written.
    serde_json::to_string_pretty(&schema).unwrap_or_default()
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
        for option in options.described() {
            let mut property = match option.form {
                Form::Switch => json!({"type": ["boolean", "string"]}),
                Form::Number => json!({"type": ["number", "string"]}),
                Form::Text if option.choices.is_empty() => json!({"type": ["string", "number"]}),
                // A variable may stand for a choice.
                Form::Text => json!({"anyOf": [{"enum": option.choices}, {"type": "string", "pattern": r"\$\{"}]}),
                Form::List => json!({"type": ["string", "array"], "items": {"type": "string"}}),
            };
            property["description"] = option.help.into();
            properties.insert(option.key.replace('-', "_"), property);
        }
        json_schema!({"type": "object", "properties": properties})
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
            let one = if allowed.is_empty() { json!({"type": ["string", "number"]}) } else { json!({"enum": allowed}) };
            let any = json!({"anyOf": [one, {"type": "array", "items": one}], "description": meaning});
            properties.insert((*key).into(), any);
        }
        for (key, meaning) in EVENTS {
            let names = json!({"type": "array", "items": {"enum": EVENT_NAMES}, "description": meaning});
            properties.insert((*key).into(), names);
        }
        json_schema!({"type": "object", "properties": Value::Object(properties), "additionalProperties": false})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_be_written_stands_in_it() {
        let schema: Value = serde_json::from_str(&text()).unwrap();
        let of = |pointer: &str| schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer} in {schema:#}"));
        for key in ["name", "matrix", "peers", "steps", "servers", "settings"] {
            of(&format!("/properties/{key}"));
        }
        of("/$defs/Peer/properties/calls");
        of("/$defs/Peer/properties/relay_only");
        of("/$defs/Step/properties/where");
        of("/$defs/Expectations/properties/video_loss/description");
        assert_eq!(of("/properties/settings/properties/answer/anyOf/0/enum/0"), "ask");
        assert_eq!(of("/$defs/Step/additionalProperties"), false);
    }
}

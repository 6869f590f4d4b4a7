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

/// What a step may do, one of these.
const VERBS: &[&str] = &["wait", "do", "impair", "kill", "restart", "expect"];

/// A text with a variable in it, which may stand for any word.
const VARIABLE: &str = r"\$\{";

/// The schema as JSON (draft 2020-12).
pub(crate) fn text() -> String {
    let mut schema = schemars::schema_for!(Document);
    // What a peer has besides its settings is known only now, so that from here on nothing else may stand there.
    if let Some(Value::Object(peer)) = schema.pointer_mut("/$defs/Peer") {
        peer.insert("additionalProperties".to_owned(), false.into());
    }
    if let Some(Value::Object(step)) = schema.pointer_mut("/$defs/Step") {
        step.insert("oneOf".to_owned(), verbs());
    }
    // A schema is made of strings, so it can always be written.
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

/// Exactly one verb, or a pause.
fn verbs() -> Value {
    let has = |verb: &&str| json!({"required": [verb]});
    let each: Vec<Value> = VERBS.iter().map(has).collect();
    let pause = json!({"required": ["after"], "not": {"anyOf": each}});
    each.into_iter().chain([pause]).collect()
}

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
        assert_eq!(of("/$defs/EventName/anyOf/0/enum/0"), "online");
        for closed in ["/$defs/Step", "/$defs/Peer", "/$defs/Expectations", "/properties/settings"] {
            assert_eq!(of(&format!("{closed}/additionalProperties")), false);
        }
        assert_eq!(of("/$defs/Step/oneOf").as_array().map(Vec::len), Some(VERBS.len() + 1));
        of("/$defs/Peer/patternProperties/^relay-only$");
    }

    #[test]
    fn the_one_in_the_docs_is_this_one() {
        let kept = include_str!("../../docs/scenario.schema.json");
        assert!(kept.trim_end() == text(), "run: tring test --schema > docs/scenario.schema.json");
    }
}

//! The JSON schema of scenario files, for editors: `tring test --schema`.
//!
//! Their own shape comes from the types of [`super::document`], settings from the definition of the command line, and
//! expectations from the table of figures, so that there is no second list of anything.

use serde_json::{Value, json};

use super::document::Document;

/// What a step may do, one of these.
const VERBS: &[&str] = &["wait", "do", "impair", "kill", "restart", "expect"];

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
        let kept = include_str!("../../../docs/scenario.schema.json");
        assert!(kept.trim_end() == text(), "run: tring test --schema > docs/scenario.schema.json");
    }
}

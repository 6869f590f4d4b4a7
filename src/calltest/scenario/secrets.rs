//! What a scenario took from the environment, and what must not be printed for that reason. Pure.
//!
//! - in: values of variables → [`Secrets`]
//! - out: texts and whole outcomes without them

use serde_json::Value;

use crate::calltest::judge::outcome::{Outcome, Verdict};

/// In place of what must not be printed.
const REDACTED: &str = "•••";

/// Shorter values of the environment are no secrets, and would be found everywhere.
const CHARS_MIN: usize = 4;

/// Values that must not be printed.
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Takes note of them.
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a String>) -> Self {
        let is_secret = |value: &&String| value.chars().count() >= CHARS_MIN;
        let mut values: Vec<String> = values.into_iter().filter(is_secret).cloned().collect();
        // One that holds another goes first: else what it has more would stay.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self(values)
    }

    /// Takes them out of a text.
    pub(crate) fn hide(&self, text: &mut String) {
        for secret in &self.0 {
            if text.contains(secret) {
                *text = text.replace(secret, REDACTED);
            }
        }
    }

    /// Takes them out of everything that is told of a run.
    pub(crate) fn hide_in(&self, outcome: &mut Outcome) {
        if self.0.is_empty() {
            return;
        }
        if let Verdict::Failed(faults) = &mut outcome.verdict {
            faults.iter_mut().for_each(|text| self.hide(text));
        }
        outcome.chosen.values_mut().for_each(|text| self.hide(text));
        for check in &mut outcome.checks {
            self.hide(&mut check.wanted);
            check.seen.iter_mut().for_each(|text| self.hide(text));
        }
        for peer in &mut outcome.peers {
            self.hide(&mut peer.id);
            peer.log.iter_mut().for_each(|text| self.hide(text));
            peer.events.iter_mut().for_each(|event| self.hide_in_value(event));
        }
        outcome.exchange.iter_mut().for_each(|text| self.hide(text));
    }

    fn hide_in_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.hide(text),
            Value::Array(list) => list.iter_mut().for_each(|value| self.hide_in_value(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.hide_in_value(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::calltest::judge::outcome::PeerOutcome;
    use crate::calltest::report::html;

    fn secrets(values: &[&str]) -> Secrets {
        Secrets::new(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<String>>())
    }

    #[test]
    fn they_are_told_nowhere() {
        let mut outcome = Outcome {
            scenario: "s".into(),
            chosen: [("password".to_owned(), "s3cret".to_owned())].into(),
            repetition: (1, 1),
            started: 0,
            took: Duration::ZERO,
            verdict: Verdict::Failed(vec!["login s3cret refused".into()]),
            checks: Vec::new(),
            peers: vec![PeerOutcome {
                name: "alice".into(),
                id: "alice".into(),
                status: Some(21),
                events: vec![json!({"event": "error", "text": "s3cret", "list": [{"x": "as3cretb"}]})],
                log: vec!["s3cret!".into()],
            }],
            exchange: Some("s3cret".into()),
            folder: None,
        };
        secrets(&["s3cret", "e"]).hide_in(&mut outcome);
        let text = format!("{outcome:?} {}", html::text(std::slice::from_ref(&outcome)));
        assert!(!text.contains("s3cret") && text.contains(REDACTED), "{text}");
        assert!(text.contains("event"), "a single letter is no secret");
    }

    #[test]
    fn one_that_holds_another_leaves_nothing() {
        let mut text = "abcd abcdef".to_owned();
        secrets(&["abcd", "abcdef"]).hide(&mut text);
        assert_eq!(text, "••• •••");
    }
}

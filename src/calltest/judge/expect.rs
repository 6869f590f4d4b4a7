//! What has to come of a call, and whether it did. Pure.
//!
//! - in: a table of a scenario, as texts → [`Expectation`]s, with what is wrong in it
//! - judged by [`Expectation::judge`] over the [`Facts`] and the events of a peer → [`Check`]s
//!
//! What is not known fails: an expectation is never passed over.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::facts::{FIGURES, Facts, Figure, Span};
use crate::calltest::judge::bound::Bound;
use crate::calltest::values::Words;

/// Something that has to be true.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    key: &'static str,
    wanted: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    /// A figure within its bound.
    Figure(&'static Figure, Bound),
    /// A word among these.
    Word(Vec<String>),
    /// Events in this order, others between them or not.
    InOrder(Vec<String>),
    /// None of these events.
    Never(Vec<String>),
    /// No other events than these.
    Only(Vec<String>),
}

/// Words that can be expected: the key, what they may be (nothing: anything), and what they mean.
pub(crate) const WORDS: &[(&str, &[&str], &str)] = &[
    ("status", &[], "the exit status, or one of several"),
    ("reason", &[], "why the call ended, as the `ended` event has it"),
    ("path", &["direct", "host", "srflx", "prflx", "relay"], "the way of the media: direct, or through a relay"),
    ("video_codec", &["h264", "vp8"], "what was agreed on for pictures"),
    ("audio_codec", &["opus"], "what was agreed on for sound"),
    ("size", &[], "of the latest picture that came, as 640x480"),
];

/// Lists of events that can be expected.
pub(crate) const EVENTS: &[(&str, &str)] = &[
    ("events", "events that come in this order, with others between them or not"),
    ("no_events", "events that must not come"),
    ("only_events", "no other events than these come (`stats` apart)"),
];

/// Every event that a peer may tell, so that a misspelt one is found before the run.
pub(crate) const EVENT_NAMES: &[&str] = &[
    "online",
    "shared",
    "offline",
    "presence",
    "dialing",
    "ringing",
    "incoming",
    "path_ready",
    "accepted",
    "connecting",
    "connected",
    "words",
    "verified",
    "first_frame",
    "first_audio",
    "stats",
    "muted",
    "voice",
    "held",
    "plan",
    "reconnecting",
    "reconnected",
    "turned_away",
    "missed",
    "snapshot",
    "impaired",
    "warning",
    "ended",
    "summary",
    "error",
];

/// Over what something is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The whole of a peer's run.
    Call,
    /// A part of a call.
    Window,
}

/// What came of one expectation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Check {
    /// Whose call.
    pub(crate) peer: String,
    /// What was looked at.
    pub(crate) expectation: &'static str,
    /// What it had to be.
    pub(crate) wanted: String,
    /// What it was; null when it is not known.
    pub(crate) seen: Option<String>,
    pub(crate) passed: bool,
    /// The step it belongs to, counted from 1; null for the whole call.
    pub(crate) step: Option<usize>,
}

/// Reads a table of expectations.
///
/// # Errors
/// What is wrong with one of them, and what could stand there.
pub(crate) fn read(table: &BTreeMap<String, Words>, scope: Scope) -> Result<Vec<Expectation>, String> {
    table.iter().map(|(key, words)| read_one(key, words, scope)).collect()
}

fn read_one(key: &str, Words(words): &Words, scope: Scope) -> Result<Expectation, String> {
    let of_call = |key: &str| match scope {
        Scope::Call => Ok(()),
        Scope::Window => Err(format!("{key} can be expected of a whole call alone; put it into the peer's own expect")),
    };
    if let Some(figure) = FIGURES.iter().find(|figure| figure.key == key) {
        if figure.span == Span::Call {
            of_call(key)?;
        }
        let [text] = words.as_slice() else { return Err(format!("{key} takes one bound")) };
        let bound = match (key.ends_with("_within"), Bound::read(text, figure.unit)) {
            // "within 2s" says that it may be less.
            (true, Ok(_)) if text.trim().starts_with(|c: char| c.is_ascii_digit()) && !text.contains("..") => {
                Bound::read(&format!("<= {text}"), figure.unit)
            }
            (_, bound) => bound,
        };
        let bound = bound.map_err(|error| format!("{key}: {error}"))?;
        return Ok(Expectation { key: figure.key, wanted: Wanted::Figure(figure, bound) });
    }
    if let Some((key, allowed, _)) = WORDS.iter().find(|(known, ..)| *known == key) {
        if !matches!(*key, "path" | "size") {
            of_call(key)?;
        }
        if words.is_empty() {
            return Err(format!("{key} takes a word or several"));
        }
        if let Some(word) = words.iter().find(|word| !allowed.is_empty() && !allowed.contains(&word.as_str())) {
            return Err(format!("{key} is never {word:?}; it can be {}", allowed.join(", ")));
        }
        return Ok(Expectation { key, wanted: Wanted::Word(words.clone()) });
    }
    if let Some((key, _)) = EVENTS.iter().find(|(known, _)| *known == key) {
        of_call(key)?;
        if let Some(name) = words.iter().find(|name| !EVENT_NAMES.contains(&name.as_str())) {
            return Err(format!("{key}: {}", unknown("event", name, EVENT_NAMES.iter().copied())));
        }
        let names = words.clone();
        let wanted = match *key {
            "events" => Wanted::InOrder(names),
            "no_events" => Wanted::Never(names),
            _ => Wanted::Only(names),
        };
        return Ok(Expectation { key, wanted });
    }
    Err(unknown("expectation", key, keys()))
}

/// All that can be expected.
fn keys() -> impl Iterator<Item = &'static str> {
    let figures = FIGURES.iter().map(|figure| figure.key);
    figures.chain(WORDS.iter().map(|(key, ..)| *key)).chain(EVENTS.iter().map(|(key, _)| *key))
}

/// Says that there is no such thing, and what may have been meant.
pub(crate) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    /// Closer than this (Jaro–Winkler) a word is a misspelling of another.
    const NEAR: f64 = 0.7;
    let scored: Vec<(f64, &str)> = known.map(|known| (strsim::jaro_winkler(name, known), known)).collect();
    let best = scored.iter().max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(score, _)| *score >= NEAR);
    let hint = match best {
        Some((_, best)) => format!("; did you mean {best}?"),
        None => {
            let all: Vec<&str> = scored.iter().map(|(_, known)| *known).collect();
            format!("; there are: {}", all.join(", "))
        }
    };
    format!("there is no {what} {name:?}{hint}")
}

impl Expectation {
    /// The exit status that every peer must have unless the scenario says another.
    pub(crate) fn of_status_done() -> Self {
        Self { key: "status", wanted: Wanted::Word(vec!["0".to_owned()]) }
    }

    /// True for an expectation of the exit status.
    pub(crate) fn is_of_status(&self) -> bool {
        self.key == "status"
    }

    /// Judges it by what is known of the peer's call, or the part of it that is meant.
    pub(crate) fn judge(&self, peer: &str, facts: &Facts, events: &[Value]) -> Check {
        let (wanted, seen, passed) = match &self.wanted {
            Wanted::Figure(figure, bound) => {
                let seen = facts.numbers.get(figure.key).copied();
                let text = seen.map(|value| figure.unit.show(value));
                (bound.to_string(), text, seen.is_some_and(|value| bound.holds(value)))
            }
            Wanted::Word(words) => {
                let seen = facts.words.get(self.key).cloned();
                let passed = seen.as_ref().is_some_and(|seen| words.iter().any(|word| is_word(word, seen)));
                (words.join(" or "), seen, passed)
            }
            Wanted::InOrder(names) => {
                let (seen, passed) = in_order(names, events);
                (names.join(", "), Some(seen), passed)
            }
            Wanted::Never(names) => {
                let seen = told(events, |name| names.iter().any(|never| never == name));
                (format!("none of {}", names.join(", ")), Some(list(&seen)), seen.is_empty())
            }
            Wanted::Only(names) => {
                let other = |name: &str| name != "stats" && !names.iter().any(|only| only == name);
                let seen = told(events, other);
                let text = if seen.is_empty() { "no others".to_owned() } else { format!("also {}", list(&seen)) };
                (format!("only {}", names.join(", ")), Some(text), seen.is_empty())
            }
        };
        Check { peer: peer.to_owned(), expectation: self.key, wanted, seen, passed, step: None }
    }
}

fn is_word(wanted: &str, seen: &str) -> bool {
    wanted == seen || wanted == "direct" && seen != "relay"
}

/// Events of these names, each once, in the order they first came.
fn told(events: &[Value], wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for name in events.iter().filter_map(|event| event["event"].as_str()).filter(|name| wanted(name)) {
        if !seen.iter().any(|seen| seen == name) {
            seen.push(name.to_owned());
        }
    }
    seen
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// How far the events came in this order, and whether all of them did.
fn in_order(names: &[String], events: &[Value]) -> (String, bool) {
    let mut left = names.iter().peekable();
    for event in events {
        if left.peek().is_some_and(|name| event["event"] == name.as_str()) {
            left.next();
        }
    }
    match left.next() {
        None => ("all of them".to_owned(), true),
        Some(missing) => {
            let before = names.len() - left.count() - 1;
            let after = names[..before].last().map(|name| format!(" after {name}")).unwrap_or_default();
            (format!("no {missing}{after}"), false)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expectation(key: &str, words: &[&str], scope: Scope) -> Result<Expectation, String> {
        read_one(key, &Words(words.iter().map(|word| (*word).to_owned()).collect()), scope)
    }

    /// One case for each kind of expectation: what passes, and what must not.
    #[test]
    fn every_event_of_a_call_can_be_waited_for() {
        let told = include_str!("../../phone/session/events.snapshot");
        for line in told.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let name = event["event"].as_str().unwrap();
            assert!(EVENT_NAMES.contains(&name), "{name} is told by a session, and no scenario can name it");
        }
    }

    #[test]
    fn each_kind_passes_and_fails() {
        let facts = Facts {
            numbers: [("freezes", 1.0), ("connected_within", 120.0), ("video_loss", 0.06)].into(),
            words: [("status", "0".to_owned()), ("path", "srflx".to_owned()), ("size", "640x480".to_owned())].into(),
        };
        let events: Vec<Value> =
            ["online", "dialing", "connected", "stats", "warning", "ended"].map(|name| json!({"event": name})).into();
        for (key, passing, failing) in [
            ("freezes", &["1"][..], &["0"][..]),
            ("freezes", &["<= 1"], &["< 1"]),
            ("connected_within", &["120ms"], &["119ms"]),
            ("video_loss", &["5%..7%"], &["<= 5%"]),
            ("status", &["0"], &["10"]),
            ("status", &["13", "0"], &["13", "14"]),
            ("path", &["direct"], &["relay"]),
            ("size", &["640x480"], &["320x240"]),
            ("events", &["dialing", "connected", "ended"], &["connected", "dialing"]),
            ("events", &[], &["first_frame"]),
            ("no_events", &["reconnecting"], &["warning"]),
            ("only_events", &["online", "dialing", "connected", "warning", "ended"], &["online", "ended"]),
        ] {
            for (words, expected) in [(passing, true), (failing, false)] {
                let check = expectation(key, words, Scope::Call).unwrap().judge("alice", &facts, &events);
                assert_eq!(check.passed, expected, "{key} {words:?}: {check:?}");
            }
        }
    }

    #[test]
    fn what_is_not_known_fails() {
        for figure in FIGURES {
            let anything = Bound::read("0", figure.unit).map(|_| "0").unwrap();
            let check = expectation(figure.key, &[anything], Scope::Call).unwrap();
            let check = check.judge("alice", &Facts::default(), &[]);
            assert!(!check.passed && check.seen.is_none(), "{check:?}");
        }
        for (key, allowed, _) in WORDS {
            let word = allowed.first().unwrap_or(&"0");
            let check = expectation(key, &[word], Scope::Call).unwrap().judge("alice", &Facts::default(), &[]);
            assert!(!check.passed, "{check:?}");
        }
    }

    #[test]
    fn what_cannot_be_expected_is_refused() {
        for (key, words, scope, expected) in [
            ("freeezes", &["0"][..], Scope::Call, "did you mean freezes?"),
            ("freezes", &["few"], Scope::Call, "no bound"),
            ("freezes", &["0", "1"], Scope::Call, "one bound"),
            ("path", &["indirect"], Scope::Call, "direct, host"),
            ("events", &["conected"], Scope::Call, "did you mean connected?"),
            ("duration", &["1s"], Scope::Window, "whole call"),
            ("status", &["0"], Scope::Window, "whole call"),
            ("no_events", &["warning"], Scope::Window, "whole call"),
            ("status", &[], Scope::Call, "a word"),
        ] {
            let error = expectation(key, words, scope).unwrap_err();
            assert!(error.contains(expected), "{key}: {error}");
        }
    }

    #[test]
    fn an_order_that_breaks_off_says_where() {
        let events = [json!({"event": "dialing"}), json!({"event": "ended"})];
        let check = expectation("events", &["dialing", "connected", "ended"], Scope::Call).unwrap();
        assert_eq!(check.judge("a", &Facts::default(), &events).seen.as_deref(), Some("no connected after dialing"));
    }
}

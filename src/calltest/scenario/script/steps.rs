//! From a table of a step to what it does.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::super::document;
use super::{Action, Server, ServerAction, Step, impairments, time};
use crate::calltest::judge::expect::{self, EVENT_NAMES, Scope};
use crate::calltest::values;
use crate::phone::session::control;

/// An event is waited for no longer, unless its step says so: a relayed call over a slow network is up by then.
const WITHIN: Duration = Duration::from_secs(10);

/// A part of a call that is judged is so long, unless its step says so.
const OVER: Duration = Duration::from_secs(5);

/// Commands of a step with `do`.
const COMMANDS: &[&str] = &[
    "start",
    "interrupt",
    "answer",
    "reject",
    "hangup",
    "hold",
    "resume",
    "swap",
    "send",
    "mute",
    "camera",
    "voice",
    "snapshot",
    "away",
    "back",
    "reconnect",
    "stats",
    "quit",
];

/// Reads a step.
pub(super) fn step_of(step: document::Step, names: &BTreeSet<&str>) -> Result<Step, String> {
    let after = time("after", step.after.as_ref())?.unwrap_or_default();
    let verbs = [
        ("wait", step.wait.is_some()),
        ("do", step.command.is_some()),
        ("impair", step.impair.is_some()),
        ("kill", step.kill.is_some()),
        ("restart", step.restart.is_some()),
        ("expect", step.expect.is_some()),
    ];
    let present: Vec<&str> = verbs.iter().filter(|(_, is)| *is).map(|(verb, _)| *verb).collect();
    match (present.as_slice(), after.is_zero()) {
        ([_], _) => {}
        ([], false) if step.peer.is_none() => return Ok(Step { after, peers: Vec::new(), action: Action::Pause }),
        ([], _) => return Err("it does nothing; add one of wait, do, impair, kill, restart, expect".to_owned()),
        (several, _) => return Err(format!("it has {}; make a step of each", several.join(" and "))),
    }
    refuse_strays(&step, present[0])?;
    let mut peers = step.peer.clone().map(|words| words.0).unwrap_or_default();
    let action = action_of(step, &mut peers)?;
    if let Some(unknown) = peers.iter().find(|peer| !names.contains(peer.as_str())) {
        return Err(expect::unknown("peer", unknown, names.iter().copied()));
    }
    let for_servers = matches!(action, Action::Server(..));
    if peers.is_empty() && !for_servers {
        return Err("it says nobody's name; add peer".to_owned());
    }
    Ok(Step { after, peers, action })
}

/// A word that belongs to another kind of step was meant for something.
fn refuse_strays(step: &document::Step, verb: &str) -> Result<(), String> {
    let given = [
        ("where", !step.fields.is_empty(), "wait"),
        ("within", step.within.is_some(), "wait"),
        ("over", step.over.is_some(), "expect"),
        ("text", step.text.is_some(), "do"),
        ("video", step.video.is_some(), "do"),
        ("audio", step.audio.is_some(), "do"),
        ("on", step.on.is_some(), "do"),
        ("file", step.file.is_some(), "do"),
    ];
    match given.iter().find(|(_, is, of)| *is && *of != verb) {
        Some((word, _, of)) => Err(format!("{word} belongs to a step with {of}")),
        None => Ok(()),
    }
}

fn action_of(step: document::Step, peers: &mut Vec<String>) -> Result<Action, String> {
    if let Some(event) = step.wait {
        if !EVENT_NAMES.contains(&&*event) {
            return Err(expect::unknown("event", &event, EVENT_NAMES.iter().copied()));
        }
        let field = |(key, value): (String, toml::Value)| {
            values::text(&value)
                .map(|text| (key.clone(), text))
                .ok_or_else(|| format!("where.{key}: a text belongs here"))
        };
        let fields = step.fields.into_iter().map(field).collect::<Result<_, _>>()?;
        let within = time("within", step.within.as_ref())?.unwrap_or(WITHIN);
        return Ok(Action::Wait { event: event.0, fields, within });
    }
    if let Some(impair) = step.impair {
        let command = json!({"command": "impair", "spec": impairments(impair)?.join(" ")});
        control::check(&command).map_err(|error| format!("impair: {error}"))?;
        return Ok(Action::Command(command));
    }
    if let Some(whom) = step.kill {
        return Ok(match Server::named(&whom) {
            Some(server) => Action::Server(server, ServerAction::Kill),
            None => {
                peers.push(whom.0);
                Action::Kill
            }
        });
    }
    if let Some(what) = step.restart {
        let server = Server::named(&what).ok_or_else(|| format!("restart can be broker or turn, not {:?}", what.0))?;
        return Ok(Action::Server(server, ServerAction::Restart));
    }
    if let Some(table) = step.expect {
        let expect = expect::read(&table, Scope::Window)?;
        let over = time("over", step.over.as_ref())?.unwrap_or(OVER);
        return Ok(Action::Expect { over, expect });
    }
    let command = step.command.map(|text| text.0).unwrap_or_default();
    match command.as_str() {
        "start" => return Ok(Action::Start),
        "interrupt" => return Ok(Action::Interrupt),
        _ => {}
    }
    if !COMMANDS.contains(&command.as_str()) {
        return Err(expect::unknown("command", &command, COMMANDS.iter().copied()));
    }
    let mut fields = json!({"command": command});
    for (key, value) in [("text", step.text), ("video", step.video), ("audio", step.audio), ("file", step.file)] {
        if let Some(value) = value {
            fields[key] = value.0.into();
        }
    }
    match step.on.as_deref() {
        None => {}
        Some("true") => fields["on"] = true.into(),
        Some("false") => fields["on"] = false.into(),
        Some(other) => return Err(format!("on is true or false, not {other:?}")),
    }
    control::check(&fields).map_err(|error| format!("do = {command:?}: {error}"))?;
    Ok(Action::Command(fields))
}

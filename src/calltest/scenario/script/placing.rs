//! From a table of a peer to one who takes part.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use media::impair::Impairments;
use serde::Deserialize as _;
use signalling::id::PeerId;

use super::super::document::{self, Impair};
use super::{Does, PeerSpec, Place, Server, Start, impairments};
use crate::calltest::judge::expect::{self, Scope};
use crate::calltest::values::{Text, text};
use crate::config::{CallCommand, CallOptions};

/// What a peer of a test is set to unless the file says otherwise: media that can be judged, and nothing on this machine.
const USUAL: &[(&str, &str)] = &[
    ("video", "test"),
    ("audio", "tone"),
    ("show", "none"),
    ("play", "none"),
    ("ring", "none"),
    ("no-log", "true"),
    ("no-notify", "true"),
];

/// The same for one that listens.
const USUAL_OF_LISTENERS: &[(&str, &str)] = &[("answer", "auto"), ("once", "true")];

pub(super) struct Placing<'a> {
    pub(super) common: &'a BTreeMap<String, toml::Value>,
    pub(super) options: &'a CallOptions,
    pub(super) folder: &'a Path,
}

impl Placing<'_> {
    pub(super) fn spec(&self, name: &str, peer: document::Peer) -> Result<PeerSpec, String> {
        if name.parse::<PeerId>().is_err() || Server::named(name).is_some() {
            return Err("a name has letters, digits, - and _, and is neither broker nor turn".to_owned());
        }
        let does = match (peer.calls, peer.command) {
            (None, None) => Does::Listen,
            (Some(whom), None) => Does::Call(whom.0),
            (None, Some(command)) if command.is_empty() => return Err("command names no program".to_owned()),
            (None, Some(command)) => Does::Foreign(command.into_iter().map(|word| word.0).collect()),
            (Some(_), Some(_)) => return Err("it has either calls or a command".to_owned()),
        };
        let start = match peer.start.as_deref() {
            None => Start::AtOnce,
            Some("step") => Start::ByStep,
            Some(other) => return Err(format!("start can be step, not {other:?}")),
        };
        let id = |text: Text| text.parse::<PeerId>().map_err(|error| error.to_string());
        let place = match (peer.agent.map(id).transpose()?, peer.inside.as_deref()) {
            (Some(agent), None | Some("false")) => Place::Agent(agent),
            (None, Some("true")) => Place::Inside,
            (None, None | Some("false")) => Place::Process,
            (Some(_), Some("true")) => return Err("it runs either inside or at an agent".to_owned()),
            (_, Some(other)) => return Err(format!("inside is true or false, not {other:?}")),
        };
        let common = self.common.get("impair").map(|value| Impair::deserialize(value.clone())).transpose();
        let common = common.map_err(|error| format!("settings.impair: {error}"))?;
        // It has no settings of ours, and no network.
        let common = common.filter(|_| !matches!(does, Does::Foreign(_)));
        let impair = peer.impair.or(common);
        let expect = expect::read(&peer.expect.unwrap_or_default(), Scope::Call);
        let mut spec = PeerSpec {
            name: name.to_owned(),
            id: peer.id.map(id).transpose()?,
            start,
            does,
            place,
            env: peer.env.into_iter().map(|(name, value)| (name, value.0)).collect(),
            settings: BTreeMap::new(),
            named: BTreeSet::new(),
            impair: impair.map(impairments).transpose()?.unwrap_or_default(),
            expect: expect.map_err(|error| format!("expect: {error}"))?,
        };
        for spec in &spec.impair {
            spec.parse::<Impairments>().map_err(|error| format!("impair: {error}"))?;
        }
        self.settle(&mut spec, &peer.settings)?;
        Ok(spec)
    }

    /// Gives it its settings: what is usual, what all have, what it has itself.
    fn settle(&self, spec: &mut PeerSpec, own: &BTreeMap<String, toml::Value>) -> Result<(), String> {
        let command = match &spec.does {
            Does::Call(_) => CallCommand::Call,
            Does::Listen => CallCommand::Listen,
            Does::Foreign(_) if own.is_empty() && spec.impair.is_empty() => return Ok(()),
            Does::Foreign(_) => {
                return Err("another program has no settings of tring; pass them in its command".to_owned());
            }
        };
        let mut usual = USUAL.to_vec();
        if command == CallCommand::Listen {
            usual.extend(USUAL_OF_LISTENERS);
        }
        for (key, value) in usual {
            spec.settings.insert(key.to_owned(), vec![value.to_owned()]);
        }
        for (key, value) in self.common.iter().filter(|(key, _)| *key != "impair") {
            let key = self.known(key).map_err(|error| format!("settings: {error}"))?;
            // A setting of callers means nothing to one that listens.
            if self.options.takes(command, key) {
                self.set(spec, command, key, value)?;
            }
        }
        for (key, value) in own {
            let key = self.known(key)?;
            if !self.options.takes(command, key) {
                let others = if command == CallCommand::Call { "one that listens" } else { "one that calls" };
                return Err(format!("{key} is a setting of {others}"));
            }
            self.set(spec, command, key, value)?;
        }
        Ok(())
    }

    /// The long name of an option, which may be written with _ for -.
    fn known(&self, key: &str) -> Result<&str, String> {
        let dashed = key.replace('_', "-");
        let found = self.options.keys().find(|known| *known == dashed);
        found.ok_or_else(|| {
            let own = ["calls", "id", "start", "agent", "inside", "command", "env", "impair", "expect"];
            expect::unknown("setting", key, self.options.keys().chain(own))
        })
    }

    fn set(&self, spec: &mut PeerSpec, command: CallCommand, key: &str, value: &toml::Value) -> Result<(), String> {
        let values = match value {
            toml::Value::Array(list) => list.iter().map(text).collect::<Option<Vec<_>>>(),
            single => text(single).map(|word| vec![word]),
        };
        let values = values.ok_or_else(|| format!("{key}: a text, a number or a list of them belongs here"))?;
        // Judged now, so that nothing starts of a file that is wrong.
        self.options.words(command, key, &values, self.folder)?;
        spec.settings.insert(key.to_owned(), values);
        spec.named.insert(key.to_owned());
        Ok(())
    }
}

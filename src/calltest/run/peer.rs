//! One who takes part in a run: where it stands, and what it has told. Pure.

use serde_json::Value;
use signalling::id::PeerId;
use tokio::sync::mpsc;

use super::super::peers::{PeerInput, PeerOutput};
use crate::calltest::judge::outcome::PeerOutcome;
use crate::calltest::scenario::script::{Does, PeerSpec};
use crate::output::sanitize::harmless_start;

/// Lines of a log that are kept of each peer: what went wrong stands at its end.
const LOG_MAX: usize = 5000;

/// Of a line.
const LINE_CHARS_MAX: usize = 2000;

/// Events that are kept of each peer: two days of a call.
pub(super) const EVENTS_MAX: usize = 200_000;

/// Where one who takes part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Waiting,
    Running,
    /// With this exit status, or by a signal.
    Ended(Option<i32>),
}

/// One who takes part, in this run.
pub(super) struct Peer {
    pub(super) spec: PeerSpec,
    pub(super) id: PeerId,
    pub(super) orders: Option<mpsc::Sender<PeerInput>>,
    pub(super) standing: Standing,
    pub(super) events: Vec<Value>,
    /// Events that a step has waited for lie before this.
    pub(super) seen: usize,
    pub(super) log: Vec<String>,
    pub(super) is_flooding: bool,
}

impl Peer {
    pub(super) fn is_running(&self) -> bool {
        self.standing == Standing::Running
    }

    /// True for one that told more than is kept.
    pub(super) const fn is_flooding(&self) -> bool {
        self.is_flooding
    }

    pub(super) fn has_told(&self, name: &str) -> bool {
        self.events.iter().any(|event| event["event"] == name)
    }

    pub(super) fn take(&mut self, told: PeerOutput) {
        match told {
            PeerOutput::Event(event) if self.events.len() < EVENTS_MAX => self.events.push(event),
            PeerOutput::Event(_) => self.is_flooding = true,
            PeerOutput::Text(line) | PeerOutput::Log(line) => {
                let line = harmless_start(&line, LINE_CHARS_MAX);
                if self.log.len() == LOG_MAX {
                    self.log.remove(0);
                }
                self.log.push(line);
            }
            PeerOutput::Ended(status) => {
                self.standing = Standing::Ended(status);
                self.orders = None;
            }
        }
    }

    /// Why it ended, as it says itself.
    pub(super) fn last_words(&self) -> String {
        let error = self.events.iter().rev().find(|event| event["event"] == "error");
        let ended = self.events.iter().rev().find(|event| event["event"] == "ended");
        let text = error.and_then(|event| event["text"].as_str()).map(str::to_owned);
        let of_end = |field: &str| ended.and_then(|event| event[field].as_str()).map(str::to_owned);
        let reason = match (of_end("reason"), of_end("detail")) {
            (Some(reason), Some(detail)) => Some(format!("{reason}: {detail}")),
            (reason, detail) => detail.or(reason),
        };
        let said = text.or(reason).or_else(|| self.log.last().cloned());
        said.map(|said| format!(" ({})", harmless_start(&said, LINE_CHARS_MAX))).unwrap_or_default()
    }

    pub(super) fn outcome(&self) -> PeerOutcome {
        let status = match self.standing {
            Standing::Ended(status) => status,
            Standing::Waiting | Standing::Running => None,
        };
        let (name, id) = (self.spec.name.clone(), self.id.to_string());
        PeerOutcome { name, id, status, events: self.events.clone(), log: self.log.clone() }
    }
}

/// True for one that calls.
pub(super) const fn is_caller(peer: &Peer) -> bool {
    matches!(peer.spec.does, Does::Call(_))
}

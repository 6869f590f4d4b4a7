//! From the events of a session to one finished call. Pure.
//!
//! - [`Record`]: what one side told so far
//! - [`LoadCall`]: what became of a call, as the event `load_call` says it; the form in which results travel
//! - [`Joiner`]: waits for the second side of a call where that is ours too

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::output::exit::ExitStatus;
use crate::output::sanitize::harmless_start;

/// Characters taken of a text of another machine: a reason and an address fit in.
pub(crate) const TEXT_CHARS_MAX: usize = 500;

/// One finished call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadCall {
    /// Calls at once of the step it belongs to.
    pub(crate) at_once: u32,
    pub(crate) caller: String,
    pub(crate) answerer: String,
    /// How the side that tells ended, by the name of its exit status: `done` when all went well.
    pub(crate) outcome: String,
    pub(crate) status: u8,
    /// Why it failed, where more is known.
    pub(crate) detail: Option<String>,
    /// True when media could flow, however it ended.
    pub(crate) connected: bool,
    /// From dialing to connected.
    pub(crate) setup_ms: Option<f64>,
    /// From accepted to connected.
    pub(crate) answer_to_connected_ms: Option<f64>,
    /// From accepted to the first picture.
    pub(crate) first_frame_ms: Option<f64>,
    pub(crate) duration_ms: Option<f64>,
    /// Kinds of the two ends of the path, as `host-host`.
    pub(crate) path: Option<String>,
    pub(crate) round_trip_ms: Option<f64>,
    /// What came, at the worse side where both are ours.
    #[serde(flatten)]
    pub(crate) received: Received,
}

/// What came at one side, or at both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Received {
    /// Share of packets lost, both media, 0 to 1.
    pub(crate) loss: Option<f64>,
    /// Interarrival jitter of the video.
    pub(crate) jitter_ms: Option<f64>,
    /// Freezes of the picture.
    pub(crate) freezes: u64,
    /// Pictures that this machine, or the path, was too slow to send.
    pub(crate) left_out: u64,
}

impl LoadCall {
    /// As another machine tells it, with nothing in it that a terminal would obey, and an outcome that there is.
    pub(crate) fn harmless(mut self) -> Self {
        self.outcome =
            ExitStatus::of_code(self.status).map_or_else(|| "unknown".to_owned(), |status| status.name().to_owned());
        for text in [Some(&mut self.caller), Some(&mut self.answerer), self.detail.as_mut(), self.path.as_mut()] {
            text.into_iter().for_each(|text| *text = harmless_start(text, TEXT_CHARS_MAX));
        }
        self
    }
}

impl Received {
    fn of(summary: &Value) -> Self {
        let received = &summary["received"];
        let count = |name: &str| {
            let of = |medium: &Value| medium[name].as_u64().unwrap_or(0);
            of(&received["video"]) + of(&received["audio"])
        };
        let (came, lost) = (count("packets"), count("lost"));
        Self {
            loss: (came + lost > 0).then(|| lost as f64 / (came + lost) as f64),
            jitter_ms: (came > 0).then(|| received["video"]["jitter_ms"].as_f64()).flatten(),
            freezes: received["video"]["freezes"].as_u64().unwrap_or(0),
            left_out: summary["sent"]["dropped"].as_u64().unwrap_or(0),
        }
    }

    /// Both sides of a call as one: the worse of each, counts added.
    fn with(&self, other: &Self) -> Self {
        let worse = |one: Option<f64>, other: Option<f64>| one.into_iter().chain(other).reduce(f64::max);
        Self {
            loss: worse(self.loss, other.loss),
            jitter_ms: worse(self.jitter_ms, other.jitter_ms),
            freezes: self.freezes.saturating_add(other.freezes),
            left_out: self.left_out.saturating_add(other.left_out),
        }
    }
}

/// What one side of a call told so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// Names the call at both sides.
    pub(crate) call_id: Option<String>,
    peer: Option<String>,
    dialing: Option<u64>,
    accepted: Option<u64>,
    connected: Option<u64>,
    first_frame_ms: Option<f64>,
    detail: Option<String>,
    /// The status that an error gave.
    failed: Option<u8>,
    summary: Option<Value>,
}

impl Record {
    /// Takes in an event; true when it was the last of its call.
    pub(crate) fn take(&mut self, event: &Value) -> bool {
        let ts = event["ts"].as_u64();
        match event["event"].as_str() {
            Some("dialing" | "incoming") => {
                self.dialing = ts;
                self.call_id = event["call_id"].as_str().map(str::to_owned);
                self.peer = event["peer"].as_str().map(str::to_owned);
            }
            Some("accepted") => self.accepted = ts,
            Some("connected") => self.connected = ts,
            Some("first_frame") => self.first_frame_ms = event["after_accept_ms"].as_f64(),
            Some("ended") => self.detail = event["detail"].as_str().map(str::to_owned),
            Some("error") => {
                self.failed = event["status"].as_u64().and_then(|status| u8::try_from(status).ok());
                self.detail = event["text"].as_str().map(str::to_owned);
            }
            Some("summary") => {
                self.summary = Some(event.clone());
                return true;
            }
            Some(_) | None => {}
        }
        false
    }

    /// True when media could flow.
    pub(crate) const fn was_connected(&self) -> bool {
        self.connected.is_some()
    }

    /// What came at this side.
    pub(crate) fn received(&self) -> Received {
        self.summary.as_ref().map(Received::of).unwrap_or_default()
    }

    /// The peer at the other side, as its events name it.
    pub(crate) fn peer(&self) -> &str {
        self.peer.as_deref().unwrap_or_default()
    }

    /// The call as it went, between these two. `ended` is the exit status of the session, where it ended with the call.
    pub(crate) fn finished(&self, at_once: u32, caller: &str, answerer: &str, ended: Option<i32>) -> LoadCall {
        let between = |from: Option<u64>| Some(self.connected?.checked_sub(from?)? as f64);
        let summary = self.summary.as_ref().unwrap_or(&Value::Null);
        let told = summary["status"].as_u64().and_then(|status| u8::try_from(status).ok());
        let ended = ended.and_then(|status| u8::try_from(status).ok());
        let killed = ExitStatus::Internal.code();
        let status = ended.or(self.failed).or(told).unwrap_or(killed);
        let pair = &summary["pair"];
        let ends = pair["local"].as_str().zip(pair["remote"].as_str());
        LoadCall {
            at_once,
            caller: caller.to_owned(),
            answerer: answerer.to_owned(),
            outcome: ExitStatus::name_of(status).to_owned(),
            status,
            detail: self.detail.clone().filter(|_| status != 0),
            connected: self.was_connected(),
            setup_ms: between(self.dialing),
            answer_to_connected_ms: between(self.accepted),
            first_frame_ms: self.first_frame_ms,
            duration_ms: summary["duration_ms"].as_f64(),
            path: ends.map(|(local, remote)| format!("{local}-{remote}")),
            round_trip_ms: pair["round_trip_ms"].as_f64(),
            received: self.received(),
        }
    }
}

/// Puts the two sides of calls together, whichever is told first.
#[derive(Debug, Default)]
pub(crate) struct Joiner {
    callers: BTreeMap<String, LoadCall>,
    answerers: BTreeMap<String, Received>,
}

impl Joiner {
    /// A caller's side is known; the call, when the other side is too, or has nothing to tell.
    pub(crate) fn caller(&mut self, call_id: Option<String>, call: LoadCall) -> Option<LoadCall> {
        let Some(id) = call_id.filter(|_| call.connected) else { return Some(call) };
        match self.answerers.remove(&id) {
            Some(received) => Some(joined(call, &received)),
            None => {
                self.callers.insert(id, call);
                None
            }
        }
    }

    /// An answerer's side is known; the call, when the other side is too.
    pub(crate) fn answerer(&mut self, call_id: String, received: Received) -> Option<LoadCall> {
        match self.callers.remove(&call_id) {
            Some(call) => Some(joined(call, &received)),
            None => {
                self.answerers.insert(call_id, received);
                None
            }
        }
    }

    /// Whether a caller's side still waits for the other.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.callers.is_empty()
    }

    /// Calls whose other side told nothing, as far as known.
    pub(crate) fn rest(&mut self) -> Vec<LoadCall> {
        self.answerers.clear();
        std::mem::take(&mut self.callers).into_values().collect()
    }
}

fn joined(call: LoadCall, other: &Received) -> LoadCall {
    LoadCall { received: call.received.with(other), ..call }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(events: &[Value]) -> Record {
        let mut record = Record::default();
        let last = events.iter().map(|event| record.take(event)).filter(|last| *last).count();
        assert_eq!(last, usize::from(record.summary.is_some()));
        record
    }

    fn good_call() -> Record {
        told(&[
            json!({"event": "online", "ts": 900}),
            json!({"event": "dialing", "ts": 1000, "call_id": "c1", "peer": "bob"}),
            json!({"event": "accepted", "ts": 1040}),
            json!({"event": "connected", "ts": 1100}),
            json!({"event": "first_frame", "ts": 1120, "after_accept_ms": 80.5}),
            json!({"event": "ended", "ts": 3000, "detail": null}),
            json!({
                "event": "summary", "status": 0, "duration_ms": 2000.0,
                "pair": {"local": "host", "remote": "prflx", "round_trip_ms": 0.5},
                "sent": {"dropped": 2},
                "received": {
                    "video": {"packets": 90, "lost": 5, "jitter_ms": 1.5, "freezes": 1},
                    "audio": {"packets": 100, "lost": 5},
                },
            }),
        ])
    }

    #[test]
    fn a_call_that_went_well_has_its_times_and_what_came() {
        let call = good_call().finished(10, "alice", "bob", Some(0));
        assert_eq!((call.outcome.as_str(), call.status, call.connected), ("done", 0, true));
        assert_eq!(
            (call.setup_ms, call.answer_to_connected_ms, call.first_frame_ms),
            (Some(100.0), Some(60.0), Some(80.5))
        );
        assert_eq!((call.path.as_deref(), call.round_trip_ms), (Some("host-prflx"), Some(0.5)));
        assert_eq!(call.received, Received { loss: Some(0.05), jitter_ms: Some(1.5), freezes: 1, left_out: 2 });
    }

    #[test]
    fn a_call_that_failed_names_its_cause_and_invents_no_figures() {
        let record = told(&[
            json!({"event": "dialing", "ts": 1000, "call_id": "c1", "peer": "bob"}),
            json!({"event": "ended", "reason": "offline", "detail": null}),
            json!({"event": "summary", "status": 13, "received": {"video": null, "audio": null}}),
        ]);
        let call = record.finished(1, "alice", "bob", Some(13));
        assert_eq!((call.outcome.as_str(), call.connected, call.setup_ms), ("offline", false, None));
        assert_eq!(call.received, Received::default());
        let record = told(&[json!({"event": "error", "status": 20, "text": "no broker"})]);
        let call = record.finished(1, "alice", "bob", Some(20));
        assert_eq!((call.outcome.as_str(), call.detail.as_deref()), ("broker-unreachable", Some("no broker")));
        assert_eq!(Record::default().finished(1, "alice", "bob", None).outcome, "internal", "it was killed");
    }

    #[test]
    fn the_sides_of_a_call_join_whichever_is_told_first() {
        let call = || good_call().finished(10, "alice", "bob", Some(0));
        let other = Received { loss: Some(0.2), jitter_ms: None, freezes: 3, left_out: 0 };
        let expected = Received { loss: Some(0.2), jitter_ms: Some(1.5), freezes: 4, left_out: 2 };
        let mut joiner = Joiner::default();
        assert_eq!(joiner.caller(Some("c1".into()), call()), None);
        assert!(joiner.is_waiting());
        assert_eq!(joiner.answerer("c1".into(), other.clone()).unwrap().received, expected);
        assert_eq!(joiner.answerer("c2".into(), other), None);
        assert_eq!(joiner.caller(Some("c2".into()), call()).unwrap().received, expected);
        assert!(!joiner.is_waiting());
        assert_eq!(joiner.caller(Some("c3".into()), call()), None);
        assert_eq!(joiner.rest().len(), 1);
        let failed = LoadCall { connected: false, ..call() };
        assert!(joiner.caller(Some("c4".into()), failed).is_some(), "nothing came at either side");
    }

    #[test]
    fn results_travel_as_events() {
        let call = good_call().finished(10, "alice", "bob", Some(0));
        let mut event = serde_json::to_value(&call).unwrap();
        event["v"] = 1.into();
        event["event"] = "load_call".into();
        assert_eq!(serde_json::from_value::<LoadCall>(event).unwrap(), call);
    }
}

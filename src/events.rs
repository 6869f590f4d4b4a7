//! What the program tells while it runs: one [`Event`] a thing that happened, printed as text or as one JSON line
//! (`--json`). Scripts rely on names and fields; unknown figures are null.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::load::record::LoadCall;
use crate::load::tally::StepSummary;
use crate::scenario::expect::Check as Expected;
use crate::scenario::outcome::{Outcome, Verdict};

/// Version of the event format.
pub(crate) const VERSION: u32 = 1;

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// Connected to the broker.
    Online { id: String, broker: String },
    /// Another program of this user is online by our ID, in process `process`: our call goes by its connection.
    Shared { process: u32 },
    /// The broker is gone; a call under way goes on.
    Offline { reason: String },
    /// A peer came, went, or does something else now; null when the broker holds nothing readable of it.
    Presence { id: String, state: Option<&'static str> },
    /// We ring someone.
    Dialing,
    /// The other side rings.
    Ringing,
    /// Someone rings us.
    Incoming {
        /// While we are in another call.
        waiting: bool,
    },
    /// The call was answered.
    Accepted,
    /// Offer and answer are exchanged; a path is looked for.
    Connecting { video: Option<String>, audio: Option<String> },
    /// The path is up.
    Connected { pair: Option<Pair> },
    /// The first picture of the other side was shown.
    FirstFrame { after_accept_ms: Option<f64> },
    /// The first sound of the other side was heard.
    FirstAudio { after_accept_ms: Option<f64> },
    /// Once a second.
    Stats(Box<Stats>),
    /// A side's microphone or camera was switched.
    Muted { side: &'static str, audio: bool, video: bool },
    /// A side put the call on hold, or talks again.
    Held { side: &'static str, on: bool },
    /// The path is interrupted.
    Reconnecting,
    /// The path is back, the same or another.
    Reconnected { pair: Option<Pair>, after_ms: Option<f64> },
    /// Someone called meanwhile and heard busy.
    TurnedAway { caller: String },
    /// Someone called and nobody answered; `started`: Unix time in ms.
    Missed { caller: String, started: u64 },
    /// The network of our media is made worse on purpose, from now on; null: a direction that is left as it is.
    Impaired { up: Option<String>, down: Option<String> },
    /// A picture was saved.
    Snapshot { file: String },
    /// Something is not as it should be; the program goes on.
    Warning { text: String },
    /// The call is over.
    Ended { reason: &'static str, detail: Option<String>, text: Option<String> },
    /// The whole call in figures.
    Summary(Box<Summary>),
    /// A message that others sent each other, for `tring trace`.
    Message(Box<Overheard>),
    /// One thing that `tring doctor` looked at.
    Check(Box<Check>),
    /// All that `tring doctor` found: `status` is how a call would end, 0 when it could work.
    Doctor { status: u8, failed: usize, warnings: usize },
    /// One call of `tring load` is over.
    LoadCall(Box<LoadCall>),
    /// One step of `tring load` is over.
    Load(Box<StepSummary>),
    /// `tring load` serves figures there.
    Metrics { address: String },
    /// A run of a call test is over.
    TestRun(Box<TestRun>),
    /// All that `tring test` found.
    TestSummary(TestSummary),
    /// The program ends with an error.
    Error { status: u8, text: String },
}

/// A message on a call topic, as whoever reads along sees it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Overheard {
    pub(crate) from: String,
    pub(crate) to: Option<String>,
    /// Its name on the wire; null when nobody can read it.
    #[serde(rename = "type")]
    pub(crate) kind: Option<&'static str>,
    pub(crate) id: Option<String>,
    /// In words.
    pub(crate) meaning: String,
    pub(crate) bytes: usize,
    /// Since the first message of its call.
    pub(crate) since_ms: f64,
    /// How often it was said by now.
    pub(crate) times: u32,
    /// `new`; `resent` without an acknowledgement so far; `duplicate`.
    pub(crate) standing: &'static str,
    /// Of an `ack`: the message that arrived, its name, and how long that took; null when it was not seen.
    pub(crate) of: Option<String>,
    pub(crate) of_type: Option<&'static str>,
    pub(crate) after_ms: Option<f64>,
}

impl Default for Overheard {
    fn default() -> Self {
        Self {
            from: String::new(),
            to: None,
            kind: None,
            id: None,
            meaning: String::new(),
            bytes: 0,
            since_ms: 0.0,
            times: 1,
            standing: "new",
            of: None,
            of_type: None,
            after_ms: None,
        }
    }
}

/// One thing that was looked at, and how it looks.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    /// Which one, where there are several.
    pub(crate) target: Option<String>,
    /// `ok`, `warning`, `failed` or `skipped`.
    pub(crate) status: &'static str,
    pub(crate) detail: String,
    /// What to try; only with a warning and a failure.
    pub(crate) fix: Option<String>,
    pub(crate) millis: f64,
}

/// What came of one run of a call test.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TestRun {
    /// Scenario, what the matrix chose, and which repetition.
    pub(crate) title: String,
    pub(crate) scenario: String,
    pub(crate) chosen: BTreeMap<String, String>,
    /// `passed`, `failed` or `skipped`.
    pub(crate) result: &'static str,
    /// Unix time in ms.
    pub(crate) started: u64,
    pub(crate) took_ms: f64,
    /// What went wrong, or why it was skipped.
    pub(crate) faults: Vec<String>,
    pub(crate) checks: Vec<Expected>,
    pub(crate) folder: Option<String>,
}

impl TestRun {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let (result, faults) = match &outcome.verdict {
            Verdict::Passed => ("passed", Vec::new()),
            Verdict::Failed(_) => ("failed", outcome.faults()),
            Verdict::Skipped(reason) => ("skipped", vec![reason.clone()]),
        };
        Self {
            title: outcome.title(),
            scenario: outcome.scenario.clone(),
            chosen: outcome.chosen.clone(),
            result,
            started: outcome.started,
            took_ms: outcome.took.as_secs_f64() * 1000.0,
            faults,
            checks: outcome.checks.clone(),
            folder: outcome.folder.as_ref().map(|folder| folder.display().to_string()),
        }
    }
}

/// What came of all runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct TestSummary {
    pub(crate) status: u8,
    pub(crate) runs: usize,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

/// The selected candidate pair.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Pair {
    pub(crate) local: String,
    pub(crate) remote: String,
    pub(crate) protocol: String,
    pub(crate) round_trip_ms: Option<f64>,
}

/// Figures of the last second.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Stats {
    pub(crate) pair: Option<Pair>,
    pub(crate) target_bps: Option<u32>,
    pub(crate) sent: Sent,
    pub(crate) received: Received,
}

/// What we send.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sent {
    pub(crate) video_bps: Option<f64>,
    pub(crate) audio_bps: Option<f64>,
    pub(crate) fps: Option<f64>,
    pub(crate) frames: u64,
    pub(crate) keyframes: u64,
    pub(crate) dropped: u64,
    /// Share of our video packets that the other side lost lately, 0 to 1.
    pub(crate) remote_loss: Option<f64>,
    pub(crate) remote_jitter_ms: Option<f64>,
}

/// What arrives.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Received {
    pub(crate) video_bps: Option<f64>,
    pub(crate) audio_bps: Option<f64>,
    pub(crate) fps: Option<f64>,
    /// Latency of sound less that of pictures; positive: sound is late.
    pub(crate) sync_ms: Option<f64>,
    /// How the other side's clock stands to ours, which latencies were put right by; `None`: not known, and neither are they.
    pub(crate) clock: Option<Clock>,
    pub(crate) video: Value,
    pub(crate) audio: Value,
}

/// The clock of the other side.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Clock {
    /// How far it is ahead of ours; 0 where the two agree as far as can be seen.
    pub(crate) ahead_ms: f64,
    /// How much that may be wrong by.
    pub(crate) within_ms: f64,
}

/// The whole call.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) reason: &'static str,
    pub(crate) status: u8,
    /// From connected to the end.
    pub(crate) duration_ms: Option<f64>,
    pub(crate) setup: Setup,
    pub(crate) pair: Option<Pair>,
    pub(crate) video_codec: Option<String>,
    pub(crate) sent: Sent,
    pub(crate) received: Received,
    /// Mean opinion score of the sound, estimated by the E-model (ITU-T G.107).
    pub(crate) mos: Option<f64>,
    pub(crate) recording: Option<Recording>,
    pub(crate) signalling: Signalling,
    pub(crate) process: Process,
}

/// What the call cost this program so far.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Process {
    /// Processor time while the call stood, for each second of it; 1 is one core.
    pub(crate) cores: Option<f64>,
    /// Most memory held at once since the start, bytes.
    pub(crate) memory_peak_bytes: Option<u64>,
}

/// Where the time until the first picture went.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Setup {
    /// From dialing to the answer, ringing included (caller); from accepting to having answered (callee).
    pub(crate) signalling_ms: Option<f64>,
    /// From the answer to a working candidate pair.
    pub(crate) ice_ms: Option<f64>,
    /// From there to keys for media.
    pub(crate) dtls_ms: Option<f64>,
    /// From there to the first picture.
    pub(crate) first_frame_ms: Option<f64>,
    /// From accepting to the first picture.
    pub(crate) answer_to_first_frame_ms: Option<f64>,
}

/// What was recorded.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Recording {
    pub(crate) file: String,
    pub(crate) video_frames: u64,
    pub(crate) audio_frames: u64,
    pub(crate) duration_ms: f64,
}

/// What was not taken in.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Signalling {
    pub(crate) dropped: u64,
    pub(crate) duplicates: u64,
    pub(crate) candidates_left_out: u64,
}

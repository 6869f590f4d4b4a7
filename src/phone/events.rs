//! What a call tells while it goes on: one [`CallEvent`] a thing that happened. Scripts rely on names and fields; unknown
//! figures are null.

use media::call::incoming::{AudioFigures, VideoFigures};
use media::call::outgoing::SendingPlan;
use media::peer::PathEstimate;
use media::send::picture_plan::{PicturePlan, Reason};
use media::voice::{Processing, VoiceFigures};
use serde::{Serialize, Serializer};
use signalling::call::{EndReason, Side};
use signalling::seal::{Standing, Trust};

use crate::output::events::{Event, Progress};
use crate::output::streams::Worth;
use crate::platform::local_time;

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum CallEvent {
    /// Another program of this user is online by our ID, in process `process`: our call goes by its connection.
    Shared { process: u32 },
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
    /// The path is up while it still rings; nothing is sent before the answer.
    PathReady,
    /// Offer and answer are exchanged; a path is looked for.
    Connecting { video: Option<String>, audio: Option<String> },
    /// The path is up.
    Connected {
        pair: Option<Pair>,
        #[serde(flatten)]
        security: Security,
    },
    /// Both sides of a sealed call have the same four words, unless somebody sits in the middle.
    Words {
        words: String,
        /// Our user has compared the key of the other side, now or before.
        verified: bool,
    },
    /// Our user has compared the words of the call, and notes that they are the same, or takes it back.
    Verified { on: bool },
    /// The first picture of the other side was shown.
    FirstFrame { after_accept_ms: Option<f64> },
    /// The first sound of the other side was heard.
    FirstAudio { after_accept_ms: Option<f64> },
    /// Once a second.
    Stats(Box<Stats>),
    /// A side's microphone or camera was switched.
    Muted { side: Side, audio: bool, video: bool },
    /// Our microphone is processed in another way from now on.
    Voice { processing: Processing },
    /// A side put the call on hold, or talks again.
    Held { side: Side, on: bool },
    /// Media are sent in another way, because the line or this machine asks for it; of the other side: whether it sends
    /// pictures.
    Plan {
        side: Side,
        #[serde(flatten)]
        plan: Plan,
    },
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
    /// The call is over.
    Ended { reason: EndReason, detail: Option<String>, text: Option<String> },
    /// The whole call in figures.
    Summary(Box<Summary>),
}

/// How messages of a call come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Security {
    /// The broker can neither read them nor make them up.
    pub(crate) sealed: bool,
    /// Our user has compared the key of the other side.
    pub(crate) verified: bool,
    /// The words of that key.
    pub(crate) key: Option<String>,
}

impl Security {
    pub(crate) fn of(standing: Standing) -> Self {
        match standing {
            Standing::Plain => Self::default(),
            Standing::Sealed { keys, trust } => {
                Self { sealed: true, verified: trust == Trust::Verified, key: Some(keys.fingerprint().words()) }
            }
        }
    }

    /// What is added to what people read of a call.
    fn words(&self) -> &'static str {
        if self.sealed { "" } else { "; not verified: the broker can listen in" }
    }
}

/// The selected candidate pair.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Pair {
    pub(crate) local: String,
    pub(crate) remote: String,
    pub(crate) protocol: String,
    pub(crate) round_trip_ms: Option<f64>,
    /// How packets travel to our TURN server: `udp`, `tcp` or `tls`.
    pub(crate) relay_protocol: Option<&'static str>,
}

/// Figures of the last second.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Stats {
    pub(crate) pair: Option<Pair>,
    pub(crate) target_bps: Option<u32>,
    pub(crate) line: Option<Line>,
    pub(crate) plan: Plan,
    /// `None`: no microphone is sent.
    pub(crate) voice: Option<Voice>,
    pub(crate) sent: Sent,
    pub(crate) received: Received,
}

/// What is known of the line that we send on. Rates count whole RTP packets.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) sent_bps: u32,
    /// What arrived, as the other side tells.
    pub(crate) acknowledged_bps: Option<u32>,
    /// What of `sent_bps` was sent again.
    pub(crate) repair_bps: u32,
    /// How long a picture waits here before it leaves.
    pub(crate) pacer_ms: f64,
    /// How long packets wait in queues on the way.
    pub(crate) queue_ms: f64,
    /// Share of packets lost on the way, 0 to 1.
    pub(crate) loss: f64,
    pub(crate) round_trip_ms: Option<f64>,
}

impl From<PathEstimate> for Line {
    fn from(path: PathEstimate) -> Self {
        let ms = |duration: std::time::Duration| (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0;
        Self {
            sent_bps: path.sent_bps,
            acknowledged_bps: path.acknowledged_bps,
            repair_bps: path.repair_bps,
            pacer_ms: ms(path.pacer_queue),
            queue_ms: ms(path.queueing_delay),
            loss: (path.loss * 10_000.0).round() / 10_000.0,
            round_trip_ms: path.round_trip.map(ms),
        }
    }
}

/// The sound of our microphone.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Voice {
    pub(crate) processing: Processing,
    /// RMS before any processing, relative to full scale.
    pub(crate) level_dbfs: f64,
    /// How much quieter the microphone is than what the speaker plays.
    pub(crate) echo_return_loss_db: Option<f64>,
    /// The same of what is sent.
    pub(crate) echo_return_loss_sent_db: Option<f64>,
    /// How much later it comes than it was played.
    pub(crate) echo_delay_ms: Option<f64>,
    /// How often its sound was lost because this program was too late to take it.
    pub(crate) overruns: u64,
}

impl From<VoiceFigures> for Voice {
    fn from(figures: VoiceFigures) -> Self {
        let VoiceFigures { processing, level_dbfs, echo, overruns } = figures;
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        Self {
            processing,
            level_dbfs: rounded(level_dbfs),
            echo_return_loss_db: echo.map(|echo| rounded(echo.return_loss_db)),
            echo_return_loss_sent_db: echo.map(|echo| rounded(echo.sent_return_loss_db)),
            echo_delay_ms: echo.map(|echo| echo.delay_ms),
            overruns,
        }
    }
}

/// How media are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    /// Whether pictures are sent; `None` where there are none to send.
    pub(crate) pictures: Option<Pictures>,
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    /// Pictures a second, at most.
    pub(crate) fps: Option<u32>,
    /// Why pictures are sent like this.
    pub(crate) reason: Option<Reason>,
    pub(crate) sound_bps: Option<u32>,
    /// Length of a packet of sound.
    pub(crate) sound_packet_ms: Option<u32>,
    /// Earlier packets that each packet of sound carries copies of.
    pub(crate) sound_copies: Option<u32>,
}

/// Whether pictures are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pictures {
    /// They are.
    Sent,
    /// The line is too narrow for them.
    Paused,
}

impl Plan {
    /// Of the other side, which tells no more.
    pub(crate) fn of_other_side(paused: bool) -> Self {
        Self { pictures: Some(if paused { Pictures::Paused } else { Pictures::Sent }), ..Self::default() }
    }
}

impl From<SendingPlan> for Plan {
    fn from(plan: SendingPlan) -> Self {
        let shape = plan.pictures.and_then(|(pictures, _)| match pictures {
            PicturePlan::Sent(shape) => Some(shape),
            PicturePlan::Paused => None,
        });
        Self {
            pictures: plan.pictures.map(|_| if shape.is_some() { Pictures::Sent } else { Pictures::Paused }),
            width: shape.map(|shape| shape.size.width),
            height: shape.map(|shape| shape.size.height),
            fps: shape.map(|shape| shape.fps),
            reason: plan.pictures.map(|(_, reason)| reason),
            sound_bps: plan.sound.map(|sound| sound.bps),
            sound_packet_ms: plan.sound.map(|sound| sound.frames * 20),
            sound_copies: plan.sound.map(|sound| sound.copies.count()),
        }
    }
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
    /// `None`: the path was never up.
    #[serde(serialize_with = "in_order_of_names")]
    pub(crate) video: Option<Box<VideoReceived>>,
    #[serde(serialize_with = "in_order_of_names")]
    pub(crate) audio: Option<Box<AudioReceived>>,
}

/// Pictures that arrive.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct VideoReceived {
    #[serde(flatten)]
    pub(crate) figures: VideoFigures,
    /// Of pictures of the test pattern, as this and as SSIM.
    pub(crate) psnr_db: Option<f64>,
    pub(crate) ssim: Option<f64>,
    /// Of single pictures; only of the last second.
    #[serde(flatten)]
    pub(crate) latencies: Option<Latencies>,
}

/// Latencies of single pictures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latencies {
    pub(crate) latencies_ms: Vec<i64>,
    pub(crate) latencies_left_out: u64,
}

/// Sound that arrives.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct AudioReceived {
    #[serde(flatten)]
    pub(crate) figures: AudioFigures,
    pub(crate) latency_ms: Option<f64>,
    pub(crate) mos: Option<f64>,
}

/// Writes the fields in the order of their names, as readers have always seen them.
fn in_order_of_names<T: Serialize, S: Serializer>(figures: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::to_value(figures).map_err(serde::ser::Error::custom)?.serialize(serializer)
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
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) reason: EndReason,
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

impl Summary {
    /// Of a call that ended for this reason, and of which nothing else is known.
    pub(crate) fn of(reason: EndReason) -> Self {
        Self {
            reason,
            status: 0,
            duration_ms: None,
            setup: Setup::default(),
            pair: None,
            video_codec: None,
            sent: Sent::default(),
            received: Received::default(),
            mos: None,
            recording: None,
            signalling: Signalling::default(),
            process: Process::default(),
        }
    }
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

impl Event for CallEvent {
    fn words(&self, peer: &str) -> Option<String> {
        Some(match self {
            Self::Shared { process } => format!("calling by the connection of process {process}, which is online here"),
            Self::Dialing => format!("calling {peer} …"),
            Self::Ringing => format!("{peer} is ringing …"),
            Self::Incoming { waiting: false } => format!("{peer} is calling"),
            Self::Incoming { waiting: true } => format!("{peer} is calling too"),
            Self::Accepted => "answered".to_owned(),
            Self::PathReady | Self::Connecting { .. } | Self::FirstAudio { .. } | Self::Stats(_) => return None,
            Self::Connected { pair: Some(pair), security } => {
                let relay = match pair.relay_protocol {
                    Some("udp") | None => String::new(),
                    Some(protocol) => format!(", TURN over {}", protocol.to_uppercase()),
                };
                let unsealed = security.words();
                let (local, remote) = (&pair.local, &pair.remote);
                format!("connected with {peer} ({local} to {remote}, {}{relay}{unsealed})", pair.protocol)
            }
            Self::Connected { pair: None, .. } => format!("connected with {peer}"),
            // There is nothing left to compare.
            Self::Words { verified: true, .. } => return None,
            Self::Words { words, verified: false } => format!(
                "words of this call: {words}. Read them to each other: they are the same at {peer} unless somebody sits in \
                 the middle. If they are, press v in the view, or run `tring contacts verify {peer}`; if not, hang up"
            ),
            Self::Verified { on: true } => format!("{peer} is verified: the words are the same on both sides"),
            Self::Verified { on: false } => format!("{peer} is not verified any more"),
            Self::FirstFrame { after_accept_ms } => match after_accept_ms {
                Some(ms) => format!("first picture {ms:.0} ms after the answer"),
                None => "first picture".to_owned(),
            },
            Self::Muted { side, audio, video } => {
                let state = |off: bool| if off { "off" } else { "on" };
                let whose = if *side == Side::Remote { format!("{peer}'s ") } else { String::new() };
                format!("{whose}microphone {}, camera {}", state(*audio), state(*video))
            }
            Self::Voice { processing: Processing::Full } => "echo and noise are taken out of your voice".to_owned(),
            Self::Voice { processing: Processing::Raw } => "your voice is sent as it is".to_owned(),
            Self::Held { side: Side::Remote, on: true } => format!("{peer} put the call on hold"),
            Self::Held { side: Side::Remote, on: false } => format!("{peer} is back"),
            Self::Held { side: Side::Local, on: true } => format!("the call with {peer} is on hold"),
            Self::Held { side: Side::Local, on: false } => format!("you talk to {peer} again"),
            Self::Plan { side: Side::Remote, plan } => match plan.pictures {
                Some(Pictures::Paused) => format!("{peer}'s line is too narrow for pictures: sound alone"),
                Some(Pictures::Sent) | None => format!("{peer} sends pictures again"),
            },
            Self::Plan { side: Side::Local, plan } => sending(plan)?,
            Self::Reconnecting => "connection interrupted …".to_owned(),
            Self::Reconnected { after_ms: Some(ms), .. } => format!("connection is back after {:.1} s", ms / 1000.0),
            Self::Reconnected { after_ms: None, .. } => "connection is back".to_owned(),
            Self::TurnedAway { caller } => format!("{caller} called meanwhile and heard busy"),
            Self::Missed { caller, started } => format!("missed call from {caller} at {}", local_time::time(*started)),
            Self::Impaired { up: None, down: None } => "the network is left as it is".to_owned(),
            Self::Impaired { up, down } => {
                let said = |spec: &Option<String>| spec.clone().unwrap_or_else(|| "none".to_owned());
                format!("the network is made worse on purpose: up {}, down {}", said(up), said(down))
            }
            Self::Snapshot { file } => format!("picture saved as {file}"),
            Self::Ended { reason, detail, text } => {
                let detail = detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
                let said = text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
                format!("call with {peer} ended: {}{said}{detail}", ending(*reason))
            }
            Self::Summary(summary) => {
                let seconds = summary.duration_ms? / 1000.0;
                let fps = summary.received.fps.map_or("n/a".to_owned(), |fps| format!("{fps:.1}"));
                let kbps = summary.received.video_bps.map_or("n/a".to_owned(), |bps| format!("{:.0}", bps / 1000.0));
                format!("{seconds:.1} s; received video {fps} pictures/s at {kbps} kbit/s{}", judgement(summary))
            }
        })
    }

    fn worth(&self) -> Worth {
        if matches!(self, Self::Stats(_)) { Worth::Figures } else { Worth::Kept }
    }

    fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::Ended { .. }
                | Self::Summary(_)
                | Self::Snapshot { .. }
                | Self::TurnedAway { .. }
                | Self::Missed { .. }
        )
    }

    fn progress(&self, peer: &str) -> Option<Progress> {
        match self {
            Self::Dialing => Some(Progress::Begin(format!("calling {peer}"))),
            Self::Ringing => Some(Progress::GoOn(format!("{peer} is ringing"))),
            Self::Accepted => Some(Progress::GoOn("connecting".to_owned())),
            Self::Connected { .. } | Self::Ended { .. } => Some(Progress::End),
            _ => None,
        }
    }
}

/// How pictures are sent from now on; nothing of sound alone.
fn sending(plan: &Plan) -> Option<String> {
    let shape =
        format!("{}x{}, {} pictures/s", plan.width.unwrap_or(0), plan.height.unwrap_or(0), plan.fps.unwrap_or(0));
    Some(match (plan.pictures?, plan.reason?) {
        (Pictures::Paused, _) => "the line is too narrow for pictures: sending sound alone".to_owned(),
        (Pictures::Sent, Reason::Whole) => format!("sending whole pictures again ({shape})"),
        (Pictures::Sent, Reason::Line) => format!("the line is narrow: sending {shape}"),
        (Pictures::Sent, Reason::Machine) => format!("this machine is too slow for more: sending {shape}"),
    })
}

/// How good it was, as far as that is known: the picture only of the test pattern, sync only with the test tone too.
fn judgement(summary: &Summary) -> String {
    let psnr = summary.received.video.as_ref().and_then(|video| video.psnr_db);
    let parts = [
        psnr.map(|db| format!(", PSNR {db:.1} dB")),
        summary.received.sync_ms.map(|ms| format!("; sound {ms:+.0} ms after the picture")),
        summary.mos.map(|mos| format!("; MOS about {mos:.1}")),
    ];
    parts.into_iter().flatten().collect()
}

/// Why a call ended, for people.
pub(crate) const fn ending(reason: EndReason) -> &'static str {
    match reason {
        EndReason::LocalHangup => "hung up",
        EndReason::RemoteHangup => "the other side hung up",
        EndReason::LocalCancel => "cancelled",
        EndReason::RemoteCancel => "the caller gave up",
        EndReason::LocalDecline => "declined",
        EndReason::RemoteDecline => "the other side declined",
        EndReason::Busy => "busy",
        EndReason::Identity => {
            "our key is not the one that is known there; or our call went in plain, and sealed ones alone are taken there"
        }
        EndReason::Commitment => "the identity of the other side is in doubt",
        EndReason::NoAnswer => "no answer",
        EndReason::Offline => "nobody there by that ID",
        EndReason::NoPath => "no network path",
        EndReason::Lost => "connection lost",
        EndReason::LocalFailure => "this side cannot take part",
    }
}

//! What the program tells: events as text for people or as JSON lines for programs; or, of a session inside this program,
//! over a channel to whoever runs it. Written by [`crate::output`]: whoever tells something never waits.
//!
//! While we dial, people at a terminal read one line that is rewritten in place.

use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;
use signalling::id::{CallId, PeerId};
use tokio::sync::mpsc;

use crate::cli::Output;
use crate::events::{Event, Summary, VERSION};
use crate::harmless::{harmless, harmless_coloured, harmless_json, harmless_lines};
use crate::local_time;
use crate::output::{self, Item, Worth};

/// Prints events. One a program, and one a session inside it.
#[derive(Debug)]
pub(crate) struct Printer {
    form: Form,
    /// True where a line can be rewritten in place.
    is_live: bool,
    screen: Mutex<Screen>,
}

/// Who has the terminal.
#[derive(Debug)]
enum Screen {
    Ours,
    /// A full-screen view, which text would spoil; what is worth reading afterwards is kept.
    Taken {
        kept: Vec<String>,
        /// The view that is open, and one before it that is still closing.
        views: usize,
    },
}

/// Lines kept while a view has the terminal: a few a call. What does not fit is in the log of calls.
const KEPT_MAX: usize = 200;

#[derive(Clone, Debug)]
enum Form {
    Text,
    Quiet,
    Json,
    /// As values of the same shape as the lines, to whoever runs the session. What it cannot take is dropped, logged.
    Channel(mpsc::Sender<Value>),
}

#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    ts: u64,
    #[serde(flatten)]
    event: &'a Event,
    call_id: Option<&'a str>,
    peer: Option<&'a str>,
}

impl Printer {
    pub(crate) fn new(output: Output) -> Self {
        let form = match (output.json, output.quiet) {
            (true, _) => Form::Json,
            (false, true) => Form::Quiet,
            (false, false) => Form::Text,
        };
        let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        let is_live = matches!(form, Form::Text) && io::stdout().is_terminal() && !dumb;
        Self { form, is_live, screen: Mutex::new(Screen::Ours) }
    }

    /// One that prints nothing, and tells whoever runs a session inside this program.
    pub(crate) fn to_channel(events: mpsc::Sender<Value>) -> Self {
        let screen = Mutex::new(Screen::Ours);
        Self { form: Form::Channel(events), is_live: false, screen }
    }

    /// True when people read along.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.form, Form::Text)
    }

    /// True where a line can be rewritten in place.
    pub(crate) fn is_live(&self) -> bool {
        self.is_live
    }

    /// True when programs read along.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.form, Form::Json | Form::Channel(_))
    }

    /// A full-screen view is about to take the terminal.
    pub(crate) fn screen_taken(&self) {
        output::end_progress();
        match &mut *self.screen() {
            Screen::Taken { views, .. } => *views += 1,
            screen @ Screen::Ours => *screen = Screen::Taken { kept: Vec::new(), views: 1 },
        }
    }

    /// The terminal is ours again: what is worth reading of the time between is printed now.
    pub(crate) fn screen_is_back(&self) {
        let mut screen = self.screen();
        if let Screen::Taken { kept, views } = &mut *screen {
            *views -= 1;
            if *views == 0 {
                kept.iter().for_each(|line| write_line(line, Worth::Kept));
                *screen = Screen::Ours;
            }
        }
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the line for later, if a view has the terminal; true when it did, and when nobody would miss it.
    fn is_kept(&self, event: &Event, peer: &str) -> bool {
        let mut screen = self.screen();
        let Screen::Taken { kept, .. } = &mut *screen else { return false };
        if is_lasting(event)
            && kept.len() < KEPT_MAX
            && let Some(line) = text(event, peer)
        {
            kept.push(line);
        }
        true
    }

    /// Tells of an event that belongs to no call.
    pub(crate) fn tell(&self, event: &Event) {
        self.print(event, None, None);
    }

    /// Tells of an event of a call.
    pub(crate) fn tell_of(&self, event: &Event, call: &CallId, peer: &PeerId) {
        self.print(event, Some(call.as_str()), Some(peer.as_str()));
    }

    /// Tells of something in a call of others.
    pub(crate) fn tell_of_call(&self, event: &Event, call: Option<&CallId>) {
        self.print(event, call.map(CallId::as_str), None);
    }

    /// Prints a result for people, or raw data: always, in every form but a channel, where nobody reads text.
    pub(crate) fn result(&self, text: &str) {
        match self.form {
            Form::Text | Form::Quiet => write_line(&harmless_lines(text), Worth::Kept),
            Form::Json => write_line(&harmless_json(text), Worth::Kept),
            Form::Channel(_) => {}
        }
    }

    /// Hands an event of another program of ours on, as the line it printed.
    pub(crate) fn pass_on(&self, line: &str, event: &Value) {
        let worth = if event["event"] == "stats" { Worth::Figures } else { Worth::Kept };
        if matches!(self.form, Form::Json) {
            write_line(&harmless_json(line), worth);
        }
    }

    /// Prints a result with colours of our own; what others wrote in it was cleaned before.
    pub(crate) fn coloured_result(&self, text: &str) {
        match self.form {
            Form::Text | Form::Quiet => write_line(&harmless_coloured(text), Worth::Kept),
            Form::Json | Form::Channel(_) => self.result(text),
        }
    }

    /// Shows these lines on a terminal in place of those that were shown last; each must fit into its width.
    pub(crate) fn redraw(&self, lines: &[String]) {
        output::stdout().push(Item::Redraw(lines.iter().map(|line| harmless(line)).collect()), Worth::Spare);
    }

    /// Rings the terminal's bell, where a person sits at one.
    pub(crate) fn bell(&self) {
        if matches!(self.form, Form::Text | Form::Quiet) && io::stdout().is_terminal() {
            output::stdout().push(Item::Out(b"\x07".to_vec()), Worth::Spare);
        }
    }

    /// Waits until what was told has been written, about: for those who can hold up whoever they hear from.
    pub(crate) async fn room(&self) {
        match self.form {
            Form::Text | Form::Quiet | Form::Json => output::stdout().room().await,
            Form::Channel(_) => {}
        }
    }

    fn print(&self, event: &Event, call_id: Option<&str>, peer: Option<&str>) {
        match &self.form {
            Form::Channel(events) => {
                let line = Line { v: VERSION, ts: unix_ms(), event, call_id, peer };
                let told = serde_json::to_value(&line).map(|value| events.try_send(value));
                if !matches!(told, Ok(Ok(()))) {
                    tracing::debug!(?event, "nobody took this event");
                }
            }
            Form::Json => {
                if let Some(dropped) = output::stdout().dropped_figures() {
                    let text = format!("{dropped} events with figures were left out: they were read too slowly");
                    write_json(&Event::Warning { text }, call_id, peer, Worth::Kept);
                }
                let worth = if matches!(event, Event::Stats(_)) { Worth::Figures } else { Worth::Kept };
                write_json(event, call_id, peer, worth);
            }
            Form::Quiet => {}
            Form::Text if self.is_kept(event, peer.unwrap_or("?")) => {}
            Form::Text if self.is_live && is_progress(event, peer.unwrap_or("?")) => {}
            Form::Text => {
                if let Some(text) = text(event, peer.unwrap_or("?")) {
                    write_line(&text, Worth::Kept);
                }
            }
        }
    }
}

fn write_json(event: &Event, call_id: Option<&str>, peer: Option<&str>, worth: Worth) {
    let line = Line { v: VERSION, ts: unix_ms(), event, call_id, peer };
    match serde_json::to_string(&line) {
        Ok(text) => write_line(&harmless_json(&text), worth),
        Err(error) => tracing::error!(%error, "event cannot be written"),
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn write_line(text: &str, worth: Worth) {
    output::stdout().push(Item::Out(format!("{text}\n").into_bytes()), worth);
}

/// True for what is of interest when it is over.
const fn is_lasting(event: &Event) -> bool {
    matches!(
        event,
        Event::Ended { .. }
            | Event::Summary(_)
            | Event::Warning { .. }
            | Event::Snapshot { .. }
            | Event::TurnedAway { .. }
            | Event::Missed { .. }
    )
}

/// Tells on the progress line how far we are; true when that says it all.
fn is_progress(event: &Event, peer: &str) -> bool {
    match event {
        Event::Dialing => {
            output::begin_progress(format!("calling {peer}"));
            true
        }
        Event::Ringing => output::go_on_with_progress(format!("{peer} is ringing")),
        Event::Accepted => output::go_on_with_progress("connecting".to_owned()),
        Event::Connected { .. } | Event::Ended { .. } | Event::Error { .. } => {
            output::end_progress();
            false
        }
        _ => false,
    }
}

/// The event for people, as one line without anything that a terminal obeys; `None` for what only programs want.
fn text(event: &Event, peer: &str) -> Option<String> {
    words(event, peer).map(|words| harmless(&words))
}

fn words(event: &Event, peer: &str) -> Option<String> {
    Some(match event {
        Event::Online { id, broker } => format!("online as {id} at {broker}"),
        Event::Shared { process } => format!("calling by the connection of process {process}, which is online here"),
        Event::Offline { reason } => format!("broker lost ({reason}); reconnecting"),
        Event::Presence { id, state: Some(state) } => format!("{id} is {state}"),
        Event::Presence { id, state: None } => format!("nothing is known of {id}"),
        Event::Dialing => format!("calling {peer} …"),
        Event::Ringing => format!("{peer} is ringing …"),
        Event::Incoming { waiting: false } => format!("{peer} is calling"),
        Event::Incoming { waiting: true } => format!("{peer} is calling too"),
        Event::Accepted => "answered".to_owned(),
        Event::Connecting { .. } | Event::FirstAudio { .. } | Event::Stats(_) => return None,
        Event::Connected { pair: Some(pair) } => {
            format!("connected with {peer} ({} to {}, {})", pair.local, pair.remote, pair.protocol)
        }
        Event::Connected { pair: None } => format!("connected with {peer}"),
        Event::FirstFrame { after_accept_ms } => match after_accept_ms {
            Some(ms) => format!("first picture {ms:.0} ms after the answer"),
            None => "first picture".to_owned(),
        },
        Event::Muted { side, audio, video } => {
            let state = |off: bool| if off { "off" } else { "on" };
            let whose = if *side == "remote" { format!("{peer}'s ") } else { String::new() };
            format!("{whose}microphone {}, camera {}", state(*audio), state(*video))
        }
        Event::Held { side: "remote", on: true } => format!("{peer} put the call on hold"),
        Event::Held { side: "remote", on: false } => format!("{peer} is back"),
        Event::Held { on: true, .. } => format!("the call with {peer} is on hold"),
        Event::Held { on: false, .. } => format!("you talk to {peer} again"),
        Event::Reconnecting => "connection interrupted …".to_owned(),
        Event::Reconnected { after_ms: Some(ms), .. } => format!("connection is back after {:.1} s", ms / 1000.0),
        Event::Reconnected { after_ms: None, .. } => "connection is back".to_owned(),
        Event::TurnedAway { caller } => format!("{caller} called meanwhile and heard busy"),
        Event::Missed { caller, started } => format!("missed call from {caller} at {}", local_time::time(*started)),
        Event::Impaired { up: None, down: None } => "the network is left as it is".to_owned(),
        Event::Impaired { up, down } => {
            let said = |spec: &Option<String>| spec.clone().unwrap_or_else(|| "none".to_owned());
            format!("the network is made worse on purpose: up {}, down {}", said(up), said(down))
        }
        Event::Snapshot { file } => format!("picture saved as {file}"),
        Event::Warning { text } => format!("warning: {text}"),
        Event::Ended { reason, detail, text } => {
            let detail = detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            let said = text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
            format!("call with {peer} ended: {}{said}{detail}", ending(reason))
        }
        Event::Summary(summary) => {
            let seconds = summary.duration_ms? / 1000.0;
            let fps = summary.received.fps.map_or("n/a".to_owned(), |fps| format!("{fps:.1}"));
            let kbps = summary.received.video_bps.map_or("n/a".to_owned(), |bps| format!("{:.0}", bps / 1000.0));
            format!("{seconds:.1} s; received video {fps} pictures/s at {kbps} kbit/s{}", judgement(summary))
        }
        // Errors go to stderr, by `main`; what is found is printed by its command, with colours.
        Event::Check(_)
        | Event::Doctor { .. }
        | Event::TestRun(_)
        | Event::TestSummary(_)
        | Event::Message(_)
        | Event::Error { .. } => return None,
        // A table says more.
        Event::LoadCall(_) | Event::Load(_) => return None,
        Event::Metrics { address } => format!("figures at http://{address}/metrics"),
    })
}

/// How good it was, as far as that is known: the picture only of the test pattern, sync only with the test tone too.
fn judgement(summary: &Summary) -> String {
    let psnr = summary.received.video.get("psnr_db").and_then(Value::as_f64);
    let parts = [
        psnr.map(|db| format!(", PSNR {db:.1} dB")),
        summary.received.sync_ms.map(|ms| format!("; sound {ms:+.0} ms after the picture")),
        summary.mos.map(|mos| format!("; MOS about {mos:.1}")),
    ];
    parts.into_iter().flatten().collect()
}

/// Why a call ended, for people.
pub(crate) fn ending(reason: &str) -> &str {
    match reason {
        "hangup" => "hung up",
        "remote-hangup" => "the other side hung up",
        "cancel" => "cancelled",
        "remote-cancel" => "the caller gave up",
        "decline" => "declined",
        "remote-decline" => "the other side declined",
        "busy" => "busy",
        "no-answer" => "no answer",
        "offline" => "nobody there by that ID",
        "no-path" => "no network path",
        "lost" => "connection lost",
        "failed" => "this side cannot take part",
        other => other,
    }
}

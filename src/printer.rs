//! All output on stdout: events as text for people or as JSON lines for programs.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use signalling::id::{CallId, PeerId};

use crate::cli::Output;
use crate::events::{Event, VERSION};

/// Prints events. One a program.
#[derive(Debug)]
pub(crate) struct Printer {
    form: Form,
    /// While the full-screen view has the terminal, text would spoil it.
    screen_taken: AtomicBool,
    /// Lines on the terminal that the next [`Printer::redraw`] replaces.
    drawn: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Quiet,
    Json,
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
        Self { form, screen_taken: AtomicBool::new(false), drawn: AtomicUsize::new(0) }
    }

    /// True when people read along.
    pub(crate) fn is_text(&self) -> bool {
        self.form == Form::Text
    }

    /// True when programs read along.
    pub(crate) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    pub(crate) fn set_screen_taken(&self, taken: bool) {
        self.screen_taken.store(taken, Ordering::Relaxed);
    }

    /// Tells of an event that belongs to no call.
    pub(crate) fn tell(&self, event: &Event) {
        self.print(event, None, None);
    }

    /// Tells of an event of a call.
    pub(crate) fn tell_of(&self, event: &Event, call: &CallId, peer: &PeerId) {
        self.print(event, Some(call.as_str()), Some(peer.as_str()));
    }

    /// Prints a result for people, or raw data: always, in every form.
    pub(crate) fn result(&self, text: &str) {
        write_line(text);
    }

    /// Shows these lines on a terminal in place of those that were shown last; each must fit into its width.
    pub(crate) fn redraw(&self, lines: &[String]) {
        use crossterm::cursor::MoveUp;
        use crossterm::queue;
        use crossterm::terminal::{Clear, ClearType};
        let drawn = self.drawn.swap(lines.len(), Ordering::Relaxed);
        let mut out = io::stdout().lock();
        let mut draw = || {
            if drawn > 0 {
                queue!(out, MoveUp(u16::try_from(drawn).unwrap_or(u16::MAX)))?;
            }
            queue!(out, Clear(ClearType::FromCursorDown))?;
            lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
            out.flush()
        };
        // As with all output, whoever looked on may be gone.
        let _gone = draw();
    }

    fn print(&self, event: &Event, call_id: Option<&str>, peer: Option<&str>) {
        match self.form {
            Form::Json => {
                let line = Line { v: VERSION, ts: unix_ms(), event, call_id, peer };
                match serde_json::to_string(&line) {
                    Ok(text) => write_line(&text),
                    Err(error) => tracing::error!(%error, "event cannot be written"),
                }
            }
            Form::Quiet => {}
            Form::Text if self.screen_taken.load(Ordering::Relaxed) => {}
            Form::Text => {
                if let Some(text) = text(event, peer.unwrap_or("?")) {
                    write_line(&text);
                }
            }
        }
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn write_line(text: &str) {
    let mut out = io::stdout().lock();
    // Whoever read along has gone away: the exit status still tells the outcome.
    let _gone = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// The event for people; `None` for what only programs want.
fn text(event: &Event, peer: &str) -> Option<String> {
    Some(match event {
        Event::Online { id, broker } => format!("online as {id} at {broker}"),
        Event::Offline { reason } => format!("broker lost ({reason}); reconnecting"),
        Event::Presence { id, state: Some(state) } => format!("{id} is {state}"),
        Event::Presence { id, state: None } => format!("nothing is known of {id}"),
        Event::Dialing => format!("calling {peer} …"),
        Event::Ringing => format!("{peer} is ringing …"),
        Event::Incoming => format!("{peer} is calling"),
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
        Event::Muted { audio, video } => {
            let state = |off: bool| if off { "off" } else { "on" };
            format!("microphone {}, camera {}", state(*audio), state(*video))
        }
        Event::Reconnecting => "connection interrupted …".to_owned(),
        Event::Reconnected => "connection is back".to_owned(),
        Event::TurnedAway { caller } => format!("{caller} called meanwhile and heard busy"),
        Event::Snapshot { file } => format!("picture saved as {file}"),
        Event::Warning { text } => format!("warning: {text}"),
        Event::Ended { reason, detail } => match detail {
            Some(detail) => format!("call ended: {} ({detail})", ending(reason)),
            None => format!("call ended: {}", ending(reason)),
        },
        Event::Summary(summary) => {
            let seconds = summary.duration_ms? / 1000.0;
            let fps = summary.received.fps.map_or("n/a".to_owned(), |fps| format!("{fps:.1}"));
            let kbps = summary.received.video_bps.map_or("n/a".to_owned(), |bps| format!("{:.0}", bps / 1000.0));
            format!("{seconds:.1} s; received video {fps} pictures/s at {kbps} kbit/s")
        }
        // Errors go to stderr, by `main`; what is found is printed by its command, with colours.
        Event::Check(_) | Event::Doctor { .. } | Event::Error { .. } => return None,
    })
}

fn ending(reason: &str) -> &str {
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

//! What the program tells: events as text for people or as JSON lines for programs; or, of a session inside this program,
//! over a channel to whoever runs it. Written by [`crate::output::streams`]: whoever tells something never waits.
//!
//! While we dial, people at a terminal read one line that is rewritten in place.

use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value;
use signalling::id::{CallId, PeerId};
use tokio::sync::mpsc;

use crate::cli::Output;
use crate::output::events::{Event, ProgramEvent, Progress, VERSION};
use crate::output::sanitize::{harmless, harmless_coloured, harmless_json, harmless_lines};
use crate::output::streams::{self, Item, Worth};
use crate::platform::clock::unix_ms;

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
struct Line<'a, E> {
    v: u32,
    ts: u64,
    #[serde(flatten)]
    event: &'a E,
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
        streams::end_progress();
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
    fn is_kept(&self, event: &impl Event, peer: &str) -> bool {
        let mut screen = self.screen();
        let Screen::Taken { kept, .. } = &mut *screen else { return false };
        if event.is_lasting()
            && kept.len() < KEPT_MAX
            && let Some(line) = text(event, peer)
        {
            kept.push(line);
        }
        true
    }

    /// Tells of an event that belongs to no call.
    pub(crate) fn tell(&self, event: &impl Event) {
        self.print(event, None, None);
    }

    /// Tells of an event of a call.
    pub(crate) fn tell_of(&self, event: &impl Event, call: &CallId, peer: &PeerId) {
        self.print(event, Some(call.as_str()), Some(peer.as_str()));
    }

    /// Tells of something in a call of others.
    pub(crate) fn tell_of_call(&self, event: &impl Event, call: Option<&CallId>) {
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
        streams::stdout().push(Item::Redraw(lines.iter().map(|line| harmless(line)).collect()), Worth::Spare);
    }

    /// Rings the terminal's bell, where a person sits at one.
    pub(crate) fn bell(&self) {
        if matches!(self.form, Form::Text | Form::Quiet) && io::stdout().is_terminal() {
            streams::stdout().push(Item::Out(b"\x07".to_vec()), Worth::Spare);
        }
    }

    /// Waits until what was told has been written, about: for those who can hold up whoever they hear from.
    pub(crate) async fn room(&self) {
        match self.form {
            Form::Text | Form::Quiet | Form::Json => streams::stdout().room().await,
            Form::Channel(_) => {}
        }
    }

    fn print(&self, event: &impl Event, call_id: Option<&str>, peer: Option<&str>) {
        match &self.form {
            Form::Channel(events) => {
                let line = Line { v: VERSION, ts: unix_ms(), event, call_id, peer };
                let told = serde_json::to_value(&line).map(|value| events.try_send(value));
                if !matches!(told, Ok(Ok(()))) {
                    tracing::debug!(?event, "nobody took this event");
                }
            }
            Form::Json => {
                if let Some(dropped) = streams::stdout().dropped_figures() {
                    let text = format!("{dropped} events with figures were left out: they were read too slowly");
                    write_json(&ProgramEvent::Warning { text }, call_id, peer);
                }
                write_json(event, call_id, peer);
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

fn write_json(event: &impl Event, call_id: Option<&str>, peer: Option<&str>) {
    let line = Line { v: VERSION, ts: unix_ms(), event, call_id, peer };
    match serde_json::to_string(&line) {
        Ok(text) => write_line(&harmless_json(&text), event.worth()),
        Err(error) => tracing::error!(%error, "event cannot be written"),
    }
}

fn write_line(text: &str, worth: Worth) {
    streams::stdout().push(Item::Out(format!("{text}\n").into_bytes()), worth);
}

/// Tells on the progress line how far we are; true when that says it all.
fn is_progress(event: &impl Event, peer: &str) -> bool {
    match event.progress(peer) {
        Some(Progress::Begin(text)) => {
            streams::begin_progress(text);
            true
        }
        Some(Progress::GoOn(text)) => streams::go_on_with_progress(text),
        Some(Progress::End) => {
            streams::end_progress();
            false
        }
        None => false,
    }
}

/// The event for people, as one line without anything that a terminal obeys; `None` for what only programs want.
fn text(event: &impl Event, peer: &str) -> Option<String> {
    event.words(peer).map(|words| harmless(&words))
}

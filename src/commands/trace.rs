//! `tring trace [PEER…]`: reads a broker live and draws what peers say to each other.
//!
//! - in: all call topics and presence, by a link that only looks on and so throws nobody off
//! - kept and drawn: [`crate::diagnose::trace`], pure
//! - out: a line a message as soon as it is complete; with `--json` an event a message, as it comes

use std::sync::Arc;
use std::time::{Duration, Instant};

use signalling::dialect::Dialect;
use signalling::id::PeerId;
use signalling::mqtt::{Audience, Link, LinkError, LinkEvent};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cli::Trace;
use crate::diagnose::trace::events::{Overheard, TraceEvent};
use crate::diagnose::trace::{Book, Content, Kind, Ladder, Message, Reader};
use crate::output::events::ProgramEvent;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::output::sanitize::harmless;
use crate::phone::identity;
use crate::phone::settings::{dialect, resolve_link};
use crate::platform::signals;

pub(crate) async fn run(options: Trace, printer: Arc<Printer>) -> Result<ExitStatus, Failure> {
    let config = resolve_link(&options.link, Audience::Only(Vec::new()))?;
    let dialect = dialect(&options.link);
    let keys = match &options.link.secret_key {
        Some(secret) => Some(identity::of_text(secret.expose())?),
        None => identity::kept(&config.me)?,
    };
    let reader = Reader::new(config.template.clone(), dialect, keys);
    let me = config.me.clone();
    let (link, _commands, events) = Link::tracer(config).map_err(|error| failure(&error))?;
    let stop = CancellationToken::new();
    let link_task = tokio::spawn(link.run(stop.clone()));
    let form = if printer.is_json() { Form::Json(Book::default()) } else { Form::Ladder(Ladder::of(&options.peers)) };
    let tracing = Tracing {
        printer,
        me,
        peers: options.peers,
        dialect,
        reader,
        form,
        began: Instant::now(),
        time: options.time,
        end: None,
    };
    let outcome = tracing.run(events).await;
    stop.cancel();
    if link_task.await.is_err() {
        tracing::warn!("the link to the broker panicked");
    }
    outcome
}

fn failure(error: &LinkError) -> Failure {
    Failure::new(error.into(), error)
}

/// What is made of messages.
enum Form {
    Ladder(Ladder),
    Json(Book),
}

struct Tracing {
    printer: Arc<Printer>,
    me: PeerId,
    /// Whose messages are shown; everybody's when there are none.
    peers: Vec<PeerId>,
    dialect: Dialect,
    reader: Reader,
    form: Form,
    began: Instant,
    /// How long to read once the broker has let us in.
    time: Option<Duration>,
    end: Option<Instant>,
}

impl Tracing {
    async fn run(mut self, mut events: mpsc::Receiver<LinkEvent>) -> Result<ExitStatus, Failure> {
        let mut ends = signals::heed();
        let printer = Arc::clone(&self.printer);
        loop {
            let (due, end) = (self.due(), self.end);
            tokio::select! {
                biased;
                _ = ends.next() => break,
                () = at(end) => break,
                // Messages wait while nobody reads: the broker is slowed down.
                event = next(&mut events, &printer) => self.link_event(event)?,
                () = at(due) => {}
            }
            self.print_ready();
        }
        if let Form::Ladder(ladder) = &mut self.form {
            ladder.finish().iter().for_each(|line| self.printer.result(&harmless(line)));
        }
        Ok(ExitStatus::Done)
    }

    /// When a line that waits for its acknowledgement has waited long enough.
    fn due(&self) -> Option<Instant> {
        match &self.form {
            Form::Ladder(ladder) => ladder.due().map(|due| self.began + due),
            Form::Json(_) => None,
        }
    }

    fn print_ready(&mut self) {
        if let Form::Ladder(ladder) = &mut self.form {
            ladder.ready(self.began.elapsed()).iter().for_each(|line| self.printer.result(&harmless(line)));
        }
    }

    fn link_event(&mut self, event: Option<LinkEvent>) -> Result<(), Failure> {
        match event {
            None => return Err(Failure::internal("the link to the broker ended")),
            Some(LinkEvent::Failed(error)) => return Err(failure(&error)),
            Some(LinkEvent::Up { broker, .. }) => {
                if self.end.is_none() {
                    self.end = self.time.map(|time| Instant::now() + time);
                }
                match &self.form {
                    Form::Json(_) => self.printer.tell(&ProgramEvent::Online { id: self.me.to_string(), broker }),
                    Form::Ladder(_) if self.printer.is_text() => {
                        let sealed = match self.dialect {
                            Dialect::Tring => format!("; what is sealed for others than {} shows as sealed", self.me),
                            Dialect::Apprtc => String::new(),
                        };
                        self.printer.result(&format!("reading along at {broker}{sealed}; Ctrl-C ends"));
                    }
                    Form::Ladder(_) => {}
                }
            }
            Some(LinkEvent::Down { reason }) => self.printer.tell(&ProgramEvent::Offline { reason }),
            Some(LinkEvent::Overheard { topic, payload, size, retained }) => {
                let at = self.began.elapsed();
                let message = self.reader.read(at, &topic, payload.as_deref(), size, retained);
                if let Some(message) = message.filter(|message| self.is_shown(message)) {
                    self.take(message);
                }
            }
            // A tracer has none of them.
            Some(
                LinkEvent::Message { .. }
                | LinkEvent::Refused { .. }
                | LinkEvent::Dropped { .. }
                | LinkEvent::Presence { .. }
                | LinkEvent::Ready { .. }
                | LinkEvent::Distrusted { .. }
                | LinkEvent::Echo,
            ) => {}
        }
        Ok(())
    }

    fn is_shown(&self, message: &Message) -> bool {
        let is_named = |peer: &PeerId| self.peers.contains(peer);
        self.peers.is_empty() || is_named(&message.from) || message.to.as_ref().is_some_and(is_named)
    }

    fn take(&mut self, mut message: Message) {
        message.to = message.to.or_else(|| match (self.dialect, &message.content, &self.peers[..]) {
            // Nobody says whom it is for; of two who were named it is the other.
            (Dialect::Apprtc, Content::Said { .. }, [one, other]) => {
                Some(if message.from == *one { other.clone() } else { one.clone() })
            }
            _ => None,
        });
        match &mut self.form {
            Form::Ladder(ladder) => ladder.take(&message),
            Form::Json(book) => {
                let entry = book.note(&message);
                let call = entry.call.clone();
                let event = event(message, entry.since, entry.kind);
                self.printer.tell_of_call(&event, call.as_ref());
            }
        }
    }
}

/// The next event, once there is room for what it will tell.
async fn next(events: &mut mpsc::Receiver<LinkEvent>, printer: &Printer) -> Option<LinkEvent> {
    printer.room().await;
    events.recv().await
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// A message as an event for programs.
fn event(message: Message, since: Duration, kind: Kind) -> TraceEvent {
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    let mut overheard = Overheard {
        from: message.from.to_string(),
        to: message.to.map(|to| to.to_string()),
        bytes: message.bytes,
        since_ms: millis(since),
        ..Overheard::default()
    };
    match message.content {
        Content::Presence { state, retained: _ } => {
            return TraceEvent::Presence {
                id: overheard.from,
                state: state.map(signalling::wire::PresenceState::name),
            };
        }
        Content::Said { name, id, words, call: _ } => {
            (overheard.kind, overheard.id, overheard.meaning) = (Some(name), id.map(String::from), words);
        }
        Content::Ack { of } => {
            (overheard.kind, overheard.of) = (Some("ack"), Some(of.to_string()));
        }
        Content::Unreadable { why } => overheard.meaning = why,
    }
    match kind {
        Kind::Opens | Kind::New => {}
        Kind::Resent { times } => (overheard.times, overheard.standing) = (times, "resent"),
        Kind::Duplicate { times } => (overheard.times, overheard.standing) = (times, "duplicate"),
        Kind::Acknowledges(acknowledged) => {
            overheard.of_type = Some(acknowledged.name);
            overheard.after_ms = Some(millis(acknowledged.after));
        }
        Kind::AcknowledgesUnknown => {}
    }
    TraceEvent::Message(Box::new(overheard))
}

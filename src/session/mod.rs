//! One loop that owns the line, the delivery, the link and the media of the call: event in, action out.
//!
//! - from the broker ([`broker`]): [`LinkEvent`] → envelope → [`Delivery`] → [`Line`]
//! - from the media ([`happenings`]): [`PeerEvent`], [`StreamEvent`], [`DisplayEvent`]
//! - from the user ([`user`]): [`control::Command`], signals
//! - out ([`acting`]): actions of the line, printed [`Event`]s; the last ones come from [`ending`]
//!
//! Nothing here decides what a call does next: that is the line's; nothing here touches a codec or a socket.

mod acting;
mod broker;
mod control;
mod ending;
mod figures;
mod happenings;
mod media;
mod user;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::media::display::DisplayEvent;
use ::media::display::window::WindowClient;
use ::media::peer::PeerEvent;
use ::media::stream::StreamEvent;
use signalling::call::{self, Line, Timeouts};
use signalling::delivery::Delivery;
use signalling::flood::Flood;
use signalling::id::{CallId, PeerId};
use signalling::mqtt::{Link, LinkEvent, LinkHandle};
use signalling::wire::PresenceState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::cli::Answer;
use crate::events::Event;
use crate::exit::{ExitStatus, Failure};
use crate::printer::Printer;
use crate::settings::{Control, Settings};
use figures::Meter;
use media::{CallMedia, Marks, OpenMedia, Prepared};

/// How often figures are looked at.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// How long the last messages may take to be acknowledged when the program ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the program is here for.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// Ring this peer, once.
    Call { peer: PeerId, absent: Absent },
    /// Wait for calls; `presence` is what others see while there is none.
    Listen { answer: Answer, calls: Calls, presence: PresenceState },
}

/// What a caller does when the other is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// End, and say so.
    End,
    /// Wait until presence says that the other is available.
    Wait,
}

/// How many calls are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    One,
    Many,
}

/// Runs a session to its end.
///
/// # Errors
/// A [`Failure`] with the exit status when something is wrong beyond a call's outcome.
pub(crate) async fn run(
    settings: Settings,
    role: Role,
    timeouts: Timeouts,
    printer: Arc<Printer>,
    windows: WindowClient,
) -> Result<ExitStatus, Failure> {
    let open = match &role {
        // What is missing is said before anyone is rung.
        Role::Call { .. } => Some(OpenMedia::open_aside(Arc::new(settings.media.clone())).await?),
        Role::Listen { answer: Answer::Reject, .. } => None,
        Role::Listen { .. } => {
            OpenMedia::probe(&settings.media).await?;
            None
        }
    };
    let link_failed = |error: signalling::mqtt::LinkError| Failure::new((&error).into(), error);
    let (link, handle, link_events) = Link::new(settings.link.clone()).map_err(link_failed)?;
    let at_rest = match role {
        Role::Call { .. } => PresenceState::Available,
        Role::Listen { presence, .. } => presence,
    };
    handle.set_presence(at_rest);
    let stop = CancellationToken::new();
    let link_task = tokio::spawn(link.run(stop.clone()));
    let me = settings.link.me.clone();
    let now = Instant::now();
    let session = Session {
        line: Line::new(me.clone(), timeouts),
        delivery: Delivery::new(me, settings.link.run),
        flood: Flood::default(),
        link: handle,
        at_rest,
        role,
        windows,
        printer,
        open,
        media: None,
        failure: None,
        prompt: None,
        preparing: JoinSet::new(),
        turn_checks: JoinSet::new(),
        current: None,
        dropped: 0,
        phase: Phase::Starting,
        interrupts: 0,
        meter: Meter::new(now),
        settings,
    };
    let result = session.run(link_events).await;
    stop.cancel();
    if link_task.await.is_err() {
        warn!("the link to the broker panicked");
    }
    result
}

struct Session {
    settings: Settings,
    role: Role,
    line: Line,
    delivery: Delivery,
    flood: Flood,
    link: LinkHandle,
    /// Our presence while no call stands.
    at_rest: PresenceState,
    windows: WindowClient,
    printer: Arc<Printer>,
    /// Opened before the call; whoever listens opens with each call.
    open: Option<OpenMedia>,
    media: Option<CallMedia>,
    /// What went wrong on our side in the call that ended the program.
    failure: Option<Failure>,
    prompt: Option<user::Prompt>,
    preparing: JoinSet<(CallId, Result<Box<Prepared>, Failure>)>,
    turn_checks: JoinSet<(CallId, Vec<String>)>,
    current: Option<CurrentCall>,
    dropped: u64,
    phase: Phase,
    interrupts: u32,
    meter: Meter,
}

/// What is known of the call under way beside its state.
struct CurrentCall {
    call: CallId,
    peer: PeerId,
    marks: Marks,
    stats_due: Option<Instant>,
    snapshot_due: Option<Instant>,
    hang_up_at: Option<Instant>,
    /// When the other counts as offline, unless presence says otherwise until then.
    offline_at: Option<Instant>,
    /// Why a path could not be found, as far as known.
    problems: Vec<String>,
    /// What went wrong on our side, with the exit status it asks for.
    failure: Option<Failure>,
    candidates_left_out: u64,
    muted: bool,
    camera_off: bool,
}

/// Where the program stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The broker was not reached yet.
    Starting,
    /// At work.
    Running,
    /// The outcome is known; last messages are being delivered.
    Leaving { status: ExitStatus, until: Instant },
}

impl Phase {
    /// The same outcome, now.
    fn without_farewell(self) -> Self {
        match self {
            Self::Leaving { status, .. } => Self::Leaving { status, until: Instant::now() },
            Self::Starting | Self::Running => self,
        }
    }
}

/// Everything the loop waits for.
enum Input {
    Link(Option<LinkEvent>),
    Peer(PeerEvent),
    Stream(StreamEvent),
    Display(DisplayEvent),
    Prepared(CallId, Result<Box<Prepared>, Failure>),
    TurnChecked(CallId, Vec<String>),
    Control(Option<control::Line>),
    Interrupted,
    Terminated,
    Time,
}

impl Session {
    async fn run(mut self, mut link_events: mpsc::Receiver<LinkEvent>) -> Result<ExitStatus, Failure> {
        let broken = |error: std::io::Error| Failure::internal(format!("cannot listen for signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
        let mut hang_up = signal(SignalKind::hangup()).map_err(broken)?;
        let mut commands = match self.settings.control {
            Control::Stdin => Some(control::read_commands(tokio::io::stdin())),
            Control::Terminal => None,
        };
        let mut keys = None;
        if self.asks_at_terminal() {
            let (prompt, answers) = user::read_keys(tokio::io::stdin());
            (self.prompt, keys) = (Some(prompt), Some(answers));
        }
        loop {
            let input = self
                .next(&mut link_events, &mut commands, &mut keys, [&mut interrupt, &mut terminate, &mut hang_up])
                .await;
            if let Err(failure) = self.handle(input, &mut commands).await {
                self.abandon(&failure).await;
                return Err(failure);
            }
            if let Phase::Leaving { status, until } = self.phase
                && (self.delivery.is_idle() || Instant::now() >= until)
                && self.preparing.is_empty()
            {
                return self.failure.take().map_or(Ok(status), Err);
            }
        }
    }

    async fn next(
        &mut self,
        link_events: &mut mpsc::Receiver<LinkEvent>,
        commands: &mut Option<mpsc::Receiver<control::Line>>,
        keys: &mut Option<mpsc::Receiver<control::Line>>,
        [interrupt, terminate, terminal_gone]: [&mut Signal; 3],
    ) -> Input {
        let deadline = self.deadline().map(tokio::time::Instant::from_std);
        let time = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = interrupt.recv() => Input::Interrupted,
            _ = terminate.recv() => Input::Terminated,
            _ = terminal_gone.recv() => Input::Terminated,
            event = link_events.recv() => Input::Link(event),
            Some(joined) = self.preparing.join_next() => match joined {
                Ok((call, prepared)) => Input::Prepared(call, prepared),
                // Cancelled with its call; a panic was reported by the panic hook and the call ends by time-out.
                Err(_) => Input::Time,
            },
            Some(joined) = self.turn_checks.join_next() => match joined {
                Ok((call, problems)) => Input::TurnChecked(call, problems),
                // Cancelled with its call.
                Err(_) => Input::Time,
            },
            input = media_input(&mut self.media) => input,
            line = receive(commands) => Input::Control(line),
            Some(line) = receive(keys) => Input::Control(Some(line)),
            () = time => Input::Time,
        }
    }

    /// The next moment at which time alone matters.
    fn deadline(&self) -> Option<Instant> {
        let leaving = match self.phase {
            Phase::Leaving { until, .. } => Some(until),
            Phase::Starting | Phase::Running => None,
        };
        let current = self.current.as_ref();
        let mut moments = [
            self.line.poll_timeout(),
            self.delivery.poll_timeout(),
            leaving,
            current.and_then(|call| call.stats_due),
            current.and_then(|call| call.snapshot_due),
            current.and_then(|call| call.hang_up_at),
            current.and_then(|call| call.offline_at),
        ];
        moments.sort();
        moments.into_iter().flatten().next()
    }

    async fn handle(
        &mut self,
        input: Input,
        commands: &mut Option<mpsc::Receiver<control::Line>>,
    ) -> Result<(), Failure> {
        match input {
            Input::Link(event) => self.link_event(event).await?,
            Input::Peer(event) => self.peer_event(event).await?,
            Input::Stream(event) => self.stream_event(event),
            Input::Display(event) => self.display_event(event).await?,
            Input::Prepared(call, prepared) => self.prepared(call, prepared).await?,
            Input::TurnChecked(call, problems) => self.turn_checked(call, problems).await?,
            Input::Control(Some(Ok(command))) => self.command(command).await?,
            Input::Control(Some(Err(text))) => {
                self.warn(text);
                // Whoever mistyped an answer is still being asked.
                if self.line.state().name() == "incoming"
                    && let Some(prompt) = &self.prompt
                {
                    prompt.ask();
                }
            }
            // A script that closes its end has nothing more to say; the call goes on.
            Input::Control(None) => *commands = None,
            Input::Interrupted => self.interrupted().await?,
            Input::Terminated => self.leave(ExitStatus::Done).await?,
            Input::Time => self.time().await?,
        }
        Ok(())
    }

    async fn time(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        let actions = self.line.handle_timeout(now);
        self.act(actions).await?;
        let outputs = self.delivery.handle_timeout(now);
        self.deliver(outputs).await?;
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let Some(current) = &mut self.current else { return Ok(()) };
        if due(current.hang_up_at) {
            current.hang_up_at = None;
            return self.line_event(call::Event::HangUp).await;
        }
        if due(current.offline_at) {
            current.offline_at = None;
            let peer = current.peer.clone();
            return self.line_event(call::Event::PeerOffline { peer }).await;
        }
        if due(current.snapshot_due) {
            current.snapshot_due = None;
            if let Some(file) = self.settings.media.snapshot.clone() {
                self.snapshot(file).await;
            }
        }
        if self.current.as_ref().is_some_and(|current| due(current.stats_due)) {
            self.stats().await;
        }
        Ok(())
    }

    async fn stats(&mut self) {
        let (Some(media), Some(current)) = (&mut self.media, &mut self.current) else { return };
        current.stats_due = current.stats_due.map(|due| (due + STATS_EVERY).max(Instant::now()));
        let stats = self.meter.look(media).await;
        media.set_status(&status_line(&current.peer, &stats)).await;
        self.tell(&Event::Stats(Box::new(stats)));
    }

    fn tell(&self, event: &Event) {
        match &self.current {
            Some(current) => self.printer.tell_of(event, &current.call, &current.peer),
            None => self.printer.tell(event),
        }
    }

    fn warn(&self, text: String) {
        self.tell(&Event::Warning { text });
    }

    fn problem(&mut self, text: String) {
        if let Some(current) = &mut self.current {
            current.problems.push(text);
        }
    }

    /// Something on our side failed that the exit status must tell, though the call goes on.
    fn fail_call(&mut self, failure: Failure) {
        if let Some(current) = &mut self.current {
            current.failure.get_or_insert(failure);
        }
    }

    fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }

    fn asks_at_terminal(&self) -> bool {
        matches!(self.role, Role::Listen { answer: Answer::Ask, .. }) && self.settings.control == Control::Terminal
    }
}

/// What the media of the call tells next; never, without a call.
async fn media_input(media: &mut Option<CallMedia>) -> Input {
    let Some(media) = media else { return std::future::pending().await };
    tokio::select! {
        Some(event) = media.peer_events.recv() => Input::Peer(event),
        Some(event) = media.stream_events.recv() => Input::Stream(event),
        Some(event) = media.display_events.recv() => Input::Display(event),
        else => std::future::pending().await,
    }
}

async fn receive<T>(channel: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match channel {
        Some(channel) => channel.recv().await,
        None => std::future::pending().await,
    }
}

/// One line of figures for the terminal view.
fn status_line(peer: &PeerId, stats: &crate::events::Stats) -> String {
    let kbps = |bps: Option<f64>| bps.map_or("n/a".to_owned(), |bps| format!("{:.0}", bps / 1000.0));
    let fps = stats.received.fps.map_or("n/a".to_owned(), |fps| format!("{fps:.0}"));
    let pair = stats.pair.as_ref().map_or("n/a".to_owned(), |pair| format!("{} to {}", pair.local, pair.remote));
    let latency = stats.received.video.get("latency_p50_ms").and_then(serde_json::Value::as_f64);
    let latency = latency.map_or(String::new(), |ms| format!(" · {ms:.0} ms"));
    format!(
        " {peer} · {fps} pictures/s · in {} out {} kbit/s{latency} · {pair} · q end · m mute · c camera ",
        kbps(stats.received.video_bps),
        kbps(stats.sent.video_bps),
    )
}

//! One loop that owns the phone, the delivery (a [`Delivery`]), the link and the media of its calls: event in, action out.
//! It takes one piece of [`work`] at a time; what follows from one waits behind what is there already.
//!
//! - from the broker ([`broker`]): [`LinkEvent`] → [`Delivery`] → [`Phone`]
//! - from the media ([`happenings`]): what peer connections, streams and the view tell
//! - from the user ([`user`]): [`control::Command`], signals
//! - from work that goes on aside ([`jobs`]): descriptions, devices, TURN checks
//! - out ([`acting`], [`media_actions`]): actions of the phone, printed [`Event`]s; the last ones come from [`ending`]
//! - other programs with our ID ([`guests`]): their messages go by our link
//! - beside all that ([`habits`]): ringing, the call log; [`rules`]: whether the broker lets our messages through
//!
//! Nothing here decides what a call does next: that is the phone's; nothing here touches a codec or a socket.

mod acting;
mod broker;
mod calls;
pub(crate) mod control;
mod descriptions;
mod driver;
mod ending;
mod figures;
mod guests;
mod habits;
mod happenings;
mod hints;
mod jobs;
mod labels;
mod media;
mod media_actions;
mod open;
mod prompt;
mod quality;
mod rules;
mod snapshot;
#[cfg(test)]
mod snapshots;
mod streams;
#[cfg(test)]
mod tests;
mod turned_away;
mod user;
mod view;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::media::display::DisplayEvent;
use ::media::display::window::WindowClient;
use signalling::call::{self, Phone, PhoneConfig, Updates};
use signalling::dialect::{Delivery, Dialect};
use signalling::flood::Flood;
use signalling::id::{CallId, PeerId};
use signalling::mqtt::{Link, LinkEvent, LinkHandle};
use signalling::wire::PresenceState;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::cli::Answer;
use crate::output::events::{Event, ProgramEvent};
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::events::CallEvent;
use crate::phone::settings::{Control, Settings};
use crate::phone::sharing::desk::Desk;
use crate::phone::sharing::{self, Card, FromGuest, Part, Seat};
use crate::platform::signals::End;
use calls::{LiveCall, LiveCalls, MediaInput};
use driver::Signals;
pub(crate) use driver::{Driver, Orders};
use habits::Habits;
use jobs::Done;
use labels::Help;
pub(crate) use labels::KEYS;
use open::{Aside, OpenMedia, Speaking};
use prompt::Prompt;
use rules::Echo;
use view::View;
use work::{Queue, Work};

/// How often figures are looked at.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// Warnings a call of what its partner can bring about as often as it likes.
const WARNINGS_MAX: usize = 8;

/// What guests say and the session has not heard yet; then they wait.
const GUEST_INPUTS_MAX: usize = 64;

/// What the program is here for.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// Ring this peer, once.
    Call { peer: PeerId, absent: Absent },
    /// Wait for calls; `presence` is what others see while there is none.
    Listen { answer: Answer, calls: Calls, presence: PresenceState },
}

impl Role {
    /// What others see of us while no call stands.
    const fn at_rest(&self) -> PresenceState {
        match self {
            Self::Call { .. } => PresenceState::Available,
            Self::Listen { presence, .. } => *presence,
        }
    }
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

/// Runs a session to its end. `driver` is who has a say in it.
///
/// # Errors
/// A [`Failure`] with the exit status when something is wrong beyond a call's outcome.
pub(crate) async fn run(
    settings: Settings,
    role: Role,
    phone_config: PhoneConfig,
    printer: Arc<Printer>,
    windows: WindowClient,
    driver: Driver,
) -> Result<ExitStatus, Failure> {
    let view = View::new(settings.media.show);
    // Dropped last: guests connect themselves when this program has left the broker.
    let closing = CancellationToken::new();
    let _lets_guests_go = closing.clone().drop_guard();
    let card = Card::new(&settings.link, settings.dialect, part(&role));
    let seat = match driver {
        Driver::User => sharing::enter(&card).await?,
        Driver::Owner(_) => Seat::Alone,
    };
    let open = match &role {
        // What is missing is said before anyone is rung.
        Role::Call { .. } => {
            Some(OpenMedia::open_aside(Arc::new(settings.media.clone()), view.own(), Speaking::Needed).await?)
        }
        Role::Listen { answer: Answer::Reject, .. } => None,
        Role::Listen { .. } => {
            OpenMedia::probe(&settings.media).await?;
            None
        }
    };
    let link_failed = |error: signalling::mqtt::LinkError| Failure::new((&error).into(), error);
    let (link, handle, link_events) = Link::new(settings.link.clone()).map_err(link_failed)?;
    handle.set_presence(role.at_rest());
    let stop = CancellationToken::new();
    // Also where the session is given up half-way, which only an owner inside the program does.
    let _ends_link = stop.clone().drop_guard();
    let (guests_tx, guests) = mpsc::channel(GUEST_INPUTS_MAX);
    let link_task = match seat {
        Seat::Host(listener) => {
            listener.serve(guests_tx, closing);
            tokio::spawn(link.run(stop.clone()))
        }
        Seat::Guest(visit) => {
            printer.tell(&CallEvent::Shared { process: visit.process });
            tokio::spawn(visit.carry(link, card, stop.clone(), guests_tx, closing))
        }
        Seat::Alone => tokio::spawn(link.run(stop.clone())),
    };
    let session =
        Session::new(settings, role, phone_config, Surroundings { link: handle, guests, windows, printer }, view, open);
    let result = session.run(link_events, driver).await;
    stop.cancel();
    if link_task.await.is_err() {
        warn!("the link to the broker panicked");
    }
    result
}

/// What another program with our ID is to know of us.
fn part(role: &Role) -> Part {
    match role {
        Role::Call { peer, .. } => Part::Calls(peer.clone()),
        Role::Listen { .. } => Part::Listens,
    }
}

struct Session {
    settings: Settings,
    role: Role,
    phone: Phone,
    delivery: Delivery,
    flood: Flood,
    link: LinkHandle,
    /// The one that was reached last.
    broker: Option<String>,
    /// Other programs with our ID.
    desk: Desk,
    guests: mpsc::Receiver<FromGuest>,
    /// Our presence while no call stands.
    at_rest: PresenceState,
    windows: WindowClient,
    printer: Arc<Printer>,
    habits: Habits,
    /// Opened before the call; whoever listens opens with each call.
    open: Option<Aside<OpenMedia>>,
    /// Of all calls; a new one follows when the last call ends.
    view: Option<View>,
    calls: LiveCalls,
    help: Help,
    jobs: JoinSet<Done>,
    /// What went wrong on our side in the call that ended the program.
    failure: Option<Failure>,
    /// Asks a person at the terminal whether to answer.
    prompt: Option<Prompt>,
    dropped: u64,
    /// What is to be done, in order.
    work: Queue,
    /// What the broker says of the one whom we call, where it says anything.
    callee_presence: Option<PresenceState>,
    phase: Phase,
    link_state: LinkState,
    /// When the network of this machine changed last.
    moved_at: Option<Instant>,
    /// Whether the broker's rules let our messages through.
    echo: Echo,
    interrupts: u32,
}

/// What a session is connected with.
struct Surroundings {
    link: LinkHandle,
    guests: mpsc::Receiver<FromGuest>,
    windows: WindowClient,
    printer: Arc<Printer>,
}

/// Whether the broker is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkState {
    Up,
    Down,
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

impl Session {
    /// A session with no call. `open`: what a caller opened before it rings anyone.
    fn new(
        settings: Settings,
        role: Role,
        phone_config: PhoneConfig,
        surroundings: Surroundings,
        view: View,
        open: Option<Aside<OpenMedia>>,
    ) -> Self {
        let Surroundings { link, guests, windows, printer } = surroundings;
        let me = settings.link.me.clone();
        let updates = match settings.dialect {
            Dialect::Tring => Updates::Understood,
            Dialect::Apprtc => Updates::Unknown,
        };
        Self {
            phone: Phone::new(me.clone(), PhoneConfig { updates, ..phone_config }),
            delivery: Delivery::new(settings.dialect, me, settings.link.run, &settings.link.template),
            flood: Flood::default(),
            link,
            broker: None,
            desk: Desk::default(),
            guests,
            at_rest: role.at_rest(),
            habits: Habits::new(&settings, &role, &printer),
            role,
            windows,
            printer,
            open,
            view: Some(view),
            calls: LiveCalls::default(),
            help: Help::Hidden,
            jobs: JoinSet::new(),
            failure: None,
            prompt: None,
            dropped: 0,
            work: Queue::default(),
            callee_presence: None,
            phase: Phase::Starting,
            link_state: LinkState::Down,
            moved_at: None,
            echo: Echo::default(),
            interrupts: 0,
            settings,
        }
    }

    async fn run(mut self, mut link_events: mpsc::Receiver<LinkEvent>, driver: Driver) -> Result<ExitStatus, Failure> {
        let (mut signals, ordered) = Signals::of(driver);
        let is_ordered = ordered.is_some();
        let mut commands = match self.settings.control {
            _ if is_ordered => ordered,
            Control::Stdin => Some(control::read_commands(tokio::io::stdin())),
            Control::Terminal => None,
        };
        let impairments = self.settings.peer.impairments.impairments();
        if !impairments.are_none() {
            self.tell_impaired(impairments);
        }
        let mut keys = None;
        if !is_ordered && self.asks_at_terminal() {
            let (prompt, answers) = prompt::read_answers();
            (self.prompt, keys) = (Some(prompt), Some(answers));
        }
        loop {
            let work = match self.work.pop() {
                Some(work) => work,
                None => {
                    self.close_question().await;
                    self.show_labels().await;
                    if let Some(status) = self.outcome() {
                        self.tell_left_out();
                        self.habits.finish().await;
                        return self.failure.take().map_or(Ok(status), Err);
                    }
                    self.next(&mut link_events, &mut commands, &mut keys, &mut signals).await
                }
            };
            if let Err(failure) = self.carry_out(work, &mut commands).await {
                self.abandon(&failure).await;
                return Err(failure);
            }
        }
    }

    /// How the program ends, once there is nothing more to do or to wait for.
    fn outcome(&self) -> Option<ExitStatus> {
        match self.phase {
            Phase::Leaving { status, until } => {
                let is_said = self.delivery.is_idle() || Instant::now() >= until;
                (is_said && self.jobs.is_empty()).then_some(status)
            }
            Phase::Starting | Phase::Running => None,
        }
    }

    /// What happens next. Loses nothing when it is dropped.
    async fn next(
        &mut self,
        link_events: &mut mpsc::Receiver<LinkEvent>,
        commands: &mut Option<mpsc::Receiver<control::CommandLine>>,
        keys: &mut Option<mpsc::Receiver<control::CommandLine>>,
        signals: &mut Signals,
    ) -> Work {
        let deadline = self.deadline().map(tokio::time::Instant::from_std);
        let time = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            end = signals.next() => Work::End(end),
            event = link_events.recv() => Work::Link(event),
            Some(joined) = self.jobs.join_next() => match joined {
                Ok(done) => Work::Done(done),
                // Aborted with its call; a panic was reported by the panic hook and the call ends by time-out.
                Err(_) => Work::Time,
            },
            (call, input) = self.calls.next() => Work::Media(call, input),
            Some(event) = seen(&mut self.view) => Work::Display(event),
            line = receive(commands) => Work::Control(line),
            Some(line) = receive(keys) => Work::Control(Some(line)),
            Some(input) = self.guests.recv() => Work::Guest(input),
            () = time => Work::Time,
        }
    }

    /// The next moment at which time alone matters.
    fn deadline(&self) -> Option<Instant> {
        let leaving = match self.phase {
            // Once it is past, only jobs are waited for, and those wake the loop themselves.
            Phase::Leaving { until, .. } => (until > Instant::now() || self.jobs.is_empty()).then_some(until),
            Phase::Starting | Phase::Running => None,
        };
        let (phone, delivery) = (self.phone.poll_timeout(), self.delivery.poll_timeout());
        let moments = [phone, delivery, leaving, self.calls.deadline(), self.echo_deadline()];
        moments.into_iter().flatten().min()
    }

    /// Does one piece of work. What follows from it goes to the end of the queue: nothing here calls itself again.
    async fn carry_out(
        &mut self,
        work: Work,
        commands: &mut Option<mpsc::Receiver<control::CommandLine>>,
    ) -> Result<(), Failure> {
        match work {
            Work::Link(event) => self.link_event(event)?,
            Work::Received { from, call, message } => self.received(from, call, message),
            Work::Phone(event) => {
                let actions = self.phone.handle(event, Instant::now());
                self.work.extend(actions.into_iter().map(Work::Act));
            }
            Work::Act(action) => self.act(action).await,
            Work::Media(call, MediaInput::Peer(event)) => self.peer_event(call, event),
            Work::Media(call, MediaInput::Stream(event)) => self.stream_event(&call, event),
            Work::Media(call, MediaInput::Saved(saved)) => self.saved(&call, saved),
            Work::Display(event) => self.display_event(event)?,
            Work::Done(done) => self.done(done),
            Work::Control(Some(Ok(command))) => self.command(command).await,
            Work::Control(Some(Err(text))) => self.warn(text),
            // A script that closes its end has nothing more to say; the call goes on.
            Work::Control(None) => *commands = None,
            Work::End(End::Interrupt) => self.interrupted()?,
            Work::End(End::Terminate) => self.leave(ExitStatus::Done),
            Work::End(End::AtOnce) => return Err(Failure::new(ExitStatus::Interrupted, "interrupted")),
            Work::Guest(input) => self.guest(input),
            Work::Time => self.time(),
            Work::DeliveryTime => {
                let outputs = self.delivery.handle_timeout(Instant::now());
                self.deliver(outputs);
            }
            Work::CallTime(call) => self.call_time(&call, Instant::now()).await,
        }
        Ok(())
    }

    /// Time has passed: what the phone makes of it comes before messages are sent again.
    fn time(&mut self) {
        let now = Instant::now();
        let mut actions = if self.is_leaving() { self.phone.refuse_redial() } else { Vec::new() };
        actions.extend(self.phone.handle_timeout(now));
        self.work.extend(actions.into_iter().map(Work::Act));
        self.work.push(Work::DeliveryTime);
        self.echo_time(now);
        self.work.extend(self.calls.ids().into_iter().map(Work::CallTime));
    }

    /// What is due in one call.
    async fn call_time(&mut self, call: &CallId, now: Instant) {
        let due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        let Some(live) = self.calls.get_mut(call) else { return };
        if due(&mut live.hang_up_at) {
            return self.phone_event(call::Event::End { call: call.clone() });
        }
        if due(&mut live.unanswered_at) {
            return self.ask_for_echo();
        }
        if due(&mut live.offline_at) {
            let peer = live.peer.clone();
            return self.phone_event(call::Event::PeerOffline { peer });
        }
        if due(&mut live.snapshot_due)
            && let Some(file) = self.settings.media.snapshot.clone()
        {
            self.snapshot(call, file);
        }
        if self.calls.get(call).is_some_and(|live| live.stats_due.is_some_and(|due| due <= now)) {
            self.stats(call).await;
        }
    }

    async fn stats(&mut self, call: &CallId) {
        let Some(live) = self.calls.get_mut(call) else { return };
        let Some(media) = &mut live.media else { return };
        live.stats_due = live.stats_due.map(|due| (due + STATS_EVERY).max(Instant::now()));
        let stats = live.meter.look(media).await;
        live.stats = Some(stats.clone());
        self.tell_of(call, &CallEvent::Stats(Box::new(stats)));
    }

    /// The call that the user talks in, or that rings.
    fn front(&self) -> Option<CallId> {
        self.phone.front().call().map(|(call, _)| call.clone())
    }

    fn front_call(&mut self) -> Option<&mut LiveCall> {
        let front = self.front()?;
        self.calls.get_mut(&front)
    }

    /// True when a call was answered and is not over.
    fn in_a_call(&self) -> bool {
        self.calls.iter().any(|live| live.marks.accepted.is_some())
    }

    /// True when a call waits for an answer, the only one or a second.
    fn someone_rings(&self) -> bool {
        [self.phone.front(), self.phone.back()].iter().any(|state| matches!(state, call::State::Incoming { .. }))
    }

    /// A question that is answered, or came to nothing, has no use for the terminal any more.
    async fn close_question(&mut self) {
        if !self.someone_rings()
            && let Some(prompt) = &mut self.prompt
        {
            prompt.close().await;
        }
    }

    /// Tells of the call that the user talks in, or of none.
    fn tell(&self, event: &impl Event) {
        match self.front() {
            Some(call) => self.tell_of(&call, event),
            None => self.printer.tell(event),
        }
    }

    fn tell_of(&self, call: &CallId, event: &impl Event) {
        match self.calls.get(call) {
            Some(live) => self.printer.tell_of(event, &live.call, &live.peer),
            None => self.printer.tell(event),
        }
    }

    fn warn(&self, text: String) {
        self.tell(&ProgramEvent::Warning { text });
    }

    fn warn_of(&self, call: &CallId, text: String) {
        self.tell_of(call, &ProgramEvent::Warning { text });
    }

    /// The same once a call, and a few times at most: for what a peer can bring about again and again.
    fn warn_once_of(&mut self, call: &CallId, text: String) {
        if let Some(live) = self.calls.get_mut(call) {
            if live.warned.len() >= WARNINGS_MAX || live.warned.contains(&text) {
                return;
            }
            live.warned.push(text.clone());
        }
        self.warn_of(call, text);
    }

    fn problem(&mut self, call: &CallId, text: String) {
        if let Some(live) = self.calls.get_mut(call) {
            live.problems.push(text);
        }
    }

    /// Something on our side failed that the exit status must tell, though the call goes on.
    fn fail_call(&mut self, call: &CallId, failure: Failure) {
        if let Some(live) = self.calls.get_mut(call) {
            live.failure.get_or_insert(failure);
        }
    }

    fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }

    fn asks_at_terminal(&self) -> bool {
        matches!(self.role, Role::Listen { answer: Answer::Ask, .. }) && self.settings.control == Control::Terminal
    }
}

/// What the viewer does next; never, without a view.
async fn seen(view: &mut Option<View>) -> Option<DisplayEvent> {
    match view {
        Some(view) => view.next().await,
        None => std::future::pending().await,
    }
}

async fn receive<T>(channel: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match channel {
        Some(channel) => channel.recv().await,
        None => std::future::pending().await,
    }
}

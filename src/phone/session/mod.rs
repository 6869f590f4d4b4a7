//! The session: one loop that owns the phone, the delivery of messages, the link to the broker and the media of its calls: event in,
//! action out. It takes one piece of [`work`] at a time; what follows from one waits behind what is there already.
//!
//! - from the broker ([`broker`]): [`LinkEvent`] → [`Messages`] → [`Phone`]
//! - from the media ([`happenings`]): what peer connections and streams tell
//! - from the user ([`user`]): [`control::Command`], keys in the view, signals
//! - from work that goes on aside ([`jobs`]): descriptions, devices, TURN checks; [`ahead`]: the answer while it rings
//! - out ([`acting`], [`media_actions`]): actions of the phone, printed [`Event`]s; the last ones come from [`ending`]
//!
//! What belongs together is one type with methods of its own: the link ([`link`]), messages ([`messages`]), other programs
//! with our ID ([`guests`]), view and terminal ([`screen`]), calls ([`calls`]), ringing and the call log ([`habits`]), the
//! words that people compare ([`verifying`]), how the program ends ([`lifecycle`]).
//!
//! Nothing here decides what a call does next: that is the phone's; nothing here touches a codec or a socket, and nothing
//! waits for a device: what closes one is a job.

mod acting;
mod ahead;
mod broker;
mod calls;
pub(crate) mod control;
mod descriptions;
mod driver;
mod ended_call;
mod ending;
mod figures;
mod guests;
mod habits;
mod happenings;
mod hints;
mod jobs;
mod labels;
mod lifecycle;
mod link;
mod marks;
mod media;
mod media_actions;
mod messages;
mod open;
mod prompt;
mod quality;
mod role;
mod rules;
mod screen;
mod snapshot;
#[cfg(test)]
mod snapshots;
mod start;
mod streams;
#[cfg(test)]
mod tests;
mod trust;
mod turned_away;
mod user;
mod verifying;
mod view;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::media::display::window::WindowClient;
use signalling::call::{self, Phone, PhoneConfig, State, Updates};
use signalling::dialect::{Delivery, Dialect};
use signalling::id::CallId;
use signalling::mqtt::{LinkEvent, LinkHandle};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::output::events::{Event, ProgramEvent};
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::events::CallEvent;
use crate::phone::known_peers::KnownPeers;
use crate::phone::settings::Settings;
use crate::phone::sharing::FromGuest;
use crate::platform::signals::End;
use calls::{LiveCall, LiveCalls, MediaInput, Timer};
pub(crate) use driver::{Driver, Orders};
use driver::{Inputs, receive};
use guests::Guests;
use habits::Habits;
use jobs::Done;
pub(crate) use labels::KEYS;
use lifecycle::{Lifecycle, Phase};
use link::BrokerLink;
use messages::Messages;
use open::{Aside, OpenMedia, close_devices};
pub(crate) use role::{Absent, Calls, Role};
use screen::Screen;
use start::Callee;
pub(crate) use start::run;
use trust::Trusts;
use view::View;
use work::{Queue, Work};

/// How often figures are looked at.
const STATS_EVERY: Duration = Duration::from_secs(1);

struct Session {
    settings: Settings,
    role: Role,
    /// What is to be done, in order.
    work: Queue,
    phone: Phone,
    messages: Messages,
    trust: Trusts,
    link: BrokerLink,
    guests: Guests,
    calls: LiveCalls,
    /// Opened before the call; whoever listens opens with each call.
    open: Option<Aside<OpenMedia>>,
    jobs: JoinSet<Done>,
    screen: Screen,
    habits: Habits,
    printer: Arc<Printer>,
    life: Lifecycle,
}

/// What a session is connected with.
struct Surroundings {
    link: LinkHandle,
    callee: Callee,
    guests: mpsc::Receiver<FromGuest>,
    windows: WindowClient,
    printer: Arc<Printer>,
    memory: Option<KnownPeers>,
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
        let Surroundings { link, callee, guests, windows, printer, memory } = surroundings;
        let me = settings.link.me.clone();
        let updates = match settings.dialect {
            Dialect::Tring => Updates::Understood,
            Dialect::Apprtc => Updates::Unknown,
        };
        let delivery = Delivery::new(settings.dialect, me.clone(), settings.link.run, &settings.link.template);
        Self {
            work: Queue::default(),
            phone: Phone::new(me, PhoneConfig { updates, ..phone_config }),
            messages: Messages::new(delivery),
            trust: Trusts::new(memory, settings.link.sealing.as_ref()),
            link: BrokerLink::new(link, callee, role.at_rest()),
            guests: Guests::new(guests),
            calls: LiveCalls::default(),
            open,
            jobs: JoinSet::new(),
            screen: Screen::new(settings.media.show, windows, view),
            habits: Habits::new(&settings, &role, &printer),
            printer,
            life: Lifecycle::default(),
            role,
            settings,
        }
    }

    /// The loop, up to the end of the program.
    async fn run(mut self, link_events: mpsc::Receiver<LinkEvent>, driver: Driver) -> Result<ExitStatus, Failure> {
        let (mut inputs, prompt) = Inputs::new(link_events, driver, self.settings.control, self.role.asks());
        if let Some(prompt) = prompt {
            self.screen.ask_by(prompt);
        }
        let impairments = self.settings.peer.impairments.impairments();
        if !impairments.are_none() {
            self.tell_impaired(impairments);
        }
        loop {
            let work = match self.work.pop() {
                Some(work) => work,
                None => {
                    self.show_what_changed().await;
                    if let Some(outcome) = self.outcome() {
                        self.finish().await;
                        return outcome;
                    }
                    self.next(&mut inputs).await
                }
            };
            if let Err(failure) = self.carry_out(work, &mut inputs).await {
                self.abandon(&failure).await;
                self.finish().await;
                return Err(failure);
            }
        }
    }

    /// How the program ends, once there is nothing more to do or to wait for.
    fn outcome(&mut self) -> Option<Result<ExitStatus, Failure>> {
        if !self.jobs.is_empty() {
            return None;
        }
        self.life.outcome(self.messages.delivery.is_idle(), Instant::now())
    }

    /// What is still to be said, heard and closed at the very end.
    async fn finish(&mut self) {
        self.tell_left_out();
        self.habits.finish().await;
        if let Some(open) = self.open.take() {
            close_devices(open.into_inner()).await;
        }
    }

    /// What happens next. Loses nothing when it is dropped.
    async fn next(&mut self, inputs: &mut Inputs) -> Work {
        let deadline = self.deadline().map(tokio::time::Instant::from_std);
        let time = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            end = inputs.signals.next() => Work::End(end),
            event = inputs.link_events.recv() => Work::Link(event),
            Some(joined) = self.jobs.join_next() => match joined {
                Ok(done) => Work::Done(done),
                // Aborted with its call; a panic was reported by the panic hook and the call ends by time-out.
                Err(_) => Work::Time,
            },
            (call, input) = self.calls.next() => Work::Media(call, input),
            Some(event) = self.screen.next() => Work::Display(event),
            line = receive(&mut inputs.commands) => Work::Control(line),
            Some(line) = receive(&mut inputs.keys) => Work::Control(Some(line)),
            Some(input) = self.guests.next() => Work::Guest(input),
            () = time => Work::Time,
        }
    }

    /// The next moment at which time alone matters.
    fn deadline(&self) -> Option<Instant> {
        let leaving = self.life.deadline(!self.jobs.is_empty(), Instant::now());
        let (phone, delivery) = (self.phone.poll_timeout(), self.messages.delivery.poll_timeout());
        let moments = [phone, delivery, leaving, self.calls.deadline(), self.link.echo_deadline()];
        moments.into_iter().flatten().min()
    }

    /// Does one piece of work. What follows from it goes to the end of the queue: nothing here calls itself again.
    async fn carry_out(&mut self, work: Work, inputs: &mut Inputs) -> Result<(), Failure> {
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
            Work::Control(None) => inputs.commands = None,
            Work::End(End::Interrupt) => self.interrupted()?,
            Work::End(End::Terminate) => self.leave(ExitStatus::Done),
            Work::End(End::AtOnce) => return Err(Failure::new(ExitStatus::Interrupted, "interrupted")),
            Work::Guest(input) => {
                if self.guests.take(input, &self.link) {
                    self.show_presence();
                }
            }
            Work::Time => self.time(),
            Work::DeliveryTime => {
                let outputs = self.messages.delivery.handle_timeout(Instant::now());
                self.deliver(outputs);
            }
            Work::CallTime(call) => self.call_time(&call, Instant::now()).await,
        }
        Ok(())
    }

    /// Time has passed: what the phone makes of it comes before messages are sent again.
    fn time(&mut self) {
        let now = Instant::now();
        let mut actions = if self.life.is_leaving() { self.phone.refuse_redial() } else { Vec::new() };
        actions.extend(self.phone.handle_timeout(now));
        self.work.extend(actions.into_iter().map(Work::Act));
        self.work.push(Work::DeliveryTime);
        self.echo_time(now);
        self.work.extend(self.calls.ids().into_iter().map(Work::CallTime));
    }

    /// What is due in one call: one thing at a time, the most important first.
    async fn call_time(&mut self, call: &CallId, now: Instant) {
        let Some(live) = self.calls.get_mut(call) else { return };
        let Some(timer) = live.timers.due(now) else { return };
        match timer {
            Timer::HangUp => {
                live.timers.stop(timer);
                self.phone_event(call::Event::End { call: call.clone() });
            }
            Timer::NoRinging => {
                live.timers.stop(timer);
                self.link.ask_for_echo(&self.settings.link.template, now);
            }
            Timer::Offline => {
                live.timers.stop(timer);
                let peer = live.peer.clone();
                self.phone_event(call::Event::PeerOffline { peer });
            }
            Timer::Snapshot => {
                live.timers.stop(timer);
                if let Some(file) = self.settings.media.snapshot.clone() {
                    self.snapshot(call, file);
                }
            }
            Timer::Stats => {
                self.take_up_opinions();
                self.stats(call).await;
            }
        }
    }

    async fn stats(&mut self, call: &CallId) {
        let Some(live) = self.calls.get_mut(call) else { return };
        let Some(media) = &mut live.media else { return };
        live.timers.repeat(Timer::Stats, STATS_EVERY, Instant::now());
        let stats = live.meter.look(media).await;
        live.stats = Some(stats.clone());
        self.tell_of(call, &CallEvent::Stats(Box::new(stats)));
    }

    /// Brings terminal and view up to date.
    async fn show_what_changed(&mut self) {
        let rings = |state: &State| matches!(state, State::Incoming { .. });
        if !rings(self.phone.front()) && !rings(self.phone.back()) {
            self.screen.close_question().await;
        }
        if !self.screen.is_shown() {
            return;
        }
        let front = self.phone.front();
        let (Some((call, _)), Some(sides)) = (front.call(), front.media()) else { return };
        let Some(live) = self.calls.get(call) else { return };
        let is_missed = !self.link.is_up() && self.life.phase() == Phase::Running;
        let broker = is_missed.then_some("no broker");
        let labels = labels::of_call(live, sides, self.phone.back(), broker, self.screen.help);
        self.screen.set_labels(labels).await;
    }

    /// The call that the user talks in, or that rings.
    fn front(&self) -> Option<CallId> {
        self.phone.front().call().map(|(call, _)| call.clone())
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
        if self.calls.get_mut(call).is_none_or(|live| live.is_news(&text)) {
            self.warn_of(call, text);
        }
    }
}

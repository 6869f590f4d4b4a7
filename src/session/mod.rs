//! One loop that owns the line, the delivery, the link and the media of the call: event in, action out.
//!
//! - from the broker: [`LinkEvent`] → [`Envelope`] → [`Delivery`] → [`Line`]
//! - from the media: [`PeerEvent`], [`StreamEvent`], [`DisplayEvent`]
//! - from the user: [`control::Command`], signals
//! - out: [`Action`]s of the line, printed [`Event`]s
//!
//! Nothing here decides what a call does next: that is the line's; nothing here touches a codec or a socket.

mod control;
mod figures;
mod media;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::media::display::DisplayEvent;
use ::media::display::window::WindowClient;
use ::media::peer::config::{IcePolicy, IceServerKind};
use ::media::peer::{PeerEvent, turn_check};
use ::media::stream::StreamEvent;
use signalling::call::{self, Action, EndReason, Line, MediaChange, Notice, Timeouts};
use signalling::delivery::{Delivery, Output};
use signalling::id::{CallId, PeerId};
use signalling::mqtt::{Link, LinkEvent, LinkHandle};
use signalling::wire::{Description, Envelope, Message, PresenceState};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::cli::Answer;
use crate::events::{Event, Recording, Signalling, Summary};
use crate::exit::{ExitStatus, Failure};
use crate::printer::{Printer, unix_ms};
use crate::settings::{Control, Settings, random_nonce};
use control::Command;
use figures::Meter;
use media::{CallMedia, Marks, Prepared, prepare};

/// How often figures are looked at.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// When into a call `--snapshot` is taken: rate control has settled by then.
const SNAPSHOT_AFTER: Duration = Duration::from_secs(1);

/// How long the last messages may take to be acknowledged when the program ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// A call this long whose media never came was one without media.
const MEDIA_DUE: Duration = Duration::from_secs(5);

/// What the program is here for.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// Ring this peer, once.
    Call { peer: PeerId },
    /// Wait for calls.
    Listen { answer: Answer, calls: Calls },
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
    let link_failed = |error: signalling::mqtt::LinkError| Failure::new((&error).into(), error);
    let (link, handle, link_events) = Link::new(settings.link.clone()).map_err(link_failed)?;
    let stop = CancellationToken::new();
    let link_task = tokio::spawn(link.run(stop.clone()));
    let me = settings.link.me.clone();
    let now = Instant::now();
    let session = Session {
        line: Line::new(me.clone(), timeouts),
        delivery: Delivery::new(me, settings.link.run),
        link: handle,
        role,
        windows,
        printer,
        media: None,
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
    link: LinkHandle,
    windows: WindowClient,
    printer: Arc<Printer>,
    media: Option<CallMedia>,
    preparing: JoinSet<(CallId, Result<Prepared, Failure>)>,
    turn_checks: JoinSet<Vec<String>>,
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

/// Everything the loop waits for.
enum Input {
    Link(Option<LinkEvent>),
    Peer(PeerEvent),
    Stream(StreamEvent),
    Display(DisplayEvent),
    Prepared(CallId, Result<Prepared, Failure>),
    TurnChecked(Vec<String>),
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
        let mut commands = match self.settings.control {
            Control::Stdin => Some(control::read_commands(tokio::io::stdin())),
            Control::Terminal => None,
        };
        let mut keys = self.asks_at_terminal().then(|| read_keys(tokio::io::stdin()));
        loop {
            let input = self.next(&mut link_events, &mut commands, &mut keys, &mut interrupt, &mut terminate).await;
            self.handle(input, &mut commands).await?;
            if let Phase::Leaving { status, until } = self.phase
                && (self.delivery.is_idle() || Instant::now() >= until)
                && self.preparing.is_empty()
            {
                return Ok(status);
            }
        }
    }

    async fn next(
        &mut self,
        link_events: &mut mpsc::Receiver<LinkEvent>,
        commands: &mut Option<mpsc::Receiver<control::Line>>,
        keys: &mut Option<mpsc::Receiver<control::Line>>,
        interrupt: &mut Signal,
        terminate: &mut Signal,
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
            event = link_events.recv() => Input::Link(event),
            Some(joined) = self.preparing.join_next() => match joined {
                Ok((call, prepared)) => Input::Prepared(call, prepared),
                // Cancelled with its call; a panic was reported by the panic hook and the call ends by time-out.
                Err(_) => Input::Time,
            },
            Some(joined) = self.turn_checks.join_next() => Input::TurnChecked(joined.unwrap_or_default()),
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
            Input::TurnChecked(problems) => self.turn_checked(problems).await?,
            Input::Control(Some(Ok(command))) => self.command(command).await?,
            Input::Control(Some(Err(text))) => self.warn(text),
            // A script that closes its end has nothing more to say; the call goes on.
            Input::Control(None) => *commands = None,
            Input::Interrupted => self.interrupted().await?,
            Input::Terminated => self.leave(ExitStatus::Done).await?,
            Input::Time => self.time().await?,
        }
        Ok(())
    }

    // ---- broker ----

    async fn link_event(&mut self, event: Option<LinkEvent>) -> Result<(), Failure> {
        let now = Instant::now();
        match event {
            None => return Err(Failure::internal("the link to the broker ended")),
            Some(LinkEvent::Failed(error)) => {
                let failure = Failure::new((&error).into(), error);
                self.abandon(&failure).await;
                return Err(failure);
            }
            Some(LinkEvent::Up { broker }) => {
                let id = self.settings.link.me.to_string();
                self.printer.tell(&Event::Online { id, broker });
                let outputs = self.delivery.link_restored(now);
                self.deliver(outputs).await?;
                if self.phase == Phase::Starting {
                    self.phase = Phase::Running;
                    self.start().await?;
                }
            }
            Some(LinkEvent::Down { reason }) => self.printer.tell(&Event::Offline { reason }),
            Some(LinkEvent::Dropped { reason }) => self.drop_message(reason),
            Some(LinkEvent::Message { from, payload }) => match Envelope::from_bytes(&payload) {
                Ok(envelope) if envelope.from != from => self.drop_message("sender is not the owner of its topic"),
                Ok(envelope) => {
                    let outputs = self.delivery.receive(envelope, unix_ms());
                    self.deliver(outputs).await?;
                }
                Err(error) => {
                    debug!(%from, %error, "message dropped");
                    self.drop_message("not a message of this protocol");
                }
            },
            Some(LinkEvent::Presence { peer, state: Some(PresenceState::Offline) }) => {
                self.line_event(call::Event::PeerOffline { peer }).await?;
            }
            Some(LinkEvent::Presence { .. }) => {}
        }
        Ok(())
    }

    /// Counts what was not taken in; the first one is worth a warning, a flood is not.
    fn drop_message(&mut self, reason: &str) {
        self.dropped += 1;
        if self.dropped == 1 {
            self.warn(format!("dropped a message: {reason}; further ones are only counted"));
        }
    }

    async fn start(&mut self) -> Result<(), Failure> {
        if let Role::Call { peer } = &self.role {
            let bits = u128::from(random_nonce().0) << 64 | u128::from(random_nonce().0);
            let (peer, call) = (peer.clone(), CallId::from_random(bits));
            self.link.watch(peer.clone()).await;
            self.line_event(call::Event::Dial { peer, call }).await?;
        }
        Ok(())
    }

    async fn deliver(&mut self, outputs: Vec<Output>) -> Result<(), Failure> {
        for output in outputs {
            match output {
                Output::Transmit(envelope) => match envelope.to_bytes() {
                    Ok(bytes) => {
                        if let Err(error) = self.link.publish(envelope.to, bytes).await {
                            warn!(%error, "message not sent");
                        }
                    }
                    Err(error) => self.warn(format!("message not sent: {error}")),
                },
                Output::Delivered { call, message, .. } => {
                    self.line_event_boxed(call::Event::Delivered { call, message }).await?;
                }
                Output::Expired { call, message, .. } => {
                    self.line_event_boxed(call::Event::Expired { call, message }).await?;
                }
                Output::Received { from, call, message } => {
                    if !self.welcomes(&from) && matches!(message, Message::Offer(_)) {
                        self.drop_message("call of a peer that --from does not name");
                        continue;
                    }
                    self.line_event_boxed(call::Event::Received { from, call, message }).await?;
                }
            }
        }
        Ok(())
    }

    /// True when calls of this peer are taken; the broker may deliver others on a bare ClientId topic.
    fn welcomes(&self, from: &PeerId) -> bool {
        match (&self.role, &self.settings.link.audience) {
            (Role::Call { .. }, _) | (_, signalling::mqtt::Audience::Anyone) => true,
            (_, signalling::mqtt::Audience::Only(peers)) => peers.contains(from),
        }
    }

    // ---- the line ----

    async fn line_event(&mut self, event: call::Event) -> Result<(), Failure> {
        let actions = self.line.handle(event, Instant::now());
        self.act(actions).await
    }

    /// The same from within [`Session::act`]'s own calls: an action may send, and sending is an event again.
    fn line_event_boxed(
        &mut self,
        event: call::Event,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + '_>> {
        Box::pin(self.line_event(event))
    }

    async fn act(&mut self, actions: Vec<Action>) -> Result<(), Failure> {
        for action in actions {
            match action {
                Action::Send { to, call, message } => {
                    if let Message::Bye { .. } = message {
                        self.delivery.forget(&call);
                    }
                    let outputs = self.delivery.send(to, call, message, Instant::now(), unix_ms());
                    self.deliver(outputs).await?;
                }
                Action::MakeOffer { call } => self.prepare(call, None),
                Action::MakeAnswer { call, offer } => self.prepare(call, Some(offer)),
                Action::ApplyAnswer { call, answer } => self.apply_answer(call, answer).await?,
                Action::AddCandidates { candidates, .. } => {
                    if let (Some(media), Some(current)) = (&self.media, &mut self.current) {
                        current.candidates_left_out += media.add_candidates(candidates).await as u64;
                    }
                }
                Action::CloseMedia { .. } => self.preparing.abort_all(),
                Action::Notify(notice) => self.notice(notice).await?,
            }
        }
        Ok(())
    }

    fn prepare(&mut self, call: CallId, offer: Option<Description>) {
        let settings = Arc::new(self.settings.media.clone());
        let config = self.settings.peer.clone();
        let servers = config.ice_servers.clone();
        self.turn_checks.spawn(async move {
            let mut problems = Vec::new();
            for server in servers.iter().filter(|server| server.url.kind == IceServerKind::Turn) {
                if let Err(error) = turn_check::check(server).await {
                    problems.push(error.to_string());
                }
            }
            problems
        });
        self.preparing.spawn(async move {
            let prepared = prepare(settings, config, offer).await;
            (call, prepared)
        });
    }

    async fn prepared(&mut self, call: CallId, prepared: Result<Prepared, Failure>) -> Result<(), Failure> {
        let is_current = self.line.state().call().is_some_and(|(current, _)| *current == call);
        match prepared {
            Ok(Prepared { media, .. }) if !is_current => {
                media.close().await;
            }
            Ok(Prepared { media, description }) => {
                let answering = media.negotiated.is_some();
                self.media = Some(media);
                if answering {
                    self.described().await?;
                }
                self.line_event(call::Event::DescriptionReady { call, description }).await?;
            }
            Err(failure) => {
                if let Some(current) = self.current.as_mut().filter(|current| current.call == call) {
                    current.failure = Some(failure);
                }
                self.line_event(call::Event::Media { call, change: MediaChange::Failed }).await?;
            }
        }
        Ok(())
    }

    async fn apply_answer(&mut self, call: CallId, answer: Description) -> Result<(), Failure> {
        let Some(media) = &mut self.media else { return Ok(()) };
        match media.apply_answer(answer).await {
            Ok(()) => self.described().await,
            Err(error) => {
                self.problem(error.to_string());
                self.line_event_boxed(call::Event::Media { call, change: MediaChange::Failed }).await
            }
        }
    }

    /// Both descriptions are known.
    async fn described(&mut self) -> Result<(), Failure> {
        let (Some(media), Some(current)) = (&mut self.media, &mut self.current) else { return Ok(()) };
        current.marks.described = Some(Instant::now());
        let title = format!("tring: {}", current.peer);
        media.start_receiving(&self.settings.media, &title, &self.windows, &self.printer)?;
        let negotiated = media.negotiated.clone().unwrap_or_default();
        let event = Event::Connecting {
            video: negotiated.video.map(|(codec, _)| codec.to_string()),
            audio: negotiated.audio.map(|_| "opus".to_owned()),
        };
        self.printer.tell_of(&event, &current.call, &current.peer);
        Ok(())
    }

    async fn notice(&mut self, notice: Notice) -> Result<(), Failure> {
        let now = Instant::now();
        match notice {
            Notice::Dialing { call, peer } => {
                self.begin(call, peer, Marks { dialed: Some(now), ..Marks::default() });
                self.tell(&Event::Dialing);
            }
            Notice::Ringing { .. } => self.tell(&Event::Ringing),
            Notice::Incoming { call, peer } => {
                self.begin(call, peer, Marks::default());
                self.tell(&Event::Incoming);
                self.answer_or_ask().await?;
            }
            Notice::Accepted { .. } => {
                if let Some(current) = &mut self.current {
                    current.marks.accepted = Some(now);
                }
                self.link.set_presence(PresenceState::Busy).await;
                self.tell(&Event::Accepted);
            }
            Notice::Connected { .. } => self.connected().await?,
            Notice::Reconnecting { .. } => self.tell(&Event::Reconnecting),
            Notice::Reconnected { .. } => self.tell(&Event::Reconnected),
            Notice::TurnedAway { peer } => self.printer.tell(&Event::TurnedAway { caller: peer.to_string() }),
            Notice::Ended { reason, .. } => self.ended(reason).await?,
        }
        Ok(())
    }

    fn begin(&mut self, call: CallId, peer: PeerId, marks: Marks) {
        self.current = Some(CurrentCall {
            call,
            peer,
            marks,
            stats_due: None,
            snapshot_due: None,
            hang_up_at: None,
            problems: Vec::new(),
            failure: None,
            candidates_left_out: 0,
            muted: false,
            camera_off: false,
        });
    }

    async fn answer_or_ask(&mut self) -> Result<(), Failure> {
        match self.role {
            Role::Listen { answer: Answer::Auto, .. } => self.line_event_boxed(call::Event::Accept).await,
            Role::Listen { answer: Answer::Reject, .. } => self.line_event_boxed(call::Event::Decline).await,
            Role::Listen { answer: Answer::Ask, .. } => {
                if self.printer.is_text() && self.settings.control == Control::Terminal {
                    self.printer.result("answer? [y/n]");
                }
                Ok(())
            }
            // Whoever calls is busy with that.
            Role::Call { .. } => self.line_event_boxed(call::Event::Decline).await,
        }
    }

    async fn connected(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        let Some(media) = &mut self.media else { return Ok(()) };
        media.start_sending()?;
        let pair = media.peer().path().await.map(figures::pair);
        self.meter = Meter::new(now);
        if let Some(current) = &mut self.current {
            current.marks.connected = Some(now);
            current.marks.ice.get_or_insert(now);
            current.stats_due = Some(now + STATS_EVERY);
            current.hang_up_at = self.settings.media.duration.map(|duration| now + duration);
        }
        self.tell(&Event::Connected { pair });
        Ok(())
    }

    // ---- media ----

    async fn peer_event(&mut self, event: PeerEvent) -> Result<(), Failure> {
        let Some(call) = self.current.as_ref().map(|current| current.call.clone()) else { return Ok(()) };
        let change = match event {
            PeerEvent::Candidates(candidates) => {
                let candidates = media::to_wire(candidates);
                return self.line_event(call::Event::CandidatesGathered { call, candidates }).await;
            }
            PeerEvent::IceConnected => {
                if let Some(current) = &mut self.current {
                    current.marks.ice.get_or_insert_with(Instant::now);
                }
                return Ok(());
            }
            PeerEvent::Connected => MediaChange::Connected,
            PeerEvent::Disconnected => MediaChange::Interrupted,
            PeerEvent::Failed => MediaChange::Failed,
        };
        self.line_event(call::Event::Media { call, change }).await
    }

    fn stream_event(&mut self, event: StreamEvent) {
        let after = |at: Instant, marks: &Marks| Some(figures::ms(at.checked_duration_since(marks.accepted?)?));
        match event {
            StreamEvent::FirstFrame(at) => {
                let Some(current) = &mut self.current else { return };
                current.marks.first_frame = Some(at);
                current.snapshot_due = self.settings.media.snapshot.as_ref().map(|_| at + SNAPSHOT_AFTER);
                let after_accept_ms = after(at, &current.marks);
                self.tell(&Event::FirstFrame { after_accept_ms });
            }
            StreamEvent::FirstAudio(at) => {
                let Some(current) = &mut self.current else { return };
                current.marks.first_audio = Some(at);
                let after_accept_ms = after(at, &current.marks);
                self.tell(&Event::FirstAudio { after_accept_ms });
            }
            StreamEvent::SourceEnded(what) => self.warn(format!("our {what} source ended; the other side gets none")),
            StreamEvent::RecordingFailed(text) => {
                self.warn(text.clone());
                self.fail_call(Failure::new(ExitStatus::Internal, text));
            }
            StreamEvent::CodecFailed(text) => {
                self.warn(text.clone());
                self.fail_call(Failure::new(ExitStatus::NoMedia, text));
            }
        }
    }

    async fn display_event(&mut self, event: DisplayEvent) -> Result<(), Failure> {
        match event {
            DisplayEvent::CloseRequested => self.line_event(call::Event::HangUp).await,
            DisplayEvent::Key('m') => {
                let muted = self.current.as_ref().is_some_and(|current| current.muted);
                self.command(Command::Mute { on: !muted }).await
            }
            DisplayEvent::Key('c') => {
                let off = self.current.as_ref().is_some_and(|current| current.camera_off);
                self.command(Command::Camera { on: off }).await
            }
            DisplayEvent::Key(_) => Ok(()),
        }
    }

    async fn turn_checked(&mut self, problems: Vec<String>) -> Result<(), Failure> {
        if problems.is_empty() {
            return Ok(());
        }
        for problem in &problems {
            self.warn(problem.clone());
        }
        let turn_servers =
            self.settings.peer.ice_servers.iter().filter(|server| server.url.kind == IceServerKind::Turn).count();
        let hopeless = self.settings.peer.ice_policy == IcePolicy::RelayOnly && problems.len() == turn_servers;
        let Some(current) = &mut self.current else { return Ok(()) };
        current.problems.extend(problems);
        if hopeless && current.marks.connected.is_none() {
            let call = current.call.clone();
            self.line_event(call::Event::Media { call, change: MediaChange::Failed }).await?;
        }
        Ok(())
    }

    // ---- user ----

    async fn command(&mut self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Answer {} => self.line_event(call::Event::Accept).await,
            Command::Reject {} => self.line_event(call::Event::Decline).await,
            Command::Hangup {} => self.line_event(call::Event::HangUp).await,
            Command::Quit {} => self.leave(ExitStatus::Done).await,
            Command::Mute { on } => {
                self.switch(|current| current.muted = on);
                Ok(())
            }
            Command::Camera { on } => {
                self.switch(|current| current.camera_off = !on);
                Ok(())
            }
            Command::Snapshot { file } => {
                self.snapshot(file).await;
                Ok(())
            }
            Command::Stats {} => {
                self.stats().await;
                Ok(())
            }
        }
    }

    fn switch(&mut self, change: impl FnOnce(&mut CurrentCall)) {
        let Some(current) = &mut self.current else {
            return self.warn("there is no call to switch anything in".to_owned());
        };
        change(current);
        let (audio, video) = (current.muted, current.camera_off);
        if let Some(media) = &self.media {
            media.switches().set_muted(audio);
            media.switches().set_camera_off(video);
        }
        self.tell(&Event::Muted { audio, video });
    }

    async fn snapshot(&mut self, file: std::path::PathBuf) {
        let Some(frame) = self.media.as_ref().and_then(CallMedia::latest_picture) else {
            return self.warn("no picture of the other side to save".to_owned());
        };
        let path = file.clone();
        let saved = tokio::task::spawn_blocking(move || media::save_picture(&path, &frame)).await;
        match saved {
            Ok(Ok(())) => self.tell(&Event::Snapshot { file: file.display().to_string() }),
            Ok(Err(text)) => {
                self.warn(text.clone());
                self.fail_call(Failure::internal(text));
            }
            Err(error) => self.warn(error.to_string()),
        }
    }

    /// Ctrl-C: once hangs up, twice leaves at once.
    async fn interrupted(&mut self) -> Result<(), Failure> {
        self.interrupts += 1;
        if self.interrupts > 1 {
            return Err(Failure::new(ExitStatus::Interrupted, "interrupted"));
        }
        self.leave(ExitStatus::Interrupted).await
    }

    /// Ends the call, if any, and then the program with `status`.
    async fn leave(&mut self, status: ExitStatus) -> Result<(), Failure> {
        self.phase = Phase::Leaving { status, until: Instant::now() + FAREWELL };
        self.line_event(call::Event::HangUp).await
    }

    // ---- time ----

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
        let (Some(media), Some(current)) = (&self.media, &mut self.current) else { return };
        current.stats_due = current.stats_due.map(|due| (due + STATS_EVERY).max(Instant::now()));
        let stats = self.meter.look(media).await;
        media.set_status(&status_line(&current.peer, &stats));
        self.tell(&Event::Stats(Box::new(stats)));
    }

    // ---- the end ----

    async fn ended(&mut self, reason: EndReason) -> Result<(), Failure> {
        let ended = Instant::now();
        self.preparing.abort_all();
        self.turn_checks.abort_all();
        if let (Some(file), Some(current)) = (self.settings.media.snapshot.clone(), &self.current)
            && current.snapshot_due.is_some()
        {
            self.snapshot(file).await;
        }
        let Some(current) = self.current.take() else { return Ok(()) };
        let (status, failure) = self.finish_call(&current, reason, ended).await;
        self.link.set_presence(PresenceState::Available).await;
        let leaves = match self.role {
            Role::Call { .. } | Role::Listen { calls: Calls::One, .. } => true,
            Role::Listen { calls: Calls::Many, .. } => false,
        };
        if let Some(failure) = failure {
            self.warn(failure.text.clone());
            if leaves && self.phase == Phase::Running {
                self.phase = Phase::Leaving { status: failure.status, until: ended + FAREWELL };
            }
            return Ok(());
        }
        if leaves && self.phase == Phase::Running {
            self.phase = Phase::Leaving { status, until: ended + FAREWELL };
        }
        Ok(())
    }

    /// Closes the media and prints the end; the exit status the call asks for, and what went wrong on our side.
    async fn finish_call(
        &mut self,
        current: &CurrentCall,
        reason: EndReason,
        ended: Instant,
    ) -> (ExitStatus, Option<Failure>) {
        let mut summary =
            Summary { reason: reason.name(), setup: figures::setup(&current.marks), ..Summary::default() };
        let connected_for = current.marks.connected.map(|at| ended.saturating_duration_since(at));
        let mut came = true;
        if let Some(media) = self.media.take() {
            summary.pair = media.peer().path().await.map(figures::pair);
            let negotiated = media.negotiated.clone().unwrap_or_default();
            let sent = figures::counts(&media);
            let bytes_sent = media.sender().map(|sender| sender.bytes_sent());
            let (video, audio, recorded) = media.close().await;
            came = video.frames > 0 || audio.frames > 0;
            summary.video_codec = video.codec.clone().or(negotiated.video.map(|(codec, _)| codec.to_string()));
            (summary.sent, summary.received) = self.meter.averages(sent, bytes_sent, &video, &audio, ended);
            summary.recording = self.settings.media.record.as_ref().zip(recorded).map(|(file, recorded)| Recording {
                file: file.display().to_string(),
                video_frames: recorded.video_frames,
                audio_frames: recorded.audio_frames,
                duration_ms: figures::ms(recorded.duration),
            });
        }
        summary.duration_ms = connected_for.map(figures::ms);
        summary.signalling = Signalling {
            dropped: self.dropped,
            duplicates: self.delivery.duplicates(),
            candidates_left_out: current.candidates_left_out,
        };
        let mute = connected_for.is_some_and(|duration| duration >= MEDIA_DUE) && !came;
        let status = match (&current.failure, ExitStatus::from(reason)) {
            (Some(failure), _) => failure.status,
            (None, ExitStatus::Done) if mute => ExitStatus::NoMedia,
            (None, status) => status,
        };
        summary.status = status.code();
        let problems = (!current.problems.is_empty()).then(|| current.problems.join("; "));
        let detail = current.failure.as_ref().map(|failure| failure.text.clone()).or(problems);
        let end = Event::Ended { reason: reason.name(), detail };
        self.printer.tell_of(&end, &current.call, &current.peer);
        self.printer.tell_of(&Event::Summary(Box::new(summary)), &current.call, &current.peer);
        let failure = current.failure.as_ref().map(|failure| Failure::new(failure.status, &failure.text));
        (status, failure)
    }

    /// The link is gone for good: the other side is told nothing any more, but devices are closed in order.
    async fn abandon(&mut self, failure: &Failure) {
        if let Some(mut current) = self.current.take() {
            current.failure = Some(Failure::new(failure.status, &failure.text));
            self.finish_call(&current, EndReason::Lost, Instant::now()).await;
        }
    }

    // ---- small things ----

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

/// Answers typed at the terminal: y, n, q.
fn read_keys(input: tokio::io::Stdin) -> mpsc::Receiver<control::Line> {
    use tokio::io::AsyncBufReadExt as _;
    let (keys, received) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut lines = tokio::io::BufReader::new(input).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let command = match line.trim() {
                "" | "y" | "yes" => Ok(Command::Answer {}),
                "n" | "no" => Ok(Command::Reject {}),
                "h" => Ok(Command::Hangup {}),
                "q" => Ok(Command::Quit {}),
                _ => Err("type y to answer, n to decline, h to hang up, q to quit".to_owned()),
            };
            if keys.send(command).await.is_err() {
                return;
            }
        }
    });
    received
}

/// One line of figures for the terminal view.
fn status_line(peer: &PeerId, stats: &crate::events::Stats) -> String {
    let kbps = |bps: Option<f64>| bps.map_or("n/a".to_owned(), |bps| format!("{:.0}", bps / 1000.0));
    let fps = stats.received.fps.map_or("n/a".to_owned(), |fps| format!("{fps:.0}"));
    let pair = stats.pair.as_ref().map_or("n/a".to_owned(), |pair| format!("{} to {}", pair.local, pair.remote));
    let latency = stats.received.video.get("latency_p50_ms").and_then(serde_json::Value::as_f64);
    let latency = latency.map_or(String::new(), |ms| format!(" · {ms:.0} ms"));
    format!(
        " {peer} · {fps} pictures/s · in {} out {} kbit/s{latency} · {pair} · q hangs up, m mutes, c camera ",
        kbps(stats.received.video_bps),
        kbps(stats.sent.video_bps),
    )
}

//! Whether a call could work here: one check a file, each bounded in time, none in the way of another.
//!
//! - [`start`] puts each check on a task of its own; [`Running::next`] hands their findings out in a fixed order,
//!   as soon as they and all before them are there
//! - a check never fails: what it cannot do is what it found, with cause and advice
//! - [`report`] makes lines and the exit status of findings, and is pure
//!
//! No finding holds a password, a secret or a key. What servers say of themselves is cut and stripped of control
//! characters before it is shown.

use std::collections::VecDeque;
use std::time::Duration;

use media::display::Show;
use media::display::window::WindowClient;
use media::peer::config::{IceServer, IceServerKind};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cli;
use crate::config::WithheldLogin;
use crate::output::exit::ExitStatus;
use crate::phone::settings::Settings;

mod broker;
mod calendar;
mod clock;
mod devices;
pub(crate) mod events;
mod loops;
mod nat;
mod reach;
pub(crate) mod report;
mod sealing;
mod settings;
mod stun;
mod talk;
mod terminal;
mod tls;
mod turn;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was looked at: `broker`, `turn` and so on. Scripts rely on it.
    pub(crate) name: &'static str,
    /// Which one of several: an address, without secrets.
    pub(crate) target: Option<String>,
    /// Whose failure another may make up for.
    pub(crate) group: Group,
    /// How it looks.
    pub(crate) verdict: Verdict,
    /// What was seen, or why not.
    pub(crate) detail: String,
    /// How long the look took.
    pub(crate) took: Duration,
}

/// How it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should.
    Ok,
    /// A call could work, though not in every way.
    Warning {
        /// What to try.
        fix: String,
    },
    /// A call would end with this status.
    Failed {
        /// What to try.
        fix: String,
        /// How it would end.
        end: ExitStatus,
    },
    /// Not looked at; the detail says why.
    Skipped,
}

/// A call needs one broker and, where any is named, one TURN server. By position in what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Nothing makes up for it.
    Alone,
    /// One broker of the list.
    Broker(usize),
    /// One TURN server of the list.
    Turn(usize),
}

/// A finding in the making: it knows what is looked at and since when.
#[derive(Clone, Debug)]
struct Look {
    name: &'static str,
    target: Option<String>,
    group: Group,
    since: Instant,
}

impl Look {
    fn at(name: &'static str) -> Self {
        Self { name, target: None, group: Group::Alone, since: Instant::now() }
    }

    fn at_one_of(name: &'static str, target: impl std::fmt::Display, group: Group) -> Self {
        Self { name, target: Some(target.to_string()), group, since: Instant::now() }
    }

    fn ok(self, detail: impl Into<String>) -> Finding {
        self.found(Verdict::Ok, detail)
    }

    fn warning(self, detail: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.found(Verdict::Warning { fix: fix.into() }, detail)
    }

    fn failed(self, end: ExitStatus, detail: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.found(Verdict::Failed { fix: fix.into(), end }, detail)
    }

    fn skipped(self, detail: impl Into<String>) -> Finding {
        self.found(Verdict::Skipped, detail)
    }

    fn found(self, verdict: Verdict, detail: impl Into<String>) -> Finding {
        let took = self.since.elapsed();
        Finding { name: self.name, target: self.target, group: self.group, verdict, detail: detail.into(), took }
    }
}

/// What is looked at.
pub(crate) struct Plan {
    /// What a call would use.
    pub(crate) settings: Settings,
    /// What was typed, for the paths of secret files.
    pub(crate) link: cli::Link,
    /// Logins that are not sent, since they were given for other servers.
    pub(crate) withheld: Vec<WithheldLogin>,
    /// Whether the broker was named.
    pub(crate) broker: NamedBroker,
    /// The view that was asked for, if any was.
    pub(crate) asked_show: Option<Show>,
    /// The way to a window.
    pub(crate) windows: WindowClient,
}

/// Where the address of the broker comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBroker {
    /// From an option, the environment or the settings file.
    Given,
    /// Nobody named one.
    Default,
}

/// Checks under way, in the order in which they are told.
pub(crate) struct Running(VecDeque<JoinHandle<Vec<Finding>>>);

impl Running {
    fn add(&mut self, check: impl Future<Output = Vec<Finding>> + Send + 'static) {
        self.0.push_back(tokio::spawn(check));
    }

    fn add_one(&mut self, check: impl Future<Output = Finding> + Send + 'static) {
        self.add(async { vec![check.await] });
    }

    /// The next findings; `None` after the last. A check that panicked is a finding too.
    pub(crate) async fn next(&mut self) -> Option<Vec<Finding>> {
        let check = self.0.pop_front()?;
        Some(check.await.unwrap_or_else(|error| {
            let detail = format!("a check broke off: {error}");
            vec![Look::at("doctor").failed(ExitStatus::Internal, detail, "please report this with what is on stderr")]
        }))
    }
}

/// Starts every check at once.
pub(crate) fn start(plan: Plan) -> Running {
    let mut running = Running(VecDeque::new());
    let Plan { settings, link, withheld, broker, asked_show, windows } = plan;
    let config = settings.peer_now();
    running.add(std::future::ready(settings::check(&settings, &config, &link, &withheld)));
    running.add(std::future::ready(sealing::check(&settings)));
    // One time a broker.
    let (times, told) = mpsc::channel(settings.link.brokers.len().max(1));
    for (index, url) in settings.link.brokers.iter().enumerate() {
        running.add(broker::check(index, url.clone(), broker, settings.link.clone(), times.clone()));
    }
    drop(times);
    let of_kind = |kind: IceServerKind| {
        let servers = config.ice_servers.iter().filter(move |server| server.url.kind == kind);
        servers.cloned().collect::<Vec<IceServer>>()
    };
    let (stun, turn) = (of_kind(IceServerKind::Stun), of_kind(IceServerKind::Turn));
    if stun.is_empty() {
        running.add_one(std::future::ready(stun::none_given()));
    }
    for server in stun {
        running.add_one(stun::check(server));
    }
    running.add_one(nat::check(config.ice_servers.clone(), turn.len()));
    if turn.is_empty() {
        running.add_one(std::future::ready(turn::none_given()));
    }
    for (index, server) in turn.into_iter().enumerate() {
        let config = config.clone();
        running.add(async move {
            let found = turn::check(index, &server, &config.dialer).await;
            let works = !matches!(found.verdict, Verdict::Failed { .. });
            let relayed =
                if works { loops::relay(index, server, config).await } else { loops::no_relay(index, &server) };
            vec![found, relayed]
        });
    }
    running.add_one(loops::direct(config));
    running.add_one(devices::camera(settings.media.clone()));
    running.add_one(devices::microphone(settings.media.audio.clone()));
    running.add_one(devices::speaker(settings.media.play.clone()));
    running.add_one(terminal::check(settings.media.show, asked_show, windows));
    running.add_one(clock::check(told));
    running
}

/// Text from outside as part of a line: without control characters, at most 80 characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// A time for people: `under 0.1 ms`, `0.4 ms`, `23 ms`.
fn in_ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    match ms {
        ..0.1 => "under 0.1 ms".to_owned(),
        ..10.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

/// What a task that may block found, or `None` when it takes longer than `patience`; it is left to end by itself then.
async fn aside<T: Send + 'static>(patience: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::time::timeout(patience, tokio::task::spawn_blocking(work)).await.ok()?.ok()
}

//! `tring contacts`: who is there, live or once.
//!
//! - in: presence, by a link that only looks and so throws nobody off
//! - kept: a [`Roster`], pure
//! - out: on a terminal a table that is drawn anew with each change, elsewhere a line a change, with `--json` an event
//!
//! What a broker retains comes right after the subscription; when nothing more has come for a moment it has told all.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use signalling::id::PeerId;
use signalling::mqtt::{Audience, Link, LinkError, LinkEvent, Watched};
use signalling::wire::PresenceState;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cli::Contacts;
use crate::output::events::ProgramEvent;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::settings::resolve_link;
use crate::platform::signals;

/// So long after the last retained presence the broker has told all. Longer than a program takes to come back that a
/// broker has thrown off for us: that must show before we say that all is well.
const QUIET: Duration = Duration::from_millis(500);

/// A broker that never stops telling is not waited for longer.
const SETTLE_MAX: Duration = Duration::from_secs(3);

/// How long `--once` waits for a broker that went away before it had told all.
const COME_BACK: Duration = Duration::from_secs(8);

/// The table says how long ago, so it ages.
const REDRAW_EVERY: Duration = Duration::from_secs(1);

/// Peers kept at most: anybody may retain presence under any ID on a broker without rules.
const PEERS_MAX: usize = 1000;

pub(crate) async fn run(options: Contacts, printer: Arc<Printer>) -> Result<ExitStatus, Failure> {
    if let Some(keys) = options.keys {
        return super::keys::run(keys, &printer);
    }
    let config = resolve_link(&options.link, Audience::Only(Vec::new()))?;
    let me = config.me.clone();
    let watched = if options.peers.is_empty() { Watched::Everyone } else { Watched::Peers(options.peers) };
    let (link, handle, events) = Link::observer(config, watched.clone()).map_err(|error| failure(&error, &watched))?;
    let stop = CancellationToken::new();
    let link_task = tokio::spawn(link.run(stop.clone()));
    let form = match (options.once, printer.is_text() && std::io::stdout().is_terminal()) {
        (true, _) => Form::Once,
        (false, true) => Form::Table,
        (false, false) => Form::Changes,
    };
    let looking = Looking { printer, me, watched, form, roster: Roster::default(), phase: Phase::Connecting };
    let outcome = looking.run(events).await;
    stop.cancel();
    drop(handle);
    if link_task.await.is_err() {
        tracing::warn!("the link to the broker panicked");
    }
    outcome
}

fn failure(error: &LinkError, watched: &Watched) -> Failure {
    let advice = match (error, watched) {
        (LinkError::SubscriptionRefused { .. }, Watched::Everyone) => ", or name the peers to watch",
        _ => "",
    };
    Failure::new(error.into(), format!("{error}{advice}"))
}

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A table that changes.
    Table,
    /// Each change by itself.
    Changes,
    /// All of it, once.
    Once,
}

/// How much the broker has told.
#[derive(Clone, Debug)]
enum Phase {
    /// Nothing, or no longer anything.
    Connecting,
    /// What it retains is coming in; `quiet_at` moves on with each peer, up to `latest`.
    Settling { quiet_at: Instant, latest: Instant },
    /// All it retains; from now on presence is news.
    Settled,
    /// It went away before it had told all, and `--once` waits for it.
    Lost { reason: String, until: Instant },
}

struct Looking {
    printer: Arc<Printer>,
    me: PeerId,
    watched: Watched,
    form: Form,
    roster: Roster,
    phase: Phase,
}

impl Looking {
    async fn run(mut self, mut events: mpsc::Receiver<LinkEvent>) -> Result<ExitStatus, Failure> {
        let mut ends = signals::heed();
        let printer = Arc::clone(&self.printer);
        loop {
            let deadline = self.deadline();
            let time = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                end = ends.next() => return Ok(ExitStatus::of(end)),
                // Presence waits while nobody reads: the broker is slowed down.
                event = next(&mut events, &printer) => self.link_event(event)?,
                () = time => if let Some(status) = self.time()? {
                    return Ok(status);
                },
            }
        }
    }

    /// The next moment at which time alone matters.
    fn deadline(&self) -> Option<Instant> {
        let redraw = (self.form == Form::Table).then(|| Instant::now() + REDRAW_EVERY);
        match &self.phase {
            Phase::Settling { quiet_at, latest } => Some(*quiet_at.min(latest)),
            Phase::Lost { until, .. } => Some(*until),
            Phase::Connecting | Phase::Settled => redraw,
        }
    }

    fn time(&mut self) -> Result<Option<ExitStatus>, Failure> {
        match &self.phase {
            Phase::Settling { .. } => {
                self.phase = Phase::Settled;
                self.settled();
                if self.form == Form::Once {
                    self.print_all();
                    return Ok(Some(ExitStatus::Done));
                }
            }
            Phase::Lost { reason, .. } => {
                let text = format!("the broker went away before it had told who is there: {reason}");
                return Err(Failure::new(ExitStatus::BrokerUnreachable, text));
            }
            Phase::Connecting | Phase::Settled => {}
        }
        self.draw();
        Ok(None)
    }

    fn link_event(&mut self, event: Option<LinkEvent>) -> Result<(), Failure> {
        let now = Instant::now();
        match event {
            None => return Err(Failure::internal("the link to the broker ended")),
            Some(LinkEvent::Failed(error)) => return Err(failure(&error, &self.watched)),
            Some(LinkEvent::Up { broker, .. }) => {
                self.phase = Phase::Settling { quiet_at: now + QUIET, latest: now + SETTLE_MAX };
                self.roster.broker = Some(broker.clone());
                if self.printer.is_json() {
                    self.printer.tell(&ProgramEvent::Online { id: self.me.to_string(), broker });
                }
            }
            Some(LinkEvent::Down { reason }) => {
                self.roster.broker = None;
                let waits = self.form == Form::Once;
                self.phase = match (&self.phase, waits) {
                    (Phase::Settling { .. } | Phase::Lost { .. }, true) => {
                        Phase::Lost { reason: reason.clone(), until: now + COME_BACK }
                    }
                    _ => Phase::Connecting,
                };
                if self.form == Form::Changes {
                    self.printer.tell(&ProgramEvent::Offline { reason });
                }
            }
            Some(LinkEvent::Presence { peer, state }) => self.presence(peer, state, now),
            // An observer has neither messages nor topics for them.
            Some(
                LinkEvent::Message { .. }
                | LinkEvent::Refused { .. }
                | LinkEvent::Dropped { .. }
                | LinkEvent::Overheard { .. }
                | LinkEvent::Ready { .. }
                | LinkEvent::Distrusted { .. }
                | LinkEvent::Echo,
            ) => {}
        }
        self.draw();
        Ok(())
    }

    fn presence(&mut self, peer: PeerId, state: Option<PresenceState>, now: Instant) {
        let since = match &mut self.phase {
            Phase::Settling { quiet_at, .. } => {
                *quiet_at = now + QUIET;
                Since::Earlier
            }
            // Retained presence may overtake the word that we are connected.
            Phase::Connecting | Phase::Lost { .. } => Since::Earlier,
            Phase::Settled => Since::At(now),
        };
        if self.roster.take(peer.clone(), state, since) && self.form == Form::Changes {
            self.printer.tell(&news(&peer, state));
        }
    }

    /// The broker has told all: those of whom it told nothing are unknown.
    fn settled(&mut self) {
        match &self.watched {
            Watched::Peers(peers) => {
                for peer in peers.clone() {
                    if !self.roster.knows(&peer) {
                        self.roster.take(peer.clone(), None, Since::Earlier);
                        if self.form == Form::Changes {
                            self.printer.tell(&news(&peer, None));
                        }
                    }
                }
            }
            Watched::Everyone if self.roster.is_empty() && self.form == Form::Changes && self.printer.is_text() => {
                self.printer.result(&self.nobody());
            }
            Watched::Everyone => {}
        }
    }

    fn print_all(&self) {
        if self.printer.is_json() {
            self.roster.peers.iter().for_each(|(peer, seen)| self.printer.tell(&news(peer, seen.state)));
        } else if self.roster.is_empty() {
            self.printer.result(&self.nobody());
        } else {
            self.roster.lines(Instant::now()).iter().for_each(|line| self.printer.result(line));
        }
    }

    fn draw(&self) {
        if self.form != Form::Table {
            return;
        }
        // A terminal that does not tell its size is taken for a small one.
        let (columns, rows) = crossterm::terminal::size().unwrap_or((80, 24));
        let mut lines = match (&self.phase, self.roster.is_empty()) {
            (Phase::Settled, true) => vec![self.nobody()],
            (_, true) => Vec::new(),
            (_, false) => self.roster.lines(Instant::now()),
        };
        let status = match &self.roster.broker {
            Some(broker) => format!("at {broker}; Ctrl-C ends"),
            None => "no broker; still trying".to_owned(),
        };
        fit(&mut lines, status, usize::from(columns), usize::from(rows));
        self.printer.redraw(&lines);
    }

    fn nobody(&self) -> String {
        format!("nobody: the broker holds no presence, or its rules do not let {} read tring/presence/+", self.me)
    }
}

/// The next event, once there is room for what it will tell.
async fn next(events: &mut mpsc::Receiver<LinkEvent>, printer: &Printer) -> Option<LinkEvent> {
    printer.room().await;
    events.recv().await
}

fn news(peer: &PeerId, state: Option<PresenceState>) -> ProgramEvent {
    ProgramEvent::Presence { id: peer.to_string(), state: state.map(PresenceState::name) }
}

/// Cuts a table to a terminal's size, with a last line that tells how things stand.
fn fit(lines: &mut Vec<String>, status: String, columns: usize, rows: usize) {
    // The last line stays free for the cursor.
    let room = rows.saturating_sub(2).max(1);
    if lines.len() > room {
        let hidden = lines.len() - (room - 1);
        lines.truncate(room - 1);
        lines.push(format!("… and {hidden} more"));
    }
    lines.push(status);
    for line in lines {
        *line = line.chars().take(columns.max(1)).collect();
    }
}

/// Who was seen, and how.
#[derive(Debug, Default)]
struct Roster {
    broker: Option<String>,
    peers: BTreeMap<PeerId, Seen>,
    left_out: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// Nothing readable when there is none.
    state: Option<PresenceState>,
    since: Since,
}

/// Since when someone is what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// Before we looked: nobody says when.
    Earlier,
    At(Instant),
}

impl Roster {
    /// Takes in what is known of a peer; true when it is news.
    fn take(&mut self, peer: PeerId, state: Option<PresenceState>, since: Since) -> bool {
        let is_full = self.peers.len() >= PEERS_MAX;
        match self.peers.get_mut(&peer) {
            Some(seen) if seen.state == state => false,
            Some(seen) => {
                *seen = Seen { state, since };
                true
            }
            None if is_full => {
                self.left_out += 1;
                false
            }
            None => {
                self.peers.insert(peer, Seen { state, since });
                true
            }
        }
    }

    fn knows(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// A head line and a line a peer. IDs hold plain characters only, so nothing else reaches the terminal.
    fn lines(&self, now: Instant) -> Vec<String> {
        let width = self.peers.keys().map(|peer| peer.as_str().len()).max().unwrap_or(0).max("PEER".len());
        let line = |state: &str, peer: &str, since: &str| format!("{state:<10} {peer:<width$}  {since}");
        let mut lines = vec![line("STATE", "PEER", "SINCE")];
        lines.extend(self.peers.iter().map(|(peer, seen)| {
            line(seen.state.map_or("unknown", PresenceState::name), peer.as_str(), &seen.since.told(now))
        }));
        if self.left_out > 0 {
            lines.push(format!("… and others: at most {PEERS_MAX} are shown; name those to watch"));
        }
        lines
    }
}

impl Since {
    fn told(self, now: Instant) -> String {
        let Self::At(at) = self else { return "earlier".to_owned() };
        let seconds = now.saturating_duration_since(at).as_secs();
        match seconds {
            0..60 => format!("{seconds} s ago"),
            60..3600 => format!("{} min ago", seconds / 60),
            3600..86_400 => format!("{} h ago", seconds / 3600),
            _ => format!("{} d ago", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    #[test]
    fn a_refused_wildcard_comes_with_advice() {
        let refused = |filter: String| LinkError::SubscriptionRefused { broker: "b".into(), filter, me: id("alice") };
        let of_everyone = failure(&refused(signalling::topic::anyones_presence()), &Watched::Everyone);
        assert_eq!(of_everyone.status, ExitStatus::BrokerRefused);
        assert!(of_everyone.text.contains("tring/presence/+") && of_everyone.text.ends_with("name the peers to watch"));
        let bob = id("bob");
        let of_bob = failure(&refused(signalling::topic::presence(&bob)), &Watched::Peers(vec![bob]));
        assert!(of_bob.text.ends_with("must let alice read it"), "{}", of_bob.text);
    }

    #[test]
    fn only_changes_are_news() {
        let (mut roster, now) = (Roster::default(), Instant::now());
        assert!(roster.take(id("bob"), Some(PresenceState::Available), Since::Earlier));
        assert!(!roster.take(id("bob"), Some(PresenceState::Available), Since::At(now)), "the same again");
        assert!(roster.take(id("bob"), Some(PresenceState::Busy), Since::At(now)));
        assert!(roster.take(id("bob"), None, Since::At(now)));
        assert!(roster.take(id("alice"), None, Since::Earlier), "even of somebody unreadable");
        assert!(roster.knows(&id("alice")) && !roster.knows(&id("carol")));
    }

    #[test]
    fn the_table_reads_well() {
        let (mut roster, now) = (Roster::default(), Instant::now());
        roster.take(id("front-door"), Some(PresenceState::Available), Since::Earlier);
        roster.take(id("bob"), Some(PresenceState::Away), Since::At(now));
        roster.take(id("carol"), None, Since::At(now));
        let expected = [
            "STATE      PEER        SINCE",
            "away       bob         3 min ago",
            "unknown    carol       3 min ago",
            "available  front-door  earlier",
        ];
        assert_eq!(roster.lines(now + Duration::from_secs(200)), expected);
    }

    #[test]
    fn a_flood_of_peers_is_bounded() {
        let mut roster = Roster::default();
        for n in 0..PEERS_MAX + 5 {
            roster.take(id(&format!("p{n}")), None, Since::Earlier);
        }
        assert_eq!((roster.peers.len(), roster.left_out), (PEERS_MAX, 5));
        assert!(roster.lines(Instant::now()).last().unwrap().contains("name those to watch"));
    }

    #[test]
    fn a_table_fits_into_its_terminal() {
        let mut lines: Vec<String> = (0..10).map(|n| format!("line {n} of some length")).collect();
        fit(&mut lines, "status".into(), 9, 6);
        assert_eq!(lines, ["line 0 of", "line 1 of", "line 2 of", "… and 7 m", "status"]);
        let mut short = vec!["one".to_owned()];
        fit(&mut short, "status".into(), 80, 24);
        assert_eq!(short, ["one", "status"]);
    }

    #[test]
    fn times_are_told_in_one_unit() {
        let now = Instant::now();
        for (seconds, told) in
            [(0, "0 s ago"), (59, "59 s ago"), (60, "1 min ago"), (7300, "2 h ago"), (90_000, "1 d ago")]
        {
            assert_eq!(Since::At(now).told(now + Duration::from_secs(seconds)), told);
        }
        assert_eq!(Since::Earlier.told(now), "earlier");
    }
}
